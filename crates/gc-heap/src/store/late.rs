//! Stores that have no heap yet.

use super::GcStore;
use crate::{HeapError, HeapFactory, HeapGrowth, HeapLimiter, HeapMemory};
use gc_types::NULL_PAGE_SIZE;
use std::sync::Arc;

/// The fewest bytes with which a heap is useful.
const LEAST: u64 = 64 << 10;

impl GcStore {
    /// A store without a heap. The heap is made by [`ensure_heap`](GcStore::ensure_heap), which the
    /// first allocation calls. Until then the store uses no memory outside its own structures, has
    /// counted nothing, and a collection does nothing. What is registered before (layouts, roots,
    /// function references, host handles) stays so.
    ///
    /// # Examples
    /// ```
    /// use gc_heap::{GcStore, HeapFactory, HeapOptions, NoStack, toy::ToyCollector};
    /// use std::sync::Arc;
    ///
    /// let factory = HeapFactory::new(Arc::new(ToyCollector), &HeapOptions::default())?;
    /// let mut store = GcStore::lazy(&Arc::new(factory));
    /// assert!(!store.has_heap());
    /// assert!(store.gc(&mut NoStack)?);
    /// assert_eq!(store.stats().heap_bytes, 0);
    ///
    /// let externref = store.alloc_externref(&mut NoStack, Box::new("a value"));
    /// assert!(store.has_heap() && externref.is_ok());
    /// # Ok::<(), gc_heap::HeapError>(())
    /// ```
    pub fn lazy(factory: &Arc<HeapFactory>) -> GcStore {
        let without_heap = Some(factory.clone());
        let (collector, reclaims) = (factory.collector().clone(), factory.runtime().reclaims());
        let mapping = factory.absent().clone();
        GcStore::with(mapping, without_heap, collector, reclaims, factory.options())
    }

    /// Whether the heap has been made.
    pub fn has_heap(&self) -> bool {
        self.without_heap.is_none()
    }

    /// Makes the heap, unless it has been made. Its address is constant from then on.
    ///
    /// # Errors
    /// If the system refuses memory, or the store's limiter refuses 64 KiB of it
    /// ([`HeapError::Refused`]). The store is as before, and a later call may succeed.
    #[inline]
    pub fn ensure_heap(&mut self) -> Result<(), HeapError> {
        match &self.without_heap {
            None => Ok(()),
            Some(factory) => self.make_heap(factory.clone()),
        }
    }

    #[cold]
    fn make_heap(&mut self, factory: Arc<HeapFactory>) -> Result<(), HeapError> {
        let initial = self.allowed_at_first(&factory)?;
        let made = factory.make(initial);
        if let (Err(error), Some(limiter)) = (&made, &mut self.heap.side_mut().limiter) {
            limiter.grow_failed(error);
        }
        let (heap, place) = made?;
        self.mapping = heap.core().memory.mapping();
        self.heap.put(heap);
        self.without_heap = None;
        self.pooled = Some((place, factory));
        self.begin();
        Ok(())
    }

    /// Lets `limiter` decide, together with the growth policy, whether the heap may grow. `None`
    /// removes the limiter. It is asked about the memory with which the heap begins too, unless the
    /// heap has been made.
    pub fn set_limiter(&mut self, limiter: Option<Box<dyn HeapLimiter>>) {
        self.heap.side_mut().limiter = limiter;
    }

    /// The bytes with which the heap may begin: those of the options, or half of them, and so on, and
    /// at last [`LEAST`].
    fn allowed_at_first(&mut self, factory: &HeapFactory) -> Result<u64, HeapError> {
        let null_page = u64::from(NULL_PAGE_SIZE);
        let options = factory.options();
        let side = self.heap.side_mut();
        if side.limiter.is_none() {
            return Ok(options.initial);
        }
        // What the heap uses is whole pages.
        let whole = |bytes| HeapMemory::maximum_for(null_page + bytes) - null_page;
        let maximum = options.maximum.saturating_sub(null_page);
        let mut desired = HeapMemory::maximum_for(options.initial).saturating_sub(null_page);
        let least = LEAST.min(desired);
        while let Err(refused) = side.ask_limiter(HeapGrowth { current: 0, desired, maximum }) {
            if desired <= least {
                return Err(refused);
            }
            desired = whole(desired / 2).max(least);
        }
        Ok(null_page + desired)
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
        self.heap.side().assert_may_collect();
        self.drop_dead_handles();
        true
    }
}
