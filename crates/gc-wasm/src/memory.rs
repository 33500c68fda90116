//! [`Memory`]: linear memories of a store.

use crate::externals::handles;
use crate::store::{GrownBy, StoreId, StoreOpaque};
use crate::types::{MemoryType, check_memory_type};
use crate::vm::layout::DEFINITION_SIZE;
use crate::vm::words::VMWords;
use crate::{AsContext, AsContextMut, StoreContext, StoreContextMut};
use anyhow::{Result, anyhow};
use std::fmt;

/// A linear memory in a store. Copies are the same memory.
///
/// # Examples
/// ```
/// use gc_wasm::{Memory, MemoryType, Store};
///
/// let mut store = Store::<()>::default();
/// let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
/// memory.write(&mut store, 10, b"bytes")?;
/// assert_eq!(memory.data(&store)[10..15], *b"bytes");
/// assert!(memory.read(&store, 1 << 16, &mut [0]).is_err());
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    store: StoreId,
    index: usize,
}

handles! { Memory "a memory" }

impl Memory {
    /// Makes a linear memory whose bytes are all zero.
    ///
    /// # Errors
    /// If there can be no memory of this type, it is larger than
    /// [`Config::memory_maximum`](crate::Config::memory_maximum), or the store's
    /// [limiter](crate::Store::limiter) or the operating system refuses the memory.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        let store = store.as_context_mut().into_opaque();
        store.check_sync_limiter()?;
        Memory::new_in(store, ty)
    }

    /// Like [`new`](Memory::new), and waits for the store's limiter if that is
    /// [asynchronous](crate::Store::limiter_async).
    ///
    /// # Errors
    /// As [`new`](Memory::new).
    pub async fn new_async(
        mut store: impl AsContextMut<Data: Send>,
        ty: MemoryType,
    ) -> Result<Memory> {
        let store = store.as_context_mut().into_opaque();
        store.grow_async(|store| Memory::new_in(store, ty)).await
    }

    fn new_in(store: &mut StoreOpaque, ty: MemoryType) -> Result<Memory> {
        let ty = ty.to_wasm();
        check_memory_type(&ty)?;
        let definition = VMWords::new(DEFINITION_SIZE);
        let index = store.new_memory(ty, definition, 0, None)?;
        Ok(Memory::from_index(store, index))
    }

    /// Its type, with which it was made. It may have grown since ([`size`](Memory::size)).
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        let store = store.as_context().opaque();
        MemoryType::from_wasm(&store.memories[self.index(store)].ty)
    }

    /// Copies the bytes from `offset` on to `buffer`.
    ///
    /// # Errors
    /// If the memory does not have them ([`MemoryAccessError`]).
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let context = store.as_context();
        let bytes =
            offset.checked_add(buffer.len()).and_then(|end| self.data(&context).get(offset..end));
        buffer.copy_from_slice(bytes.ok_or(MemoryAccessError(()))?);
        Ok(())
    }

    /// Copies `buffer` to the bytes from `offset` on.
    ///
    /// # Errors
    /// If the memory does not have them ([`MemoryAccessError`]). Then nothing is written.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let mut context = store.as_context_mut();
        let end = offset.checked_add(buffer.len());
        let bytes = end.and_then(|end| self.data_mut(&mut context).get_mut(offset..end));
        bytes.ok_or(MemoryAccessError(()))?.copy_from_slice(buffer);
        Ok(())
    }

    /// Its bytes.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        let store = store.into().opaque();
        store.memories[self.index(store)].bytes()
    }

    /// Its bytes, mutable.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> &'a mut [u8] {
        let store = store.into().into_opaque();
        let index = self.index(store);
        store.memories[index].bytes_mut()
    }

    /// Its bytes and the host's data, both mutable, for host functions that need both.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let store = store.into().into_opaque();
        let index = self.index(store);
        let (memory, data) = store.memory_and_data_mut(index);
        (memory.bytes_mut(), data)
    }

    /// Its size in bytes.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        let store = store.as_context().opaque();
        store.memories[self.index(store)].len()
    }

    /// The address of its first byte. It changes when the memory is moved, which only growth does;
    /// see [`Config::memory_may_move`](crate::Config::memory_may_move).
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn data_ptr(&self, store: impl AsContext) -> *mut u8 {
        let store = store.as_context().opaque();
        store.memories[self.index(store)].definition.get_pointer(0)
    }

    /// Its size in pages of 64 KiB.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn size(&self, store: impl AsContext) -> u64 {
        let store = store.as_context().opaque();
        store.memories[self.index(store)].pages()
    }

    /// Bytes of a page: 64 KiB.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn page_size(&self, store: impl AsContext) -> u64 {
        self.ty(store).page_size()
    }

    /// The logarithm of [`page_size`](Memory::page_size) to base 2.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn page_size_log2(&self, store: impl AsContext) -> u8 {
        self.ty(store).page_size_log2()
    }

    /// Grows the memory by `delta` pages. Returns the old size.
    ///
    /// # Errors
    /// If it cannot have that many pages, or the store's [limiter](crate::Store::limiter) refuses
    /// them.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store);
        store.check_sync_limiter()?;
        Memory::grow_in(store, index, delta)
    }

    /// Like [`grow`](Memory::grow), and waits for the store's limiter if that is
    /// [asynchronous](crate::Store::limiter_async).
    ///
    /// # Errors
    /// As [`grow`](Memory::grow).
    ///
    /// # Panics
    /// As [`grow`](Memory::grow).
    pub async fn grow_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        delta: u64,
    ) -> Result<u64> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store);
        store.grow_async(|store| Memory::grow_in(store, index, delta)).await
    }

    fn grow_in(store: &mut StoreOpaque, index: usize, delta: u64) -> Result<u64> {
        store.grow_memory(index, delta, GrownBy::Host)?.map_err(|why| {
            let pages = store.memories[index].pages();
            anyhow!("a memory of {pages} pages cannot grow by {delta}{why}")
                .context(format!("failed to grow memory by `{delta}`"))
        })
    }
}

/// The error of [`Memory::read`] and [`Memory::write`] outside the memory.
#[derive(Debug)]
#[non_exhaustive]
pub struct MemoryAccessError(());

impl fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of bounds memory access")
    }
}

impl std::error::Error for MemoryAccessError {}
