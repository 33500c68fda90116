//! Asynchronous calls whose futures are dropped at any point, and stores that are used again
//! afterwards.
//!
//! The code keeps references in locals, objects and frames while the host function that it calls
//! waits, collects, makes garbage and calls the code again. When the host function returns, the code
//! and the host check that the references are the same ([`script`]). After each call, finished or
//! not, exactly the host values that globals and owned handles refer to live, and no stack is in use.

mod ops;
mod script;

use crate::{report, way::Way};
use anyhow::{Context as _, Error, Result, bail, ensure};
use gc_testkit::Ledger;
use gc_testkit::fuzz::Target;
use gc_wasm::{
    Engine, Linker, Module, PoolingAllocationConfig, Reclaims, Store, Trap, WasmBacktrace,
};
use ops::Op;
use script::{Data, GLOBALS, Intended, Script};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(super) const TARGET: Target =
    Target { name: "async_drop", run, seeds: 600, length: 300, mutate: Some(ops::mutate) };

/// `step` keeps its arguments and new objects while it calls itself, and in the end the host.
const MODULE: &str = r#"(module
    (type $pair (struct
        (field $n (mut i32)) (field $e (mut externref)) (field $next (mut structref))))
    (type $anys (array (mut anyref)))
    (import "" "host" (func $host (param externref structref) (result externref i32)))
    (import "" "same" (func $same (param externref externref)))
    (func $step (export "step") (param $e externref) (param $p structref) (param $depth i32)
            (param $spin i32) (result externref structref)
        (local $q (ref null $pair)) (local $array (ref null $anys)) (local $result externref)
        (local $inner structref) (local $trap i32)
        (local.set $q (struct.new $pair (local.get $depth) (local.get $e) (local.get $p)))
        (local.set $array (array.new $anys (local.get $q) (i32.const 3)))
        (loop $more
            (local.set $spin (i32.sub (local.get $spin) (i32.const 1)))
            (br_if $more (i32.gt_s (local.get $spin) (i32.const 0))))
        (if (local.get $depth)
            (then
                (call $step (local.get $e) (local.get $q)
                    (i32.sub (local.get $depth) (i32.const 1)) (local.get $spin))
                (local.set $inner)
                (local.set $result)
                (if (i32.ne (i32.sub (local.get $depth) (i32.const 1))
                        (struct.get $pair $n (ref.cast (ref $pair) (local.get $inner))))
                    (then (unreachable))))
            (else
                (call $host (local.get $e) (local.get $q))
                (local.set $trap)
                (local.set $result)
                (if (local.get $trap) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))))
        (call $same (local.get $e) (local.get $result))
        (call $same (local.get $e) (struct.get $pair $e (local.get $q)))
        (if (i32.ne (struct.get $pair $n (local.get $q)) (local.get $depth))
            (then (unreachable)))
        (if (i32.eqz (ref.eq (local.get $q)
                (ref.cast eqref (array.get $anys (local.get $array) (i32.const 2)))))
            (then (unreachable)))
        (if (i32.eqz (ref.eq (local.get $p) (struct.get $pair $next (local.get $q))))
            (then (unreachable)))
        (local.get $result) (local.get $q)))"#;

/// The most polls of a future. Every script needs less.
const MOST_POLLS: u32 = 1_000_000;

/// What became of a future.
enum Ended<R> {
    Ready(R),
    Dropped,
}

fn poll_times<F: Future + ?Sized>(
    mut future: Pin<Box<F>>,
    polls: Option<u32>,
) -> Result<Ended<F::Output>> {
    for _ in 0..polls.unwrap_or(MOST_POLLS) {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(Ended::Ready(output));
        }
    }
    ensure!(polls.is_some(), "a future is never ready");
    Ok(Ended::Dropped)
}

fn run(bytes: &[u8]) -> Result<()> {
    let ([collector, heap, code, options], ops) = ops::decode(bytes);
    let mut config = Way::of_header([collector, heap, code]).config(4 << 20);
    let metering = options % 4;
    config.epoch_interruption(metering & 1 != 0).consume_fuel(metering & 2 != 0);
    config.max_wasm_stack(128 << 10).async_stack_size(512 << 10);
    if options & 4 != 0 {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(2).total_gc_heaps(2).total_stacks(12);
        pool.total_memories(1).max_memory_size(0).total_tables(1);
        config.allocation_strategy(pool);
        config.async_stack_zeroing(options & 8 != 0);
    }
    report::configuration(&config);
    report::module(&wat::parse_str(MODULE)?);
    log::debug!("{ops:?}");
    let engine = Engine::new(&config)?;
    let ledger = Ledger::default();
    {
        let mut linker: Linker<Data> = Linker::new(&engine);
        script::add_to_linker(&mut linker)?;
        let host = Host {
            module: Module::new(&engine, MODULE)?,
            linker,
            metering,
            script: Arc::new(Script::new(ops)),
            ledger: ledger.clone(),
        };
        host.calls()?;
    }
    ledger.check_all_once()?;
    let stacks = engine.async_stacks_in_use();
    ensure!(stacks == 0, "{stacks} stacks are not given back");
    if let Some(metrics) = engine.pooling_allocator_metrics() {
        let in_use = (metrics.stacks(), metrics.gc_heaps(), metrics.core_instances());
        ensure!(in_use == (0, 0, 0), "stacks, heaps and instances are in use: {in_use:?}");
    }
    Ok(())
}

struct Host {
    linker: Linker<Data>,
    module: Module,
    metering: u8,
    script: Arc<Script>,
    ledger: Ledger,
}

impl Host {
    fn store(&self) -> Result<Store<Data>> {
        let engine = self.linker.engine();
        let data = Data::new(self.script.clone(), self.ledger.clone());
        let mut store = Store::new(engine, data);
        if self.metering & 1 != 0 {
            store.epoch_deadline_async_yield_and_update(1);
        }
        if self.metering & 2 != 0 {
            store.set_fuel(u64::MAX)?;
            store.fuel_async_yield_interval(Some(50))?;
        }
        script::make_globals(&mut store)?;
        let future = Box::pin(self.linker.instantiate_async(&mut store, &self.module));
        let Ended::Ready(instance) = poll_times(future, None)? else { bail!("dropped") };
        let step = instance?.get_typed_func(&mut store, "step")?;
        store.data_mut().step = Some(step);
        Ok(store)
    }

    fn calls(&self) -> Result<()> {
        let mut store = self.store()?;
        while !self.script.is_empty() {
            let (polled, depth, spin, own) = match self.script.begin() {
                Some(Op::Begin { polls, depth, spin, own }) => {
                    (ops::polls(polls), depth, spin, own)
                }
                _ => (None, 0, 0, 0),
            };
            let (ended, kept) = if own % 4 == 3 {
                // The future owns the store: they are dropped together.
                let future = async move {
                    let result = script::step(&mut store, depth, spin).await;
                    (result, store)
                };
                match poll_times(Box::pin(future), polled)? {
                    Ended::Ready((result, store)) => (Ended::Ready(result), Some(store)),
                    Ended::Dropped => (Ended::Dropped, None),
                }
            } else {
                let future = Box::pin(script::step(&mut store, depth, spin));
                (poll_times(future, polled)?, Some(store))
            };
            self.script.check()?;
            if let Ended::Ready(Err(error)) = ended {
                self.expected(error)?;
            }
            store = match kept {
                Some(store) => store,
                None => {
                    self.ledger
                        .check_all_once()
                        .context("the store was dropped with its future")?;
                    self.store()?
                }
            };
            check_alive(&mut store)?;
            let stacks = store.engine().async_stacks_in_use();
            ensure!(stacks == 0, "{stacks} stacks are in use although no call runs");
        }
        Ok(())
    }

    /// Whether a call may end with this error.
    fn expected(&self, error: Error) -> Result<()> {
        let trap = error.downcast_ref::<Trap>() == Some(&Trap::IntegerDivisionByZero);
        let intended = error.chain().any(|cause| cause.is::<Intended>());
        let _: Option<&WasmBacktrace> = error.downcast_ref();
        if intended || trap && self.script.take_trap() { Ok(()) } else { Err(error) }
    }
}

/// Checks between two calls that exactly the host values live that something refers to.
fn check_alive(store: &mut Store<Data>) -> Result<()> {
    store.gc(None)?;
    let ledger = store.data().ledger.clone();
    ledger.check_none_twice()?;
    let data = store.data();
    let kept = data.kept.iter().flatten().copied();
    let mut kept: Vec<u32> = kept.chain(data.owned.iter().map(|(_, token)| *token)).collect();
    kept.sort_unstable();
    kept.dedup();
    for token in &kept {
        ensure!(ledger.times_dropped(*token) == 0, "host value {token} was dropped");
    }
    for token in &data.local() {
        ensure!(ledger.times_dropped(*token) == 1, "local value {token} leaks");
    }
    if store.engine().collector().reclaims() == Reclaims::Everything {
        let (alive, live) = (ledger.alive() as usize, store.gc_stats().live_objects);
        ensure!(alive == kept.len(), "{alive} host values live instead of {kept:?}");
        ensure!(live == kept.len() as u64, "{live} objects live instead of {kept:?}");
    }
    for global in 0..GLOBALS {
        script::check_global(&mut *store, global)?;
    }
    Ok(())
}
