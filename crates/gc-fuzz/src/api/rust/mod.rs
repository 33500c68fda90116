//! The API of Rust. References are handles in scopes, and a host's function gets the store as an argument.

mod functions;
mod linking;
mod mistakes;
mod objects;
mod places;
mod raw;
mod wrong;
mod wrong_places;

use super::driver::{Api, Fault, Given, NewStore, Stores};
use super::host::{HEAP_LIMIT, Host, MEMORY_LIMIT, TABLE_LIMIT};
use crate::report;
use crate::way::Way;
use anyhow::{Context as _, Error, Result};
use gc_testkit::{Ledger, Token};
use gc_wasm::{
    AnyRef, ArrayRefPre, ArrayType, AsContext, AsContextMut, Engine, ExternRef, FieldType, Func,
    Global, Instance, Linker, Memory, MemoryAccessError, Module, Mutability, OwnedRooted, Ref,
    RefType, RootScope, Rooted, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder,
    StructRefPre, StructType, Table, Tag, Trap, Val, ValRaw, ValType, WeakRooted,
};
use std::time::Duration;

/// The API of Rust.
pub(in crate::api) struct Rust;

/// A store in use.
type Cx<'a> = StoreContextMut<'a, Data>;
type Handled = Rooted<AnyRef>;

/// The data of a store.
pub(in crate::api) struct Data {
    limits: StoreLimits,
    /// The place of the store.
    slot: usize,
    /// Lives as long as the store.
    _token: Token,
    /// The host, while code of the store runs.
    host: Option<Host<Rust>>,
}

/// An engine, and the module for all its stores.
pub(in crate::api) struct Prepared {
    engine: Engine,
    module: Option<Module>,
}

/// The types of a store.
pub(in crate::api) struct Types {
    struct_pre: StructRefPre,
    array_pre: ArrayRefPre,
    struct_type: StructType,
    array_type: ArrayType,
}

/// The instance of a store.
pub(in crate::api) struct Program {
    module: Module,
    linker: Linker<Data>,
    instance: Instance,
    tag: Tag,
}

/// Arguments or results.
pub(in crate::api) enum Values {
    Checked(Vec<Val>),
    Raw(Vec<ValRaw>),
}

/// A handle as a value for a place of this type.
fn value(store: impl AsContextMut, handle: Option<Rooted<AnyRef>>, external: bool) -> Result<Val> {
    Ok(match (handle, external) {
        (handle, false) => Val::AnyRef(handle),
        (None, true) => Val::ExternRef(None),
        (Some(handle), true) => Val::ExternRef(Some(ExternRef::convert_any(store, handle)?)),
    })
}

impl Given<'_, Rust> {
    fn value(&self, store: impl AsContextMut) -> Result<Val> {
        value(store, self.handle.copied(), self.external)
    }

    /// An element of a table.
    fn element(&self, store: impl AsContextMut) -> Result<Ref> {
        self.value(store)?.ref_().context("a reference")
    }
}

/// The type of a place for all references of a kind.
fn reference_type(external: bool) -> RefType {
    if external { RefType::EXTERNREF } else { RefType::ANYREF }
}

impl Api for Rust {
    type Engine = Prepared;
    type Store = Store<Data>;
    type Cx<'a> = Cx<'a>;
    type Own = Types;
    type Program = Program;
    type Ref = Handled;
    type Owned = OwnedRooted<AnyRef>;
    type Weak = WeakRooted<AnyRef>;
    /// The number of the host value.
    type Attachment = u32;
    type Global = Global;
    type Table = Table;
    type Memory = Memory;
    type Func = Func;
    type Values = Values;
    type Failure = Error;
    type Reply = Result<Option<Handled>>;
    const SCOPED: bool = true;
    const ATTACHES: bool = false;
    const WEAK: bool = true;
}

impl Stores for Rust {
    fn engine(way: &Way, limited: bool) -> Result<Prepared> {
        let mut config = way.config(HEAP_LIMIT);
        config.consume_fuel(limited).interruptible(limited);
        report::configuration(&config);
        Ok(Prepared { engine: Engine::new(&config)?, module: None })
    }

    fn store(prepared: &Prepared, slot: usize, ledger: &Ledger) -> Result<NewStore<Rust>> {
        let engine = &prepared.engine;
        let token = ledger.issue();
        let tokens = vec![token.number()];
        let limits =
            StoreLimitsBuilder::new().table_elements(TABLE_LIMIT).memory_size(MEMORY_LIMIT);
        let data = Data { limits: limits.build(), slot, _token: token, host: None };
        let mut store = Store::new(engine, data);
        store.limiter(|data| &mut data.limits);
        let field = |mutability, ty: ValType| FieldType::new(mutability, ty.into());
        let struct_type = StructType::new(
            engine,
            [
                field(Mutability::Const, ValType::I32),
                field(Mutability::Var, ValType::EXTERNREF),
                field(Mutability::Var, ValType::ANYREF),
            ],
        )?;
        let array_type = ArrayType::new(engine, field(Mutability::Var, ValType::ANYREF));
        let own = Types {
            struct_pre: StructRefPre::new(&mut store, struct_type.clone()),
            array_pre: ArrayRefPre::new(&mut store, array_type.clone()),
            struct_type,
            array_type,
        };
        Ok(NewStore { store, own, tokens })
    }

    fn context(store: &mut Store<Data>) -> Cx<'_> {
        store.as_context_mut()
    }

    fn scoped<R>(cx: &mut Cx<'_>, work: impl FnOnce(&mut Cx<'_>) -> R) -> R {
        let mut scope = RootScope::new(cx.as_context_mut());
        work(&mut scope.as_context_mut())
    }

    fn lend(cx: &mut Cx<'_>, host: &mut Host<Rust>) {
        cx.data_mut().host = Some(std::mem::take(host));
    }

    fn take_back(cx: &mut Cx<'_>, host: &mut Host<Rust>) -> Result<()> {
        *host = cx.data_mut().host.take().context("the host is back")?;
        Ok(())
    }

    fn is_fault(error: &Error, fault: Fault) -> bool {
        let contains = |text| format!("{error:#}").contains(text);
        match fault {
            Fault::Index { is_array: true } => contains("out of bounds array access"),
            Fault::Index { is_array: false } => contains("there is no field "),
            Fault::TableIndex => error.downcast_ref() == Some(&Trap::TableOutOfBounds),
            Fault::NoElement => contains("no element"),
            Fault::TableLimit => contains("exceeds table limits"),
            Fault::TableGrowth => contains("failed to grow table by"),
            Fault::TableTypes => contains("source table's element type does not match"),
            Fault::MemoryIndex => error.is::<MemoryAccessError>(),
            Fault::MemoryGrowth => contains("failed to grow memory by"),
            Fault::Unattachable => false,
        }
    }

    fn gc(cx: &mut Cx<'_>, _: &Types) -> Result<Option<u64>> {
        // What this leaves is collected then.
        let _left = cx.gc_for(Duration::from_micros(20))?;
        cx.gc(None)?;
        Ok(Some(cx.as_context().gc_stats().live_objects))
    }

    fn set_fuel(cx: &mut Cx<'_>, _: &Types, fuel: u64) -> Result<()> {
        cx.set_fuel(fuel)
    }

    fn fuel(cx: &mut Cx<'_>, _: &Types) -> Result<u64> {
        cx.get_fuel()
    }

    fn interrupt(store: &mut Store<Data>, program: &Program, limited: bool) -> Result<()> {
        functions::interrupt(store, program, limited)
    }
}
