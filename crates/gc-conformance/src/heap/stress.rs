//! Promises about size: many objects behave as a few do, with bounded stack, memory and time. Under
//! zeal the numbers are smaller.

use super::*;
use gc_testkit::{Reclaims, random, scaled};
use gc_types::ArrayLayout;

promises! {
    much_garbage_beside_a_large_live_set_is_freed: "gc, alloc_raw";
    rings_by_the_hundred_thousand_are_freed: "gc";
    a_large_array_is_mutated_at_random: "write_field_ref, gc";
    a_deep_chain_of_arrays_lives_and_dies: "gc, drop_gc_ref";
    externrefs_by_the_ten_thousand_are_dropped_once: "alloc_externref, gc";
    large_objects_come_and_go: "alloc_raw, gc";
    large_objects_die_with_an_old_one_that_held_them: "alloc_raw, write_field_ref, gc";
    many_handles_keep_their_objects: "clone_gc_ref, drop_gc_ref, gc";
}

const ELEMENTS: ArrayLayout = ArrayLayout::new(StorageType::Ref);

/// The number for this subject, if the number without zeal is `full`.
fn amount(subject: &Subject<'_>, full: u64) -> u64 {
    scaled(if subject.zeal == 0 { full } else { full / 50 })
}

fn offset(element: u64) -> u32 {
    ELEMENTS.element_offset(element as u32) as u32
}

/// Random numbers below `below`.
fn numbers(seed: u64, count: u64, below: u64) -> impl Iterator<Item = u64> {
    let bytes = random::bytes(seed, count as usize * 8);
    (0..count as usize).map(move |n| {
        let word = bytes[n * 8..].first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(word) % below
    })
}

/// 20 MB live in nodes and larger objects, some of which are replaced. Ten times as many nodes are
/// garbage.
fn much_garbage_beside_a_large_live_set_is_freed(subject: &Subject<'_>) -> Result<()> {
    if subject.reclaims == Reclaims::Nothing {
        return Ok(());
    }
    // With zeal each allocation runs a collection.
    let nodes = if subject.zeal == 0 { scaled(300_000) } else { scaled(500) };
    let large = nodes / 300 + 1;
    let mut mutator = sized_mutator(subject, MIB, 64 * MIB)?;
    mutator.enter_no_gc_scope();
    mutator.alloc_array(REFS, (nodes + large) as u32, A)?;
    mutator.copy(A, RootSlot::Table(0));
    mutator.clear(A);
    for i in 0..nodes {
        node(&mut mutator, i, STACK)?;
        link(&mut mutator, RootSlot::Table(0), offset(i), STACK)?;
    }
    for i in nodes..nodes + large {
        mutator.alloc_array(gc_testkit::schema::BYTES, 12_000, STACK)?;
        link(&mut mutator, RootSlot::Table(0), offset(i), STACK)?;
    }
    mutator.exit_no_gc_scope();
    for (i, replaced) in (0..).zip(numbers(1, nodes, nodes)) {
        for _ in 0..9 {
            node(&mut mutator, i, STACK)?;
        }
        node(&mut mutator, replaced, STACK)?;
        link(&mut mutator, RootSlot::Table(0), offset(replaced), STACK)?;
    }
    mutator.clear(STACK);
    let live = nodes + large + 1;
    expect_live(&mut mutator, subject, live, live)?;
    for i in 0..nodes {
        follow(&mut mutator, RootSlot::Table(0), offset(i), STACK)?;
        expect_node(&mutator, STACK, i)?;
    }
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, live)
}

/// Rings of three nodes each, in a heap that holds half of them.
fn rings_by_the_hundred_thousand_are_freed(subject: &Subject<'_>) -> Result<()> {
    if subject.reclaims != Reclaims::Everything {
        return Ok(());
    }
    let rings = amount(subject, 100_000);
    let mut mutator = sized_mutator(subject, 256 * KIB, 4 * MIB)?;
    for i in 0..rings {
        let places = [A, B, STACK];
        for place in places {
            node(&mut mutator, i, place)?;
        }
        for (n, place) in places.into_iter().enumerate() {
            link(&mut mutator, place, RIGHT, places[(n + 1) % 3])?;
        }
        if i % 1000 == 0 {
            mutator.copy(A, RootSlot::Table((i / 1000 % 16) as u8));
        }
    }
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 3 * rings)
}

fn a_large_array_is_mutated_at_random(subject: &Subject<'_>) -> Result<()> {
    let (length, writes) = (
        amount(subject, 1_000_000),
        amount(subject, 400_000).div_ceil(1 + u64::from(subject.zeal) * 10),
    );
    let mut mutator = sized_mutator(subject, MIB, 32 * MIB)?;
    mutator.alloc_array(REFS, length as u32, A)?;
    let mut values = vec![None; length as usize];
    for (i, element) in (0..).zip(numbers(2, writes, length)) {
        node(&mut mutator, i, STACK)?;
        // Some elements are emptied.
        if i % 16 == 0 {
            mutator.clear(STACK);
        }
        link(&mut mutator, A, offset(element), STACK)?;
        values[element as usize] = (i % 16 != 0).then_some(i);
    }
    mutator.clear(STACK);
    let live = values.iter().flatten().count() as u64 + 1;
    expect_live(&mut mutator, subject, live, writes + 1)?;
    for (element, value) in (0..).zip(&values) {
        follow(&mut mutator, A, offset(element), STACK)?;
        match value {
            None => ensure!(mutator.get(STACK).is_none(), "element {element} is not null"),
            Some(value) => expect_node(&mutator, STACK, *value)?,
        }
    }
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, writes + 1)
}

fn a_deep_chain_of_arrays_lives_and_dies(subject: &Subject<'_>) -> Result<()> {
    let length = amount(subject, 100_000);
    let mut mutator = sized_mutator(subject, MIB, 32 * MIB)?;
    mutator.enter_no_gc_scope();
    for i in 0..length {
        // The next array is the first, the last, or another element.
        mutator.alloc_array(REFS, 5, B)?;
        link(&mut mutator, B, offset(i % 5), A)?;
        mutator.copy(B, A);
    }
    mutator.exit_no_gc_scope();
    mutator.clear(B);
    super::collection::on_a_small_stack(|| expect_live(&mut mutator, subject, length, length))?;
    mutator.copy(A, STACK);
    for i in (0..length).rev() {
        let array = at(&mutator, STACK)?;
        let next = mutator.store().read_field(&array, offset(i % 5), StorageType::Ref)?;
        mutator.slots_mut().set_word(STACK, next as u32);
    }
    ensure!(mutator.get(STACK).is_none(), "the last array has a successor");
    super::collection::on_a_small_stack(|| {
        mutator.clear(A);
        expect_live(&mut mutator, subject, 0, length)
    })
}

/// Half of the externrefs are garbage from the start, the others are in an array. At the end all
/// are garbage.
fn externrefs_by_the_ten_thousand_are_dropped_once(subject: &Subject<'_>) -> Result<()> {
    let count = amount(subject, 10_000);
    let mut mutator = sized_mutator(subject, 64 * KIB, 16 * MIB)?;
    mutator.alloc_array(REFS, count as u32, A)?;
    for i in 0..count {
        mutator.alloc_externref(STACK)?;
        if i % 2 == 0 {
            link(&mut mutator, A, offset(i), STACK)?;
        }
    }
    mutator.clear(STACK);
    let kept = count.div_ceil(2);
    expect_live(&mut mutator, subject, kept + 1, count + 1)?;
    for i in (0..count).step_by(2) {
        follow(&mut mutator, A, offset(i), STACK)?;
        let token = mutator.token(&at(&mutator, STACK)?)?;
        ensure!(u64::from(token) == i, "host value {token} instead of {i}");
    }
    let ledger = mutator.ledger().clone();
    let frees = subject.reclaims != Reclaims::Nothing;
    let alive = u64::from(ledger.alive());
    let expected = if frees { kept } else { count };
    ensure!(alive == expected, "{alive} host values are alive instead of {expected}");
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, count + 1)?;
    ensure!(!frees || ledger.alive() == 0, "{} host values are kept", ledger.alive());
    ledger.check_none_twice()?;
    drop(mutator);
    ledger.check_all_once()
}

/// Arrays of up to 300 KB, of which a few are alive at a time. Only they keep their referents and
/// each other alive.
fn large_objects_come_and_go(subject: &Subject<'_>) -> Result<()> {
    if subject.reclaims == Reclaims::Nothing {
        return Ok(());
    }
    let rounds = scaled(if subject.zeal == 0 { 1000 } else { 60 });
    let mut mutator = sized_mutator(subject, 256 * KIB, 12 * MIB)?;
    for (round, length) in (0..rounds).zip(numbers(3, rounds, 75_000)) {
        let (to, length) = (RootSlot::Table((round % 8) as u8), length + 2);
        node(&mut mutator, round, B)?;
        mutator.alloc_array(REFS, length as u32, STACK)?;
        link(&mut mutator, STACK, offset(length - 1), B)?;
        // Every second array keeps only the previous one alive.
        if round % 2 == 1 {
            link(&mut mutator, STACK, offset(0), RootSlot::Table(((round - 1) % 8) as u8))?;
            mutator.clear(RootSlot::Table(((round - 1) % 8) as u8));
        }
        mutator.copy(STACK, to);
    }
    mutator.clear(B);
    mutator.clear(STACK);
    let kept = rounds.saturating_sub(8 - rounds % 2)..rounds;
    for round in kept.filter(|round| round % 2 == 1) {
        for round in [round, round - 1] {
            let place = if round % 2 == 1 { RootSlot::Table((round % 8) as u8) } else { A };
            let array = at(&mutator, place)?;
            let length = u64::from(mutator.store().array_len(&array)?);
            follow(&mut mutator, place, offset(length - 1), STACK)?;
            expect_node(&mutator, STACK, round)?;
            follow(&mut mutator, place, offset(0), A)?;
        }
        ensure!(mutator.get(A).is_none(), "an array that was alone refers to another");
    }
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 0)
}

/// Other large objects are never referred to.
fn large_objects_die_with_an_old_one_that_held_them(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, MIB, 16 * MIB)?;
    let mut ever = 0;
    for held in 0..4 {
        node(&mut mutator, held, A)?;
        expect_live(&mut mutator, subject, 1, ever + 1)?;
        for n in 0..4 {
            mutator.alloc_array(REFS, 10_000 + n, STACK)?;
            if u64::from(n) >= held {
                link(&mut mutator, A, if n % 2 == 0 { LEFT } else { RIGHT }, STACK)?;
            }
        }
        mutator.clear_all();
        ever += 5;
        expect_live(&mut mutator, subject, 0, ever)?;
    }
    Ok(())
}

/// Most programs have few handles, but a host may hold any number.
fn many_handles_keep_their_objects(subject: &Subject<'_>) -> Result<()> {
    let count = amount(subject, 20_000);
    let mut mutator = sized_mutator(subject, 64 * KIB, 16 * MIB)?;
    for i in 0..count {
        node(&mut mutator, i, STACK)?;
        let held = at(&mutator, STACK)?;
        let held = mutator.store_mut().clone_gc_ref(&held);
        mutator.hold(held);
        node(&mut mutator, u64::MAX, STACK)?;
    }
    mutator.clear(STACK);
    for round in 0..3u64 {
        let handles = mutator.held() as u64;
        expect_live(&mut mutator, subject, handles, 2 * count)?;
        for i in 0..handles {
            let node = mutator.get_held(i as usize).context("a handle is empty")?;
            let value = mutator.store().read_field(&node, VALUE, StorageType::I64)?;
            ensure!(value == i.into(), "round {round}: handle {i} has node {value}");
        }
        for _ in 0..handles / 2 {
            ensure!(mutator.let_go(), "a handle is missing");
        }
    }
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 2 * count)
}
