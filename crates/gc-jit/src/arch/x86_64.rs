//! x86-64 on Linux: relocations, the stub that resumes at a handler, and the
//! registers of an interrupted thread.
#![allow(unsafe_code)]

use anyhow::{Result, bail, ensure};
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::isa::TargetIsa;
use std::arch::{asm, naked_asm};

/// Fills the space between functions: `int3`.
pub(crate) const PADDING: u8 = 0xcc;

/// Refuses an `isa` whose code this file cannot run.
pub(crate) fn check_supported(isa: &dyn TargetIsa) -> Result<()> {
    ensure!(
        isa.name() == "x64" && isa.pointer_bits() == 64,
        "code for {} cannot run on x86-64",
        isa.triple()
    );
    Ok(())
}

/// Makes the instruction or word at `offset` of `code` refer to `target` (an offset
/// into the same code, addend included).
pub(crate) fn apply_reloc(code: &mut [u8], offset: u32, kind: Reloc, target: i64) -> Result<()> {
    match kind {
        Reloc::X86PCRel4 | Reloc::X86CallPCRel4 => {
            let Ok(distance) = i32::try_from(target - i64::from(offset)) else {
                bail!("a target is out of a direct call's reach");
            };
            let at = offset as usize;
            code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
            Ok(())
        }
        other => bail!("relocation {other:?} is not position-independent"),
    }
}

/// Makes freshly written code visible to instruction fetch: nothing to do here, where
/// caches are coherent and the code was never executed at this address before
/// `mprotect`.
pub(crate) fn flush_instruction_cache(_start: *const u8, _size: usize) {}

/// Resumes at an activation's handler: sets the stack and frame pointers, passes
/// `payload` in the first exception register and jumps. Trampolines call it when the
/// host function they called has failed and returned, so that the frames it drops are
/// all compiled code's. The handler expects no other register: the exceptional edge of
/// a `try_call` clobbers them all.
///
/// # Safety
/// To be called by emitted trampolines alone, with an active activation's values.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn unwind_stub(
    sp: usize,
    fp: usize,
    handler_pc: usize,
    payload: u64,
) -> ! {
    naked_asm!("mov rsp, rdi", "mov rbp, rsi", "mov rax, rcx", "jmp rdx")
}

/// The current stack pointer.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The registers of the thread that a signal interrupted.
pub(crate) struct Interrupted<'a>(&'a mut libc::ucontext_t);

impl<'a> Interrupted<'a> {
    /// # Safety
    /// `context` is the third argument of a `SA_SIGINFO` handler that is running.
    pub(crate) unsafe fn new(context: *mut libc::c_void) -> Interrupted<'a> {
        // SAFETY: the kernel passes a ucontext_t, which is the handler's to change.
        Interrupted(unsafe { &mut *context.cast::<libc::ucontext_t>() })
    }

    fn register(&self, register: i32) -> usize {
        self.0.uc_mcontext.gregs[register as usize] as usize
    }

    /// Where it was.
    pub(crate) fn pc(&self) -> usize {
        self.register(libc::REG_RIP)
    }

    /// Its frame pointer.
    pub(crate) fn fp(&self) -> usize {
        self.register(libc::REG_RBP)
    }

    /// Its stack pointer.
    pub(crate) fn sp(&self) -> usize {
        self.register(libc::REG_RSP)
    }

    /// Makes it go on, when the signal handler returns, as [`unwind_stub`] would.
    pub(crate) fn resume_at(&mut self, sp: usize, fp: usize, handler_pc: usize, payload: u64) {
        let registers = &mut self.0.uc_mcontext.gregs;
        registers[libc::REG_RSP as usize] = sp as i64;
        registers[libc::REG_RBP as usize] = fp as i64;
        registers[libc::REG_RAX as usize] = payload as i64;
        registers[libc::REG_RIP as usize] = handler_pc as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_linked_relative_to_its_own_field() {
        let mut code = vec![0; 16];
        // A call at 3: opcode, then the field at 4; Cranelift's addend is -4.
        apply_reloc(&mut code, 4, Reloc::X86CallPCRel4, 12 - 4).unwrap();
        assert_eq!(i32::from_le_bytes(code[4..8].try_into().unwrap()), 12 - 8);
        assert!(apply_reloc(&mut code, 4, Reloc::X86CallPCRel4, 1 << 33).is_err());
        assert!(apply_reloc(&mut code, 0, Reloc::Abs8, 0).is_err());
    }
}
