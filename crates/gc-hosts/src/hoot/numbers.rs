//! Integers of any size. A number is an array of bytes in the heap: its two's complement, little
//! end first.

use crate::call::{Call, Functions};
use crate::js_text::is_space;
use crate::own_type::own_array;
use crate::work;
use anyhow::{Context, Result};
use gc_wasm::{ArrayRef, ArrayRefPre, ArrayType, Caller, Rooted, Trap};
use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{FromPrimitive, ToPrimitive};
use std::cmp::Ordering;
use std::ops::{BitAnd, BitOr, BitXor};

/// The largest number of bits: over a million decimal digits. Operations on larger numbers would
/// block the host for minutes, as a division takes quadratic time.
const MOST_BITS: u64 = 1 << 22;

/// The type of numbers.
#[derive(Clone)]
pub(super) struct Numbers(ArrayType);

impl Numbers {
    fn arg<T>(&self, call: &Call<'_, '_, T>, n: usize) -> Result<BigInt> {
        let array = call.object(n)?.as_array(&*call.caller)?.ok_or(Trap::CastFailure)?;
        self.read(call.caller, &array)
    }

    fn read<T>(&self, caller: &Caller<'_, T>, array: &Rooted<ArrayRef>) -> Result<BigInt> {
        if !array.matches_ty(caller, &self.0)? {
            return Err(Trap::CastFailure.into());
        }
        let mut bytes = vec![0; array.len(caller)? as usize];
        array.read_bytes(caller, 0, &mut bytes)?;
        Ok(BigInt::from_signed_bytes_le(&bytes))
    }

    fn give<T>(&self, call: Call<'_, '_, T>, number: impl Into<BigInt>) -> Result<()> {
        let bytes = number.into().to_signed_bytes_le();
        let allocator = ArrayRefPre::new(&mut *call.caller, self.0.clone());
        let array = ArrayRef::from_bytes(&mut *call.caller, &allocator, &bytes)?;
        call.give_object(array.to_anyref())
    }
}

/// Fails if a number of this many bits is too large.
fn check_bits(bits: u64) -> Result<()> {
    if bits > MOST_BITS { Err(Trap::AllocationTooLarge.into()) } else { Ok(()) }
}

/// `number * 2^by`, rounded down.
fn shift(number: BigInt, by: i64) -> Result<BigInt> {
    let places = by.unsigned_abs();
    if number.sign() == Sign::NoSign || by == 0 {
        return Ok(number);
    }
    if by > 0 {
        check_bits(number.bits().saturating_add(places))?;
        return Ok(number << places);
    }
    let places = places.min(number.bits() + 1);
    Ok(number >> places)
}

fn multiply(a: &BigInt, b: &BigInt) -> Result<BigInt> {
    check_bits(a.bits() + b.bits())?;
    Ok(a * b)
}

/// Fails if the divisor is zero.
fn divisor(number: BigInt) -> Result<BigInt> {
    match number.sign() {
        Sign::NoSign => Err(Trap::IntegerDivisionByZero.into()),
        _ => Ok(number),
    }
}

/// The lowest 64 bits.
fn low_bits(number: &BigInt) -> u64 {
    let low = number.iter_u64_digits().next().unwrap_or(0);
    if number.sign() == Sign::Minus { low.wrapping_neg() } else { low }
}

/// The order of a number and a float, exactly. `None` if the float is none.
fn compare(number: &BigInt, float: f64) -> Option<Ordering> {
    if float.is_infinite() {
        return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let whole = BigInt::from_f64(float.trunc())?;
    let fraction = 0.0.partial_cmp(&float.fract())?;
    Some(number.cmp(&whole).then(fraction))
}

/// Characters of a text that an error shows.
const SHOWN: usize = 100;

/// Steps to divide numbers of these numbers of bits.
fn division_steps(a: u64, b: u64) -> u64 {
    (a / 64 + 1).saturating_mul(b / 64 + 1)
}

/// Steps to find the greatest common divisor, bit by bit.
fn gcd_steps(a: u64, b: u64) -> u64 {
    (a + b).saturating_mul(a.max(b) / 64 + 1)
}

/// The number that a text is.
///
/// # Errors
/// If it is no number. Also [`Trap::AllocationTooLarge`] if the number is too large.
fn read_text(text: &str) -> Result<BigInt> {
    let number = parse(text)?;
    number.with_context(|| {
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        format!("`{shown}{more}` is no whole number")
    })
}

/// The number that a text is, as JavaScript's `BigInt` reads it. `None` if it is no number.
///
/// # Errors
/// [`Trap::AllocationTooLarge`] if the number is too large. That takes no time to find out.
fn parse(text: &str) -> Result<Option<BigInt>> {
    let text = text.trim_matches(is_space);
    let (digits, radix) = match text.get(..2) {
        Some("0x" | "0X") => (&text[2..], 16),
        Some("0o" | "0O") => (&text[2..], 8),
        Some("0b" | "0B") => (&text[2..], 2),
        _ => (text, 10),
    };
    if text.is_empty() {
        return Ok(Some(BigInt::ZERO));
    }
    // The crate allows underscores, and a sign after the prefix.
    let unsigned =
        if radix == 10 { digits.strip_prefix(['+', '-']).unwrap_or(digits) } else { digits };
    let all_digits = unsigned.chars().all(|c| c.is_digit(radix));
    if !all_digits || unsigned.is_empty() {
        return Ok(None);
    }
    // All digits but the first one have at least this many bits.
    let significant = unsigned.trim_start_matches('0').len().saturating_sub(1) as u64;
    check_bits(significant * u64::from(radix.ilog2()))?;
    let number = BigInt::parse_bytes(digits.as_bytes(), radix);
    check_bits(number.as_ref().map_or(0, BigInt::bits))?;
    Ok(number)
}

/// Defines the functions for numbers.
pub(super) fn define<T: 'static>(rt: &mut Functions<'_, T>) -> Result<()> {
    let numbers = Numbers(own_array(rt.engine(), "(array i8)")?);
    conversions(rt, &numbers)?;
    arithmetic(rt, &numbers)?;
    bits(rt, &numbers)?;
    comparisons(rt, &numbers)
}

fn conversions<T: 'static>(rt: &mut Functions<'_, T>, numbers: &Numbers) -> Result<()> {
    let with = numbers.clone();
    rt.func("bignum_from_string", "x>x", move |call| {
        let text = call.text(0)?;
        // The time is quadratic in the number of digits.
        let bits = 4 * text.len() as u64;
        let steps = division_steps(bits, bits);
        let number = work::run(|| call.interrupt(), steps, move || read_text(&text))??;
        with.give(call, number)
    })?;
    let with = numbers.clone();
    rt.func("bignum_from_i32", "i>x", move |call| {
        let number = call.i32(0)?;
        with.give(call, number)
    })?;
    let with = numbers.clone();
    rt.func("bignum_from_i64", "I>x", move |call| {
        let number = call.i64(0)?;
        with.give(call, number)
    })?;
    let with = numbers.clone();
    rt.func("bignum_from_u64", "I>x", move |call| {
        let number = call.i64(0)? as u64;
        with.give(call, number)
    })?;
    let with = numbers.clone();
    rt.func("bignum_is_i64", "x>i", move |call| {
        let number = with.arg(&call, 0)?;
        call.give_bool(number.to_i64().is_some())
    })?;
    let with = numbers.clone();
    rt.func("bignum_is_u64", "x>i", move |call| {
        let number = with.arg(&call, 0)?;
        call.give_bool(number.to_u64().is_some())
    })?;
    let with = numbers.clone();
    rt.func("bignum_get_i64", "x>I", move |call| {
        let number = with.arg(&call, 0)?;
        call.give(gc_wasm::Val::I64(low_bits(&number) as i64))
    })?;
    let with = numbers.clone();
    rt.func("bignum_to_f64", "x>d", move |call| {
        let number = with.arg(&call, 0)?;
        // It is infinite if it is too large.
        call.give_f64(number.to_f64().unwrap_or(f64::NAN))
    })
}

fn arithmetic<T: 'static>(rt: &mut Functions<'_, T>, numbers: &Numbers) -> Result<()> {
    /// A function of two numbers, the second of which may be an `i32`.
    fn binary<T: 'static>(
        rt: &mut Functions<'_, T>,
        numbers: &Numbers,
        name: &str,
        f: fn(BigInt, BigInt) -> Result<BigInt>,
    ) -> Result<()> {
        long_binary(rt, numbers, name, |_, _| 0, f)
    }

    /// As `binary`, if it may take long. `steps` are those for numbers of these numbers of bits.
    fn long_binary<T: 'static>(
        rt: &mut Functions<'_, T>,
        numbers: &Numbers,
        name: &str,
        steps: fn(u64, u64) -> u64,
        f: fn(BigInt, BigInt) -> Result<BigInt>,
    ) -> Result<()> {
        let with = numbers.clone();
        rt.func(name, "xx>x", move |call| {
            let (a, b) = (with.arg(&call, 0)?, with.arg(&call, 1)?);
            let steps = steps(a.bits(), b.bits());
            let result = work::run(|| call.interrupt(), steps, move || f(a, b))?;
            with.give(call, result?)
        })?;
        let with = numbers.clone();
        rt.func(&format!("{name}_i32"), "xi>x", move |call| {
            let (a, b) = (with.arg(&call, 0)?, call.i32(1)?.into());
            with.give(call, f(a, b)?)
        })
    }
    binary(rt, numbers, "bignum_add", |a, b| {
        check_bits(a.bits().max(b.bits()) + 1)?;
        Ok(a + b)
    })?;
    binary(rt, numbers, "bignum_sub", |a, b| {
        check_bits(a.bits().max(b.bits()) + 1)?;
        Ok(a - b)
    })?;
    binary(rt, numbers, "bignum_mul", |a, b| multiply(&a, &b))?;
    long_binary(rt, numbers, "bignum_quo", division_steps, |a, b| Ok(a / divisor(b)?))?;
    long_binary(rt, numbers, "bignum_rem", division_steps, |a, b| Ok(a % divisor(b)?))?;
    long_binary(rt, numbers, "bignum_mod", division_steps, |a, b| Ok(a.mod_floor(&divisor(b)?)))?;
    long_binary(rt, numbers, "bignum_gcd", gcd_steps, |a, b| Ok(a.gcd(&b)))?;
    binary(rt, numbers, "bignum_logand", |a, b| Ok(a.bitand(b)))?;
    binary(rt, numbers, "bignum_logior", |a, b| Ok(a.bitor(b)))?;
    binary(rt, numbers, "bignum_logxor", |a, b| Ok(a.bitxor(b)))
}

fn bits<T: 'static>(rt: &mut Functions<'_, T>, numbers: &Numbers) -> Result<()> {
    for (name, left) in [("bignum_lsh", true), ("bignum_rsh", false)] {
        let by = move |by: i64| if left { by } else { by.saturating_neg() };
        let with = numbers.clone();
        rt.func(name, "xI>x", move |call| {
            let shifted = shift(with.arg(&call, 0)?, by(call.i64(1)?))?;
            with.give(call, shifted)
        })?;
    }
    let with = numbers.clone();
    rt.func("bignum_lsh_i32_i64", "iI>x", move |call| {
        let shifted = shift(call.i32(0)?.into(), call.i64(1)?)?;
        with.give(call, shifted)
    })?;
    let with = numbers.clone();
    rt.func("bignum_logcount", "x>i", move |call| {
        let number = with.arg(&call, 0)?;
        // JavaScript's runtime of Hoot says zero for negative numbers.
        let ones = if number.sign() == Sign::Plus { number.magnitude().count_ones() } else { 0 };
        call.give_i32(ones as i32)
    })
}

fn comparisons<T: 'static>(rt: &mut Functions<'_, T>, numbers: &Numbers) -> Result<()> {
    type Test = fn(Ordering) -> bool;
    let tests: [(&str, Test); 3] =
        [("lt", Ordering::is_lt), ("le", Ordering::is_le), ("eq", Ordering::is_eq)];
    for (name, test) in tests {
        let with = numbers.clone();
        rt.func(&format!("bignum_{name}"), "xx>i", move |call| {
            let (a, b) = (with.arg(&call, 0)?, with.arg(&call, 1)?);
            call.give_bool(test(a.cmp(&b)))
        })?;
        let (big_f64, big_i32) = match name {
            "eq" => ("bignum_eq_f64".to_owned(), "bignum_eq_i32".to_owned()),
            _ => (format!("bignum_{name}_big_f64"), format!("bignum_{name}_big_i32")),
        };
        let with = numbers.clone();
        rt.func(&big_f64, "xd>i", move |call| {
            let (a, b) = (with.arg(&call, 0)?, call.f64(1)?);
            call.give_bool(compare(&a, b).is_some_and(test))
        })?;
        let with = numbers.clone();
        rt.func(&format!("bignum_{name}_f64_big"), "dx>i", move |call| {
            let (a, b) = (call.f64(0)?, with.arg(&call, 1)?);
            call.give_bool(compare(&b, a).map(Ordering::reverse).is_some_and(test))
        })?;
        let with = numbers.clone();
        rt.func(&big_i32, "xi>i", move |call| {
            let (a, b) = (with.arg(&call, 0)?, BigInt::from(call.i32(1)?));
            call.give_bool(test(a.cmp(&b)))
        })?;
        let with = numbers.clone();
        rt.func(&format!("bignum_{name}_i32_big"), "ix>i", move |call| {
            let (a, b) = (BigInt::from(call.i32(0)?), with.arg(&call, 1)?);
            call.give_bool(test(a.cmp(&b)))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> BigInt {
        read_text(text).unwrap()
    }

    #[test]
    fn numbers_are_read() {
        assert_eq!(number(" -12 "), BigInt::from(-12));
        assert_eq!(number("0xff"), BigInt::from(255));
        assert_eq!(number(""), BigInt::ZERO);
        for text in ["x", "1_0", "0x-1", "1.5", "--1", "0x", "+"] {
            assert_eq!(parse(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn shifts_round_down() {
        for (a, by, expected) in [
            (-5, -1, -3),
            (5, -1, 2),
            (-1, i64::MIN, -1),
            (1, i64::MIN, 0),
            (3, 2, 12),
            (0, i64::MAX, 0),
        ] {
            assert_eq!(shift(a.into(), by).unwrap(), expected.into(), "{a} << {by}");
        }
        assert!(shift(1.into(), i64::MAX).is_err());
        assert!(shift(1.into(), MOST_BITS as i64).is_err());
    }

    #[test]
    fn texts_of_large_numbers_are_refused_at_once() {
        let begin = std::time::Instant::now();
        for digit in ["9", "0x", "-0001"] {
            let text = format!("{digit}{}", "7".repeat(40_000_000));
            let error = parse(&text).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::AllocationTooLarge));
        }
        assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
        let error = read_text(&"x".repeat(1 << 20)).unwrap_err();
        assert!(error.to_string().len() < 300, "{error}");
        assert_eq!(number("\u{feff}\u{a0} 7\u{2028}"), BigInt::from(7));
        assert_eq!(parse("\u{85}7").unwrap(), None);
    }

    #[test]
    fn low_bits_wrap() {
        assert_eq!(low_bits(&BigInt::from(-1)), u64::MAX);
        assert_eq!(low_bits(&(number("0x10000000000000007"))), 7);
        assert_eq!(low_bits(&-number("0x10000000000000007")) as i64, -7);
        assert_eq!(low_bits(&BigInt::ZERO), 0);
    }

    #[test]
    fn floats_are_compared_exactly() {
        let big = number("9007199254740993");
        assert_eq!(compare(&big, 9007199254740992.0), Some(Ordering::Greater));
        assert_eq!(compare(&2.into(), 2.5), Some(Ordering::Less));
        assert_eq!(compare(&(-2).into(), -2.5), Some(Ordering::Greater));
        assert_eq!(compare(&2.into(), 2.0), Some(Ordering::Equal));
        assert_eq!(compare(&0.into(), -0.0), Some(Ordering::Equal));
        assert_eq!(compare(&2.into(), f64::INFINITY), Some(Ordering::Less));
        assert_eq!(compare(&2.into(), f64::NAN), None);
    }
}
