//! `null`: bump allocation that never collects, emitted inline (`bump.rs`). There
//! are no barriers.

use super::bump;
use crate::address::Trust;
use crate::{GcCompiler, GcEmitter, RefPlace};
use cranelift_codegen::ir;
use gc_types::ArrayLayout;
use gc_types::collector::null::NAME;

/// Emits code for the `null` collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullCompiler;

impl GcCompiler for NullCompiler {
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
