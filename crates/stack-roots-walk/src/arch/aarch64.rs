//! aarch64, with ELF and the calling convention AAPCS64.

use crate::Activation;
use std::arch::{asm, global_asm, naked_asm};

// The activation of the current thread. The assembler of `exit!` and `entry!` uses it in other crates.
global_asm!(
    ".pushsection .tbss.stack_roots,\"awT\",@nobits",
    ".balign 8",
    ".globl stack_roots_v1_activation",
    ".hidden stack_roots_v1_activation",
    ".type stack_roots_v1_activation, @tls_object",
    ".size stack_roots_v1_activation, 16",
    "stack_roots_v1_activation:",
    ".zero 16",
    ".popsection",
    // A program without tables has no such section.
    ".weak __start_stack_roots",
    ".hidden __start_stack_roots",
    ".weak __stop_stack_roots",
    ".hidden __stop_stack_roots",
);

/// The place of the current thread's activation.
#[unsafe(naked)]
pub(crate) extern "C" fn activation() -> *mut Activation {
    naked_asm!(
        "mrs x0, tpidr_el0",
        "adrp x1, :gottprel:stack_roots_v1_activation",
        "ldr x1, [x1, :gottprel_lo12:stack_roots_v1_activation]",
        "add x0, x0, x1",
        "ret",
    )
}

#[unsafe(naked)]
extern "C" fn start() -> *const u8 {
    naked_asm!(
        "adrp x0, :got:__start_stack_roots",
        "ldr x0, [x0, :got_lo12:__start_stack_roots]",
        "ret"
    )
}

#[unsafe(naked)]
extern "C" fn stop() -> *const u8 {
    naked_asm!(
        "adrp x0, :got:__stop_stack_roots",
        "ldr x0, [x0, :got_lo12:__stop_stack_roots]",
        "ret"
    )
}

/// The return address in a frame, without the signature of pointer authentication.
pub(crate) fn without_signature(return_address: usize) -> usize {
    let address;
    // `xpaclri`, which does nothing on a processor without pointer authentication.
    // SAFETY: it changes only `x30`.
    unsafe {
        asm!("hint #7", inlateout("x30") return_address => address, options(pure, nomem, nostack, preserves_flags));
    }
    address
}

/// The bounds of the section of tables. Null if there is none.
pub(crate) fn section() -> (*const u8, *const u8) {
    (start(), stop())
}

/// The instructions of an exit function. Arguments, also the place of a result in memory (`x8`), stay in their registers.
#[doc(hidden)]
#[macro_export]
macro_rules! stack_roots_exit {
    ($target:path) => {
        ::core::arch::naked_asm!(
            ".cfi_startproc",
            "stp x29, x30, [sp, #-16]!",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset x29, -16",
            ".cfi_offset x30, -8",
            "mov x29, sp",
            ".cfi_def_cfa_register x29",
            "mrs x16, tpidr_el0",
            "adrp x17, :gottprel:stack_roots_v1_activation",
            "ldr x17, [x17, :gottprel_lo12:stack_roots_v1_activation]",
            "add x16, x16, x17",
            // It is zero if compiled code has called this function.
            "ldr x17, [x16]",
            "str x17, [sp, #-16]!",
            "str x29, [x16]",
            "bl {target}",
            "mrs x16, tpidr_el0",
            "adrp x17, :gottprel:stack_roots_v1_activation",
            "ldr x17, [x17, :gottprel_lo12:stack_roots_v1_activation]",
            "add x16, x16, x17",
            "ldr x17, [sp], #16",
            "str x17, [x16]",
            "ldp x29, x30, [sp], #16",
            ".cfi_def_cfa sp, 0",
            ".cfi_restore x29",
            ".cfi_restore x30",
            "ret",
            ".cfi_endproc",
            target = sym $target,
        )
    };
}

/// The instructions of an entry function.
#[doc(hidden)]
#[macro_export]
macro_rules! stack_roots_entry {
    () => {
        ::core::arch::naked_asm!(
            ".cfi_startproc",
            "stp x29, x30, [sp, #-16]!",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset x29, -16",
            ".cfi_offset x30, -8",
            "mov x29, sp",
            ".cfi_def_cfa_register x29",
            // The activation before, and all registers that the convention preserves.
            "mrs x16, tpidr_el0",
            "adrp x17, :gottprel:stack_roots_v1_activation",
            "ldr x17, [x17, :gottprel_lo12:stack_roots_v1_activation]",
            "add x16, x16, x17",
            "ldp x17, x9, [x16]",
            "stp x9, x17, [sp, #-16]!",
            "stp x19, x20, [sp, #-144]!",
            "stp x21, x22, [sp, #16]",
            "stp x23, x24, [sp, #32]",
            "stp x25, x26, [sp, #48]",
            "stp x27, x28, [sp, #64]",
            "stp d8, d9, [sp, #80]",
            "stp d10, d11, [sp, #96]",
            "stp d12, d13, [sp, #112]",
            "stp d14, d15, [sp, #128]",
            "stp xzr, x29, [x16]",
            "mov x16, x0",
            "mov x0, x1",
            "mov x1, x2",
            "mov x2, x3",
            "mov x3, x4",
            "mov x4, x5",
            "blr x16",
            "ldp d14, d15, [sp, #128]",
            "ldp d12, d13, [sp, #112]",
            "ldp d10, d11, [sp, #96]",
            "ldp d8, d9, [sp, #80]",
            "ldp x27, x28, [sp, #64]",
            "ldp x25, x26, [sp, #48]",
            "ldp x23, x24, [sp, #32]",
            "ldp x21, x22, [sp, #16]",
            "ldp x19, x20, [sp], #144",
            "mrs x16, tpidr_el0",
            "adrp x17, :gottprel:stack_roots_v1_activation",
            "ldr x17, [x17, :gottprel_lo12:stack_roots_v1_activation]",
            "add x16, x16, x17",
            "ldp x9, x17, [sp], #16",
            "stp x17, x9, [x16]",
            "ldp x29, x30, [sp], #16",
            ".cfi_def_cfa sp, 0",
            ".cfi_restore x29",
            ".cfi_restore x30",
            "ret",
            ".cfi_endproc",
        )
    };
}
