//! [`Fingerprint`]: whether emitted code and a heap agree.

use std::fmt;

/// What a collector's two halves must agree on, as one number: its name, its version,
/// its shared constants. Code that was compiled for one fingerprint never runs on a heap
/// of another.
///
/// A hash, to find mistakes; it keeps nobody from forging one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The version of the words both halves speak.
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Of a collector of this name, whose code and heaps agree on what else `parts` say;
    /// a part of each is to change whenever code of an older build would not do for a heap
    /// of this one, or the other way round.
    pub fn of(name: &str, parts: &[&str]) -> Fingerprint {
        let all = [name, Fingerprint::VERSION].into_iter().chain(parts.iter().copied());
        // FNV-1a; a byte that is in no text ends each.
        let bytes = all.flat_map(|part| part.bytes().chain([0xff]));
        Fingerprint(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_differ_in_each_part() {
        let all = [
            Fingerprint::of("a", &[]),
            Fingerprint::of("b", &[]),
            Fingerprint::of("a", &["1"]),
            Fingerprint::of("a", &["1", "2"]),
            Fingerprint::of("a", &["12"]),
            Fingerprint::of("a", &["", "12"]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one), "{i}");
        }
        assert_eq!(Fingerprint::of("a", &["1"]), all[2]);
    }
}
