//! The text of concrete types.

use super::matching::type_index;
use super::registered::RegisteredType;
use super::val_type::ValType;
use crate::Engine;
use crate::module::info::ModuleInfo;
use gc_types::VMGcKind;
use std::fmt::{self, Write as _};
use wasmtime_types::{
    WasmCompositeInnerType, WasmFieldType, WasmHeapType, WasmRefType, WasmStorageType, WasmSubType,
    WasmValType,
};

/// Writes the structure of a type and of the types to which it refers, or their names, if `names`
/// has them. For types further away it writes only the kind, because types may be recursive.
pub(super) fn show(
    f: &mut fmt::Formatter<'_>,
    engine: &Engine,
    ty: &RegisteredType,
    names: Option<&ModuleInfo>,
) -> fmt::Result {
    let mut beginning = Beginning { f, left: SHOWN };
    let whole = fmt::from_fn(|f| show_composite(f, engine, &ty.sub_type, 1, names));
    match write!(beginning, "{whole}") {
        Err(fmt::Error) if beginning.left == 0 => beginning.f.write_str("…"),
        result => result,
    }
}

/// The maximum number of bytes of a type's text. A few bytes of a module can declare a type whose
/// text, with the types to which it refers, has hundreds of megabytes. Every error about it would
/// have them too.
const SHOWN: usize = 512;

/// A writer that writes `left` bytes and fails at the next one.
struct Beginning<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl fmt::Write for Beginning<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.left {
            self.left -= text.len();
            return self.f.write_str(text);
        }
        let end = text.floor_char_boundary(self.left);
        self.left = 0;
        self.f.write_str(&text[..end])?;
        Err(fmt::Error)
    }
}

fn show_composite(
    f: &mut fmt::Formatter<'_>,
    engine: &Engine,
    ty: &WasmSubType,
    depth: u32,
    names: Option<&ModuleInfo>,
) -> fmt::Result {
    let field = |f: &mut fmt::Formatter<'_>, field: &WasmFieldType| {
        f.write_str(if field.mutable { "(mut " } else { "" })?;
        match &field.element_type {
            WasmStorageType::I8 => f.write_str("i8")?,
            WasmStorageType::I16 => f.write_str("i16")?,
            WasmStorageType::Val(ty) => show_value(f, engine, ty, depth, names)?,
        }
        f.write_str(if field.mutable { ")" } else { "" })
    };
    match &ty.composite_type.inner {
        WasmCompositeInnerType::Func(ty) => {
            f.write_str("(func")?;
            for (what, types) in [("param", ty.params()), ("result", ty.results())] {
                if types.is_empty() {
                    continue;
                }
                write!(f, " ({what}")?;
                for ty in types {
                    f.write_str(" ")?;
                    show_value(f, engine, ty, depth, names)?;
                }
                f.write_str(")")?;
            }
            f.write_str(")")
        }
        WasmCompositeInnerType::Struct(ty) => {
            f.write_str("(struct")?;
            for ty in &ty.fields {
                f.write_str(" (field ")?;
                field(f, ty)?;
                f.write_str(")")?;
            }
            f.write_str(")")
        }
        WasmCompositeInnerType::Array(ty) => {
            f.write_str("(array ")?;
            field(f, &ty.0)?;
            f.write_str(")")
        }
        WasmCompositeInnerType::Exn(ty) => {
            f.write_str("(exn")?;
            for ty in &ty.fields {
                f.write_str(" (field ")?;
                field(f, ty)?;
                f.write_str(")")?;
            }
            f.write_str(")")
        }
        WasmCompositeInnerType::Cont(_) => unreachable!("other types do not pass validation"),
    }
}

fn show_value(
    f: &mut fmt::Formatter<'_>,
    engine: &Engine,
    ty: &WasmValType,
    depth: u32,
    names: Option<&ModuleInfo>,
) -> fmt::Result {
    use WasmHeapType::{ConcreteArray, ConcreteFunc, ConcreteStruct};
    let WasmValType::Ref(WasmRefType {
        nullable,
        heap_type: ConcreteFunc(edge) | ConcreteStruct(edge) | ConcreteArray(edge),
    }) = ty
    else {
        return write!(f, "{}", ValType::from_wasm(engine, ty));
    };
    f.write_str(if *nullable { "(ref null " } else { "(ref " })?;
    let index = type_index(*edge);
    if let Some(name) = names.and_then(|info| info.type_name(index)) {
        return write!(f, "{name})");
    }
    let ty = engine.types().get(index);
    match depth {
        0 => f.write_str(match ty.kind() {
            Some(VMGcKind::StructRef) => "struct",
            Some(VMGcKind::ArrayRef) => "array",
            _ => "func",
        })?,
        _ => show_composite(f, engine, &ty.sub_type, depth - 1, names)?,
    }
    f.write_str(")")
}
