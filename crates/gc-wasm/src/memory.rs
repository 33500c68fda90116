//! [`Memory`]: linear memories of a store.

use crate::externals::handles;
use crate::store::{StoreId, StoreOpaque};
use crate::types::{MemoryType, check_memory_type};
use crate::vm::layout::DEFINITION_SIZE;
use crate::vm::memory::MemoryData;
use crate::vm::words::VMWords;
use crate::{AsContext, AsContextMut};
use anyhow::{Result, bail, ensure};

/// A linear memory in a store. Copies are the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    store: StoreId,
    index: usize,
}

handles! { Memory "memory" }

impl Memory {
    /// Makes a linear memory whose bytes are all zero.
    ///
    /// # Errors
    /// If there can be no memory of this type, it is larger than
    /// [`Config::memory_maximum`](crate::Config::memory_maximum), or the operating system refuses the
    /// memory.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        let store = store.as_context_mut().into_opaque();
        let ty = ty.to_wasm();
        check_memory_type(&ty)?;
        let definition = VMWords::new(DEFINITION_SIZE);
        let config = store.engine().config();
        let memory = MemoryData::new(&config.memory_source, &config.memory, ty, definition)?;
        store.memories.push(memory);
        Ok(Memory::from_index(store, store.memories.len() - 1))
    }

    /// Its type. The minimum is the current size.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<MemoryType> {
        let store = store.as_context().opaque();
        let memory = &store.memories[self.index(store)?];
        let mut ty = memory.ty;
        ty.limits.min = memory.pages();
        Ok(MemoryType::from_wasm(&ty))
    }

    /// Its bytes.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn data<'a, T: 'static>(&self, store: &'a impl AsContext<Data = T>) -> Result<&'a [u8]> {
        let store = store.as_context().opaque();
        Ok(store.memories[self.index(store)?].bytes())
    }

    /// Its bytes, mutable.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: &'a mut impl AsContextMut<Data = T>,
    ) -> Result<&'a mut [u8]> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store)?;
        Ok(store.memories[index].bytes_mut())
    }

    /// Its bytes and the host's data, both mutable, for host functions that need both.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: &'a mut impl AsContextMut<Data = T>,
    ) -> Result<(&'a mut [u8], &'a mut T)> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store)?;
        let (memory, data) = store.memory_and_data_mut(index);
        Ok((memory.bytes_mut(), data))
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn data_size(&self, store: impl AsContext) -> Result<usize> {
        let store = store.as_context().opaque();
        Ok(store.memories[self.index(store)?].len())
    }

    /// The address of its first byte. It changes when the memory is moved, which only growth does;
    /// see [`Config::memory_may_move`](crate::Config::memory_may_move).
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn data_ptr(&self, store: impl AsContext) -> Result<*mut u8> {
        let store = store.as_context().opaque();
        Ok(store.memories[self.index(store)?].definition.get_pointer(0))
    }

    /// Its size in pages of 64 KiB.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn size(&self, store: impl AsContext) -> Result<u64> {
        let store = store.as_context().opaque();
        Ok(store.memories[self.index(store)?].pages())
    }

    /// Bytes of a page: 64 KiB.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn page_size(&self, store: impl AsContext) -> Result<u64> {
        Ok(self.ty(store)?.page_size())
    }

    /// The logarithm of [`page_size`](Memory::page_size) to base 2.
    ///
    /// # Errors
    /// If it belongs to another store.
    pub fn page_size_log2(&self, store: impl AsContext) -> Result<u8> {
        Ok(self.ty(store)?.page_size_log2())
    }

    /// Grows the memory by `delta` pages. Returns the old size.
    ///
    /// # Errors
    /// If it cannot have that many pages, or belongs to another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store)?;
        let memory = &mut store.memories[index];
        match memory.grow(delta) {
            Some(old) => Ok(old),
            None => bail!("a memory of {} pages cannot grow by {delta}", memory.pages()),
        }
    }
}
