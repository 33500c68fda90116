//! Calls.
//!
//! A call to a function of the same module is direct and passes the caller's vmctx. A call to an
//! imported function uses the code address and the vmctx in the caller's vmctx. A call of a
//! function reference uses those in the reference, unless the reference is to one of few functions of
//! the module that are [likely](crate::compile::targets): these are compared with, and called
//! directly.

use super::CallKind;
use super::exceptions::Callee;
use crate::compile::env::{self, func_type};
use crate::compile::targets::Field;
use crate::compile::translate::Translator;
use crate::types::matching::type_index;
use crate::types::registered::RegisteredType;
use crate::vm::layout::HOST_FUNC;
use anyhow::Result;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use gc_compiler::{FuncRefTest, regions};
use gc_types::Trap;
use wasmtime_types::{WasmFuncType, WasmHeapType, WasmRefType};

/// A function that is called through a reference.
#[derive(Clone, Copy)]
enum Likely {
    /// The reference.
    Reference(ir::Value),
    /// Its id in the heap (`I32`).
    Id(ir::Value),
}

impl Translator<'_, '_> {
    pub(super) fn call(&mut self, index: u32, kind: CallKind) -> Result<()> {
        let ty = self.env.registered(self.env.cx.info.funcs[index as usize].ty);
        if self.env.cx.info.defined_func(index).is_some() {
            let callee = self.env.function(self.builder.func, index)?;
            let ty = func_type(ty)?;
            let args = self.call_args(self.env.vmctx, ty);
            match kind {
                CallKind::Call => self.emit_call(Callee::Direct(callee), &args, ty)?,
                CallKind::Tail => {
                    self.builder.ins().return_call(callee, &args);
                    self.stack.set_unreachable();
                }
            }
            return Ok(());
        }
        let layout = self.env.cx.layout;
        let code = self.load_import(layout.func_import_code(index));
        let vmctx = self.load_import(layout.func_import_vmctx(index));
        self.call_code(ty, code, vmctx, kind)
    }

    /// If the function that is called in a tail call is the host's, calls it and returns what it
    /// returns. The host asks the frame that called it for the instance: if this frame were replaced,
    /// the host would give the caller's caller what belongs to this instance, and the other way
    /// round.
    fn return_from_host(
        &mut self,
        ty: &RegisteredType,
        code: ir::Value,
        vmctx: ir::Value,
    ) -> Result<()> {
        let at = self.env.cx.layout.offsets.vmctx_number();
        let number = self.load(types::I64, env::IMPORTS, vmctx, at);
        let is_host = self.builder.ins().icmp_imm_s(IntCC::Equal, number, HOST_FUNC as i64);
        let host = self.builder.create_block();
        let wasm = self.builder.create_block();
        self.builder.set_cold_block(host);
        self.builder.ins().brif(is_host, host, &[], wasm, &[]);
        self.continue_in(host);
        self.env.annotations.leaves_instance = true;
        let signature = self.env.signature(self.builder.func, ty)?;
        let ty = func_type(ty)?;
        let operands = self.stack.peek_n(ty.params().len()).iter().copied();
        let args: Vec<ir::Value> = std::iter::once(vmctx).chain(operands).collect();
        let call = self.builder.ins().call_indirect(signature, code, &args);
        let results = self.builder.inst_results(call).to_vec();
        for (value, ty) in results.iter().zip(ty.results()) {
            self.declare(*value, ty);
        }
        self.builder.ins().return_(&results);
        self.continue_in(wasm);
        Ok(())
    }

    pub(super) fn call_ref(&mut self, type_index: u32, kind: CallKind) -> Result<()> {
        let ty = self.env.module_type(type_index);
        let non_null = self.top_is_non_null();
        let null = (!non_null).then_some(Trap::NullReference);
        let id = self.id.take();
        let reference = self.stack.pop();
        let Some(id) = id else {
            return match kind {
                CallKind::Call => self.call_likely(ty, Likely::Reference(reference), None, |t| {
                    t.call_func_ref(ty, reference, null, kind)
                }),
                CallKind::Tail => self.call_func_ref(ty, reference, null, kind),
            };
        };
        if let Some(null) = null {
            self.builder.ins().trapz(reference, gc_compiler::trap_code(null));
        }
        self.call_likely(ty, Likely::Id(reference), id.field, |t| {
            let func_ref = t.func_ref(id);
            t.call_func_ref(ty, func_ref, null, kind)
        })
    }

    /// Calls a function of type `ty`. Compares it with the functions that a reference of this type
    /// is likely to refer to if it was read from `field`, and calls them directly. Calls others by
    /// `otherwise`, which pops the operands and pushes the results, as this function does.
    fn call_likely(
        &mut self,
        ty: &RegisteredType,
        callee: Likely,
        field: Option<Field>,
        otherwise: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let targets = self.targets.of(ty.index, field);
        if targets.is_empty() {
            return otherwise(self);
        }
        let ty = func_type(ty)?;
        let results = ty.results().len();
        let operands = self.stack.pop_n(ty.params().len());
        let called = self.builder.create_block();
        self.append_params(called, ty.results())?;
        let end = |t: &mut Self| {
            let results: Vec<_> = t.stack.pop_n(results).into_iter().map(Into::into).collect();
            t.builder.ins().jump(called, &results);
        };
        for target in targets {
            let is_target = self.is_function(callee, *target)?;
            let [direct, next] = [(); 2].map(|()| self.builder.create_block());
            self.builder.ins().brif(is_target, direct, &[], next, &[]);
            self.continue_in(direct);
            let target = self.env.function(self.builder.func, *target)?;
            let args: Vec<_> = std::iter::once(self.env.vmctx).chain(operands.clone()).collect();
            self.emit_call(Callee::Direct(target), &args, ty)?;
            end(self);
            self.continue_in(next);
        }
        self.stack.values.extend(operands);
        // All functions of this module have been compared, so what follows is rare.
        let first = self.builder.current_block().into_iter();
        let begin = self.builder.func.dfg.num_blocks() as u32;
        otherwise(self)?;
        let end_of_blocks = self.builder.func.dfg.num_blocks() as u32;
        let others = (begin..end_of_blocks).map(ir::Block::from_u32);
        first.chain(others).for_each(|block| self.builder.set_cold_block(block));
        end(self);
        self.continue_in(called);
        self.stack.values.extend_from_slice(self.builder.block_params(called));
        Ok(())
    }

    /// Whether `callee` is function `index` of this instance.
    fn is_function(&mut self, callee: Likely, index: u32) -> Result<ir::Value> {
        self.ref_func(index)?;
        let own = self.stack.pop();
        let (callee, own) = match callee {
            Likely::Reference(func_ref) => (func_ref, own),
            Likely::Id(id) => {
                let at = self.env.cx.layout.offsets.func_ref_id();
                (id, self.load(types::I32, regions::TYPES, own, at))
            }
        };
        Ok(self.builder.ins().icmp(IntCC::Equal, callee, own))
    }

    pub(super) fn call_indirect(
        &mut self,
        type_index: u32,
        table: u32,
        kind: CallKind,
    ) -> Result<()> {
        let expected = self.env.module_type(type_index);
        let index = self.stack.pop();
        let address = self.table_element(table, index, 8, Trap::TableOutOfBounds);
        let func_ref = self.load(types::I64, env::TABLE_FUNCS, address, 0);
        let otherwise = |t: &mut Self| t.call_element(expected, table, func_ref, kind);
        match kind {
            CallKind::Call => {
                self.call_likely(expected, Likely::Reference(func_ref), None, otherwise)
            }
            CallKind::Tail => otherwise(self),
        }
    }

    /// Calls `func_ref`, an element of a table. Traps unless it is of type `expected`.
    fn call_element(
        &mut self,
        expected: &RegisteredType,
        table: u32,
        func_ref: ir::Value,
        kind: CallKind,
    ) -> Result<()> {
        let element = self.env.cx.info.tables[table as usize].ref_type;
        if self.always_matches(&element, expected) {
            let null = element.nullable.then_some(Trap::IndirectCallToNull);
            return self.call_func_ref(expected, func_ref, null, kind);
        }

        // This is the first access to the reference, so it faults at null.
        let flags = self.func_ref_flags(Some(Trap::IndirectCallToNull));
        let offset = self.env.cx.layout.offsets.func_ref_type().cast_signed();
        let actual = self.builder.ins().load(types::I32, flags, func_ref, offset);
        if expected.sub_type.is_final {
            let expected = self.type_index(expected);
            let other = self.builder.ins().icmp(IntCC::NotEqual, actual, expected);
            self.trap_if(other, Trap::BadSignature);
        } else {
            let target = Some(self.func_ref_type(expected.index));
            let test = FuncRefTest { nullable: false, known_non_null: true, target };
            self.emitter().func_ref_cast(func_ref, &test, Trap::BadSignature);
        }
        self.call_func_ref(expected, func_ref, None, kind)
    }

    /// Whether every function in a table with elements of type `element` is of type `expected`.
    fn always_matches(&self, element: &WasmRefType, expected: &RegisteredType) -> bool {
        match element.heap_type {
            WasmHeapType::ConcreteFunc(edge) => {
                self.env.cx.registry.is_subtype(type_index(edge), expected.index)
            }
            // The table has only null.
            WasmHeapType::NoFunc => true,
            _ => false,
        }
    }

    /// Calls `func_ref`, which is of type `ty`. Traps with `null` if it is null. If `null` is
    /// `None`, the reference is known not to be null.
    fn call_func_ref(
        &mut self,
        ty: &RegisteredType,
        func_ref: ir::Value,
        null: Option<Trap>,
        kind: CallKind,
    ) -> Result<()> {
        let offsets = self.env.cx.layout.offsets;
        let flags = self.func_ref_flags(null);
        let at = offsets.func_ref_code().cast_signed();
        let code = self.builder.ins().load(types::I64, flags, func_ref, at);
        let flags = self.func_ref_flags(None);
        let at = offsets.func_ref_vmctx().cast_signed();
        let vmctx = self.builder.ins().load(types::I64, flags, func_ref, at);
        self.call_code(ty, code, vmctx, kind)
    }

    /// Flags for an access to a function reference. `null` is the trap for a null reference, or
    /// `None` if the reference cannot be null.
    fn func_ref_flags(&mut self, null: Option<Trap>) -> MemFlagsData {
        self.flags(regions::TYPES).with_trap_code(null.map(gc_compiler::trap_code))
    }

    fn call_code(
        &mut self,
        ty: &RegisteredType,
        code: ir::Value,
        vmctx: ir::Value,
        kind: CallKind,
    ) -> Result<()> {
        match kind {
            CallKind::Call => self.env.annotations.leaves_instance = true,
            CallKind::Tail => self.return_from_host(ty, code, vmctx)?,
        }
        let signature = self.env.signature(self.builder.func, ty)?;
        let ty = func_type(ty)?;
        let args = self.call_args(vmctx, ty);
        match kind {
            CallKind::Call => self.emit_call(Callee::Indirect(signature, code), &args, ty)?,
            CallKind::Tail => {
                self.builder.ins().return_call_indirect(signature, code, &args);
                self.stack.set_unreachable();
            }
        }
        Ok(())
    }

    /// Pops the operands of a call. Returns the vmctx followed by them.
    fn call_args(&mut self, vmctx: ir::Value, ty: &WasmFuncType) -> Vec<ir::Value> {
        let operands = self.stack.pop_n(ty.params().len());
        std::iter::once(vmctx).chain(operands).collect()
    }
}
