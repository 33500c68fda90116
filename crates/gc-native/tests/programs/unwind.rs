//! The tables of objects for unwinders, `.eh_frame`.

use crate::common::{Folder, link, lists, run};
use crate::linkers::{linkers, not_relocated};
use anyhow::{Context as _, Result, bail, ensure};
use gc_engine::native::Start;
use gc_engine::{CacheStore, CodeOptions, Collector, Engine, MemoryCache, Module, Type};
use gimli::{
    AArch64, BaseAddresses, CfaRule, EhFrame, LittleEndian, RegisterRule, UnwindContext,
    UnwindSection as _, X86_64,
};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Functions of the program, and trampolines of each kind. Their symbols are local.
const NAMES: [&str; 6] =
    ["list", "outer", "start", "host call gc_alloc_struct", "entry () -> (i32)", "walk of C"];

fn engine(unwind_tables: bool) -> Result<Engine> {
    let code = CodeOptions { unwind_tables, inlining: false, ..CodeOptions::default() };
    Engine::builder(Collector::generational()).code(code).zeal(50).build()
}

/// A cache that counts what it has found.
#[derive(Debug)]
struct Counted(MemoryCache, AtomicUsize);

impl CacheStore for Counted {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = self.0.get(key)?;
        self.1.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.0.insert(key, value)
    }
}

/// Objects whose functions come from a cache have the same tables.
#[test]
fn cached_functions_have_tables() -> Result<()> {
    let cache = Arc::new(Counted(MemoryCache::new(1 << 20), AtomicUsize::new(0)));
    let object = || {
        let code = CodeOptions {
            unwind_tables: true,
            cache: Some(cache.clone()),
            ..CodeOptions::default()
        };
        lists(&Engine::builder(Collector::copying()).code(code).build()?)
    };
    let (first, second) = (object()?, object()?);
    ensure!(cache.1.load(Ordering::Relaxed) > 0, "nothing comes from the cache");
    ensure!(first == second, "an object of cached functions is another");
    Ok(())
}

/// The objects of a program whose `main` is in C. Compiled code calls a function of C, which walks the stack.
fn objects(folder: &Folder, engine: &Engine) -> Result<[PathBuf; 4]> {
    let mut module = Module::new(engine);
    let list = module.import("list", [Type::I64], [Type::Ref])?;
    let walk = module.extern_c("walk", [], [Type::I32])?;
    let outer = module.function("outer", [Type::I64], [Type::I32], |f| {
        let count = f.param(0);
        f.call(&list, &[count]);
        let found = f.call(&walk, &[]);
        f.call(&list, &[count]);
        f.ret(&found);
    })?;
    module.function("start", [], [Type::I32], |f| {
        let count = f.i64(100);
        let found = f.call(&outer, &[count]);
        f.ret(&found);
    })?;
    let host = folder.0.join("walk.o");
    let (source, include) = (
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/walk.c"),
        concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include"),
    );
    let flags = ["-Wall", "-Wextra", "-Werror", "-std=c11", "-O1", "-c", include, "-o"];
    let compiled = Command::new("cc").args(flags).arg(&host).arg(source).output()?;
    ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let start = Start { roots: vec!["start".into()], ..Start::default() };
    Ok([
        host,
        folder.write("start.o", &engine.emit_start(&start)?)?,
        folder.write("lists.o", &lists(engine)?)?,
        folder.write("main.o", &module.emit_object()?)?,
    ])
}

/// Checks that each function of the objects has an entry by which an unwinder finds its caller. Returns how many
/// other registers are saved.
fn check_entries(program: &Path) -> Result<usize> {
    let bytes = std::fs::read(program)?;
    let file = object::File::parse(&*bytes)?;
    let section = file.section_by_name(".eh_frame").context("there is no .eh_frame")?;
    let data = section.data()?;
    let frames = EhFrame::new(data, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(section.address());
    let (mut found, mut saved) = (0, 0);
    for symbol in file.symbols() {
        let name = symbol.name()?;
        let is_own = NAMES.contains(&name) || name.starts_with("host call ");
        if symbol.kind() != SymbolKind::Text || symbol.size() == 0 || !is_own {
            continue;
        }
        found += usize::from(NAMES.contains(&name));
        let entry = frames.fde_for_address(&bases, symbol.address(), EhFrame::cie_from_offset);
        let entry = entry.with_context(|| format!("`{name}` has no entry"))?;
        ensure!(
            entry.initial_address() == symbol.address() && entry.len() == symbol.size(),
            "the entry of `{name}` is for {:#x}, {} bytes, but it is at {:#x} and has {}",
            entry.initial_address(),
            entry.len(),
            symbol.address(),
            symbol.size()
        );
        let mut context = UnwindContext::new();
        let mut rows = entry.rows(&frames, &bases, &mut context)?;
        let (mut places, mut rules) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next_row()? {
            let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
                bail!("`{name}` has the rule {:?}", row.cfa());
            };
            places.push((*register, *offset));
            rules = row.registers().cloned().collect();
        }
        places.dedup();
        // A call of x86-64 pushes the return address.
        let (sp, fp, return_address, pushed) = match std::env::consts::ARCH {
            "x86_64" => (X86_64::RSP, X86_64::RBP, X86_64::RA, 8),
            "aarch64" => (AArch64::SP, AArch64::X29, AArch64::X30, 0),
            other => bail!("no registers of {other}"),
        };
        let expected = [(sp, pushed), (sp, 16), (fp, 16)];
        ensure!(places == expected, "`{name}` has the frames {places:?}");
        for rule in [(return_address, RegisterRule::Offset(-8)), (fp, RegisterRule::Offset(-16))] {
            ensure!(rules.contains(&rule), "`{name}` has the registers {rules:?}");
        }
        saved += rules.len() - 2;
    }
    ensure!(found >= NAMES.len(), "only {found} of {NAMES:?} were found");
    Ok(saved)
}

/// A function of C walks through compiled frames to `main`.
#[test]
fn unwinders_walk_through_compiled_code() -> Result<()> {
    let folder = Folder::new("unwind")?;
    let objects = objects(&folder, &engine(true)?)?;
    for linker in linkers(&folder)? {
        for variant in [&[][..], &["-Wl,--gc-sections"], &["-static", "-Wl,--gc-sections"]] {
            let own = linker.iter().map(String::as_str);
            let arguments: Vec<&str> = own.chain(variant.iter().copied()).collect();
            let linked = link(&folder, &objects, &arguments)?;
            let error = String::from_utf8_lossy(&linked.stderr);
            ensure!(linked.status.success(), "{arguments:?}: {error}");
            let program = folder.0.join("program");
            let check = || {
                let saved = check_entries(&program)?;
                // The entry trampoline saves all registers that the host keeps.
                ensure!(saved >= 5, "only {saved} registers are saved");
                not_relocated(&program)?;
                let output = run(&program, &[])?;
                let error = String::from_utf8_lossy(&output.stderr);
                ensure!(output.stdout == b"main was found\n", "{output:?}, {error}");
                anyhow::Ok(())
            };
            check().with_context(|| format!("{arguments:?}"))?;
        }
    }
    Ok(())
}

/// Without the option, objects have no such tables.
#[test]
fn walks_end_without_tables() -> Result<()> {
    let folder = Folder::new("no-unwind")?;
    let objects = objects(&folder, &engine(false)?)?;
    for path in &objects[1..] {
        let bytes = std::fs::read(path)?;
        let file = object::File::parse(&*bytes)?;
        ensure!(file.section_by_name(".eh_frame").is_none(), "{}", path.display());
    }
    let linked = link(&folder, &objects, &[])?;
    ensure!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    let output = run(&folder.0.join("program"), &[])?;
    ensure!(output.stdout == b"main was not found\n", "{output:?}");
    Ok(())
}
