//! Backtraces: the compiled functions that were on the stack when an error happened.
//!
//! Capturing only records program counters in a buffer that was allocated before, because a signal
//! handler does it. The names are looked up when the call has returned, while the code still
//! exists. Without the cargo feature `backtrace` nothing is captured and every backtrace is empty.
#![allow(unsafe_code)]

use crate::traced::TracedPcs;
use crate::walk::RawFrames;
use crate::{CodeMemory, VMStoreContext, lookup_code};
use gc_types::FunctionId;
use std::fmt;

/// One compiled function on the stack. A function whose call was inlined has a frame here too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacktraceFrame {
    /// The function's name.
    pub name: String,
    /// The function's identity in its image.
    pub function: FunctionId,
    /// Distance in bytes to the instruction from the start of the function that contains the code.
    /// This is another function if the call of this one was inlined.
    pub code_offset: u32,
    /// The source location of the instruction, if it has one.
    pub srcloc: Option<u32>,
    /// The address of the image's code.
    base: usize,
}

impl BacktraceFrame {
    /// Whether the function is part of this code.
    pub fn is_in(&self, code: &CodeMemory) -> bool {
        self.base == code.base().addr()
    }

    /// The address of the code that the function is part of ([`CodeMemory::base`]).
    pub fn code_base(&self) -> usize {
        self.base
    }
}

/// The compiled functions that were on the stack, innermost first.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::{InstBuilder, SourceLoc};
/// # use gc_jit::call;
/// # use gc_types::{CallSignature, Trap};
/// use gc_jit::TrapError;
///
/// # fn main() -> anyhow::Result<()> {
/// # let signature = CallSignature::new([], []);
/// # let prepared = prepare(&signature, |b, _| {
/// #     b.set_srcloc(SourceLoc::new(7));
/// #     b.ins().trap(gc_compiler::trap_code(Trap::UnreachableCodeReached));
/// # })?;
/// # let Prepared { mut store, trampoline, function, mut vmctx } = prepared;
/// # let vmctx = (&raw mut *vmctx).cast();
/// # // SAFETY: the function has no parameters. The store has its code and the vmctx.
/// # let result = unsafe { call(&mut store, &trampoline, function, vmctx, &mut []) };
/// // The function `f` traps at the source location 7.
/// let error = result.unwrap_err().into_anyhow();
/// let TrapError { backtrace, .. } = error.downcast_ref().unwrap();
/// # if cfg!(feature = "backtrace") {
/// assert_eq!(backtrace.frames()[0].srcloc, Some(7));
/// assert_eq!(backtrace.to_string(), "   0: f\n        at 0x7");
/// # }
/// # Ok(())
/// # }
/// ```
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

    /// The number of outer frames on the stack that were not recorded. A frame counts once, however many
    /// calls are inlined into its function.
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

impl Backtrace {
    /// Looks up the names of the recorded functions.
    pub(crate) fn symbolize(traced: &TracedPcs) -> Backtrace {
        let (pcs, omitted) = traced.kept();
        let mut frames = Vec::new();
        for pc in pcs {
            let Some(code) = lookup_code(pc) else { continue };
            frames.extend(code.lookup(pc).map(|info| BacktraceFrame {
                base: code.base().addr(),
                name: info.name,
                function: info.function,
                code_offset: info.code_offset,
                srcloc: info.srcloc,
            }));
        }
        Backtrace { frames, omitted }
    }

    /// The compiled functions on a store's stacks, beginning where compiled code last called the
    /// host.
    ///
    /// # Safety
    /// As for [`RawFrames::from_exit`].
    pub(crate) unsafe fn capture(context: &VMStoreContext) -> Backtrace {
        let traced = TracedPcs::new();
        // SAFETY: passed on.
        traced.note(unsafe { RawFrames::from_exit(context) }.pcs(), false);
        Backtrace::symbolize(&traced)
    }
}
