//! What programs are made with and run with: collectors, zeal, the heap's maximum, a processor.

use crate::common::{Folder, comes_to_42, objects, program, run};
use anyhow::{Context as _, Result, bail, ensure};
use gc_engine::native::Start;
use gc_engine::{Collector, Engine, Machine, Module, Type};

#[test]
fn objects_run_under_each_collector() -> Result<()> {
    for collector in Collector::all() {
        for zeal in [0, 7] {
            let name = format!("{}-{zeal}", collector.name());
            let folder = Folder::new(&name)?;
            let engine = Engine::builder(collector.clone()).zeal(zeal).build()?;
            let program =
                program(&folder, &objects(&folder, &engine)?, &[]).context(name.clone())?;
            comes_to_42(&program, &[]).context(name)?;
        }
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
        let objects = objects(&folder, &engine)?;
        let program = program(&folder, &objects, &[])?;
        for maximum in ["2MiB", "16MiB", "1GiB", "4GiB"] {
            let environment = [("RECLAIM_HEAP_MAX", maximum)];
            comes_to_42(&program, &environment).with_context(|| format!("{name}, {maximum}"))?;
        }
        for (maximum, message) in [("many", "RECLAIM_HEAP_MAX"), ("1k", "RECLAIM_HEAP_MAX")] {
            let output = run(&program, &[("RECLAIM_HEAP_MAX", maximum)])?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(1) && error.contains(message), "{name}: {error}");
        }
    }
    Ok(())
}

/// A program that traps says why in the first line, and then which functions were running.
#[test]
fn traps_have_traces() -> Result<()> {
    let folder = Folder::new("trap")?;
    let engine = Engine::new(Collector::generational())?;
    let mut module = Module::new(&engine);
    let cell = module.struct_type("cell", [Type::I64])?;
    let other = module.struct_type("other", [Type::Ref])?;
    module.function("inner", [], [], |f| {
        let number = f.i64(1);
        let object = f.struct_new(&cell, &[number]);
        f.at(7);
        f.ref_cast(object, &other);
        f.ret(&[]);
    })?;
    module.function("outer", [], [], |f| {
        f.call("inner", &[]);
        f.ret(&[]);
    })?;
    let objects = [
        folder.write("start.o", &engine.emit_start(&Start::main("outer"))?)?,
        folder.write("main.o", &module.emit_object()?)?,
    ];
    let output = run(&program(&folder, &objects, &["-s"])?, &[])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{error}");
    let places = ["error: ", "cast failure", "inner", "outer"];
    let places = places.map(|text| error.find(text));
    ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{error}");
    Ok(())
}

/// A processor that lacks a feature is named.
#[test]
fn objects_have_a_baseline() -> Result<()> {
    let folder = Folder::new("baseline")?;
    // A level, and an extension that few machines have, or that no machine is known to have.
    let (level, extensions): (_, &[_]) = match Machine::host().arch() {
        "x86_64" => ("x86-64", &["avx512vbmi", "sse41", "sse42", "ssse3", "sse3"]),
        "aarch64" => ("armv8-a", &["pauth"]),
        other => bail!("no level of {other}"),
    };
    let (level, extension) = (Machine::baseline(level).context("it is known")?, extensions[0]);
    let more = level.clone().with_features(extensions.iter().copied());
    for (machine, code) in [(level, 42), (more, 0)] {
        if code == 0 && Machine::host().runs(&machine) {
            eprintln!("SKIPPED: this machine has {extension}");
            continue;
        }
        let engine = Engine::builder(Collector::copying()).machine(machine).build()?;
        let objects = objects(&folder, &engine)?;
        let program = program(&folder, &objects, &[])?;
        let output = run(&program, &[])?;
        let error = String::from_utf8_lossy(&output.stderr);
        match code {
            42 => ensure!(output.status.code() == Some(42), "{error}"),
            _ => {
                let expected = format!("has no `{extension}` here, which the code uses");
                ensure!(error.contains(&expected), "{error}")
            }
        }
    }
    Ok(())
}

/// A library without zeal says what it needs for code with zeal.
#[test]
fn a_library_without_zeal() -> Result<()> {
    if std::env::var_os("NATIVE_SIZE").is_none() {
        eprintln!("SKIPPED: ci/native builds a library without zeal");
        return Ok(());
    }
    let folder = Folder::new("zeal")?;
    let engine = Engine::builder(Collector::generational()).zeal(1).build()?;
    let output = run(&program(&folder, &objects(&folder, &engine)?, &[])?, &[])?;
    let error = String::from_utf8_lossy(&output.stderr);
    let expected = "libgc_native.a needs the feature `gc_zeal`";
    ensure!(output.status.code() == Some(1) && error.contains(expected), "{error}");
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
    let objects = objects(&folder, &engine)?;
    let program = program(&folder, &objects, &["-s", "-Wl,--gc-sections"])?;
    comes_to_42(&program, &[])?;
    let size = program.metadata()?.len();
    eprintln!("the program has {size} bytes");
    ensure!(size <= 1_300_000, "the program has {size} bytes");
    Ok(())
}
