//! Panics that a test expects, so that a panic hook need not print them.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a test on this thread expects a panic now. Then a panic hook need not print it.
pub fn is_panic_expected() -> bool {
    EXPECTED.get()
}

/// Runs `work`, which may panic. A panic hook need not print that.
///
/// # Errors
/// The panic.
pub fn expecting_a_panic<R>(work: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    EXPECTED.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(false);
    result
}

/// The text of the panic with which `call` ends. `None` if it does not panic.
///
/// ```
/// use gc_testkit::panics::expected_panic;
///
/// assert_eq!(expected_panic(|| panic!("{} apples", 3)).as_deref(), Some("3 apples"));
/// assert_eq!(expected_panic(|| ()), None);
/// ```
pub fn expected_panic(call: impl FnOnce()) -> Option<String> {
    expecting_a_panic(call).err().map(|panic| panic_text(&*panic).to_owned())
}

/// The message of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
