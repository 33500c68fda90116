//! Constant expressions: initial values of globals, tables and segments, computed
//! at instantiation (core specification, "Constant Expressions", as extended by the
//! GC and extended-const proposals).

use crate::refs::{AnyRef, I31, array, structref};
use crate::store::StoreOpaque;
use crate::types::registered::RegisteredType;
use crate::{Func, Rooted, Val};
use anyhow::{Context, Result, bail};
use gc_types::VMGcRef;
use wasmtime_types::{ConstExpr, ConstOp, WasmHeapTopType};

/// Computes `expr` for instance number `instance`. The instance's imports and all globals that
/// `expr` may use must be initialized. References are rooted in the current scope. This may
/// collect.
///
/// # Errors
/// If the heap is full, or there are too many handles in the store.
pub(crate) fn eval(store: &mut StoreOpaque, instance: usize, expr: &ConstExpr) -> Result<Val> {
    let mut stack: Vec<Val> = Vec::with_capacity(2);
    for op in expr.ops() {
        // An operation makes at most one handle.
        store.gc_store().check_scoped_handles()?;
        let value = step(store, instance, op, &mut stack)?;
        stack.push(value);
    }
    match (stack.pop(), stack.is_empty()) {
        (Some(value), true) => Ok(value),
        _ => bail!("a constant expression that does not leave one value"),
    }
}

fn step(
    store: &mut StoreOpaque,
    instance: usize,
    op: &ConstOp,
    stack: &mut Vec<Val>,
) -> Result<Val> {
    let module_type = |store: &StoreOpaque, index: wasmtime_types::TypeIndex| -> RegisteredType {
        store.instances[instance].module.info().types.all()[index.as_u32() as usize].clone()
    };
    Ok(match op {
        ConstOp::I32Const(value) => Val::I32(*value),
        ConstOp::I64Const(value) => Val::I64(*value),
        ConstOp::F32Const(bits) => Val::F32(*bits),
        ConstOp::F64Const(bits) => Val::F64(*bits),
        ConstOp::V128Const(bits) => Val::V128((*bits).into()),
        ConstOp::GlobalGet(index) => {
            let global = store.instances[instance].globals[index.as_u32() as usize];
            store.read_global(global)
        }
        ConstOp::RefNull(ty) => match ty.top() {
            WasmHeapTopType::Extern => Val::ExternRef(None),
            WasmHeapTopType::Func => Val::FuncRef(None),
            WasmHeapTopType::Exn => Val::ExnRef(None),
            _ => Val::AnyRef(None),
        },
        ConstOp::RefFunc(index) => {
            let func = store.instances[instance].func_ref(index.as_u32());
            Val::FuncRef(Some(Func::from_vm(store, func)))
        }
        ConstOp::RefI31 => {
            let value = pop_i32(stack)?;
            let gc_ref = VMGcRef::from_i31(I31::wrapping_i32(value));
            let rooted: Rooted<AnyRef> = store.root(gc_ref);
            Val::AnyRef(Some(rooted))
        }
        ConstOp::I32Add => binary_i32(stack, i32::wrapping_add)?,
        ConstOp::I32Sub => binary_i32(stack, i32::wrapping_sub)?,
        ConstOp::I32Mul => binary_i32(stack, i32::wrapping_mul)?,
        ConstOp::I64Add => binary_i64(stack, i64::wrapping_add)?,
        ConstOp::I64Sub => binary_i64(stack, i64::wrapping_sub)?,
        ConstOp::I64Mul => binary_i64(stack, i64::wrapping_mul)?,
        ConstOp::StructNew { struct_type_index } => {
            let ty = module_type(store, *struct_type_index);
            let count = ty.sub_type.unwrap_struct().fields.len();
            let fields = stack.split_off(stack.len() - count);
            structref::make(store, &ty, Some(&fields))?.to_anyref().into()
        }
        ConstOp::StructNewDefault { struct_type_index } => {
            let ty = module_type(store, *struct_type_index);
            structref::make(store, &ty, None)?.to_anyref().into()
        }
        ConstOp::ArrayNew { array_type_index } => {
            let ty = module_type(store, *array_type_index);
            let length = pop_i32(stack)? as u32;
            let element = stack.pop().context("an operand")?;
            let array = array::make_filled(store, &ty, Some(&element), length)?;
            store.consume_host_work(length.into())?;
            array.to_anyref().into()
        }
        ConstOp::ArrayNewDefault { array_type_index } => {
            let ty = module_type(store, *array_type_index);
            let length = pop_i32(stack)? as u32;
            let array = array::make_filled(store, &ty, None, length)?;
            store.consume_host_work(length.into())?;
            array.to_anyref().into()
        }
        ConstOp::ArrayNewFixed { array_type_index, array_size } => {
            let ty = module_type(store, *array_type_index);
            let elements = stack.split_off(stack.len() - *array_size as usize);
            array::make_fixed(store, &ty, &elements)?.to_anyref().into()
        }
        ConstOp::ExternConvertAny => match stack.pop() {
            Some(Val::AnyRef(value)) => Val::ExternRef(value.map(Rooted::cast)),
            _ => bail!("an operand that is not an internal reference"),
        },
        ConstOp::AnyConvertExtern => match stack.pop() {
            Some(Val::ExternRef(value)) => Val::AnyRef(value.map(Rooted::cast)),
            _ => bail!("an operand that is not an external reference"),
        },
    })
}

fn pop_i32(stack: &mut Vec<Val>) -> Result<i32> {
    stack.pop().and_then(|value| value.i32()).context("an operand that is an i32")
}

fn binary_i32(stack: &mut Vec<Val>, f: impl FnOnce(i32, i32) -> i32) -> Result<Val> {
    let (b, a) = (pop_i32(stack)?, pop_i32(stack)?);
    Ok(Val::I32(f(a, b)))
}

fn binary_i64(stack: &mut Vec<Val>, f: impl FnOnce(i64, i64) -> i64) -> Result<Val> {
    let mut pop = || stack.pop().and_then(|value| value.i64()).context("an operand that is an i64");
    let (b, a) = (pop()?, pop()?);
    Ok(Val::I64(f(a, b)))
}

#[cfg(test)]
mod tests {
    use crate::{AsContextMut, Config, Engine, Instance, Module, Store};

    /// A module chooses the number of handles, so too many must not panic.
    #[test]
    fn too_many_handles_are_an_error() {
        let engine = Engine::new(&Config::new()).unwrap();
        let mut store = Store::new(&engine, ());
        store.as_context_mut().into_opaque().gc_store_mut().limit_scoped_handles(8);
        let item = "(item (ref.i31 (i32.const 1)))";
        let global = "(item (global.get $g))";
        let field = "(ref.i31 (i32.const 1))";
        let module = |fields: usize, items: &str| {
            let (types, values) = ("(field i31ref)".repeat(fields), field.repeat(fields));
            let text = format!(
                "(module (type $s (struct {types}))
                    (global $g (ref $s) (struct.new $s {values})) (elem anyref {items}))"
            );
            Module::new(&engine, text).unwrap()
        };
        for module in [module(0, &item.repeat(20)), module(0, &global.repeat(20)), module(20, "")] {
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            assert!(format!("{error:#}").contains("more than 8 handles"), "{error:#}");
        }
        // The handles of the failed instantiations are gone.
        Instance::new(&mut store, &module(5, item), &[]).unwrap();
    }
}
