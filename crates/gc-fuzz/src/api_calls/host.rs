//! The host that makes the calls: its engines and stores, and what nests.

use super::ops::{self, Op};
use super::world::{Value, World};
use crate::{report, way::Way};
use anyhow::{Context as _, Result, ensure};
use gc_testkit::{Ledger, Token};
use gc_wasm::{
    AnyRef, ArrayRefPre, ArrayType, AsContextMut, Caller, Engine, ExternRef, FieldType, Instance,
    Linker, Module, Mutability, OwnedRooted, RootScope, Rooted, Store, StoreContextMut,
    StoreLimits, StoreLimitsBuilder, StructRefPre, StructType, Trap, ValType,
};

/// What modules do: `run` calls the host, keeps what that returns, and returns its arguments.
const MODULE: &str = r#"(module
    (import "" "host" (func $host (param anyref externref) (result anyref)))
    (global $kept (export "kept") (mut anyref) (ref.null any))
    (func (export "run") (param $a anyref) (param $e externref) (param $trap i32)
            (result anyref externref)
        (local $result anyref)
        (local.set $result (call $host (local.get $a) (local.get $e)))
        (if (local.get $trap) (then (unreachable)))
        (global.set $kept (local.get $result))
        (local.get $a) (local.get $e))
    (func (export "burn") (result i32) (local $n i32)
        (loop $more
            (br_if $more (i32.lt_u
                (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100))))
        (local.get $n)))"#;

/// The most elements of a table.
pub(super) const TABLE_LIMIT: usize = 30;
/// The most bytes of a memory.
pub(super) const MEMORY_LIMIT: usize = 5 << 16;
/// How deep scopes and calls may nest.
const DEPTH: usize = 12;
const STORES: usize = 3;

/// The data of a store.
pub(super) struct Data {
    limits: StoreLimits,
    /// The place of the store.
    pub(super) slot: usize,
    /// Lives as long as the store.
    _token: Token,
    /// The host, while code of the store runs.
    pub(super) host: Option<Host>,
}

/// A place for a store. While the store is in use, it is not here, but the model is.
#[derive(Default)]
struct Slot {
    store: Option<Store<Data>>,
    world: Option<World>,
}

pub(super) struct Prepared {
    engine: Engine,
    linker: Linker<Data>,
    pub(super) module: Option<Module>,
    limited: bool,
}

/// The host.
#[derive(Default)]
pub(super) struct Host {
    ops: Vec<Op>,
    next: usize,
    depth: usize,
    pub(super) ledger: Ledger,
    engines: Vec<Prepared>,
    slots: [Slot; STORES],
    /// Handles of stores that are gone.
    pub(super) orphans: Vec<Rooted<AnyRef>>,
    /// Handles that outlive their stores.
    owned: Vec<OwnedRooted<AnyRef>>,
}

pub(super) fn run(bytes: &[u8]) -> Result<()> {
    let (header, ops) = ops::decode(bytes);
    let [first, heap, code, second, options] = header;
    let mut host = Host { ops, ..Host::default() };
    for (number, collector) in [first, second].into_iter().enumerate() {
        let mut config = Way::of_header([collector, heap, code]).config(16 << 20);
        let limited = options >> number & 1 != 0;
        config.consume_fuel(limited).interruptible(limited);
        report::configuration(&config);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("", "host", called)?;
        host.engines.push(Prepared { engine, linker, module: None, limited });
    }
    log::debug!("{:?}", host.ops);
    report::module(&wat::parse_str(MODULE)?);
    while host.next < host.ops.len() {
        // Calls that use no store make one.
        let slot = match host.ops[host.next] {
            Op::New { slot, engine } => {
                host.next += 1;
                host.new_store(slot, engine)?;
                continue;
            }
            Op::Drop { slot } => {
                host.next += 1;
                host.drop_store(slot)?;
                continue;
            }
            Op::Interrupt { slot } => {
                host.next += 1;
                host.interrupt(slot)?;
                continue;
            }
            Op::Enter { slot } => {
                host.next += 1;
                slot
            }
            _ => 0,
        };
        host.new_store(slot, 0)?;
        host.enter(slot)?;
    }
    for slot in 0..STORES as u8 {
        host.drop_store(slot)?;
    }
    let ledger = host.ledger.clone();
    drop(host);
    ledger.check_all_once()
}

/// The function that modules import.
pub(super) fn called(
    mut caller: Caller<'_, Data>,
    a: Option<Rooted<AnyRef>>,
    e: Option<Rooted<ExternRef>>,
) -> Result<Option<Rooted<AnyRef>>> {
    let mut host = caller.data_mut().host.take().context("the host is here")?;
    let result = host.called(caller.as_context_mut(), a, e);
    caller.data_mut().host = Some(host);
    result
}

impl Host {
    pub(super) fn world(&mut self, slot: usize) -> &mut World {
        self.slots[slot].world.as_mut().expect("the store's model is here")
    }

    /// The model of another store, if there is one in this slot.
    pub(super) fn other(&mut self, slot: usize, other: usize) -> Option<&mut World> {
        let other = other % STORES;
        if other == slot { None } else { self.slots[other].world.as_mut() }
    }

    /// What belongs to an engine of the host.
    pub(super) fn prepared(&mut self, engine: &Engine) -> Result<&mut Prepared> {
        let mut prepared = self.engines.iter_mut();
        let prepared = prepared.find(|prepared| Engine::same(&prepared.engine, engine));
        prepared.context("an engine of the host")
    }

    /// The module of another engine, if it is compiled.
    pub(super) fn another_module(&self, engine: &Engine) -> Option<Module> {
        let mut others = self.engines.iter().filter(|other| !Engine::same(&other.engine, engine));
        others.find_map(|other| other.module.clone())
    }

    fn new_store(&mut self, slot: u8, engine: u8) -> Result<()> {
        let place = usize::from(slot) % STORES;
        let slot = &mut self.slots[place];
        if slot.world.is_some() {
            return Ok(());
        }
        let Prepared { engine, .. } = &self.engines[usize::from(engine) % self.engines.len()];
        let token = self.ledger.issue();
        let others = vec![token.number()];
        let limits =
            StoreLimitsBuilder::new().table_elements(TABLE_LIMIT).memory_size(MEMORY_LIMIT);
        let data = Data { limits: limits.build(), slot: place, _token: token, host: None };
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
        slot.world = Some(World {
            ledger: self.ledger.clone(),
            reclaims: engine.collector().reclaims(),
            struct_pre: StructRefPre::new(&mut store, struct_type.clone()),
            array_pre: ArrayRefPre::new(&mut store, array_type.clone()),
            struct_type,
            array_type,
            objects: Vec::new(),
            scopes: vec![Vec::new()],
            stale: Vec::new(),
            owned: Vec::new(),
            weak: Vec::new(),
            finalizers: Vec::new(),
            globals: Vec::new(),
            tables: Vec::new(),
            memory: None,
            instance: None,
            kept: Value::Null,
            running_result: None,
            running: Vec::new(),
            boxed: Vec::new(),
            others,
        });
        slot.store = Some(store);
        Ok(())
    }

    fn drop_store(&mut self, slot: u8) -> Result<()> {
        let slot = &mut self.slots[usize::from(slot) % STORES];
        let Some(mut store) = slot.store.take() else { return Ok(()) };
        let mut world = slot.world.take().context("a store has a model")?;
        store.gc(None)?;
        world.check_alive(store.gc_stats().live_objects).context("before the end of the store")?;
        while let Some((object, value)) = store.next_finalizable() {
            world.finalized(&mut store, object, value)?;
        }
        ensure!(!world.some_finalizable(), "an object with a finalizer was not found dead");
        drop(store);
        let finalizers = world.finalizers.iter().map(|finalizer| finalizer.weak);
        for token in world.boxed.iter().chain(&world.others).copied().chain(finalizers) {
            let times = self.ledger.times_dropped(token);
            ensure!(times == 1, "host value {token} was dropped {times} times with its store");
        }
        self.orphans.extend(world.scopes.iter().flatten().filter_map(|(handle, _)| *handle));
        self.orphans.extend(world.stale);
        self.owned.extend(world.owned.into_iter().map(|(owned, _)| owned));
        self.owned.truncate(4);
        Ok(())
    }

    /// Makes calls with the store in this slot, if it is not in use.
    fn enter(&mut self, slot: u8) -> Result<()> {
        let slot = usize::from(slot) % STORES;
        let Some(mut store) = self.slots[slot].store.take() else { return Ok(()) };
        let result = self.calls(slot, store.as_context_mut());
        self.slots[slot].store = Some(store);
        result
    }

    /// Interrupts a loop in a store that is not in use.
    fn interrupt(&mut self, slot: u8) -> Result<()> {
        let slot = usize::from(slot) % STORES;
        let Some(mut store) = self.slots[slot].store.take() else { return Ok(()) };
        let (instance, limited) = self.instance(slot, store.as_context_mut())?;
        let handle = store.interrupt_handle();
        ensure!(limited == handle.is_ok(), "an engine without interrupts has one");
        if let Ok(handle) = handle {
            handle.interrupt();
            let burn = instance.get_typed_func::<(), i32>(&mut store, "burn")?;
            let error = burn.call(&mut store, ()).err().context("it was not interrupted")?;
            ensure!(error.downcast_ref::<Trap>() == Some(&Trap::Interrupt), "{error:?}");
            store.clear_interrupt()?;
            ensure!(burn.call(&mut store, ())? == 100, "another result after an interrupt");
        }
        self.slots[slot].store = Some(store);
        Ok(())
    }

    /// Makes calls until the end of what was begun.
    pub(super) fn calls(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
    ) -> Result<()> {
        self.depth += 1;
        while let Some(op) = self.ops.get(self.next).copied() {
            self.next += 1;
            match op {
                Op::End => break,
                Op::New { slot, engine } => self.new_store(slot, engine)?,
                Op::Drop { slot } => self.drop_store(slot)?,
                Op::Interrupt { slot } => self.interrupt(slot)?,
                Op::Enter { slot } if self.depth < DEPTH => self.enter(slot)?,
                Op::Scope if self.depth < DEPTH => {
                    self.world(slot).scopes.push(Vec::new());
                    let mut scope = RootScope::new(store.as_context_mut());
                    let result = self.calls(slot, scope.as_context_mut());
                    drop(scope);
                    self.world(slot).end_scope();
                    result?;
                }
                Op::Call { from, external, end } if self.depth < DEPTH => {
                    self.call(slot, store.as_context_mut(), from, external, end)
                        .with_context(|| format!("{op:?}"))?;
                }
                op => self
                    .simple(slot, store.as_context_mut(), op)
                    .with_context(|| format!("call {}: {op:?}", self.next - 1))?,
            }
            self.world(slot).note_lost();
        }
        self.depth -= 1;
        Ok(())
    }

    /// The instance of the module in this store, with enough fuel for a call.
    pub(super) fn instance(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
    ) -> Result<(Instance, bool)> {
        let mut prepared = self.engines.iter_mut();
        let prepared = prepared.find(|other| Engine::same(&other.engine, store.engine()));
        let prepared = prepared.context("an engine of the host")?;
        if prepared.limited {
            store.set_fuel(1_000_000)?;
        }
        let world = self.slots[slot].world.as_mut().context("the store's model is here")?;
        let instance = match world.instance {
            Some(instance) => instance,
            None => {
                let module = match &prepared.module {
                    Some(module) => module,
                    None => prepared.module.insert(Module::new(&prepared.engine, MODULE)?),
                };
                *world.instance.insert(prepared.linker.instantiate(store, module)?)
            }
        };
        Ok((instance, prepared.limited))
    }
}
