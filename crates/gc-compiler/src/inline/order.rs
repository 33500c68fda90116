//! The order in which candidates are inlined into each other: callees first.

use super::{Candidate, InlineLimits, choose, inline_calls};
use anyhow::Result;
use cranelift_codegen::ir;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Inlines candidates into each other, callees first.
///
/// # Errors
/// As [`inline_calls`].
pub(super) fn inline_into_candidates(
    candidates: &mut BTreeMap<u32, Candidate>,
    limits: &InlineLimits,
) -> Result<()> {
    let calls = calls(candidates);
    let order = callees_first(&calls);
    let cycles = cycles(&calls, &order);
    let mut done: BTreeMap<u32, Candidate> = BTreeMap::new();
    for index in order {
        let Some(mut own) = candidates.remove(&index) else { continue };
        own.cycle = cycles.get(&index).copied();
        let Candidate { func, annotations, cycle, .. } = &mut own;
        let find = |callee| done.get(&callee);
        if !inline_calls(func, annotations, &find, limits, *cycle)?.is_empty() {
            own = Candidate { cycle: own.cycle, ..Candidate::new(own.func, own.annotations) };
        }
        done.insert(index, own);
    }
    *candidates = done;
    Ok(())
}

/// The candidates that each candidate calls, in the order of the calls.
type Calls = BTreeMap<u32, Vec<u32>>;

fn calls(candidates: &BTreeMap<u32, Candidate>) -> Calls {
    let callees = |func: &ir::Function| {
        let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
        let callees = insts.filter_map(|inst| choose::callee(func, inst));
        callees.filter(|callee| candidates.contains_key(callee)).collect()
    };
    candidates.iter().map(|(index, own)| (*index, callees(&own.func))).collect()
}

/// The indices of the candidates: each comes after those that it calls, except for calls that close a
/// cycle.
fn callees_first(calls: &Calls) -> Vec<u32> {
    let mut seen = HashSet::new();
    calls.keys().flat_map(|root| reachable(calls, *root, &mut seen)).collect()
}

/// What is reachable from `root` and was not seen before, in postorder.
fn reachable(edges: &Calls, root: u32, seen: &mut HashSet<u32>) -> Vec<u32> {
    let mut found = Vec::new();
    if !seen.insert(root) {
        return found;
    }
    // A depth-first search. The stack has the callees that are still to be visited of each function
    // on the path.
    let next = |index: u32| edges.get(&index).into_iter().flatten();
    let mut path = vec![(root, next(root))];
    while let Some((index, rest)) = path.last_mut() {
        match rest.next() {
            Some(callee) if seen.insert(*callee) => path.push((*callee, next(*callee))),
            Some(_) => {}
            None => {
                found.push(*index);
                path.pop();
            }
        }
    }
    found
}

/// The numbers of the cycles that functions are in: strongly connected components, by the algorithm of
/// Kosaraju and Sharir. `order` is the postorder of a depth-first search.
fn cycles(calls: &Calls, order: &[u32]) -> HashMap<u32, usize> {
    let mut callers = Calls::new();
    for (caller, callees) in calls {
        callees.iter().for_each(|callee| callers.entry(*callee).or_default().push(*caller));
    }
    let mut seen = HashSet::new();
    let components = order.iter().rev().map(|root| reachable(&callers, *root, &mut seen));
    let cycles = components.filter(|component| component.len() > 1).enumerate();
    cycles.flat_map(|(number, cycle)| cycle.into_iter().map(move |index| (index, number))).collect()
}
