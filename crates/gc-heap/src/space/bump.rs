//! [`BumpSpace`]: objects one after the other, from the begin of a heap on, and nothing is freed.

use super::check::check_objects;
use super::{Count, Epoch, Visit};
use crate::{HeapCore, HeapError, HeapMemory};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{NULL_PAGE_SIZE, VMGcHeader};

/// A space that is all of a heap. Emitted code allocates in it inline, between the data words [`NEXT`] and [`LIMIT`].
///
/// # Examples
/// ```
/// use gc_heap::space::BumpSpace;
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
/// use gc_types::{TypeIndex, VMGcHeader, VMGcKind};
///
/// let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// let mut space = BumpSpace::new(&mut core.memory);
/// let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
/// let first = space.bump(&mut core, header, 16).unwrap();
/// assert_eq!(space.bump(&mut core, header, 16), Some(first + 16));
/// assert_eq!(space.count(&core).objects, 2);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct BumpSpace {
    epoch: Epoch,
}

impl BumpSpace {
    /// An empty space in all of `memory`, which must be zero.
    pub fn new(memory: &mut HeapMemory) -> BumpSpace {
        let mut epoch = Epoch::default();
        epoch.open(NULL_PAGE_SIZE);
        memory.set_data_u32(NEXT, NULL_PAGE_SIZE);
        let space = BumpSpace { epoch };
        space.use_all(memory);
        space
    }

    fn use_all(&self, memory: &mut HeapMemory) {
        let limit = u32::try_from(memory.len()).unwrap_or(u32::MAX);
        memory.set_data_u32(LIMIT, limit);
    }

    fn next(&self, memory: &HeapMemory) -> u32 {
        memory.data_u32(NEXT)
    }

    /// The bytes of all objects.
    pub fn used_bytes(&self, memory: &HeapMemory) -> u64 {
        u64::from(self.next(memory).saturating_sub(NULL_PAGE_SIZE))
    }

    /// All objects. Does not walk over an object often.
    pub fn count(&self, core: &HeapCore) -> Count {
        let walk = |at, end, visit: Visit<'_>| core.walk(at, end, visit);
        self.epoch.count(Some(self.next(&core.memory)), &walk)
    }

    /// Allocates by bumping the next index, as emitted code does.
    #[inline]
    pub fn bump(&mut self, core: &mut HeapCore, header: VMGcHeader, size: u32) -> Option<u32> {
        let next = core.bump(header, size)?;
        self.epoch.count_host(size);
        Some(next)
    }

    /// Maps more memory ([`HeapCore::grow`]).
    ///
    /// # Errors
    /// If that is refused.
    pub fn grow(&mut self, core: &mut HeapCore, bytes: u64) -> Result<u64, HeapError> {
        let grown = core.grow(bytes)?;
        self.use_all(&mut core.memory);
        Ok(grown)
    }

    /// Calls `visit` with the index and the size of each object, in address order.
    ///
    /// # Errors
    /// If an object is damaged; that of `visit`.
    pub fn walk(&self, core: &HeapCore, visit: Visit<'_>) -> Result<(), HeapError> {
        core.walk(NULL_PAGE_SIZE, self.next(&core.memory), visit)
    }

    /// Checks all objects.
    ///
    /// # Errors
    /// The first error, and its place.
    pub fn check(&self, core: &HeapCore) -> Result<(), HeapError> {
        check_objects(core, |visit| self.walk(core, visit))
    }
}
