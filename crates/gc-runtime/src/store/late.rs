//! Stores that have no heap yet.

use super::GcStore;
use super::held::StoreHeap;
use crate::no_heap::NoHeap;
use crate::{HeapError, HeapFactory};
use std::mem;
use std::sync::Arc;

impl GcStore {
    /// A store without a heap. The heap is made by [`ensure_heap`](GcStore::ensure_heap), which the
    /// first allocation calls. Until then the store uses no memory outside its own structures, has
    /// counted nothing, and a collection does nothing. What is registered before (layouts, roots,
    /// function references, host handles) stays so.
    ///
    /// # Examples
    /// ```
    /// use gc_runtime::{GcStore, HeapFactory, HeapOptions, NoStack, collector::CopyingCollector};
    /// use std::sync::Arc;
    ///
    /// let factory = HeapFactory::new(Arc::new(CopyingCollector), &HeapOptions::default())?;
    /// let mut store = GcStore::lazy(&Arc::new(factory));
    /// assert!(!store.has_heap());
    /// assert!(store.gc(&mut NoStack)?);
    /// assert_eq!(store.stats().heap_bytes, 0);
    ///
    /// let externref = store.alloc_externref(&mut NoStack, Box::new("a value"));
    /// assert!(store.has_heap() && externref.is_ok());
    /// # Ok::<(), gc_runtime::HeapError>(())
    /// ```
    pub fn lazy(factory: &Arc<HeapFactory>) -> GcStore {
        let heap = StoreHeap::new(Box::new(NoHeap::new(factory)));
        let without_heap = Some(factory.clone());
        let (collector, reclaims) = (factory.collector().clone(), factory.runtime().reclaims());
        GcStore::with(heap, without_heap, collector, reclaims, factory.options())
    }

    /// Whether the heap has been made.
    pub fn has_heap(&self) -> bool {
        self.without_heap.is_none()
    }

    /// Makes the heap, unless it has been made. Its address is constant from then on.
    ///
    /// # Errors
    /// If the system refuses memory. The store is as before, and a later call may succeed.
    #[inline]
    pub fn ensure_heap(&mut self) -> Result<(), HeapError> {
        match &self.without_heap {
            None => Ok(()),
            Some(factory) => self.make_heap(factory.clone()),
        }
    }

    #[cold]
    fn make_heap(&mut self, factory: Arc<HeapFactory>) -> Result<(), HeapError> {
        let (mut heap, place) = factory.make()?;
        let (before, core) = (self.heap.aside().core_mut(), heap.core_mut());
        core.layouts.replace(mem::take(&mut before.layouts));
        core.pauses = mem::take(&mut before.pauses);
        core.no_gc_scopes = before.no_gc_scopes;
        core.damage = before.damage.take();
        core.has_weak = before.has_weak;
        self.mapping = core.memory.mapping();
        self.heap = StoreHeap::new(heap);
        self.without_heap = None;
        self.pooled = place.map(|place| (place, factory));
        self.begin();
        Ok(())
    }

    /// Collects if there is no heap: then all that can be dropped are handles, of `i31`s. Returns
    /// whether that is so.
    ///
    /// # Panics
    /// Inside a no-GC scope, without a heap.
    pub(super) fn collected_nothing(&mut self) -> bool {
        if self.has_heap() {
            return false;
        }
        self.heap.core().assert_may_collect();
        self.drop_dead_handles();
        true
    }
}
