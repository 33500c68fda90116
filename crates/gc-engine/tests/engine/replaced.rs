//! Code that was replaced is kept as long as something can call it, and then freed.

use crate::common::engines;
use anyhow::Result;
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_engine::{Caller, Code, Control, Engine, Module, Rooted, Signature, Store, Type};

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
