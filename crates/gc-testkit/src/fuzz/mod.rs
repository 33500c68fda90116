//! Fuzz targets: functions of bytes that fail if the bytes show a fault.
//!
//! A [`Target`] joins a generator, which makes something out of the bytes, with an oracle, which
//! knows what must come of it. No target knows a fuzzing engine. The same input runs in libFuzzer
//! (the crate under `fuzz/`), in a test on the stable compiler, and alone to reproduce a failure.
//!
//! The targets here (with the feature `clif`) need only `gc-compiler`. `gc_fuzz` has the others, and the
//! list of all.

#[cfg(feature = "clif")]
mod clif;
mod mutation;

use anyhow::Result;

/// A fuzz target.
///
/// ```
/// use gc_testkit::fuzz::Target;
///
/// fn no_zeros(bytes: &[u8]) -> anyhow::Result<()> {
///     anyhow::ensure!(!bytes.contains(&0), "there is a zero");
///     Ok(())
/// }
///
/// let target = Target { name: "no_zeros", run: no_zeros, seeds: 10, length: 64, mutate: None };
/// assert!((target.run)(&[1, 2]).is_ok());
/// assert!((target.run)(&[1, 0]).is_err());
/// assert!(target.mutated(&[1, 2], 7).len() <= 64);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the binary under `fuzz/fuzz_targets/` and of the folders in `fuzz/corpus/` and
    /// `fuzz/regressions/`.
    pub name: &'static str,
    /// Runs the target on some bytes.
    ///
    /// The error is a fault that the bytes show. A panic is one too.
    pub run: fn(&[u8]) -> Result<()>,
    /// How many inputs the test on the stable compiler makes from seeds.
    pub seeds: u64,
    /// The most bytes of an input that is made from a seed or by a mutation. More say little more
    /// about the target.
    pub length: usize,
    /// Changes an input, for targets whose bytes mutate badly.
    pub mutate: Option<Mutate>,
}

impl Target {
    /// A similar input: by [`Target::mutate`], or with a few bytes changed, left out or repeated. It
    /// has at most [`Target::length`] bytes, or as many as `input` has.
    pub fn mutated(&self, input: &[u8], seed: u32) -> Vec<u8> {
        let most = self.length.max(input.len());
        let own = self.mutate.and_then(|mutate| mutate(input, most, seed));
        own.unwrap_or_else(|| mutation::bytes(input, most, seed))
    }
}

/// Makes a similar input of at most this many bytes, which depends only on the input and a seed.
/// `None` if it cannot; a mutation of bytes is used then.
pub type Mutate = fn(&[u8], usize, u32) -> Option<Vec<u8>>;

/// The targets of this crate.
#[cfg(feature = "clif")]
pub fn targets() -> Vec<Target> {
    clif::TARGETS.to_vec()
}
