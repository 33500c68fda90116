//! The host calls of compiled WebAssembly beyond the heap's own: their declarations. What
//! they do stands in `instance/host_calls.rs`.

use crate::vm::func_ref::FuncArg;
use anyhow::Result;
use gc_types::host_calls::{ExposedRef, Ref};
use gc_types::{HostCall, HostSignature};

gc_jit::host_calls! {
    /// What compiled WebAssembly asks of its store. The caller's number is its instance's.
    pub(crate) trait WasmHostCalls;
    /// The same, with numbers and signatures.
    pub(crate) const WASM from HostCall::FIRST_EMBEDDER, named "";

    /// The former size in pages, or -1.
    MEMORY_GROW: fn memory_grow(memory: u32, delta: u32) -> u32;
    /// To an address in one memory, from one in another or the same, in bytes.
    MEMORY_COPY: fn memory_copy(to: u32, at: u32, from: u32, start: u32, len: u32) -> Result<()>;
    /// In bytes.
    MEMORY_FILL: fn memory_fill(memory: u32, at: u32, byte: u32, len: u32) -> Result<()>;
    /// From a data segment.
    MEMORY_INIT: fn memory_init(
        memory: u32,
        segment: u32,
        at: u32,
        from: u32,
        len: u32,
    ) -> Result<()>;
    /// Gives a data segment up.
    DATA_DROP: fn data_drop(segment: u32);
    /// The former size in elements, or -1.
    TABLE_GROW_REF: fn table_grow_ref(table: u32, init: Ref, delta: u32) -> u32;
    /// As [`TABLE_GROW_REF`], for function references.
    TABLE_GROW_FUNC: fn table_grow_func(table: u32, init: FuncArg, delta: u32) -> u32;
    /// From an index on.
    TABLE_FILL_REF: fn table_fill_ref(table: u32, at: u32, value: Ref, len: u32) -> Result<()>;
    /// As [`TABLE_FILL_REF`], for function references.
    TABLE_FILL_FUNC: fn table_fill_func(
        table: u32,
        at: u32,
        value: FuncArg,
        len: u32,
    ) -> Result<()>;
    /// Between tables, or within one.
    TABLE_COPY: fn table_copy(to: u32, from: u32, at: u32, start: u32, len: u32) -> Result<()>;
    /// From an element segment.
    TABLE_INIT: fn table_init(
        table: u32,
        segment: u32,
        at: u32,
        from: u32,
        len: u32,
    ) -> Result<()>;
    /// Gives an element segment up.
    ELEM_DROP: fn elem_drop(segment: u32);
    /// A new array from a data segment, `from` in bytes, `len` in elements.
    ARRAY_NEW_DATA: [collects] fn array_new_data(
        header_word: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<ExposedRef>;
    /// A new array from an element segment.
    ARRAY_NEW_ELEM: [collects] fn array_new_elem(
        header_word: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<ExposedRef>;
    /// Elements of an array from a data segment, `from` in bytes, `len` in elements.
    ARRAY_INIT_DATA: fn array_init_data(
        array: Ref,
        index: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<()>;
    /// Elements of an array from an element segment.
    ARRAY_INIT_ELEM: fn array_init_elem(
        array: Ref,
        index: u32,
        segment: u32,
        from: u32,
        len: u32,
    ) -> Result<()>;
}

/// Whether a host call may lead to a collection.
pub(crate) fn may_collect(call: HostCall) -> bool {
    signature(call).may_collect
}

/// The signature of any host call compiled WebAssembly makes.
pub(crate) fn signature(call: HostCall) -> &'static HostSignature {
    match call.gc_signature() {
        Some(signature) => signature,
        None => &WASM[(call.index() - HostCall::FIRST_EMBEDDER) as usize].1,
    }
}
