//! Promises about externrefs: a host value lives as long as its box, and is dropped
//! once.

use super::*;
use gc_testkit::Reclaims;

promises! {
    an_externref_keeps_its_id: "alloc_externref, externref_host_data";
    a_host_value_lives_as_long_as_its_externref: "gc, drop_gc_ref";
    host_values_die_with_what_holds_them: "gc, drop_gc_ref";
    every_host_value_is_dropped_once: "gc, reset";
    a_host_value_may_panic_when_dropped: "gc";
    no_panic_of_a_host_value_comes_out_of_a_barrier: "drop_gc_ref, write_gc_ref, write_field_ref";
}

fn expect_token(mutator: &Mutator, place: RootSlot, number: u32) -> Result<()> {
    let externref = at(mutator, place)?;
    ensure!(mutator.heap().is_kind(&externref, VMGcKind::ExternRef));
    let actual = mutator.token(&externref)?;
    ensure!(actual == number, "host value {actual} instead of {number}");
    ensure!(mutator.ledger().times_dropped(number) == 0, "host value {number} was dropped");
    Ok(())
}

/// Checks how often the host value `number` was dropped, after its externref became garbage and a
/// collection completed.
fn expect_dead(mutator: &Mutator, subject: &Subject<'_>, number: u32) -> Result<()> {
    let expected = u32::from(subject.reclaims != Reclaims::Nothing);
    let times = mutator.ledger().times_dropped(number);
    ensure!(times == expected, "host value {number} was dropped {times} times");
    Ok(())
}

fn an_externref_keeps_its_id(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 64 * KIB, 64 * KIB)?;
    let mut boxes = Vec::new();
    for i in 0..100 {
        let id = raw.host_data.alloc(Box::new(i)).map_err(|_| anyhow!("the table is full"))?;
        let externref = raw.heap.alloc_externref(id)?;
        let header = raw.heap.header(&externref)?;
        let expected = (Some(VMGcKind::ExternRef), TypeIndex::NONE);
        ensure!((header.kind(), header.ty()) == expected, "{header:?}");
        let size = raw.heap.object_size(&externref)?;
        ensure!(size == gc_types::GcLayout::EXTERNREF_SIZE, "a box of {size} bytes");
        let actual = raw.heap.externref_host_data(&externref)?;
        ensure!(actual == id, "{actual:?} instead of {id:?}");
        boxes.push((externref.unchecked_copy(), id));
        let typed = gc_runtime::VMExternRef::new(&*raw.heap, externref);
        ensure!(typed.is_ok(), "it has another kind");
    }
    for (externref, id) in boxes {
        let actual = raw.heap.externref_host_data(&externref)?;
        ensure!(actual == id, "{actual:?} instead of {id:?} after more were made");
    }
    raw.node(A)?;
    let node = raw.slots.get(A).context("it is there")?;
    let refused = raw.heap.externref_host_data(&node);
    ensure!(matches!(refused, Err(HeapError::WrongKind { .. })), "of a node: {refused:?}");
    let i31 = VMGcRef::from_i31(gc_types::I31::wrapping_u32(4));
    let refused = raw.heap.externref_host_data(&i31);
    ensure!(matches!(refused, Err(HeapError::NotAnObject { .. })), "of an i31: {refused:?}");
    Ok(raw.heap.verify()?)
}

fn a_host_value_lives_as_long_as_its_externref(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    for place in [STACK, RootSlot::Table(0), RootSlot::Global(0), A] {
        let number = mutator.alloc_externref(place)?;
        let garbage = mutator.alloc_externref(B)?;
        mutator.clear(B);
        for _ in 0..3 {
            ensure!(mutator.collect()?, "a collection was skipped");
            expect_token(&mutator, place, number)?;
            expect_dead(&mutator, subject, garbage)?;
        }
        mutator.clear(place);
        ensure!(mutator.collect()?, "a collection was skipped");
        expect_dead(&mutator, subject, number)?;
    }
    let ledger = mutator.ledger().clone();
    drop(mutator);
    ledger.check_all_once()
}

/// Host values in fields, in elements, shared, and deep in a structure.
fn host_values_die_with_what_holds_them(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let shared = mutator.alloc_externref(STACK)?;
    node(&mut mutator, 0, A)?;
    link(&mut mutator, A, LEFT, STACK)?;
    for i in 1..100 {
        node(&mut mutator, i, B)?;
        mutator.alloc_externref(STACK)?;
        link(&mut mutator, B, LEFT, STACK)?;
        link(&mut mutator, B, RIGHT, A)?;
        mutator.copy(B, A);
    }
    mutator.clear(B);
    mutator.clear(STACK);
    mutator.alloc_array(REFS, 100, RootSlot::Global(0))?;
    mutator.copy(A, STACK);
    for i in 0..100u32 {
        follow(&mut mutator, STACK, LEFT, B)?;
        let offset = gc_types::ArrayLayout::new(StorageType::Ref).element_offset(i) as u32;
        link(&mut mutator, RootSlot::Global(0), offset, B)?;
        expect_token(&mutator, B, 99 - i)?;
        follow(&mut mutator, STACK, RIGHT, STACK)?;
    }
    mutator.clear(A);
    expect_live(&mut mutator, subject, 101, 201)?;
    ensure!(mutator.ledger().alive() == 100, "host values that an array holds died");
    expect_token(&mutator, B, shared)?;
    mutator.clear(RootSlot::Global(0));
    expect_live(&mut mutator, subject, 1, 201)?;
    let alive = mutator.ledger().alive();
    let expected = if subject.reclaims == Reclaims::Nothing { 100 } else { 1 };
    ensure!(alive == expected, "{alive} host values are alive instead of {expected}");
    expect_token(&mutator, B, shared)?;
    mutator.clear(B);
    mutator.collect()?;
    expect_dead(&mutator, subject, shared)
}

fn every_host_value_is_dropped_once(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let ledger = mutator.ledger().clone();
    for round in 0..3 {
        for i in 0..500 {
            mutator.alloc_externref(A)?;
            node(&mut mutator, i, B)?;
            link(&mut mutator, B, LEFT, A)?;
            match i % 5 {
                // A cycle that may leak.
                0 => link(&mut mutator, B, RIGHT, B)?,
                1 => mutator.copy(B, RootSlot::Stack((i % 16) as u8)),
                2 => mutator.copy(A, RootSlot::Table((i % 16) as u8)),
                3 => mutator.collect().map(drop)?,
                _ => {}
            }
            ledger.check_none_twice()?;
        }
        mutator.collect()?;
        ensure!(ledger.alive() > 0, "all host values are dead");
        if round == 1 && mutator.reset() {
            ledger.check_all_once().context("after a reset")?;
        }
    }
    drop(mutator);
    ledger.check_all_once()
}

/// Uses `resume_unwind`, because the message of `panic!` would be printed.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("a host value's own panic"));
    }
}

/// Puts a value that panics when it is dropped on the stack.
fn put_bomb(mutator: &mut Mutator) -> Result<()> {
    mutator.enter_no_gc_scope();
    let externref = mutator.store_mut().alloc_externref(&mut Slots::default(), Box::new(Bomb));
    mutator.exit_no_gc_scope();
    match externref {
        Ok(externref) => {
            mutator.put(STACK, externref);
            Ok(())
        }
        Err((error, bomb)) => {
            std::mem::forget(bomb);
            Err(error.into())
        }
    }
}

/// The drop is the embedder's code. Its panic resumes when the collection is over or everything is
/// dropped, and the heap must be consistent then.
fn a_host_value_may_panic_when_dropped(subject: &Subject<'_>) -> Result<()> {
    let reclaims = subject.reclaims != Reclaims::Nothing;
    let mut mutator = mutator(subject)?;
    for i in 0..100 {
        if i == 50 {
            put_bomb(&mut mutator)?;
        }
        mutator.alloc_externref(A)?;
        link_all(&mut mutator, i)?;
    }
    mutator.clear(STACK);
    mutator.clear(A);
    let first = catch_unwind(AssertUnwindSafe(|| mutator.collect()));
    ensure!(first.is_err() == reclaims, "the host value panicked: {}", first.is_err());
    mutator.verify()?;
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 111)?;
    ensure!(!reclaims || mutator.ledger().alive() == 0, "host values survive another's panic");
    mutator.ledger().check_none_twice()?;

    mutator.alloc_externref(A)?;
    put_bomb(&mut mutator)?;
    mutator.alloc_externref(A)?;
    let ledger = mutator.ledger().clone();
    let last = catch_unwind(AssertUnwindSafe(|| drop(mutator)));
    ensure!(last.is_err(), "the host value did not panic when the store was dropped");
    ledger.check_all_once()
}

/// Compiled code may be on the stack above a barrier, and a panic cannot unwind through it.
fn no_panic_of_a_host_value_comes_out_of_a_barrier(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    node(&mut mutator, 0, B)?;
    let overwrite_field = |mutator: &mut Mutator| link(mutator, B, LEFT, STACK);
    let clear = |place| {
        move |mutator: &mut Mutator| {
            mutator.clear(place);
            Ok(())
        }
    };
    type Step<'a> = &'a dyn Fn(&mut Mutator) -> Result<()>;
    let ways: [(RootSlot, Step<'_>); 4] = [
        (RootSlot::Table(0), &clear(RootSlot::Table(0))),
        (RootSlot::Global(0), &clear(RootSlot::Global(0))),
        (A, &clear(A)),
        (STACK, &overwrite_field),
    ];
    for (place, step) in ways {
        put_bomb(&mut mutator)?;
        match place {
            STACK => link(&mut mutator, B, LEFT, STACK)?,
            _ => mutator.copy(STACK, place),
        }
        mutator.clear(STACK);
        // Now only `place`, or the field, refers to it.
        ensure!(mutator.collect()?, "a collection was skipped");
        let barrier = catch_unwind(AssertUnwindSafe(|| step(&mut mutator)));
        barrier.map_err(|_| anyhow!("a panic came out of a barrier at {place:?}"))??;
        let panics =
            (0..2).filter(|_| catch_unwind(AssertUnwindSafe(|| mutator.collect())).is_err());
        let (panics, expected) = (panics.count(), subject.reclaims != Reclaims::Nothing);
        ensure!(panics == usize::from(expected), "{panics} panics of one host value");
        mutator.verify()?;
    }
    // The other values may panic when the store is dropped.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(mutator)));
    Ok(())
}

/// Keeps every tenth externref in a list of nodes.
fn link_all(mutator: &mut Mutator, i: u64) -> Result<()> {
    if i.is_multiple_of(10) {
        node(mutator, i, B)?;
        link(mutator, B, LEFT, A)?;
        link(mutator, B, RIGHT, RootSlot::Global(0))?;
        mutator.copy(B, RootSlot::Global(0));
        mutator.clear(B);
    }
    Ok(())
}
