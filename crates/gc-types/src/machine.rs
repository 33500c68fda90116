//! [`Machine`]: the machine that code is compiled for and runs on.

use crate::arch::{self, Processor};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// The number of registers that a call of compiled code of this program's processor preserves, besides the stack and the
/// frame pointer ([`Processor::callee_saved`]).
pub const CALLEE_SAVED: usize = arch::host::CALLEE_SAVED;

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
        machine.with_features(arch::host::features())
    }

    /// A machine of this processor family and system without extensions. The names are those of
    /// [`std::env::consts`].
    pub fn new(arch: impl Into<Cow<'static, str>>, system: impl Into<Cow<'static, str>>) -> Self {
        Machine { arch: arch.into(), system: system.into(), features: BTreeSet::new() }
    }

    /// A machine of this system with a level of an architecture: `x86-64` (its first version), `x86-64-v2`, `x86-64-v3`
    /// (System V ABI for x86-64, section 3.1.1), or `armv8-a`, `armv8.1-a` (Arm Architecture Reference
    /// Manual, chapter A2). `None` if there is no level of this name.
    ///
    /// ```
    /// use gc_types::Machine;
    ///
    /// let machine = Machine::baseline("x86-64-v2").unwrap();
    /// assert!(machine.features().any(|feature| feature == "sse42"));
    /// assert_eq!(Machine::baseline("armv8-a").unwrap().arch(), "aarch64");
    /// assert!(Machine::baseline("x86-64-v9").is_none());
    /// ```
    pub fn baseline(name: &str) -> Option<Machine> {
        let (processor, features) = Processor::level(name)?;
        let machine = Machine::new(processor.name(), std::env::consts::OS);
        Some(machine.with_features(features.iter().copied()))
    }

    /// The machine of a target triple such as `aarch64-unknown-linux-gnu`, without extensions, or of a
    /// [level](Machine::baseline). The maker and the C library may be left out. `None` if the processor is unknown, the
    /// system is not this one, or code would depend on the C library, as that of `gnux32` does.
    ///
    /// ```
    /// use gc_types::Machine;
    ///
    /// let system = std::env::consts::OS;
    /// let arm = Machine::target(&format!("aarch64-unknown-{system}-gnu")).unwrap();
    /// assert_eq!(arm.to_string(), format!("aarch64-{system}"));
    /// assert_eq!(Machine::target("armv8-a"), Some(arm));
    /// assert_eq!(Machine::target("pdp11-linux"), None);
    /// ```
    pub fn target(name: &str) -> Option<Machine> {
        if let Some(machine) = Machine::baseline(name) {
            return Some(machine);
        }
        let (processor, rest) = name.split_once('-')?;
        let (processor, system) = (Processor::named(processor)?, std::env::consts::OS);
        let is_here = rest.split_once(system).is_some_and(|(maker, library)| {
            let is_maker = maker.find('-').is_some_and(|at| at > 0 && at + 1 == maker.len());
            (maker.is_empty() || is_maker) && matches!(library, "" | "-gnu" | "-musl")
        });
        is_here.then(|| Machine::new(processor.name(), system))
    }

    /// The processor of code for this machine. `None` if no code can be compiled for it.
    pub fn processor(&self) -> Option<&'static Processor> {
        Processor::named(&self.arch)
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

    /// The machine that the text of an [`Abi`](crate::Abi) names, without its extensions.
    pub(crate) fn of_abi(text: &str) -> Option<Machine> {
        let line = text.lines().find_map(|line| line.strip_prefix("machine: "))?;
        let (arch, system) = line.split(' ').next()?.split_once('-')?;
        Some(Machine::new(arch.to_owned(), system.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_triple_of_this_system() {
        let os = std::env::consts::OS;
        let target = |rest: &str| Machine::target(&format!("aarch64-{}", rest.replace("OS", os)));
        for right in ["OS", "OS-gnu", "unknown-OS", "unknown-OS-gnu", "alpine-OS-musl"] {
            assert_eq!(target(right), Some(Machine::new("aarch64", os)), "{right}");
        }
        for wrong in [
            "",
            "-OS",
            "a-b-OS",
            "unknown",
            "OS-",
            "OS-nonsense",
            "unknown-OS-gnu_ilp32",
            "unknown-OS-gnux32",
            "unknown-OS-gnu-coff",
            "unknownOS",
            "OSgnu",
        ] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
        assert_eq!(Machine::target("aarch64"), None);
    }

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
