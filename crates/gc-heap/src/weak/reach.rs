//! [`Reach`]: finds which entries of weak maps keep each other alive, in linear time.
//!
//! A collection usually looks at the entries two or three times: those whose keys were not found
//! wait, and are looked at again when more was traced. A chain of entries, each the key of the
//! next, would be looked at as often as it is long. So after some time the waiting entries are
//! indexed by key, and the objects that were not found are searched for these keys, from the values
//! that are to be kept on (as in Hayes's second phase; every object is visited once). Then the
//! collector traces these values.
//!
//! The search reads the heap through its checked accessors, and only objects that the collector
//! has not found, which are where they were. In a damaged heap it may find too much or too little.
//! The collector finds the damage when it traces.

use super::entries::Numbers;
use crate::HeapCore;
use gc_types::I31;

/// A search.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The first link of the entries with a key.
    keys: Numbers,
    /// The places of entries, each with the number of the next entry with the same key.
    links: Vec<(u32, Option<u32>)>,
    /// The objects that were visited.
    visited: Numbers,
    /// Their bytes.
    bytes: u64,
    to_do: Vec<u32>,
    /// The values to keep.
    values: Vec<u32>,
}

impl Reach {
    /// Forgets the search.
    pub(super) fn clear(&mut self) {
        *self = Reach::default();
    }

    /// Begins a search for these keys, each with the place of its entry.
    pub(super) fn begin(&mut self, entries: impl Iterator<Item = (u32, u32)>) {
        self.clear();
        for (key, place) in entries {
            let link = self.links.len() as u32;
            let next = self.keys.insert(key.into(), link);
            self.links.push((place, next));
        }
    }

    /// Adds a value that is to be kept.
    pub(super) fn add(&mut self, value: u32) {
        self.values.push(value);
        self.to_do.push(value);
    }

    /// The next object to visit.
    pub(super) fn pop(&mut self) -> Option<u32> {
        self.to_do.pop()
    }

    /// Takes back what [`pop`](Reach::pop) returned.
    pub(super) fn add_back(&mut self, object: u32) {
        self.to_do.push(object);
    }

    /// Visits an object that the collection has not found, if it was not visited before. Returns
    /// the places of the entries whose key it is.
    pub(super) fn visit(&mut self, object: u32, core: &HeapCore, budget: &mut u32) -> Vec<u32> {
        if self.visited.insert(object.into(), 0).is_some() {
            return Vec::new();
        }
        let Ok(size) = core.size_at(object) else { return Vec::new() };
        self.bytes += u64::from(size);
        if self.bytes > core.memory.len() {
            // Objects overlap, so the heap is damaged.
            self.to_do.clear();
            return Vec::new();
        }
        *budget = budget.saturating_sub(size / 64);
        let to_do = &mut self.to_do;
        // Of an object with an invalid header nothing is visited.
        let _visited = core.for_each_ref_at(object, |_, to| {
            if to.as_raw_u32() & I31::TAG == 0 {
                to_do.push(to.as_raw_u32());
            }
        });
        let mut next = self.keys.get(object.into());
        let mut places = Vec::new();
        while let Some(&(place, after)) = next.and_then(|link| self.links.get(link as usize)) {
            places.push(place);
            next = after;
        }
        places
    }

    /// Takes the values to keep.
    pub(super) fn take_values(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.values)
    }
}
