//! Stores have a heap when a module or the host needs one, and not before.

use crate::common::{everywhere, trap};
use anyhow::{Context, Result};
use gc_wasm::{
    Caller, ExternRef, Func, Instance, Module, Rooted, Store, StructRef, Table, Trap, TypedFunc,
};

/// No object can get here: tables and parameters are of functions, `i31`s never leave.
const PLAIN: &str = r#"(module
    (type $f (func (param i32) (result i32)))
    (memory 1)
    (table 3 funcref)
    (elem (i32.const 0) $divide $tag)
    (global $count (mut i32) (i32.const 0))
    (func $divide (export "divide") (param i32) (result i32)
        (i32.div_s (i32.const 100) (local.get 0)))
    (func $tag (export "tag") (param i32) (result i32)
        (i31.get_s (ref.i31 (local.get 0))))
    (func (export "call") (param i32) (result i32)
        (call_indirect (type $f) (i32.const 5) (local.get 0)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "test") (param i32) (result i32)
        (ref.test (ref struct) (ref.i31 (local.get 0)))))"#;

const OBJECTS: &str = r#"(module
    (type $s (struct (field (mut i32)) (field (ref null $s))))
    (func (export "new") (param i32) (result (ref $s))
        (struct.new $s (local.get 0) (ref.null $s)))
    (func (export "get") (param (ref null $s)) (result i32)
        (struct.get $s 0 (local.get 0))))"#;

/// Modules that look much like `PLAIN`, and which an object may reach.
const REACHABLE: [&str; 7] = [
    "(module (type (struct)))",
    "(module (type (array i8)))",
    "(module (func (param externref)))",
    "(module (func (result eqref) (ref.null none)))",
    "(module (table 1 anyref))",
    "(module (global (mut externref) (ref.null extern)))",
    r#"(module (import "" "" (func (param anyref))))"#,
];

fn check_plain(store: &mut Store<()>, instance: Instance) -> Result<()> {
    let mut call = |name: &str, arg: i32| -> Result<i32> {
        let func: TypedFunc<i32, i32> = instance.get_typed_func(&mut *store, name)?;
        func.call(&mut *store, arg)
    };
    assert_eq!(call("divide", 7)?, 14);
    assert_eq!(trap(call("divide", 0)), Trap::IntegerDivisionByZero);
    assert_eq!(call("tag", -5)?, -5);
    assert_eq!(call("call", 0)?, 20);
    assert_eq!(trap(call("call", 2)), Trap::IndirectCallToNull);
    assert_eq!(call("load", 8)?, 0);
    assert_eq!(trap(call("load", 1 << 16)), Trap::MemoryOutOfBounds);
    assert_eq!(call("test", 3)?, 0);
    Ok(())
}

#[test]
fn a_module_without_objects_needs_no_heap() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let plain = Module::new(&engine, PLAIN)?;
        let mut store = Store::new(&engine, ());
        let first = Instance::new(&mut store, &plain, &[])?;
        check_plain(&mut store, first)?;
        store.gc(None)?;
        assert_eq!(store.gc_heap_len(), 0);
        assert_eq!(store.gc_stats(), Default::default());

        // A second module makes the heap; the first one goes on as before.
        let objects = Instance::new(&mut store, &Module::new(&engine, OBJECTS)?, &[])?;
        let new = objects.get_typed_func::<i32, Rooted<StructRef>>(&mut store, "new")?;
        let get = objects.get_typed_func::<Option<Rooted<StructRef>>, i32>(&mut store, "get")?;
        assert_ne!(store.gc_heap_len(), 0);
        for n in 0..10 {
            let object = new.call(&mut store, n)?;
            check_plain(&mut store, first)?;
            store.gc(None)?;
            assert_eq!(get.call(&mut store, Some(object))?, n);
        }
        assert_eq!(trap(get.call(&mut store, None)), Trap::NullReference);
        let third = Instance::new(&mut store, &plain, &[])?;
        check_plain(&mut store, third)
    })
}

#[test]
fn the_host_makes_the_heap_before_any_instance() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        assert_eq!(store.gc_heap_len(), 0);
        let value = ExternRef::new(&mut store, 7_i32)?;
        assert_ne!(store.gc_heap_len(), 0);
        let wat = r#"(module (func (export "same") (param externref) (result externref)
            (local.get 0)))"#;
        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[])?;
        let same = instance
            .get_typed_func::<Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>>(
                &mut store, "same",
            )?;
        let value = same.call(&mut store, Some(value))?.context("not null")?;
        store.gc(None)?;
        let data = value.data(&store)?.context("a host value")?;
        assert_eq!(data.downcast_ref(), Some(&7_i32));
        Ok(())
    })
}

#[test]
fn whatever_an_object_may_reach_makes_a_heap() -> Result<()> {
    let engine = gc_wasm::Engine::new(&gc_wasm::Config::new())?;
    for wat in REACHABLE {
        let module = Module::new(&engine, wat)?;
        let mut linker = gc_wasm::Linker::new(&engine);
        linker.func_wrap("", "", |_: Option<Rooted<gc_wasm::AnyRef>>| ())?;
        let mut store = Store::new(&engine, ());
        linker.instantiate(&mut store, &module)?;
        assert_ne!(store.gc_heap_len(), 0, "{wat}");
    }
    Ok(())
}

/// Code runs when the heap is made, and then allocates without a call of the host.
#[test]
fn a_heap_that_is_made_under_running_code_is_reset() -> Result<()> {
    const OUTER: &str = r#"(module
        (import "" "make" (func $make))
        (type $f (func))
        (table (export "table") 1 funcref)
        (func (export "run") (call $make) (call_indirect (type $f) (i32.const 0))))"#;
    const INNER: &str = r#"(module
        (import "" "table" (table 1 funcref))
        (type $s (struct (field i64)))
        (global $g (mut (ref null $s)) (ref.null $s))
        (func $f (global.set $g (struct.new $s (i64.const 0x1122334455667788))))
        (elem (i32.const 0) func $f))"#;
    everywhere(|setting| {
        let engine = setting.engine()?;
        let (outer, inner) = (Module::new(&engine, OUTER)?, Module::new(&engine, INNER)?);
        for _ in 0..2 {
            let mut store = Store::new(&engine, None::<Table>);
            let inner = inner.clone();
            let make = Func::wrap(&mut store, move |mut caller: Caller<'_, Option<Table>>| {
                let table = caller.data().context("the table")?;
                Instance::new(&mut caller, &inner, &[table.into()]).map(drop)
            });
            let instance = Instance::new(&mut store, &outer, &[make.into()])?;
            *store.data_mut() = instance.get_table(&mut store, "table");
            instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
            assert_eq!(store.gc_stats().allocations, 1, "{setting}");
        }
        Ok(())
    })
}
