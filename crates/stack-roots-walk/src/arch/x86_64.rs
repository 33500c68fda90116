//! x86-64, with ELF and the System V calling convention.

use crate::Activation;
use std::arch::{global_asm, naked_asm};

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
    naked_asm!("mov rax, fs:[0]", "add rax, [rip + stack_roots_v1_activation@GOTTPOFF]", "ret",)
}

#[unsafe(naked)]
extern "C" fn start() -> *const u8 {
    naked_asm!("mov rax, [rip + __start_stack_roots@GOTPCREL]", "ret")
}

#[unsafe(naked)]
extern "C" fn stop() -> *const u8 {
    naked_asm!("mov rax, [rip + __stop_stack_roots@GOTPCREL]", "ret")
}

/// The return address in a frame.
pub(crate) fn without_signature(return_address: usize) -> usize {
    return_address
}

/// The bounds of the section of tables. Null if there is none.
pub(crate) fn section() -> (*const u8, *const u8) {
    (start(), stop())
}

/// The instructions of an exit function.
#[doc(hidden)]
#[macro_export]
macro_rules! stack_roots_exit {
    ($target:path) => {
        ::core::arch::naked_asm!(
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "mov r11, [rip + stack_roots_v1_activation@GOTTPOFF]",
            // It is zero if compiled code has called this function.
            "push fs:[r11]",
            "sub rsp, 8",
            "mov fs:[r11], rbp",
            "call {target}",
            "add rsp, 8",
            "mov r11, [rip + stack_roots_v1_activation@GOTTPOFF]",
            "pop fs:[r11]",
            "pop rbp",
            ".cfi_def_cfa rsp, 8",
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
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            // The activation before, and all registers that System V preserves.
            "mov r11, [rip + stack_roots_v1_activation@GOTTPOFF]",
            "push fs:[r11]",
            "push fs:[r11 + 8]",
            "push rbx",
            "push r12",
            "push r13",
            "push r14",
            "push r15",
            "sub rsp, 8",
            "mov qword ptr fs:[r11], 0",
            "mov fs:[r11 + 8], rbp",
            "mov rax, rdi",
            "mov rdi, rsi",
            "mov rsi, rdx",
            "mov rdx, rcx",
            "mov rcx, r8",
            "mov r8, r9",
            "call rax",
            "add rsp, 8",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "mov r11, [rip + stack_roots_v1_activation@GOTTPOFF]",
            "pop fs:[r11 + 8]",
            "pop fs:[r11]",
            "pop rbp",
            ".cfi_def_cfa rsp, 8",
            "ret",
            ".cfi_endproc",
        )
    };
}
