//! The types of a store: their names, and the objects that are of them.

use super::StoreInner;
use crate::registry::{Definition, EngineType};
use crate::types::describe;
use crate::{Handle, RefKind};
use anyhow::{Context as _, Result, ensure};
use gc_types::{GcLayout, TypeIndex, VMGcRef};
use std::sync::Arc;

impl StoreInner {
    /// Adds a type, if it is one of objects.
    pub(super) fn add_type(&mut self, ty: &EngineType) -> Result<()> {
        if let Some((name, layout)) = ty.object() {
            self.jit.gc_mut().ensure_layout(ty.index(), layout)?;
            self.types.entry(name.clone()).or_insert_with(|| ty.clone());
            self.type_names.insert(ty.index().as_u32(), name.clone());
        }
        Ok(())
    }

    /// The index of the type with this name and this layout. The store has it from now on.
    pub(crate) fn index_of_type(
        &mut self,
        name: &Arc<str>,
        layout: &Arc<GcLayout>,
    ) -> Result<TypeIndex> {
        if let Some(known) = self.types.get(name) {
            let (_, other) = known.object().expect("a named type is one of objects");
            ensure!(
                other == layout,
                "the type `{name}` is {}, but it is {} in the store",
                describe(layout),
                describe(other)
            );
            return Ok(known.index());
        }
        let ty = Definition::Object(name.clone(), layout.clone());
        let ty = self.engine.types().register(&ty)?;
        self.add_type(&ty)?;
        Ok(ty.index())
    }

    /// The name and the layout of the type with this name.
    pub(super) fn named_type(&self, name: &str) -> Result<(&Arc<str>, &Arc<GcLayout>)> {
        let found = self.types.get(name).and_then(EngineType::object);
        found.with_context(|| format!("the code of the store has no type `{name}`"))
    }

    /// The reference of a handle whose object is of the type with this name and this layout.
    pub(crate) fn object_of_type<T: RefKind>(
        &mut self,
        object: &impl Handle<T>,
        name: &Arc<str>,
        layout: &Arc<GcLayout>,
    ) -> Result<VMGcRef> {
        let index = self.index_of_type(name, layout)?;
        let gc_ref = object.raw(self)?.unchecked_copy();
        let found = self.gc().header(&gc_ref)?.ty();
        ensure!(
            found == index,
            "the object is a `{}`, not a `{name}`",
            self.type_name(&gc_ref).unwrap_or("(unknown type)")
        );
        Ok(gc_ref)
    }

    /// The name of the type of an object, if it is one of the types of the loaded code.
    pub(crate) fn type_name(&self, object: &VMGcRef) -> Option<&str> {
        let header = self.gc().header(object).ok()?;
        self.type_names.get(&header.ty().as_u32()).map(|name| &**name)
    }
}
