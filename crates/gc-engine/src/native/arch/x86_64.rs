//! x86-64.

use super::{Arch, Main, Unwind};
use gimli::X86_64;
use object::{Architecture, elf};

pub(super) static ARCH: Arch = Arch {
    name: "x86_64",
    architecture: Architecture::X86_64,
    distance_64: elf::R_X86_64_PC64,
    distance_32: elf::R_X86_64_PC32,
    address_64: elf::R_X86_64_64,
    address_32: elf::R_X86_64_32,
    main: Main {
        // endbr64; jmp
        code: &[0xf3, 0x0f, 0x1e, 0xfa, 0xe9, 0, 0, 0, 0],
        jump: (5, elf::R_X86_64_PLT32, -4),
    },
    unwind: Unwind {
        stack_pointer: X86_64::RSP,
        frame_pointer: X86_64::RBP,
        return_address: X86_64::RA,
        pushed: 8,
        signed_address: None,
    },
};
