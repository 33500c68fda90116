//! A heap, its code and its host calls that do not fit are refused where they meet.

use crate::common::*;
use cranelift_codegen::ir::{InstBuilder, types};
use gc_jit::{CodeMemory, HostCallTable, JitState};
use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector, NullCollector};
use gc_runtime::{
    AdaptivePolicy, Decision, GcRuntime, GcStore, GrowthPolicy, HeapFactory, HeapMemory,
    HeapOptions, HeapPlan, HeapUsage, NoStack, PolicyFactory,
};
use gc_types::{Abi, HeapBounds, HostCall, HostCallType, HostSignature, Trap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

gc_jit::host_calls! {
    /// The host calls of these tests.
    trait Calls;
    /// The same, with numbers and signatures.
    const CALLS from HostCall::FIRST_EMBEDDER, named "test_";

    /// The first.
    ONE: [collects] fn one() -> u32;
    /// The second.
    TWO: fn two() -> u32;
}

impl Calls for TestStore {
    fn one(&mut self, _caller: usize) -> u32 {
        1
    }

    fn two(&mut self, _caller: usize) -> u32 {
        2
    }
}

/// Code with one function, which returns 5.
fn code(abi: Abi) -> Arc<CodeMemory> {
    let five = compile(&compiler_for(&abi), signature(&[], &[types::I64]), |builder, _| {
        let five = builder.ins().iconst(types::I64, 5);
        builder.ins().return_(&[five]);
    });
    publish_for(abi, vec![five])
}

#[test]
fn a_store_runs_no_code_of_another_kind() {
    let options = HeapOptions { maximum: 8 << 20, ..HeapOptions::default() };
    let mut fixture = fixture_with(&CopyingCollector, &options);
    let sig = signature(&[], &[types::I64]);
    let fits = code(options.abi(&CopyingCollector));
    assert_eq!(fixture.call(&fits, 0, &sig, &[]).unwrap()[0].get_i64(), 5);
    let checked = HeapOptions { bounds: HeapBounds::Checked, ..options.clone() };
    let refused = "the code was compiled for another kind of store (here: the store, there: the \
                   code): ";
    for (abi, difference) in [
        (options.abi(&DrcCollector), "collector is `copying` here, but `drc` there"),
        (checked.abi(&CopyingCollector), "heap.bounds is `guarded` here, but `checked` there"),
        (
            options.abi(&CopyingCollector).with_host_calls(CALLS.iter().copied()),
            "host_call.016 is nothing here, but `test_one",
        ),
    ] {
        let other = code(abi);
        let error = fixture.call(&other, 0, &sig, &[]).unwrap_err().into_anyhow();
        let text = format!("{error:#}");
        assert!(text.starts_with(&format!("{refused}{difference}")), "{text}");
        let error = fixture.store.jit.keep_alive(other).unwrap_err();
        assert_eq!(format!("{error:#}"), text);
    }
    assert_eq!(fixture.call(&fits, 0, &sig, &[]).unwrap()[0].get_i64(), 5);
}

#[test]
fn a_heap_of_another_kind_is_refused() {
    let options = HeapOptions { maximum: 64 << 20, ..HeapOptions::default() };
    let abi = options.abi(&GenerationalCollector::new());
    let error = |gc: GcStore| {
        let host_calls = HostCallTable::new(&Arc::new(abi.clone()), &[]).unwrap();
        let jit = JitState::<TestStore>::new(gc, &host_calls, MAX_STACK);
        format!("{:#}", jit.expect_err("a refusal"))
    };
    let refused = "the heap and the code of a store do not fit (here: the heap, there: the code): ";
    let gc = GcStore::new(&NullCollector, &options).unwrap();
    assert_eq!(error(gc), format!("{refused}collector is `null` here, but `generational` there"));
    let gc = GcStore::new(&GenerationalCollector::new().with_nursery(1 << 20), &options).unwrap();
    assert_eq!(
        error(gc),
        format!("{refused}collector.nursery is `1048576` here, but `67108864` there")
    );
    // Code does not depend on the size of the heap.
    let larger = HeapOptions { maximum: 128 << 20, ..options.clone() };
    assert_eq!(larger.abi(&GenerationalCollector::new()), abi);
    let checked = HeapOptions { bounds: HeapBounds::Checked, ..options };
    let gc = GcStore::new(&GenerationalCollector::new(), &checked).unwrap();
    assert_eq!(error(gc), format!("{refused}heap.bounds is `checked` here, but `guarded` there"));
}

#[test]
fn a_store_has_every_host_call_of_its_code() {
    let table = |calls: &[_]| HostCallTable::new(&Arc::new(abi(CALLS)), calls);
    let mut calls = TestStore::host_calls();
    assert!(table(&calls).is_ok());
    let _ = calls.split_off(1);
    assert_eq!(
        table(&calls).expect_err("a refusal").to_string(),
        "the code calls `test_two() -> I32`, host call 17, which the store does not have"
    );
}

#[test]
fn a_host_call_is_the_same_in_a_store_and_its_code() {
    let error = |signature: HostSignature| {
        let abi = Arc::new(abi(&[CALLS[0], (TWO, signature)]));
        let table = HostCallTable::<TestStore>::new(&abi, &TestStore::host_calls());
        table.expect_err("a refusal").to_string()
    };
    let two = CALLS[1].1;
    for (signature, text) in [
        (HostSignature { name: "other", ..two }, "other() -> I32"),
        (HostSignature { params: &[HostCallType::I64; 2], ..two }, "test_two(I64, I64) -> I32"),
        (HostSignature { result: None, ..two }, "test_two()"),
        (HostSignature { result: Some(HostCallType::Ref), ..two }, "test_two() -> Ref"),
        (HostSignature { fallible: true, ..two }, "test_two!() -> I32"),
    ] {
        let expected =
            format!("host call 17 is `test_two() -> I32` in the store, but `{text}` in the code");
        assert_eq!(error(signature), expected);
    }
    // Code may have safepoints where the store never collects.
    let careful = HostSignature { may_collect: true, ..two };
    let code = Arc::new(abi(&[CALLS[0], (TWO, careful)]));
    assert!(HostCallTable::<TestStore>::new(&code, &TestStore::host_calls()).is_ok());
    let (one, signature) = CALLS[0];
    let careless = HostSignature { may_collect: false, ..signature };
    assert!(signature.may_collect, "the store collects in the first call");
    let code = Arc::new(abi(&[(one, careless), CALLS[1]]));
    assert!(HostCallTable::<TestStore>::new(&code, &TestStore::host_calls()).is_err());
    // A store may have calls that its code does not know.
    let table = HostCallTable::<TestStore>::new(&Arc::new(abi(&[])), &TestStore::host_calls());
    assert!(table.is_ok());
}

#[test]
fn code_is_published_for_its_own_kind_of_store() {
    let five = compile(&compiler(), signature(&[], &[types::I64]), |builder, params| {
        builder.ins().return_(&params[..1]);
    });
    let image = link(vec![five], &[]);
    let other = Arc::new(HeapOptions::default().abi(&DrcCollector));
    let error = CodeMemory::publish(image, &other, &[]).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("collector is `drc` here, but `null` there"), "{text}");
}

/// Panics instead of making a plan.
#[derive(Debug)]
struct Panics(AdaptivePolicy, Arc<AtomicBool>);

impl GrowthPolicy for Panics {
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
        self.0.decide(usage, need)
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        assert!(!self.1.load(Relaxed), "the test panics");
        self.0.plan(usage)
    }
}

#[test]
fn no_code_runs_over_a_heap_whose_collection_was_interrupted() {
    let panics = Arc::new(AtomicBool::new(false));
    let flag = panics.clone();
    let policy = move || Box::new(Panics(AdaptivePolicy::balanced(), flag.clone())) as _;
    let options = HeapOptions { policy: PolicyFactory::new(policy), ..HeapOptions::default() };
    let mut fixture = fixture_with(&CopyingCollector, &options);
    let code = code(options.abi(&CopyingCollector));
    let sig = signature(&[], &[types::I64]);
    assert_eq!(fixture.call(&code, 0, &sig, &[]).unwrap()[0].get_i64(), 5);

    panics.store(true, Relaxed);
    let gc = fixture.store.jit.gc_mut();
    catch_unwind(AssertUnwindSafe(|| gc.gc(&mut NoStack))).unwrap_err();
    panics.store(false, Relaxed);
    let error = fixture.call(&code, 0, &sig, &[]).unwrap_err();
    assert_eq!(error.trap(), Some(Trap::CorruptHeap));
    assert_eq!(error.to_string(), "corrupt GC heap: a collection was interrupted");

    fixture.store.jit.gc_mut().reset().unwrap();
    assert_eq!(fixture.call(&code, 0, &sig, &[]).unwrap()[0].get_i64(), 5);
}

/// Emitted code of some collectors uses data words as addresses. In other memory these words are
/// zero, or belong to another heap.
#[test]
fn a_heap_whose_memory_was_replaced_is_refused() {
    let runtimes: [Arc<dyn GcRuntime>; 3] = [
        Arc::new(DrcCollector),
        Arc::new(CopyingCollector),
        Arc::new(GenerationalCollector::new()),
    ];
    let options = HeapOptions { maximum: 8 << 20, ..HeapOptions::default() };
    let replace = |gc: &mut GcStore| {
        gc.heap_mut().unwrap().core_mut().memory = HeapMemory::new(&options).unwrap();
    };
    let refused = "heap.memory is `replaced` here";
    for runtime in runtimes {
        let abi = Arc::new(options.abi(&*runtime));
        let table = HostCallTable::<TestStore>::new(&abi, &[]).unwrap();
        let mut gc = GcStore::new(&*runtime, &options).unwrap();
        replace(&mut gc);
        let error = format!("{:#}", JitState::new(gc, &table, MAX_STACK).unwrap_err());
        assert!(error.contains(refused), "{error}");

        let factory = Arc::new(HeapFactory::new(runtime, &options).unwrap());
        let mut jit = JitState::new(GcStore::lazy(&factory), &table, MAX_STACK).unwrap();
        jit.gc_mut().ensure_heap().unwrap();
        replace(jit.gc_mut());
        let error = format!("{:#}", jit.vmctx_prefix(VMCTX).unwrap_err());
        assert!(error.contains(refused), "{error}");
    }
}
