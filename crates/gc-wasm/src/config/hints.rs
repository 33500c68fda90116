//! Settings of Wasmtime that change nothing here that a program can see. They are accepted, so that an
//! embedding of Wasmtime starts. Each says what it does in Wasmtime and why it has no effect.

use super::Config;

/// Whether backtraces have places in the source, from DWARF in the module. DWARF is not read, so they
/// have none in each case, as in a Wasmtime that was built without its feature `addr2line`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WasmBacktraceDetails {
    /// They would have them in Wasmtime. Here it is the same as `Disable`.
    Enable,
    /// They have not.
    Disable,
    /// The environment decides in Wasmtime. Here it is the same as `Disable`.
    Environment,
}

impl Config {
    /// Has no effect, as in Wasmtime: the method that is called decides whether a call is
    /// [asynchronous](crate::Func::call_async).
    #[doc(hidden)]
    #[deprecated(note = "no longer has any effect")]
    pub fn async_support(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets whether a native debugger is told of a module's DWARF. None is made, so this has no
    /// effect, as in a Wasmtime that was built without its feature `debug-builtins`. Code is the same.
    pub fn debug_info(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets whether saved modules have tables of symbols for native tools. They have the names of
    /// functions in a form of their own, so this has no effect.
    pub fn debug_symbols(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets whether native debuggers and profilers can unwind compiled frames by tables
    /// (`.eh_frame`). There are none, so this has no effect. Compiled code has frame pointers, which
    /// `perf record --call-graph fp` follows. A [`WasmBacktrace`](crate::WasmBacktrace) does not need
    /// the tables.
    pub fn native_unwind_info(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets whether backtraces have places in the source. DWARF is not read, so they have none. They
    /// have the names of functions and, with
    /// [`generate_address_map`](Config::generate_address_map), the offset in the module, from which
    /// tools such as `llvm-symbolizer` find the place.
    pub fn wasm_backtrace_details(&mut self, _details: WasmBacktraceDetails) -> &mut Config {
        self
    }

    /// Sets whether there is a guard in front of each linear memory too, in case the code generator
    /// has a bug. There is none: compiled code adds an index without a sign to the memory's address,
    /// so no access is in front of it. [`memory_guard_size`](Config::memory_guard_size) sets the guard
    /// behind.
    pub fn guard_before_linear_memory(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets whether the data of memories may be mapped instead of copied. It is copied.
    pub fn memory_init_cow(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets whether the data of memories is mapped from a file in memory (`memfd`), also where the
    /// module's own file could be mapped. It is copied.
    pub fn force_memory_init_memfd(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets up to which size the data of a memory with gaps may be made one mapping. It is copied.
    pub fn memory_guaranteed_dense_image_size(&mut self, _bytes: u64) -> &mut Config {
        self
    }

    /// Sets whether tables of functions may be filled when they are used. They are filled when an
    /// instance is made.
    pub fn table_lazy_init(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets whether faults are handled by Mach ports on macOS, and not by signals. There is no
    /// support for macOS. As in Wasmtime, this has no effect elsewhere.
    pub fn macos_use_mach_ports(&mut self, _yes: bool) -> &mut Config {
        self
    }
}
