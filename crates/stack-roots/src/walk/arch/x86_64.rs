//! x86-64, with ELF and the System V calling convention.

use crate::walk::Activation;
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
pub(in crate::walk) extern "C" fn activation() -> *mut Activation {
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

/// The bounds of the section of tables. Null if there is none.
pub(in crate::walk) fn section() -> (*const u8, *const u8) {
    (start(), stop())
}

/// Declares functions of the runtime that compiled code calls and during which a collection may walk the stack.
///
/// Each of them records the frame of its caller, calls the function after `=`, and forgets the frame again. It has the
/// same type as this function, and its arguments and result are in registers: no more than six words of arguments.
/// Both is checked when it is compiled. The function may not unwind.
///
/// A function of the runtime that compiled code calls directly cannot collect: the walk ends with
/// [`WalkError::NoExit`](crate::walk::WalkError::NoExit).
///
/// # Examples
/// ```
/// use stack_roots::walk::Tables;
///
/// extern "C" fn collect(tables: &Tables) -> u64 {
///     // SAFETY: compiled code preserves frame pointers, and this function returns after the walk.
///     match unsafe { tables.walk_current() } {
///         Ok(frames) => frames.len() as u64,
///         Err(error) => panic!("{error}"),
///     }
/// }
///
/// stack_roots::exit! {
///     /// Collects all garbage.
///     pub extern "C" fn runtime_collect(tables: &Tables) -> u64 = collect;
/// }
///
/// // No compiled code is on the stack.
/// assert_eq!(runtime_collect(&Tables::new()), 0);
/// ```
#[macro_export]
macro_rules! exit {
    ($($(#[$meta:meta])* $vis:vis extern "C" fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $target:path;)*) => {$(
        const _: () = {
            let _: extern "C" fn($($ty),*) $(-> $result)? = $target;
            let words = 0 $(+ size_of::<$ty>().div_ceil(8))*;
            let result = 0 $(+ size_of::<$result>())?;
            assert!(
                words + (result > 16) as usize <= 6,
                "an exit function has at most six words of arguments"
            );
        };
        $(#[$meta])*
        #[unsafe(naked)]
        $vis extern "C" fn $name($($arg: $ty),*) $(-> $result)? {
            ::core::arch::naked_asm!(
                "push rbp",
                "mov rbp, rsp",
                "mov r11, [rip + stack_roots_v1_activation@GOTTPOFF]",
                "mov fs:[r11], rbp",
                "call {target}",
                "mov r11, [rip + stack_roots_v1_activation@GOTTPOFF]",
                "mov qword ptr fs:[r11], 0",
                "pop rbp",
                "ret",
                target = sym $target,
            )
        }
    )*};
}

/// Declares functions that enter compiled code. Each gets the address of a compiled function, and its arguments.
///
/// It records that the frames of compiled code begin here. The arguments and the result are in registers: no more than
/// five words of arguments and two of results, which is checked when it is compiled. The compiled function may have the
/// calling conventions `SystemV`, `Fast` and `Tail` of Cranelift.
///
/// # Safety
/// The first argument of such a function is the address of compiled code that takes the other arguments, and nothing
/// unwinds through it.
///
/// # Examples
/// ```
/// extern "C" fn double(n: u64) -> u64 {
///     2 * n
/// }
///
/// stack_roots::entry! {
///     /// Calls a compiled function.
///     pub unsafe fn call(code: *const u8, argument: u64) -> u64;
/// }
///
/// // A function of Rust stands for a compiled one.
/// assert_eq!(unsafe { call(double as *const u8, 21) }, 42);
/// ```
#[macro_export]
macro_rules! entry {
    ($($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($code:ident: *const u8 $(, $arg:ident: $ty:ty)* $(,)?) $(-> $result:ty)?;)*) => {$(
        const _: () = {
            let words = 0 $(+ size_of::<$ty>().div_ceil(8))*;
            let result = 0 $(+ size_of::<$result>())?;
            assert!(
                words <= 5 && result <= 16,
                "an entry function has at most five words of arguments and two of results"
            );
        };
        $(#[$meta])*
        #[unsafe(naked)]
        $vis unsafe extern "C" fn $name($code: *const u8 $(, $arg: $ty)*) $(-> $result)? {
            ::core::arch::naked_asm!(
                "push rbp",
                "mov rbp, rsp",
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
                "ret",
            )
        }
    )*};
}
