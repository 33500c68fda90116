//! Simplifications of functions before their safepoints are placed, which Cranelift does not make.
//!
//! Cranelift merges equal computations, but it does not know what a branch says of the values that
//! it tests. After inlining there is much of this: a callee tests its parameters, and its caller has
//! tested them before or has made the objects. So [`simplify`] makes four passes:
//!
//! 1. `thread`: blocks that only branch on a known outcome are skipped.
//! 2. `known`: tests whose outcome is known are removed. `facts` says what a test tells.
//! 3. `unused`: branches without a choice, and reads of headers for tests that are gone, are removed.
//! 4. `loads`: loads of what was loaded or stored before are removed.

pub(crate) mod facts;
mod known;
mod loads;
#[cfg(test)]
mod tests;
mod thread;
mod unused;

use crate::safepoints::References;
use cranelift_codegen::ir;

/// Simplifies `func`. Call it after inlining and before safepoints are placed.
pub fn simplify(func: &mut ir::Function, references: &mut References) {
    references.resolve_aliases(&func.dfg);
    func.dfg.resolve_all_aliases();
    let mut changed = thread::thread(func);
    changed |= known::remove_known_tests(func, references);
    if changed {
        unused::remove(func);
    }
    loads::remove_known_loads(func, references);
}
