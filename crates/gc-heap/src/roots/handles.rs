//! Handles for references that the host holds. A [`Handle`] is valid until its scope ends, and an
//! [`OwnedHandle`] is valid until it is dropped.
//!
//! A handle is an index in its store's table and never the reference itself, because a moving
//! collector updates the table. Scopes nest like the host functions that open them. V8's
//! `HandleScope` and the JNI's local references use the same idea.
//!
//! The table holds references and has no barriers. [`GcStore`](crate::GcStore) makes and drops
//! handles, because it has the table and the barriers.

use super::token::{TableId, Token, Tokens};
use gc_types::VMGcRef;
use std::fmt;

/// A handle to a reference that the host holds. Copies are the same handle.
///
/// It is valid until the scope in which it was made ends. The handle of an [`OwnedHandle`]
/// ([`OwnedHandle::handle`]) is valid until that is dropped.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HandleError, HeapOptions, toy::ToyCollector};
/// use gc_types::{I31, VMGcRef};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// let scope = store.enter_handle_scope();
/// let handle = store.root(VMGcRef::from_i31(I31::wrapping_i32(5))).unwrap();
/// assert!(store.rooted(&handle).is_ok());
/// store.exit_handle_scope(scope);
/// assert_eq!(store.rooted(&handle), Err(HandleError::ScopeEnded));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    table: TableId,
    /// The index among the scoped handles, or [`Handle::OWNED`] and the index among the owned ones.
    place: u32,
    /// The generation in which it was made. Places are used again.
    generation: u64,
}

impl Handle {
    /// The maximal number of handles in a store at the same time that live in scopes.
    pub const MAX: usize = 1 << 26;

    /// The bit in `place` of the handle of an [`OwnedHandle`].
    const OWNED: u32 = 1 << 31;
}

const _: () = assert!(Handle::MAX <= Handle::OWNED as usize);
const _: () = assert!(OwnedHandle::MAX <= Handle::OWNED as usize);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.place & !Handle::OWNED;
        let kind = if self.place == index { "Handle" } else { "OwnedHandle" };
        write!(f, "{kind}({index})")
    }
}

/// A handle that is valid until the handle and its clones are dropped. Clones are the same handle.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// let externref = store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
/// let handle = store.root_owned(externref).unwrap();
/// store.gc(&mut NoStack)?;
/// assert_eq!(store.host_data().len(), 1);
/// drop(handle);
/// store.gc(&mut NoStack)?;
/// assert_eq!(store.host_data().len(), 0);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone)]
pub struct OwnedHandle {
    handle: Handle,
    /// Keeps the place.
    _token: Token,
}

impl OwnedHandle {
    /// The maximal number of these handles in a store at the same time.
    pub const MAX: usize = 1 << 25;

    /// The handle, which is valid as long as this is.
    pub fn handle(&self) -> Handle {
        self.handle
    }
}

impl fmt::Debug for OwnedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

/// The beginning of a scope of handles ([`GcStore::enter_handle_scope`]).
///
/// [`GcStore::enter_handle_scope`]: crate::GcStore::enter_handle_scope
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the scope's handles are dropped when it is exited"]
pub struct HandleScope {
    table: TableId,
    /// The number of handles before it.
    handles: usize,
}

/// The reason why a handle cannot be used or made.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HandleError, HeapOptions, toy::ToyCollector};
/// use gc_types::{I31, VMGcRef};
///
/// let options = HeapOptions::default();
/// let mut store = GcStore::new(&ToyCollector, &options)?;
/// let other = GcStore::new(&ToyCollector, &options)?;
/// let handle = store.root(VMGcRef::from_i31(I31::wrapping_i32(5))).unwrap();
/// assert_eq!(other.rooted(&handle), Err(HandleError::OtherStore));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// The handle belongs to another store.
    OtherStore,
    /// The handle's scope has ended, the owned handle was dropped, or the store was reset.
    ScopeEnded,
    /// There are too many handles of this kind.
    TooMany {
        /// The maximal number.
        maximum: usize,
    },
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandleError::OtherStore => {
                f.write_str("a rooted reference was used with the wrong store")
            }
            HandleError::ScopeEnded => {
                f.write_str("a rooted reference was used after its scope ended")
            }
            HandleError::TooMany { maximum } => write!(f, "more than {maximum} handles"),
        }
    }
}

impl std::error::Error for HandleError {}

/// All handles of one store.
#[derive(Debug)]
pub(crate) struct HandleTable {
    id: TableId,
    scoped: Vec<Option<VMGcRef>>,
    /// The generation of each scoped handle.
    generations: Vec<u64>,
    /// The maximal number of scoped handles.
    most_scoped: usize,
    /// Grows with each scoped handle that is dropped.
    generation: u64,
    /// `None` in free places.
    owned: Vec<Option<VMGcRef>>,
    /// The generation of the handle in each place, whether it lives or not.
    owned_generations: Vec<u64>,
    free: Vec<u32>,
    /// The places of owned handles that were made since the last
    /// [`forget_new`](HandleTable::forget_new).
    new: Vec<u32>,
    tokens: Tokens,
}

impl Default for HandleTable {
    fn default() -> HandleTable {
        HandleTable {
            id: TableId::next(),
            scoped: Vec::new(),
            generations: Vec::new(),
            most_scoped: Handle::MAX,
            generation: 0,
            owned: Vec::new(),
            owned_generations: Vec::new(),
            free: Vec::new(),
            new: Vec::new(),
            tokens: Tokens::default(),
        }
    }
}

impl HandleTable {
    pub(crate) fn enter_scope(&self) -> HandleScope {
        HandleScope { table: self.id, handles: self.scoped.len() }
    }

    /// The number of scoped handles.
    #[inline]
    pub(crate) fn scoped_len(&self) -> usize {
        self.scoped.len()
    }

    /// Makes `maximum` the maximal number of scoped handles.
    pub(crate) fn limit_scoped(&mut self, maximum: usize) {
        self.most_scoped = maximum.min(Handle::MAX);
    }

    /// Refuses if there is no room for another scoped handle.
    pub(crate) fn check_scoped(&self) -> Result<(), HandleError> {
        let maximum = self.most_scoped;
        if self.scoped.len() < maximum { Ok(()) } else { Err(HandleError::TooMany { maximum }) }
    }

    /// Adds a scoped handle for `gc_ref`. There must be [room](HandleTable::check_scoped).
    #[inline]
    pub(crate) fn push(&mut self, gc_ref: VMGcRef) -> Handle {
        let index = self.scoped.len();
        self.scoped.push(Some(gc_ref));
        self.generations.push(self.generation);
        Handle { table: self.id, place: index as u32, generation: self.generation }
    }

    /// Removes all handles that were made since `scope` began. It may be one of another store.
    #[inline]
    pub(crate) fn truncate(&mut self, scope: HandleScope) {
        if scope.table != self.id {
            return;
        }
        // 64 bits cannot overflow in practice.
        self.generation += 1;
        self.scoped.truncate(scope.handles);
        self.generations.truncate(scope.handles);
    }

    #[inline]
    pub(crate) fn get(&self, handle: &Handle) -> Result<&VMGcRef, HandleError> {
        if handle.table != self.id {
            return Err(HandleError::OtherStore);
        }
        let (refs, generations) = match handle.place & Handle::OWNED {
            0 => (&self.scoped, &self.generations),
            _ => (&self.owned, &self.owned_generations),
        };
        let index = (handle.place & !Handle::OWNED) as usize;
        match refs.get(index) {
            Some(Some(gc_ref)) if generations[index] == handle.generation => Ok(gc_ref),
            _ => Err(HandleError::ScopeEnded),
        }
    }

    /// Adds an owned handle, which owns `gc_ref`, or returns `gc_ref`.
    pub(crate) fn add_owned(&mut self, gc_ref: VMGcRef) -> Result<OwnedHandle, VMGcRef> {
        if self.owned.len() - self.free.len() >= OwnedHandle::MAX {
            return Err(gc_ref);
        }
        let index = match self.free.pop() {
            Some(index) => {
                self.owned[index as usize] = Some(gc_ref);
                index
            }
            None => {
                self.owned.push(Some(gc_ref));
                self.owned_generations.push(0);
                self.owned.len() as u32 - 1
            }
        };
        if self.new.len() > self.owned.len() * 2 {
            self.new.sort_unstable();
            self.new.dedup();
        }
        self.new.push(index);
        let generation = self.owned_generations[index as usize];
        let handle = Handle { table: self.id, place: index | Handle::OWNED, generation };
        Ok(OwnedHandle { handle, _token: self.tokens.issue(self.id, index) })
    }

    /// Removes the references of owned handles that were dropped with all their clones.
    pub(crate) fn take_dropped(&mut self) -> Vec<VMGcRef> {
        let dropped = self.tokens.take_dropped();
        let take = |index: &u32| {
            self.free.push(*index);
            self.owned_generations[*index as usize] += 1;
            self.owned[*index as usize].take()
        };
        dropped.iter().filter_map(take).collect()
    }

    /// Forgets all references. Scoped handles become invalid, and owned handles refer to nothing.
    pub(crate) fn reset(&mut self) {
        self.generation += 1;
        self.scoped.clear();
        self.generations.clear();
        self.owned.fill_with(|| None);
        self.new.clear();
    }

    // ---- as roots ---------------------------------------------------------

    /// The references of scoped handles.
    pub(super) fn scoped_mut(&mut self) -> &mut Vec<Option<VMGcRef>> {
        &mut self.scoped
    }

    /// The places of owned handles, and the new places among them. The other places have not
    /// changed.
    pub(super) fn owned_mut(&mut self) -> (&mut Vec<Option<VMGcRef>>, &mut Vec<u32>) {
        (&mut self.owned, &mut self.new)
    }

    /// Makes owned handles count as not new, except those with a reference for which `is_young` returns true.
    pub(super) fn forget_new(&mut self, is_young: &impl Fn(u32) -> bool) {
        let owned = &self.owned;
        self.new.retain(|&place| {
            owned[place as usize].as_ref().is_some_and(|object| is_young(object.as_raw_u32()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_types::I31;

    fn i31() -> VMGcRef {
        VMGcRef::from_i31(I31::wrapping_i32(1))
    }

    #[test]
    fn a_handle_stays_dead_however_many_scopes_end() {
        let mut table = HandleTable::default();
        let scope = table.enter_scope();
        let first = table.push(i31());
        assert_eq!(table.get(&first), Ok(&i31()));
        table.truncate(scope);
        // With the root above, 2³² roots have been removed: a 32-bit generation would repeat.
        table.generation += (1 << 32) - 1;
        assert_ne!(table.push(i31()), first);
        assert_eq!(table.get(&first), Err(HandleError::ScopeEnded));
    }

    #[test]
    fn a_handle_of_another_table_is_refused() {
        let (mut a, mut b) = (HandleTable::default(), HandleTable::default());
        let (scoped, owned) = (a.push(i31()), a.add_owned(i31()).unwrap());
        b.push(i31());
        let _other = b.add_owned(i31()).unwrap();
        assert_eq!(b.get(&scoped), Err(HandleError::OtherStore));
        assert_eq!(b.get(&owned.handle()), Err(HandleError::OtherStore));
        assert!(a.get(&scoped).is_ok() && a.get(&owned.handle()).is_ok());
    }

    #[test]
    fn places_of_dropped_handles_are_used_again() {
        let mut table = HandleTable::default();
        let handle = table.add_owned(i31()).unwrap();
        let clone = handle.clone();
        drop(handle);
        assert!(table.take_dropped().is_empty(), "a clone lives");
        let handle = clone.handle();
        assert_eq!(table.get(&handle), Ok(&i31()));
        drop(clone);
        assert_eq!(table.take_dropped(), [i31()]);
        assert_eq!(table.get(&handle), Err(HandleError::ScopeEnded));
        let next = table.add_owned(i31()).unwrap();
        assert_eq!(table.get(&next.handle()), Ok(&i31()));
        assert_eq!(table.get(&handle), Err(HandleError::ScopeEnded), "the place is used again");
        drop(next);
        table.take_dropped();
        for _ in 0..1000 {
            drop(table.add_owned(i31()).unwrap());
            table.take_dropped();
        }
        assert_eq!(table.owned.len(), 1);
        assert!(table.new.len() < 10, "{}", table.new.len());
    }

    #[test]
    fn a_reset_table_has_no_references() {
        let mut table = HandleTable::default();
        let (scoped, owned) = (table.push(i31()), table.add_owned(i31()).unwrap());
        table.reset();
        table.push(i31());
        assert_eq!(table.get(&scoped), Err(HandleError::ScopeEnded));
        assert_eq!(table.get(&owned.handle()), Err(HandleError::ScopeEnded));
        drop(owned);
        assert!(table.take_dropped().is_empty());
    }
}
