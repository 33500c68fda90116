//! From functions to an image: Cranelift with the settings that compiled code needs, and the linker
//! that makes a [`CodeImage`](gc_types::CodeImage) from compiled functions.
//!
//! The parts, in the order in which an embedder uses them:
//!
//! 1. `names`: how a function declares its callees. `meter`: how it counts what it does.
//! 2. `compile`: [`Compiler`](crate::Compiler) compiles functions to
//!    [`CompiledFunction`](crate::CompiledFunction)s (`function`), on any number of threads.
//!    `try_calls` lets calls with handlers keep values in registers, `host_args` keeps the vmctx
//!    where it is at host calls, and `polls` lets another thread interrupt loops. `relays`: handlers
//!    that stand for those of another call. `settings`: those of Cranelift.
//!    A [`Compilation`](crate::Compilation) can be ended early (`cancel`).
//!    What was compiled before comes from a [`cache`](crate::cache), if there is one. `reloc`: what
//!    the linker fills in. `frame`: what unwinders need.
//! 3. `link`: [`ImageLinker`](crate::ImageLinker) links functions and the trampolines that they
//!    need.
//! 4. `trampoline`: the calls between host and compiled code. Every image contains its trampolines.

pub(crate) mod arch;
mod cancel;
mod compile;
mod frame;
mod function;
mod host_args;
mod link;

mod meter;
mod names;
mod nesting;
mod polls;
mod refuse;
mod relays;
mod reloc;
mod settings;
mod signature;
mod trampoline;
mod try_calls;
mod weight;

pub use cancel::{Compilation, CompilationEnded};
pub use compile::{CompileOptions, Compiler, OptLevel, RegallocAlgorithm};
pub use frame::{FrameStep, ObjectFrame};
pub use function::{CompiledFunction, Symbol};
pub use link::{ImageLinker, ObjectCode, ObjectReloc, ObjectTarget};
pub use meter::{Meter, MeterCalls};
pub use names::{
    FUNCTION_NAMESPACE, HOST_CALL_NAMESPACE, TYPE_WORD_NAMESPACE, VMCTX_SLOT_KEY, import_function,
    import_host_call, import_type_word, imported_host_call, type_word, zero_extended,
};
pub(crate) use names::{declare_vmctx_slot, set_stack_limit};
pub(crate) use nesting::loop_depths;
pub(crate) use relays::has_relays;
pub use relays::{tag_of_relay, tag_of_throw};
pub(crate) use reloc::{Reloc, RelocTarget, target_of};
pub use signature::call_signature;
