//! A program of a thousand objects: how much larger it is for each, and how much later it starts. `ci/native` runs it.

use crate::common::{Folder, program, run};
use anyhow::{Context as _, Result, ensure};
use gc_engine::native::Start;
use gc_engine::{Collector, Engine, Module, Type};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const OBJECTS: usize = 1000;

/// What each should add to the program at most.
const BYTES: u64 = 1024;

/// What each should add to the time of the start at most.
const MICROSECONDS: f64 = 3.0;

/// A function with an allocation, which calls the one of the object before.
fn object(engine: &Engine, number: usize) -> Result<Vec<u8>> {
    let mut module = Module::new(engine);
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    let before = match number {
        0 => None,
        _ => Some(module.import(&format!("f{}", number - 1), [Type::Ref], [Type::Ref])?),
    };
    module.function(&format!("f{number}"), [Type::Ref], [Type::Ref], |f| {
        let (one, rest) = (f.i64(1), f.param(0));
        let longer = f.struct_new(&cell, &[one, rest]);
        let result = match &before {
            Some(before) => f.call(before, &[longer])[0],
            None => longer,
        };
        f.ret(&[result]);
    })?;
    module.emit_object()
}

/// A program with so many objects that calls all of them. It returns 0.
fn with_objects(folder: &Folder, engine: &Engine, count: usize) -> Result<PathBuf> {
    let mut module = Module::new(engine);
    let last = module.import(&format!("f{}", count - 1), [Type::Ref], [Type::Ref])?;
    module.function("run", [], [Type::I32], |f| {
        let (nil, zero) = (f.null(), f.i32(0));
        f.call(&last, &[nil]);
        f.ret(&[zero]);
    })?;
    let mut objects = vec![
        folder.write("start.o", &engine.emit_start(&Start::main("run"))?)?,
        folder.write("run.o", &module.emit_object()?)?,
    ];
    for number in 0..count {
        objects.push(folder.write(&format!("{number}.o"), &object(engine, number)?)?);
    }
    let linked = program(folder, &objects, &["-s", "-Wl,--gc-sections"])?;
    if let Some(kept) = std::env::var_os("NATIVE_KEEP") {
        std::fs::copy(&linked, Path::new(&kept).join(format!("with-{count}")))?;
    }
    let named = folder.0.join(format!("with-{count}"));
    std::fs::rename(linked, &named)?;
    Ok(named)
}

/// Microseconds from the start of a program to its end.
fn time(program: &Path) -> Result<f64> {
    let began = Instant::now();
    let output = run(program, &[])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(began.elapsed().as_secs_f64() * 1e6)
}

#[test]
fn a_thousand_objects() -> Result<()> {
    if std::env::var_os("NATIVE_SIZE").is_none() {
        eprintln!("SKIPPED: ci/native builds the library whose programs are measured");
        return Ok(());
    }
    let folder = Folder::new("many")?;
    let engine = Engine::new(Collector::generational())?;
    let [few, many] =
        [with_objects(&folder, &engine, 1)?, with_objects(&folder, &engine, OBJECTS)?];
    let size = |program: &Path| -> Result<u64> { Ok(program.metadata()?.len()) };
    let bytes = (size(&many)? - size(&few)?) / (OBJECTS as u64 - 1);
    let source = folder.write("nothing.c", b"int main(void) { return 0; }\n")?;
    let nothing = folder.0.join("nothing");
    let compiled = Command::new("cc").arg(&source).arg("-o").arg(&nothing).status()?;
    ensure!(compiled.success(), "cc: {compiled}");
    // They take turns.
    let (mut differences, mut of_c) = (Vec::new(), Vec::new());
    for _ in 0..101 {
        let [few, many] = [time(&few)?, time(&many)?];
        differences.push((many - few) / (OBJECTS as f64 - 1.0));
        of_c.push(time(&nothing)?);
    }
    let (each, of_c) = (median(differences)?, median(of_c)?);
    // Not asserted: times depend on the machine.
    let verdict = if bytes <= BYTES && each <= MICROSECONDS { "met" } else { "MISSED" };
    eprintln!(
        "each of a thousand objects: {bytes} bytes, and {each:.2} µs at the start (median; a program in C that does \
         nothing takes {of_c:.0} µs); the target of {BYTES} bytes and {MICROSECONDS} µs: {verdict}"
    );
    Ok(())
}

fn median(mut times: Vec<f64>) -> Result<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("a time")
}
