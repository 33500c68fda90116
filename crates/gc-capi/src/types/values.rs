//! `wasm_valtype_t`: the types of values.

use crate::error::{given, message};
use crate::gc::reclaim_gctype_t;
use crate::macros::exports;
use crate::value::ValKind;
use crate::vector::{Out, put, wasm_byte_vec_t};
use anyhow::{Result, bail, ensure};
use gc_wasm::{Engine, HeapType, RefType, ValType};

/// The type of a value: `wasm_valtype_t`.
#[derive(Clone)]
pub struct wasm_valtype_t(pub(crate) ValType);

/// The abstract heap types, by the numbers that the header gives them.
const HEAP_TYPES: [HeapType; 12] = [
    HeapType::Extern,
    HeapType::NoExtern,
    HeapType::Func,
    HeapType::NoFunc,
    HeapType::Any,
    HeapType::Eq,
    HeapType::I31,
    HeapType::Struct,
    HeapType::Array,
    HeapType::None,
    HeapType::Exn,
    HeapType::NoExn,
];

/// Checks that `ty` can be used with `engine`.
pub(crate) fn of_engine(ty: &ValType, engine: &Engine) -> Result<()> {
    let ValType::Ref(reference) = ty else { return Ok(()) };
    let other = match reference.heap_type() {
        HeapType::ConcreteFunc(ty) => ty.engine(),
        HeapType::ConcreteStruct(ty) => ty.engine(),
        HeapType::ConcreteArray(ty) => ty.engine(),
        HeapType::ConcreteExn(ty) => ty.engine(),
        _ => return Ok(()),
    };
    ensure!(Engine::same(engine, other), "the type {ty} belongs to another engine");
    Ok(())
}

exports! {
    /// The type of the numbers of a kind, or of all its references, null among them. NULL if there is
    /// no such kind.
    fn wasm_valtype_new(kind: u8) -> Option<Box<wasm_valtype_t>> {
        Ok(Some(Box::new(wasm_valtype_t(ValKind::of_number(kind)?.ty()))))
    }

    /// The type of references to what an abstract heap type has. NULL if there is no such heap type.
    fn reclaim_valtype_new_ref(heap_type: u8, nullable: bool) -> Option<Box<wasm_valtype_t>> {
        let Some(heap_type) = HEAP_TYPES.get(usize::from(heap_type)) else {
            bail!("{heap_type} is no heap type");
        };
        let ty = ValType::Ref(RefType::new(nullable, heap_type.clone()));
        Ok(Some(Box::new(wasm_valtype_t(ty))))
    }

    /// The type of references to structs or arrays of one type.
    fn reclaim_valtype_new_concrete(
        ty: Option<&reclaim_gctype_t>,
        nullable: bool,
    ) -> Option<Box<wasm_valtype_t>> {
        let heap_type = given(ty, "type")?.heap_type();
        Ok(Some(Box::new(wasm_valtype_t(ValType::Ref(RefType::new(nullable, heap_type))))))
    }

    /// The struct or array type to which references of this type refer. NULL if it has none.
    fn reclaim_valtype_gctype(ty: Option<&wasm_valtype_t>) -> Option<Box<reclaim_gctype_t>> {
        let ty = &given(ty, "type")?.0;
        let heap_type = ty.as_ref().map(RefType::heap_type);
        Ok(heap_type.and_then(reclaim_gctype_t::of_heap_type).map(Box::new))
    }

    /// Deletes a type.
    fn wasm_valtype_delete(ty: Option<Box<wasm_valtype_t>>) {
        drop(ty);
        Ok(())
    }

    /// A copy. NULL for NULL.
    fn wasm_valtype_copy(ty: Option<&wasm_valtype_t>) -> Option<Box<wasm_valtype_t>> {
        Ok(ty.cloned().map(Box::new))
    }

    /// The kind of the type's values. References have the kind of their hierarchy.
    fn wasm_valtype_kind(ty: Option<&wasm_valtype_t>) -> u8 {
        Ok(ValKind::of_type(&given(ty, "type")?.0) as u8)
    }

    /// Whether every value of type `sub` is one of type `sup`.
    fn reclaim_valtype_matches(
        sub: Option<&wasm_valtype_t>,
        sup: Option<&wasm_valtype_t>,
    ) -> bool {
        let (sub, sup) = (&given(sub, "sub")?.0, &given(sup, "sup")?.0);
        if let ValType::Ref(reference) = sup
            && let Some(ty) = reclaim_gctype_t::of_heap_type(reference.heap_type())
        {
            of_engine(sub, ty.engine())?;
        }
        Ok(sub.matches(sup))
    }

    /// Writes the type in the text format of WebAssembly, with a zero byte at its end, to `out`.
    fn reclaim_valtype_to_string(ty: Option<&wasm_valtype_t>, out: Out<'_, wasm_byte_vec_t>) {
        let out = put(out, "out")?;
        *out = message(&given(ty, "type")?.0.to_string());
        Ok(())
    }
}
