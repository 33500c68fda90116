//! Converts wasmparser's types, whose references are module indices, to the engine's types, whose
//! references are canonical.

use super::registered::RegisteredType;
use super::registry::TypeRegistry;
use anyhow::{Result, anyhow, bail};
use gc_types::TypeIndex;
use std::collections::HashMap;
use wasmparser::{CompositeInnerType, UnpackedIndex};
use wasmtime_types::{
    EngineOrModuleTypeIndex, RecGroupRelativeTypeIndex, TypeConvert, VMSharedTypeIndex,
    WasmCompositeInnerType, WasmHeapType, WasmRecGroup, WasmSubType, WasmValType,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CompositeKind {
    Func,
    Struct,
    Array,
}

/// The types of one module: maps its indices to the engine's types. They stay registered as long as
/// this exists.
#[derive(Debug, Default)]
pub(crate) struct ModuleTypes {
    /// Each module type, and then each type of exceptions.
    types: Vec<RegisteredType>,
    /// Their engine-wide indices.
    indices: Vec<TypeIndex>,
    /// The first module type with each index.
    numbers: HashMap<TypeIndex, TypeIndex>,
    kinds: Vec<CompositeKind>,
    /// Whether one of them is of objects, or of functions that take or return references to
    /// objects.
    use_heap: bool,
    /// The start of the group that is being registered, if there is one.
    group_start: Option<u32>,
}

impl ModuleTypes {
    /// Registers the next recursion group of the module's type section.
    ///
    /// # Errors
    /// If it uses an unsupported feature, or the registry is full.
    pub(crate) fn push_group(
        &mut self,
        registry: &TypeRegistry,
        group: wasmparser::RecGroup,
    ) -> Result<()> {
        let start = self.kinds.len() as u32;
        for ty in group.types() {
            if ty.composite_type.shared {
                bail!("unsupported: shared types");
            }
            self.kinds.push(match &ty.composite_type.inner {
                CompositeInnerType::Func(_) => CompositeKind::Func,
                CompositeInnerType::Struct(_) => CompositeKind::Struct,
                CompositeInnerType::Array(_) => CompositeKind::Array,
                CompositeInnerType::Cont(_) => bail!("unsupported: continuation types"),
            });
        }
        self.group_start = Some(start);
        let types = group
            .types()
            .map(|ty| self.convert_sub_type(ty).map_err(|e| anyhow!("{e}")))
            .collect::<Result<Vec<_>>>();
        self.group_start = None;
        let types = types?;
        self.use_heap |= types.iter().any(uses_heap);
        for ty in registry.register(WasmRecGroup { types: types.into() })? {
            self.push(ty);
        }
        Ok(())
    }

    fn push(&mut self, ty: RegisteredType) {
        let number = u32::try_from(self.types.len()).ok().and_then(TypeIndex::new);
        let number = number.expect("a module has fewer types than an engine may have");
        self.numbers.entry(ty.index).or_insert(number);
        self.indices.push(ty.index);
        self.types.push(ty);
    }

    /// The type of exceptions whose tag has the module's function type `func`. It gets a number
    /// after those of the types that the module declares.
    ///
    /// # Errors
    /// If the registry is full.
    pub(crate) fn push_exn(
        &mut self,
        registry: &TypeRegistry,
        func: TypeIndex,
    ) -> Result<TypeIndex> {
        let exn = registry.exn_type(self.registered(func))?;
        let index = exn.index;
        if !self.numbers.contains_key(&index) {
            self.push(exn);
            self.use_heap = true;
        }
        Ok(index)
    }

    /// The engine-wide index of module type `index`, which must have been
    /// validated.
    pub(crate) fn get(&self, index: u32) -> TypeIndex {
        self.indices[index as usize]
    }

    /// The module's type with this engine-wide index.
    ///
    /// # Panics
    /// If the module has no such type.
    pub(crate) fn registered(&self, index: TypeIndex) -> &RegisteredType {
        &self.types[self.numbers[&index].as_u32() as usize]
    }

    /// The module's number of a type of the engine. Compiled code uses this number for the type.
    #[cfg(feature = "compiler")]
    pub(crate) fn number(&self, index: TypeIndex) -> TypeIndex {
        self.numbers[&index]
    }

    /// The module's number of a type of the engine, if the module has this type.
    pub(crate) fn number_of(&self, index: TypeIndex) -> Option<TypeIndex> {
        self.numbers.get(&index).copied()
    }

    /// Whether one of the types is of objects, or of functions that take or return references to
    /// objects.
    pub(crate) fn use_heap(&self) -> bool {
        self.use_heap
    }

    /// All of the module's types, in order, and then those of its exceptions.
    pub(crate) fn all(&self) -> &[RegisteredType] {
        &self.types
    }

    /// The engine-wide indices of all of the module's types, in the same order.
    pub(crate) fn indices(&self) -> &[TypeIndex] {
        &self.indices
    }
}

/// Whether a type is of objects, or of functions that take or return references to objects.
fn uses_heap(ty: &WasmSubType) -> bool {
    match &ty.composite_type.inner {
        WasmCompositeInnerType::Func(ty) => {
            ty.params().iter().chain(ty.results()).any(WasmValType::is_vmgcref_type)
        }
        _ => true,
    }
}

impl TypeConvert for ModuleTypes {
    fn lookup_heap_type(&self, index: UnpackedIndex) -> WasmHeapType {
        let edge = self.lookup_type_index(index);
        let UnpackedIndex::Module(index) = index else {
            panic!("types are converted as they stand in the module");
        };
        match self.kinds[index as usize] {
            CompositeKind::Func => WasmHeapType::ConcreteFunc(edge),
            CompositeKind::Struct => WasmHeapType::ConcreteStruct(edge),
            CompositeKind::Array => WasmHeapType::ConcreteArray(edge),
        }
    }

    fn lookup_type_index(&self, index: UnpackedIndex) -> EngineOrModuleTypeIndex {
        let UnpackedIndex::Module(index) = index else {
            panic!("types are converted as they stand in the module");
        };
        match self.group_start {
            Some(start) if index >= start => {
                RecGroupRelativeTypeIndex::from_u32(index - start).into()
            }
            _ => VMSharedTypeIndex::new(self.indices[index as usize].as_u32()).into(),
        }
    }
}
