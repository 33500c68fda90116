//! Strings and regular expressions.

use super::objects::Objects;
use crate::call::{Call, Functions};
use crate::js_text::{cased, find, find_last};
use crate::regexp::RegExp;
use crate::regexp_objects::RegExps;
use crate::strings::LONGEST;
use anyhow::Result;
use std::cmp::Ordering;

/// A place as JavaScript returns it.
fn place(place: Option<usize>) -> i32 {
    place.map_or(-1, |place| place as i32)
}

/// Defines the functions.
pub(super) fn define<T: 'static>(of: &mut Functions<'_, T>, objects: &Objects) -> Result<()> {
    comparisons(of)?;
    searches(of)?;
    type Cased = fn(&str) -> String;
    let cases: [(&str, Cased); 4] = [
        ("toLowerCase", str::to_lowercase),
        ("toUpperCase", str::to_uppercase),
        ("toLocaleLowerCase", str::to_lowercase),
        ("toLocaleUpperCase", str::to_uppercase),
    ];
    for (name, f) in cases {
        of.func(&format!("string.{name}"), "x>x", move |call| {
            let text = cased(&call.units(0)?, f);
            call.give_units(&text)
        })?;
    }
    let with = objects.clone();
    of.func("string.repeat", "xi>x", move |call| {
        let (units, count) = (call.units(0)?, call.i32(1)?);
        let Ok(times) = usize::try_from(count) else {
            return with.throw(call, "RangeError", &format!("Invalid count value: {count}"));
        };
        let length = units.len().saturating_mul(times);
        if length > LONGEST {
            return with.throw(call, "RangeError", "Invalid string length");
        }
        call.check_length(length)?;
        call.give_units(&units.repeat(times))
    })?;
    regular_expressions(of, objects)
}

/// A string in lower case.
fn lower<T: 'static>(call: &Call<'_, '_, T>, n: usize) -> Result<Vec<u16>> {
    Ok(cased(&call.units(n)?, str::to_lowercase))
}

fn comparisons<T: 'static>(of: &mut Functions<'_, T>) -> Result<()> {
    of.func("j2wasm.StringUtils.equalsIgnoreCase", "xx>i", |call| {
        let (a, b) = (lower(&call, 0)?, lower(&call, 1)?);
        call.give_bool(a == b)
    })?;
    of.func("j2wasm.StringUtils.compareToIgnoreCase", "xx>i", |call| {
        let (a, b) = (lower(&call, 0)?, lower(&call, 1)?);
        call.give_i32(match a.cmp(&b) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        })
    })
}

fn searches<T: 'static>(of: &mut Functions<'_, T>) -> Result<()> {
    of.func_of("string.indexOf", "xx>i", |call| {
        let found = find(&call.units(0)?, &call.units(1)?, 0);
        call.give_i32(place(found))
    })?;
    of.func_of("string.indexOf", "xxi>i", |call| {
        let start = usize::try_from(call.i32(2)?).unwrap_or(0);
        let found = find(&call.units(0)?, &call.units(1)?, start);
        call.give_i32(place(found))
    })?;
    of.func_of("string.lastIndexOf", "xx>i", |call| {
        let found = find_last(&call.units(0)?, &call.units(1)?, usize::MAX);
        call.give_i32(place(found))
    })?;
    of.func_of("string.lastIndexOf", "xxi>i", |call| {
        let start = usize::try_from(call.i32(2)?).unwrap_or(0);
        let found = find_last(&call.units(0)?, &call.units(1)?, start);
        call.give_i32(place(found))
    })
}

fn regular_expressions<T: 'static>(of: &mut Functions<'_, T>, objects: &Objects) -> Result<()> {
    let regexps = RegExps::default();
    for (ty, flags) in [("x>x", false), ("xx>x", true)] {
        let (errors, with) = (objects.clone(), regexps.clone());
        of.func_of("RegExp.constructor", ty, move |call| {
            let flags = if flags { call.text(1)? } else { String::new() };
            match RegExp::new(&call.units(0)?, &flags) {
                Ok(regexp) => with.give(call, regexp),
                Err(error) => errors.throw(call, "SyntaxError", &error.to_string()),
            }
        })?;
    }
    let with = regexps.clone();
    of.func("string.replace", "xxx>x", move |mut call| {
        let (text, replacement, longest) = (call.units(0)?, call.units(2)?, call.longest());
        let replaced = with.search(&mut call, 1, text, move |regexp, text| {
            regexp.replace(text, &replacement, longest)
        })?;
        call.give_units(&replaced?)
    })?;
    let (arrays, with) = (objects.clone(), regexps.clone());
    of.func("string.split", "xx>x", move |mut call| {
        let (text, longest) = (call.units(0)?, call.longest());
        let parts =
            with.search(&mut call, 1, text, move |regexp, text| regexp.split(text, longest))?;
        let text = call.units(0)?;
        arrays.give_parts(call, &text, &parts?)
    })?;
    let with = regexps.clone();
    of.func("RegExp.exec", "xx>x", move |call| with.exec(call, 0, 1))?;
    let with = regexps.clone();
    of.func("RegExp.test", "xx>i", move |mut call| {
        let text = call.units(1)?;
        let found = with.search(&mut call, 0, text, |regexp, text| regexp.exec(text).is_some())?;
        call.give_bool(found)
    })?;
    let with = regexps.clone();
    of.func("set RegExp.lastIndex", "xi", move |mut call| {
        let index = usize::try_from(call.i32(1)?).unwrap_or(0);
        with.regexp(&mut call, 0)?.set_last_index(index);
        Ok(())
    })?;
    let with = regexps.clone();
    of.func("get RegExpResult.index", "x>i", move |mut call| {
        let index = with.found(&mut call, 0)?.range().start;
        call.give_i32(index as i32)
    })?;
    let with = regexps.clone();
    of.func("get RegExpResult.length", "x>i", move |mut call| {
        let length = with.found(&mut call, 0)?.groups.len();
        call.give_i32(length as i32)
    })?;
    of.func("RegExpResult.at", "xi>x", move |mut call| {
        let (index, found) = (call.i32(1)?, regexps.found(&mut call, 0)?);
        // A negative index counts from the end.
        let index = if index < 0 { index as i64 + found.groups.len() as i64 } else { index.into() };
        found.give_group(call, usize::try_from(index).ok())
    })
}
