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

/// The bounds of the section of tables. Null if there is none.
pub(crate) fn section() -> (*const u8, *const u8) {
    (start(), stop())
}

/// Declares functions of the runtime that compiled code calls and during which a collection may walk the stack.
///
/// Each of them records the frame of its caller, calls the function after `=`, and forgets the frame again. It has the
/// same type as this function, safe or `unsafe`, and its arguments and result are in registers: integers, pointers and
/// floats, no more than six words of arguments. Both is checked when it is compiled. Compiled code calls it with the
/// calling convention `SystemV`. The function may not unwind.
///
/// A function of the runtime that compiled code calls directly cannot collect: the walk ends with
/// [`WalkError::NoExit`](crate::WalkError::NoExit). The runtime itself calls the function after `=`, and not the exit
/// function, because its own frame is not one of compiled code.
///
/// # Examples
/// ```
/// use stack_roots_walk::Tables;
///
/// extern "C" fn collect(tables: &Tables) -> u64 {
///     // SAFETY: compiled code preserves frame pointers, and this function returns after the walk.
///     match unsafe { tables.walk_current() } {
///         Ok(frames) => frames.len() as u64,
///         Err(error) => panic!("{error}"),
///     }
/// }
///
/// unsafe extern "C" fn length(list: *const u64) -> u64 {
///     // SAFETY: the caller promises it.
///     unsafe { *list }
/// }
///
/// stack_roots_walk::exit! {
///     /// Collects all garbage.
///     pub extern "C" fn runtime_collect(tables: &Tables) -> u64 = collect;
///     unsafe extern "C" fn runtime_length(list: *const u64) -> u64 = length;
/// }
///
/// // No compiled code is on the stack.
/// assert_eq!(runtime_collect(&Tables::new()), 0);
/// assert_eq!(unsafe { runtime_length(&3) }, 3);
/// ```
///
/// A function of another type, with arguments in memory or with too many of them is refused:
///
/// ```compile_fail,E0308
/// extern "C" fn collect(bytes: u64) {}
/// stack_roots_walk::exit! { extern "C" fn runtime_collect() = collect; }
/// ```
/// ```compile_fail,E0080
/// extern "C" fn read(words: [u64; 3]) {}
/// stack_roots_walk::exit! { extern "C" fn runtime_read(words: [u64; 3]) = read; }
/// ```
/// ```compile_fail,E0080
/// extern "C" fn many(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64) {}
/// stack_roots_walk::exit! {
///     extern "C" fn runtime_many(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64) = many;
/// }
/// ```
/// ```compile_fail,E0308
/// unsafe extern "C" fn read(word: *const u64) {}
/// stack_roots_walk::exit! { extern "C" fn runtime_read(word: *const u64) = read; }
/// ```
/// ```compile_fail,E0080
/// extern "C" fn nothing() {}
/// static POINTER: extern "C" fn() = nothing;
/// stack_roots_walk::exit! { extern "C" fn runtime_nothing() = POINTER; }
/// ```
#[macro_export]
macro_rules! exit {
    () => {};
    (@check $function:ty, $target:path, ($($ty:ty),*) $(, $result:ty)?) => {
        const _: () = {
            // The target is a function of this type, and no variable with its address.
            let _: $function = $target;
            let target = $target;
            assert!(::core::mem::size_of_val(&target) == 0, "the target of an exit function is a function");
            let words = 0 $(+ $crate::words_in_registers::<$ty>())*;
            let result = 0 $(+ ::core::mem::size_of::<$result>())?;
            assert!(
                words + (result > 16) as usize <= 6,
                "an exit function has at most six words of arguments"
            );
        };
    };
    (@body $target:path) => {
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
    ($(#[$meta:meta])* $vis:vis extern "C" fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $target:path; $($rest:tt)*) => {
        $crate::exit!(@check extern "C" fn($($ty),*) $(-> $result)?, $target, ($($ty),*) $(, $result)?);
        $(#[$meta])*
        #[unsafe(naked)]
        $vis extern "C" fn $name($($arg: $ty),*) $(-> $result)? {
            $crate::exit!(@body $target)
        }
        $crate::exit!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis unsafe extern "C" fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $target:path; $($rest:tt)*) => {
        $crate::exit!(@check unsafe extern "C" fn($($ty),*) $(-> $result)?, $target, ($($ty),*) $(, $result)?);
        $(#[$meta])*
        #[unsafe(naked)]
        $vis unsafe extern "C" fn $name($($arg: $ty),*) $(-> $result)? {
            $crate::exit!(@body $target)
        }
        $crate::exit!($($rest)*);
    };
}

/// Declares functions that enter compiled code. Each gets the address of a compiled function, and its arguments.
///
/// It records that the frames of compiled code begin here. Compiled code that is called in another way, for example by a
/// function pointer, ends the walk with [`WalkError::NoEntry`](crate::WalkError::NoEntry). The arguments and the result are
/// in registers: integers, pointers and floats, no more than five words of arguments and one of results. This is checked
/// when it is compiled. The compiled function may have the calling conventions `SystemV`, `Fast` and `Tail` of Cranelift.
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
/// stack_roots_walk::entry! {
///     /// Calls a compiled function.
///     pub unsafe fn call(code: *const u8, argument: u64) -> u64;
/// }
///
/// // A function of Rust stands for a compiled one.
/// assert_eq!(unsafe { call(double as *const u8, 21) }, 42);
/// ```
///
/// ```compile_fail,E0080
/// stack_roots_walk::entry! { unsafe fn call(code: *const u8) -> u128; }
/// ```
#[macro_export]
macro_rules! entry {
    ($($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($code:ident: *const u8 $(, $arg:ident: $ty:ty)* $(,)?) $(-> $result:ty)?;)*) => {$(
        const _: () = {
            let words = 0 $(+ $crate::words_in_registers::<$ty>())*;
            let result = 0 $(+ $crate::words_in_registers::<$result>())?;
            assert!(
                words <= 5 && result <= 1,
                "an entry function has at most five words of arguments and one of results"
            );
        };
        $(#[$meta])*
        #[unsafe(naked)]
        $vis unsafe extern "C" fn $name($code: *const u8 $(, $arg: $ty)*) $(-> $result)? {
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
        }
    )*};
}
