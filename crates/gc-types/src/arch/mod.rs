//! The processors that code can be compiled for: what the tables of an image depend on, and the names of extensions.
//! Each processor has one file. Another one is a file, and a line in [`Processor::ALL`].

pub(crate) mod aarch64;
pub(crate) mod x86_64;

use std::fmt;

/// The processor of this program.
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64 as host;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64 as host;

/// A processor without compiled code. Heaps work there.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) mod host {
    /// There is no compiled code that preserves registers.
    pub(crate) const CALLEE_SAVED: usize = 0;
    /// There is no compiled code in pages.
    pub(crate) const PAGE_SIZE: u32 = 64 << 10;

    /// No compiled code uses extensions.
    pub(crate) fn features() -> Vec<&'static str> {
        Vec::new()
    }
}

/// A processor family that code can be compiled for.
///
/// # Examples
/// ```
/// use gc_types::{CALLEE_SAVED, Machine, Processor};
///
/// let here = Machine::host().processor().unwrap();
/// assert_eq!(here.callee_saved(), CALLEE_SAVED);
/// assert_eq!(Processor::named("aarch64").unwrap().callee_saved(), 10);
/// assert!(Processor::named("pdp11").is_none());
/// ```
pub struct Processor {
    name: &'static str,
    callee_saved: usize,
    page_size: u32,
    tears_stores: bool,
    levels: &'static [Level],
}

/// A level of an architecture: a name, and the extensions that every processor of the level has.
struct Level {
    name: &'static str,
    features: &'static [&'static str],
}

impl Processor {
    /// All processors.
    pub const ALL: [&'static Processor; 2] = [&x86_64::PROCESSOR, &aarch64::PROCESSOR];

    /// The processor family with this name, which is as in [`std::env::consts::ARCH`].
    pub fn named(name: &str) -> Option<&'static Processor> {
        Processor::ALL.into_iter().find(|processor| processor.name == name)
    }

    /// Its name, as in [`std::env::consts::ARCH`].
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The number of registers that a call of compiled code preserves, besides the stack and the frame pointer. Tables
    /// have a word for each.
    pub fn callee_saved(&self) -> usize {
        self.callee_saved
    }

    /// The size in bytes of the largest pages that systems on it have: code that is copied or mapped, and what follows
    /// it, begin at multiples of it.
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// Whether a store that faults because a part of it is in a page that is not accessible may have written the part that
    /// is in another page.
    pub fn tears_stores(&self) -> bool {
        self.tears_stores
    }

    /// The names of its levels, the lowest first ([`Machine::baseline`](crate::Machine::baseline)).
    pub fn levels(&self) -> impl Iterator<Item = &'static str> {
        self.levels.iter().map(|level| level.name)
    }

    /// The processor and the extensions of the level with this name.
    pub(crate) fn level(name: &str) -> Option<(&'static Processor, &'static [&'static str])> {
        Processor::ALL.into_iter().find_map(|processor| {
            let level = processor.levels.iter().find(|level| level.name == name)?;
            Some((processor, level.features))
        })
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Processor").field(&self.name).finish()
    }
}
