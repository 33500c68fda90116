//! Code that was replaced is kept as long as something can call it, and then freed.

use crate::common::engines;
use anyhow::Result;
use corosensei::stack::{DefaultStack, Stack as _};
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_engine::{
    Body, Caller, Code, Collector, Control, Engine, Module, Rooted, Signature, Store, Type, Val,
};

/// Code with a function `make` that returns an object with a function of the same code, which adds `n`.
fn makes(engine: &Engine, n: i64) -> Result<Code> {
    let mut module = Module::new(engine);
    let holder = module.struct_type("holder", [Type::Func])?;
    let add = module.declare_local("add", [Type::I64], [Type::I64])?;
    module.define(&add, |f| {
        let (value, n) = (f.param(0), f.i64(n));
        let sum = f.add(value, n);
        f.ret(&[sum]);
    })?;
    module.function("make", [], [Type::Ref], |f| {
        let add = f.func_ref(&add);
        let holder = f.struct_new(&holder, &[add]);
        f.ret(&[holder]);
    })?;
    module.compile()
}

/// Code with a function `run` that gets the function of an object of `make`, calls `swap`, and then the function.
fn runs(engine: &Engine) -> Result<Code> {
    let mut module = Module::new(engine);
    let holder = module.struct_type("holder", [Type::Func])?;
    let make = module.import("make", [], [Type::Ref])?;
    let swap = module.import("swap", [], [])?;
    let signature = Signature::new([Type::I64], [Type::I64]);
    module.function("run", [Type::I64], [Type::I64], |f| {
        let n = f.param(0);
        let made = f.call(&make, &[])[0];
        let add = f.struct_get(&holder, made, 0);
        f.call(&swap, &[]);
        let sum = f.call_indirect(&signature, add, &[n]);
        f.ret(&sum);
    })?;
    module.compile()
}

/// A store with both, in which `swap` replaces `make` many times. Its data are the numbers of pieces that were
/// seen.
fn store(engine: &Engine) -> Result<Store<Vec<usize>>> {
    let mut store = Store::new(engine, Vec::new())?;
    let codes = (1..=4).map(|n| makes(engine, 1000 * n)).collect::<Result<Vec<_>>>()?;
    store.load(&codes[0])?;
    store.func_wrap("swap", move |mut caller: Caller<'_, Vec<usize>>| {
        for n in 0..60 {
            caller.replace(&codes[n % codes.len()])?;
        }
        let pieces = caller.pieces();
        caller.data_mut().push(pieces);
        anyhow::Ok(())
    })?;
    store.load(&runs(engine)?)?;
    Ok(store)
}

/// Only the frame has the number of the function: neither the function's code nor its object is used.
#[test]
fn a_frame_keeps_the_function_that_it_has() {
    for engine in engines() {
        let mut store = store(&engine).unwrap();
        let run = store.function::<i64, i64>("run").unwrap();
        assert_eq!(run.call(&mut store, 5).unwrap(), 1005);
        for _ in 0..3 {
            assert_eq!(run.call(&mut store, 5).unwrap(), 4005);
        }
    }
}

/// A program that never ends replaces its functions. The heap keeps those that it has objects of.
#[test]
fn a_running_program_frees_what_it_replaced() {
    for engine in engines() {
        let mut store = store(&engine).unwrap();
        let mut module = Module::new(&engine);
        let run = module.import("run", [Type::I64], [Type::I64]).unwrap();
        let built = module.function("serve", [Type::I64], [], |f| {
            let (left, count) = (f.variable(Type::I64), f.param(0));
            f.set(left, count);
            f.while_loop(
                |f| {
                    let (left, zero) = (f.get(left), f.i64(0));
                    f.ins().icmp(IntCC::SignedGreaterThan, left, zero)
                },
                |f| {
                    let (before, one) = (f.get(left), f.i64(1));
                    f.call(&run, &[before]);
                    let after = f.sub(before, one);
                    f.set(left, after);
                },
            );
        });
        built.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        // One object keeps its function for the whole time.
        let make = store.function::<(), Rooted>("make").unwrap();
        let kept = make.call(&mut store, ()).unwrap();
        store.function::<i64, ()>("serve").unwrap().call(&mut store, 20).unwrap();
        let most = store.data().iter().max().unwrap();
        assert!(*most < 120, "of {} pieces, {most} were kept", 20 * 60);

        let mut module = Module::new(&engine);
        let holder = module.struct_type("holder", [Type::Func]).unwrap();
        let signature = Signature::new([Type::I64], [Type::I64]);
        let built = module.function("call", [Type::Ref, Type::I64], [Type::I64], |f| {
            let (object, n) = (f.param(0), f.param(1));
            let add = f.struct_get(&holder, object, 0);
            let sum = f.call_indirect(&signature, add, &[n]);
            f.ret(&sum);
        });
        built.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        let call = store.function::<(Rooted, i64), i64>("call").unwrap();
        assert_eq!(call.call(&mut store, (kept, 1)).unwrap(), 1001);
    }
}

/// Code gets the addresses of code that was freed. What was known of calls there must be forgotten.
#[test]
fn exceptions_find_the_handlers_of_the_code_that_is_there_now() -> Result<()> {
    let engine = Engine::new(Collector::copying())?;
    let mut store = Store::new(&engine, ())?;
    let failure = Module::new(&engine).struct_type("failure", [Type::I64])?;
    store.func_wrap("fail", move |mut caller: Caller<'_, ()>, n: i64| -> Result<()> {
        let object = failure.new_object(&mut caller, &[Val::I64(n)])?;
        Err(caller.throw(&object))
    })?;
    // This code has the exit trampoline, so it stays.
    let mut module = Module::new(&engine);
    let fail = module.import("fail", [Type::I64], [])?;
    module.function("first", [Type::I64], [], |f| {
        let n = f.param(0);
        f.call(&fail, &[n]);
    })?;
    store.load(&module.compile()?)?;
    let mut random = 1_u64;
    for round in 0..300 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (live, catches) = ((random >> 34) as i64 % 12, random >> 33 & 1 == 0);
        let mut module = Module::new(&engine);
        let failure = module.struct_type("failure", [Type::I64])?;
        let fail = module.import("fail", [Type::I64], [])?;
        module.function("run", [Type::I64], [Type::I64], |f| {
            let n = f.param(0);
            let factors: Vec<_> = (0..live).map(|factor| f.i64(factor)).collect();
            let values: Vec<_> = factors.iter().map(|factor| f.ins().imul(n, *factor)).collect();
            let finish = |f: &mut Body<'_, '_>| {
                let zero = f.i64(0);
                let sum = values.iter().fold(zero, |sum, value| f.add(sum, *value));
                f.ret(&[sum]);
            };
            match catches {
                true => f.try_catch(|f| drop(f.call(&fail, &[n])), &failure, |f, _| finish(f)),
                false => drop(f.call(&fail, &[n])),
            }
            finish(f);
        })?;
        store.replace(&module.compile()?)?;
        let sum = store.function::<i64, i64>("run")?.call(&mut store, 1).ok();
        store.take_pending_exception()?;
        assert_eq!(sum, catches.then_some((0..live).sum()), "{round}");
    }
    Ok(())
}

/// A search for references goes through the heap. With many live objects there are few.
#[test]
fn a_large_heap_is_not_searched_at_each_replacement() -> Result<()> {
    let engine = Engine::new(Collector::copying())?;
    let mut store = Store::new(&engine, ())?;
    let numbers = Module::new(&engine).array_type("numbers", Type::I64)?;
    let _kept = numbers.new_array(&mut store, &vec![Val::I64(1); 4 << 20])?;
    let codes = [makes(&engine, 1)?, makes(&engine, 2)?];
    store.load(&codes[0])?;
    for n in 1..400 {
        store.replace(&codes[n % 2])?;
    }
    let collections = store.stats().collections;
    assert!(collections < 5, "{collections} collections");
    Ok(())
}

/// The host may run on stacks of its own. What lies between two of them is not read, and code is kept.
#[test]
fn code_is_kept_while_the_host_is_on_another_stack() -> Result<()> {
    // The stack of a new thread is mapped below these: nothing that was mapped before has room for it.
    let [mut high, mut low] = [DefaultStack::new(1 << 20)?, DefaultStack::new(1 << 20)?];
    if high.base() < low.base() {
        std::mem::swap(&mut high, &mut low);
    }
    let engine = Engine::new(Collector::copying())?;
    let codes = (1..=3).map(|n| makes(&engine, n)).collect::<Result<Vec<_>>>()?;
    let run = move || -> Result<i64> {
        let mut store = Store::new(&engine, ())?;
        store.load(&codes[0])?;
        let low = std::sync::Mutex::new(low);
        store.func_wrap("swap", move |mut caller: Caller<'_, ()>| {
            let mut low = low.lock().unwrap();
            corosensei::on_stack(&mut *low, || {
                (0..60).try_for_each(|n| caller.replace(&codes[n % codes.len()]))
            })
        })?;
        store.load(&runs(&engine)?)?;
        let run = store.function::<i64, i64>("run")?;
        let sum = corosensei::on_stack(&mut high, || run.call(&mut store, 5))?;
        assert!(store.pieces() >= 60, "nothing is freed while it runs");
        Ok(sum)
    };
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(run)?;
    assert_eq!(thread.join().unwrap()?, 6);
    Ok(())
}
