//! Arrays: allocation with initialisation, and checked access to elements.

use crate::address::{Access, Trust};
use crate::array_range::{end_fill, fill_in_host};
use crate::object::{self, Extend};
use crate::{GcEmitter, RefPlace, regions, trap_code};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_types::{ArrayLayout, Trap};

/// The initial elements of a new array. Lengths are `I32`, unsigned.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use cranelift_codegen::ir::{InstBuilder, types};
/// use gc_compiler::ArrayInit;
/// use gc_types::{ArrayLayout, StorageType, TypeIndex, VMGcKind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layout = ArrayLayout::new(StorageType::Ref);
/// let word = TypeIndex::new(0).unwrap().header_word(VMGcKind::ArrayRef);
/// # let function = emit(&CopyingCompiler, &[types::I64], |e, params| {
/// // `e` is a `GcEmitter`.
/// let reference = params[0];
/// let word = e.builder.ins().iconst(types::I32, i64::from(word));
/// let three = e.builder.ins().iconst(types::I32, 3);
/// let nulls = e.array_new(word, &layout, ArrayInit::Default(three));
/// let equal = e.array_new(word, &layout, ArrayInit::Fill(reference, three));
/// let different = e.array_new(word, &layout, ArrayInit::Elements(&[nulls, equal]));
/// # })?;
/// // Each allocation may collect. At each of them a reference is live.
/// assert_eq!(function.stack_maps().count(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub enum ArrayInit<'a> {
    /// This number of elements, all zero or null.
    Default(ir::Value),
    /// The value of all elements, and their number.
    Fill(ir::Value, ir::Value),
    /// These elements.
    Elements(&'a [ir::Value]),
    /// Elements that are not references, as bytes in the order of a little-endian machine. The number
    /// of bytes is a multiple of the element's size.
    Bytes(&'a [u8]),
}

impl GcEmitter<'_, '_> {
    /// A new array. If the length exceeds all limits, the host reports the error.
    pub fn array_new(
        &mut self,
        header_word: ir::Value,
        layout: &ArrayLayout,
        init: ArrayInit<'_>,
    ) -> ir::Value {
        let mut meter = std::mem::take(&mut self.elements);
        meter.commit(self);
        match init {
            ArrayInit::Default(length) => {
                let array = self.alloc_array(header_word, layout, length);
                meter.consume_done(self, layout, length);
                array
            }
            ArrayInit::Fill(value, length) => {
                let array = self.alloc_array(header_word, layout, length);
                if self.is_zero(value) {
                    meter.consume_done(self, layout, length);
                } else {
                    let zero = self.builder.ins().iconst(types::I32, 0);
                    let fill = (length, true);
                    let done = fill_in_host(self, &mut meter, array, layout, zero, value, fill);
                    let not_empty = self.builder.ins().icmp_imm_u(IntCC::NotEqual, length, 0);
                    for_each_index(self, not_empty, zero, length, |e, index| {
                        e.init_element(array, layout, index, value);
                    });
                    end_fill(self, done);
                }
                array
            }
            ArrayInit::Elements(values) => {
                let length = u32::try_from(values.len()).unwrap_or(u32::MAX);
                let length = self.builder.ins().iconst(types::I32, i64::from(length));
                let array = self.alloc_array(header_word, layout, length);
                let is_small = layout
                    .size(u32::try_from(values.len()).unwrap_or(u32::MAX))
                    .is_some_and(|size| size <= ArrayLayout::MAX_EXAMINED);
                for (index, &value) in values.iter().enumerate() {
                    if self.is_zero(value) {
                        continue;
                    }
                    let index = self.builder.ins().iconst(types::I32, index as i64);
                    if is_small || !layout.element.is_ref() {
                        self.init_element(array, layout, index, value);
                    } else {
                        self.write_ref(place(array, layout, index), value);
                    }
                }
                array
            }
            ArrayInit::Bytes(bytes) => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX) / layout.element.size();
                let length = self.builder.ins().iconst(types::I32, i64::from(length));
                let array = self.alloc_array(header_word, layout, length);
                self.init_bytes(array, layout, bytes);
                meter.consume(self, length);
                array
            }
        }
    }

    /// Stores the bytes of all elements of a new array, whose elements are zero. The stores are as
    /// wide as the bytes allow, and the last one may overlap the one before.
    fn init_bytes(&mut self, array: ir::Value, layout: &ArrayLayout, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let left = bytes.len() - done;
            let (at, size) = match left {
                8.. => (done, 8),
                _ if bytes.len() >= 8 => (bytes.len() - 8, 8),
                4.. => (done, 4),
                2.. => (done, 2),
                _ => (done, 1),
            };
            let mut word = [0; 8];
            word[..size].copy_from_slice(&bytes[at..at + size]);
            let word = i64::from_le_bytes(word);
            if word != 0 {
                self.init_word(array, layout.elements_offset() + at as u32, size as u32, word);
            }
            done = at + size;
        }
    }

    /// Stores the lower `size` bytes of a constant, `offset` bytes into a new array.
    fn init_word(&mut self, array: ir::Value, offset: u32, size: u32, word: i64) {
        let Access { address, offset, flags } =
            self.object_access(array, offset, size, regions::ARRAY_ELEMENT, Trust::Fresh);
        let ty = if size == 8 { types::I64 } else { types::I32 };
        let word = self.builder.ins().iconst(ty, word);
        match size {
            1 => self.builder.ins().istore8(flags, word, address, offset),
            2 => self.builder.ins().istore16(flags, word, address, offset),
            _ => self.builder.ins().store(flags, word, address, offset),
        };
    }

    fn init_element(
        &mut self,
        array: ir::Value,
        layout: &ArrayLayout,
        index: ir::Value,
        value: ir::Value,
    ) {
        if layout.element.is_ref() {
            self.init_ref(place(array, layout, index), value);
        } else {
            let access = element_access(self, array, layout, index, Trust::Fresh);
            object::store(self, access, layout.element, value);
        }
    }

    /// An array's length in elements (`I32`). Traps if `array` is null.
    pub fn array_len(&mut self, array: ir::Value) -> ir::Value {
        let Access { address, offset, flags } = self.object_access(
            array,
            ArrayLayout::LENGTH_OFFSET,
            4,
            regions::ARRAY_LENGTH,
            Trust::MayBeNull,
        );
        self.builder.ins().load(types::I32, flags, address, offset)
    }

    /// Reads the element at `index` (`I32`, unsigned). Traps if `array` is null or the index is not
    /// below its length. `extend` says how a packed element is extended (`None`: with zeros).
    pub fn array_get(
        &mut self,
        array: ir::Value,
        layout: &ArrayLayout,
        index: ir::Value,
        extend: Option<Extend>,
    ) -> ir::Value {
        self.check_index(array, index);
        if layout.element.is_ref() {
            return self.read_ref(place(array, layout, index));
        }
        let access = element_access(self, array, layout, index, Trust::NotNull);
        object::load(self, access, layout.element, extend)
    }

    /// Overwrites the element at `index` (`I32`, unsigned). Traps if `array` is null or the index
    /// is not below its length.
    pub fn array_set(
        &mut self,
        array: ir::Value,
        layout: &ArrayLayout,
        index: ir::Value,
        value: ir::Value,
    ) {
        self.check_index(array, index);
        if layout.element.is_ref() {
            return self.write_ref(place(array, layout, index), value);
        }
        let access = element_access(self, array, layout, index, Trust::NotNull);
        object::store(self, access, layout.element, value);
    }

    /// Traps unless `index` is below the array's length. The order of the operands lets the load
    /// of the length fuse with the comparison.
    fn check_index(&mut self, array: ir::Value, index: ir::Value) {
        let length = self.array_len(array);
        let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
        self.builder.ins().trapnz(outside, trap_code(Trap::ArrayOutOfBounds));
    }
}

fn place(array: ir::Value, layout: &ArrayLayout, index: ir::Value) -> RefPlace {
    RefPlace::Element { object: array, index, offset: layout.elements_offset() }
}

pub(crate) fn element_access(
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    trust: Trust,
) -> Access {
    let (offset, size) = (layout.elements_offset(), layout.element.size());
    e.element_access(array, index, offset, size, regions::ARRAY_ELEMENT, trust)
}

/// Emits a loop over the `I32` indices from `start` (inclusive) to `end` (exclusive), which is
/// entered if `not_empty`. The body must not contain a safepoint if it uses a fresh object.
pub(crate) fn for_each_index(
    e: &mut GcEmitter<'_, '_>,
    not_empty: ir::Value,
    start: ir::Value,
    end: ir::Value,
    body: impl FnOnce(&mut GcEmitter<'_, '_>, ir::Value),
) {
    let header = e.builder.create_block();
    let done = e.builder.create_block();
    let index = e.builder.append_block_param(header, types::I32);
    e.builder.ins().brif(not_empty, header, &[start.into()], done, &[]);
    e.builder.switch_to_block(header);
    body(e, index);
    let next = e.builder.ins().iadd_imm_u(index, 1);
    let more = e.builder.ins().icmp(IntCC::NotEqual, next, end);
    e.builder.ins().brif(more, header, &[next.into()], done, &[]);
    e.builder.seal_block(header);
    e.continue_in(done);
}
