//! Exceptions and their tags. C throws one by returning a trap of it: `reclaim_trap_new_exception`.

use crate::error::given;
use crate::macros::exports;
use crate::reference::{What, wasm_extern_t, wasm_ref_t};
use crate::store::{Data, StoreRef, store_of, wasm_store_t};
use crate::types::wasm_tagtype_t;
use crate::value::wasm_val_t;
use crate::vector::{Out, put, wasm_val_vec_t};
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{ExnRef, ExnRefPre, ExnType, Rooted, StoreContextMut, Tag};

fn exception<R>(
    reference: Option<&wasm_ref_t>,
    work: impl FnOnce(StoreContextMut<'_, Data>, &StoreRef, Rooted<ExnRef>) -> Result<R>,
) -> Result<R> {
    let reference = given(reference, "ref")?;
    let store = &reference.store()?;
    let What::Exception(exception) = &reference.what else {
        bail!("expected an exception, found {}", reference.what.name());
    };
    store.with(|mut context| {
        let exception = exception.to_rooted(&mut context);
        work(context, store, exception)
    })
}

exports! {
    /// Makes a tag of exceptions.
    fn reclaim_tag_new(
        store: Option<&wasm_store_t>,
        ty: Option<&wasm_tagtype_t>,
    ) -> Option<Box<wasm_extern_t>> {
        let store = &store_of(store)?;
        let ty = given(ty, "type")?.to_tag_type(&store.engine()?)?;
        let tag = store.with(|context| Tag::new(context, &ty))?;
        Ok(Some(Box::new(wasm_extern_t(wasm_ref_t::new(store, What::Tag(tag))))))
    }

    /// Makes an exception. NULL if `tag` is no tag, a value is of another type or store, or the heap is
    /// full.
    fn reclaim_exception_new(
        store: Option<&wasm_store_t>,
        tag: Option<&wasm_extern_t>,
        fields: Option<&wasm_val_vec_t>,
    ) -> Option<Box<wasm_ref_t>> {
        let store = &store_of(store)?;
        let tag = match given(tag, "tag")?.0.of(store)? {
            What::Tag(tag) => *tag,
            other => bail!("expected a tag, found {}", other.name()),
        };
        let fields = given(fields, "values")?.as_slice();
        store.with(|mut context| {
            let ty = ExnType::from_tag_type(&tag.ty(&context))?;
            let (wanted, found) = (ty.fields().len(), fields.len());
            ensure!(wanted == found, "expected {wanted} values, found {found}");
            let mut values = Vec::new();
            for (i, (value, ty)) in fields.iter().zip(ty.fields()).enumerate() {
                let value = value.to_val(&mut context, store, ty.element_type().unpack());
                values.push(value.with_context(|| format!("value {i}"))?);
            }
            let allocator = ExnRefPre::new(&mut context, ty);
            let exception = ExnRef::new(&mut context, &allocator, &tag, &values)?;
            let what = What::Exception(exception.to_owned_rooted(&mut context)?);
            Ok(Some(Box::new(wasm_ref_t::new(store, what))))
        })
    }

    /// The exception's tag.
    fn reclaim_exception_tag(reference: Option<&wasm_ref_t>) -> Option<Box<wasm_extern_t>> {
        exception(reference, |context, store, exception| {
            let what = What::Tag(exception.tag(context)?);
            Ok(Some(Box::new(wasm_extern_t(wasm_ref_t::new(store, what)))))
        })
    }

    /// Reads a value of an exception. `false` if there is no such value.
    fn reclaim_exception_get(
        reference: Option<&wasm_ref_t>,
        index: usize,
        out: Out<'_, wasm_val_t>,
    ) -> bool {
        let out = put(out, "out")?;
        *out = exception(reference, |mut context, store, exception| {
            let value = exception.field(&mut context, index)?;
            wasm_val_t::of_val(&mut context, store, value)
        })?;
        Ok(true)
    }
}
