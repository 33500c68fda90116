//! How functions change their frames at their beginning. Unwinders that follow no frame pointers need it.

use serde::{Deserialize, Serialize};

/// A change of a function's frame. After it, the registers of the caller are elsewhere.
///
/// A function begins with a [`FrameStep::Pushed`], and then a [`FrameStep::FramePointer`]. Before them may be a
/// [`FrameStep::Signed`]. Frames do not change after that. So what an unwinder finds is right from there on to the
/// epilogue, where the frame pointer is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameStep {
    /// The return address was signed (pointer authentication). It stays so until the function returns.
    Signed,
    /// The caller's frame pointer was pushed. The caller's stack pointer was so many bytes above the stack pointer.
    Pushed(u32),
    /// The frame pointer was set to the stack pointer.
    FramePointer,
    /// A register of the caller was saved.
    Saved {
        /// The register's number in DWARF.
        register: u16,
        /// The distance in bytes from its slot up to the frame pointer.
        below: u32,
    },
}

/// The frame of a function in the code of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFrame {
    /// The function's start, in bytes from the code's start.
    pub offset: u32,
    /// The function's size in bytes.
    pub size: u32,
    /// The changes of its frame, each after so many bytes of the function's code, ascending.
    pub steps: Vec<(u32, FrameStep)>,
}
