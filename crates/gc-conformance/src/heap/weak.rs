//! Promises about weak references: weak handles, entries of weak maps, and finalizers.

use super::*;
use gc_runtime::{HandleError, WeakHandle, WeakMap};
use gc_testkit::{Reclaims, scaled};

promises! {
    a_weak_handle_does_not_keep_its_object: "gc, WeakTable";
    a_weak_handle_follows_its_object: "gc, WeakTable";
    an_upgraded_object_lives: "read_weak_ref, gc";
    an_entry_keeps_its_value_while_its_key_lives: "gc, WeakTable";
    cycles_of_keys_and_values_die: "gc, WeakTable";
    a_chain_of_entries_takes_linear_time: "gc, WeakTable";
    a_weak_map_finds_keys_that_have_moved: "gc, WeakTable";
    entries_of_a_dropped_map_keep_nothing: "gc, WeakTable";
    a_value_may_be_replaced: "gc, WeakTable";
    a_finalizer_keeps_its_object_once: "gc, WeakTable";
    finalizers_come_in_the_order_of_their_making: "gc, WeakTable";
    a_finalizer_keeps_what_its_object_refers_to: "gc, WeakTable";
    host_values_die_after_weak_references: "gc, WeakTable";
    weak_references_survive_an_abandoned_collection: "abandon, WeakTable";
    a_reset_forgets_weak_references: "reset, WeakTable";
}

const TABLE: RootSlot = RootSlot::Table(0);

fn weak(mutator: &mut Mutator, place: RootSlot) -> Result<WeakHandle> {
    let object = at(mutator, place)?;
    Ok(mutator.store_mut().downgrade(&object)?)
}

/// Moves the object of a weak handle to `to`. Returns whether it lives.
fn upgrade(mutator: &mut Mutator, weak: &WeakHandle, to: RootSlot) -> Result<bool> {
    match mutator.store_mut().upgrade(weak)? {
        Some(object) => mutator.put(to, object),
        None => return Ok(false),
    }
    Ok(true)
}

fn insert(mutator: &mut Mutator, map: &WeakMap, key: RootSlot, value: RootSlot) -> Result<()> {
    let (key, value) = (at(mutator, key)?, at(mutator, value)?);
    Ok(mutator.store_mut().weak_map_insert(map, &key, &value)?)
}

/// Moves the value for the key at `key` to `to`. Returns whether there is one.
fn lookup(mutator: &mut Mutator, map: &WeakMap, key: RootSlot, to: RootSlot) -> Result<bool> {
    let key = at(mutator, key)?;
    match mutator.store_mut().weak_map_get(map, &key)? {
        Some(value) => mutator.put(to, value),
        None => return Ok(false),
    }
    Ok(true)
}

fn finalize(mutator: &mut Mutator, place: RootSlot, number: u64) -> Result<()> {
    let object = at(mutator, place)?;
    let added = mutator.store_mut().add_finalizer(&object, Box::new(number));
    added.map_err(|(error, _)| error.into())
}

/// Moves the next object that waits for its finalizer to `to`. Returns the finalizer's number.
fn finalizable(mutator: &mut Mutator, to: RootSlot) -> Result<Option<u64>> {
    let Some((object, value)) = mutator.store_mut().next_finalizable() else { return Ok(None) };
    mutator.put(to, object);
    let number = value.downcast::<u64>().map_err(|_| anyhow!("another finalizer's value"))?;
    Ok(Some(*number))
}

fn frees(subject: &Subject<'_>) -> bool {
    subject.reclaims != Reclaims::Nothing
}

fn frees_cycles(subject: &Subject<'_>) -> bool {
    subject.reclaims == Reclaims::Everything
}

fn collect(mutator: &mut Mutator) -> Result<()> {
    ensure!(mutator.collect()?, "a collection was skipped");
    Ok(mutator.verify()?)
}

fn a_weak_handle_does_not_keep_its_object(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    for (round, place) in (0..).zip([STACK, TABLE, RootSlot::Global(0), A]) {
        node(&mut mutator, round, place)?;
        let handle = weak(&mut mutator, place)?;
        let other = handle.clone();
        for _ in 0..3 {
            collect(&mut mutator)?;
            ensure!(upgrade(&mut mutator, &handle, B)?, "its object at {place:?} lives");
            expect_node(&mutator, B, round)?;
            mutator.clear(B);
        }
        mutator.clear(place);
        expect_live(&mut mutator, subject, 0, round + 1)?;
        let dead = !upgrade(&mut mutator, &other, B)?;
        ensure!(dead == frees(subject), "its object at {place:?} is dead: {dead}");
        mutator.clear(B);
    }
    Ok(())
}

/// Also if the object becomes old, and others die around it.
fn a_weak_handle_follows_its_object(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let mut handles = Vec::new();
    for i in 0..200 {
        node(&mut mutator, i, B)?;
        if i % 2 == 0 {
            link(&mut mutator, B, LEFT, A)?;
            mutator.copy(B, A);
        }
        handles.push(weak(&mut mutator, B)?);
        if i % 60 == 7 {
            collect(&mut mutator)?;
        }
    }
    mutator.clear(B);
    for _ in 0..3 {
        collect(&mut mutator)?;
        mutator.copy(A, RootSlot::Stack(1));
        for (i, handle) in handles.iter().enumerate().rev() {
            let i = i as u64;
            let lives = upgrade(&mut mutator, handle, STACK)?;
            ensure!(lives == (i.is_multiple_of(2) || !frees(subject)), "object {i} lives: {lives}");
            if i.is_multiple_of(2) {
                expect_node(&mutator, STACK, i)?;
                let (weak, strong) = (at(&mutator, STACK)?, at(&mutator, RootSlot::Stack(1))?);
                ensure!(weak == strong, "the weak handle has another object");
                follow(&mut mutator, RootSlot::Stack(1), LEFT, RootSlot::Stack(1))?;
            }
        }
        mutator.clear(STACK);
    }
    Ok(())
}

/// Weak references are read while a collection is under way between allocations.
fn an_upgraded_object_lives(subject: &Subject<'_>) -> Result<()> {
    let count: u64 = if subject.zeal == 0 { scaled(3_000) } else { scaled(200) };
    let mut mutator = sized_mutator(subject, MIB, 64 * MIB)?;
    let mut handles = Vec::new();
    mutator.alloc_array(REFS, count as u32, TABLE)?;
    mutator.copy(TABLE, A);
    let offset = |i: u64| gc_types::ArrayLayout::new(StorageType::Ref).element_offset(i as u32);
    for i in 0..count {
        node(&mut mutator, i, B)?;
        link(&mut mutator, A, offset(i) as u32, B)?;
        handles.push(weak(&mut mutator, B)?);
    }
    mutator.clear(B);
    // Each object is held by an element, by its weak handle alone, and by an element again.
    let rounds = if subject.zeal == 0 && frees(subject) { 20 } else { 2 };
    for round in 0..rounds {
        for i in 0..count {
            link(&mut mutator, A, offset(i) as u32, RootSlot::Stack(9))?;
            if (i + round) % 7 == 0 {
                for _ in 0..20 {
                    mutator.alloc_array(gc_testkit::schema::BYTES, 500, STACK)?;
                }
            }
            if upgrade(&mut mutator, &handles[i as usize], STACK)? {
                expect_node(&mutator, STACK, i)?;
            } else {
                node(&mut mutator, i, STACK)?;
                handles[i as usize] = weak(&mut mutator, STACK)?;
            }
            link(&mut mutator, A, offset(i) as u32, STACK)?;
        }
    }
    mutator.clear(STACK);
    collect(&mut mutator)?;
    for i in 0..count {
        follow(&mut mutator, A, offset(i) as u32, B)?;
        expect_node(&mutator, B, i)?;
    }
    Ok(())
}

fn an_entry_keeps_its_value_while_its_key_lives(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let map = mutator.store_mut().weak_map()?;
    // Each value is the key of the next entry.
    node(&mut mutator, 0, A)?;
    mutator.copy(A, STACK);
    for i in 1..10 {
        node(&mut mutator, i, B)?;
        insert(&mut mutator, &map, STACK, B)?;
        mutator.copy(B, STACK);
        mutator.clear(B);
    }
    mutator.clear(STACK);
    for _ in 0..3 {
        expect_live(&mut mutator, subject, 10, 10)?;
        ensure!(mutator.store().weak_map_len(&map)? == 9, "entries whose keys live are missing");
        mutator.copy(A, STACK);
        for i in 1..10 {
            ensure!(lookup(&mut mutator, &map, STACK, STACK)?, "key {i} is not found");
            expect_node(&mutator, STACK, i)?;
        }
        ensure!(!lookup(&mut mutator, &map, STACK, STACK)?, "the last value is no key");
        mutator.clear(STACK);
    }
    mutator.clear(A);
    expect_live(&mut mutator, subject, 0, 10)?;
    let left = mutator.store().weak_map_len(&map)?;
    ensure!((left == 0) == frees(subject), "{left} entries with dead keys are left");
    Ok(())
}

/// Ten cycles of entries: the value of each is the key of the next, and refers to its own key.
fn cycles_of_keys_and_values_die(subject: &Subject<'_>) -> Result<()> {
    for length in [1u64, 2, 10] {
        let mut mutator = mutator(subject)?;
        let map = mutator.store_mut().weak_map()?;
        for _ in 0..10 {
            node(&mut mutator, 0, A)?;
            mutator.copy(A, STACK);
            for i in 1..=length {
                if i < length {
                    node(&mut mutator, i, B)?;
                } else {
                    mutator.copy(A, B);
                }
                insert(&mut mutator, &map, STACK, B)?;
                link(&mut mutator, B, LEFT, STACK)?;
                mutator.copy(B, STACK);
            }
        }
        // The last cycle lives.
        mutator.clear(B);
        mutator.clear(STACK);
        let live = if frees_cycles(subject) { length } else { 10 * length };
        expect_live(&mut mutator, subject, live, 10 * length)?;
        for i in 1..=length {
            ensure!(lookup(&mut mutator, &map, A, A)?, "an entry of a live cycle is missing");
            expect_node(&mutator, A, i % length)?;
        }
        mutator.clear(A);
        let live = if frees_cycles(subject) { 0 } else { 10 * length };
        expect_live(&mut mutator, subject, live, 10 * length)?;
    }
    Ok(())
}

/// The entries are in the order that is worst for a collector that looks at them again and again.
fn a_chain_of_entries_takes_linear_time(subject: &Subject<'_>) -> Result<()> {
    let length = if subject.zeal == 0 { scaled(100_000) } else { scaled(2_000) };
    let mut mutator = sized_mutator(subject, 8 * MIB, 64 * MIB)?;
    let map = mutator.store_mut().weak_map()?;
    mutator.enter_no_gc_scope();
    // The last value is made first.
    node(&mut mutator, length, B)?;
    for i in (0..length).rev() {
        node(&mut mutator, i, A)?;
        insert(&mut mutator, &map, A, B)?;
        mutator.copy(A, B);
    }
    mutator.exit_no_gc_scope();
    mutator.clear(B);
    expect_live(&mut mutator, subject, length + 1, length + 1)?;
    mutator.copy(A, STACK);
    for i in 1..=length {
        ensure!(lookup(&mut mutator, &map, STACK, STACK)?, "entry {i} is missing");
        expect_node(&mutator, STACK, i)?;
    }
    mutator.clear(STACK);
    mutator.clear(A);
    expect_live(&mut mutator, subject, 0, length + 1)
}

fn a_weak_map_finds_keys_that_have_moved(subject: &Subject<'_>) -> Result<()> {
    let count = if subject.zeal == 0 { scaled(5_000) } else { scaled(200) };
    let mut mutator = sized_mutator(subject, MIB, 64 * MIB)?;
    let maps = [mutator.store_mut().weak_map()?, mutator.store_mut().weak_map()?];
    mutator.alloc_array(REFS, count as u32, A)?;
    let offset = |i: u64| gc_types::ArrayLayout::new(StorageType::Ref).element_offset(i as u32);
    for i in 0..count {
        node(&mut mutator, i, STACK)?;
        link(&mut mutator, A, offset(i) as u32, STACK)?;
        for (n, map) in (0..).zip(&maps) {
            node(&mut mutator, i * 2 + n, B)?;
            insert(&mut mutator, map, STACK, B)?;
        }
        // Garbage, some of it keys.
        node(&mut mutator, i, STACK)?;
        insert(&mut mutator, &maps[(i % 2) as usize], STACK, B)?;
        if i % (count / 3 + 1) == 17 {
            collect(&mut mutator)?;
        }
    }
    [B, STACK].into_iter().for_each(|place| mutator.clear(place));
    for round in 0..3 {
        collect(&mut mutator)?;
        for i in (0..count).filter(|i| round < 2 || i % 3 > 0) {
            follow(&mut mutator, A, offset(i) as u32, STACK)?;
            for (n, map) in (0..).zip(&maps) {
                ensure!(lookup(&mut mutator, map, STACK, B)?, "key {i} is not found");
                expect_node(&mutator, B, i * 2 + n)?;
            }
            if round == 1 && i % 3 == 0 {
                let key = at(&mutator, STACK)?;
                let removed = mutator.store_mut().weak_map_remove(&maps[0], &key)?;
                ensure!(removed, "key {i} cannot be removed");
                let again = lookup(&mut mutator, &maps[0], STACK, B)?;
                ensure!(!again, "key {i} was removed and is found");
            }
        }
    }
    [A, B, STACK].into_iter().for_each(|place| mutator.clear(place));
    expect_live(&mut mutator, subject, 0, 1 + 4 * count)?;
    for map in &maps {
        let left = mutator.store().weak_map_len(map)?;
        ensure!((left == 0) == frees(subject), "{left} entries are left");
    }
    Ok(())
}

fn entries_of_a_dropped_map_keep_nothing(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let (map, other) = (mutator.store_mut().weak_map()?, mutator.store_mut().weak_map()?);
    node(&mut mutator, 1, A)?;
    for (value, map) in [(2, &map), (3, &other)] {
        node(&mut mutator, value, B)?;
        insert(&mut mutator, map, A, B)?;
    }
    mutator.clear(B);
    expect_live(&mut mutator, subject, 3, 3)?;
    drop(map);
    expect_live(&mut mutator, subject, 2, 3)?;
    // Its number may be used again.
    let map = mutator.store_mut().weak_map()?;
    ensure!(!lookup(&mut mutator, &map, A, B)?, "a new map has an entry");
    ensure!(lookup(&mut mutator, &other, A, B)?, "another map's entry is missing");
    expect_node(&mutator, B, 3)
}

/// An old entry gets a new value, and the old value dies.
fn a_value_may_be_replaced(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let map = mutator.store_mut().weak_map()?;
    node(&mut mutator, 1000, A)?;
    for i in 0..20 {
        node(&mut mutator, i, B)?;
        insert(&mut mutator, &map, A, B)?;
        mutator.clear(B);
        if i % 3 == 0 {
            let ever = mutator.store().stats().allocations;
            expect_live(&mut mutator, subject, 2, ever)?;
        } else if i % 3 == 1 {
            // A collection of the collector's choice.
            node_garbage(&mut mutator)?;
        }
        ensure!(lookup(&mut mutator, &map, A, B)?, "value {i} is missing");
        expect_node(&mutator, B, i)?;
        ensure!(mutator.store().weak_map_len(&map)? == 1, "one key has several entries");
        mutator.clear(B);
    }
    Ok(())
}

/// Lets a heap without zeal collect because it is full, if it does.
fn node_garbage(mutator: &mut Mutator) -> Result<()> {
    for _ in 0..4 {
        mutator.alloc_array(gc_testkit::schema::BYTES, 30_000, RootSlot::Stack(5))?;
    }
    mutator.clear(RootSlot::Stack(5));
    Ok(())
}

/// A finalizer that keeps its object is not called again.
fn a_finalizer_keeps_its_object_once(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    node(&mut mutator, 7, A)?;
    let handle = weak(&mut mutator, A)?;
    finalize(&mut mutator, A, 1)?;
    collect(&mut mutator)?;
    ensure!(finalizable(&mut mutator, B)?.is_none(), "a finalizer for a live object");
    mutator.clear(A);
    expect_live(&mut mutator, subject, 1, 1)?;
    if !frees(subject) {
        return Ok(());
    }
    ensure!(!upgrade(&mut mutator, &handle, B)?, "a weak handle has an object that died");
    // It waits as long as the host likes.
    expect_live(&mut mutator, subject, 1, 1)?;
    ensure!(finalizable(&mut mutator, TABLE)? == Some(1), "a dead object's finalizer is missing");
    // Here the host keeps it.
    expect_live(&mut mutator, subject, 1, 1)?;
    expect_node(&mutator, TABLE, 7)?;
    ensure!(finalizable(&mut mutator, B)?.is_none(), "a finalizer that was there already");
    mutator.clear(TABLE);
    expect_live(&mut mutator, subject, 0, 1)?;
    ensure!(finalizable(&mut mutator, B)?.is_none(), "a finalizer of an object that died twice");
    Ok(())
}

fn finalizers_come_in_the_order_of_their_making(subject: &Subject<'_>) -> Result<()> {
    if !frees(subject) {
        return Ok(());
    }
    let mut mutator = mutator(subject)?;
    // Objects that were made in another order than their finalizers, in a list.
    for i in 0..16 {
        node(&mut mutator, i, RootSlot::Table(i as u8))?;
        if i % 5 == 4 {
            collect(&mut mutator)?;
        }
    }
    for i in 0..16 {
        let place = RootSlot::Table((i * 7 % 16) as u8);
        if i > 0 {
            let object = RootSlot::Table(((i - 1) * 7 % 16) as u8);
            mutator.copy(object, B);
            mutator.copy(place, A);
            let (from, to) = if i % 2 == 0 { (A, B) } else { (B, A) };
            link(&mut mutator, from, LEFT, to)?;
        }
        finalize(&mut mutator, place, i)?;
    }
    mutator.clear_all();
    expect_live(&mut mutator, subject, 16, 16)?;
    for i in 0..16 {
        let next = finalizable(&mut mutator, A)?;
        ensure!(next == Some(i), "finalizer {next:?} instead of {i}");
        expect_node(&mutator, A, i * 7 % 16)?;
    }
    ensure!(finalizable(&mut mutator, A)?.is_none(), "one finalizer too many");
    mutator.clear(A);
    expect_live(&mut mutator, subject, 0, 16)
}

fn a_finalizer_keeps_what_its_object_refers_to(subject: &Subject<'_>) -> Result<()> {
    if !frees(subject) {
        return Ok(());
    }
    let mut mutator = mutator(subject)?;
    let map = mutator.store_mut().weak_map()?;
    node(&mut mutator, 1, A)?;
    node(&mut mutator, 2, B)?;
    let token = mutator.alloc_externref(STACK)?;
    link(&mut mutator, B, LEFT, STACK)?;
    insert(&mut mutator, &map, A, B)?;
    finalize(&mut mutator, A, 5)?;
    mutator.clear_all();
    expect_live(&mut mutator, subject, 3, 3)?;
    ensure!(mutator.ledger().times_dropped(token) == 0, "a host value was dropped too early");
    ensure!(finalizable(&mut mutator, A)? == Some(5), "the finalizer is missing");
    ensure!(lookup(&mut mutator, &map, A, B)?, "an entry for a kept key is missing");
    expect_node(&mutator, B, 2)?;
    follow(&mut mutator, B, LEFT, STACK)?;
    let externref = at(&mutator, STACK)?;
    ensure!(mutator.token(&externref)? == token, "another host value");
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 3)?;
    ensure!(mutator.ledger().times_dropped(token) == 1, "a host value was not dropped");
    Ok(())
}

/// A weak handle that still gives an externref has its host value.
fn host_values_die_after_weak_references(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let map = mutator.store_mut().weak_map()?;
    node(&mut mutator, 0, A)?;
    let mut handles = Vec::new();
    for i in 0..100 {
        let number = mutator.alloc_externref(B)?;
        handles.push((number, weak(&mut mutator, B)?));
        if i % 10 == 0 {
            // Only an entry keeps it.
            insert(&mut mutator, &map, A, B)?;
        }
        mutator.clear(B);
        if i % 30 == 0 {
            collect(&mut mutator)?;
        }
        for (number, handle) in &handles {
            let lives = upgrade(&mut mutator, handle, STACK)?;
            let dropped = mutator.ledger().times_dropped(*number);
            ensure!(lives == (dropped == 0), "host value {number}: {lives}, dropped {dropped}");
        }
        mutator.clear(STACK);
    }
    expect_live(&mut mutator, subject, 2, 101)?;
    let alive = mutator.ledger().alive();
    let expected = if frees(subject) { 1 } else { 100 };
    ensure!(alive == expected, "{alive} host values are alive instead of {expected}");
    Ok(())
}

fn weak_references_survive_an_abandoned_collection(subject: &Subject<'_>) -> Result<()> {
    for increments in 0..12 {
        let mut mutator = sized_mutator(subject, MIB, 16 * MIB)?;
        let map = mutator.store_mut().weak_map()?;
        let mut handles = Vec::new();
        mutator.enter_no_gc_scope();
        for i in 0..if subject.zeal == 0 { 6_000 } else { 500 } {
            node(&mut mutator, i, B)?;
            handles.push(weak(&mut mutator, B)?);
            if i.is_multiple_of(2) {
                link(&mut mutator, B, LEFT, A)?;
                mutator.copy(B, A);
            }
            node(&mut mutator, i, STACK)?;
            link(&mut mutator, STACK, RIGHT, B)?;
            insert(&mut mutator, &map, B, STACK)?;
        }
        mutator.exit_no_gc_scope();
        [B, STACK].into_iter().for_each(|place| mutator.clear(place));
        mutator.collect_increments(Some(increments))?;
        mutator.verify().with_context(|| format!("after {increments} increments"))?;
        for round in 0..2 {
            for (i, handle) in (0u64..).zip(&handles) {
                let lives = upgrade(&mut mutator, handle, B)?;
                if i.is_multiple_of(2) {
                    ensure!(lives, "object {i} has died");
                    expect_node(&mutator, B, i)?;
                    ensure!(lookup(&mut mutator, &map, B, STACK)?, "key {i} is not found");
                    expect_node(&mutator, STACK, i)?;
                } else if round > 0 {
                    ensure!(lives != frees_cycles(subject), "object {i} lives: {lives}");
                }
            }
            [B, STACK].into_iter().for_each(|place| mutator.clear(place));
            collect(&mut mutator)?;
        }
    }
    Ok(())
}

fn a_reset_forgets_weak_references(subject: &Subject<'_>) -> Result<()> {
    let (mut mutator, mut other) = (mutator(subject)?, mutator(subject)?);
    for _ in 0..2 {
        let map = mutator.store_mut().weak_map()?;
        node(&mut mutator, 1, A)?;
        let handle = weak(&mut mutator, A)?;
        insert(&mut mutator, &map, A, A)?;
        finalize(&mut mutator, A, 1)?;
        let foreign = other.store_mut().upgrade(&handle);
        ensure!(foreign == Err(HandleError::OtherStore), "another store's handle: {foreign:?}");
        if !mutator.reset() {
            break;
        }
        ensure!(!upgrade(&mut mutator, &handle, A)?, "a weak handle has an object of the past");
        node(&mut mutator, 2, A)?;
        ensure!(!lookup(&mut mutator, &map, A, B)?, "a weak map has an entry of the past");
        insert(&mut mutator, &map, A, A)?;
        mutator.clear(A);
        expect_live(&mut mutator, subject, 0, 1)?;
        ensure!(finalizable(&mut mutator, A)?.is_none(), "a finalizer of the past");
        ensure!(mutator.reset(), "it was reset once");
    }
    Ok(())
}
