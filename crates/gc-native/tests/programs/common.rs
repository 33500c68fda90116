//! Objects, a linker, and programs.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_engine::native::Start;
use gc_engine::{Control, Engine, Module, Type};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Whether all options of all linkers are tried (`ci/native`), and not only some.
pub(crate) fn is_thorough() -> bool {
    std::env::var_os("NATIVE_THOROUGH").is_some()
}

/// The static library, which cargo builds before the tests. `NATIVE_LIBRARY` names another.
pub(crate) fn library() -> Result<PathBuf> {
    if let Some(library) = std::env::var_os("NATIVE_LIBRARY") {
        return Ok(library.into());
    }
    let folder = std::env::current_exe()?.parent().context("the folder of the tests")?.to_owned();
    let files = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
    let is_library = |name: &str| name.starts_with("libgc_native") && name.ends_with(".a");
    let own = files.into_iter().filter(|file| file.file_name().to_str().is_some_and(is_library));
    let mut libraries = own
        .map(|file| Ok((file.metadata()?.modified()?, file.path())))
        .collect::<Result<Vec<_>>>()?;
    // The newest comes first. Other commands may have built some without zeal, which have a message about that.
    libraries.sort();
    for (_, library) in libraries.into_iter().rev() {
        let bytes = std::fs::read(&library)?;
        let message = b"zeal needs the feature";
        if !bytes.windows(message.len()).any(|window| window == message) {
            return Ok(library);
        }
    }
    bail!("cargo has built no libgc_native.a with zeal in {}", folder.display())
}

/// One object with what programs need of the library, so that linkers are fast.
fn small_library() -> Result<&'static Path> {
    static MADE: OnceLock<Result<PathBuf>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let small = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtime.o");
        let mut ld = Command::new("ld");
        ld.args(["-r", "-S", "--gc-sections", "-e", "reclaim_main"]);
        for symbol in ["main", "open", "call", "close", "register", "free_error"] {
            ld.args(["-u", &format!("reclaim_{symbol}")]);
        }
        let made = ld.arg("-o").arg(&small).arg(library()?).output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(small)
    });
    made.as_deref().map_err(|error| anyhow!("{error:#}"))
}

/// A folder that is removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("gc-native-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
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
pub(crate) fn link(folder: &Folder, objects: &[PathBuf], arguments: &[&str]) -> Result<Output> {
    let mut cc = Command::new("cc");
    cc.args(arguments).args(objects).arg(small_library()?).args(["-lm", "-lpthread", "-ldl"]);
    cc.arg("-o").arg(folder.0.join("program"));
    cc.output().context("the linker `cc`")
}

pub(crate) fn run(program: &Path, environment: &[(&str, &str)]) -> Result<Output> {
    Command::new(program).envs(environment.iter().copied()).output().context("the program")
}

/// An object with lists: `list` makes one, and `sum` sums it.
pub(crate) fn lists(engine: &Engine) -> Result<Vec<u8>> {
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
pub(crate) fn main(engine: &Engine) -> Result<Vec<u8>> {
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

/// Writes the objects of a program of `engine` to a folder: the start object, `lists` and `main`.
pub(crate) fn objects(folder: &Folder, engine: &Engine) -> Result<[PathBuf; 3]> {
    Ok([
        folder.write("start.o", &engine.emit_start(&Start::main("start"))?)?,
        folder.write("lists.o", &lists(engine)?)?,
        folder.write("main.o", &main(engine)?)?,
    ])
}

/// Links objects to a program, which must work.
pub(crate) fn program(folder: &Folder, objects: &[PathBuf], arguments: &[&str]) -> Result<PathBuf> {
    let linked = link(folder, objects, arguments)?;
    ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    Ok(folder.0.join("program"))
}

/// Runs a program that must return 42.
pub(crate) fn comes_to_42(program: &Path, environment: &[(&str, &str)]) -> Result<()> {
    let output = run(program, environment)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(42), "{}, {error}", output.status);
    Ok(())
}
