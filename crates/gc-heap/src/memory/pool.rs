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
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::vec;

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
/// What a slot held is cleared before it is used again. Whoever asks for a slot while the last free
/// ones are being cleared waits for that.
///
/// # Examples
/// ```
/// use gc_heap::{
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
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    max_unused_warm: u32,
    decommit_batch: usize,
    below: Arc<dyn MemorySource>,
    memories: SlotPool,
    tables: SlotPool,
}

/// The slots of one kind, and who waits for one of them.
#[derive(Debug)]
struct SlotPool {
    options: PoolSlots,
    slots: Mutex<Slots>,
    /// Notified when fewer slots are being cleared.
    cleared: Condvar,
}

/// The state of the slots of one kind.
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

impl SlotPool {
    fn new(options: PoolSlots) -> SlotPool {
        SlotPool { options, slots: Mutex::default(), cleared: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // No code of others runs under the lock.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the slots that wait to be cleared. `None` if there are none.
    fn take_dirty(&self, slots: &mut Slots) -> Option<Clearing<'_>> {
        let dirty = mem::take(&mut slots.dirty);
        let left = dirty.len() as u32;
        slots.clearing += left;
        (left > 0).then(|| Clearing { kind: self, dirty: dirty.into_iter(), left })
    }

    /// Clears the slots that wait for it.
    fn flush(&self) {
        let clearing = self.take_dirty(&mut self.lock());
        // The system is called without the lock.
        if let Some(clearing) = clearing {
            clearing.run();
        }
    }
}

/// Slots that one thread clears. Others may wait for them.
struct Clearing<'a> {
    kind: &'a SlotPool,
    dirty: vec::IntoIter<UsedReservation>,
    /// The number of slots that are not cleared yet.
    left: u32,
}

impl Clearing<'_> {
    fn run(mut self) {
        for used in self.dirty.by_ref() {
            let request = *used.request();
            let cleared = used.clear(self.kind.options.keep_resident);
            self.left -= 1;
            let mut slots = self.kind.lock();
            slots.clearing -= 1;
            slots.insert(cleared, request);
            drop(slots);
            // All of them: after the last one, some find that there is no slot for them.
            self.kind.cleared.notify_all();
        }
    }
}

impl Drop for Clearing<'_> {
    /// After a panic, the slots that were not cleared are cold.
    fn drop(&mut self) {
        if self.left > 0 {
            drop(mem::take(&mut self.dirty));
            self.kind.lock().clearing -= self.left;
            self.kind.cleared.notify_all();
        }
    }
}

impl Pool {
    /// An empty pool, whose address space comes from `below`.
    pub fn new(options: PoolOptions, below: Arc<dyn MemorySource>) -> Pool {
        let PoolOptions { memories, tables, max_unused_warm, decommit_batch } = options;
        let (memories, tables) = (SlotPool::new(memories), SlotPool::new(tables));
        Pool { max_unused_warm, decommit_batch, below, memories, tables }
    }

    /// The number of slots in use for this purpose.
    pub fn used(&self, purpose: MemoryPurpose) -> u32 {
        self.kind(purpose).map_or(0, |kind| kind.lock().used)
    }

    /// The number of warm slots for this purpose that are not in use.
    pub fn unused_warm(&self, purpose: MemoryPurpose) -> usize {
        self.kind(purpose).map_or(0, |kind| {
            let slots = kind.lock();
            slots.warm.len() + slots.dirty.len()
        })
    }

    /// Bytes of physical memory of the warm slots for this purpose that are not in use, except those
    /// that wait to be cleared.
    pub fn unused_resident(&self, purpose: MemoryPurpose) -> usize {
        self.kind(purpose).map_or(0, |kind| kind.lock().resident)
    }

    /// The slots for a purpose. `None` if it has none.
    fn kind(&self, purpose: MemoryPurpose) -> Option<&SlotPool> {
        match purpose {
            MemoryPurpose::LinearMemory => Some(&self.memories),
            MemoryPurpose::Table => Some(&self.tables),
            _ => None,
        }
    }

    /// Chooses a slot. `None` if all are in use or are not cleared.
    fn choose(&self, slots: &mut Slots, total: u32, request: &MemoryRequest) -> Option<Source> {
        let warm = match slots.take_affine(request) {
            Some(warm) => Some(warm),
            None if slots.warm.len() > self.max_unused_warm as usize => slots.take_oldest(),
            None if slots.known() < total as usize => None,
            None => Some(slots.take_oldest()?),
        };
        Some(warm.map_or(Source::Cold, Source::Warm))
    }

    /// Chooses a slot, and counts it as used. If all slots are in use or are not cleared, it clears
    /// those that wait for it, or waits for the thread that does.
    fn take(&self, kind: &SlotPool, request: &MemoryRequest) -> Result<Source, HeapError> {
        let limit = kind.options.total;
        let mut slots = kind.lock();
        loop {
            if let Some(source) = self.choose(&mut slots, limit, request) {
                slots.used += 1;
                return Ok(source);
            }
            if let Some(clearing) = kind.take_dirty(&mut slots) {
                // The system is called without the lock.
                drop(slots);
                clearing.run();
                slots = kind.lock();
            } else if slots.clearing > 0 {
                slots = kind.cleared.wait(slots).unwrap_or_else(PoisonError::into_inner);
            } else {
                return Err(HeapError::PoolLimit { purpose: request.purpose, limit });
            }
        }
    }

    /// Makes a slot cold again.
    fn release(&self, warm: Warm) {
        self.below.give_back(UsedReservation(warm.space.0, warm.request));
    }
}

impl MemorySource for Pool {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        let Some(kind) = self.kind(request.purpose) else { return self.below.reserve(request) };
        match self.take(kind, request)? {
            Source::Warm(warm) if warm.space.fits(request) => return Ok(warm.space),
            // It has another size.
            Source::Warm(warm) => self.release(warm),
            Source::Cold => {}
        }
        self.below.reserve(request).inspect_err(|_| kind.lock().used -= 1)
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        self.below.commit(growth)
    }

    fn give_back(&self, used: UsedReservation) {
        let Some(kind) = self.kind(used.request().purpose) else {
            return self.below.give_back(used);
        };
        let mut slots = kind.lock();
        slots.used -= 1;
        slots.dirty.push(used);
        let enough = slots.dirty.len() >= self.decommit_batch;
        drop(slots);
        if enough {
            kind.flush();
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
        for kind in [&self.memories, &self.tables] {
            kind.flush();
            // The guard of the lock is gone before the slot is released.
            while let Some(warm) = { kind.lock().take_oldest() } {
                self.release(warm);
            }
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::{MappedMemory, OnDemand};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

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
    /// Slots that another thread is clearing are free, so whoever needs one waits, also if they are
    /// lost. Who finds that others got them is refused.
    #[test]
    fn slots_that_are_being_cleared_are_waited_for() {
        for is_lost in [false, true] {
            let pool = pool(2, 0, 100, 99);
            drop([memory(&pool, 1).unwrap(), memory(&pool, 2).unwrap()]);
            let kind = &pool.memories;
            let clearing = kind.take_dirty(&mut kind.lock()).unwrap();
            let (sender, receiver) = mpsc::channel();
            let waiting = [3, 4, 5].map(|affinity| {
                let (pool, sender) = (pool.clone(), sender.clone());
                thread::spawn(move || sender.send(memory(&pool, affinity)))
            });
            // None of them is refused in this time.
            let early = receiver.recv_timeout(Duration::from_millis(30));
            assert!(early.is_err(), "{early:?}");
            match is_lost {
                false => clearing.run(),
                true => drop(clearing),
            }
            let made: Vec<_> = waiting.iter().map(|_| receiver.recv().unwrap()).collect();
            assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 2);
            assert_eq!(pool.used(MemoryPurpose::LinearMemory), 2);
            waiting.into_iter().for_each(|thread| _ = thread.join().unwrap());
        }
    }
}
