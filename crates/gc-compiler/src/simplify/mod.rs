//! Simplifications of functions before their safepoints are placed, which Cranelift does not make.
//!
//! Cranelift merges equal computations, but it does not know what a branch says of the values that
//! it tests. After inlining there is much of this: a callee tests its parameters, and its caller has
//! tested them before or has made the objects. So [`simplify`] makes these passes:
//!
//! 1. `join`: blocks that always follow each other become one.
//! 2. `thread`: blocks that only branch on a known outcome are skipped.
//! 3. `known`: tests whose outcome is known are removed. `facts` says what a test tells.
//! 4. `unused`: branches without a choice, and reads of headers for tests that are gone, are removed. Then `join`
//!    again.
//! 5. `fold`: objects that are allocated in a row are tested against the limit once.
//! 6. `i31`: numbers that become `i31`s are computed with their tags.
//! 7. `hoist`: loads of the heap's base and of other words that stay the same are made before a loop.
//! 8. `loads`: loads of what was loaded or stored before are removed. `versions` says which stores a
//!    load can see.

pub(crate) mod facts;
mod fold;
mod hoist;
mod i31;
mod join;
mod known;
mod loads;
#[cfg(test)]
mod tests;
mod thread;
mod unused;
mod versions;

pub(crate) use i31::lowest_bit;

use crate::{AllocationSites, Annotations};
use cranelift_codegen::ir;

/// Simplifies `func`. Call it after inlining and before safepoints are placed.
///
/// ```
/// use cranelift_codegen::ir::{self, AbiParam, InstBuilder, condcodes::IntCC, types};
/// use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
/// use gc_compiler::Annotations;
/// use gc_compiler::safepoints::Known;
/// use gc_compiler::simplify::simplify;
///
/// // fn(reference) -> i32: 1 if it is null, otherwise 0.
/// let mut func = ir::Function::new();
/// func.signature.params.push(AbiParam::new(types::I64));
/// func.signature.returns.push(AbiParam::new(types::I32));
/// let mut context = FunctionBuilderContext::new();
/// let mut builder = FunctionBuilder::new(&mut func, &mut context);
/// let [entry, null, object] = [(); 3].map(|()| builder.create_block());
/// builder.append_block_params_for_function_params(entry);
/// builder.switch_to_block(entry);
/// let reference = builder.block_params(entry)[0];
/// let is_null = builder.ins().icmp_imm_s(IntCC::Equal, reference, 0);
/// builder.ins().brif(is_null, null, &[], object, &[]);
/// for (block, result) in [(null, 1), (object, 0)] {
///     builder.switch_to_block(block);
///     let result = builder.ins().iconst(types::I32, result);
///     builder.ins().return_(&[result]);
/// }
/// builder.seal_all_blocks();
///
/// let mut annotations = Annotations::default();
/// annotations.references.mark_known(reference, Known { non_null: true, ..Known::default() });
/// simplify(&mut func, &mut annotations);
/// assert!(!func.to_string().contains("brif"), "{func}");
/// ```
pub fn simplify(func: &mut ir::Function, annotations: &mut Annotations) {
    annotations.resolve_aliases(&func.dfg);
    func.dfg.resolve_all_aliases();
    join::join(func);
    let mut changed = thread::thread(func);
    changed |= known::remove_known_tests(func, &annotations.references);
    if changed {
        unused::remove(func);
        // Where a branch was, one block now follows the other. Cranelift merges a load with its use only in a block.
        join::join(func);
    }
    annotations.resolve_aliases(&func.dfg);
    func.dfg.resolve_all_aliases();
    if fold::fold(func, annotations) {
        unused::remove(func);
    }
    // Those that were folded have another form.
    annotations.allocations = AllocationSites::default();
    i31::compute_with_tags(func);
    loads::remove_known_loads(func, &mut annotations.references);
}
