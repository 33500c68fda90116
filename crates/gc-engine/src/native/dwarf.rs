//! Sections of DWARF whose relocations are listed, for a linker.

use gimli::LittleEndian;
use gimli::write::{EndianVec, RelocateWriter, Relocation};

/// A section of DWARF that is being written.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) bytes: EndianVec<LittleEndian>,
    pub(super) relocations: Vec<Relocation>,
}

impl Part {
    pub(super) fn new() -> Part {
        Part { bytes: EndianVec::new(LittleEndian), relocations: Vec::new() }
    }
}

impl RelocateWriter for Part {
    type Writer = EndianVec<LittleEndian>;

    fn writer(&self) -> &Self::Writer {
        &self.bytes
    }

    fn writer_mut(&mut self) -> &mut Self::Writer {
        &mut self.bytes
    }

    fn relocate(&mut self, relocation: Relocation) {
        self.relocations.push(relocation);
    }
}
