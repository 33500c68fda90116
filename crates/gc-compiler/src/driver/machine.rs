//! The code that depends on the processor: the choice of the Cranelift backend, callee-saved
//! registers, and relocations.

use super::frame::FrameStep;
use anyhow::{Context as _, Result, anyhow, bail};
use cranelift_codegen::RegClass;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::{
    AbiParam, ArgumentExtension, ArgumentPurpose, LibCall, Signature, types,
};
use cranelift_codegen::isa::unwind::UnwindInst;
use cranelift_codegen::isa::{self, CallConv};
use cranelift_codegen::settings::Configurable;
use gc_types::{CALLEE_SAVED, Machine};

/// The byte that fills the space between functions: `int3`.
pub(super) const PADDING: u8 = 0xcc;

/// Cranelift's backend for `machine`, with its extensions enabled.
///
/// # Errors
/// If Cranelift or this file does not support the machine.
pub(super) fn backend(machine: &Machine) -> Result<isa::Builder> {
    let triple = match (machine.arch(), machine.system()) {
        ("x86_64", "linux") => "x86_64-unknown-linux-gnu",
        (arch, system) => bail!("cannot compile for {arch}-{system}"),
    };
    let mut backend =
        isa::lookup_by_name(triple).map_err(|why| anyhow!("cannot compile for {triple}: {why}"))?;
    for feature in machine.features() {
        backend
            .enable(&format!("has_{feature}"))
            .with_context(|| format!("cannot compile for {triple} with {feature}"))?;
    }
    Ok(backend)
}

/// The encodings of the callee-saved registers, in the order of [`CALLEE_SAVED`].
const CALLEE_SAVED_REGISTERS: [u8; CALLEE_SAVED] = [3, 12, 13, 14, 15];

/// Where a function keeps its caller's callee-saved registers: for each, the distance in bytes from
/// the slot up to the frame pointer, or zero.
pub(super) fn saved_registers(unwind_info: &[(u32, UnwindInst)]) -> Result<[u32; CALLEE_SAVED]> {
    let (mut saved, mut down) = ([0; CALLEE_SAVED], None);
    for (_, step) in unwind_info {
        match *step {
            UnwindInst::DefineNewFrame { offset_downward_to_clobbers, .. } => {
                down = Some(offset_downward_to_clobbers);
            }
            UnwindInst::SaveReg { clobber_offset, reg } if reg.class() == RegClass::Int => {
                let is = |encoding: &u8| *encoding == reg.hw_enc();
                let number = CALLEE_SAVED_REGISTERS.iter().position(is);
                if let Some(number) = number {
                    let down = down.context("a register is saved before there is a frame")?;
                    saved[number] = down - clobber_offset;
                }
            }
            _ => {}
        }
    }
    Ok(saved)
}

/// The numbers in DWARF of the integer registers, by their encodings (System V ABI, figure 3.36).
const DWARF_REGISTERS: [u16; 16] = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
/// The number in DWARF of the first vector register.
const DWARF_VECTOR: u16 = 17;

/// How a function makes its frame: the changes, each with the number of bytes of code before it.
pub(super) fn frame_steps(unwind_info: &[(u32, UnwindInst)]) -> Result<Vec<(u32, FrameStep)>> {
    let (mut steps, mut down) = (Vec::new(), None);
    for (offset, step) in unwind_info {
        let step = match *step {
            UnwindInst::PushFrameRegs { offset_upward_to_caller_sp } => {
                FrameStep::Pushed(offset_upward_to_caller_sp)
            }
            UnwindInst::DefineNewFrame { offset_downward_to_clobbers, .. } => {
                down = Some(offset_downward_to_clobbers);
                FrameStep::FramePointer
            }
            UnwindInst::SaveReg { clobber_offset, reg } => {
                let down = down.context("a register is saved before there is a frame")?;
                let encoding = reg.hw_enc();
                let register = match reg.class() {
                    RegClass::Int => DWARF_REGISTERS[usize::from(encoding)],
                    RegClass::Float | RegClass::Vector => DWARF_VECTOR + u16::from(encoding),
                };
                FrameStep::Saved { register, below: down - clobber_offset }
            }
            // All is relative to the frame pointer.
            UnwindInst::StackAlloc { .. } => continue,
            UnwindInst::RegStackOffset { .. } | UnwindInst::Aarch64SetPointerAuth { .. } => {
                bail!("a frame of an unknown form: {step:?}")
            }
        };
        steps.push((*offset, step));
    }
    Ok(steps)
}

/// The signature for calls with handlers of functions with `signature`. It has a convention for
/// which Cranelift expects that whoever unwinds to a handler restores the callee-saved registers, and
/// so it keeps values in them across the call. `CallConv::Tail` has no such registers for handlers.
///
/// It is the convention of the System V ABI. It passes few parameters and results in the same
/// registers as `CallConv::Tail`. If there are more, there is no such signature.
pub(super) fn signature_with_handlers(signature: &Signature) -> Option<Signature> {
    let fits = |params: &[AbiParam], most_integers: usize, most_floats: usize| {
        let (mut integers, mut floats) = (0, 0);
        for param in params {
            match param.value_type {
                types::I8 | types::I16 | types::I32 | types::I64 => integers += 1,
                types::F32 | types::F64 => floats += 1,
                ty if ty.is_vector() && ty.bits() == 128 => floats += 1,
                _ => return false,
            }
            let plain = [ArgumentPurpose::Normal, ArgumentPurpose::VMContext];
            if !plain.contains(&param.purpose) || param.extension != ArgumentExtension::None {
                return false;
            }
        }
        integers <= most_integers && floats <= most_floats
    };
    let fits = signature.call_conv == CallConv::Tail
        && fits(&signature.params, 6, 8)
        && fits(&signature.returns, 1, 2);
    fits.then(|| Signature { call_conv: CallConv::SystemV, ..signature.clone() })
}

/// The extension with which `call` is an instruction of an x86-64 machine. There are no library
/// functions, so code that would call one needs the extension.
pub(super) fn extension_for(call: LibCall) -> Option<&'static str> {
    use LibCall::*;
    match call {
        CeilF32 | CeilF64 | FloorF32 | FloorF64 | NearestF32 | NearestF64 | TruncF32 | TruncF64 => {
            Some("sse41")
        }
        FmaF32 | FmaF64 => Some("fma"),
        X86Pshufb => Some("ssse3"),
        _ => None,
    }
}

/// The bytes of the distance in a direct call, which ends with it.
pub(super) const CALL_FIELD: u32 = 4;

/// The kinds of relocations that the linker knows.
const KINDS: [Reloc; 3] = [Reloc::X86PCRel4, Reloc::X86CallPCRel4, Reloc::X86GOTPCRel4];

/// The number of a kind of relocations in the entry of a cache, if the linker knows it.
pub(crate) fn reloc_code(kind: Reloc) -> Option<u8> {
    Some(KINDS.iter().position(|known| *known == kind)? as u8)
}

/// The kind of relocations with this number.
pub(crate) fn reloc_kind(code: u8) -> Option<Reloc> {
    KINDS.get(usize::from(code)).copied()
}

/// Whether a relocation of this kind is in a load of an address from a table.
pub(super) fn is_load_of_address(kind: Reloc) -> bool {
    kind == Reloc::X86GOTPCRel4
}

/// Makes the instruction or word at `offset` in `code` refer to `target`, an offset in the same
/// code that includes the addend.
pub(super) fn apply_reloc(code: &mut [u8], offset: u32, kind: Reloc, target: i64) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::super::{CompileOptions, Compiler, ImageLinker};
    use super::*;
    use crate::GcCompiler as _;
    use crate::collector::null::NullCompiler;
    use gc_types::{Abi, CallSignature};

    #[test]
    fn a_call_is_linked_relative_to_its_own_field() {
        let mut code = vec![0; 16];
        // A call at 3: opcode, then the field at 4; Cranelift's addend is -4.
        apply_reloc(&mut code, 4, Reloc::X86CallPCRel4, 12 - 4).unwrap();
        assert_eq!(i32::from_le_bytes(code[4..8].try_into().unwrap()), 12 - 8);
        assert!(apply_reloc(&mut code, 4, Reloc::X86CallPCRel4, 1 << 33).is_err());
        assert!(apply_reloc(&mut code, 0, Reloc::Abs8, 0).is_err());
    }

    #[test]
    fn frames_have_the_saved_registers() {
        let abi = Abi::new(NullCompiler.abi());
        let compiler = Compiler::new(&NullCompiler, &abi, &CompileOptions::default()).unwrap();
        let mut linker = ImageLinker::new();
        // The host keeps all registers across this trampoline.
        linker.entry(CallSignature::new([], []));
        let code = linker.link_object(&compiler).unwrap();
        let [frame] = &*code.frames else { panic!("{:?}", code.frames) };
        let saved = code.image.saved_registers_at(frame.offset).unwrap();
        let numbers = CALLEE_SAVED_REGISTERS.map(|it| DWARF_REGISTERS[usize::from(it)]);
        let below = numbers.map(|number| {
            let mut steps = frame.steps.iter();
            steps.find_map(|(_, step)| match *step {
                FrameStep::Saved { register, below } if register == number => Some(below),
                _ => None,
            })
        });
        assert_eq!(below, saved.map(Some));
        assert_eq!(numbers, [3, 12, 13, 14, 15]);
        assert!(!saved.contains(&0), "{saved:?}");
    }

    #[test]
    fn every_extension_of_this_machine_has_a_setting() {
        backend(&Machine::host()).unwrap();
        let error = backend(&Machine::new("m68k", "amiga")).err().unwrap();
        assert_eq!(error.to_string(), "cannot compile for m68k-amiga");
    }
}
