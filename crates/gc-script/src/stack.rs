//! Runs work on a thread with enough stack for compiled code. The system chooses the stack of the
//! main thread, and other threads have 2 MiB.

use anyhow::{Context, Result, anyhow};

/// Bytes of stack in addition to that of compiled code: for the host functions that it calls,
/// including collections, and for the compiler.
const HOST_STACK: usize = 4 << 20;

/// Runs `work` on a thread that has `bytes` of stack for compiled code.
///
/// # Errors
/// If the system refuses so much stack, or if `work` fails.
///
/// # Panics
/// If `work` panics.
///
/// ```
/// let sum = gc_script::stack::with_stack(1 << 20, || Ok(2 + 3))?;
/// assert_eq!(sum, 5);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn with_stack<R: Send>(bytes: usize, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let size = bytes
        .checked_add(HOST_STACK)
        .filter(|size| isize::try_from(*size).is_ok())
        .ok_or_else(|| anyhow!("a stack of {bytes} bytes is larger than the address space"))?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("wasm".to_owned())
            .stack_size(size)
            .spawn_scoped(scope, work)
            .with_context(|| format!("the system refuses a stack of {size} bytes"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
