//! Calls and functions with raw values.
#![allow(unsafe_code)]

use super::{Cx, Handled};
use crate::api::driver::Export;
use crate::refs::internal;
use anyhow::Result;
use gc_testkit::Token;
use gc_wasm::{Func, FuncType, Val, ValRaw, ValType};

/// The type of all references of a kind.
fn reference(external: bool) -> ValType {
    if external { ValType::EXTERNREF } else { ValType::ANYREF }
}

/// Calls a function of the module with the values in the slots, where it leaves its results.
pub(super) fn call(cx: &mut Cx<'_>, func: &Func, slots: &mut [ValRaw]) -> Result<()> {
    // SAFETY: the slots hold arguments of the function's types, and nothing was collected since they were
    // made. There are at least as many as results.
    unsafe { func.call_unchecked(cx, slots) }
}

/// The results of a function of the module that has just returned.
pub(super) fn results(cx: &mut Cx<'_>, export: Export, slots: &[ValRaw]) -> Vec<Val> {
    let results = slots.iter().zip(export.results());
    // SAFETY: these are its results, and nothing was collected since it has returned them.
    results
        .map(|(raw, external)| unsafe { Val::from_raw(&mut *cx, *raw, reference(*external)) })
        .collect()
}

/// Makes a function with raw values that collects, and returns its argument and the number of its token.
/// Calls it. The number and what it returned.
pub(super) fn identity(
    cx: &mut Cx<'_>,
    token: Token,
    argument: Option<Handled>,
) -> Result<(i32, Option<Handled>)> {
    let ty = FuncType::new(cx.engine(), [ValType::ANYREF], [ValType::ANYREF, ValType::I32]);
    // SAFETY: it reads a reference, and leaves a reference and a number. The reference is made a root before
    // the collection, and a raw value after it.
    let func = unsafe {
        Func::new_unchecked(&mut *cx, ty, move |mut caller, slots| {
            let raw = *slots[0].assume_init_ref();
            let argument = Val::from_raw(&mut caller, raw, ValType::ANYREF);
            caller.gc(None)?;
            slots[0].write(argument.to_raw(&mut caller)?);
            slots[1].write(ValRaw::i32(token.number() as i32));
            Ok(())
        })
    };
    let mut slots = [Val::AnyRef(argument).to_raw(&mut *cx)?, ValRaw::i32(0)];
    call(cx, &func, &mut slots)?;
    let [same, result] = slots;
    // SAFETY: this is its result, and nothing was collected since it has returned it.
    let same = unsafe { Val::from_raw(&mut *cx, same, ValType::ANYREF) };
    Ok((result.get_i32(), internal(cx, same)?))
}
