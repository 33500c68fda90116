//! The shadow's weak references.
//!
//! An allocation may collect, and the shadow does not know whether it did. So some results are
//! allowed and others are required: a weak handle may be cleared as soon as its object cannot be
//! reached, also if a finalizer revives the object later, and must be cleared when a complete
//! collection has freed the object or has found it dead for its finalizer. A finalizer may
//! come as soon as its object cannot be reached, and must come after a complete collection, unless
//! another object that waits for its finalizer may keep its object. Entries of weak maps are
//! certain, because only a live key can be looked up.

use super::{ObjectId, Shadow, ShadowRef, target};
use crate::mutator::Effect;
use crate::ops::{self, Op, WEAK_HANDLES, WEAK_MAPS};
use crate::place::RootSlot;
use anyhow::{Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// A finalizer.
#[derive(Clone, Copy, Debug)]
struct Finalizer {
    number: u32,
    object: ShadowRef,
    /// Whether a collection may have found the object dead.
    maybe: bool,
}

/// The weak references.
#[derive(Debug, Default)]
pub(super) struct ShadowWeak {
    handles: [Option<ShadowRef>; WEAK_HANDLES],
    /// Whether there is a handle, which may be cleared.
    made: [bool; WEAK_HANDLES],
    /// Whether a collection may have cleared the handle before a finalizer revived its object.
    unsure: [bool; WEAK_HANDLES],
    maps: [BTreeMap<Key, ShadowRef>; WEAK_MAPS],
    finalizers: Vec<Finalizer>,
    /// Finalizers of objects that a complete collection has found dead.
    ready: Vec<Finalizer>,
    /// The number of finalizers that were added.
    added: u32,
}

/// A key in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    I31(u32),
    Object(ObjectId),
}

impl Key {
    fn of(reference: ShadowRef) -> Key {
        match reference {
            ShadowRef::I31(i31) => Key::I31(i31.get_u32()),
            ShadowRef::Object(id) => Key::Object(id),
        }
    }
}

impl ShadowWeak {
    /// The objects that the maps keep if those in `seen` live.
    pub(super) fn values(&self, seen: &BTreeSet<ObjectId>) -> impl Iterator<Item = ObjectId> {
        let lives = |key: &Key| match key {
            Key::I31(_) => true,
            Key::Object(id) => seen.contains(id),
        };
        let entries = self.maps.iter().flatten().filter(move |(key, _)| lives(key));
        entries.filter_map(|(_, value)| target(&Some(*value)))
    }

    /// All objects to which something refers here.
    pub(super) fn all(&self) -> impl Iterator<Item = ObjectId> {
        let keys = self.maps.iter().flatten().filter_map(|(key, _)| match key {
            Key::I31(_) => None,
            Key::Object(id) => Some(*id),
        });
        let values = self.maps.iter().flatten().filter_map(|(_, value)| target(&Some(*value)));
        let finalizers = self.finalizers.iter().chain(&self.ready);
        let objects = finalizers.filter_map(|finalizer| target(&Some(finalizer.object)));
        self.handles.iter().filter_map(target).chain(keys).chain(values).chain(objects)
    }

    /// Clears what refers to dead objects.
    pub(super) fn clear_dead(&mut self, lives: impl Fn(ObjectId) -> bool) {
        for handle in &mut self.handles {
            if target(handle).is_some_and(|id| !lives(id)) {
                *handle = None;
            }
        }
        for map in &mut self.maps {
            map.retain(|key, _| match key {
                Key::I31(_) => true,
                Key::Object(id) => lives(*id),
            });
        }
    }

    /// Follows what a collection may do to handles of objects that are not in `reachable`: it
    /// clears them before it keeps objects for their finalizers, which may revive them.
    fn doubt(&mut self, reachable: &BTreeSet<ObjectId>) {
        for (handle, unsure) in self.handles.iter().zip(&mut self.unsure) {
            *unsure |= target(handle).is_some_and(|id| !reachable.contains(&id));
        }
    }

    /// Clears the handles of the objects of `dead`, which a complete collection has just found.
    ///
    /// An object stays out of it if an earlier collection may have found it already: it waited
    /// for the host then, which keeps it, so a handle that was made since is not cleared.
    fn clear_found(&mut self, dead: &[Finalizer]) {
        for handle in &mut self.handles {
            let mut finalizers = dead.iter().filter(|known| Some(known.object) == *handle);
            if finalizers.clone().next().is_some() && finalizers.all(|known| !known.maybe) {
                *handle = None;
            }
        }
    }

    /// Forgets everything, for a reset of the store.
    pub(super) fn forget(&mut self) {
        *self = ShadowWeak { added: self.added, ..ShadowWeak::default() };
    }
}

impl Shadow {
    /// Finds the objects that a complete collection must find dead and keep for their finalizers.
    /// Returns all that lives then.
    pub(super) fn keep_finalizable(&mut self) -> BTreeSet<ObjectId> {
        let kept = |shadow: &Shadow, doubtful: &[Finalizer]| {
            let waiting = shadow.weak.ready.iter().chain(doubtful);
            let waiting: Vec<_> = waiting.filter_map(|known| target(&Some(known.object))).collect();
            shadow.reached_from(shadow.roots.iter().filter_map(target).chain(waiting))
        };
        let reachable = kept(&*self, &[]);
        let is_dead = |finalizer: &Finalizer| {
            target(&Some(finalizer.object)).is_some_and(|id| !reachable.contains(&id))
        };
        let (dead, mut live): (Vec<_>, Vec<_>) =
            self.weak.finalizers.iter().copied().partition(is_dead);
        // What an earlier collection has found waits for the host, and keeps what it reaches.
        let keeps: Vec<_> = dead
            .iter()
            .filter(|finalizer| finalizer.maybe)
            .map(|finalizer| {
                let reached = self.reached_from(target(&Some(finalizer.object)).into_iter());
                (finalizer.number, reached)
            })
            .collect();
        let may_be_kept = |finalizer: &Finalizer| {
            let is_in = |reached: &BTreeSet<ObjectId>| {
                target(&Some(finalizer.object)).is_some_and(|id| reached.contains(&id))
            };
            keeps.iter().any(|(number, reached)| *number != finalizer.number && is_in(reached))
        };
        let (mut doubtful, found): (Vec<_>, Vec<_>) = dead.iter().copied().partition(may_be_kept);
        doubtful.iter_mut().for_each(|finalizer| finalizer.maybe = true);
        live.extend(&doubtful);
        live.sort_unstable_by_key(|finalizer| finalizer.number);
        self.weak.finalizers = live;
        self.weak.doubt(&reachable);
        self.weak.clear_found(&found);
        self.weak.ready.extend(found);
        kept(&*self, &doubtful)
    }

    /// Follows what a collection during an operation may have found, whose roots are those before
    /// the operation.
    pub(super) fn may_collect(&mut self) {
        if self.weak.finalizers.is_empty() || self.scopes > 0 {
            return;
        }
        let reachable = self.reachable();
        self.weak.doubt(&reachable);
        for finalizer in &mut self.weak.finalizers {
            let object = target(&Some(finalizer.object));
            finalizer.maybe |= object.is_some_and(|id| !reachable.contains(&id));
        }
    }

    /// The reference that [`ops::object`] chooses.
    fn chosen(&self, place: RootSlot) -> Option<ShadowRef> {
        ops::object(place, |place| self.root(place))
    }

    /// Follows an operation on weak references, whose effect on the heap was `effect`.
    ///
    /// # Errors
    /// If that is not a possible effect.
    pub(super) fn follow_weak(&mut self, op: &Op, effect: Effect) -> Result<()> {
        let slot = |slot: u8| usize::from(slot) % WEAK_HANDLES;
        let expected = match *op {
            Op::Downgrade { object, slot: at } => match self.chosen(object) {
                Some(object) => {
                    self.weak.handles[slot(at)] = Some(object);
                    self.weak.made[slot(at)] = true;
                    self.weak.unsure[slot(at)] = false;
                    Effect::Done
                }
                None => Effect::Nothing,
            },
            Op::Upgrade { slot: at, to } => return self.upgraded(slot(at), to, effect),
            Op::MapInsert { map, key, value } => match self.chosen(key) {
                Some(key) => {
                    let value = self.chosen(value).unwrap_or(key);
                    self.weak.maps[usize::from(map) % WEAK_MAPS].insert(Key::of(key), value);
                    Effect::Done
                }
                None => Effect::Nothing,
            },
            Op::MapGet { map, key, to } => match self.chosen(key) {
                Some(key) => {
                    let map = &self.weak.maps[usize::from(map) % WEAK_MAPS];
                    let value = map.get(&Key::of(key)).copied();
                    if value.is_some() {
                        self.roots[to.number()] = value;
                    }
                    Effect::Read(value.is_some().into())
                }
                None => Effect::Nothing,
            },
            Op::MapDrop { map } => {
                self.weak.maps[usize::from(map) % WEAK_MAPS].clear();
                Effect::Done
            }
            Op::Finalize { object } => match self.chosen(object) {
                Some(object) => {
                    let number = self.weak.added;
                    self.weak.added += 1;
                    self.weak.finalizers.push(Finalizer { number, object, maybe: false });
                    Effect::Read(number.into())
                }
                None => Effect::Nothing,
            },
            Op::TakeFinalizable { to } => return self.finalized(to, effect),
            _ => unreachable!("{op:?} is not on weak references"),
        };
        ensure!(effect == expected, "the effect is {effect:?} instead of {expected:?}");
        Ok(())
    }

    /// Follows the reading of a weak handle.
    fn upgraded(&mut self, slot: usize, to: RootSlot, effect: Effect) -> Result<()> {
        let handle = self.weak.handles[slot];
        let made = self.weak.made[slot];
        match effect {
            Effect::Nothing => ensure!(!made, "a weak handle is not there"),
            Effect::Read(1) => {
                ensure!(handle.is_some(), "a weak handle of an object that was freed has one");
                self.weak.unsure[slot] = false;
                self.roots[to.number()] = handle;
            }
            Effect::Read(0) => {
                let lives = match handle {
                    Some(ShadowRef::I31(_)) => true,
                    Some(ShadowRef::Object(id)) => self.reachable().contains(&id),
                    None => false,
                };
                let may = !lives || self.weak.unsure[slot];
                ensure!(made && may, "a weak handle of a live object is cleared");
                self.weak.handles[slot] = None;
            }
            _ => bail!("the effect of reading a weak handle is {effect:?}"),
        }
        Ok(())
    }

    /// Follows the taking of an object that waits for its finalizer.
    fn finalized(&mut self, to: RootSlot, effect: Effect) -> Result<()> {
        let Effect::Read(number) = effect else {
            let none = effect == Effect::Nothing && self.weak.ready.is_empty();
            ensure!(none, "no finalizer, but one must be ready: {effect:?}");
            return Ok(());
        };
        let is_it = |finalizer: &Finalizer| u128::from(finalizer.number) == number;
        let taken = if let Some(at) = self.weak.ready.iter().position(is_it) {
            self.weak.ready.remove(at)
        } else {
            let finalizers = &mut self.weak.finalizers;
            let at = finalizers.iter().position(|known| is_it(known) && known.maybe);
            ensure!(at.is_some(), "finalizer {number} has no dead object");
            finalizers.remove(at.unwrap_or(0))
        };
        self.roots[to.number()] = Some(taken.object);
        Ok(())
    }
}
