//! aarch64.

use super::Arch;
use object::elf;

pub(super) static ARCH: Arch = Arch {
    isa: "aarch64",
    machine: stack_roots_walk::format::AARCH64,
    distance_64: elf::R_AARCH64_PREL64,
    distance_32: elf::R_AARCH64_PREL32,
};
