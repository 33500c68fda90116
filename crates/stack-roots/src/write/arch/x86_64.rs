//! x86-64.

use super::Arch;
use object::elf;

pub(super) static ARCH: Arch = Arch {
    isa: "x64",
    machine: stack_roots_walk::format::X86_64,
    distance_64: elf::R_X86_64_PC64,
    distance_32: elf::R_X86_64_PC32,
};
