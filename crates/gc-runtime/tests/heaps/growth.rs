//! Tests of growth policies: what heaps ask, and that they follow the answers.

use crate::common::*;
use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector, NullCollector};
use gc_runtime::{
    AdaptivePolicy, Decision, FixedPolicy, GcRuntime, GcStore, GrowthPolicy, HeapBounds, HeapError,
    HeapOptions, HeapPlan, HeapUsage, NoStack, PolicyFactory,
};
use gc_testkit::roots::Stack;
use gc_types::{NULL_PAGE_SIZE, StorageType, VMGcRef};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const COLLECTING: [&dyn GcRuntime; 3] =
    [&DrcCollector, &CopyingCollector, &GenerationalCollector::new()];
const ALL: [&dyn GcRuntime; 4] =
    [&NullCollector, &DrcCollector, &CopyingCollector, &GenerationalCollector::new()];

const NULL_PAGE: u64 = NULL_PAGE_SIZE as u64;

/// The questions that a policy got.
#[derive(Default)]
struct Asked {
    decisions: Vec<(HeapUsage, u64)>,
    plans: Vec<HeapUsage>,
    /// Mapped bytes, more bytes, and whether they were admitted.
    steps: Vec<(u64, u64, bool)>,
}

/// The default policy with some other answers. It records the questions.
#[derive(Clone)]
struct Recorder {
    adaptive: AdaptivePolicy,
    /// Bytes that may be mapped.
    limit: u64,
    review: Duration,
    asked: Arc<Mutex<Asked>>,
}

impl Recorder {
    fn new() -> Recorder {
        Recorder {
            adaptive: AdaptivePolicy::balanced(),
            limit: u64::MAX,
            review: Duration::MAX,
            asked: Arc::default(),
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl GrowthPolicy for Recorder {
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
        self.asked.lock().unwrap().decisions.push((*usage, need));
        self.adaptive.decide(usage, need)
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        self.asked.lock().unwrap().plans.push(*usage);
        HeapPlan { review: self.review, ..self.adaptive.plan(usage) }
    }

    fn admit(&mut self, mapped: u64, more: u64) -> bool {
        let admitted = mapped + more <= self.limit;
        self.asked.lock().unwrap().steps.push((mapped, more, admitted));
        admitted
    }
}

fn with(policy: impl Into<PolicyFactory>, initial: u64, maximum: u64) -> HeapOptions {
    HeapOptions { initial, maximum, policy: policy.into(), ..options(HeapBounds::Checked) }
}

/// Makes up to `count` arrays of `length` numbers, which the stack keeps alive, until there is no
/// room.
fn fill(
    store: &mut GcStore,
    stack: &mut Stack,
    length: u32,
    count: usize,
) -> Result<(), HeapError> {
    for _ in 0..count {
        let array = store.alloc_array(stack, LONGS, length)?;
        stack.0.push(u64::from(store.expose_gc_ref_to_wasm(array)));
    }
    Ok(())
}

/// Allocates objects that die at once.
fn churn(store: &mut GcStore, stack: &mut Stack, count: usize) {
    for _ in 0..count {
        let node = store.alloc_struct(stack, NODE).unwrap();
        store.expose_gc_ref_to_wasm(node);
    }
}

/// A store with a nursery of this size, if the collector has one.
fn with_nursery(runtime: &dyn GcRuntime, bytes: u64, options: &HeapOptions) -> GcStore {
    match runtime.with_option("nursery", bytes) {
        Ok(runtime) => store_with(&*runtime, options),
        Err(_) => store_with(runtime, options),
    }
}

/// Bytes by which some heaps grow at least.
const CHUNK: u64 = 32 << 10;

#[test]
fn a_step_that_is_refused_is_tried_by_halves_down_to_what_is_needed() {
    let mut halved = 0;
    for runtime in ALL {
        let policy = Recorder { limit: 10 << 20, ..Recorder::new() };
        let asked = Arc::clone(&policy.asked);
        let mut store = store_with(runtime, &with(policy, 1 << 20, 64 << 20));
        let mut stack = Stack(Vec::new());
        let error = fill(&mut store, &mut stack, 10_000, 10_000).unwrap_err();
        let name = runtime.name();
        assert!(matches!(error, HeapError::OutOfMemory { bytes: 80_016, .. }), "{name}: {error}");
        let HeapError::OutOfMemory { limit, .. } = error else { unreachable!() };
        let rest = (10 << 20) + u64::from(gc_types::NULL_PAGE_SIZE) - limit;
        assert!(rest < 80_016 + (64 << 10), "{name}: {error}");
        let asked = asked.lock().unwrap();
        // The rest is less than one more array needs.
        let mut admitted = asked.steps.iter().filter(|step| step.2).map(|step| step.0 + step.1);
        let mapped = admitted.next_back().unwrap();
        assert!(mapped + 80_016 + (64 << 10) > 10 << 20, "{name}: {mapped}");
        // How large the step is that is refused first depends on the time that collections took.
        let refused =
            asked.steps.windows(2).filter(|pair| !pair[0].2 && pair[0].1 > 80_016 + CHUNK);
        for pair in refused {
            // Half of it may be memory that the heap has used before. Nobody is asked about that.
            let half = (pair[0].1 / 2).max(80_016);
            if runtime.apart() > 0 && !(half..half + CHUNK).contains(&pair[1].1) {
                continue;
            }
            // Growth is in whole pages, or in chunks.
            assert!((half..half + CHUNK).contains(&pair[1].1), "{name}: {:?}", asked.steps);
            halved += 1;
        }
        drop(asked);
        store.heap().unwrap().verify().unwrap();
        // After a refusal the heap is still usable.
        stack.0.truncate(stack.0.len() / 2);
        if name != "null" {
            fill(&mut store, &mut stack, 10_000, 5).unwrap();
        }
    }
    assert!(halved > 3);
}

#[test]
fn a_policy_is_told_the_truth() {
    for runtime in COLLECTING {
        let name = runtime.name();
        let policy = Recorder::new();
        let asked = Arc::clone(&policy.asked);
        let mut store = store_with(runtime, &with(policy, 1 << 20, 32 << 20));
        {
            let asked = asked.lock().unwrap();
            let [first] = asked.plans[..] else { panic!("{name}: {:?}", asked.plans) };
            assert_eq!((first.live, first.grown, first.limit), (0, 0, (32 << 20) - NULL_PAGE));
            assert!(first.mapped <= 1 << 20 && first.least > 0 && !first.asked);
        }
        let mut stack = Stack(Vec::new());
        fill(&mut store, &mut stack, 1000, 1000).unwrap();
        {
            let mut asked = asked.lock().unwrap();
            assert!(!asked.decisions.is_empty(), "{name}");
            for (usage, need) in &asked.decisions {
                assert_eq!(*need, 8016);
                assert!(usage.used <= usage.mapped && usage.mapped <= usage.limit, "{usage:?}");
                assert!(usage.live <= usage.used, "{usage:?}");
            }
            // It grew exactly as far as was admitted.
            let admitted = asked.steps.iter().filter(|step| step.2);
            for (mapped, more, _) in admitted {
                assert!(mapped + more <= (32 << 20) - NULL_PAGE);
            }
            asked.plans.clear();
        }
        // Half of 1000 arrays stay alive.
        stack.0.truncate(500);
        let used = store.heap().unwrap().occupancy().used;
        assert!(store.gc(&mut stack).unwrap());
        let asked = asked.lock().unwrap();
        let last = asked.plans.last().unwrap();
        assert_eq!((last.live, last.used, last.asked), (500 * 8016, 500 * 8016, true), "{name}");
        assert!(last.grown <= used && last.gc_time > Duration::ZERO, "{name}: {last:?}");
        assert_eq!(store.heap().unwrap().core().live, last.live);
        // The policy lets at least two thirds of the live bytes be allocated.
        assert!(store.heap().unwrap().core().plan.goal >= last.live + last.live * 3 / 5);
    }
}

#[test]
fn a_heap_in_which_much_lives_is_some_times_as_large() {
    for runtime in COLLECTING {
        for (policy, most) in [(AdaptivePolicy::balanced(), 8), (AdaptivePolicy::memory(), 5)] {
            let name = format!("{}, {policy:?}", runtime.name());
            let options = with(policy, 1 << 20, 512 << 20);
            let mut store = with_nursery(runtime, 1 << 20, &options);
            let mut stack = Stack(Vec::new());
            const LIVE: usize = 20_000;
            // Live objects are spread among garbage, and are replaced one by one.
            for n in 0..10 * LIVE {
                fill(&mut store, &mut stack, 10, 1).unwrap();
                churn(&mut store, &mut stack, 10);
                if n >= LIVE {
                    stack.0.swap_remove(n * 7919 % LIVE);
                }
            }
            let live = LIVE as u64 * 96;
            let peak = store.stats().peak_heap_bytes;
            assert!(peak <= live * most + (2 << 20), "{name}: {peak} bytes for {live}");
        }
    }
}

#[test]
fn a_fixed_heap_never_grows_and_is_used_up() {
    const BYTES: usize = 6 << 20;
    for runtime in COLLECTING {
        let name = runtime.name();
        // On a slow machine short pauses would need a smaller nursery.
        let pause_target = Duration::from_secs(10);
        let options = with(FixedPolicy, BYTES as u64, BYTES as u64);
        let mut store = store_with(runtime, &HeapOptions { pause_target, ..options });
        let mut stack = Stack(Vec::new());
        churn(&mut store, &mut stack, 1_000_000);
        assert!(store.stats().collections > 0, "{name}");
        let error = fill(&mut store, &mut stack, 1000, 10_000).unwrap_err();
        assert!(matches!(error, HeapError::OutOfMemory { .. }), "{name}: {error}");
        assert!(stack.0.len() * 8016 > BYTES / 4 * 3, "{name}: {} arrays", stack.0.len());
        stack.0.clear();
        store.gc(&mut stack).unwrap();
        assert!(store.heap().unwrap().core().in_use() <= BYTES as u64, "{name}");
        fill(&mut store, &mut stack, 1000, BYTES / 2 / 8016).unwrap();
    }
}

#[test]
fn a_fixed_heap_may_be_much_smaller_than_it_might_become() {
    for runtime in COLLECTING {
        for initial in [256 << 10, 2 << 20, 6 << 20, 15 << 20, 18 << 20] {
            let name = format!("{} of {initial} bytes", runtime.name());
            let mut store = store_with(runtime, &with(FixedPolicy, initial, 64 << 20));
            let mut stack = Stack(Vec::new());
            for _ in 0..2 {
                // A tenth lives, in large and small arrays.
                fill(&mut store, &mut stack, (initial / 32 / 8) as u32, 1).unwrap();
                let count = initial as usize / 16 / 816;
                fill(&mut store, &mut stack, 100, count).unwrap_or_else(|e| panic!("{name}: {e}"));
                churn(&mut store, &mut stack, initial as usize / 8);
                assert!(store.stats().collections > 0, "{name}");
                let peak = store.stats().peak_heap_bytes;
                assert!(peak <= initial, "{name}: {peak}");
                store.heap().unwrap().verify().unwrap();
                stack.0.clear();
                store.reset().unwrap();
            }
        }
    }
}

#[test]
fn a_fixed_heap_is_collected_no_more_often_than_one_that_may_grow() {
    for runtime in COLLECTING {
        let collections = |policy: PolicyFactory| {
            // The nursery has its whole size, however slow the machine is.
            let pause_target = Duration::from_secs(3600);
            let options = HeapOptions { pause_target, ..with(policy, 256 << 20, 256 << 20) };
            let mut store = with_nursery(runtime, 8 << 20, &options);
            let mut stack = Stack(Vec::new());
            // Everything survives for a while, then nothing does.
            fill(&mut store, &mut stack, 10, 300_000).unwrap();
            stack.0.clear();
            for _ in 0..60 {
                fill(&mut store, &mut stack, 10, 10_000).unwrap();
                stack.0.clear();
            }
            store.stats().collections
        };
        let grows = collections(PolicyFactory::default());
        let fixed = collections(FixedPolicy.into());
        assert!(fixed <= grows + 2, "{}: {fixed}, {grows}", runtime.name());
    }
}

#[test]
fn a_heap_whose_policy_gives_up_before_its_limit_uses_its_last_gaps() {
    let mut store = store_with(&DrcCollector, &with(FixedPolicy, 2 << 20, 64 << 20));
    let mut stack = Stack(Vec::new());
    fill(&mut store, &mut stack, 250, 10_000).unwrap_err();
    let full = stack.0.len();
    // Every other array dies. Each gap is then as large as one array.
    stack.0 = stack.0.iter().copied().step_by(2).collect();
    let left = full - stack.0.len();
    fill(&mut store, &mut stack, 250, left).unwrap();
    store.heap().unwrap().verify().unwrap();
}

#[test]
fn a_policy_may_ask_for_all_memory_and_refuse_it() {
    #[derive(Clone, Debug)]
    struct Undecided;

    impl GrowthPolicy for Undecided {
        fn decide(&mut self, _usage: &HeapUsage, _need: u64) -> Decision {
            Decision::Grow(u64::MAX)
        }

        fn plan(&mut self, _usage: &HeapUsage) -> HeapPlan {
            HeapPlan::default()
        }

        fn admit(&mut self, _mapped: u64, _more: u64) -> bool {
            false
        }
    }

    for runtime in COLLECTING {
        let mut store = store_with(runtime, &with(Undecided, 256 << 10, 64 << 20));
        let mut stack = Stack(Vec::new());
        let error = fill(&mut store, &mut stack, 1000, 100).unwrap_err();
        assert!(matches!(error, HeapError::OutOfMemory { .. }), "{}: {error}", runtime.name());
        store.heap().unwrap().verify().unwrap();
    }
}

/// The same if one growth maps the rest of a nursery and the first old memory.
#[test]
fn no_heap_has_more_than_a_policy_admits() {
    for runtime in COLLECTING {
        for limit in (15..40).map(|n| n << 16) {
            let policy = Recorder { limit, ..Recorder::new() };
            let mut store = store_with(runtime, &with(policy, 1 << 20, 64 << 20));
            let mut stack = Stack(Vec::new());
            fill(&mut store, &mut stack, 10, 100).unwrap();
            store.gc(&mut stack).unwrap();
            while fill(&mut store, &mut stack, 10, 1).is_ok() {}
            let mapped = store.stats().peak_heap_bytes;
            assert!(mapped <= limit, "{}: {mapped} of {limit}", runtime.name());
        }
    }
}

/// A policy may refuse everything when the heap is almost only a nursery.
#[test]
fn what_survives_has_room_though_no_more_is_admitted() {
    for runtime in COLLECTING {
        for more in (0..32).map(|n| n << 14) {
            let initial = 1 << 20;
            let policy = Recorder { limit: initial - NULL_PAGE + more, ..Recorder::new() };
            let mut store = store_with(runtime, &with(policy, initial, 64 << 20));
            let mut stack = Stack(Vec::new());
            // A quarter of the memory.
            for _ in 0..250 {
                let filled = fill(&mut store, &mut stack, 10, 10);
                filled.unwrap_or_else(|e| panic!("{}, {more} more: {e}", runtime.name()));
                store.gc(&mut stack).unwrap();
            }
            store.heap().unwrap().verify().unwrap();
        }
    }
}

/// A policy may ask to double the memory, and then refuse it.
#[test]
fn a_heap_that_may_not_grow_keeps_room_for_small_objects() {
    for runtime in COLLECTING {
        for adaptive in [AdaptivePolicy::throughput(), AdaptivePolicy::memory()] {
            let initial = 1 << 20;
            let policy = Recorder { adaptive, limit: initial - NULL_PAGE, ..Recorder::new() };
            let mut store = store_with(runtime, &with(policy, initial, 64 << 20));
            let mut stack = Stack(Vec::new());
            let name = runtime.name();
            for _ in 0..2 {
                store.alloc_array(&mut stack, BYTES, 100_000).unwrap();
                for _ in 0..100_000 {
                    let node = store.alloc_struct(&mut stack, NODE);
                    let node = node.unwrap_or_else(|error| panic!("{name}: {error}"));
                    store.expose_gc_ref_to_wasm(node);
                }
                let peak = store.stats().peak_heap_bytes;
                assert!(peak <= initial - NULL_PAGE, "{name}: {peak}");
                store.heap().unwrap().verify().unwrap();
                store.reset().unwrap();
            }
        }
    }
}

/// Resident bytes of the heap according to the system. `None` if the system does not report them.
fn resident(store: &GcStore) -> Option<u64> {
    let base = store.heap().unwrap().vmctx_gc_heap_base().addr() as u64;
    let end = base + store.heap().unwrap().core().memory.maximum();
    let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let (mut inside, mut bytes) = (false, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        if let Some((from, to)) = first.split_once('-') {
            let from = u64::from_str_radix(from, 16).ok()?;
            let to = u64::from_str_radix(to, 16).ok()?;
            inside = from >= base && to <= end;
        } else if inside && first == "Rss:" {
            bytes += words.next()?.parse::<u64>().ok()? << 10;
        }
    }
    // Under qemu all numbers are zero.
    (bytes != 0).then_some(bytes)
}

#[test]
fn memory_goes_back_after_a_spike() {
    for runtime in COLLECTING {
        let name = runtime.name();
        let options = with(AdaptivePolicy::balanced(), 1 << 20, 256 << 20);
        let mut store = store_with(runtime, &options);
        let mut stack = Stack(Vec::new());
        // Half in small objects, half in large ones.
        fill(&mut store, &mut stack, 100, 40_000).unwrap();
        fill(&mut store, &mut stack, 4000, 1100).unwrap();
        let (most, resident_then) = (store.stats(), resident(&store));
        assert!(most.heap_bytes > 64 << 20, "{name}: {most:?}");
        stack.0.truncate(10);
        store.gc(&mut stack).unwrap();
        store.heap().unwrap().verify().unwrap();
        let (least, resident_now) = (store.stats(), resident(&store));
        // A nursery of 4 MiB, and what the policy keeps.
        assert!(least.heap_bytes < 17 << 20, "{name}: {least:?}");
        assert!(least.peak_heap_bytes >= most.heap_bytes);
        match resident_then.zip(resident_now) {
            Some((then, now)) => assert!(then > 32 << 20 && now < 18 << 20, "{name}: {then} {now}"),
            None => eprintln!("SKIPPED: this system does not say what is in memory"),
        }
        // Memory that was given back can be used again, and is zero.
        for _ in 0..2000 {
            fill(&mut store, &mut stack, 4000, 1).unwrap();
            let array = VMGcRef::from_raw_u32(*stack.0.last().unwrap() as u32).unwrap();
            for n in [0, 1999, 3999] {
                let at = 16 + n * 8;
                assert_eq!(store.read_field(&array, at, StorageType::I64), Ok(0));
            }
        }
        store.heap().unwrap().verify().unwrap();
        assert!(store.stats().heap_bytes > 60 << 20);
    }
}

#[test]
fn a_heap_that_no_longer_grows_is_looked_at_when_a_review_is_due() {
    // Bytes of the arrays. How much more a full heap has depends on the time that its collections
    // take.
    const FULL: u64 = 40_000 * (16 + 100 * 8);
    for runtime in [&DrcCollector as &dyn GcRuntime, &GenerationalCollector::new()] {
        let name = runtime.name();
        let spike = |review| {
            let policy = Recorder { review, ..Recorder::new() };
            let options = with(policy, 1 << 20, 256 << 20);
            let mut store = with_nursery(runtime, 256 << 10, &options);
            let mut stack = Stack(Vec::new());
            fill(&mut store, &mut stack, 100, 40_000).unwrap();
            store.gc(&mut stack).unwrap();
            stack.0.clear();
            churn(&mut store, &mut stack, 2_000_000);
            store
        };
        let heap_bytes = spike(Duration::ZERO).stats().heap_bytes;
        assert!(heap_bytes < FULL, "{name}: {heap_bytes}");
        if name == "generational" {
            let store = spike(Duration::MAX);
            assert!(store.stats().heap_bytes >= FULL, "{name}: {:?}", store.stats());
        }
    }
}

#[test]
fn a_policy_that_is_mean_with_memory_uses_less_than_a_generous_one() {
    for runtime in COLLECTING {
        let most = |policy: AdaptivePolicy| {
            // A small nursery, because otherwise it is most of the heap.
            let options = with(policy, 1 << 20, 512 << 20);
            let mut store = with_nursery(runtime, 1 << 20, &options);
            let mut stack = Stack(Vec::new());
            // A queue: each array lives for a while.
            for n in 0..20_000 {
                fill(&mut store, &mut stack, 100, 1).unwrap();
                if n >= 5000 {
                    stack.0[n % 5000] = stack.0.pop().unwrap();
                }
            }
            store.stats().peak_heap_bytes
        };
        let (mean, generous) = (most(AdaptivePolicy::memory()), most(AdaptivePolicy::throughput()));
        assert!(mean < generous, "{}: {mean} {generous}", runtime.name());
    }
}

#[test]
fn a_reset_store_has_a_policy_as_new() {
    let policy = Recorder::new();
    let asked = Arc::clone(&policy.asked);
    let mut store = store_with(&CopyingCollector, &with(policy, 1 << 20, 32 << 20));
    let mut stack = Stack(Vec::new());
    fill(&mut store, &mut stack, 1000, 1000).unwrap();
    store.gc(&mut stack).unwrap();
    store.reset().unwrap();
    let last = *asked.lock().unwrap().plans.last().unwrap();
    assert_eq!((last.live, last.grown, last.gc_time), (0, 0, Duration::ZERO));
    assert_eq!(store.heap().unwrap().core().live, 0);
    node(&mut store);
    assert!(store.gc(&mut NoStack).unwrap());
}

#[test]
fn a_reset_heap_asks_its_new_policy() {
    for runtime in COLLECTING {
        let made = Arc::new(Mutex::new(Vec::new()));
        let makes = Arc::clone(&made);
        let factory = PolicyFactory::new(move || {
            let policy = Recorder::new();
            makes.lock().unwrap().push(Arc::clone(&policy.asked));
            Box::new(policy)
        });
        let mut store = store_with(runtime, &with(factory, 1 << 20, 512 << 20));
        let mut stack = Stack(Vec::new());
        // Everything survives, so the nursery shrinks. After a reset it has its first size again.
        fill(&mut store, &mut stack, 2000, 3000).unwrap();
        stack.0.clear();
        let first = Arc::clone(&made.lock().unwrap()[0]);
        let steps = first.lock().unwrap().steps.len();
        assert!(steps > 0, "{}", runtime.name());
        store.reset().unwrap();
        assert_eq!(first.lock().unwrap().steps.len(), steps, "{}", runtime.name());
        assert_eq!(made.lock().unwrap().len(), 2);
    }
}

#[test]
fn a_heap_may_have_little_of_what_it_could_become() {
    for runtime in COLLECTING {
        for limit in [2 << 20, 10 << 20] {
            let name = runtime.name();
            let policy = Recorder { limit, ..Recorder::new() };
            // The largest nursery is larger than the whole heap.
            let options =
                HeapOptions { bounds: HeapBounds::Guarded, ..with(policy, 1 << 20, 2 << 30) };
            let mut store = store_with(runtime, &options);
            let mut stack = Stack(Vec::new());
            fill(&mut store, &mut stack, 100, 800).unwrap();
            churn(&mut store, &mut stack, 1_000_000);
            let error = fill(&mut store, &mut stack, 100, 1 << 20).unwrap_err();
            assert!(matches!(error, HeapError::OutOfMemory { .. }), "{name}: {error}");
            let held = stack.0.len() as u64 * 816;
            assert!(held > limit / 2, "{name}: {held} of {limit}");
            assert!(store.stats().heap_bytes <= limit, "{name}: {:?}", store.stats());
            store.heap().unwrap().verify().unwrap();
            stack.0.truncate(10);
            churn(&mut store, &mut stack, 1_000_000);
            store.heap().unwrap().verify().unwrap();
        }
    }
}

/// A heap that gave memory up may need it again without mapping more.
#[test]
fn a_heap_that_has_shrunk_grows_again() {
    for runtime in COLLECTING {
        let options =
            HeapOptions { initial: 1 << 20, maximum: 512 << 20, ..options(HeapBounds::Checked) };
        let mut store = store_with(runtime, &options);
        let mut stack = Stack(Vec::new());
        fill(&mut store, &mut stack, 1 << 17, 64).unwrap();
        stack.0.clear();
        for _ in 0..3 {
            store.gc(&mut stack).unwrap();
        }
        fill(&mut store, &mut stack, 30 << 17, 1).unwrap();
    }
}
