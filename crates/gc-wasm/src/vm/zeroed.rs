//! [`ZeroedVec`]: a vector whose elements are zero and use no memory until they are written.
//!
//! Up to [`SMALL`] bytes, it is an ordinary vector. A larger one reserves address space for the
//! maximal number of elements. The system maps zeroed pages when they are written. Growth writes
//! and moves nothing. With a few bytes of code, a guest can ask for hundreds of megabytes of null
//! elements, so they must cost nothing.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};

/// Up to this number of bytes, the elements are in an ordinary vector.
const SMALL: usize = 64 << 10;

/// Types for which zero bytes are a valid value.
///
/// # Safety
/// All zero bytes must be a value of the type.
pub(crate) unsafe trait Zeroable: Copy {}

// SAFETY: it is the number 0.
unsafe impl Zeroable for u32 {}

/// A vector of elements that are initially zero. It can grow, but not shrink.
pub(crate) struct ZeroedVec<T: Zeroable>(Repr<T>);

enum Repr<T: Zeroable> {
    Small(Vec<T>),
    Large(Reservation<T>),
}

impl<T: Zeroable> ZeroedVec<T> {
    /// No elements.
    pub(crate) fn new() -> ZeroedVec<T> {
        ZeroedVec(Repr::Small(Vec::new()))
    }

    /// Makes it `len` elements long. The new elements are zero. It can never have more than
    /// `maximum` elements, which must be the same in each call. Returns `None`, and changes
    /// nothing, if there is not enough memory.
    ///
    /// # Panics
    /// If it would become shorter, or longer than `maximum`.
    pub(crate) fn grow(&mut self, len: usize, maximum: usize) -> Option<()> {
        assert!(self.len() <= len && len <= maximum, "elements only become more");
        match &mut self.0 {
            Repr::Small(elements) if len <= SMALL / size_of::<T>() => {
                elements.try_reserve(len - elements.len()).ok()?;
                // SAFETY: the trait promises this.
                elements.resize(len, unsafe { std::mem::zeroed() });
            }
            Repr::Small(elements) => {
                let mut reservation = Reservation::new(maximum)?;
                reservation.grow(len)?;
                reservation.as_mut_slice()[..elements.len()].copy_from_slice(elements);
                self.0 = Repr::Large(reservation);
            }
            Repr::Large(reservation) => reservation.grow(len)?,
        }
        Some(())
    }
}

impl<T: Zeroable> Deref for ZeroedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Repr::Small(elements) => elements,
            Repr::Large(reservation) => reservation.as_slice(),
        }
    }
}

impl<T: Zeroable> DerefMut for ZeroedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Repr::Small(elements) => elements,
            Repr::Large(reservation) => reservation.as_mut_slice(),
        }
    }
}

/// Address space for elements. The first of them can be accessed.
struct Reservation<T: Zeroable> {
    base: NonNull<T>,
    len: usize,
    /// The number of bytes that can be accessed, and of all reserved bytes.
    accessible: usize,
    reserved: usize,
}

impl<T: Zeroable> Reservation<T> {
    /// Space for `maximum` elements.
    fn new(maximum: usize) -> Option<Reservation<T>> {
        let bytes = maximum.checked_mul(size_of::<T>())?;
        let reserved = bytes.checked_next_multiple_of(rustix::param::page_size())?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new anonymous mapping does not affect other memory.
        let base = unsafe { mmap_anonymous(null_mut(), reserved, ProtFlags::empty(), flags) };
        let base = NonNull::new(base.ok()?.cast())?;
        Some(Reservation { base, len: 0, accessible: 0, reserved })
    }

    /// Makes it `len` elements long, at most its maximum.
    fn grow(&mut self, len: usize) -> Option<()> {
        let bytes = len * size_of::<T>();
        if bytes > self.accessible {
            // The size at least doubles, so that small growth rarely calls the system.
            let accessible = bytes.max(2 * self.accessible);
            let accessible =
                accessible.next_multiple_of(rustix::param::page_size()).min(self.reserved);
            assert!(bytes <= accessible, "more elements than reserved");
            let access = MprotectFlags::READ | MprotectFlags::WRITE;
            // SAFETY: the range is the beginning of this reservation.
            unsafe { mprotect(self.base.as_ptr().cast(), accessible, access) }.ok()?;
            self.accessible = accessible;
        }
        self.len = len;
        Some(())
    }

    fn as_slice(&self) -> &[T] {
        // SAFETY: this number of elements is accessible. They are initially zero, which is a valid
        // value. They are borrowed like `self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above, mutably.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> Drop for Reservation<T> {
    fn drop(&mut self) {
        // SAFETY: only this reservation owns the mapping, and nothing borrows it any more.
        if let Err(error) = unsafe { munmap(self.base.as_ptr().cast(), self.reserved) } {
            log::error!("unmapping a table: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::func_ref::FuncRef;

    /// Elements keep their values, and new elements are zero, also when the vector grows across the
    /// sizes where its representation changes.
    #[test]
    fn growth_keeps_elements_and_adds_zeros() {
        let small = SMALL / size_of::<u32>();
        for maximum in [small + 1, small + 5000, 10 * small] {
            let mut elements = ZeroedVec::<u32>::new();
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

    #[test]
    fn large_elements_do_not_move() {
        let mut elements = ZeroedVec::<Option<FuncRef>>::new();
        let maximum = 10_000_000;
        elements.grow(SMALL, maximum).unwrap();
        let place = elements.as_ptr();
        for len in [SMALL + 1, 2 * SMALL, maximum] {
            elements.grow(len, maximum).unwrap();
            assert_eq!(elements.as_ptr(), place);
        }
        assert!(elements.iter().all(|element| element.is_none()));
    }

    #[test]
    fn what_the_system_refuses_changes_nothing() {
        // The first needs more bytes than a `usize` can count, the second more than there are
        // addresses.
        for maximum in [usize::MAX, usize::MAX / 4 - 5000] {
            let mut elements = ZeroedVec::<u32>::new();
            elements.grow(1, maximum).unwrap();
            elements[0] = 5;
            assert!(elements.grow(SMALL, maximum).is_none());
            assert_eq!(elements[..], [5]);
        }
    }
}
