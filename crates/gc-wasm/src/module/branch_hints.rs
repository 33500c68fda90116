//! Whether branches are likely to be taken, as a module's custom section `metadata.code.branch_hint`
//! says (proposal branch-hinting). The section is ignored if it is malformed.

use anyhow::{Result, ensure};
use std::collections::HashMap;
use wasmparser::BranchHintSectionReader;

/// A branch that is likely or unlikely to be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BranchHint {
    /// The offset of its operator in the function's body.
    pub(crate) offset: u32,
    /// Whether it is likely to be taken.
    pub(crate) taken: bool,
}

/// The hints of a module.
#[derive(Debug, Default)]
pub(crate) struct BranchHints(HashMap<u32, Box<[BranchHint]>>);

impl BranchHints {
    /// Takes the hints of a section, unless it is malformed.
    pub(super) fn read(&mut self, section: BranchHintSectionReader<'_>) {
        match functions(section) {
            Ok(functions) => self.0 = functions,
            Err(error) => log::debug!("ignoring malformed branch hints: {error}"),
        }
    }

    /// The hints of function `func`, in ascending order of their offsets.
    pub(crate) fn of(&self, func: u32) -> &[BranchHint] {
        self.0.get(&func).map_or(&[], |hints| hints)
    }
}

/// The hints by function. Functions and offsets are in ascending order. Hints of offsets without a
/// branch have no effect, because nobody looks for them.
fn functions(section: BranchHintSectionReader<'_>) -> Result<HashMap<u32, Box<[BranchHint]>>> {
    let mut functions = HashMap::new();
    let mut last = None;
    for function in section {
        let function = function?;
        ensure!(last < Some(function.func), "the functions are not in order");
        last = Some(function.func);
        let mut hints: Vec<BranchHint> = Vec::new();
        for hint in function.hints {
            let hint = hint?;
            let is_next = hints.last().is_none_or(|last| last.offset < hint.func_offset);
            ensure!(is_next, "the offsets are not in order");
            hints.push(BranchHint { offset: hint.func_offset, taken: hint.taken });
        }
        functions.insert(function.func, hints.into());
    }
    Ok(functions)
}
