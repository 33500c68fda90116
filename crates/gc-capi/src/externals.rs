//! `wasm_extern_t`: what a module imports or exports.

use crate::error::given;
use crate::macros::exports;
use crate::reference::{
    What, wasm_extern_t, wasm_func_t, wasm_global_t, wasm_memory_t, wasm_ref_t, wasm_table_t,
};
use crate::store::{Data, StoreRef};
use crate::types::{ExternKind, ExternTy, wasm_externtype_t};
use anyhow::{Result, bail};
use gc_wasm::{Extern, StoreContextMut};

impl wasm_extern_t {
    /// It as an import of a module of `store`.
    pub(crate) fn to_extern(&self, store: &StoreRef) -> Result<Extern> {
        Ok(match self.0.of(store)? {
            What::Func(func) => Extern::Func(*func),
            What::Global(global) => Extern::Global(*global),
            What::Table(table) => Extern::Table(*table),
            What::Memory(memory) => Extern::Memory(*memory),
            What::Tag(tag) => Extern::Tag(*tag),
            other => bail!("{} is no external", other.name()),
        })
    }

    /// A handle to what an instance exports.
    pub(crate) fn of_extern(store: &StoreRef, external: Extern) -> wasm_extern_t {
        let what = match external {
            Extern::Func(func) => What::Func(func),
            Extern::Global(global) => What::Global(global),
            Extern::Table(table) => What::Table(table),
            Extern::Memory(memory) => What::Memory(memory),
            Extern::Tag(tag) => What::Tag(tag),
        };
        wasm_extern_t(wasm_ref_t::new(store, what))
    }

    fn ty(&self, context: &StoreContextMut<'_, Data>, store: &StoreRef) -> Result<ExternTy> {
        Ok(ExternTy::of(&self.to_extern(store)?.ty(context)))
    }
}

/// Conversions between handles to externals and to their kinds.
macro_rules! kinds {
    ($($ty:ident: $up:ident $up_const:ident $down:ident $down_const:ident;)*) => {exports! {$(
        /// The handle as one to an external. It is not another handle.
        fn $up(handle: Option<&$ty>) -> Option<&wasm_extern_t> {
            Ok(handle.and_then(|handle| wasm_extern_t::of(&handle.0)))
        }

        /// The handle as one to an external. It is not another handle.
        fn $up_const(handle: Option<&$ty>) -> Option<&wasm_extern_t> {
            Ok(handle.and_then(|handle| wasm_extern_t::of(&handle.0)))
        }

        /// The handle as one to this kind of external, or NULL if it is another.
        fn $down(external: Option<&wasm_extern_t>) -> Option<&$ty> {
            Ok(external.and_then(|external| $ty::of(&external.0)))
        }

        /// The handle as one to this kind of external, or NULL if it is another.
        fn $down_const(external: Option<&wasm_extern_t>) -> Option<&$ty> {
            Ok(external.and_then(|external| $ty::of(&external.0)))
        }
    )*}};
}

kinds! {
    wasm_func_t: wasm_func_as_extern wasm_func_as_extern_const
        wasm_extern_as_func wasm_extern_as_func_const;
    wasm_global_t: wasm_global_as_extern wasm_global_as_extern_const
        wasm_extern_as_global wasm_extern_as_global_const;
    wasm_table_t: wasm_table_as_extern wasm_table_as_extern_const
        wasm_extern_as_table wasm_extern_as_table_const;
    wasm_memory_t: wasm_memory_as_extern wasm_memory_as_extern_const
        wasm_extern_as_memory wasm_extern_as_memory_const;
}

exports! {
    /// What kind of external this is.
    fn wasm_extern_kind(external: Option<&wasm_extern_t>) -> u8 {
        Ok(match given(external, "external")?.0.what {
            What::Global(_) => ExternKind::Global,
            What::Table(_) => ExternKind::Table,
            What::Memory(_) => ExternKind::Memory,
            What::Tag(_) => ExternKind::Tag,
            _ => ExternKind::Func,
        } as u8)
    }

    /// The external's type.
    fn wasm_extern_type(external: Option<&wasm_extern_t>) -> Option<Box<wasm_externtype_t>> {
        let external = given(external, "external")?;
        let store = &external.0.store()?;
        let ty = store.with(|context| external.ty(&context, store))?;
        Ok(Some(Box::new(wasm_externtype_t(ty))))
    }
}
