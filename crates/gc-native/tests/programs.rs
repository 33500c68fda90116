//! Executables: objects are linked with the system's linker and run.

use anyhow::{Context as _, Result, ensure};
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_engine::native::Start;
use gc_engine::{Collector, Control, Engine, Machine, Module, Type};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether all options of all linkers are tried (`ci/native`), and not only some.
fn is_thorough() -> bool {
    std::env::var_os("NATIVE_THOROUGH").is_some()
}

/// The static library, which cargo builds before the tests. `NATIVE_LIBRARY` names another.
fn library() -> Result<PathBuf> {
    if let Some(library) = std::env::var_os("NATIVE_LIBRARY") {
        return Ok(library.into());
    }
    let folder = std::env::current_exe()?.parent().context("the folder of the tests")?.to_owned();
    let files = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
    let is_library = |name: &str| name.starts_with("libgc_native") && name.ends_with(".a");
    let own = files.into_iter().filter(|file| file.file_name().to_str().is_some_and(is_library));
    let newest = own.max_by_key(|file| file.metadata().and_then(|data| data.modified()).ok());
    Ok(newest.context("cargo has built no libgc_native.a")?.path())
}

/// One object with what programs need of the library, so that linkers are fast.
fn small_library(folder: &Folder) -> Result<PathBuf> {
    let small = folder.0.join("runtime.o");
    if !small.exists() {
        let mut ld = Command::new("ld");
        ld.args(["-r", "-S", "--gc-sections", "-u", "reclaim_main", "-e", "reclaim_main"]);
        ld.args(["-u", "reclaim_open", "-u", "reclaim_call", "-u", "reclaim_close"]);
        ld.args(["-u", "reclaim_register", "-u", "reclaim_free_error"]);
        let made = ld.arg("-o").arg(&small).arg(library()?).output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(small)
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
    cc.args(arguments).args(objects).arg(small_library(folder)?).args(["-lm", "-lpthread", "-ldl"]);
    cc.arg("-o").arg(folder.0.join("program"));
    cc.output().context("the linker `cc`")
}

/// The folder with a link to Rust's lld for `cc`, if this Rust has one.
fn lld(folder: &Folder) -> Result<Option<String>> {
    let root = Command::new("rustc").args(["--print", "sysroot"]).output()?.stdout;
    let root = PathBuf::from(String::from_utf8(root)?.trim());
    let bin = root.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
    if !bin.exists() {
        return Ok(None);
    }
    std::os::unix::fs::symlink(&bin, folder.0.join("ld.lld"))?;
    Ok(Some(format!("-B{}", folder.0.display())))
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
                folder.write("start.o", &engine.emit_start(&Start::main("start"))?)?,
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

/// Whether the system has this linker.
fn has(linker: &str) -> bool {
    Command::new(linker).arg("--version").output().is_ok()
}

#[test]
fn linkers_and_their_options() -> Result<()> {
    let folder = Folder::new("linkers")?;
    let engine = Engine::builder(Collector::generational()).zeal(5).build()?;
    let objects = [
        folder.write("start.o", &engine.emit_start(&Start::main("start"))?)?,
        folder.write("lists.o", &lists(&engine)?)?,
        folder.write("main.o", &main(&engine)?)?,
    ];
    let lld = lld(&folder)?;
    let mut linkers = vec![vec!["-fuse-ld=bfd"]];
    match has("ld.gold") {
        true => linkers.push(vec!["-fuse-ld=gold"]),
        false => eprintln!("SKIPPED: there is no ld.gold"),
    }
    match &lld {
        Some(folder) => linkers.push(vec![folder, "-fuse-ld=lld"]),
        None => eprintln!("SKIPPED: this Rust has no rust-lld"),
    }
    let variants: [&[&str]; 8] = [
        &[],
        &["-static-pie"],
        &["-Wl,--gc-sections"],
        &["-no-pie"],
        &["-static"],
        &["-Wl,--gc-sections", "-Wl,-z,start-stop-gc"],
        &["-s"],
        &["-Wl,-z,now", "-Wl,-z,relro"],
    ];
    for linker in &linkers {
        let some = if linker[0].ends_with("bfd") { 3 } else { 1 };
        let count = if is_thorough() { variants.len() } else { some };
        for variant in &variants[..count] {
            let arguments: Vec<&str> = linker.iter().chain(*variant).copied().collect();
            // Gold does not know these.
            let unknown = ["-static-pie", "-Wl,-z,start-stop-gc"];
            if linker[0].ends_with("gold") && variant.iter().any(|it| unknown.contains(it)) {
                continue;
            }
            let linked = link(&folder, &objects, &arguments)?;
            let error = String::from_utf8_lossy(&linked.stderr);
            ensure!(linked.status.success(), "{arguments:?}: {error}");
            // Rust's library uses functions of the C library that warn when they are linked statically.
            let warns =
                |line: &str| line.contains("warning") && !line.contains("statically linked");
            ensure!(!error.lines().any(warns), "{arguments:?}: {error}");
            let program = folder.0.join("program");
            let output = run(&program, &[])?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(42), "{arguments:?}: {}, {error}", output.status);
            not_relocated(&program).with_context(|| format!("{arguments:?}"))?;
        }
    }
    // Objects in an archive, and objects that were linked to one.
    let archive = folder.0.join("libparts.a");
    let made = Command::new("ar").arg("rcs").arg(&archive).args(&objects[1..]).status()?;
    ensure!(made.success());
    let linked = link(&folder, &[objects[0].clone(), archive], &[])?;
    ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    ensure!(run(&folder.0.join("program"), &[])?.status.code() == Some(42));
    let whole = folder.0.join("whole.o");
    let made = Command::new("ld").arg("-r").arg("-o").arg(&whole).args(&objects).status()?;
    ensure!(made.success());
    let linked = link(&folder, &[whole], &[])?;
    ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    ensure!(run(&folder.0.join("program"), &[])?.status.code() == Some(42));
    Ok(())
}

/// Checks that the loader changes nothing in sections of the objects.
fn not_relocated(program: &Path) -> Result<()> {
    use object::read::elf::{ElfFile64, FileHeader as _};
    use object::{Object as _, ObjectSection as _};
    let bytes = std::fs::read(program)?;
    let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes)?;
    let own = |name: &str| name.starts_with("reclaim_") || name.contains(".reclaim");
    let mut ranges = Vec::new();
    for section in elf.sections() {
        if own(section.name()?) {
            ranges.push(section.address()..section.address() + section.size());
        }
    }
    ensure!(!ranges.is_empty(), "it has no section of the objects");
    for (address, _) in elf.dynamic_relocations().into_iter().flatten() {
        ensure!(
            !ranges.iter().any(|range| range.contains(&address)),
            "a relocation at {address:#x}"
        );
    }
    let endian = elf.endian();
    let sections = elf.elf_header().sections(endian, &*bytes)?;
    if let Some((dynamic, _)) = sections.dynamic(endian, &*bytes)? {
        use object::read::elf::Dyn as _;
        let text = dynamic.iter().any(|entry| entry.d_tag(endian) == object::elf::DT_TEXTREL);
        ensure!(!text, "it has relocations in code");
    }
    Ok(())
}

/// A stripped program with one collector has at most 1.3 MB.
#[test]
fn the_size_of_a_program() -> Result<()> {
    if std::env::var_os("NATIVE_SIZE").is_none() {
        eprintln!("SKIPPED: ci/native builds the library whose size it checks");
        return Ok(());
    }
    let folder = Folder::new("size")?;
    let engine = Engine::new(Collector::generational())?;
    let objects = [
        folder.write("start.o", &engine.emit_start(&Start::main("start"))?)?,
        folder.write("lists.o", &lists(&engine)?)?,
        folder.write("main.o", &main(&engine)?)?,
    ];
    let linked = link(&folder, &objects, &["-s", "-Wl,--gc-sections"])?;
    ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    let program = folder.0.join("program");
    ensure!(run(&program, &[])?.status.code() == Some(42));
    let size = program.metadata()?.len();
    eprintln!("the program has {size} bytes");
    ensure!(size <= 1_300_000, "the program has {size} bytes");
    Ok(())
}

/// Links the objects of two engines, and returns what the linker says.
fn refused(name: &str, objects: &[Vec<u8>]) -> Result<String> {
    let folder = Folder::new(name)?;
    let mut paths = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        paths.push(folder.write(&format!("{n}.o"), object)?);
    }
    let linked = link(&folder, &paths, &[])?;
    ensure!(!linked.status.success(), "{name}: it was linked");
    Ok(String::from_utf8_lossy(&linked.stderr).into_owned())
}

#[test]
fn what_does_not_fit_is_refused_by_the_linker() -> Result<()> {
    let engine = Engine::new(Collector::generational())?;
    let start = engine.emit_start(&Start::main("start"))?;
    let (lists, main) = (lists(&engine)?, main(&engine)?);
    ensure!(lists == self::lists(&engine)?, "the same module gives other bytes");

    let undefined = |text: &str, symbol: &str| {
        text.lines().any(|line| line.contains("undefined reference") && line.contains(symbol))
    };
    for other in [
        Engine::new(Collector::copying())?,
        Engine::builder(Collector::generational()).zeal(1).build()?,
        Engine::builder(Collector::generational()).interruptible(true).build()?,
    ] {
        let text = refused("abi", &[start.clone(), self::lists(&other)?, main.clone()])?;
        ensure!(undefined(&text, "reclaim.abi."), "{text}");
    }
    let text = refused("missing", &[start.clone(), main.clone()])?;
    ensure!(undefined(&text, "reclaim.function.list"), "{text}");
    let text = refused("no-main", &[start.clone(), lists.clone()])?;
    ensure!(undefined(&text, "reclaim.function.start"), "{text}");
    let text = refused("no-start", &[lists.clone(), main.clone()])?;
    ensure!(undefined(&text, "reclaim.abi.generational"), "{text}");
    let text = refused("twice", &[start.clone(), lists.clone(), lists.clone(), main.clone()])?;
    ensure!(text.contains("multiple definition of `reclaim.function.list'"), "{text}");

    // Another layout of `cell`.
    let mut module = Module::new(&engine);
    let cell = module.struct_type("cell", [Type::Ref, Type::I64])?;
    module.function("list", [Type::I64], [Type::Ref], |f| {
        let (n, nil) = (f.param(0), f.null());
        let object = f.struct_new(&cell, &[nil, n]);
        f.ret(&[object]);
    })?;
    let text = refused("layout", &[start, module.emit_object()?, main])?;
    ensure!(text.contains("reclaim.type.cell."), "{text}");
    Ok(())
}

/// A change of an object's tables or of its record is an error when the program starts.
#[test]
fn damage_is_found_at_the_start() -> Result<()> {
    use object::{Object as _, ObjectSection as _};
    let folder = Folder::new("damage")?;
    let engine = Engine::new(Collector::generational())?;
    let start = folder.write("start.o", &engine.emit_start(&Start::main("start"))?)?;
    let main_object = folder.write("main.o", &main(&engine)?)?;
    let lists = lists(&engine)?;
    let file = object::File::parse(&*lists)?;
    let place = |name: &str| -> Result<std::ops::Range<usize>> {
        let section = file.section_by_name(name).context("a section")?;
        let (at, size) = section.file_range().context("a range")?;
        Ok(at as usize..(at + size) as usize)
    };
    let (tables, record) = (place(".rodata.reclaim")?, place("reclaim_objects")?);
    let count = if is_thorough() { 40 } else { 4 };
    let step = tables.len() / count;
    let in_tables = tables.step_by(step.max(1)).map(|at| (at, "damaged"));
    // Size, version, checksum and fingerprint.
    let words = [(0, ""), (4, "version"), (8, "damaged"), (20, "another kind of heap")];
    let in_record = words.map(|(at, message)| (record.start + at, message));
    for (at, message) in in_tables.chain(in_record) {
        let mut bytes = lists.clone();
        bytes[at] ^= 0x10;
        let damaged = folder.write("lists.o", &bytes)?;
        let linked = link(&folder, &[start.clone(), damaged, main_object.clone()], &[])?;
        ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
        let output = run(&folder.0.join("program"), &[])?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{at}: {}, {error}", output.status);
        ensure!(error.contains(message), "{at}: {error}");
    }
    Ok(())
}

/// An executable runs with any maximum that its objects fit in, and with too little memory it says so.
#[test]
fn the_heap_has_any_maximum() -> Result<()> {
    for collector in Collector::all() {
        let name = format!("maximum-{}", collector.name());
        let folder = Folder::new(&name)?;
        let engine = Engine::new(collector)?;
        let objects = [
            folder.write("start.o", &engine.emit_start(&Start::main("start"))?)?,
            folder.write("lists.o", &lists(&engine)?)?,
            folder.write("main.o", &main(&engine)?)?,
        ];
        let linked = link(&folder, &objects, &[])?;
        ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
        let program = folder.0.join("program");
        for maximum in ["2MiB", "16MiB", "1GiB", "4GiB"] {
            let output = run(&program, &[("RECLAIM_HEAP_MAX", maximum)])?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(42), "{name}, {maximum}: {error}");
        }
        for (maximum, message) in [("many", "RECLAIM_HEAP_MAX"), ("1k", "RECLAIM_HEAP_MAX")] {
            let output = run(&program, &[("RECLAIM_HEAP_MAX", maximum)])?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(1) && error.contains(message), "{name}: {error}");
        }
    }
    Ok(())
}

/// A processor that lacks a feature is named. The code here uses one that no processor has.
#[test]
fn objects_have_a_baseline() -> Result<()> {
    let folder = Folder::new("baseline")?;
    for (machine, code) in [
        (Machine::baseline("x86-64").context("it is known")?, 42),
        (Machine::host().with_features(["avx512vbmi", "sse41", "sse42", "ssse3", "sse3"]), 0),
    ] {
        if code == 0 && Machine::host().runs(&machine) {
            eprintln!("SKIPPED: this machine has avx512vbmi");
            continue;
        }
        let engine = Engine::builder(Collector::copying()).machine(machine).build()?;
        let objects = [
            folder.write("start.o", &engine.emit_start(&Start::main("start"))?)?,
            folder.write("lists.o", &lists(&engine)?)?,
            folder.write("main.o", &main(&engine)?)?,
        ];
        let linked = link(&folder, &objects, &[])?;
        ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
        let output = run(&folder.0.join("program"), &[])?;
        let error = String::from_utf8_lossy(&output.stderr);
        match code {
            42 => ensure!(output.status.code() == Some(42), "{error}"),
            _ => {
                ensure!(error.contains("has no `avx512vbmi` here, which the code uses"), "{error}")
            }
        }
    }
    Ok(())
}

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
        let linked = link(&folder, &[host, start, lists, main], &[])?;
        ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));

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
        let output = Command::new(folder.0.join("program")).arg(&library).output()?;
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
            static int64_t count; void tick(void) { count++; } int32_t ticks(void) { return count; }\n";
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
            // -7 + 100 + 3 + 4 + 1 + 1 + 1000, and 100 ticks.
            let expected = f.i64(1202);
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
        let linked = link(&folder, &objects, &[])?;
        ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
        let output = run(&folder.0.join("program"), &[])?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(42), "{}: {error}", output.status);
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
    ensure!(error == "abs is a function of C, which only code of an object can call", "{error}");
    let mut module = Module::new(&Engine::new(Collector::copying())?);
    ensure!(module.extern_c("f", [Type::Ref], []).is_err());
    ensure!(module.extern_c("f", [], [Type::I32, Type::I32]).is_err());
    ensure!(module.extern_c("", [], []).is_err());
    Ok(())
}
