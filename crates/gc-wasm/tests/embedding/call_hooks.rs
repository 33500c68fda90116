//! Hooks that are called when calls go from the host to WebAssembly and back.

use crate::common::{each_collector, everywhere, message};
use crate::executor::{block_on, block_on_counted, poll, wait};
use anyhow::{Result, bail};
use gc_wasm::CallHook::{CallingHost, CallingWasm, ReturningFromHost, ReturningFromWasm};
use gc_wasm::{
    AsContextMut, CallHook, CallHookHandler, Caller, Config, Engine, ExnRef, ExnRefPre, ExnType,
    ExternRef, Func, FuncType, Instance, Linker, Module, Rooted, Store, StoreContextMut, Tag,
    TagType, TypedFunc, UpdateDeadline, Val, ValType,
};

/// What was seen, and the one at which the hook fails.
#[derive(Default)]
struct State {
    seen: Vec<CallHook>,
    fail_at: Option<CallHook>,
}

fn store(engine: &Engine) -> Store<State> {
    let mut store = Store::new(engine, State::default());
    store.call_hook(|mut store, change| {
        let state = store.data_mut();
        state.seen.push(change);
        if state.fail_at == Some(change) {
            bail!("failed at {change:?}");
        }
        Ok(())
    });
    store
}

fn seen(store: &mut Store<State>) -> Vec<CallHook> {
    std::mem::take(&mut store.data_mut().seen)
}

const HOST_ALONE: [CallHook; 4] = [CallingWasm, CallingHost, ReturningFromHost, ReturningFromWasm];

#[test]
fn each_call_is_seen_once() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine);
    assert!(CallingHost.entering_host() && ReturningFromWasm.entering_host());
    assert!(CallingWasm.exiting_host() && ReturningFromHost.exiting_host());

    let wrapped = Func::wrap(&mut store, |caller: Caller<'_, State>, n: i32| {
        assert_eq!(caller.data().seen.last(), Some(&CallingHost));
        n
    });
    let ty = FuncType::new(&engine, [ValType::I32], [ValType::I32]);
    let made = Func::new(&mut store, ty, |caller, params, results| {
        assert_eq!(caller.data().seen.last(), Some(&CallingHost));
        results[0] = params[0];
        Ok(())
    });
    for func in [wrapped, made] {
        func.call(&mut store, &[Val::I32(1)], &mut [Val::I32(0)])?;
        assert_eq!(seen(&mut store), HOST_ALONE);
        assert_eq!(func.typed::<i32, i32>(&store)?.call(&mut store, 5)?, 5);
        assert_eq!(seen(&mut store), HOST_ALONE);
    }

    let mut linker = Linker::new(&engine);
    linker.define(&store, "host", "f", wrapped)?;
    let module = Module::new(
        &engine,
        r#"(module (import "host" "f" (func $f (param i32) (result i32)))
            (func (export "run") (result i32) (call $f (call $f (i32.const 3))))
            (func (export "trap") unreachable))"#,
    )?;
    let instance = linker.instantiate(&mut store, &module)?;
    assert_eq!(seen(&mut store), []);
    let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 3);
    let twice = [CallingHost, ReturningFromHost];
    assert_eq!(
        seen(&mut store),
        [&[CallingWasm][..], &twice, &twice, &[ReturningFromWasm]].concat()
    );
    let trap = instance.get_typed_func::<(), ()>(&mut store, "trap")?;
    trap.call(&mut store, ()).unwrap_err();
    assert_eq!(seen(&mut store), [CallingWasm, ReturningFromWasm]);
    // What cannot be called is not.
    let run = run.func();
    run.call(&mut store, &[Val::I32(1)], &mut []).unwrap_err();
    wrapped.call(&mut store, &[Val::I64(1)], &mut [Val::I32(0)]).unwrap_err();
    assert_eq!(seen(&mut store), []);
    Ok(())
}

#[test]
fn start_functions_and_failing_host_functions_are_seen() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine);
    Instance::new(&mut store, &Module::new(&engine, "(module)")?, &[])?;
    assert_eq!(seen(&mut store), []);
    let module = Module::new(&engine, "(module (func) (start 0))")?;
    Instance::new(&mut store, &module, &[])?;
    assert_eq!(seen(&mut store), [CallingWasm, ReturningFromWasm]);
    let fails = Func::wrap(&mut store, || -> Result<()> { bail!("no") });
    let module = Module::new(&engine, r#"(module (import "" "" (func)) (start 0))"#)?;
    assert!(message(Instance::new(&mut store, &module, &[fails.into()])).ends_with("no"));
    assert_eq!(seen(&mut store), HOST_ALONE);
    Ok(())
}

#[test]
fn recursion_is_seen_in_order() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine);
    let again = Func::wrap(&mut store, |mut caller: Caller<'_, State>, n: i32| -> Result<i32> {
        let Some(run) = caller.get_export("run").and_then(|run| run.into_func()) else {
            bail!("there is no `run`")
        };
        let run = run.typed::<i32, i32>(&caller)?;
        run.call(&mut caller, n - 1)
    });
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $again (param i32) (result i32)))
            (func (export "run") (param i32) (result i32)
                (if (result i32) (local.get 0)
                    (then (call $again (local.get 0))) (else (i32.const 42)))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[again.into()])?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, 2)?, 42);
    let (there, back) = ([CallingWasm, CallingHost], [ReturningFromHost, ReturningFromWasm]);
    let innermost = [CallingWasm, ReturningFromWasm];
    assert_eq!(seen(&mut store), [there, there, innermost, back, back].concat());
    Ok(())
}

#[test]
fn a_hook_that_fails_ends_the_call() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, State>| {
        // So that it shows whether this has run.
        caller.data_mut().seen.push(CallingHost);
    });
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $host)) (func (export "run") (call $host)))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let run = instance.get_func(&mut store, "run").unwrap();
    let all = [CallingWasm, CallingHost, CallingHost, ReturningFromHost, ReturningFromWasm];
    for (change, expected) in [
        (CallingWasm, &all[..1]),
        (CallingHost, &[CallingWasm, CallingHost, ReturningFromWasm]),
        (ReturningFromHost, &all),
        (ReturningFromWasm, &all),
    ] {
        store.data_mut().fail_at = Some(change);
        let typed = run.typed::<(), ()>(&store)?;
        let errors = [run.call(&mut store, &[], &mut []), typed.call(&mut store, ())];
        for error in errors {
            let error = message(error);
            assert!(error.ends_with(&format!("failed at {change:?}")), "{error}");
        }
        assert_eq!(seen(&mut store), [expected, expected].concat());
    }
    store.data_mut().fail_at = None;
    run.call(&mut store, &[], &mut [])
}

/// A hook may collect, and run code, whatever is being passed.
#[test]
fn a_hook_may_collect() -> Result<()> {
    each_collector(|setting| {
        type E = Option<Rooted<ExternRef>>;
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, 0_u32);
        let nothing = Func::wrap(&mut store, || {});
        store.call_hook(move |mut store, _| {
            *store.data_mut() += 1;
            nothing.call(&mut store, &[], &mut [])?;
            ExternRef::new(&mut store, "garbage")?;
            store.gc(None)
        });
        let wrapped = Func::wrap(&mut store, |_: Caller<'_, u32>, e: E| e);
        let ty = FuncType::new(&engine, [ValType::EXTERNREF], [ValType::EXTERNREF]);
        let made = Func::new(&mut store, ty, |mut caller, params, results| {
            caller.as_context_mut().gc(None)?;
            results[0] = params[0];
            Ok(())
        });
        let module = Module::new(
            &engine,
            r#"(module (import "" "a" (func $a (param externref) (result externref)))
                (import "" "b" (func $b (param externref) (result externref)))
                (func (export "run") (param externref) (result externref)
                    (call $b (call $a (local.get 0)))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[wrapped.into(), made.into()])?;
        let run = instance.get_typed_func::<E, E>(&mut store, "run")?;
        for n in 0..5 {
            ExternRef::new(&mut store, "garbage before it")?;
            let number = ExternRef::new(&mut store, n)?;
            let same = run.call(&mut store, Some(number))?.unwrap();
            assert_eq!(same.data(&store)?.unwrap().downcast_ref(), Some(&n));
            let mut result = [Val::I32(0)];
            run.func().call(&mut store, &[number.into()], &mut result)?;
            let same = result[0].unwrap_externref().unwrap();
            assert_eq!(same.data(&store)?.unwrap().downcast_ref(), Some(&n));
        }
        // The calls of the hook itself are not counted.
        assert_eq!(*store.data(), 5 * 2 * 6);
        Ok(())
    })
}

#[test]
fn what_a_hook_throws_is_not_what_the_host_function_throws() -> Result<()> {
    everywhere(|setting| {
        let mut store = Store::new(&setting.engine()?, None::<TypedFunc<i32, ()>>);
        let ty = TagType::new(FuncType::new(store.engine(), [ValType::I32], []));
        let tag = Tag::new(&mut store, &ty)?;
        type State = Option<TypedFunc<i32, ()>>;
        let throw = Func::wrap(&mut store, move |mut caller: Caller<'_, State>, n: i32| {
            let ty = ExnType::from_tag_type(&tag.ty(&caller))?;
            let pre = ExnRefPre::new(&mut caller, ty);
            let exception = ExnRef::new(&mut caller, &pre, &tag, &[Val::I32(n)])?;
            caller.as_context_mut().throw::<()>(exception)
        });
        let wat = r#"(module
            (import "" "tag" (tag $t (param i32)))
            (import "" "throw" (func $throw (param i32)))
            (func (export "catch") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (catch $t $caught) (call $throw (local.get 0)))
                    (i32.const -1)))
            (func (export "uncaught") (param i32) (throw $t (local.get 0))))"#;
        let module = Module::new(store.engine(), wat)?;
        let instance = Instance::new(&mut store, &module, &[tag.into(), throw.into()])?;
        let catch = instance.get_typed_func::<i32, i32>(&mut store, "catch")?;
        *store.data_mut() = Some(instance.get_typed_func(&mut store, "uncaught")?);
        store.call_hook(|mut store, _| {
            let uncaught = store.data().clone().unwrap();
            assert!(uncaught.call(&mut store, 77).is_err());
            store.gc(None)
        });
        assert_eq!(catch.call(&mut store, 3)?, 3);
        // Unless the hook fails with it.
        store.call_hook(|mut store, change| match change {
            ReturningFromHost => {
                let uncaught = store.data().clone().unwrap();
                uncaught.call(&mut store, 77)
            }
            _ => Ok(()),
        });
        assert_eq!(catch.call(&mut store, 3)?, 77);
        Ok(())
    })
}

struct WaitingHook;

#[async_trait::async_trait]
impl CallHookHandler<usize> for WaitingHook {
    async fn handle_call_event(
        &self,
        mut store: StoreContextMut<'_, usize>,
        _change: CallHook,
    ) -> Result<()> {
        *store.data_mut() += 1;
        wait(1).await;
        Ok(())
    }
}

#[test]
fn a_forgotten_call_does_not_lose_the_hook() -> Result<()> {
    let mut store = Store::new(&Engine::default(), 0);
    store.call_hook_async(WaitingHook);
    let func = Func::wrap(&mut store, || ()).typed::<(), ()>(&store)?;
    block_on(func.call_async(&mut store, ()))?;
    assert_eq!(*store.data(), 4);
    let mut call = Box::pin(func.call_async(&mut store, ()));
    assert!(poll(call.as_mut()).is_pending());
    std::mem::forget(call);
    assert_eq!(*store.data(), 5);
    block_on(func.call_async(&mut store, ()))?;
    assert_eq!(*store.data(), 9);
    Ok(())
}

/// The hook is a frame of the embedder, which must not be sent to another thread.
#[test]
fn a_hook_that_is_no_future_cannot_wait() -> Result<()> {
    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    let mut store = Store::new(&engine, None::<TypedFunc<(), ()>>);
    let module = Module::new(&engine, r#"(module (func (export "f")) (func (export "g")))"#)?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
    *store.data_mut() = Some(instance.get_typed_func(&mut store, "g")?);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(0)));
    store.call_hook(|mut store, _| {
        let g = store.data().clone().unwrap();
        g.call(&mut store, ())
    });
    let error = message(block_on(f.call_async(&mut store, ())));
    assert!(error.contains("without an asynchronous call"), "{error}");
    store.call_hook(|_, _| Ok(()));
    let (result, polls) = block_on_counted(f.call_async(&mut store, ()));
    result?;
    assert_eq!(polls, 1, "it waited once");
    Ok(())
}
