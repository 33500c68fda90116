//! [`Named`]: types in messages about a module, with the names that the module has for them.

use super::matching::concrete_index;
use super::show::show;
use super::{ExternType, FuncType, Mutability, RefType, ValType};
use crate::module::info::ModuleInfo;
use gc_types::TypeIndex;
use std::fmt;

/// A type in the text format. Types to which it refers have their names in the module, as in
/// `(ref $node)`. Types without a name are shown by their structure.
pub(crate) struct Named<'a, T>(pub(crate) &'a ModuleInfo, pub(crate) &'a T);

impl ModuleInfo {
    /// The name of a type of the engine in this module, as an identifier of the text format.
    pub(super) fn type_name(&self, index: TypeIndex) -> Option<String> {
        self.type_identifier(self.types.number_of(index)?.as_u32())
    }

    /// The name of type `index` of this module, as an identifier of the text format.
    pub(crate) fn type_identifier(&self, index: u32) -> Option<String> {
        let name = self.names.ty(index)?;
        let plain = |c: char| c.is_ascii_graphic() && !"\"(),;[]{}".contains(c);
        Some(match !name.is_empty() && name.chars().all(plain) {
            true => format!("${name}"),
            false => format!("${name:?}"),
        })
    }
}

impl fmt::Display for Named<'_, ExternType> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named(info, ty) = self;
        match ty {
            ExternType::Func(ty) => Named(info, ty).fmt(f),
            ExternType::Global(ty) => {
                let content = Named(info, ty.content());
                match ty.mutability() {
                    Mutability::Const => write!(f, "(global {content})"),
                    Mutability::Var => write!(f, "(global (mut {content}))"),
                }
            }
            ExternType::Table(ty) => ty.show(f, &Named(info, ty.element())),
            ExternType::Memory(ty) => ty.fmt(f),
            ExternType::Tag(ty) => write!(f, "(tag {})", Named(info, ty.ty())),
        }
    }
}

impl fmt::Display for Named<'_, FuncType> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = self.1.engine();
        show(f, engine, self.1.registered(), Some(self.0))
    }
}

impl fmt::Display for Named<'_, ValType> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            ValType::Ref(ty) => Named(self.0, ty).fmt(f),
            ty => ty.fmt(f),
        }
    }
}

impl fmt::Display for Named<'_, RefType> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named(info, ty) = self;
        let index = concrete_index(&ty.heap_type().to_wasm());
        let (Some(index), Some(engine)) = (index, ty.heap_type().engine()) else {
            return ty.fmt(f);
        };
        f.write_str(if ty.is_nullable() { "(ref null " } else { "(ref " })?;
        match info.type_name(index) {
            Some(name) => f.write_str(&name)?,
            None => show(f, engine, &engine.types().get(index), Some(info))?,
        }
        f.write_str(")")
    }
}
