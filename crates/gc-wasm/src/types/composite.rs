//! Function, struct, array and exception types of an engine.

use super::externs::TagType;
use super::field_type::{FieldType, Finality, Mutability, StorageType};
use super::matching::type_index;
use super::registered::RegisteredType;
use super::show::show;
use super::val_type::ValType;
use crate::Engine;
use anyhow::{Result, anyhow, bail, ensure};
use gc_types::TypeIndex;
use std::fmt;
use std::hash::{Hash, Hasher};
use wasmtime_types::{
    VMSharedTypeIndex, WasmArrayType, WasmCompositeInnerType, WasmCompositeType, WasmExnType,
    WasmFuncType, WasmStructType, WasmSubType,
};

/// The maximum number of a type's supertypes (JavaScript interface, "Implementation-defined
/// Limits").
const SUPERTYPES: usize = 63;

/// Registers a type that is a recursion group of its own.
fn register(
    engine: &Engine,
    finality: Finality,
    supertype: Option<&RegisteredType>,
    inner: WasmCompositeInnerType,
) -> Result<RegisteredType> {
    if let Some(supertype) = supertype {
        ensure!(!supertype.sub_type.is_final, "cannot create a subtype of a final supertype");
        ensure!(
            supertype.chain.len() <= SUPERTYPES,
            "a type cannot have more than {SUPERTYPES} supertypes"
        );
    }
    engine.types().register_alone(WasmSubType {
        is_final: finality.is_final(),
        supertype: supertype.map(|ty| VMSharedTypeIndex::new(ty.index.as_u32()).into()),
        composite_type: WasmCompositeType { inner, shared: false },
    })
}

/// Panics if a type belongs to another engine.
fn check_engine<'a>(engine: &Engine, types: impl IntoIterator<Item = &'a ValType>) {
    for ty in types {
        assert!(ty.comes_from(engine), "the type {ty} belongs to another engine");
    }
}

/// The registered type of a supertype, which must belong to `engine`.
fn given_supertype<'a>(
    engine: &Engine,
    owner: &Engine,
    supertype: &'a RegisteredType,
) -> &'a RegisteredType {
    assert!(Engine::same(owner, engine), "the supertype belongs to another engine");
    supertype
}

macro_rules! concrete_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// The engine has the type as long as this value, an equal one, or something of this type
        /// exists: a module that declares it, or a store that has an object or an item of it.
        #[derive(Clone)]
        pub struct $name {
            engine: Engine,
            ty: RegisteredType,
        }

        impl $name {
            pub(crate) fn from_registered(engine: &Engine, ty: RegisteredType) -> $name {
                $name { engine: engine.clone(), ty }
            }

            pub(crate) fn registered(&self) -> &RegisteredType {
                &self.ty
            }

            pub(crate) fn index(&self) -> TypeIndex {
                self.ty.index
            }

            /// The engine to which the type belongs.
            pub fn engine(&self) -> &Engine {
                &self.engine
            }

            /// Whether the type can have subtypes.
            pub fn finality(&self) -> Finality {
                match self.ty.sub_type.is_final {
                    true => Finality::Final,
                    false => Finality::NonFinal,
                }
            }

            /// Whether this type is `sup` or is declared, directly or indirectly, as its subtype.
            ///
            /// # Panics
            /// If the types belong to different engines.
            pub fn matches(&self, sup: &$name) -> bool {
                assert!(
                    Engine::same(&self.engine, &sup.engine),
                    "types of different engines were compared"
                );
                self.engine.types().is_subtype(self.ty.index, sup.ty.index)
            }

            /// The type of which this type is declared a subtype, if any.
            pub fn supertype(&self) -> Option<$name> {
                let sup = type_index(self.ty.sub_type.supertype?);
                Some($name::from_registered(&self.engine, self.engine.types().get(sup)))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                Engine::same(&self.engine, &other.engine) && self.ty.index == other.ty.index
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
    /// Makes the final function type from `params` to `results`, without a supertype.
    ///
    /// # Panics
    /// If a type belongs to another engine, or the engine has too many types.
    pub fn new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> FuncType {
        FuncType::with_finality_and_supertype(engine, Finality::Final, None, params, results)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes a function type from `params` to `results` that may have a supertype.
    ///
    /// # Errors
    /// If the supertype is final or has too many supertypes, if the type does not match it (core
    /// specification, "Function Type Matching"), or if the engine has too many types.
    ///
    /// # Panics
    /// If a type belongs to another engine.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&FuncType>,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<FuncType> {
        let params: Vec<ValType> = params.into_iter().collect();
        let results: Vec<ValType> = results.into_iter().collect();
        check_engine(engine, params.iter().chain(&results));
        let registered = supertype.map(|ty| given_supertype(engine, &ty.engine, &ty.ty));
        if let Some(supertype) = supertype {
            let (sup_params, sup_results) = (supertype.params(), supertype.results());
            let fits = params.len() == sup_params.len()
                && results.len() == sup_results.len()
                && sup_params.zip(&params).all(|(sup, sub)| sup.matches(sub))
                && sup_results.zip(&results).all(|(sup, sub)| sub.matches(&sup));
            ensure!(fits, "function type must match its supertype: expected {supertype}");
        }
        let ty = WasmFuncType::new(
            params.iter().map(ValType::to_wasm),
            results.iter().map(ValType::to_wasm),
        )
        .map_err(|e| anyhow!("{e}"))?;
        let ty = register(engine, finality, registered, WasmCompositeInnerType::Func(ty))?;
        Ok(FuncType::from_registered(engine, ty))
    }

    /// The type of parameter `index`, if there is one.
    pub fn param(&self, index: usize) -> Option<ValType> {
        self.params().nth(index)
    }

    /// The type of result `index`, if there is one.
    pub fn result(&self, index: usize) -> Option<ValType> {
        self.results().nth(index)
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
    /// If an instance would be too large, or the engine has too many types.
    ///
    /// # Panics
    /// If a type belongs to another engine.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = FieldType>) -> Result<StructType> {
        StructType::with_finality_and_supertype(engine, Finality::Final, None, fields)
    }

    /// Makes a struct type with these fields that may have a supertype.
    ///
    /// # Errors
    /// If the supertype is final or has too many supertypes, if its fields do not match the first
    /// fields of this type (core specification, "Struct Type Matching"), if an instance would be too
    /// large, or if the engine has too many types.
    ///
    /// # Panics
    /// If a type belongs to another engine.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Engine, FieldType, Finality, Mutability, StructType, ValType};
    ///
    /// let engine = Engine::default();
    /// let x = FieldType::new(Mutability::Const, ValType::F64.into());
    /// let y = x.clone();
    /// let point = StructType::with_finality_and_supertype(
    ///     &engine, Finality::NonFinal, None, [x.clone()])?;
    /// let point2 = StructType::with_finality_and_supertype(
    ///     &engine, Finality::Final, Some(&point), [x, y])?;
    /// assert!(point2.matches(&point) && !point.matches(&point2));
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&StructType>,
        fields: impl IntoIterator<Item = FieldType>,
    ) -> Result<StructType> {
        let fields: Vec<FieldType> = fields.into_iter().collect();
        check_engine(engine, fields.iter().map(|field| field.element_type().unpack()));
        let registered = supertype.map(|ty| given_supertype(engine, &ty.engine, &ty.ty));
        if let Some(supertype) = supertype {
            let sup = supertype.fields();
            let fits =
                sup.len() <= fields.len() && sup.zip(&fields).all(|(sup, sub)| sub.matches(&sup));
            ensure!(fits, "struct fields must match their supertype's fields");
        }
        let fields = fields.iter().map(FieldType::to_wasm).collect();
        let inner = WasmCompositeInnerType::Struct(WasmStructType { fields });
        let ty = register(engine, finality, registered, inner)?;
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
    /// # Panics
    /// If a type belongs to another engine, or the engine has too many types.
    pub fn new(engine: &Engine, field_type: FieldType) -> ArrayType {
        ArrayType::with_finality_and_supertype(engine, Finality::Final, None, field_type)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes an array type with elements of this type that may have a supertype.
    ///
    /// # Errors
    /// If the supertype is final or has too many supertypes, if its elements do not match (core
    /// specification, "Array Type Matching"), or if the engine has too many types.
    ///
    /// # Panics
    /// If a type belongs to another engine.
    pub fn with_finality_and_supertype(
        engine: &Engine,
        finality: Finality,
        supertype: Option<&ArrayType>,
        field_type: FieldType,
    ) -> Result<ArrayType> {
        check_engine(engine, [field_type.element_type().unpack()]);
        let registered = supertype.map(|ty| given_supertype(engine, &ty.engine, &ty.ty));
        if let Some(supertype) = supertype {
            ensure!(
                field_type.matches(&supertype.field_type()),
                "array field type must match its supertype's field type"
            );
        }
        let inner = WasmCompositeInnerType::Array(WasmArrayType(field_type.to_wasm()));
        let ty = register(engine, finality, registered, inner)?;
        Ok(ArrayType::from_registered(engine, ty))
    }

    /// Whether the elements can be written.
    pub fn mutability(&self) -> Mutability {
        self.field_type().mutability()
    }

    /// The storage type of the elements.
    pub fn element_type(&self) -> StorageType {
        self.field_type().element_type().clone()
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
    /// If an exception would be too large, or the engine has too many types.
    ///
    /// # Panics
    /// If a type belongs to another engine.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = ValType>) -> Result<ExnType> {
        let func =
            FuncType::with_finality_and_supertype(engine, Finality::Final, None, fields, [])?;
        ExnType::from_tag_type(&TagType::new(func))
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
        let ty = func.engine.types().exn_type(func.registered())?;
        Ok(ExnType::from_registered(&func.engine, ty))
    }

    fn as_wasm(&self) -> &WasmExnType {
        self.ty.sub_type.unwrap_exn()
    }

    /// The type of the tags of such exceptions.
    pub fn tag_type(&self) -> TagType {
        let func = self.engine.types().get(type_index(self.as_wasm().func_ty));
        TagType::new(FuncType::from_registered(&self.engine, func))
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
