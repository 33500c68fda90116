//! `null`: bump allocation that never collects, emitted inline (`bump.rs`). There
//! are no barriers.

use crate::{GcCompiler, GcEmitter};
use cranelift_codegen::ir;
use gc_types::collector::null::NAME;

/// Emits code for the `null` collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullCompiler;

impl GcCompiler for NullCompiler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn has_plain_elements(&self, _: &mut GcEmitter<'_, '_>, _: ir::Value, _: ir::Block) -> bool {
        true
    }
}
