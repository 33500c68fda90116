//! aarch64.

use super::{Arch, Main, Unwind};
use gimli::AArch64;
use object::{Architecture, elf};

pub(super) static ARCH: Arch = Arch {
    name: "aarch64",
    architecture: Architecture::Aarch64,
    distance_64: elf::R_AARCH64_PREL64,
    distance_32: elf::R_AARCH64_PREL32,
    address_64: elf::R_AARCH64_ABS64,
    address_32: elf::R_AARCH64_ABS32,
    main: Main {
        // bti c; b
        code: &[0x5f, 0x24, 0x03, 0xd5, 0, 0, 0, 0x14],
        jump: (4, elf::R_AARCH64_JUMP26, 0),
    },
    unwind: Unwind {
        stack_pointer: AArch64::SP,
        frame_pointer: AArch64::X29,
        return_address: AArch64::X30,
        pushed: 0,
        // Linux gives a program addresses above these only where it asks for them.
        signed_address: Some((1 << 48) - 1),
    },
};
