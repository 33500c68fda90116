//! Locals, globals and `select`.

use crate::compile::env;
use crate::compile::signature::clif_type;
use crate::compile::translate::Translator;
use crate::vm::layout::DefinitionPlace;
use anyhow::Result;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_compiler::RefPlace;
use gc_compiler::regions::Region;
use gc_types::RootKind;
use wasmtime_types::{Global, WasmValType};

impl Translator<'_, '_> {
    pub(super) fn local_get(&mut self, index: u32) -> Result<()> {
        let value = self.local(index)?;
        self.stack.push(value);
        Ok(())
    }

    /// `select`. `ty` is `None` for an untyped `select`, whose operands are numbers.
    pub(super) fn select(&mut self, ty: Option<&WasmValType>) {
        let (yes, no, condition) = self.stack.pop3();
        let value = self.builder.ins().select(condition, yes, no);
        if let Some(ty) = ty {
            self.declare(value, ty);
        }
        self.stack.push(value);
    }

    /// The place of global `index`: an address, an offset in bytes, its alias region.
    fn global_place(&mut self, index: u32) -> (ir::Value, u32, Region) {
        let vmctx = self.env.vmctx;
        let (address, offset) = match self.env.cx.layout.global(index) {
            DefinitionPlace::Inline(offset) => (vmctx, offset),
            DefinitionPlace::Indirect(offset) => {
                (self.load(types::I64, env::IMPORTS, vmctx, offset), 0)
            }
        };
        let region = env::global(self.env.cx.info, index);
        env::intern(self.builder.func, region);
        (address, offset, region)
    }

    pub(super) fn global_get(&mut self, index: u32) -> Result<()> {
        let Global { wasm_ty: ty, mutability } = self.env.cx.info.globals[index as usize];
        let (address, offset, region) = self.global_place(index);
        let value = if ty.is_vmgcref_type() {
            let offset = offset.cast_signed();
            let kind = if mutability { RootKind::Global } else { RootKind::Constant };
            let place = RefPlace::Native { address, offset, region, kind };
            self.emitter().read_ref(place)
        } else {
            self.load(clif_type(&ty), region, address, offset)
        };
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn global_set(&mut self, index: u32) -> Result<()> {
        let ty = self.env.cx.info.globals[index as usize].wasm_ty;
        let value = self.stack.pop();
        let (address, offset, region) = self.global_place(index);
        let offset = offset.cast_signed();
        if ty.is_vmgcref_type() {
            let place = RefPlace::Native { address, offset, region, kind: RootKind::Global };
            self.emitter().write_ref(place, value);
        } else {
            let flags = self.flags(region);
            self.builder.ins().store(flags, value, address, offset);
        }
        Ok(())
    }
}
