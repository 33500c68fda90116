//! The settings of Cranelift that compiled code needs.

use super::arch;
use super::compile::{CompileOptions, OptLevel, RegallocAlgorithm};
use anyhow::{Context as _, Result};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use gc_types::Abi;

/// The Cranelift target for the machine of `abi`, with the settings that this crate needs.
pub(super) fn target(
    abi: &Abi,
    options: &CompileOptions,
    opt_level: OptLevel,
    regalloc: RegallocAlgorithm,
) -> Result<OwnedTargetIsa> {
    let mut flags = settings::builder();
    for (name, value) in [
        (
            "opt_level",
            match opt_level {
                OptLevel::None => "none",
                OptLevel::Speed => "speed",
                OptLevel::SpeedAndSize => "speed_and_size",
            },
        ),
        (
            "regalloc_algorithm",
            match regalloc {
                RegallocAlgorithm::Backtracking => "backtracking",
                RegallocAlgorithm::SinglePass => "single_pass",
            },
        ),
        (
            "enable_nan_canonicalization",
            if options.nan_canonicalization { "true" } else { "false" },
        ),
        ("enable_verifier", if options.verifier { "true" } else { "false" }),
        // Stack walks follow frame pointers.
        ("preserve_frame_pointers", "true"),
        // It says where functions save callee-saved registers, and how they make frames.
        ("unwind_info", "true"),
        // Large frames are compared with the stack limit at the function's entry. The probes are
        // for functions without a stack limit.
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        // This allows more results than there are result registers.
        ("enable_multi_ret_implicit_sret", "true"),
        ("is_pic", "true"),
        ("use_colocated_libcalls", "true"),
    ] {
        flags.set(name, value).with_context(|| format!("Cranelift setting {name}={value}"))?;
    }
    let mut backend = arch::backend(abi.machine())?;
    if options.sign_return_addresses {
        let setting = arch::of(abi.machine())?.signing();
        let setting = setting.with_context(|| {
            let arch = abi.machine().arch();
            format!("sign_return_addresses: code for {arch} cannot sign return addresses")
        })?;
        backend.enable(setting).with_context(|| format!("Cranelift setting {setting}"))?;
    }
    backend
        .finish(settings::Flags::new(flags))
        .with_context(|| format!("cannot configure Cranelift for {}", abi.machine()))
}
