//! The parameters and results of functions of compiled code, at the machine level.
//!
//! If the values of two functions are passed in the same way, the functions have the same
//! signature, even if their types in the source language differ. All references are
//! [`ValueType::I64`]. So functions with the same signature share trampolines.

use std::fmt;

/// A value as compiled code passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ValueType {
    /// An 8-bit integer.
    I8 = 1,
    /// A 16-bit integer.
    I16 = 2,
    /// A 32-bit integer.
    I32 = 3,
    /// A 64-bit integer, a reference, or an address.
    I64 = 4,
    /// A 32-bit float.
    F32 = 5,
    /// A 64-bit float.
    F64 = 6,
    /// A vector of 128 bits.
    V128 = 7,
}

impl ValueType {
    /// The type with this code, if there is one.
    pub const fn from_code(code: u8) -> Option<ValueType> {
        Some(match code {
            1 => ValueType::I8,
            2 => ValueType::I16,
            3 => ValueType::I32,
            4 => ValueType::I64,
            5 => ValueType::F32,
            6 => ValueType::F64,
            7 => ValueType::V128,
            _ => return None,
        })
    }

    /// Its number in a [`CodeImage`](crate::CodeImage).
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::I8 => "i8",
            ValueType::I16 => "i16",
            ValueType::I32 => "i32",
            ValueType::I64 => "i64",
            ValueType::F32 => "f32",
            ValueType::F64 => "f64",
            ValueType::V128 => "v128",
        })
    }
}

/// The types of a function's parameters after its vmctx, and of its results.
///
/// ```
/// use gc_types::{CallSignature, ValueType};
///
/// let signature = CallSignature::new([ValueType::I32, ValueType::I64], [ValueType::F64]);
/// assert_eq!(signature.to_string(), "(i32, i64) -> (f64)");
/// assert_eq!(signature.slots(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallSignature {
    params: Box<[ValueType]>,
    results: Box<[ValueType]>,
}

impl CallSignature {
    /// A signature with these parameters and results.
    pub fn new(
        params: impl IntoIterator<Item = ValueType>,
        results: impl IntoIterator<Item = ValueType>,
    ) -> CallSignature {
        CallSignature {
            params: params.into_iter().collect(),
            results: results.into_iter().collect(),
        }
    }

    /// The parameters after the vmctx.
    pub fn params(&self) -> &[ValueType] {
        &self.params
    }

    /// The results.
    pub fn results(&self) -> &[ValueType] {
        &self.results
    }

    /// The number of [`ValRaw`](crate::ValRaw)s that a call through a trampoline needs. It is the
    /// number of parameters or of results, whichever is larger.
    pub fn slots(&self) -> usize {
        self.params.len().max(self.results.len())
    }
}

impl fmt::Display for CallSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, types: &[ValueType]| {
            f.write_str("(")?;
            for (i, ty) in types.iter().enumerate() {
                let comma = if i == 0 { "" } else { ", " };
                write!(f, "{comma}{ty}")?;
            }
            f.write_str(")")
        };
        list(f, &self.params)?;
        f.write_str(" -> ")?;
        list(f, &self.results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for code in 0..=u8::MAX {
            assert!(ValueType::from_code(code).is_none_or(|ty| ty.code() == code));
        }
        assert_eq!(ValueType::from_code(ValueType::V128.code()), Some(ValueType::V128));
    }
}
