//! Calls with many parameters and results, in registers and on the stack.

use crate::common::everywhere;
use anyhow::{Context, Result};
use gc_wasm::{
    AnyRef, AsContextMut, Caller, ExternRef, Func, FuncType, I31, Instance, Linker, Module,
    RootScope, Rooted, Store, TypedFunc, Val, ValType,
};

/// The values for tests with many values. Value `i` has type `i % 6`.
fn nth(store: &mut impl AsContextMut, i: usize) -> Result<Val> {
    Ok(match i % 6 {
        0 => Val::I32(i as i32),
        1 => Val::I64(-(i as i64)),
        2 => Val::from(i as f32 / 2.0),
        3 => Val::from(-(i as f64)),
        4 => ExternRef::new(store, i)?.into(),
        _ => AnyRef::from_i31(store, I31::wrapping_i32(i as i32)).into(),
    })
}

fn types() -> impl Iterator<Item = (&'static str, ValType)> {
    let all = [
        ("i32", ValType::I32),
        ("i64", ValType::I64),
        ("f32", ValType::F32),
        ("f64", ValType::F64),
        ("externref", ValType::EXTERNREF),
        ("anyref", ValType::ANYREF),
    ];
    all.into_iter().cycle()
}

fn check_nth<T: 'static>(
    store: &impl gc_wasm::AsContext<Data = T>,
    i: usize,
    value: &Val,
) -> Result<()> {
    let same = match (i % 6, value) {
        (0, Val::I32(n)) => *n == i as i32,
        (1, Val::I64(n)) => *n == -(i as i64),
        (2, Val::F32(_)) => value.f32() == Some(i as f32 / 2.0),
        (3, Val::F64(_)) => value.f64() == Some(-(i as f64)),
        (4, Val::ExternRef(Some(n))) => {
            n.data(store)?.is_some_and(|n| n.downcast_ref() == Some(&i))
        }
        (5, Val::AnyRef(Some(n))) => n.as_i31(store)? == Some(I31::wrapping_i32(i as i32)),
        _ => false,
    };
    anyhow::ensure!(same, "value {i} is {value:?}");
    Ok(())
}

/// 30 parameters and 20 results, through compiled code to the host and back.
#[test]
fn many_parameters_and_results() -> Result<()> {
    const PARAMS: usize = 30;
    const RESULTS: usize = 20;
    let list =
        |count: usize| types().take(count).map(|(name, _)| name).collect::<Vec<_>>().join(" ");
    let signature = format!("(param {}) (result {})", list(PARAMS), list(RESULTS));
    let arguments: String = (0..PARAMS).map(|i| format!("(local.get {i})")).collect();
    let first: String = (0..RESULTS).map(|i| format!("(local.get {i})")).collect();
    let wat = format!(
        r#"(module
            (type $f (func {signature}))
            (import "" "host" (func $host (type $f)))
            (import "" "gc" (func $gc))
            (elem declare func $host)
            (func (export "first") {signature} (call $gc) {first})
            (func (export "direct") {signature} (call $host {arguments}))
            (func (export "by_ref") {signature} (call_ref $f {arguments} (ref.func $host)))
            (func $tail (export "own") {signature} (call $gc) (call $own {arguments}))
            (func $own {signature} (call $gc) {first}))"#
    );
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut linker: Linker<()> = Linker::new(&engine);
        let take = |count: usize| types().take(count).map(|(_, ty)| ty);
        let ty = FuncType::new(&engine, take(PARAMS), take(RESULTS));
        linker.func_wrap("", "gc", |mut caller: Caller<'_, ()>| caller.gc(None))?;
        linker.func_new("", "host", ty, |mut caller, params, results| {
            assert_eq!((params.len(), results.len()), (PARAMS, RESULTS));
            caller.gc(None)?;
            for (i, value) in params.iter().enumerate() {
                check_nth(&caller, i, value)?;
            }
            for (i, result) in results.iter_mut().enumerate() {
                *result = if i % 2 == 0 { params[i] } else { nth(&mut caller, i)? };
            }
            caller.gc(None)
        })?;
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &Module::new(&engine, &wat)?)?;
        for name in ["first", "direct", "by_ref", "own"] {
            let f = instance.get_func(&mut store, name).context("an export")?;
            for _ in 0..20 {
                let mut scope = RootScope::new(&mut store);
                let arguments: Vec<Val> =
                    (0..PARAMS).map(|i| nth(&mut scope, i)).collect::<Result<_>>()?;
                let mut results = [Val::I32(-1); RESULTS];
                f.call(&mut scope, &arguments, &mut results).context(name)?;
                for (i, value) in results.iter().enumerate() {
                    check_nth(&scope, i, value).context(name)?;
                }
            }
        }
        if setting.reclaims() {
            store.gc(None)?;
            assert_eq!(store.gc_stats().live_objects, 0);
        }
        Ok(())
    })
}

#[test]
fn typed_functions_with_twelve_of_each() -> Result<()> {
    everywhere(|setting| {
        type All = (
            i32,
            u32,
            i64,
            u64,
            f32,
            f64,
            Option<Rooted<ExternRef>>,
            Option<Func>,
            Option<Rooted<AnyRef>>,
            Option<I31>,
            I31,
            i32,
        );
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let types = "i32 i32 i64 i64 f32 f64 externref funcref anyref i31ref (ref i31) i32";
        let gets: String = (0..12).map(|i| format!("(local.get {i})")).collect();
        let module = Module::new(
            &engine,
            format!(
                r#"(module (import "" "host" (func $host (param {types}) (result {types})))
                    (func (export "f") (param {types}) (result {types}) (call $host {gets})))"#
            ),
        )?;
        let host = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, ()>,
             a: i32,
             b: u32,
             c: i64,
             d: u64,
             e: f32,
             f: f64,
             g: Option<Rooted<ExternRef>>,
             h: Option<Func>,
             i: Option<Rooted<AnyRef>>,
             j: Option<I31>,
             k: I31,
             l: i32|
             -> Result<All> {
                caller.gc(None)?;
                Ok((a + 1, b + 1, c + 1, d + 1, e + 1.0, f + 1.0, g, h, i, j, k, l + 1))
            },
        );
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let f: TypedFunc<All, All> = instance.get_typed_func(&mut store, "f")?;
        let value = ExternRef::new(&mut store, 5)?;
        let any = AnyRef::from_i31(&mut store, I31::wrapping_i32(7));
        let (j, k) = (I31::wrapping_i32(-1), I31::wrapping_i32(1));
        let all = (
            1,
            u32::MAX - 1,
            3,
            u64::MAX - 1,
            5.0,
            6.0,
            Some(value),
            Some(host),
            Some(any),
            Some(j),
            k,
            12,
        );
        let got = f.call(&mut store, all)?;
        assert_eq!(
            (got.0, got.1, got.2, got.3, got.4, got.5),
            (2, u32::MAX, 4, u64::MAX, 6.0, 7.0)
        );
        assert!(Rooted::ref_eq(&store, &got.6.unwrap(), &value)?);
        assert_eq!(got.7, Some(host));
        assert_eq!(got.8.unwrap().as_i31(&store)?, Some(I31::wrapping_i32(7)));
        assert_eq!((got.9, got.10, got.11), (Some(j), k, 13));
        Ok(())
    })
}
