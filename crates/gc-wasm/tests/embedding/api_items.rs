//! Parts of the API that embedders of Wasmtime know: linkers with modules, instances that were
//! prepared, tables, memories and host values.

use crate::common::{Counted, Drops, each_collector, everywhere, message, panic_message};
use anyhow::{Context, Result};
use gc_wasm::{
    Caller, Engine, ExternRef, Func, Instance, Linker, Memory, MemoryType, Module, Ref, RefType,
    Rooted, Store, Table, TableType, Trap, UnknownImportError, Val, ValType,
};

/// One prepared module has instances in many stores, each with the store's own data.
#[test]
fn a_prepared_module_has_instances_in_many_stores() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut linker: Linker<i32> = Linker::new(&engine);
        linker.func_wrap("host", "add", |mut caller: Caller<'_, i32>, n: i32| -> Result<i32> {
            caller.gc(None)?;
            *caller.data_mut() += n;
            Ok(*caller.data())
        })?;
        let module = Module::new(
            &engine,
            r#"(module (import "host" "add" (func $add (param i32) (result i32)))
                (type $s (struct (field i32)))
                (global $s (mut (ref null $s)) (struct.new $s (i32.const 100)))
                (func (export "add") (param i32) (result i32)
                    (global.set $s (struct.new $s (i32.add (local.get 0)
                        (struct.get $s 0 (global.get $s)))))
                    (i32.add (call $add (local.get 0)) (struct.get $s 0 (global.get $s)))))"#,
        )?;
        let pre = linker.instantiate_pre(&module)?;
        assert_eq!(pre.module().exports().len(), 1);
        // Later definitions do not change it.
        linker.allow_shadowing(true).func_wrap("host", "add", |_: i32| -1)?;
        let mut stores: Vec<Store<i32>> = (0..5).map(|n| Store::new(&engine, n)).collect();
        for round in 0..2 {
            for (n, store) in (0..).zip(&mut stores) {
                let instance = pre.clone().instantiate(&mut *store)?;
                let add = instance.get_typed_func::<i32, i32>(&mut *store, "add")?;
                assert_eq!(add.call(&mut *store, 1)?, n + round * 3 + 1 + 101);
                assert_eq!(add.call(&mut *store, 2)?, n + round * 3 + 3 + 103);
            }
        }
        // With an item of a store it is for that store.
        let mut linker: Linker<i32> = Linker::new(&engine);
        let item = Func::wrap(&mut stores[0], |n: i32| n);
        linker.define(&stores[0], "host", "add", item)?;
        let pre = linker.instantiate_pre(&module)?;
        pre.instantiate(&mut stores[0])?;
        assert_eq!(
            message(pre.instantiate(&mut stores[1])),
            "cross-`Store` instantiation is not supported: an import belongs to another store"
        );
        let other = setting.engine()?;
        assert!(message(pre.instantiate(Store::new(&other, 0))).contains("different engines"));
        Ok(())
    })
}

/// What a prepared module lacks, or has of the wrong type, is known before there is a store.
#[test]
fn preparing_a_module_checks_its_imports() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, r#"(module (import "a" "b" (func (param i32))))"#)?;
        let mut linker: Linker<()> = Linker::new(&engine);
        let unknown = linker.instantiate_pre(&module).map(|_| ()).unwrap_err();
        let unknown = unknown.downcast::<UnknownImportError>()?;
        assert_eq!((unknown.module(), unknown.name()), ("a", "b"));
        assert_eq!(unknown.ty().unwrap_func().params().len(), 1);
        linker.func_wrap("a", "b", |_: i64| {})?;
        assert_eq!(
            message(linker.instantiate_pre(&module).map(|_| ())),
            "incompatible import type for `a::b`: expected (func (param i32)), found (func (param i64))"
        );
        Ok(())
    })
}

const COUNTER: &str = r#"
    (type $s (struct (field i32)))
    (global $s (mut (ref $s)) (struct.new $s (i32.const 0)))
    (func $next (result i32)
        (global.set $s (struct.new $s
            (i32.add (struct.get $s 0 (global.get $s)) (i32.const 1))))
        (struct.get $s 0 (global.get $s)))
    (func (export "next") (result i32) (call $next))
    (func (export "pass") (param externref) (result externref) (local.get 0))"#;

/// A command has a new instance for each call, a reactor has one.
#[test]
fn modules_in_a_linker_are_commands_or_reactors() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, 0);
        let mut linker: Linker<i32> = Linker::new(&engine);
        linker.func_wrap("host", "note", |mut caller: Caller<'_, i32>| *caller.data_mut() += 1)?;
        let compile = |more: &str| {
            let note = r#"(import "host" "note" (func $note))"#;
            Module::new(&engine, format!("(module {note} {COUNTER} {more})"))
        };
        let command =
            compile(r#"(memory (export "memory") 1) (func (export "_start") (call $note))"#)?;
        let reactor = compile(r#"(func (export "_initialize") (call $note) (drop (call $next)))"#)?;
        linker.module(&mut store, "command", &command)?;
        assert_eq!(*store.data(), 0, "a command is not started");
        linker.module(&mut store, "reactor", &reactor)?;
        assert_eq!(*store.data(), 1, "a reactor is initialised");
        linker.module(&mut store, "plain", &compile("")?)?;
        assert_eq!(*store.data(), 1);

        let user = Module::new(
            &engine,
            r#"(module
                (import "command" "next" (func $command (result i32)))
                (import "reactor" "next" (func $reactor (result i32)))
                (import "plain" "next" (func $plain (result i32)))
                (import "command" "pass" (func $pass (param externref) (result externref)))
                (func (export "all") (result i32 i32 i32)
                    (call $command) (call $reactor) (call $plain))
                (func (export "pass") (param externref) (result externref)
                    (call $pass (local.get 0))))"#,
        )?;
        let user = linker.instantiate(&mut store, &user)?;
        let all = user.get_typed_func::<(), (i32, i32, i32)>(&mut store, "all")?;
        assert_eq!(all.call(&mut store, ())?, (1, 2, 1));
        store.gc(None)?;
        assert_eq!(all.call(&mut store, ())?, (1, 3, 2));
        type E = Option<Rooted<ExternRef>>;
        let pass = user.get_typed_func::<E, E>(&mut store, "pass")?;
        let given = ExternRef::new(&mut store, 5)?;
        let got = pass.call(&mut store, Some(given))?.context("not null")?;
        assert!(Rooted::ref_eq(&store, &given, &got)?);
        linker.get_default(&mut store, "command")?.call(&mut store, &[], &mut [])?;
        assert_eq!(*store.data(), 2);
        linker.get_default(&mut store, "nothing")?.call(&mut store, &[], &mut [])?;

        // What they cannot be.
        let failing = compile(r#"(func (export "_initialize") unreachable)"#)?;
        let error = linker.module(&mut store, "x", &failing).map(|_| ()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
        assert_eq!(error.to_string(), "calling the Reactor initialization function");
        for (more, expected) in [
            (
                r#"(func (export "_start")) (func (export "_initialize"))"#,
                "Program cannot be both a Command and a Reactor",
            ),
            (
                r#"(func (export "_start")) (global (export "g") i32 (i32.const 1))"#,
                "command export 'g' is not a function",
            ),
            (r#"(global (export "_start") i32 (i32.const 1))"#, "`_start` must be a function"),
        ] {
            let module = compile(more)?;
            assert_eq!(message(linker.module(&mut store, "y", &module).map(|_| ())), expected);
        }
        let module =
            compile(r#"(func (export "_start")) (global (export "g") i32 (i32.const 1))"#)?;
        linker.allow_unknown_exports(true).module(&mut store, "z", &module)?;
        assert!(linker.get(&mut store, "z", "g").is_err());
        let foreign = Store::new(&setting.engine()?, 0);
        assert_eq!(
            panic_message(|| linker.module(foreign, "w", &module).map(|_| ())),
            "the store belongs to another engine than the linker"
        );
        Ok(())
    })
}

#[test]
fn linkers_have_aliases() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.func_wrap("a", "one", || 1)?;
        let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
        linker.define(&store, "a", "memory", memory)?;
        linker.alias("a", "one", "b", "uno")?;
        linker.alias_module("a", "c")?;
        linker.alias_module("no such module", "d")?;
        // An alias is of what the name is then.
        linker.allow_shadowing(true).func_wrap("a", "one", || 100)?;
        linker.allow_shadowing(false);
        for (module, name, expected) in [("b", "uno", 1), ("c", "one", 1), ("a", "one", 100)] {
            let func = linker.get(&mut store, module, name)?.into_func().context("a function")?;
            assert_eq!(func.typed::<(), i32>(&store)?.call(&mut store, ())?, expected);
        }
        let same = linker.get(&mut store, "c", "memory")?.into_memory();
        assert_eq!(same, Some(memory));
        let mut names: Vec<(&str, &str)> =
            linker.iter(&mut store).map(|(module, name, _)| (module, name)).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [("a", "memory"), ("a", "one"), ("b", "uno"), ("c", "memory"), ("c", "one")]
        );
        assert_eq!(
            message(linker.alias("a", "two", "b", "two").map(|_| ())),
            "no item named `a::two` defined"
        );
        assert_eq!(
            message(linker.alias("a", "one", "c", "one").map(|_| ())),
            "import of `c::one` defined twice"
        );
        assert_eq!(message(linker.alias_module("c", "a")).split('`').count(), 3);
        assert_eq!(message(linker.get(&mut store, "d", "one")), "missing definition for `d::one`");
        Ok(())
    })
}

/// The numbers of the values in a table, -1 for null.
fn numbers(store: &mut Store<()>, table: &Table) -> Result<Vec<i64>> {
    let mut numbers = Vec::new();
    for i in 0..table.size(&*store) {
        let element = table.get(&mut *store, i).context("an element")?;
        numbers.push(match element.unwrap_extern() {
            None => -1,
            Some(value) => {
                let data = value.data(&*store)?.context("a host value")?;
                data.downcast_ref::<Counted>().context("counted")?.number as i64
            }
        });
    }
    Ok(numbers)
}

#[test]
fn the_host_fills_and_copies_tables() -> Result<()> {
    everywhere(|setting| {
        let drops = Drops::default();
        let mut store = Store::new(&setting.engine()?, ());
        let null = Ref::Extern(None);
        let ty = |size| TableType::new(RefType::EXTERNREF, size, None);
        let (a, b) = (Table::new(&mut store, ty(6), null)?, Table::new(&mut store, ty(4), null)?);
        {
            let mut scope = gc_wasm::RootScope::new(&mut store);
            let zero = ExternRef::new(&mut scope, drops.value())?;
            let one = ExternRef::new(&mut scope, drops.value())?;
            a.fill(&mut scope, 1, zero.into(), 3)?;
            a.set(&mut scope, 5, one.into())?;
            a.fill(&mut scope, 6, one.into(), 0)?;
        }
        store.gc(None)?;
        assert_eq!(numbers(&mut store, &a)?, [-1, 0, 0, 0, -1, 1]);
        Table::copy(&mut store, &b, 0, &a, 3, 3)?;
        assert_eq!(numbers(&mut store, &b)?, [0, -1, 1, -1]);
        // Within one table, also where the ranges overlap.
        Table::copy(&mut store, &a, 0, &a, 3, 3)?;
        assert_eq!(numbers(&mut store, &a)?, [0, -1, 1, 0, -1, 1]);
        Table::copy(&mut store, &a, 1, &a, 0, 5)?;
        assert_eq!(numbers(&mut store, &a)?, [0, 0, -1, 1, 0, -1]);
        // A range that does not fit changes nothing.
        for (to, at, from, start, len) in [(&a, 4, &b, 0, 3), (&b, 0, &a, 5, 2), (&a, 7, &a, 0, 0)]
        {
            let error = Table::copy(&mut store, to, at, from, start, len).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::TableOutOfBounds));
        }
        for (at, len) in [(5, 2), (7, 0), (u64::MAX, 1), (1, u64::MAX)] {
            let error = a.fill(&mut store, at, null, len).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::TableOutOfBounds), "{at} {len}");
            assert_eq!(error.to_string(), "failed to fill the table");
        }
        let funcs = TableType::new(RefType::FUNCREF, 2, None);
        let funcs = Table::new(&mut store, funcs, Ref::Func(None))?;
        assert_eq!(
            message(Table::copy(&mut store, &funcs, 0, &a, 0, 1)),
            "type mismatch: source table's element type does not match destination table's element type"
        );
        assert!(message(funcs.fill(&mut store, 0, null, 1)).contains("type mismatch"));
        assert_eq!(numbers(&mut store, &a)?, [0, 0, -1, 1, 0, -1]);
        assert_eq!(numbers(&mut store, &b)?, [0, -1, 1, -1]);
        // The values are counted where they are, and die with the last copy.
        a.fill(&mut store, 0, null, 6)?;
        store.gc(None)?;
        assert_eq!(drops.count(), 0);
        b.fill(&mut store, 0, null, 1)?;
        let mut other = Store::new(store.engine(), ());
        let foreign = Table::new(&mut other, ty(4), null)?;
        assert_eq!(
            panic_message(|| Table::copy(&mut store, &b, 0, &foreign, 0, 1)),
            "a table was used with the wrong store"
        );
        Ok(())
    })
}

#[test]
fn the_host_reads_and_writes_memories() -> Result<()> {
    each_collector(|setting| {
        let (mut store, instance) = setting.instantiate(
            r#"(module (memory (export "memory") 1 3)
                (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#,
            &[],
        )?;
        let memory = instance.get_memory(&mut store, "memory").context("an export")?;
        let load = instance.get_typed_func::<i32, i32>(&mut store, "load")?;
        memory.write(&mut store, 8, &0x0102_0304_i32.to_le_bytes())?;
        assert_eq!(load.call(&mut store, 8)?, 0x0102_0304);
        let mut bytes = [0; 6];
        memory.read(&store, 7, &mut bytes)?;
        assert_eq!(bytes, [0, 4, 3, 2, 1, 0]);
        let end = 1 << 16;
        memory.write(&mut store, end - 2, b"ab")?;
        memory.write(&mut store, end, b"")?;
        memory.read(&store, end, &mut [])?;
        for at in [end - 1, end, end + 1, usize::MAX - 1, usize::MAX] {
            let error = memory.write(&mut store, at, b"xy").unwrap_err();
            assert_eq!(error.to_string(), "out of bounds memory access");
            let mut bytes = [7, 7];
            assert!(memory.read(&store, at, &mut bytes).is_err(), "{at}");
            assert_eq!(bytes, [7, 7]);
        }
        assert_eq!(memory.data(&store)[end - 2..], *b"ab", "nothing was written");
        memory.grow(&mut store, 1)?;
        memory.write(&mut store, end - 1, b"xy")?;
        assert_eq!((memory.data_size(&store), memory.size(&store)), (2 * end, 2));
        assert_eq!(memory.data_mut(&mut store)[end - 2..=end], *b"axy");
        Ok(())
    })
}

#[test]
fn the_host_changes_its_values() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(
            r#"(module (type $s (struct (field externref)))
                (global $s (mut (ref null $s)) (ref.null $s))
                (func (export "keep") (param externref)
                    (global.set $s (struct.new $s (local.get 0))))
                (func (export "get") (result externref) (struct.get $s 0 (global.get $s)))
                (func (export "i31") (result externref)
                    (extern.convert_any (ref.i31 (i32.const 1)))))"#,
            &[],
        )?;
        type E = Option<Rooted<ExternRef>>;
        let keep = instance.get_typed_func::<E, ()>(&mut store, "keep")?;
        let get = instance.get_typed_func::<(), E>(&mut store, "get")?;
        let value = ExternRef::new(&mut store, vec![1])?;
        keep.call(&mut store, Some(value))?;
        for n in 2..5 {
            let again = get.call(&mut store, ())?.context("not null")?;
            let data = again.data_mut(&mut store)?.context("data")?;
            assert!(data.downcast_mut::<String>().is_none());
            data.downcast_mut::<Vec<i32>>().context("a vector")?.push(n);
            store.gc(None)?;
        }
        let expected = vec![1, 2, 3, 4];
        assert_eq!(value.data(&store)?.context("data")?.downcast_ref(), Some(&expected));
        let i31 = instance.get_typed_func::<(), E>(&mut store, "i31")?;
        let i31 = i31.call(&mut store, ())?.context("not null")?;
        assert!(i31.data_mut(&mut store)?.is_none());
        let mut other = Store::new(store.engine(), ());
        assert_eq!(
            panic_message(|| value.data_mut(&mut other).map(|_| ())),
            "a rooted reference was used with the wrong store"
        );
        Ok(())
    })
}

/// As many parameters and results as a typed function can have, also references at both ends.
#[test]
fn seventeen_parameters() -> Result<()> {
    type E = Option<Rooted<ExternRef>>;
    #[rustfmt::skip]
    type Many = (E, i32, i64, f32, f64, i32, i64, f32, f64, i32, i64, f32, f64, i32, i64, i32, E);
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        #[rustfmt::skip]
        #[expect(clippy::too_many_arguments)]
        fn reverse(
            a: E, b: i32, c: i64, d: f32, e: f64, f: i32, g: i64, h: f32, i: f64, j: i32, k: i64,
            l: f32, m: f64, n: i32, o: i64, p: i32, q: E,
        ) -> Many {
            (q, p, o, l, m, n, k, h, i, j, g, d, e, f, c, b, a)
        }
        let host = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, ()>,
             a: E,
             b: i32,
             c: i64,
             d: f32,
             e: f64,
             f: i32,
             g: i64,
             h: f32,
             i: f64,
             j: i32,
             k: i64,
             l: f32,
             m: f64,
             n: i32,
             o: i64,
             p: i32,
             q: E|
             -> Result<Many> {
                caller.gc(None)?;
                Ok(reverse(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q))
            },
        );
        let types =
            "externref i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 i32 externref";
        let gets: String = (0..17).map(|i| format!("(local.get {i})")).collect();
        let module = Module::new(
            &engine,
            format!(
                r#"(module (import "" "" (func $host (param {types}) (result {types})))
                    (func (export "f") (param {types}) (result {types}) (call $host {gets})))"#
            ),
        )?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let f = instance.get_typed_func::<Many, Many>(&mut store, "f")?;
        let (first, last) = (ExternRef::new(&mut store, 1)?, ExternRef::new(&mut store, 2)?);
        let (x, y) = (Some(first), Some(last));
        let given = (x, 2, 3, 4.5, 5.5, 6, 7, 8.5, 9.5, 10, 11, 12.5, 13.5, 14, 15, 16, y);
        let got = f.call(&mut store, given)?;
        let numbers = (got.1, got.2, got.3, got.4, got.5, got.6, got.7, got.8);
        assert_eq!(numbers, (16, 15, 12.5, 13.5, 14, 11, 8.5, 9.5));
        let numbers = (got.9, got.10, got.11, got.12, got.13, got.14, got.15);
        assert_eq!(numbers, (10, 7, 4.5, 5.5, 6, 3, 2));
        assert!(Rooted::ref_eq(&store, &got.0.context("not null")?, &last)?);
        assert!(Rooted::ref_eq(&store, &got.16.context("not null")?, &first)?);
        // The same without types.
        let func = instance.get_func(&mut store, "f").context("an export")?;
        let params: Vec<Val> = func
            .ty(&store)
            .params()
            .map(|ty| Val::default_for_ty(&ty).context("a default"))
            .collect::<Result<_>>()?;
        let mut results = vec![Val::I32(0); 17];
        func.call(&mut store, &params, &mut results)?;
        let types: Vec<ValType> = func.ty(&store).results().collect();
        for (result, ty) in results.iter().zip(types) {
            assert!(result.matches_ty(&store, &ty)?, "{result:?} is no {ty}");
        }
        Ok(())
    })
}

/// A linker checks a memory by its size of now, and an item of another engine is a mistake.
#[test]
fn a_linker_sees_what_has_grown() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(&setting.config())?;
        let mut store = Store::new(&engine, ());
        let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
        let mut linker = Linker::new(&engine);
        linker.define(&store, "", "m", memory)?;
        memory.grow(&mut store, 1)?;
        let module = Module::new(&engine, r#"(module (import "" "m" (memory 2)))"#)?;
        linker.instantiate(&mut store, &module)?;
        let error = message(linker.instantiate_pre(&module));
        assert!(error.contains("expected (memory 2), found (memory 1)"), "{error}");

        let mut other = Linker::new(&Engine::new(&setting.config())?);
        let panic = panic_message(|| drop(other.define(&store, "", "m", memory)));
        assert!(panic.contains("the store belongs to another engine"), "{panic}");
        Ok(())
    })
}

/// Host functions of one instance are made together. Each import is the right one, in each store, and
/// their closures are dropped with the last of linker, prepared module and stores.
#[test]
fn a_prepared_module_has_many_imports() -> Result<()> {
    each_collector(|setting| {
        const COUNT: i32 = 300;
        let engine = setting.engine()?;
        let drops = Drops::default();
        let mut linker: Linker<i32> = Linker::new(&engine);
        for n in 0..COUNT {
            let kept = drops.value();
            let add = move |caller: Caller<'_, i32>, more: i32| {
                let _ = &kept;
                *caller.data() + n + more
            };
            linker.func_wrap("host", &n.to_string(), add)?;
        }
        // Every third one is an item of the store, and the first one is imported again at the end.
        let import = |n| {
            let from = if n % 3 == 2 { "item" } else { "host" };
            format!(r#"(import "{from}" "{n}" (func (param i32) (result i32)))"#)
        };
        let imports: String = (0..COUNT).chain([0]).map(import).collect();
        let wat = format!(
            r#"(module {imports} (type $f (func (param i32) (result i32)))
                (table {0} funcref) (elem (i32.const 0) func {1})
                (func (export "call") (param i32 i32) (result i32)
                    (call_indirect (type $f) (local.get 1) (local.get 0))))"#,
            COUNT + 1,
            (0..=COUNT).map(|n| format!("{n} ")).collect::<String>(),
        );
        let module = Module::new(&engine, wat)?;
        for data in [1000, 2000] {
            let mut store = Store::new(&engine, data);
            let mut linker = linker.clone();
            for n in (2..COUNT).step_by(3) {
                let item = Func::wrap(&mut store, move |more: i32| -n - more);
                linker.define(&store, "item", &n.to_string(), item)?;
            }
            let pre = linker.instantiate_pre(&module)?;
            drop(linker);
            for _ in 0..3 {
                let instance = pre.instantiate(&mut store)?;
                let call = instance.get_typed_func::<(i32, i32), i32>(&mut store, "call")?;
                for n in 0..=COUNT {
                    let number = if n == COUNT { 0 } else { n };
                    let expected = if number % 3 == 2 { -number - 7 } else { data + number + 7 };
                    assert_eq!(call.call(&mut store, (n, 7))?, expected, "{n}");
                }
            }
        }
        assert_eq!(drops.count(), 0);
        drop(linker);
        assert_eq!(drops.count(), COUNT as usize);
        Ok(())
    })
}
