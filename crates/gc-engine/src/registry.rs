//! The types of an engine: each has an index, which the headers of its objects contain.
//!
//! Modules name their types. Two types are the same if their names and layouts are equal, whichever
//! modules declare them. Function types have no name: they are the same if their signatures are equal.
//!
//! The registry does not keep types alive. Whoever uses one has an [`EngineType`], and its index is
//! free for another type when the last one is dropped. So code has its types, and a store has the
//! types of all code that was ever loaded into it, because there may be objects of them.

use crate::Signature;
use anyhow::{Context as _, Result};
use gc_types::{GcLayout, TypeIndex};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What makes a type different from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Definition {
    /// A type of objects, with its name.
    Object(Arc<str>, Arc<GcLayout>),
    /// A type of functions.
    Function(Arc<Signature>),
}

/// A type of an engine. Its index belongs to it as long as this or a clone exists.
#[derive(Clone)]
pub(crate) struct EngineType(Arc<Registered>);

struct Registered {
    registry: Arc<Mutex<Table>>,
    index: TypeIndex,
    definition: Definition,
}

#[derive(Default)]
struct Table {
    /// Types by definition. A type that was just dropped may still be here, and may already be
    /// replaced by an equal one.
    types: HashMap<Definition, (TypeIndex, Weak<Registered>)>,
    /// The free indices below `used`. The lowest is used first, because heaps have tables of layouts
    /// by index.
    free: BinaryHeap<Reverse<u32>>,
    used: u32,
}

/// All types of an engine.
#[derive(Default)]
pub(crate) struct TypeRegistry(Arc<Mutex<Table>>);

impl TypeRegistry {
    /// The type with this definition.
    ///
    /// # Errors
    /// If there are too many types.
    pub(crate) fn register(&self, definition: &Definition) -> Result<EngineType> {
        let mut table = lock(&self.0);
        let known = table.types.get(definition).and_then(|(_, known)| known.upgrade());
        if let Some(known) = known {
            // The lock must end before anything can drop the type.
            drop(table);
            return Ok(EngineType(known));
        }
        let index = match table.free.pop() {
            Some(Reverse(index)) => index,
            None => {
                table.used += 1;
                table.used - 1
            }
        };
        let index = TypeIndex::new(index).filter(|index| *index != TypeIndex::NONE);
        let index = index.context("an engine has too many types")?;
        let (registry, definition) = (self.0.clone(), definition.clone());
        let key = definition.clone();
        let registered = Arc::new(Registered { registry, index, definition });
        table.types.insert(key, (index, Arc::downgrade(&registered)));
        Ok(EngineType(registered))
    }

    /// The number of types.
    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.0).types.len()
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut table = lock(&self.registry);
        let is_own = |(index, _): &(TypeIndex, _)| *index == self.index;
        if table.types.get(&self.definition).is_some_and(is_own) {
            table.types.remove(&self.definition);
        }
        table.free.push(Reverse(self.index.as_u32()));
    }
}

impl EngineType {
    /// Its index.
    pub(crate) fn index(&self) -> TypeIndex {
        self.0.index
    }

    /// Its definition.
    pub(crate) fn definition(&self) -> &Definition {
        &self.0.definition
    }

    /// The name and the layout of a type of objects.
    pub(crate) fn object(&self) -> Option<(&Arc<str>, &Arc<GcLayout>)> {
        match &self.0.definition {
            Definition::Object(name, layout) => Some((name, layout)),
            Definition::Function(_) => None,
        }
    }

    /// The signature of a type of functions.
    pub(crate) fn signature(&self) -> Option<&Arc<Signature>> {
        match &self.0.definition {
            Definition::Object(..) => None,
            Definition::Function(signature) => Some(signature),
        }
    }

    /// Whether both are the same type of one engine.
    pub(crate) fn same(&self, other: &EngineType) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for EngineType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineType({:?}, {:?})", self.0.index, self.0.definition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_types::{ArrayLayout, StorageType};

    fn array(name: &str, element: StorageType) -> Definition {
        Definition::Object(name.into(), Arc::new(GcLayout::Array(ArrayLayout::new(element))))
    }

    #[test]
    fn equal_types_are_one_and_dropped_types_give_their_index_back() {
        let types = TypeRegistry::default();
        let bytes = types.register(&array("bytes", StorageType::I8)).unwrap();
        let again = types.register(&array("bytes", StorageType::I8)).unwrap();
        assert!(bytes.same(&again));
        let words = types.register(&array("bytes", StorageType::I32)).unwrap();
        let other = types.register(&array("octets", StorageType::I8)).unwrap();
        assert_eq!([&bytes, &words, &other].map(|ty| ty.index().as_u32()), [0, 1, 2]);

        drop((bytes, words));
        let signature = Arc::new(Signature::new([], []));
        let function = types.register(&Definition::Function(signature)).unwrap();
        assert_eq!(function.index().as_u32(), 1, "`again` still has the first");
        drop((again, other, function));
        assert_eq!(types.len(), 0);
    }
}
