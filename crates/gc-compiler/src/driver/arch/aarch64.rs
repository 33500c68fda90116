//! aarch64.
//!
//! `CallConv::Tail` passes integers from `x2` on, and the platform's convention (AAPCS64) from `x0` on. So calls with
//! handlers have two more parameters and results that have no meaning, and host calls have two arguments before
//! the vmctx. Each parameter without a meaning costs one move. Every vector register is clobbered at every call, so handlers
//! rely on none.

use super::{Arch, TailRegisters};
use anyhow::{Context as _, Result, bail, ensure};
use cranelift_codegen::RegClass;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::LibCall;
use cranelift_codegen::isa::CallConv;
use gc_types::ReturnSignature;

#[derive(Debug)]
pub(super) struct Aarch64;

/// The number in DWARF of the first vector register (DWARF for the Arm 64-bit Architecture, section 4.1).
const DWARF_VECTOR: u16 = 64;

// ELF for the Arm 64-bit Architecture, section 5.7.
const R_AARCH64_CALL26: u32 = 283;
const R_AARCH64_ADR_PREL_PG_HI21: u32 = 275;
const R_AARCH64_LDST64_ABS_LO12_NC: u32 = 286;

/// The part of an address that `adrp` leaves out, whatever the size of the system's pages.
const PAGE: i64 = 4096;

impl Arch for Aarch64 {
    fn name(&self) -> &'static str {
        "aarch64"
    }

    fn callee_saved(&self) -> &'static [u8] {
        &[19, 20, 21, 22, 23, 24, 25, 26, 27, 28]
    }

    fn dwarf_register(&self, class: RegClass, encoding: u8) -> u16 {
        match class {
            RegClass::Int => encoding.into(),
            RegClass::Float | RegClass::Vector => DWARF_VECTOR + u16::from(encoding),
        }
    }

    /// Zero is `udf`.
    fn padding(&self) -> Option<u8> {
        None
    }

    fn tail_registers(&self) -> TailRegisters {
        TailRegisters { params: [6, 8], results: [6, 8] }
    }

    fn registers_before_tail(&self) -> usize {
        2
    }

    fn signing(&self) -> Option<&'static str> {
        Some("sign_return_address")
    }

    /// A tail call may change the stack pointer before the callee returns.
    fn return_signature(&self, convention: CallConv) -> ReturnSignature {
        match convention {
            CallConv::Tail => ReturnSignature::Zero,
            _ => ReturnSignature::StackPointer,
        }
    }

    fn extension_for(&self, _call: LibCall) -> Option<&'static str> {
        None
    }

    fn is_load(&self, kind: Reloc) -> bool {
        [Reloc::Aarch64AdrGotPage21, Reloc::Aarch64Ld64GotLo12Nc].contains(&kind)
    }

    fn elf_type(&self, kind: Reloc) -> Option<u32> {
        match kind {
            Reloc::Arm64Call => Some(R_AARCH64_CALL26),
            Reloc::Aarch64AdrGotPage21 => Some(R_AARCH64_ADR_PREL_PG_HI21),
            Reloc::Aarch64Ld64GotLo12Nc => Some(R_AARCH64_LDST64_ABS_LO12_NC),
            _ => None,
        }
    }

    fn apply(&self, code: &mut [u8], offset: u32, kind: Reloc, target: i64) -> Result<()> {
        let at = offset as usize;
        let (mask, field) = match kind {
            Reloc::Arm64Call => {
                let distance = target - i64::from(offset);
                ensure!(distance % 4 == 0, "a call of an address between instructions");
                (
                    0x03ff_ffff,
                    signed(distance / 4, 26)
                        .context("a target is too far away for a direct call")?,
                )
            }
            Reloc::Aarch64AdrGotPage21 => {
                let pages = target.div_euclid(PAGE) - i64::from(offset).div_euclid(PAGE);
                let pages = signed(pages, 21).context("a word is too far away")?;
                ((0b11 << 29) | (0x7_ffff << 5), ((pages & 0b11) << 29) | ((pages >> 2) << 5))
            }
            Reloc::Aarch64Ld64GotLo12Nc => {
                let low = target.rem_euclid(PAGE);
                ensure!(low % 8 == 0, "a word at an address that is no multiple of 8");
                (0xfff << 10, ((low / 8) as u32) << 10)
            }
            other => bail!("relocation {other:?} is not position-independent"),
        };
        let bytes = code[at..].first_chunk_mut::<4>().context("a relocation at the end")?;
        let instruction = u32::from_le_bytes(*bytes);
        *bytes = ((instruction & !mask) | field).to_le_bytes();
        Ok(())
    }
}

/// The low `bits` bits of a number that fits into them with its sign.
fn signed(number: i64, bits: u32) -> Option<u32> {
    let limit = 1 << (bits - 1);
    let fits = (-limit..limit).contains(&number);
    fits.then_some(number as u32 & ((1 << bits) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(instruction: u32, offset: u32, kind: Reloc, target: i64) -> Result<u32> {
        let mut code = vec![0; offset as usize + 4];
        code[offset as usize..].copy_from_slice(&instruction.to_le_bytes());
        Aarch64.apply(&mut code, offset, kind, target)?;
        Ok(u32::from_le_bytes(*code.last_chunk().unwrap()))
    }

    #[test]
    fn instructions_refer_to_their_targets() {
        // As `aarch64-linux-gnu-as` encodes them. `bl .-8`:
        assert_eq!(applied(0x9400_0000, 16, Reloc::Arm64Call, 8).unwrap(), 0x97ff_fffe);
        assert!(applied(0x9400_0000, 0, Reloc::Arm64Call, 128 << 20).is_err());
        assert!(applied(0x9400_0000, 0, Reloc::Arm64Call, (128 << 20) - 4).is_ok());
        // `adrp x1, .+0x5000`, and `ldr x1, [x1, #0x18]`.
        let word = 0x6018;
        let kind = Reloc::Aarch64AdrGotPage21;
        assert_eq!(applied(0x9000_0001, 0x1004, kind, word).unwrap(), 0xb000_0021);
        let kind = Reloc::Aarch64Ld64GotLo12Nc;
        assert_eq!(applied(0xf940_0021, 0x1008, kind, word).unwrap(), 0xf940_0c21);
        assert!(applied(0xf940_0021, 0, kind, word + 4).is_err());
    }
}
