//! `copying`: a semispace collector (C. J. Cheney, "A Nonrecursive List Compacting
//! Algorithm", 1970). Allocation bumps an index inline (`bump.rs`); there are no
//! barriers, and what is not referred to costs nothing.
//!
//! Objects move at every allocation that collects. References that are alive there
//! are in their frame's stack map and are reloaded from it; heap addresses are
//! computed anew from references at each access.

use super::bump;
use crate::address::Trust;
use crate::{GcCompiler, GcEmitter, RefPlace};
use cranelift_codegen::ir;
use gc_types::ArrayLayout;
use gc_types::collector::copying::NAME;

/// Emits code for the `copying` collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyingCompiler;

impl GcCompiler for CopyingCompiler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn zeroes_structs(&self) -> bool {
        true
    }

    fn alloc_struct(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        size: u32,
    ) -> ir::Value {
        bump::alloc_struct(e, header_word, size)
    }

    fn alloc_array(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        layout: &ArrayLayout,
        length: ir::Value,
    ) -> ir::Value {
        bump::alloc_array(e, header_word, layout, length)
    }

    fn read_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace) -> ir::Value {
        let value = e.load_ref(place);
        e.declare_ref(value)
    }

    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        e.store_ref(place, value, Trust::MayBeNull);
    }

    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        e.store_ref(place, value, Trust::Fresh);
    }
}
