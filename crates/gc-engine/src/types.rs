//! [`Type`]: the types of values in compiled code. [`Signature`]: the types of a function's parameters and results.

use gc_types::{CallSignature, GcLayout, StorageType, ValueType};
use std::fmt;

/// The type of a value in compiled code.
///
/// ```
/// use gc_engine::{Signature, Type};
///
/// let signature = Signature::new([Type::Ref, Type::I32], [Type::Ref]);
/// assert_eq!(signature.to_string(), "(ref, i32) -> (ref)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A reference to an object, an `i31`, or null. It is a root while it is live.
    Ref,
    /// A reference to a function, or null. It is the function's number in the store, which is checked when
    /// the function is called.
    Func,
}

impl Type {
    /// The type at the machine level.
    pub(crate) fn value_type(self) -> ValueType {
        match self {
            Type::I32 | Type::Func => ValueType::I32,
            Type::I64 | Type::Ref => ValueType::I64,
            Type::F32 => ValueType::F32,
            Type::F64 => ValueType::F64,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::I32 => "i32",
            Type::I64 => "i64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Ref => "ref",
            Type::Func => "func",
        })
    }
}

/// A field or element of this type. Packed fields are [`StorageType::I8`] and
/// [`StorageType::I16`].
impl From<Type> for StorageType {
    fn from(ty: Type) -> StorageType {
        match ty {
            Type::I32 => StorageType::I32,
            Type::I64 => StorageType::I64,
            Type::F32 => StorageType::F32,
            Type::F64 => StorageType::F64,
            Type::Ref => StorageType::Ref,
            Type::Func => StorageType::FuncRef,
        }
    }
}

/// The types of a function's parameters and results.
///
/// # Examples
/// ```
/// use gc_engine::{Signature, Type};
///
/// let signature = Signature::new([Type::I64, Type::Ref], [Type::Ref]);
/// assert_eq!(signature.params(), [Type::I64, Type::Ref]);
/// assert_eq!(signature.to_string(), "(i64, ref) -> (ref)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    params: Box<[Type]>,
    results: Box<[Type]>,
    /// The same at the machine level.
    calls: CallSignature,
}

impl Signature {
    /// The signature with these parameters and results.
    pub fn new(
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
    ) -> Signature {
        let params: Box<[Type]> = params.into_iter().collect();
        let results: Box<[Type]> = results.into_iter().collect();
        let types = |types: &[Type]| types.iter().map(|ty| ty.value_type()).collect::<Vec<_>>();
        let calls = CallSignature::new(types(&params), types(&results));
        Signature { params, results, calls }
    }

    /// The parameters' types.
    pub fn params(&self) -> &[Type] {
        &self.params
    }

    /// The results' types.
    pub fn results(&self) -> &[Type] {
        &self.results
    }

    /// Whether a parameter or a result is a reference.
    #[cfg(feature = "compiler")]
    pub(crate) fn has_refs(&self) -> bool {
        self.params.iter().chain(&self.results).any(|ty| *ty == Type::Ref)
    }

    /// The signature at the machine level.
    pub(crate) fn call_signature(&self) -> &CallSignature {
        &self.calls
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |types: &[Type]| types.iter().map(|ty| ty.to_string()).collect::<Vec<_>>().join(", ");
        write!(f, "({}) -> ({})", list(&self.params), list(&self.results))
    }
}

/// A layout, as messages show it.
pub(crate) fn describe(layout: &GcLayout) -> String {
    let names = |fields: &[gc_types::FieldLayout]| {
        fields.iter().map(|field| storage_name(field.ty)).collect::<Vec<_>>().join(", ")
    };
    match layout {
        GcLayout::Struct(layout) => format!("a struct ({})", names(&layout.fields)),
        GcLayout::Array(layout) => format!("an array of {}", storage_name(layout.element)),
        GcLayout::Exn(layout) => format!("an exception ({})", names(&layout.fields)),
    }
}

/// The name of a storage type, in messages and in files.
pub(crate) fn storage_name(ty: StorageType) -> &'static str {
    match ty {
        StorageType::I8 => "i8",
        StorageType::I16 => "i16",
        StorageType::I32 => "i32",
        StorageType::I64 => "i64",
        StorageType::F32 => "f32",
        StorageType::F64 => "f64",
        StorageType::V128 => "v128",
        StorageType::Ref => "ref",
        StorageType::FuncRef => "funcref",
    }
}
