//! Tests that the test kit finds faults. The suite finds each fault of a collector, and so do
//! random operations where they can.

use crate::faulty::{Fault, Faulty};
use crate::semispace::{FaultySemispace, Semispace, WeakFault};
use arbitrary::Unstructured;
use gc_conformance::heap;
use gc_runtime::collector::{CopyingCollector, DrcCollector};
use gc_runtime::{GcStore, HeapOptions, NoStack};
use gc_testkit::{Reclaims, Subject, agreement, corrupt, differential, random};

/// Faults that random operations find, each with a check that must find it too.
const FOUND_AT_RANDOM: &[(Fault, &str)] = {
    use Fault::*;
    &[
        (DirtyBody, "new_objects_are_typed_and_zero"),
        (WrongType, "new_objects_are_typed_and_zero"),
        (Overlap, "objects_do_not_overlap"),
        (LostFieldWrite, "large_and_wide_objects_fit"),
        (NoFieldBarrier, "a_field_keeps_its_object"),
        (CopyUpwards, "references_are_copied_in_either_direction"),
        (NoSlotBarrier, "a_slot_keeps_its_object"),
        (NoCloneBarrier, "a_clone_keeps_its_object"),
        (NoDropBarrier, "a_clone_keeps_its_object"),
        (DropsExposed, "random_operations_agree_with_the_shadow"),
        (ForgetsRoots, "the_stack_keeps_its_objects"),
        (DropsHostValues, "a_host_value_lives_as_long_as_its_externref"),
        (KeepsHostValues, "a_host_value_lives_as_long_as_its_externref"),
        (IgnoresHostValues, "a_host_value_lives_as_long_as_its_externref"),
        (NoCollection, "the_stack_keeps_its_objects"),
        (WrongCount, "a_field_keeps_its_object"),
        (NoReset, "a_reset_heap_is_as_new"),
        (WritesNullRoots, "the_stack_keeps_its_objects"),
        (WrongOrder, "random_operations_agree_with_the_shadow"),
    ]
};

/// Other faults, and other checks that must find a fault.
const FOUND_BY_CHECKS: &[(Fault, &str)] = {
    use Fault::*;
    &[
        (NeverComplete, "a_collection_completes_once"),
        (IgnoresScopes, "no_collection_begins_in_a_no_gc_scope"),
        (WrongGrowth, "growth_is_reported_and_stops_at_the_limit"),
        (ResetKeepsHostValues, "a_reset_heap_is_as_new"),
        (PanicsOnDamage, "damage_stays_inside_the_heap"),
        (IgnoresDamage, "noted_damage_is_reported_until_reset"),
        (AlwaysNeedsGc, "a_collection_lets_compiled_code_be_entered"),
        (WrongHostValue, "an_externref_keeps_its_id"),
        // Also through a store.
        (WrongHostValue, "a_host_value_lives_as_long_as_its_externref"),
        (UnwindsBarriers, "no_panic_of_a_host_value_comes_out_of_a_barrier"),
        (WrongOrder, "an_object_tells_its_kind_and_references"),
        (WrongCount, "used_bytes_are_those_of_the_objects"),
        (ForgetsRoots, "any_cause_keeps_what_lives"),
        (NeverEnds, "a_collection_can_yield"),
        (AnySlowPath, "an_unknown_slow_path_does_nothing"),
        (SaysNothingDies, "a_collector_says_what_it_is"),
        (IgnoresWeak, "a_weak_handle_does_not_keep_its_object"),
        (SkipsWeak, "a_weak_handle_does_not_keep_its_object"),
        (SkipsWeak, "an_entry_keeps_its_value_while_its_key_lives"),
        (SkipsWeak, "cycles_of_keys_and_values_die"),
        (SkipsWeak, "entries_of_a_dropped_map_keep_nothing"),
        (SkipsWeak, "finalizers_come_in_the_order_of_their_making"),
        (StrongWeak, "a_weak_handle_does_not_keep_its_object"),
        (StrongWeak, "a_value_may_be_replaced"),
        (StrongWeak, "a_finalizer_keeps_its_object_once"),
        (ClearsWeak, "a_weak_handle_follows_its_object"),
        (ClearsWeak, "an_entry_keeps_its_value_while_its_key_lives"),
        (ClearsWeak, "a_weak_map_finds_keys_that_have_moved"),
        (ClearsWeak, "a_chain_of_entries_takes_linear_time"),
        (ClearsWeak, "weak_references_survive_an_abandoned_collection"),
        (NoWeakBarrier, "an_upgraded_object_lives"),
    ]
};

fn drc(fault: Fault) -> Faulty<'static> {
    Faulty { inner: &DrcCollector, fault }
}

/// The names of the checks that find the fault.
fn found_by(subject: &Subject<'_>) -> Vec<&'static str> {
    heap::checks()
        .filter(|check| check.name != "a_list_of_a_million_nodes_lives_and_dies")
        .filter(|check| check.run(subject).is_err())
        .map(|check| check.name)
        .collect()
}

fn found_at_random(subject: &Subject<'_>) -> bool {
    (0..300).any(|seed| {
        let bytes = random::bytes(seed, 4000);
        let run = || differential::run(subject, &mut Unstructured::new(&bytes)).is_err();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(true)
    })
}

#[test]
fn without_a_fault_nothing_is_found() {
    let collector = drc(Fault::None);
    let subject = Subject::new(&collector, Reclaims::Everything);
    assert_eq!(found_by(&subject), [""; 0]);
    assert!(!found_at_random(&subject));
}

#[test]
fn every_fault_is_found_by_the_suite() {
    for (fault, check) in FOUND_AT_RANDOM.iter().chain(FOUND_BY_CHECKS) {
        let collector = drc(*fault);
        let subject = Subject::new(&collector, Reclaims::Everything);
        let found = heap::find(check).unwrap().run(&subject);
        assert!(found.is_err(), "{fault:?} is not found by {check}");
    }
}

#[test]
fn faults_of_a_moving_collector_are_found() {
    use Fault::*;
    for fault in [ForgetsRoots, DirtyBody, LostFieldWrite, KeepsHostValues, DropsHostValues] {
        let collector = Faulty { inner: &Semispace, fault };
        let subject = Subject::new(&collector, Reclaims::Everything);
        assert!(found_at_random(&subject), "{fault:?} is not found");
    }
    let collector = Faulty { inner: &CopyingCollector, fault: NeverAbandons };
    let subject = Subject::new(&collector, Reclaims::Everything);
    let check = heap::find("a_collection_can_be_abandoned").unwrap();
    assert!(check.run(&subject).is_err(), "a half copied heap is not found");
}

#[test]
fn faults_of_a_collector_with_weak_references_are_found() {
    let faults = [
        (WeakFault::ForgetsReferents, "a_finalizer_keeps_what_its_object_refers_to"),
        (WeakFault::ForgetsReferents, "weak_references_survive_an_abandoned_collection"),
        (WeakFault::StopsEarly, "cycles_of_keys_and_values_die"),
        (WeakFault::DropsValuesFirst, "host_values_die_after_weak_references"),
    ];
    for (fault, check) in faults {
        let collector = FaultySemispace(fault);
        let subject = Subject::new(&collector, Reclaims::Everything);
        let found = heap::find(check).unwrap().run(&subject);
        assert!(found.is_err(), "{fault:?} is not found by {check}");
    }
    for fault in [Fault::IgnoresWeak, Fault::SkipsWeak, Fault::StrongWeak, Fault::ClearsWeak] {
        let collector = Faulty { inner: &Semispace, fault };
        let subject = Subject::new(&collector, Reclaims::Everything);
        let check = heap::find("a_weak_handle_follows_its_object").unwrap();
        assert!(check.run(&subject).is_err(), "{fault:?} is not found");
    }
}

#[test]
fn random_operations_find_most_faults() {
    for (fault, _) in FOUND_AT_RANDOM {
        let collector = drc(*fault);
        let subject = Subject::new(&collector, Reclaims::Everything);
        assert!(found_at_random(&subject), "{fault:?} is not found");
    }
}

#[test]
fn a_collector_that_frees_less_than_it_says_is_found() {
    let leaks = drc(Fault::LeaksCycles);
    let leaks_cycles = Subject::new(&leaks, Reclaims::Everything);
    // Other collectors show this fault only if a host value is held by a cycle.
    let mut found = found_by(&leaks_cycles);
    found.retain(|check| *check != "random_operations_come_to_the_same_as_elsewhere");
    assert_eq!(
        found,
        [
            "a_collection_of_all_tells_the_policy",
            "any_cause_keeps_what_lives",
            "a_cycle_dies_or_leaks_as_declared",
            // Only a trace finds objects that have only weak references.
            "a_weak_handle_does_not_keep_its_object",
            "a_weak_handle_follows_its_object",
            "an_entry_keeps_its_value_while_its_key_lives",
            "cycles_of_keys_and_values_die",
            "a_weak_map_finds_keys_that_have_moved",
            "entries_of_a_dropped_map_keep_nothing",
            "a_finalizer_keeps_its_object_once",
            "finalizers_come_in_the_order_of_their_making",
            "a_finalizer_keeps_what_its_object_refers_to",
            "host_values_die_after_weak_references",
            "weak_references_survive_an_abandoned_collection",
            "a_reset_forgets_weak_references",
            "rings_by_the_hundred_thousand_are_freed",
            "random_operations_agree_with_the_shadow",
        ]
    );
    let frees_cycles = Subject::new(&Semispace, Reclaims::Acyclic);
    assert_eq!(
        found_by(&frees_cycles),
        [
            "a_cycle_dies_or_leaks_as_declared",
            "cycles_of_keys_and_values_die",
            "weak_references_survive_an_abandoned_collection",
            "random_operations_agree_with_the_shadow"
        ]
    );
}

#[test]
fn a_collector_that_moves_what_it_says_stays_is_found() {
    let collector = Faulty { inner: &Semispace, fault: Fault::SaysObjectsStay };
    let subject = Subject::new(&collector, Reclaims::Everything);
    assert_eq!(found_by(&subject), ["objects_stay_if_the_collector_says_so"]);
}

#[test]
fn a_panic_because_of_damage_is_found() {
    let collector = drc(Fault::PanicsOnDamage);
    let subject = Subject::new(&collector, Reclaims::Everything);
    let found = (0..300).any(|seed| {
        let bytes = random::bytes(seed, 4000);
        let run = || corrupt::run(&subject, &mut Unstructured::new(&bytes)).is_err();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or(true)
    });
    assert!(found);
}

#[test]
fn an_object_behind_the_heaps_end_is_found_by_the_verifier() {
    let collector = drc(Fault::ObjectBehindEnd);
    let mut store = GcStore::new(&collector, &HeapOptions::default()).unwrap();
    let error = store.verify(&mut NoStack).unwrap_err().to_string();
    assert!(error.contains("an object reaches past the end of the heap"), "{error}");
}

/// A faulty collector beside a correct one is found, and reported with few operations.
#[test]
fn faulty_collectors_disagree_with_others() {
    use Fault::*;
    for (fault, most) in [(LostFieldWrite, 120), (DirtyBody, 200), (ForgetsRoots, 4)] {
        let faulty = drc(fault);
        let subjects = [
            Subject::new(&Semispace, Reclaims::Everything),
            Subject::new(&CopyingCollector, Reclaims::Everything),
            Subject::new(&faulty, Reclaims::Everything),
        ];
        let run = |subjects: &[Subject<'_>], seed| {
            agreement::run(subjects, &mut Unstructured::new(&random::bytes(seed, 4000)))
        };
        let (seed, found) = (0..50)
            .find_map(|seed| Some((seed, run(&subjects, seed).err()?)))
            .unwrap_or_else(|| panic!("{fault:?} is not found"));
        run(&subjects[..2], seed).unwrap();
        let text = found.to_string();
        assert!(text.contains("drc"), "{text}");
        let operations = text.lines().count() - 1;
        assert!(text.contains(&format!("{operations} operations suffice")), "{text}");
        assert!(operations <= most, "{operations} operations: {text}");
    }
}

/// A collector that keeps host values agrees about everything else, but it has freed their boxes.
#[test]
fn host_values_that_are_kept_are_found() {
    let faulty = drc(Fault::KeepsHostValues);
    let subjects = [&DrcCollector as &dyn gc_runtime::GcRuntime, &faulty]
        .map(|runtime| Subject::new(runtime, Reclaims::Everything));
    let found = (0..20).find_map(|seed| {
        agreement::run(&subjects, &mut Unstructured::new(&random::bytes(seed, 2000))).err()
    });
    let text = found.expect("a host value that is kept").to_string();
    assert!(text.contains("the box of a host value is not an externref"), "{text}");
}

/// The store notices it when a collector does not sweep.
#[test]
fn host_values_that_are_not_swept_are_damage() {
    let faulty = drc(Fault::IgnoresHostValues);
    let subjects = [Subject::new(&faulty, Reclaims::Everything)];
    let found = agreement::run(&subjects, &mut Unstructured::new(&random::bytes(0, 2000)));
    let text = found.expect_err("host values are not swept").to_string();
    let what = "the collector has not swept the host values of externrefs";
    assert!(text.contains(what), "{text}");
}
