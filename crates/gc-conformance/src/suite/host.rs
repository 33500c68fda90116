//! Host values for programs: numbers behind externrefs.

use anyhow::Result;
use gc_wasm::{Caller, ExternRef, Linker, Rooted};

/// The module name under which programs import the functions.
pub(super) const MODULE: &str = "host";

/// The names of the functions.
pub(super) const FUNCTIONS: [&str; 2] = ["value", "number"];

/// Defines [`FUNCTIONS`].
pub(super) fn add_to_linker<T: 'static>(linker: &mut Linker<T>) -> Result<()> {
    linker.func_wrap(
        MODULE,
        "value",
        |mut caller: Caller<'_, T>, n: i32| -> Result<Option<Rooted<ExternRef>>> {
            ExternRef::new(&mut caller, n).map(Some)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "number",
        |caller: Caller<'_, T>, value: Option<Rooted<ExternRef>>| -> Result<i32> {
            let Some(value) = value else { return Ok(-1) };
            let number = value.data(&caller)?.and_then(|data| data.downcast_ref::<i32>());
            Ok(number.copied().unwrap_or(-1))
        },
    )?;
    Ok(())
}
