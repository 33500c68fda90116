//! One function: from operators to CLIF, validating on the way.
//!
//! A single loop reads an operator, validates it, and emits what it stands for at
//! the builder's position; nesting lives on the [`Stack`], not on this compiler's
//! own. Static types come from the validator, which has the exact type of every
//! operand where a label or a local has only a supertype.

use super::env::{self, FuncEnv, func_type};
use super::signature::{clif_signature, clif_type};
use super::stack::{Frame, FrameKind, Stack};
use super::{CompileContext, ops};
use crate::host_calls;
use crate::module::parse::Body;
use crate::vmctx::Place;
use anyhow::{Result, anyhow};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use gc_compiler::regions::{self, Region};
use gc_compiler::safepoints::place_safepoints;
use gc_compiler::{GcCompiler, GcEmitter};
use gc_types::Trap;
use wasmparser::{FuncValidator, FuncValidatorAllocations, ValType, ValidatorResources};
use wasmtime_types::{TypeConvert, WasmValType};

/// What is kept from one function's translation for the next one's.
#[derive(Default)]
pub(super) struct Allocations {
    builder: FunctionBuilderContext,
    validator: FuncValidatorAllocations,
    stack: Stack,
}

/// A function under way.
pub(super) struct Translator<'a, 'b> {
    pub(super) builder: FunctionBuilder<'b>,
    pub(super) env: FuncEnv<'a>,
    pub(super) stack: Stack,
    pub(super) validator: FuncValidator<ValidatorResources>,
    /// The locals' variables, parameters first.
    pub(super) locals: Vec<Variable>,
    /// Type of the uppermost operand before the operator under way.
    pub(super) top: Option<ValType>,
}

/// Validates `body` and emits its CLIF into `func`, which must be empty.
///
/// # Errors
/// If the body is malformed or invalid (with the offset in bytes), or uses what is
/// not supported.
pub(super) fn translate(
    cx: &CompileContext<'_>,
    body: Body<'_>,
    func: &mut ir::Function,
    allocations: &mut Allocations,
) -> Result<()> {
    let ty = cx.registry.get(cx.info.funcs[body.index as usize].ty);
    let ty = func_type(&ty)?;
    func.name = ir::UserFuncName::user(gc_jit::FUNCTION_NAMESPACE, body.index);
    func.signature = clif_signature(ty)?;
    gc_jit::set_stack_limit(func, &cx.options.offsets)?;

    let mut builder = FunctionBuilder::new(func, &mut allocations.builder);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let vmctx = builder.block_params(entry)[0];
    let mut stack = std::mem::take(&mut allocations.stack);
    stack.clear();
    let mut translator = Translator {
        builder,
        env: FuncEnv::new(cx, vmctx),
        stack,
        validator: body.validator.into_validator(std::mem::take(&mut allocations.validator)),
        locals: Vec::new(),
        top: None,
    };
    translator.body(&body.body, entry, ty)?;

    let Translator { builder, env, stack, validator, .. } = translator;
    prologue(builder.func, entry, &env);
    builder.finalize(cx.jit.isa().frontend_config());
    place_safepoints(func, &env.references, &|func, callee| {
        gc_jit::imported_host_call(func, callee).is_none_or(host_calls::may_collect)
    })?;
    allocations.stack = stack;
    allocations.validator = validator.into_allocations();
    Ok(())
}

/// Emits into the entry block what only the whole body tells to be of use.
///
/// The bases of heap and memory are loaded there once more: these loads reach into
/// loops without calls, whose own are then redundant. Where nothing can use them
/// they are dropped.
fn prologue(func: &mut ir::Function, entry: ir::Block, env: &FuncEnv<'_>) {
    let slot = env.leaves_instance.then(|| gc_jit::declare_vmctx_slot(func));
    let region = |func: &mut ir::Function, region| {
        MemFlagsData::trusted().with_alias_region(Some(env::intern(func, region)))
    };
    let layout = env.cx.layout;
    let vmctx = env.vmctx;
    if env.uses_heap {
        let flags = region(func, regions::VMCTX);
        let offset = layout.offsets.vmctx_heap_base().cast_signed();
        let mut cursor = FuncCursor::new(func).at_first_insertion_point(entry);
        cursor.ins().load(types::I64, flags, vmctx, offset);
    }
    if env.uses_memory {
        let imports = region(func, env::IMPORTS);
        let definition = region(func, env::MEMORY_DEFINITION);
        let base = layout.definition_base().cast_signed();
        let mut cursor = FuncCursor::new(func).at_first_insertion_point(entry);
        let (place, offset) = match layout.memory(0) {
            Place::Inline(offset) => (vmctx, offset.cast_signed()),
            Place::Indirect(offset) => {
                (cursor.ins().load(types::I64, imports, vmctx, offset.cast_signed()), 0)
            }
        };
        cursor.ins().load(types::I64, definition, place, offset + base);
    }
    if let Some(slot) = slot {
        let flags = region(func, env::VMCTX_SLOT);
        let mut cursor = FuncCursor::new(func).at_first_insertion_point(entry);
        let address = cursor.ins().stack_addr(types::I64, slot, 0);
        cursor.ins().store(flags, vmctx, address, 0);
    }
}

impl<'a, 'b> Translator<'a, 'b> {
    fn body(
        &mut self,
        body: &wasmparser::FunctionBody<'_>,
        entry: ir::Block,
        ty: &wasmtime_types::WasmFuncType,
    ) -> Result<()> {
        for (i, param) in ty.params().iter().enumerate() {
            let value = self.builder.block_params(entry)[1 + i];
            let local = self.declare_local(param)?;
            self.declare(value, param);
            self.builder.def_var(local, value);
        }
        let mut locals = body.get_locals_reader()?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, ty) = locals.read()?;
            self.validator.define_locals(offset, count, ty)?;
            let ty = self.val_type(ty)?;
            // A local that is not defaultable is set before it is read, so its
            // zero is never seen. References and numbers must not share one:
            // whatever a local of a reference type holds becomes a root.
            let zero = self.zero(&ty)?;
            for _ in 0..count {
                let local = self.declare_local(&ty)?;
                self.builder.def_var(local, zero);
            }
        }

        let exit = self.builder.create_block();
        self.append_params(exit, ty.results())?;
        self.stack.frames.push(Frame {
            kind: FrameKind::Function,
            label: exit,
            label_arity: ty.results().len(),
            height: 0,
            branched: false,
        });

        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let (op, offset) = operators.read_with_offset()?;
            self.top = self.validator.get_operand_type(0).flatten();
            self.validator.op(offset, &op)?;
            self.builder.set_srcloc(ir::SourceLoc::new(offset as u32));
            if self.stack.reachable() {
                ops::operator(self, &op)?;
            } else {
                ops::unreachable_operator(self, &op)?;
            }
        }
        operators.finish()?;
        Ok(())
    }

    fn declare_local(&mut self, ty: &WasmValType) -> Result<Variable> {
        let local = self.builder.declare_var(clif_type(ty)?);
        self.locals.push(local);
        Ok(local)
    }

    fn zero(&mut self, ty: &WasmValType) -> Result<ir::Value> {
        Ok(match clif_type(ty)? {
            types::F32 => self.builder.ins().f32const(0.0),
            types::F64 => self.builder.ins().f64const(0.0),
            ty => self.builder.ins().iconst(ty, 0),
        })
    }

    /// The collector, to emit an access to the heap with.
    pub(super) fn gc(&mut self) -> &'a dyn GcCompiler {
        self.env.uses_heap = true;
        self.env.cx.gc
    }

    /// What collectors emit with.
    pub(super) fn emitter(&mut self) -> GcEmitter<'_, 'b> {
        GcEmitter::new(&mut self.builder, &mut self.env)
    }

    /// A type as it stands in an operator.
    pub(super) fn val_type(&self, ty: ValType) -> Result<WasmValType> {
        self.env.cx.info.types.convert_valtype(ty).map_err(|e| anyhow!("{e}"))
    }

    /// Gives `block` a parameter for each of `types`.
    pub(super) fn append_params(&mut self, block: ir::Block, types: &[WasmValType]) -> Result<()> {
        for ty in types {
            let param = self.builder.append_block_param(block, clif_type(ty)?);
            self.declare(param, ty);
        }
        Ok(())
    }

    /// Declares that `value` needs a stack map if `ty` is a root's type.
    pub(super) fn declare(&mut self, value: ir::Value, ty: &WasmValType) {
        if ty.is_vmgcref_type() {
            self.env.references.mark(value);
        }
    }

    /// Flags for an access in `region` that is aligned and cannot fault.
    pub(super) fn flags(&mut self, region: Region) -> MemFlagsData {
        let region = env::intern(self.builder.func, region);
        MemFlagsData::trusted().with_alias_region(Some(region))
    }

    /// Loads from `address` plus a constant, where an access cannot fault.
    pub(super) fn load(
        &mut self,
        ty: ir::Type,
        region: Region,
        address: ir::Value,
        offset: u32,
    ) -> ir::Value {
        let flags = self.flags(region);
        self.builder.ins().load(ty, flags, address, offset.cast_signed())
    }

    /// Traps with `trap` if `condition` is not zero.
    pub(super) fn trap_if(&mut self, condition: ir::Value, trap: Trap) {
        self.builder.ins().trapnz(condition, gc_compiler::trap_code(trap));
    }

    /// Continues in `block`, all of whose predecessors have been emitted.
    pub(super) fn continue_in(&mut self, block: ir::Block) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
    }
}
