//! Runs images of compiled code: code memory, calls, stack walks and traps. It does not depend on a
//! compiler, on Wasm or on a collector.
//!
//! The parts, in the order in which an embedder uses them:
//!
//! 1. `gc-compiler` makes a [`CodeImage`](gc_types::CodeImage): position-independent code with its
//!    tables (traps, stack maps, source locations) and its trampolines.
//! 2. [`CodeMemory::publish`] maps an image into executable memory and registers its addresses.
//!    [`save`] writes an image to bytes, and a [`SavedImage`] is read from them.
//! 3. The embedder's store implements [`JitStore`] and has a [`JitState`] as a field. The state
//!    holds a [`GcStore`](gc_heap::GcStore) and the [`VMStoreContext`] that compiled code reads.
//!    [`call`] runs code with the store, through an [`EntryTrampoline`]. Compiled code calls the
//!    host through host calls and exit trampolines, which record where compiled code was left. The
//!    host function gets the store ([`host_call_guard`]).
//! 4. From that place a [`StackWalk`] finds every frame and its references. A trap or a failing
//!    host function resumes at the entry trampoline's handler, and `call` returns a [`CallError`].
//!    An exception resumes at the handler of a frame that catches it.
//! 5. If [loops are polled](gc_types::Abi::polls), an [`InterruptHandle`] ends a call from another
//!    thread. If [code consumes fuel](gc_types::Abi::fuel) or
//!    [checks epochs](gc_types::Abi::epochs), it calls the host when the fuel is used up or the
//!    deadline is reached; the [`JitState`] has both.
//! 6. A [`PerfFile`](perf::PerfFile) tells Linux `perf` the names of published code.
//! 7. A [`Fiber`] is a future that runs calls on a stack of its own. Host functions on it wait for
//!    other futures with [`Blocking`], which suspends the fiber.
//!
//! The only global state is the registry of published code, the signal handler that reads it, and
//! three thread-local words: the context of the store whose compiled code runs on the thread, the
//! bound of the thread's stack, and whether the thread holds the registry's lock.
#![deny(unsafe_code)]

mod activation;
mod arch;
mod backtrace;
mod call;
mod call_sites;
mod code_memory;
mod entry;
mod error;
mod exceptions;
mod fault;
mod fiber;
mod gc_calls;
mod guard;
mod host_calls;
mod interrupt;
mod meter;
mod os;
pub mod perf;
mod registry;
mod saved;
mod signals;
mod stack;
mod stack_bounds;
mod state;
mod traced;
mod vmcontext;
mod walk;
mod work;

#[doc(hidden)]
pub use gc_types;

pub use activation::Activation;
pub use backtrace::{Backtrace, BacktraceFrame};
pub use call::{call, call_host};
pub use code_memory::{CodeMemory, FrameInfo, protect_read_only};
pub use entry::EntryTrampoline;
pub use error::{CallError, TrapError};
pub use exceptions::ThrownException;
pub use fiber::{Blocking, Cancelled, Fiber, FiberId, FiberStack, FiberStacks, without_waiting};
pub use gc_calls::HostCallTable;
pub use guard::host_call_guard;
#[doc(hidden)]
pub use host_calls::HostCallBody;
pub use host_calls::HostCallShim;
pub use interrupt::InterruptHandle;
pub use registry::lookup_code;
pub use saved::{SavedImage, is_saved, is_saved_file, save};
pub use state::{JitState, JitStore, StackRoots};
pub use vmcontext::{HostFunction, VMContextPrefix, VMFuncRef, VMHostFuncContext, VMStoreContext};
pub use walk::{Frame, StackWalk};
pub use work::{Part, Work, with_handles};
