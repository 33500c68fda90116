//! Programs whose records and tables are damaged after linking. Each ends with an error or does what it did before. It
//! neither crashes nor hangs, and its result is never wrong. The fuzz target `native_objects` does the same without a
//! linker and a process for each.

use crate::common::{Folder, is_thorough, objects, program};
use anyhow::{Context as _, Result, ensure};
use gc_engine::{Collector, Engine};
use gc_testkit::choices::Choices;
use gc_testkit::objects::{Damage, NativeObject};
use object::{Object as _, ObjectSection as _, ObjectSegment as _};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// Where the record and the tables of an object are in the file of a program.
#[derive(Clone, Copy, Debug)]
struct Places {
    record: usize,
    tables: usize,
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(bytes.get(at..at + 4).context("a word")?.try_into()?))
}

fn double_word(bytes: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from_le_bytes(bytes.get(at..at + 8).context("a double word")?.try_into()?))
}

/// Finds the objects in the file of a program.
fn find(program: &[u8]) -> Result<Vec<(Places, NativeObject)>> {
    let file = object::File::parse(program)?;
    let records = file.section_by_name("reclaim_objects").context("the records")?;
    let (start, size) = records.file_range().context("the records have no bytes")?;
    let mut objects = Vec::new();
    let mut record = start as usize;
    while record < (start + size) as usize {
        let field = record + 48;
        let address = records.address() + (field as u64 - start);
        let address = address.wrapping_add(double_word(program, field)?);
        let place = file.segments().find_map(|segment| {
            let (start, _) = segment.file_range();
            let inside = address.checked_sub(segment.address())?;
            (inside < segment.size()).then_some((start + inside) as usize)
        });
        let tables = place.context("no segment has the tables")?;
        let end = tables + double_word(program, record + 56)? as usize;
        let object = NativeObject::new(&program[record..], &program[tables..end])?;
        objects.push((Places { record, tables }, object));
        record += word(program, record)? as usize;
    }
    Ok(objects)
}

fn write(program: &Path, places: Places, object: &NativeObject) -> Result<()> {
    let file = File::options().write(true).open(program)?;
    file.write_all_at(&object.record, places.record as u64)?;
    file.write_all_at(&object.tables, places.tables as u64)?;
    Ok(())
}

fn run(program: &Path) -> Result<Output> {
    Command::new("timeout").arg("20").arg(program).output().context("the command `timeout`")
}

#[test]
fn mutations_end_in_errors() -> Result<()> {
    let turns = if is_thorough() { 2000 } else { 60 };
    let folder = Folder::new("mutated")?;
    // The program must collect: it uses more memory in all.
    let builder = Engine::builder(Collector::copying()).heap_maximum(512 << 10);
    let engine = builder.zeal(101).build()?;
    let program = program(&folder, &objects(&folder, &engine)?, &["-z", "noseparate-code"])?;
    let objects = find(&std::fs::read(&program)?)?;
    ensure!(objects.len() == 3, "it has {} objects", objects.len());
    // Code whose tables are others is not run: the checksums are all that protects it.
    let kinds = [Damage::Found, Damage::Declarations, Damage::Found, Damage::Maps];
    let mut choices = Choices::from_seed(1);
    let (mut refused, mut same, mut collected) = (0, 0, 0);
    for turn in 0..turns {
        let (places, original) = &objects[turn % objects.len()];
        let kind = kinds[turn / objects.len() % kinds.len()];
        let mut damaged = original.clone();
        damaged.damage(kind, &mut choices)?;
        write(&program, *places, &damaged)?;
        let output = run(&program)?;
        write(&program, *places, original)?;
        let error = String::from_utf8_lossy(&output.stderr);
        let what = || {
            let different = |&at: &usize| damaged.tables[at] != original.tables[at];
            let changed: Vec<_> = (0..original.tables.len()).filter(different).collect();
            format!("turn {turn}, {kind:?}, {changed:?} of the tables: {}, {error}", output.status)
        };
        match output.status.code() {
            Some(1) if !error.is_empty() && !error.contains("panicked") => refused += 1,
            Some(42) if kind != Damage::Found || damaged == *original => same += 1,
            _ => anyhow::bail!(what()),
        }
        collected += usize::from(kind == Damage::Maps && error.contains("memory"));
    }
    println!(
        "{refused} were refused, {collected} of them when they collected; {same} did the same"
    );
    ensure!(refused >= turns / 2 - 1, "only {refused} were refused");
    ensure!(collected > 0, "no program has missed a map");
    Ok(())
}
