//! What a store can give a module for its imports.

use anyhow::{Context as _, Result};
use gc_testkit::Ledger;
use gc_wasm::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, AsContext as _, Extern, ExternRef, ExternType,
    FieldType, Func, FuncType, Global, HeapType, I31, Module, Mutability, Ref, RefType, RootScope,
    Store, StoreLimits, StructRef, StructRefPre, StructType, Table, Val, ValType,
};

/// An item for each import of the module, in order.
///
/// # Errors
/// If there is none, or no room for it.
pub(super) fn imports(
    store: &mut Store<StoreLimits>,
    module: &Module,
    ledger: &Ledger,
) -> Result<Vec<Extern>> {
    let mut store = RootScope::new(store);
    module.imports().map(|import| item(&mut store, &import.ty(), ledger)).collect()
}

type Scope<'a> = RootScope<&'a mut Store<StoreLimits>>;

fn item(store: &mut Scope<'_>, ty: &ExternType, ledger: &Ledger) -> Result<Extern> {
    match ty {
        ExternType::Func(ty) => match ty.default_value(&mut *store) {
            Ok(func) => Ok(func.into()),
            // It has a result that cannot be null.
            Err(_) => Ok(failing(store, ty.clone()).into()),
        },
        ExternType::Global(ty) => {
            let value = match ty.content().default_value() {
                Some(value) => value,
                None => reference(store, ty.content().unwrap_ref(), ledger)?.into(),
            };
            Ok(Global::new(store, ty.clone(), value)?.into())
        }
        ExternType::Table(ty) => {
            let value = reference(store, ty.element(), ledger)?;
            Ok(Table::new(store, ty.clone(), value)?.into())
        }
        ty => ty.default_value(store),
    }
}

/// A function that fails.
fn failing(store: &mut Scope<'_>, ty: FuncType) -> Func {
    Func::new(store, ty, |_, _, _| anyhow::bail!("a function of the host fails"))
}

/// A reference of this type that is not null if that is possible.
fn reference(store: &mut Scope<'_>, ty: &RefType, ledger: &Ledger) -> Result<Ref> {
    let engine = store.as_context().engine().clone();
    let structure = |store: &mut Scope<'_>, ty: StructType| {
        let fields: Option<Vec<Val>> =
            ty.fields().map(|field| field.element_type().unpack().default_value()).collect();
        let Some(fields) = fields else { return Ok(None) };
        let pre = StructRefPre::new(&mut *store, ty);
        StructRef::new(store, &pre, &fields).map(|new| Some(Ref::Any(Some(new.to_anyref()))))
    };
    let array = |store: &mut Scope<'_>, ty: ArrayType| {
        let pre = ArrayRefPre::new(&mut *store, ty);
        let new = ArrayRef::new_fixed(store, &pre, &[])?;
        Ok::<_, anyhow::Error>(Some(Ref::Any(Some(new.to_anyref()))))
    };
    let found = match ty.heap_type() {
        HeapType::Any | HeapType::Eq | HeapType::I31 => {
            Some(AnyRef::from_i31(store, I31::wrapping_u32(5)).into())
        }
        HeapType::Extern => Some(ExternRef::new(store, ledger.issue())?.into()),
        HeapType::Func => Some(Func::wrap(store, || {}).into()),
        HeapType::ConcreteFunc(ty) => Some(failing(store, ty.clone()).into()),
        HeapType::ConcreteStruct(ty) => structure(store, ty.clone())?,
        HeapType::Struct => structure(store, StructType::new(&engine, [])?)?,
        HeapType::ConcreteArray(ty) => array(store, ty.clone())?,
        HeapType::Array => {
            let field = FieldType::new(Mutability::Var, ValType::I64.into());
            array(store, ArrayType::new(&engine, field))?
        }
        _ => None,
    };
    let null = || ty.is_nullable().then(|| Ref::null(ty.heap_type()));
    found.or_else(null).context("there is no value for an import")
}
