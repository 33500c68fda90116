//! Executables: objects are linked with the system's linker and run.

use anyhow::{Context as _, Result, ensure};
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_engine::{Collector, Control, Engine, Module, Type};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The static library, which cargo builds before the tests.
fn library() -> Result<PathBuf> {
    let folder = std::env::current_exe()?.parent().context("the folder of the tests")?.to_owned();
    let files = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
    let is_library = |name: &str| name.starts_with("libgc_native") && name.ends_with(".a");
    let own = files.into_iter().filter(|file| file.file_name().to_str().is_some_and(is_library));
    let newest = own.max_by_key(|file| file.metadata().and_then(|data| data.modified()).ok());
    Ok(newest.context("cargo has built no libgc_native.a")?.path())
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("gc-native-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Links objects with the library.
fn link(folder: &Folder, objects: &[PathBuf], arguments: &[&str]) -> Result<Output> {
    let mut cc = Command::new("cc");
    cc.args(objects).arg(library()?).args(arguments).args(["-lm", "-lpthread", "-ldl"]);
    cc.arg("-o").arg(folder.0.join("program"));
    cc.output().context("the linker `cc`")
}

fn run(program: &Path, environment: &[(&str, &str)]) -> Result<Output> {
    Command::new(program).envs(environment.iter().copied()).output().context("the program")
}

/// An object with lists: `list` makes one, and `sum` sums it.
fn lists(engine: &Engine) -> Result<Vec<u8>> {
    let mut module = Module::new(engine);
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    module.function("list", [Type::I64], [Type::Ref], |f| {
        let (count, one, nil) = (f.param(0), f.i64(1), f.null());
        let (left, list) = (f.variable(Type::I64), f.variable(Type::Ref));
        f.set(left, count);
        f.set(list, nil);
        f.while_loop(
            |f| f.get(left),
            |f| {
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
    module.emit_object()
}

/// An object whose types have other numbers, with the main function. It returns 42 if all is right.
fn main(engine: &Engine) -> Result<Vec<u8>> {
    let mut module = Module::new(engine);
    module.array_type("other", Type::F32)?;
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    let list = module.import("list", [Type::I64], [Type::Ref])?;
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
    module.function("start", [], [Type::I32], |f| {
        let count = f.i64(1000);
        let kept = f.call(&list, &[count])[0];
        let (right, wrong) = (f.i32(42), f.i32(7));
        let turns = f.variable(Type::I64);
        let (fifty, one) = (f.i64(50), f.i64(1));
        f.set(turns, fifty);
        f.while_loop(
            |f| f.get(turns),
            |f| {
                f.call(&list, &[count]);
                let before = f.get(turns);
                let after = f.sub(before, one);
                f.set(turns, after);
            },
        );
        let sum = f.call("sum", &[kept])[0];
        let expected = f.i64(500_500);
        let is_right = f.ins().icmp(IntCC::Equal, sum, expected);
        f.if_then(is_right, |f| f.ret(&[right]));
        f.ret(&[wrong]);
    })?;
    module.emit_object()
}

#[test]
fn objects_run_under_each_collector() -> Result<()> {
    for collector in Collector::all() {
        for zeal in [0, 7] {
            let name = format!("{}-{zeal}", collector.name());
            let folder = Folder::new(&name)?;
            let engine = Engine::builder(collector.clone()).zeal(zeal).build()?;
            let objects = [
                folder.write("start.o", &engine.emit_start(Some("start"))?)?,
                folder.write("lists.o", &lists(&engine)?)?,
                folder.write("main.o", &main(&engine)?)?,
            ];
            let linked = link(&folder, &objects, &[])?;
            ensure!(linked.status.success(), "{name}: {}", String::from_utf8_lossy(&linked.stderr));
            let output = run(&folder.0.join("program"), &[])?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(42), "{name}: {}, {error}", output.status);
        }
    }
    Ok(())
}
