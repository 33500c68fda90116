//! The host that makes the calls: its engines and stores, and what nests.

use super::driver::{Api, Driver, Wrong};
use super::ops::{self, Op};
use super::world::{World, pick};
use crate::report;
use crate::way::Way;
use anyhow::{Context as _, Error, Result, bail, ensure};
use gc_testkit::Ledger;
use gc_wasm::Reclaims;

/// What modules do: `run` calls the host, keeps what that returns, and returns its arguments. `throw` throws
/// an exception, and `catch` catches one that the host throws.
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
    (func (export "burn") (result i32) (local $n i32)
        (loop $more
            (br_if $more (i32.lt_u
                (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100))))
        (local.get $n))
    (global (export "constant") i32 (i32.const 7)))"#;

/// The most elements of a table.
pub(super) const TABLE_LIMIT: usize = 30;
/// The most bytes of a memory.
pub(super) const MEMORY_LIMIT: usize = 5 << 16;
/// The most bytes of a heap.
pub(super) const HEAP_LIMIT: u64 = 16 << 20;
/// The most things of one kind that the host keeps.
pub(super) const MOST: usize = 8;
/// How deep scopes and calls may nest.
const DEPTH: usize = 12;
pub(super) const STORES: usize = 3;
/// Enough fuel for a call.
const PLENTY: u64 = 1_000_000;

/// A place for a store. While the store is in use, it is not here, but the model is.
struct Slot<A: Api> {
    store: Option<A::Store>,
    world: Option<World<A>>,
}

/// An engine, and what is known of it.
pub(super) struct KnownEngine<A: Api> {
    pub(super) engine: A::Engine,
    /// No other engine has this number.
    pub(super) number: usize,
    reclaims: Reclaims,
    limited: bool,
}

/// The host.
pub(super) struct Host<A: Api> {
    ops: Vec<Op>,
    next: usize,
    depth: usize,
    pub(super) ledger: Ledger,
    pub(super) engines: Vec<KnownEngine<A>>,
    engines_made: usize,
    slots: [Slot<A>; STORES],
    /// What was wrong while a function of the host ran.
    pub(super) fault: Option<Error>,
    /// Handles of stores that are gone.
    pub(super) orphans: Vec<A::Ref>,
    /// Handles that outlive their stores.
    owned: Vec<A::Owned>,
}

impl<A: Api> Default for Host<A> {
    fn default() -> Host<A> {
        Host {
            ops: Vec::new(),
            next: 0,
            depth: 0,
            ledger: Ledger::default(),
            engines: Vec::new(),
            engines_made: 0,
            slots: [(); STORES].map(|()| Slot { store: None, world: None }),
            fault: None,
            orphans: Vec::new(),
            owned: Vec::new(),
        }
    }
}

/// Makes the calls that the bytes encode.
pub(super) fn run<A: Driver>(bytes: &[u8]) -> Result<()> {
    A::begin();
    let (header, ops) = ops::decode(bytes);
    let mut host = Host::<A> { ops, ..Host::default() };
    let [first, heap, code, second, other_heap, options] = header;
    for (number, [collector, heap]) in [[first, heap], [second, other_heap]].into_iter().enumerate()
    {
        let limited = options >> number & 1 != 0;
        let engine = host.new_engine([collector, heap, code], limited)?;
        host.engines.push(engine);
    }
    log::debug!("{:?}", host.ops);
    report::module(&wat::parse_str(MODULE)?);
    while let Some(op) = host.ops.get(host.next).copied() {
        let slot = match op {
            Op::Enter { slot } => {
                host.next += 1;
                slot
            }
            _ => 0,
        };
        if host.outside(op).with_context(|| format!("{op:?}"))? {
            host.next += 1;
            continue;
        }
        // Calls that use no store make one.
        host.new_store(slot, 0)?;
        host.enter(place(slot))?;
    }
    for slot in 0..STORES {
        host.drop_store(slot, 0)?;
    }
    A::settled()?;
    let ledger = host.ledger.clone();
    drop(host);
    ledger.check_all_once()
}

/// The place of a store.
fn place(slot: u8) -> usize {
    usize::from(slot) % STORES
}

impl<A: Driver> Host<A> {
    pub(super) fn world(&mut self, slot: usize) -> &mut World<A> {
        self.slots[slot].world.as_mut().expect("a store that is in use has a model")
    }

    fn new_engine(&mut self, header: [u8; 3], limited: bool) -> Result<KnownEngine<A>> {
        let way = Way::of_header(header);
        let engine = A::engine(&way, limited).with_context(|| format!("{way:?}"))?;
        let number = self.engines_made;
        self.engines_made += 1;
        let reclaims = way.collector.reclaims();
        Ok(KnownEngine { engine, number, reclaims, limited })
    }

    /// Makes a store in this slot, if there is none.
    fn new_store(&mut self, slot: u8, engine: u8) -> Result<()> {
        let slot = place(slot);
        if self.slots[slot].world.is_some() {
            return Ok(());
        }
        let known = &self.engines[usize::from(engine) % self.engines.len()];
        let new = A::store(&known.engine, slot, &self.ledger)?;
        let mut world = World::new(new.own, &self.ledger, known.reclaims);
        (world.engine, world.limited) = (known.number, known.limited);
        world.tokens.clone_from(&new.tokens);
        world.lasting = new.tokens;
        self.slots[slot] = Slot { store: Some(new.store), world: Some(world) };
        A::settled()
    }

    /// Drops a store that is not in use, with all its handles. Then all its tokens have been dropped.
    fn drop_store(&mut self, slot: usize, order: u8) -> Result<()> {
        let Some(mut store) = self.slots[slot].store.take() else { return Ok(()) };
        let mut world = self.slots[slot].world.take().context("a store has a model")?;
        if order & 1 == 0 {
            let cx = &mut A::context(&mut store);
            world.gc(cx).context("before the end of the store")?;
            while let Some((object, token)) = A::next_finalizable(cx)? {
                world.finalized(cx, object, token)?;
            }
            ensure!(!world.some_finalizable(), "an object with a finalizer was not found dead");
        }
        let tokens = std::mem::take(&mut world.tokens);
        if order & 2 == 0 {
            A::delete_store(&mut world.own);
        }
        drop(store);
        let handles = world.end_scopes();
        if A::SCOPED {
            self.orphans.extend(handles);
            self.owned.extend(world.owned.drain(..).map(|(owned, _)| owned));
            self.owned.truncate(4);
        } else {
            handles.into_iter().for_each(|handle| A::delete(Some(handle)));
        }
        drop(world);
        for token in tokens {
            let times = self.ledger.times_dropped(token);
            ensure!(times == 1, "host value {token} was dropped {times} times with its store");
        }
        A::settled()
    }

    /// Makes calls with the store in this slot, if it is not in use.
    fn enter(&mut self, slot: usize) -> Result<()> {
        let Some(mut store) = self.slots[slot].store.take() else { return Ok(()) };
        let result = self.calls(slot, &mut A::context(&mut store));
        self.slots[slot].store = Some(store);
        result
    }

    /// Makes a call that needs no store to be in use. Whether this is one.
    fn outside(&mut self, op: Op) -> Result<bool> {
        match op {
            Op::New { slot, engine } => self.new_store(slot, engine)?,
            Op::Drop { slot, order } => self.drop_store(place(slot), order)?,
            Op::DeleteStore { slot } => {
                if let Some(world) = &mut self.slots[place(slot)].world {
                    A::delete_store(&mut world.own);
                }
            }
            Op::NewEngine { engine, collector, heap } => {
                let new = self.new_engine([collector, heap, 0], false)?;
                let engine = usize::from(engine) % self.engines.len();
                let old = std::mem::replace(&mut self.engines[engine], new);
                A::drop_engine(old.engine);
            }
            Op::Interrupt { slot } => self.interrupt(place(slot))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Interrupts a loop in a store that is not in use.
    fn interrupt(&mut self, slot: usize) -> Result<()> {
        let Some(mut store) = self.slots[slot].store.take() else { return Ok(()) };
        if self.is_ready(slot, &mut A::context(&mut store))? {
            let world = self.world(slot);
            let program = world.program.as_ref().context("it is ready")?;
            A::interrupt(&mut store, program, world.limited)?;
        }
        self.slots[slot].store = Some(store);
        Ok(())
    }

    /// Makes calls with the store in this slot until the end of what was begun.
    pub(super) fn calls(&mut self, slot: usize, cx: &mut A::Cx<'_>) -> Result<()> {
        self.depth += 1;
        while let Some(op) = self.ops.get(self.next).copied() {
            let number = self.next;
            self.next += 1;
            if matches!(op, Op::End) {
                break;
            }
            self.step(slot, cx, op).with_context(|| format!("call {number}: {op:?}"))?;
            self.world(slot).note_lost();
        }
        self.depth -= 1;
        Ok(())
    }

    /// Makes a call. What nests too deeply is none.
    fn step(&mut self, slot: usize, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        if self.outside(op)? {
            return Ok(());
        }
        let nests = self.depth < DEPTH;
        match op {
            Op::Enter { slot: other } if nests => {
                let other = place(other);
                if self.slots[other].store.is_some() {
                    return self.enter(other);
                }
                // It is in use, or there is none.
                let world = self.slots[other].world.as_ref();
                match world.and_then(|world| A::reenter(&world.own)) {
                    Some(mut again) => self.calls(other, &mut again),
                    None => Ok(()),
                }
            }
            Op::Scope if nests => {
                self.world(slot).open_scope();
                let result = A::scoped(cx, |cx| self.calls(slot, cx));
                self.world(slot).end_scope();
                result
            }
            Op::Call { .. } | Op::RawCall { .. } if !nests => Ok(()),
            op => {
                self.simple(slot, cx, op)?;
                A::settled()
            }
        }
    }

    /// A call that does not nest, or that calls a function.
    fn simple(&mut self, slot: usize, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        let world = self.world(slot);
        match op {
            Op::Host { .. } | Op::I31 { .. } | Op::Struct { .. } | Op::Array { .. } => {
                world.make(cx, op)
            }
            Op::Get { object, index } => world.get(cx, object, index),
            Op::Set { object, index, from } => world.set(cx, object, index, from),
            Op::Equal { .. }
            | Op::Copy { .. }
            | Op::Delete { .. }
            | Op::Attach { .. }
            | Op::Own { .. }
            | Op::Unown { .. }
            | Op::CloneOwned { .. }
            | Op::DropOwned { .. }
            | Op::Downgrade { .. }
            | Op::Upgrade { .. }
            | Op::AddFinalizer { .. }
            | Op::NextFinalizable => world.handle_call(cx, op),
            Op::NewGlobal { .. } | Op::GlobalGet { .. } | Op::GlobalSet { .. } => {
                world.global_call(cx, op)
            }
            Op::NewTable { .. }
            | Op::TableGet { .. }
            | Op::TableSet { .. }
            | Op::TableGrow { .. }
            | Op::TableFill { .. }
            | Op::TableCopy { .. } => world.table_call(cx, op),
            Op::MemoryGrow { .. } | Op::MemoryWrite { .. } | Op::MemoryRead { .. } => {
                world.memory_call(cx, op)
            }
            Op::Gc => world.collect(cx),
            // The handles that a mistake makes on the way are not those of the model.
            Op::Stale { .. } | Op::Foreign { .. } | Op::Wrong { .. } => {
                A::scoped(cx, |cx| self.mistake(slot, cx, op))
            }
            op => self.function_call(slot, cx, op),
        }
    }

    /// Makes a mistake.
    fn mistake(&mut self, slot: usize, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        match op {
            Op::Stale { handle, how } => {
                let world = self.world(slot);
                let Some(i) = pick(&world.stale, handle) else { return Ok(()) };
                let stale = world.stale[i].clone();
                A::stale(cx, world, &stale, how)
            }
            Op::Foreign { slot: other, handle, how } => {
                self.foreign(slot, cx, place(other), [handle, how])
            }
            Op::Wrong { what, index, from } => {
                A::wrong(cx, self, slot, Wrong { what, index, from })
            }
            op => bail!("{op:?} is no mistake"),
        }
    }

    /// Uses what belongs to another store.
    fn foreign(
        &mut self,
        slot: usize,
        cx: &mut A::Cx<'_>,
        other: usize,
        how: [u8; 2],
    ) -> Result<()> {
        let world = if other == slot { None } else { self.slots[other].world.take() };
        let result = A::foreign(cx, self, slot, world.as_ref(), how);
        if world.is_some() {
            self.slots[other].world = world;
        }
        result
    }

    /// A global of another store.
    pub(super) fn global_of_another(&self, slot: usize, other: usize) -> Option<A::Global> {
        let other = other % STORES;
        let world = self.slots[other].world.as_ref().filter(|_| other != slot)?;
        world.globals.first().map(|known| known.global.clone())
    }

    /// Makes the program of a store, if there is none, and gives it enough fuel for a call. Whether there is
    /// a program.
    pub(super) fn is_ready(&mut self, slot: usize, cx: &mut A::Cx<'_>) -> Result<bool> {
        let world = self.slots[slot].world.as_mut().context("the store's model is here")?;
        if !A::is_open(&world.own) {
            return Ok(world.program.is_some());
        }
        if world.limited {
            A::set_fuel(cx, &world.own, PLENTY)?;
        }
        if world.program.is_none() {
            let engine = self.engines.iter_mut().find(|known| known.number == world.engine);
            let engine = engine.map(|known| &mut known.engine);
            world.program = Some(A::program(cx, engine, world, slot)?);
        }
        Ok(true)
    }
}
