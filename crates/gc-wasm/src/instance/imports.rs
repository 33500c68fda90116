//! Checks that the definitions that are given for imports have the types that the module expects
//! (core specification, "External Typing" and "Import Matching").

use crate::store::StoreOpaque;
use crate::types::ExternType;
use crate::types::named::Named;
use crate::{Extern, Module};
use anyhow::{Result, bail};
use wasmtime_types::{EntityIndex, Limits, WasmValType};

/// Fails unless `given` has the type that import number `n` of `module` expects.
pub(crate) fn check(store: &StoreOpaque, module: &Module, n: usize, given: &Extern) -> Result<()> {
    let (info, types) = (module.info(), store.engine().types());
    let import = &info.imports[n];
    let fits = match (import.index, given) {
        (EntityIndex::Function(index), Extern::Func(func)) => {
            let wanted = info.funcs[index.as_u32() as usize].ty;
            types.is_subtype(func.type_index(store)?, wanted)
        }
        (EntityIndex::Global(index), Extern::Global(global)) => {
            let wanted = &info.globals[index.as_u32() as usize];
            let given = &store.globals[global.index(store)?].ty;
            given.mutability == wanted.mutability
                && types.val_matches(&given.wasm_ty, &wanted.wasm_ty)
                && (!wanted.mutability || types.val_matches(&wanted.wasm_ty, &given.wasm_ty))
        }
        (EntityIndex::Table(index), Extern::Table(table)) => {
            let wanted = &info.tables[index.as_u32() as usize];
            let given = &store.tables[table.index(store)?];
            let (a, b) = (given.ty.ref_type, wanted.ref_type);
            given.ty.idx_type == wanted.idx_type
                && limits_fit(given.len() as u64, &given.ty.limits, &wanted.limits)
                && types.val_matches(&WasmValType::Ref(a), &WasmValType::Ref(b))
                && types.val_matches(&WasmValType::Ref(b), &WasmValType::Ref(a))
        }
        (EntityIndex::Memory(index), Extern::Memory(memory)) => {
            let wanted = &info.memories[index.as_u32() as usize];
            let given = &store.memories[memory.index(store)?];
            given.ty.idx_type == wanted.idx_type
                && limits_fit(given.pages(), &given.ty.limits, &wanted.limits)
        }
        (EntityIndex::Tag(index), Extern::Tag(tag)) => {
            // Tags have equal types, because exceptions with them are both made and read.
            tag.data(store)?.ty == info.tags[index.as_u32() as usize].ty
        }
        _ => false,
    };
    if !fits {
        let wanted = ExternType::of(store.engine(), info, import.index);
        bail!(
            "incompatible import type for `{}` `{}`: expected {}, found {}",
            import.module,
            import.name,
            Named(info, &wanted),
            Named(info, &describe(store, given)?)
        );
    }
    Ok(())
}

/// Whether a memory or table of `size` with the limits `given` is within the limits `wanted`.
fn limits_fit(size: u64, given: &Limits, wanted: &Limits) -> bool {
    size >= wanted.min
        && match (given.max, wanted.max) {
            (_, None) => true,
            (Some(given), Some(wanted)) => given <= wanted,
            (None, Some(_)) => false,
        }
}

fn describe(store: &StoreOpaque, given: &Extern) -> Result<ExternType> {
    use crate::types::{FuncType, GlobalType, MemoryType, TableType, TagType};
    let engine = store.engine();
    Ok(match given {
        Extern::Func(func) => {
            let ty = engine.types().get(func.type_index(store)?);
            ExternType::Func(FuncType::from_registered(engine, ty))
        }
        Extern::Global(global) => {
            let ty = &store.globals[global.index(store)?].ty;
            ExternType::Global(GlobalType::from_wasm(engine, ty))
        }
        Extern::Table(table) => {
            let table = &store.tables[table.index(store)?];
            let mut ty = table.ty;
            ty.limits.min = table.len() as u64;
            ExternType::Table(TableType::from_wasm(engine, &ty))
        }
        Extern::Memory(memory) => {
            let memory = &store.memories[memory.index(store)?];
            let mut ty = memory.ty;
            ty.limits.min = memory.pages();
            ExternType::Memory(MemoryType::from_wasm(&ty))
        }
        Extern::Tag(tag) => ExternType::Tag(TagType::from_index(engine, tag.data(store)?.ty)),
    })
}
