//! [`Strings`]: JavaScript's strings in the heap, for the hosts that make and read them.
//!
//! A string is an array of UTF-16 code units in the heap, so a collection frees it like any other
//! object. Its array type stands in a recursion group of its own, and its elements never change. A
//! program cannot make such an array by mistake: an array of its own is no string.

use crate::own_type::own_array;
use anyhow::{Result, ensure};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, AsContext, AsContextMut, Caller, Engine, ExternRef,
    FieldType, InterruptHandle, Mutability, Rooted, StorageType, Trap,
};
use std::ops::Range;

/// The largest number of code units of a string, as in V8.
pub(crate) const LONGEST: usize = (1 << 29) - 24;

/// The code units that are copied at once, between which an interrupt is seen.
const PART: u32 = 1 << 19;

/// The types of strings, and of the arrays that programs copy from and to.
#[derive(Clone)]
pub(crate) struct Strings {
    string: ArrayType,
    pub(crate) chars: ArrayType,
}

impl Strings {
    pub(crate) fn new(engine: &Engine) -> Result<Strings> {
        let string = own_array(engine, "(array i16)")?;
        let chars = ArrayType::new(engine, FieldType::new(Mutability::Var, StorageType::I16));
        Ok(Strings { string, chars })
    }

    /// The type of strings.
    pub(crate) fn ty(&self) -> &ArrayType {
        &self.string
    }

    /// Makes a string.
    pub(crate) fn make(
        &self,
        store: impl AsContextMut,
        units: &[u16],
    ) -> Result<Rooted<ExternRef>> {
        self.check_length(&store, units.len())?;
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        self.make_of_bytes(store, &bytes)
    }

    /// Makes a string of code units that are little-endian bytes.
    pub(crate) fn make_of_bytes(
        &self,
        mut store: impl AsContextMut,
        bytes: &[u8],
    ) -> Result<Rooted<ExternRef>> {
        let allocator = ArrayRefPre::new(&mut store, self.string.clone());
        let array = ArrayRef::from_bytes(&mut store, &allocator, bytes)?;
        ExternRef::convert_any(&store, array.to_anyref())
    }

    /// Fails if a string of this length is too long, or does not fit in the heap. So the host does
    /// not make it before it fails.
    pub(crate) fn check_length(&self, store: impl AsContext, length: usize) -> Result<()> {
        ensure!(length <= LONGEST, Trap::AllocationTooLarge);
        let most = store.as_context().engine().gc_heap_maximum();
        ensure!(2 * length as u64 <= most, Trap::OutOfMemory);
        Ok(())
    }

    /// The string, if `value` is one.
    pub(crate) fn find(
        &self,
        caller: &impl AsContext,
        value: Rooted<ExternRef>,
    ) -> Result<Option<Rooted<ArrayRef>>> {
        let Some(array) = AnyRef::convert_extern(caller, value)?.as_array(caller)? else {
            return Ok(None);
        };
        Ok(array.matches_ty(caller, &self.string)?.then_some(array))
    }

    /// The string, which `value` must be.
    pub(crate) fn string(
        &self,
        caller: &impl AsContext,
        value: Option<Rooted<ExternRef>>,
    ) -> Result<Rooted<ArrayRef>> {
        let value = value.ok_or(Trap::NullReference)?;
        Ok(self.find(caller, value)?.ok_or(Trap::CastFailure)?)
    }

    /// The code units of the string, which `value` must be.
    pub(crate) fn units(
        &self,
        caller: &impl AsContext,
        value: Option<Rooted<ExternRef>>,
    ) -> Result<Vec<u16>> {
        let string = self.string(caller, value)?;
        units(caller, &string, 0, string.len(caller)?)
    }

    /// The code units of a part of the string, which `value` must be.
    pub(crate) fn part(
        &self,
        caller: &impl AsContext,
        value: Rooted<ExternRef>,
        part: Range<usize>,
    ) -> Result<Vec<u16>> {
        let string = self.string(caller, Some(value))?;
        let end = part.end.min(string.len(caller)? as usize);
        let start = part.start.min(end);
        units(caller, &string, start as u32, (end - start) as u32)
    }

    /// As [`units`](Strings::units), but null is `None`.
    pub(crate) fn units_or_null<T: 'static>(
        &self,
        caller: &Caller<'_, T>,
        value: Option<Rooted<ExternRef>>,
    ) -> Result<Option<Vec<u16>>> {
        value.map(|value| self.units(caller, Some(value))).transpose()
    }
}

/// `count` elements of an array from `index` on, which must be there.
///
/// # Errors
/// [`Trap::Interrupt`] if there are many and the program is interrupted.
pub(crate) fn units(
    caller: &impl AsContext,
    array: &Rooted<ArrayRef>,
    index: u32,
    count: u32,
) -> Result<Vec<u16>> {
    let interrupt = (count > PART).then(|| caller.as_context().interrupt_handle().ok()).flatten();
    let mut units = Vec::with_capacity(count as usize);
    let mut bytes = vec![0; 2 * count.min(PART) as usize];
    while units.len() < count as usize {
        let begin = units.len() as u32;
        let part = &mut bytes[..2 * (count - begin).min(PART) as usize];
        array.read_bytes(caller, index + begin, part)?;
        units.extend(part.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])));
        ensure!(!interrupt.as_ref().is_some_and(InterruptHandle::is_interrupted), Trap::Interrupt);
    }
    Ok(units)
}
