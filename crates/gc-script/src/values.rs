//! Values as text. Most printed values can be used as arguments.
//!
//! | value | text |
//! |---|---|
//! | integers | decimal; arguments may be hexadecimal or unsigned |
//! | floats | the shortest decimal that gives the same value when read; `inf`, `nan`, `nan:0x…` |
//! | vectors | `i32x4 0x00000001 0x00000002 0x00000003 0x00000004`; arguments may have other lanes: `f64x2 1 -0.5` |
//! | null of any kind | `null` |
//! | unboxed integers | `i31:5` |
//! | a string of JavaScript | `"text"`, as in Rust; not as an argument |
//! | a host value in an externref | `externref:7`, a number of 32 bits |
//! | structs, arrays, functions | `(struct 1 2)`, `(array 1 2)`, `(func …)`; not as arguments |
//!
//! An `externref:7` can be an argument for an internal reference, and an `i31:5` for an external
//! one. Both are converted, also when they are printed.

use anyhow::{Result, bail};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayType, AsContextMut, ExternRef, I31, Mutability, Rooted, StorageType,
    V128, Val, ValType,
};
use std::fmt::{self, Write};
use wast::core::V128Const;
use wast::parser::{self, Parse, ParseBuffer};
use wast::token::{F32, F64};

/// The typographic minus sign, which is read as `-`.
const MINUS: char = '\u{2212}';

fn parse_number<T: for<'a> Parse<'a>>(text: &str) -> Option<T> {
    let buffer = ParseBuffer::new(text).ok()?;
    parser::parse(&buffer).ok()
}

/// Parses `text` as a value of type `ty`.
///
/// # Errors
/// If it is not such a value, or the heap is full. The message says what was expected.
///
/// ```
/// use gc_script::values::{parse, print};
/// use gc_wasm::{Store, ValType};
///
/// let mut store: Store<()> = Store::default();
/// let value = parse(&mut store, "i31:5", &ValType::ANYREF)?;
/// assert_eq!(print(&mut store, &value)?, "i31:5");
/// assert!(parse(&mut store, "five", &ValType::I32).is_err());
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn parse(store: impl AsContextMut, text: &str, ty: &ValType) -> Result<Val> {
    parse_as(store, text, ty, ty)
}

/// As [`parse`], with another text for the type in the message.
///
/// # Errors
/// As [`parse`].
pub fn parse_as(
    mut store: impl AsContextMut,
    text: &str,
    ty: &ValType,
    shown: &dyn fmt::Display,
) -> Result<Val> {
    let text = text.replace(MINUS, "-");
    let number = match ty {
        ValType::I32 => parse_number(&text).map(Val::I32),
        ValType::I64 => parse_number(&text).map(Val::I64),
        ValType::F32 => parse_number::<F32>(&text).map(|value| Val::F32(value.bits)),
        ValType::F64 => parse_number::<F64>(&text).map(|value| Val::F64(value.bits)),
        ValType::Ref(_) => return parse_ref(&mut store, &text, ty, shown),
        ValType::V128 => parse_number::<V128Const>(&text)
            .map(|value| Val::V128(u128::from_le_bytes(value.to_le_bytes()).into())),
    };
    match number {
        Some(value) => Ok(value),
        None if *ty == ValType::V128 => bail!(
            "expected a value of type {ty}, got `{text}`: a vector must be lanes, as in `i32x4 1 2 \
             3 4` or `f64x2 1 2.5`"
        ),
        None => bail!("expected a value of type {ty}, got `{text}`{}", why_not(&text, ty)),
    }
}

/// Whether a text that is not a float of some type is one that is too large for the type.
fn is_too_large(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && (parse_number::<F64>(text).is_some() || text.parse::<f64>().is_ok())
}

/// Why a text is not a number of type `ty`, to be added to the message.
fn why_not(text: &str, ty: &ValType) -> &'static str {
    let range = match ty {
        ValType::I32 => ": it is out of range, which is -2147483648 to 4294967295",
        ValType::I64 => {
            ": it is out of range, which is -9223372036854775808 to 18446744073709551615"
        }
        _ if is_too_large(text) => return ": it is too large",
        _ => return ": it is not a number",
    };
    let digits = text.trim_start_matches(['+', '-']);
    let (digits, is_digit) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, char::is_ascii_hexdigit as fn(&char) -> bool),
        None => (digits, char::is_ascii_digit as fn(&char) -> bool),
    };
    if !digits.is_empty() && digits.chars().all(|c| is_digit(&c)) {
        range
    } else if parse_number::<F64>(text).is_some() {
        ": it is not an integer"
    } else {
        ": it is not a number"
    }
}

fn parse_ref(
    store: &mut impl AsContextMut,
    text: &str,
    ty: &ValType,
    shown: &dyn fmt::Display,
) -> Result<Val> {
    let external = ty.matches(&ValType::EXTERNREF);
    let value = if text == "null" {
        ty.as_ref().map(|ty| Val::null_ref(ty.heap_type()))
    } else if let Some(number) = text.strip_prefix("i31:") {
        let number = parse_number::<i32>(number);
        match number.and_then(|n| I31::new_i32(n).or_else(|| I31::new_u32(n as u32))) {
            None => bail!("expected an integer of 31 bits after `i31:`, got `{text}`"),
            Some(number) => {
                let internal = AnyRef::from_i31(&mut *store, number);
                Some(match external {
                    true => Val::ExternRef(Some(ExternRef::convert_any(&mut *store, internal)?)),
                    false => Val::AnyRef(Some(internal)),
                })
            }
        }
    } else if let Some(number) = text.strip_prefix("externref:") {
        match parse_number::<u32>(number) {
            None => bail!("expected an integer of 32 bits after `externref:`, got `{text}`"),
            Some(number) => {
                let host = ExternRef::new(&mut *store, number)?;
                Some(match external {
                    true => Val::ExternRef(Some(host)),
                    false => Val::AnyRef(Some(AnyRef::convert_extern(&mut *store, host)?)),
                })
            }
        }
    } else {
        None
    };
    match value {
        Some(value) if value.ty(&mut *store)?.matches(ty) => Ok(value),
        Some(_) => bail!("expected a value of type {shown}, got `{text}`"),
        None => bail!(
            "expected a value of type {shown}, got `{text}`: a reference must be `null`, `i31:N` or \
             `externref:N`"
        ),
    }
}

/// The text of a value.
///
/// # Errors
/// If it belongs to another store, or the heap is corrupt.
pub fn print(store: impl AsContextMut, value: &Val) -> Result<String> {
    let mut printer = Printer { store, text: String::new(), budget: Printer::<()>::BUDGET };
    printer.value(value, 0)?;
    Ok(printer.text)
}

struct Printer<S> {
    store: S,
    text: String,
    /// Fields and elements that may still be printed.
    budget: usize,
}

impl<S> Printer<S> {
    /// The maximum number of fields and elements that are printed for a value.
    const BUDGET: usize = 64;
    /// The maximum number of code units that are printed for a string.
    const UNITS: u32 = 1024;
    /// The maximum depth of nested objects. Objects may be deep or cyclic.
    const DEPTH: usize = 4;
}

/// Whether arrays of this type are strings of JavaScript, if they are external: their elements are
/// code units that never change.
fn is_string(ty: &ArrayType) -> bool {
    let element = ty.field_type();
    *element.element_type() == StorageType::I16 && element.mutability() == Mutability::Const
}

impl<S: AsContextMut> Printer<S> {
    fn value(&mut self, value: &Val, depth: usize) -> Result<()> {
        match value {
            Val::I32(value) => self.word(&value.to_string()),
            Val::I64(value) => self.word(&value.to_string()),
            Val::F32(bits) => self.word(&show_f32(*bits)),
            Val::F64(bits) => self.word(&show_f64(*bits)),
            Val::V128(value) => self.word(&show_v128(*value)),
            Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) => {
                self.word("null");
            }
            Val::FuncRef(Some(func)) => {
                let ty = func.ty(&self.store);
                self.word(&ty.to_string());
            }
            Val::ExternRef(Some(external)) => self.external(external, depth)?,
            Val::AnyRef(Some(internal)) => self.internal(internal, depth)?,
            Val::ExnRef(Some(exn)) => {
                self.text.push_str("(exn");
                let count = exn.ty(&self.store)?.fields().len();
                self.items(count, depth, |store, i| exn.field(store, i))?;
            }
        }
        Ok(())
    }

    fn external(&mut self, external: &Rooted<ExternRef>, depth: usize) -> Result<()> {
        let number = external.data(&self.store)?.map(|data| data.downcast_ref::<u32>().copied());
        match number {
            Some(Some(number)) => self.word(&format!("externref:{number}")),
            Some(None) => self.word("(externref)"),
            None => {
                let internal = AnyRef::convert_extern(&self.store, *external)?;
                match internal.as_array(&self.store)? {
                    Some(array) if is_string(&array.ty(&self.store)?) => self.string(&array)?,
                    _ => self.internal(&internal, depth)?,
                }
            }
        }
        Ok(())
    }

    /// Prints a string of JavaScript, or its beginning if it is long.
    fn string(&mut self, array: &Rooted<ArrayRef>) -> Result<()> {
        let count = array.len(&self.store)?;
        let shown = count.min(Self::UNITS);
        let units = (0..shown).map(|i| {
            let unit = array.get(&mut self.store, i)?;
            Ok(unit.i32().unwrap_or_default() as u16)
        });
        let units = units.collect::<Result<Vec<u16>>>()?;
        write!(self.text, "{:?}", String::from_utf16_lossy(&units))?;
        if shown < count {
            write!(self.text, " …{} more", count - shown)?;
        }
        Ok(())
    }

    fn internal(&mut self, internal: &Rooted<AnyRef>, depth: usize) -> Result<()> {
        if let Some(number) = internal.as_i31(&self.store)? {
            self.word(&format!("i31:{}", number.get_i32()));
        } else if let Some(object) = internal.as_struct(&self.store)? {
            self.text.push_str("(struct");
            let count = object.ty(&self.store)?.fields().len();
            self.items(count, depth, |store, i| object.field(store, i))?;
        } else if let Some(array) = internal.as_array(&self.store)? {
            self.text.push_str("(array");
            let count = array.len(&self.store)? as usize;
            self.items(count, depth, |store, i| array.get(store, i as u32))?;
        } else {
            let external = ExternRef::convert_any(&self.store, *internal)?;
            self.external(&external, depth)?;
        }
        Ok(())
    }

    /// Prints the `count` parts of an object, and the closing parenthesis.
    fn items(
        &mut self,
        count: usize,
        depth: usize,
        mut get: impl FnMut(&mut S, usize) -> Result<Val>,
    ) -> Result<()> {
        for i in 0..count {
            if depth >= Self::DEPTH || self.budget == 0 {
                let more = count - i;
                write!(self.text, " …{more} more")?;
                break;
            }
            self.budget -= 1;
            self.text.push(' ');
            let value = get(&mut self.store, i)?;
            self.value(&value, depth + 1)?;
        }
        self.text.push(')');
        Ok(())
    }

    fn word(&mut self, word: &str) {
        self.text.push_str(word);
    }
}

/// The text of the 32-bit float with these bits.
pub fn show_f32(bits: u32) -> String {
    let value = f32::from_bits(bits);
    match value.is_nan() {
        true => show_nan(bits >> 31 != 0, (bits & 0x7f_ffff).into(), 1 << 22),
        false => format!("{value:?}"),
    }
}

/// The text of the 64-bit float with these bits.
pub fn show_f64(bits: u64) -> String {
    let value = f64::from_bits(bits);
    match value.is_nan() {
        true => show_nan(bits >> 63 != 0, bits & 0xf_ffff_ffff_ffff, 1 << 51),
        false => format!("{value:?}"),
    }
}

/// The text of a vector: four lanes of 32 bits, in hexadecimal.
pub fn show_v128(value: V128) -> String {
    let lane = |lane: u32| (value.as_u128() >> (32 * lane)) as u32;
    format!("i32x4 {:#010x} {:#010x} {:#010x} {:#010x}", lane(0), lane(1), lane(2), lane(3))
}

fn show_nan(negative: bool, payload: u64, canonical: u64) -> String {
    let sign = if negative { "-" } else { "" };
    match payload == canonical {
        true => format!("{sign}nan"),
        false => format!("{sign}nan:{payload:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_wasm::{
        ArrayRefPre, FieldType, HeapType, RefType, Store, StructRef, StructRefPre, StructType,
    };

    fn store() -> Store<()> {
        Store::default()
    }

    #[test]
    fn numbers_print_as_they_are_typed() {
        let mut store = store();
        for (ty, texts) in [
            (ValType::I32, &["0", "-1", "2147483647", "-2147483648"][..]),
            (ValType::I64, &["-1", "9223372036854775807", "-9223372036854775808"]),
            (
                ValType::F32,
                &[
                    "0.0",
                    "-0.0",
                    "1.5",
                    "0.1",
                    "1e-45",
                    "3.4028235e38",
                    "inf",
                    "-inf",
                    "nan",
                    "-nan",
                    "nan:0x1",
                    "-nan:0x7fffff",
                ],
            ),
            (
                ValType::F64,
                &["0.1", "-0.0", "1e300", "5e-324", "inf", "nan", "-nan:0x8000000000001"],
            ),
            (
                ValType::V128,
                &[
                    "i32x4 0x00000000 0x00000000 0x00000000 0x00000000",
                    "i32x4 0x00000001 0xffffffff 0x7fffffff 0x80000000",
                ],
            ),
        ] {
            for text in texts {
                let value = parse(&mut store, text, &ty).unwrap();
                assert_eq!(print(&mut store, &value).unwrap(), **text, "{ty}");
            }
        }
        for (ty, text, printed) in [
            (ValType::I32, "4294967295", "-1"),
            (ValType::I32, "0xff", "255"),
            (ValType::I32, "\u{2212}5", "-5"),
            (ValType::I32, "+5", "5"),
            (ValType::I64, "1_000", "1000"),
            (ValType::F32, "1", "1.0"),
            (ValType::F64, "-0x1.8p1", "-3.0"),
            (
                ValType::V128,
                "i8x16 1 0 0 0 -1 -1 -1 -1 0 0 0 0 0 0 0 0",
                "i32x4 0x00000001 0xffffffff 0x00000000 0x00000000",
            ),
            (
                ValType::V128,
                "i16x8 1 2 3 4 5 6 7 8",
                "i32x4 0x00020001 0x00040003 0x00060005 0x00080007",
            ),
            (ValType::V128, "i64x2 1 -1", "i32x4 0x00000001 0x00000000 0xffffffff 0xffffffff"),
            (
                ValType::V128,
                "f32x4 1 0 nan -0",
                "i32x4 0x3f800000 0x00000000 0x7fc00000 0x80000000",
            ),
            (
                ValType::V128,
                "f64x2 1 \u{2212}0.5",
                "i32x4 0x00000000 0x3ff00000 0x00000000 0xbfe00000",
            ),
        ] {
            let value = parse(&mut store, text, &ty).unwrap();
            assert_eq!(print(&mut store, &value).unwrap(), printed, "{text}");
        }
    }

    #[test]
    fn references_print_as_they_are_typed() {
        let mut store = store();
        for (ty, text) in [
            (ValType::FUNCREF, "null"),
            (ValType::EXTERNREF, "null"),
            (ValType::STRUCTREF, "null"),
            (ValType::ANYREF, "i31:5"),
            (ValType::EQREF, "i31:-1073741824"),
            (ValType::I31REF, "i31:1073741823"),
            (ValType::EXTERNREF, "externref:4294967295"),
            (ValType::ANYREF, "externref:7"),
            (ValType::EXTERNREF, "i31:5"),
        ] {
            let value = parse(&mut store, text, &ty).unwrap();
            assert!(value.ty(&store).unwrap().matches(&ty), "{text} of {ty}");
            assert_eq!(print(&mut store, &value).unwrap(), text, "{ty}");
        }
        let unsigned = parse(&mut store, "i31:2147483647", &ValType::I31REF).unwrap();
        assert_eq!(print(&mut store, &unsigned).unwrap(), "i31:-1");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut store = store();
        let not_null = ValType::Ref(RefType::new(false, HeapType::Any));
        for (ty, text) in [
            (ValType::I32, "4294967296"),
            (ValType::I32, "1.5"),
            (ValType::I32, "one"),
            (ValType::I32, "4294967296"),
            (ValType::I32, ""),
            (ValType::I32, "1 2"),
            (ValType::I64, "null"),
            (ValType::F32, "0x"),
            (ValType::F64, "nan:0x0"),
            (ValType::V128, "5"),
            (ValType::V128, "i32x4 1 2 3"),
            (ValType::V128, "i8x16 1 2 3 4"),
            (ValType::V128, "i32x4 1 2 3 4294967296"),
            (ValType::FUNCREF, "i31:5"),
            (ValType::FUNCREF, "externref:5"),
            (ValType::STRUCTREF, "i31:5"),
            (ValType::EQREF, "externref:5"),
            (ValType::ANYREF, "5"),
            (ValType::ANYREF, "i31:2147483648"),
            (ValType::ANYREF, "(struct 1)"),
            (not_null, "null"),
        ] {
            let error = parse(&mut store, text, &ty).unwrap_err().to_string();
            assert!(error.contains("expected"), "{ty} `{text}`: {error}");
        }
    }

    #[test]
    fn a_wrong_number_is_wrong_for_a_reason() {
        let mut store = store();
        for (ty, text, why) in [
            (ValType::I32, "abc", "it is not a number"),
            (ValType::I32, "99999999999", "it is out of range, which is -2147483648 to 4294967295"),
            (ValType::I32, "-0x80000001", "it is out of range"),
            (ValType::I64, "18446744073709551616", "it is out of range, which is -92233"),
            (ValType::I32, "1.5", "it is not an integer"),
            (ValType::I64, "0x", "it is not a number"),
            (ValType::F64, "many", "it is not a number"),
            (ValType::F64, "-1e999", "it is too large"),
            (ValType::F32, "1e39", "it is too large"),
            (ValType::F32, "infinity", "it is not a number"),
        ] {
            let error = parse(&mut store, text, &ty).unwrap_err().to_string();
            assert!(error.contains(why), "{ty} `{text}`: {error}");
        }
    }

    #[test]
    fn objects_are_shown() {
        let mut store = store();
        let engine = store.engine().clone();
        let bytes = ArrayType::new(&engine, FieldType::new(Mutability::Var, StorageType::I8));
        let field = |ty: ValType| FieldType::new(Mutability::Var, ty.into());
        let node = StructType::new(&engine, [field(ValType::I32), field(ValType::ANYREF)]).unwrap();
        let bytes = ArrayRefPre::new(&mut store, bytes);
        let array = ArrayRef::new(&mut store, &bytes, &Val::I32(255), 3).unwrap();
        let node = StructRefPre::new(&mut store, node);
        let object = StructRef::new(&mut store, &node, &[Val::I32(1), array.into()]).unwrap();
        let value = Val::from(object);
        assert_eq!(print(&mut store, &value).unwrap(), "(struct 1 (array 255 255 255))");

        object.set_field(&mut store, 1, value).unwrap();
        assert_eq!(
            print(&mut store, &value).unwrap(),
            "(struct 1 (struct 1 (struct 1 (struct 1 (struct …2 more)))))"
        );

        let field = FieldType::new(Mutability::Var, ValType::I32.into());
        let long = ArrayRefPre::new(&mut store, ArrayType::new(&engine, field));
        let long = ArrayRef::new(&mut store, &long, &Val::I32(0), 1000).unwrap();
        let text = print(&mut store, &long.into()).unwrap();
        assert!(text.ends_with(" 0 0 …936 more)"), "{text}");
    }
}
