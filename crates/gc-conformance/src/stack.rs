//! A thread with as much stack as compiled code is allowed: the main thread's is the
//! system's choice, other threads' are 2 MiB.

use anyhow::{Context, Result, anyhow};

/// Stack on top of what compiled code may use, in bytes: for the host functions it
/// calls, collections included, and for the compiler.
const HOST_STACK: usize = 4 << 20;

/// Runs `work` on a thread that has `bytes` of stack for compiled code.
///
/// # Errors
/// If the system does not give that much, and whatever `work` fails with.
///
/// # Panics
/// If `work` does.
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
            .with_context(|| format!("the system gives no stack of {size} bytes"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
