//! aarch64 Linux: how execution resumes at a handler, and the registers of an interrupted thread.
#![allow(unsafe_code)]

use crate::vmcontext::{NextPlace, VMStoreContext};
use gc_types::ReturnSignature;
use std::arch::{asm, naked_asm};
use std::mem::offset_of;

/// The number of the processor in ELF files.
pub(crate) const ELF_MACHINE: u16 = object::elf::EM_AARCH64;

/// The signals that instructions of compiled code raise: accesses of memory and `udf`. A division does not trap.
pub(crate) const SIGNALS: [libc::c_int; 3] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL];

/// Makes newly written code visible to instruction fetch of all processors. The caches of data and of instructions are not
/// coherent (Arm Architecture Reference Manual, "Synchronization and coherency issues between data and instruction
/// accesses"): the data is cleaned to the point where both unify, and then
/// the instructions are invalidated.
///
/// Another processor may still have fetched old instructions from the same address. It synchronizes when it takes an
/// interrupt, which [`synchronize_threads`](crate::os::synchronize_threads) makes it do.
pub(crate) fn flush_instruction_cache(start: *const u8, size: usize) {
    let cache: usize;
    // SAFETY: Linux lets programs read this register.
    unsafe {
        asm!("mrs {}, ctr_el0", out(reg) cache, options(nomem, nostack, preserves_flags));
    }
    // The sizes of the smallest lines, as logarithms of words.
    let line = |field: usize| 4 << ((cache >> field) & 0xf);
    let (data_line, instruction_line) = (line(16), line(0));
    let (first, end) = (start.addr(), start.addr() + size);
    for address in (first & !(data_line - 1)..end).step_by(data_line) {
        // SAFETY: the address is in a line that has some of the code.
        unsafe { asm!("dc cvau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for address in (first & !(instruction_line - 1)..end).step_by(instruction_line) {
        // SAFETY: as above.
        unsafe { asm!("ic ivau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
    crate::os::synchronize_threads();
}

/// The return address in a frame, without the signature of pointer authentication.
#[inline(always)]
pub(crate) fn without_signature(return_address: usize) -> usize {
    let address;
    // `xpaclri`, which does nothing on a processor without pointer authentication.
    // SAFETY: it changes only `x30`.
    unsafe {
        asm!("hint #7", inlateout("x30") return_address => address, options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// A return address as the function with the frame pointer `fp` signs it.
pub(crate) fn sign(return_address: usize, signature: ReturnSignature, fp: usize) -> usize {
    let modifier = match signature {
        ReturnSignature::None => return return_address,
        ReturnSignature::Zero => 0,
        // The frame begins with two words.
        ReturnSignature::StackPointer => fp + 16,
    };
    let signed;
    // `pacia1716`, which does nothing on a processor without pointer authentication.
    // SAFETY: it changes only `x17`.
    unsafe {
        asm!(
            "hint #8",
            inlateout("x17") return_address => signed,
            in("x16") modifier,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    signed
}

/// Resumes at the next place of the store context in `x29`: sets the stack and frame pointers and
/// the callee-saved registers that were found in frames, passes the payload in the first exception
/// register and jumps. The other callee-saved registers have the right values already. No handler expects a
/// vector register.
///
/// # Safety
/// Only a trampoline returns here, after [`unwind`](crate::exceptions::unwind). The handler belongs to a frame that is on
/// the stack, with the place's stack and frame pointers. All frames that are dropped are compiled
/// code's, or have nothing to drop.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn resume() -> ! {
    naked_asm!(
        "add x9, x29, #{place}",
        "ldr x10, [x9, #{found}]",
        "ldp x11, x12, [x9, #{registers}]",
        "tst x10, #1",
        "csel x19, x11, x19, ne",
        "tst x10, #2",
        "csel x20, x12, x20, ne",
        "ldp x11, x12, [x9, #{registers} + 16]",
        "tst x10, #4",
        "csel x21, x11, x21, ne",
        "tst x10, #8",
        "csel x22, x12, x22, ne",
        "ldp x11, x12, [x9, #{registers} + 32]",
        "tst x10, #16",
        "csel x23, x11, x23, ne",
        "tst x10, #32",
        "csel x24, x12, x24, ne",
        "ldp x11, x12, [x9, #{registers} + 48]",
        "tst x10, #64",
        "csel x25, x11, x25, ne",
        "tst x10, #128",
        "csel x26, x12, x26, ne",
        "ldp x11, x12, [x9, #{registers} + 64]",
        "tst x10, #256",
        "csel x27, x11, x27, ne",
        "tst x10, #512",
        "csel x28, x12, x28, ne",
        "ldr x0, [x9, #{payload}]",
        "ldr x11, [x9, #{sp}]",
        "mov sp, x11",
        "ldr x29, [x9, #{fp}]",
        "ldr x16, [x9, #{pc}]",
        "str xzr, [x9, #{pc}]",
        "br x16",
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
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
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
    const REGISTERS: usize = 19;
    let sp = stack_pointer();
    let count = (end - sp) / size_of::<usize>();
    let mut words = Vec::<usize>::with_capacity(count + REGISTERS);
    // SAFETY: the vector has room for all words, and the caller promises that the stack is readable.
    unsafe {
        let registers = words.as_mut_ptr();
        asm!(
            "stp x19, x20, [{0}]",
            "stp x21, x22, [{0}, #16]",
            "stp x23, x24, [{0}, #32]",
            "stp x25, x26, [{0}, #48]",
            "stp x27, x28, [{0}, #64]",
            "str x29, [{0}, #80]",
            "stp d8, d9, [{0}, #88]",
            "stp d10, d11, [{0}, #104]",
            "stp d12, d13, [{0}, #120]",
            "stp d14, d15, [{0}, #136]",
            in(reg) registers,
            options(nostack, preserves_flags)
        );
        asm!(
            "cbz {count}, 3f",
            "2:",
            "ldr {word}, [{from}], #8",
            "str {word}, [{to}], #8",
            "sub {count}, {count}, #1",
            "cbnz {count}, 2b",
            "3:",
            count = inout(reg) count => _,
            from = inout(reg) sp => _,
            to = inout(reg) registers.add(REGISTERS) => _,
            word = out(reg) _,
            options(nostack, preserves_flags)
        );
        words.set_len(count + REGISTERS);
    }
    words
}

/// The registers of the thread that a signal interrupted.
pub(crate) struct Interrupted<'a>(&'a mut libc::ucontext_t);

/// The number of the frame pointer.
const FP: usize = 29;

impl<'a> Interrupted<'a> {
    /// # Safety
    /// `context` is the third argument of a `SA_SIGINFO` handler that is running.
    pub(crate) unsafe fn new(context: *mut libc::c_void) -> Interrupted<'a> {
        // SAFETY: the kernel passes a `ucontext_t`, which the handler may change.
        Interrupted(unsafe { &mut *context.cast::<libc::ucontext_t>() })
    }

    /// Its program counter.
    pub(crate) fn pc(&self) -> usize {
        self.0.uc_mcontext.pc as usize
    }

    /// Its frame pointer.
    pub(crate) fn fp(&self) -> usize {
        self.0.uc_mcontext.regs[FP] as usize
    }

    /// Its stack pointer.
    pub(crate) fn sp(&self) -> usize {
        self.0.uc_mcontext.sp as usize
    }

    /// Makes the thread continue at the handler of an entry when the signal handler returns. That
    /// handler expects no callee-saved register.
    pub(crate) fn resume_at(&mut self, sp: usize, fp: usize, handler_pc: usize, payload: u64) {
        let registers = &mut self.0.uc_mcontext;
        registers.sp = sp as u64;
        registers.regs[FP] = fp as u64;
        registers.regs[0] = payload;
        registers.pc = handler_pc as u64;
    }
}
