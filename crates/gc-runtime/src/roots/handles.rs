//! Handles for references that the host holds. A [`ScopedHandle`] is valid until its scope ends,
//! and an [`OwnedHandle`] is valid until it is dropped.
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

/// A handle that is valid until the scope in which it was made ends. Copies are the same handle.
///
/// # Examples
/// ```
/// use gc_runtime::{GcStore, HandleError, HeapOptions, collector::CopyingCollector};
/// use gc_types::{I31, VMGcRef};
///
/// let mut store = GcStore::new(&CopyingCollector, &HeapOptions::default())?;
/// let scope = store.enter_handle_scope();
/// let handle = store.root(VMGcRef::from_i31(I31::wrapping_i32(5))).unwrap();
/// assert!(store.rooted(&handle).is_ok());
/// store.exit_handle_scope(scope);
/// assert_eq!(store.rooted(&handle), Err(HandleError::ScopeEnded));
/// # Ok::<(), gc_runtime::HeapError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopedHandle {
    table: TableId,
    index: u32,
    /// The generation in which it was made. Indices are reused after a scope ends.
    generation: u64,
}

impl ScopedHandle {
    /// The maximal number of these handles in a store at the same time.
    pub const MAX: usize = 1 << 26;
}

impl fmt::Debug for ScopedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopedHandle({})", self.index)
    }
}

/// A handle that is valid until the handle and its clones are dropped. Clones are the same handle.
///
/// # Examples
/// ```
/// use gc_runtime::{GcStore, HeapOptions, NoStack, collector::CopyingCollector};
///
/// let mut store = GcStore::new(&CopyingCollector, &HeapOptions::default())?;
/// let externref = store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
/// let handle = store.root_owned(externref).unwrap();
/// store.gc(&mut NoStack)?;
/// assert_eq!(store.host_data().len(), 1);
/// drop(handle);
/// store.gc(&mut NoStack)?;
/// assert_eq!(store.host_data().len(), 0);
/// # Ok::<(), gc_runtime::HeapError>(())
/// ```
#[derive(Clone)]
pub struct OwnedHandle(Token);

impl OwnedHandle {
    /// The maximal number of these handles in a store at the same time.
    pub const MAX: usize = 1 << 25;
}

impl fmt::Debug for OwnedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnedHandle({})", self.0.place())
    }
}

/// The beginning of a scope of handles ([`GcStore::enter_handle_scope`]).
///
/// [`GcStore::enter_handle_scope`]: crate::GcStore::enter_handle_scope
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the scope's handles are dropped when it is exited"]
pub struct HandleScope(usize);

/// The reason why a handle cannot be used or made.
///
/// # Examples
/// ```
/// use gc_runtime::{GcStore, HandleError, HeapOptions, collector::CopyingCollector};
/// use gc_types::{I31, VMGcRef};
///
/// let options = HeapOptions::default();
/// let mut store = GcStore::new(&CopyingCollector, &options)?;
/// let other = GcStore::new(&CopyingCollector, &options)?;
/// let handle = store.root(VMGcRef::from_i31(I31::wrapping_i32(5))).unwrap();
/// assert_eq!(other.rooted(&handle), Err(HandleError::OtherStore));
/// # Ok::<(), gc_runtime::HeapError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// The handle belongs to another store.
    OtherStore,
    /// The handle's scope has ended, or the store was reset.
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
                f.write_str("a rooted reference of one store was used with another")
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
    /// The number of scoped handles that were dropped so far.
    generation: u64,
    /// `None` in free places.
    owned: Vec<Option<VMGcRef>>,
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
            most_scoped: ScopedHandle::MAX,
            generation: 0,
            owned: Vec::new(),
            free: Vec::new(),
            new: Vec::new(),
            tokens: Tokens::default(),
        }
    }
}

impl HandleTable {
    pub(crate) fn enter_scope(&self) -> HandleScope {
        HandleScope(self.scoped.len())
    }

    /// Makes `maximum` the maximal number of scoped handles.
    pub(crate) fn limit_scoped(&mut self, maximum: usize) {
        self.most_scoped = maximum.min(ScopedHandle::MAX);
    }

    /// Refuses if there is no room for another scoped handle.
    pub(crate) fn check_scoped(&self) -> Result<(), HandleError> {
        let maximum = self.most_scoped;
        if self.scoped.len() < maximum { Ok(()) } else { Err(HandleError::TooMany { maximum }) }
    }

    /// Adds a scoped handle, which owns `gc_ref`. There must be [room](HandleTable::check_scoped).
    #[inline]
    pub(crate) fn push(&mut self, gc_ref: VMGcRef) -> ScopedHandle {
        let index = self.scoped.len();
        self.scoped.push(Some(gc_ref));
        self.generations.push(self.generation);
        let (table, index, generation) = (self.id, index as u32, self.generation);
        ScopedHandle { table, index, generation }
    }

    /// Removes the reference of one handle that was made since `scope` began.
    #[inline]
    pub(crate) fn pop(&mut self, scope: HandleScope) -> Option<VMGcRef> {
        while self.scoped.len() > scope.0 {
            // 64 bits cannot overflow in practice.
            self.generation += 1;
            self.generations.pop();
            if let Some(gc_ref) = self.scoped.pop().flatten() {
                return Some(gc_ref);
            }
        }
        None
    }

    #[inline]
    pub(crate) fn get(&self, handle: &ScopedHandle) -> Result<&VMGcRef, HandleError> {
        if handle.table != self.id {
            return Err(HandleError::OtherStore);
        }
        let index = handle.index as usize;
        match self.scoped.get(index) {
            Some(Some(gc_ref)) if self.generations[index] == handle.generation => Ok(gc_ref),
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
                self.owned.len() as u32 - 1
            }
        };
        if self.new.len() > self.owned.len() * 2 {
            self.new.sort_unstable();
            self.new.dedup();
        }
        self.new.push(index);
        Ok(OwnedHandle(self.tokens.issue(self.id, index)))
    }

    pub(crate) fn get_owned(&self, handle: &OwnedHandle) -> Result<&VMGcRef, HandleError> {
        let index = handle.0.place_in(self.id).ok_or(HandleError::OtherStore)?;
        let place = self.owned.get(index as usize).and_then(Option::as_ref);
        place.ok_or(HandleError::ScopeEnded)
    }

    /// Removes the references of owned handles that were dropped with all their clones.
    pub(crate) fn take_dropped(&mut self) -> Vec<VMGcRef> {
        let dropped = self.tokens.take_dropped();
        let take = |index: &u32| {
            self.free.push(*index);
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

    /// Makes all owned handles count as not new.
    pub(super) fn forget_new(&mut self) {
        self.new.clear();
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
        table.pop(scope).unwrap();
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
        assert_eq!(b.get_owned(&owned), Err(HandleError::OtherStore));
        assert!(a.get(&scoped).is_ok() && a.get_owned(&owned).is_ok());
    }

    #[test]
    fn places_of_dropped_handles_are_used_again() {
        let mut table = HandleTable::default();
        let handle = table.add_owned(i31()).unwrap();
        let clone = handle.clone();
        drop(handle);
        assert!(table.take_dropped().is_empty(), "a clone lives");
        drop(clone);
        assert_eq!(table.take_dropped(), [i31()]);
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
        assert_eq!(table.get_owned(&owned), Err(HandleError::ScopeEnded));
        drop(owned);
        assert!(table.take_dropped().is_empty());
    }
}
