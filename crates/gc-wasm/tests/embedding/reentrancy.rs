//! The host changes a store while compiled code is on the stack: it grows memories and tables that
//! the code uses, makes instances, functions and types, and collects. The code sees exactly these
//! changes.

use crate::common::{everywhere, frame_names, trap};
use anyhow::{Context, Result};
use gc_wasm::{
    AsContextMut, Caller, Extern, ExternRef, Func, FuncType, Global, GlobalType, HeapType,
    Instance, Linker, Memory, MemoryType, Module, Mutability, RefType, Rooted, Store, Table,
    TableType, Trap, Val, ValType,
};

/// Makes as many changes to a store as possible.
fn change(mut store: impl AsContextMut<Data = ()>, rounds: i32) -> Result<()> {
    let engine = store.as_context().engine().clone();
    for round in 0..rounds {
        let module = Module::new(
            &engine,
            format!(
                r#"(module
                    (type $s{round} (struct (field i{}) (field (ref null $s{round}))))
                    (table 3 anyref (struct.new_default $s{round}))
                    (memory 1)
                    (global (mut anyref) (struct.new_default $s{round}))
                    (func $f (export "f") (param i32) (result i32)
                        (i32.add (local.get 0) (i32.const {round})))
                    (func (export "g") (result funcref) (ref.func $f)))"#,
                if round % 2 == 0 { 32 } else { 64 }
            ),
        )?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        anyhow::ensure!(f.call(&mut store, 1)? == round + 1);
        let g = instance.get_typed_func::<(), Option<Func>>(&mut store, "g")?;
        anyhow::ensure!(g.call(&mut store, ())? == Some(*f.func()));
        Func::wrap(&mut store, move |x: i32| x + round);
        let value = ExternRef::new(&mut store, round)?;
        let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Var);
        Global::new(&mut store, ty, value.into())?;
        let ty = TableType::new(RefType::new(true, HeapType::Extern), 5, None);
        Table::new(&mut store, ty, value.into())?;
        Memory::new(&mut store, MemoryType::new(1, None))?;
    }
    store.as_context_mut().gc(None)
}

const WAT: &str = r#"(module
    (type $f (func (param i32) (result i32)))
    (type $s (struct (field (mut i32)) (field (ref null $f))))
    (import "" "change" (func $change))
    (memory (export "memory") 1 20)
    (table $refs (export "refs") 2 anyref)
    (table $funcs (export "funcs") 1 funcref (ref.func $double))
    (global $g (export "global") (mut anyref) (ref.null any))
    (global $n (export "n") (mut i32) (i32.const 1))
    (func $double (type $f) (i32.mul (local.get 0) (i32.const 2)))
    (elem declare func $double)
    (func (export "run") (result i32)
        (local $s (ref null $s)) (local $size i32) (local $sum i32)
        (local.set $s (struct.new $s (i32.const 5) (ref.func $double)))
        (table.set $refs (i32.const 0) (local.get $s))
        (global.set $g (local.get $s))
        (i32.store (i32.const 8) (i32.const 70))
        (local.set $size (i32.add (memory.size) (table.size $refs)))
        (call $change)
        ;; Everything is read afresh, and the old is where it was.
        (if (i32.ne (memory.size) (i32.const 4)) (then (unreachable)))
        (if (i32.ne (table.size $refs) (i32.const 1002)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 8)) (i32.const 70)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 200000)) (i32.const 0x01010101)) (then (unreachable)))
        (if (i32.ne (global.get $n) (i32.const 99)) (then (unreachable)))
        (if (i32.eqz (ref.eq (local.get $s)
                (ref.cast eqref (table.get $refs (i32.const 0))))) (then (unreachable)))
        (if (i32.eqz (ref.eq (local.get $s)
                (ref.cast eqref (table.get $refs (i32.const 1000))))) (then (unreachable)))
        (if (i32.eqz (ref.eq (local.get $s) (ref.cast eqref (global.get $g))))
            (then (unreachable)))
        (i32.add (local.get $size)
            (i32.add
                (call_ref $f (struct.get $s 0 (local.get $s)) (struct.get $s 1 (local.get $s)))
                (call_indirect $funcs (type $f) (i32.const 100) (i32.const 2))))))"#;

#[test]
fn a_host_function_changes_what_its_caller_uses() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut linker: Linker<()> = Linker::new(&engine);
        let rounds = if setting.zeal { 5 } else { 40 };
        linker.func_wrap("", "change", move |mut caller: Caller<'_, ()>| -> Result<()> {
            change(&mut caller, rounds)?;
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let memory = memory.context("memory")?;
            memory.grow(&mut caller, 3)?;
            memory.data_mut(&mut caller)[200_000..200_004].fill(1);
            let refs = caller.get_export("refs").and_then(Extern::into_table).context("refs")?;
            let first = refs.get(&mut caller, 0).context("an element")?;
            refs.grow(&mut caller, 1000, first)?;
            let funcs = caller.get_export("funcs").and_then(Extern::into_table).context("funcs")?;
            let host = Func::wrap(&mut caller, |x: i32| x * 10);
            funcs.grow(&mut caller, 2, host.into())?;
            let n = caller.get_export("n").and_then(Extern::into_global).context("n")?;
            n.set(&mut caller, Val::I32(99))?;
            caller.gc(None)
        })?;
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &Module::new(&engine, WAT)?)?;
        let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
        assert_eq!(run.call(&mut store, ())?, 3 + 10 + 1000);
        Ok(())
    })
}

/// A host function that instantiates the module that calls it, again and again, and
/// runs the instances: start functions inside host functions inside start functions.
#[test]
fn instances_made_by_what_an_instance_calls() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(
            &engine,
            r#"(module
                (type $s (struct (field i32)))
                (import "" "more" (func $more (param externref) (result i32)))
                (import "" "value" (func $value (result externref)))
                (global $made (export "made") (mut i32) (i32.const 0))
                (func $start
                    (local $s (ref null $s)) (local $x externref)
                    (local.set $x (call $value))
                    (local.set $s (struct.new $s (i32.const 1)))
                    (global.set $made (i32.add (call $more (local.get $x))
                        (struct.get $s 0 (local.get $s)))))
                (start $start))"#,
        )?;
        let mut linker: Linker<u32> = Linker::new(&engine);
        linker.func_wrap("", "value", |mut caller: Caller<'_, u32>| {
            let n = *caller.data();
            ExternRef::new(&mut caller, n).map(Some)
        })?;
        let (again, inner) = (module.clone(), linker.clone());
        // The linker does not define `more` itself, so a new linker is made at each level.
        fn more(
            mut caller: Caller<'_, u32>,
            value: Option<Rooted<ExternRef>>,
            module: &Module,
            linker: &Linker<u32>,
        ) -> Result<i32> {
            let level = *caller.data();
            let mut made = 0;
            if level < 5 {
                *caller.data_mut() += 1;
                let (again, inner) = (module.clone(), linker.clone());
                let mut own = linker.clone();
                own.func_wrap(
                    "",
                    "more",
                    move |caller: Caller<'_, u32>, value: Option<Rooted<ExternRef>>| {
                        more(caller, value, &again, &inner)
                    },
                )?;
                let instance = own.instantiate(&mut caller, module)?;
                let global = instance.get_global(&mut caller, "made").context("made")?;
                made = global.get(&mut caller).i32().context("an i32")?;
            }
            caller.gc(None)?;
            let value = value.context("not null")?;
            anyhow::ensure!(value.data(&caller)?.context("data")?.downcast_ref() == Some(&level));
            Ok(made)
        }
        linker.func_wrap(
            "",
            "more",
            move |caller: Caller<'_, u32>, value: Option<Rooted<ExternRef>>| {
                more(caller, value, &again, &inner)
            },
        )?;
        let mut store = Store::new(&engine, 0);
        let instance = linker.instantiate(&mut store, &module)?;
        let made = instance.get_global(&mut store, "made").context("made")?;
        assert_eq!(made.get(&mut store).i32(), Some(6));
        Ok(())
    })
}

/// A thousand parameters and results, the maximum for a function, through compiled code and through
/// the host.
#[test]
fn a_thousand_parameters_and_results() -> Result<()> {
    const N: usize = 1000;
    let types = "i64 externref ".repeat(N / 2);
    let gets: String = (0..N).map(|i| format!("(local.get {i})")).collect();
    let wat = format!(
        r#"(module
            (import "" "host" (func $host (param {types}) (result {types})))
            (func $own (param {types}) (result {types}) (call $host {gets}))
            (func (export "f") (param {types}) (result {types}) (call $own {gets})))"#
    );
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let types = || [ValType::I64, ValType::EXTERNREF].into_iter().cycle().take(N);
        let ty = FuncType::new(&engine, types(), types());
        let host = Func::new(&mut store, ty, |mut caller, params, results| {
            caller.gc(None)?;
            results.copy_from_slice(params);
            Ok(())
        });
        let instance = Instance::new(&mut store, &Module::new(&engine, &wat)?, &[host.into()])?;
        let f = instance.get_func(&mut store, "f").context("an export")?;
        let mut values = Vec::new();
        for i in 0..N as i64 / 2 {
            values.push(Val::I64(i));
            values.push(ExternRef::new(&mut store, i)?.into());
        }
        let mut results = vec![Val::I32(0); N];
        for _ in 0..3 {
            f.call(&mut store, &values, &mut results)?;
            store.gc(None)?;
            for (i, pair) in results.chunks(2).enumerate() {
                assert_eq!(pair[0].i64(), Some(i as i64));
                let value = pair[1].externref().flatten().context("not null")?;
                assert_eq!(value.data(&store)?.context("data")?.downcast_ref(), Some(&(i as i64)));
            }
        }
        Ok(())
    })
}

/// A trap in the innermost of several activations ends only that one if the host catches it.
#[test]
fn traps_caught_by_the_host_in_between() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.func_wrap("", "try", |mut caller: Caller<'_, ()>, n: i32| -> Result<i32> {
            let go = caller.get_export("go").and_then(Extern::into_func).context("go")?;
            let result = go.typed::<i32, i32>(&caller)?.call(&mut caller, n - 1);
            caller.gc(None)?;
            match result {
                Ok(n) => Ok(n),
                Err(error) if n == 1 => {
                    let error = Err::<(), _>(error);
                    assert_eq!(trap(error), Trap::ArrayOutOfBounds);
                    Ok(1000)
                }
                Err(error) => Err(error),
            }
        })?;
        let module = Module::new(
            &engine,
            r#"(module
                (type $a (array (mut i32)))
                (import "" "try" (func $try (param i32) (result i32)))
                (func (export "go") (param $n i32) (result i32)
                    (local $a (ref null $a))
                    (local.set $a (array.new $a (local.get $n) (i32.const 3)))
                    (if (i32.eqz (local.get $n))
                        (then (return (array.get $a (local.get $a) (i32.const 3)))))
                    (i32.add (call $try (local.get $n))
                        (array.get $a (local.get $a) (i32.const 2)))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module)?;
        let go = instance.get_typed_func::<i32, i32>(&mut store, "go")?;
        for _ in 0..5 {
            assert_eq!(go.call(&mut store, 4)?, 1000 + 1 + 2 + 3 + 4);
            assert_eq!(trap(go.call(&mut store, 0)), Trap::ArrayOutOfBounds);
        }
        store.gc(None)?;
        if setting.reclaims() {
            assert_eq!(store.gc_stats().live_objects, 0);
        }
        Ok(())
    })
}

/// An error that host functions pass on has the backtrace of where it began, with the functions
/// that are gone when the outer call fails.
#[cfg(feature = "backtrace")]
#[test]
fn an_error_is_traced_to_its_beginning() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut linker = Linker::<()>::new(&engine);
        linker.func_wrap("host", "fail", || -> Result<()> { anyhow::bail!("no") })?;
        linker.func_wrap("host", "call", |mut caller: Caller<'_, ()>, func: Option<Func>| {
            let func = func.context("no function")?;
            let result = func.call(&mut caller, &[], &mut []);
            result.context("called")
        })?;
        linker.func_wrap("host", "try", |mut caller: Caller<'_, ()>, func: Option<Func>| {
            let func = func.context("no function")?;
            let _ = func.call(&mut caller, &[], &mut []);
            Ok(())
        })?;
        let module = Module::new(
            &engine,
            r#"(module (import "host" "fail" (func $fail))
                (import "host" "call" (func $call (param funcref)))
                (import "host" "try" (func $try (param funcref)))
                (func $inner (export "inner") (call $fail))
                (func (export "outer") (call $call (ref.func $inner)))
                (func (export "caught") (call $try (ref.func $inner)) (call $fail)))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module)?;
        for (name, expected) in
            [("inner", &["inner"][..]), ("outer", &["inner", "outer"]), ("caught", &["caught"])]
        {
            let func = instance.get_typed_func::<(), ()>(&mut store, name)?;
            let error = func.call(&mut store, ()).unwrap_err();
            assert_eq!(frame_names(&error), expected, "{name}");
            assert_eq!(error.root_cause().to_string(), "no", "{name}");
        }
        Ok(())
    })
}
