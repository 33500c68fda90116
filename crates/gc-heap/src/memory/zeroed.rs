//! [`ZeroedVec`]: a vector whose elements are zero and use no memory until they are written.
//!
//! Up to [`SMALL`] bytes, it is an ordinary vector. A larger one reserves address space for the
//! maximal number of elements. The system maps zeroed pages when they are written. Growth writes
//! and moves nothing. With a few bytes of code, a guest can ask for hundreds of megabytes of null
//! elements, so they must cost nothing.
#![allow(unsafe_code)]

use super::{Admission, MappedMemory, MemoryPurpose, MemoryRequest, MemorySource};
use crate::HeapError;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Up to this number of bytes, the elements are in an ordinary vector.
const SMALL: usize = 64 << 10;

/// More bytes than any machine of today can address.
const MAX_SIZE: usize = 1 << 47;

/// Types for which zero bytes are a valid value.
///
/// # Safety
/// All zero bytes must be a value of the type. Its alignment is not more than that of a page.
pub unsafe trait Zeroable: Copy {
    /// The value whose bytes are all zero.
    const ZERO: Self;
}

macro_rules! numbers {
    ($($ty:ident)*) => {
        // SAFETY: it is the number 0.
        $(unsafe impl Zeroable for $ty {
            const ZERO: $ty = 0;
        })*
    };
}

numbers! { u8 u32 u64 }

// SAFETY: each of them is zero.
unsafe impl<T: Zeroable, const N: usize> Zeroable for [T; N] {
    const ZERO: [T; N] = [T::ZERO; N];
}

/// Types such as addresses, for which `None` is all zero bytes.
///
/// # Safety
/// All zero bytes must be the `None` of an option of the type.
pub unsafe trait ZeroIsNone: Copy {}

// SAFETY: the trait promises it.
unsafe impl<T: ZeroIsNone> Zeroable for Option<T> {
    const ZERO: Option<T> = None;
}

/// A vector of elements that are initially zero. It can grow, but not shrink. Large ones take their
/// memory from a [`MemorySource`].
///
/// ```
/// use gc_heap::{MemoryPurpose, MemorySource, OnDemand, ZeroedVec};
/// use std::sync::Arc;
///
/// let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
/// let mut words = ZeroedVec::<u32>::new(&source, MemoryPurpose::Table);
/// words.grow(3, 1_000_000).unwrap();
/// words[2] = 7;
/// words.grow(1_000_000, 1_000_000).unwrap();
/// assert_eq!((words[2], words[999_999]), (7, 0));
/// ```
pub struct ZeroedVec<T: Zeroable> {
    /// The first element, in what `owner` has. It is here so that an access needs no distinction.
    start: NonNull<T>,
    len: usize,
    owner: Owner<T>,
}

enum Owner<T: Zeroable> {
    Small(Vec<T>, Admission),
    Large(Mapped<T>),
}

// SAFETY: it owns its elements, as a vector does.
unsafe impl<T: Zeroable + Send> Send for ZeroedVec<T> {}
// SAFETY: a shared one only lends shared elements.
unsafe impl<T: Zeroable + Sync> Sync for ZeroedVec<T> {}

impl<T: Zeroable> ZeroedVec<T> {
    /// No elements. They will come from `source`.
    pub fn new(source: &Arc<dyn MemorySource>, purpose: MemoryPurpose) -> ZeroedVec<T> {
        let owner = Owner::Small(Vec::new(), Admission::nothing(source, purpose));
        ZeroedVec { start: NonNull::dangling(), len: 0, owner }
    }

    /// Where its memory comes from.
    pub fn source(&self) -> &Arc<dyn MemorySource> {
        match &self.owner {
            Owner::Small(_, admission) => admission.source(),
            Owner::Large(mapped) => mapped.memory.source(),
        }
    }

    /// Takes all elements.
    pub(crate) fn take(&mut self) -> ZeroedVec<T> {
        let empty = match &self.owner {
            Owner::Small(_, admission) => ZeroedVec::new(admission.source(), admission.purpose()),
            Owner::Large(mapped) => {
                ZeroedVec::new(mapped.memory.source(), mapped.memory.request().purpose)
            }
        };
        std::mem::replace(self, empty)
    }

    /// Makes it `len` elements long. The new elements are zero. It can never have more than
    /// `maximum` elements, which must be the same in each call: address space is reserved for the
    /// `maximum` of the first call that makes it large.
    ///
    /// # Errors
    /// If the source or the system refuses, or no address space is reserved for `len` elements.
    /// Then nothing changes.
    ///
    /// # Panics
    /// If it would become shorter, or longer than `maximum`.
    pub fn grow(&mut self, len: usize, maximum: usize) -> Result<(), HeapError> {
        assert!(self.len() <= len && len <= maximum, "elements only become more");
        let start = match &mut self.owner {
            Owner::Small(elements, admission) if len <= SMALL / size_of::<T>() => {
                let bytes = len * size_of::<T>();
                admission.grow(bytes)?;
                elements.try_reserve(len - elements.len()).map_err(|error| {
                    let (purpose, why) = (admission.purpose(), error.to_string());
                    HeapError::NoMemory { purpose, bytes: bytes as u64, why }
                })?;
                elements.resize(len, T::ZERO);
                elements.as_mut_ptr()
            }
            Owner::Small(elements, admission) => {
                let (source, purpose) = (admission.source(), admission.purpose());
                let mapped = Mapped::new(source, purpose, len, maximum)?;
                let start: *mut T = mapped.start();
                // SAFETY: the new memory has room for more elements than these, and is elsewhere.
                unsafe { start.copy_from_nonoverlapping(elements.as_ptr(), elements.len()) };
                self.owner = Owner::Large(mapped);
                start
            }
            Owner::Large(mapped) => {
                mapped.grow(len)?;
                mapped.start()
            }
        };
        self.start = NonNull::new(start).expect("elements have an address");
        self.len = len;
        Ok(())
    }
}

impl<T: Zeroable> Deref for ZeroedVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the owner has this number of elements there. They are initially zero, which is a valid
        // value, and only elements are written. They are borrowed like `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> DerefMut for ZeroedVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> fmt::Debug for ZeroedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroedVec").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Elements in mapped memory.
struct Mapped<T: Zeroable> {
    memory: MappedMemory,
    _elements: PhantomData<T>,
}

impl<T: Zeroable> Mapped<T> {
    /// `len` elements, and space for `maximum`.
    fn new(
        source: &Arc<dyn MemorySource>,
        purpose: MemoryPurpose,
        len: usize,
        maximum: usize,
    ) -> Result<Mapped<T>, HeapError> {
        let size = maximum.checked_mul(size_of::<T>()).filter(|size| *size <= MAX_SIZE);
        let size = size.ok_or(HeapError::TooLarge { length: maximum as u64 })?;
        let request = MemoryRequest {
            purpose,
            size,
            unmapped: 0,
            initial: len * size_of::<T>(),
            affinity: 0,
        };
        let memory = MappedMemory::new(source, request)?;
        Ok(Mapped { memory, _elements: PhantomData })
    }

    /// Makes it `len` elements long, at most its first maximum.
    fn grow(&mut self, len: usize) -> Result<(), HeapError> {
        let (size, accessible) = (self.memory.request().size, self.memory.accessible());
        let bytes = len.checked_mul(size_of::<T>()).filter(|bytes| *bytes <= size);
        let bytes = bytes.ok_or(HeapError::TooLarge { length: len as u64 })?;
        if bytes > accessible {
            // The size at least doubles, so that small growth rarely calls the system.
            let wanted = bytes.max(2 * accessible).min(size);
            self.memory.grow(wanted)?;
        }
        Ok(())
    }

    /// The first element.
    fn start(&self) -> *mut T {
        self.memory.start().cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OnDemand;

    fn elements<T: Zeroable>() -> ZeroedVec<T> {
        let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
        ZeroedVec::new(&source, MemoryPurpose::Table)
    }

    /// Elements keep their values, and new elements are zero, also when the vector grows across the
    /// sizes where its representation changes.
    #[test]
    fn growth_keeps_elements_and_adds_zeros() {
        let small = SMALL / size_of::<u32>();
        for maximum in [small + 1, small + 5000, 10 * small] {
            let mut elements = elements::<u32>();
            let mut expected = Vec::new();
            for len in [0, 1, 3, small - 1, small, small + 1, small + 2, small + 4999, 10 * small] {
                if len > maximum {
                    break;
                }
                elements.grow(len, maximum).unwrap();
                expected.resize(len, 0);
                assert!(elements[..] == expected[..], "{len} of {maximum}");
                for index in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|i| *i < len) {
                    elements[index] = index as u32 + 7;
                    expected[index] = index as u32 + 7;
                }
            }
            elements.grow(maximum, maximum).unwrap();
            expected.resize(maximum, 0);
            assert!(elements[..] == expected[..], "all of {maximum}");
        }
    }

    /// What [`ZeroedVec`] promises to other threads, although it has an address.
    #[test]
    fn the_owner_may_go_to_other_threads() {
        fn check<T: Send + Sync>() {}
        check::<Owner<u8>>();
    }

    #[test]
    fn large_elements_do_not_move() {
        let mut elements = elements::<u64>();
        let maximum = if cfg!(miri) { 150_000 } else { 10_000_000 };
        elements.grow(SMALL, maximum).unwrap();
        let place = elements.as_ptr();
        for len in [SMALL + 1, 2 * SMALL, maximum] {
            elements.grow(len, maximum).unwrap();
            assert_eq!(elements.as_ptr(), place);
        }
        assert!(elements.iter().all(|element| *element == 0));
    }

    #[test]
    fn a_later_maximum_reserves_nothing() {
        let mut elements = elements::<u32>();
        elements.grow(20_000, 20_000).unwrap();
        // The last one is more bytes than a `usize` can count.
        for more in [20_001, 1_000_000, usize::MAX / 4 + 2] {
            let error = elements.grow(more, more).unwrap_err();
            assert!(matches!(error, HeapError::TooLarge { .. }), "{error}");
            assert_eq!(elements.len(), 20_000);
        }
    }

    #[test]
    fn what_the_system_refuses_changes_nothing() {
        // The first needs more bytes than a `usize` can count, the second more than there are
        // addresses.
        for maximum in [usize::MAX, usize::MAX / 4 - 5000] {
            let mut elements = elements::<u32>();
            elements.grow(1, maximum).unwrap();
            elements[0] = 5;
            assert!(elements.grow(SMALL, maximum).is_err());
            assert_eq!(elements[..], [5]);
        }
    }
}
