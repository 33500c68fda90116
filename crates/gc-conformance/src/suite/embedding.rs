//! The guarantees for an embedder, tested through compiled code. Handles refer to their objects
//! however often the objects move. Host values die once and do not leak. A full heap is an error
//! after which program and host continue. The shape of the graph and the size of an object do not
//! matter.

use super::Setting;
use anyhow::{Context, Result, ensure};
use gc_testkit::Ledger;
use gc_wasm::{
    AnyRef, Collector, Engine, ExternRef, Instance, Module, OwnedRooted, Reclaims, RootScope,
    Rooted, Store, Trap, TypedFunc, WasmParams, WasmResults,
};
use libtest_mimic::Trial;

const MIB: u64 = 1 << 20;

/// Objects of every shape, which compiled code makes and reads.
const MODULE: &str = r#"(module
    (rec
        (type $node (struct (field $n (mut i32)) (field $next (mut (ref null $node)))))
        (type $tree (struct (field $left (ref null $tree)) (field $right (ref null $tree)))))
    (type $box (struct (field (mut externref))))
    (type $bytes (array (mut i8)))
    (type $nodes (array (mut (ref null $node))))
    (global $list (mut (ref null $node)) (ref.null $node))
    (global $length (mut i32) (i32.const 0))
    (global $box (mut (ref null $box)) (ref.null $box))
    (table $table 4 externref)
    (func (export "node") (param i32) (result anyref)
        (struct.new $node (local.get 0) (ref.null $node)))
    (func (export "number") (param anyref) (result i32)
        (struct.get $node $n (ref.cast (ref $node) (local.get 0))))
    (func (export "garbage") (param i32)
        (loop $again
            (drop (struct.new $node (local.get 0) (ref.null $node)))
            (drop (array.new_default $bytes (i32.and (local.get 0) (i32.const 255))))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "hold") (param externref)
        (global.set $box (struct.new $box (local.get 0)))
        (table.set $table (i32.const 1) (local.get 0))
        (struct.set $box 0 (global.get $box) (table.get $table (i32.const 1))))
    (func (export "let_go")
        (global.set $box (ref.null $box))
        (table.fill $table (i32.const 0) (ref.null extern) (i32.const 4)))
    (func (export "push") (param $count i32)
        (loop $again
            (global.set $list (struct.new $node (global.get $length) (global.get $list)))
            (global.set $length (i32.add (global.get $length) (i32.const 1)))
            (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
    (func (export "check") (result i32)
        (local $at (ref null $node)) (local $n i32)
        (local.set $at (global.get $list))
        (local.set $n (global.get $length))
        (loop $again
            (if (ref.is_null (local.get $at)) (then (return (local.get $n))))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (if (i32.ne (struct.get $node $n (local.get $at)) (local.get $n))
                (then (unreachable)))
            (local.set $at (struct.get $node $next (local.get $at)))
            (br $again))
        (unreachable))
    (func (export "clear")
        (global.set $list (ref.null $node)) (global.set $length (i32.const 0)))
    (func (export "length") (result i32) (global.get $length))
    (func (export "ring") (param $size i32)
        (local $first (ref $node)) (local $at (ref $node))
        (local.set $first (struct.new $node (i32.const 0) (ref.null $node)))
        (local.set $at (local.get $first))
        (loop $again
            (local.set $at (struct.new $node (i32.const 1) (local.get $at)))
            (br_if $again (local.tee $size (i32.sub (local.get $size) (i32.const 1)))))
        (struct.set $node $next (local.get $first) (local.get $at)))
    (func $tree (export "tree") (param $depth i32) (result (ref null $tree))
        (if (i32.eqz (local.get $depth)) (then (return (ref.null $tree))))
        (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
        (struct.new $tree (call $tree (local.get $depth)) (call $tree (local.get $depth))))
    (func $count (param $tree (ref null $tree)) (result i32)
        (if (ref.is_null (local.get $tree)) (then (return (i32.const 0))))
        (i32.add (i32.const 1) (i32.add
            (call $count (struct.get $tree $left (local.get $tree)))
            (call $count (struct.get $tree $right (local.get $tree))))))
    (func (export "count") (param $depth i32) (result i32) (call $count (call $tree (local.get 0))))
    (func (export "wide") (param $length i32) (result i32)
        (local $nodes (ref $nodes)) (local $i i32) (local $sum i32)
        (local.set $nodes (array.new_default $nodes (local.get $length)))
        (loop $again
            (array.set $nodes (local.get $nodes) (local.get $i)
                (struct.new $node (local.get $i) (ref.null $node)))
            (br_if $again (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $length))))
        (loop $again
            (local.set $i (i32.sub (local.get $i) (i32.const 1)))
            (local.set $sum (i32.add (local.get $sum)
                (struct.get $node $n (array.get $nodes (local.get $nodes) (local.get $i)))))
            (br_if $again (local.get $i)))
        (local.get $sum))
    (func (export "large") (param $length i32) (result i32)
        (local $kept (ref $bytes)) (local $i i32)
        (local.set $kept (array.new $bytes (i32.const 7) (local.get $length)))
        (loop $again
            (drop (array.new $bytes (i32.const 9) (local.get $length)))
            (br_if $again (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))
        (i32.add (array.get_u $bytes (local.get $kept) (i32.const 0))
            (array.get_u $bytes (local.get $kept)
                (i32.sub (local.get $length) (i32.const 1))))))"#;

/// Each trial for each of `collectors`, in both bounds modes, with and without zeal.
pub fn trials(collectors: &[Collector]) -> Vec<Trial> {
    type Test = fn(&Setting) -> Result<()>;
    let tests: [(&str, Test); 6] = [
        ("handles_follow_their_objects", handles),
        ("host_values_are_dropped_once_and_none_leaks", host_values),
        ("a_full_heap_is_survived", full),
        ("rings_die_where_cycles_do", rings),
        ("deep_and_wide_graphs_live", deep_and_wide),
        ("large_objects_live", large),
    ];
    let all = Setting::all(collectors).into_iter();
    all.flat_map(|setting| tests.map(|(name, test)| setting.clone().trial(name, test))).collect()
}

/// An instance of [`MODULE`] in its own store.
struct Work {
    store: Store<()>,
    instance: Instance,
}

impl Work {
    /// Makes an instance with at most `maximum` bytes of heap.
    fn new(setting: &Setting, maximum: u64) -> Result<Work> {
        let mut config = setting.config(maximum);
        config.gc_heap_initial_size(128 << 10);
        // A collection at each allocation would take too long.
        config.gc_zeal(if setting.zeal { 997 } else { 0 });
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, MODULE)?, &[])?;
        Ok(Work { store, instance })
    }

    fn func<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> Result<TypedFunc<P, R>> {
        self.instance.get_typed_func(&mut self.store, name)
    }

    /// Calls an export that takes and returns numbers.
    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, params: P) -> Result<R> {
        self.func::<P, R>(name)?.call(&mut self.store, params).with_context(|| name.to_owned())
    }

    fn live_objects(&mut self) -> Result<u64> {
        self.store.gc(None)?;
        Ok(self.store.gc_stats().live_objects)
    }
}

fn handles(setting: &Setting) -> Result<()> {
    let mut work = Work::new(setting, 16 * MIB)?;
    let node = work.func::<i32, Option<Rooted<AnyRef>>>("node")?;
    let number = work.func::<Option<Rooted<AnyRef>>, i32>("number")?;
    let garbage = work.func::<i32, ()>("garbage")?;
    let before = work.live_objects()?;
    let mut owned: Vec<OwnedRooted<AnyRef>> = Vec::new();
    for round in 0..8 {
        let mut scope = RootScope::new(&mut work.store);
        let mut scoped = Vec::new();
        for i in 0..20 {
            let made = node.call(&mut scope, round * 100 + i)?.context("a node")?;
            owned.push(made.to_owned_rooted(&mut scope)?);
            scoped.push(made);
            garbage.call(&mut scope, 50)?;
        }
        for (n, handle) in owned.iter().enumerate() {
            let object = handle.to_rooted(&mut scope);
            let (expected, actual) =
                (n / 20 * 100 + n % 20, number.call(&mut scope, Some(object))?);
            ensure!(usize::try_from(actual)? == expected, "{actual} instead of {expected}");
        }
        for (scoped, owned) in scoped.iter().zip(&owned[owned.len() - 20..]) {
            let other = owned.to_rooted(&mut scope);
            ensure!(Rooted::ref_eq(&scope, scoped, &other)?, "two handles of one object differ");
        }
    }
    if setting.collector.reclaims() != Reclaims::Nothing {
        let held = work.live_objects()? - before;
        ensure!(held == owned.len() as u64, "{} handles hold {held} objects", owned.len());
        owned.truncate(40);
        let held = work.live_objects()? - before;
        ensure!(held == 40, "40 handles hold {held} objects");
    }
    drop(owned);
    let held = work.live_objects()? - before;
    ensure!(held == 0 || setting.collector.reclaims() == Reclaims::Nothing, "{held} objects leak");
    Ok(())
}

fn host_values(setting: &Setting) -> Result<()> {
    let values = Ledger::default();
    let mut work = Work::new(setting, 16 * MIB)?;
    let frees = setting.collector.reclaims() != Reclaims::Nothing;
    let hold = work.func::<Option<Rooted<ExternRef>>, ()>("hold")?;
    for _ in 0..1000 {
        let mut scope = RootScope::new(&mut work.store);
        let value = ExternRef::new(&mut scope, values.issue())?;
        hold.call(&mut scope, Some(value))?;
        values.check_none_twice()?;
    }
    work.store.gc(None)?;
    let expected = if frees { 1 } else { values.issued() };
    ensure!(values.alive() == expected, "{} of {expected} values live", values.alive());
    work.call::<(), ()>("let_go", ())?;
    work.store.gc(None)?;
    ensure!(!frees || values.alive() == 0, "{} values leak", values.alive());
    drop(work);
    values.check_all_once()
}

fn full(setting: &Setting) -> Result<()> {
    let mut work = Work::new(setting, MIB)?;
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let error = work.call::<i32, ()>("push", i32::MAX).err().context("it fits")?;
        let trap = error.downcast_ref::<Trap>().copied();
        ensure!(trap == Some(Trap::OutOfMemory), "{error:?}");
        ensure!(work.call::<(), i32>("check", ())? == 0, "the list is not whole");
        lengths.push(work.call::<(), i32>("length", ())?);
        work.call::<(), ()>("clear", ())?;
        if setting.collector.reclaims() == Reclaims::Nothing {
            break;
        }
    }
    let usual = lengths[0];
    let alike = lengths.iter().all(|length| (length - usual).abs() <= usual / 10);
    ensure!(usual > 10_000 && alike, "the numbers of objects of 16 bytes that fit are {lengths:?}");
    let peak = work.store.gc_stats().peak_heap_bytes;
    ensure!(peak <= MIB, "a heap of 1 MiB was {peak} bytes large");
    Ok(())
}

fn rings(setting: &Setting) -> Result<()> {
    let mut work = Work::new(setting, 64 * MIB)?;
    let before = work.live_objects()?;
    work.call::<i32, ()>("push", 10)?;
    for size in 1..if setting.zeal { 100 } else { 1000 } {
        work.call::<i32, ()>("ring", size % 50 + 1)?;
    }
    let live = work.live_objects()? - before;
    ensure!(work.call::<(), i32>("check", ())? == 0, "an object outside the rings is damaged");
    match setting.collector.reclaims() {
        Reclaims::Everything => ensure!(live == 10, "{live} objects live instead of 10"),
        Reclaims::Acyclic | Reclaims::Nothing => ensure!(live >= 10, "only {live} objects live"),
    }
    Ok(())
}

fn deep_and_wide(setting: &Setting) -> Result<()> {
    let mut work = Work::new(setting, 256 * MIB)?;
    // With zeal, all live objects are visited again and again.
    let (length, depth) = if setting.zeal { (3000, 9) } else { (1_000_000, 17) };
    work.call::<i32, ()>("push", length)?;
    work.store.gc(None)?;
    let nodes = work.call::<i32, i32>("count", depth)?;
    ensure!(nodes == (1 << depth) - 1, "a tree of {nodes} nodes");
    let sum = work.call::<i32, i32>("wide", length)?;
    let expected = (0..length).fold(0_i32, i32::wrapping_add);
    ensure!(sum == expected, "a wide array sums up to {sum} instead of {expected}");
    work.store.gc(None)?;
    ensure!(work.call::<(), i32>("check", ())? == 0, "a deep list is not whole");
    Ok(())
}

fn large(setting: &Setting) -> Result<()> {
    let mut work = Work::new(setting, 256 * MIB)?;
    for length in [70_000, 1 << 20, 4 << 20] {
        let sum = work.call::<i32, i32>("large", length)?;
        ensure!(sum == 14, "an array of {length} bytes changed: {sum}");
    }
    work.call::<i32, ()>("push", 1000)?;
    ensure!(work.call::<(), i32>("check", ())? == 0, "the list is not whole");
    Ok(())
}
