//! The host's weak references: weak handles, weak maps and finalizers.

use super::GcStore;
use crate::{HandleError, HeapError, HostValue, WeakHandle, WeakMap, WeakTable};
use gc_types::VMGcRef;

/// The error for too many weak references of a kind.
const TOO_MANY: HandleError = HandleError::TooMany { maximum: WeakTable::MAX };

/// # Weak references
/// An object is *dead* when a collection finds that neither the roots nor other live objects refer
/// to it. Until then weak references give it back. Collections that do not look at the whole heap
/// find fewer objects dead. A [collection that is asked for](GcStore::gc) looks at everything,
/// unless the collector frees less.
impl GcStore {
    /// Makes a weak handle for the object of `gc_ref`. The handle does not keep the object alive.
    /// The caller keeps `gc_ref`.
    ///
    /// # Errors
    /// If there already are [`WeakTable::MAX`] weak handles.
    pub fn downgrade(&mut self, gc_ref: &VMGcRef) -> Result<WeakHandle, HandleError> {
        let gc_ref = self.clone_gc_ref(gc_ref);
        self.heap.side_mut().has_weak = true;
        self.weak_mut().add_handle(gc_ref).map_err(|gc_ref| {
            self.drop_gc_ref(gc_ref);
            TOO_MANY
        })
    }

    /// A reference to the object of a weak handle, which the caller holds, or `None` if the object
    /// is dead or the store was reset.
    ///
    /// # Errors
    /// If the handle belongs to another store.
    pub fn upgrade(&mut self, handle: &WeakHandle) -> Result<Option<VMGcRef>, HandleError> {
        let gc_ref = self.weak().get(handle)?;
        Ok(gc_ref.map(|gc_ref| self.read_weak(&gc_ref)))
    }

    /// Makes an empty weak map.
    ///
    /// # Errors
    /// If there already are [`WeakTable::MAX`] weak maps.
    pub fn weak_map(&mut self) -> Result<WeakMap, HandleError> {
        self.weak_mut().add_map().ok_or(TOO_MANY)
    }

    /// Makes `value` the value of `key` in a weak map. The map keeps `value` alive as long as `key`
    /// is alive. An `i31` as a key never dies. The caller keeps both references.
    ///
    /// # Errors
    /// If the map belongs to another store, or all weak maps together already have
    /// [`WeakTable::MAX`] entries.
    pub fn weak_map_insert(
        &mut self,
        map: &WeakMap,
        key: &VMGcRef,
        value: &VMGcRef,
    ) -> Result<(), HandleError> {
        let map = self.weak().map(map)?;
        if !self.weak_mut().entries_mut().has_room(map, key) {
            return Err(TOO_MANY);
        }
        let (key, value) = (self.clone_gc_ref(key), self.clone_gc_ref(value));
        self.heap.side_mut().has_weak = true;
        let unused = self.weak_mut().entries_mut().insert(map, key, value);
        unused.into_iter().flatten().for_each(|gc_ref| self.drop_gc_ref(gc_ref));
        Ok(())
    }

    /// A reference to the value of `key` in a weak map, which the caller holds. `None` if the map
    /// has no such key.
    ///
    /// # Errors
    /// If the map belongs to another store.
    pub fn weak_map_get(
        &mut self,
        map: &WeakMap,
        key: &VMGcRef,
    ) -> Result<Option<VMGcRef>, HandleError> {
        let map = self.weak().map(map)?;
        let value = self.weak_mut().entries_mut().get(map, key);
        Ok(value.map(|value| self.read_weak(&value)))
    }

    /// Removes `key` from a weak map. Returns whether the map had it.
    ///
    /// # Errors
    /// If the map belongs to another store.
    pub fn weak_map_remove(&mut self, map: &WeakMap, key: &VMGcRef) -> Result<bool, HandleError> {
        let map = self.weak().map(map)?;
        let Some(removed) = self.weak_mut().entries_mut().remove(map, key) else {
            return Ok(false);
        };
        removed.into_iter().flatten().for_each(|gc_ref| self.drop_gc_ref(gc_ref));
        Ok(true)
    }

    /// The number of entries in a weak map. Those whose keys have died since the last collection
    /// are among them.
    ///
    /// # Errors
    /// If the map belongs to another store.
    pub fn weak_map_len(&self, map: &WeakMap) -> Result<u32, HandleError> {
        let map = self.weak().map(map)?;
        Ok(self.weak().entries().len_of(map))
    }

    /// Adds a finalizer to an object. When a collection finds the object dead, it keeps the object
    /// alive once more, with everything to which it refers. Then
    /// [`next_finalizable`](GcStore::next_finalizable) returns the object with `value`. The caller
    /// keeps `object`. An object with several finalizers is returned once for each.
    ///
    /// # Errors
    /// If there already are [`WeakTable::MAX`] finalizers. The error returns the value.
    pub fn add_finalizer(
        &mut self,
        object: &VMGcRef,
        value: HostValue,
    ) -> Result<(), (HandleError, HostValue)> {
        let object = self.clone_gc_ref(object);
        self.heap.side_mut().has_weak = true;
        self.weak_mut().add_finalizer(object, value).map_err(|(object, value)| {
            self.drop_gc_ref(object);
            (TOO_MANY, value)
        })
    }

    /// The next object that a collection has found dead and kept for its finalizer, with the
    /// finalizer's value. The caller holds the reference. Call this outside collections, for
    /// example after [`gc`](GcStore::gc), or when control returns to the host.
    ///
    /// Objects that one collection finds dead come in the order in which their finalizers were
    /// added, also if one refers to the other. Before them come those of earlier collections. Weak
    /// handles of the object were cleared. Entries of weak maps for it are still there. The finalizer
    /// is gone: if the object lives on and dies again, it is not returned again, unless it gets
    /// another finalizer.
    ///
    /// # Examples
    /// ```
    /// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
    ///
    /// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
    /// let object = store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
    /// store.add_finalizer(&object, Box::new("its finalizer")).map_err(|(error, _)| error).unwrap();
    /// store.drop_gc_ref(object);
    /// assert!(store.next_finalizable().is_none());
    ///
    /// store.gc(&mut NoStack)?;
    /// let (object, value) = store.next_finalizable().unwrap();
    /// assert_eq!(store.externref_host_data(&object)?.downcast_ref(), Some(&7));
    /// assert_eq!(value.downcast_ref(), Some(&"its finalizer"));
    ///
    /// // Nothing refers to it any more, and it dies.
    /// store.drop_gc_ref(object);
    /// store.gc(&mut NoStack)?;
    /// assert!(store.next_finalizable().is_none() && store.host_data().is_empty());
    /// # Ok::<(), gc_heap::HeapError>(())
    /// ```
    pub fn next_finalizable(&mut self) -> Option<(VMGcRef, HostValue)> {
        let (object, value) = self.weak_mut().next_finalizable()?;
        let gc_ref = self.read_weak(&object);
        self.drop_gc_ref(object);
        Some((gc_ref, value))
    }

    /// The number of objects for which [`next_finalizable`](GcStore::next_finalizable) would
    /// return something.
    pub fn finalizable(&self) -> usize {
        self.weak().finalizable()
    }

    /// A reference for the host to the object of a weak reference.
    fn read_weak(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        // Without a heap, a reference is an `i31`.
        match self.heap.get_mut() {
            Some(heap) => heap.read_weak_ref(gc_ref),
            None => gc_ref.unchecked_copy(),
        }
    }

    /// The weak references.
    pub fn weak(&self) -> &WeakTable {
        self.weak.get_or_init(|| Box::new(WeakTable::new(self.host_data.host_panic())))
    }

    /// The weak references, mutable.
    pub(super) fn weak_mut(&mut self) -> &mut WeakTable {
        self.weak();
        self.weak.get_mut().expect("it was made above")
    }

    /// Forgets all weak references.
    pub(super) fn reset_weak(&mut self) {
        if self.weak.get_mut().is_some_and(|weak| weak.reset()) {
            self.host_data.note_panic();
        }
    }

    /// Checks that the collection that has completed looked at the weak references and at the boxes of
    /// externrefs. Otherwise they may refer to nothing.
    pub(super) fn check_swept(&mut self) -> Result<(), HeapError> {
        let what = if !self.weak_mut().was_processed() {
            "the collector has not looked at weak references"
        } else if !self.host_data.was_swept() {
            "the collector has not swept the host values of externrefs"
        } else {
            return Ok(());
        };
        let core = self.heap.made_mut().core_mut();
        core.note_damage(0, what);
        core.check_damage()
    }
}
