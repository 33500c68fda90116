//! The types of externals. All have the same representation, so that a pointer to one of a kind is a
//! pointer to `wasm_externtype_t`, and the other way round after a check.

use super::values::{of_engine, wasm_valtype_t};
use crate::error::given;
use crate::macros::exports;
use crate::vector::{element, wasm_valtype_vec_t};
use anyhow::{Result, bail, ensure};
use gc_wasm::{
    Engine, ExternType, FuncType, GlobalType, MemoryType, MemoryTypeBuilder, Mutability, TableType,
    TagType, ValType,
};

/// The kinds of externals: `wasm_externkind_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExternKind {
    /// A function.
    Func = 0,
    /// A global.
    Global = 1,
    /// A table.
    Table = 2,
    /// A memory.
    Memory = 3,
    /// A tag of exceptions.
    Tag = 4,
}

/// A minimum and a maximum: `wasm_limits_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct wasm_limits_t {
    /// The smallest number.
    pub min: u32,
    /// The largest number. 2^32 - 1 means that there is none.
    pub max: u32,
}

/// The maximum that means that there is none.
pub(crate) const NO_MAXIMUM: u32 = u32::MAX;

impl wasm_limits_t {
    /// What the header can say of these limits.
    fn of(minimum: u64, maximum: Option<u64>) -> wasm_limits_t {
        let number = |number: u64| u32::try_from(number).unwrap_or(NO_MAXIMUM);
        wasm_limits_t { min: number(minimum), max: maximum.map_or(NO_MAXIMUM, number) }
    }

    fn maximum(&self) -> Option<u32> {
        Some(self.max).filter(|max| *max != NO_MAXIMUM)
    }
}

/// The type of an external.
#[derive(Clone)]
pub(crate) enum ExternTy {
    Func { params: wasm_valtype_vec_t, results: wasm_valtype_vec_t },
    Global { content: Box<wasm_valtype_t>, mutable: bool },
    Table { ty: TableType, element: Box<wasm_valtype_t>, limits: wasm_limits_t },
    Memory { ty: MemoryType, limits: wasm_limits_t },
    Tag { func: Box<wasm_functype_t> },
}

fn vector(types: impl Iterator<Item = ValType>) -> wasm_valtype_vec_t {
    types.map(|ty| Some(Box::new(wasm_valtype_t(ty)))).collect::<Vec<_>>().into()
}

/// The types in a vector, for `engine`.
fn types(vector: &wasm_valtype_vec_t, name: &str, engine: &Engine) -> Result<Vec<ValType>> {
    let types = 0..vector.as_slice().len();
    types
        .map(|i| {
            let ty = &element(vector, i, name)?.0;
            of_engine(ty, engine)?;
            Ok(ty.clone())
        })
        .collect()
}

impl ExternTy {
    pub(crate) fn of(ty: &ExternType) -> ExternTy {
        match ty {
            ExternType::Func(ty) => ExternTy::of_func(ty),
            ExternType::Global(ty) => ExternTy::of_global(ty),
            ExternType::Table(ty) => ExternTy::of_table(ty.clone()),
            ExternType::Memory(ty) => ExternTy::of_memory(ty.clone()),
            ExternType::Tag(ty) => ExternTy::Tag { func: Box::new(wasm_functype_t::new(ty.ty())) },
        }
    }

    pub(crate) fn of_func(ty: &FuncType) -> ExternTy {
        ExternTy::Func { params: vector(ty.params()), results: vector(ty.results()) }
    }

    pub(crate) fn of_global(ty: &GlobalType) -> ExternTy {
        let content = Box::new(wasm_valtype_t(ty.content().clone()));
        ExternTy::Global { content, mutable: ty.mutability() == Mutability::Var }
    }

    pub(crate) fn of_table(ty: TableType) -> ExternTy {
        let element = Box::new(wasm_valtype_t(ValType::Ref(ty.element().clone())));
        let limits = wasm_limits_t::of(ty.minimum(), ty.maximum());
        ExternTy::Table { ty, element, limits }
    }

    pub(crate) fn of_memory(ty: MemoryType) -> ExternTy {
        let limits = wasm_limits_t::of(ty.minimum(), ty.maximum());
        ExternTy::Memory { ty, limits }
    }

    fn kind(&self) -> ExternKind {
        match self {
            ExternTy::Func { .. } => ExternKind::Func,
            ExternTy::Global { .. } => ExternKind::Global,
            ExternTy::Table { .. } => ExternKind::Table,
            ExternTy::Memory { .. } => ExternKind::Memory,
            ExternTy::Tag { .. } => ExternKind::Tag,
        }
    }
}

/// The type of an external: `wasm_externtype_t`.
#[derive(Clone)]
#[repr(transparent)]
pub struct wasm_externtype_t(pub(crate) ExternTy);

/// Types of one kind of external.
macro_rules! kinds {
    ($($what:literal $ty:ident of $kind:ident: $delete:ident $copy:ident $up:ident $up_const:ident
       $down:ident $down_const:ident;)*) => {$(
        #[doc = concat!("The type of ", $what, ": `", stringify!($ty), "`.")]
        #[derive(Clone)]
        #[repr(transparent)]
        pub struct $ty(pub(crate) wasm_externtype_t);

        impl $ty {
            /// The same type, if it is of this kind.
            fn of(ty: &wasm_externtype_t) -> Option<&$ty> {
                let ExternTy::$kind { .. } = ty.0 else { return None };
                // SAFETY: the representation is the same.
                Some(unsafe { &*std::ptr::from_ref(ty).cast() })
            }
        }

        exports! {
            /// Deletes a type.
            fn $delete(ty: Option<Box<$ty>>) {
                drop(ty);
                Ok(())
            }

            /// A copy. NULL for NULL.
            fn $copy(ty: Option<&$ty>) -> Option<Box<$ty>> {
                Ok(ty.cloned().map(Box::new))
            }

            /// The type as one of any external. It is not a copy.
            fn $up(ty: Option<&$ty>) -> Option<&wasm_externtype_t> {
                Ok(ty.map(|ty| &ty.0))
            }

            /// The type as one of any external. It is not a copy.
            fn $up_const(ty: Option<&$ty>) -> Option<&wasm_externtype_t> {
                Ok(ty.map(|ty| &ty.0))
            }

            /// The type as one of this kind of external, or NULL if it is of another.
            fn $down(ty: Option<&wasm_externtype_t>) -> Option<&$ty> {
                Ok(ty.and_then($ty::of))
            }

            /// The type as one of this kind of external, or NULL if it is of another.
            fn $down_const(ty: Option<&wasm_externtype_t>) -> Option<&$ty> {
                Ok(ty.and_then($ty::of))
            }
        }
    )*};
}

kinds! {
    "a function" wasm_functype_t of Func: wasm_functype_delete wasm_functype_copy
        wasm_functype_as_externtype wasm_functype_as_externtype_const
        wasm_externtype_as_functype wasm_externtype_as_functype_const;
    "a global" wasm_globaltype_t of Global: wasm_globaltype_delete wasm_globaltype_copy
        wasm_globaltype_as_externtype wasm_globaltype_as_externtype_const
        wasm_externtype_as_globaltype wasm_externtype_as_globaltype_const;
    "a table" wasm_tabletype_t of Table: wasm_tabletype_delete wasm_tabletype_copy
        wasm_tabletype_as_externtype wasm_tabletype_as_externtype_const
        wasm_externtype_as_tabletype wasm_externtype_as_tabletype_const;
    "a memory" wasm_memorytype_t of Memory: wasm_memorytype_delete wasm_memorytype_copy
        wasm_memorytype_as_externtype wasm_memorytype_as_externtype_const
        wasm_externtype_as_memorytype wasm_externtype_as_memorytype_const;
    "a tag of exceptions" wasm_tagtype_t of Tag: wasm_tagtype_delete wasm_tagtype_copy
        wasm_tagtype_as_externtype wasm_tagtype_as_externtype_const
        wasm_externtype_as_tagtype wasm_externtype_as_tagtype_const;
}

/// The parts of a type that is of the kind that its handle says.
macro_rules! part {
    ($ty:expr, $kind:ident { $part:ident }) => {
        match &given($ty, "ty")?.0.0 {
            ExternTy::$kind { $part, .. } => $part,
            _ => bail!("the type is of another kind"),
        }
    };
}

impl wasm_functype_t {
    pub(crate) fn new(ty: &FuncType) -> wasm_functype_t {
        wasm_functype_t(wasm_externtype_t(ExternTy::of_func(ty)))
    }

    /// The type, for `engine`.
    pub(crate) fn to_func_type(&self, engine: &Engine) -> Result<FuncType> {
        let ExternTy::Func { params, results } = &self.0.0 else { bail!("no function type") };
        let (params, results) =
            (types(params, "params", engine)?, types(results, "results", engine)?);
        Ok(FuncType::new(engine, params, results))
    }
}

impl wasm_globaltype_t {
    /// The type, for `engine`.
    pub(crate) fn to_global_type(&self, engine: &Engine) -> Result<GlobalType> {
        let ExternTy::Global { content, mutable } = &self.0.0 else { bail!("no global type") };
        of_engine(&content.0, engine)?;
        let mutability = if *mutable { Mutability::Var } else { Mutability::Const };
        Ok(GlobalType::new(content.0.clone(), mutability))
    }
}

impl wasm_tabletype_t {
    /// The type, for `engine`.
    pub(crate) fn to_table_type(&self, engine: &Engine) -> Result<TableType> {
        let ExternTy::Table { ty, element, .. } = &self.0.0 else { bail!("no table type") };
        of_engine(&element.0, engine)?;
        Ok(ty.clone())
    }
}

impl wasm_memorytype_t {
    /// The type.
    pub(crate) fn to_memory_type(&self) -> Result<MemoryType> {
        let ExternTy::Memory { ty, .. } = &self.0.0 else { bail!("no memory type") };
        Ok(ty.clone())
    }
}

impl wasm_tagtype_t {
    /// The type, for `engine`.
    pub(crate) fn to_tag_type(&self, engine: &Engine) -> Result<TagType> {
        let ExternTy::Tag { func } = &self.0.0 else { bail!("no tag type") };
        Ok(TagType::new(func.to_func_type(engine)?))
    }
}

/// The types that a function takes over.
fn taken(vector: Option<&mut wasm_valtype_vec_t>, name: &str) -> Result<wasm_valtype_vec_t> {
    let vector = std::mem::take(given(vector, name)?);
    for i in 0..vector.as_slice().len() {
        element(&vector, i, name)?;
    }
    Ok(vector)
}

exports! {
    /// The type of functions with these parameters and results, which are taken over.
    fn wasm_functype_new(
        params: Option<&mut wasm_valtype_vec_t>,
        results: Option<&mut wasm_valtype_vec_t>,
    ) -> Option<Box<wasm_functype_t>> {
        let (params, results) = (taken(params, "params"), taken(results, "results"));
        let ty = ExternTy::Func { params: params?, results: results? };
        Ok(Some(Box::new(wasm_functype_t(wasm_externtype_t(ty)))))
    }

    /// The types of the parameters, which belong to the type.
    fn wasm_functype_params(ty: Option<&wasm_functype_t>) -> Option<&wasm_valtype_vec_t> {
        Ok(Some(part!(ty, Func { params })))
    }

    /// The types of the results, which belong to the type.
    fn wasm_functype_results(ty: Option<&wasm_functype_t>) -> Option<&wasm_valtype_vec_t> {
        Ok(Some(part!(ty, Func { results })))
    }

    /// The type of globals that hold `content`, which is taken over. They can be written if
    /// `mutability` is not 0.
    fn wasm_globaltype_new(
        content: Option<Box<wasm_valtype_t>>,
        mutability: u8,
    ) -> Option<Box<wasm_globaltype_t>> {
        let content = given(content, "content")?;
        ensure!(mutability <= 1, "{mutability} is no mutability");
        let ty = ExternTy::Global { content, mutable: mutability == 1 };
        Ok(Some(Box::new(wasm_globaltype_t(wasm_externtype_t(ty)))))
    }

    /// The type of the value, which belongs to the type.
    fn wasm_globaltype_content(ty: Option<&wasm_globaltype_t>) -> Option<&wasm_valtype_t> {
        Ok(Some(&**part!(ty, Global { content })))
    }

    /// Whether the global can be written: 0 or 1.
    fn wasm_globaltype_mutability(ty: Option<&wasm_globaltype_t>) -> u8 {
        Ok(u8::from(*part!(ty, Global { mutable })))
    }

    /// The type of tables of `element`, which is taken over. NULL if that is no reference type.
    fn wasm_tabletype_new(
        element: Option<Box<wasm_valtype_t>>,
        limits: Option<&wasm_limits_t>,
    ) -> Option<Box<wasm_tabletype_t>> {
        let element = given(element, "element")?;
        let limits = given(limits, "limits")?;
        let ValType::Ref(reference) = element.0 else {
            bail!("the elements of tables are references, not {}", element.0);
        };
        let ty = TableType::new(reference, limits.min, limits.maximum());
        Ok(Some(Box::new(wasm_tabletype_t(wasm_externtype_t(ExternTy::of_table(ty))))))
    }

    /// The type of the elements, which belongs to the type.
    fn wasm_tabletype_element(ty: Option<&wasm_tabletype_t>) -> Option<&wasm_valtype_t> {
        Ok(Some(&**part!(ty, Table { element })))
    }

    /// The numbers of elements, which belong to the type. Those of a table with 64-bit indices may be
    /// larger than they say.
    fn wasm_tabletype_limits(ty: Option<&wasm_tabletype_t>) -> Option<&wasm_limits_t> {
        Ok(Some(part!(ty, Table { limits })))
    }

    /// Whether the indices of the table have 64 bits.
    fn reclaim_tabletype_is_64(ty: Option<&wasm_tabletype_t>) -> bool {
        Ok(part!(ty, Table { ty }).is_64())
    }

    /// The type of memories with these numbers of pages of 64 KiB. NULL if there are no such memories.
    fn wasm_memorytype_new(limits: Option<&wasm_limits_t>) -> Option<Box<wasm_memorytype_t>> {
        let limits = given(limits, "limits")?;
        let (min, max) = (limits.min.into(), limits.maximum().map(u64::from));
        let ty = MemoryTypeBuilder::new().min(min).max(max).build()?;
        Ok(Some(Box::new(wasm_memorytype_t(wasm_externtype_t(ExternTy::of_memory(ty))))))
    }

    /// The numbers of pages, which belong to the type. Those of a memory with 64-bit addresses may be
    /// larger than they say.
    fn wasm_memorytype_limits(ty: Option<&wasm_memorytype_t>) -> Option<&wasm_limits_t> {
        Ok(Some(part!(ty, Memory { limits })))
    }

    /// Whether the addresses of the memory have 64 bits.
    fn reclaim_memorytype_is_64(ty: Option<&wasm_memorytype_t>) -> bool {
        Ok(part!(ty, Memory { ty }).is_64())
    }

    /// The type of tags of exceptions with the parameters of `func`, which is taken over, as values.
    /// NULL if it has results.
    fn wasm_tagtype_new(func: Option<Box<wasm_functype_t>>) -> Option<Box<wasm_tagtype_t>> {
        let func = given(func, "func")?;
        let results = part!(Some(&*func), Func { results }).as_slice().len();
        ensure!(results == 0, "the type of a tag has no results, but {results} were given");
        Ok(Some(Box::new(wasm_tagtype_t(wasm_externtype_t(ExternTy::Tag { func })))))
    }

    /// The type of functions whose parameters are the values of the tag's exceptions. It belongs to the
    /// type.
    fn wasm_tagtype_functype(ty: Option<&wasm_tagtype_t>) -> Option<&wasm_functype_t> {
        Ok(Some(&**part!(ty, Tag { func })))
    }

    /// Deletes a type.
    fn wasm_externtype_delete(ty: Option<Box<wasm_externtype_t>>) {
        drop(ty);
        Ok(())
    }

    /// A copy. NULL for NULL.
    fn wasm_externtype_copy(ty: Option<&wasm_externtype_t>) -> Option<Box<wasm_externtype_t>> {
        Ok(ty.cloned().map(Box::new))
    }

    /// The kind of external.
    fn wasm_externtype_kind(ty: Option<&wasm_externtype_t>) -> u8 {
        Ok(given(ty, "type")?.0.kind() as u8)
    }
}
