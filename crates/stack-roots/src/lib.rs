//! Stack maps for languages that compile with Cranelift and have a collector of their own.
//!
//! Cranelift knows where the references of each frame are during each call, and tells it as user stack maps.
//! `cranelift-object` and `cranelift-jit` drop them. This crate takes them from the compiled code, writes them where the
//! running program finds them, and walks the stack. So a collector finds its roots exactly, and may move objects. It needs
//! no heap and no collector of the project it comes from.
//!
//! | feature | for | what |
//! |---|---|---|
//! | `write` | the compiler | takes the maps of functions (`write::Maps`), marks calls that cannot collect (`calls`), keeps pointers into objects across calls (`derived`) |
//! | `check` | the compiler | finds references in CLIF that a collection would miss (`check::check_roots`) |
//! | `walk` | the runtime | the tables of a program (`walk::Tables`), entry and exit functions (`entry!`, `exit!`), walks (`walk::Frames`) |
//!
//! It works on x86-64 and aarch64 Linux. The feature `walk` is the crate `stack-roots-walk` under another name. A runtime in a
//! static library should use that crate itself. It needs no other crate. Cargo unites the features of a crate in a
//! workspace, so with the feature the library would contain Cranelift.
//!
//! # In a compiler
//! Declare references to `cranelift-frontend` (`declare_value_needs_stack_map`), and compile with the setting
//! `preserve_frame_pointers`. Then three calls are left:
//!
//! ```
//! # #[cfg(all(feature = "write", feature = "check"))] mod compiler {
//! use cranelift_codegen::Context;
//! use cranelift_module::{FuncId, Module};
//! use cranelift_object::ObjectModule;
//! use stack_roots::check::{Types, check_roots};
//! use stack_roots::write::Maps;
//!
//! fn define(
//!     module: &mut ObjectModule,
//!     maps: &mut Maps,
//!     id: FuncId,
//!     context: &mut Context,
//!     types: &Types,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     // In debug builds and tests.
//!     check_roots(&context.func, types)?;
//!     module.define_function(id, context)?;
//!     maps.add(id, context)?;
//!     Ok(())
//! }
//!
//! fn finish(module: ObjectModule, maps: &Maps) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let mut product = module.finish();
//!     maps.write(&mut product)?;
//!     Ok(product.emit()?)
//! }
//! # }
//! ```
//!
//! # In a runtime
//! See the crate `stack-roots-walk`, or `walk` here.
//!
//! `examples/semispace` in the repository is a whole language with a moving collector.
//!
//! # What goes wrong is an error
//! - Every call has a row in the table. A frame without one ends the walk, before a root is visited.
//! - Each record has a checksum, which is verified when the tables are made.
//! - Compiled code that reaches the collector without an exit function ends the walk, and so does compiled code that was
//!   called without an entry function.
//! - A function that was defined and whose maps were not added is an error when the object is written.
//! - Code that is compiled without frame pointers is refused.
//!
//! # Limits
//! The maps of `cranelift-frontend` need Cranelift 0.135, which this crate uses. The runtime may be built without frame
//! pointers. A runtime's functions have their arguments in registers.

#[cfg(any(feature = "write", feature = "check"))]
pub mod calls;
#[cfg(feature = "check")]
pub mod check;
#[cfg(any(feature = "write", feature = "check"))]
pub mod derived;
#[cfg(feature = "write")]
pub mod write;

/// The runtime's half: tables and walks.
#[cfg(feature = "walk")]
pub use stack_roots_walk as walk;
#[cfg(feature = "walk")]
pub use stack_roots_walk::{entry, exit};
