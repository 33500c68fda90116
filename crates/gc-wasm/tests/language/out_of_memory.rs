//! A full heap gives an error under each collector, after which the program and the host continue.
//! Released objects make room again if the collector frees memory.

use crate::common::{
    Counted, Drops, Setting, each_collector, everywhere, frame_names, message, new_array,
    new_struct, trap,
};
use anyhow::{Context, Result};
use gc_wasm::{
    ArrayType, Caller, Collector, Engine, ExternRef, FieldType, Func, GcHeapOutOfMemory,
    HeapBounds, HeapError, Instance, Module, Mutability, RootScope, Rooted, StorageType, Store,
    StructType, Trap, Val, ValType,
};

const LIMIT: u64 = 1 << 20;

/// A store whose heap has at most [`LIMIT`] bytes.
fn small(setting: &Setting) -> Result<(Engine, Store<()>)> {
    let mut config = setting.config();
    config.gc_heap_initial_size(128 << 10).gc_heap_maximum(LIMIT);
    // Collecting a full heap at each allocation would take long.
    config.gc_zeal(if setting.zeal { 999 } else { 0 });
    let engine = Engine::new(&config)?;
    let store = Store::new(&engine, ());
    Ok((engine, store))
}

const HOARDER: &str = r#"(module
    (type $node (struct (field $next (ref null $node)) (field $n i32) (field i64)))
    (type $bytes (array (mut i8)))
    (type $refs (array (mut anyref)))
    (elem $elem anyref (ref.null any) (ref.null any) (ref.null any) (ref.null any))
    (data $data "some bytes")
    (global $list (mut (ref null $node)) (ref.null $node))
    (global $length (export "length") (mut i32) (i32.const 0))
    (func $grow (export "hoard")
        (loop $again
            (global.set $list
                (struct.new $node (global.get $list) (global.get $length) (i64.const -1)))
            (global.set $length (i32.add (global.get $length) (i32.const 1)))
            (br $again)))
    (func (export "check") (result i32)
        (local $at (ref null $node)) (local $n i32)
        (local.set $at (global.get $list))
        (local.set $n (global.get $length))
        (block $end
            (loop $again
                (br_if $end (ref.is_null (local.get $at)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (if (i32.ne (struct.get $node $n (local.get $at)) (local.get $n))
                    (then (unreachable)))
                (local.set $at (struct.get $node $next (local.get $at)))
                (br $again)))
        (local.get $n))
    (func (export "give_up")
        (global.set $list (ref.null $node)) (global.set $length (i32.const 0)))
    (func (export "array.new") (drop (array.new $bytes (i32.const 1) (i32.const 2000))))
    (func (export "array.new_default") (drop (array.new_default $refs (i32.const 500))))
    (func (export "array.new_fixed") (drop (array.new_fixed $bytes 33
        (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
        (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
        (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
        (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
        (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1)
        (i32.const 1) (i32.const 1) (i32.const 1))))
    (func (export "array.new_data")
        (drop (array.new_data $bytes $data (i32.const 0) (i32.const 10))))
    (func (export "array.new_elem")
        (drop (array.new_elem $refs $elem (i32.const 0) (i32.const 4))))
    (func (export "struct.new_default") (drop (struct.new_default $node))))"#;

#[test]
fn a_program_survives_it() -> Result<()> {
    everywhere(|setting| {
        let (engine, mut store) = small(setting)?;
        let instance = Instance::new(&mut store, &Module::new(&engine, HOARDER)?, &[])?;
        let call = |store: &mut Store<()>, name: &str| {
            instance.get_typed_func::<(), ()>(&mut *store, name)?.call(store, ())
        };
        let check = instance.get_typed_func::<(), i32>(&mut store, "check")?;
        let length = instance.get_global(&mut store, "length").context("a global")?;
        let mut lengths = Vec::new();
        for round in 0..4 {
            let error = call(&mut store, "hoard").expect_err("it does not fit");
            assert_eq!(
                error.downcast_ref(),
                Some(&HeapError::OutOfMemory { bytes: 24, limit: LIMIT }),
                "round {round}"
            );
            if cfg!(feature = "backtrace") {
                assert_eq!(frame_names(&error)[0], "grow");
            }
            assert_eq!(trap::<()>(Err(error)), Trap::OutOfMemory);
            lengths.push(length.get(&mut store).i32().context("an i32")?);
            // Everything that was built still exists.
            assert_eq!(check.call(&mut store, ())?, 0);
            // Every operation that allocates fails in the same way; no other does.
            for name in ["array.new", "array.new_default", "array.new_fixed"] {
                assert_eq!(trap(call(&mut store, name)), Trap::OutOfMemory, "{name}");
            }
            for name in ["array.new_data", "array.new_elem", "struct.new_default"] {
                // These may find room that was too small for `hoard`.
                let result = call(&mut store, name);
                assert!(result.is_ok() || trap(result) == Trap::OutOfMemory, "{name}");
            }
            assert_eq!(check.call(&mut store, ())?, 0);
            call(&mut store, "give_up")?;
            if !setting.reclaims() {
                assert_eq!(trap(call(&mut store, "array.new")), Trap::OutOfMemory);
                break;
            }
            call(&mut store, "array.new")?;
            call(&mut store, "array.new_default")?;
        }
        // As many objects fit as the limit allows (24 bytes each, or half of it if objects are
        // copied). Each time about the same number fits, except for unusable gaps.
        assert!(lengths.iter().all(|n| *n as u64 * 24 > LIMIT * 4 / 10), "{lengths:?}");
        assert!(lengths.iter().all(|n| (*n - lengths[0]).abs() < lengths[0] / 20), "{lengths:?}");
        assert!(store.gc_stats().peak_heap_bytes <= LIMIT);
        Ok(())
    })
}

#[test]
fn the_host_survives_it() -> Result<()> {
    everywhere(|setting| {
        let (engine, mut store) = small(setting)?;
        let drops = Drops::default();
        let bytes = ArrayType::new(&engine, FieldType::new(Mutability::Var, StorageType::I8));
        let field = FieldType::new(Mutability::Var, ValType::ANYREF.into());
        let pair = StructType::new(&engine, [field.clone(), field])?;
        let none = [Val::AnyRef(None), Val::AnyRef(None)];
        for _ in 0..3 {
            let mut scope = RootScope::new(&mut store);
            while new_array(&mut scope, &bytes, &Val::I32(7), 5000).is_ok() {}
            while new_struct(&mut scope, &pair, &none).is_ok() {}
            let error = new_struct(&mut scope, &pair, &none).unwrap_err();
            assert_eq!(
                format!("{error:#}"),
                "allocating a struct: GC heap out of memory: 16 bytes more do not fit its limit of \
                 1048576 bytes"
            );
            let full = error.downcast_ref::<GcHeapOutOfMemory<()>>().context("a full heap")?;
            assert!(matches!(full.heap_error(), HeapError::OutOfMemory { bytes: 16, .. }));
            let error = message(new_array(&mut scope, &bytes, &Val::I32(7), 5000));
            assert!(error.starts_with("allocating an array: GC heap out of memory: 50"), "{error}");
            // The value without a box is dropped once.
            let before = drops.count();
            let error = ExternRef::new(&mut scope, drops.value()).unwrap_err();
            let text = format!("{error:#}");
            assert!(
                text.starts_with("allocating an externref: GC heap out of memory: 16"),
                "{text}"
            );
            // The error has it.
            assert_eq!(drops.count(), before);
            let value = error.downcast::<GcHeapOutOfMemory<Counted>>()?.into_inner();
            assert_eq!((value.number, drops.count()), (drops.made() - 1, before));
            drop(value);
            assert_eq!(drops.count(), before + 1);
            drop(scope);
            if !setting.reclaims() {
                break;
            }
            let mut scope = RootScope::new(&mut store);
            new_struct(&mut scope, &pair, &none)?;
            ExternRef::new(&mut scope, drops.value())?;
        }
        drop(store);
        assert_eq!(drops.count(), drops.made());
        Ok(())
    })
}

/// A host function that compiled code called gets the error. The host may handle it, and compiled
/// code continues.
#[test]
fn a_host_function_handles_it() -> Result<()> {
    everywhere(|setting| {
        let (engine, mut store) = small(setting)?;
        let bytes = ArrayType::new(&engine, FieldType::new(Mutability::Var, StorageType::I8));
        let ty = bytes.clone();
        let fill = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<i32> {
            let mut made = 0;
            loop {
                match new_array(&mut caller, &ty, &Val::I32(1), 100_000) {
                    Ok(_) => made += 1,
                    Err(error) if error.is::<GcHeapOutOfMemory<()>>() => return Ok(made),
                    Err(error) => return Err(error),
                }
            }
        });
        let fail = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<()> {
            new_array(&mut caller, &bytes, &Val::I32(1), 1 << 21)?;
            Ok(())
        });
        let module = Module::new(
            &engine,
            r#"(module
                (type $pair (struct (field i32) (field i32)))
                (import "" "fill" (func $fill (result i32)))
                (import "" "fail" (func $fail))
                (func (export "fill") (result i32)
                    (local $p (ref null $pair)) (local $n i32)
                    (local.set $p (struct.new $pair (i32.const 100) (i32.const 1)))
                    (local.set $n (call $fill))
                    (i32.add (local.get $n) (struct.get $pair 0 (local.get $p))))
                (func (export "fail") (call $fail)))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[fill.into(), fail.into()])?;
        let fill = instance.get_typed_func::<(), i32>(&mut store, "fill")?;
        let made = fill.call(&mut store, ())? - 100;
        assert!((6..=9).contains(&made), "{made} of 100,000 bytes in 1 MiB less 64 KiB");
        if setting.reclaims() {
            // The handles of the first call are gone.
            assert_eq!(fill.call(&mut store, ())? - 100, made);
        }
        let fail = instance.get_typed_func::<(), ()>(&mut store, "fail")?;
        let error = fail.call(&mut store, ()).unwrap_err();
        assert!(error.is::<GcHeapOutOfMemory<()>>(), "{error:?}");
        Ok(())
    })
}

#[test]
fn arrays_too_long_for_any_heap() -> Result<()> {
    let wat = r#"(module
        (type $i8 (array (mut i8))) (type $i16 (array (mut i16))) (type $i32 (array (mut i32)))
        (type $i64 (array (mut i64))) (type $ref (array (mut anyref)))
        (data $data "0123456789abcdef")
        (elem $elem anyref (ref.null any))
        (func (export "i8") (param i32) (result i32)
            (array.len (array.new $i8 (i32.const 1) (local.get 0))))
        (func (export "i16") (param i32) (result i32)
            (array.len (array.new_default $i16 (local.get 0))))
        (func (export "i32") (param i32) (result i32)
            (array.len (array.new $i32 (i32.const 1) (local.get 0))))
        (func (export "i64") (param i32) (result i32)
            (array.len (array.new_default $i64 (local.get 0))))
        (func (export "ref") (param i32) (result i32)
            (array.len (array.new $ref (ref.i31 (i32.const 1)) (local.get 0))))
        (func (export "data") (param i32) (result i32)
            (array.len (array.new_data $i64 $data (i32.const 0) (local.get 0))))
        (func (export "elem") (param i32) (result i32)
            (array.len (array.new_elem $ref $elem (i32.const 0) (local.get 0)))))"#;
    everywhere(|setting| {
        let (engine, mut store) = small(setting)?;
        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[])?;
        let new = |store: &mut Store<()>, name: &str, length: u32| {
            instance.get_typed_func::<u32, u32>(&mut *store, name)?.call(store, length)
        };
        for name in ["i8", "i16", "i32", "i64", "ref"] {
            let size = match name {
                "i8" => 1,
                "i16" => 2,
                "i64" => 8,
                _ => 4,
            };
            for length in [0_u32, 1, 2, 3, 5, 7, 100] {
                assert_eq!(new(&mut store, name, length)?, length, "{name}");
            }
            for length in [
                u32::MAX,
                u32::MAX - 7,
                u32::MAX / size,
                u32::MAX / size - 1,
                1 << 31,
                1 << 30,
                1 << 29,
            ] {
                let trap = trap(new(&mut store, name, length));
                let bytes = u64::from(length) * u64::from(size) + 16;
                let expected = if bytes > u64::from(u32::MAX) {
                    Trap::AllocationTooLarge
                } else {
                    Trap::OutOfMemory
                };
                assert_eq!(trap, expected, "{name} of {length}");
            }
            // As many bytes as there is room for, so the header does not fit.
            let room = LIMIT as u32 - (64 << 10);
            assert_eq!(trap(new(&mut store, name, room / size)), Trap::OutOfMemory, "{name}");
        }
        assert_eq!(new(&mut store, "data", 2)?, 2);
        assert_eq!(new(&mut store, "elem", 1)?, 1);
        for length in [3, 1 << 29, u32::MAX] {
            assert_eq!(trap(new(&mut store, "data", length)), Trap::MemoryOutOfBounds);
            assert_eq!(trap(new(&mut store, "elem", length)), Trap::TableOutOfBounds);
        }
        // The same from the host.
        let i64s = ArrayType::new(&engine, FieldType::new(Mutability::Var, ValType::I64.into()));
        let error = new_array(&mut store, &i64s, &Val::I64(1), u32::MAX).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&HeapError::TooLarge { length: u32::MAX.into() }));
        assert_eq!(new_array(&mut store, &i64s, &Val::I64(1), 0)?.len(&store)?, 0);
        Ok(())
    })
}

/// Out of memory in each of three nested activations. Each gives its own trap.
#[test]
fn out_of_memory_in_nested_activations() -> Result<()> {
    each_collector(|setting| {
        let (engine, mut store) = small(setting)?;
        let module = Module::new(
            &engine,
            r#"(module
                (type $bytes (array i8))
                (type $pair (struct (field i32)))
                (import "" "host" (func $host (param i32) (result i32)))
                (func (export "go") (param i32) (result i32)
                    (local $mine (ref null $pair))
                    (local.set $mine (struct.new $pair (local.get 0)))
                    (if (local.get 0) (then
                        (drop (call $host (i32.sub (local.get 0) (i32.const 1))))))
                    (if (struct.get $pair 0 (local.get $mine)) (then (return (i32.const 1))))
                    (array.len (array.new_default $bytes (i32.const 2000000)))))"#,
        )?;
        let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
            let go = caller.get_export("go").and_then(|go| go.into_func()).context("an export")?;
            let result = go.typed::<i32, i32>(&caller)?.call(&mut caller, n);
            if n == 0 {
                anyhow::ensure!(trap(result) == Trap::OutOfMemory);
                return Ok(0);
            }
            result
        });
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let go = instance.get_typed_func::<i32, i32>(&mut store, "go")?;
        assert_eq!(go.call(&mut store, 3)?, 1);
        assert_eq!(trap(go.call(&mut store, 0)), Trap::OutOfMemory);
        assert_eq!(go.call(&mut store, 3)?, 1);
        Ok(())
    })
}

/// A store grows up to its limit, and another store can do the same.
#[test]
fn heaps_are_separate() -> Result<()> {
    for collector in Collector::all() {
        let setting = Setting { collector, bounds: HeapBounds::Guarded, zeal: false };
        let (engine, mut full) = small(&setting)?;
        let module = Module::new(&engine, HOARDER)?;
        let instance = Instance::new(&mut full, &module, &[])?;
        let hoard = instance.get_typed_func::<(), ()>(&mut full, "hoard")?;
        assert_eq!(trap(hoard.call(&mut full, ())), Trap::OutOfMemory);
        let mut other = Store::new(&engine, ());
        let instance = Instance::new(&mut other, &module, &[])?;
        instance.get_typed_func::<(), ()>(&mut other, "array.new")?.call(&mut other, ())?;
        let value: Rooted<ExternRef> = ExternRef::new(&mut other, 1)?;
        assert!(value.data(&other)?.is_some());
        assert_eq!(trap(hoard.call(&mut full, ())), Trap::OutOfMemory);
    }
    Ok(())
}
