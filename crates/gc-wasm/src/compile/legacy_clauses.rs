//! The clauses of each legacy `try` of a function. They come after the body of the `try`, but a call in
//! the body needs them. So when the first `try` of a function is found, all operators are read once,
//! and the clauses of each `try` are noted.

use std::collections::HashMap;
use wasmparser::{FunctionBody, Operator};

/// The clauses of a `try`.
#[derive(Clone, Debug, Default)]
pub(super) struct Clauses {
    /// The tags of its `catch` clauses, and `None` for its `catch_all`.
    pub(super) tags: Vec<Option<u32>>,
    /// The label of its `delegate`.
    pub(super) delegate: Option<u32>,
}

/// The clauses of each `try` of a function, by the offset of the `try`. The body is not validated
/// yet. If it is malformed, the rest of it is left out.
pub(super) fn clauses(body: &FunctionBody<'_>) -> HashMap<usize, Clauses> {
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
