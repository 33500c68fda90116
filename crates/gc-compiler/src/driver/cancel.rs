//! [`Compilation`]: a compilation that can be ended before it is done.
//!
//! Whoever sends a module chooses how long it takes to compile. So a compilation asks now and then
//! whether it is to end: between functions, and between the steps of one function. The last step, in
//! which Cranelift makes the machine code of a function, cannot be ended.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why a compilation was ended. It is the cause of the error of a function that was being compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompilationEnded {
    /// [`Compiler::cancel`](crate::Compiler::cancel) was called.
    Cancelled,
    /// It took longer than [allowed](crate::Compiler::with_time_limit).
    TimeLimit(Duration),
}

impl fmt::Display for CompilationEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompilationEnded::Cancelled => f.write_str("the compilation was cancelled"),
            CompilationEnded::TimeLimit(limit) => {
                write!(f, "the compilation takes longer than {limit:?}, the limit")
            }
        }
    }
}

impl std::error::Error for CompilationEnded {}

/// How compilations are ended.
#[derive(Debug, Default)]
pub(super) struct Cancellation {
    /// The number of times that all compilations were cancelled.
    cancelled: Arc<AtomicU64>,
    pub(super) limit: Option<Duration>,
}

impl Cancellation {
    pub(super) fn begin(&self) -> Compilation {
        Compilation {
            cancelled: self.cancelled.clone(),
            before: self.cancelled.load(Ordering::Relaxed),
            end: self.limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit))),
        }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }
}

/// One compilation, of one or more functions, on any number of threads. It ends early if it
/// [was cancelled](crate::Compiler::cancel) or takes too long.
///
/// # Examples
/// ```
/// use gc_compiler::collector::null::NullCompiler;
/// use gc_compiler::{CompilationEnded, CompileOptions, Compiler, GcCompiler};
/// use gc_types::Abi;
///
/// let abi = Abi::new(NullCompiler.abi());
/// let compiler = Compiler::new(&NullCompiler, &abi, &CompileOptions::default())?;
/// let compilation = compiler.begin();
/// assert_eq!(compilation.check(), Ok(()));
/// compiler.cancel();
/// assert_eq!(compilation.check(), Err(CompilationEnded::Cancelled));
/// // The next one goes on.
/// assert_eq!(compiler.begin().check(), Ok(()));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Compilation {
    cancelled: Arc<AtomicU64>,
    /// The value of `cancelled` when it began.
    before: u64,
    /// When it ends, and how long it may take.
    end: Option<(Instant, Duration)>,
}

impl Compilation {
    /// Asks whether the compilation goes on. This takes some nanoseconds. Whoever compiles asks before
    /// each step that takes long.
    ///
    /// # Errors
    /// If it has to end. It never goes on after that.
    pub fn check(&self) -> Result<(), CompilationEnded> {
        if self.cancelled.load(Ordering::Relaxed) != self.before {
            return Err(CompilationEnded::Cancelled);
        }
        match self.end {
            Some((end, limit)) if Instant::now() >= end => Err(CompilationEnded::TimeLimit(limit)),
            _ => Ok(()),
        }
    }
}
