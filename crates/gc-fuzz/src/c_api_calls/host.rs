//! The program of C that makes the calls: its engines and stores, and what nests.

use super::c::{Env, drop_env, last_error, written};
use super::ops::{self, Op};
use super::world::{Program, Value, World, no_error};
use crate::report;
use anyhow::{Context as _, Error, Result, ensure};
use gc_testkit::Ledger;
use gc_wasm::{Collector, Reclaims};
use reclaim::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::rc::Rc;

/// What modules do: `run` calls C, keeps what that returns, and returns its arguments. `throw` throws an
/// exception, and `catch` catches one that C throws.
pub(super) const MODULE: &str = r#"(module
    (import "" "host" (func $host (param anyref externref) (result anyref)))
    (import "" "tag" (tag $tag (param anyref)))
    (global $kept (export "kept") (mut anyref) (ref.null any))
    (memory (export "memory") 1 4)
    (func (export "run") (param $a anyref) (param $e externref) (param $trap i32)
            (result anyref externref)
        (local $result anyref)
        (local.set $result (call $host (local.get $a) (local.get $e)))
        (if (local.get $trap) (then (unreachable)))
        (global.set $kept (local.get $result))
        (local.get $a) (local.get $e))
    (func (export "throw") (param anyref) (throw $tag (local.get 0)))
    (func (export "catch") (param $a anyref) (param $e externref) (result anyref)
        (block $caught (result anyref)
            (try_table (result anyref) (catch $tag $caught)
                (call $host (local.get $a) (local.get $e)))))
    (global (export "constant") i32 (i32.const 7)))"#;

/// What the module exports, in this order.
#[derive(Clone, Copy)]
pub(super) enum Export {
    Kept,
    Memory,
    Run,
    Throw,
    Catch,
    Constant,
}

/// How deep calls may nest.
const DEPTH: usize = 10;
pub(super) const STORES: usize = 3;

const COLLECTORS: [&str; 8] = [
    "generational:nursery=8192",
    "copying",
    "drc",
    "generational:nursery=32768",
    "null",
    "generational:nursery=8192",
    "drc",
    "copying",
];

/// An engine, and what its collector reclaims.
pub(super) struct KnownEngine {
    engine: Box<wasm_engine_t>,
    /// No other engine has this number.
    number: usize,
    reclaims: Reclaims,
    /// The module for all stores.
    shared: Option<Box<wasm_shared_module_t>>,
}

/// The place of the host while code runs that may call it.
pub(super) type Shared = Rc<RefCell<Option<Host>>>;

/// The program.
#[derive(Default)]
pub(super) struct Host {
    ops: Vec<Op>,
    next: usize,
    depth: usize,
    pub(super) ledger: Ledger,
    engines: Vec<KnownEngine>,
    engines_made: usize,
    pub(super) worlds: [Option<World>; STORES],
    pub(super) shared: Shared,
    /// What was wrong while a function of C ran.
    pub(super) fault: Option<Error>,
}

fn new_engine(number: usize, collector: u8, heap: u8) -> Result<KnownEngine> {
    let text = COLLECTORS[usize::from(collector) % COLLECTORS.len()];
    let (zeal, small) = ([1, 0, 2, 3, 7, 1 << 20, 0, 13][usize::from(heap) % 8], heap & 8 != 0);
    log::debug!("{text}, zeal {zeal}, options {heap}");
    let mut config = wasm_config_new().context("settings")?;
    let name = CString::new(text)?;
    ensure!(reclaim_config_collector(Some(&mut config), name.as_ptr()), "{:?}", last_error());
    reclaim_config_gc_zeal(Some(&mut config), zeal);
    reclaim_config_gc_heap_maximum(Some(&mut config), 16 << 20);
    let initial = if small { 128 << 10 } else { 512 << 10 };
    reclaim_config_gc_heap_initial_size(Some(&mut config), initial);
    reclaim_config_gc_slice(Some(&mut config), if heap & 16 == 0 { 0 } else { 500_000 });
    reclaim_config_optimize(Some(&mut config), heap & 32 == 0);
    let engine = wasm_engine_new_with_config(Some(config));
    let engine = engine.with_context(|| format!("no engine: {:?}", last_error()))?;
    let name = text.split(':').next().unwrap_or(text);
    let reclaims = Collector::by_name(name)?.reclaims();
    Ok(KnownEngine { engine, number, reclaims, shared: None })
}

pub(super) fn run(bytes: &[u8]) -> Result<()> {
    // What another input has left.
    last_error();
    let (header, ops) = ops::decode(bytes);
    let mut host = Host { ops, ..Host::default() };
    let [first, heap, second, other] = header;
    host.engines = vec![new_engine(0, first, heap)?, new_engine(1, second, other)?];
    host.engines_made = 2;
    log::debug!("{:?}", host.ops);
    report::module(&wat::parse_str(MODULE)?);
    while host.next < host.ops.len() {
        host.calls(0)?;
    }
    for slot in 0..STORES {
        host.drop_store(slot, 0)?;
    }
    no_error()?;
    let ledger = host.ledger.clone();
    drop(host);
    ledger.check_all_once()
}

impl Host {
    pub(super) fn world(&mut self, slot: usize) -> &mut World {
        self.worlds[slot].as_mut().expect("a store that is in use has a model")
    }

    /// Makes a store in this slot, if there is none.
    fn new_store(&mut self, slot: usize) -> Result<()> {
        if self.worlds[slot].is_some() {
            return Ok(());
        }
        let KnownEngine { engine, number, reclaims, .. } = &self.engines[slot % self.engines.len()];
        let store = wasm_store_new(Some(engine)).context("a store")?;
        let field = |storage: Storage, mutability, kind| reclaim_fieldtype_t {
            storage: storage as u8,
            mutability,
            ty: wasm_valtype_new(kind as u8),
        };
        let fields = [
            field(Storage::Value, 0, ValKind::I32),
            field(Storage::Value, 1, ValKind::ExternRef),
            field(Storage::Value, 1, ValKind::AnyRef),
        ];
        let struct_type = reclaim_structtype_new(Some(engine), fields.as_ptr(), fields.len());
        let array_type = reclaim_arraytype_new(Some(engine), Some(&fields[2]));
        self.worlds[slot] = Some(World {
            ledger: self.ledger.clone(),
            reclaims: *reclaims,
            engine: *number,
            store: Some(store),
            struct_type: struct_type.context("a struct type")?,
            array_type: array_type.context("an array type")?,
            objects: Vec::new(),
            foreigns: 0,
            things: Vec::new(),
            handles: Vec::new(),
            attached: HashMap::new(),
            globals: Vec::new(),
            tables: Vec::new(),
            program: None,
            kept: Value::Null,
            running: Vec::new(),
            returned: None,
            trap: None,
            inexact: false,
            tokens: Vec::new(),
        });
        no_error()
    }

    /// Deletes all handles of a store that runs no code. Then all its finalizers have run.
    fn drop_store(&mut self, slot: usize, order: u8) -> Result<()> {
        let free = self.worlds[slot].as_ref().is_some_and(|world| world.running.is_empty());
        let Some(mut world) = self.worlds[slot].take_if(|_| free) else { return Ok(()) };
        if order & 1 == 0 {
            world.gc()?;
        }
        let tokens = std::mem::take(&mut world.tokens);
        if order & 2 == 0 {
            wasm_store_delete(world.store.take());
        }
        for global in world.globals.drain(..) {
            wasm_global_delete(Some(global.global));
        }
        for handle in world.handles.drain(..) {
            wasm_ref_delete(handle.handle);
        }
        drop(world);
        for token in tokens {
            let times = self.ledger.times_dropped(token);
            ensure!(times == 1, "finalizer {token} has run {times} times with its store");
        }
        no_error()
    }

    /// Makes calls with the store in this slot until the end of what was begun.
    pub(super) fn calls(&mut self, slot: usize) -> Result<()> {
        self.new_store(slot)?;
        self.depth += 1;
        while let Some(op) = self.ops.get(self.next).copied() {
            self.next += 1;
            let number = self.next - 1;
            let place = |byte: u8| usize::from(byte) % STORES;
            match op {
                Op::End => break,
                Op::Enter { slot } if self.depth < DEPTH => self.calls(place(slot))?,
                Op::Drop { slot: other, order } => {
                    // The store in use stays.
                    if place(other) != slot && self.depth == 1 {
                        self.drop_store(place(other), order)?;
                    }
                }
                Op::DeleteStore { slot } => {
                    let world = self.worlds[place(slot)].as_mut();
                    wasm_store_delete(world.and_then(|world| world.store.take()));
                }
                Op::NewEngine { engine, collector, heap } => {
                    let engine = usize::from(engine) % self.engines.len();
                    let new = new_engine(self.engines_made, collector, heap)?;
                    self.engines_made += 1;
                    let old = std::mem::replace(&mut self.engines[engine], new);
                    wasm_shared_module_delete(old.shared);
                    wasm_engine_delete(Some(old.engine));
                }
                Op::Mistake { what, slot: other, from } => {
                    let result = self.mistake(slot, what, place(other), from);
                    result.with_context(|| format!("call {number}: {op:?}"))?;
                }
                Op::Call { .. } if self.depth >= DEPTH => {}
                op => {
                    let result = self.simple(slot, op).and_then(|()| no_error());
                    result.with_context(|| format!("call {number}: {op:?}"))?;
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// The module of a store with an instance. `None` if the store's handle was deleted before.
    pub(super) fn program(&mut self, slot: usize) -> Result<Option<&mut Program>> {
        let engine = slot % self.engines.len();
        let shared = self.shared.clone();
        let world = self.worlds[slot].as_mut().context("a store in use has a model")?;
        if world.program.is_none() {
            let Some(store) = world.store.as_deref() else { return Ok(None) };
            let known =
                Some(&mut self.engines[engine]).filter(|known| known.number == world.engine);
            let module = match known {
                Some(KnownEngine { shared: Some(shared), .. }) => {
                    wasm_module_obtain(Some(store), Some(shared)).context("no module")?
                }
                known => {
                    let binary: wasm_byte_vec_t = wat::parse_str(MODULE)?.into();
                    let module =
                        wasm_module_new(Some(store), Some(&binary)).context("no module")?;
                    if let Some(known) = known {
                        known.shared = wasm_module_share(Some(&module));
                    }
                    module
                }
            };
            let host = host_function(world, shared, slot)?;
            let store = world.store.as_deref();
            let mut params = vec![wasm_valtype_new(ValKind::AnyRef as u8)].into();
            let func = wasm_functype_new(Some(&mut params), Some(&mut Default::default()));
            let tag = reclaim_tag_new(store, wasm_tagtype_new(func).as_deref()).context("a tag")?;
            let imports = vec![wasm_extern_copy(wasm_func_as_extern(Some(&host))), Some(tag)];
            let given = imports.clone().into();
            let (instance, trap) =
                written(|trap| wasm_instance_new(store, Some(&module), Some(&given), trap));
            ensure!(trap.is_none(), "a trap");
            let instance = instance.context("an instance")?;
            let ((), mut exports) = written(|out| wasm_instance_exports(Some(&instance), out));
            let exports: Vec<Option<Box<wasm_extern_t>>> =
                exports.as_mut_slice().iter_mut().map(Option::take).collect();
            ensure!(exports.len() == 6, "{} exports", exports.len());
            world.program = Some(Program { module, imports, exports });
            no_error()?;
        }
        Ok(world.program.as_mut())
    }
}

/// The function that modules import.
fn host_function(world: &mut World, shared: Shared, slot: usize) -> Result<Box<wasm_func_t>> {
    let token = world.ledger.issue();
    world.tokens.push(token.number());
    let env = Env { shared, slot, _token: token }.into_address();
    let kinds = [ValKind::AnyRef, ValKind::ExternRef];
    let types = kinds.map(|kind| wasm_valtype_new(kind as u8));
    let mut params = types.to_vec().into();
    let mut results = vec![wasm_valtype_new(ValKind::AnyRef as u8)].into();
    let ty = wasm_functype_new(Some(&mut params), Some(&mut results));
    let func =
        wasm_func_new_with_env(world.store(), ty.as_deref(), Some(called), env, Some(drop_env));
    func.context("a function")
}

extern "C" fn called(
    env: *mut c_void,
    arguments: &wasm_val_vec_t,
    results: &mut wasm_val_vec_t,
) -> Option<Box<wasm_trap_t>> {
    let Env { shared, slot, .. } = Env::of_running(env);
    let mut host = shared.take().expect("the host waits for its function");
    let trap = host.called(*slot, arguments.as_slice(), results.as_mut_slice());
    let trap = trap.unwrap_or_else(|fault| {
        host.fault.get_or_insert(fault);
        let store = host.world(*slot).store.as_deref();
        let trap = wasm_trap_new(store, Some(&b"a fault\0".to_vec().into()));
        last_error();
        trap
    });
    shared.replace(Some(host));
    trap
}
