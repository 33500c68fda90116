//! Heap addresses. Only this file converts a reference to an address.
//!
//! In *guarded* mode an address is `base + zext(ref) + constant`, or for an element `base +
//! zext(32-bit arithmetic) + constant`. The constant is smaller than the guard. So the address lies
//! inside the reservation, whatever the reference or index from the heap is. In *checked* mode the
//! reservation is as small as the heap, and the end of every access is compared with the bound. In
//! both modes an access to null faults by itself as long as it lies inside the null page.
//!
//! The address computations have the form that Cranelift folds best. Constants are in the access's
//! offset. The `iadd` of base and reference is repeated for every access, and Cranelift merges it
//! and folds it into the addressing mode. Element indices are scaled in 32 bits.

use crate::regions::{self, Region};
use crate::simplify::lowest_bit;
use crate::{GcEmitter, RefPlace, trap_code};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use gc_types::{HEAP_GUARD_SIZE, HeapDataOffsets, I31, NULL_PAGE_SIZE, Trap, VMGcHeader};

/// What is known about the object of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nothing is known: the reference may be null.
    MayBeNull,
    /// The reference is not null, but the heap may be corrupt.
    NotNull,
    /// The object was allocated since the last safepoint, so nothing is checked. For any other
    /// object this would let compiled code access memory outside the heap.
    Fresh,
}

/// The target of a load or store.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use cranelift_codegen::ir::{InstBuilder, types};
/// use gc_compiler::{Access, Trust, regions};
/// use gc_types::{StorageType, StructLayout, Trap};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layout = StructLayout::new([StorageType::F64])?;
/// # let function = emit(&CopyingCompiler, &[types::I64], |e, params| {
/// // `e` is a `GcEmitter`. A load of the only field of an object that may be null:
/// let (object, field) = (params[0], layout.fields[0]);
/// let Access { address, offset, flags } =
///     e.object_access(object, field.offset, 8, regions::STRUCT_FIELD, Trust::MayBeNull);
/// let value = e.builder.ins().load(types::F64, flags, address, offset);
/// # let next = e.builder.ins().fadd(value, value);
/// # e.builder.ins().store(flags, next, address, offset);
/// # })?;
/// // The load itself traps if the object is null.
/// assert!(function.traps().iter().any(|(_, trap)| *trap == Trap::NullReference));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// A native address (`I64`). It must not be used after a safepoint.
    pub address: ir::Value,
    /// Bytes from the address.
    pub offset: i32,
    /// Flags with the alias region and the trap code.
    pub flags: MemFlagsData,
}

impl GcEmitter<'_, '_> {
    /// An access to `size` bytes, `offset` bytes into `object`.
    pub fn object_access(
        &mut self,
        object: ir::Value,
        offset: u32,
        size: u32,
        region: Region,
        trust: Trust,
    ) -> Access {
        let end = u64::from(offset) + u64::from(size);
        let guarded = self.env.abi().guarded();
        if trust == Trust::MayBeNull && (!guarded || end > u64::from(NULL_PAGE_SIZE)) {
            self.builder.ins().trapz(object, trap_code(Trap::NullReference));
        }
        if trust != Trust::Fresh {
            if !guarded {
                let end = self.builder.ins().iadd_imm_u(object, end.cast_signed());
                self.check_bound(end);
            } else if end > HEAP_GUARD_SIZE {
                let end = self.builder.ins().iadd_imm_u(object, end.cast_signed());
                let outside =
                    self.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, end, 1i64 << 32);
                self.builder.ins().trapnz(outside, trap_code(Trap::CorruptHeap));
            }
        }
        let base = self.heap_base();
        let address = self.builder.ins().iadd(base, object);
        let aligned = size <= gc_types::OBJECT_ALIGN && offset.is_multiple_of(size);
        let flags = self.heap_flags(aligned, region, trust);
        match i32::try_from(offset) {
            Ok(offset) => Access { address, offset, flags },
            Err(_) => {
                let address = self.builder.ins().iadd_imm_u(address, i64::from(offset));
                Access { address, offset: 0, flags }
            }
        }
    }

    /// An access to the element of `size` bytes at `index` (`I32`) of `array`, whose
    /// element 0 is `offset` bytes in. `region` is that of its elements.
    ///
    /// # Panics
    /// If the offset is not far smaller than the guard.
    pub fn element_access(
        &mut self,
        array: ir::Value,
        index: ir::Value,
        offset: u32,
        size: u32,
        region: Region,
        trust: Trust,
    ) -> Access {
        assert!(u64::from(offset) + u64::from(size) <= HEAP_GUARD_SIZE && size.is_power_of_two());
        let shift = i64::from(size.trailing_zeros());
        if let Some(index) = self.constant(index) {
            // The address has the form of a field's if the guard is large enough.
            let offset = u64::from(offset) + (u64::from(index.cast_unsigned() as u32) << shift);
            if offset + u64::from(size) <= HEAP_GUARD_SIZE {
                return self.object_access(array, offset as u32, size, region, trust);
            }
        }
        let base = self.heap_base();
        let flags = self.heap_flags(size <= gc_types::OBJECT_ALIGN, region, trust);
        let address = if self.env.abi().guarded() || trust == Trust::Fresh {
            let array = self.builder.ins().ireduce(types::I32, array);
            let scaled = self.builder.ins().ishl_imm_u(index, shift);
            let element = self.builder.ins().iadd(array, scaled);
            let element = self.builder.ins().uextend(types::I64, element);
            self.builder.ins().iadd(base, element)
        } else {
            let index = self.builder.ins().uextend(types::I64, index);
            let scaled = self.builder.ins().ishl_imm_u(index, shift);
            let element = self.builder.ins().iadd(array, scaled);
            let end = self.builder.ins().iadd_imm_u(element, i64::from(offset + size));
            self.check_bound(end);
            self.builder.ins().iadd(base, element)
        };
        Access { address, offset: offset.cast_signed(), flags }
    }

    /// Traps if `end` (`I64`) is beyond the heap's bound.
    fn check_bound(&mut self, end: ir::Value) {
        let data = self.heap_data();
        let bound = self.load_native(types::I64, regions::HEAP_DATA, data, HeapDataOffsets::BOUND);
        let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThan, end, bound);
        self.builder.ins().trapnz(outside, trap_code(Trap::CorruptHeap));
    }

    /// Only accesses to fresh objects are marked as aligned, if they are `aligned`. A corrupt reference
    /// may be misaligned. Vectors are not aligned, because objects are aligned to only eight bytes.
    fn heap_flags(&mut self, aligned: bool, region: Region, trust: Trust) -> MemFlagsData {
        let region = regions::intern(self.builder.func, region);
        let flags = MemFlagsData::new().with_alias_region(Some(region));
        match trust {
            Trust::MayBeNull => flags.with_trap_code(Some(trap_code(Trap::NullReference))),
            Trust::NotNull => flags.with_trap_code(Some(trap_code(Trap::CorruptHeap))),
            Trust::Fresh if aligned => flags.with_notrap().with_aligned(),
            Trust::Fresh => flags.with_notrap(),
        }
    }

    /// An access to the reference at `place`. `trust` describes the object that contains it. The
    /// array of an element is always known not to be null.
    pub fn place_access(&mut self, place: RefPlace, trust: Trust) -> Access {
        match place {
            RefPlace::Field { object, offset } => {
                self.object_access(object, offset, 4, regions::STRUCT_REF_FIELD, trust)
            }
            RefPlace::Element { object, index, offset } => {
                let trust = if trust == Trust::MayBeNull { Trust::NotNull } else { trust };
                self.element_access(object, index, offset, 4, regions::ARRAY_REF_ELEMENT, trust)
            }
            RefPlace::Native { address, offset, region, .. } => {
                Access { address, offset, flags: self.native_flags(region) }
            }
        }
    }

    /// Loads a reference, without any barrier.
    pub fn load_ref(&mut self, place: RefPlace) -> ir::Value {
        let access = self.place_access(place, Trust::MayBeNull);
        self.load_ref_at(access)
    }

    /// Loads the reference at `access`.
    pub fn load_ref_at(&mut self, access: Access) -> ir::Value {
        let Access { address, offset, flags } = access;
        self.builder.ins().uload32(flags, address, offset)
    }

    /// Stores a reference, without any barrier.
    pub fn store_ref(&mut self, place: RefPlace, value: ir::Value, trust: Trust) {
        let access = self.place_access(place, trust);
        self.store_ref_at(access, value);
    }

    /// Stores a reference at `access`. An access contains an address, so it must not be used after
    /// a safepoint.
    pub fn store_ref_at(&mut self, access: Access, value: ir::Value) {
        let Access { address, offset, flags } = access;
        if self.is_zero(value) {
            // A narrowing store of a constant would take a register.
            let zero = self.builder.ins().iconst(types::I32, 0);
            self.builder.ins().store(flags, zero, address, offset);
        } else {
            self.builder.ins().istore32(flags, value, address, offset);
        }
    }

    /// An access to a word of the header of an object that is not null.
    pub fn header_access(&mut self, object: ir::Value, word_offset: u32) -> Access {
        self.object_access(object, word_offset, 4, regions::HEADER, Trust::NotNull)
    }

    /// Word 0 of the header of an object that is not null (`I32`).
    pub(crate) fn load_header_word(&mut self, object: ir::Value) -> ir::Value {
        let access = self.header_access(object, VMGcHeader::WORD_OFFSET);
        self.builder.ins().load(types::I32, access.flags, access.address, access.offset)
    }

    /// The value of an integer constant.
    pub fn constant(&self, value: ir::Value) -> Option<i64> {
        match self.definition(value)? {
            ir::InstructionData::UnaryImm { opcode: ir::Opcode::Iconst, imm } => Some(imm.bits()),
            _ => None,
        }
    }

    /// Whether `value` is a constant all of whose bits are zero.
    pub fn is_zero(&self, value: ir::Value) -> bool {
        match self.definition(value) {
            Some(ir::InstructionData::UnaryImm { opcode: ir::Opcode::Iconst, imm }) => {
                imm.bits() == 0
            }
            Some(ir::InstructionData::UnaryIeee32 { imm, .. }) => imm.bits() == 0,
            Some(ir::InstructionData::UnaryIeee64 { imm, .. }) => imm.bits() == 0,
            Some(ir::InstructionData::UnaryConst {
                opcode: ir::Opcode::Vconst,
                constant_handle,
            }) => self.builder.func.dfg.constants.get(constant_handle).iter().all(|b| *b == 0),
            _ => false,
        }
    }

    /// Whether the reference `value` is null or an `i31`, whatever the program does. No barrier needs
    /// to know that it is stored.
    pub fn is_unboxed(&self, value: ir::Value) -> bool {
        match self.definition(value) {
            Some(ir::InstructionData::UnaryImm { opcode: ir::Opcode::Iconst, imm }) => {
                imm.bits() == 0 || imm.bits() & i64::from(I31::TAG) != 0
            }
            // The word of an `i31` has its tag.
            Some(ir::InstructionData::Unary { opcode: ir::Opcode::Uextend, arg }) => {
                lowest_bit(&self.builder.func.dfg, arg) == Some(true)
            }
            _ => false,
        }
    }

    fn definition(&self, value: ir::Value) -> Option<ir::InstructionData> {
        let dfg = &self.builder.func.dfg;
        let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
        Some(dfg.insts[inst])
    }
}
