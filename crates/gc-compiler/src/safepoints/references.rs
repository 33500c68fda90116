//! [`References`]: which values of a function are references, and what their types say of them.

use cranelift_codegen::ir::{self, Value};
use std::collections::HashMap;

/// A type of objects.
///
/// ```
/// use gc_compiler::safepoints::KnownType;
///
/// assert_eq!(KnownType::of_engine(7), KnownType::of_engine(7));
/// assert_ne!(KnownType::of_engine(7), KnownType::of_image(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KnownType {
    number: u32,
    of_image: bool,
}

impl KnownType {
    /// The type with this index in the engine.
    pub const fn of_engine(index: u32) -> KnownType {
        KnownType { number: index, of_image: false }
    }

    /// The type with this number in the image.
    pub const fn of_image(number: u32) -> KnownType {
        KnownType { number, of_image: true }
    }

    /// Whether the types are the same one. Two types of an image may have the same index in an
    /// engine, so this is not always known.
    pub(crate) fn is_same(self, other: KnownType) -> Option<bool> {
        match (self == other, self.of_image || other.of_image) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        }
    }
}

/// What the type of a reference says of it.
///
/// ```
/// use cranelift_codegen::ir::Value;
/// use gc_compiler::safepoints::{Known, KnownType, References};
///
/// // A reference that is not null, to an object of the type 7 or a subtype.
/// let known = Known { non_null: true, ty: Some(KnownType::of_engine(7)), ..Known::default() };
/// let mut references = References::default();
/// references.mark_known(Value::from_u32(0), known);
/// assert_eq!(references.known(Value::from_u32(0)), known);
/// // Nothing is known of this one.
/// references.mark(Value::from_u32(1));
/// assert_eq!(references.known(Value::from_u32(1)), Known::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// It is not null.
    pub non_null: bool,
    /// It is not an `i31`.
    pub not_i31: bool,
    /// If it refers to an object, the type of this object or a supertype.
    pub ty: Option<KnownType>,
    /// `ty` is the object's own type.
    pub exact: bool,
}

/// The references of a function that is being built. They need a stack map where they are live
/// across a collection.
///
/// Only values that instructions and function parameters define must be marked.
/// [`place_safepoints`](super::place_safepoints) derives the block parameters and `select`s that are
/// references. The [module](super) has examples.
#[derive(Clone, Debug, Default)]
pub struct References(HashMap<Value, Known>);

impl References {
    /// Marks `value` as a reference (`i64`, upper half zero).
    pub fn mark(&mut self, value: Value) {
        self.0.entry(value).or_default();
    }

    /// Marks `value` as a reference of which something is known where it is defined. Tests of what is
    /// known are left out. It must not be an alias of another value.
    pub fn mark_known(&mut self, value: Value, known: Known) {
        self.0.insert(value, known);
    }

    /// Adds what is known of `value` where it is defined, if it is marked.
    pub fn add_known(&mut self, value: Value, known: Known) {
        if let Some(own) = self.0.get_mut(&value) {
            *own = known;
        }
    }

    /// Whether `value` is marked.
    pub fn contains(&self, value: Value) -> bool {
        self.0.contains_key(&value)
    }

    /// What is known of `value`.
    pub fn known(&self, value: Value) -> Known {
        self.0.get(&value).copied().unwrap_or_default()
    }

    /// The marked values, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value> + '_ {
        self.0.keys().copied()
    }

    /// Moves the marks of aliases to the values that they stand for. Later,
    /// `DataFlowGraph::resolve_all_aliases` may delete the aliases.
    pub(crate) fn resolve_aliases(&mut self, dfg: &ir::DataFlowGraph) {
        let marks = std::mem::take(&mut self.0);
        for (value, known) in marks {
            let resolved = dfg.resolve_aliases(value);
            if resolved == value {
                self.0.insert(value, known);
            } else {
                // The alias may have a narrower type than the value, which was tested in between. So
                // what is known of it does not hold everywhere.
                self.0.entry(resolved).or_default();
            }
        }
    }

    /// Removes all marks.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
