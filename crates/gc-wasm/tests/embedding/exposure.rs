//! References that the host and compiled code pass to each other. No collection happens between the
//! first and the last reference of one call. References that an outer activation holds stay alive
//! during nested calls.

use crate::common::{Drops, everywhere, new_struct, prelude, with_prelude};
use anyhow::{Context, Result};
use gc_wasm::{
    AnyRef, AsContext, AsContextMut, Caller, Engine, ExternRef, FieldType, Func, FuncType, Linker,
    Module, Mutability, RootScope, Rooted, StorageType, Store, StructRef, StructType, Val, ValType,
};

#[test]
fn two_references_passed_back_to_back() -> Result<()> {
    everywhere(|setting| {
        let body = r#"
            (func (export "both") (param $a (ref $pair)) (param $x externref) (param $b (ref $pair))
                (param $y externref) (result (ref $pair) externref (ref $pair) externref)
                (call $churn)
                (local.get $b) (local.get $y) (local.get $a) (local.get $x))"#;
        let engine = setting.engine()?;
        let (mut store, instance) = with_prelude(&engine, body)?;
        let both = instance.get_func(&mut store, "both").context("an export")?;
        let pair = pair_type(&engine, &both, &store)?;
        // Often enough to fill a collector's set of roots of any size. The second reference is
        // exposed when the first one already is.
        let rounds = if setting.zeal { 60 } else { 20_000 };
        for i in 0..rounds {
            let mut scope = RootScope::new(&mut store);
            let mut new = |n: i32| new_struct(&mut scope, &pair, &[Val::I32(n), Val::AnyRef(None)]);
            let (a, b) = (new(i)?, new(i + 1)?);
            let x = ExternRef::new(&mut scope, i)?;
            let y = ExternRef::new(&mut scope, i + 1)?;
            let arguments =
                [a.to_anyref().into(), x.into(), b.to_anyref().into(), Val::ExternRef(Some(y))];
            let mut results = [Val::I32(0); 4];
            both.call(&mut scope, &arguments, &mut results)?;
            let values: Vec<i32> =
                results.iter().map(|result| number(&mut scope, result)).collect::<Result<_>>()?;
            assert_eq!(values, [i + 1, i + 1, i, i]);
        }
        if setting.reclaims() {
            store.gc(None)?;
            assert_eq!(store.gc_stats().live_objects, 0);
        }
        Ok(())
    })
}

/// The number in a pair or in a host value.
fn number(mut store: impl AsContextMut<Data = ()>, value: &Val) -> Result<i32> {
    Ok(match value {
        Val::AnyRef(Some(any)) => {
            let pair = any.as_struct(&store)?.context("a struct")?;
            pair.field(&mut store, 0)?.i32().context("an i32")?
        }
        Val::ExternRef(Some(gc_ref)) => {
            let data = gc_ref.data(&store)?.context("a host value")?;
            *data.downcast_ref::<i32>().context("an i32")?
        }
        other => anyhow::bail!("{other:?}"),
    })
}

/// The struct type that is the function's first parameter.
fn pair_type(engine: &Engine, func: &Func, store: impl AsContext) -> Result<StructType> {
    let ty = func.ty(store);
    assert!(Engine::same(ty.engine(), engine));
    match ty.params().next().context("a parameter")?.as_ref().context("a reference")?.heap_type() {
        gc_wasm::HeapType::ConcreteStruct(ty) => Ok(ty.clone()),
        other => anyhow::bail!("{other}"),
    }
}

#[test]
fn typed_calls_pass_two_references_back_to_back() -> Result<()> {
    everywhere(|setting| {
        let body = r#"
            (func (export "swap") (param externref externref) (result externref externref)
                (call $churn) (local.get 1) (local.get 0))"#;
        let (mut store, instance) = with_prelude(&setting.engine()?, body)?;
        type Two = (Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>);
        let swap = instance.get_typed_func::<Two, Two>(&mut store, "swap")?;
        let rounds = if setting.zeal { 60 } else { 20_000 };
        for i in 0..rounds {
            let mut scope = RootScope::new(&mut store);
            let a = ExternRef::new(&mut scope, i)?;
            let b = ExternRef::new(&mut scope, -i)?;
            let (x, y) = swap.call(&mut scope, (Some(a), Some(b)))?;
            assert_eq!(number(&mut scope, &Val::ExternRef(x))?, -i);
            assert_eq!(number(&mut scope, &Val::ExternRef(y))?, i);
        }
        Ok(())
    })
}

/// Only the calls themselves collect, when the set of exposed references is full. They collect
/// before the first reference is exposed, never after it. If a collection came in between, the set
/// would lack the first reference, and the collection that `suspect` makes would show that.
const SUSPECT: &str = r#"(module
    (type $number (struct (field i32)))
    (import "host" "suspect" (func $suspect))
    (import "host" "pair" (func $pair (param i32) (result structref structref)))
    (import "host" "check" (func $check (param i32 structref)))
    (func (export "three") (param structref structref structref) (result structref structref)
        (call $suspect) (local.get 2) (local.get 0))
    (func (export "pairs") (param $n i32)
        (local $a structref) (local $b structref)
        (loop $again
            (drop (struct.new $number (local.get $n)))
            (call $pair (local.get $n))
            (local.set $b) (local.set $a)
            (call $suspect)
            (call $check (local.get $n) (local.get $a))
            (call $check (i32.sub (i32.const 0) (local.get $n)) (local.get $b))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;

/// Arguments and results, through typed functions and others.
#[test]
fn calls_collect_before_they_pass_references() -> Result<()> {
    type E = Option<Rooted<StructRef>>;
    everywhere(|setting| {
        if setting.zeal || !setting.reclaims() {
            return Ok(());
        }
        let engine = setting.engine()?;
        let mut linker: Linker<u64> = Linker::new(&engine);
        linker.func_wrap("host", "suspect", |mut caller: Caller<'_, u64>| {
            let collections = caller.as_context().gc_stats().collections;
            if collections != *caller.data() {
                *caller.data_mut() = collections + 1;
                caller.gc(None)?;
            }
            anyhow::Ok(())
        })?;
        linker.func_wrap("host", "check", |mut caller: Caller<'_, u64>, n: i32, x: E| {
            let value = x.context("not null")?.field(&mut caller, 0)?;
            anyhow::ensure!(value.i32() == Some(n), "{value:?} is not {n}");
            Ok(())
        })?;
        let field = FieldType::new(Mutability::Const, ValType::I32.into());
        let number = StructType::new(&engine, [field])?;
        let mut other = linker.clone();
        let ty = number.clone();
        linker.func_wrap("host", "pair", move |mut caller: Caller<'_, u64>, n: i32| {
            let a = new_struct(&mut caller, &ty, &[Val::I32(n)])?;
            let b = new_struct(&mut caller, &ty, &[Val::I32(-n)])?;
            anyhow::Ok((Some(a), Some(b)))
        })?;
        let ty = FuncType::new(&engine, [ValType::I32], [ValType::STRUCTREF, ValType::STRUCTREF]);
        let of = number.clone();
        other.func_new("host", "pair", ty, move |mut caller, params, results| {
            let n = params[0].i32().context("an i32")?;
            results[0] = new_struct(&mut caller, &of, &[Val::I32(n)])?.to_anyref().into();
            results[1] = new_struct(&mut caller, &of, &[Val::I32(-n)])?.to_anyref().into();
            Ok(())
        })?;
        let module = Module::new(&engine, SUSPECT)?;
        for linker in [linker, other] {
            let mut store = Store::new(&engine, 0);
            let instance = linker.instantiate(&mut store, &module)?;
            let pairs = instance.get_typed_func::<i32, ()>(&mut store, "pairs")?;
            pairs.call(&mut store, 50_000)?;
            let three = instance.get_func(&mut store, "three").context("an export")?;
            let typed = three.typed::<(E, E, E), (E, E)>(&store)?;
            for i in 0..50_000 {
                let mut scope = RootScope::new(&mut store);
                let a = Some(new_struct(&mut scope, &number, &[Val::I32(i)])?);
                let b = Some(new_struct(&mut scope, &number, &[Val::I32(i + 1)])?);
                // One is passed twice, at times.
                let c = match i % 4 {
                    0 | 1 => a,
                    _ => Some(new_struct(&mut scope, &number, &[Val::I32(-1)])?),
                };
                let (x, y) = if i % 2 == 0 {
                    typed.call(&mut scope, (a, c, b))?
                } else {
                    let any = |x: E| Val::AnyRef(x.map(|x| x.to_anyref()));
                    let mut results = [Val::I32(0); 2];
                    three.call(&mut scope, &[a, c, b].map(any), &mut results)?;
                    let mut structs =
                        results.iter().map(|x| x.anyref().flatten()?.as_struct(&scope).ok()?);
                    (structs.next().flatten(), structs.next().flatten())
                };
                for (x, expected) in [(x, i + 1), (y, i)] {
                    let value = x.context("not null")?.field(&mut scope, 0)?;
                    assert_eq!(value.i32(), Some(expected));
                }
            }
            let stats = store.gc_stats();
            assert!(stats.collections > 2 && stats.live_objects < 100_000, "{stats:?}");
        }
        Ok(())
    })
}

/// Host calls that call WebAssembly again. Each level of either kind holds its own references
/// during everything that the inner levels do.
#[test]
fn host_function_allocates_collects_and_calls_back() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let wat = prelude(
            r#"(import "host" "down"
                (func $down (param i32 structref externref) (result i32)))"#,
            r#"(func (export "go") (param $level i32) (param $from (ref null $pair))
                (param $host externref) (result i32)
                (local $mine (ref null $pair)) (local $sum i32)
                (local.set $mine (struct.new $pair (local.get $level) (local.get $from)))
                (call $churn)
                (local.set $sum
                    (call $down (local.get $level) (local.get $mine) (local.get $host)))
                (call $churn)
                (if (i32.ne (call $get (local.get $mine)) (local.get $level)) (then (unreachable)))
                (if (i32.eqz (ref.eq (local.get $from)
                        (struct.get $pair $next (local.get $mine)))) (then (unreachable)))
                (i32.add (local.get $sum) (call $get (local.get $mine))))"#,
        );
        let module = Module::new(&engine, wat)?;
        let drops = Drops::default();
        let mut linker: Linker<Drops> = Linker::new(&engine);
        linker.func_wrap("host", "gc", |mut caller: Caller<'_, Drops>| caller.gc(None))?;
        linker.func_wrap("host", "down", down)?;
        let mut store = Store::new(&engine, drops.clone());
        let instance = linker.instantiate(&mut store, &module)?;
        let go = instance.get_typed_func::<Go, i32>(&mut store, "go")?;
        for _ in 0..3 {
            // Pairs 3+2+1+0; the host's objects 100 for each of its calls.
            assert_eq!(go.call(&mut store, (3, None, None))?, 6 + 400);
        }
        store.gc(None)?;
        if setting.reclaims() {
            assert_eq!(store.gc_stats().live_objects, 0);
            assert_eq!(drops.count(), drops.made());
        }
        drop(store);
        assert_eq!(drops.made(), 12);
        assert_eq!(drops.count(), 12);
        Ok(())
    })
}

type Go = (i32, Option<Rooted<AnyRef>>, Option<Rooted<ExternRef>>);

/// The host's part of the test above: 100 for itself, plus the result of the inner levels.
fn down(
    mut caller: Caller<'_, Drops>,
    level: i32,
    from: Option<Rooted<StructRef>>,
    above: Option<Rooted<ExternRef>>,
) -> Result<i32> {
    let engine = caller.engine().clone();
    let field = |ty: ValType| FieldType::new(Mutability::Var, StorageType::ValType(ty));
    let ty = StructType::new(&engine, [field(ValType::I32), field(ValType::EXTERNREF)])?;
    let counted = caller.data().value();
    let number = counted.number;
    let value = ExternRef::new(&mut caller, counted)?;
    let object = new_struct(&mut caller, &ty, &[Val::I32(100), Val::from(value)])?;
    caller.gc(None)?;
    let mut below = 0;
    if level > 0 {
        let go = caller.get_export("go").and_then(|go| go.into_func()).context("an export")?;
        let go = go.typed::<Go, i32>(&caller)?;
        let from = from.map(|from| from.to_anyref());
        below = go.call(&mut caller, (level - 1, from, Some(value)))?;
    }
    caller.gc(None)?;
    // All references rooted in this call are unchanged, and so is the argument.
    let from = from.context("a pair")?;
    anyhow::ensure!(from.field(&mut caller, 0)?.i32() == Some(level));
    let inside = object.field(&mut caller, 1)?;
    let inside = inside.externref().flatten().context("an externref")?;
    anyhow::ensure!(Rooted::ref_eq(&caller, inside, &value)?);
    let data = value.data(&caller)?.and_then(|data| data.downcast_ref::<crate::common::Counted>());
    anyhow::ensure!(data.context("a host value")?.number == number);
    if let Some(above) = above {
        anyhow::ensure!(
            above.data(&caller)?.is_some_and(|data| data.is::<crate::common::Counted>())
        );
    }
    Ok(object.field(&mut caller, 0)?.i32().context("an i32")? + below)
}
