//! Calls and host functions with raw values.

use crate::common::{Drops, each_collector, everywhere, message, panic_message};
use anyhow::{Result, bail};
use gc_wasm::{
    AnyRef, AsContext, AsContextMut, ExternRef, Func, FuncType, Instance, Linker, Module,
    RootScope, Rooted, Store, Val, ValRaw, ValType,
};

const TEXT: &str = r#"(module
    (type $box (struct (field (mut i32))))
    (import "" "same" (func $same (param externref) (result externref)))
    (func (export "add") (param i32 i64) (result i64)
        (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
    (func (export "same") (param externref) (result externref) (call $same (local.get 0)))
    (func (export "box") (param i32) (result anyref) (struct.new $box (local.get 0)))
    (func (export "unbox") (param anyref) (result i32)
        (struct.get $box 0 (ref.cast (ref $box) (local.get 0))))
    (func (export "swap") (param i32 f64) (result f64 i32) (local.get 1) (local.get 0))
    (func (export "call") (param funcref) (result funcref) (local.get 0)))"#;

#[test]
fn raw_values_go_both_ways() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, TEXT)?;
        let mut store = Store::new(&engine, ());
        let drops = Drops::default();
        let mut linker = Linker::<()>::new(&engine);
        let ty = FuncType::new(&engine, [ValType::EXTERNREF], [ValType::EXTERNREF]);
        // SAFETY: it takes a reference and leaves one.
        unsafe {
            linker.func_new_unchecked("", "same", ty, |mut caller, slots| {
                let raw = slots[0].assume_init_ref().get_externref();
                let value = ExternRef::from_raw(&mut caller, raw);
                // The reference is a root now.
                caller.gc(None)?;
                let raw = value.map_or(Ok(0), |value| value.to_raw(&mut caller))?;
                slots[0].write(ValRaw::externref(raw));
                Ok(())
            })?
        };
        let instance = linker.instantiate(&mut store, &module)?;
        let mut func = |name| instance.get_func(&mut store, name).unwrap();
        let [add, same, boxes, unboxes, swap, call] =
            ["add", "same", "box", "unbox", "swap", "call"].map(&mut func);
        // SAFETY: in all calls the slots have values of the parameters' types, and references are
        // those of this store, with no collection in between.
        unsafe {
            let mut slots = [ValRaw::i32(-2), ValRaw::i64(5)];
            add.call_unchecked(&mut store, &mut slots)?;
            assert_eq!(slots[0].get_i64(), 3);
            let mut slots = [ValRaw::i32(-2), ValRaw::f64(2.5f64.to_bits())];
            swap.call_unchecked(&mut store, &mut slots)?;
            assert_eq!((slots[0].get_f64(), slots[1].get_i32()), (2.5f64.to_bits(), -2));
            for _ in 0..50 {
                let mut scope = RootScope::new(&mut store);
                let value = ExternRef::new(&mut scope, drops.value())?;
                let mut slots = [ValRaw::externref(value.to_raw(&mut scope)?)];
                same.call_unchecked(&mut scope, &mut slots)?;
                let back = ExternRef::from_raw(&mut scope, slots[0].get_externref()).unwrap();
                assert!(gc_wasm::Rooted::ref_eq(&scope, &value, &back)?);

                let mut slots = [ValRaw::i32(9)];
                boxes.call_unchecked(&mut scope, &mut slots)?;
                let object = AnyRef::from_raw(&mut scope, slots[0].get_anyref()).unwrap();
                scope_gc(&mut scope)?;
                let mut slots = [Val::from(object).to_raw(&mut scope)?];
                unboxes.call_unchecked(&mut scope, &mut slots)?;
                assert_eq!(slots[0].get_i32(), 9);
            }
            let mut slots = [ValRaw::funcref(add.to_raw(&mut store))];
            call.call_unchecked(&mut store, &mut slots)?;
            assert_eq!(Func::from_raw(&mut store, slots[0].get_funcref()), Some(add));
            let value = Val::from_raw(&mut store, slots[0], ValType::FUNCREF);
            assert_eq!(value.unwrap_funcref(), Some(&add));
            let null = Val::null_extern_ref().to_raw(&mut store)?;
            assert!(ExternRef::from_raw(&mut store, null.get_externref()).is_none());
            assert!(Func::from_raw(&mut store, std::ptr::null_mut()).is_none());
            let host = Func::wrap(&mut store, |a: i32, b: i32| a + b);
            for func in [add, host] {
                let error = message(func.call_unchecked(&mut store, &mut [ValRaw::ZERO]));
                assert_eq!(error, "a call with 1 slots for 2 values");
            }
        }
        store.gc(None)?;
        store.gc(None)?;
        if setting.reclaims() {
            assert_eq!(drops.count(), 50);
        }
        Ok(())
    })
}

fn scope_gc(scope: &mut RootScope<&mut Store<()>>) -> Result<()> {
    gc_wasm::AsContextMut::as_context_mut(scope).gc(None)
}

#[test]
fn functions_of_many_values() -> Result<()> {
    let mut store = Store::<()>::default();
    let engine = store.engine().clone();
    let many = vec![ValType::I32; 20];
    let ty = FuncType::new(&engine, many.clone(), many);
    // SAFETY: it reads 20 numbers and leaves as many.
    let reverse = unsafe {
        Func::new_unchecked(&mut store, ty, |_, slots| {
            slots.reverse();
            Ok(())
        })
    };
    let text = format!(
        r#"(module (type $t (func (param {0}) (result {0})))
            (import "" "" (func $f (type $t)))
            (func (export "f") (type $t) {1} (call $f)))"#,
        "i32 ".repeat(20),
        (0..20).map(|n| format!("(local.get {n})")).collect::<String>(),
    );
    let module = Module::new(&engine, text)?;
    let instance = Instance::new(&mut store, &module, &[reverse.into()])?;
    let func = instance.get_func(&mut store, "f").unwrap();
    let params: Vec<Val> = (0..20).map(Val::I32).collect();
    for func in [reverse, func] {
        let mut results = [Val::I32(0); 20];
        func.call(&mut store, &params, &mut results)?;
        let results: Vec<i32> = results.iter().map(Val::unwrap_i32).collect();
        assert_eq!(results, (0..20).rev().collect::<Vec<_>>());
    }
    Ok(())
}

/// A hook that collects, and then makes values where the collected ones were.
fn collecting_hook(mut store: impl AsContextMut<Data = ()>) -> Result<()> {
    store.as_context_mut().gc(None)?;
    let mut scope = RootScope::new(&mut store);
    for n in 1000..1010 {
        ExternRef::new(&mut scope, n)?;
    }
    Ok(())
}

fn number(store: impl AsContext, value: Rooted<ExternRef>) -> Result<i32> {
    let Some(data) = value.data(&store)? else { bail!("no host value") };
    Ok(*data.downcast_ref::<i32>().unwrap())
}

#[test]
fn references_in_raw_slots_are_rooted_while_the_hook_runs() -> Result<()> {
    everywhere(|setting| {
        let mut store = Store::new(&setting.engine()?, ());
        let ty = FuncType::new(store.engine(), [ValType::EXTERNREF], [ValType::EXTERNREF]);
        // SAFETY: it reads a reference and writes one, and nothing collects in between.
        let host = unsafe {
            Func::new_unchecked(&mut store, ty, |mut caller, slots| {
                let raw = slots[0].assume_init_ref().get_externref();
                let value = ExternRef::from_raw(&mut caller, raw).unwrap();
                assert_eq!(number(&caller, value)?, 42);
                slots[0].write(ValRaw::externref(value.to_raw(&mut caller)?));
                Ok(())
            })
        };
        let wat = r#"(module
            (import "" "host" (func $host (param externref) (result externref)))
            (func (export "wasm") (param externref) (result externref)
                (call $host (local.get 0))))"#;
        let module = Module::new(store.engine(), wat)?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let wasm = instance.get_func(&mut store, "wasm").unwrap();
        store.call_hook(|store, _| collecting_hook(store));
        for func in [host, wasm] {
            let mut slots = [ValRaw::ZERO];
            {
                let mut scope = RootScope::new(&mut store);
                ExternRef::new(&mut scope, 7)?;
                let value = ExternRef::new(&mut scope, 42)?;
                slots[0] = ValRaw::externref(value.to_raw(&mut scope)?);
            }
            // SAFETY: the slot has a reference, and nothing collected since.
            unsafe { func.call_unchecked(&mut store, &mut slots)? };
            let value = ExternRef::from_raw(&mut store, slots[0].get_externref()).unwrap();
            assert_eq!(number(&store, value)?, 42);
        }
        Ok(())
    })
}

#[test]
fn references_in_raw_slots_are_not_kept_by_a_hook_that_panics() -> Result<()> {
    each_collector(|setting| {
        let mut store = Store::new(&setting.engine()?, ());
        let func = Func::wrap(&mut store, |_: Option<Rooted<ExternRef>>| {});
        store.call_hook(|_, _| panic!("the hook"));
        let drops = Drops::default();
        let mut slots = [ValRaw::ZERO];
        {
            let mut scope = RootScope::new(&mut store);
            let value = ExternRef::new(&mut scope, drops.value())?;
            slots[0] = ValRaw::externref(value.to_raw(&mut scope)?);
        }
        // SAFETY: the slot has a reference, and nothing collected since.
        let call = || unsafe { func.call_unchecked(&mut store, &mut slots) };
        assert_eq!(panic_message(call), "the hook");
        store.gc(None)?;
        assert_eq!(drops.count(), usize::from(setting.reclaims()));
        Ok(())
    })
}
