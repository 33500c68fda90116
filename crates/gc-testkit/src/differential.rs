//! Runs operations on a heap and on its shadow, and compares everything reachable: types, sizes,
//! lengths, bits, references, host values.
//!
//! The comparison walks both graphs from the roots at the same time. It builds a one-to-one
//! relation between indices in the heap and objects of the shadow, each time from scratch, because
//! a collector may move objects. Two references must refer to the same object in the heap exactly
//! if they do in the shadow.

use crate::mutator::{Collection, Effect, Mutator};
use crate::ops::Op;
use crate::patterns::Operations;
use crate::place::RootSlot;
use crate::schema::{self, Schema};
use crate::shadow::{ObjectId, Shadow, ShadowObject, ShadowRef, ShadowValue, Shape};
use crate::{Ledger, Reclaims, Subject};
use anyhow::{Context, Result, anyhow, bail, ensure};
use arbitrary::Unstructured;
use gc_heap::{HeapError, HeapOptions};
use gc_types::{ExnLayout, GcLayout, StorageType, VMGcKind, VMGcRef};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A heap beside its shadow.
#[derive(Debug)]
pub struct Differential {
    mutator: Mutator,
    shadow: Shadow,
    reclaims: Reclaims,
}

impl Differential {
    /// Makes an empty heap and an empty shadow.
    ///
    /// # Errors
    /// If the heap cannot be made.
    pub fn new(subject: &Subject<'_>, options: &HeapOptions, schema: Arc<Schema>) -> Result<Self> {
        let mutator = Mutator::new(subject.runtime, options, Arc::clone(&schema))?;
        let shadow = Shadow::new(schema, subject.reclaims);
        Ok(Differential { mutator, shadow, reclaims: subject.reclaims })
    }

    /// The mutator.
    pub fn mutator(&self) -> &Mutator {
        &self.mutator
    }

    /// The shadow.
    pub fn shadow(&self) -> &Shadow {
        &self.shadow
    }

    /// Runs one operation on both and compares the results. After a collection it compares
    /// everything.
    ///
    /// # Errors
    /// If heap and shadow differ.
    pub fn step(&mut self, op: &Op) -> Result<()> {
        let outcome = self.mutator.apply(op);
        self.shadow.apply(op, &outcome)?;
        match (op, outcome) {
            (_, Ok(Effect::Collected(collection))) => {
                self.compare()?;
                if collection == Collection::Complete {
                    self.compare_dead()?;
                }
            }
            (Op::Reset, Ok(Effect::Done)) => {
                self.compare()?;
                self.compare_dead()?;
            }
            (Op::AllocStruct { to, .. } | Op::AllocArray { to, .. }, Ok(_)) => {
                self.compare_new(*to)?;
            }
            (
                Op::AllocStruct { .. } | Op::AllocArray { .. } | Op::AllocExternRef { .. },
                Err(HeapError::OutOfMemory { bytes, limit }),
            ) => {
                self.check_out_of_memory(bytes, limit)?;
            }
            _ => {}
        }
        self.mutator.slots().check()
    }

    /// Compares everything reachable, and the counts that follow from it.
    ///
    /// # Errors
    /// If heap and shadow differ, or the heap does not verify.
    pub fn compare(&mut self) -> Result<()> {
        self.mutator.verify().context("the heap does not verify")?;
        let heap = self.mutator.heap();
        let mut pairing =
            Pairing { differential: self, ids: FxHashMap::default(), to_do: Vec::new() };
        for place in RootSlot::all() {
            let (actual, expected) = (self.mutator.get(place), self.shadow.root(place));
            pairing.pair(actual, expected).with_context(|| format!("the root {place:?}"))?;
        }
        let mut indices = FxHashMap::default();
        while let Some((gc_ref, id)) = pairing.to_do.pop() {
            let index = gc_ref.as_raw_u32();
            if let Some(other) = indices.insert(id, index)
                && other != index
            {
                bail!("object {id} is at {index:#x} and at {other:#x}");
            }
            pairing
                .compare_object(&gc_ref, id)
                .with_context(|| format!("object {id} at {index:#x}"))?;
        }

        let mut last = 0;
        let mut in_order = true;
        let mut found = 0;
        heap.for_each_object(&mut |object| {
            in_order &= object.as_raw_u32() > last;
            last = object.as_raw_u32();
            found += usize::from(pairing.ids.contains_key(&last));
        })?;
        ensure!(in_order, "objects are not visited in address order");
        let reached = pairing.ids.len();
        ensure!(found == reached, "of {reached} live objects only {found} are visited");
        let stats = self.mutator.store().stats();
        ensure!(
            stats.live_objects >= reached as u64,
            "{reached} objects are alive, the statistics say {}",
            stats.live_objects
        );
        ensure!(
            stats.allocations == self.shadow.allocations(),
            "{} objects were allocated, the statistics say {}",
            self.shadow.allocations(),
            stats.allocations
        );
        self.mutator.ledger().check_none_twice()
    }

    /// Compares the dead objects and host values, directly after a collection or reset.
    fn compare_dead(&self) -> Result<()> {
        let live = self.mutator.store().stats().live_objects;
        let expected = self.shadow.live_objects();
        ensure!(live == expected, "{live} objects survived instead of {expected}");
        for (number, &dropped) in self.shadow.dropped_hosts().iter().enumerate() {
            let times = self.mutator.ledger().times_dropped(number as u32);
            let expected = u32::from(dropped);
            ensure!(times == expected, "host value {number} was dropped {times} times");
        }
        Ok(())
    }

    /// Compares an object that was just allocated.
    fn compare_new(&self, at: RootSlot) -> Result<()> {
        let (Some(gc_ref), Some(ShadowRef::Object(id))) =
            (self.mutator.get(at), self.shadow.root(at))
        else {
            bail!("an allocation left nothing at {at:?}");
        };
        let index = gc_ref.as_raw_u32();
        ensure!(index.is_multiple_of(gc_types::OBJECT_ALIGN), "an object at {index:#x}");
        let mut pairing =
            Pairing { differential: self, ids: FxHashMap::default(), to_do: Vec::new() };
        pairing.compare_object(&gc_ref, id).context("a new object")
    }

    /// Checks that the heap had to refuse.
    fn check_out_of_memory(&self, bytes: u64, limit: u64) -> Result<()> {
        self.mutator.check_out_of_memory(bytes, limit)?;
        let most = limit - u64::from(gc_types::NULL_PAGE_SIZE);
        // The rest of the memory may be in gaps that are too small.
        let allocated = self.mutator.store().stats().allocated_bytes;
        ensure!(
            self.reclaims != Reclaims::Nothing || allocated + bytes > most / 2,
            "out of memory for {bytes} bytes after {allocated} of {most}"
        );
        Ok(())
    }

    /// Compares a last time, drops the store, and checks that every host value was dropped exactly
    /// once.
    ///
    /// # Errors
    /// If heap and shadow differ, or a host value was not dropped exactly once.
    pub fn finish(mut self) -> Result<()> {
        self.compare()?;
        let ledger: Ledger = self.mutator.ledger().clone();
        drop(self.mutator);
        ledger.check_all_once()
    }
}

/// A walk through heap and shadow at the same time.
struct Pairing<'a> {
    differential: &'a Differential,
    /// The object at an index of the heap.
    ids: FxHashMap<u32, ObjectId>,
    to_do: Vec<(VMGcRef, ObjectId)>,
}

impl Pairing<'_> {
    /// Checks that two references refer to the same object or are the same value.
    fn pair(&mut self, actual: Option<VMGcRef>, expected: Option<ShadowRef>) -> Result<()> {
        match (actual, expected) {
            (None, None) => Ok(()),
            (Some(actual), Some(ShadowRef::I31(expected))) => {
                ensure!(actual.as_i31() == Some(expected), "{actual:?} instead of {expected:?}");
                Ok(())
            }
            (Some(actual), Some(ShadowRef::Object(id))) if !actual.is_i31() => {
                match self.ids.insert(actual.as_raw_u32(), id) {
                    Some(known) => {
                        ensure!(known == id, "{actual:?} is object {known} instead of {id}");
                    }
                    None => self.to_do.push((actual, id)),
                }
                Ok(())
            }
            (actual, expected) => bail!("{actual:?} instead of {expected:?}"),
        }
    }

    fn compare_object(&mut self, gc_ref: &VMGcRef, id: ObjectId) -> Result<()> {
        let store = self.differential.mutator.store();
        let object = self
            .differential
            .shadow
            .object(id)
            .ok_or_else(|| anyhow!("the shadow freed it: a bug of the test kit"))?;
        let heap = store.heap().expect("a mutator's store has a heap");
        let header = heap.header(gc_ref)?;
        let (kind, size) = match &object.shape {
            Shape::ExternRef { host } => {
                let token = self.differential.mutator.token(gc_ref)?;
                ensure!(token == *host, "host value {token} instead of {host}");
                let drops = self.differential.mutator.ledger().times_dropped(*host);
                ensure!(drops == 0, "host value {host} was dropped");
                (VMGcKind::ExternRef, GcLayout::EXTERNREF_SIZE)
            }
            Shape::Typed { ty, layout, tag } => {
                ensure!(header.ty() == *ty, "{:?} instead of {ty:?}", header.ty());
                if let GcLayout::Exn(_) = **layout {
                    let offsets = [ExnLayout::TAG_INSTANCE_OFFSET, ExnLayout::TAG_INDEX_OFFSET];
                    let expected = [u128::from(*tag), u128::from(*tag) + 1];
                    for (offset, expected) in offsets.into_iter().zip(expected) {
                        let actual = store.read_field(gc_ref, offset, StorageType::I32)?;
                        ensure!(actual == expected, "the tag is {actual} instead of {expected}");
                    }
                }
                let length = object.body.len() as u32;
                if layout.as_array().is_some() {
                    let actual = store.array_len(gc_ref)?;
                    ensure!(actual == length, "its length is {actual} instead of {length}");
                }
                (layout.kind(), layout.size(length).unwrap_or(0))
            }
        };
        ensure!(header.kind() == Some(kind), "{:?} instead of {kind:?}", header.kind());
        ensure!(heap.is_kind(gc_ref, kind), "it is not a {kind:?}");
        let actual = heap.object_size(gc_ref)?;
        ensure!(actual == size, "it has {actual} bytes instead of {size}");
        self.compare_body(gc_ref, object)
    }

    fn compare_body(&mut self, gc_ref: &VMGcRef, object: &ShadowObject) -> Result<()> {
        let Shape::Typed { layout, .. } = &object.shape else { return Ok(()) };
        let store = self.differential.mutator.store();
        let mut traced = Vec::new();
        let mut trace = |offset, contents: VMGcRef| traced.push((offset, contents.as_raw_u32()));
        store.heap().expect("a mutator's store has a heap").for_each_ref(gc_ref, &mut trace)?;
        let mut expected_trace = Vec::new();
        for (number, value) in object.body.iter().enumerate() {
            let field = schema::slot(layout, number as u32);
            let actual = store.read_field(gc_ref, field.offset, field.ty)?;
            match value {
                ShadowValue::Bits(bits) => {
                    ensure!(actual == *bits, "field {number} is {actual:#x} instead of {bits:#x}");
                }
                ShadowValue::Ref(expected) => {
                    if actual != 0 {
                        expected_trace.push((field.offset, actual as u32));
                    }
                    self.pair(VMGcRef::from_raw_u32(actual as u32), *expected)
                        .with_context(|| format!("field {number}"))?;
                }
            }
        }
        ensure!(traced == expected_trace, "its references are not those of its type");
        Ok(())
    }
}

/// The most operations that patterns give in one run.
const PATTERNS: usize = 1200;

/// Runs the operations that the bytes in `u` encode, on a heap whose size and types they choose.
///
/// # Errors
/// If heap and shadow differ. The error has the operation after which they differ.
pub fn run(subject: &Subject<'_>, u: &mut Unstructured<'_>) -> Result<()> {
    let Ok((options, schema)) = choose(subject, u) else { return Ok(()) };
    let mut differential = Differential::new(subject, &options, schema)?;
    let (mut number, mut operations) = (0, Operations::new(PATTERNS));
    while let Some(op) = operations.next(u) {
        differential
            .step(&op)
            .with_context(|| format!("{subject:?}: operation {number}, {op:?}"))?;
        number += 1;
    }
    differential.finish().with_context(|| format!("{subject:?}: after {number} operations"))
}

fn choose(
    subject: &Subject<'_>,
    u: &mut Unstructured<'_>,
) -> arbitrary::Result<(HeapOptions, Arc<Schema>)> {
    let initial = u64::from(u.int_in_range(0..=16u8)?) << 12;
    let maximum = *u.choose(&[64 << 10, 256 << 10, 1 << 20, 8 << 20])?;
    let schema = if u.arbitrary()? { Schema::fixed() } else { Schema::arbitrary(u)? };
    Ok((subject.options(initial, maximum), schema))
}
