//! Exceptions: allocation with a tag and a payload, and access to the payload.

use crate::address::Trust;
use crate::{GcEmitter, RefPlace, object, regions};
use cranelift_codegen::ir::{self, InstBuilder};
use gc_types::ExnLayout;

impl GcEmitter<'_, '_> {
    /// Allocates an exception with this payload. The reference is not null.
    ///
    /// `header_word` (`I32`) is the first word of the objects' headers. `tag` (`I64`) has the tag's
    /// instance in its lower half, and the tag's index in its upper half.
    ///
    /// # Panics
    /// Unless there is one value for each field.
    pub fn exn_new(
        &mut self,
        header_word: ir::Value,
        layout: &ExnLayout,
        tag: ir::Value,
        fields: &[ir::Value],
    ) -> ir::Value {
        assert_eq!(fields.len(), layout.fields.len(), "one value for each field");
        let object = self.alloc_struct(header_word, layout.size);
        let at = ExnLayout::TAG_INSTANCE_OFFSET;
        let access = self.object_access(object, at, 8, regions::STRUCT_FIELD, Trust::Fresh);
        self.builder.ins().store(access.flags, tag, access.address, access.offset);
        for (field, &value) in layout.fields.iter().zip(fields) {
            if !(self.zeroes_structs() && self.is_zero(value)) {
                self.init_field(object, field, value);
            }
        }
        object
    }

    /// Reads a field of the payload of an exception. Traps if the reference is null.
    pub fn exn_get(&mut self, exn: ir::Value, layout: &ExnLayout, field: usize) -> ir::Value {
        let field = &layout.fields[field];
        if field.ty.is_ref() {
            return self.read_ref(RefPlace::Field { object: exn, offset: field.offset });
        }
        let access = self.field_access(exn, field, Trust::MayBeNull);
        object::load(self, access, field.ty, None)
    }
}

const _: () = assert!(ExnLayout::TAG_INDEX_OFFSET == ExnLayout::TAG_INSTANCE_OFFSET + 4);
