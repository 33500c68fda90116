//! x86-64.

use super::{Arch, TailRegisters};
use anyhow::{Result, bail};
use cranelift_codegen::RegClass;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::LibCall;
use cranelift_codegen::isa::CallConv;
use gc_types::ReturnSignature;

#[derive(Debug)]
pub(super) struct X86_64;

/// The numbers in DWARF of the integer registers, by their encodings (System V ABI, figure 3.36).
const DWARF_REGISTERS: [u16; 16] = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
/// The number in DWARF of the first vector register.
const DWARF_VECTOR: u16 = 17;

// Distances from the field to the target, in 32 bits (System V ABI, section 4.4.1).
const R_X86_64_PC32: u32 = 2;
const R_X86_64_PLT32: u32 = 4;

impl Arch for X86_64 {
    fn name(&self) -> &'static str {
        "x86_64"
    }

    /// `rbx` and `r12` to `r15`.
    fn callee_saved(&self) -> &'static [u8] {
        &[3, 12, 13, 14, 15]
    }

    fn dwarf_register(&self, class: RegClass, encoding: u8) -> u16 {
        match class {
            RegClass::Int => DWARF_REGISTERS[usize::from(encoding)],
            RegClass::Float | RegClass::Vector => DWARF_VECTOR + u16::from(encoding),
        }
    }

    /// `int3`.
    fn padding(&self) -> Option<u8> {
        Some(0xcc)
    }

    fn tail_registers(&self) -> TailRegisters {
        TailRegisters { params: [6, 8], results: [1, 2] }
    }

    fn registers_before_tail(&self) -> usize {
        0
    }

    fn signing(&self) -> Option<&'static str> {
        None
    }

    fn return_signature(&self, _convention: CallConv) -> ReturnSignature {
        ReturnSignature::None
    }

    fn extension_for(&self, call: LibCall) -> Option<&'static str> {
        use LibCall::*;
        match call {
            CeilF32 | CeilF64 | FloorF32 | FloorF64 | NearestF32 | NearestF64 | TruncF32
            | TruncF64 => Some("sse41"),
            FmaF32 | FmaF64 => Some("fma"),
            X86Pshufb => Some("ssse3"),
            _ => None,
        }
    }

    fn is_load(&self, kind: Reloc) -> bool {
        kind == Reloc::X86GOTPCRel4
    }

    fn elf_type(&self, kind: Reloc) -> Option<u32> {
        match kind {
            Reloc::X86CallPCRel4 => Some(R_X86_64_PLT32),
            Reloc::X86GOTPCRel4 => Some(R_X86_64_PC32),
            _ => None,
        }
    }

    fn apply(&self, code: &mut [u8], offset: u32, kind: Reloc, target: i64) -> Result<()> {
        match kind {
            Reloc::X86PCRel4 | Reloc::X86CallPCRel4 | Reloc::X86GOTPCRel4 => {
                let Ok(distance) = i32::try_from(target - i64::from(offset)) else {
                    bail!("a target is too far away for a direct call");
                };
                let at = offset as usize;
                code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
                Ok(())
            }
            other => bail!("relocation {other:?} is not position-independent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_linked_relative_to_its_own_field() {
        let mut code = vec![0; 16];
        // A call at 3: opcode, then the field at 4; Cranelift's addend is -4.
        X86_64.apply(&mut code, 4, Reloc::X86CallPCRel4, 12 - 4).unwrap();
        assert_eq!(i32::from_le_bytes(code[4..8].try_into().unwrap()), 12 - 8);
        assert!(X86_64.apply(&mut code, 4, Reloc::X86CallPCRel4, 1 << 33).is_err());
        assert!(X86_64.apply(&mut code, 0, Reloc::Abs8, 0).is_err());
    }
}
