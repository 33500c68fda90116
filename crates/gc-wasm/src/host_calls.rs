//! The declarations of the host calls that compiled WebAssembly makes in addition to those of the
//! heap. `instance/host_calls.rs` implements them.

use crate::vm::func_ref::FuncArg;
use anyhow::Result;
#[cfg(feature = "compiler")]
use gc_types::Abi;
use gc_types::host_calls::{ExposedRef, Ref};
use gc_types::{HostCall, HostSignature};

gc_jit::host_calls! {
    /// The operations of the store that compiled WebAssembly calls. The first argument of each is
    /// the number of the calling instance.
    pub(crate) trait WasmHostCalls;
    /// The host calls with their numbers and signatures.
    pub(crate) const WASM from HostCall::FIRST_EMBEDDER, named "";

    /// Grows a memory by `delta` pages. Returns the old size in pages, or -1.
    MEMORY_GROW: fn memory_grow(memory: u32, delta: u64) -> Result<u32>;
    /// Copies `len` bytes from address `start` of memory `from` to address `at` of memory `to`.
    MEMORY_COPY: fn memory_copy(to: u32, at: u64, from: u32, start: u64, len: u64) -> Result<()>;
    /// Sets `len` bytes of a memory to `byte`.
    MEMORY_FILL: fn memory_fill(memory: u32, at: u64, byte: u32, len: u64) -> Result<()>;
    /// Copies `len` bytes from offset `from` of a data segment to address `at` of a memory.
    MEMORY_INIT: fn memory_init(
        memory: u32,
        segment: u32,
        at: u64,
        from: u32,
        len: u32,
    ) -> Result<()>;
    /// Drops a data segment.
    DATA_DROP: fn data_drop(segment: u32);
    /// Grows a table by `delta` elements that are all `init`. Returns the old size in elements, or
    /// -1.
    TABLE_GROW_REF: fn table_grow_ref(table: u32, init: Ref, delta: u64) -> Result<u32>;
    /// Like [`TABLE_GROW_REF`], but for function references.
    TABLE_GROW_FUNC: fn table_grow_func(table: u32, init: FuncArg, delta: u64) -> Result<u32>;
    /// Sets the `len` elements of a table from index `at` on to `value`.
    TABLE_FILL_REF: fn table_fill_ref(table: u32, at: u64, value: Ref, len: u64) -> Result<()>;
    /// Like [`TABLE_FILL_REF`], but for function references.
    TABLE_FILL_FUNC: fn table_fill_func(
        table: u32,
        at: u64,
        value: FuncArg,
        len: u64,
    ) -> Result<()>;
    /// Copies `len` elements from index `start` of table `from` to index `at` of table `to`.
    TABLE_COPY: fn table_copy(to: u32, from: u32, at: u64, start: u64, len: u64) -> Result<()>;
    /// Copies `len` elements from index `from` of an element segment to index `at` of a table.
    TABLE_INIT: fn table_init(
        table: u32,
        segment: u32,
        at: u64,
        from: u32,
        len: u32,
    ) -> Result<()>;
    /// Drops an element segment.
    ELEM_DROP: fn elem_drop(segment: u32);
    /// Makes an array of `len` elements of `size` bytes from the bytes of a data segment at offset
    /// `from`.
    ARRAY_NEW_DATA: [collects] fn array_new_data(
        header_word: u32,
        size: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<ExposedRef>;
    /// Makes an array from `len` elements of an element segment from index `from` on.
    ARRAY_NEW_ELEM: [collects] fn array_new_elem(
        header_word: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<ExposedRef>;
    /// Overwrites `len` elements of an array from `index` on with the bytes of a data segment at
    /// offset `from`.
    ARRAY_INIT_DATA: fn array_init_data(
        array: Ref,
        index: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<()>;
    /// Overwrites `len` elements of an array from `index` on with those of an element segment from
    /// index `from` on.
    ARRAY_INIT_ELEM: fn array_init_elem(
        array: Ref,
        index: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<()>;
    /// The fuel is used up.
    OUT_OF_FUEL: [collects] fn out_of_fuel() -> Result<()>;
    /// The deadline of the epoch is reached.
    NEW_EPOCH: [collects] fn new_epoch() -> Result<()>;
}

/// Whether a host call works on as many bytes or elements as the program says. If code is metered, it
/// runs a callback of the host when fuel or time is over.
fn is_long(call: HostCall) -> bool {
    let quick = [DATA_DROP, ELEM_DROP];
    HostCall::IN_PARTS.contains(&call) || (call.gc_signature().is_none() && !quick.contains(&call))
}

/// Whether a host call of code with this ABI may throw an exception: it runs a callback of the host.
#[cfg(feature = "compiler")]
pub(crate) fn may_throw(abi: &Abi) -> fn(HostCall) -> bool {
    if abi.is_metered() { is_long } else { |_| false }
}

/// The host calls of the store, beside those of the heap, with their signatures in code that is metered or
/// not.
pub(crate) fn table(metered: bool) -> impl Iterator<Item = (HostCall, HostSignature)> {
    WASM.iter().map(move |(call, signature)| {
        let may_collect = signature.may_collect || (metered && is_long(*call));
        (*call, HostSignature { may_collect, ..*signature })
    })
}

/// The signature of a host call that compiled WebAssembly makes.
#[cfg(feature = "compiler")]
pub(crate) fn signature(call: HostCall) -> &'static HostSignature {
    match call.gc_signature() {
        Some(signature) => signature,
        None => &WASM[(call.index() - HostCall::FIRST_EMBEDDER) as usize].1,
    }
}
