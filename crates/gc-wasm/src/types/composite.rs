//! Function, struct, array and exception types of an engine.

use super::externs::TagType;
use super::matching::type_index;
use super::public::ValType;
use super::registry::RegisteredType;
use crate::Engine;
use crate::module::info::ModuleInfo;
use anyhow::{Result, anyhow, bail};
use gc_types::{TypeIndex, VMGcKind};
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use wasmtime_types::{
    WasmArrayType, WasmCompositeInnerType, WasmCompositeType, WasmExnType, WasmFieldType,
    WasmFuncType, WasmHeapType, WasmRecGroup, WasmRefType, WasmStorageType, WasmStructType,
    WasmSubType, WasmValType,
};

/// Whether a field or global can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutability {
    /// It never changes.
    Const,
    /// It can be written.
    Var,
}

/// The storage type of a field or element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// Eight bits of an `i32`.
    I8,
    /// Sixteen bits of an `i32`.
    I16,
    /// A whole value.
    ValType(ValType),
}

impl StorageType {
    /// The type of the values that are read from and written to a field of this type.
    pub fn unpack(&self) -> ValType {
        match self {
            StorageType::I8 | StorageType::I16 => ValType::I32,
            StorageType::ValType(ty) => ty.clone(),
        }
    }
}

impl From<ValType> for StorageType {
    fn from(ty: ValType) -> StorageType {
        StorageType::ValType(ty)
    }
}

/// The type of a struct's field or an array's elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldType {
    mutability: Mutability,
    element_type: StorageType,
}

impl FieldType {
    /// A field type.
    pub fn new(mutability: Mutability, element_type: StorageType) -> FieldType {
        FieldType { mutability, element_type }
    }

    /// Whether the field can be written.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// The storage type.
    pub fn element_type(&self) -> &StorageType {
        &self.element_type
    }

    fn to_wasm(&self) -> WasmFieldType {
        WasmFieldType {
            mutable: self.mutability == Mutability::Var,
            element_type: match &self.element_type {
                StorageType::I8 => WasmStorageType::I8,
                StorageType::I16 => WasmStorageType::I16,
                StorageType::ValType(ty) => WasmStorageType::Val(ty.to_wasm()),
            },
        }
    }

    fn from_wasm(engine: &Engine, ty: &WasmFieldType) -> FieldType {
        FieldType {
            mutability: if ty.mutable { Mutability::Var } else { Mutability::Const },
            element_type: match &ty.element_type {
                WasmStorageType::I8 => StorageType::I8,
                WasmStorageType::I16 => StorageType::I16,
                WasmStorageType::Val(ty) => StorageType::ValType(ValType::from_wasm(engine, ty)),
            },
        }
    }
}

fn register(engine: &Engine, inner: WasmCompositeInnerType) -> Result<Arc<RegisteredType>> {
    let group = WasmRecGroup {
        types: Box::new([WasmSubType {
            is_final: true,
            supertype: None,
            composite_type: WasmCompositeType { inner, shared: false },
        }]),
    };
    let index = engine.types().register(group)?;
    Ok(engine.types().get(TypeIndex::new(index).expect("registered types fit")))
}

fn check_engine<'a>(engine: &Engine, types: impl IntoIterator<Item = &'a ValType>) -> Result<()> {
    for ty in types {
        if !ty.comes_from(engine) {
            bail!("the type {ty} belongs to another engine");
        }
    }
    Ok(())
}

macro_rules! concrete_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            engine: Engine,
            ty: Arc<RegisteredType>,
        }

        impl $name {
            pub(crate) fn from_registered(engine: &Engine, ty: Arc<RegisteredType>) -> $name {
                $name { engine: engine.clone(), ty }
            }

            pub(crate) fn index(&self) -> TypeIndex {
                self.ty.index
            }

            /// The engine to which the type belongs.
            pub fn engine(&self) -> &Engine {
                &self.engine
            }

            /// Whether this type is `sup` or is declared, directly or indirectly, as its subtype.
            pub fn matches(&self, sup: &$name) -> bool {
                self.engine.same(&sup.engine)
                    && self.engine.types().is_subtype(self.ty.index, sup.ty.index)
            }

            /// The type of which this type is declared a subtype, if any.
            pub fn supertype(&self) -> Option<$name> {
                let sup = type_index(self.ty.sub_type.supertype?);
                Some($name::from_registered(&self.engine, self.engine.types().get(sup)))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                self.engine.same(&other.engine) && self.ty.index == other.ty.index
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.ty.index.hash(state);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

concrete_type! {
    /// A function type.
    FuncType
}

concrete_type! {
    /// A struct type.
    StructType
}

concrete_type! {
    /// An array type.
    ArrayType
}

concrete_type! {
    /// A type of exceptions. There is one for each function type that a tag can have.
    ExnType
}

impl FuncType {
    /// Makes the function type from `params` to `results`, without a supertype.
    ///
    /// # Errors
    /// If a type belongs to another engine, or the engine has too many types.
    pub fn new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<FuncType> {
        let params: Vec<ValType> = params.into_iter().collect();
        let results: Vec<ValType> = results.into_iter().collect();
        check_engine(engine, params.iter().chain(&results))?;
        let ty = WasmFuncType::new(
            params.iter().map(ValType::to_wasm),
            results.iter().map(ValType::to_wasm),
        )
        .map_err(|e| anyhow!("{e}"))?;
        let ty = register(engine, WasmCompositeInnerType::Func(ty))?;
        Ok(FuncType::from_registered(engine, ty))
    }

    pub(crate) fn as_wasm(&self) -> &WasmFuncType {
        self.ty.sub_type.unwrap_func()
    }

    /// The parameters' types.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.as_wasm().params().iter().map(|ty| ValType::from_wasm(&self.engine, ty))
    }

    /// The results' types.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.as_wasm().results().iter().map(|ty| ValType::from_wasm(&self.engine, ty))
    }
}

impl StructType {
    /// Makes the final struct type with these fields, without a supertype.
    ///
    /// # Errors
    /// If a type belongs to another engine, an instance would be too large, or
    /// the engine has too many types.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = FieldType>) -> Result<StructType> {
        let fields: Vec<FieldType> = fields.into_iter().collect();
        let unpacked: Vec<ValType> = fields.iter().map(|f| f.element_type.unpack()).collect();
        check_engine(engine, &unpacked)?;
        let fields = fields.iter().map(FieldType::to_wasm).collect();
        let ty = register(engine, WasmCompositeInnerType::Struct(WasmStructType { fields }))?;
        Ok(StructType::from_registered(engine, ty))
    }

    /// The fields in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        let ty = self.ty.sub_type.unwrap_struct();
        ty.fields.iter().map(|field| FieldType::from_wasm(&self.engine, field))
    }

    /// Field number `index`, if there is one.
    pub fn field(&self, index: usize) -> Option<FieldType> {
        self.fields().nth(index)
    }
}

impl ArrayType {
    /// Makes the final array type with elements of this type, without a supertype.
    ///
    /// # Errors
    /// If a type belongs to another engine, or the engine has too many types.
    pub fn new(engine: &Engine, element: FieldType) -> Result<ArrayType> {
        check_engine(engine, [&element.element_type.unpack()])?;
        let ty = WasmArrayType(element.to_wasm());
        let ty = register(engine, WasmCompositeInnerType::Array(ty))?;
        Ok(ArrayType::from_registered(engine, ty))
    }

    /// The elements' type.
    pub fn field_type(&self) -> FieldType {
        FieldType::from_wasm(&self.engine, &self.ty.sub_type.unwrap_array().0)
    }
}

impl ExnType {
    /// The type of exceptions whose payload is `fields`.
    ///
    /// # Errors
    /// If a type belongs to another engine, an exception would be too large, or the engine has too
    /// many types.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = ValType>) -> Result<ExnType> {
        ExnType::from_tag_type(&TagType::new(FuncType::new(engine, fields, [])?))
    }

    /// The type of exceptions with tags of type `tag`.
    ///
    /// # Errors
    /// If the tag's type has results, an exception would be too large, or the engine has too many
    /// types.
    pub fn from_tag_type(tag: &TagType) -> Result<ExnType> {
        let func = tag.ty();
        if func.results().len() != 0 {
            bail!("a tag's type has no results");
        }
        let types = func.engine.types();
        let index = types.exn_type(func.index())?;
        Ok(ExnType::from_registered(&func.engine, types.get(index)))
    }

    fn as_wasm(&self) -> &WasmExnType {
        self.ty.sub_type.unwrap_exn()
    }

    /// The type of the tags of such exceptions.
    pub fn tag_type(&self) -> TagType {
        TagType::from_index(&self.engine, type_index(self.as_wasm().func_ty))
    }

    /// The fields of the payload, in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        self.as_wasm().fields.iter().map(|field| FieldType::from_wasm(&self.engine, field))
    }

    /// Field number `index`, if there is one.
    pub fn field(&self, index: usize) -> Option<FieldType> {
        self.fields().nth(index)
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageType::I8 => f.write_str("i8"),
            StorageType::I16 => f.write_str("i16"),
            StorageType::ValType(ty) => ty.fmt(f),
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutability {
            Mutability::Const => self.element_type.fmt(f),
            Mutability::Var => write!(f, "(mut {})", self.element_type),
        }
    }
}

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

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.engine, &self.ty, None)
    }
}

impl fmt::Display for StructType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.engine, &self.ty, None)
    }
}

impl fmt::Display for ExnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.engine, &self.ty, None)
    }
}

impl fmt::Display for ArrayType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.engine, &self.ty, None)
    }
}
