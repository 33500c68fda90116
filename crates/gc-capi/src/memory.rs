//! Linear memories.

use crate::error::given;
use crate::macros::exports;
use crate::reference::{What, wasm_memory_t, wasm_ref_t};
use crate::store::{StoreRef, store_of, wasm_store_t};
use crate::types::{ExternTy, NO_MAXIMUM, wasm_externtype_t, wasm_memorytype_t};
use anyhow::{Result, bail};
use gc_wasm::Memory;
use std::ffi::c_char;

impl wasm_memory_t {
    fn parts(&self) -> Result<(StoreRef, Memory)> {
        match &self.0.what {
            What::Memory(memory) => Ok((self.0.store()?, *memory)),
            other => bail!("{} is no memory", other.name()),
        }
    }
}

exports! {
    /// Makes a memory of zeros. NULL if it is too large.
    fn wasm_memory_new(
        store: Option<&wasm_store_t>,
        ty: Option<&wasm_memorytype_t>,
    ) -> Option<Box<wasm_memory_t>> {
        let store = &store_of(store)?;
        let ty = given(ty, "type")?.to_memory_type()?;
        let memory = store.with(|context| Memory::new(context, ty))?;
        Ok(Some(Box::new(wasm_memory_t(wasm_ref_t::new(store, What::Memory(memory))))))
    }

    /// The memory's type.
    fn wasm_memory_type(memory: Option<&wasm_memory_t>) -> Option<Box<wasm_memorytype_t>> {
        let (store, memory) = given(memory, "memory")?.parts()?;
        let ty = store.with(|context| Ok(memory.ty(context)))?;
        Ok(Some(Box::new(wasm_memorytype_t(wasm_externtype_t(ExternTy::of_memory(ty))))))
    }

    /// The address of the first byte, which growth may change.
    fn wasm_memory_data(memory: Option<&wasm_memory_t>) -> *mut c_char {
        let (store, memory) = given(memory, "memory")?.parts()?;
        store.with(|context| Ok(memory.data_ptr(context).cast()))
    }

    /// The number of bytes.
    fn wasm_memory_data_size(memory: Option<&wasm_memory_t>) -> usize {
        let (store, memory) = given(memory, "memory")?.parts()?;
        store.with(|context| Ok(memory.data_size(context)))
    }

    /// The number of pages of 64 KiB.
    fn wasm_memory_size(memory: Option<&wasm_memory_t>) -> u32 {
        let (store, memory) = given(memory, "memory")?.parts()?;
        let pages = store.with(|context| Ok(memory.size(context)))?;
        Ok(u32::try_from(pages).unwrap_or(NO_MAXIMUM))
    }

    /// Adds `delta` pages. `false` if the memory would be too large.
    fn wasm_memory_grow(memory: Option<&wasm_memory_t>, delta: u32) -> bool {
        let (store, memory) = given(memory, "memory")?.parts()?;
        store.with(|context| memory.grow(context, delta.into()))?;
        Ok(true)
    }
}
