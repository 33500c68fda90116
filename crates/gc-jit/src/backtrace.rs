//! Backtraces: the compiled functions on the stack when something went wrong.
//!
//! Capturing only records program counters (a signal handler does it, into a
//! buffer made beforehand); names are looked up when the call has returned, while
//! its code is still there. With the cargo feature `backtrace` off nothing is
//! captured and every backtrace is empty.
#![allow(unsafe_code)]

use crate::walk::RawFrames;
use crate::{JitStore, lookup_code};
use gc_types::FunctionId;
use std::fmt;

/// One compiled function on the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacktraceFrame {
    /// The function's name.
    pub name: String,
    /// Which function of its image it is.
    pub function: FunctionId,
    /// Bytes from the function's start to where it was.
    pub code_offset: u32,
    /// The source location its code carries there (Cranelift's `SourceLoc` bits).
    pub srcloc: Option<u32>,
}

/// The compiled functions that were on the stack, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backtrace {
    pub(crate) frames: Vec<BacktraceFrame>,
    pub(crate) omitted: usize,
}

impl Backtrace {
    /// The frames, innermost first.
    pub fn frames(&self) -> &[BacktraceFrame] {
        &self.frames
    }

    /// How many more frames there were, farther out.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, frame) in self.frames.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{i:4}: {}\n        at ", frame.name)?;
            match frame.srcloc {
                Some(srcloc) => write!(f, "{srcloc:#x}")?,
                None => write!(f, "code+{:#x}", frame.code_offset)?,
            }
        }
        if self.omitted > 0 {
            write!(f, "\n      ... {} more frames", self.omitted)?;
        }
        Ok(())
    }
}

/// Program counters noted while the stack still stood. Made beforehand, since a signal
/// handler fills it and must not allocate.
#[derive(Debug)]
pub(crate) struct TracedPcs {
    pcs: Vec<usize>,
    omitted: usize,
}

impl TracedPcs {
    /// Frames that are kept; of deeper stacks only the number of the rest is.
    const CAPACITY: usize = 64;

    pub(crate) fn new() -> TracedPcs {
        let capacity = if cfg!(feature = "backtrace") { TracedPcs::CAPACITY } else { 0 };
        TracedPcs { pcs: Vec::with_capacity(capacity), omitted: 0 }
    }

    /// Notes `frames`. The addresses noted are of instructions: of the calls, not of
    /// what comes after; `exact` says that the first frame's already is.
    pub(crate) fn note(&mut self, mut frames: RawFrames, exact: bool) {
        self.pcs.clear();
        self.omitted = 0;
        if !cfg!(feature = "backtrace") {
            return;
        }
        let mut back = usize::from(!exact);
        while let Some(Ok(frame)) = frames.next() {
            if self.pcs.len() < self.pcs.capacity() {
                self.pcs.push(frame.pc - back);
            } else {
                self.omitted += 1;
            }
            back = 1;
        }
    }

    /// Looks the names up.
    pub(crate) fn symbolize(&self) -> Backtrace {
        let frame = |pc: &usize| {
            let info = lookup_code(*pc)?.lookup(*pc)?;
            Some(BacktraceFrame {
                name: info.name,
                function: info.function,
                code_offset: info.code_offset,
                srcloc: info.srcloc,
            })
        };
        Backtrace { frames: self.pcs.iter().filter_map(frame).collect(), omitted: self.omitted }
    }
}

impl Backtrace {
    /// The compiled functions on the stack of `store`, from where compiled code last
    /// called the host. Empty if the feature is off.
    pub fn capture(store: &JitStore) -> Backtrace {
        let mut pcs = TracedPcs::new();
        // SAFETY: whoever holds a reference to an active store is a host function above
        // its frames, which are at rest.
        pcs.note(unsafe { RawFrames::from_exit(store.context()) }, false);
        pcs.symbolize()
    }
}
