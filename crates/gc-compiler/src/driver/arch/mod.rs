//! What depends on the processor: the choice of the Cranelift backend, callee-saved registers, calling conventions, and
//! relocations. Each processor has one file. Another one is a file, and a line in [`ALL`].
//!
//! All of them are in every program: code can be compiled for another processor if Cranelift's backend for it is there
//! (the feature `cross`).

mod aarch64;
mod x86_64;

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
use gc_types::{Machine, Processor, ReturnSignature};

/// A processor.
pub(crate) trait Arch: std::fmt::Debug + Sync {
    /// Its name, as in [`gc_types::Processor::name`].
    fn name(&self) -> &'static str;

    /// What tables depend on.
    fn processor(&self) -> &'static Processor {
        Processor::named(self.name()).expect("there are tables for every processor")
    }

    /// The encodings of the callee-saved registers, in the order of
    /// [`gc_types::Processor::callee_saved`].
    fn callee_saved(&self) -> &'static [u8];

    /// The number in DWARF of a register.
    fn dwarf_register(&self, class: RegClass, encoding: u8) -> u16;

    /// The byte that fills the space between functions, so that it cannot be executed. `None` if zero does, with which
    /// Cranelift fills it.
    fn padding(&self) -> Option<u8>;

    /// How many values a call passes in the registers of `CallConv::Tail`, and how many values it returns.
    fn tail_registers(&self) -> TailRegisters;

    /// Cranelift's setting by which functions sign their return addresses. `None` if there is none.
    fn signing(&self) -> Option<&'static str>;

    /// How a function of this convention signs its return address if functions sign them.
    fn return_signature(&self, convention: CallConv) -> ReturnSignature;

    /// The number of registers of the platform's convention that come before the first one for an integer of
    /// `CallConv::Tail`, for parameters and for results.
    fn registers_before_tail(&self) -> usize;

    /// The extension with which `call` is an instruction. There are no library functions, so code that would call one
    /// needs the extension.
    fn extension_for(&self, call: LibCall) -> Option<&'static str>;

    /// Whether a relocation of this kind is in the load of a word from a table.
    fn is_load(&self, kind: Reloc) -> bool;

    /// The type of an ELF relocation of this kind whose target is where the linker puts it. A load from a table of
    /// addresses becomes a load from the target.
    fn elf_type(&self, kind: Reloc) -> Option<u32>;

    /// Makes the instruction at `offset` in `code` refer to `target`, an offset in the same code that includes the
    /// addend. The code begins at a multiple of 4 KiB.
    ///
    /// # Errors
    /// If the target is too far away, or if the code would then not be independent of its position.
    fn apply(&self, code: &mut [u8], offset: u32, kind: Reloc, target: i64) -> Result<()>;
}

/// The registers of values of calls with `CallConv::Tail`, which those of the platform's convention include.
pub(crate) struct TailRegisters {
    /// So many integers and so many floats, for parameters and for results.
    pub(super) params: [usize; 2],
    pub(super) results: [usize; 2],
}

/// All processors.
const ALL: [&dyn Arch; 2] = [&x86_64::X86_64, &aarch64::Aarch64];

/// The processor of a machine.
///
/// # Errors
/// If it is unknown.
pub(super) fn of(machine: &Machine) -> Result<&'static dyn Arch> {
    let found = ALL.into_iter().find(|arch| arch.name() == machine.arch());
    found.with_context(|| format!("cannot compile for {}-{}", machine.arch(), machine.system()))
}

/// Cranelift's backend for `machine`, with its extensions enabled.
///
/// # Errors
/// If Cranelift or this crate does not support the machine.
pub(super) fn backend(machine: &Machine) -> Result<isa::Builder> {
    let triple = match machine.system() {
        "linux" => format!("{}-unknown-linux-gnu", of(machine)?.name()),
        system => bail!("cannot compile for {}-{system}", machine.arch()),
    };
    let mut backend = isa::lookup_by_name(&triple).map_err(|why| {
        let feature = match why {
            isa::LookupError::SupportDisabled => {
                ": this program was built without the feature `cross`"
            }
            isa::LookupError::Unsupported => "",
        };
        anyhow!("cannot compile for {triple}{feature}")
    })?;
    for feature in machine.features() {
        backend
            .enable(&format!("has_{feature}"))
            .with_context(|| format!("cannot compile for {triple} with {feature}"))?;
    }
    Ok(backend)
}

/// The bytes from the place of a direct call's relocation to its return address.
pub(super) const CALL_FIELD: u32 = 4;

/// The kinds of relocations that the linker knows.
const KINDS: [Reloc; 6] = [
    Reloc::X86PCRel4,
    Reloc::X86CallPCRel4,
    Reloc::X86GOTPCRel4,
    Reloc::Arm64Call,
    Reloc::Aarch64AdrGotPage21,
    Reloc::Aarch64Ld64GotLo12Nc,
];

/// The number of a kind of relocations in the entry of a cache, if the linker knows it.
pub(crate) fn reloc_code(kind: Reloc) -> Option<u8> {
    Some(KINDS.iter().position(|known| *known == kind)? as u8)
}

/// The kind of relocations with this number.
pub(crate) fn reloc_kind(code: u8) -> Option<Reloc> {
    KINDS.get(usize::from(code)).copied()
}

/// Where a function keeps its caller's callee-saved registers: for each, the distance in bytes from
/// the slot up to the frame pointer, or zero.
pub(super) fn saved_registers(
    arch: &dyn Arch,
    unwind_info: &[(u32, UnwindInst)],
) -> Result<Vec<u32>> {
    let registers = arch.callee_saved();
    let (mut saved, mut down) = (vec![0; registers.len()], None);
    for (_, step) in unwind_info {
        match *step {
            UnwindInst::DefineNewFrame { offset_downward_to_clobbers, .. } => {
                down = Some(offset_downward_to_clobbers);
            }
            UnwindInst::SaveReg { clobber_offset, reg } if reg.class() == RegClass::Int => {
                let is = |encoding: &u8| *encoding == reg.hw_enc();
                if let Some(number) = registers.iter().position(is) {
                    let down = down.context("a register is saved before there is a frame")?;
                    saved[number] = down - clobber_offset;
                }
            }
            _ => {}
        }
    }
    Ok(saved)
}

/// How a function makes its frame: the changes, each with the number of bytes of code before it.
pub(super) fn frame_steps(
    arch: &dyn Arch,
    unwind_info: &[(u32, UnwindInst)],
) -> Result<Vec<(u32, FrameStep)>> {
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
                let register = arch.dwarf_register(reg.class(), reg.hw_enc());
                FrameStep::Saved { register, below: down - clobber_offset }
            }
            // All is relative to the frame pointer.
            UnwindInst::StackAlloc { .. } => continue,
            UnwindInst::Aarch64SetPointerAuth { return_addresses: true } => FrameStep::Signed,
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
/// It is the convention of the platform. It passes few parameters and results in the same registers as
/// `CallConv::Tail`, after [`Arch::registers_before_tail`] of them that have no meaning. If there are more, there is no
/// such signature.
pub(super) fn signature_with_handlers(arch: &dyn Arch, signature: &Signature) -> Option<Signature> {
    let fits = |params: &[AbiParam], most: [usize; 2]| {
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
        integers <= most[0] && floats <= most[1]
    };
    let (registers, before) = (arch.tail_registers(), arch.registers_before_tail());
    // What has no meaning is the first argument once more.
    let has_argument = signature.params.first().is_some_and(|it| it.value_type == types::I64);
    let fits = signature.call_conv == CallConv::Tail
        && (before == 0 || has_argument)
        && fits(&signature.params, registers.params)
        && fits(&signature.returns, registers.results);
    fits.then(|| {
        let mut signature = Signature { call_conv: CallConv::SystemV, ..signature.clone() };
        let unused = std::iter::repeat_n(AbiParam::new(types::I64), before);
        signature.params.splice(0..0, unused.clone());
        signature.returns.splice(0..0, unused);
        signature
    })
}

#[cfg(test)]
mod tests {
    use super::super::{CompileOptions, Compiler, ImageLinker};
    use super::*;
    use crate::GcCompiler as _;
    use crate::collector::null::NullCompiler;
    use gc_types::{Abi, CallSignature};

    #[test]
    fn frames_have_the_saved_registers() {
        let abi = Abi::new(NullCompiler.abi());
        let arch = of(abi.machine()).unwrap();
        let compiler = Compiler::new(&NullCompiler, &abi, &CompileOptions::default()).unwrap();
        let mut linker = ImageLinker::new();
        // The host keeps all registers across this trampoline.
        linker.entry(CallSignature::new([], []));
        let code = linker.link_object(&compiler).unwrap();
        let [frame] = &*code.frames else { panic!("{:?}", code.frames) };
        let saved: Vec<_> = code.image.saved_registers_at(frame.offset).unwrap().collect();
        let numbers = arch.callee_saved().iter().map(|it| arch.dwarf_register(RegClass::Int, *it));
        let below = numbers.map(|number| {
            let mut steps = frame.steps.iter();
            let below = steps.find_map(|(_, step)| match *step {
                FrameStep::Saved { register, below } if register == number => Some(below),
                _ => None,
            });
            below.unwrap()
        });
        assert_eq!(below.collect::<Vec<_>>(), saved);
        assert!(!saved.contains(&0), "{saved:?}");
    }

    #[test]
    fn the_tables_have_a_word_for_each_register() {
        for arch in ALL {
            assert_eq!(arch.callee_saved().len(), arch.processor().callee_saved());
        }
        assert_eq!(ALL.len(), gc_types::Processor::ALL.len());
    }

    #[test]
    fn every_extension_of_this_machine_has_a_setting() {
        backend(&Machine::host()).unwrap();
        let error = backend(&Machine::new("m68k", "amiga")).err().unwrap();
        assert_eq!(error.to_string(), "cannot compile for m68k-amiga");
    }
}
