//! A mutator's weak references: some weak handles, some weak maps, and finalizers that are numbers.

use super::{Effect, Mutator};
use crate::ops::{WEAK_HANDLES, WEAK_MAPS};
use crate::place::RootSlot;
use gc_heap::{WeakHandle, WeakMap};
use gc_types::VMGcRef;

/// The weak references.
#[derive(Debug, Default)]
pub(super) struct Weak {
    handles: [Option<WeakHandle>; WEAK_HANDLES],
    maps: [Option<WeakMap>; WEAK_MAPS],
    /// The number of finalizers that were added.
    finalizers: u32,
}

impl Weak {
    /// Forgets the weak handles after a reset of the store. The maps are empty.
    pub(super) fn forget(&mut self) {
        self.handles = Default::default();
    }
}

/// Why the store cannot refuse: the handles are its own, and few.
const OWN: &str = "the mutator uses its own weak references, and few";

impl Mutator {
    pub(super) fn downgrade(&mut self, object: &VMGcRef, slot: u8) -> Effect {
        let handle = self.store.downgrade(object).expect(OWN);
        self.weak.handles[usize::from(slot) % WEAK_HANDLES] = Some(handle);
        self.store.drop_dead_handles();
        Effect::Done
    }

    /// Reads 1 if the object lives.
    pub(super) fn upgrade(&mut self, slot: u8, to: RootSlot) -> Effect {
        let handle = &self.weak.handles[usize::from(slot) % WEAK_HANDLES];
        let Some(handle) = handle else { return Effect::Nothing };
        match self.store.upgrade(handle).expect(OWN) {
            Some(object) => {
                self.put(to, object);
                Effect::Read(1)
            }
            None => Effect::Read(0),
        }
    }

    /// The weak map with this number, which is made when it is first used.
    fn weak_map(&mut self, map: u8) -> WeakMap {
        let map = &mut self.weak.maps[usize::from(map) % WEAK_MAPS];
        map.get_or_insert_with(|| self.store.weak_map().expect(OWN)).clone()
    }

    pub(super) fn map_insert(&mut self, map: u8, key: &VMGcRef, value: &VMGcRef) -> Effect {
        let map = self.weak_map(map);
        self.store.weak_map_insert(&map, key, value).expect(OWN);
        Effect::Done
    }

    /// Reads 1 if there is a value.
    pub(super) fn map_get(&mut self, map: u8, key: &VMGcRef, to: RootSlot) -> Effect {
        let map = self.weak_map(map);
        match self.store.weak_map_get(&map, key).expect(OWN) {
            Some(value) => {
                self.put(to, value);
                Effect::Read(1)
            }
            None => Effect::Read(0),
        }
    }

    pub(super) fn map_drop(&mut self, map: u8) -> Effect {
        self.weak.maps[usize::from(map) % WEAK_MAPS] = None;
        self.store.drop_dead_handles();
        Effect::Done
    }

    /// Reads the number of the finalizer.
    pub(super) fn finalize(&mut self, object: &VMGcRef) -> Effect {
        let number = self.weak.finalizers;
        self.weak.finalizers += 1;
        let added = self.store.add_finalizer(object, Box::new(number));
        added.map_err(|(error, _)| error).expect(OWN);
        Effect::Read(number.into())
    }

    /// Reads the number of the finalizer.
    pub(super) fn take_finalizable(&mut self, to: RootSlot) -> Effect {
        let Some((object, value)) = self.store.next_finalizable() else { return Effect::Nothing };
        self.put(to, object);
        let number = value.downcast::<u32>().expect("every finalizer is a number");
        Effect::Read((*number).into())
    }
}
