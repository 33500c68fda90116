//! How compiled code is made known to a profiler.

use super::Config;
use std::num::NonZeroUsize;

/// How compiled code is made known to a profiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfilingStrategy {
    /// It is not.
    None,
    /// By a map for Linux `perf`, the file `/tmp/perf-PID.map`.
    PerfMap,
    /// By a dump for Linux `perf`, the file `jit-PID.dump` in the current directory.
    JitDump,
    /// By VTune's interface, which is not supported.
    VTune,
}

/// What tools and errors are told of compiled code.
#[derive(Clone, Debug)]
pub(crate) struct TraceSettings {
    /// The maximum number of functions of a backtrace.
    pub(crate) backtrace_frames: Option<NonZeroUsize>,
    /// Whether they have the offset of the instruction.
    pub(crate) address_map: bool,
    pub(crate) profiler: ProfilingStrategy,
}

impl Default for TraceSettings {
    fn default() -> TraceSettings {
        TraceSettings {
            backtrace_frames: NonZeroUsize::new(20),
            address_map: true,
            profiler: ProfilingStrategy::None,
        }
    }
}

impl Config {
    /// Sets how compiled code is made known to a profiler (default: it is not). Each module whose code
    /// is published, compiled or loaded, is then added to a file of this process from which `perf`
    /// knows the functions. They have the names of backtraces. Trampolines have their names in brackets:
    /// `[host call gc_alloc_struct]` is called where the space for new objects is used up.
    ///
    /// With [`PerfMap`](ProfilingStrategy::PerfMap), `perf report` shows the names.
    /// [`JitDump`](ProfilingStrategy::JitDump) is for `perf record -k mono` and `perf inject --jit`. Then
    /// `perf annotate` shows the machine code too. With the feature `profiling`, which is on by default,
    /// it shows the lines of the module's text between: the text is written to `jit-PID-NUMBER.wat`
    /// beside the dump. A module that was loaded or comes from a cache has no lines.
    ///
    /// Making an engine fails if the file cannot be opened, or if the strategy is not supported:
    /// `perf` is a profiler of Linux. A module that cannot be added is an error too.
    pub fn profiler(&mut self, profiler: ProfilingStrategy) -> &mut Config {
        self.trace.profiler = profiler;
        let vtune = profiler == ProfilingStrategy::VTune;
        self.refuse("profiler", vtune, "VTune is not told of compiled code, but `perf` can be")
    }
}
