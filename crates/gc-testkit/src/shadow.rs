//! The shadow heap: the expected contents of a heap, as ordinary Rust values that no collector
//! touches. It follows the same operations and predicts the result of each. It knows which objects
//! a collection must keep and which it must free.

mod weak;

use crate::Reclaims;
use crate::mutator::{self, Collection, Effect};
use crate::ops::{self, Op};
use crate::place::RootSlot;
use crate::schema::{self, BYTES, Schema};
use anyhow::{Result, bail, ensure};
use gc_heap::HeapError;
use gc_types::{GcLayout, I31, StorageType, TypeIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weak::ShadowWeak;

/// The name of an object. It is never reused.
pub type ObjectId = u32;

/// A reference that is not null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowRef {
    /// An unboxed integer.
    I31(I31),
    /// An object.
    Object(ObjectId),
}

/// A field or element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowValue {
    /// The bits of a value that is not a reference.
    Bits(u128),
    /// A reference or null.
    Ref(Option<ShadowRef>),
}

/// The kind and type of an object.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A struct, an array, or an exception of the tag `(tag, tag + 1)`.
    Typed {
        /// Its type.
        ty: TypeIndex,
        /// The type's layout.
        layout: Arc<GcLayout>,
        /// An exception's tag.
        tag: u16,
    },
    /// An externref of the host value with this number.
    ExternRef {
        /// The number of its token.
        host: u32,
    },
}

/// An object.
#[derive(Clone, Debug)]
pub struct ShadowObject {
    /// The kind and type.
    pub shape: Shape,
    /// Its fields or elements.
    pub body: Vec<ShadowValue>,
}

impl ShadowObject {
    fn element(&self) -> Option<StorageType> {
        match &self.shape {
            Shape::Typed { layout, .. } => Some(layout.as_array()?.element),
            Shape::ExternRef { .. } => None,
        }
    }

    fn layout(&self) -> Option<&GcLayout> {
        match &self.shape {
            Shape::Typed { layout, .. } => Some(layout),
            Shape::ExternRef { .. } => None,
        }
    }

    fn field(&self, choice: u16, refs: bool) -> Option<usize> {
        let number = schema::choose_slot(self.layout()?, self.body.len() as u32, choice, refs)?;
        Some(number as usize)
    }
}

/// The reason for which an operation must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotAnObject,
    WrongKind,
    OutOfBounds,
    WrongElement,
}

/// The shadow heap.
#[derive(Debug)]
pub struct Shadow {
    weak: ShadowWeak,
    schema: Arc<Schema>,
    reclaims: Reclaims,
    objects: BTreeMap<ObjectId, ShadowObject>,
    roots: Vec<Option<ShadowRef>>,
    next: ObjectId,
    allocations: u64,
    /// For each host value, whether it must have been dropped.
    dropped: Vec<bool>,
    scopes: u32,
}

impl Shadow {
    /// Makes an empty shadow for a heap that frees what `reclaims` says.
    pub fn new(schema: Arc<Schema>, reclaims: Reclaims) -> Shadow {
        Shadow {
            weak: ShadowWeak::default(),
            schema,
            reclaims,
            objects: BTreeMap::new(),
            roots: vec![None; RootSlot::all().count()],
            next: 0,
            allocations: 0,
            dropped: Vec::new(),
            scopes: 0,
        }
    }

    /// The reference at `place`.
    pub fn root(&self, place: RootSlot) -> Option<ShadowRef> {
        self.roots[place.number()]
    }

    /// The object with this name, unless it must have been freed.
    pub fn object(&self, id: ObjectId) -> Option<&ShadowObject> {
        self.objects.get(&id)
    }

    /// Objects that the last collection kept, or that are newer.
    pub fn live_objects(&self) -> u64 {
        self.objects.len() as u64
    }

    /// Objects allocated since the last reset.
    pub fn allocations(&self) -> u64 {
        self.allocations
    }

    /// For each host value, whether it must have been dropped. The others may have been dropped if
    /// their externref cannot be reached.
    pub fn dropped_hosts(&self) -> &[bool] {
        &self.dropped
    }

    /// All objects that can be reached from the roots, and from values of weak maps whose keys can
    /// be reached.
    pub fn reachable(&self) -> BTreeSet<ObjectId> {
        self.reached_from(self.roots.iter().filter_map(target))
    }

    /// All objects that can be reached from `objects`, and from values of weak maps whose keys can
    /// be reached.
    fn reached_from(&self, objects: impl Iterator<Item = ObjectId>) -> BTreeSet<ObjectId> {
        let mut seen = BTreeSet::new();
        let mut to_do: Vec<ObjectId> = objects.collect();
        loop {
            while let Some(id) = to_do.pop() {
                if seen.insert(id) {
                    to_do.extend(self.targets(id));
                }
            }
            to_do.extend(self.weak.values(&seen).filter(|id| !seen.contains(id)));
            if to_do.is_empty() {
                return seen;
            }
        }
    }

    /// The objects to which the fields of `id` refer, once for each reference.
    fn targets(&self, id: ObjectId) -> impl Iterator<Item = ObjectId> {
        self.objects[&id].body.iter().filter_map(|value| match value {
            ShadowValue::Ref(reference) => target(reference),
            ShadowValue::Bits(_) => None,
        })
    }

    // ---- operations -------------------------------------------------------

    /// Follows `op`, whose result on the heap was `outcome`.
    ///
    /// # Errors
    /// If that is not the expected result.
    pub fn apply(&mut self, op: &Op, outcome: &Result<Effect, HeapError>) -> Result<()> {
        let abandoned = *outcome == Ok(Effect::Collected(Collection::Abandoned));
        if self.reclaims != Reclaims::Nothing && (op.allocates() || abandoned) {
            self.may_collect();
        }
        match *op {
            // The collector does not reset its heaps.
            Op::Reset if *outcome == Ok(Effect::Nothing) => {}
            Op::AllocStruct { ty, tag, to } => {
                let (ty, layout) = self.schema.choose_struct(ty);
                let layout = Arc::clone(layout);
                if allocated(outcome)?.is_some() {
                    self.create(Shape::Typed { ty, layout, tag }, 0, Some(to));
                }
            }
            Op::AllocArray { ty, length, to } => {
                let (ty, layout) = self.schema.choose_array(ty);
                let layout = Arc::clone(layout);
                if layout.size(length).is_none() {
                    let too_large = matches!(outcome, Err(HeapError::TooLarge { .. }));
                    ensure!(too_large, "an array no heap can hold: {outcome:?}");
                } else if allocated(outcome)?.is_some() {
                    self.create(Shape::Typed { ty, layout, tag: 0 }, length, Some(to));
                }
            }
            Op::AllocExternRef { to } => {
                let host = self.dropped.len() as u32;
                let effect = allocated(outcome)?;
                self.dropped.push(effect.is_none());
                if let Some(effect) = effect {
                    ensure!(effect == Effect::Read(host.into()), "token {host}: {effect:?}");
                    self.create(Shape::ExternRef { host }, 0, Some(to));
                }
            }
            Op::Grow { .. } => match outcome {
                Ok(Effect::Read(1..)) | Err(HeapError::OutOfMemory { .. }) => {}
                _ => bail!("the outcome of growth is {outcome:?}"),
            },
            Op::Exhaust => match outcome {
                Ok(Effect::Exhausted(Some(count))) => {
                    let layout = self.schema.layout(BYTES).expect("every schema has it");
                    let shape = Shape::Typed { ty: BYTES, layout: Arc::clone(layout), tag: 0 };
                    for _ in 0..*count {
                        // These arrays cannot be read, so their length does not matter.
                        self.create(shape.clone(), 0, None);
                    }
                }
                _ => bail!("the outcome of filling the heap is {outcome:?}"),
            },
            Op::EnterWasm { .. } | Op::Collect | Op::CollectIncrements { .. } | Op::CollectLost => {
                return self.collect(op, outcome);
            }
            _ if op.is_weak() => {
                let Ok(effect) = outcome else { bail!("a weak reference: {outcome:?}") };
                return self.follow_weak(op, *effect);
            }
            _ => {
                let expected = self.predict(op);
                let actual = outcome.as_ref().map_err(refusal);
                let agrees = match (&expected, &actual) {
                    (Ok(expected), Ok(actual)) => expected == *actual,
                    (Err(expected), Err(actual)) => Some(*expected) == *actual,
                    _ => false,
                };
                ensure!(agrees, "the outcome is {outcome:?} instead of {expected:?}");
            }
        }
        Ok(())
    }

    fn create(&mut self, shape: Shape, length: u32, to: Option<RootSlot>) {
        let body = match &shape {
            Shape::Typed { layout, .. } => (0..schema::slot_count(layout, length))
                .map(|number| match schema::slot(layout, number).ty.is_ref() {
                    true => ShadowValue::Ref(None),
                    false => ShadowValue::Bits(0),
                })
                .collect(),
            Shape::ExternRef { .. } => Vec::new(),
        };
        let id = self.next;
        self.next += 1;
        self.allocations += 1;
        self.objects.insert(id, ShadowObject { shape, body });
        if let Some(to) = to {
            self.roots[to.number()] = Some(ShadowRef::Object(id));
        }
    }

    /// Does what `op` must do and returns the expected result. Must not be called for operations
    /// whose result depends on the heap.
    fn predict(&mut self, op: &Op) -> Result<Effect, Refusal> {
        match *op {
            Op::MakeI31 { value, to } => {
                self.roots[to.number()] = Some(ShadowRef::I31(I31::wrapping_u32(value)));
            }
            Op::Copy { from, to } => self.roots[to.number()] = self.root(from),
            Op::Clear { at } => self.roots[at.number()] = None,
            Op::ReadRef { object, field, to } => {
                let Some(object) = self.at(object)? else { return Ok(Effect::Nothing) };
                let Some(field) = object.field(field, true) else { return Ok(Effect::Nothing) };
                let ShadowValue::Ref(read) = object.body[field] else {
                    unreachable!("a reference")
                };
                self.roots[to.number()] = read;
            }
            Op::WriteRef { object, field, from } => {
                let value = ShadowValue::Ref(self.root(from));
                let Some(object) = self.at(object)? else { return Ok(Effect::Nothing) };
                let Some(field) = object.field(field, true) else { return Ok(Effect::Nothing) };
                object.body[field] = value;
            }
            Op::ReadScalar { object, field } => {
                let Some(object) = self.at(object)? else { return Ok(Effect::Nothing) };
                let Some(field) = object.field(field, false) else { return Ok(Effect::Nothing) };
                let ShadowValue::Bits(bits) = object.body[field] else {
                    unreachable!("no reference")
                };
                return Ok(Effect::Read(bits));
            }
            Op::WriteScalar { object, field, bits } => {
                let Some(object) = self.at(object)? else { return Ok(Effect::Nothing) };
                let Some(field) = object.field(field, false) else { return Ok(Effect::Nothing) };
                let ty = schema::slot(object.layout().expect("it has a field"), field as u32).ty;
                object.body[field] = ShadowValue::Bits(mutator::truncate(bits, ty));
            }
            Op::ReadHost { object } => {
                let Some(object) = self.at(object)? else { return Ok(Effect::Nothing) };
                let Shape::ExternRef { host } = object.shape else {
                    return Err(Refusal::WrongKind);
                };
                return Ok(Effect::Read(host.into()));
            }
            Op::ArrayCopy { dst, dst_index, src, src_index, length } => {
                let (Some(dst), Some(src)) = (self.array_at(dst), self.array_at(src)) else {
                    return Ok(Effect::Nothing);
                };
                let ((dst, to_ty), (src, from_ty)) = (self.array(dst)?, self.array(src)?);
                let (to, from) = (&self.objects[&dst].body, &self.objects[&src].body);
                let (to_len, from_len) = (to.len() as u32, from.len() as u32);
                let (to_index, from_index, count) =
                    ops::copy_range(dst_index, src_index, length, to_len, from_len);
                let range = |index: u32| index as usize..index as usize + count as usize;
                let Some(values) = from.get(range(from_index)).map(<[ShadowValue]>::to_vec) else {
                    return Err(Refusal::OutOfBounds);
                };
                if to.get(range(to_index)).is_none() {
                    return Err(Refusal::OutOfBounds);
                }
                if to_ty.is_ref() != from_ty.is_ref() || to_ty.size() != from_ty.size() {
                    return Err(Refusal::WrongElement);
                }
                let to = self.objects.get_mut(&dst).expect("it was just looked at");
                to.body[range(to_index)].copy_from_slice(&values);
            }
            Op::ArrayFill { array, index, length, from, bits } => {
                let value = self.root(from);
                let Some(array) = self.array_at(array) else { return Ok(Effect::Nothing) };
                let (array, ty) = self.array(array)?;
                self.elements(array, index, length, u32::MAX)?.fill(match ty.is_ref() {
                    true => ShadowValue::Ref(value),
                    false => ShadowValue::Bits(mutator::truncate(bits, ty)),
                });
            }
            Op::ArrayWriteBytes { array, index, length, byte } => {
                let Some(array) = self.array_at(array) else { return Ok(Effect::Nothing) };
                let (array, ty) = self.array(array)?;
                if ty.is_ref() {
                    return Err(Refusal::WrongElement);
                }
                let elements = self.elements(array, index, length.into(), 256)?;
                let size = ty.size() as usize;
                let bytes = ops::bytes(byte, elements.len() as u32, ty.size());
                for (element, bytes) in elements.iter_mut().zip(bytes.chunks_exact(size)) {
                    let mut bits = [0; 16];
                    bits[..size].copy_from_slice(bytes);
                    *element = ShadowValue::Bits(u128::from_le_bytes(bits));
                }
            }
            Op::EnterNoGcScope => self.scopes += 1,
            Op::ExitNoGcScope => self.scopes = self.scopes.saturating_sub(1),
            Op::Reset => {
                self.objects.clear();
                self.roots.fill(None);
                self.weak.forget();
                self.dropped.fill(true);
                (self.allocations, self.scopes) = (0, 0);
            }
            _ => unreachable!("{op:?} is not predicted"),
        }
        Ok(Effect::Done)
    }

    /// The object that [`ops::object`] chooses; `None` if there is none.
    fn at(&mut self, place: RootSlot) -> Result<Option<&mut ShadowObject>, Refusal> {
        match ops::object(place, |place| self.root(place)) {
            None => Ok(None),
            Some(ShadowRef::I31(_)) => Err(Refusal::NotAnObject),
            Some(ShadowRef::Object(id)) => Ok(self.objects.get_mut(&id)),
        }
    }

    /// The reference that [`ops::array()`] chooses.
    fn array_at(&self, place: RootSlot) -> Option<ShadowRef> {
        let is_array = |reference: &ShadowRef| self.array(*reference).is_ok();
        ops::array(place, |place| self.root(place), is_array)
    }

    /// The array to which a reference refers, and the storage type of its elements.
    fn array(&self, array: ShadowRef) -> Result<(ObjectId, StorageType), Refusal> {
        match array {
            ShadowRef::I31(_) => Err(Refusal::NotAnObject),
            ShadowRef::Object(id) => match self.objects[&id].element() {
                Some(ty) => Ok((id, ty)),
                None => Err(Refusal::WrongKind),
            },
        }
    }

    /// The elements that an operation's numbers mean, at most `limit`.
    fn elements(
        &mut self,
        array: ObjectId,
        index: u16,
        count: u16,
        limit: u32,
    ) -> Result<&mut [ShadowValue], Refusal> {
        let object = self.objects.get_mut(&array).expect("it was just looked at");
        let (index, count) = ops::range(index, count, object.body.len() as u32);
        let (index, count) = (index as usize, count.min(limit) as usize);
        object.body.get_mut(index..index + count).ok_or(Refusal::OutOfBounds)
    }

    // ---- collection -------------------------------------------------------

    fn collect(&mut self, op: &Op, outcome: &Result<Effect, HeapError>) -> Result<()> {
        use Collection::*;
        let Ok(effect) = outcome else { bail!("the outcome of a collection is {outcome:?}") };
        let may = self.scopes == 0;
        match (op, effect) {
            (Op::EnterWasm { .. }, Effect::Nothing) => {}
            (_, Effect::Nothing) if !may => {}
            (Op::CollectLost, Effect::Collected(Skipped)) if may => {}
            (Op::CollectIncrements { increments: 0..200 }, Effect::Collected(Abandoned)) if may => {
            }
            (
                Op::EnterWasm { .. } | Op::Collect | Op::CollectIncrements { .. },
                Effect::Collected(Complete),
            ) if may => self.free_garbage(),
            _ => bail!("the effect of a collection is {effect:?}"),
        }
        Ok(())
    }

    /// Forgets the objects that a collection must free.
    fn free_garbage(&mut self) {
        let dead: Vec<ObjectId> = match self.reclaims {
            Reclaims::Nothing => Vec::new(),
            Reclaims::Everything => {
                let reachable = self.keep_finalizable();
                self.objects.keys().copied().filter(|id| !reachable.contains(id)).collect()
            }
            // Only a trace finds objects that have only weak references.
            Reclaims::Acyclic => {
                let roots = self.roots.iter().filter_map(target);
                let reachable = self.reached_from(roots.chain(self.weak.all()));
                self.acyclic_garbage(&reachable)
            }
        };
        for id in dead {
            let object = self.objects.remove(&id);
            if let Some(ShadowObject { shape: Shape::ExternRef { host }, .. }) = object {
                self.dropped[host as usize] = true;
            }
        }
        let objects = &self.objects;
        self.weak.clear_dead(|id| objects.contains_key(&id));
    }

    /// The garbage that reference counting frees: objects without references, and then those that
    /// become so.
    fn acyclic_garbage(&self, reachable: &BTreeSet<ObjectId>) -> Vec<ObjectId> {
        let mut counts: BTreeMap<ObjectId, u32> = BTreeMap::new();
        let garbage = || self.objects.keys().copied().filter(|id| !reachable.contains(id));
        for id in garbage() {
            counts.entry(id).or_insert(0);
            for target in self.targets(id) {
                *counts.entry(target).or_insert(0) += 1;
            }
        }
        let mut dead: Vec<ObjectId> = garbage().filter(|id| counts[id] == 0).collect();
        let mut next = 0;
        while let Some(&id) = dead.get(next) {
            next += 1;
            for target in self.targets(id) {
                let count = counts.get_mut(&target).expect("it was counted");
                *count -= 1;
                if *count == 0 && !reachable.contains(&target) {
                    dead.push(target);
                }
            }
        }
        dead
    }
}

fn target(reference: &Option<ShadowRef>) -> Option<ObjectId> {
    match reference {
        Some(ShadowRef::Object(id)) => Some(*id),
        _ => None,
    }
}

/// The result of an allocation; `None` if the heap is out of memory.
fn allocated(outcome: &Result<Effect, HeapError>) -> Result<Option<Effect>> {
    match outcome {
        Ok(effect) => Ok(Some(*effect)),
        Err(HeapError::OutOfMemory { .. }) => Ok(None),
        Err(error) => bail!("an allocation failed: {error}"),
    }
}

fn refusal(error: &HeapError) -> Option<Refusal> {
    match error {
        HeapError::NotAnObject { .. } => Some(Refusal::NotAnObject),
        HeapError::WrongKind { .. } => Some(Refusal::WrongKind),
        HeapError::OutOfBounds { .. } => Some(Refusal::OutOfBounds),
        HeapError::WrongElement { .. } => Some(Refusal::WrongElement),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RootSlot::{Handle, Stack};

    /// A list 0 → 1 → 2 in a handle, and a cycle 3 ⇄ 4 with a tail 5.
    fn list_and_cycle(reclaims: Reclaims) -> Shadow {
        let mut shadow = Shadow::new(Schema::fixed(), reclaims);
        let done = Ok(Effect::Done);
        for i in 0..6 {
            let to = Stack(i);
            shadow.apply(&Op::AllocStruct { ty: 0, tag: 0, to }, &done).unwrap();
        }
        for (from, field, to) in [(0, 0, 1), (1, 0, 2), (3, 0, 4), (4, 0, 3), (4, 1, 5)] {
            let link = Op::WriteRef { object: Stack(from), field, from: Stack(to) };
            shadow.apply(&link, &done).unwrap();
        }
        shadow.apply(&Op::Copy { from: Stack(0), to: Handle(0) }, &done).unwrap();
        (0..6).for_each(|i| shadow.apply(&Op::Clear { at: Stack(i) }, &done).unwrap());
        shadow
    }

    #[test]
    fn each_kind_of_collector_frees_what_it_promises() {
        let kinds = [Reclaims::Nothing, Reclaims::Acyclic, Reclaims::Everything];
        for (reclaims, (rooted, unrooted)) in kinds.into_iter().zip([(6, 6), (6, 3), (3, 0)]) {
            let mut shadow = list_and_cycle(reclaims);
            assert_eq!(shadow.reachable(), BTreeSet::from([0, 1, 2]));
            let collected = Ok(Effect::Collected(Collection::Complete));
            shadow.apply(&Op::Collect, &collected).unwrap();
            assert_eq!(shadow.live_objects(), rooted, "{reclaims:?}");
            shadow.apply(&Op::Clear { at: Handle(0) }, &Ok(Effect::Done)).unwrap();
            shadow.apply(&Op::Collect, &collected).unwrap();
            assert_eq!(shadow.live_objects(), unrooted, "{reclaims:?}");
            assert_eq!(shadow.allocations(), 6);
        }
    }

    #[test]
    fn what_must_not_be_is_an_error() {
        let mut shadow = list_and_cycle(Reclaims::Everything);
        let full = Err(HeapError::OutOfMemory { bytes: 8, limit: 8 });
        let alloc = Op::AllocStruct { ty: 0, tag: 0, to: Stack(0) };
        shadow.apply(&alloc, &full).unwrap();
        assert_eq!(shadow.root(Stack(0)), None);
        let corrupt = || Err(HeapError::Corrupt { at: 8, what: "a test" });
        assert!(shadow.apply(&alloc, &corrupt()).is_err());
        assert!(shadow.apply(&Op::Collect, &corrupt()).is_err());
        assert!(shadow.apply(&Op::Collect, &Ok(Effect::Collected(Collection::Skipped))).is_err());
        let read = Op::ReadScalar { object: Handle(0), field: 0 };
        shadow.apply(&read, &Ok(Effect::Read(0))).unwrap();
        assert!(shadow.apply(&read, &Ok(Effect::Read(1))).is_err());
        assert!(shadow.apply(&Op::Grow { bytes: 8 }, &Ok(Effect::Read(0))).is_err());
        shadow.apply(&Op::EnterNoGcScope, &Ok(Effect::Done)).unwrap();
        let collected = Ok(Effect::Collected(Collection::Complete));
        assert!(shadow.apply(&Op::Collect, &collected).is_err());
        shadow.apply(&Op::Collect, &Ok(Effect::Nothing)).unwrap();
    }
}
