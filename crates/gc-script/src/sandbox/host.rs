//! The host's part: it reads every value that it gets, in every possible way.

use anyhow::{Context, Result};
use gc_testkit::{Ledger, Token};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayRefPre, AsContext, AsContextMut, Caller, Engine, EqRef, ExternRef,
    HeapType, Linker, Rooted, StoreContextMut, StructRef, StructRefPre, Val,
};

/// Does everything that the host may do with a reference.
pub(super) fn inspect<T: 'static>(
    mut store: StoreContextMut<'_, T>,
    any: Rooted<AnyRef>,
    depth: u32,
) -> Result<()> {
    any.ty(&store)?;
    any.as_i31(&store)?;
    for ty in [HeapType::Any, HeapType::Eq, HeapType::I31, HeapType::Struct, HeapType::Array] {
        any.matches_ty(&store, &ty)?;
    }
    let _: Option<Rooted<EqRef>> = any.as_eqref(&store)?;
    if let Some(object) = any.as_struct(&store)? {
        let ty = object.ty(&store)?;
        let count = ty.fields().len().min(8);
        for i in 0..count {
            let value = object.field(&mut store, i)?;
            if let Val::AnyRef(Some(inner)) = value
                && depth > 0
            {
                inspect(store.as_context_mut(), inner, depth - 1)?;
            }
            object.set_field(&mut store, i, value)?;
        }
        any.matches_ty(&store, &HeapType::ConcreteStruct(ty.clone()))?;
        let values: Vec<Val> =
            (0..count).map(|i| object.field(&mut store, i)).collect::<Result<_>>()?;
        if ty.fields().len() == count {
            let allocator = StructRefPre::new(&mut store, ty);
            StructRef::new(&mut store, &allocator, &values)?;
        }
    }
    if let Some(array) = any.as_array(&store)? {
        let ty = array.ty(&store)?;
        let allocator = ArrayRefPre::new(&mut store, ty);
        let len = array.len(&store)?;
        for i in [0, 1, len / 2, len.wrapping_sub(1), len] {
            // An access out of bounds does not end the loop.
            if let Ok(value) = array.get(&mut store, i) {
                array.set(&mut store, i, value)?;
                ArrayRef::new(&mut store, &allocator, &value, len.min(50))?;
            }
        }
        if len < 600 {
            let _ = array.elems(&mut store)?;
        }
    }
    let external = ExternRef::convert_any(&store, any)?;
    look(&store, external)
}

pub(super) fn look<T: 'static>(
    store: &impl AsContext<Data = T>,
    external: Rooted<ExternRef>,
) -> Result<()> {
    if let Some(data) = external.data(store)? {
        // It may be the value of another externref, but it is one of this trial and alive.
        let value = data.downcast_ref::<Token>().expect("a value of the trial's");
        assert!(value.number() < 1_000_000);
    }
    AnyRef::convert_extern(store, external)?;
    Ok(())
}

pub(super) fn linker(engine: &Engine) -> Result<Linker<Ledger>> {
    let mut linker: Linker<Ledger> = Linker::new(engine);
    linker.func_wrap("host", "gc", |mut caller: Caller<'_, Ledger>| caller.gc(None))?;
    linker.func_wrap(
        "host",
        "any",
        |mut caller: Caller<'_, Ledger>, any: Option<Rooted<AnyRef>>| {
            any.map(|any| inspect(caller.as_context_mut(), any, 3)).transpose()?;
            anyhow::Ok(any)
        },
    )?;
    linker.func_wrap(
        "host",
        "extern",
        |mut caller: Caller<'_, Ledger>, external: Option<Rooted<ExternRef>>| {
            external.map(|external| look(&caller, external)).transpose()?;
            let value = caller.data().issue();
            ExternRef::new(&mut caller, value).map(Some)
        },
    )?;
    linker.func_wrap(
        "host",
        "base",
        |mut caller: Caller<'_, Ledger>, base: Rooted<StructRef>| -> Result<i32> {
            caller.gc(None)?;
            base.field(&mut caller, 0)?.i32().context("an i32")
        },
    )?;
    Ok(linker)
}
