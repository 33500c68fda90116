//! Promises of allocation, growth and reset.

use super::*;
use gc_testkit::Reclaims;
use gc_testkit::schema::{BYTES, EMPTY, LONGS, WIDE};
use gc_types::{ArrayLayout, GcLayout, HeapDataOffsets, NULL_PAGE_SIZE, OBJECT_ALIGN};

promises! {
    new_objects_are_typed_and_zero: "alloc_raw, header, object_size";
    objects_do_not_overlap: "alloc_raw";
    large_and_wide_objects_fit: "alloc_raw, grow";
    fast_allocation_is_allocation: "alloc_fast, alloc_raw";
    a_full_heap_asks_for_room: "alloc_raw, grow";
    growth_is_reported_and_stops_at_the_limit: "grow, vmctx_gc_heap_bound, stats";
    out_of_memory_is_survived: "alloc_raw, grow, gc";
    what_no_heap_can_hold_is_refused: "alloc_raw";
    allocations_are_counted: "stats";
    a_reset_heap_is_as_new: "reset";
    a_heap_in_used_memory_is_as_new: "new_gc_heap";
}

/// Allocates objects of every type, in memory that earlier rounds left dirty.
fn new_objects_are_typed_and_zero(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    let types: Vec<(TypeIndex, Arc<GcLayout>)> =
        Schema::fixed().types().map(|(ty, layout)| (ty, Arc::clone(layout))).collect();
    for round in 0..3 {
        for (ty, layout) in &types {
            for length in [0, 1, 3, 100, 1000] {
                match **layout {
                    GcLayout::Array(_) => mutator.alloc_array(*ty, length, A)?,
                    _ => mutator.alloc_struct(*ty, length as u16, A)?,
                }
                let object = at(&mutator, A)?;
                let heap = mutator.heap();
                let expected = (*ty, Some(layout.kind()));
                let actual = type_and_kind(heap, &object)?;
                ensure!(actual == expected, "{actual:?} instead of {expected:?}");
                let size = layout.size(length).context("a small object")?;
                let actual = heap.object_size(&object)?;
                ensure!(actual == size, "{ty:?} has {actual} bytes instead of {size}");
                // The body after the header and the words that the store itself writes.
                let (start, word) = match **layout {
                    GcLayout::Struct(_) => (8, None),
                    GcLayout::Array(_) => (12, Some(length)),
                    GcLayout::Exn(_) => (16, Some(length)),
                };
                let index = u64::from(object.as_raw_u32());
                let memory = &heap.core().memory;
                ensure!(word.is_none_or(|word| memory.read_u32(index + 8) == Some(word)));
                let mut body = vec![0xff; (size - start) as usize];
                memory.read_bytes(index + u64::from(start), &mut body).context("not mapped")?;
                if let Some(at) = body.iter().position(|&byte| byte != 0) {
                    let offset = start as usize + at;
                    bail!(
                        "round {round}: in a new {:?} of {size} bytes ({ty:?}), the byte at \
                         offset {offset} is {:#04x} instead of zero",
                        layout.kind(),
                        body[at]
                    );
                }
                dirty_scalars(&mut mutator, &object)?;
            }
        }
        mutator.clear_all();
        mutator.collect()?;
    }
    Ok(())
}

/// Fills every field of an object that is not a reference.
fn dirty_scalars(mutator: &mut Mutator, object: &VMGcRef) -> Result<()> {
    let Some((layout, length)) = mutator.shape(object)? else { return Ok(()) };
    let store = mutator.store_mut();
    match layout.fields() {
        Some(fields) => {
            for field in fields.iter().filter(|field| !field.ty.is_ref()) {
                store.write_field(object, field.offset, field.ty, u128::MAX)?;
            }
        }
        None if layout.has_refs() => {}
        None => store.array_fill(object, 0, u128::MAX, length)?,
    }
    Ok(())
}

fn objects_do_not_overlap(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    mutator.enter_no_gc_scope();
    let mut places = Vec::new();
    for i in 0..2000u32 {
        match i % 5 {
            0 => mutator.alloc_struct(NODE, 0, A)?,
            1 => mutator.alloc_struct(EMPTY, 0, A)?,
            2 if i % 50 == 2 => mutator.alloc_struct(WIDE, 0, A)?,
            _ => mutator.alloc_array(BYTES, i % 97, A)?,
        }
        let object = at(&mutator, A)?;
        let index = object.as_raw_u32();
        places.push((index, mutator.heap().object_size(&object)?));
        let clone = mutator.store_mut().clone_gc_ref(&object);
        mutator.hold(clone);
    }
    mutator.exit_no_gc_scope();
    places.sort_unstable();
    let mut end = NULL_PAGE_SIZE;
    for (index, size) in places {
        ensure!(index >= end, "the object at {index:#x} begins before the last ends at {end:#x}");
        ensure!(index.is_multiple_of(OBJECT_ALIGN), "an object at {index:#x}");
        end = index + size;
    }
    let bound = mutator.heap().vmctx_gc_heap_bound();
    ensure!(u64::from(end) <= bound, "an object ends at {end:#x}, the heap at {bound:#x}");
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 2000)
}

fn large_and_wide_objects_fit(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, 16 * KIB, 32 * MIB)?;
    let length = 1 << 20;
    mutator.alloc_array(BYTES, length, A)?;
    let array = at(&mutator, A)?;
    mutator.store_mut().array_fill(&array, 0, 0x5a, length)?;
    for i in 0..200 {
        mutator.alloc_struct(WIDE, 0, RootSlot::Handle(1))?;
        let wide = at(&mutator, RootSlot::Handle(1))?;
        let Some((layout, _)) = mutator.shape(&wide)? else { bail!("a struct has no layout") };
        let fields = layout.fields().unwrap_or_default();
        let array = at(&mutator, A)?;
        for field in fields {
            if field.ty.is_ref() {
                mutator.store_mut().write_field_ref(&wide, field.offset, Some(&array))?;
            } else {
                mutator.store_mut().write_field(&wide, field.offset, field.ty, 0x77)?;
            }
        }
        if i % 50 == 0 {
            mutator.collect()?;
        }
    }
    mutator.collect()?;
    let (wide, array) = (at(&mutator, RootSlot::Handle(1))?, at(&mutator, A)?);
    let mut links = 0;
    let mut to_array = true;
    mutator.heap().for_each_ref(&wide, &mut |_, to| {
        links += 1;
        to_array &= to == array;
    })?;
    ensure!(links == 300 && to_array, "{links} of 300 references are left, or some are wrong");
    let offset = |index| ArrayLayout::new(StorageType::I8).element_offset(index) as u32;
    for index in [0, 1, length / 2, length - 1] {
        let byte = mutator.store().read_field(&array, offset(index), StorageType::I8)?;
        ensure!(byte == 0x5a, "byte {index} of a large array is {byte:#x}");
    }
    mutator.clear_all();
    expect_live(&mut mutator, subject, 0, 201)
}

fn fast_allocation_is_allocation(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 64 * KIB, 64 * KIB)?;
    let header = VMGcHeader::new(VMGcKind::StructRef, NODE);
    let other = raw.heap.alloc_raw(header, 24)?;
    let expected = raw.heap.header(&other)?;
    let mut count = 1;
    while let Some(object) = raw.heap.alloc_fast(header, 24) {
        count += 1;
        ensure!(count < 10_000, "a heap of 64 KiB holds {count} objects of 24 bytes");
        let actual = raw.heap.header(&object)?;
        ensure!(actual == expected, "{actual:?} instead of {expected:?}");
        let index = u64::from(object.as_raw_u32());
        let body = raw.heap.core().memory.read_u128(index + 8);
        ensure!(body == Some(0), "a new object is not zero: {body:?}");
        raw.heap.core_mut().memory.write_u64(index + 8, u64::MAX).context("it is mapped")?;
    }
    while let Ok(object) = raw.heap.alloc_raw(header, 24) {
        count += 1;
        ensure!(count < 10_000, "a heap of 64 KiB holds {count} objects of 24 bytes");
        ensure!(raw.heap.header(&object)? == expected);
    }
    let counted = raw.heap.stats().allocations;
    ensure!(counted == count, "{count} objects are counted as {counted}");
    raw.heap.verify()?;
    if !raw.heap.reset(&mut raw.host_data) {
        return Ok(());
    }
    raw.heap.core_mut().note_damage(8, "a check's");
    ensure!(raw.heap.alloc_fast(header, 24).is_none(), "it ignores damage");
    Ok(())
}

fn a_full_heap_asks_for_room(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 16 * KIB, MIB)?;
    let layout = ArrayLayout::new(StorageType::I8);
    let size = layout.size(100 << 10).context("a small array")?;
    let header = VMGcHeader::new(VMGcKind::ArrayRef, BYTES);
    for _ in 0..3 {
        let refused = raw.heap.alloc_raw(header, size);
        ensure!(
            matches!(refused, Err(HeapError::NeedsRoom { bytes }) if bytes == u64::from(size)),
            "without room: {refused:?}"
        );
        raw.heap.verify()?;
    }
    for _ in 0..8 {
        raw.heap.grow(size.into())?;
        match raw.heap.alloc_raw(header, size) {
            Ok(array) => {
                ensure!(type_and_kind(&*raw.heap, &array)? == (BYTES, Some(VMGcKind::ArrayRef)));
                return Ok(());
            }
            Err(HeapError::NeedsRoom { .. }) => {}
            Err(error) => bail!("after growth: {error}"),
        }
    }
    bail!("growth makes no room")
}

/// The most bytes of room that a full heap may have: a heap with bytes apart grows by whole blocks.
fn most_left(subject: &Subject<'_>) -> u64 {
    if subject.runtime.apart() > 0 { 100_000 } else { 0 }
}

fn growth_is_reported_and_stops_at_the_limit(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 16 * KIB, MIB)?;
    let heap = &mut *raw.heap;
    let (base, data) = (heap.vmctx_gc_heap_base(), heap.vmctx_gc_heap_data());
    loop {
        let before = heap.core().in_use();
        match heap.grow(100_000) {
            Ok(grown) => {
                // A heap with bytes apart may use memory for something else.
                let exact = subject.runtime.apart() > 0 || heap.core().in_use() == before + grown;
                ensure!(grown > 0 && exact, "it reports growth by {grown}");
            }
            Err(HeapError::OutOfMemory { limit, .. }) => {
                ensure!(limit == heap.core().memory.limit(), "the limit is {limit:#x}");
                break;
            }
            Err(error) => bail!("growth failed: {error}"),
        }
        let memory = &heap.core().memory;
        let bound = memory.data_u64(HeapDataOffsets::BOUND);
        ensure!(bound == memory.len(), "emitted code reads the bound {bound:#x}");
        let stats = heap.stats();
        // What is held for survivors has no memory yet.
        let exact = subject.runtime.apart() > 0 || stats.heap_bytes == heap.core().in_use();
        ensure!(stats.heap_bytes <= heap.core().in_use() && exact, "{stats:?}");
    }
    let left = heap.core().room();
    ensure!(left <= most_left(subject), "it stops with {left} bytes of room");
    ensure!(base == heap.vmctx_gc_heap_base() && data == heap.vmctx_gc_heap_data(), "it moved");
    Ok(heap.verify()?)
}

fn out_of_memory_is_survived(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, 16 * KIB, MIB)?;
    node(&mut mutator, 7, A)?;
    let mut arrays = 0;
    for round in 0..4 {
        let mut held = 0;
        let error = loop {
            match mutator.push_array(LONGS, 1000) {
                Ok(()) => held += 1,
                Err(error) => break error,
            }
            ensure!(held <= 200, "a heap of 1 MiB holds {held} arrays of 8000 bytes");
        };
        let limit = MIB + u64::from(NULL_PAGE_SIZE);
        ensure!(
            matches!(error, HeapError::OutOfMemory { bytes: 8016, limit: l } if l == limit),
            "a full heap says: {error}"
        );
        let left = MIB - mutator.store().stats().heap_bytes;
        ensure!(left <= most_left(subject), "it did not grow to its limit: {left} bytes are left");
        expect_node(&mutator, A, 7)?;
        mutator.verify()?;
        arrays += held;
        // A quarter of the heap, because some collectors need the rest for copies.
        let frees = subject.reclaims != Reclaims::Nothing;
        ensure!(held >= 32 || !(round == 0 || frees), "round {round}: {held} arrays fit");
        while mutator.let_go() {}
        expect_live(&mut mutator, subject, 1, arrays + 1)?;
    }
    Ok(())
}

fn what_no_heap_can_hold_is_refused(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, 16 * KIB, MIB)?;
    let result = mutator.alloc_array(LONGS, u32::MAX, A);
    ensure!(matches!(result, Err(HeapError::TooLarge { .. })), "{result:?}");
    let result = mutator.alloc_array(LONGS, 1 << 20, A);
    ensure!(matches!(result, Err(HeapError::OutOfMemory { .. })), "{result:?}");
    ensure!(mutator.store().stats().heap_bytes < MIB, "it grew for an object that can never fit");
    for ty in [TypeIndex::NONE, BYTES, TypeIndex::new(0).context("zero")?] {
        let result = mutator.alloc_struct(ty, 0, A);
        ensure!(matches!(result, Err(HeapError::UnknownType { .. })), "{result:?}");
    }
    node(&mut mutator, 1, A)?;
    expect_live(&mut mutator, subject, 1, 1)
}

fn allocations_are_counted(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = mutator(subject)?;
    for i in 1..=1000 {
        node(&mut mutator, i, RootSlot::Stack(0))?;
        mutator.alloc_array(BYTES, 4, A)?;
        let stats = mutator.store().stats();
        let expected = (2 * i, i * (24 + 16));
        let actual = (stats.allocations, stats.allocated_bytes);
        ensure!(actual == expected, "{actual:?} objects and bytes instead of {expected:?}");
        ensure!(stats.live_objects >= 2 && stats.live_bytes >= 40, "{stats:?}");
    }
    expect_live(&mut mutator, subject, 2, 2000)?;
    let bytes = mutator.store().stats().live_bytes;
    let expected = if subject.reclaims == Reclaims::Nothing { 40_000 } else { 40 };
    ensure!(bytes == expected, "{bytes} bytes survive instead of {expected}");
    Ok(())
}

fn a_reset_heap_is_as_new(subject: &Subject<'_>) -> Result<()> {
    let mut raw = Raw::new(subject, 64 * KIB, MIB)?;
    for _ in 0..3 {
        let (base, bound) = (raw.heap.vmctx_gc_heap_base(), raw.heap.vmctx_gc_heap_bound());
        let value = Arc::new(());
        for _ in 0..1000 {
            raw.node(A)?;
            let node = raw.slots.get(A).context("it is there")?;
            let at = u64::from(node.as_raw_u32() + VALUE);
            raw.heap.core_mut().memory.write_u64(at, u64::MAX).context("it is mapped")?;
            let _ = raw.host_data.alloc(Box::new(Arc::clone(&value)));
        }
        let exposed = raw.heap.clone_gc_ref(&raw.slots.get(A).context("it is there")?);
        raw.heap.expose_gc_ref_to_wasm(exposed);
        raw.heap.core_mut().note_damage(8, "a check's");
        raw.heap.enter_no_gc_scope();
        raw.slots.forget();
        if !raw.heap.reset(&mut raw.host_data) {
            return Ok(());
        }

        ensure!(Arc::strong_count(&value) == 1, "host values survive a reset");
        let stats = raw.heap.stats();
        let counters = [stats.live_objects, stats.live_bytes, stats.allocations, stats.collections];
        ensure!(counters == [0; 4] && stats.allocated_bytes == 0, "{stats:?}");
        let same = base == raw.heap.vmctx_gc_heap_base() && bound == raw.heap.vmctx_gc_heap_bound();
        ensure!(same, "a reset changed the mapping");
        raw.heap.verify()?;
        let mut objects = 0;
        raw.heap.for_each_object(&mut |_| objects += 1)?;
        ensure!(objects == 0, "{objects} objects survive a reset");
        raw.collection()?.collect()?;
        raw.node(A)?;
        let node = raw.slots.get(A).context("it is there")?;
        let at = u64::from(node.as_raw_u32() + VALUE);
        ensure!(raw.heap.core().memory.read_u128(at) == Some(0), "a new object is not zero");
    }
    Ok(())
}

fn a_heap_in_used_memory_is_as_new(subject: &Subject<'_>) -> Result<()> {
    let apart = subject.runtime.apart();
    let mut memory = HeapMemory::with_apart(&subject.options(64 * KIB, MIB), apart)?;
    for _ in 0..3 {
        let mut raw = Raw::in_memory(subject, memory)?;
        raw.heap.verify()?;
        ensure!(raw.heap.stats().live_objects == 0, "a new heap has objects");
        for _ in 0..1000 {
            raw.node(A)?;
            let node = raw.slots.get(A).context("it is there")?;
            let at = u64::from(node.as_raw_u32() + VALUE);
            ensure!(raw.heap.core().memory.read_u128(at) == Some(0), "a new object is not zero");
            raw.heap.core_mut().memory.write_u64(at, u64::MAX).context("it is mapped")?;
        }
        let exposed = raw.slots.get(A).context("it is there")?;
        raw.heap.expose_gc_ref_to_wasm(exposed);
        raw.slots.forget();
        raw.heap.verify()?;
        let nothing = HeapMemory::new(&subject.options(0, 0))?;
        memory = std::mem::replace(&mut raw.heap.core_mut().memory, nothing);
        memory.reset();
    }
    Ok(())
}
