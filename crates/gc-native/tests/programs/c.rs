//! Programs with parts in C.

use crate::common::{Folder, comes_to_42, lists, main, program};
use crate::linkers::not_relocated;
use anyhow::{Result, ensure};
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_engine::native::Start;
use gc_engine::{Collector, Control, Engine, Module, Signature, Store, Type};
use std::process::Command;

/// A host in C has stores in several threads, and loads a library. The library's code has the same types.
#[test]
fn hosts_in_c() -> Result<()> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/host.c");
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include");
    for collector in Collector::all() {
        let folder = Folder::new(&format!("c-{}", collector.name()))?;
        let engine = Engine::builder(collector).zeal(1009).build()?;
        let roots = vec!["start".into()];
        let start = Start { roots, ..Start::default() };
        let objects = [
            folder.write("start.o", &engine.emit_start(&start)?)?,
            folder.write("lists.o", &lists(&engine)?)?,
            folder.write("main.o", &main(&engine)?)?,
        ];
        let host = folder.0.join("host.o");
        let flags = ["-Wall", "-Wextra", "-Werror", "-std=c11", "-c", include, "-o"];
        let compiled = Command::new("cc").args(flags).arg(&host).arg(source).output()?;
        ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let [start, lists, main] = objects;
        let program = program(&folder, &[host, start, lists, main], &[])?;

        let mut module = Module::new(&engine);
        let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
        let list = module.import("list", [Type::I64], [Type::Ref])?;
        module.function("twice", [Type::I64], [Type::I64], |f| {
            let n = f.param(0);
            let made = f.call(&list, &[n])[0];
            f.ref_cast(made, &cell);
            let twice = f.add(n, n);
            f.ret(&[twice]);
        })?;
        // The program has `list`.
        let start = Start { host_functions: vec!["list".into()], ..Start::default() };
        let parts = [
            folder.write("library-start.o", &engine.emit_start(&start)?)?,
            folder.write("library.o", &module.emit_object()?)?,
        ];
        let library = folder.0.join("library.so");
        let linked =
            Command::new("cc").arg("-shared").arg("-o").arg(&library).args(&parts).output()?;
        ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
        not_relocated(&library)?;
        let output = Command::new(&program).arg(&library).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.stdout == b"ok\n", "{}, {error}", output.status);
    }
    Ok(())
}

/// Code calls functions of C: of the C library, and of the program.
#[test]
fn functions_of_c_are_called() -> Result<()> {
    for collector in Collector::all() {
        let folder = Folder::new(&format!("extern-c-{}", collector.name()))?;
        let engine = Engine::builder(collector).zeal(3).build()?;
        let source = "#include <stdint.h>\n\
            int64_t mix(int32_t a, int64_t b, float c, double d, int64_t e, int64_t f, int64_t g, int64_t h) {\n\
                return a + b + (int64_t)c + (int64_t)d + e + f * g + h * 1000; }\n\
            static int64_t count; void tick(void) { count++; } int32_t ticks(void) { return count; }\n\
            int64_t next(int64_t n) { return n + 1; }\n";
        let c = folder.write("part.c", source.as_bytes())?;
        let part = folder.0.join("part.o");
        let compiled = Command::new("cc").args(["-O1", "-c", "-o"]).arg(&part).arg(&c).output()?;
        ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

        let mut module = Module::new(&engine);
        let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
        let types = [Type::I32, Type::I64, Type::F32, Type::F64].into_iter();
        let mix = module.extern_c("mix", types.chain([Type::I64; 4]), [Type::I64])?;
        let root = module.extern_c("sqrt", [Type::F64], [Type::F64])?;
        let tick = module.extern_c("tick", [], [])?;
        let ticks = module.extern_c("ticks", [], [Type::I32])?;
        let next = module.extern_c("next", [Type::I64], [Type::I64])?;
        // Nobody defines these, and no code calls them.
        module.extern_c("not_there", [Type::I64], [Type::I64])?;
        module.import("not there", [Type::Ref], [Type::Ref])?;
        let unary = Signature::new([Type::I64], [Type::I64]);
        module.function("start", [], [Type::I32], |f| {
            let (a, b, one, null) = (f.i32(-7), f.i64(100), f.i64(1), f.null());
            let float = f.ins().f32const(3.0);
            let double = f.ins().f64const(16.0);
            let four = f.call(&root, &[double])[0];
            // It is live across the calls, and moves.
            let kept = f.struct_new(&cell, &[b, null]);
            let left = f.variable(Type::I64);
            f.set(left, b);
            f.while_loop(
                |f| f.get(left),
                |f| {
                    f.struct_new(&cell, &[one, null]);
                    f.call(&tick, &[]);
                    let before = f.get(left);
                    let after = f.sub(before, one);
                    f.set(left, after);
                },
            );
            let kept = f.struct_get(&cell, kept, 0);
            let sum = f.call(&mix, &[a, kept, float, four, one, one, one, one])[0];
            let count = f.call(&ticks, &[])[0];
            let count = f.ins().uextend(cranelift_codegen::ir::types::I64, count);
            let all = f.add(sum, count);
            // It is only called by a reference.
            let next = f.func_ref(&next);
            let all = f.call_indirect(&unary, next, &[all])[0];
            // -7 + 100 + 3 + 4 + 1 + 1 + 1000, and 100 ticks, and 1.
            let expected = f.i64(1203);
            let is_right = f.ins().icmp(IntCC::Equal, all, expected);
            let (right, wrong) = (f.i32(42), f.i32(7));
            f.if_then(is_right, |f| f.ret(&[right]));
            f.ret(&[wrong]);
        })?;
        let objects = [
            folder.write("start.o", &engine.emit_start(&Start::main("start"))?)?,
            folder.write("main.o", &module.emit_object()?)?,
            part,
        ];
        let program = program(&folder, &objects, &[])?;
        comes_to_42(&program, &[])?;
    }
    // Nobody knows the address of a symbol in this process.
    let mut module = Module::new(&Engine::new(Collector::copying())?);
    let function = module.extern_c("abs", [Type::I32], [Type::I32])?;
    module.function("run", [Type::I32], [Type::I32], |f| {
        let n = f.param(0);
        let result = f.call(&function, &[n]);
        f.ret(&result);
    })?;
    let error = module.compile().expect_err("it was compiled").to_string();
    ensure!(error == "only code of an object can call abs of C", "{error}");
    let mut module = Module::new(&Engine::new(Collector::copying())?);
    let function = module.extern_c("abs", [Type::I32], [Type::I32])?;
    module.function("run", [], [Type::Func], |f| {
        let function = f.func_ref(&function);
        f.ret(&[function]);
    })?;
    let error = module.compile().expect_err("it was compiled").to_string();
    ensure!(error == "only code of an object can call abs of C", "{error}");
    // A function that is only declared does no harm.
    let engine = Engine::new(Collector::copying())?;
    let mut module = Module::new(&engine);
    module.extern_c("abs", [Type::I32], [Type::I32])?;
    module.function("run", [], [Type::I32], |f| {
        let result = f.i32(42);
        f.ret(&[result]);
    })?;
    let mut store = Store::new(&engine, ())?;
    store.load(&module.compile()?)?;
    ensure!(store.function::<(), i32>("run")?.call(&mut store, ())? == 42);
    let mut module = Module::new(&Engine::new(Collector::copying())?);
    ensure!(module.extern_c("f", [Type::Ref], []).is_err());
    ensure!(module.extern_c("f", [], [Type::I32, Type::I32]).is_err());
    ensure!(module.extern_c("", [], []).is_err());
    Ok(())
}
