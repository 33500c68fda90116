//! `copying`: a semispace collector (C. J. Cheney, "A Nonrecursive List Compacting
//! Algorithm", 1970). Allocation bumps an index inline (`bump.rs`); there are no
//! barriers, and what is not referred to costs nothing.
//!
//! Objects move at every allocation that collects. References that are alive there
//! are in their frame's stack map and are reloaded from it; heap addresses are
//! computed anew from references at each access.

use crate::GcCompiler;
use gc_types::collector::copying::NAME;

/// Emits code for the `copying` collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyingCompiler;

impl GcCompiler for CopyingCompiler {
    fn name(&self) -> &'static str {
        NAME
    }
}
