//! Runs the specification's scripts under every built-in collector, and those of `tests/scripts`. A whole
//! run also compares its counts of the specification's with the table in the book. `BLESS=1 cargo test -p
//! gc-conformance --test spec` writes the table again.

use gc_conformance::scripts;
use gc_conformance::spec::{SpecCounts, trials_counted};
use gc_wasm::Collector;
use libtest_mimic::Arguments;
use std::path::Path;
use std::process::ExitCode;

/// The lines around the table.
const BEGIN: &str = "<!-- begin: counted by gc-conformance/tests/spec.rs -->\n";
const END: &str = "<!-- end -->";

fn main() -> ExitCode {
    let counts = SpecCounts::default();
    let arguments = Arguments::from_args();
    let mut trials = trials_counted(&Collector::all(), &counts);
    trials.extend(scripts::trials(&Collector::all()));
    let conclusion = gc_conformance::conclude(&arguments, trials);
    let is_whole = conclusion.num_filtered_out == 0 && !arguments.list && !arguments.ignored;
    if is_whole && conclusion.num_failed == 0 && !is_in_book(&counts.table()) {
        eprintln!(
            "\nFAILED: the table in the book is not that of this run; BLESS=1 writes it again"
        );
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Whether the book has this table. Writes it if that is asked for.
fn is_in_book(table: &str) -> bool {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/specification.md");
    let text = std::fs::read_to_string(&page).expect("the page can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the table");
    let (old, after) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        let new = format!("{before}{BEGIN}\n{table}\n{END}{after}");
        std::fs::write(&page, new).expect("the page can be written");
        return true;
    }
    old.trim() == table.trim()
}
