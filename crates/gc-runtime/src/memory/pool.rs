//! [`Pool`]: a source that keeps the address space of memories and tables in a limited number of
//! slots.
//!
//! A slot is *cold* until it is used, and *warm* from then on. Which slot is given follows Wasmtime's
//! pool: the slot that the same module had before, and otherwise a cold slot as long as few warm ones
//! are unused, because a warm slot may be of use to the module that had it.

use super::{Growth, MemoryPurpose, MemoryRequest, MemorySource, Reservation, UsedReservation};
use crate::{HeapError, KeptHeaps};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The options of the slots of one kind in a [`Pool`].
#[derive(Clone, Copy, Debug)]
pub struct PoolSlots {
    /// The most slots.
    pub total: u32,
    /// The most bytes of physical memory that an unused slot keeps. They are overwritten with zeroes
    /// when the slot is given back. The rest goes back to the system.
    pub keep_resident: usize,
}

/// The options of a [`Pool`].
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// The slots of linear memories.
    pub memories: PoolSlots,
    /// The slots of large tables.
    pub tables: PoolSlots,
    /// If more unused slots than this are warm, the one that waits longest is used before a cold one.
    pub max_unused_warm: u32,
    /// The number of slots that are cleared together. 0 and 1 clear each slot when it is given back.
    pub decommit_batch: usize,
}

/// A [`MemorySource`] with a limited number of slots for linear memories and for large tables. A slot
/// keeps its address space and its mapping until the pool is dropped. Everything else comes from the
/// source below.
///
/// What a slot held is cleared before it is used again.
///
/// # Examples
/// ```
/// use gc_runtime::{
///     MappedMemory, MemoryPurpose, MemoryRequest, MemorySource, OnDemand, Pool, PoolOptions, PoolSlots,
/// };
/// use std::sync::Arc;
///
/// let slots = PoolSlots { total: 1, keep_resident: 0 };
/// let options =
///     PoolOptions { memories: slots, tables: slots, max_unused_warm: 100, decommit_batch: 1 };
/// let pool: Arc<dyn MemorySource> = Arc::new(Pool::new(options, Arc::new(OnDemand::default())));
/// let request = MemoryRequest {
///     purpose: MemoryPurpose::LinearMemory,
///     size: 1 << 20,
///     unmapped: 0,
///     initial: 64 << 10,
///     affinity: 1,
/// };
/// let memory = MappedMemory::new(&pool, request)?;
/// let base = memory.base();
/// assert!(MappedMemory::new(&pool, request).is_err());
/// drop(memory);
/// assert_eq!(MappedMemory::new(&pool, request)?.base(), base);
/// # Ok::<(), gc_runtime::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    options: PoolOptions,
    below: Arc<dyn MemorySource>,
    memories: Mutex<Slots>,
    tables: Mutex<Slots>,
}

/// The slots of one kind.
#[derive(Debug, Default)]
struct Slots {
    /// The number of slots in use, and of those that are being cleared.
    used: u32,
    clearing: u32,
    /// Unused warm slots by the time of their last use.
    warm: BTreeMap<u64, Warm>,
    /// Those of each module's memory, the last used one last.
    affine: HashMap<u64, VecDeque<u64>>,
    /// Slots that wait to be cleared.
    dirty: Vec<UsedReservation>,
    /// The time of the next use.
    now: u64,
    /// Bytes of physical memory of the warm slots.
    resident: usize,
}

/// A slot that was used and cleared.
#[derive(Debug)]
struct Warm {
    space: Reservation,
    request: MemoryRequest,
}

impl Slots {
    /// The number of slots that are not cold.
    fn known(&self) -> usize {
        self.used as usize + self.clearing as usize + self.warm.len() + self.dirty.len()
    }

    fn insert(&mut self, space: Reservation, request: MemoryRequest) {
        let at = self.now;
        self.now += 1;
        self.resident += space.resident();
        self.affine.entry(request.affinity).or_default().push_back(at);
        self.warm.insert(at, Warm { space, request });
    }

    fn remove(&mut self, at: u64) -> Option<Warm> {
        let warm = self.warm.remove(&at)?;
        self.resident -= warm.space.resident();
        let affinity = warm.request.affinity;
        if let Some(times) = self.affine.get_mut(&affinity) {
            // It is the first or the last, unless slots of several sizes have the same number.
            if let Some(place) = times.iter().rposition(|time| *time == at) {
                times.remove(place);
            }
            if times.is_empty() {
                self.affine.remove(&affinity);
            }
        }
        Some(warm)
    }

    /// The last used slot of the same module's memory.
    fn take_affine(&mut self, request: &MemoryRequest) -> Option<Warm> {
        if request.affinity == 0 {
            return None;
        }
        let times = self.affine.get(&request.affinity)?;
        let at = times.iter().rev().find(|at| self.warm[at].space.fits(request));
        self.remove(*at?)
    }

    /// The slot that waits longest.
    fn take_oldest(&mut self) -> Option<Warm> {
        let (&at, _) = self.warm.first_key_value()?;
        self.remove(at)
    }
}

/// Where a slot comes from.
enum Source {
    Warm(Warm),
    Cold,
}

impl Pool {
    /// An empty pool, whose address space comes from `below`.
    pub fn new(options: PoolOptions, below: Arc<dyn MemorySource>) -> Pool {
        Pool { options, below, memories: Mutex::default(), tables: Mutex::default() }
    }

    /// The number of slots in use for this purpose.
    pub fn used(&self, purpose: MemoryPurpose) -> u32 {
        self.slots(purpose).map_or(0, |(slots, _)| slots.used)
    }

    /// The number of warm slots for this purpose that are not in use.
    pub fn unused_warm(&self, purpose: MemoryPurpose) -> usize {
        self.slots(purpose).map_or(0, |(slots, _)| slots.warm.len() + slots.dirty.len())
    }

    /// Bytes of physical memory of the warm slots for this purpose that are not in use, except those
    /// that wait to be cleared.
    pub fn unused_resident(&self, purpose: MemoryPurpose) -> usize {
        self.slots(purpose).map_or(0, |(slots, _)| slots.resident)
    }

    /// The slots for a purpose. `None` if it has none.
    fn slots(&self, purpose: MemoryPurpose) -> Option<(MutexGuard<'_, Slots>, PoolSlots)> {
        let (slots, options) = match purpose {
            MemoryPurpose::LinearMemory => (&self.memories, self.options.memories),
            MemoryPurpose::Table => (&self.tables, self.options.tables),
            _ => return None,
        };
        // No code of others runs under the lock.
        Some((slots.lock().unwrap_or_else(PoisonError::into_inner), options))
    }

    /// Chooses a slot, and counts it as used.
    fn choose(&self, request: &MemoryRequest) -> Option<Result<Source, HeapError>> {
        let (mut slots, PoolSlots { total, .. }) = self.slots(request.purpose)?;
        let warm = match slots.take_affine(request) {
            Some(warm) => Some(warm),
            None if slots.warm.len() > self.options.max_unused_warm as usize => slots.take_oldest(),
            None if slots.known() < total as usize => None,
            None => match slots.take_oldest() {
                Some(warm) => Some(warm),
                None => {
                    let (purpose, limit) = (request.purpose, total);
                    return Some(Err(HeapError::PoolLimit { purpose, limit }));
                }
            },
        };
        slots.used += 1;
        Some(Ok(warm.map_or(Source::Cold, Source::Warm)))
    }

    /// Makes a slot cold again.
    fn release(&self, warm: Warm) {
        self.below.give_back(UsedReservation(warm.space.0, warm.request));
    }

    /// Clears the slots that wait for it. Returns whether there were any.
    fn flush(&self, purpose: MemoryPurpose) -> bool {
        let Some((mut slots, PoolSlots { keep_resident, .. })) = self.slots(purpose) else {
            return false;
        };
        let dirty = mem::take(&mut slots.dirty);
        slots.clearing += dirty.len() as u32;
        // The system is called without the lock.
        drop(slots);
        let any = !dirty.is_empty();
        for used in dirty {
            let request = *used.request();
            let cleared = used.clear(keep_resident);
            if let Some((mut slots, _)) = self.slots(purpose) {
                slots.clearing -= 1;
                slots.insert(cleared, request);
            }
        }
        any
    }
}

impl MemorySource for Pool {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        let chosen = match self.choose(request) {
            Some(Err(_)) if self.flush(request.purpose) => self.choose(request),
            chosen => chosen,
        };
        match chosen {
            None => return self.below.reserve(request),
            Some(Err(error)) => return Err(error),
            Some(Ok(Source::Warm(warm))) if warm.space.fits(request) => return Ok(warm.space),
            // It has another size.
            Some(Ok(Source::Warm(warm))) => self.release(warm),
            Some(Ok(Source::Cold)) => {}
        }
        self.below.reserve(request).inspect_err(|_| {
            if let Some((mut slots, _)) = self.slots(request.purpose) {
                slots.used -= 1;
            }
        })
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        self.below.commit(growth)
    }

    fn give_back(&self, used: UsedReservation) {
        let purpose = used.request().purpose;
        let Some((mut slots, _)) = self.slots(purpose) else { return self.below.give_back(used) };
        slots.used -= 1;
        slots.dirty.push(used);
        let enough = slots.dirty.len() >= self.options.decommit_batch;
        drop(slots);
        if enough {
            self.flush(purpose);
        }
    }

    fn keep_heaps(&self, heaps: KeptHeaps) -> usize {
        self.below.keep_heaps(heaps)
    }

    fn admit(&self, purpose: MemoryPurpose, bytes: usize) -> Result<(), HeapError> {
        self.below.admit(purpose, bytes)
    }

    fn freed(&self, purpose: MemoryPurpose, bytes: usize) {
        self.below.freed(purpose, bytes);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for purpose in [MemoryPurpose::LinearMemory, MemoryPurpose::Table] {
            self.flush(purpose);
            while let Some(warm) =
                self.slots(purpose).and_then(|(mut slots, _)| slots.take_oldest())
            {
                self.release(warm);
            }
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::{MappedMemory, OnDemand};

    const PAGE: usize = 64 << 10;

    fn pool(total: u32, keep_resident: usize, warm: u32, batch: usize) -> Arc<Pool> {
        let slots = PoolSlots { total, keep_resident };
        let options = PoolOptions {
            memories: slots,
            tables: slots,
            max_unused_warm: warm,
            decommit_batch: batch,
        };
        Arc::new(Pool::new(options, Arc::new(OnDemand::keeping(0, 0))))
    }

    fn memory(pool: &Arc<Pool>, affinity: u64) -> Result<MappedMemory, HeapError> {
        let source: Arc<dyn MemorySource> = pool.clone();
        let purpose = MemoryPurpose::LinearMemory;
        let request =
            MemoryRequest { purpose, size: 4 * PAGE, unmapped: 0, initial: PAGE, affinity };
        MappedMemory::new(&source, request)
    }

    /// Whatever is kept and however many slots are cleared together, a slot is zero when it is used
    /// again, also what an earlier user added to it.
    #[test]
    fn a_slot_is_as_new() {
        for keep in [0, 8 << 10, 1 << 30] {
            for batch in [0, 1, 2, 99] {
                let pool = pool(2, keep, 0, batch);
                for round in 0..5 {
                    let mut memories = [memory(&pool, 1).unwrap(), memory(&pool, 2).unwrap()];
                    assert!(matches!(memory(&pool, 3), Err(HeapError::PoolLimit { limit: 2, .. })));
                    for memory in &mut memories {
                        assert_eq!(memory.accessible(), PAGE, "{round}");
                        memory.grow(3 * PAGE).unwrap();
                        assert!(memory.bytes().iter().all(|byte| *byte == 0), "{keep}, {batch}");
                        memory.bytes_mut().fill(0xaa);
                    }
                    assert_eq!(pool.used(MemoryPurpose::LinearMemory), 2);
                }
                assert_eq!(pool.used(MemoryPurpose::LinearMemory), 0);
                assert_eq!(pool.unused_warm(MemoryPurpose::LinearMemory), 2);
                let resident = pool.unused_resident(MemoryPurpose::LinearMemory);
                assert!(resident <= 2 * keep, "{resident}");
            }
        }
    }

    #[test]
    fn a_module_gets_the_slot_that_it_had() {
        let pool = pool(10, 0, 2, 1);
        let bases = [1, 2].map(|affinity| memory(&pool, affinity).unwrap().base());
        assert_ne!(bases[0], bases[1], "a cold slot as long as few are warm");
        for (affinity, base) in [1, 2].into_iter().zip(bases).rev() {
            assert_eq!(memory(&pool, affinity).unwrap().base(), base);
        }
        // Another module, and nobody in particular, get cold slots until more than two are warm.
        let third = memory(&pool, 3).unwrap().base();
        assert!(!bases.contains(&third));
        // The slot of module 2 waits longest.
        assert_eq!(memory(&pool, 0).unwrap().base(), bases[1]);
        assert_eq!(pool.unused_warm(MemoryPurpose::LinearMemory), 3);
    }

    #[test]
    fn slots_of_another_size_are_released() {
        let pool = pool(1, 0, 100, 1);
        drop(memory(&pool, 1).unwrap());
        let source: Arc<dyn MemorySource> = pool.clone();
        let purpose = MemoryPurpose::LinearMemory;
        let large =
            MemoryRequest { purpose, size: 9 * PAGE, unmapped: 0, initial: PAGE, affinity: 1 };
        let large = MappedMemory::new(&source, large).unwrap();
        assert!(memory(&pool, 1).is_err());
        drop(large);
        assert!(memory(&pool, 1).is_ok());
        assert_eq!(pool.unused_warm(purpose), 1);
    }

    /// A source below that refuses costs no slot.
    #[test]
    fn a_refused_slot_is_not_lost() {
        let pool = pool(1, 0, 100, 1);
        let source: Arc<dyn MemorySource> = pool.clone();
        let purpose = MemoryPurpose::LinearMemory;
        let request =
            MemoryRequest { purpose, size: 1 << 60, unmapped: 0, initial: 0, affinity: 0 };
        assert!(matches!(MappedMemory::new(&source, request), Err(HeapError::NoMemory { .. })));
        assert_eq!(pool.used(purpose), 0);
        assert!(memory(&pool, 1).is_ok());
    }
}
