//! [`Ref`]: values that are references.

use super::from_references;
use crate::types::HeapType;
use crate::{AnyRef, ArrayRef, EqRef, ExnRef, ExternRef, Func, Rooted, StructRef};

/// A WebAssembly value that is a reference.
///
/// # Examples
/// ```
/// use gc_wasm::{Func, Ref, RefType, Store, Table, TableType};
///
/// let mut store = Store::<()>::default();
/// let table = Table::new(&mut store, TableType::new(RefType::FUNCREF, 1, None), Ref::Func(None))?;
/// let func = Func::wrap(&mut store, || 7);
/// table.set(&mut store, 0, func.into())?;
/// assert!(table.get(&mut store, 0).unwrap().is_non_null());
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Ref {
    /// A function or null.
    Func(Option<Func>),
    /// An external reference or null.
    Extern(Option<Rooted<ExternRef>>),
    /// An internal reference or null.
    Any(Option<Rooted<AnyRef>>),
    /// An exception or null.
    Exn(Option<Rooted<ExnRef>>),
}

impl Ref {
    /// The null of the hierarchy of `ty`.
    pub fn null(ty: &HeapType) -> Ref {
        match ty.top() {
            HeapType::Extern => Ref::Extern(None),
            HeapType::Func => Ref::Func(None),
            HeapType::Exn => Ref::Exn(None),
            _ => Ref::Any(None),
        }
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        match self {
            Ref::Func(value) => value.is_none(),
            Ref::Extern(value) => value.is_none(),
            Ref::Any(value) => value.is_none(),
            Ref::Exn(value) => value.is_none(),
        }
    }

    /// Whether this is not null.
    pub fn is_non_null(&self) -> bool {
        !self.is_null()
    }

    /// Whether this is an external reference, or its null.
    pub fn is_extern(&self) -> bool {
        matches!(self, Ref::Extern(_))
    }

    /// The reference, if this is an external reference. The inner `None` is null.
    pub fn as_extern(&self) -> Option<Option<&Rooted<ExternRef>>> {
        match self {
            Ref::Extern(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The reference, which is an external reference. `None` is null.
    ///
    /// # Panics
    /// If this is another reference.
    pub fn unwrap_extern(&self) -> Option<&Rooted<ExternRef>> {
        self.as_extern().expect("Ref::unwrap_extern on something else")
    }

    /// Whether this is an internal reference, or its null.
    pub fn is_any(&self) -> bool {
        matches!(self, Ref::Any(_))
    }

    /// The reference, if this is an internal reference. The inner `None` is null.
    pub fn as_any(&self) -> Option<Option<&Rooted<AnyRef>>> {
        match self {
            Ref::Any(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The reference, which is an internal reference. `None` is null.
    ///
    /// # Panics
    /// If this is another reference.
    pub fn unwrap_any(&self) -> Option<&Rooted<AnyRef>> {
        self.as_any().expect("Ref::unwrap_any on something else")
    }

    /// Whether this is an exception reference, or its null.
    pub fn is_exn(&self) -> bool {
        matches!(self, Ref::Exn(_))
    }

    /// The reference, if this is an exception reference. The inner `None` is null.
    pub fn as_exn(&self) -> Option<Option<&Rooted<ExnRef>>> {
        match self {
            Ref::Exn(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The reference, which is an exception reference. `None` is null.
    ///
    /// # Panics
    /// If this is another reference.
    pub fn unwrap_exn(&self) -> Option<&Rooted<ExnRef>> {
        self.as_exn().expect("Ref::unwrap_exn on something else")
    }

    /// Whether this is a function reference, or its null.
    pub fn is_func(&self) -> bool {
        matches!(self, Ref::Func(_))
    }

    /// The reference, if this is a function reference. The inner `None` is null.
    pub fn as_func(&self) -> Option<Option<&Func>> {
        match self {
            Ref::Func(value) => Some(value.as_ref()),
            _ => None,
        }
    }

    /// The reference, which is a function reference. `None` is null.
    ///
    /// # Panics
    /// If this is another reference.
    pub fn unwrap_func(&self) -> Option<&Func> {
        self.as_func().expect("Ref::unwrap_func on something else")
    }
}

from_references! { Ref:
    Func, |value| Ref::Func(value);
    Rooted<ExternRef>, |value| Ref::Extern(value);
    Rooted<AnyRef>, |value| Ref::Any(value);
    Rooted<ExnRef>, |value| Ref::Exn(value);
    Rooted<EqRef>, |value| Ref::Any(value.map(|value| value.to_anyref()));
    Rooted<StructRef>, |value| Ref::Any(value.map(|value| value.to_anyref()));
    Rooted<ArrayRef>, |value| Ref::Any(value.map(|value| value.to_anyref()));
}
