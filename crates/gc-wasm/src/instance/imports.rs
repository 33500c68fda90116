//! Checks that the definitions that are given for imports have the types that the module expects
//! (core specification, "External Typing" and "Import Matching").

use crate::store::StoreOpaque;
use crate::types::matching::concrete_index;
use crate::types::named::Named;
use crate::types::registered::RegisteredType;
use crate::types::{ExternType, FuncType, GlobalType, MemoryType, TableType, TagType};
use crate::{Engine, Extern, Module};
use anyhow::{Result, anyhow, bail, ensure};
use wasmtime_types::{EntityIndex, Global, Limits, Memory, Table, WasmValType};

/// The type of what is given for an import, in the engine's own form. The minimum of a table or a
/// memory is its size.
///
/// It keeps the type to which it refers, because a linker has it longer than the store of an item may
/// exist.
#[derive(Clone, Debug)]
pub(crate) enum ImportedType {
    /// A function of this type.
    Func(RegisteredType),
    /// A global.
    Global { ty: Global, _kept: Option<RegisteredType> },
    /// A table.
    Table { ty: Table, _kept: Option<RegisteredType> },
    /// A memory.
    Memory(Memory),
    /// A tag with this function type.
    Tag(RegisteredType),
}

impl ImportedType {
    /// The type of an item of `store`. Panics if it belongs to another store.
    pub(crate) fn of_item(store: &StoreOpaque, item: &Extern) -> ImportedType {
        match item {
            Extern::Func(func) => ImportedType::Func(store.func_type(func.as_vm(store)).clone()),
            Extern::Global(global) => {
                let ty = store.globals[global.index(store)].ty;
                ImportedType::Global { ty, _kept: concrete(store, &ty.wasm_ty) }
            }
            Extern::Table(table) => {
                let table = &store.tables[table.index(store)];
                let mut ty = table.ty;
                ty.limits.min = table.len() as u64;
                ImportedType::Table { ty, _kept: concrete(store, &WasmValType::Ref(ty.ref_type)) }
            }
            Extern::Memory(memory) => {
                let memory = &store.memories[memory.index(store)];
                let mut ty = memory.ty;
                ty.limits.min = memory.pages();
                ImportedType::Memory(ty)
            }
            Extern::Tag(tag) => ImportedType::Tag(tag.data(store).ty.clone()),
        }
    }

    /// The same type in the embedding API.
    fn describe(&self, engine: &Engine) -> ExternType {
        match self {
            ImportedType::Func(ty) => {
                ExternType::Func(FuncType::from_registered(engine, ty.clone()))
            }
            ImportedType::Global { ty, .. } => {
                ExternType::Global(GlobalType::from_wasm(engine, ty))
            }
            ImportedType::Table { ty, .. } => ExternType::Table(TableType::from_wasm(engine, ty)),
            ImportedType::Memory(ty) => ExternType::Memory(MemoryType::from_wasm(ty)),
            ImportedType::Tag(ty) => ExternType::Tag(TagType::from_registered(engine, ty)),
        }
    }
}

/// The concrete type to which a type of an item of `store` refers, if there is one.
fn concrete(store: &StoreOpaque, ty: &WasmValType) -> Option<RegisteredType> {
    let WasmValType::Ref(ty) = ty else { return None };
    Some(store.engine().types().get(concrete_index(&ty.heap_type)?))
}

/// Fails unless there is an item for each import. The error names the first import without an item, or
/// the first item without an import.
pub(crate) fn check_count(store: &StoreOpaque, module: &Module, items: &[Extern]) -> Result<()> {
    let info = module.info();
    let (wanted, found) = (info.imports.len(), items.len());
    let difference = match (info.imports.get(found), items.get(wanted)) {
        (Some(missing), _) => {
            let ty = ExternType::of(module.engine(), info, missing.index);
            let (module, name) = (&missing.module, &missing.name);
            format!("nothing is given for `{module}::{name}`, which is {}", Named(info, &ty))
        }
        (None, Some(extra)) => {
            // The item of another store has no type here.
            check_store(store, items)?;
            let ty = ImportedType::of_item(store, extra).describe(store.engine());
            format!("no import is left for item {wanted}, which is {}", Named(info, &ty))
        }
        (None, None) => return Ok(()),
    };
    bail!("expected {wanted} imports, found {found}: {difference}")
}

/// Fails unless all items belong to `store`.
pub(crate) fn check_store(store: &StoreOpaque, items: &[Extern]) -> Result<()> {
    let own = items.iter().all(|item| item.store() == store.id());
    ensure!(
        own,
        "cross-`Store` instantiation is not supported: an import belongs to another store"
    );
    Ok(())
}

/// Fails unless `given` is a type that import number `n` of `module` accepts.
pub(crate) fn check(module: &Module, n: usize, given: &ImportedType) -> Result<()> {
    let (info, types) = (module.info(), module.engine().types());
    let import = &info.imports[n];
    let fits = match (import.index, given) {
        (EntityIndex::Function(index), ImportedType::Func(given)) => {
            types.is_subtype(given.index, info.funcs[index.as_u32() as usize].ty)
        }
        (EntityIndex::Global(index), ImportedType::Global { ty: given, .. }) => {
            let wanted = &info.globals[index.as_u32() as usize];
            given.mutability == wanted.mutability
                && types.val_matches(&given.wasm_ty, &wanted.wasm_ty)
                && (!wanted.mutability || types.val_matches(&wanted.wasm_ty, &given.wasm_ty))
        }
        (EntityIndex::Table(index), ImportedType::Table { ty: given, .. }) => {
            let wanted = &info.tables[index.as_u32() as usize];
            let (a, b) = (given.ref_type, wanted.ref_type);
            given.idx_type == wanted.idx_type
                && limits_fit(&given.limits, &wanted.limits)
                && types.val_matches(&WasmValType::Ref(a), &WasmValType::Ref(b))
                && types.val_matches(&WasmValType::Ref(b), &WasmValType::Ref(a))
        }
        (EntityIndex::Memory(index), ImportedType::Memory(given)) => {
            let wanted = &info.memories[index.as_u32() as usize];
            given.idx_type == wanted.idx_type && limits_fit(&given.limits, &wanted.limits)
        }
        (EntityIndex::Tag(index), ImportedType::Tag(given)) => {
            // Tags have equal types, because exceptions with them are both made and read.
            given.index == info.tags[index.as_u32() as usize].ty
        }
        _ => false,
    };
    if !fits {
        let wanted = ExternType::of(module.engine(), info, import.index);
        let given = given.describe(module.engine());
        let why = anyhow!("expected {}, found {}", Named(info, &wanted), Named(info, &given));
        let (module, name) = (&import.module, &import.name);
        return Err(why.context(format!("incompatible import type for `{module}::{name}`")));
    }
    Ok(())
}

/// Whether a memory or table with the limits `given` is within the limits `wanted`.
fn limits_fit(given: &Limits, wanted: &Limits) -> bool {
    given.min >= wanted.min
        && match (given.max, wanted.max) {
            (_, None) => true,
            (Some(given), Some(wanted)) => given <= wanted,
            (None, Some(_)) => false,
        }
}
