//! [`Machine`]: the machine that code is compiled for and runs on.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// The number of registers that a call of compiled code preserves, besides the stack and the frame
/// pointer. On x86-64 these are `rbx`, `r12`, `r13`, `r14` and `r15`, in this order (System V ABI,
/// section 3.2.1).
pub const CALLEE_SAVED: usize = 5;

/// A processor family, an operating system, and the instruction-set extensions that compiled code
/// may use.
///
/// ```
/// use gc_types::Machine;
///
/// let here = Machine::host();
/// assert!(here.runs(&here));
/// assert!(here.runs(&here.clone().with_features([])));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    arch: Cow<'static, str>,
    system: Cow<'static, str>,
    features: BTreeSet<Cow<'static, str>>,
}

impl Machine {
    /// The current machine, with all of its extensions that compiled code can use.
    pub fn host() -> Machine {
        let machine = Machine {
            arch: std::env::consts::ARCH.into(),
            system: std::env::consts::OS.into(),
            features: BTreeSet::new(),
        };
        machine.with_features(host_features().iter().copied())
    }

    /// A machine of this processor family and system without extensions. The names are those of
    /// [`std::env::consts`].
    pub fn new(arch: impl Into<Cow<'static, str>>, system: impl Into<Cow<'static, str>>) -> Self {
        Machine { arch: arch.into(), system: system.into(), features: BTreeSet::new() }
    }

    /// A machine of this system with a level of the x86-64 architecture: `x86-64` (its first version), `x86-64-v2`,
    /// `x86-64-v3` (System V ABI for x86-64, section 3.1.1). `None` if there is no level of this name.
    ///
    /// ```
    /// use gc_types::Machine;
    ///
    /// let machine = Machine::baseline("x86-64-v2").unwrap();
    /// assert!(machine.features().any(|feature| feature == "sse42"));
    /// assert!(Machine::baseline("x86-64-v9").is_none());
    /// ```
    pub fn baseline(name: &str) -> Option<Machine> {
        const V2: [&str; 6] = ["cmpxchg16b", "popcnt", "sse3", "sse41", "sse42", "ssse3"];
        const V3: [&str; 6] = ["avx", "avx2", "bmi1", "bmi2", "fma", "lzcnt"];
        let machine = Machine::new("x86_64", std::env::consts::OS);
        Some(match name {
            "x86-64" => machine,
            "x86-64-v2" => machine.with_features(V2),
            "x86-64-v3" => machine.with_features(V2.into_iter().chain(V3)),
            _ => return None,
        })
    }

    /// Replaces the extensions. Their names are those of Cranelift's settings, without `has_`.
    pub fn with_features(mut self, features: impl IntoIterator<Item = &'static str>) -> Machine {
        self.features = features.into_iter().map(Cow::Borrowed).collect();
        self
    }

    /// The processor family.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// The operating system.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The extensions, in alphabetical order.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.features.iter().map(|feature| &**feature)
    }

    /// Whether code that was compiled for `other` runs on this machine.
    pub fn runs(&self, other: &Machine) -> bool {
        (&self.arch, &self.system) == (&other.arch, &other.system)
            && other.features.is_subset(&self.features)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.arch, self.system)?;
        self.features().try_for_each(|feature| write!(f, " {feature}"))
    }
}

#[cfg(target_arch = "x86_64")]
fn host_features() -> Vec<&'static str> {
    macro_rules! detect {
        ($($name:literal = $detected:tt,)*) => {
            [$(($name, std::is_x86_feature_detected!($detected)),)*]
        };
    }
    // The extensions for which Cranelift's x64 backend has a setting.
    let all = detect! {
        "cmpxchg16b" = "cmpxchg16b",
        "sse3" = "sse3",
        "ssse3" = "ssse3",
        "sse41" = "sse4.1",
        "sse42" = "sse4.2",
        "popcnt" = "popcnt",
        "avx" = "avx",
        "avx2" = "avx2",
        "fma" = "fma",
        "avx_vnni" = "avxvnni",
        "avx512vnni" = "avx512vnni",
        "bmi1" = "bmi1",
        "bmi2" = "bmi2",
        "avx512bitalg" = "avx512bitalg",
        "avx512dq" = "avx512dq",
        "avx512f" = "avx512f",
        "avx512vl" = "avx512vl",
        "avx512vbmi" = "avx512vbmi",
        "lzcnt" = "lzcnt",
    };
    all.into_iter().filter(|(_, detected)| *detected).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn host_features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_runs_what_needs_no_more_than_it_has() {
        let small = Machine::new("x86_64", "linux").with_features(["avx"]);
        let large = small.clone().with_features(["avx", "avx2"]);
        assert!(large.runs(&small) && !small.runs(&large));
        assert!(!large.runs(&Machine::new("aarch64", "linux")));
        assert!(!large.runs(&Machine::new("x86_64", "macos")));
        assert_eq!(large.to_string(), "x86_64-linux avx avx2");
    }
}
