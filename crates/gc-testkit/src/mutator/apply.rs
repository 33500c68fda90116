//! Executes an [`Op`] on a mock mutator. The object determines what the operation's small numbers
//! mean (which field, which range). The shadow heap uses its own object in the same way.

use super::{Mutator, RootSlot};
use crate::ops::{self, Op};
use crate::schema::BYTES;
use gc_heap::HeapError;
use gc_types::{I31, StorageType, VMGcRef};
use std::num::NonZeroU32;

/// The outcome of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// It completed.
    Complete,
    /// Roots were missing.
    Skipped,
    /// It was dropped before it completed.
    Abandoned,
}

impl Collection {
    pub(super) fn from_result(done: bool) -> Collection {
        if done { Collection::Complete } else { Collection::Skipped }
    }
}

/// The result of an operation that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There was nothing to do, because a slot is empty or an object has no such field.
    Nothing,
    /// It was done.
    Done,
    /// It read these bits, or this number.
    Read(u128),
    /// It collected.
    Collected(Collection),
    /// It allocated this number of byte arrays before the heap was full, and released them. `None`
    /// if the heap was not full after more arrays than can fit.
    Exhausted(Option<u32>),
}

impl Mutator {
    /// Executes `op`.
    ///
    /// # Errors
    /// The error with which the heap refused.
    pub fn apply(&mut self, op: &Op) -> Result<Effect, HeapError> {
        let done = |()| Effect::Done;
        match *op {
            Op::AllocStruct { ty, tag, to } => {
                let (ty, _) = self.schema.choose_struct(ty);
                self.alloc_struct(ty, tag, to).map(done)
            }
            Op::AllocArray { ty, length, to } => {
                let (ty, _) = self.schema.choose_array(ty);
                self.alloc_array(ty, length, to).map(done)
            }
            Op::AllocExternRef { to } => {
                self.alloc_externref(to).map(|number| Effect::Read(u128::from(number)))
            }
            Op::MakeI31 { value, to } => {
                self.put(to, VMGcRef::from_i31(I31::wrapping_u32(value)));
                Ok(Effect::Done)
            }
            Op::Copy { from, to } => {
                self.copy(from, to);
                Ok(Effect::Done)
            }
            Op::Clear { at } => {
                self.clear(at);
                Ok(Effect::Done)
            }
            Op::ReadRef { object, field, to } => self.on(object, |this, object| {
                let Some(field) = this.field(&object, field, true)? else {
                    return Ok(Effect::Nothing);
                };
                match this.store.read_field_ref(&object, field.offset)? {
                    Some(read) => this.put(to, read),
                    None => this.clear(to),
                }
                Ok(Effect::Done)
            }),
            Op::WriteRef { object, field, from } => self.on(object, |this, object| {
                let Some(field) = this.field(&object, field, true)? else {
                    return Ok(Effect::Nothing);
                };
                let source = this.get(from);
                this.store.write_field_ref(&object, field.offset, source.as_ref()).map(done)
            }),
            Op::ReadScalar { object, field } => self.on(object, |this, object| {
                let Some(field) = this.field(&object, field, false)? else {
                    return Ok(Effect::Nothing);
                };
                this.store.read_field(&object, field.offset, field.ty).map(Effect::Read)
            }),
            Op::WriteScalar { object, field, bits } => self.on(object, |this, object| {
                let Some(field) = this.field(&object, field, false)? else {
                    return Ok(Effect::Nothing);
                };
                this.store.write_field(&object, field.offset, field.ty, bits).map(done)
            }),
            Op::ReadHost { object } => self.on(object, |this, object| {
                this.token(&object).map(|number| Effect::Read(u128::from(number)))
            }),
            Op::ArrayCopy { dst, dst_index, src, src_index, length } => {
                let (Some(dst), Some(src)) = (self.array(dst), self.array(src)) else {
                    return Ok(Effect::Nothing);
                };
                let (dst_len, src_len) = (self.store.array_len(&dst)?, self.store.array_len(&src)?);
                let (dst_index, src_index, length) =
                    ops::copy_range(dst_index, src_index, length, dst_len, src_len);
                self.store.array_copy(&dst, dst_index, &src, src_index, length).map(done)
            }
            Op::ArrayFill { array, index, length, from, bits } => {
                self.on_array(array, |this, array| {
                    let (index, length) = ops::range(index, length, this.store.array_len(&array)?);
                    let (_, ty) = this.store.array_element(&array, 0, 0)?;
                    let word = u128::from(this.slots.word(from));
                    let bits = if ty.is_ref() { word } else { bits };
                    this.store.array_fill(&array, index, bits, length).map(done)
                })
            }
            Op::ArrayWriteBytes { array, index, length, byte } => {
                self.on_array(array, |this, array| {
                    let (index, length) =
                        ops::range(index, length.into(), this.store.array_len(&array)?);
                    let (_, ty) = this.store.array_element(&array, 0, 0)?;
                    let bytes = ops::bytes(byte, length.min(256), ty.size());
                    this.store.array_write_bytes(&array, index, &bytes).map(done)
                })
            }
            Op::Downgrade { object, slot } => {
                self.on(object, |this, object| Ok(this.downgrade(&object, slot)))
            }
            Op::Upgrade { slot, to } => Ok(self.upgrade(slot, to)),
            Op::MapInsert { map, key, value } => {
                let value = ops::object(value, |place| self.get(place));
                self.on(key, |this, key| {
                    let value = value.as_ref().unwrap_or(&key);
                    Ok(this.map_insert(map, &key, value))
                })
            }
            Op::MapGet { map, key, to } => {
                self.on(key, |this, key| Ok(this.map_get(map, &key, to)))
            }
            Op::MapDrop { map } => Ok(self.map_drop(map)),
            Op::Finalize { object } => self.on(object, |this, object| Ok(this.finalize(&object))),
            Op::TakeFinalizable { to } => Ok(self.take_finalizable(to)),
            Op::EnterWasm { count } => {
                let count = NonZeroU32::MIN.saturating_add(count.into());
                Ok(match self.enter_wasm(count)? {
                    true => Effect::Collected(Collection::Complete),
                    false => Effect::Nothing,
                })
            }
            Op::Collect | Op::CollectIncrements { .. } | Op::CollectLost if self.scopes > 0 => {
                Ok(Effect::Nothing)
            }
            Op::Collect => {
                self.collect().map(|done| Effect::Collected(Collection::from_result(done)))
            }
            Op::CollectIncrements { increments } => {
                let increments = (increments < 200).then_some(increments.into());
                self.collect_increments(increments).map(Effect::Collected)
            }
            Op::CollectLost => {
                self.slots.set_lost(true);
                let result = self.collect();
                self.slots.set_lost(false);
                result.map(|done| Effect::Collected(Collection::from_result(done)))
            }
            Op::Grow { bytes } => match self.heap_mut().grow(bytes.into()) {
                Ok(grown) => Ok(Effect::Read(grown.into())),
                Err(error) => Err(error),
            },
            Op::EnterNoGcScope => {
                self.enter_no_gc_scope();
                Ok(Effect::Done)
            }
            Op::ExitNoGcScope => {
                self.exit_no_gc_scope();
                Ok(Effect::Done)
            }
            Op::Exhaust => self.exhaust().map(Effect::Exhausted),
            Op::Reset => match self.reset() {
                true => Ok(Effect::Done),
                false => Ok(Effect::Nothing),
            },
        }
    }

    /// Runs `then` on the reference that [`ops::object`] chooses, if there is one.
    fn on(
        &mut self,
        place: RootSlot,
        then: impl FnOnce(&mut Self, VMGcRef) -> Result<Effect, HeapError>,
    ) -> Result<Effect, HeapError> {
        match ops::object(place, |place| self.get(place)) {
            Some(object) => then(self, object),
            None => Ok(Effect::Nothing),
        }
    }

    /// Runs `then` on the reference that [`ops::array()`] chooses, if there is one.
    fn on_array(
        &mut self,
        place: RootSlot,
        then: impl FnOnce(&mut Self, VMGcRef) -> Result<Effect, HeapError>,
    ) -> Result<Effect, HeapError> {
        match self.array(place) {
            Some(object) => then(self, object),
            None => Ok(Effect::Nothing),
        }
    }

    fn array(&self, place: RootSlot) -> Option<VMGcRef> {
        let is_array = |object: &VMGcRef| self.store.array_len(object).is_ok();
        ops::array(place, |place| self.get(place), is_array)
    }

    /// Fills the heap with smaller and smaller byte arrays until it is out of memory, then drops
    /// them. Returns their number.
    fn exhaust(&mut self) -> Result<Option<u32>, HeapError> {
        let kept = self.held();
        let maximum = self.heap().core().memory.limit();
        let (mut length, mut count, mut bytes) = ((maximum / 8) as u32, 0, 0);
        let result = loop {
            if bytes > maximum {
                break Ok(None);
            }
            match self.push_array(BYTES, length) {
                Ok(()) => (count, bytes) = (count + 1, bytes + u64::from(length)),
                Err(HeapError::OutOfMemory { .. }) if length > 1024 => length /= 2,
                Err(HeapError::OutOfMemory { .. }) => break Ok(Some(count)),
                Err(error) => break Err(error),
            }
        };
        while self.held() > kept {
            self.let_go();
        }
        result
    }
}

/// The part of `bits` that a field of type `ty` keeps.
pub(crate) fn truncate(bits: u128, ty: StorageType) -> u128 {
    match ty.size() {
        16.. => bits,
        size => bits & ((1 << (8 * size)) - 1),
    }
}
