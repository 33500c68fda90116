//! [`Grey`]: an object that was reached and is to be scanned.
//!
//! The name is from the abstraction of three colors (Dijkstra, Lamport, Martin, Scholten and Steffens,
//! "On-the-Fly Garbage Collection: An Exercise in Cooperation", 1978). An array of references is scanned in
//! pieces, because it may be larger than what a slice of the collection has time for.

/// An object that is to be scanned. The lower half is its index. The upper half is the element at
/// which scanning begins: 0, except in an array that was scanned in part.
///
/// # Examples
/// ```
/// use gc_heap::trace::grey::Grey;
///
/// let mut stack = vec![Grey::new(0x10000, 0)];
/// // The first thousand elements of it were scanned.
/// let grey = stack.pop().unwrap();
/// stack.push(grey.at(1000));
/// assert_eq!((stack[0].index(), stack[0].from()), (0x10000, 1000));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grey(u64);

impl Grey {
    /// The object at `index`, from the element `from` on.
    #[inline(always)]
    pub fn new(index: u32, from: u32) -> Grey {
        Grey(u64::from(from) << 32 | u64::from(index))
    }

    /// The object's index.
    #[inline(always)]
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    /// The element at which scanning begins.
    #[inline(always)]
    pub fn from(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The same object, from the element `from` on.
    #[inline(always)]
    #[must_use]
    pub fn at(self, from: u32) -> Grey {
        Grey::new(self.index(), from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_to_be_scanned_from_an_element_on() {
        let grey = Grey::new(u32::MAX - 7, u32::MAX);
        assert_eq!((grey.index(), grey.from()), (u32::MAX - 7, u32::MAX));
        assert_eq!(grey.at(5), Grey::new(u32::MAX - 7, 5));
    }
}
