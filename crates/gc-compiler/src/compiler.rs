//! [`GcCompiler`]: the code that a collector emits.

use crate::check::BarrierLaw;
use crate::collector::bump;
use crate::{GcEmitter, Trust, regions::Region};
use cranelift_codegen::ir;
use gc_types::{ArrayLayout, CollectorAbi, RootKind, forward};

/// A slot that holds a reference, inside an object or outside.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use cranelift_codegen::ir::types;
/// # use gc_compiler::collector::drc::DrcCompiler;
/// use gc_compiler::RefPlace;
/// use gc_types::{StorageType, StructLayout};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layout = StructLayout::new([StorageType::Ref; 2])?;
/// # emit(&DrcCompiler, &[types::I64], |e, params| {
/// // `e` is a `GcEmitter`. The first field is copied to the second one.
/// let object = params[0];
/// let [from, to] = [0, 1].map(|i| RefPlace::Field { object, offset: layout.fields[i].offset });
/// let reference = e.read_ref(from);
/// e.write_ref(to, reference);
/// # })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub enum RefPlace {
    /// A field of a struct or exception.
    Field {
        /// The object (a reference). An access to null traps.
        object: ir::Value,
        /// The offset in bytes from the object's start.
        offset: u32,
    },
    /// An element of an array.
    Element {
        /// The array (a reference that is not null).
        object: ir::Value,
        /// The element's index (`I32`), which has been compared with the length.
        index: ir::Value,
        /// The offset in bytes from the array's start to element 0.
        offset: u32,
    },
    /// Native memory that is valid and aligned: an element of a table, or a global.
    Native {
        /// An address (`I64`).
        address: ir::Value,
        /// Bytes from the address.
        offset: i32,
        /// The memory's alias region.
        region: Region,
        /// The kind of root as which the slot is registered with the heap.
        kind: RootKind,
    },
}

/// Emits the code of one collector. The trait is dyn-compatible. One value is used for many
/// functions at the same time.
///
/// The trait has only the operations that depend on the collector. An embedder emits operations
/// such as [`struct_new`](GcEmitter::struct_new) and [`array_get`](GcEmitter::array_get) with the
/// methods of [`GcEmitter`]. They are the same for every collector and call this trait.
///
/// # Values
/// References are `I64` values whose upper half is zero. Function references *in storage* are `I32`
/// ids, which the embedder converts ([`GcEmitter::func_ref_to_id`],
/// [`GcEmitter::func_ref_from_id`]). The values of `I8` and `I16` storage are `I32`, those of
/// `V128` storage are `I8X16`, and those of all other storage have its type. The methods declare
/// that the references they return need a stack map. References that are passed in must have been
/// declared so, except constants.
///
/// # The duties of an implementation
/// 1. Only allocation may collect. No other method emits a call that may collect.
/// 2. There is no safepoint between a method's accesses to one object, and no address is kept
///    across a safepoint.
/// 3. An object that [`alloc_struct`](GcCompiler::alloc_struct) or
///    [`alloc_array`](GcCompiler::alloc_array) has returned can be accessed without a fault until
///    the next safepoint.
/// 4. No heap load is `readonly` or `can_move`. Cranelift may move a load with both flags below a
///    call, where it would read through a reference to a moved object.
///
/// The smallest implementation is a name. The provided methods are for a collector without barriers
/// whose heap allocates by bumping an index, or only in the host.
/// [`NullCompiler`](crate::collector::null::NullCompiler) and
/// [`CopyingCompiler`](crate::collector::copying::CopyingCompiler) are such implementations.
///
/// # Examples
/// A collector whose heap wants to know each reference that is stored:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use gc_types::{StorageType, StructLayout};
/// use cranelift_codegen::ir::{self, InstBuilder, types};
/// use gc_compiler::{GcCompiler, GcEmitter, RefPlace, Trust};
/// use gc_types::HostCall;
///
/// struct Telling;
///
/// impl GcCompiler for Telling {
///     fn name(&self) -> &'static str {
///         "telling"
///     }
///
///     fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
///         let operation = e.builder.ins().iconst(types::I32, 0);
///         let operand = e.builder.ins().iconst(types::I64, 0);
///         e.call_host(HostCall::COLLECTOR, &[operation, value, operand]);
///         e.store_ref(place, value, Trust::MayBeNull);
///     }
/// }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let layout = StructLayout::new([StorageType::Ref])?;
/// # emit(&Telling, &[types::I64, types::I64], |e, params| {
/// #     e.struct_set(params[0], &layout, 0, params[1]);
/// # })?;
/// # Ok(())
/// # }
/// ```
pub trait GcCompiler: Send + Sync {
    /// The collector's name. It is the same as that of its `GcRuntime`.
    fn name(&self) -> &'static str;

    /// The compiler that this one wraps, to change some of what it emits. Then each provided method calls
    /// that of the wrapped compiler. `None` by default.
    fn wrapped(&self) -> Option<&dyn GcCompiler> {
        None
    }

    /// The facts on which the collector's emitted code and its heaps must agree. Both halves must
    /// return the same. Implement it if the collector has options or constants of its own. The
    /// provided method returns only the name.
    fn abi(&self) -> CollectorAbi {
        // Not forwarded: it has the wrapper's own name.
        CollectorAbi::wrapping(self.name(), self.wrapped().map(GcCompiler::abi))
    }

    // ---- provided: what a collector without barriers needs ----

    /// The rules that every store of a reference must obey. The [checkers](crate::check) find
    /// stores that break them. Implement it together with [`write_ref`](GcCompiler::write_ref). The
    /// provided method has no rules.
    fn barrier_laws(&self) -> &'static [BarrierLaw] {
        forward!(self.wrapped(), barrier_laws());
        &[]
    }

    /// Whether the body of a newly allocated struct is zero. If so, initializing stores of zero are
    /// omitted. The provided [`alloc_struct`](GcCompiler::alloc_struct) allocates zeroed structs.
    fn zeroes_structs(&self) -> bool {
        forward!(self.wrapped(), zeroes_structs());
        true
    }

    /// Allocates a struct or exception of `size` bytes, including the header, with `header_word`
    /// (`I32`). The caller initializes all fields of the body before anything can collect.
    ///
    /// The provided method [bumps an index](bump) inline if the heap provides space for it, and
    /// otherwise calls the host.
    fn alloc_struct(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        size: u32,
    ) -> ir::Value {
        forward!(self.wrapped(), alloc_struct(e, header_word, size));
        bump::alloc_struct(e, header_word, size)
    }

    /// Allocates an array of `length` (`I32`, unsigned) elements with `header_word` (`I32`). Its
    /// length is set and its elements are zero. If the length exceeds all limits, the host reports
    /// the error. The provided method works like [`alloc_struct`](GcCompiler::alloc_struct).
    fn alloc_array(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        layout: &ArrayLayout,
        length: ir::Value,
    ) -> ir::Value {
        forward!(self.wrapped(), alloc_array(e, header_word, layout, length));
        bump::alloc_array(e, header_word, layout, length)
    }

    /// Reads a reference, with the read barrier. The provided method has none.
    fn read_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace) -> ir::Value {
        forward!(self.wrapped(), read_ref(e, place));
        let value = e.load_ref(place);
        e.declare_ref(value)
    }

    /// Overwrites a reference, with the write barrier. The provided method has none.
    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        forward!(self.wrapped(), write_ref(e, place, value));
        e.store_ref(place, value, Trust::MayBeNull);
    }

    /// Emits a test whether the elements of `array` may be overwritten without a barrier until the
    /// next safepoint. Emission continues where they may. Where they may not, the code jumps to
    /// `otherwise`. For null it may do either. Returns `false`, and emits nothing, if the elements of
    /// no array may be. Where they may, short ranges of references are copied and filled inline.
    ///
    /// The provided method returns `false`, so that a collector that has a barrier and does not
    /// implement this method is right. A collector without a barrier returns `true`.
    fn has_plain_elements(
        &self,
        e: &mut GcEmitter<'_, '_>,
        array: ir::Value,
        otherwise: ir::Block,
    ) -> bool {
        forward!(self.wrapped(), has_plain_elements(e, array, otherwise));
        false
    }

    /// Stores the first reference in a place whose old bytes are not a reference. If the place is
    /// in an object, the object must have been allocated since the last safepoint. If it is an element
    /// whose index is a constant, the array has at most [`ArrayLayout::MAX_EXAMINED`] bytes. The provided
    /// method has no barrier.
    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        forward!(self.wrapped(), init_ref(e, place, value));
        e.store_ref(place, value, Trust::Fresh);
    }
}
