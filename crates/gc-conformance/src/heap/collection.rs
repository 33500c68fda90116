//! Promises of collections: when they may happen, that they end, what they free, and that depth and
//! width of the graph do not matter.

use super::*;
use gc_runtime::GcProgress;
use gc_testkit::mutator::Collection;
use gc_testkit::panics::expected_panic;
use gc_testkit::{Reclaims, scaled};

promises! {
    no_collection_begins_in_a_no_gc_scope: "gc, enter_no_gc_scope, exit_no_gc_scope";
    no_allocation_collects_in_a_no_gc_scope: "alloc_raw, enter_no_gc_scope";
    a_collection_completes_once: "collect_increment, abandon, stats";
    collecting_again_changes_nothing: "gc";
    a_collection_can_be_abandoned: "abandon";
    roots_follow_their_objects: "gc";
    objects_stay_if_the_collector_says_so: "gc, moves_objects";
    missing_roots_skip_the_collection: "gc";
    a_list_of_a_million_nodes_lives_and_dies: "gc, drop_gc_ref";
    a_wide_array_lives_and_dies: "gc, drop_gc_ref";
    a_cycle_dies_or_leaks_as_declared: "gc";
    garbage_makes_room: "gc, alloc_raw";
    noted_damage_is_reported_until_reset: "alloc_raw, gc, reset";
}

/// Whether `call` panics.
fn panics(call: impl FnOnce()) -> bool {
    expected_panic(call).is_some()
}

fn no_collection_begins_in_a_no_gc_scope(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 64 * KIB, 64 * KIB)?;
    raw.node(A)?;
    let leave_outside = panics(|| raw.heap.exit_no_gc_scope());
    ensure!(leave_outside, "a scope that was not entered can be left");
    raw.heap.enter_no_gc_scope();
    raw.heap.enter_no_gc_scope();
    for _ in 0..2 {
        let collect = panics(|| drop(raw.collection()));
        ensure!(collect, "a collection begins inside a no-GC scope");
        raw.heap.exit_no_gc_scope();
    }
    raw.collection()?.collect()?;
    Ok(raw.heap.verify()?)
}

fn no_allocation_collects_in_a_no_gc_scope(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, 16 * KIB, 4 * MIB)?;
    mutator.enter_no_gc_scope();
    let mut count = 0;
    let error = loop {
        match node(&mut mutator, count, STACK) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
        ensure!(count < MIB, "a heap of 4 MiB holds {count} nodes");
    };
    let error = error.downcast::<HeapError>()?;
    ensure!(matches!(error, HeapError::OutOfMemory { .. }), "a full heap says: {error}");
    let stats = mutator.store().stats();
    ensure!(stats.collections == 0, "{} collections inside a no-GC scope", stats.collections);
    ensure!(stats.live_objects == count, "{} of {count} objects survive", stats.live_objects);
    expect_node(&mutator, STACK, count - 1)?;
    mutator.exit_no_gc_scope();
    expect_live(&mut mutator, subject, 1, count)?;
    expect_node(&mutator, STACK, count - 1)
}

fn a_collection_completes_once(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 4 * MIB, 4 * MIB)?;
    for _ in 0..3 {
        for _ in 0..5000 {
            raw.node(A)?;
            let node = raw.slots.get(A).context("it is there")?;
            let word = raw.heap.expose_gc_ref_to_wasm(node);
            raw.slots.set_word(A, 0);
            raw.slots.set_word(STACK, word);
        }
        let before = raw.heap.stats().collections;
        let mut collection = raw.collection()?;
        let mut increments = 0;
        while collection.collect_increment()? == GcProgress::Continue {
            increments += 1;
            ensure!(increments < MIB, "a collection does not end");
        }
        for _ in 0..3 {
            let progress = collection.collect_increment()?;
            ensure!(progress == GcProgress::Complete, "it was complete, now it is not");
        }
        collection.collect()?;
        collection.abandon();
        drop(collection);
        let counted = raw.heap.stats().collections - before;
        ensure!(counted == 1, "one collection is counted as {counted}");
        raw.heap.verify()?;
        raw.slots.forget();
    }
    Ok(())
}

fn collecting_again_changes_nothing(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    for i in 0..16 {
        for place in
            [RootSlot::Stack(i), RootSlot::Table(i), RootSlot::Global(i), RootSlot::Handle(i)]
        {
            node(&mut mutator, place.number() as u64, place)?;
        }
    }
    for _ in 0..5 {
        expect_live(&mut mutator, subject, 64, 64)?;
        for place in RootSlot::all() {
            expect_node(&mutator, place, place.number() as u64)?;
        }
        mutator.slots().check()?;
    }
    Ok(())
}

/// A collection may be abandoned after any number of increments.
fn a_collection_can_be_abandoned(subject: &Subject<'_>) -> Result<()> {
    for increments in 0..12 {
        let mut mutator = sized_mutator(subject, MIB, 16 * MIB)?;
        mutator.enter_no_gc_scope();
        for i in 0..20_000 {
            node(&mut mutator, i, B)?;
            link(&mut mutator, B, LEFT, RootSlot::Stack((i % 16) as u8))?;
            mutator.copy(B, RootSlot::Stack((i % 16) as u8));
            if i % 3 == 0 {
                mutator.clear(RootSlot::Stack((i % 16) as u8));
            }
        }
        mutator.exit_no_gc_scope();
        mutator.clear(B);
        let progress = mutator.collect_increments(Some(increments))?;
        mutator.verify().with_context(|| format!("{progress:?}"))?;
        ensure!(progress != Collection::Skipped, "a collection was skipped");
        for i in 0..16 {
            let mut last = None;
            mutator.copy(RootSlot::Stack(i), A);
            while let Some(node) = mutator.get(A) {
                let value = mutator.store().read_field(&node, VALUE, StorageType::I64)?;
                let right = value % 16 == u128::from(i) && last.is_none_or(|last| value < last);
                ensure!(right, "{value} is in list {i} after {last:?}");
                last = Some(value);
                follow(&mut mutator, A, LEFT, A)?;
            }
        }
        // Objects allocated since then are also safe.
        node(&mut mutator, 5, A)?;
        mutator.collect()?;
        mutator.verify()?;
        expect_node(&mutator, A, 5)?;
        mutator.clear_all();
        expect_live(&mut mutator, subject, 0, 20_001)?;
    }
    Ok(())
}

/// Slots of all kinds that refer to one object refer to one object after it moved. Nulls and `i31`s
/// do not change.
fn roots_follow_their_objects(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let i31 = VMGcRef::from_i31(gc_types::I31::wrapping_u32(0x1234));
    for round in 0..10 {
        node(&mut mutator, 100 + round, A)?;
        node(&mut mutator, 200, B)?;
        let mut places = [RootSlot::Stack(round as u8), RootSlot::Table(1), RootSlot::Global(2), B];
        mutator.copy(A, places[0]);
        mutator.copy(A, places[1]);
        mutator.copy(A, places[2]);
        link(&mut mutator, B, RIGHT, A)?;
        mutator.put(RootSlot::Stack(15), i31.unchecked_copy());
        // Garbage before and after the object, so that a compacting collector has a reason to move
        // it.
        for _ in 0..10 {
            node(&mut mutator, 0, RootSlot::Handle(9))?;
        }
        mutator.clear(RootSlot::Handle(9));
        mutator.collect()?;
        follow(&mut mutator, B, RIGHT, RootSlot::Stack(14))?;
        places[3] = RootSlot::Stack(14);
        let object = at(&mutator, A)?;
        expect_node(&mutator, A, 100 + round)?;
        for place in places {
            let other = at(&mutator, place)?;
            ensure!(other == object, "{place:?} is {other:?}, another slot {object:?}");
        }
        ensure!(at(&mutator, RootSlot::Stack(15))? == i31, "a collection changed an i31");
        ensure!(mutator.get(RootSlot::Handle(9)).is_none(), "a collection changed null");
        mutator.slots().check()?;
    }
    Ok(())
}

fn objects_stay_if_the_collector_says_so(subject: &Subject<'_>) -> Result<()> {
    if subject.runtime.moves_objects() {
        return Ok(());
    }
    let mut mutator = mutator(subject)?;
    let places = [STACK, A, RootSlot::Table(1), RootSlot::Global(2)];
    let garbage = |mutator: &mut Mutator| {
        (0..10).try_for_each(|_| node(mutator, 0, RootSlot::Handle(9)))?;
        mutator.clear(RootSlot::Handle(9));
        anyhow::Ok(())
    };
    for (value, place) in (0..).zip(places) {
        garbage(&mut mutator)?;
        node(&mut mutator, value, place)?;
    }
    // The same for an object behind a reference.
    link(&mut mutator, A, RIGHT, STACK)?;
    let indices = |mutator: &Mutator| places.map(|place| mutator.slots().word(place));
    let before = indices(&mutator);
    for _ in 0..10 {
        garbage(&mut mutator)?;
        mutator.collect()?;
        ensure!(indices(&mutator) == before, "{before:?} are {:?} now", indices(&mutator));
        follow(&mut mutator, A, RIGHT, RootSlot::Stack(3))?;
        ensure!(mutator.slots().word(RootSlot::Stack(3)) == before[0], "a field changed");
    }
    Ok(())
}

fn missing_roots_skip_the_collection(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    node(&mut mutator, 1, STACK)?;
    let before = mutator.store().stats().collections;
    mutator.slots_mut().set_lost(true);
    ensure!(!mutator.collect()?, "a collection without all roots");
    for i in 0..10_000 {
        node(&mut mutator, i, A)?;
    }
    mutator.slots_mut().set_lost(false);
    let collections = mutator.store().stats().collections - before;
    ensure!(collections == 0, "{collections} collections without all roots");
    expect_node(&mutator, STACK, 1)?;
    expect_live(&mut mutator, subject, 2, 10_001)
}

/// Runs `call` on a stack that is too small for a recursion over a million nodes.
pub(super) fn on_a_small_stack(call: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(256 << 10);
        match small.spawn_scoped(scope, call)?.join() {
            Ok(result) => result,
            Err(panic) => bail!("it panicked: {}", panic_text(&*panic)),
        }
    })
}

/// Builds a list whose head has the highest number.
fn list(mutator: &mut Mutator, length: u64, to: RootSlot) -> Result<()> {
    mutator.enter_no_gc_scope();
    for i in 0..length {
        node(mutator, i, B)?;
        link(mutator, B, RIGHT, A)?;
        mutator.copy(B, A);
    }
    mutator.exit_no_gc_scope();
    mutator.copy(A, to);
    mutator.clear(A);
    mutator.clear(B);
    Ok(())
}

fn a_list_of_a_million_nodes_lives_and_dies(subject: &Subject<'_>) -> Result<()> {
    // With zeal each collection verifies the heap, so a shorter list suffices.
    let length = scaled(if subject.zeal == 0 { 1_000_000 } else { 50_000 });
    // Dropped by a barrier, and by a collection.
    for head in [RootSlot::Global(0), STACK] {
        let mut mutator = sized_mutator(subject, 8 * MIB, 128 * MIB)?;
        list(&mut mutator, length, head)?;
        on_a_small_stack(|| expect_live(&mut mutator, subject, length, length))?;
        mutator.copy(head, RootSlot::Stack(1));
        for value in (0..length).rev() {
            expect_node(&mutator, RootSlot::Stack(1), value)?;
            // As in compiled code, reading needs no barrier of the host.
            let node = at(&mutator, RootSlot::Stack(1))?;
            let next = mutator.store().read_field(&node, RIGHT, StorageType::Ref)?;
            mutator.slots_mut().set_word(RootSlot::Stack(1), next as u32);
        }
        ensure!(mutator.get(RootSlot::Stack(1)).is_none(), "the last node has a successor");
        on_a_small_stack(|| {
            mutator.clear(head);
            expect_live(&mut mutator, subject, 0, length)
        })?;
    }
    Ok(())
}

fn a_wide_array_lives_and_dies(subject: &Subject<'_>) -> Result<()> {
    let length = scaled(100_000);
    let mut mutator = sized_mutator(subject, 8 * MIB, 64 * MIB)?;
    let layout = gc_types::ArrayLayout::new(StorageType::Ref);
    mutator.enter_no_gc_scope();
    mutator.alloc_array(REFS, length as u32, A)?;
    for i in 0..length {
        node(&mut mutator, i, B)?;
        link(&mut mutator, B, LEFT, A)?;
        link(&mut mutator, B, LEFT, RootSlot::Handle(5))?;
        link(&mut mutator, A, layout.element_offset(i as u32) as u32, B)?;
    }
    mutator.clear(B);
    mutator.exit_no_gc_scope();
    expect_live(&mut mutator, subject, length + 1, length + 1)?;
    for i in [0, 1, length / 2, length - 1] {
        follow(&mut mutator, A, layout.element_offset(i as u32) as u32, STACK)?;
        expect_node(&mutator, STACK, i)?;
    }
    mutator.clear(STACK);
    on_a_small_stack(|| {
        mutator.clear(A);
        expect_live(&mut mutator, subject, 0, length + 1)
    })
}

fn a_cycle_dies_or_leaks_as_declared(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    // A cycle of two nodes with a tail, and a cycle of one.
    node(&mut mutator, 1, A)?;
    node(&mut mutator, 2, B)?;
    node(&mut mutator, 3, STACK)?;
    link(&mut mutator, A, LEFT, B)?;
    link(&mut mutator, B, LEFT, A)?;
    link(&mut mutator, B, RIGHT, STACK)?;
    mutator.clear(STACK);
    mutator.clear(B);
    expect_live(&mut mutator, subject, 3, 3)?;
    mutator.clear(A);
    node(&mut mutator, 4, STACK)?;
    link(&mut mutator, STACK, RIGHT, STACK)?;
    mutator.clear(STACK);
    let live = if subject.reclaims == Reclaims::Everything { 0 } else { 4 };
    expect_live(&mut mutator, subject, live, 4)?;
    // A cycle that leaks does not affect other objects.
    node(&mut mutator, 5, A)?;
    expect_live(&mut mutator, subject, live + 1, 5)?;
    expect_node(&mutator, A, 5)
}

/// A program that makes much more garbage than the heap is large.
fn garbage_makes_room(subject: &Subject<'_>) -> Result<()> {
    if subject.reclaims == Reclaims::Nothing {
        return Ok(());
    }
    // With zeal, every allocation collects and verifies.
    let count = if subject.zeal == 0 { scaled(400_000) } else { scaled(20_000) };
    let mut mutator = sized_mutator(subject, 256 * KIB, 512 * KIB)?;
    node(&mut mutator, u64::MAX, RootSlot::Table(0))?;
    for i in 0..count {
        node(&mut mutator, i, RootSlot::Stack((i % 16) as u8))?;
        if i % 7 == 0 {
            mutator.alloc_array(gc_testkit::schema::BYTES, (i % 1000) as u32, B)?;
        }
    }
    for i in count - 16..count {
        expect_node(&mutator, RootSlot::Stack((i % 16) as u8), i)?;
    }
    expect_node(&mutator, RootSlot::Table(0), u64::MAX)?;
    mutator.verify()?;
    let collections = mutator.store().stats().collections;
    ensure!(collections > 0, "no collection was needed");
    expect_live(&mut mutator, subject, 18, 0)
}

fn noted_damage_is_reported_until_reset(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 64 * KIB, 64 * KIB)?;
    raw.node(A)?;
    raw.heap.core_mut().note_damage(0x1234, "a check's");
    let is_reported = |result: Result<(), HeapError>| {
        matches!(result, Err(HeapError::Corrupt { at: 0x1234, .. }))
    };
    for _ in 0..2 {
        ensure!(is_reported(raw.node(B)), "an allocation does not report it");
        let collected = raw.collection()?.collect();
        ensure!(is_reported(collected), "a collection does not report it");
        ensure!(is_reported(raw.heap.verify()), "a verification does not report it");
    }
    raw.slots.forget();
    if !raw.heap.reset(&mut raw.host_data) {
        return Ok(());
    }
    raw.node(B)?;
    raw.collection()?.collect()?;
    Ok(raw.heap.verify()?)
}
