//! Legacy exceptions, which are those of the first version of the proposal: `try`, `catch`,
//! `catch_all`, `delegate` and `rethrow`. Shipped toolchains still emit them.
//!
//! They become the same code as `try_table`. In `try`, the clauses come after the body, but a call
//! in the body needs them, so they are [noted](crate::compile::legacy_clauses) before.

use crate::compile::legacy_clauses::Clauses;
use crate::compile::stack::{Clause, FrameKind};
use crate::compile::translate::Translator;
use anyhow::{Context as _, Result};
use wasmparser::BlockType;

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
        self.push_try(ty, clauses, delegate)
    }

    /// The beginning of the next clause of a `try`. It ends the body, or the clause before.
    pub(super) fn legacy_catch(&mut self) -> Result<()> {
        let mut rest = match std::mem::replace(&mut self.stack.frame(0).kind, FrameKind::Block) {
            kind @ FrameKind::Try { .. } => {
                self.stack.frame(0).kind = kind;
                self.leave_try()?.into_iter()
            }
            FrameKind::Catch { rest, .. } => rest,
            _ => unreachable!("validated: a catch belongs to a try"),
        };
        if self.stack.reachable() {
            self.jump_to_label(0)?;
        }
        let height = self.stack.frame(0).height;
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
