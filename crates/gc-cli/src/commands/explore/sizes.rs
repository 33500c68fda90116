//! The size of functions under each collector, as a table: instructions and bytes, and how many more
//! they are than under the baseline: a collector that frees nothing (`null`), which has no barriers and the shortest
//! allocation.

use super::disassembly::Disassembly;
use crate::printable::printable;
use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use gc_wasm::explore::MachineCode;

/// The size of code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) instructions: usize,
    pub(super) bytes: usize,
}

impl Size {
    /// The size of a function.
    pub(super) fn of(disassembly: &Disassembly<'_>) -> Size {
        Size { instructions: disassembly.count(), bytes: disassembly.size() }
    }
}

/// The functions' sizes under one collector.
pub(super) struct Sizes {
    pub(super) collector: String,
    /// One for each function.
    pub(super) sizes: Vec<Size>,
}

impl Sizes {
    /// The sizes of functions under a collector.
    ///
    /// # Errors
    /// If machine code for the processor cannot be decoded.
    pub(super) fn new(collector: String, functions: &[MachineCode]) -> Result<Sizes> {
        let sizes = functions.iter().map(|code| Ok(Size::of(&Disassembly::new(code)?)));
        Ok(Sizes { collector, sizes: sizes.collect::<Result<_>>()? })
    }

    fn total(&self) -> Size {
        self.sizes.iter().fold(Size::default(), |sum, size| Size {
            instructions: sum.instructions + size.instructions,
            bytes: sum.bytes + size.bytes,
        })
    }
}

/// A table with a row for each of the functions `names` under each collector, and if there are
/// several functions, a row for all of them.
pub(super) fn table(names: &[String], all: &[Sizes], baseline: Option<&Sizes>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let against = baseline.map(|base| format!("against\n{}", base.collector)).unwrap_or_default();
    let mut header = vec!["function", "collector", "instructions", "bytes"];
    if baseline.is_some() {
        header = vec!["function", "collector", "instructions", &against, "bytes", &against];
    }
    table.set_header(header);
    let mut add = |name: &str, size: &dyn Fn(&Sizes) -> Size| {
        for (n, sizes) in all.iter().enumerate() {
            let name = if n == 0 { printable(name).into_owned() } else { String::new() };
            let here = size(sizes);
            let (instructions, bytes) = (here.instructions, here.bytes);
            let mut row = vec![name, sizes.collector.clone(), instructions.to_string()];
            match baseline.map(size) {
                Some(base) => row.extend([
                    against_baseline(instructions, base.instructions),
                    bytes.to_string(),
                    against_baseline(bytes, base.bytes),
                ]),
                None => row.push(bytes.to_string()),
            }
            table.add_row(row);
        }
    };
    for (n, name) in names.iter().enumerate() {
        add(name, &|sizes| sizes.sizes[n]);
    }
    if names.len() > 1 {
        add(&format!("all {}", names.len()), &Sizes::total);
    }
    let last = table.column_count().saturating_sub(1);
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if i == last { 0 } else { 2 }));
        if i > 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// A number beside that under the baseline: the difference and the ratio.
fn against_baseline(here: usize, base: usize) -> String {
    if here == base {
        return "=".to_owned();
    }
    let sign = if here < base { '-' } else { '+' };
    let ratio = here as f64 / base.max(1) as f64;
    format!("{sign}{} ({ratio:.2})", here.abs_diff(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_a_sign_and_a_ratio() {
        assert_eq!(against_baseline(50, 40), "+10 (1.25)");
        assert_eq!(against_baseline(30, 40), "-10 (0.75)");
        assert_eq!(against_baseline(40, 40), "=");
    }
}
