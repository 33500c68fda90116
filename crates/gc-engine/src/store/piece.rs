//! A piece of code that a store has loaded, with its vmctx.
#![allow(unsafe_code)]

use super::reference::Reference;
use crate::Code;
use gc_jit::VMContextPrefix;
use gc_types::VMOffsets;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// The number of a loaded piece. No two pieces of a store ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PieceId(pub(super) u64);

/// A loaded piece of code.
pub(super) struct Piece {
    pub(super) code: Code,
    /// Compiled code has its address.
    pub(super) vmctx: Vmctx,
    /// References to its functions that code makes.
    pub(super) references: Vec<Reference>,
    /// The number of names that stand for its functions. If there is none, it is retired
    /// (`retired.rs`).
    pub(super) names: usize,
}

/// The first argument of the functions of a piece: the words with which every vmctx begins, and then the
/// words that the code asks for ([`Word`](crate::code::Word)).
pub(super) struct Vmctx {
    address: NonNull<u8>,
    layout: Layout,
}

// SAFETY: what it points to belongs to the same store and moves to another thread with it. Only
// compiled code uses the pointers, with exclusive access to the store.
unsafe impl Send for Vmctx {}
// SAFETY: shared access to a store uses none of the pointers.
unsafe impl Sync for Vmctx {}

/// The distance in bytes from the start of a vmctx to the word with this number.
pub(crate) fn word_offset(number: u32) -> u32 {
    VMOffsets::HOST.vmctx_prefix_size() + number * size_of::<usize>() as u32
}

impl Vmctx {
    /// One whose words are zero.
    pub(super) fn new(prefix: VMContextPrefix, words: usize) -> Vmctx {
        let size = word_offset(0) as usize + words * size_of::<usize>();
        let layout = Layout::from_size_align(size, align_of::<VMContextPrefix>());
        let layout = layout.expect("a vmctx is smaller than the address space");
        // SAFETY: the layout's size is not zero, and a vmctx begins with its prefix.
        let address = unsafe {
            let Some(address) = NonNull::new(alloc_zeroed(layout)) else {
                handle_alloc_error(layout)
            };
            address.cast::<VMContextPrefix>().write(prefix);
            address
        };
        Vmctx { address, layout }
    }

    /// Overwrites the word with this number.
    pub(super) fn set(&mut self, number: usize, word: usize) {
        let at = word_offset(0) as usize + number * size_of::<usize>();
        assert!(at < self.layout.size(), "the vmctx has no word {number}");
        // SAFETY: the word is inside. Compiled code that reads it does not run: the store is borrowed.
        unsafe { self.address.add(at).cast::<usize>().write(word) };
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }
}

impl Drop for Vmctx {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and no code that has its address runs.
        unsafe { dealloc(self.address.as_ptr(), self.layout) };
    }
}
