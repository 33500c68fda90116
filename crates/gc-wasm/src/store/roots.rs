//! Handles by which the host holds references: [`Rooted`], which live until their
//! scope ends, and [`OwnedRooted`], which live until they are dropped.
//!
//! A handle is an index into the store's root table, never the reference itself:
//! a moving collector updates the table. Scopes nest like the host functions that
//! open them; what was rooted inside one is unrooted, with the collector's
//! barrier, when it ends. The idea of scoped handles is that of V8's
//! `HandleScope` and the JNI's local references.

use super::{AsContext, AsContextMut, StoreContext, StoreContextMut, StoreId, StoreOpaque, limits};
use crate::refs::GcRef;
use anyhow::{Result, bail};
use gc_runtime::{GcRootsList, RootKind};
use gc_types::VMGcRef;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A handle to an object of a store, valid until the scope it was made in ends: the
/// call of the host function it was made by, the innermost [`RootScope`], or else
/// the store's life. Copies are the same handle.
pub struct Rooted<T> {
    store: StoreId,
    index: u32,
    generation: u64,
    _marker: PhantomData<fn() -> T>,
}

impl<T> Clone for Rooted<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Rooted<T> {}

/// A handle to an object of a store, valid until it and its clones are dropped.
pub struct OwnedRooted<T> {
    store: StoreId,
    index: u32,
    liveness: Arc<Liveness>,
    _marker: PhantomData<fn() -> T>,
}

impl<T> Clone for OwnedRooted<T> {
    fn clone(&self) -> Self {
        OwnedRooted {
            store: self.store,
            index: self.index,
            liveness: self.liveness.clone(),
            _marker: PhantomData,
        }
    }
}

/// What the clones of one owned handle share: when the last is dropped, which may be
/// anywhere, its slot is noted for the store to find.
struct Liveness {
    slot: u32,
    dead: DeadSlots,
}

/// Slots of owned handles that were dropped.
type DeadSlots = Arc<Mutex<Vec<u32>>>;

fn lock(dead: &DeadSlots) -> MutexGuard<'_, Vec<u32>> {
    dead.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Liveness {
    fn drop(&mut self) {
        lock(&self.dead).push(self.slot);
    }
}

struct ScopedRoot {
    /// Which scope's lifetime it belongs to: indices are reused after scopes end.
    generation: u64,
    gc_ref: VMGcRef,
}

enum OwnedSlot {
    Free,
    Used(VMGcRef),
}

impl OwnedSlot {
    fn trace(&mut self, roots: &mut GcRootsList) {
        if let OwnedSlot::Used(gc_ref) = self {
            add(roots, gc_ref);
        }
    }
}

/// Adds one root of the table's to `roots`.
fn add(roots: &mut GcRootsList, gc_ref: &mut VMGcRef) {
    let slot: *mut VMGcRef = gc_ref;
    // SAFETY: `VMGcRef` is a transparent 32-bit word, and the table is not changed
    // before the collection that uses the list is over.
    unsafe { roots.add_non_stack_root(slot.cast::<u32>(), RootKind::Handle) };
}

/// All handles of one store.
#[derive(Default)]
pub(crate) struct RootTable {
    scoped: Vec<ScopedRoot>,
    /// Counts the scopes that ended.
    generation: u64,
    owned: Vec<OwnedSlot>,
    free: Vec<u32>,
    /// Owned roots that were added since a collection last looked at them.
    recent: Vec<u32>,
    /// Owned roots that were dropped, not given up yet.
    dead: DeadSlots,
}

impl RootTable {
    /// Where a scope that begins now will have to be cut back to.
    pub(crate) fn enter_scope(&self) -> usize {
        self.scoped.len()
    }

    /// Adds a scoped root that owns `gc_ref`.
    fn push(&mut self, gc_ref: VMGcRef) -> (u32, u64) {
        let index = self.scoped.len() as u32;
        assert!(
            self.scoped.len() < limits::SCOPED_HANDLES,
            "too many handles in a scope: a `RootScope` that ends gives them up"
        );
        self.scoped.push(ScopedRoot { generation: self.generation, gc_ref });
        (index, self.generation)
    }

    /// Takes out one scoped root made since `scope` began.
    fn pop(&mut self, scope: usize) -> Option<VMGcRef> {
        if self.scoped.len() <= scope {
            return None;
        }
        // 2^64 do not end before the universe does.
        self.generation += 1;
        self.scoped.pop().map(|root| root.gc_ref)
    }

    fn add_owned(&mut self, gc_ref: VMGcRef) -> (u32, Arc<Liveness>) {
        let slot = OwnedSlot::Used(gc_ref);
        let index = match self.free.pop() {
            Some(index) => {
                self.owned[index as usize] = slot;
                index
            }
            None => {
                self.owned.push(slot);
                self.owned.len() as u32 - 1
            }
        };
        if self.recent.len() > self.owned.len() * 2 {
            self.recent.sort_unstable();
            self.recent.dedup();
        }
        self.recent.push(index);
        (index, Arc::new(Liveness { slot: index, dead: self.dead.clone() }))
    }

    /// Takes out the owned roots whose handles were all dropped.
    pub(crate) fn take_dead(&mut self) -> Vec<VMGcRef> {
        let dead = std::mem::take(&mut *lock(&self.dead));
        let take = |index: &u32| {
            self.free.push(*index);
            match std::mem::replace(&mut self.owned[*index as usize], OwnedSlot::Free) {
                OwnedSlot::Used(gc_ref) => Some(gc_ref),
                OwnedSlot::Free => None,
            }
        };
        dead.iter().filter_map(take).collect()
    }

    /// Adds all of them to `roots`.
    pub(crate) fn trace(&mut self, roots: &mut GcRootsList) {
        self.scoped.iter_mut().for_each(|root| add(roots, &mut root.gc_ref));
        self.owned.iter_mut().for_each(|slot| slot.trace(roots));
    }

    /// Adds those to `roots` that may refer to other objects than at the last
    /// collection that looked at them: the owned ones never change.
    pub(crate) fn trace_recent(&mut self, roots: &mut GcRootsList) {
        self.scoped.iter_mut().for_each(|root| add(roots, &mut root.gc_ref));
        for index in self.recent.drain(..) {
            self.owned[index as usize].trace(roots);
        }
    }
}

impl StoreOpaque {
    /// A scoped handle that owns `gc_ref`.
    pub(crate) fn root<T: GcRef>(&mut self, gc_ref: VMGcRef) -> Rooted<T> {
        let (index, generation) = self.roots.push(gc_ref);
        Rooted { store: self.id(), index, generation, _marker: PhantomData }
    }

    /// Unroots what was rooted since `scope` began.
    pub(crate) fn exit_scope(&mut self, scope: usize) {
        while let Some(gc_ref) = self.roots.pop(scope) {
            self.gc_store_mut().drop_gc_ref(gc_ref);
        }
    }

    /// Unroots the owned handles that were dropped.
    pub(crate) fn sweep_owned_roots(&mut self) {
        for gc_ref in self.roots.take_dead() {
            self.gc_store_mut().drop_gc_ref(gc_ref);
        }
    }
}

impl<T: GcRef> Rooted<T> {
    /// The reference, not counted: to be looked at, or cloned with the barrier.
    pub(crate) fn get(&self, store: &StoreOpaque) -> Result<VMGcRef> {
        if self.store != store.id() {
            bail!("a rooted reference of one store was used with another");
        }
        match store.roots.scoped.get(self.index as usize) {
            Some(root) if root.generation == self.generation => Ok(root.gc_ref.unchecked_copy()),
            _ => bail!("a rooted reference was used after its scope ended"),
        }
    }

    /// A handle to the same object that lives until it is dropped.
    ///
    /// # Errors
    /// If this handle is of another store or its scope ended, or there are 2^25 owned
    /// ones.
    pub fn to_owned_rooted(&self, mut store: impl AsContextMut) -> Result<OwnedRooted<T>> {
        let store = store.as_context_mut().into_opaque();
        self.get(store)?;
        store.may_drop(StoreOpaque::sweep_owned_roots);
        let gc_ref = self.get(store)?;
        if store.roots.owned.len() - store.roots.free.len() >= limits::OWNED_HANDLES {
            bail!("more than {} owned handles", limits::OWNED_HANDLES);
        }
        let gc_ref = store.gc_store_mut().clone_gc_ref(&gc_ref);
        let (index, liveness) = store.roots.add_owned(gc_ref);
        Ok(OwnedRooted { store: store.id(), index, liveness, _marker: PhantomData })
    }

    /// Whether both handles are to the same object (`ref.eq`). Equal `i31`s are
    /// the same.
    ///
    /// # Errors
    /// If a handle is of another store or its scope ended.
    pub fn ref_eq(store: impl AsContext, a: &Rooted<T>, b: &Rooted<T>) -> Result<bool> {
        let store = store.as_context().opaque();
        Ok(a.get(store)? == b.get(store)?)
    }

    /// The same handle, seen as a reference of a supertype or, checked by the
    /// caller, of a subtype.
    pub(crate) fn cast<U: GcRef>(self) -> Rooted<U> {
        Rooted {
            store: self.store,
            index: self.index,
            generation: self.generation,
            _marker: PhantomData,
        }
    }
}

impl<T: GcRef> OwnedRooted<T> {
    /// A scoped handle to the same object.
    ///
    /// # Errors
    /// If this handle is of another store.
    pub fn to_rooted(&self, mut store: impl AsContextMut) -> Result<Rooted<T>> {
        let store = store.as_context_mut().into_opaque();
        if self.store != store.id() {
            bail!("a rooted reference of one store was used with another");
        }
        let OwnedSlot::Used(gc_ref) = &store.roots.owned[self.index as usize] else {
            unreachable!("a slot is used while a handle to it lives");
        };
        let gc_ref = gc_ref.unchecked_copy();
        let gc_ref = store.gc_store_mut().clone_gc_ref(&gc_ref);
        Ok(store.root(gc_ref))
    }
}

/// A scope for [`Rooted`] handles: dropping it unroots what was rooted through it.
/// The store is used through the scope while it lives.
pub struct RootScope<C: AsContextMut> {
    store: C,
    scope: usize,
}

impl<C: AsContextMut> RootScope<C> {
    /// Begins a scope.
    pub fn new(mut store: C) -> RootScope<C> {
        let scope = store.as_context_mut().into_opaque().roots.enter_scope();
        RootScope { store, scope }
    }
}

impl<C: AsContextMut> Drop for RootScope<C> {
    fn drop(&mut self) {
        let scope = self.scope;
        self.store.as_context_mut().into_opaque().may_drop(|store| store.exit_scope(scope));
    }
}

impl<C: AsContextMut> AsContext for RootScope<C> {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        self.store.as_context()
    }
}

impl<C: AsContextMut> AsContextMut for RootScope<C> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        self.store.as_context_mut()
    }
}

impl<T> fmt::Debug for Rooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rooted({})", self.index)
    }
}

impl<T> fmt::Debug for OwnedRooted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnedRooted({})", self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_types::I31;

    #[test]
    fn a_handle_stays_dead_however_many_scopes_end() {
        let mut table = RootTable::default();
        let i31 = || VMGcRef::from_i31(I31::wrapping_i32(1));
        let first = table.push(i31());
        table.pop(0).unwrap();
        // As many scopes as the old generations had numbers, but for the one above.
        table.generation += (1 << 32) - 1;
        assert_ne!(table.push(i31()), first);
    }
}
