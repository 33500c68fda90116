//! `Math`, numbers as text, and the case of characters.

use crate::call::Functions;
use crate::js_number;
use anyhow::{Context, Result};
use gc_wasm::Val;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// `Math.pow`, which says that a power of one to something endless is no number.
fn pow(base: f64, exponent: f64) -> f64 {
    if exponent.is_nan() || base.abs() == 1.0 && exponent.is_infinite() {
        return f64::NAN;
    }
    base.powf(exponent)
}

/// `Math.round`: halves go up.
fn round(number: f64) -> f64 {
    let down = number.floor();
    let rounded = if number - down >= 0.5 { down + 1.0 } else { down };
    // A result of zero has the sign of the number.
    rounded.copysign(if rounded == 0.0 { number } else { rounded })
}

/// `Math.sign`.
fn sign(number: f64) -> f64 {
    if number == 0.0 || number.is_nan() { number } else { 1.0f64.copysign(number) }
}

/// Numbers that nobody can guess from their use (xorshift64*).
struct Random(AtomicU64);

impl Random {
    fn new() -> Random {
        Random(AtomicU64::new(RandomState::new().hash_one(0u8) | 1))
    }

    /// A number from 0 to 1, without 1.
    fn next(&self) -> f64 {
        let mut x = self.0.load(Ordering::Relaxed);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.store(x, Ordering::Relaxed);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The first code point of the text that `f` makes of a character. Halves of characters stay.
fn cased(code: u32, f: fn(&str) -> String) -> u32 {
    let text = char::from_u32(code).map(|c| f(c.encode_utf8(&mut [0; 4])));
    text.and_then(|text| text.chars().next()).map_or(code, u32::from)
}

/// Defines the functions.
pub(super) fn define<T: 'static>(of: &mut Functions<'_, T>) -> Result<()> {
    math(of)?;
    let to_string = "Number.prototype.toString.call";
    of.func_of(to_string, "ii>x", |call| {
        let radix = u32::try_from(call.i32(1)?).unwrap_or(0);
        let text = js_number::to_radix(call.i32(0)?, radix);
        call.give_text(&text.context("the base of a number must be from 2 to 36")?)
    })?;
    for ty in ["d>x", "f>x"] {
        of.func_of(to_string, ty, |call| {
            let text = js_number::to_text(call.f64(0)?);
            call.give_text(&text)
        })?;
    }
    of.func("parseFloat", "x>d", |call| {
        let number = js_number::parse_float(&call.text(0)?);
        call.give_f64(number)
    })?;
    of.func("j2wasm.DoubleUtils.isValidDouble", "x>i", |call| {
        let valid = js_number::is_java_double(&call.text(0)?);
        call.give_bool(valid)
    })?;
    of.func("j2wasm.DoubleUtils.dmod", "dd>d", |call| {
        let rest = call.f64(0)? % call.f64(1)?;
        call.give_f64(rest)
    })?;
    characters(of)
}

fn math<T: 'static>(of: &mut Functions<'_, T>) -> Result<()> {
    type Unary = fn(f64) -> f64;
    type Binary = fn(f64, f64) -> f64;
    let unary: [(&str, Unary); 23] = [
        ("abs", f64::abs),
        ("acos", f64::acos),
        ("asin", f64::asin),
        ("atan", f64::atan),
        ("cbrt", js_number::cbrt),
        ("ceil", f64::ceil),
        ("cos", f64::cos),
        ("cosh", f64::cosh),
        ("exp", f64::exp),
        ("expm1", f64::exp_m1),
        ("floor", f64::floor),
        ("log", f64::ln),
        ("log10", f64::log10),
        ("log1p", f64::ln_1p),
        ("log2", f64::log2),
        ("round", round),
        ("sign", sign),
        ("sin", f64::sin),
        ("sinh", f64::sinh),
        ("sqrt", f64::sqrt),
        ("tan", f64::tan),
        ("tanh", f64::tanh),
        ("trunc", f64::trunc),
    ];
    for (name, f) in unary {
        let name = &format!("Math.{name}");
        of.func_of(name, "d>d", move |call| {
            let value = f(call.f64(0)?);
            call.give_f64(value)
        })?;
        of.func_of(name, "f>f", move |call| {
            let value = f(call.f64(0)?) as f32;
            call.give(Val::F32(value.to_bits()))
        })?;
    }
    let binary: [(&str, Binary); 3] = [("atan2", f64::atan2), ("hypot", f64::hypot), ("pow", pow)];
    for (name, f) in binary {
        of.func(&format!("Math.{name}"), "dd>d", move |call| {
            let value = f(call.f64(0)?, call.f64(1)?);
            call.give_f64(value)
        })?;
    }
    let random = Random::new();
    of.func("Math.random", ">d", move |call| call.give_f64(random.next()))
}

fn characters<T: 'static>(of: &mut Functions<'_, T>) -> Result<()> {
    type Cased = fn(&str) -> String;
    let cases: [(&str, Cased); 2] =
        [("LowerCase", str::to_lowercase), ("UpperCase", str::to_uppercase)];
    for (name, f) in cases {
        of.func(&format!("j2wasm.CharUtils.codePointTo{name}"), "i>i", move |call| {
            let code = cased(call.i32(0)? as u32, f);
            call.give_i32(code as i32)
        })?;
        of.func(&format!("j2wasm.CharUtils.charTo{name}"), "i>i", move |call| {
            let unit = call.i32(0)? as u16;
            let mut units = [0; 2];
            // A character has as many units as its other case.
            let code = char::from_u32(cased(unit.into(), f));
            let first = code.map_or(unit, |c| c.encode_utf16(&mut units)[0]);
            call.give_i32(first.into())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_in_javascript() {
        for (number, rounded) in
            [(0.5, 1.0), (-0.5, -0.0), (2.4, 2.0), (-2.5, -2.0), (0.49999999999999994, 0.0)]
        {
            assert_eq!(round(number).to_bits(), f64::to_bits(rounded), "{number}");
        }
        assert!(round(f64::NAN).is_nan() && round(f64::INFINITY).is_infinite());
        assert_eq!(round(4503599627370497.0), 4503599627370497.0);
        assert!(pow(1.0, f64::INFINITY).is_nan() && pow(1.0, f64::NAN).is_nan());
        assert_eq!(pow(f64::NAN, 0.0), 1.0);
        assert_eq!((sign(-3.0), sign(7.5)), (-1.0, 1.0));
        let random = Random::new();
        let numbers: Vec<f64> = (0..100).map(|_| random.next()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn characters_have_cases() {
        assert_eq!(cased('Ä'.into(), str::to_lowercase), 'ä'.into());
        assert_eq!(cased('ß'.into(), str::to_uppercase), 'S'.into());
        assert_eq!(cased(0xd800, str::to_uppercase), 0xd800);
    }
}
