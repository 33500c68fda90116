//! Calls in every way (direct, indirect, through the host, as tail calls) with exceptions through
//! several frames, and references in every place of a frame, while collections move objects and
//! poison what they free.
//!
//! A model executes the program without an engine. Each object has a number, and the program
//! writes down the numbers of the objects that its references refer to. They must be those that the
//! model has: then every reference is in its stack map, and was read again after each collection. The
//! other direction is tested with host values: after a collection none is alive to which only dead
//! frames or overwritten locals refer.

mod emit;
mod generate;
mod host;
mod model;
mod program;

use super::way::Way;
use super::{Target, report};
use anyhow::{Context, Result};
use gc_testkit::choices::Choices;
use gc_wasm::Collector;

pub(super) const TARGET: Target =
    Target { name: "stack_maps", run, seeds: 250, length: 800, mutate: None };

fn run(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut choices = Choices::from_bytes(bytes);
    let way = Way::of(&mut choices, &Collector::all());
    report::configuration(&way);
    let program = generate::program(choices);
    let expected = model::run(&program);
    let wasm = report::text_module(&emit::module(&program))?;
    host::run(&way.config(4 << 20), &wasm, expected).with_context(|| format!("{way:?}"))
}
