//! Promises of the barriers: which objects a reference keeps alive, and how long.

use super::*;
use gc_types::{I31, NULL_PAGE_SIZE};
use std::num::NonZeroU32;

promises! {
    a_clone_keeps_its_object: "clone_gc_ref, drop_gc_ref";
    a_slot_keeps_its_object: "write_gc_ref";
    a_slot_may_take_what_hangs_on_what_it_had: "write_gc_ref, write_field_ref";
    a_field_keeps_its_object: "write_field_ref";
    the_stack_keeps_its_objects: "expose_gc_ref_to_wasm, gc";
    an_object_may_be_exposed_again: "expose_gc_ref_to_wasm";
    field_writes_outside_the_heap_are_errors: "write_field_ref";
    references_are_copied_in_either_direction: "copy_ref_range";
    copied_references_keep_their_objects: "copy_ref_range";
    copies_outside_the_heap_are_errors: "copy_ref_range";
    a_scoped_handle_keeps_its_object: "gc";
    i31s_pass_every_barrier: "clone_gc_ref, drop_gc_ref, write_gc_ref, expose_gc_ref_to_wasm";
    a_collection_lets_compiled_code_be_entered: "need_gc_before_entering_wasm";
}

fn a_clone_keeps_its_object(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    node(&mut mutator, 1, A)?;
    for i in 1..16 {
        mutator.copy(A, RootSlot::Handle(i));
    }
    for i in 0..15 {
        mutator.clear(RootSlot::Handle(i));
        expect_live(&mut mutator, subject, 1, 1)?;
        expect_node(&mutator, RootSlot::Handle(15), 1)?;
    }
    mutator.clear(RootSlot::Handle(15));
    expect_live(&mut mutator, subject, 0, 1)
}

fn a_slot_keeps_its_object(subject: &Subject<'_>) -> Result<()> {
    for slot in [RootSlot::Table(3), RootSlot::Global(5)] {
        let mut mutator = mutator(subject)?;
        node(&mut mutator, 1, A)?;
        node(&mut mutator, 2, B)?;
        mutator.copy(A, slot);
        mutator.clear(A);
        expect_live(&mut mutator, subject, 2, 2)?;
        expect_node(&mutator, slot, 1)?;
        // The slot is overwritten with itself, with another reference, and with null.
        mutator.copy(slot, slot);
        expect_live(&mut mutator, subject, 2, 2)?;
        expect_node(&mutator, slot, 1)?;
        mutator.copy(B, slot);
        expect_live(&mut mutator, subject, 1, 2)?;
        mutator.clear(B);
        expect_live(&mut mutator, subject, 1, 2)?;
        expect_node(&mutator, slot, 2)?;
        mutator.clear(slot);
        expect_live(&mut mutator, subject, 0, 2)?;
    }
    Ok(())
}

/// The new value is reachable only through the old one.
fn a_slot_may_take_what_hangs_on_what_it_had(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let slot = RootSlot::Table(0);
    node(&mut mutator, 1, A)?;
    node(&mut mutator, 2, B)?;
    link(&mut mutator, A, LEFT, B)?;
    mutator.clear(B);
    mutator.copy(A, slot);
    mutator.clear(A);
    // slot = slot.left
    let old = at(&mutator, slot)?;
    let word = mutator.store().read_field(&old, LEFT, StorageType::Ref)?;
    let child = VMGcRef::from_raw_u32(word as u32);
    mutator.write_slot(slot, child.as_ref());
    expect_live(&mut mutator, subject, 1, 2)?;
    expect_node(&mutator, slot, 2)?;

    // slot.left = a node; slot.left = slot.left.left
    node(&mut mutator, 3, A)?;
    node(&mut mutator, 4, B)?;
    link(&mut mutator, A, LEFT, B)?;
    link(&mut mutator, slot, LEFT, A)?;
    mutator.clear(A);
    mutator.clear(B);
    follow(&mut mutator, slot, LEFT, STACK)?;
    let middle = at(&mutator, STACK)?;
    let word = mutator.store().read_field(&middle, LEFT, StorageType::Ref)?;
    let parent = at(&mutator, slot)?;
    let child = VMGcRef::from_raw_u32(word as u32);
    mutator.clear(STACK);
    mutator.store_mut().write_field_ref(&parent, LEFT, child.as_ref())?;
    expect_live(&mut mutator, subject, 2, 4)?;
    follow(&mut mutator, slot, LEFT, STACK)?;
    expect_node(&mutator, STACK, 4)
}

/// A scoped handle is a root in each collection, whether the heap counts it or not: when its object is
/// new, when it has survived, and when the last other reference is gone. Then it dies with the scope.
fn a_scoped_handle_keeps_its_object(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, 64 * KIB, 256 * KIB)?;
    for survives_before in [false, true] {
        node(&mut mutator, 1, A)?;
        node(&mut mutator, 2, B)?;
        link(&mut mutator, A, LEFT, B)?;
        mutator.clear(B);
        if survives_before {
            ensure!(mutator.collect()?, "a collection was skipped");
        }
        let object = at(&mutator, A)?;
        let store = mutator.store_mut();
        let scope = store.enter_handle_scope();
        let child = store.read_field_ref(&object, LEFT)?.context("a child")?;
        let owned = store.root(child).context("a handle")?;
        let borrowed = store.root_borrowed(&object).context("a handle")?;
        mutator.clear(A);

        // Garbage causes collections. If nothing dies, one that is asked for must do.
        let before = mutator.store().stats().collections;
        let dies = subject.reclaims != gc_testkit::Reclaims::Nothing;
        let collections = |mutator: &Mutator| mutator.store().stats().collections - before;
        while dies && collections(&mutator) < 3 {
            node(&mut mutator, 9, STACK)?;
            mutator.clear(STACK);
        }
        ensure!(mutator.collect()?, "a collection was skipped");
        mutator.verify()?;
        for (handle, value) in [(borrowed, 1u64), (owned, 2)] {
            let store = mutator.store_mut();
            let gc_ref = store.rooted(&handle)?.unchecked_copy();
            let actual = store.read_field(&gc_ref, VALUE, StorageType::I64)?;
            ensure!(actual == value.into(), "the node of a handle is {actual} instead of {value}");
        }
        if dies {
            expect_live(&mut mutator, subject, 2, 2)?;
            mutator.store_mut().exit_handle_scope(scope);
            expect_live(&mut mutator, subject, 0, 2)?;
        }
    }
    Ok(())
}

fn a_field_keeps_its_object(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    node(&mut mutator, 1, A)?;
    for value in 2..50 {
        // Both fields of each new node refer to the previous node.
        node(&mut mutator, value, B)?;
        link(&mut mutator, B, LEFT, A)?;
        link(&mut mutator, B, RIGHT, A)?;
        link(&mut mutator, B, RIGHT, A)?;
        mutator.copy(B, A);
    }
    mutator.clear(B);
    expect_live(&mut mutator, subject, 49, 49)?;
    mutator.copy(A, STACK);
    for value in (1..50).rev() {
        expect_node(&mutator, STACK, value)?;
        let field = if value % 2 == 0 { LEFT } else { RIGHT };
        follow(&mut mutator, STACK, field, STACK)?;
    }
    ensure!(mutator.get(STACK).is_none(), "the first node has a successor");
    // Both paths are cut at the same time.
    link(&mut mutator, A, LEFT, STACK)?;
    expect_live(&mut mutator, subject, 49, 49)?;
    link(&mut mutator, A, RIGHT, STACK)?;
    expect_live(&mut mutator, subject, 1, 49)?;
    mutator.clear(A);
    expect_live(&mut mutator, subject, 0, 49)
}

fn the_stack_keeps_its_objects(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    for i in 0..16 {
        node(&mut mutator, i.into(), RootSlot::Stack(i))?;
    }
    // A copy by compiled code, without a barrier.
    mutator.copy(RootSlot::Stack(3), RootSlot::Stack(4));
    expect_live(&mut mutator, subject, 15, 16)?;
    mutator.clear(RootSlot::Stack(3));
    expect_live(&mut mutator, subject, 15, 16)?;
    for i in [0, 1, 2, 4, 5, 15] {
        expect_node(&mutator, RootSlot::Stack(i), if i == 4 { 3 } else { i.into() })?;
    }
    // Copies from the stack to all other kinds of places.
    mutator.copy(RootSlot::Stack(4), RootSlot::Global(0));
    mutator.copy(RootSlot::Stack(5), RootSlot::Handle(0));
    for i in 0..16 {
        mutator.clear(RootSlot::Stack(i));
    }
    expect_live(&mut mutator, subject, 2, 16)?;
    for i in 0..16 {
        let slot = mutator.get(RootSlot::Stack(i));
        ensure!(slot.is_none(), "stack slot {i} was null, and is {slot:?} after a collection");
    }
    expect_node(&mutator, RootSlot::Global(0), 3)?;
    expect_node(&mutator, RootSlot::Handle(0), 5)?;
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 16)
}

fn an_object_may_be_exposed_again(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    node(&mut mutator, 1, A)?;
    for i in 0..5 {
        mutator.copy(A, RootSlot::Stack(i));
        mutator.copy(A, RootSlot::Stack(i));
    }
    expect_live(&mut mutator, subject, 1, 1)?;
    mutator.clear(A);
    for i in 0..5 {
        expect_live(&mut mutator, subject, 1, 1)?;
        expect_node(&mutator, RootSlot::Stack(i), 1)?;
        mutator.clear(RootSlot::Stack(i));
    }
    expect_live(&mut mutator, subject, 0, 1)
}

fn field_writes_outside_the_heap_are_errors(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 64 * KIB, 64 * KIB)?;
    raw.node(A)?;
    let node = raw.slots.get(A).context("it is there")?;
    let end = raw.heap.vmctx_gc_heap_bound();
    let outside = [0, 8, u64::from(NULL_PAGE_SIZE) - 4, end - 3, end, 1 << 32, u64::MAX - 2];
    for at in outside {
        for source in [None, Some(&node)] {
            let result = raw.heap.write_field_ref(&mut raw.host_data, at, source);
            ensure!(result.is_err(), "a write at {at:#x} is no error");
        }
    }
    raw.heap.verify()?;
    // The failed writes kept nothing.
    raw.slots.forget();
    raw.heap.drop_gc_ref(&mut raw.host_data, node);
    raw.collection()?.collect()?;
    let expected = u64::from(subject.reclaims == gc_testkit::Reclaims::Nothing);
    ensure!(raw.heap.stats().live_objects == expected, "a failed write keeps an object");
    Ok(())
}

/// An array of eight references to nodes 0 to 7, in `A`.
fn eight_nodes(mutator: &mut Mutator) -> Result<()> {
    mutator.alloc_array(REFS, 8, A)?;
    for i in 0..8 {
        node(mutator, i, B)?;
        let offset = gc_types::ArrayLayout::new(StorageType::Ref).element_offset(i as u32) as u32;
        link(mutator, A, offset, B)?;
    }
    mutator.clear(B);
    Ok(())
}

fn expect_elements(mutator: &mut Mutator, expected: [u64; 8]) -> Result<()> {
    for (i, expected) in expected.into_iter().enumerate() {
        let offset = gc_types::ArrayLayout::new(StorageType::Ref).element_offset(i as u32) as u32;
        follow(mutator, A, offset, STACK)?;
        expect_node(mutator, STACK, expected).with_context(|| format!("element {i}"))?;
    }
    mutator.clear(STACK);
    Ok(())
}

fn references_are_copied_in_either_direction(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    eight_nodes(&mut mutator)?;
    let array = at(&mutator, A)?;
    mutator.store_mut().array_copy(&array, 2, &array, 0, 5)?;
    expect_elements(&mut mutator, [0, 1, 0, 1, 2, 3, 4, 7])?;
    expect_live(&mut mutator, subject, 7, 9)?;
    let array = at(&mutator, A)?;
    mutator.store_mut().array_copy(&array, 0, &array, 3, 5)?;
    expect_elements(&mut mutator, [1, 2, 3, 4, 7, 3, 4, 7])?;
    expect_live(&mut mutator, subject, 6, 9)?;
    let array = at(&mutator, A)?;
    mutator.store_mut().array_copy(&array, 1, &array, 1, 7)?;
    mutator.store_mut().array_copy(&array, 8, &array, 0, 0)?;
    expect_elements(&mut mutator, [1, 2, 3, 4, 7, 3, 4, 7])?;
    mutator.clear(A);
    expect_live(&mut mutator, subject, 0, 9)
}

fn copied_references_keep_their_objects(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    eight_nodes(&mut mutator)?;
    mutator.copy(A, RootSlot::Global(0));
    mutator.alloc_array(REFS, 8, A)?;
    let (to, from) = (at(&mutator, A)?, at(&mutator, RootSlot::Global(0))?);
    mutator.store_mut().array_copy(&to, 0, &from, 0, 8)?;
    mutator.clear(RootSlot::Global(0));
    expect_live(&mut mutator, subject, 9, 10)?;
    expect_elements(&mut mutator, [0, 1, 2, 3, 4, 5, 6, 7])?;
    // The array is filled with one of the nodes, then with null.
    follow(&mut mutator, A, 12, STACK)?;
    let (array, word) = (at(&mutator, A)?, mutator.slots().word(STACK));
    mutator.store_mut().array_fill(&array, 0, word.into(), 8)?;
    mutator.clear(STACK);
    expect_live(&mut mutator, subject, 2, 10)?;
    expect_elements(&mut mutator, [0; 8])?;
    let array = at(&mutator, A)?;
    mutator.store_mut().array_fill(&array, 0, 0, 8)?;
    expect_live(&mut mutator, subject, 1, 10)
}

fn copies_outside_the_heap_are_errors(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 64 * KIB, 64 * KIB)?;
    let array = raw.refs(100)?;
    let inside = u64::from(array.as_raw_u32()) + 12;
    let end = raw.heap.vmctx_gc_heap_bound();
    let calls = [
        (0, inside, 1),
        (inside, 0, 1),
        (inside, end, 1),
        (end - 2, inside, 1),
        (u64::MAX - 3, inside, 2),
        (inside, u64::MAX - 3, 2),
        (inside + 4, inside, u32::MAX),
        (inside, inside + 4, u32::MAX),
    ];
    for (to, from, count) in calls {
        let result = raw.heap.copy_ref_range(&mut raw.host_data, to, from, count);
        ensure!(result.is_err(), "a copy of {count} from {from:#x} to {to:#x} is no error");
    }
    let nothing = raw.heap.copy_ref_range(&mut raw.host_data, inside, inside + 40, 0);
    ensure!(nothing.is_ok(), "a copy of nothing: {nothing:?}");
    Ok(())
}

fn i31s_pass_every_barrier(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let word = VMGcRef::from_i31(I31::wrapping_i32(-3)).as_raw_u32();
    mutator.put(A, VMGcRef::from_i31(I31::wrapping_i32(-3)));
    mutator.copy(A, RootSlot::Table(0));
    mutator.copy(RootSlot::Table(0), STACK);
    mutator.copy(STACK, RootSlot::Global(0));
    mutator.copy(RootSlot::Global(0), B);
    eight_nodes(&mut mutator)?;
    let (array, i31) = (at(&mutator, A)?, at(&mutator, STACK)?);
    mutator.store_mut().write_field_ref(&array, 12, Some(&i31))?;
    mutator.store_mut().array_fill(&array, 1, word.into(), 7)?;
    expect_live(&mut mutator, subject, 1, 9)?;
    for place in [RootSlot::Table(0), STACK, RootSlot::Global(0)] {
        let actual = mutator.slots().word(place);
        ensure!(actual == word, "{place:?} is {actual:#x} instead of {word:#x}");
    }
    let array = at(&mutator, A)?;
    for i in 0..8 {
        let actual = mutator.store().read_field(&array, 12 + 4 * i, StorageType::Ref)?;
        ensure!(actual == word.into(), "element {i} is {actual:#x} instead of {word:#x}");
    }
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 9)
}

fn a_collection_lets_compiled_code_be_entered(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, 8 * MIB, 64 * MIB)?;
    // Inside a scope, so that only this test decides when to collect.
    for _ in 0..3 {
        mutator.enter_no_gc_scope();
        for i in 0..50_000 {
            node(&mut mutator, i, STACK)?;
            if mutator.store().need_gc_before_entering_wasm(NonZeroU32::MIN) {
                break;
            }
        }
        mutator.exit_no_gc_scope();
        mutator.clear(STACK);
        mutator.collect()?;
        let needed = mutator.store().need_gc_before_entering_wasm(NonZeroU32::MIN);
        ensure!(!needed, "another collection is requested directly after a collection");
    }
    Ok(())
}
