//! References without an object: null, functions, `i31`. Also the conversion of function references
//! for storage in objects.

use crate::compile::env;
use crate::compile::targets::Field;
use crate::compile::translate::Translator;
use crate::types::matching::type_index;
use anyhow::{Context as _, Result};
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_compiler::Extend;
use gc_types::Trap;
use wasmtime_types::{WasmHeapType, WasmRefType, WasmStorageType, WasmValType};

/// The type of a field or element that is a function reference.
fn func_ref_storage(ty: &WasmStorageType) -> Option<&WasmRefType> {
    match ty {
        WasmStorageType::Val(WasmValType::Ref(ty)) if !ty.is_vmgcref_type() => Some(ty),
        _ => None,
    }
}

/// The id of a function, which was read from the heap and is an operand. It becomes a function
/// reference when it is used.
#[derive(Clone, Copy)]
pub(in crate::compile) struct FunctionId {
    /// The id (`I32`).
    pub(super) id: ir::Value,
    /// The type of the reference that it stands for.
    ty: WasmRefType,
    /// The field from which it was read, unless it was an element of an array.
    pub(super) field: Option<Field>,
}

impl Translator<'_, '_> {
    pub(super) fn ref_null(&mut self) {
        let null = self.emitter().ref_null();
        self.stack.push(null);
    }

    pub(super) fn ref_is_null(&mut self) {
        let reference = self.stack.pop();
        let is_null = self.emitter().ref_is_null(reference);
        let is_null = self.builder.ins().uextend(types::I32, is_null);
        self.stack.push(is_null);
    }

    pub(super) fn ref_as_non_null(&mut self) {
        if self.top_is_non_null() {
            return;
        }
        let reference = self.stack.peek_n(1)[0];
        self.emitter().trap_if_null(reference);
    }

    pub(super) fn ref_eq(&mut self) {
        let (a, b) = self.stack.pop2();
        let same = self.emitter().ref_eq(a, b);
        let same = self.builder.ins().uextend(types::I32, same);
        self.stack.push(same);
    }

    pub(super) fn ref_func(&mut self, index: u32) -> Result<()> {
        let layout = self.env.cx.layout;
        let vmctx = self.env.vmctx;
        let func_ref = if self.env.cx.info.defined_func(index).is_some() {
            let n = self.env.cx.info.funcs[index as usize]
                .func_ref
                .with_context(|| format!("function {index} was not declared to be referenced"))?;
            self.builder.ins().iadd_imm_u(vmctx, i64::from(layout.func_ref(n)))
        } else {
            self.load(types::I64, env::IMPORTS, vmctx, layout.func_import_ref(index))
        };
        self.stack.push(func_ref);
        Ok(())
    }

    pub(super) fn ref_i31(&mut self) {
        let value = self.stack.pop();
        let reference = self.emitter().ref_i31(value);
        self.stack.push(reference);
    }

    pub(super) fn i31_get(&mut self, extend: Extend) {
        let reference = self.stack.pop();
        let mut e = self.emitter();
        let value = match extend {
            Extend::Signed => e.i31_get_s(reference),
            Extend::Unsigned => e.i31_get_u(reference),
        };
        self.stack.push(value);
    }

    /// Converts `value` for storage in a field or element of type `ty`.
    pub(super) fn value_to_stored(&mut self, ty: &WasmStorageType, value: ir::Value) -> ir::Value {
        match func_ref_storage(ty) {
            Some(ty) => self.emitter().func_ref_to_id(value, ty.nullable),
            None => value,
        }
    }

    /// Converts `stored`, which was read from a field or element of type `ty`, to a value.
    ///
    /// The heap is untrusted. The emitted code traps if the value is not of that type.
    pub(super) fn stored_to_value(&mut self, ty: &WasmStorageType, stored: ir::Value) -> ir::Value {
        if let WasmStorageType::Val(WasmValType::Ref(ty)) = ty
            && ty.is_vmgcref_type()
        {
            let known = self.env.known(ty);
            self.env.annotations.references.add_known(stored, known);
        }
        match func_ref_storage(ty) {
            Some(ty) => self.func_ref(FunctionId { id: stored, ty: *ty, field: None }),
            None => stored,
        }
    }

    /// Pushes `stored`, as [`stored_to_value`](Translator::stored_to_value) converts it. If it is the
    /// id of a function with which a call can do, it is converted later. It was read from `field`, or
    /// from an array.
    pub(super) fn push_stored(
        &mut self,
        ty: &WasmStorageType,
        stored: ir::Value,
        field: Option<Field>,
    ) {
        if let Some(ty) = func_ref_storage(ty)
            && let WasmHeapType::ConcreteFunc(edge) = ty.heap_type
            && !self.targets.of(type_index(edge), field).is_empty()
        {
            self.id = Some(FunctionId { id: stored, ty: *ty, field });
            self.stack.push(stored);
            return;
        }
        let value = self.stored_to_value(ty, stored);
        self.stack.push(value);
    }

    /// If the uppermost operand is an id, replaces it by the function reference.
    pub(in crate::compile) fn resolve_id(&mut self) {
        if let Some(id) = self.id.take() {
            self.stack.pop();
            let func_ref = self.func_ref(id);
            self.stack.push(func_ref);
        }
    }

    /// The function reference with an id from the heap. The heap is untrusted. The emitted code traps
    /// if there is no such function of the type.
    pub(super) fn func_ref(&mut self, FunctionId { id: stored, ty, .. }: FunctionId) -> ir::Value {
        let expected = match ty.heap_type {
            WasmHeapType::ConcreteFunc(edge) => Some(self.func_ref_type(type_index(edge))),
            WasmHeapType::NoFunc => {
                self.trap_if(stored, Trap::BadFuncRef);
                None
            }
            _ => None,
        };
        self.emitter().func_ref_from_id(stored, ty.nullable, expected.as_ref())
    }
}
