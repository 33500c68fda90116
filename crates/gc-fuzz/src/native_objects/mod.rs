//! Objects of a program that are damaged after they were linked ([`link`]): each is refused, or the program does what
//! it did before.
//!
//! A program is compiled to objects and linked in memory once for each collector. The input damages the record or the
//! tables of one object, or the start object. Then the objects are loaded as an executable loads its own. The target
//! promises this, by [kind of damage](Damage):
//!
//! - Damage to which the checksums do not fit is found when the objects are loaded.
//! - Without a stack map, the program has the same result or runs out of memory, because no collection is guessed.
//! - Behind right checksums the loader trusts nothing: it may accept or refuse what it reads, but it neither panics nor
//!   hangs nor reads beyond it, and all that it has accepted can be read. Such code is not run, because a program whose
//!   tables are others can do anything: `gc_engine::native` protects them against accidents only.

mod link;
mod program;

use super::{Target, report};
use anyhow::{Result, bail, ensure};
use gc_engine::{Code, Collector, Engine};
use gc_testkit::Reclaims;
use gc_testkit::choices::Choices;
use gc_testkit::objects::{Damage, NativeObject, RECORD, change};
use link::Program;
use std::sync::{LazyLock, Mutex, PoisonError};

pub(super) const TARGET: Target =
    Target { name: "native_objects", run, seeds: 3000, length: 60, mutate: None };

/// A linked program, with the engine that runs it.
struct Linked {
    engine: Engine,
    program: Program,
    objects: Vec<Placed>,
}

/// An object's record and tables in a program, and their places.
struct Placed {
    record: usize,
    tables: usize,
    original: NativeObject,
}

/// A program for each collector with and without zeal. Each is used by one thread at a time.
static PROGRAMS: LazyLock<Vec<Mutex<Linked>>> = LazyLock::new(|| {
    let all =
        Collector::all().into_iter().flat_map(|collector| [0, 13].map(|n| (collector.clone(), n)));
    let made = all.map(|(collector, zeal)| -> Result<_> {
        // A collector that reclaims must collect, so the program fails if all collections are skipped.
        let turns = if collector.reclaims() == Reclaims::Nothing { 1 } else { 40 };
        let builder = Engine::builder(collector.for_tests()).heap_maximum(512 << 10);
        let engine = builder.zeal(zeal).build()?;
        let program = Program::link(&program::objects(&engine, turns)?)?;
        let objects = find(&program)?;
        Ok(Mutex::new(Linked { engine, program, objects }))
    });
    made.collect::<Result<_>>().expect("the programs are linked")
});

/// Finds the objects of a program.
fn find(program: &Program) -> Result<Vec<Placed>> {
    let (start, records) = program.section("reclaim_objects")?;
    let number =
        |at: usize| -> Result<i64> { Ok(i64::from_le_bytes(program.bytes(at, 8)?.try_into()?)) };
    let (mut objects, mut record) = (Vec::new(), start);
    while record < start + records.len() {
        let field = record + 48;
        let tables = field.wrapping_add_signed(number(field)? as isize);
        let size = number(record + 56)? as usize;
        let original =
            NativeObject::new(program.bytes(record, RECORD)?, program.bytes(tables, size)?)?;
        objects.push(Placed { record, tables, original });
        record += u32::from_le_bytes(program.bytes(record, 4)?.try_into()?) as usize;
    }
    Ok(objects)
}

fn run(input: &[u8]) -> Result<()> {
    let mut choices = Choices::from_bytes(input);
    let linked = choices.pick(&PROGRAMS.iter().collect::<Vec<_>>());
    let mut linked = linked.lock().unwrap_or_else(PoisonError::into_inner);
    report::configuration(linked.engine.collector());
    if choices.once_in(8) && !choices.is_at_end() {
        return with_another_start(&mut linked, &mut choices);
    }
    let Linked { engine, program, objects } = &mut *linked;
    let object = &objects[choices.below(objects.len())];
    let damage = choices.pick(&Damage::ALL);
    let mut damaged = object.original.clone();
    if !choices.is_at_end() {
        damaged.damage(damage, &mut choices)?;
    }
    log::debug!("{damage:?}");
    program.reset(|bytes| {
        bytes.write(object.record, &damaged.record);
        bytes.write(object.tables, &damaged.tables);
    })?;
    let same = damaged == object.original;
    let loaded = program.load(engine);
    match (loaded, damage) {
        (Err(error), _) if same => Err(error.context("what was not damaged is refused")),
        (Err(error), Damage::Found) => {
            let text = format!("{error:#}");
            let known = ["damaged", "of version", "another kind of heap"];
            ensure!(known.iter().any(|known| text.contains(known)), "an unclear error: {text}");
            Ok(())
        }
        (Err(error), _) => {
            log::debug!("refused: {error:#}");
            Ok(())
        }
        (Ok(_), Damage::Found) if !same => bail!("damage was not found"),
        (Ok(codes), Damage::Found | Damage::Maps) => match program::run(engine, &codes) {
            Ok(program::RESULT) => Ok(()),
            Ok(other) => bail!("the result is {other}"),
            Err(error) if same => Err(error.context("what was not damaged fails")),
            Err(error) => {
                // Collections were skipped. An object that was lost would be a trap.
                let text = format!("{error:#}");
                ensure!(text.contains("out of memory"), "a collection without a map: {text}");
                log::debug!("failed: {text}");
                Ok(())
            }
        },
        (Ok(codes), _) => {
            read(&codes);
            if same { program::run(engine, &codes).map(drop) } else { Ok(()) }
        }
    }
}

/// Damages the start object: its header, the text of the ABI, or its options. That must be found. With right checksums,
/// there may be an engine for it.
fn with_another_start(linked: &mut Linked, choices: &mut Choices) -> Result<()> {
    let (at, contents) = linked.program.section(".rodata.reclaim.start")?;
    let (header_at, header) = linked.program.section(".rodata.reclaim.header")?;
    let (mut contents, mut header) = (contents.to_vec(), header.to_vec());
    let original = (contents.clone(), header.clone());
    let mut is_found = true;
    match choices.below(3) {
        // The version, the checksums, and the sizes.
        0 => change(&mut header, &choices.pick(&[0..12, 24..32, 40..48]), choices),
        1 => change(&mut contents, &(0..original.0.len()), choices),
        _ => {
            change(&mut contents, &(0..original.0.len()), choices);
            header[8..12].copy_from_slice(&crc32fast::hash(&contents).to_le_bytes());
            let numbers = [&header[24..32], &header[40..48], &header[8..12]].concat();
            header[4..8].copy_from_slice(&crc32fast::hash(&numbers).to_le_bytes());
            is_found = false;
        }
    }
    linked.program.reset(|bytes| {
        bytes.write(at, &contents);
        bytes.write(header_at, &header);
    })?;
    let objects = linked.program.objects();
    let same = (contents, header) == original;
    ensure!(!same || objects.is_ok(), "what was not damaged is refused");
    ensure!(same || !is_found || objects.is_err(), "damage of the start object was not found");
    let engine = objects.and_then(|objects| {
        let engine = objects.engine(objects.heap())?.build()?;
        objects.check(&engine).map(drop)
    });
    if let Err(error) = engine {
        log::debug!("refused: {error:#}");
    }
    Ok(())
}

/// Reads all that is known of code. It may be that of damaged tables, but it was accepted.
fn read(codes: &[Code]) {
    for code in codes {
        let (image, base) = (code.image(), code.memory().base().addr());
        code.types().for_each(drop);
        code.imports().for_each(drop);
        for (name, signature) in code.functions() {
            log::trace!("{name}: {signature}");
        }
        image.functions().for_each(drop);
        image.handlers().for_each(drop);
        image.type_words().for_each(drop);
        image.stack_maps().iter().flat_map(|(_, map)| map.slots()).for_each(drop);
        for signature in image.signatures() {
            image.entry(&signature);
            image.exit(&signature);
        }
        let size = u32::try_from(image.code().len()).expect("it was checked");
        image.locations_in(0..size).for_each(drop);
        for offset in 0..size {
            image.trap_at(offset);
            image.saved_registers_at(offset);
            code.memory().lookup(base + offset as usize).for_each(drop);
        }
    }
}
