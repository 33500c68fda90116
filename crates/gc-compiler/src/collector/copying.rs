//! `copying`: a semispace collector (C. J. Cheney, "A Nonrecursive List Compacting Algorithm",
//! 1970). Allocation bumps an index inline (`bump.rs`). There are no barriers, and dead objects
//! cost nothing.
//!
//! Objects move at every allocation that collects. The frame's stack map has the references that
//! are live there, and compiled code reloads them afterwards. It computes heap addresses from
//! references again at each access.

use crate::{GcCompiler, GcEmitter};
use cranelift_codegen::ir;
use gc_types::collector::copying::NAME;

/// Emits code for the `copying` collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyingCompiler;

impl GcCompiler for CopyingCompiler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn has_plain_elements(&self, _: &mut GcEmitter<'_, '_>, _: ir::Value, _: ir::Block) -> bool {
        true
    }
}
