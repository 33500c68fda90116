//! What works for the heaps of an engine beside its programs.

use super::Config;
use gc_runtime::lend::{GcExecutor, GcThreads};
use std::sync::Arc;

/// What works for the heaps of an engine beside its programs.
#[derive(Clone, Debug, Default)]
pub(super) enum Workers {
    /// The usual number of threads of the engine.
    #[default]
    Usual,
    /// What the options of its heaps say.
    OfOptions,
    /// So many threads of the engine.
    Threads(usize),
    /// The host's.
    Executor(Arc<dyn GcExecutor>),
}

impl Workers {
    /// Takes what the options of heaps say, if nothing was chosen.
    pub(super) fn use_options(&mut self) {
        if matches!(self, Workers::Usual) {
            *self = Workers::OfOptions;
        }
    }
}

impl Config {
    /// Sets how many threads of the engine work for its heaps beside the programs (default: one where threads run in
    /// parallel, and otherwise none). They mark and sweep old objects, and touch memory before it is used. They are
    /// started when there is work, and end with the engine and its stores. With 0 the thread that runs a program does all
    /// of it. What is set here comes before [`HeapOptions::threads`](crate::HeapOptions::threads).
    ///
    /// A process that forks and goes on in the child without `exec` must use 0, because the child has no such threads, and
    /// would wait for one that was marking.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Config, Engine};
    ///
    /// let engine = Engine::new(Config::new().gc_threads(0))?;
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn gc_threads(&mut self, count: usize) -> &mut Config {
        self.workers = Workers::Threads(count);
        self
    }

    /// Lets `executor` do the work for heaps instead of [threads of the engine](Config::gc_threads).
    pub fn gc_executor(&mut self, executor: Arc<dyn GcExecutor>) -> &mut Config {
        self.workers = Workers::Executor(executor);
        self
    }

    /// What works for the heaps of an engine with these settings.
    pub(crate) fn gc_workers(&self) -> Arc<dyn GcExecutor> {
        let threads = |count| Arc::new(GcThreads::new(count));
        match &self.workers {
            Workers::Usual => threads(GcThreads::usual()),
            Workers::OfOptions => Arc::clone(&self.heap.threads),
            Workers::Threads(count) => threads(*count),
            Workers::Executor(executor) => Arc::clone(executor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeapOptions;

    #[test]
    fn what_was_chosen_comes_before_the_options_of_heaps() {
        let heap =
            || HeapOptions { threads: Arc::new(GcThreads::new(2)), ..HeapOptions::default() };
        let is_parallel = |config: &Config| config.gc_workers().is_parallel();
        assert!(is_parallel(Config::new().gc_heap(heap())));
        assert!(!is_parallel(Config::new().gc_threads(0).gc_heap(heap())));
        assert!(!is_parallel(Config::new().gc_heap(heap()).gc_threads(0)));
        assert!(is_parallel(Config::new().gc_threads(0).gc_threads(1)));
    }

    #[test]
    fn engines_have_threads_of_their_own_unless_the_host_shares_some() {
        let shares = |config: &Config| Arc::ptr_eq(&config.gc_workers(), &config.gc_workers());
        assert!(!shares(&Config::new()) && !shares(Config::new().gc_threads(1)));
        assert!(shares(Config::new().gc_heap(HeapOptions::default())));
        assert!(shares(Config::new().gc_executor(Arc::new(GcThreads::new(1)))));
    }
}
