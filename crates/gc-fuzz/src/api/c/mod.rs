//! The API of C. Each handle is deleted by itself, and handles outlive those of their stores and engines.
//! A call that fails records an error. No other call does.

mod functions;
mod mistakes;
mod objects;
mod places;
mod pointers;

use super::driver::{Api, Export, Fault, NewStore, Stores};
use super::host::{HEAP_LIMIT, Host, MEMORY_LIMIT, TABLE_LIMIT};
use crate::report;
use crate::way::Way;
use anyhow::{Context as _, Error, Result, anyhow, ensure};
use functions::trap_message;
use gc_testkit::Ledger;
use gc_wasm::ValRaw;
use pointers::{last_error, written};
use reclaim::*;
use std::cell::RefCell;
use std::ffi::{CString, c_void};
use std::rc::Rc;

/// The API of C.
pub(in crate::api) struct C;

/// The place of the host while code runs that may call it.
type Shared = Rc<RefCell<Option<Host<C>>>>;
type Boxed = Box<wasm_ref_t>;

/// An engine, and the module for all its stores.
pub(in crate::api) struct SharedEngine {
    engine: Box<wasm_engine_t>,
    module: Option<Box<wasm_shared_module_t>>,
}

/// The handle of a store, until it is deleted, and its types.
pub(in crate::api) struct Store {
    shared: Shared,
    store: Option<Box<wasm_store_t>>,
    struct_type: Box<reclaim_gctype_t>,
    array_type: Box<reclaim_gctype_t>,
}

/// The module of a store, and what its first instance exports.
pub(in crate::api) struct Program {
    module: Box<wasm_module_t>,
    imports: Vec<Option<Box<wasm_extern_t>>>,
    exports: Vec<Option<Box<wasm_extern_t>>>,
}

impl Program {
    /// The number of exports. In this order: `kept`, `memory`, `run`, `throw`, `catch`, `burn`, `constant`.
    const EXPORTS: usize = 7;
    const KEPT: usize = 0;
    const CONSTANT: usize = 6;

    fn func(&self, export: Export) -> Result<Box<wasm_func_t>> {
        let number = match export {
            Export::Run => 2,
            Export::Throw => 3,
            Export::Catch => 4,
            Export::Burn => 5,
        };
        let external = self.exports[number].as_deref();
        wasm_func_copy(wasm_extern_as_func(external)).context("no function")
    }

    fn global(&self, number: usize) -> Result<&wasm_global_t> {
        wasm_extern_as_global(self.exports[number].as_deref()).context("no global")
    }
}

/// Arguments or results.
pub(in crate::api) enum Values {
    Checked(wasm_val_vec_t),
    Raw(Vec<ValRaw>),
}

/// The kind of references of a place.
fn kind(external: bool) -> ValKind {
    if external { ValKind::ExternRef } else { ValKind::AnyRef }
}

/// A handle as a value that owns a copy.
fn value(handle: Option<&Boxed>, external: bool) -> wasm_val_t {
    wasm_val_t::of_ref(kind(external), wasm_ref_copy(handle.map(|handle| &**handle)))
}

/// A reference that was read.
fn handle(value: &wasm_val_t) -> Result<Option<Boxed>> {
    Ok(wasm_ref_copy(value.reference()?))
}

/// What a call has made, or the reason why there is nothing.
fn result<T>(made: Option<T>) -> Result<T> {
    made.ok_or_else(|| anyhow!(last_error().unwrap_or_else(|| "no reason was given".to_owned())))
}

/// Whether a call was successful.
fn done(done: bool) -> Result<()> {
    result(done.then_some(()))
}

/// What a function has written, if it was successful.
fn read<T>((done, value): (bool, T)) -> Result<T> {
    result(done.then_some(value))
}

fn succeeded<T>(result: Result<T, Box<wasm_trap_t>>) -> Result<T> {
    result.map_err(|trap| anyhow!("a trap: {}", trap_message(&trap)))
}

impl Api for C {
    type Engine = SharedEngine;
    type Store = Shared;
    type Cx<'a> = Shared;
    type Own = Store;
    type Program = Program;
    type Ref = Boxed;
    type Owned = Boxed;
    type Weak = std::convert::Infallible;
    type Attachment = *mut c_void;
    type Global = Box<wasm_global_t>;
    type Table = Box<wasm_table_t>;
    type Memory = Box<wasm_memory_t>;
    type Func = Box<wasm_func_t>;
    type Values = Values;
    type Failure = Box<wasm_trap_t>;
    type Reply = Result<wasm_val_t, Box<wasm_trap_t>>;
    const SCOPED: bool = false;
    const ATTACHES: bool = true;
    const WEAK: bool = false;
}

impl Stores for C {
    fn engine(way: &Way, limited: bool) -> Result<SharedEngine> {
        report::configuration(way);
        let mut config = wasm_config_new().context("settings")?;
        let name = CString::new(way.collector.to_string())?;
        done(reclaim_config_collector(Some(&mut config), name.as_ptr()))?;
        reclaim_config_gc_zeal(Some(&mut config), way.zeal);
        reclaim_config_gc_heap_maximum(Some(&mut config), HEAP_LIMIT);
        reclaim_config_gc_heap_initial_size(Some(&mut config), way.initial);
        reclaim_config_gc_pause_target(Some(&mut config), way.pause_target.as_nanos() as u64);
        reclaim_config_optimize(Some(&mut config), way.optimised);
        reclaim_config_consume_fuel(Some(&mut config), limited);
        let engine = result(wasm_engine_new_with_config(Some(config)))?;
        Ok(SharedEngine { engine, module: None })
    }

    fn drop_engine(engine: SharedEngine) {
        wasm_shared_module_delete(engine.module);
        wasm_engine_delete(Some(engine.engine));
    }

    fn store(prepared: &SharedEngine, _: usize, _: &Ledger) -> Result<NewStore<C>> {
        let engine = Some(&*prepared.engine);
        let store = result(wasm_store_new(engine))?;
        let limits = reclaim_limits_t {
            memory_size: MEMORY_LIMIT as u64,
            gc_heap_size: u64::MAX,
            table_elements: TABLE_LIMIT as u64,
            instances: u64::MAX,
            tables: u64::MAX,
            memories: u64::MAX,
        };
        done(reclaim_store_limit(Some(&store), Some(&limits)))?;
        let field = |mutability, kind: ValKind| reclaim_fieldtype_t {
            storage: Storage::Value as u8,
            mutability,
            ty: wasm_valtype_new(kind as u8),
        };
        let fields =
            [field(0, ValKind::I32), field(1, ValKind::ExternRef), field(1, ValKind::AnyRef)];
        let struct_type = reclaim_structtype_new(engine, fields.as_ptr(), fields.len());
        let array_type = reclaim_arraytype_new(engine, Some(&fields[2]));
        let shared = Shared::default();
        let own = Store {
            shared: shared.clone(),
            store: Some(store),
            struct_type: result(struct_type)?,
            array_type: result(array_type)?,
        };
        Ok(NewStore { store: shared, own, tokens: Vec::new() })
    }

    fn context(store: &mut Shared) -> Shared {
        store.clone()
    }

    fn reenter(own: &Store) -> Option<Shared> {
        Some(own.shared.clone())
    }

    fn is_open(own: &Store) -> bool {
        own.store.is_some()
    }

    fn delete_store(own: &mut Store) {
        wasm_store_delete(own.store.take());
    }

    fn scoped<R>(cx: &mut Shared, work: impl FnOnce(&mut Shared) -> R) -> R {
        work(cx)
    }

    fn lend(cx: &mut Shared, host: &mut Host<C>) {
        cx.replace(Some(std::mem::take(host)));
    }

    fn take_back(cx: &mut Shared, host: &mut Host<C>) -> Result<()> {
        *host = cx.take().context("the host is back")?;
        Ok(())
    }

    fn begin() {
        last_error();
    }

    fn settled() -> Result<()> {
        let error = last_error();
        ensure!(error.is_none(), "an unexpected error: {}", error.unwrap_or_default());
        Ok(())
    }

    fn is_fault(error: &Error, fault: Fault) -> bool {
        let text = format!("{error:#}");
        let why = match fault {
            Fault::Index { is_array: true } => "out of bounds array access",
            Fault::Index { is_array: false } => "no field ",
            Fault::TableIndex => "out of bounds table access",
            Fault::NoElement => "no element",
            Fault::TableLimit => "exceeds table limits",
            Fault::TableGrowth => "failed to grow table by",
            Fault::TableTypes => "source table's element type does not match",
            Fault::MemoryIndex => "no such bytes",
            Fault::MemoryGrowth => "failed to grow memory by",
            Fault::Unattachable => "",
        };
        text.contains(why) && !text.contains("internal error")
    }

    fn gc(_: &mut Shared, own: &Store) -> Result<Option<u64>> {
        let Some(store) = own.store.as_deref() else { return Ok(None) };
        done(reclaim_store_gc_for(Some(store), 20_000, None))?;
        done(reclaim_store_gc(Some(store)))?;
        let stats = read(written(|out| reclaim_store_gc_stats(Some(store), out)))?;
        Ok(Some(stats.live_objects))
    }

    fn set_fuel(_: &mut Shared, own: &Store, fuel: u64) -> Result<()> {
        done(reclaim_store_set_fuel(own.store.as_deref(), fuel))
    }

    fn fuel(_: &mut Shared, own: &Store) -> Result<u64> {
        read(written(|out| reclaim_store_fuel(own.store.as_deref(), out)))
    }
}
