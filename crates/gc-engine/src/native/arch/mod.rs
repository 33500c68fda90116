//! What objects depend on of the processor: relocations, the code of `main`, and registers of unwinders. Each processor has
//! one file.

mod aarch64;
mod x86_64;

use anyhow::{Context as _, Result};
use gc_types::{Abi, Processor};
use gimli::Register;
use object::Architecture;

/// Objects for a processor.
pub(super) struct Arch {
    /// Its name, as in [`Processor::name`].
    name: &'static str,
    pub(super) architecture: Architecture,
    /// The types of relocations of the distance from the place to the symbol.
    pub(super) distance_64: u32,
    pub(super) distance_32: u32,
    /// The types of relocations of the symbol's address.
    pub(super) address_64: u32,
    pub(super) address_32: u32,
    pub(super) main: Main,
    pub(super) unwind: Unwind,
}

/// The code of `main`, which jumps to a symbol.
pub(super) struct Main {
    pub(super) code: &'static [u8],
    /// The offset, the type and the addend of the relocation of the jump.
    pub(super) jump: (u64, u32, i64),
}

/// The registers of unwinders.
pub(super) struct Unwind {
    pub(super) stack_pointer: Register,
    pub(super) frame_pointer: Register,
    pub(super) return_address: Register,
    /// Bytes that a call pushes, at whose start the return address then is. If it pushes none, the function saves the
    /// return address after the frame pointer.
    pub(super) pushed: i32,
    /// The bits of a signed return address that are those of the address. `None` if functions do not sign them.
    pub(super) signed_address: Option<u64>,
}

/// All processors.
pub(super) const ALL: [&Arch; 2] = [&x86_64::ARCH, &aarch64::ARCH];

/// The processor of the code of an ABI.
///
/// # Errors
/// If there are no objects for it.
pub(super) fn of(abi: &Abi) -> Result<&'static Arch> {
    let name = abi.machine().arch();
    let found = ALL.into_iter().find(|arch| arch.name == name);
    found.with_context(|| format!("there are no objects with code for {name}"))
}

impl Arch {
    /// The largest size of a page in bytes.
    pub(super) fn page_size(&self) -> u64 {
        let processor = Processor::named(self.name).expect("code is compiled for it");
        processor.page_size().into()
    }
}
