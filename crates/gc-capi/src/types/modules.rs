//! The imports and exports of modules.

use super::externals::{ExternTy, wasm_externtype_t};
use crate::error::given;
use crate::macros::exports;
use crate::vector::wasm_byte_vec_t;
use gc_wasm::{ExportType, ImportType};

/// An import of a module: `wasm_importtype_t`.
#[derive(Clone)]
pub struct wasm_importtype_t {
    module: wasm_byte_vec_t,
    name: wasm_byte_vec_t,
    ty: Box<wasm_externtype_t>,
}

/// An export of a module: `wasm_exporttype_t`.
#[derive(Clone)]
pub struct wasm_exporttype_t {
    name: wasm_byte_vec_t,
    ty: Box<wasm_externtype_t>,
}

fn bytes(text: &str) -> wasm_byte_vec_t {
    text.as_bytes().to_vec().into()
}

impl wasm_importtype_t {
    pub(crate) fn of(import: &ImportType<'_>) -> wasm_importtype_t {
        wasm_importtype_t {
            module: bytes(import.module()),
            name: bytes(import.name()),
            ty: Box::new(wasm_externtype_t(ExternTy::of(&import.ty()))),
        }
    }
}

impl wasm_exporttype_t {
    pub(crate) fn of(export: &ExportType<'_>) -> wasm_exporttype_t {
        let ty = Box::new(wasm_externtype_t(ExternTy::of(&export.ty())));
        wasm_exporttype_t { name: bytes(export.name()), ty }
    }
}

exports! {
    /// An import of these names and this type, which are taken over.
    fn wasm_importtype_new(
        module: Option<&mut wasm_byte_vec_t>,
        name: Option<&mut wasm_byte_vec_t>,
        ty: Option<Box<wasm_externtype_t>>,
    ) -> Option<Box<wasm_importtype_t>> {
        let (module, name) = (module.map(std::mem::take), name.map(std::mem::take));
        let (module, name) = (given(module, "module")?, given(name, "name")?);
        Ok(Some(Box::new(wasm_importtype_t { module, name, ty: given(ty, "type")? })))
    }

    /// Deletes an import.
    fn wasm_importtype_delete(import: Option<Box<wasm_importtype_t>>) {
        drop(import);
        Ok(())
    }

    /// A copy. NULL for NULL.
    fn wasm_importtype_copy(
        import: Option<&wasm_importtype_t>,
    ) -> Option<Box<wasm_importtype_t>> {
        Ok(import.cloned().map(Box::new))
    }

    /// The first name, which belongs to the import.
    fn wasm_importtype_module(import: Option<&wasm_importtype_t>) -> Option<&wasm_byte_vec_t> {
        Ok(Some(&given(import, "import")?.module))
    }

    /// The second name, which belongs to the import.
    fn wasm_importtype_name(import: Option<&wasm_importtype_t>) -> Option<&wasm_byte_vec_t> {
        Ok(Some(&given(import, "import")?.name))
    }

    /// The type, which belongs to the import.
    fn wasm_importtype_type(import: Option<&wasm_importtype_t>) -> Option<&wasm_externtype_t> {
        Ok(Some(&*given(import, "import")?.ty))
    }

    /// An export of this name and type, which are taken over.
    fn wasm_exporttype_new(
        name: Option<&mut wasm_byte_vec_t>,
        ty: Option<Box<wasm_externtype_t>>,
    ) -> Option<Box<wasm_exporttype_t>> {
        let name = given(name.map(std::mem::take), "name")?;
        Ok(Some(Box::new(wasm_exporttype_t { name, ty: given(ty, "type")? })))
    }

    /// Deletes an export.
    fn wasm_exporttype_delete(export: Option<Box<wasm_exporttype_t>>) {
        drop(export);
        Ok(())
    }

    /// A copy. NULL for NULL.
    fn wasm_exporttype_copy(
        export: Option<&wasm_exporttype_t>,
    ) -> Option<Box<wasm_exporttype_t>> {
        Ok(export.cloned().map(Box::new))
    }

    /// The name, which belongs to the export.
    fn wasm_exporttype_name(export: Option<&wasm_exporttype_t>) -> Option<&wasm_byte_vec_t> {
        Ok(Some(&given(export, "exported")?.name))
    }

    /// The type, which belongs to the export.
    fn wasm_exporttype_type(export: Option<&wasm_exporttype_t>) -> Option<&wasm_externtype_t> {
        Ok(Some(&*given(export, "exported")?.ty))
    }
}
