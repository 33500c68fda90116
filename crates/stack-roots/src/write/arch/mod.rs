//! What tables in objects depend on of the processor. Each processor has one file.

mod aarch64;
mod x86_64;

/// A processor.
#[derive(Debug)]
pub(super) struct Arch {
    /// Its name in Cranelift.
    isa: &'static str,
    /// Its number in ELF files.
    pub(super) machine: u16,
    /// The types of relocations of the distance from the place to the symbol.
    pub(super) distance_64: u32,
    pub(super) distance_32: u32,
}

/// The processor with this name in Cranelift.
pub(super) fn of(isa: &str) -> Option<&'static Arch> {
    [&x86_64::ARCH, &aarch64::ARCH].into_iter().find(|arch| arch.isa == isa)
}
