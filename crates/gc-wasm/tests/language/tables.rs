//! Bulk operations on tables, segments, arrays and memories: grow, fill, copy, initialise, from
//! compiled code and from the host, with correct reference counts.

use crate::common::{Drops, each_collector, everywhere, message, trap};
use anyhow::{Context, Result};
use gc_wasm::explore::{Emit, explore};
use gc_wasm::{
    ExternRef, Func, HeapType, Instance, Memory, MemoryType, Module, Ref, RefType, RootScope,
    Rooted, Store, Table, TableType, Trap, Val,
};

type E = Option<Rooted<ExternRef>>;

fn externrefs(minimum: u32, maximum: Option<u32>) -> TableType {
    TableType::new(RefType::new(true, HeapType::Extern), minimum, maximum)
}

/// The numbers of the values in a table, `-1` for null.
fn numbers(store: &mut Store<()>, table: &Table) -> Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for i in 0..table.size(&*store) {
        let mut scope = RootScope::new(&mut *store);
        let value = table.get(&mut scope, i).context("an element")?;
        numbers.push(match value.as_extern().context("an externref")? {
            None => -1,
            Some(value) => {
                let data = value.data(&scope)?.context("a host value")?;
                data.downcast_ref::<crate::common::Counted>().context("counted")?.number as i32
            }
        });
    }
    Ok(numbers)
}

const TABLES: &str = r#"(module
    (import "" "table" (table $host 0 10 externref))
    (table $own (export "own") 4 12 externref)
    (table $funcs (export "funcs") 2 funcref)
    (export "host" (table $host))
    (func (export "own.grow") (param externref i32) (result i32)
        (table.grow $own (local.get 0) (local.get 1)))
    (func (export "host.grow") (param externref i32) (result i32)
        (table.grow $host (local.get 0) (local.get 1)))
    (func (export "own.fill") (param i32 externref i32)
        (table.fill $own (local.get 0) (local.get 1) (local.get 2)))
    (func (export "own.copy") (param i32 i32 i32)
        (table.copy $own $own (local.get 0) (local.get 1) (local.get 2)))
    (func (export "to_host") (param i32 i32 i32)
        (table.copy $host $own (local.get 0) (local.get 1) (local.get 2)))
    (func (export "from_host") (param i32 i32 i32)
        (table.copy $own $host (local.get 0) (local.get 1) (local.get 2)))
    (func (export "size") (result i32) (table.size $own))
    (func (export "funcs.grow") (param funcref i32) (result i32)
        (table.grow $funcs (local.get 0) (local.get 1)))
    (func (export "call") (param i32) (result i32)
        (call_indirect $funcs (result i32) (local.get 0)))
    (func (export "seven") (result i32) (i32.const 7)))"#;

#[test]
fn tables_grow_fill_and_copy() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, ());
        let host = Table::new(&mut store, externrefs(0, Some(10)), Ref::Extern(None))?;
        let instance = Instance::new(&mut store, &Module::new(&engine, TABLES)?, &[host.into()])?;
        let own = instance.get_table(&mut store, "own").context("an export")?;
        let value = |store: &mut RootScope<&mut Store<()>>| ExternRef::new(store, drops.value());

        // 0: grown into both by compiled code, 1: by the host.
        let mut scope = RootScope::new(&mut store);
        let v = value(&mut scope)?;
        let grow = instance.get_typed_func::<(E, i32), i32>(&mut scope, "own.grow")?;
        assert_eq!(grow.call(&mut scope, (Some(v), 2))?, 4);
        assert_eq!(grow.call(&mut scope, (Some(v), 7))?, -1);
        assert_eq!(grow.call(&mut scope, (Some(v), -1))?, -1);
        assert_eq!(grow.call(&mut scope, (Some(v), 0))?, 6);
        let grow = instance.get_typed_func::<(E, i32), i32>(&mut scope, "host.grow")?;
        assert_eq!(grow.call(&mut scope, (Some(v), 3))?, 0);
        let v = value(&mut scope)?;
        assert_eq!(own.grow(&mut scope, 2, v.into())?, 6);
        assert_eq!(own.size(&scope), 8);
        assert_eq!(
            message(own.grow(&mut scope, 5, v.into())),
            "failed to grow table by `5`: a table of 8 elements cannot grow by 5"
        );
        drop(scope);
        store.gc(None)?;
        assert_eq!(numbers(&mut store, &own)?, [-1, -1, -1, -1, 0, 0, 1, 1]);
        assert_eq!(numbers(&mut store, &host)?, [0, 0, 0]);

        // 2 and 3: overlapping copies in both directions.
        let mut scope = RootScope::new(&mut store);
        let fill = instance.get_typed_func::<(i32, E, i32), ()>(&mut scope, "own.fill")?;
        for (at, len) in [(0, 2), (2, 1)] {
            let v = value(&mut scope)?;
            fill.call(&mut scope, (at, Some(v), len))?;
        }
        drop(scope);
        assert_eq!(numbers(&mut store, &own)?, [2, 2, 3, -1, 0, 0, 1, 1]);
        let copy = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, "own.copy")?;
        copy.call(&mut store, (1, 0, 5))?;
        store.gc(None)?;
        assert_eq!(numbers(&mut store, &own)?, [2, 2, 2, 3, -1, 0, 1, 1]);
        copy.call(&mut store, (0, 2, 6))?;
        store.gc(None)?;
        assert_eq!(numbers(&mut store, &own)?, [2, 3, -1, 0, 1, 1, 1, 1]);
        copy.call(&mut store, (3, 3, 5))?;
        copy.call(&mut store, (8, 0, 0))?;
        assert_eq!(trap(copy.call(&mut store, (4, 3, 5))), Trap::TableOutOfBounds);
        assert_eq!(trap(copy.call(&mut store, (9, 0, 0))), Trap::TableOutOfBounds);
        assert_eq!(trap(copy.call(&mut store, (0, -1, 2))), Trap::TableOutOfBounds);
        assert_eq!(numbers(&mut store, &own)?, [2, 3, -1, 0, 1, 1, 1, 1]);

        // Between two tables.
        let copy = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, "to_host")?;
        copy.call(&mut store, (0, 0, 3))?;
        assert_eq!(numbers(&mut store, &host)?, [2, 3, -1]);
        let copy = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, "from_host")?;
        copy.call(&mut store, (4, 1, 1))?;
        assert_eq!(trap(copy.call(&mut store, (0, 1, 3))), Trap::TableOutOfBounds);
        store.gc(None)?;
        assert_eq!(numbers(&mut store, &own)?, [2, 3, -1, 0, 3, 1, 1, 1]);
        assert_eq!(drops.count(), 0);

        // All references are counted. Removing the last one drops the value.
        let fill = instance.get_typed_func::<(i32, E, i32), ()>(&mut store, "own.fill")?;
        fill.call(&mut store, (0, None, 8))?;
        store.gc(None)?;
        if setting.reclaims() {
            assert_eq!([0, 1, 2, 3].map(|i| drops.of(i)), [1, 1, 0, 0]);
        }
        for i in 0..3 {
            host.set(&mut store, i, Ref::Extern(None))?;
        }
        store.gc(None)?;
        assert_eq!(drops.count(), if setting.reclaims() { 4 } else { 0 });

        // Functions.
        let grow = instance.get_typed_func::<(Option<Func>, i32), i32>(&mut store, "funcs.grow")?;
        let call = instance.get_typed_func::<i32, i32>(&mut store, "call")?;
        let seven = instance.get_func(&mut store, "seven").context("an export")?;
        let eight = Func::wrap(&mut store, || 8_i32);
        let funcs = instance.get_table(&mut store, "funcs").context("an export")?;
        assert_eq!(grow.call(&mut store, (Some(seven), 2))?, 2);
        funcs.set(&mut store, 1, eight.into())?;
        assert_eq!(funcs.grow(&mut store, 1, eight.into())?, 4);
        assert_eq!(call.call(&mut store, 1)?, 8);
        assert_eq!(call.call(&mut store, 3)?, 7);
        assert_eq!(call.call(&mut store, 4)?, 8);
        assert_eq!(trap(call.call(&mut store, 0)), Trap::IndirectCallToNull);
        assert_eq!(trap(call.call(&mut store, 5)), Trap::TableOutOfBounds);
        assert_eq!(funcs.get(&mut store, 3).context("an element")?.as_func(), Some(Some(&seven)));
        assert!(funcs.get(&mut store, 5).is_none());
        Ok(())
    })
}

const ARRAYS: &str = r#"(module
    (type $a (array (mut externref)))
    (import "" "value" (global $value externref))
    (elem $elem externref (global.get $value) (ref.null extern) (global.get $value))
    (global $g (mut (ref null $a)) (ref.null $a))
    (table $t (export "table") 6 externref)
    (func (export "new") (param externref i32)
        (global.set $g (array.new $a (local.get 0) (local.get 1))))
    (func (export "set") (param i32 externref)
        (array.set $a (global.get $g) (local.get 0) (local.get 1)))
    (func (export "copy") (param i32 i32 i32)
        (array.copy $a $a (global.get $g) (local.get 0) (global.get $g) (local.get 1)
            (local.get 2)))
    (func (export "fill") (param i32 externref i32)
        (array.fill $a (global.get $g) (local.get 0) (local.get 1) (local.get 2)))
    (func (export "init") (param i32 i32 i32)
        (array.init_elem $a $elem (global.get $g) (local.get 0) (local.get 1) (local.get 2)))
    (func (export "from_elem") (param i32 i32)
        (global.set $g (array.new_elem $a $elem (local.get 0) (local.get 1))))
    (func (export "drop") (elem.drop $elem))
    (func (export "forget") (global.set $g (ref.null $a)))
    (func (export "show")
        (local $i i32)
        (table.fill $t (i32.const 0) (ref.null extern) (table.size $t))
        (loop $again
            (if (i32.lt_u (local.get $i) (array.len (global.get $g))) (then
                (table.set $t (local.get $i) (array.get $a (global.get $g) (local.get $i)))))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                (table.size $t))))))"#;

#[test]
fn arrays_of_references_are_counted() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, ());
        let mut scope = RootScope::new(&mut store);
        let value = ExternRef::new(&mut scope, drops.value())?;
        let ty = gc_wasm::GlobalType::new(gc_wasm::ValType::EXTERNREF, gc_wasm::Mutability::Const);
        let global = gc_wasm::Global::new(&mut scope, ty, value.into())?;
        drop(scope);
        let instance = Instance::new(&mut store, &Module::new(&engine, ARRAYS)?, &[global.into()])?;
        let table = instance.get_table(&mut store, "table").context("an export")?;
        let run = |store: &mut Store<()>, name: &str, arguments: &[Val]| -> Result<()> {
            let f = instance.get_func(&mut *store, name).context("an export")?;
            f.call(store, arguments, &mut [])
        };
        let with =
            |store: &mut Store<()>, name: &str, arguments: &[Val], at: usize| -> Result<()> {
                let mut scope = RootScope::new(store);
                let value = ExternRef::new(&mut scope, drops.value())?;
                let mut arguments = arguments.to_vec();
                arguments.insert(at, value.into());
                let f = instance.get_func(&mut scope, name).context("an export")?;
                f.call(&mut scope, &arguments, &mut [])
            };
        let show = |store: &mut Store<()>| -> Result<Vec<i32>> {
            store.gc(None)?;
            run(store, "show", &[])?;
            let numbers = numbers(store, &table)?;
            for i in 0..table.size(&*store) {
                table.set(&mut *store, i, Ref::Extern(None))?;
            }
            Ok(numbers)
        };
        let dead = |drops: &Drops| -> Vec<usize> {
            (0..drops.made()).filter(|n| drops.of(*n) == 1).collect()
        };
        let expect = |drops: &Drops, expected: &[usize]| match setting.reclaims() {
            true => assert_eq!(dead(drops), expected),
            false => assert_eq!(dead(drops), []),
        };
        let [zero, one, two, three, four, five] = [0, 1, 2, 3, 4, 5].map(Val::I32);

        with(&mut store, "new", &[five], 0)?;
        for i in [one, two, three] {
            with(&mut store, "set", &[i], 1)?;
        }
        assert_eq!(show(&mut store)?, [1, 2, 3, 4, 1, -1]);
        // Overlapping, up and down.
        run(&mut store, "copy", &[one, zero, four])?;
        assert_eq!(show(&mut store)?, [1, 1, 2, 3, 4, -1]);
        run(&mut store, "copy", &[zero, two, three])?;
        assert_eq!(show(&mut store)?, [2, 3, 4, 3, 4, -1]);
        expect(&drops, &[1]);
        run(&mut store, "copy", &[two, two, three])?;
        run(&mut store, "copy", &[five, zero, zero])?;
        assert_eq!(trap(run(&mut store, "copy", &[three, zero, three])), Trap::ArrayOutOfBounds);
        assert_eq!(show(&mut store)?, [2, 3, 4, 3, 4, -1]);
        run(&mut store, "copy", &[two, zero, two])?;
        assert_eq!(show(&mut store)?, [2, 3, 2, 3, 4, -1]);
        with(&mut store, "fill", &[one, three], 1)?;
        assert_eq!(show(&mut store)?, [2, 5, 5, 5, 4, -1]);
        expect(&drops, &[1, 3]);
        assert_eq!(trap(with(&mut store, "fill", &[three, three], 1)), Trap::ArrayOutOfBounds);
        store.gc(None)?;
        expect(&drops, &[1, 3, 6]);
        // From a segment. The segment and the table share the values.
        run(&mut store, "init", &[three, one, two])?;
        assert_eq!(show(&mut store)?, [2, 5, 5, -1, 0, -1]);
        assert_eq!(trap(run(&mut store, "init", &[three, two, two])), Trap::TableOutOfBounds);
        assert_eq!(trap(run(&mut store, "init", &[four, zero, two])), Trap::ArrayOutOfBounds);
        expect(&drops, &[1, 3, 4, 6]);
        run(&mut store, "from_elem", &[zero, three])?;
        assert_eq!(show(&mut store)?, [0, -1, 0, -1, -1, -1]);
        expect(&drops, &[1, 2, 3, 4, 5, 6]);
        run(&mut store, "drop", &[])?;
        assert_eq!(trap(run(&mut store, "from_elem", &[zero, one])), Trap::TableOutOfBounds);
        run(&mut store, "from_elem", &[zero, zero])?;
        assert_eq!(show(&mut store)?, [-1; 6]);
        run(&mut store, "forget", &[])?;
        assert_eq!(trap(run(&mut store, "show", &[])), Trap::NullReference);
        // The global still has value 0.
        store.gc(None)?;
        expect(&drops, &[1, 2, 3, 4, 5, 6]);
        drop(store);
        assert_eq!(drops.count(), drops.made());
        Ok(())
    })
}

#[test]
fn memories_grow_and_keep_their_bytes() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let host = Memory::new(&mut store, MemoryType::new(1, Some(5)))?;
        let module = Module::new(
            &engine,
            r#"(module (import "" "memory" (memory $m 1 5))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
                (func (export "size") (result i32) (memory.size))
                (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
                (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
                ;; Growth in the middle of a function, with the address kept.
                (func (export "both") (param $at i32) (result i32)
                    (i32.store (local.get $at) (i32.const 11))
                    (drop (memory.grow (i32.const 1)))
                    (i32.store (i32.add (i32.const 65536) (local.get $at)) (i32.const 22))
                    (i32.add (i32.load (local.get $at)) (i32.load offset=65536 (local.get $at)))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
        let size = instance.get_typed_func::<(), i32>(&mut store, "size")?;
        let load = instance.get_typed_func::<i32, i32>(&mut store, "load")?;
        let write = instance.get_typed_func::<(i32, i32), ()>(&mut store, "store")?;
        host.data_mut(&mut store)[65535] = 9;
        write.call(&mut store, (7, 5))?;
        let base = host.data(&store).as_ptr();
        assert_eq!(trap(load.call(&mut store, 65536)), Trap::MemoryOutOfBounds);
        assert_eq!(grow.call(&mut store, 1)?, 1);
        assert_eq!(load.call(&mut store, 65536)?, 0);
        assert_eq!(load.call(&mut store, 65535)?, 9);
        assert_eq!(host.grow(&mut store, 1)?, 2);
        assert_eq!(size.call(&mut store, ())?, 3);
        assert_eq!(host.data(&store).len(), 3 << 16);
        assert_eq!((host.data(&store)[7], host.data(&store).as_ptr()), (5, base));
        host.data_mut(&mut store)[(3 << 16) - 1] = 3;
        assert_eq!(load.call(&mut store, (3 << 16) - 1)?, 3);
        let both = instance.get_typed_func::<i32, i32>(&mut store, "both")?;
        assert_eq!(both.call(&mut store, 1000)?, 33);
        assert_eq!(grow.call(&mut store, 2)?, -1);
        assert_eq!(grow.call(&mut store, -1)?, -1);
        assert_eq!(grow.call(&mut store, 1)?, 4);
        assert_eq!(grow.call(&mut store, 1)?, -1);
        assert_eq!(
            message(host.grow(&mut store, 1)),
            "failed to grow memory by `1`: a memory of 5 pages cannot grow by 1"
        );
        assert_eq!(trap(load.call(&mut store, 5 << 16)), Trap::MemoryOutOfBounds);
        assert_eq!(trap(load.call(&mut store, -1)), Trap::MemoryOutOfBounds);
        Ok(())
    })
}

/// A segment's objects live until the segment is dropped. Those of an active or declared segment
/// die after instantiation, unless a table has them.
#[test]
fn segments_hold_their_elements_until_dropped() -> Result<()> {
    let wat = r#"(module
        (type $s (struct (field i32)))
        (type $a (array (mut (ref null $s))))
        (table $t 4 (ref null $s))
        (elem $passive (ref null $s)
            (struct.new $s (i32.const 1)) (ref.null $s) (struct.new $s (i32.const 2)))
        (elem (table $t) (i32.const 1) (ref null $s)
            (struct.new $s (i32.const 3)) (struct.new $s (i32.const 4)))
        (elem declare (ref null $s) (struct.new $s (i32.const 5)))
        (func (export "init") (table.init $t $passive (i32.const 0) (i32.const 1) (i32.const 2)))
        (func (export "sum") (result i32)
            (i32.add (struct.get $s 0 (table.get $t (i32.const 1)))
                (struct.get $s 0 (table.get $t (i32.const 2)))))
        (func (export "elem.drop") (elem.drop $passive))
        (func (export "clear") (table.fill $t (i32.const 0) (ref.null $s) (i32.const 4))))"#;
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(wat, &[])?;
        let live = |store: &mut Store<()>, expected: u64| -> Result<()> {
            store.gc(None)?;
            if setting.reclaims() {
                assert_eq!(store.gc_stats().live_objects, expected);
            }
            Ok(())
        };
        let run = |store: &mut Store<()>, name: &str| {
            instance.get_typed_func::<(), ()>(&mut *store, name)?.call(store, ())
        };
        let sum = instance.get_typed_func::<(), i32>(&mut store, "sum")?;
        live(&mut store, 4)?;
        assert_eq!(sum.call(&mut store, ())?, 3 + 4);
        run(&mut store, "init")?;
        live(&mut store, 3)?;
        assert_eq!(sum.call(&mut store, ())?, 2 + 4);
        run(&mut store, "elem.drop")?;
        live(&mut store, 2)?;
        run(&mut store, "elem.drop")?;
        assert_eq!(trap(run(&mut store, "init")), Trap::TableOutOfBounds);
        assert_eq!(sum.call(&mut store, ())?, 2 + 4);
        run(&mut store, "clear")?;
        live(&mut store, 0)
    })
}

/// Tables that never grow: small ones, whose elements every collection visits, and others. Each has a
/// young object when old ones are not visited.
const FIXED: &str = r#"(module
    (type $box (struct (field i32)))
    (table $small 3 anyref)
    (table $filled 2 (ref null $box))
    (table $large 5000 anyref)
    (table $exported (export "exported") 3 anyref)
    (elem $boxes anyref (item (struct.new $box (i32.const 40))) (item (ref.i31 (i32.const 1))))
    (func $box (param i32) (result (ref $box)) (struct.new $box (local.get 0)))
    (func $value (param anyref) (result i32)
        (struct.get $box 0 (ref.cast (ref $box) (local.get 0))))
    (func $garbage (param $count i32)
        (local $i i32)
        (loop $next
            (drop (struct.new $box (local.get $i)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (local.get $count)))))
    (func (export "run") (param $n i32) (param $garbage i32) (result i32)
        (table.set $small (i32.const 1) (call $box (local.get $n)))
        (table.set $large (i32.const 4999) (call $box (i32.const 2)))
        (table.set $exported (i32.const 2) (call $box (i32.const 3)))
        (table.fill $filled (i32.const 0) (call $box (i32.const 10)) (i32.const 2))
        (table.init $small $boxes (i32.const 0) (i32.const 0) (i32.const 1))
        (table.copy $small $filled (i32.const 2) (i32.const 1) (i32.const 1))
        (call $garbage (local.get $garbage))
        (i32.add (call $value (table.get $small (i32.const 0)))
            (i32.add (call $value (table.get $small (i32.const 1)))
                (i32.add (call $value (table.get $small (i32.const 2)))
                    (i32.add (call $value (table.get $filled (i32.const 0)))
                        (i32.add (call $value (table.get $large (i32.const 4999)))
                            (call $value (table.get $exported (i32.const 2)))))))))
    (func (export "outside") (drop (table.get $small (i32.const 3))))
    (func (export "size") (result i32)
        (i32.add (table.size $small) (table.size $large))))"#;

#[test]
fn elements_of_fixed_tables_are_roots() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        // The nursery is filled.
        let garbage = if setting.zeal { 10 } else { 20_000 };
        let compiled = Module::new(&engine, FIXED)?;
        // SAFETY: these are the bytes of a module that was saved.
        let saved = unsafe { Module::deserialize(&engine, compiled.serialize()?)? };
        for module in [compiled, saved] {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let run = instance.get_typed_func::<(i32, i32), i32>(&mut store, "run")?;
            for n in 0..3 {
                assert_eq!(run.call(&mut store, (n, garbage))?, 40 + n + 10 + 10 + 2 + 3);
                store.gc(None)?;
            }
            let outside = instance.get_typed_func::<(), ()>(&mut store, "outside")?;
            assert_eq!(trap(outside.call(&mut store, ())), Trap::TableOutOfBounds);
            let size = instance.get_typed_func::<(), i32>(&mut store, "size")?;
            assert_eq!(size.call(&mut store, ())?, 5003);
        }
        Ok(())
    })
}

/// An index of which enough bits are masked or shifted out is not compared with the length.
#[test]
fn indices_that_are_always_inside_are_not_compared() -> Result<()> {
    let get = |name: &str, table: &str, index: &str| {
        format!(
            r#"(func (export "{name}") (param $n i32) (param $w i64) (result i32)
                (ref.is_null (table.get {table} {index})))"#
        )
    };
    // Of 64 elements, and whether the index is compared.
    let cases = [
        ("and", "$t", "(i32.and (local.get $n) (i32.const 63))", false),
        ("and_first", "$t", "(i32.and (i32.const 63) (local.get $n))", false),
        ("and_more", "$t", "(i32.and (local.get $n) (i32.const 64))", true),
        ("and_sign", "$t", "(i32.and (local.get $n) (i32.const -1))", true),
        ("shr_u", "$t", "(i32.shr_u (local.get $n) (i32.const 26))", false),
        ("shr_u_less", "$t", "(i32.shr_u (local.get $n) (i32.const 25))", true),
        ("shr_u_none", "$t", "(i32.shr_u (local.get $n) (i32.const 32))", true),
        ("shr_s", "$t", "(i32.shr_s (local.get $n) (i32.const 26))", true),
        ("wide_and", "$wide", "(i64.and (local.get $w) (i64.const 63))", false),
        ("wide_shr_u", "$wide", "(i64.shr_u (local.get $w) (i64.const 58))", false),
        ("wide_shr_u_less", "$wide", "(i64.shr_u (local.get $w) (i64.const 57))", true),
        ("growing", "$growing", "(i32.and (local.get $n) (i32.const 63))", true),
    ];
    let functions: String = cases.iter().map(|(name, table, at, _)| get(name, table, at)).collect();
    let wat = format!(
        r#"(module (table $t 64 anyref) (table $wide i64 64 64 anyref)
            (table $growing (export "table") 64 anyref) {functions})"#
    );
    each_collector(|setting| {
        let (mut store, instance) = setting.instantiate(&wat, &[])?;
        let engine = store.engine().clone();
        for (name, _, _, compared) in cases {
            let clif = explore(&engine, wat.as_bytes(), Emit::Clif, Some(name))?.remove(0).text;
            assert_eq!(clif.contains("trapnz"), compared, "{name}\n{clif}");
            let func = instance.get_typed_func::<(i32, i64), i32>(&mut store, name)?;
            assert_eq!(func.call(&mut store, (0, 0))?, 1);
            let result = func.call(&mut store, (-1, -1));
            match compared && name != "growing" {
                true => assert_eq!(trap(result), Trap::TableOutOfBounds, "{name}"),
                false => assert_eq!(result?, 1, "{name}"),
            }
        }
        Ok(())
    })
}
