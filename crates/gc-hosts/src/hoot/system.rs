//! Arithmetic of floats, time, the end of a program, standard streams, and messages for debugging.

use super::context::HootCtx;
use crate::call::{Call, Functions};
use crate::stdio::OutputStream;
use crate::wait::failed;
use crate::wasi::I32Exit;
use anyhow::{Result, bail};
use gc_wasm::Val;
use std::time::{SystemTime, UNIX_EPOCH};

/// The functions of module `io` that JavaScript's runtime of Hoot has.
pub(super) const IO: [&str; 18] = [
    "write_stdout",
    "write_stderr",
    "read_stdin",
    "file_exists",
    "open_input_file",
    "open_output_file",
    "close_file",
    "read_file",
    "write_file",
    "seek_file",
    "file_random_access",
    "file_buffer_size",
    "file_buffer_ref",
    "file_buffer_set",
    "delete_file",
    "stream_stdin",
    "stream_stdout",
    "stream_stderr",
];

/// Defines arithmetic, time and the end of a program.
pub(super) fn define<T: 'static>(
    rt: &mut Functions<'_, T>,
    get: impl Fn(&mut T) -> &mut HootCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    type Unary = fn(f64) -> f64;
    let unary: [(&str, Unary); 9] = [
        ("fsqrt", f64::sqrt),
        ("fsin", f64::sin),
        ("fcos", f64::cos),
        ("ftan", f64::tan),
        ("fasin", f64::asin),
        ("facos", f64::acos),
        ("fatan", f64::atan),
        ("flog", f64::ln),
        ("fexp", f64::exp),
    ];
    for (name, f) in unary {
        rt.func(name, "d>d", move |call| {
            let value = f(call.f64(0)?);
            call.give_f64(value)
        })?;
    }
    rt.func("fatan2", "dd>d", |call| {
        let value = call.f64(0)?.atan2(call.f64(1)?);
        call.give_f64(value)
    })?;
    rt.func("jiffies_per_second", ">i", |call| call.give_i32(1_000_000))?;
    rt.func("current_jiffy", ">d", move |call| {
        let elapsed = get(call.caller.data_mut()).elapsed();
        call.give_f64(elapsed.as_secs_f64() * 1e6)
    })?;
    rt.func("current_second", ">d", |call| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        call.give_f64(now.map_or(0.0, |now| now.as_secs_f64()))
    })?;
    rt.func("quit", "i", |call| Err(I32Exit(call.i32(0)?).into()))?;
    rt.func("die", "xa", |call| bail!("the Scheme program died: {}", call.text(0)?))
}

/// Defines the standard streams.
pub(super) fn define_io<T: 'static>(
    io: &mut Functions<'_, T>,
    get: impl Fn(&mut T) -> &mut HootCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    io.func("write_stdout", "x", move |call| {
        let text = call.text(0)?;
        write(&get(call.caller.data_mut()).stdio().stdout, &text)
    })?;
    io.func("write_stderr", "x", move |call| {
        let text = call.text(0)?;
        write(&get(call.caller.data_mut()).stdio().stderr, &text)
    })?;
    io.func("read_stdin", ">x", move |call| {
        let text = get(call.caller.data_mut()).read()?;
        call.give_text(&text)
    })
}

fn write(stream: &OutputStream, text: &str) -> Result<()> {
    stream.write_all(text.as_bytes()).map_err(failed("printing"))
}

/// Defines messages for debugging, which are printed as JavaScript's runtime of Hoot prints them.
pub(super) fn define_debug<T: 'static>(
    debug: &mut Functions<'_, T>,
    get: impl Fn(&mut T) -> &mut HootCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    let print = move |call: &mut Call<'_, '_, T>, text: &str| {
        write(&get(call.caller.data_mut()).stdio().stdout, &format!("debug: {text}\n"))
    };
    debug.func("debug_str", "x", move |mut call| {
        let text = call.text(0)?;
        print(&mut call, &text)
    })?;
    debug.func("debug_str_i32", "xi", move |mut call| {
        let text = format!("{}: {}", call.text(0)?, call.i32(1)?);
        print(&mut call, &text)
    })?;
    debug.func("debug_str_scm", "xa", move |mut call| {
        let text = format!("{}: #<scm>", call.text(0)?);
        print(&mut call, &text)
    })?;
    // The names of a program's functions are not known here.
    debug.func("code_name", "c>x", |call| call.give(Val::ExternRef(None)))?;
    debug.func("code_source", "c>xii", |call| {
        call.give_all(&[Val::ExternRef(None), Val::I32(0), Val::I32(0)])
    })
}
