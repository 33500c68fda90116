//! Values of scripts: arguments, and results compared with what is expected.

use crate::values::{print, show_f32, show_f64};
use anyhow::{Result, bail};
use gc_wasm::{AnyRef, AsContextMut, ExternRef, Rooted, V128, Val};
use wast::WastArg;
use wast::core::{
    AbstractHeapType, HeapType, NanPattern, V128Const, V128Pattern, WastArgCore, WastRetCore,
};
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
            Some(Hierarchy::Exn) => Val::ExnRef(None),
            Some(Hierarchy::Other) | None => bail!("an argument (ref.null {ty:?})"),
        },
        WastArgCore::RefExtern(value) => Val::ExternRef(Some(ExternRef::new(&mut store, *value)?)),
        WastArgCore::RefHost(value) => {
            let host = ExternRef::new(&mut store, *value)?;
            Val::AnyRef(Some(AnyRef::convert_extern(&store, host)?))
        }
        WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes()).into()),
    })
}

/// The hierarchy of a heap type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hierarchy {
    Any,
    Extern,
    Func,
    Exn,
    Other,
}

/// The hierarchy of a heap type, if the type alone determines it.
fn hierarchy(ty: &HeapType<'_>) -> Option<Hierarchy> {
    use AbstractHeapType::{
        Any, Array, Eq, Exn, Extern, Func, I31, NoExn, NoExtern, NoFunc, None as NoAny, Struct,
    };
    match ty {
        HeapType::Abstract { shared: false, ty } => Some(match ty {
            Any | Eq | I31 | Struct | Array | NoAny => Hierarchy::Any,
            Extern | NoExtern => Hierarchy::Extern,
            Func | NoFunc => Hierarchy::Func,
            Exn | NoExn => Hierarchy::Exn,
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
        (WastRetCore::V128(expected), Val::V128(actual)) => v128_matches(expected, *actual),
        (WastRetCore::RefNull(ty), actual) => {
            let found = match actual {
                Val::AnyRef(None) => Hierarchy::Any,
                Val::ExternRef(None) => Hierarchy::Extern,
                Val::FuncRef(None) => Hierarchy::Func,
                Val::ExnRef(None) => Hierarchy::Exn,
                _ => return Ok(false),
            };
            match ty.as_ref().and_then(hierarchy) {
                Some(expected) => expected == found,
                // `(ref.null)` or a type of the module.
                None => ty.is_none() || !matches!(found, Hierarchy::Extern | Hierarchy::Exn),
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

fn v128_matches(expected: &V128Pattern, actual: V128) -> bool {
    let bytes = match expected {
        V128Pattern::I8x16(lanes) => V128Const::I8x16(*lanes).to_le_bytes(),
        V128Pattern::I16x8(lanes) => V128Const::I16x8(*lanes).to_le_bytes(),
        V128Pattern::I32x4(lanes) => V128Const::I32x4(*lanes).to_le_bytes(),
        V128Pattern::I64x2(lanes) => V128Const::I64x2(*lanes).to_le_bytes(),
        V128Pattern::F32x4(lanes) => {
            let actual = (0..4).map(|lane| (actual.as_u128() >> (32 * lane)) as u32);
            return lanes.iter().zip(actual).all(|(lane, actual)| f32_matches(lane, actual));
        }
        V128Pattern::F64x2(lanes) => {
            let actual = (0..2).map(|lane| (actual.as_u128() >> (64 * lane)) as u64);
            return lanes.iter().zip(actual).all(|(lane, actual)| f64_matches(lane, actual));
        }
    };
    u128::from_le_bytes(bytes) == actual.as_u128()
}

/// The expected value in the syntax of scripts.
pub(crate) fn show_expected(expected: &WastRetCore<'_>) -> String {
    fn float<T>(pattern: &NanPattern<T>, show: impl Fn(&T) -> String) -> String {
        match pattern {
            NanPattern::CanonicalNan => "nan:canonical".to_owned(),
            NanPattern::ArithmeticNan => "nan:arithmetic".to_owned(),
            NanPattern::Value(value) => show(value),
        }
    }
    fn vector<T>(shape: &str, lanes: &[T], show: impl Fn(&T) -> String) -> String {
        let lanes: Vec<String> = lanes.iter().map(show).collect();
        format!("(v128.const {shape} {})", lanes.join(" "))
    }
    let f32 = |value: &NanPattern<F32>| float(value, |value| show_f32(value.bits));
    let f64 = |value: &NanPattern<F64>| float(value, |value| show_f64(value.bits));
    match expected {
        WastRetCore::I32(value) => format!("(i32.const {value})"),
        WastRetCore::I64(value) => format!("(i64.const {value})"),
        WastRetCore::F32(value) => format!("(f32.const {})", f32(value)),
        WastRetCore::F64(value) => format!("(f64.const {})", f64(value)),
        WastRetCore::V128(V128Pattern::I8x16(lanes)) => vector("i8x16", lanes, i8::to_string),
        WastRetCore::V128(V128Pattern::I16x8(lanes)) => vector("i16x8", lanes, i16::to_string),
        WastRetCore::V128(V128Pattern::I32x4(lanes)) => {
            vector("i32x4", lanes, |lane| format!("{lane:#010x}"))
        }
        WastRetCore::V128(V128Pattern::I64x2(lanes)) => vector("i64x2", lanes, i64::to_string),
        WastRetCore::V128(V128Pattern::F32x4(lanes)) => vector("f32x4", lanes, f32),
        WastRetCore::V128(V128Pattern::F64x2(lanes)) => vector("f64x2", lanes, f64),
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
        Val::V128(_) => format!("(v128.const {text})"),
        _ => text,
    })
}
