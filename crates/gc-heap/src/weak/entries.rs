//! The entries of all weak maps, and the index that finds an entry by its map and key.
//!
//! The index has the keys' places in the heap. A collection that moves old keys makes it stale, and
//! the next use builds it again. A collection of young objects changes only what is young in it.

use super::{WeakTable, reference};
use gc_types::VMGcRef;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// An entry of a weak map.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) map: u32,
    /// Zero if the place is free.
    pub(super) key: u32,
    pub(super) value: u32,
    /// Whether the place is in the list of young places.
    pub(super) young: bool,
}

/// A weak map.
#[derive(Clone, Copy, Debug, Default)]
struct Map {
    /// Whether the host has a handle of it.
    alive: bool,
    /// The number of its entries.
    entries: u32,
}

/// Mixes the two words of a map and a key, which are no secret. The seed is one.
#[derive(Debug)]
struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Seeded {
        Seeded(RandomState::new().hash_one(0u8))
    }
}

struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, word: u64) {
        // The upper half of a product depends on all bits of the factors.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl BuildHasher for Seeded {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer(self.0)
    }
}

/// Finds places by a number.
#[derive(Debug, Default)]
pub(super) struct Numbers(HashMap<u64, u32, Seeded>);

impl Numbers {
    pub(super) fn get(&self, number: u64) -> Option<u32> {
        self.0.get(&number).copied()
    }

    /// Sets the place of a number. Returns the place before.
    pub(super) fn insert(&mut self, number: u64, place: u32) -> Option<u32> {
        self.0.insert(number, place)
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.0.remove(&number);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The entries of all weak maps.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Places of entries whose key or value may be young.
    pub(super) young: Vec<u32>,
    maps: Vec<Map>,
    free_maps: Vec<u32>,
    /// The place of each entry by map and key.
    index: Numbers,
    /// Whether the index has old places of keys.
    stale: bool,
}

fn number(map: u32, key: u32) -> u64 {
    u64::from(map) << 32 | u64::from(key)
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of places, some of which may be free.
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }

    /// The entry at `place`.
    pub(super) fn at(&self, place: u32) -> Entry {
        self.entries[place as usize]
    }

    /// Every place. The key and the value in a free place are zero.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    // ---- maps ---------------------------------------------------------------

    pub(super) fn add_map(&mut self) -> Option<u32> {
        let new = Map { alive: true, entries: 0 };
        if let Some(place) = self.free_maps.pop() {
            self.maps[place as usize] = new;
            return Some(place);
        }
        if self.maps.len() >= WeakTable::MAX {
            return None;
        }
        self.maps.push(new);
        Some(self.maps.len() as u32 - 1)
    }

    /// Drops a map. Its entries no longer keep anything alive, and a collection removes them.
    pub(super) fn drop_map(&mut self, place: u32) {
        let map = &mut self.maps[place as usize];
        map.alive = false;
        if map.entries == 0 {
            self.free_maps.push(place);
        }
    }

    /// Whether the host has a handle of the map.
    pub(super) fn is_alive(&self, map: u32) -> bool {
        self.maps[map as usize].alive
    }

    /// The number of entries in a map, some of which may have dead keys.
    pub(crate) fn len_of(&self, map: u32) -> u32 {
        self.maps[map as usize].entries
    }

    // ---- entries, for the host ----------------------------------------------

    fn find(&mut self, map: u32, key: &VMGcRef) -> Option<u32> {
        if self.stale {
            self.index.clear();
            for (place, entry) in (0..).zip(&self.entries) {
                if entry.key != 0 {
                    self.index.insert(number(entry.map, entry.key), place);
                }
            }
            self.stale = false;
        }
        self.index.get(number(map, key.as_raw_u32()))
    }

    /// The value for a key.
    pub(crate) fn get(&mut self, map: u32, key: &VMGcRef) -> Option<VMGcRef> {
        let place = self.find(map, key)?;
        reference(self.entries[place as usize].value)
    }

    /// Whether there is room for another entry, or the map has one for this key.
    pub(crate) fn has_room(&mut self, map: u32, key: &VMGcRef) -> bool {
        self.len() < WeakTable::MAX || self.find(map, key).is_some()
    }

    /// Adds an entry, which owns `key` and `value`. Returns the references that it no longer owns:
    /// the key, if there was an entry for it, and that entry's value.
    pub(crate) fn insert(
        &mut self,
        map: u32,
        key: VMGcRef,
        value: VMGcRef,
    ) -> [Option<VMGcRef>; 2] {
        let known = self.find(map, &key);
        let place = known.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.entries.push(Entry::default());
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[place as usize];
        let before = std::mem::replace(&mut entry.value, value.as_raw_u32());
        if !std::mem::replace(&mut entry.young, true) {
            self.young.push(place);
        }
        if known.is_some() {
            return [Some(key), reference(before)];
        }
        (entry.map, entry.key) = (map, key.as_raw_u32());
        self.index.insert(number(map, key.as_raw_u32()), place);
        self.maps[map as usize].entries += 1;
        [None, None]
    }

    /// Removes the entry for a key. Returns its key and its value.
    pub(crate) fn remove(&mut self, map: u32, key: &VMGcRef) -> Option<[Option<VMGcRef>; 2]> {
        let place = self.find(map, key)?;
        let Entry { key, value, .. } = self.at(place);
        self.remove_at(place);
        Some([reference(key), reference(value)])
    }

    // ---- for a collection ---------------------------------------------------

    /// Removes the entry at `place`, unless the place is free.
    pub(super) fn remove_at(&mut self, place: u32) {
        let entry = &mut self.entries[place as usize];
        if entry.key == 0 {
            return;
        }
        let Entry { map, key, .. } = *entry;
        (entry.key, entry.value) = (0, 0);
        self.free.push(place);
        if !self.stale {
            self.index.remove(number(map, key));
        }
        let of = &mut self.maps[map as usize];
        of.entries -= 1;
        if of.entries == 0 && !of.alive {
            self.free_maps.push(map);
        }
    }

    /// Sets the key and the value of an entry to where they are now. If `young`, only young objects
    /// have moved.
    pub(super) fn set(&mut self, place: u32, key: u32, value: u32, young: bool) {
        let entry = &mut self.entries[place as usize];
        entry.value = value;
        let before = std::mem::replace(&mut entry.key, key);
        if before == key {
            return;
        }
        let map = entry.map;
        self.stale |= !young;
        if !self.stale {
            // A young key has moved to where no key was.
            self.index.remove(number(map, before));
            self.index.insert(number(map, key), place);
        }
    }

    /// Keeps the young places for which `keep` returns true.
    pub(super) fn retain_young(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let entries = &mut self.entries;
        self.young.retain(|&place| {
            let entry = &mut entries[place as usize];
            entry.young = entry.key != 0 && keep(entry);
            entry.young
        });
    }

    /// Calls `update` with the words of every key and value, zero in free places.
    pub(super) fn update(&mut self, update: &mut dyn FnMut(&mut u32)) {
        for entry in &mut self.entries {
            let before = entry.key;
            update(&mut entry.key);
            update(&mut entry.value);
            self.stale |= entry.key != before;
        }
    }

    /// Removes every entry. The maps stay.
    pub(super) fn reset(&mut self) {
        self.entries.clear();
        self.free.clear();
        self.young.clear();
        self.index.clear();
        self.stale = false;
        for (place, map) in (0..).zip(&mut self.maps) {
            if std::mem::take(&mut map.entries) > 0 && !map.alive {
                self.free_maps.push(place);
            }
        }
    }
}
