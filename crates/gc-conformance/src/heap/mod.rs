//! Tests of the half of a collector that makes heaps: the promises of `GcRuntime`, `GcHeap` and
//! `GarbageCollection`, as named checks for any collector.
//!
//! Most checks use a store through a [`Mutator`]. Checks of a single trait method call the heap
//! itself. The last checks run random operations from fixed seeds, and compare them with the shadow
//! heap and with other collectors, also on a heap that is overwritten.
//!
//! ```
//! use gc_conformance::heap;
//! use gc_runtime::collector::DrcCollector;
//! use gc_testkit::{Reclaims, Subject};
//!
//! let subject = Subject::new(&DrcCollector, Reclaims::Everything);
//! let check = heap::find("a_cycle_dies_or_leaks_as_declared").unwrap();
//! check.run(&subject)?;
//! // All of them: `heap::run(&subject)?`
//! # Ok::<(), anyhow::Error>(())
//! ```

mod alloc;
mod barriers;
mod collection;
mod contract;
mod host_values;
mod hostile;
mod reset;
mod stress;
#[cfg(feature = "suite")]
mod trials;
mod weak;

#[cfg(feature = "suite")]
pub use trials::trials;

use anyhow::{Context, Result, anyhow, bail, ensure};
use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcCause, GcHeap, GcRequest, GcRootsList, HeapError,
    HeapMemory, TraceRoots, WeakTable,
};
use gc_testkit::mutator::{Mutator, Slots};
use gc_testkit::place::RootSlot;
use gc_testkit::schema::{NODE, REFS, Schema};
use gc_testkit::{Subject, panic_text};
use gc_types::{StorageType, TypeIndex, VMGcHeader, VMGcKind, VMGcRef};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One promise, and its check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The promise in a few words.
    pub name: &'static str,
    /// The methods that make the promise.
    pub methods: &'static str,
    run: fn(&Subject<'_>) -> Result<()>,
}

impl Check {
    /// Runs the check on `subject`.
    ///
    /// # Errors
    /// If the promise is broken, also by a panic.
    pub fn run(&self, subject: &Subject<'_>) -> Result<()> {
        let result = match catch_unwind(AssertUnwindSafe(|| (self.run)(subject))) {
            Ok(result) => result,
            Err(panic) => Err(anyhow!("it panicked: {}", panic_text(&*panic))),
        };
        result.with_context(|| format!("{subject:?}: {} ({})", self.name, self.methods))
    }
}

/// Every check.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    let all = [
        contract::CHECKS,
        alloc::CHECKS,
        barriers::CHECKS,
        collection::CHECKS,
        host_values::CHECKS,
        weak::CHECKS,
        stress::CHECKS,
        hostile::CHECKS,
        reset::CHECKS,
    ];
    all.into_iter().flatten()
}

/// The check with this name.
pub fn find(name: &str) -> Option<&'static Check> {
    checks().find(|check| check.name == name)
}

/// Runs every check on `subject`.
///
/// # Errors
/// If promises are broken. The error names all of them, and how they are broken.
pub fn run(subject: &Subject<'_>) -> Result<()> {
    let faults: Vec<String> = checks()
        .filter_map(|check| check.run(subject).err())
        .map(|fault| format!("{fault:#}"))
        .collect();
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

/// Makes a table of checks from functions, each with the methods that it tests.
macro_rules! promises {
    ($($name:ident: $methods:literal;)*) => {
        pub(super) const CHECKS: &[$crate::heap::Check] = &[$(
            $crate::heap::Check { name: stringify!($name), methods: $methods, run: $name },
        )*];
    };
}
use promises;

// ---- shared by the checks -------------------------------------------------

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Two handles, and a place on the stack.
const A: RootSlot = RootSlot::Handle(0);
const B: RootSlot = RootSlot::Handle(1);
const STACK: RootSlot = RootSlot::Stack(0);

/// Offsets of a [`NODE`]'s fields.
const VALUE: u32 = 8;
const LEFT: u32 = 16;
const RIGHT: u32 = 20;

/// A mutator with the fixed schema on a heap of 64 KiB that may grow to 16 MiB.
fn mutator(subject: &Subject<'_>) -> Result<Mutator> {
    sized_mutator(subject, 64 * KIB, 16 * MIB)
}

fn sized_mutator(subject: &Subject<'_>, initial: u64, maximum: u64) -> Result<Mutator> {
    let options = subject.options(initial, maximum);
    Ok(Mutator::new(subject.runtime, &options, Schema::fixed())?)
}

/// Allocates a node that carries `value`.
fn node(mutator: &mut Mutator, value: u64, to: RootSlot) -> Result<()> {
    mutator.alloc_struct(NODE, 0, to)?;
    let node = at(mutator, to)?;
    mutator.store_mut().write_field(&node, VALUE, StorageType::I64, value.into())?;
    Ok(())
}

/// The reference at `place`, which is not null.
fn at(mutator: &Mutator, place: RootSlot) -> Result<VMGcRef> {
    mutator.get(place).with_context(|| format!("{place:?} is null"))
}

/// Links the object at `from` to the object at `to`.
fn link(mutator: &mut Mutator, from: RootSlot, offset: u32, to: RootSlot) -> Result<()> {
    let object = at(mutator, from)?;
    let source = mutator.get(to);
    Ok(mutator.store_mut().write_field_ref(&object, offset, source.as_ref())?)
}

/// Moves the reference in a field of the object at `from` to `to`.
fn follow(mutator: &mut Mutator, from: RootSlot, offset: u32, to: RootSlot) -> Result<()> {
    let object = at(mutator, from)?;
    match mutator.store_mut().read_field_ref(&object, offset)? {
        Some(read) => mutator.put(to, read),
        None => mutator.clear(to),
    }
    Ok(())
}

/// Checks that a node with `value` is at `place`.
fn expect_node(mutator: &Mutator, place: RootSlot, value: u64) -> Result<()> {
    let node = at(mutator, place)?;
    let header = mutator.heap().header(&node)?;
    ensure!(
        (header.kind(), header.ty()) == (Some(VMGcKind::StructRef), NODE),
        "{place:?} is no node: {header:?}"
    );
    let actual = mutator.store().read_field(&node, VALUE, StorageType::I64)?;
    ensure!(actual == value.into(), "the node at {place:?} is {actual} instead of {value}");
    Ok(())
}

/// Collects, verifies, and checks the number of remaining objects: `live` if garbage dies, `ever`
/// (all allocated objects) if nothing dies.
fn expect_live(mutator: &mut Mutator, subject: &Subject<'_>, live: u64, ever: u64) -> Result<()> {
    ensure!(mutator.collect()?, "a collection was skipped");
    mutator.verify()?;
    let frees = subject.reclaims != gc_testkit::Reclaims::Nothing;
    let expected = if frees { live } else { ever };
    let actual = mutator.store().stats().live_objects;
    ensure!(actual == expected, "{actual} objects survive instead of {expected}");
    Ok(())
}

/// A heap without a store, for promises of single methods.
struct Raw {
    heap: Box<dyn GcHeap>,
    host_data: ExternRefHostDataTable,
    weak: WeakTable,
    roots: GcRootsList,
    slots: Slots,
}

impl Raw {
    fn new(subject: &Subject<'_>, initial: u64, maximum: u64) -> Result<Raw> {
        let options = subject.options(initial, maximum);
        Raw::in_memory(subject, HeapMemory::with_apart(&options, subject.runtime.apart())?)
    }

    fn in_memory(subject: &Subject<'_>, memory: HeapMemory) -> Result<Raw> {
        let mut heap = subject.runtime.new_gc_heap(memory)?;
        Schema::fixed().register(&mut *heap);
        let (mut slots, mut roots) = (Slots::default(), GcRootsList::default());
        slots.register(&mut roots);
        let (host_data, weak) = Default::default();
        Ok(Raw { heap, host_data, weak, roots, slots })
    }

    /// Begins a collection that the host asks for.
    fn collection(&mut self) -> Result<Box<dyn GarbageCollection<'_> + '_>> {
        self.collection_for(GcCause::Asked)
    }

    /// Begins a collection.
    fn collection_for(&mut self, cause: GcCause) -> Result<Box<dyn GarbageCollection<'_> + '_>> {
        self.roots.clear_stack();
        self.slots.trace_stack(&mut self.roots)?;
        let Raw { heap, host_data, weak, roots, .. } = self;
        Ok(heap.gc(GcRequest::new(cause, roots, host_data, weak)))
    }

    /// Allocates a node for a handle.
    fn node(&mut self, to: RootSlot) -> Result<(), HeapError> {
        let header = VMGcHeader::new(VMGcKind::StructRef, NODE);
        let node = self.heap.alloc_raw(header, 24)?;
        self.slots.set_word(to, node.as_raw_u32());
        Ok(())
    }

    /// Allocates an array of references.
    fn refs(&mut self, length: u32) -> Result<VMGcRef> {
        let layout = gc_types::ArrayLayout::new(StorageType::Ref);
        let size = layout.size(length).context("a small array")?;
        let array = self.heap.alloc_raw(VMGcHeader::new(VMGcKind::ArrayRef, REFS), size)?;
        let at = u64::from(array.as_raw_u32() + gc_types::ArrayLayout::LENGTH_OFFSET);
        self.heap.core_mut().memory.write_u32(at, length).context("an array is in the heap")?;
        Ok(array)
    }
}

/// The type and kind in the header of the object to which a reference refers.
fn type_and_kind(heap: &dyn GcHeap, object: &VMGcRef) -> Result<(TypeIndex, Option<VMGcKind>)> {
    let header = heap.header(object)?;
    Ok((header.ty(), header.kind()))
}
