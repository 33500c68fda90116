//! Promises about a collector's declarations, about its objects, about the causes of collections,
//! and about entering compiled code.

use super::*;
use gc_runtime::PauseKind;
use gc_testkit::Reclaims;
use gc_testkit::schema::{MIXED, WIDE};
use gc_types::collector::nursery::NURSERY;
use gc_types::{I31, NULL_PAGE_SIZE};
use std::task;
use std::time::Duration;

promises! {
    a_collector_says_what_it_is: "name, abi, summary, max_heap_size, reclaims, for_tests";
    an_object_tells_its_kind_and_references: "is_kind, for_each_ref, for_each_object";
    used_bytes_are_those_of_the_objects: "occupancy, stats";
    a_collection_of_all_tells_the_policy: "HeapCore::make_plan, occupancy";
    any_cause_keeps_what_lives: "gc, kind";
    given_time_leaves_nothing_to_do: "idle, Idle";
    a_collection_can_yield: "collect_async";
    an_unknown_slow_path_does_nothing: "collector_slow_path";
}

fn a_collector_says_what_it_is(subject: &Subject<'_>) -> Result<()> {
    let runtime = subject.runtime;
    let name = runtime.name();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.chars().all(plain),
        "`{name}` is not a valid name for an option"
    );
    ensure!(runtime.abi() == runtime.abi(), "its ABI changes");
    let summary = runtime.summary();
    ensure!(!summary.is_empty() && !summary.ends_with('.'), "it is good for: `{summary}`");
    let most = runtime.max_heap_size();
    let possible = u64::from(NULL_PAGE_SIZE) + 1..=4 << 30;
    ensure!(possible.contains(&most), "heaps of at most {most} bytes");
    let frees = subject.reclaims != Reclaims::Nothing;
    ensure!(!frees || runtime.reclaims() != Reclaims::Nothing, "it says that it frees nothing");
    let has_nursery = runtime.options().iter().any(|option| option.name == NURSERY);
    match runtime.for_tests() {
        Some(small) => {
            ensure!(small.name() == name, "for tests, its name is `{}`", small.name());
            ensure!(small.abi() == runtime.abi(), "for tests, it has another ABI");
            ensure!(
                small.max_native_refs() == runtime.max_native_refs(),
                "for tests, it allows another number of native references"
            );
        }
        None => ensure!(
            !has_nursery,
            "it has the option `{NURSERY}`, but `GcRuntime::for_tests` returns none with a small one"
        ),
    }
    Ok(())
}

fn an_object_tells_its_kind_and_references(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    node(&mut mutator, 1, A)?;
    for ty in [MIXED, WIDE, REFS] {
        match ty {
            REFS => mutator.alloc_array(ty, 20, B)?,
            _ => mutator.alloc_struct(ty, 0, B)?,
        }
        let object = at(&mutator, B)?;
        let heap = mutator.heap();
        let kind = if ty == REFS { VMGcKind::ArrayRef } else { VMGcKind::StructRef };
        let other = if ty == REFS { VMGcKind::StructRef } else { VMGcKind::ArrayRef };
        ensure!(heap.is_kind(&object, kind) && !heap.is_kind(&object, other), "no {kind:?}");
        let mut count = 0;
        heap.for_each_ref(&object, &mut |_, _| count += 1)?;
        ensure!(count == 0, "a new object has {count} references");
        let Some((layout, length)) = mutator.shape(&object)? else { bail!("it has no layout") };
        let mut offsets: Vec<u32> = match &*layout {
            gc_types::GcLayout::Array(layout) => {
                (0..length).map(|i| layout.element_offset(i) as u32).collect()
            }
            layout => {
                let fields = layout.fields().unwrap_or_default().iter();
                fields.filter(|field| field.ty.is_ref()).map(|field| field.offset).collect()
            }
        };
        // All fields but one, which stays null.
        offsets.sort_unstable();
        offsets.pop();
        for &offset in &offsets {
            link(&mut mutator, B, offset, A)?;
        }
        let (node, object) = (at(&mutator, A)?, at(&mutator, B)?);
        let mut found = Vec::new();
        let mut right = true;
        mutator.heap().for_each_ref(&object, &mut |offset, to| {
            found.push(offset);
            right &= to == node;
        })?;
        ensure!(right && found == offsets, "references at {found:?} instead of {offsets:?}");
    }
    let mut objects = Vec::new();
    mutator.heap().for_each_object(&mut |object| objects.push(object.as_raw_u32()))?;
    ensure!(objects.is_sorted(), "objects are not visited in address order");
    for place in [A, B] {
        let object = at(&mutator, place)?;
        ensure!(objects.contains(&object.as_raw_u32()), "{object:?} is not visited");
    }
    Ok(())
}

fn used_bytes_are_those_of_the_objects(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    for round in 0..4 {
        mutator.enter_no_gc_scope();
        for i in 0..300 {
            node(&mut mutator, i, RootSlot::Stack((i % 16) as u8))?;
            mutator.alloc_array(REFS, (i % 50) as u32, RootSlot::Table((i % 16) as u8))?;
        }
        mutator.alloc_array(gc_testkit::schema::BYTES, 100_000, B)?;
        mutator.exit_no_gc_scope();
        for collected in [false, true] {
            if collected {
                mutator.collect()?;
            }
            let heap = mutator.heap();
            let (mut bytes, mut objects) = (0, 0);
            let mut sizes = Ok(());
            heap.for_each_object(&mut |object| match heap.object_size(&object) {
                Ok(size) => (bytes, objects) = (bytes + u64::from(size), objects + 1),
                Err(error) => sizes = Err(error),
            })?;
            sizes?;
            let (used, stats) = (heap.occupancy().used, heap.stats());
            ensure!(
                (stats.live_objects, stats.live_bytes) == (objects, bytes),
                "round {round}: {objects} objects of {bytes} bytes, but {stats:?}"
            );
            ensure!(used == bytes, "round {round}: {bytes} bytes are reported as {used}");
        }
    }
    Ok(())
}

/// The policy must get the live bytes, because otherwise the heap never has a goal.
fn a_collection_of_all_tells_the_policy(subject: &Subject<'_>) -> Result<()> {
    if subject.reclaims == Reclaims::Nothing {
        return Ok(());
    }
    let mut mutator = sized_mutator(subject, MIB, 64 * MIB)?;
    for round in 0..4 {
        for i in 0..16 {
            mutator.alloc_array(gc_testkit::schema::BYTES, 50_000 * round, RootSlot::Table(i))?;
            node(&mut mutator, 1, RootSlot::Stack(i))?;
        }
        ensure!(mutator.collect()?, "a collection was skipped");
        let heap = mutator.heap();
        let (told, live) = (heap.core().live, heap.stats().live_bytes);
        ensure!(told == live, "{live} bytes live, but the policy got {told}");
        let usage = heap.usage();
        ensure!(usage.live == live && usage.used >= live, "{usage:?} of {live} bytes alive");
        ensure!(usage.mapped <= usage.limit, "{usage:?}");
    }
    Ok(())
}

/// A host calls it in a loop. A heap that always asked for more would use all of its time.
fn given_time_leaves_nothing_to_do(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, MIB, 64 * MIB)?;
    let long = Duration::from_secs(60);
    for round in 0..4 {
        for n in 0..5000 {
            node(&mut mutator, n, if n % 8 == 0 { A } else { B })?;
        }
        let _left = mutator.collect_for(long)?;
        let before = mutator.store().stats().collections;
        let left = mutator.collect_for(long)?;
        let more = mutator.store().stats().collections - before;
        ensure!(left.is_nothing(), "round {round}: {left:?} after the second call");
        ensure!(more == 0, "round {round}: the second call made {more} more collections");
        mutator.verify()?;
        ensure!(at(&mutator, A)?.as_raw_u32() != 0, "an object is lost");
    }
    Ok(())
}

/// In each round a list grows by a node, and a new node replaces the one on the stack.
fn any_cause_keeps_what_lives(subject: &Subject<'_>) -> Result<()> {
    use GcCause::*;
    for cause in [Asked, NoRoom, Exhausted, HostValues, Idle, Zeal] {
        let mut raw = Raw::new(subject, 2 * MIB, 4 * MIB)?;
        let length = 40_u64;
        for round in 0..length {
            // The node of the last round is garbage.
            raw.node(B)?;
            let on_stack = raw.slots.get(B).context("a node")?;
            let at = u64::from(on_stack.as_raw_u32() + VALUE);
            raw.heap.core_mut().write_scalar(at, StorageType::I64, (1000 + round).into())?;
            let word = raw.heap.expose_gc_ref_to_wasm(on_stack);
            raw.slots.set_word(RootSlot::Stack(0), word);
            raw.node(B)?;
            let new = raw.slots.get(B).context("a node")?;
            let at = u64::from(new.as_raw_u32());
            raw.heap.core_mut().write_scalar(
                at + u64::from(VALUE),
                StorageType::I64,
                round.into(),
            )?;
            let last = raw.slots.get(A);
            let left = at + u64::from(LEFT);
            raw.heap.write_field_ref(&mut raw.host_data, left, last.as_ref())?;
            if let Some(last) = last {
                raw.heap.drop_gc_ref(&mut raw.host_data, last);
            }
            raw.slots.set_word(A, new.as_raw_u32());
            raw.slots.set_word(B, 0);
            let kind = {
                let mut collection = raw.collection_for(cause)?;
                collection.collect()?;
                collection.kind()
            };
            raw.heap.verify().with_context(|| format!("{cause:?}, round {round}"))?;
            let asked = matches!(cause, Asked | Exhausted);
            ensure!(!asked || kind.is_complete(), "{cause:?} ends in a {kind:?}");
            let on_stack = raw.slots.get(RootSlot::Stack(0)).context("it is there")?;
            let at = u64::from(on_stack.as_raw_u32() + VALUE);
            let actual = raw.heap.core().read_scalar(at, StorageType::I64)?;
            ensure!(actual == 1000 + u128::from(round), "{cause:?}: the stack's node is {actual}");
            let (mut at, mut value) = (raw.slots.get(A), round + 1);
            while let Some(node) = at {
                value -= 1;
                let core = raw.heap.core();
                let index = u64::from(node.as_raw_u32());
                let actual = core.read_scalar(index + u64::from(VALUE), StorageType::I64)?;
                ensure!(actual == u128::from(value), "{cause:?}: node {actual} instead of {value}");
                at = core.read_ref_at(index + u64::from(LEFT))?;
            }
            ensure!(value == 0, "{cause:?}, round {round}: the list ends at {value}");
        }
        let live = raw.heap.stats().live_objects;
        let expected = match subject.reclaims {
            Reclaims::Nothing => 2 * length,
            _ => length + 1,
        };
        let may_keep = !matches!(cause, Asked | Exhausted) && live >= expected;
        ensure!(live == expected || may_keep, "{cause:?}: {live} objects instead of {expected}");
    }
    ensure!(
        PauseKind::default().is_complete(),
        "the default kind of a collection is not a complete one"
    );
    Ok(())
}

fn a_collection_can_yield(subject: &Subject<'_>) -> Result<()> {
    let mut context = task::Context::from_waker(task::Waker::noop());
    // A collection that never ends must be found first: it could not be abandoned.
    let polls = [u32::MAX, 3, 1, 0].into_iter().flat_map(|polls| [(polls, true), (polls, false)]);
    for (polls, abandons) in polls {
        let mut raw = Raw::new(subject, 4 * MIB, 4 * MIB)?;
        for _ in 0..5000 {
            raw.node(A)?;
            let node = raw.slots.get(A).context("it is there")?;
            let word = raw.heap.expose_gc_ref_to_wasm(node);
            raw.slots.set_word(A, 0);
            raw.slots.set_word(RootSlot::Stack(0), word);
        }
        let mut collection = raw.collection()?;
        let mut future = collection.collect_async();
        let mut polled = 0;
        let complete = loop {
            if polled == polls {
                break false;
            }
            polled += 1;
            ensure!(polled < 1_000_000, "a collection does not end");
            if let task::Poll::Ready(result) = future.as_mut().poll(&mut context) {
                result?;
                break true;
            }
        };
        drop(future);
        if abandons {
            collection.abandon();
        }
        drop(collection);
        if !abandons && !complete && raw.heap.core().check_damage().is_err() {
            // The heap was not left consistent, and refuses to be used.
            continue;
        }
        raw.heap.verify().with_context(|| format!("after {polled} increments"))?;
        ensure!(complete || polls < u32::MAX, "a collection is never complete");
        let node = raw.slots.get(RootSlot::Stack(0)).context("it is there")?;
        ensure!(raw.heap.header(&node)?.ty() == NODE, "the stack's object is gone");
    }
    Ok(())
}

fn an_unknown_slow_path_does_nothing(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 64 * KIB, 64 * KIB)?;
    raw.node(A)?;
    let before = raw.heap.stats();
    for operation in [0x1000, 0x7fff_ffff, u32::MAX] {
        let i31 = VMGcRef::from_i31(I31::wrapping_u32(7));
        for reference in [None, raw.slots.get(A), Some(i31)] {
            for operand in [0, u64::MAX] {
                let (heap, data) = (&mut raw.heap, &mut raw.host_data);
                let reference = reference.as_ref().map(VMGcRef::unchecked_copy);
                heap.collector_slow_path(data, operation, reference, operand);
            }
        }
    }
    raw.heap.verify()?;
    let after = raw.heap.stats();
    ensure!(before == after, "{before:?} became {after:?}");
    raw.collection()?.collect()?;
    Ok(raw.heap.verify()?)
}
