//! The linkers of the system with their options.

use crate::common::{Folder, comes_to_42, is_thorough, link, objects, program};
use anyhow::{Context as _, Result, ensure};
use cranelift_codegen::ir::{InstBuilder as _, types};
use gc_engine::native::Start;
use gc_engine::{Collector, Engine, Module, Type};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with a link to Rust's lld for `cc`, if this Rust has one.
fn lld(folder: &Folder) -> Result<Option<String>> {
    let root = Command::new("rustc").args(["--print", "sysroot"]).output()?.stdout;
    let root = PathBuf::from(String::from_utf8(root)?.trim());
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let bin = root.join("lib/rustlib").join(target).join("bin/rust-lld");
    if !bin.exists() {
        return Ok(None);
    }
    std::os::unix::fs::symlink(&bin, folder.0.join("ld.lld"))?;
    Ok(Some(format!("-B{}", folder.0.display())))
}

/// Whether `cc` has this linker.
fn has(linker: &str) -> Result<bool> {
    let asked =
        Command::new("cc").arg(format!("-fuse-ld={linker}")).arg("-Wl,--version").output()?;
    Ok(asked.status.success())
}

/// For each linker, the options with which `cc` uses it. The last one names it.
pub(crate) fn linkers(folder: &Folder) -> Result<Vec<Vec<String>>> {
    let mut linkers = vec![vec!["-fuse-ld=bfd".into()]];
    match has("gold")? {
        true => linkers.push(vec!["-fuse-ld=gold".into()]),
        false => eprintln!("SKIPPED: there is no ld.gold"),
    }
    match lld(folder)? {
        Some(folder) => linkers.push(vec![folder, "-fuse-ld=lld".into()]),
        None => eprintln!("SKIPPED: this Rust has no rust-lld"),
    }
    Ok(linkers)
}

#[test]
fn linkers_and_their_options() -> Result<()> {
    let folder = Folder::new("linkers")?;
    let engine = Engine::builder(Collector::generational()).zeal(5).build()?;
    let objects = objects(&folder, &engine)?;
    let linkers = linkers(&folder)?;
    let variants: [&[&str]; 9] = [
        &[],
        &["-static-pie"],
        &["-Wl,--gc-sections"],
        &["-no-pie"],
        &["-static"],
        &["-Wl,--gc-sections", "-Wl,-z,start-stop-gc"],
        &["-s"],
        &["-Wl,-z,now", "-Wl,-z,relro"],
        &["-Wl,--icf=all"],
    ];
    for linker in &linkers {
        let some = if linker[0].ends_with("bfd") { 3 } else { 1 };
        let count = if is_thorough() { variants.len() } else { some };
        for variant in &variants[..count] {
            let own = linker.iter().map(String::as_str);
            let arguments: Vec<&str> = own.chain(variant.iter().copied()).collect();
            // They do not know these.
            let unknown: &[&str] = match &*linker[0] {
                "-fuse-ld=gold" => &["-static-pie", "-Wl,-z,start-stop-gc"],
                "-fuse-ld=bfd" => &["-Wl,--icf=all"],
                _ => &[],
            };
            if variant.iter().any(|it| unknown.contains(it)) {
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
            comes_to_42(&program, &[]).with_context(|| format!("{arguments:?}"))?;
            not_relocated(&program).with_context(|| format!("{arguments:?}"))?;
        }
    }
    // Objects in an archive, and objects that were linked to one.
    let archive = folder.0.join("libparts.a");
    let made = Command::new("ar").arg("rcs").arg(&archive).args(&objects[1..]).status()?;
    ensure!(made.success());
    comes_to_42(&program(&folder, &[objects[0].clone(), archive], &[])?, &[])?;
    let whole = folder.0.join("whole.o");
    let made = Command::new("ld").arg("-r").arg("-o").arg(&whole).args(&objects).status()?;
    ensure!(made.success());
    comes_to_42(&program(&folder, &[whole], &[])?, &[])
}

/// Checks that the loader changes nothing in sections of the objects.
pub(crate) fn not_relocated(program: &Path) -> Result<()> {
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

/// A function that returns a number, which another object calls.
fn number(engine: &Engine, number: i64) -> Result<Vec<u8>> {
    let mut module = Module::new(engine);
    module.function("number", [], [Type::I64], |f| {
        let number = f.i64(number);
        f.ret(&[number]);
    })?;
    module.emit_object()
}

#[test]
fn an_object_is_replaced_alone() -> Result<()> {
    let folder = Folder::new("replaced")?;
    let engine = Engine::new(Collector::generational())?;
    let mut module = Module::new(&engine);
    let imported = module.import("number", [], [Type::I64])?;
    module.function("run", [], [Type::I32], |f| {
        let [number] = f.call(&imported, &[])[..] else { unreachable!("one result") };
        let code = f.ins().ireduce(types::I32, number);
        f.ret(&[code]);
    })?;
    let start = folder.write("start.o", &engine.emit_start(&Start::main("run"))?)?;
    let main = folder.write("main.o", &module.emit_object()?)?;
    for code in [7, 8] {
        // Only this object is compiled again.
        let number = folder.write("number.o", &number(&engine, code)?)?;
        let program = program(&folder, &[start.clone(), main.clone(), number], &[])?;
        ensure!(Command::new(program).status()?.code() == Some(code as i32));
    }
    Ok(())
}
