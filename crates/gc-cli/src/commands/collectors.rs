//! `reclaim collectors`: lists the collectors with their descriptions.

use crate::registry::Registry;
use anyhow::Result;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use gc_engine::size;
use gc_wasm::{Collector, Reclaims};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

/// Arguments of `reclaim collectors`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  reclaim collectors
  reclaim collectors --json | jq -r 'select(.moves_objects | not).collector'")]
pub struct CollectorsArgs {
    /// Print one line of JSON per collector instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// A line of JSON.
#[derive(Serialize)]
struct Json<'a> {
    collector: &'a str,
    default: bool,
    frees: &'a str,
    moves_objects: bool,
    max_heap_bytes: u64,
    fingerprint: String,
    options: BTreeMap<&'a str, u64>,
    summary: &'a str,
}

/// Prints the list.
///
/// # Errors
/// If it cannot be printed.
pub fn execute(args: &CollectorsArgs, registry: &Registry) -> Result<()> {
    let is_default = |one: &Collector| one.name() == registry.default_collector().name();
    let mut out = std::io::stdout().lock();
    if args.json {
        for one in registry.all() {
            let json = Json {
                collector: one.name(),
                default: is_default(one),
                frees: frees(one),
                moves_objects: one.moves_objects(),
                max_heap_bytes: one.max_heap_size(),
                fingerprint: one.abi().fingerprint().to_string(),
                options: one.options().iter().map(|option| (option.name, option.value)).collect(),
                summary: one.summary(),
            };
            writeln!(out, "{}", serde_json::to_string(&json)?)?;
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["collector", "frees", "moves", "heap up to", "good for"]);
    for one in registry.all() {
        let mark = if is_default(one) { " *" } else { "" };
        table.add_row([
            format!("{}{mark}", one.name()),
            frees(one).to_owned(),
            if one.moves_objects() { "yes" } else { "no" }.to_owned(),
            size::show(one.max_heap_size()),
            one.summary().to_owned(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    writeln!(out, "{}\n\n* the default", table.trim_fmt())?;
    let collectors = registry.all().iter();
    let options = collectors.flat_map(|one| one.options().into_iter().map(move |it| (one, it)));
    for (n, (one, option)) in options.enumerate() {
        if n == 0 {
            writeln!(out, "\nOptions, which follow the collector's name:")?;
        }
        let (name, value) = (one.name(), size::show(option.value));
        writeln!(out, "  {name}:{}=SIZE  {} [{value}]", option.name, option.help)?;
    }
    Ok(())
}

fn frees(collector: &Collector) -> &'static str {
    match collector.reclaims() {
        Reclaims::Nothing => "nothing",
        Reclaims::Acyclic => "no cycles",
        Reclaims::Everything => "everything",
    }
}
