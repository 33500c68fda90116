//! The runtime of executables that `examples/semispace` compiles: pairs, and a moving collector.
//!
//! What concerns stack maps is between the anchors `stack_maps`. All else is the heap's and the language's.

pub mod heap;

use heap::Heap;
use stack_roots_walk::Tables;
use std::cell::RefCell;

/// The heap and the tables of a thread that runs the program.
struct Runtime {
    heap: Heap,
    tables: Tables,
}

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// Runs `action` with the runtime of this thread.
fn with<R>(action: impl FnOnce(&mut Runtime) -> R) -> R {
    RUNTIME.with_borrow_mut(|runtime| action(runtime.as_mut().expect("a program runs")))
}

/// Ends the program with a message.
fn fail(message: impl std::fmt::Display) -> ! {
    eprintln!("error: {message}");
    std::process::exit(1)
}

// ANCHOR: stack_maps
stack_roots_walk::exit! {
    /// Allocates a pair.
    #[unsafe(no_mangle)]
    pub extern "C" fn semispace_pair(head: u64, tail: u64) -> u64 = pair;
}

stack_roots_walk::entry! {
    /// Calls a compiled function.
    unsafe fn call(code: *const u8) -> u64;
}

/// The collector: all references of all frames are forwarded.
fn collect(heap: &mut Heap, tables: &Tables, values: &mut [u64; 2]) {
    // SAFETY: compiled code preserves frame pointers, and runs again when the frames are dropped.
    let mut frames = unsafe { tables.walk_current() }.unwrap_or_else(|error| fail(error));
    let mut copying = heap.collect();
    frames.visit(|reference| copying.forward(reference));
    // The arguments are not in a frame of compiled code.
    *values = values.map(|value| copying.forward(value));
    copying.finish();
}
// ANCHOR_END: stack_maps

extern "C" fn pair(head: u64, tail: u64) -> u64 {
    with(|Runtime { heap, tables }| {
        let mut values = [head, tail];
        if !heap.has_room() {
            collect(heap, tables, &mut values);
        }
        let [head, tail] = values;
        heap.pair(head, tail).unwrap_or_else(|| fail("the heap is full"))
    })
}

/// Prints an integer. It collects nothing, so compiled code calls it directly.
#[unsafe(no_mangle)]
pub extern "C" fn semispace_print(value: u64) {
    println!("{}", value.cast_signed() >> 1);
}

/// Ends the program because a value has the wrong type.
#[unsafe(no_mangle)]
pub extern "C" fn semispace_wrong_type(value: u64) {
    match value {
        0 => fail("nil is no pair"),
        _ => fail(format_args!("{} has the wrong type", value.cast_signed() >> 1)),
    }
}

/// A number in the environment.
fn setting(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| fail(format_args!("{name} is no number: {text}")))
        }
        Err(_) => default,
    }
}

/// Runs a compiled function in this thread, prints its result, and returns the exit code. `SEMISPACE_PAIRS` is the number of pairs in each half of the heap, and with
/// `SEMISPACE_ZEAL=1` it is collected at every allocation. The number of collections is printed to standard error if
/// `SEMISPACE_STATS=1`.
///
/// # Safety
/// `program` is the address of a compiled function without parameters that preserves frame pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn semispace_run(program: *const u8) -> i32 {
    let tables = Tables::of_program().unwrap_or_else(|error| fail(error));
    let heap = Heap::new(setting("SEMISPACE_PAIRS", 1 << 16), setting("SEMISPACE_ZEAL", 0) != 0);
    RUNTIME.set(Some(Runtime { heap, tables }));
    // SAFETY: the caller promises it.
    let result = unsafe { call(program) };
    semispace_print(result);
    let runtime = RUNTIME.take().expect("it was set");
    if setting("SEMISPACE_STATS", 0) != 0 {
        eprintln!("{} collections", runtime.heap.collections);
    }
    0
}
