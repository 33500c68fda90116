//! Sources of memory: what is asked of them, what they may refuse, and that no store sees the bytes
//! of an earlier one.

use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector, NullCollector};
use gc_runtime::{
    GcRuntime, GcStore, Growth, HeapBounds, HeapError, HeapFactory, HeapOptions, MappedMemory,
    MemoryPurpose, MemoryRequest, MemorySource, NoStack, OnDemand, Reservation, UsedReservation,
    ZeroedVec,
};
use gc_types::{ArrayLayout, GcLayout, NULL_PAGE_SIZE, StorageType, TypeIndex};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

const BYTES: TypeIndex = TypeIndex::new(0).unwrap();
const PAGE: usize = 64 << 10;

fn collectors() -> [Arc<dyn GcRuntime>; 4] {
    [
        Arc::new(NullCollector),
        Arc::new(DrcCollector),
        Arc::new(CopyingCollector),
        Arc::new(GenerationalCollector::new()),
    ]
}

fn options(source: Arc<dyn MemorySource>) -> HeapOptions {
    let bounds = if cfg!(miri) { HeapBounds::Checked } else { HeapBounds::Guarded };
    HeapOptions {
        initial: 256 << 10,
        maximum: 8 << 20,
        bounds,
        memory: source,
        ..HeapOptions::default()
    }
}

fn lazy(collector: &Arc<dyn GcRuntime>, options: &HeapOptions) -> GcStore {
    let factory = HeapFactory::new(collector.clone(), options).unwrap();
    let mut store = GcStore::lazy(&Arc::new(factory));
    let layout = GcLayout::Array(ArrayLayout::new(StorageType::I8));
    store.ensure_layout(BYTES, &Arc::new(layout)).unwrap();
    store
}

/// Allocates garbage, full of ones, as long as there is room without a collection.
fn fill(store: &mut GcStore, bytes: u32) -> Result<(), HeapError> {
    for _ in 0..bytes / 4096 {
        let array = store.alloc_array(&mut NoStack, BYTES, 4000)?;
        let at = u64::from(array.as_raw_u32()) + u64::from(ArrayLayout::LENGTH_OFFSET) + 4;
        store.heap_mut().unwrap().core_mut().memory.fill(at, 4000, 0xff).unwrap();
        store.drop_gc_ref(array);
    }
    Ok(())
}

/// Counts what was asked for and given back, and refuses one purpose.
#[derive(Debug, Default)]
struct Counting {
    inner: OnDemand,
    counts: Mutex<HashMap<(MemoryPurpose, &'static str), usize>>,
    refused: Mutex<Option<MemoryPurpose>>,
    admitted: AtomicUsize,
}

impl Counting {
    fn count(&self, purpose: MemoryPurpose, what: &'static str) {
        *self.counts.lock().unwrap().entry((purpose, what)).or_default() += 1;
    }

    fn counted(&self, purpose: MemoryPurpose, what: &'static str) -> usize {
        self.counts.lock().unwrap().get(&(purpose, what)).copied().unwrap_or(0)
    }

    fn refuse(&self, purpose: Option<MemoryPurpose>) {
        *self.refused.lock().unwrap() = purpose;
    }

    fn refuses(&self, purpose: MemoryPurpose) -> bool {
        *self.refused.lock().unwrap() == Some(purpose)
    }
}

impl MemorySource for Counting {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        self.count(request.purpose, "reserve");
        if self.refuses(request.purpose) {
            return Err(request.refused("the test refuses"));
        }
        self.inner.reserve(request)
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        self.count(growth.purpose(), "commit");
        assert!(growth.from() < growth.to());
        if self.refuses(growth.purpose()) {
            return Err(growth.refused("the test refuses growth"));
        }
        growth.commit()
    }

    fn give_back(&self, used: UsedReservation) {
        self.count(used.request().purpose, "give back");
        assert!(used.accessible() <= used.size());
        self.inner.give_back(used);
    }

    fn admit(&self, purpose: MemoryPurpose, bytes: usize) -> Result<(), HeapError> {
        if self.refuses(purpose) {
            let why = "the test refuses".to_owned();
            return Err(HeapError::NoMemory { purpose, bytes: bytes as u64, why });
        }
        self.admitted.fetch_add(bytes, Relaxed);
        Ok(())
    }

    fn freed(&self, _purpose: MemoryPurpose, bytes: usize) {
        self.admitted.fetch_sub(bytes, Relaxed);
    }
}

#[test]
fn a_store_asks_for_a_heap_when_it_needs_one() {
    for collector in collectors() {
        let source = Arc::new(Counting::default());
        let counted = |what| source.counted(MemoryPurpose::GcHeap, what);
        {
            let mut store = lazy(&collector, &options(source.clone()));
            assert_eq!((counted("reserve"), counted("commit")), (0, 0));
            assert_eq!(source.counted(MemoryPurpose::NoHeap, "reserve"), 1);
            assert_eq!(source.counted(MemoryPurpose::NoHeap, "commit"), 0);
            fill(&mut store, 4096).unwrap();
            assert_eq!((counted("reserve"), counted("commit")), (1, 1), "{}", collector.name());
            fill(&mut store, 1 << 20).unwrap();
            assert!(collector.name() != "null" || counted("commit") > 1);
            assert_eq!(counted("give back"), 0);
        }
        assert_eq!(counted("give back"), 1);
        assert_eq!(source.counted(MemoryPurpose::NoHeap, "give back"), 1);
        let tables = MemoryPurpose::CollectorTable;
        assert_eq!(source.counted(tables, "reserve"), source.counted(tables, "give back"));
        assert_eq!(source.admitted.load(Relaxed), 0);
        // The next heap is the one that was given back.
        let mut store = lazy(&collector, &options(source.clone()));
        let committed = counted("commit");
        fill(&mut store, 4096).unwrap();
        assert_eq!((counted("reserve"), counted("commit")), (2, committed));
    }
}

#[test]
fn a_store_whose_heap_is_refused_stays_usable() {
    for collector in collectors() {
        let source = Arc::new(Counting::default());
        let mut store = lazy(&collector, &options(source.clone()));
        source.refuse(Some(MemoryPurpose::GcHeap));
        let error = fill(&mut store, 4096).unwrap_err().to_string();
        assert!(error.starts_with("no memory for a GC heap ("), "{error}");
        assert!(error.ends_with("bytes): the test refuses"), "{error}");
        assert!(!store.has_heap());
        assert!(store.gc(&mut NoStack).unwrap());
        source.refuse(None);
        fill(&mut store, 64 << 10).unwrap();
        // Growth that is refused leaves the heap as it is.
        source.refuse(Some(MemoryPurpose::GcHeap));
        let error = match fill(&mut store, 16 << 20) {
            Ok(()) => continue,
            Err(error) => error,
        };
        assert!(error.to_string().ends_with("the test refuses growth"), "{error}");
        source.refuse(None);
        fill(&mut store, 512 << 10).unwrap();
        store.verify(&mut NoStack).unwrap();
    }
}

#[test]
fn a_collector_whose_tables_are_refused_has_no_heap() {
    let collector: Arc<dyn GcRuntime> = Arc::new(GenerationalCollector::new());
    let source = Arc::new(Counting::default());
    // Large enough for a table of cards that has its own pages.
    let options = HeapOptions { maximum: 256 << 20, ..options(source.clone()) };
    if cfg!(miri) {
        return;
    }
    let mut store = lazy(&collector, &options);
    source.refuse(Some(MemoryPurpose::CollectorTable));
    let error = fill(&mut store, 4096).unwrap_err().to_string();
    assert!(error.contains("a table of a collector"), "{error}");
    assert_eq!(source.counted(MemoryPurpose::GcHeap, "give back"), 1);
    source.refuse(None);
    fill(&mut store, 4096).unwrap();
    assert_eq!(source.counted(MemoryPurpose::CollectorTable, "reserve"), 2);
}

/// The heap does not grow if there is no memory for the map of what has grown.
#[test]
fn a_heap_whose_map_is_refused_keeps_its_size() {
    let collector: Arc<dyn GcRuntime> = Arc::new(DrcCollector);
    let source = Arc::new(Counting::default());
    let mut store = lazy(&collector, &options(source.clone()));
    fill(&mut store, 4096).unwrap();
    source.refuse(Some(MemoryPurpose::CollectorTable));
    let alive = |store: &mut GcStore| -> Result<(), HeapError> {
        for _ in 0..40 {
            let array = store.alloc_array(&mut NoStack, BYTES, 100_000)?;
            store.root(array).unwrap();
        }
        Ok(())
    };
    let error = alive(&mut store).unwrap_err().to_string();
    assert!(error.contains("a table of a collector"), "{error}");
    let size = store.heap().unwrap().core().memory.len();
    assert!(alive(&mut store).is_err());
    assert_eq!(store.heap().unwrap().core().memory.len(), size);
    store.verify(&mut NoStack).unwrap();
    source.refuse(None);
    alive(&mut store).unwrap();
    store.verify(&mut NoStack).unwrap();
}

/// All bytes of a heap, and of a table, are zero before the first object is made, whatever the
/// earlier ones of the same source contained.
#[test]
fn no_byte_of_an_earlier_store_is_seen() {
    for (most, resident) in [(0, 0), (4, 0), (4, 4096), (4, 128 << 10), (4, usize::MAX)] {
        let source: Arc<dyn MemorySource> = Arc::new(OnDemand::keeping(most, resident));
        for (round, bytes) in [4096, 100 << 10, 2 << 20, 8192, 300 << 10].into_iter().enumerate() {
            for collector in collectors() {
                for zeal in [0, 3].into_iter().take(if cfg!(feature = "gc_zeal") { 2 } else { 1 }) {
                    let bytes = if zeal == 0 { bytes } else { bytes.min(100 << 10) };
                    let options = HeapOptions { zeal, ..options(source.clone()) };
                    let mut store = lazy(&collector, &options);
                    store.ensure_heap().unwrap();
                    let memory = &mut store.heap_mut().unwrap().core_mut().memory;
                    let mut seen = vec![1; memory.usable() as usize];
                    memory.read_bytes(NULL_PAGE_SIZE.into(), &mut seen).unwrap();
                    let what = (collector.name(), round, zeal, resident);
                    assert!(seen.iter().all(|byte| *byte == 0), "{what:?}");
                    fill(&mut store, bytes).unwrap();
                    // Also what no object is in.
                    let memory = &mut store.heap_mut().unwrap().core_mut().memory;
                    let (len, last) = (memory.len(), u64::from(bytes % 4096) + 1);
                    memory.fill(len - last, last, 0xff).unwrap();
                }
            }
        }
    }
}

#[test]
fn tables_and_memories_are_zero_again() {
    let source: Arc<dyn MemorySource> = Arc::new(OnDemand::keeping(2, 16 << 10));
    for round in 0..6_usize {
        let size = 16 * PAGE;
        let initial = PAGE * (1 + round % 3);
        let purpose = MemoryPurpose::LinearMemory;
        let request = MemoryRequest { purpose, size, unmapped: 0, initial, affinity: 0 };
        let mut memory = MappedMemory::new(&source, request).unwrap();
        assert_eq!(memory.accessible(), initial);
        assert!(memory.bytes().iter().all(|byte| *byte == 0), "round {round}");
        memory.bytes_mut()[initial - 1 - round] = 7;
        memory.grow(initial * 2).unwrap();
        assert!(memory.bytes()[initial..].iter().all(|byte| *byte == 0));
        memory.bytes_mut().fill(0xff);
        let error = memory.grow(size + 1).unwrap_err();
        assert!(matches!(error, HeapError::OutOfMemory { .. }), "{error}");
        assert_eq!(memory.accessible(), initial * 2);

        let mut table = ZeroedVec::<u32>::new(&source, MemoryPurpose::Table);
        table.grow(100_000, 200_000).unwrap();
        assert!(table.iter().all(|word| *word == 0));
        table.fill(u32::MAX);
    }
}

#[test]
fn a_source_keeps_no_more_than_it_was_told() {
    for most in [0, 1, 3] {
        let source = Arc::new(OnDemand::keeping(most, 1 << 20));
        let erased: Arc<dyn MemorySource> = source.clone();
        let memory = |size: usize| {
            let purpose = MemoryPurpose::LinearMemory;
            let request = MemoryRequest { purpose, size, unmapped: 0, initial: PAGE, affinity: 0 };
            MappedMemory::new(&erased, request).unwrap()
        };
        let many: Vec<MappedMemory> = (1..9).map(|n| memory(n * PAGE)).collect();
        let bases: Vec<*mut u8> = many.iter().map(MappedMemory::base).collect();
        assert_eq!(source.kept_now(), 0);
        drop(many);
        assert_eq!(source.kept_now(), most);
        // The last ones are kept, and found by their size.
        let again: Vec<MappedMemory> = (9 - most..9).map(|n| memory(n * PAGE)).collect();
        assert!(again.iter().map(MappedMemory::base).eq(bases[8 - most..].iter().copied()));
        assert_eq!(source.kept_now(), 0);
    }
}

#[test]
fn threads_share_a_source() {
    let source: Arc<dyn MemorySource> = Arc::new(OnDemand::keeping(3, 64 << 10));
    let rounds = if cfg!(miri) { 2 } else { 50 };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let source = &source;
            scope.spawn(move || {
                for round in 0..rounds {
                    let collector = &collectors()[(thread + round) % 4];
                    let mut store = lazy(collector, &options(source.clone()));
                    store.ensure_heap().unwrap();
                    let memory = &mut store.heap_mut().unwrap().core_mut().memory;
                    let mut seen = vec![1; memory.usable() as usize];
                    memory.read_bytes(NULL_PAGE_SIZE.into(), &mut seen).unwrap();
                    assert!(seen.iter().all(|byte| *byte == 0));
                    fill(&mut store, 200 << 10).unwrap();
                    store.verify(&mut NoStack).unwrap();
                }
            });
        }
    });
}

/// Gives what is too small, or does not make it accessible.
#[derive(Debug)]
struct Wrong(bool);

impl MemorySource for Wrong {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        let size = if self.0 { request.size / 2 } else { request.size };
        Reservation::new(&MemoryRequest { size, ..*request })
    }

    fn commit(&self, _growth: Growth<'_>) -> Result<(), HeapError> {
        Ok(())
    }

    fn give_back(&self, _used: UsedReservation) {}
}

#[test]
fn a_source_that_does_not_do_its_duty_is_refused() {
    for wrong in [true, false] {
        let source: Arc<dyn MemorySource> = Arc::new(Wrong(wrong));
        let request = MemoryRequest {
            purpose: MemoryPurpose::Table,
            size: 4 * PAGE,
            unmapped: 0,
            initial: PAGE,
            affinity: 0,
        };
        let error = MappedMemory::new(&source, request).unwrap_err().to_string();
        assert!(error.starts_with("no memory for a table"), "{error}");
        assert!(error.contains(": the memory source "), "{error}");
    }
}

/// Makes everything accessible that is asked for, then refuses what is not initial, or panics.
#[derive(Debug, Default)]
struct Late {
    panics: bool,
    given_back: Mutex<Vec<usize>>,
}

impl MemorySource for Late {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        Reservation::new(request)
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        let initial = growth.from() == 0;
        growth.commit()?;
        assert!(initial || !self.panics, "the test panics");
        if initial { Ok(()) } else { Err(growth.refused("the test refuses late")) }
    }

    fn give_back(&self, used: UsedReservation) {
        self.given_back.lock().unwrap().push(used.accessible());
    }
}

#[test]
fn what_is_refused_after_it_was_made_accessible_is_inaccessible_again() {
    for panics in [false, true] {
        let source = Arc::new(Late { panics, ..Late::default() });
        let erased: Arc<dyn MemorySource> = source.clone();
        let purpose = MemoryPurpose::LinearMemory;
        let request =
            MemoryRequest { purpose, size: 4 * PAGE, unmapped: 0, initial: PAGE, affinity: 0 };
        let memory = MappedMemory::new(&erased, request).unwrap();
        for _ in 0..2 {
            let grown = catch_unwind(AssertUnwindSafe(|| memory.grow(2 * PAGE)));
            match grown {
                Ok(grown) => {
                    let error = grown.unwrap_err().to_string();
                    assert!(error.contains(&format!("({PAGE} bytes)")), "{error}");
                }
                Err(_) => assert!(panics),
            }
            assert_eq!(memory.bytes().len(), PAGE);
        }
        drop(memory);
        assert_eq!(*source.given_back.lock().unwrap(), [PAGE]);
    }
}

#[test]
fn more_than_a_request_reserves_is_refused() {
    let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
    let purpose = MemoryPurpose::LinearMemory;
    let request =
        MemoryRequest { purpose, size: 4 * PAGE, unmapped: PAGE, initial: 4 * PAGE, affinity: 0 };
    let error = MappedMemory::new(&source, request).unwrap_err();
    assert!(matches!(error, HeapError::OutOfMemory { .. }), "{error}");
}

#[test]
fn what_is_kept_is_released_when_the_system_has_no_more() {
    let source = Arc::new(OnDemand::keeping(2, PAGE));
    let erased: Arc<dyn MemorySource> = source.clone();
    let purpose = MemoryPurpose::LinearMemory;
    let memory = |size: usize| {
        MappedMemory::new(
            &erased,
            MemoryRequest { purpose, size, unmapped: 0, initial: PAGE, affinity: 0 },
        )
    };
    drop(memory(PAGE).unwrap());
    assert_eq!(source.kept_now(), 1);
    let error = memory(1 << 62).unwrap_err().to_string();
    assert!(error.starts_with("no memory for a linear memory (4611686018427387904"), "{error}");
    assert_eq!(source.kept_now(), 0);
    drop(memory(PAGE).unwrap());
    assert_eq!(source.kept_now(), 1);
}

/// Runs the test with this name again, in a process of its own with a limit (an argument of `ulimit`),
/// because a limit is one of a process. Returns whether this is that process.
#[cfg(all(target_os = "linux", not(miri)))]
fn is_in_a_process_with_limit(limit: &str, name: &str) -> bool {
    const LIMITED: &str = "GC_RUNTIME_TEST_WITH_LIMIT";
    if std::env::var_os(LIMITED).is_some() {
        return true;
    }
    let script = format!("ulimit {limit} && exec \"$0\" --exact \"$1\"");
    let test = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new("sh");
    child.args(["-c", &script]).arg(test).arg(name).env(LIMITED, "");
    let output = child.output().unwrap();
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{stdout}{stderr}");
    false
}

/// The accessible bytes of what is kept are data of the process, whose limit may be reached when
/// more bytes become accessible.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn what_is_kept_is_released_when_no_more_bytes_can_be_accessible() {
    const NAME: &str = "what_is_kept_is_released_when_no_more_bytes_can_be_accessible";
    // 300 MiB of data.
    if !is_in_a_process_with_limit("-d 307200", NAME) {
        return;
    }
    for initial in [200 << 20, PAGE] {
        let source = Arc::new(OnDemand::default());
        let erased: Arc<dyn MemorySource> = source.clone();
        let purpose = MemoryPurpose::LinearMemory;
        let memory = |size: usize, initial| {
            MappedMemory::new(
                &erased,
                MemoryRequest { purpose, size, unmapped: 0, initial, affinity: 0 },
            )
        };
        let many: Vec<MappedMemory> = (0..3).map(|_| memory(1 << 32, 80 << 20).unwrap()).collect();
        drop(many);
        assert_eq!(source.kept_now(), 3);
        // Either the initial bytes are too many, or those of growth.
        let other = memory(1 << 33, initial).unwrap();
        assert_eq!(source.kept_now(), if initial == PAGE { 3 } else { 0 });
        other.grow(200 << 20).unwrap();
        assert_eq!((source.kept_now(), other.accessible()), (0, 200 << 20));
        // What is not reserved is no reason to release anything.
        drop(memory(1 << 32, PAGE).unwrap());
        assert!(other.grow((1 << 33) + 1).is_err());
        assert_eq!(source.kept_now(), 1);
    }
}

/// Threads that together use less address space than there is are not refused any, although it is full
/// of what is kept, and others release that at the same time.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn threads_get_the_address_space_of_what_is_kept() {
    const NAME: &str = "threads_get_the_address_space_of_what_is_kept";
    // 36 GiB: 32 for the threads, the others for the process.
    if !is_in_a_process_with_limit("-v 37748736", NAME) {
        return;
    }
    let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let source = &source;
            scope.spawn(move || {
                for round in 0..2000 {
                    // What is kept seldom has the size.
                    let size = (8 << 30) - (((2000 * thread + round) % 1000) << 20);
                    let purpose = MemoryPurpose::LinearMemory;
                    let request =
                        MemoryRequest { purpose, size, unmapped: 0, initial: PAGE, affinity: 0 };
                    let memory = MappedMemory::new(source, request);
                    assert!(memory.is_ok(), "round {round}: {}", memory.unwrap_err());
                }
            });
        }
    });
}

#[test]
fn sizes_that_no_system_has_are_refused() {
    let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
    let purpose = MemoryPurpose::LinearMemory;
    let request =
        MemoryRequest { purpose, size: 4 * PAGE, unmapped: PAGE, initial: PAGE, affinity: 0 };
    let memory = MappedMemory::new(&source, request).unwrap();
    for most in [usize::MAX, usize::MAX - 4095, usize::MAX - 4096, usize::MAX / 2] {
        let error = memory.grow(most).unwrap_err();
        assert!(matches!(error, HeapError::OutOfMemory { .. }), "{error}");
        assert_eq!(memory.accessible(), PAGE);
        for (unmapped, initial) in [(0, 0), (0, most), (most, 0), (most, most)] {
            let request = MemoryRequest { purpose, size: most, unmapped, initial, affinity: 0 };
            assert!(MappedMemory::new(&source, request).is_err(), "{request:?}");
        }
    }
}
