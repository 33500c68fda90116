//! Compares references with the model.

use super::model::Model;
use super::schema::{STRUCTS, Ty};
use crate::refs::{host_number, internal};
use crate::value::Referent;
use anyhow::{Context, Result, bail, ensure};
use gc_wasm::{AnyRef, AsContextMut, ExternRef, Rooted, Val};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

/// Checks that `actual` is `expected`, but not what an object refers to.
pub(super) fn check(
    mut store: impl AsContextMut,
    model: &Model,
    expected: Referent,
    actual: Option<Rooted<AnyRef>>,
) -> Result<()> {
    let Some(actual) = actual else {
        ensure!(expected == Referent::Null, "null instead of {expected:?}");
        return Ok(());
    };
    match expected {
        Referent::Null => bail!("{:?} instead of null", actual.ty(&store)?),
        Referent::I31(n) => {
            let i31 = actual.as_i31(&store)?.context("no i31")?.get_u32();
            ensure!(i31 == n, "the i31 {i31} instead of {n}");
        }
        Referent::Host(n) => {
            let external = ExternRef::convert_any(&store, actual)?;
            let number = host_number(&store, external)?;
            ensure!(number == Some(n), "host value {number:?} instead of {n}");
        }
        Referent::Thing(_) => bail!("the model has nothing else"),
        Referent::Object(n) => {
            let object = &model.objects[n];
            if STRUCTS.contains(&object.ty) {
                let actual = actual.as_struct(&store)?.context("no struct")?;
                let fields = actual.ty(&store)?.fields().len();
                ensure!(
                    fields == object.refs.len() + 1,
                    "a struct of {fields} fields instead of {object:?}"
                );
                let number = actual.field(&mut store, 0)?.i32().context("no number")?;
                ensure!(number as u32 == object.n, "struct {number} instead of {object:?}");
            } else {
                let actual = actual.as_array(&store)?.context("no array")?;
                let len = actual.len(&store)?;
                ensure!(
                    len as usize == object.refs.len(),
                    "an array of {len} elements instead of {object:?}"
                );
                let element = actual.ty(&store)?.element_type();
                let element = element.unwrap_val_type().unwrap_ref().heap_type().clone();
                let same = match object.ty {
                    Ty::Anys => element.is_any(),
                    Ty::Exts => element.is_extern(),
                    _ => element.is_concrete(),
                };
                ensure!(same, "an array of {element} instead of {object:?}");
            }
        }
    }
    Ok(())
}

/// The objects that were found, by their numbers in the model.
#[derive(Default)]
pub(super) struct Graph {
    found: HashMap<usize, Rooted<AnyRef>>,
    /// The numbers of the objects whose references have this hash.
    hashes: HashMap<u64, Vec<usize>>,
    /// What is still to be compared.
    waiting: Vec<(Referent, Option<Rooted<AnyRef>>)>,
}

impl Graph {
    /// Compares `actual` with `expected`, and everything to which they refer. Nothing may collect
    /// while a graph is compared.
    pub(super) fn compare(
        &mut self,
        mut store: impl AsContextMut,
        model: &Model,
        expected: Referent,
        actual: Option<Rooted<AnyRef>>,
    ) -> Result<()> {
        self.waiting.push((expected, actual));
        while let Some((expected, actual)) = self.waiting.pop() {
            check(&mut store, model, expected, actual)?;
            let (Referent::Object(n), Some(actual)) = (expected, actual) else { continue };
            if let Some(known) = self.found.get(&n) {
                ensure!(
                    Rooted::ref_eq(&store, known, &actual)?,
                    "object {n} of the model is two objects"
                );
                continue;
            }
            let mut hasher = DefaultHasher::new();
            actual.ref_hash(&store, &mut hasher)?;
            let same = self.hashes.entry(hasher.finish()).or_default();
            for other in &*same {
                ensure!(
                    !Rooted::ref_eq(&store, &self.found[other], &actual)?,
                    "objects {other} and {n} of the model are one object"
                );
            }
            same.push(n);
            self.found.insert(n, actual);
            self.push_references(&mut store, model, n, actual)
                .with_context(|| format!("in object {n}"))?;
        }
        Ok(())
    }

    fn push_references(
        &mut self,
        mut store: impl AsContextMut,
        model: &Model,
        n: usize,
        actual: Rooted<AnyRef>,
    ) -> Result<()> {
        let values: Vec<Val> = match actual.as_struct(&store)? {
            Some(object) => object.fields(store.as_context_mut())?.skip(1).collect(),
            None => actual.unwrap_array(&store)?.elems(store.as_context_mut())?.collect(),
        };
        for (value, expected) in values.into_iter().zip(&model.objects[n].refs) {
            let actual = internal(&mut store, value)?;
            self.waiting.push((*expected, actual));
        }
        Ok(())
    }
}
