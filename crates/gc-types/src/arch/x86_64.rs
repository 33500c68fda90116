//! x86-64.

use super::{Level, Processor};

/// `rbx`, `r12`, `r13`, `r14` and `r15`, in this order (System V ABI for x86-64, section 3.2.1).
pub(crate) const CALLEE_SAVED: usize = 5;

/// The only size of small pages.
pub(crate) const PAGE_SIZE: u32 = 4 << 10;

pub(super) static PROCESSOR: Processor = Processor {
    name: "x86_64",
    callee_saved: CALLEE_SAVED,
    page_size: PAGE_SIZE,
    // Faults are precise: an instruction that faults has written nothing (Intel's manual, volume 3, "Exception
    // Classifications").
    tears_stores: false,
    // System V ABI for x86-64, section 3.1.1.
    levels: &[
        Level { name: "x86-64", features: &[] },
        Level {
            name: "x86-64-v2",
            features: &["cmpxchg16b", "popcnt", "sse3", "sse41", "sse42", "ssse3"],
        },
        Level {
            name: "x86-64-v3",
            features: &[
                "cmpxchg16b",
                "popcnt",
                "sse3",
                "sse41",
                "sse42",
                "ssse3",
                "avx",
                "avx2",
                "bmi1",
                "bmi2",
                "fma",
                "lzcnt",
            ],
        },
    ],
};

/// The extensions of this processor for which Cranelift has a setting.
#[cfg(target_arch = "x86_64")]
pub(crate) fn features() -> Vec<&'static str> {
    macro_rules! detect {
        ($($name:literal = $detected:tt,)*) => {
            [$(($name, std::is_x86_feature_detected!($detected)),)*]
        };
    }
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
