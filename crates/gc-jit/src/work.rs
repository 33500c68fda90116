//! [`Work`]: long host calls, done in parts.
//!
//! How much a host call does may be a number of the guest. So that the guest cannot keep the host busy,
//! the call is divided into parts. Before each part the store is asked
//! ([`JitStore::before_part`]), and between them an [interrupt](crate::InterruptHandle) ends the
//! call, with the trap of code that is interrupted at this place.
//!
//! The store may run code before a part. So a host call checks its arguments again in each part, and
//! keeps references in handles ([`with_handles`]).

use crate::JitStore;
use anyhow::Result;
use gc_heap::Handle;
use gc_types::{HostCall, Trap, VMGcRef};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The bytes of a part: a fraction of a millisecond of work.
const PART: u64 = 1 << 20;

/// A part of a host call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The host call. The first values of the elements of an array count as
    /// [`HostCall::ALLOC_ARRAY`].
    pub call: HostCall,
    /// The units of this part: bytes or elements.
    pub units: u64,
    /// The units of this part and of all that follow.
    pub left: u64,
    /// Whether all of the call is [small](HostCall::SMALL_WORK). Then this is the only part, and is
    /// not worth a check.
    pub is_small: bool,
}

/// The work of a host call on a range of bytes or elements.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// use gc_jit::{JitStore, Work};
/// use gc_types::HostCall;
/// # fn main() -> anyhow::Result<()> {
/// # let mut store = new_store()?;
/// // Three million elements of 8 bytes, the last ones first.
/// let work = Work::new(HostCall::ARRAY_COPY, 3_000_000, 8).backward(true);
/// let mut parts = Vec::new();
/// work.run(&mut store, |_| Ok(()), |_, part| Ok(parts.push(part)))?;
/// assert_eq!(parts[0].end, 3_000_000);
/// assert!(parts.iter().all(|part| part.end - part.start <= 1 << 17));
/// assert!(parts.is_sorted_by(|a, b| a.start == b.end));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Work {
    call: HostCall,
    units: u64,
    unit_size: u32,
    backward: bool,
}

impl Work {
    /// Work on so many units of `unit_size` bytes each.
    pub fn new(call: HostCall, units: u64, unit_size: u32) -> Work {
        Work { call, units, unit_size, backward: false }
    }

    /// Sets whether the parts at the end come first, for a copy whose ranges overlap.
    #[must_use]
    pub fn backward(self, backward: bool) -> Work {
        Work { backward, ..self }
    }

    fn bytes(&self) -> u64 {
        self.units.saturating_mul(self.unit_size.into())
    }

    /// Whether the store is asked only what it costs: it runs no code before it.
    pub fn is_small(&self) -> bool {
        self.bytes() <= HostCall::SMALL_WORK.into()
    }

    /// Whether `store` lets it be done at once: nobody counts it, and it is not long.
    #[inline]
    pub fn is_simple<S: JitStore>(&self, store: &S) -> bool {
        self.bytes() <= PART && !store.jit().is_metered()
    }

    /// Does it: calls `check`, and then `part` for each part in order. Work that is
    /// [simple](Work::is_simple) is one part, and only `part` is called.
    ///
    /// # Errors
    /// Those of the functions and of [`JitStore::before_part`], and [`Trap::Interrupt`]. The parts that
    /// come later are not done.
    #[inline]
    pub fn run<S: JitStore>(
        self,
        store: &mut S,
        check: impl FnOnce(&mut S) -> Result<()>,
        mut part: impl FnMut(&mut S, Range<u64>) -> Result<()>,
    ) -> Result<()> {
        if self.is_simple(store) {
            return part(store, 0..self.units);
        }
        check(store)?;
        self.in_parts(store, part)
    }

    #[inline(never)]
    fn in_parts<S: JitStore>(
        self,
        store: &mut S,
        mut part: impl FnMut(&mut S, Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let is_small = self.is_small();
        let most = PART / u64::from(self.unit_size.max(1));
        let mut left = self.units;
        while left > 0 {
            let units = left.min(most);
            store.before_part(&Part { call: self.call, units, left, is_small })?;
            if !is_small && store.jit().is_interrupted() {
                return Err(Trap::Interrupt.into());
            }
            let from = if self.backward { left - units } else { self.units - left };
            part(store, from..from + units)?;
            left -= units;
        }
        Ok(())
    }
}

/// Calls `body` with handles of references that compiled code passed, in a scope of their own.
///
/// # Errors
/// Those of `body`, and if there are too many handles.
pub fn with_handles<S: JitStore, R>(
    store: &mut S,
    refs: &[&VMGcRef],
    body: impl FnOnce(&mut S, &[Handle]) -> Result<R>,
) -> Result<R> {
    let gc = store.jit_mut().gc_mut();
    let scope = gc.enter_handle_scope();
    let handles: Result<Vec<Handle>, _> = refs.iter().map(|it| gc.root_borrowed(it)).collect();
    let result = handles.map(|handles| catch_unwind(AssertUnwindSafe(|| body(store, &handles))));
    store.jit_mut().gc_mut().exit_handle_scope(scope);
    result?.unwrap_or_else(|panic| resume_unwind(panic))
}
