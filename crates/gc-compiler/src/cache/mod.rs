//! A cache of compiled functions. A module that was compiled before, or of which most functions
//! were, is compiled in a fraction of the time.
//!
//! The key of a function is a SHA-256 of everything on which its machine code depends: its CLIF
//! (without the names of what it refers to), Cranelift's settings and version, the
//! [`Abi`], and the version of this crate. So a function is found again in a module
//! in which other functions were added, and never in an engine whose code is different. It must be
//! a cryptographic hash: the author of a module chooses the CLIF, and could otherwise look for two
//! functions with one key.
//!
//! An entry has what the driver takes from Cranelift: code, relocations, stack maps, traps, handlers,
//! source locations and saved registers. It begins with a SHA-256 of its key and the rest. An entry
//! that is damaged, or is that of another key, is not used, and the function is compiled again.
//!
//! **Entries are trusted.** They are machine code. The hash finds accidents and not attacks, so
//! somebody who can write entries can do anything in a process that reads them. Use only a folder
//! in which nobody writes whom you do not trust.

mod entry;
mod folder;
mod key;
mod memory;

pub use folder::FolderCache;
pub use memory::MemoryCache;

use crate::driver::CompiledFunction;
use cranelift_codegen::ir;
use cranelift_codegen::isa::TargetIsa;
use gc_types::Abi;
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

/// Where compiled functions are kept. Many threads use it at once, and processes may share what is
/// behind it.
///
/// It has the duties of a map that may forget:
///
/// 1. [`get`](CacheStore::get) returns the bytes of the last [`insert`](CacheStore::insert) of a key
///    in whole, or nothing. Damaged bytes are noticed, and cost only time.
/// 2. It returns only what was inserted by somebody who is trusted like the process itself. See
///    [the module](self).
///
/// # Examples
/// ```
/// use gc_compiler::cache::CacheStore;
/// use std::borrow::Cow;
///
/// /// Forgets everything.
/// #[derive(Debug)]
/// struct Nothing;
///
/// impl CacheStore for Nothing {
///     fn get(&self, _key: &[u8]) -> Option<Cow<'_, [u8]>> {
///         None
///     }
///
///     fn insert(&self, _key: &[u8], _value: Vec<u8>) -> bool {
///         false
///     }
/// }
/// ```
pub trait CacheStore: Send + Sync + Debug {
    /// The bytes that were inserted with `key`, if they are still there.
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>>;

    /// Keeps `value` for `key`. Returns whether it did.
    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool;
}

/// The functions of one compiler in a [`CacheStore`].
#[derive(Debug)]
pub(crate) struct FunctionCache {
    store: Arc<dyn CacheStore>,
    /// Begins all keys: what is the same for all functions of the compiler.
    prefix: String,
}

impl FunctionCache {
    /// The functions of a compiler for `abi` in `store`.
    pub(crate) fn new(store: Arc<dyn CacheStore>, abi: &Abi) -> FunctionCache {
        FunctionCache { store, prefix: key::prefix(abi) }
    }

    /// The key of a function.
    pub(crate) fn key(&self, isa: &dyn TargetIsa, func: &ir::Function) -> [u8; 32] {
        key::of(&self.prefix, isa, func)
    }

    /// The compiled function with this key, if it is there and not damaged.
    pub(crate) fn find(&self, key: &[u8; 32], func: &ir::Function) -> Option<CompiledFunction> {
        entry::decode(key, func, &self.store.get(key)?)
    }

    /// Keeps a compiled function.
    pub(crate) fn keep(&self, key: &[u8; 32], func: &ir::Function, compiled: &CompiledFunction) {
        if let Some(entry) = entry::encode(key, func, compiled) {
            // It may not have kept it. Then the function is compiled the next time.
            let _ = self.store.insert(key, entry);
        }
    }
}
