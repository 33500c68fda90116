//! [`GcRuntime`]: the half of a collector that makes heaps.

use crate::{GcHeap, HeapError, HeapMemory, HeapOptions};
use gc_types::{CollectorAbi, forward};
use std::sync::Arc;

/// The garbage that a collector's collections free, sooner or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaims {
    /// Nothing.
    Nothing,
    /// All unreachable objects except those on cycles and those that only cycles refer to
    /// (reference counting).
    Acyclic,
    /// All unreachable objects (tracing).
    Everything,
}

/// An option of a collector: a number that its heaps, and possibly its code, depend on.
///
/// # Examples
/// ```
/// use gc_heap::CollectorOption;
///
/// let help = "bytes of the nursery at most";
/// let option = CollectorOption { name: "nursery", value: 2 << 20, help };
/// assert_eq!(option.value, 2 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorOption {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its value. A size is in bytes.
    pub value: u64,
    /// A one-sentence description.
    pub help: &'static str,
}

/// Makes heaps of one collector. The other half of the collector is gc-compiler's `GcCompiler` with
/// the same [`name`](GcRuntime::name). Code that it emits works only on heaps of this half.
///
/// # Examples
/// A collector whose heaps are those of another one, but small:
///
/// ```
/// use gc_heap::toy::ToyCollector;
/// use gc_heap::{GcHeap, GcRuntime, GcStore, HeapError, HeapMemory, HeapOptions};
///
/// struct Small;
///
/// impl GcRuntime for Small {
///     fn name(&self) -> &'static str {
///         ToyCollector.name()
///     }
///
///     fn max_heap_size(&self) -> u64 {
///         16 << 20
///     }
///
///     fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
///         ToyCollector.new_gc_heap(memory)
///     }
/// }
///
/// let store = GcStore::new(&Small, &HeapOptions::default())?;
/// assert_eq!(store.heap().unwrap().core().memory.maximum(), 16 << 20);
/// # Ok::<(), HeapError>(())
/// ```
pub trait GcRuntime: Send + Sync {
    /// The collector's name, as in `--collector NAME`: lower case, stable.
    fn name(&self) -> &'static str;

    /// The collector that this one wraps, to watch or to change what it does. Then each provided method calls
    /// that of the wrapped collector, with the wrapper's own name in the ABI. Only the
    /// [options](GcRuntime::options) are not forwarded, because
    /// [`with_option`](GcRuntime::with_option) would lose the wrapper. `None` by default.
    fn wrapped(&self) -> Option<&dyn GcRuntime> {
        None
    }

    /// The facts on which the collector's emitted code and its heaps must agree. Both halves must
    /// return the same. Implement it if the collector has options or constants of its own. The
    /// provided method returns only the name.
    fn abi(&self) -> CollectorAbi {
        // Not forwarded: it has the wrapper's own name.
        CollectorAbi::wrapping(self.name(), self.wrapped().map(GcRuntime::abi))
    }

    /// The ABI of code for its heaps: [`abi`](GcRuntime::abi), and the options on which emitted code depends, with their
    /// values. It is the same for heaps of all sizes, so that code that was compiled once runs over each of them. The
    /// provided method adds no options.
    fn heap_abi(&self) -> CollectorAbi {
        // Not forwarded: it has the wrapper's own name and options.
        match self.wrapped() {
            Some(wrapped) => self.abi().with_all(&wrapped.heap_abi()),
            None => self.abi(),
        }
    }

    /// Bytes after the null page that are mapped from the start and are no part of a heap's limit. Emitted code may know
    /// them as constants, whatever the heap's size is. A nursery is there. What the heap uses of them counts towards
    /// the limit ([`HeapCore::use_set_aside`](crate::HeapCore::use_set_aside)). The memory that
    /// [`new_gc_heap`](GcRuntime::new_gc_heap) gets has as many ([`HeapMemory::apart`]). None by default.
    fn apart(&self) -> u32 {
        forward!(self.wrapped(), apart());
        0
    }

    /// The collector's options with their values. The provided method returns none.
    fn options(&self) -> Vec<CollectorOption> {
        // Not forwarded: as `with_option`.
        Vec::new()
    }

    /// The collector with another value of the option `name`. An implementation that has
    /// [`options`](GcRuntime::options) must override this.
    ///
    /// # Errors
    /// If there is no such option, or if the value is invalid.
    fn with_option(&self, name: &str, _value: u64) -> Result<Arc<dyn GcRuntime>, HeapError> {
        // Not forwarded: see `wrapped`.
        Err(HeapError::Options {
            what: format!("the collector `{}` has no option `{name}`", self.name()),
        })
    }

    /// A short description for users who choose a collector: the programs that it suits and its
    /// costs. It is printed after "good for".
    fn summary(&self) -> &'static str {
        forward!(self.wrapped(), summary());
        "(no description)"
    }

    /// Whether a collection may move objects. True by default.
    fn moves_objects(&self) -> bool {
        forward!(self.wrapped(), moves_objects());
        true
    }

    /// The garbage that its collections free. All garbage by default.
    fn reclaims(&self) -> Reclaims {
        forward!(self.wrapped(), reclaims());
        Reclaims::Everything
    }

    /// The most references that a store may have outside its heap and its stacks: in handles, globals, tables and
    /// element segments. A collector that counts references relies on it, so that a count cannot overflow. No limit by
    /// default.
    fn max_native_refs(&self) -> u64 {
        forward!(self.wrapped(), max_native_refs());
        u64::MAX
    }

    /// The same collector for short tests: with the smallest nursery or regions, which a small program
    /// fills. The suite tests both. `None`, the default, if there is nothing to make smaller.
    fn for_tests(&self) -> Option<Arc<dyn GcRuntime>> {
        // Not forwarded: as `with_option`.
        None
    }

    /// The maximum size in bytes of a heap of this collector. A larger maximum is reduced to it. By
    /// default everything that indices can reach.
    fn max_heap_size(&self) -> u64 {
        forward!(self.wrapped(), max_heap_size());
        HeapOptions::MAX_SIZE
    }

    /// Makes a heap in the empty `memory`, which an earlier heap may have used and reset. With
    /// [zeal](HeapMemory::zeal) the store collects at every Nth allocation (see the feature `gc_zeal`). The store
    /// counts and collects. A heap passes what it frees to [`HeapMemory::poison`].
    ///
    /// # Errors
    /// If the collector cannot use that memory.
    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError>;
}
