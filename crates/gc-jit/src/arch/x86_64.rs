//! x86-64 Linux: how execution resumes at a handler, and the registers of an interrupted thread.
#![allow(unsafe_code)]

use crate::vmcontext::{NextPlace, VMStoreContext};
use gc_types::ReturnSignature;
use std::arch::{asm, naked_asm};
use std::mem::offset_of;

/// The number of the processor in ELF files.
pub(crate) const ELF_MACHINE: u16 = object::elf::EM_X86_64;

/// The signals that instructions of compiled code raise: accesses of memory, `ud2`, and divisions.
pub(crate) const SIGNALS: [libc::c_int; 4] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// The return address in a frame.
#[inline(always)]
pub(crate) fn without_signature(return_address: usize) -> usize {
    return_address
}

/// Makes newly written code visible to instruction fetch. On x86-64 there is nothing to do: the
/// caches are coherent, and no code was executed at this address before `mprotect`.
pub(crate) fn flush_instruction_cache(_start: *const u8, _size: usize) {}

/// A return address as a function signs it: there are no signatures.
pub(crate) fn sign(return_address: usize, _signature: ReturnSignature, _fp: usize) -> usize {
    return_address
}

/// Resumes at the next place of the store context in `rbp`: sets the stack and frame pointers and
/// the callee-saved registers that were found in frames, passes the payload in the first exception
/// register and jumps. The other callee-saved registers have the right values already.
///
/// # Safety
/// Only a trampoline returns here, after [`unwind`](crate::exceptions::unwind). The handler belongs to a frame that is on
/// the stack, with the place's stack and frame pointers. All frames that are dropped are compiled
/// code's, or have nothing to drop.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn resume() -> ! {
    naked_asm!(
        "lea rdx, [rbp + {place}]",
        "mov rcx, [rdx + {found}]",
        "test cl, 1",
        "cmovnz rbx, [rdx + {registers}]",
        "test cl, 2",
        "cmovnz r12, [rdx + {registers} + 8]",
        "test cl, 4",
        "cmovnz r13, [rdx + {registers} + 16]",
        "test cl, 8",
        "cmovnz r14, [rdx + {registers} + 24]",
        "test cl, 16",
        "cmovnz r15, [rdx + {registers} + 32]",
        "mov rax, [rdx + {payload}]",
        "mov rsp, [rdx + {sp}]",
        "mov rbp, [rdx + {fp}]",
        "mov rcx, [rdx + {pc}]",
        "mov qword ptr [rdx + {pc}], 0",
        "jmp rcx",
        place = const offset_of!(VMStoreContext, next_place),
        found = const offset_of!(NextPlace, found),
        registers = const offset_of!(NextPlace, registers),
        payload = const offset_of!(NextPlace, payload),
        sp = const offset_of!(NextPlace, sp),
        fp = const offset_of!(NextPlace, fp),
        pc = const offset_of!(NextPlace, pc),
    )
}

/// The current stack pointer.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The words of this thread's stack from the caller's frame up to `end`, and of the registers that a callee
/// keeps. The copy is made in assembly: it contains bytes that Rust code has not initialised, or no longer
/// uses.
///
/// # Safety
/// The stack is readable up to `end`, which is above the stack pointer.
#[inline(never)]
pub(crate) unsafe fn stack_words(end: usize) -> Vec<usize> {
    const REGISTERS: usize = 6;
    let sp = stack_pointer();
    let count = (end - sp) / size_of::<usize>();
    let mut words = Vec::<usize>::with_capacity(count + REGISTERS);
    // SAFETY: the vector has room for all words, and the caller promises that the stack is readable. The
    // direction flag is clear at every call.
    unsafe {
        let registers = words.as_mut_ptr();
        asm!(
            "mov [{0}], rbx",
            "mov [{0} + 8], rbp",
            "mov [{0} + 16], r12",
            "mov [{0} + 24], r13",
            "mov [{0} + 32], r14",
            "mov [{0} + 40], r15",
            in(reg) registers,
            options(nostack, preserves_flags)
        );
        asm!(
            "rep movsq",
            inout("rcx") count => _,
            inout("rsi") sp => _,
            inout("rdi") registers.add(REGISTERS) => _,
            options(nostack, preserves_flags)
        );
        words.set_len(count + REGISTERS);
    }
    words
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

    /// Makes the thread continue at the handler of an entry when the signal handler returns. That
    /// handler expects no callee-saved register.
    pub(crate) fn resume_at(&mut self, sp: usize, fp: usize, handler_pc: usize, payload: u64) {
        let registers = &mut self.0.uc_mcontext.gregs;
        registers[libc::REG_RSP as usize] = sp as i64;
        registers[libc::REG_RBP as usize] = fp as i64;
        registers[libc::REG_RAX as usize] = payload as i64;
        registers[libc::REG_RIP as usize] = handler_pc as i64;
    }
}
