//! Promises of heaps that are reset, for collectors that do so. A pool of heaps relies on them: the
//! next store must neither see anything of the last one nor run otherwise.
#![allow(unsafe_code)]

use super::*;
use arbitrary::{Arbitrary as _, Unstructured};
use gc_runtime::{GcStore, NoStack};
use gc_testkit::mutator::Effect;
use gc_testkit::ops::Op;
use gc_testkit::{Reclaims, random, scaled};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{GcLayout, HeapDataOffsets, SideForm, StructLayout};
use std::num::NonZeroU32;

promises! {
    a_reset_heap_has_the_bytes_of_a_new_one: "reset";
    a_reset_heap_has_the_tables_of_a_new_one: "reset";
    a_reset_heap_runs_like_a_new_one: "reset";
    a_heap_is_handed_on_with_other_types: "reset, limit_inline_allocation";
}

/// Every byte of the heap.
fn words(raw: &Raw) -> Vec<Option<u64>> {
    let memory = &raw.heap.core().memory;
    let start = u64::from(gc_types::NULL_PAGE_SIZE);
    (start..memory.len()).step_by(8).map(|at| memory.read_u64(at)).collect()
}

fn a_reset_heap_has_the_bytes_of_a_new_one(subject: &Subject<'_>) -> Result<()> {
    let new = words(&Raw::new(subject, MIB, MIB)?);
    let mut raw = Raw::new(subject, MIB, MIB)?;
    for round in 0..3 {
        for _ in 0..500 {
            raw.node(A)?;
            let node = raw.slots.get(A).context("it is there")?;
            let at = u64::from(node.as_raw_u32() + VALUE);
            raw.heap.core_mut().memory.write_u64(at, u64::MAX).context("it is mapped")?;
        }
        raw.collection()?.collect()?;
        // A guest may have written anywhere.
        let memory = &mut raw.heap.core_mut().memory;
        let end = memory.len();
        for at in [end / 2, end - 8192, end - 8] {
            memory.write_u64(at, u64::MAX).context("it is mapped")?;
        }
        raw.slots.forget();
        if !raw.heap.reset(&mut raw.host_data) {
            return Ok(());
        }
        let differs = words(&raw).iter().zip(&new).position(|(word, new)| word != new);
        ensure!(differs.is_none(), "round {round}: word {differs:?} is not as in a new heap");
        ensure!(raw.heap.core().memory.len() == end, "its size has changed");
        raw.heap.verify()?;
    }
    Ok(())
}

/// The words of the heap data that are not addresses or capacities, and the bytes of the side tables, each with a
/// name.
fn tables(subject: &Subject<'_>, mutator: &Mutator) -> Result<Vec<(String, Vec<u8>)>> {
    let memory = &mutator.store().heap().context("a heap")?.core().memory;
    let abi = subject.runtime.abi();
    let mut apart = vec![LIMIT, NEXT];
    let mut found = Vec::new();
    for table in abi.tables() {
        apart.extend([table.address(), table.address() + 4]);
        if let SideForm::Appended { capacity, .. } = table.form() {
            apart.push(capacity);
        }
        // SAFETY: the store is borrowed, and nothing else has its heap.
        let bytes = unsafe { memory.table_bytes(table) };
        found.push((format!("the table `{}`", table.name()), bytes.unwrap_or_default()));
    }
    let words = (HeapDataOffsets::COLLECTOR..HeapDataOffsets::SIZE).step_by(4);
    for word in words.filter(|word| !apart.contains(word)) {
        found.push((format!("the word at {word}"), memory.data_u32(word).to_ne_bytes().to_vec()));
    }
    Ok(found)
}

/// What barriers of the last store noted must not be found by a collection of the next one.
fn a_reset_heap_has_the_tables_of_a_new_one(subject: &Subject<'_>) -> Result<()> {
    let mut mutator = sized_mutator(subject, MIB, MIB)?;
    let new = tables(subject, &mutator)?;
    for seed in 0..scaled(20) {
        outcomes(&mut mutator, &random::bytes(seed, 2_000));
        if !mutator.reset() {
            return Ok(());
        }
        for ((name, before), (_, after)) in new.iter().zip(tables(subject, &mutator)?) {
            // Memory that a table gets late is zero.
            let expected = |at| before.get(at).copied().unwrap_or_default();
            if let Some(at) = (0..after.len()).find(|&at| after[at] != expected(at)) {
                let (is, was) = (after[at], expected(at));
                bail!(
                    "seed {seed}: {name} is not as in a new heap: byte {at} is {is} instead of {was}"
                );
            }
        }
    }
    Ok(())
}

/// The outcomes of the operations in these bytes that do not depend on time.
fn outcomes(mutator: &mut Mutator, bytes: &[u8]) -> Vec<String> {
    let mut u = Unstructured::new(bytes);
    let mut outcomes = Vec::new();
    while !u.is_empty()
        && let Ok(op) = Op::arbitrary(&mut u)
    {
        // These depend on when the heap is collected, or take too long.
        if op.is_weak() || matches!(op, Op::Reset | Op::Exhaust) {
            continue;
        }
        // Host values have numbers that are not used again.
        let is_numbered = matches!(op, Op::AllocExternRef { .. } | Op::ReadHost { .. });
        match mutator.apply(&op) {
            Ok(Effect::Collected(_)) => {}
            Ok(_) if is_numbered => outcomes.push(format!("{op:?}")),
            outcome => outcomes.push(format!("{op:?}: {outcome:?}")),
        }
    }
    let stats = mutator.store().stats();
    outcomes.push(format!("{} {}", stats.allocations, stats.allocated_bytes));
    outcomes
}

fn a_reset_heap_runs_like_a_new_one(subject: &Subject<'_>) -> Result<()> {
    for seed in 0..scaled(10) {
        let bytes = random::bytes(seed, if subject.zeal == 0 { 20_000 } else { 2_000 });
        let mut mutator = sized_mutator(subject, MIB, MIB)?;
        let expected = outcomes(&mut mutator, &bytes);
        for round in 0..2 {
            if !mutator.reset() {
                return Ok(());
            }
            let actual = outcomes(&mut mutator, &bytes);
            let differs = expected.iter().zip(&actual).find(|(a, b)| a != b);
            ensure!(differs.is_none(), "seed {seed}, round {round}: {differs:?}");
            ensure!(expected.len() == actual.len(), "seed {seed}: another number of operations");
            mutator.verify()?;
        }
    }
    Ok(())
}

/// The next store may give an index to another type. What was a reference in the objects of the last
/// store may be a number now.
fn a_heap_is_handed_on_with_other_types(subject: &Subject<'_>) -> Result<()> {
    let mut store = GcStore::new(subject.runtime, &subject.options(MIB, MIB))?;
    for round in 0..6 {
        let has_refs = round % 2 == 0;
        let layout = match has_refs {
            true => StructLayout::new([StorageType::I64, StorageType::Ref, StorageType::Ref])?,
            false => StructLayout::new([StorageType::I64, StorageType::I64])?,
        };
        store.heap_mut().context("a heap")?.core_mut().side.layouts.clear();
        store.ensure_layout(NODE, &Arc::new(GcLayout::Struct(layout)))?;
        store.heap_mut().context("a heap")?.limit_inline_allocation(NonZeroU32::new(64 << round));

        let scope = store.enter_handle_scope();
        let target = store.alloc_struct(&mut NoStack, NODE)?;
        let target = store.root(target).context("a handle")?;
        let object = store.alloc_struct(&mut NoStack, NODE)?;
        let object = store.root_owned(object).context("a handle")?;
        let at = store.rooted(&object.handle())?.unchecked_copy();
        let to = store.rooted(&target)?.unchecked_copy();
        match has_refs {
            true => store.write_field_ref(&at, LEFT, Some(&to))?,
            false => {
                store.write_field(&at, LEFT, StorageType::I64, to.as_raw_u32().into())?;
            }
        }
        store.exit_handle_scope(scope);
        const GARBAGE: u64 = 300;
        for _ in 0..GARBAGE {
            let garbage = store.alloc_struct(&mut NoStack, NODE)?;
            store.drop_gc_ref(garbage);
        }
        ensure!(store.gc(&mut NoStack)?, "round {round}: a collection was skipped");
        store.verify(&mut NoStack)?;
        let (live, expected) = match subject.reclaims {
            Reclaims::Nothing => (store.stats().live_objects, GARBAGE + 2),
            _ => (store.stats().live_objects, 1 + u64::from(has_refs)),
        };
        ensure!(live == expected, "round {round}: {live} objects live instead of {expected}");

        drop(object);
        store.heap_mut().context("a heap")?.limit_inline_allocation(None);
        if store.reset().is_err() {
            return Ok(());
        }
    }
    Ok(())
}
