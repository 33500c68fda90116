//! The functions through which compiled code is entered and left. Their instructions are in `arch`.

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
    ($(#[$meta:meta])* $vis:vis extern "C" fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $target:path; $($rest:tt)*) => {
        $crate::exit!(@check extern "C" fn($($ty),*) $(-> $result)?, $target, ($($ty),*) $(, $result)?);
        $(#[$meta])*
        #[unsafe(naked)]
        $vis extern "C" fn $name($($arg: $ty),*) $(-> $result)? {
            $crate::stack_roots_exit!($target)
        }
        $crate::exit!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis unsafe extern "C" fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $target:path; $($rest:tt)*) => {
        $crate::exit!(@check unsafe extern "C" fn($($ty),*) $(-> $result)?, $target, ($($ty),*) $(, $result)?);
        $(#[$meta])*
        #[unsafe(naked)]
        $vis unsafe extern "C" fn $name($($arg: $ty),*) $(-> $result)? {
            $crate::stack_roots_exit!($target)
        }
        $crate::exit!($($rest)*);
    };
}

/// Declares functions that enter compiled code. Each gets the address of a compiled function, and its arguments.
///
/// It records that the frames of compiled code begin here. Compiled code that is called in another way, for example by a
/// function pointer, ends the walk with [`WalkError::NoEntry`](crate::WalkError::NoEntry). The arguments and the result are
/// in registers: integers of up to 64 bits, pointers and floats, no more than five words of arguments and one of results.
/// This is checked when it is compiled. The compiled function may have the calling conventions `SystemV` and `Fast` of Cranelift, and on
/// x86-64 `Tail` too: on aarch64 `Tail` has other registers.
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
///
/// ```compile_fail,E0080
/// stack_roots_walk::entry! { unsafe fn call(code: *const u8, wide: u128) -> u64; }
/// ```
#[macro_export]
macro_rules! entry {
    ($($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($code:ident: *const u8 $(, $arg:ident: $ty:ty)* $(,)?) $(-> $result:ty)?;)*) => {$(
        const _: () = {
            let words = 0 $(+ $crate::words_in_registers::<$ty>())*;
            let result = 0 $(+ $crate::words_in_registers::<$result>())?;
            // Each argument moves to the register before its own. On aarch64 such a value begins in an even one (AAPCS64,
            // section 6.8.2, C.10).
            $(assert!(
                ::core::mem::align_of::<$ty>() <= 8,
                "an argument of an entry function is aligned to more than a word"
            );)*
            assert!(
                words <= 5 && result <= 1,
                "an entry function has at most five words of arguments and one of results"
            );
        };
        $(#[$meta])*
        #[unsafe(naked)]
        $vis unsafe extern "C" fn $name($code: *const u8 $(, $arg: $ty)*) $(-> $result)? {
            $crate::stack_roots_entry!()
        }
    )*};
}
