//! Strings and regular expressions. A program's own strings are WTF-8, which is UTF-8 that may also
//! have halves of characters that stand alone.

use crate::call::Functions;
use crate::js_number;
use crate::js_text::cased;
use crate::regexp::RegExp;
use crate::regexp_objects::RegExps;
use anyhow::{Context, Result};
use gc_wasm::{ArrayRef, ArrayRefPre, HeapType, RefType, Trap, Val, ValType};

/// The code units of a text in WTF-8. What is no WTF-8 is replaced.
fn to_units(bytes: &[u8]) -> Vec<u16> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let (valid, next) = match std::str::from_utf8(rest) {
            Ok(_) => (rest, &[][..]),
            Err(error) => rest.split_at(error.valid_up_to()),
        };
        units.extend(String::from_utf8_lossy(valid).encode_utf16());
        rest = match next {
            [] => return units,
            // A half of a character, in three bytes.
            [0xed, a @ 0xa0..=0xbf, b @ 0x80..=0xbf, next @ ..] => {
                units.push(0xd000 | u16::from(a & 0x3f) << 6 | u16::from(b & 0x3f));
                next
            }
            [_, next @ ..] => {
                units.push(char::REPLACEMENT_CHARACTER as u16);
                next
            }
        };
    }
}

/// A text in WTF-8.
fn to_wtf8(units: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(units.len());
    for c in char::decode_utf16(units.iter().copied()) {
        match c {
            Ok(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(half) => {
                let half = half.unpaired_surrogate();
                let (a, b) = (half >> 6 & 0x3f, half & 0x3f);
                bytes.extend([0xed, 0x80 | a as u8, 0x80 | b as u8]);
            }
        }
    }
    bytes
}

/// Defines the functions for strings and regular expressions.
pub(super) fn define<T: 'static>(rt: &mut Functions<'_, T>) -> Result<()> {
    rt.func("wtf8_to_string", "a>x", |call| {
        let array = call.internal(0)?.as_array(&*call.caller)?.ok_or(Trap::CastFailure)?;
        let mut bytes = vec![0; array.len(&*call.caller)? as usize];
        array.read_bytes(&*call.caller, 0, &mut bytes)?;
        call.give_units(&to_units(&bytes))
    })?;
    rt.func("string_to_wtf8", "x>a", |call| {
        let bytes = to_wtf8(&call.units(0)?);
        let ty =
            call.result_ty(0).as_ref().and_then(ValType::as_ref).map(RefType::heap_type).cloned();
        let Some(HeapType::ConcreteArray(ty)) = ty else {
            anyhow::bail!("`string_to_wtf8` must return an array of bytes");
        };
        let allocator = ArrayRefPre::new(&mut *call.caller, ty);
        let array = ArrayRef::from_bytes(&mut *call.caller, &allocator, &bytes)?;
        call.give(Val::AnyRef(Some(array.to_anyref())))
    })?;
    rt.func("string_upcase", "x>x", |call| {
        let text = cased(&call.units(0)?, str::to_uppercase);
        call.give_units(&text)
    })?;
    rt.func("string_downcase", "x>x", |call| {
        let text = cased(&call.units(0)?, str::to_lowercase);
        call.give_units(&text)
    })?;
    rt.func("flonum_to_string", "d>x", |call| {
        let text = flonum(call.f64(0)?);
        call.give_text(&text)
    })?;
    regular_expressions(rt)
}

/// A float as Scheme writes it.
fn flonum(float: f64) -> String {
    if float.is_nan() {
        return "+nan.0".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "+inf.0" } else { "-inf.0" }.to_owned();
    }
    let sign = if float == 0.0 && float.is_sign_negative() { "-" } else { "" };
    let text = js_number::to_text(float);
    let whole = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    format!("{sign}{text}{}", if whole { ".0" } else { "" })
}

fn regular_expressions<T: 'static>(rt: &mut Functions<'_, T>) -> Result<()> {
    let regexps = RegExps::default();
    let with = regexps.clone();
    rt.func("make_regexp", "xx>x", move |call| {
        let regexp = RegExp::new(&call.units(0)?, &call.text(1)?)?;
        with.give(call, regexp)
    })?;
    let with = regexps.clone();
    rt.func("regexp_exec", "xx>x", move |call| with.exec(call, 0, 1))?;
    let with = regexps.clone();
    rt.func("regexp_match_string", "x>x", move |mut call| {
        let input = with.found(&mut call, 0)?.input;
        call.give(Val::ExternRef(Some(input)))
    })?;
    let with = regexps.clone();
    rt.func("regexp_match_start", "x>i", move |mut call| {
        let start = with.found(&mut call, 0)?.range().start;
        call.give_i32(start as i32)
    })?;
    let with = regexps.clone();
    rt.func("regexp_match_end", "x>i", move |mut call| {
        let end = with.found(&mut call, 0)?.range().end;
        call.give_i32(end as i32)
    })?;
    let with = regexps.clone();
    rt.func("regexp_match_count", "x>i", move |mut call| {
        let count = with.found(&mut call, 0)?.groups.len();
        call.give_i32(count as i32)
    })?;
    rt.func("regexp_match_substring", "xi>x", move |mut call| {
        let (index, found) = (call.i32(1)?, regexps.found(&mut call, 0)?);
        let index = usize::try_from(index).ok().filter(|index| *index < found.groups.len());
        let index = index.context("the match has no such group")?;
        found.give_group(call, Some(index))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wtf8_is_read_and_written() {
        for (bytes, units) in [
            (&b"a\xc3\xa4"[..], &[0x61, 0xe4][..]),
            (b"\xf0\x9f\x98\x80", &[0xd83d, 0xde00]),
            (b"x\xed\xa0\xbdy\xed\xb8\x80", &[0x78, 0xd83d, 0x79, 0xde00]),
            (b"", &[]),
        ] {
            assert_eq!(to_units(bytes), units);
            assert_eq!(to_wtf8(units), bytes);
        }
        assert_eq!(to_units(b"a\xff\xed\xa0"), [0x61, 0xfffd, 0xfffd, 0xfffd]);
    }

    #[test]
    fn floats_are_written_as_in_scheme() {
        for (float, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (1.5, "1.5"),
            (1e21, "1e+21"),
            (-3.0, "-3.0"),
            (f64::INFINITY, "+inf.0"),
            (f64::NEG_INFINITY, "-inf.0"),
            (f64::NAN, "+nan.0"),
        ] {
            assert_eq!(flonum(float), text);
        }
    }
}
