//! The modules from which scripts may import: `spectest` with functions that print (here to the
//! log), globals, tables and a memory; and `reclaim` with the function `gc`, which collects.

use anyhow::Result;
use gc_wasm::{
    AsContextMut, Caller, Extern, Func, FuncType, Global, GlobalType, Memory, MemoryType,
    Mutability, Ref, RefType, Store, Table, TableType, Val, ValType,
};
use std::collections::HashMap;

/// Makes the exports of `spectest`.
///
/// # Errors
/// If the system refuses its memory.
pub(crate) fn exports(store: &mut Store<()>) -> Result<HashMap<String, Extern>> {
    use ValType::{F32, F64, I32, I64};
    let mut exports: HashMap<String, Extern> = HashMap::new();
    let functions = [
        ("print", vec![]),
        ("print_i32", vec![I32]),
        ("print_i64", vec![I64]),
        ("print_f32", vec![F32]),
        ("print_f64", vec![F64]),
        ("print_i32_f32", vec![I32, F32]),
        ("print_f64_f64", vec![F64, F64]),
    ];
    for (name, params) in functions {
        let ty = FuncType::new(store.engine(), params, []);
        let func = Func::new(&mut *store, ty, move |mut caller, args, _| {
            for arg in args {
                log::info!("{name}: {}", crate::values::print(caller.as_context_mut(), arg)?);
            }
            Ok(())
        });
        exports.insert(name.to_owned(), func.into());
    }
    let globals = [
        ("global_i32", I32, Val::I32(666)),
        ("global_i64", I64, Val::I64(666)),
        ("global_f32", F32, Val::from(666.6f32)),
        ("global_f64", F64, Val::from(666.6f64)),
    ];
    for (name, ty, value) in globals {
        let global = Global::new(&mut *store, GlobalType::new(ty, Mutability::Const), value)?;
        exports.insert(name.to_owned(), global.into());
    }
    let tables = [
        ("table", TableType::new(RefType::FUNCREF, 10, Some(20))),
        ("table64", TableType::new64(RefType::FUNCREF, 10, Some(20))),
    ];
    for (name, ty) in tables {
        let table = Table::new(&mut *store, ty, Ref::Func(None))?;
        exports.insert(name.to_owned(), table.into());
    }
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    exports.insert("memory".to_owned(), memory.into());
    Ok(exports)
}

/// Makes the exports of `reclaim`: the function `gc` collects all garbage when it is called.
///
/// # Errors
/// If the engine has too many types.
pub(crate) fn reclaim_exports(store: &mut Store<()>) -> Result<HashMap<String, Extern>> {
    let gc = Func::wrap(store, |mut caller: Caller<'_, ()>| caller.gc(None));
    Ok(HashMap::from([("gc".to_owned(), gc.into())]))
}
