//! The exceptions of the first version of the proposal, which is called legacy: `try`, `catch`,
//! `catch_all`, `delegate` and `rethrow`. Shipped toolchains still emit them.
//!
//! They become the same code as `try_table`. In `try`, the clauses come after the body, but a call
//! in the body needs them. So when the first `try` of a function is found, all operators are read
//! once, and the clauses of each `try` are noted.

use crate::compile::stack::{Clause, FrameKind};
use crate::compile::translate::Translator;
use anyhow::{Context as _, Result};
use std::collections::HashMap;
use wasmparser::{BlockType, FunctionBody, Operator};

/// The clauses of a `try`.
#[derive(Clone, Debug, Default)]
pub(in crate::compile) struct Clauses {
    /// The tags of its `catch` clauses, and `None` for its `catch_all`.
    tags: Vec<Option<u32>>,
    /// The label of its `delegate`.
    delegate: Option<u32>,
}

/// The clauses of each `try` of a function, by the offset of the `try`. The body is not validated
/// yet. If it is malformed, the rest of it is left out.
pub(in crate::compile) fn clauses(body: &FunctionBody<'_>) -> HashMap<usize, Clauses> {
    let mut found: HashMap<usize, Clauses> = HashMap::new();
    // For each open construct: the offset of its `try`, if it is one.
    let mut open: Vec<Option<usize>> = Vec::new();
    let Ok(mut operators) = body.get_operators_reader() else { return found };
    while let Ok((op, offset)) = operators.read_with_offset() {
        let innermost = match open.last() {
            Some(Some(offset)) => found.get_mut(offset),
            _ => None,
        };
        match op {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => open.push(None),
            Operator::Try { .. } => {
                found.insert(offset, Clauses::default());
                open.push(Some(offset));
            }
            Operator::Catch { tag_index } => {
                if let Some(clauses) = innermost {
                    clauses.tags.push(Some(tag_index));
                }
            }
            Operator::CatchAll => {
                if let Some(clauses) = innermost {
                    clauses.tags.push(None);
                }
            }
            Operator::Delegate { relative_depth } => {
                if let Some(clauses) = innermost {
                    clauses.delegate = Some(relative_depth);
                }
                open.pop();
            }
            Operator::End => {
                open.pop();
            }
            _ => {}
        }
    }
    found
}

impl Translator<'_, '_> {
    pub(super) fn legacy_try(&mut self, ty: BlockType) -> Result<()> {
        let Clauses { tags, delegate } = self.legacy.get(&self.offset).cloned().unwrap_or_default();
        let clause = |tag| Clause { tag, block: None, target: None };
        let clauses = tags.into_iter().map(clause).collect();
        // The handlers that follow are those of the frames below this number. A label outside of
        // the function's body means the caller.
        let delegate = delegate.map(|label| {
            (self.stack.frames.len()).checked_sub(1 + label as usize).map_or(0, |frame| frame + 1)
        });
        self.push_try(ty, FrameKind::Try { clauses, delegate })
    }

    /// The beginning of the next clause of a `try`. It ends the body, or the clause before.
    pub(super) fn legacy_catch(&mut self) -> Result<()> {
        if self.stack.reachable() {
            self.jump_to_label(0)?;
        }
        let frame = self.stack.frame(0);
        let height = frame.height;
        let kind = std::mem::replace(&mut frame.kind, FrameKind::Block);
        let mut rest = match kind {
            FrameKind::Try { clauses, .. } => {
                self.stack.leave_try();
                clauses.into_iter()
            }
            FrameKind::Catch { rest, .. } => rest,
            _ => unreachable!("validated: a catch belongs to a try"),
        };
        let clause = rest.next().context("the clauses of a try were noted")?;
        self.stack.values.truncate(height);
        let exn = match clause.block {
            Some(block) => Some(self.enter_clause(block, clause.tag)?),
            None => {
                self.stack.set_unreachable();
                None
            }
        };
        self.stack.frame(0).kind = FrameKind::Catch { exn, rest };
        Ok(())
    }

    pub(super) fn rethrow(&mut self, depth: u32) -> Result<()> {
        let FrameKind::Catch { exn: Some(exn), .. } = self.stack.frame(depth).kind else {
            unreachable!("validated: a rethrow names a catch, and reachable code was entered");
        };
        self.rethrow_exn(exn)
    }
}
