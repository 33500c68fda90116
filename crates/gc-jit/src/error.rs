//! The errors of a call into compiled code.

use crate::Backtrace;
use gc_heap::HeapError;
use gc_types::Trap;
use std::fmt;

/// The error of a trap in compiled code or in a host function that it called.
///
/// # Examples
/// ```
/// use gc_jit::{Backtrace, TrapError};
/// use gc_heap::HeapError;
/// use gc_types::Trap;
///
/// let error = TrapError {
///     trap: Trap::OutOfMemory,
///     detail: Some(HeapError::OutOfMemory { bytes: 16, limit: 1 << 20 }),
///     backtrace: Backtrace::default(),
/// };
/// // The detail says more than the trap.
/// let text = error.to_string();
/// assert!(text.starts_with("GC heap out of memory: 16 bytes more"), "{text}");
/// ```
#[derive(Clone, Debug)]
pub struct TrapError {
    /// The reason.
    pub trap: Trap,
    /// A more exact reason, if one is known.
    pub detail: Option<HeapError>,
    /// The compiled functions on the stack, innermost frame first.
    pub backtrace: Backtrace,
}

impl fmt::Display for TrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Many details begin with the trap's own text.
        let trap = self.trap.reason();
        match self.detail.as_ref().map(|detail| detail.to_string()) {
            None => f.write_str(trap)?,
            Some(detail) if detail.starts_with(trap) => f.write_str(&detail)?,
            Some(detail) => write!(f, "{trap}: {detail}")?,
        }
        if !self.backtrace.is_empty() {
            write!(f, "\n{}", self.backtrace)?;
        }
        Ok(())
    }
}

impl std::error::Error for TrapError {}

/// The reason why a call into compiled code failed.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// # use gc_jit::call;
/// # use gc_types::{CallSignature, ValRaw, ValueType};
/// use gc_jit::CallError;
/// use gc_types::Trap;
///
/// # fn main() -> anyhow::Result<()> {
/// # let signature = CallSignature::new([ValueType::I64; 2], [ValueType::I64]);
/// # let prepared = prepare(&signature, |b, params| {
/// #     let quotient = b.ins().udiv(params[1], params[2]);
/// #     b.ins().return_(&[quotient]);
/// # })?;
/// # let Prepared { mut store, trampoline, function, mut vmctx } = prepared;
/// # let vmctx = (&raw mut *vmctx).cast();
/// let mut values = [ValRaw::i64(1), ValRaw::i64(0)];
/// // SAFETY: the function, a division, takes two numbers. The store has its code and the vmctx.
/// let error = unsafe { call(&mut store, &trampoline, function, vmctx, &mut values) }.unwrap_err();
/// assert_eq!(error.trap(), Some(Trap::IntegerDivisionByZero));
///
/// let CallError::Trap(trap) = error else { unreachable!() };
/// # if cfg!(feature = "backtrace") {
/// assert_eq!(trap.backtrace.frames()[0].name, "f");
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum CallError {
    /// The code trapped.
    Trap(TrapError),
    /// A host function that it called failed with this error.
    Host(anyhow::Error),
}

impl CallError {
    /// The trap, if it is one.
    pub fn trap(&self) -> Option<Trap> {
        match self {
            CallError::Trap(error) => Some(error.trap),
            CallError::Host(_) => None,
        }
    }

    /// Converts it into an error that can be downcast to [`TrapError`] or to the host's own error
    /// type.
    pub fn into_anyhow(self) -> anyhow::Error {
        match self {
            CallError::Trap(error) => error.into(),
            CallError::Host(error) => error,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Trap(error) => error.fmt(f),
            CallError::Host(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CallError::Trap(_) => None,
            CallError::Host(error) => error.source(),
        }
    }
}
