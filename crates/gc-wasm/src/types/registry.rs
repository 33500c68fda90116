//! Canonical types: in all modules of an engine and in the host, two types have the same index
//! exactly if they are equal. (GC proposal, "Type equivalence": recursion groups are equal if they
//! are structurally equal. References within a group are compared by position.)
//!
//! A recursion group is found by its canonical form, in which references into the group are
//! relative and all others are engine-wide indices.
//!
//! The registry does not keep types alive. Whoever uses one has a [`RegisteredType`], and the group's
//! indices are free for other types when the last one is dropped. So everything that contains an
//! index has, or is owned by something that has, the type too: a module has its types, and a store
//! has its modules, the types of its objects, and the types of the functions, tags, tables and globals
//! that the host made in it. No index in compiled code or in a heap can then mean another type than
//! before.

use super::display::DisplayTable;
use super::registered::{RecGroup, RegisteredType, TypeDefinition, layout_of, signature_of};
use anyhow::{Result, ensure};
use gc_types::TypeIndex;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, RwLock, Weak};
use wasmtime_types::prelude::TryClone;
use wasmtime_types::{
    EngineOrModuleTypeIndex, TypeTrace, VMSharedTypeIndex, WasmCompositeInnerType,
    WasmCompositeType, WasmExnType, WasmFieldType, WasmRecGroup, WasmStorageType, WasmSubType,
    WasmValType,
};

/// The indices, and the groups that have them.
///
/// No [`RegisteredType`] may be dropped while this is locked: if it is the last one, it locks this to
/// free its group.
#[derive(Default)]
struct Table {
    /// The group of each index and the type's position in it, or `None` if the index is free.
    types: Vec<Option<(Weak<RecGroup>, u32)>>,
    /// The free indices below `types.len()`. The lowest is used first, because heaps have tables of
    /// layouts by index.
    free: BinaryHeap<Reverse<u32>>,
    /// The groups by canonical form. A group whose last type was just dropped may still be here, and
    /// may already be replaced by an equal one.
    groups: HashMap<Arc<WasmRecGroup>, Weak<RecGroup>>,
}

/// What the types of an engine share.
pub(super) struct Registry {
    table: RwLock<Table>,
    displays: DisplayTable,
    /// The number of indices.
    capacity: u32,
}

impl Registry {
    /// Frees the indices of a group that nobody has any more.
    pub(super) fn free(&self, group: &RecGroup) {
        let mut table = self.table.write().unwrap();
        for ty in &group.types {
            let index = ty.index.as_u32();
            self.displays.write_row(index, &[]);
            table.types[index as usize] = None;
            table.free.push(Reverse(index));
        }
        let found = table.groups.get_key_value(&*group.key);
        if found.is_some_and(|(key, _)| Arc::ptr_eq(key, &group.key)) {
            table.groups.remove(&*group.key);
        }
    }

    /// The registered group of this form, if there is one.
    fn group(&self, group: &WasmRecGroup) -> Option<Arc<RecGroup>> {
        self.table.read().unwrap().groups.get(group)?.upgrade()
    }
}

impl Table {
    /// Takes `count` free indices.
    fn take(&mut self, count: usize, capacity: u32) -> Result<Vec<TypeIndex>> {
        let new = capacity as usize - self.types.len();
        ensure!(
            count <= self.free.len() + new,
            "more than {capacity} types in one engine at the same time"
        );
        let indices = (0..count).map(|_| {
            let index = self.free.pop().map(|Reverse(index)| index).unwrap_or_else(|| {
                self.types.push(None);
                self.types.len() as u32 - 1
            });
            TypeIndex::new(index).expect("display capacity is below the limit")
        });
        Ok(indices.collect())
    }
}

/// All types of an engine.
pub(crate) struct TypeRegistry(Arc<Registry>);

impl TypeRegistry {
    /// An empty registry.
    pub(crate) fn new() -> Result<TypeRegistry> {
        TypeRegistry::with_capacity(DisplayTable::CAPACITY)
    }

    /// An empty registry for at most `capacity` types at the same time.
    fn with_capacity(capacity: u32) -> Result<TypeRegistry> {
        let (table, displays) = (RwLock::default(), DisplayTable::new()?);
        Ok(TypeRegistry(Arc::new(Registry { table, displays, capacity })))
    }

    /// The display table.
    pub(crate) fn displays(&self) -> &DisplayTable {
        &self.0.displays
    }

    /// The type with this index. This takes a lock, so it is not for what programs do often.
    ///
    /// # Panics
    /// If there is none. The index must be that of a type which the caller, or something that it
    /// borrows, keeps.
    pub(crate) fn get(&self, index: TypeIndex) -> RegisteredType {
        self.find(index).expect("a type that is registered")
    }

    /// The type with this index, if there is one.
    fn find(&self, index: TypeIndex) -> Option<RegisteredType> {
        let table = self.0.table.read().unwrap();
        let (group, position) = table.types.get(index.as_u32() as usize)?.as_ref()?;
        let (group, position) = (group.upgrade()?, *position);
        // The lock must end before anything can drop the group.
        drop(table);
        Some(RegisteredType::new(group, position))
    }

    /// Whether `actual` is `expected` or one of its descendants. Unknown indices are subtypes of
    /// nothing. Takes no lock, unless `expected` has more ancestors than the display table has
    /// columns.
    pub(crate) fn is_subtype(&self, actual: TypeIndex, expected: TypeIndex) -> bool {
        self.is_shallow_subtype(actual, expected).unwrap_or_else(|| {
            let actual = self.find(actual);
            actual.is_some_and(|actual| actual.chain.contains(&expected.as_u32()))
        })
    }

    /// Like [`TypeRegistry::is_subtype`], but never takes a lock. `None` if `expected` has too many
    /// ancestors, or does not exist.
    pub(crate) fn is_shallow_subtype(
        &self,
        actual: TypeIndex,
        expected: TypeIndex,
    ) -> Option<bool> {
        if actual == expected {
            return Some(true);
        }
        let (displays, expected) = (&self.0.displays, expected.as_u32());
        let depth = displays.depth(expected)?;
        Some(displays.ancestor(actual.as_u32(), depth) == Some(expected))
    }

    /// The type of exceptions whose tag has the function type `func`: its parameters are the
    /// payload.
    ///
    /// # Errors
    /// As [`TypeRegistry::register`].
    pub(crate) fn exn_type(&self, func: &RegisteredType) -> Result<RegisteredType> {
        let field = |ty: &WasmValType| WasmFieldType {
            element_type: WasmStorageType::Val(*ty),
            mutable: false,
        };
        let exn = WasmExnType {
            func_ty: VMSharedTypeIndex::new(func.index.as_u32()).into(),
            fields: func.sub_type.unwrap_func().params().iter().map(field).collect(),
        };
        self.register_alone(WasmSubType {
            is_final: true,
            supertype: None,
            composite_type: WasmCompositeType {
                inner: WasmCompositeInnerType::Exn(exn),
                shared: false,
            },
        })
    }

    /// Registers a type that is a recursion group of its own.
    ///
    /// # Errors
    /// As [`TypeRegistry::register`].
    pub(crate) fn register_alone(&self, ty: WasmSubType) -> Result<RegisteredType> {
        let mut types = self.register(WasmRecGroup { types: Box::new([ty]) })?;
        Ok(types.next().expect("a group of one type"))
    }

    /// Registers a recursion group in canonical form, if no equal one is registered. Returns its
    /// types in order. The caller must have the types to which it refers.
    ///
    /// # Errors
    /// If there are too many types, or an object of one would be too large.
    pub(crate) fn register(
        &self,
        group: WasmRecGroup,
    ) -> Result<impl ExactSizeIterator<Item = RegisteredType> + use<>> {
        debug_assert!(group.is_canonicalized_for_hash_consing());
        let group = match self.0.group(&group) {
            Some(group) => group,
            None => self.register_new(group)?,
        };
        let count = group.types.len() as u32;
        Ok((0..count).map(move |position| RegisteredType::new(group.clone(), position)))
    }

    fn register_new(&self, key: WasmRecGroup) -> Result<Arc<RecGroup>> {
        let layouts = key.types.iter().map(layout_of).collect::<Result<Vec<_>>>()?;
        // Declared before the lock, because these must be dropped after it.
        let referenced = self.referenced_by(&key);
        let mut own: HashSet<*const RecGroup> = HashSet::new();
        let groups = referenced.values().map(|ty| ty.group().clone());
        let groups: Vec<_> = groups.filter(|group| own.insert(Arc::as_ptr(group))).collect();
        let key = Arc::new(key);

        let mut table = self.0.table.write().unwrap();
        if let Some(group) = table.groups.get(&*key).and_then(Weak::upgrade) {
            return Ok(group);
        }
        let indices = table.take(key.types.len(), self.0.capacity)?;
        let mut types: Vec<TypeDefinition> = Vec::with_capacity(indices.len());
        for ((canonical, layout), index) in key.types.iter().zip(layouts).zip(&indices) {
            let sub_type = absolute(canonical, &indices);
            let mut chain: Vec<u32> = match canonical.supertype {
                None => Vec::new(),
                Some(EngineOrModuleTypeIndex::RecGroup(relative)) => {
                    types[relative.as_u32() as usize].chain.to_vec()
                }
                Some(edge) => referenced[&edge.unwrap_engine_type_index().bits()].chain.to_vec(),
            };
            chain.push(index.as_u32());
            types.push(TypeDefinition {
                index: *index,
                layout: layout.map(Arc::new),
                chain: chain.into(),
                signature: signature_of(&sub_type),
                sub_type,
            });
        }
        for ty in &types {
            self.0.displays.write_row(ty.index.as_u32(), &ty.chain);
        }
        let group = Arc::new(RecGroup {
            registry: self.0.clone(),
            key: key.clone(),
            types: types.into(),
            referenced: groups,
        });
        for (position, index) in (0..).zip(&indices) {
            table.types[index.as_u32() as usize] = Some((Arc::downgrade(&group), position));
        }
        // A dead group of the same form, which is about to be freed, must not keep its key.
        table.groups.remove(&*key);
        table.groups.insert(key, Arc::downgrade(&group));
        Ok(group)
    }

    /// The types outside of a group to which it refers, by index.
    fn referenced_by(&self, group: &WasmRecGroup) -> HashMap<u32, RegisteredType> {
        let mut referenced = HashMap::new();
        let visit = &mut |edge: EngineOrModuleTypeIndex| {
            if let EngineOrModuleTypeIndex::Engine(index) = edge {
                let index = index.bits();
                let ty = || self.get(TypeIndex::new(index).expect("registered types fit"));
                referenced.entry(index).or_insert_with(ty);
            }
            Ok::<_, ()>(())
        };
        let result = group.types.iter().try_for_each(|ty| ty.trace(visit));
        result.expect("the visitor does not fail");
        referenced
    }

    /// The number of indices that are in use.
    #[cfg(any(test, feature = "gc_zeal"))]
    pub(crate) fn len(&self) -> usize {
        let table = self.0.table.read().unwrap();
        table.types.len() - table.free.len()
    }
}

/// A type of a group in canonical form, with references by index. `own` are the indices of the
/// group's types.
fn absolute(canonical: &WasmSubType, own: &[TypeIndex]) -> WasmSubType {
    let mut ty = canonical.try_clone().expect("types that were allocated once");
    let result = ty.trace_mut::<_, ()>(&mut |edge| {
        if let EngineOrModuleTypeIndex::RecGroup(relative) = *edge {
            *edge = VMSharedTypeIndex::new(own[relative.as_u32() as usize].as_u32()).into();
        }
        Ok(())
    });
    result.expect("the visitor does not fail");
    ty
}

#[cfg(test)]
mod tests;
