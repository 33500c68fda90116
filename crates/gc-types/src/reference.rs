//! References: a [`VMGcRef`] is a non-zero 32-bit word that is either a byte
//! offset into an indexed heap or, when bit 0 is set, an unboxed 31-bit integer
//! ([`I31`]). Null is the zero word and therefore `Option<VMGcRef>::None`.
//!
//! A `VMGcRef` is neither `Clone` nor `Copy`, because a copy needs the collector's barrier.
//! [`VMGcRef::unchecked_copy`] makes a copy without it, under a name that can be searched for.

use std::fmt;
use std::num::NonZeroU32;

/// A 31-bit integer that is carried in a reference without an allocation
/// (WebAssembly's `i31ref`; Gudeman, "Representing Type Information in
/// Dynamically Typed Languages", 1993, calls it a tagged immediate).
///
/// # Examples
/// ```
/// use gc_types::I31;
///
/// assert_eq!(I31::new_i32(-5).unwrap().get_i32(), -5);
/// assert_eq!(I31::new_i32(1 << 30), None, "it needs 32 bits");
/// assert_eq!(I31::wrapping_i32(-1).get_u32(), 0x7fff_ffff);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct I31(u32);

impl I31 {
    /// The bit that distinguishes an `i31` from a heap index.
    pub const TAG: u32 = 1;

    /// An `i31` of the low 31 bits of `value`. The top bit is lost.
    pub const fn wrapping_u32(value: u32) -> I31 {
        I31(value & 0x7fff_ffff)
    }

    /// An `i31` of the low 31 bits of `value`. The top bit is lost.
    pub const fn wrapping_i32(value: i32) -> I31 {
        I31::wrapping_u32(value as u32)
    }

    /// An `i31` of `value`, or `None` if it needs 32 bits unsigned.
    pub const fn new_u32(value: u32) -> Option<I31> {
        if value >> 31 == 0 { Some(I31(value)) } else { None }
    }

    /// An `i31` of `value`, or `None` if it is outside `-2^30 ..= 2^30 - 1`.
    pub const fn new_i32(value: i32) -> Option<I31> {
        if (value << 1) >> 1 == value { Some(I31::wrapping_i32(value)) } else { None }
    }

    /// The value, zero-extended (`i31.get_u`).
    pub const fn get_u32(self) -> u32 {
        self.0
    }

    /// The value, sign-extended (`i31.get_s`).
    pub const fn get_i32(self) -> i32 {
        ((self.0 << 1) as i32) >> 1
    }
}

impl fmt::Debug for I31 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I31({})", self.get_i32())
    }
}

/// A non-null reference: a byte offset into one heap, or an [`I31`].
///
/// The reference does not say to which heap it belongs. The word may come from a corrupt heap, so
/// the only guarantee is that it is not zero.
///
/// # Examples
/// ```
/// use gc_types::{I31, VMGcRef};
///
/// let object = VMGcRef::from_heap_index(0x10000).unwrap();
/// assert_eq!(object.as_heap_index().unwrap().get(), 0x10000);
/// assert!(!object.is_i31());
///
/// let integer = VMGcRef::from_i31(I31::wrapping_i32(7));
/// assert_eq!(integer.as_raw_u32(), 15);
/// assert_eq!(integer.as_heap_index(), None);
///
/// assert_eq!(VMGcRef::from_raw_u32(0), None, "null");
/// ```
#[derive(PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct VMGcRef(NonZeroU32);

const _: () = assert!(std::mem::size_of::<Option<VMGcRef>>() == 4);

impl VMGcRef {
    /// A reference from its word, `None` for null (zero).
    pub const fn from_raw_u32(raw: u32) -> Option<VMGcRef> {
        match NonZeroU32::new(raw) {
            Some(raw) => Some(VMGcRef(raw)),
            None => None,
        }
    }

    /// A reference to the object `index` bytes from the heap's base; `None` if
    /// `index` is zero or odd (odd words are `i31`s).
    pub const fn from_heap_index(index: u32) -> Option<VMGcRef> {
        if index & I31::TAG != 0 {
            return None;
        }
        VMGcRef::from_raw_u32(index)
    }

    /// The reference that carries `value` itself.
    pub const fn from_i31(value: I31) -> VMGcRef {
        match NonZeroU32::new((value.0 << 1) | I31::TAG) {
            Some(raw) => VMGcRef(raw),
            None => unreachable!(),
        }
    }

    /// The word that is stored in heaps, tables and globals.
    pub const fn as_raw_u32(&self) -> u32 {
        self.0.get()
    }

    /// Whether this is an unboxed integer.
    pub const fn is_i31(&self) -> bool {
        self.0.get() & I31::TAG != 0
    }

    /// The unboxed integer, if this is one.
    pub const fn as_i31(&self) -> Option<I31> {
        if self.is_i31() { Some(I31(self.0.get() >> 1)) } else { None }
    }

    /// The byte offset into the heap, unless this is an `i31`.
    pub const fn as_heap_index(&self) -> Option<NonZeroU32> {
        if self.is_i31() { None } else { Some(self.0) }
    }

    /// A second reference to the same object, made without any barrier.
    ///
    /// This is correct only if the copy is not stored, or if the caller runs the barrier.
    pub const fn unchecked_copy(&self) -> VMGcRef {
        VMGcRef(self.0)
    }
}

impl fmt::Debug for VMGcRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_i31() {
            Some(value) => value.fmt(f),
            None => write!(f, "VMGcRef({:#x})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i31_keeps_both_signs() {
        for value in [0, 1, -1, 5, (1 << 30) - 1, -(1 << 30)] {
            let i = I31::new_i32(value).unwrap();
            assert_eq!(i.get_i32(), value);
            let r = VMGcRef::from_i31(i);
            assert!(r.is_i31() && r.as_heap_index().is_none());
            assert_eq!(r.as_i31().unwrap().get_i32(), value);
        }
        assert!(I31::new_i32(1 << 30).is_none() && I31::new_i32(-(1 << 30) - 1).is_none());
        assert!(I31::new_u32(1 << 31).is_none());
        assert_eq!(I31::new_u32(0x7fff_ffff).unwrap().get_i32(), -1);
    }

    #[test]
    fn heap_index_is_even_and_not_zero() {
        assert!(VMGcRef::from_heap_index(0).is_none());
        assert!(VMGcRef::from_heap_index(17).is_none());
        assert_eq!(VMGcRef::from_heap_index(16).unwrap().as_heap_index().unwrap().get(), 16);
    }
}
