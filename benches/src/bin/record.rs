//! Records what scripts of the folder `ci` measure, as pages like those of the benches: the instructions of
//! small programs, and what many stores take. It runs a script and reads what it prints.

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use comfy_table::{Cell, Table};
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Records what a script measures.
#[derive(Parser)]
struct Options {
    /// The script.
    script: Script,
}

#[derive(Clone, Copy, ValueEnum)]
enum Script {
    /// The instructions of small programs.
    Counts,
    /// What ten thousand stores and a million instances take.
    ManyStores,
}

const COUNTS: Subject = Subject {
    name: "counts",
    title: "Instructions of small programs",
    about: "The instructions of allocation, barriers, reads, copies, casts, closures, collections, calls over \
            the border, and compilation. They are counted by valgrind, so they do not depend on the speed of \
            the machine, nor on what else runs. `benches/counts/benches/counts.rs` says what each benchmark \
            does: most run a loop of 5000 rounds.",
};

const MANY_STORES: Subject = Subject {
    name: "many-stores",
    title: "What many stores take",
    about: "The memory of 10,000 stores at once on two threads, each with a heap and an instance: on average \
            before it allocates and with one object, and of the largest of 100 further stores, in whole \
            pages. What a store takes that fits the rest of a page of the last one counts as nothing. Then a \
            million instances from a pool, one after the other, must leave the memory and the mappings of the \
            process as they were.",
};

fn main() -> Result<()> {
    let script = Options::parse().script;
    let (subject, command) = match script {
        Script::Counts => (COUNTS, "ci/counts"),
        Script::ManyStores => (MANY_STORES, "ci/many-stores"),
    };
    let mut record = Record::new(subject);
    record.command(command);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut process = Command::new(root.join(command)).stdout(Stdio::piped()).spawn()?;
    let output = process.stdout.take().context("it has an output")?;
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        lines.push(line);
    }
    let status = process.wait()?;
    ensure!(status.success(), "{command}: {status}");
    match script {
        Script::Counts => counts(&lines, &mut record)?,
        Script::ManyStores => many_stores(&lines, &mut record)?,
    }
    record.finish()
}

/// A row for each benchmark, from lines with the benchmark, the collector, the count in the file, the count,
/// and the change in percent.
fn counts(lines: &[String], record: &mut Record) -> Result<()> {
    const COLLECTORS: [&str; 4] = ["null", "drc", "copying", "generational"];
    let mut rows: Vec<(&str, [&str; COLLECTORS.len()])> = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, collector, _, count, _, "%", ..] = words[..] else { continue };
        let Some(column) = COLLECTORS.iter().position(|it| *it == collector) else { continue };
        if rows.last().is_none_or(|(last, _)| *last != name) {
            rows.push((name, [""; COLLECTORS.len()]));
        }
        rows.last_mut().context("a row was added")?.1[column] = count;
    }
    ensure!(!rows.is_empty(), "the script has printed no counts");
    let mut report = table("benchmark", COLLECTORS.map(str::to_owned));
    for (name, counts) in rows {
        report.add_row(std::iter::once(name).chain(counts));
    }
    record.table("Instructions", &report);
    // What the counts depend on.
    record.lines(lines.iter().filter_map(|line| line.strip_prefix("# ")));
    Ok(())
}

/// A row for each collector and strategy, from two lines with numbers in a fixed order.
fn many_stores(lines: &[String], record: &mut Record) -> Result<()> {
    let header = [
        "bytes",
        "bytes with an object",
        "bytes of the largest",
        "mappings",
        "mappings with an object",
        "mappings of the largest",
    ];
    let mut report: Table = table("collector", header.map(str::to_owned));
    let mut first: Option<(&str, Vec<&str>)> = None;
    for line in lines {
        let Some((name, text)) = line.split_once(": ") else { continue };
        let numbers =
            text.split([' ', ',']).filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let numbers: Vec<&str> = numbers.collect();
        if text.contains(" stores: each ") {
            first = Some((name, numbers));
        } else if text.starts_with("the largest of ")
            && let Some((_, average)) = first.take_if(|(other, _)| *other == name)
            && let [_, bytes, mappings, used, used_mappings] = average[..]
            && let [_, largest, _, used_most] = numbers[..]
        {
            let cells = [bytes, used, largest, mappings, used_mappings, used_most];
            let cells = cells.map(|cell| right(cell.to_owned()));
            report.add_row(std::iter::once(Cell::new(name)).chain(cells));
        }
    }
    ensure!(report.row_iter().len() > 0, "the script has printed no numbers");
    record.table("Of each store", &report);
    record.lines(lines.iter().map(String::as_str).filter(|line| line.contains(" instances: ")));
    Ok(())
}
