//! The order in which candidates are inlined into each other: callees first.

use super::{Candidate, InlineLimits, choose, inline_calls};
use anyhow::Result;
use std::collections::BTreeMap;

/// Inlines candidates into each other, callees first. Calls `inlined` with the index of each that
/// changed and the functions that [`inline_calls`] returned for it.
///
/// # Errors
/// As [`inline_calls`]. The error has the index of the function as context.
pub fn inline_into_candidates(
    candidates: &mut BTreeMap<u32, Candidate>,
    limits: &InlineLimits,
    mut inlined: impl FnMut(u32, &[u32]),
) -> Result<()> {
    let order = callees_first(candidates);
    let mut done: BTreeMap<u32, Candidate> = BTreeMap::new();
    for index in order {
        let Some(mut own) = candidates.remove(&index) else { continue };
        let Candidate { func, annotations, .. } = &mut own;
        let functions = inline_calls(func, annotations, &|callee| done.get(&callee), limits)?;
        if !functions.is_empty() {
            inlined(index, &functions);
            own = Candidate::new(own.func, own.annotations);
        }
        done.insert(index, own);
    }
    *candidates = done;
    Ok(())
}

/// The indices of the candidates: each comes after those that it calls, except for calls that close a
/// cycle.
fn callees_first(candidates: &BTreeMap<u32, Candidate>) -> Vec<u32> {
    let callees = |index: u32| {
        let func = &candidates[&index].func;
        let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
        let mut callees: Vec<u32> = insts
            .filter_map(|inst| choose::callee(func, inst))
            .filter(|callee| candidates.contains_key(callee))
            .collect();
        callees.reverse();
        callees
    };
    let mut order = Vec::with_capacity(candidates.len());
    let mut seen = std::collections::HashSet::new();
    // A depth-first search. The stack has the callees that are still to be visited of each function
    // on the path.
    for &root in candidates.keys() {
        if !seen.insert(root) {
            continue;
        }
        let mut path = vec![(root, callees(root))];
        while let Some((index, rest)) = path.last_mut() {
            match rest.pop() {
                Some(callee) if seen.insert(callee) => path.push((callee, callees(callee))),
                Some(_) => {}
                None => {
                    order.push(*index);
                    path.pop();
                }
            }
        }
    }
    order
}
