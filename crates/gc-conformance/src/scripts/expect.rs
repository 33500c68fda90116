//! Values of scripts: arguments, and results compared with what is expected.

use crate::values::{print, show_f32, show_f64};
use anyhow::{Result, bail};
use gc_wasm::{AnyRef, AsContextMut, ExternRef, Rooted, Val};
use wast::WastArg;
use wast::core::{AbstractHeapType, HeapType, NanPattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};

/// The value of an argument, or an error if its type is unsupported.
pub(crate) fn argument(mut store: impl AsContextMut, arg: &WastArg<'_>) -> Result<Val> {
    let WastArg::Core(arg) = arg else { bail!("an argument of a component's function") };
    Ok(match arg {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::RefNull(ty) => match hierarchy(ty) {
            Some(Hierarchy::Any) => Val::AnyRef(None),
            Some(Hierarchy::Extern) => Val::ExternRef(None),
            Some(Hierarchy::Func) => Val::FuncRef(None),
            Some(Hierarchy::Other) | None => bail!("an argument (ref.null {ty:?})"),
        },
        WastArgCore::RefExtern(value) => Val::ExternRef(Some(ExternRef::new(&mut store, *value)?)),
        WastArgCore::RefHost(value) => {
            let host = ExternRef::new(&mut store, *value)?;
            Val::AnyRef(Some(AnyRef::convert_extern(&store, host)?))
        }
        WastArgCore::V128(_) => bail!("an argument of type v128"),
    })
}

/// The hierarchy of a heap type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hierarchy {
    Any,
    Extern,
    Func,
    Other,
}

/// The hierarchy of a heap type, if the type alone determines it.
fn hierarchy(ty: &HeapType<'_>) -> Option<Hierarchy> {
    use AbstractHeapType::{
        Any, Array, Eq, Extern, Func, I31, NoExtern, NoFunc, None as NoAny, Struct,
    };
    match ty {
        HeapType::Abstract { shared: false, ty } => Some(match ty {
            Any | Eq | I31 | Struct | Array | NoAny => Hierarchy::Any,
            Extern | NoExtern => Hierarchy::Extern,
            Func | NoFunc => Hierarchy::Func,
            _ => Hierarchy::Other,
        }),
        HeapType::Concrete(_) => None,
        _ => Some(Hierarchy::Other),
    }
}

/// Whether a value is the expected one.
///
/// # Errors
/// If the heap is corrupt.
pub(crate) fn matches(
    store: &mut impl AsContextMut,
    actual: &Val,
    expected: &WastRetCore<'_>,
) -> Result<bool> {
    Ok(match (expected, actual) {
        (WastRetCore::I32(expected), Val::I32(actual)) => expected == actual,
        (WastRetCore::I64(expected), Val::I64(actual)) => expected == actual,
        (WastRetCore::F32(expected), Val::F32(actual)) => f32_matches(expected, *actual),
        (WastRetCore::F64(expected), Val::F64(actual)) => f64_matches(expected, *actual),
        (WastRetCore::RefNull(ty), actual) => {
            let found = match actual {
                Val::AnyRef(None) => Hierarchy::Any,
                Val::ExternRef(None) => Hierarchy::Extern,
                Val::FuncRef(None) => Hierarchy::Func,
                _ => return Ok(false),
            };
            match ty.as_ref().and_then(hierarchy) {
                Some(expected) => expected == found,
                // `(ref.null)` or a type of the module.
                None => ty.is_none() || found != Hierarchy::Extern,
            }
        }
        (WastRetCore::RefExtern(None), Val::ExternRef(Some(_))) => true,
        (WastRetCore::RefExtern(Some(number)), Val::ExternRef(Some(actual))) => {
            host_number(store, actual)? == Some(*number)
        }
        (WastRetCore::RefHost(number), Val::AnyRef(Some(actual))) => {
            let actual = ExternRef::convert_any(&*store, *actual)?;
            host_number(store, &actual)? == Some(*number)
        }
        (WastRetCore::RefFunc(None), Val::FuncRef(Some(_))) => true,
        (WastRetCore::RefAny, Val::AnyRef(Some(_))) => true,
        (WastRetCore::RefEq, Val::AnyRef(Some(actual))) => actual.as_eqref(&*store)?.is_some(),
        (WastRetCore::RefStruct, Val::AnyRef(Some(actual))) => actual.as_struct(&*store)?.is_some(),
        (WastRetCore::RefArray, Val::AnyRef(Some(actual))) => actual.as_array(&*store)?.is_some(),
        (WastRetCore::RefI31, Val::AnyRef(Some(actual))) => actual.as_i31(&*store)?.is_some(),
        (WastRetCore::Either(options), actual) => {
            for option in options {
                if matches(store, actual, option)? {
                    return Ok(true);
                }
            }
            false
        }
        _ => false,
    })
}

/// The number of a host value that a script made.
fn host_number(store: &mut impl AsContextMut, external: &Rooted<ExternRef>) -> Result<Option<u32>> {
    Ok(external.data(&*store)?.and_then(|data| data.downcast_ref::<u32>().copied()))
}

fn f32_matches(expected: &NanPattern<F32>, actual: u32) -> bool {
    match expected {
        NanPattern::CanonicalNan => actual & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => actual & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(expected) => expected.bits == actual,
    }
}

fn f64_matches(expected: &NanPattern<F64>, actual: u64) -> bool {
    match expected {
        NanPattern::CanonicalNan => actual & !(1 << 63) == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => actual & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(expected) => expected.bits == actual,
    }
}

/// The expected value in the syntax of scripts.
pub(crate) fn show_expected(expected: &WastRetCore<'_>) -> String {
    fn float<T>(ty: &str, pattern: &NanPattern<T>, show: impl Fn(&T) -> String) -> String {
        let value = match pattern {
            NanPattern::CanonicalNan => "nan:canonical".to_owned(),
            NanPattern::ArithmeticNan => "nan:arithmetic".to_owned(),
            NanPattern::Value(value) => show(value),
        };
        format!("({ty}.const {value})")
    }
    match expected {
        WastRetCore::I32(value) => format!("(i32.const {value})"),
        WastRetCore::I64(value) => format!("(i64.const {value})"),
        WastRetCore::F32(value) => float("f32", value, |value| show_f32(value.bits)),
        WastRetCore::F64(value) => float("f64", value, |value| show_f64(value.bits)),
        WastRetCore::V128(_) => "(v128.const …)".to_owned(),
        WastRetCore::RefNull(_) => "(ref.null)".to_owned(),
        WastRetCore::RefExtern(None) => "(ref.extern)".to_owned(),
        WastRetCore::RefExtern(Some(number)) => format!("(ref.extern {number})"),
        WastRetCore::RefHost(number) => format!("(ref.host {number})"),
        WastRetCore::RefFunc(None) => "(ref.func)".to_owned(),
        WastRetCore::RefFunc(Some(index)) => format!("(ref.func {index:?})"),
        WastRetCore::RefAny => "(ref.any)".to_owned(),
        WastRetCore::RefEq => "(ref.eq)".to_owned(),
        WastRetCore::RefArray => "(ref.array)".to_owned(),
        WastRetCore::RefStruct => "(ref.struct)".to_owned(),
        WastRetCore::RefI31 => "(ref.i31)".to_owned(),
        WastRetCore::RefI31Shared => "(ref.i31_shared)".to_owned(),
        WastRetCore::Either(options) => {
            let options: Vec<String> = options.iter().map(show_expected).collect();
            format!("(either {})", options.join(" "))
        }
    }
}

/// A value in the syntax of scripts.
pub(crate) fn show_actual(mut store: impl AsContextMut, actual: &Val) -> Result<String> {
    let text = print(&mut store, actual)?;
    Ok(match actual {
        Val::I32(_) => format!("(i32.const {text})"),
        Val::I64(_) => format!("(i64.const {text})"),
        Val::F32(_) => format!("(f32.const {text})"),
        Val::F64(_) => format!("(f64.const {text})"),
        _ => text,
    })
}
