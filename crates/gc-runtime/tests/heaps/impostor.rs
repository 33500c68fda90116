//! Heaps from outside that break their duties. Emitted code relies on these duties, so what breaks
//! them is refused where it happens.

use super::common::*;
use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector};
use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcRequest, GcRuntime, GcStats, GcStore,
    HeapBounds, HeapCore, HeapError, HeapMemory, HeapOptions, IndexedTable, MaskedTable, NoStack,
    NotesTable,
};
use gc_types::collector::{bump, drc, generational};
use gc_types::{CollectorAbi, HeapDataOffsets, SideTable, VMGcHeader, VMGcRef};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Makes heaps of another collector under a name, with an ABI.
struct Named(&'static str, fn() -> CollectorAbi, &'static dyn GcRuntime);

impl GcRuntime for Named {
    fn name(&self) -> &'static str {
        self.0
    }

    fn abi(&self) -> CollectorAbi {
        self.1()
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        self.2.new_gc_heap(memory)
    }
}

/// Emitted code of `drc` writes at an address in the data words. The heaps of `copying` have none.
#[test]
fn a_heap_under_the_name_of_another_collector_is_refused() {
    let options = options(HeapBounds::Checked);
    let impostors = [
        (drc::NAME, drc::abi as fn() -> CollectorAbi, "list"),
        (generational::NAME, generational::abi, "bundles"),
    ];
    for (name, abi, table) in impostors {
        let error = GcStore::new(&Named(name, abi, &CopyingCollector), &options).unwrap_err();
        let expected =
            format!("this heap of `{name}` has no side table `{table}`, which its ABI has");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    GcStore::new(&Named(drc::NAME, drc::abi, &DrcCollector), &options).unwrap();
    // Code that uses tables does not fit an ABI without them.
    let none = || CollectorAbi::new(drc::NAME);
    let difference = none().check(&drc::abi()).unwrap_err();
    assert_eq!(difference.name, "collector.table.list");
    GcStore::new(&Named(drc::NAME, none, &CopyingCollector), &options).unwrap();
}

const CARDS: SideTable = SideTable::indexed("cards", HeapDataOffsets::COLLECTOR + 8, 9);

/// Makes heaps of `copying`, and a table that is `0`.
struct WithTable(SideTable, fn(&HeapMemory, SideTable) -> Result<(), HeapError>);

impl GcRuntime for WithTable {
    fn name(&self) -> &'static str {
        "with-table"
    }

    fn abi(&self) -> CollectorAbi {
        CollectorAbi::new("with-table").with_table(CARDS)
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        (self.1)(&memory, self.0)?;
        CopyingCollector.new_gc_heap(memory)
    }
}

/// A table of another form has the same words, and may be shorter than emitted code believes.
#[test]
fn a_table_that_the_abi_does_not_have_is_refused() {
    let options = options(HeapBounds::Checked);
    let indexed = |memory: &HeapMemory, table| IndexedTable::new(memory, table).map(drop);
    let masked = |memory: &HeapMemory, table| MaskedTable::<u8>::new(memory, table).map(drop);
    // The table is dropped at once. Its memory stays.
    GcStore::new(&WithTable(CARDS, indexed), &options).unwrap();
    let wrong = SideTable::indexed("cards", CARDS.address(), 31);
    let other = SideTable::masked("cards", CARDS.address(), 0, 1);
    for runtime in [WithTable(wrong, indexed), WithTable(other, masked)] {
        let error = GcStore::new(&runtime, &options).unwrap_err().to_string();
        assert!(error.contains("the collector's ABI has no side table `cards` at"), "{error}");
    }
}

#[test]
fn what_emitted_code_may_write_stays_when_its_owner_is_dropped() {
    let mut memory = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
    let table = IndexedTable::new(&memory, CARDS).unwrap();
    let address = memory.data_u64(CARDS.address());
    drop(table);
    memory.reset();
    assert_eq!(memory.data_u64(CARDS.address()), address);
    // Another heap in the same memory has its own.
    let again = IndexedTable::new(&memory, CARDS).unwrap();
    assert_ne!(memory.data_u64(CARDS.address()), address);
    let error = IndexedTable::new(&memory, CARDS).unwrap_err().to_string();
    assert!(error.contains("it has a side table `cards` already"), "{error}");
    drop(again);
}

#[test]
fn notes_are_only_for_mapped_memory_in_their_window() {
    const STARTS: SideTable = SideTable::indexed_new("starts", HeapDataOffsets::COLLECTOR + 8, 3);
    let [memory, other] = [(); 2].map(|()| HeapMemory::new(&options(HeapBounds::Checked)).unwrap());
    let mut notes = NotesTable::new(&memory, STARTS, 4096).unwrap();
    let (start, end) = (gc_types::NULL_PAGE_SIZE, memory.len() as u32);
    notes.hand_out(&memory, start, start + 64..start + 128);
    let mut refused = |memory: &HeapMemory, window: u32, run: std::ops::Range<u32>| {
        let attempt = AssertUnwindSafe(|| notes.hand_out(memory, window, run));
        catch_unwind(attempt).unwrap_err();
    };
    refused(&other, start, start..start + 64);
    refused(&memory, end, end..end + 64);
    refused(&memory, 0, 8..64);
    refused(&memory, start, start..start + 4104);
    refused(&memory, start + 8, start..start + 8);
    for next in [start, start + 136] {
        catch_unwind(AssertUnwindSafe(|| notes.advance(next))).unwrap_err();
    }
    assert_eq!((notes.next(), notes.limit()), (start + 64, start + 128));
}

/// Makes heaps in memory of its own, without the guard that code relies on.
struct OwnMemory;

impl GcRuntime for OwnMemory {
    fn name(&self) -> &'static str {
        "own"
    }

    fn new_gc_heap(&self, _memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        CopyingCollector.new_gc_heap(HeapMemory::new(&options(HeapBounds::Checked))?)
    }
}

#[test]
fn a_heap_in_other_memory_is_refused() {
    let error = GcStore::new(&OwnMemory, &options(HeapBounds::Checked)).unwrap_err();
    assert!(error.to_string().contains("the memory that was made for it"), "{error}");
}

#[test]
fn the_memory_of_a_heap_serves_no_second_heap() {
    for runtime in [&DrcCollector as &dyn GcRuntime, &GenerationalCollector::new()] {
        let options = options(HeapBounds::Checked);
        let memory = || HeapMemory::with_apart(&options, runtime.apart()).unwrap();
        let mut first = runtime.new_gc_heap(memory()).unwrap();
        let stolen = std::mem::replace(&mut first.core_mut().memory, memory());
        let mapping = stolen.mapping();
        let error = runtime.new_gc_heap(stolen).err().expect("it is used");
        assert!(error.to_string().contains("another heap"), "{error}");

        let stolen = std::mem::replace(&mut first.core_mut().memory, memory());
        let own = runtime.new_gc_heap(stolen);
        own.expect("the second memory has no other heap");
        drop(first);
        drop(mapping);
    }
}

#[test]
fn a_heap_cannot_offer_memory_that_is_not_mapped() {
    let mut memory = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
    let start = gc_types::NULL_PAGE_SIZE;
    let end = memory.len() as u32;
    let mut refused = |offset, value| {
        let attempt = AssertUnwindSafe(|| memory.set_data_u32(offset, value));
        let panic = catch_unwind(attempt).expect_err("it is not mapped");
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.starts_with("emitted code would allocate"), "{message}");
    };
    refused(bump::LIMIT, end); // NEXT is in the null page.
    memory.set_data_u32(bump::NEXT, start);
    memory.set_data_u32(bump::LIMIT, end);
    let mut refused = |offset, value| {
        catch_unwind(AssertUnwindSafe(|| memory.set_data_u32(offset, value))).unwrap_err();
    };
    refused(bump::LIMIT, end + 8);
    refused(bump::NEXT, start - 8);
    assert_eq!((memory.data_u32(bump::NEXT), memory.data_u32(bump::LIMIT)), (start, end));
}

/// A heap that returns references to memory that is not its own. It counts the slots that are
/// overwritten with nothing.
struct Outside(Box<dyn GcHeap>, u32, u32);

impl GcHeap for Outside {
    fn core(&self) -> &HeapCore {
        self.0.core()
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        self.0.core_mut()
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        self.0.grow(bytes)
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.0.gc(request)
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.0.for_each_object(visit)
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.0.verify()
    }

    fn stats(&self) -> GcStats {
        self.0.stats()
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.0.reset(host_data)
    }

    fn write_gc_ref(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        destination: &mut Option<VMGcRef>,
        source: Option<&VMGcRef>,
    ) {
        self.2 += u32::from(destination.is_some() && source.is_none());
    }

    fn alloc_raw(&mut self, _header: VMGcHeader, _size: u32) -> Result<VMGcRef, HeapError> {
        Ok(VMGcRef::from_raw_u32(self.1).expect("it is not null"))
    }
}

struct MakesOutside(u32);

impl GcRuntime for MakesOutside {
    fn name(&self) -> &'static str {
        "outside"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(Outside(CopyingCollector.new_gc_heap(memory)?, self.0, 0)))
    }
}

/// A collector that only has a write barrier learns of every reference that is dropped.
#[test]
fn to_drop_a_reference_is_to_overwrite_it() {
    let memory = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
    let mut heap = Outside(CopyingCollector.new_gc_heap(memory).unwrap(), 8, 0);
    let mut host_data = ExternRefHostDataTable::default();
    for dropped in 1..3 {
        heap.drop_gc_ref(&mut host_data, VMGcRef::from_raw_u32(8).unwrap());
        assert_eq!(heap.2, dropped);
    }
}

/// Emitted code initializes a new object without a check.
#[test]
fn a_new_object_outside_the_heap_is_refused() {
    let options = HeapOptions { initial: 1 << 20, ..options(HeapBounds::Checked) };
    let end = HeapMemory::new(&options).unwrap().len() as u32;
    for at in [1, 8, (64 << 10) - 8, end - 8, end, 0xffff_fff8] {
        let mut store = GcStore::new(&MakesOutside(at), &options).unwrap();
        layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
        let error = store.alloc_struct(&mut NoStack, NODE).unwrap_err();
        assert!(error.to_string().contains("outside the heap"), "{at:#x}: {error}");
    }
}
