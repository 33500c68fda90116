//! x86-64 Linux: how execution resumes at a handler, and the registers of an interrupted thread.
#![allow(unsafe_code)]

use std::arch::{asm, naked_asm};

/// Makes newly written code visible to instruction fetch. On x86-64 there is nothing to do: the
/// caches are coherent, and no code was executed at this address before `mprotect`.
pub(crate) fn flush_instruction_cache(_start: *const u8, _size: usize) {}

/// Resumes at a handler: sets the stack and frame pointers, passes `payload` in the first exception
/// register and jumps. The handler expects no other register, because the exceptional edge of a
/// `try_call` clobbers all registers.
///
/// # Safety
/// The handler belongs to a frame that is on the stack, with this stack pointer and this frame
/// pointer. All frames that are dropped are compiled code's, or have nothing to drop.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn resume(sp: usize, fp: usize, handler_pc: usize, payload: u64) -> ! {
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
        // SAFETY: the kernel passes a `ucontext_t`, which the handler may change.
        Interrupted(unsafe { &mut *context.cast::<libc::ucontext_t>() })
    }

    fn register(&self, register: i32) -> usize {
        self.0.uc_mcontext.gregs[register as usize] as usize
    }

    /// Its program counter.
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

    /// Makes the thread continue as after [`resume`] when the signal handler returns.
    pub(crate) fn resume_at(&mut self, sp: usize, fp: usize, handler_pc: usize, payload: u64) {
        let registers = &mut self.0.uc_mcontext.gregs;
        registers[libc::REG_RSP as usize] = sp as i64;
        registers[libc::REG_RBP as usize] = fp as i64;
        registers[libc::REG_RAX as usize] = payload as i64;
        registers[libc::REG_RIP as usize] = handler_pc as i64;
    }
}
