//! [`GcCompiler`]: what a collector emits.

use crate::check::BarrierLaw;
use crate::collector::bump;
use crate::{GcEmitter, Trust, regions::Region};
use cranelift_codegen::ir;
use gc_types::{ArrayLayout, CollectorAbi, RootKind};

/// A slot that holds a reference, outside an object or inside one.
#[derive(Clone, Copy, Debug)]
pub enum RefPlace {
    /// A field of a struct or exception.
    Field {
        /// The object (a reference; an access at null traps).
        object: ir::Value,
        /// Bytes from the object's start.
        offset: u32,
    },
    /// An element of an array.
    Element {
        /// The array (a reference, known not null).
        object: ir::Value,
        /// The element's index (`I32`), already compared with the length.
        index: ir::Value,
        /// Bytes from the array's start to element 0.
        offset: u32,
    },
    /// Native memory that is valid and aligned: a table's element, a global.
    Native {
        /// An address (`I64`).
        address: ir::Value,
        /// Bytes from the address.
        offset: i32,
        /// The memory's alias region.
        region: Region,
        /// The kind of root that the slot is registered as with the heap.
        kind: RootKind,
    },
}

/// Emits one collector's code. Object safe; one value is used for many functions
/// at once.
///
/// It has only what a collector decides. The operations that an embedder emits, such as
/// [`struct_new`](GcEmitter::struct_new) and [`array_get`](GcEmitter::array_get), are methods of
/// [`GcEmitter`], which are the same for every collector and call this trait.
///
/// # Values
/// References are `I64`, upper half zero. Function references *in storage* are
/// `I32` ids, which the embedder converts ([`GcEmitter::func_ref_to_id`],
/// [`GcEmitter::func_ref_from_id`]). `I8` and `I16` storage takes and gives `I32`,
/// `V128` storage `I8X16`, all other storage its own type. Every reference that is
/// returned has been declared to need a stack map; every reference that is
/// passed in must have been, constants excepted.
///
/// # The duties of an implementation
/// 1. Only allocation collects: no other method emits a call that may.
/// 2. Between a method's loads and stores of one object there is no safepoint,
///    and no address is kept over one.
/// 3. An object [`alloc_struct`](GcCompiler::alloc_struct) or
///    [`alloc_array`](GcCompiler::alloc_array) returned can be accessed without a
///    fault until the next safepoint.
/// 4. No heap load is both `readonly` and `can_move`: such a load sinks below
///    calls and then reads through a reference that has moved.
///
/// The smallest implementation is a name: all else is provided as a collector needs it
/// whose heaps allocate between two indices, or in the host alone, and that needs no
/// barrier. [`NullCompiler`](crate::collector::null::NullCompiler) and
/// [`CopyingCompiler`](crate::collector::copying::CopyingCompiler) are that.
pub trait GcCompiler: Send + Sync {
    /// The collector's name: the same as that of its `GcRuntime`.
    fn name(&self) -> &'static str;

    /// What its emitted code and its heaps must agree on. Both halves give the same. To be
    /// given if the collector has options or constants of its own that both know: as
    /// provided it is the name alone.
    fn abi(&self) -> CollectorAbi {
        CollectorAbi::new(self.name())
    }

    // ---- provided: what a collector without barriers needs ----

    /// What must go with every store of a reference, for the
    /// [checkers](crate::check) to find where it does not. To be given if
    /// [`write_ref`](GcCompiler::write_ref) is. As provided there is nothing.
    fn barrier_laws(&self) -> &'static [BarrierLaw] {
        &[]
    }

    /// Whether the body of a newly allocated struct is zero, as that of all is that the
    /// provided [`alloc_struct`](GcCompiler::alloc_struct) allocates. If so initialising
    /// stores of zero are left out.
    fn zeroes_structs(&self) -> bool {
        true
    }

    /// Allocates a struct or exception of `size` bytes (header included) with
    /// `header_word` (`I32`). The caller initialises every field of the body
    /// before anything can collect.
    ///
    /// As provided it [bumps an index](bump) inline if the heap gave it room to, else
    /// calls the host.
    fn alloc_struct(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        size: u32,
    ) -> ir::Value {
        bump::alloc_struct(e, header_word, size)
    }

    /// Allocates an array of `length` (`I32`, unsigned) elements with `header_word`
    /// (`I32`). Its length is set and its elements are zero. A length that no heap
    /// allows ends in the host's error. As provided it does as
    /// [`alloc_struct`](GcCompiler::alloc_struct).
    fn alloc_array(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        layout: &ArrayLayout,
        length: ir::Value,
    ) -> ir::Value {
        bump::alloc_array(e, header_word, layout, length)
    }

    /// Reads a reference, with the read barrier. As provided there is none.
    fn read_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace) -> ir::Value {
        let value = e.load_ref(place);
        e.declare_ref(value)
    }

    /// Overwrites a reference, with the write barrier. As provided there is none.
    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        e.store_ref(place, value, Trust::MayBeNull);
    }

    /// First store of a reference into a place whose old bytes are no reference. A
    /// place in an object must be in one that was allocated since the last
    /// safepoint. As provided it has no barrier.
    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        e.store_ref(place, value, Trust::Fresh);
    }
}
