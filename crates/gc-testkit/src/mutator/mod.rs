//! A mock mutator: uses a heap as compiled code and its host do, without any compiled code.
//!
//! Its references are in slots ([`Slots`]): the stack of a compiled function, a table, globals,
//! host handles. Each access uses the barrier of `GcHeap` for the host. References that are moved
//! to the stack are exposed ([`GcStore::expose_gc_ref_to_wasm`]), and those on the stack are copied
//! and overwritten without a barrier. Tables and globals are written with
//! [`GcStore::write_gc_ref`]. Handles are cloned and dropped. The inlined barriers of compiled code
//! must have the same effect.
//!
//! While a collection may happen, references are only in slots. Slots are read again after it,
//! because a collector may move objects.

mod apply;
mod slots;
mod weak;

pub(crate) use apply::truncate;
pub use apply::{Collection, Effect};
pub use slots::Slots;

use crate::place::RootSlot;
use crate::schema::{self, Schema};
use crate::{Ledger, Token};
use anyhow::ensure;
use gc_heap::{GcHeap, GcLeft, GcRuntime, GcStore, HeapError, HeapOptions, OwnedHandle};
use gc_types::{FieldLayout, GcLayout, TypeIndex, VMGcKind, VMGcRef};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use weak::Weak;

/// A collection of the small heaps used here should need fewer increments. One that needs more
/// counts as endless.
const MAX_INCREMENTS: u32 = 1 << 20;

/// Why the store of a mutator has a heap.
const NOT_LAZY: &str = "the store was made with a heap";

/// A store, the slots of the mutator that uses it, and the types it allocates.
#[derive(Debug)]
pub struct Mutator {
    store: GcStore,
    slots: Slots,
    /// Handles in addition to those that have a place.
    held: Vec<OwnedHandle>,
    weak: Weak,
    schema: Arc<Schema>,
    ledger: Ledger,
    scopes: u32,
}

impl Mutator {
    /// Makes a mutator with a new heap of `runtime` and empty slots.
    ///
    /// # Errors
    /// As [`GcStore::new`].
    pub fn new(
        runtime: &dyn GcRuntime,
        options: &HeapOptions,
        schema: Arc<Schema>,
    ) -> Result<Mutator, HeapError> {
        let mut store = GcStore::new(runtime, options)?;
        schema.register(store.heap_mut().expect(NOT_LAZY));
        let (mut slots, ledger) = (Slots::default(), Ledger::default());
        slots.register(store.roots_mut());
        let (held, weak) = Default::default();
        Ok(Mutator { store, slots, held, weak, schema, ledger, scopes: 0 })
    }

    /// The store.
    pub fn store(&self) -> &GcStore {
        &self.store
    }

    /// The store, mutable.
    pub fn store_mut(&mut self) -> &mut GcStore {
        &mut self.store
    }

    /// The heap, which its store always has.
    pub fn heap(&self) -> &dyn GcHeap {
        self.store.heap().expect(NOT_LAZY)
    }

    /// The heap, mutable.
    pub fn heap_mut(&mut self) -> &mut dyn GcHeap {
        self.store.heap_mut().expect(NOT_LAZY)
    }

    /// The slots.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The slots, mutable. Changes run no barrier.
    pub fn slots_mut(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// The types it allocates.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The ledger of its host values. A clone outlives the mutator.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Nesting depth of the no-GC scopes it entered.
    pub fn scopes(&self) -> u32 {
        self.scopes
    }

    // ---- slots ------------------------------------------------------------

    /// The reference at `place`. It is valid until the next collection.
    pub fn get(&self, place: RootSlot) -> Option<VMGcRef> {
        self.slots.get(place)
    }

    /// Moves a reference that the host holds to `to`, and overwrites the old contents.
    pub fn put(&mut self, to: RootSlot, owned: VMGcRef) {
        match to {
            RootSlot::Stack(_) => {
                let word = self.store.expose_gc_ref_to_wasm(owned);
                self.slots.set_word(to, word);
            }
            RootSlot::Table(_) | RootSlot::Global(_) => {
                self.write_slot(to, Some(&owned));
                self.store.drop_gc_ref(owned);
            }
            RootSlot::Handle(_) => {
                let old = self.slots.get(to);
                self.slots.set_word(to, owned.as_raw_u32());
                if let Some(old) = old {
                    self.store.drop_gc_ref(old);
                }
            }
        }
    }

    /// Copies the contents of `from` to `to`, and overwrites the old contents.
    pub fn copy(&mut self, from: RootSlot, to: RootSlot) {
        let source = self.slots.get(from);
        match (&source, from, to) {
            (None, _, _) => self.clear(to),
            // Compiled code copies its own references without a barrier.
            (Some(source), RootSlot::Stack(_), RootSlot::Stack(_)) => {
                self.slots.set_word(to, source.as_raw_u32());
            }
            (Some(source), _, RootSlot::Stack(_) | RootSlot::Handle(_)) => {
                let clone = self.store.clone_gc_ref(source);
                self.put(to, clone);
            }
            (Some(source), _, RootSlot::Table(_) | RootSlot::Global(_)) => {
                self.write_slot(to, Some(source));
            }
        }
    }

    /// Empties `at`.
    pub fn clear(&mut self, at: RootSlot) {
        match at {
            RootSlot::Stack(_) => self.slots.set_word(at, 0),
            RootSlot::Table(_) | RootSlot::Global(_) => self.write_slot(at, None),
            RootSlot::Handle(_) => {
                let old = self.slots.get(at);
                self.slots.set_word(at, 0);
                if let Some(old) = old {
                    self.store.drop_gc_ref(old);
                }
            }
        }
    }

    /// Empties every slot.
    pub fn clear_all(&mut self) {
        RootSlot::all().for_each(|place| self.clear(place));
        while self.let_go() {}
    }

    // ---- handles without a place ------------------------------------------

    /// Makes an owned handle for a reference that the host holds.
    ///
    /// # Panics
    /// If there are 2^25 of them.
    pub fn hold(&mut self, owned: VMGcRef) {
        self.held.push(self.store.root_owned(owned).expect("fewer handles than there may be"));
    }

    /// Number of these handles.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The reference of handle `number`. It is valid until the next collection.
    pub fn get_held(&self, number: usize) -> Option<VMGcRef> {
        let gc_ref = self.store.rooted(&self.held.get(number)?.handle()).ok()?;
        Some(gc_ref.unchecked_copy())
    }

    /// Drops the handle that was made last. Returns whether there was one.
    pub fn let_go(&mut self) -> bool {
        let dropped = self.held.pop().is_some();
        self.store.drop_dead_handles();
        dropped
    }

    /// Overwrites a table's element or a global with a new reference to `source`'s
    /// object.
    pub fn write_slot(&mut self, to: RootSlot, source: Option<&VMGcRef>) {
        if let Some(slot) = self.slots.other_mut(to) {
            self.store.write_slot(slot, source);
        }
    }

    // ---- allocation -------------------------------------------------------

    /// Allocates a struct, or an exception of the tag `(tag, tag + 1)`.
    ///
    /// # Errors
    /// As [`GcStore::alloc_struct`].
    pub fn alloc_struct(&mut self, ty: TypeIndex, tag: u16, to: RootSlot) -> Result<(), HeapError> {
        let is_exn = matches!(self.store.side().layouts.get(ty), Some(GcLayout::Exn(_)));
        let object = if is_exn {
            let tag = u32::from(tag);
            self.store.alloc_exn(&mut self.slots, ty, tag, tag + 1)?
        } else {
            self.store.alloc_struct(&mut self.slots, ty)?
        };
        self.put(to, object);
        Ok(())
    }

    /// Allocates an array.
    ///
    /// # Errors
    /// As [`GcStore::alloc_array`].
    pub fn alloc_array(
        &mut self,
        ty: TypeIndex,
        length: u32,
        to: RootSlot,
    ) -> Result<(), HeapError> {
        let array = self.store.alloc_array(&mut self.slots, ty, length)?;
        self.put(to, array);
        Ok(())
    }

    /// Allocates an array for a handle without a [`RootSlot`].
    ///
    /// # Errors
    /// As [`GcStore::alloc_array`].
    pub fn push_array(&mut self, ty: TypeIndex, length: u32) -> Result<(), HeapError> {
        let array = self.store.alloc_array(&mut self.slots, ty, length)?;
        self.hold(array);
        Ok(())
    }

    /// Allocates an externref of a new token. Returns the token's number.
    ///
    /// # Errors
    /// As [`GcStore::alloc_externref`].
    pub fn alloc_externref(&mut self, to: RootSlot) -> Result<u32, HeapError> {
        let token = self.ledger.issue();
        let number = token.number();
        match self.store.alloc_externref(&mut self.slots, Box::new(token)) {
            Ok(externref) => self.put(to, externref),
            Err((error, _token)) => return Err(error),
        }
        Ok(number)
    }

    /// Checks that the heap may refuse an allocation of `bytes` bytes at this limit: the limit is
    /// its own, and it has grown as far as that.
    ///
    /// # Errors
    /// If it has room to grow.
    pub fn check_out_of_memory(&self, bytes: u64, limit: u64) -> anyhow::Result<()> {
        let core = self.heap().core();
        ensure!(limit == core.memory.limit(), "out of memory at a limit of {limit} bytes");
        // A heap that sets memory aside grows by whole blocks.
        let least = if core.memory.apart() > 0 { bytes.max(64 << 10) } else { 1 };
        ensure!(
            bytes > core.limit() || core.room() < least,
            "out of memory for {bytes} bytes, but {} of room are left: {:?}",
            core.room(),
            self.heap().occupancy()
        );
        Ok(())
    }

    // ---- objects ----------------------------------------------------------

    /// The layout of the object at `object` and its length if it is an array;
    /// `None` for an externref.
    ///
    /// # Errors
    /// If it is not an object, or its type is unknown.
    pub fn shape(&self, object: &VMGcRef) -> Result<Option<(Arc<GcLayout>, u32)>, HeapError> {
        let heap = self.heap();
        let header = heap.header(object)?;
        if header.kind() == Some(VMGcKind::ExternRef) {
            return Ok(None);
        }
        let Some(layout) = heap.core().side.layouts.get_shared(header.ty()) else {
            return Err(HeapError::UnknownType { ty: header.ty() });
        };
        let is_array = layout.as_array().is_some();
        let length = if is_array { self.store.array_len(object)? } else { 0 };
        Ok(Some((Arc::clone(layout), length)))
    }

    /// The field or element that `choice` chooses among the references of an object, or among its
    /// other values. `None` if there are none.
    fn field(
        &self,
        object: &VMGcRef,
        choice: u16,
        refs: bool,
    ) -> Result<Option<FieldLayout>, HeapError> {
        Ok(self.shape(object)?.and_then(|(layout, length)| {
            let number = schema::choose_slot(&layout, length, choice, refs)?;
            Some(schema::slot(&layout, number))
        }))
    }

    /// The number of the token behind the externref at `object`.
    ///
    /// # Errors
    /// If it is not an externref, or has no token.
    pub fn token(&self, object: &VMGcRef) -> Result<u32, HeapError> {
        match self.store.externref_host_data(object)?.downcast_ref::<Token>() {
            Some(token) => Ok(token.number()),
            None => Err(HeapError::Corrupt {
                at: object.as_raw_u32(),
                what: "an externref with a host value that is not the mutator's",
            }),
        }
    }

    // ---- collection -------------------------------------------------------

    /// Collects. Returns false if the collection was skipped.
    ///
    /// # Errors
    /// As [`GcStore::gc`].
    ///
    /// # Panics
    /// Inside a no-GC scope.
    pub fn collect(&mut self) -> Result<bool, HeapError> {
        self.store.gc(&mut self.slots)
    }

    /// Collects for at most `time` ([`GcStore::gc_for`]).
    ///
    /// # Errors
    /// If the heap is damaged.
    pub fn collect_for(&mut self, time: Duration) -> Result<GcLeft, HeapError> {
        self.store.gc_for(&mut self.slots, time)
    }

    /// Verifies the heap with all roots ([`GcStore::verify`]).
    ///
    /// # Errors
    /// The first error, with the path to it.
    pub fn verify(&mut self) -> Result<(), HeapError> {
        self.store.verify(&mut self.slots)
    }

    /// Begins a collection and abandons it after `increments`, unless it completes before. `None`
    /// means more increments than it should ever need.
    ///
    /// # Errors
    /// As [`GcStore::gc`].
    ///
    /// # Panics
    /// Inside a no-GC scope.
    pub fn collect_increments(&mut self, increments: Option<u32>) -> Result<Collection, HeapError> {
        let mut collection = pin!(self.store.gc_async(&mut self.slots));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..increments.unwrap_or(MAX_INCREMENTS) {
            if let Poll::Ready(result) = collection.as_mut().poll(&mut context) {
                return result.map(Collection::from_result);
            }
        }
        Ok(Collection::Abandoned)
    }

    /// Does what an embedder does before it passes `count` references to compiled code: collects if
    /// the heap asks for it and it is allowed.
    ///
    /// # Errors
    /// As [`GcStore::gc`].
    pub fn enter_wasm(&mut self, count: NonZeroU32) -> Result<bool, HeapError> {
        if self.scopes == 0 && self.store.need_gc_before_entering_wasm(count) {
            return self.collect();
        }
        Ok(false)
    }

    /// Enters a no-GC scope.
    pub fn enter_no_gc_scope(&mut self) {
        self.store.enter_no_gc_scope();
        self.scopes += 1;
    }

    /// Leaves the innermost no-GC scope, if there is one.
    pub fn exit_no_gc_scope(&mut self) {
        if self.scopes > 0 {
            self.store.exit_no_gc_scope();
            self.scopes -= 1;
        }
    }

    /// Resets the store and empties every slot, if the collector's heaps
    /// [can be reset](gc_heap::GcHeap::reset). Returns whether they can.
    pub fn reset(&mut self) -> bool {
        if self.store.reset().is_err() {
            return false;
        }
        self.slots.forget();
        self.held.clear();
        self.weak.forget();
        self.scopes = 0;
        true
    }
}
