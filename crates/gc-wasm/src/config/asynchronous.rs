//! Settings of asynchronous calls: the stacks on which they run.

use super::Config;
use anyhow::{Result, ensure};
use gc_jit::{FiberStack, FiberStacks};
use std::sync::Arc;

/// The stacks of asynchronous calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct AsyncStackSettings {
    /// Bytes, if they were set.
    size: Option<usize>,
    /// Whether stacks are zeroed before they are used again.
    zeroing: bool,
}

impl Config {
    /// Sets the bytes of the native stack of each asynchronous call (default: 1 MiB more than
    /// [`max_wasm_stack`](Config::max_wasm_stack), which is 2 MiB if that is not set). It must be at
    /// least `max_wasm_stack`, and at least 128 KiB. The host functions of the call have what compiled
    /// code leaves, which is at least 256 KiB, or a quarter of a smaller stack. The system gives it
    /// memory when it is used.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine};
    ///
    /// let mut config = Config::new();
    /// config.max_wasm_stack(256 << 10).async_stack_size(512 << 10);
    /// assert!(Engine::new(&config).is_ok());
    /// config.async_stack_size(128 << 10);
    /// assert!(Engine::new(&config).is_err());
    /// ```
    pub fn async_stack_size(&mut self, bytes: usize) -> &mut Config {
        self.async_stacks.size = Some(bytes);
        self
    }

    /// Sets whether a stack is made zero before another asynchronous call gets it (default: no). It
    /// hides what one call has left on its stack from a later one that reads memory which it has not
    /// written, because of a bug.
    pub fn async_stack_zeroing(&mut self, yes: bool) -> &mut Config {
        self.async_stacks.zeroing = yes;
        self
    }

    pub(super) fn check_async_stack(&self) -> Result<()> {
        let (size, least) = (self.async_stack_bytes(), FiberStack::MIN_SIZE);
        ensure!(
            self.run.max_stack <= size,
            "max_wasm_stack size cannot exceed the async_stack_size"
        );
        ensure!(
            size >= least,
            "the stack of an asynchronous call must have at least {least} bytes"
        );
        Ok(())
    }

    fn async_stack_bytes(&self) -> usize {
        self.async_stacks.size.unwrap_or_else(|| self.run.max_stack.saturating_add(1 << 20))
    }

    /// The stacks of an engine's asynchronous calls.
    pub(crate) fn fiber_stacks(&self) -> Arc<FiberStacks> {
        let pool = self.allocation_strategy.pool();
        let keep_resident = pool.map_or(0, |pool| pool.async_stack_keep_resident);
        let cleared = self.async_stacks.zeroing.then_some(keep_resident);
        let stacks = FiberStacks::new(self.async_stack_bytes(), cleared);
        Arc::new(match pool {
            Some(pool) => stacks.keeping(pool.total_stacks as usize),
            None => stacks,
        })
    }
}
