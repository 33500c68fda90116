//! aarch64: the 64-bit state of Arm's processors.

use super::{Level, Processor};

/// `x19` to `x28`, in this order (AAPCS64, section 6.1.1). A handler relies on no vector register: Cranelift takes all
/// of them as overwritten by a call that has handlers.
pub(crate) const CALLEE_SAVED: usize = 10;

/// Systems have pages of 4, 16 or 64 KiB (Arm Architecture Reference Manual, section D8.1).
pub(crate) const PAGE_SIZE: u32 = 64 << 10;

pub(super) static PROCESSOR: Processor = Processor {
    name: "aarch64",
    callee_saved: CALLEE_SAVED,
    page_size: PAGE_SIZE,
    // A store that is not aligned is several accesses (Arm Architecture Reference Manual, "Requirements for single-copy
    // atomicity").
    tears_stores: true,
    // Arm Architecture Reference Manual, chapter A2: FEAT_LSE is mandatory from version 8.1 on.
    levels: &[
        Level { name: "armv8-a", features: &[] },
        Level { name: "armv8.1-a", features: &["lse"] },
    ],
};

/// The extensions of this processor for which Cranelift has a setting. Pointer authentication (`pauth`) is not among
/// them: code that does not sign return addresses does not need it.
#[cfg(target_arch = "aarch64")]
pub(crate) fn features() -> Vec<&'static str> {
    let all = [
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("lse", std::arch::is_aarch64_feature_detected!("lse")),
    ];
    all.into_iter().filter(|(_, detected)| *detected).map(|(name, _)| name).collect()
}
