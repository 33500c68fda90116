//! What programs find around them when they run: types, a table and a global of references, a
//! function, and words in the vmctx. Whoever runs a program makes all of it.

use cranelift_codegen::ir::{self, types};
use cranelift_codegen::isa::CallConv;
use gc_compiler::GcCompiler;
use gc_compiler::regions::{self, Region};
use gc_types::collector::nursery::NURSERY;
use gc_types::{
    Abi, ArrayLayout, FieldLayout, GcLayout, HeapBounds, HostCall, HostSignature, StorageType,
    StructLayout, TypeIndex, VMOffsets,
};

/// The table of references.
pub(super) const TABLE: Region = regions::EMBEDDER;
/// The global that is a reference.
pub(super) const GLOBAL: Region = regions::EMBEDDER + 1;
/// The addresses of the table and of the function reference.
pub(super) const NATIVE: Region = regions::EMBEDDER + 2;
/// The words of the vmctx that programs write.
pub(super) const WORDS: Region = regions::EMBEDDER + 3;

/// The number of the program among the functions of its image. It calls itself.
pub const PROGRAM: u32 = 0;

/// The offset in the vmctx of the address of the table, which has [`TABLE_LENGTH`] 32-bit elements.
pub const TABLE_BASE: u32 = 64;
/// The number of elements of the table.
pub const TABLE_LENGTH: u32 = 12;
/// The offset in the vmctx of the address of a function reference to the program, whose type is
/// [`FUNC`].
pub const FUNC_REF: u32 = 72;
/// The offset in the vmctx of the number of blocks that may still begin, 32 bits. Then the program
/// traps with [`OutOfFuel`](gc_types::Trap::OutOfFuel).
pub const FUEL: u32 = 80;
/// The offset in the vmctx of a 64-bit word into which the program mixes its integers.
pub const OBSERVED: u32 = 88;
/// The offset in the vmctx of the global, 32 bits.
pub const GLOBAL_OFFSET: i32 = 128;
/// Bytes of the vmctx.
pub const VMCTX_SIZE: u32 = 144;

/// A type of structs, and a supertype of [`NODE`].
pub const BASE: TypeIndex = index(2);
/// A type of structs.
pub const NODE: TypeIndex = index(3);
/// The arrays of references.
pub const REFS_TYPE: TypeIndex = index(4);
/// The arrays of bytes.
pub const BYTES_TYPE: TypeIndex = index(5);
/// The supertype of the program's type.
pub const FUNC_BASE: TypeIndex = index(9);
/// The type of the program as a function.
pub const FUNC: TypeIndex = index(10);

/// The ancestors of each type, the root first.
pub const ANCESTORS: &[(TypeIndex, &[TypeIndex])] = &[
    (BASE, &[index(1)]),
    (NODE, &[index(1), BASE]),
    (REFS_TYPE, &[]),
    (BYTES_TYPE, &[]),
    (FUNC_BASE, &[index(8)]),
    (FUNC, &[index(8), FUNC_BASE]),
];

const fn index(number: u32) -> TypeIndex {
    TypeIndex::new(number).unwrap()
}

pub(super) const REF_ARRAY: ArrayLayout = ArrayLayout::new(StorageType::Ref);
pub(super) const BYTE_ARRAY: ArrayLayout = ArrayLayout::new(StorageType::I8);

pub(super) fn layout() -> StructLayout {
    use StorageType::{FuncRef, I64, Ref};
    StructLayout::new([Ref, Ref, I64, FuncRef]).expect("a small struct")
}

/// The types of objects, with their layouts.
pub fn layouts() -> [(TypeIndex, GcLayout); 4] {
    [
        (BASE, GcLayout::Struct(layout())),
        (NODE, GcLayout::Struct(layout())),
        (REFS_TYPE, GcLayout::Array(REF_ARRAY)),
        (BYTES_TYPE, GcLayout::Array(BYTE_ARRAY)),
    ]
}

/// The third field of [`NODE`].
pub fn value_field() -> FieldLayout {
    layout().fields[2]
}

/// The offset of an element in an array of references, in bytes.
pub fn element_offset(index: u32) -> u64 {
    REF_ARRAY.element_offset(index)
}

/// The words of the type display table that are not zero: numbers of words, and their values.
pub fn displays() -> impl Iterator<Item = (usize, u32)> {
    ANCESTORS.iter().flat_map(|(ty, up)| {
        let row = (ty.as_u32() * VMOffsets::DISPLAY_ROW) as usize;
        let chain = up.iter().chain([ty]).enumerate();
        chain.map(move |(depth, ancestor)| (row + depth, ancestor.as_u32() + 1))
    })
}

gc_types::declare_host_calls! {
    /// The host calls of programs, beside the heap's own.
    pub const CALLS from HostCall::FIRST_EMBEDDER, named "fuzz_";

    /// Makes a [`NODE`] with this integer, zero-extended, in its third field.
    NEW: [collects] fn new(value: u32) -> Result<ExposedRef>;
    /// The index of an object's type, or 0 for null and an `i31`.
    TYPE_OF: fn type_of(value: Ref) -> u32;
}

pub(super) const HOST_NEW: (HostCall, HostSignature) = CALLS[0];
pub(super) const HOST_QUIET: (HostCall, HostSignature) = CALLS[1];

pub(super) fn host_signature(call: HostCall) -> &'static HostSignature {
    match call.gc_signature() {
        Some(signature) => signature,
        None => &CALLS[(call.index() - HostCall::FIRST_EMBEDDER) as usize].1,
    }
}

/// The ABI of the built code, for a heap of `compiler`'s collector, with or without a guard. It has
/// the options of all collectors of this project, and the host calls of programs.
pub fn abi(compiler: &dyn GcCompiler, guarded: bool) -> Abi {
    let bounds = if guarded { HeapBounds::Guarded } else { HeapBounds::Checked };
    let abi = Abi::new(compiler.abi().with(NURSERY, 1 << 20)).with_bounds(bounds);
    abi.with_host_calls(CALLS.iter().copied())
}

/// The signature of a program: a vmctx, a reference and an integer to a reference.
pub fn own_signature() -> ir::Signature {
    let mut signature = ir::Signature::new(CallConv::Tail);
    let vmctx = ir::AbiParam::special(types::I64, ir::ArgumentPurpose::VMContext);
    signature.params = vec![vmctx, ir::AbiParam::new(types::I64), ir::AbiParam::new(types::I64)];
    signature.returns = vec![ir::AbiParam::new(types::I64)];
    signature
}
