//! The runtime's half of `stack-roots`: finds the references on the stack of a program whose code Cranelift has compiled.
//!
//! [`Tables`] has the stack maps of all compiled code, by return address. [`exit!`] and [`entry!`] declare the functions
//! through which compiled code is left and entered; they record an [`Activation`]. [`Tables::walk`] goes from the last exit
//! to the last entry, and on to the activation before. It returns [`Frames`], whose references a collector
//! [visits](Frames::visit).
//!
//! A walk that meets a frame without a stack map is an error ([`WalkError`]), and no root is visited before the walk has
//! reached the first entry. So a collector never misses a frame.
//!
//! The compiler's half is the crate `stack-roots`, which uses Cranelift. This one uses no other crate, so a runtime that is
//! built in the same workspace as its compiler does not contain Cranelift.
//!
//! It works on x86-64 and aarch64 Linux.
//!
//! # Examples
//! ```
//! use stack_roots_walk::Tables;
//! use std::sync::LazyLock;
//!
//! /// The tables of all objects that are linked into the program.
//! static TABLES: LazyLock<Tables> = LazyLock::new(|| match Tables::of_program() {
//!     Ok(tables) => tables,
//!     Err(error) => panic!("{error}"),
//! });
//!
//! // Compiled code calls `runtime_collect`. It records where compiled code was left, and calls `collect`.
//! stack_roots_walk::exit! {
//!     pub extern "C" fn runtime_collect() = collect;
//! }
//! // The runtime calls compiled code with `call`. It records where compiled code was entered.
//! stack_roots_walk::entry! {
//!     unsafe fn call(code: *const u8, argument: u64) -> u64;
//! }
//!
//! extern "C" fn collect() {
//!     // SAFETY: compiled code preserves frame pointers, and runs again after the frames are dropped.
//!     match unsafe { TABLES.walk_current() } {
//!         // `forward` moves an object and returns its new address.
//!         Ok(mut frames) => frames.visit(|reference| forward(reference)),
//!         // A frame has no map. Nothing was visited, and nothing may be freed.
//!         Err(error) => panic!("{error}"),
//!     }
//! }
//! # fn forward(reference: u64) -> u64 { reference }
//!
//! runtime_collect();
//! ```
//!
//! # Threads and stacks
//! Each thread has its activation. A collector that stops threads walks each one's stack: a thread that waits publishes
//! [`Activation::current`] before it does, and the collecting thread passes it to [`Tables::walk`]. Coroutines keep
//! their activation when they are suspended, see [`Activation::replace`]. A runtime that leaves compiled code by `longjmp`
//! keeps the activation where it calls `setjmp`, and replaces the present one after the jump.

mod arch;
mod error;
pub mod format;
mod record;
mod shims;
mod stack;
mod tables;

pub use error::{BadRecord, TableError, WalkError};
pub use stack::{Activation, Frame, Frames};
pub use tables::Tables;

/// The registers in which a value of this type is passed, for [`exit!`] and [`entry!`]. Values of up to two words are passed
/// in registers, unless they are packed (System V ABI for x86-64, section 3.2.3; AAPCS64, section 6.8.2).
///
/// # Panics
/// If it is passed in memory.
#[doc(hidden)]
pub const fn words_in_registers<T>() -> usize {
    let size = size_of::<T>();
    assert!(
        size <= 16 && size <= 2 * align_of::<T>() || size == 0,
        "a value of this type may not be passed in registers"
    );
    size.div_ceil(8)
}
