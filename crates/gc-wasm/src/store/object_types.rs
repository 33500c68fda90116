//! [`ObjectTypes`]: the types of the objects that a store's heap may have.
//!
//! Objects have the indices of their types, so the types stay registered as long as the store. A
//! module keeps its types, and most stores have the instances of one module. So a store only keeps
//! its first module, and instantiation enters none of its types here.

use crate::Module;
use crate::types::registered::RegisteredType;
use gc_types::TypeIndex;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The types of a store's objects, by index.
#[derive(Default)]
#[allow(clippy::box_collection, reason = "most stores have no map, and all should be small")]
pub(super) struct ObjectTypes {
    /// The first module with types of objects.
    module: Option<Module>,
    /// Types of other modules, and of objects that the host made. Made when there is one.
    others: Option<Box<HashMap<TypeIndex, RegisteredType, BuildHasherDefault<IndexHasher>>>>,
}

impl ObjectTypes {
    /// Keeps the types of `module`. Returns whether some may be new.
    pub(super) fn add_module(&mut self, module: &Module) -> bool {
        match &self.module {
            None => self.module = Some(module.clone()),
            Some(first) if Module::same(first, module) => return false,
            Some(_) => module.info().types.all().iter().for_each(|ty| self.add(ty)),
        }
        true
    }

    /// Keeps a type, if it is of objects.
    pub(super) fn add(&mut self, ty: &RegisteredType) {
        if ty.layout.is_some() && self.get(ty.index).is_none() {
            self.others.get_or_insert_default().insert(ty.index, ty.clone());
        }
    }

    /// The type with this index, which may be any number.
    pub(super) fn get(&self, index: TypeIndex) -> Option<&RegisteredType> {
        let of_module = || {
            let types = &self.module.as_ref()?.info().types;
            let number = types.number_of(index)?;
            types.all().get(number.as_u32() as usize).filter(|ty| ty.layout.is_some())
        };
        self.others.as_ref().and_then(|types| types.get(&index)).or_else(of_module)
    }
}

/// Hashes an index by a multiplication, which sets the bits that a map looks at. The engine numbers
/// its types and a store its functions, so nobody can choose indices that collide.
#[derive(Default)]
struct IndexHasher(u64);

impl Hasher for IndexHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // The golden ratio, as in D. Knuth, "The Art of Computer Programming", volume 3, 6.4.
        let mixed = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
mod tests {
    use crate::{Engine, Instance, Module, Store, StoreLimitsBuilder};
    use gc_types::TypeIndex;

    /// The types of all modules of a store stay registered, whichever was the first, and also if an
    /// instance could not be made.
    #[test]
    fn a_store_keeps_the_types_of_all_its_modules() {
        let engine = Engine::default();
        let module = |fields: usize, pages: u32| {
            let fields = "(field i64)".repeat(fields);
            let wat = format!(
                "(module (type $t (struct {fields})) (memory {pages})
                    (func (export \"new\") (result (ref $t)) (struct.new_default $t)))"
            );
            Module::new(&engine, wat).unwrap()
        };
        let limits = StoreLimitsBuilder::new().memory_size(1 << 16).gc_heap_size(1 << 30).build();
        for refused in 0..4 {
            let mut store = Store::new(&engine, limits.clone());
            store.limiter(|limits| limits);
            let mut indices = Vec::new();
            for (n, fields) in [1, 2, 3, 1, 4].into_iter().enumerate() {
                let module = module(fields, if n == refused { 2 } else { 1 });
                indices.push(module.info().types.get(0));
                assert_eq!(Instance::new(&mut store, &module, &[]).is_err(), n == refused);
            }
            assert_eq!(indices[0], indices[3]);
            let types = &store.opaque.object_types;
            for (n, index) in indices.iter().enumerate() {
                assert_eq!(types.get(*index).map(|ty| ty.index), Some(*index), "{n}");
            }
            for unknown in [indices.len() as u32 + 9, TypeIndex::MAX] {
                assert!(types.get(TypeIndex::new(unknown).unwrap()).is_none());
            }
        }
    }
}
