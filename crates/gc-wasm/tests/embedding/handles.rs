//! Handles that are used with another store, or after their scope ended. Each use with another store
//! panics, each use after the scope gives an error, and neither does damage.

use crate::common::{
    Drops, each_collector, everywhere, message, new_array, new_fixed_array, new_struct,
    panic_message,
};
use anyhow::{Context, Result};
use gc_wasm::{
    AnyRef, ArrayType, Caller, Engine, Extern, ExternRef, FieldType, Func, FuncType, Global,
    GlobalType, HeapType, I31, Instance, Linker, Memory, Module, Mutability, OwnedRooted, Ref,
    RefType, RootScope, Rooted, StorageType, Store, StructType, Table, TableType, Val, ValType,
};

const OF_ANOTHER: &str = "a rooted reference was used with the wrong store";
const CROSS_STORE: &str = "cross-`Store` values are not currently supported";
const ENDED: &str = "a rooted reference was used after its scope ended";

fn var(ty: ValType) -> FieldType {
    FieldType::new(Mutability::Var, StorageType::ValType(ty))
}

fn externref_global() -> GlobalType {
    GlobalType::new(ValType::EXTERNREF, Mutability::Var)
}

fn externref_table() -> TableType {
    TableType::new(RefType::new(true, HeapType::Extern), 1, None)
}

/// How a reference is refused: with a panic of this text, or an error with this cause.
#[derive(Clone, Copy)]
enum Refusal {
    Panics(&'static str),
    Fails(&'static str),
}

/// Fails unless `action` refuses a reference so.
#[track_caller]
fn check<T>(how: Refusal, what: &str, action: impl FnOnce() -> Result<T>) {
    match how {
        Refusal::Panics(text) => assert_eq!(panic_message(action), text, "{what}"),
        Refusal::Fails(text) => match action() {
            Ok(_) => panic!("{what}: no error"),
            Err(error) => assert_eq!(error.root_cause().to_string(), text, "{what}"),
        },
    }
}

/// Everything that takes a reference refuses `bad`, an externref handle: calls, globals and tables as
/// `given`, everything else as `expected`.
fn refused_everywhere(
    store: &mut Store<()>,
    bad: Rooted<ExternRef>,
    given: Refusal,
    expected: Refusal,
) -> Result<()> {
    let engine = store.engine().clone();
    let module = Module::new(&engine, r#"(module (func (export "f") (param externref)))"#)?;
    let instance = Instance::new(&mut *store, &module, &[])?;
    let f = instance.get_func(&mut *store, "f").context("an export")?;
    let value = Val::from(bad);

    check(given, "a call", || f.call(&mut *store, &[value], &mut []));
    let typed = f.typed::<Option<Rooted<ExternRef>>, ()>(&*store)?;
    check(given, "a typed call", || typed.call(&mut *store, Some(bad)));
    check(given, "a new global", || Global::new(&mut *store, externref_global(), value));
    let global = Global::new(&mut *store, externref_global(), Val::ExternRef(None))?;
    check(given, "a global", || global.set(&mut *store, value));
    check(given, "a new table", || Table::new(&mut *store, externref_table(), bad.into()));
    let table = Table::new(&mut *store, externref_table(), Ref::Extern(None))?;
    check(given, "a table", || table.set(&mut *store, 0, bad.into()));
    check(given, "growing a table", || table.grow(&mut *store, 1, bad.into()));
    assert_eq!(table.size(&*store), 1);
    let ty = StructType::new(&engine, [var(ValType::EXTERNREF)])?;
    check(expected, "a new struct", || new_struct(&mut *store, &ty, &[value]));
    let object = new_struct(&mut *store, &ty, &[Val::ExternRef(None)])?;
    check(expected, "a field", || object.set_field(&mut *store, 0, value));
    let ty = ArrayType::new(&engine, var(ValType::EXTERNREF));
    check(expected, "a new array", || new_array(&mut *store, &ty, &value, 3));
    check(expected, "a fixed array", || new_fixed_array(&mut *store, &ty, &[value]));
    let array = new_array(&mut *store, &ty, &Val::ExternRef(None), 2)?;
    check(expected, "an element", || array.set(&mut *store, 1, value));
    check(expected, "host data", || bad.data(&*store));
    check(expected, "an owned handle", || bad.to_owned_rooted(&mut *store));
    check(expected, "a conversion", || AnyRef::convert_extern(&mut *store, bad));
    check(expected, "its type", || value.ty(&*store));
    let good = ExternRef::new(&mut *store, ())?;
    check(expected, "a comparison", || Rooted::ref_eq(&*store, &bad, &good));
    check(expected, "a comparison", || Rooted::ref_eq(&*store, &good, &bad));
    let host = Func::wrap(&mut *store, move || Some(bad));
    check(given, "a host function's result", || host.call(&mut *store, &[], &mut [Val::I32(0)]));
    let ty = FuncType::new(&engine, [], [ValType::EXTERNREF]);
    let host = Func::new(&mut *store, ty, move |_, _, results| {
        results[0] = value;
        Ok(())
    });
    check(given, "a host function's result", || host.call(&mut *store, &[], &mut [Val::I32(0)]));
    Ok(())
}

#[test]
fn a_reference_of_one_store_used_with_another() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let (mut one, mut two) = (Store::new(&engine, ()), Store::new(&engine, ()));
        let foreign = ExternRef::new(&mut one, 1)?;
        // A handle with the same number, which must not be confused with it.
        let own = ExternRef::new(&mut two, 2)?;
        refused_everywhere(
            &mut two,
            foreign,
            Refusal::Fails(CROSS_STORE),
            Refusal::Panics(OF_ANOTHER),
        )?;
        assert_eq!(own.data(&two)?.context("data")?.downcast_ref(), Some(&2));

        let owned = foreign.to_owned_rooted(&mut one)?;
        assert_eq!(panic_message(|| owned.to_rooted(&mut two)), OF_ANOTHER);
        // Also for an `i31`, which needs no heap.
        let i31 = AnyRef::from_i31(&mut one, I31::wrapping_i32(5));
        assert_eq!(panic_message(|| i31.as_i31(&two)), OF_ANOTHER);
        assert_eq!(panic_message(|| i31.as_struct(&two)), OF_ANOTHER);
        assert_eq!(panic_message(|| i31.as_array(&two)), OF_ANOTHER);
        assert_eq!(panic_message(|| i31.as_eqref(&two)), OF_ANOTHER);
        assert_eq!(panic_message(|| i31.ty(&two)), OF_ANOTHER);
        assert_eq!(panic_message(|| i31.matches_ty(&two, &HeapType::I31)), OF_ANOTHER);
        let array = ArrayType::new(&engine, var(ValType::I32));
        let array = new_array(&mut one, &array, &Val::I32(0), 1)?;
        assert_eq!(panic_message(|| array.len(&two)), OF_ANOTHER);
        assert_eq!(panic_message(|| array.get(&mut two, 0)), OF_ANOTHER);
        Ok(())
    })
}

#[test]
fn a_reference_of_a_dropped_store_used_with_a_new_one() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut one = Store::new(&engine, ());
        let foreign = ExternRef::new(&mut one, 1)?;
        let owned = foreign.to_owned_rooted(&mut one)?;
        drop(one);
        let mut two = Store::new(&engine, ());
        ExternRef::new(&mut two, 2)?;
        refused_everywhere(
            &mut two,
            foreign,
            Refusal::Fails(CROSS_STORE),
            Refusal::Panics(OF_ANOTHER),
        )?;
        assert_eq!(panic_message(|| owned.to_rooted(&mut two)), OF_ANOTHER);
        Ok(())
    })
}

#[test]
fn a_reference_used_after_its_scope_ended() -> Result<()> {
    everywhere(|setting| {
        let mut store = Store::new(&setting.engine()?, ());
        let before = ExternRef::new(&mut store, "before")?;
        let mut outer = RootScope::new(&mut store);
        let kept = ExternRef::new(&mut outer, "kept")?;
        let mut inner = RootScope::new(&mut outer);
        let stale = ExternRef::new(&mut inner, "stale")?;
        assert!(stale.data(&inner)?.is_some());
        assert!(kept.data(&inner)?.is_some());
        drop(inner);
        assert_eq!(message(stale.data(&outer)), ENDED);
        // The next handle reuses the place of the one that ended, but is a different handle.
        let next = ExternRef::new(&mut outer, "next")?;
        assert_eq!(message(stale.data(&outer)), ENDED);
        assert_eq!(next.data(&outer)?.context("data")?.downcast_ref(), Some(&"next"));
        assert!(kept.data(&outer)?.is_some());
        drop(outer);
        assert_eq!(message(kept.data(&store)), ENDED);
        for _ in 0..5 {
            ExternRef::new(&mut store, ())?;
        }
        refused_everywhere(&mut store, stale, Refusal::Fails(ENDED), Refusal::Fails(ENDED))?;
        refused_everywhere(&mut store, kept, Refusal::Fails(ENDED), Refusal::Fails(ENDED))?;
        assert_eq!(before.data(&store)?.context("data")?.downcast_ref(), Some(&"before"));
        Ok(())
    })
}

/// A host function is a scope: what it rooted ends with the call.
#[test]
fn a_reference_used_after_its_host_function_returned() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        type Kept = (Vec<Rooted<ExternRef>>, Vec<OwnedRooted<ExternRef>>);
        let mut store: Store<Kept> = Store::new(&engine, Default::default());
        let keep = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, Kept>, given: Option<Rooted<ExternRef>>| -> Result<()> {
                let given = given.context("not null")?;
                let own = ExternRef::new(&mut caller, "own")?;
                let owned = given.to_owned_rooted(&mut caller)?;
                caller.data_mut().0.extend([given, own]);
                caller.data_mut().1.push(owned);
                Ok(())
            },
        );
        let module = Module::new(
            &engine,
            r#"(module (import "" "keep" (func $keep (param externref)))
                (func (export "f") (param externref)
                    (call $keep (local.get 0)) (call $keep (local.get 0))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[keep.into()])?;
        let given = ExternRef::new(&mut store, "given")?;
        let f = instance.get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut store, "f")?;
        f.call(&mut store, Some(given))?;
        store.gc(None)?;
        let (scoped, owned) = std::mem::take(store.data_mut());
        assert_eq!((scoped.len(), owned.len()), (4, 2));
        for stale in scoped {
            assert_eq!(message(stale.data(&store)), ENDED);
        }
        for owned in owned {
            let again = owned.to_rooted(&mut store);
            assert!(Rooted::ref_eq(&store, &again, &given)?);
        }
        Ok(())
    })
}

#[test]
fn an_owned_reference_outlives_scopes_and_collections() -> Result<()> {
    everywhere(|setting| {
        let drops = Drops::default();
        let mut store = Store::new(&setting.engine()?, ());
        let mut owned = Vec::new();
        for _ in 0..if setting.zeal { 200 } else { 5000 } {
            let mut scope = RootScope::new(&mut store);
            let value = ExternRef::new(&mut scope, drops.value())?;
            owned.push(value.to_owned_rooted(&mut scope)?);
        }
        store.gc(None)?;
        assert_eq!(drops.count(), 0);
        for (i, owned) in owned.iter().enumerate() {
            let mut scope = RootScope::new(&mut store);
            let value = owned.to_rooted(&mut scope);
            let data = value.data(&scope)?.context("data")?;
            assert_eq!(data.downcast_ref::<crate::common::Counted>().context("counted")?.number, i);
        }
        // Every second handle is dropped, and others reuse their places.
        let mut n = 0;
        owned.retain(|_| {
            n += 1;
            n % 2 == 0
        });
        store.gc(None)?;
        assert_eq!(drops.count(), if setting.reclaims() { drops.made() / 2 } else { 0 });
        let new = ExternRef::new(&mut store, drops.value())?.to_owned_rooted(&mut store)?;
        for (i, owned) in owned.iter().enumerate() {
            let value = owned.to_rooted(&mut store);
            let data = value.data(&store)?.context("data")?;
            assert_eq!(
                data.downcast_ref::<crate::common::Counted>().context("counted")?.number,
                2 * i + 1
            );
        }
        drop((new, owned));
        drop(store);
        assert_eq!(drops.count(), drops.made());
        Ok(())
    })
}

/// Exports of every kind in a store, and a handle to each.
fn items(store: &mut Store<()>) -> Result<(Instance, Func, Global, Table, Memory)> {
    let module = Module::new(
        store.engine(),
        r#"(module
            (func (export "func") (result i32) (i32.const 1))
            (global (export "global") (mut i32) (i32.const 2))
            (table (export "table") 3 funcref)
            (memory (export "memory") 1))"#,
    )?;
    let instance = Instance::new(&mut *store, &module, &[])?;
    Ok((
        instance,
        instance.get_func(&mut *store, "func").context("func")?,
        instance.get_global(&mut *store, "global").context("global")?,
        instance.get_table(&mut *store, "table").context("table")?,
        instance.get_memory(&mut *store, "memory").context("memory")?,
    ))
}

#[test]
fn things_of_one_store_used_with_another() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let (mut one, mut two) = (Store::new(&engine, ()), Store::new(&engine, ()));
        let (instance, func, global, table, memory) = items(&mut one)?;
        let (_, own_func, _, own_table, _) = items(&mut two)?;

        let expected = "a function was used with the wrong store";
        assert_eq!(panic_message(|| func.call(&mut two, &[], &mut [Val::I32(0)])), expected);
        let typed = func.typed::<(), i32>(&one)?;
        assert_eq!(panic_message(|| typed.call(&mut two, ())), expected);
        assert_eq!(panic_message(|| func.typed::<(), i32>(&two)), expected);
        assert_eq!(panic_message(|| func.ty(&two)), expected);

        // Values of another store are errors where a value is given to the store.
        let expected = CROSS_STORE;
        assert_eq!(message(own_table.set(&mut two, 0, func.into())), expected);
        assert_eq!(message(own_table.fill(&mut two, 0, func.into(), 1)), expected);
        assert_eq!(message(own_table.grow(&mut two, 1, func.into())), expected);
        let ty = TableType::new(RefType::FUNCREF, 1, None);
        assert_eq!(message(Table::new(&mut two, ty, func.into())), expected);
        let funcref = GlobalType::new(ValType::FUNCREF, Mutability::Var);
        assert_eq!(message(Global::new(&mut two, funcref.clone(), func.into())), expected);
        let own_global = Global::new(&mut two, funcref, Val::FuncRef(None))?;
        assert_eq!(message(own_global.set(&mut two, func.into())), expected);
        let foreign: Rooted<ExternRef> = ExternRef::new(&mut one, 1)?;
        let takes = Func::wrap(&mut two, |_: Option<Func>, _: Option<Rooted<ExternRef>>| {});
        for args in [[func.into(), Val::ExternRef(None)], [Val::FuncRef(None), foreign.into()]] {
            assert_eq!(message(takes.call(&mut two, &args, &mut [])), expected);
        }
        let takes = takes.typed::<(Option<Func>, Option<Rooted<ExternRef>>), ()>(&two)?;
        assert_eq!(message(takes.call(&mut two, (Some(func), None))), expected);
        assert_eq!(message(takes.call(&mut two, (None, Some(foreign)))), expected);
        let owned = foreign.to_owned_rooted(&mut one)?;
        let takes = Func::wrap(&mut two, |_: OwnedRooted<ExternRef>| {});
        let takes = takes.typed::<OwnedRooted<ExternRef>, ()>(&two)?;
        assert_eq!(message(takes.call(&mut two, owned)), expected);
        let returns = Func::wrap(&mut two, move || Some(func));
        let returns = returns.typed::<(), Option<Func>>(&two)?;
        assert_eq!(message(returns.call(&mut two, ())), expected);
        let ty = FuncType::new(&engine, [], [ValType::EXTERNREF]);
        let returns = Func::new(&mut two, ty, move |_, _, results| {
            results[0] = foreign.into();
            Ok(())
        });
        assert_eq!(message(returns.call(&mut two, &[], &mut [Val::I32(0)])), expected);

        let expected = "a global was used with the wrong store";
        assert_eq!(panic_message(|| global.get(&mut two)), expected);
        assert_eq!(panic_message(|| global.set(&mut two, Val::I32(1))), expected);
        assert_eq!(panic_message(|| global.ty(&two)), expected);

        let expected = "a table was used with the wrong store";
        assert_eq!(panic_message(|| table.get(&mut two, 0)), expected);
        assert_eq!(panic_message(|| table.set(&mut two, 0, Ref::Func(None))), expected);
        assert_eq!(panic_message(|| table.set(&mut two, 0, own_func.into())), expected);
        assert_eq!(panic_message(|| table.grow(&mut two, 1, Ref::Func(None))), expected);
        assert_eq!(panic_message(|| table.size(&two)), expected);
        assert_eq!(panic_message(|| table.ty(&two)), expected);

        let expected = "a memory was used with the wrong store";
        assert_eq!(panic_message(|| memory.data(&two)), expected);
        assert_eq!(panic_message(|| memory.data_mut(&mut two)), expected);
        assert_eq!(panic_message(|| memory.grow(&mut two, 1)), expected);
        assert_eq!(panic_message(|| memory.size(&two)), expected);
        assert_eq!(panic_message(|| memory.ty(&two)), expected);

        let expected = "an instance was used with the wrong store";
        assert_eq!(panic_message(|| instance.exports(&mut two).count()), expected);
        assert_eq!(panic_message(|| instance.module(&two)), expected);
        assert_eq!(panic_message(|| instance.get_export(&mut two, "func")), expected);
        assert_eq!(panic_message(|| instance.get_func(&mut two, "func")), expected);
        let mut linker = Linker::new(&engine);
        assert_eq!(
            panic_message(|| linker.instance(&mut two, "i", instance).map(|_| ())),
            expected
        );

        // The same for imports. A failed instantiation leaves nothing behind.
        for (wat, item, what) in [
            ("(func (result i32))", Extern::Func(func), "function"),
            ("(global (mut i32))", global.into(), "global"),
            ("(table 3 funcref)", table.into(), "table"),
            ("(memory 1)", memory.into(), "memory"),
        ] {
            let module = Module::new(&engine, format!(r#"(module (import "a" "b" {wat}))"#))?;
            let expected =
                "cross-`Store` instantiation is not supported: an import belongs to another store";
            assert_eq!(message(Instance::new(&mut two, &module, &[item])), expected);
            Instance::new(&mut one, &module, &[item])?;
            let mut linker = Linker::new(&engine);
            linker.define(&one, "a", "b", item)?;
            assert_eq!(message(linker.instantiate(&mut two, &module)), expected);
            // The linker needs the item's type, so here it is a mistake of the host.
            let expected = format!("a {what} was used with the wrong store");
            assert_eq!(panic_message(|| linker.define(&two, "c", "d", item).map(|_| ())), expected);
        }

        // Both stores are unchanged.
        for store in [&mut one, &mut two] {
            let (_, func, ..) = items(store)?;
            assert_eq!(func.typed::<(), i32>(&*store)?.call(&mut *store, ())?, 1);
        }
        Ok(())
    })
}

#[test]
fn things_of_one_engine_used_with_another() -> Result<()> {
    each_collector(|setting| {
        let (one, two) = (setting.engine()?, setting.engine()?);
        let mut store = Store::new(&two, ());
        let module = Module::new(&one, "(module)")?;
        assert_eq!(
            message(Instance::new(&mut store, &module, &[])),
            "the module and the store belong to different engines"
        );
        let ty = FuncType::new(&one, [], []);
        assert_eq!(
            panic_message(|| Func::new(&mut store, ty.clone(), |_, _, _| Ok(()))),
            "the host function belongs to another engine"
        );
        let mut linker = Linker::<()>::new(&two);
        assert_eq!(
            panic_message(|| linker.func_new("", "", ty.clone(), |_, _, _| Ok(())).map(|_| ())),
            "the function type belongs to another engine"
        );
        let mut linker = Linker::<()>::new(&one);
        linker.func_wrap("", "", || 1_i32)?;
        assert_eq!(
            panic_message(|| linker.get(&mut store, "", "")),
            "the store belongs to another engine than the linker"
        );
        let ty = StructType::new(&one, [var(ValType::I32)])?;
        assert_eq!(
            panic_message(|| new_struct(&mut store, &ty, &[Val::I32(0)])),
            "the struct type belongs to another engine"
        );
        let reference = |ty: &StructType| {
            ValType::Ref(RefType::new(true, HeapType::ConcreteStruct(ty.clone())))
        };
        assert_eq!(
            panic_message(|| StructType::new(&two, [var(reference(&ty))])),
            "the type (ref null (struct (field (mut i32)))) belongs to another engine"
        );
        assert!(
            panic_message(|| FuncType::new(&two, [reference(&ty)], [])).contains("another engine")
        );
        let same = StructType::new(&two, [var(ValType::I32)])?;
        assert!(ty != same);
        assert_eq!(panic_message(|| ty.matches(&same)), "types of different engines were compared");
        let object = new_struct(&mut store, &same, &[Val::I32(0)])?.to_anyref();
        assert!(object.matches_ty(&store, &HeapType::ConcreteStruct(same))?);
        assert_eq!(
            panic_message(|| object.matches_ty(&store, &HeapType::ConcreteStruct(ty.clone()))),
            "the type (struct (field (mut i32))) belongs to another engine"
        );
        let ty = ArrayType::new(&one, var(ValType::I32));
        assert_eq!(
            panic_message(|| new_array(&mut store, &ty, &Val::I32(0), 1)),
            "the array type belongs to another engine"
        );
        // A global or table of a type that the engine does not know.
        let ty = StructType::new(&one, [])?;
        let global = GlobalType::new(reference(&ty), Mutability::Var);
        assert!(
            panic_message(|| Global::new(&mut store, global, Val::AnyRef(None)))
                .contains("another engine")
        );
        let HeapType::ConcreteStruct(_) = HeapType::ConcreteStruct(ty.clone()) else {
            unreachable!()
        };
        let table = TableType::new(RefType::new(true, HeapType::ConcreteStruct(ty)), 1, None);
        assert!(
            panic_message(|| Table::new(&mut store, table, Ref::Any(None)))
                .contains("another engine")
        );
        Ok(())
    })
}

/// Owned handles are dropped without their store. The next collection releases their references,
/// even if compiled code causes it.
#[test]
fn a_full_heap_gives_up_what_dropped_owned_handles_held() -> Result<()> {
    each_collector(|setting| {
        if !setting.reclaims() {
            return Ok(());
        }
        let engine = Engine::new(setting.config().gc_heap_maximum(16 << 20))?;
        let ty = ArrayType::new(&engine, FieldType::new(Mutability::Var, StorageType::I8));
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.func_wrap("", "own", |mut caller: Caller<'_, ()>, x: Option<Rooted<AnyRef>>| {
            let owned = x.context("not null")?.to_owned_rooted(&mut caller)?;
            drop(owned.clone());
            assert!(owned.to_rooted(&mut caller).as_array(&caller)?.is_some());
            anyhow::Ok(())
        })?;
        let module = Module::new(
            &engine,
            r#"(module (type $bytes (array (mut i8)))
                (import "" "own" (func $own (param anyref)))
                (func (export "allocate") (param $n i32)
                    (loop $again
                        (call $own (array.new_default $bytes (i32.const 1000000)))
                        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module)?;
        let allocate = instance.get_typed_func::<i32, ()>(&mut store, "allocate")?;
        for _ in 0..3 {
            for _ in 0..40 {
                let mut scope = RootScope::new(&mut store);
                let array = new_array(&mut scope, &ty, &Val::I32(0), 1_000_000)?;
                drop(array.to_owned_rooted(&mut scope)?);
            }
            allocate.call(&mut store, 40)?;
        }
        Ok(())
    })
}
