//! The program whose objects are damaged. It has all that an object can declare.

use anyhow::Result;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, types};
use gc_engine::native::Start;
use gc_engine::{Code, Control, Engine, Module, Signature, StorageType, Store, Type};

/// What the program comes to: the sum of a list, the length of a constant, and what a called reference returns.
pub(super) const RESULT: i64 = 20 * 21 / 2 + 5 + 100;

/// The objects: the start object, one with functions, and one that imports them. The program makes so many arrays of
/// 32 KiB that are garbage at once.
pub(super) fn objects(engine: &Engine, turns: i64) -> Result<Vec<Vec<u8>>> {
    let start = Start { roots: vec!["run".into()], ..Start::default() };
    Ok(vec![engine.emit_start(&start)?, lists(engine)?, main(engine, turns)?])
}

/// Runs the program in a store of its own.
pub(super) fn run(engine: &Engine, codes: &[Code]) -> Result<i64> {
    let mut store = Store::new(engine, ())?;
    store.load_all(codes)?;
    store.function::<(), i64>("run")?.call(&mut store, ())
}

fn lists(engine: &Engine) -> Result<Vec<u8>> {
    let mut module = Module::new(engine);
    module.source_file("lists")?;
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    let text = module.array_type("text", StorageType::I8)?;
    module.function("list", [Type::I64], [Type::Ref], |f| {
        let (count, one, nil) = (f.param(0), f.i64(1), f.null());
        let (left, list) = (f.variable(Type::I64), f.variable(Type::Ref));
        f.set(left, count);
        f.set(list, nil);
        f.while_loop(
            |f| f.get(left),
            |f| {
                f.at(3);
                let (head, tail) = (f.get(left), f.get(list));
                let longer = f.struct_new(&cell, &[head, tail]);
                f.set(list, longer);
                let less = f.sub(head, one);
                f.set(left, less);
            },
        );
        let list = f.get(list);
        f.ret(&[list]);
    })?;
    module.function("length", [], [Type::I64], |f| {
        let text = f.constant(&text, b"hello");
        let length = f.array_len(text);
        let length = f.ins().uextend(types::I64, length);
        f.ret(&[length]);
    })?;
    module.emit_object()
}

fn main(engine: &Engine, turns: i64) -> Result<Vec<u8>> {
    let mut module = Module::new(engine);
    let other = module.array_type("other", Type::F32)?;
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    let kept = module.global("kept", Type::Ref)?;
    let list = module.import("list", [Type::I64], [Type::Ref])?;
    let length = module.import("length", [], [Type::I64])?;
    let called = module.function("called", [Type::I64], [Type::I64], |f| {
        let (n, hundred) = (f.param(0), f.i64(100));
        // It collects while the frame of its caller has references.
        let (turns, one, length) = (f.i64(turns), f.i64(1), f.i32(8 << 10));
        let left = f.variable(Type::I64);
        f.set(left, turns);
        f.while_loop(
            |f| f.get(left),
            |f| {
                f.array_new_default(&other, length);
                let before = f.get(left);
                let after = f.sub(before, one);
                f.set(left, after);
            },
        );
        let more = f.add(n, hundred);
        f.ret(&[more]);
    })?;
    module.function("sum", [Type::Ref], [Type::I64], |f| {
        let (list, sum) = (f.variable(Type::Ref), f.variable(Type::I64));
        let (first, zero) = (f.param(0), f.i64(0));
        f.set(list, first);
        f.set(sum, zero);
        f.while_loop(
            |f| f.get(list),
            |f| {
                let (object, so_far) = (f.get(list), f.get(sum));
                f.ref_cast(object, &cell);
                let head = f.struct_get(&cell, object, 0);
                let tail = f.struct_get(&cell, object, 1);
                let more = f.add(so_far, head);
                f.set(sum, more);
                f.set(list, tail);
            },
        );
        let sum = f.get(sum);
        f.ret(&[sum]);
    })?;
    module.function("run", [], [Type::I64], |f| {
        let (twenty, nil) = (f.i64(20), f.null());
        let first = f.call(&list, &[twenty])[0];
        let second = f.call(&list, &[twenty])[0];
        f.global_set(&kept, second);
        let length = f.call(&length, &[])[0];
        let reference = f.func_ref(&called);
        let signature = Signature::new([Type::I64], [Type::I64]);
        let both = f.call_indirect(&signature, reference, &[length])[0];
        // Both lists have been live across all calls.
        let sums = [f.global_get(&kept), first].map(|list| f.call("sum", &[list])[0]);
        f.global_set(&kept, nil);
        let is_same = f.ins().icmp(IntCC::Equal, sums[0], sums[1]);
        f.if_then(is_same, |f| {
            let all = f.add(sums[0], both);
            f.ret(&[all]);
        });
        f.ret(&[sums[0]]);
    })?;
    module.emit_object()
}
