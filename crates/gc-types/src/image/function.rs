//! What an image has for a function: its identity, its place, its trampoline, the handlers of its calls.

use super::Catches;
use crate::HostCall;
use crate::table::{Row, Words as _};

/// The identity of a function of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FunctionId {
    /// A function of the embedder.
    Function(u32),
    /// The trampoline of a host call.
    HostCall(HostCall),
    /// The entry trampoline of the image's signature with this number: the host calls compiled
    /// functions by it.
    Entry(u32),
    /// The exit trampoline of the image's signature with this number: compiled code calls host
    /// functions by it.
    Exit(u32),
}

impl FunctionId {
    pub(super) fn to_words(self) -> [u32; 2] {
        match self {
            FunctionId::Function(index) => [0, index],
            FunctionId::HostCall(call) => [1, call.index()],
            FunctionId::Entry(index) => [2, index],
            FunctionId::Exit(index) => [3, index],
        }
    }

    pub(super) fn from_words([kind, index]: [u32; 2]) -> Option<FunctionId> {
        Some(match kind {
            0 => FunctionId::Function(index),
            1 => FunctionId::HostCall(HostCall::from_index(index)),
            2 => FunctionId::Entry(index),
            3 => FunctionId::Exit(index),
            _ => return None,
        })
    }
}

/// A function of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionInfo<'a> {
    /// The function's identity.
    pub id: FunctionId,
    /// Its name, for backtraces and disassembly.
    pub name: &'a str,
    /// Distance in bytes from the image's start.
    pub offset: u32,
    /// Its code's size in bytes.
    pub size: u32,
    /// The distance in bytes from its vmctx slot up to the frame pointer, if it has such a slot.
    pub vmctx_slot: Option<u32>,
}

/// An entry trampoline: its code and its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The offset of its code, in bytes from the image's start.
    pub offset: u32,
    /// The number of [`ValRaw`](crate::ValRaw)s that a call needs.
    pub slots: u32,
    /// The offset of its handler, in bytes from the image's start.
    pub handler: u32,
    /// Bytes from the handler's stack pointer up to the trampoline's frame pointer.
    pub frame_offset: u32,
}

/// The handlers of one call of an image. [`CodeImage::handlers_of`](super::CodeImage::handlers_of) finds them.
#[derive(Clone, Copy, Debug)]
pub struct CallHandlers<'a> {
    pub(super) frame_offset: u32,
    pub(super) rows: &'a [Row<2>],
}

impl<'a> CallHandlers<'a> {
    /// Bytes from the handlers' stack pointer up to the frame pointer.
    pub fn frame_offset(&self) -> u32 {
        self.frame_offset
    }

    /// What each catches, and its code offset, in the order in which they are tried.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Catches, u32)> + 'a {
        self.rows.iter().map(|row| {
            let [word, at] = row.words();
            (Catches::from_word(word), at)
        })
    }
}
