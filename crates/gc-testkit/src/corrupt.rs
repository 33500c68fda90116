//! Containment: a mock mutator works on a heap whose bytes are overwritten between operations, with
//! arbitrary headers, lengths, counts, references and ids.
//!
//! The results of operations do not matter: wrong values and errors are both allowed. These
//! properties must hold: each operation ends (no panic, no endless collection). Nothing outside the
//! heap changes (the mutator's slots, the words beside them, the heap's bound, other heaps before
//! and after this one; under AddressSanitizer, anything). No host value is dropped twice, and all
//! are dropped in the end. A reset heap is like a new one.

use crate::mutator::{Collection, Effect, Mutator};
use crate::ops::Op;
use crate::patterns::Operations;
use crate::place::RootSlot;
use crate::schema::{NODE, Schema};
use crate::{Ledger, Subject};
use anyhow::{Context, Result, bail, ensure};
use arbitrary::Unstructured;
use gc_heap::{ExternRefHostDataTable, HeapMemory};
use gc_types::{
    HeapDataOffsets, NULL_PAGE_SIZE, StorageType, TypeIndex, VMGcHeader, VMGcKind, VMGcRef,
};
use std::num::NonZeroU32;

/// Bytes of each heap beside the one that is damaged.
const NEIGHBOUR: usize = 16 << 10;
/// The most operations that patterns give in one run. Few, because most faults of containment need
/// damage and not a large heap.
const PATTERNS: usize = 250;
/// How many of the last allocated objects are remembered.
const ALLOCATED: usize = 32;
/// The byte that fills the neighbours.
const PATTERN: u8 = 0xc7;

/// Runs the operations and the damage that the bytes in `u` encode.
///
/// # Errors
/// If one of the properties does not hold.
///
/// # Panics
/// If the collector panics, which is a fault of the collector.
pub fn run(subject: &Subject<'_>, u: &mut Unstructured<'_>) -> Result<()> {
    let maximum = match u.arbitrary::<u8>() {
        Ok(0..=199) => 128 << 10,
        Ok(_) => 1 << 20,
        Err(_) => return Ok(()),
    };
    let before = neighbour(subject)?;
    let mut heap = Damaged {
        mutator: Mutator::new(
            subject.runtime,
            &subject.options(16 << 10, maximum),
            Schema::fixed(),
        )?,
        operations: Operations::new(PATTERNS),
        allocated: Vec::new(),
    };
    let behind = neighbour(subject)?;
    let ledger: Ledger = heap.mutator.ledger().clone();

    let mut number = 0;
    while !u.is_empty() {
        let Ok(action) = u.arbitrary::<u8>() else { break };
        let result = heap.act(action, u).unwrap_or(Ok(()));
        result
            .and_then(|()| check(&heap.mutator))
            .with_context(|| format!("{subject:?}: action {number}, {action}"))?;
        number += 1;
    }

    let mut mutator = heap.mutator;
    if !mutator.reset() {
        return Ok(());
    }
    ledger.check_all_once().context("after a reset")?;
    mutator.heap().verify().context("after a reset")?;
    mutator.alloc_struct(NODE, 0, RootSlot::Handle(0)).context("after a reset")?;
    let node = mutator.get(RootSlot::Handle(0)).context("after a reset")?;
    let body = mutator.store().read_field(&node, VMGcHeader::SIZE, StorageType::V128)?;
    ensure!(body == 0, "after a reset a new object is not zero");
    drop(mutator);
    ledger.check_all_once()?;
    for neighbour in [before, behind] {
        check_neighbour(&neighbour)?;
    }
    Ok(())
}

/// A heap that is damaged, and the mutator that works on it.
struct Damaged {
    mutator: Mutator,
    operations: Operations,
    /// Where the last objects were allocated.
    allocated: Vec<u32>,
}

fn neighbour(subject: &Subject<'_>) -> Result<HeapMemory> {
    let bytes = NEIGHBOUR as u64;
    let mut memory = HeapMemory::new(&subject.options(bytes, bytes))?;
    let filled = memory.fill(NULL_PAGE_SIZE.into(), memory.usable(), PATTERN);
    filled.context("a new heap has memory")?;
    Ok(memory)
}

fn check_neighbour(memory: &HeapMemory) -> Result<()> {
    let mut bytes = vec![0; NEIGHBOUR];
    memory.read_bytes(NULL_PAGE_SIZE.into(), &mut bytes).context("a neighbour's memory is gone")?;
    ensure!(bytes.iter().all(|&byte| byte == PATTERN), "another heap was written to");
    Ok(())
}

/// Checks the properties that must hold at any time.
fn check(mutator: &Mutator) -> Result<()> {
    mutator.slots().check()?;
    mutator.ledger().check_none_twice()?;
    let core = mutator.heap().core();
    let memory = &core.memory;
    let bound = memory.data_u64(HeapDataOffsets::BOUND);
    ensure!(bound == memory.len(), "the heap's bound is {bound:#x}, not {:#x}", memory.len());
    ensure!(memory.len() <= memory.maximum(), "the heap passed its addresses");
    ensure!(core.in_use() <= core.limit(), "the heap passed its limit");
    Ok(())
}

impl Damaged {
    /// Does one operation or some damage. `Err` if `u` ran out.
    fn act(&mut self, action: u8, u: &mut Unstructured<'_>) -> arbitrary::Result<Result<()>> {
        match action {
            0..=189 => {
                // Damage in the middle of a pattern finds no more than after it.
                while let Some(op) = self.operations.next(u) {
                    let applied = self.apply(op);
                    if applied.is_err() || !self.operations.is_within_pattern() {
                        return Ok(applied);
                    }
                }
            }
            190..=239 => {
                for _ in 0..=action % 3 {
                    self.scribble(u)?;
                }
            }
            // Damage that the heap notices at once is rare, because such a heap allocates no more.
            240..=249 => self.poke(u)?,
            250..=251 => {
                let place = u.arbitrary()?;
                let word = self.wild_word(u)?;
                self.mutator.slots_mut().set_word(place, word);
            }
            252..=255 => {
                let operation =
                    if u.ratio(7, 8)? { u.int_in_range(0..=3)? } else { u.arbitrary()? };
                let gc_ref = VMGcRef::from_raw_u32(self.wild_word(u)?);
                self.mutator.store_mut().collector_slow_path(operation, gc_ref, u.arbitrary()?);
            }
        }
        Ok(Ok(()))
    }

    fn apply(&mut self, op: Op) -> Result<()> {
        // `Collect` would not return from an endless collection.
        let op = match op {
            Op::Collect => Op::CollectIncrements { increments: u8::MAX },
            op => op,
        };
        let outcome = self.mutator.apply(&op);
        if let Op::CollectIncrements { increments: 200.. } = op {
            let abandoned = Ok(Effect::Collected(Collection::Abandoned));
            ensure!(outcome != abandoned, "a collection does not end");
        }
        if let (
            Op::AllocStruct { to, .. } | Op::AllocArray { to, .. } | Op::AllocExternRef { to },
            Ok(_),
        ) = (&op, &outcome)
        {
            let at = u64::from(self.mutator.slots().word(*to));
            let memory = &self.mutator.heap().core().memory;
            let inside = at >= u64::from(NULL_PAGE_SIZE) && at + 8 <= memory.len() && at % 8 == 0;
            if !inside {
                bail!("{op:?} allocated at {at:#x}");
            }
            if self.allocated.len() == ALLOCATED {
                self.allocated.remove(0);
            }
            self.allocated.push(at as u32);
        }
        if op == Op::Reset && outcome == Ok(Effect::Done) {
            self.mutator.heap().verify().context("after a reset")?;
            ensure!(self.mutator.ledger().alive() == 0, "host values survived a reset");
        }
        Ok(())
    }

    /// A word that may occur anywhere: a reference, a header, a count, a length.
    fn wild_word(&self, u: &mut Unstructured<'_>) -> arbitrary::Result<u32> {
        Ok(match u.int_in_range(0..=11)? {
            0 => u.arbitrary()?,
            1 => u.int_in_range(0..=64)?,
            2 => u32::MAX - u32::from(u.arbitrary::<u8>()?),
            // Another object, which no collector can distinguish from the original one.
            3..=8 => self.mutator.slots().word(u.arbitrary()?),
            9 => NULL_PAGE_SIZE + u32::from(u.arbitrary::<u16>()?) * 8,
            // An object that was moved or is dead, unless it stays where it is.
            10 if !self.allocated.is_empty() => *u.choose(&self.allocated)?,
            _ => {
                let kind = *u.choose(&VMGcKind::ALL)?;
                let (structs, arrays) =
                    (self.mutator.schema().choose_struct(u.arbitrary()?), u.arbitrary()?);
                let (arrays, _) = self.mutator.schema().choose_array(arrays);
                let ty = *u.choose(&[structs.0, arrays, TypeIndex::NONE])?;
                ty.header_word(kind)
            }
        })
    }

    /// Overwrites bytes of the heap.
    fn scribble(&mut self, u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let word = self.wild_word(u)?;
        let memory = &self.mutator.heap().core().memory;
        let end = memory.len();
        let at = match u.int_in_range(0..=7)? {
            // The words of an object: header, count, length or first fields.
            0..=4 => {
                let object = u64::from(self.mutator.slots().word(u.arbitrary()?) & !1);
                object + u64::from(u.int_in_range(0..=6u8)?) * 4
            }
            5 | 6 => u64::from(NULL_PAGE_SIZE) + u64::from(u.arbitrary::<u16>()? % 4096),
            _ => u64::from(NULL_PAGE_SIZE) + u.arbitrary::<u64>()? % end.max(1),
        };
        let old = memory.read_u32(at).unwrap_or(0);
        let how = u.arbitrary::<u8>()?;
        let length = u.int_in_range(0..=64)?;
        let memory = &mut self.mutator.heap_mut().core_mut().memory;
        // Outside the mapped memory nothing is written.
        let _written = match how {
            0..=149 => memory.write_u32(at, word),
            150..=219 => memory.write_u32(at, old ^ (1 << (how % 32))),
            220..=239 => {
                memory.write_u32(at, old.wrapping_add(u32::from(how % 16)).wrapping_sub(8))
            }
            240..=247 => memory.fill(at, length, word as u8),
            _ => memory.copy_within(at, u64::from(word), length),
        };
        Ok(())
    }

    /// Calls methods that no operation calls, with arguments that no program passes.
    fn poke(&mut self, u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let word = self.wild_word(u)?;
        let Some(object) = VMGcRef::from_raw_u32(word) else { return Ok(()) };
        let source = VMGcRef::from_raw_u32(self.wild_word(u)?);
        let offset = if u.arbitrary()? { u.int_in_range(0..=128)? } else { u.arbitrary()? };
        let place: RootSlot = u.arbitrary()?;
        let store = self.mutator.store_mut();
        match u.int_in_range(0..=9)? {
            0 => {
                if let Ok(Some(read)) = store.read_field_ref(&object, offset) {
                    self.mutator.put(place, read);
                }
            }
            1 => {
                let _: Result<_, _> = store.write_field_ref(&object, offset, source.as_ref());
            }
            2 => {
                for ty in [StorageType::I8, StorageType::I64, StorageType::V128, StorageType::Ref] {
                    let _: Result<_, _> = store.write_field(&object, offset, ty, u128::MAX / 3);
                    let _: Result<_, _> = store.read_field(&object, offset, ty);
                }
            }
            3 => {
                // With a separate table, because it does not matter which host values die here.
                let mut host_data = ExternRefHostDataTable::default();
                let (to, from) = (u64::from(word), u64::from(offset));
                let count = if u.arbitrary()? { u.int_in_range(0..=99)? } else { u.arbitrary()? };
                let heap = store.heap_mut().expect("a heap");
                let _: Result<_, _> = heap.copy_ref_range(&mut host_data, to, from, count);
                let source = u.arbitrary::<bool>()?.then(|| object.unchecked_copy());
                let _: Result<_, _> =
                    heap.fill_ref_range(&mut host_data, to, source.as_ref(), count.min(1 << 16));
                let _: Result<_, _> = heap.write_field_ref(&mut host_data, u.arbitrary()?, None);
            }
            4 => {
                let heap = store.heap().expect("a heap");
                let _: Result<_, _> = heap.header(&object);
                let _: Result<_, _> = heap.object_size(&object);
                let _ = heap.is_kind(&object, VMGcKind::AnyRef);
                let mut seen = 0u64;
                let _: Result<_, _> = heap.for_each_ref(&object, &mut |_, _| seen += 1);
                let _: Result<_, _> = heap.for_each_object(&mut |_| seen += 1);
            }
            5 => {
                let _: Result<_, _> = store.heap().expect("a heap").verify();
                let _ = store.stats();
                let _ = store.need_gc_before_entering_wasm(NonZeroU32::MAX);
            }
            6 => {
                let clone = store.clone_gc_ref(&object);
                self.mutator.put(place, clone);
            }
            7 => store.drop_gc_ref(object),
            8 => {
                let word = store.expose_gc_ref_to_wasm(object);
                self.mutator.slots_mut().set_word(RootSlot::Stack(place.number() as u8), word);
            }
            _ => {
                let length = u.arbitrary()?;
                let _: Result<_, _> = store.array_element(&object, offset, length);
                let _: Result<_, _> = store.array_fill(&object, offset, u128::from(word), length);
                let _: Result<_, _> = store.array_write_bytes(&object, offset, &[1; 32]);
                let _: Result<_, _> = store.externref_host_data(&object).map(drop);
                if let Some(source) = &source {
                    let _: Result<_, _> = store.array_copy(&object, offset, source, 0, length);
                }
            }
        }
        Ok(())
    }
}
