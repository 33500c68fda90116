//! Backtraces: the compiled functions that were on the stack when an error happened.
//!
//! Capturing only records program counters, because a signal handler does it, into a buffer that
//! was allocated before. The names are looked up when the call has returned, while the code still
//! exists. Without the cargo feature `backtrace` nothing is captured and every backtrace is empty.
#![allow(unsafe_code)]

use crate::walk::RawFrames;
use crate::{VMStoreContext, lookup_code};
use gc_types::FunctionId;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One compiled function on the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacktraceFrame {
    /// The function's name.
    pub name: String,
    /// Which function of its image it is.
    pub function: FunctionId,
    /// Distance in bytes from the function's start to the instruction.
    pub code_offset: u32,
    /// The source location of the instruction, if it has one (the bits of Cranelift's `SourceLoc`).
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

    /// The number of outer frames that were not recorded.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Whether there are no frames.
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

/// Program counters that were recorded while the frames were still on the stack. It is allocated in
/// advance, because a signal handler fills it and must not allocate.
#[derive(Debug)]
pub(crate) struct TracedPcs {
    pcs: Box<[AtomicUsize]>,
    /// The number of frames. The innermost of them are in `pcs`.
    frames: AtomicUsize,
}

impl TracedPcs {
    /// The number of frames that are recorded. Further frames are only counted.
    const CAPACITY: usize = 64;

    pub(crate) fn new() -> TracedPcs {
        let capacity = if cfg!(feature = "backtrace") { TracedPcs::CAPACITY } else { 0 };
        TracedPcs {
            pcs: std::iter::repeat_with(AtomicUsize::default).take(capacity).collect(),
            frames: AtomicUsize::new(0),
        }
    }

    /// Records `frames`. The recorded addresses are those of the call instructions, not the return
    /// addresses. `exact` says that the first frame's address is already that of an instruction.
    pub(crate) fn note(&self, mut frames: RawFrames, exact: bool) {
        if !cfg!(feature = "backtrace") {
            return;
        }
        let (mut count, mut back) = (0, usize::from(!exact));
        while let Some(Ok(frame)) = frames.next() {
            if let Some(pc) = self.pcs.get(count) {
                pc.store(frame.pc - back, Ordering::Relaxed);
            }
            count += 1;
            back = 1;
        }
        self.frames.store(count, Ordering::Relaxed);
    }

    /// Looks up the names.
    pub(crate) fn symbolize(&self) -> Backtrace {
        let frame = |pc: &AtomicUsize| {
            let pc = pc.load(Ordering::Relaxed);
            let info = lookup_code(pc)?.lookup(pc)?;
            Some(BacktraceFrame {
                name: info.name,
                function: info.function,
                code_offset: info.code_offset,
                srcloc: info.srcloc,
            })
        };
        let frames = self.frames.load(Ordering::Relaxed);
        let kept = &self.pcs[..frames.min(self.pcs.len())];
        Backtrace { frames: kept.iter().filter_map(frame).collect(), omitted: frames - kept.len() }
    }
}

impl Backtrace {
    /// The compiled functions on a store's stacks, beginning where compiled code last called the
    /// host.
    ///
    /// # Safety
    /// As for [`RawFrames::from_exit`].
    pub(crate) unsafe fn capture(context: &VMStoreContext) -> Backtrace {
        let pcs = TracedPcs::new();
        // SAFETY: passed on.
        pcs.note(unsafe { RawFrames::from_exit(context) }, false);
        pcs.symbolize()
    }
}
