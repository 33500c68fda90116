//! What does not fit, and what is damaged.

use crate::common::{Folder, is_thorough, link, lists, main, program, run};
use anyhow::{Context as _, Result, ensure};
use gc_engine::native::Start;
use gc_engine::{Collector, Engine, Module, Type};

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

    let both = Start { host_functions: vec!["start".into()], ..Start::main("start") };
    ensure!(engine.emit_start(&both).is_err());
    ensure!(engine.emit_start(&Start { runtime: "a\0b".into(), ..Start::default() }).is_err());

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
    let words = [
        (0, "damaged"),
        (4, "version"),
        (8, "damaged"),
        (12, "damaged"),
        (20, "another kind of heap"),
        (40, "damaged"),
        (47, "damaged"),
        (56, "damaged"),
        // So many bytes are not there.
        (59, "damaged"),
        (72, "damaged"),
        (88, "damaged"),
    ];
    let in_record = words.map(|(at, message)| (record.start + at, message));
    for (at, message) in in_tables.chain(in_record) {
        let mut bytes = lists.clone();
        bytes[at] ^= 0x10;
        let damaged = folder.write("lists.o", &bytes)?;
        let program = program(&folder, &[start.clone(), damaged, main_object.clone()], &[])?;
        let output = run(&program, &[])?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{at}: {}, {error}", output.status);
        ensure!(error.contains(message), "{at}: {error}");
    }
    Ok(())
}
