//! Translates one function from operators to CLIF, and validates it at the same time.
//!
//! A single loop reads an operator, validates it, and emits its code at the builder's position.
//! Nesting is tracked on the [`Stack`], not by recursion. Static types come from the validator,
//! because it has the exact type of every operand. Labels and locals may have only a supertype.

use super::env::{self, FuncEnv, func_type};
use super::ops::FunctionId;
use super::signature::{V128, clif_signature, clif_type};
use super::stack::{Frame, FrameKind, Stack};
use super::targets::Targets;
use super::{CompileContext, legacy_clauses, metering, ops};
use crate::module::branch_hints::BranchHint;
use crate::module::mismatch;
use crate::module::parse::Body;
use anyhow::{Result, anyhow, bail};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use gc_compiler::regions::Region;
use gc_compiler::{Annotations, BuiltFunction, GcEmitter, Meter};
use gc_types::Trap;
use std::collections::HashMap;
use wasmparser::{FuncValidator, FuncValidatorAllocations, Operator, ValType, ValidatorResources};
use wasmtime_types::{TypeConvert, WasmValType};

/// Allocations that are reused from one function to the next.
#[derive(Default)]
pub(super) struct Allocations {
    builder: FunctionBuilderContext,
    validator: FuncValidatorAllocations,
    stack: Stack,
}

/// A local: a variable of the frontend, and its known value.
///
/// The frontend finds a variable's value by walking back through the blocks, and leaves a note in
/// each. There are many blocks, because an operator may emit several. With thousands of locals in a
/// function of thousands of operators this would take quadratic time. So values are also recorded
/// here while their definition dominates the emitted code, which means until control joins at a
/// label.
pub(super) struct Local {
    variable: Variable,
    value: ir::Value,
    /// `value` is valid while [`Translator::joins`] has this value.
    known_at: u32,
    /// The frontend has memory for its notes for blocks below this number.
    noted: u32,
    /// The number of the outermost loop in which it was last read.
    read_in: u32,
}

/// The maximum number of notes of the frontend, of four bytes each. There is one for each local and
/// each block up to the last block that uses the local.
const MAX_NOTES: u64 = 1 << 26;

/// Branch hints are honoured in bodies of at most this number of bytes.
///
/// The block of an unlikely branch comes after the code that follows the branch. The single-pass
/// register allocator takes values that are live into it for live in all blocks between, so the
/// time would be quadratic.
const HINTED_BYTES: usize = 32 << 10;

/// The maximum number of operands that are passed to labels of a function, summed over its
/// branches.
const MAX_OPERANDS: usize = 1 << 20;

/// The number of loops in each other that makes chains of aliases too long to follow at each end of one.
const DEEP_NEST: u32 = 64;

/// The maximum number of loops that are nested in each other. When a loop ends, the frontend looks
/// through those in it for the value of a local.
const MAX_NESTED_LOOPS: u32 = 50_000;

/// After how many operators the translation looks whether it is to go on.
const OPERATORS: u32 = 1024;

/// The maximum size of a function: the sum of its instructions, its values, and a quarter of its
/// arguments. A function of this size takes some seconds and 1 GiB to compile.
const MAX_SIZE: usize = 1 << 24;

/// The translation of one function.
pub(super) struct Translator<'a, 'b> {
    pub(super) builder: FunctionBuilder<'b>,
    pub(super) env: FuncEnv<'a>,
    /// Which functions references are likely to refer to.
    pub(super) targets: &'a Targets,
    pub(super) stack: Stack,
    pub(super) validator: FuncValidator<ValidatorResources>,
    /// The locals, parameters first.
    pub(super) locals: Vec<Local>,
    /// Number of joins of control so far; see [`Local`].
    pub(super) joins: u32,
    /// The sum of [`Local::noted`].
    notes: u64,
    /// Operands passed to labels so far.
    operands: usize,
    /// Number of loops around the current operator.
    loops: u32,
    /// Number of outermost loops so far.
    outermost_loops: u32,
    /// Number of loops left, in a deep nest, since chains of aliases were made short.
    aliased_loops: usize,
    /// Locals read in the outermost loop. The frontend leaves notes of them at a loop's end.
    read_in_loop: Vec<u32>,
    /// Type of the uppermost operand before the current operator.
    pub(super) top: Option<ValType>,
    /// The uppermost operand, if it is the id of a function that the operator before has read from
    /// the heap. All operators but `call_ref` get the function reference itself.
    pub(super) id: Option<FunctionId>,
    /// The offset of the current operator.
    pub(super) offset: usize,
    /// The offset of the function's body.
    pub(super) body_start: usize,
    /// What the module says of the function's branches.
    pub(super) hints: &'a [BranchHint],
    /// The clauses of each legacy `try`, by its offset, from the first one on.
    pub(super) legacy: HashMap<usize, legacy_clauses::Clauses>,
    /// Counts what the function does, if that is asked for.
    pub(super) meter: Meter,
    /// What the operator costs for each element of an array.
    pub(super) per_part: u32,
}

/// Validates `body` and emits its CLIF into `func`, which must be empty and whose memory is used. Calls
/// through references compare these with `targets` first.
///
/// # Errors
/// If the body is malformed or invalid (with the offset in bytes), or uses an unsupported feature.
pub(super) fn translate(
    cx: &CompileContext<'_>,
    targets: &Targets,
    body: Body<'_>,
    mut func: ir::Function,
    allocations: &mut Allocations,
) -> Result<BuiltFunction> {
    let ty = func_type(cx.info.types.registered(cx.info.funcs[body.index as usize].ty))?;
    func.name = ir::UserFuncName::user(gc_compiler::FUNCTION_NAMESPACE, body.index);
    func.signature = clif_signature(ty);

    let mut builder = FunctionBuilder::new(&mut func, &mut allocations.builder);
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
        targets,
        stack,
        validator: body.validator.into_validator(std::mem::take(&mut allocations.validator)),
        locals: Vec::new(),
        joins: 0,
        notes: 0,
        operands: 0,
        loops: 0,
        outermost_loops: 0,
        aliased_loops: 0,
        read_in_loop: Vec::new(),
        top: None,
        id: None,
        offset: 0,
        body_start: body.body.range().start,
        hints: if body.body.range().len() <= HINTED_BYTES {
            cx.info.branch_hints.of(body.index)
        } else {
            &[]
        },
        legacy: HashMap::new(),
        meter: metering::meter(cx.abi),
        per_part: 0,
    };
    if let Err(error) = translator.body(&body.body, entry, ty) {
        return Err(mismatch::explain(error, &translator.validator, &body.body, cx.info));
    }

    let Translator { builder, env, stack, validator, .. } = translator;
    builder.finalize(cx.compiler.isa().frontend_config());
    let types = if cx.check { Some(env.types(&func, ty)?) } else { None };
    allocations.stack = stack;
    allocations.validator = validator.into_allocations();
    Ok(BuiltFunction::new(func, Annotations { types, ..env.annotations }))
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
            self.declare(value, param);
            self.declare_local(param, value)?;
        }
        let mut locals = body.get_locals_reader()?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, ty) = locals.read()?;
            self.validator.define_locals(offset, count, ty)?;
            let ty = self.val_type(ty)?;
            // A local without a default is set before it is read, so its zero is never read.
            // References and numbers must not share a zero, because every value of a local of a
            // reference type becomes a root.
            let zero = self.zero(&ty);
            for _ in 0..count {
                self.declare_local(&ty, zero)?;
            }
        }

        let exit = self.builder.create_block();
        self.append_params(exit, ty.results())?;
        self.stack.frames.push(Frame {
            kind: FrameKind::Function,
            label: exit,
            unmade: None,
            label_arity: ty.results().len(),
            height: 0,
            branched: false,
        });

        let mut operators = body.get_operators_reader()?;
        self.meter_entry(operators.original_position());
        let mut left = OPERATORS;
        while !operators.eof() {
            left -= 1;
            if left == 0 {
                self.env.cx.compilation.check()?;
                left = OPERATORS;
            }
            let (op, offset) = operators.read_with_offset()?;
            self.top = self.validator.get_operand_type(0).flatten();
            self.validator.op(offset, &op)?;
            self.offset = offset;
            if matches!(op, Operator::Try { .. }) && self.legacy.is_empty() {
                self.legacy = legacy_clauses::clauses(body);
            }
            if !matches!(op, Operator::CallRef { .. }) {
                self.resolve_id();
            }
            self.builder.set_srcloc(self.env.cx.location(offset));
            if self.stack.reachable() {
                self.meter_operator(&op);
                ops::operator(self, &op)?;
            } else {
                ops::unreachable_operator(self, &op)?;
            }
            self.check_size()?;
        }
        operators.finish()?;
        Ok(())
    }

    fn declare_local(&mut self, ty: &WasmValType, value: ir::Value) -> Result<()> {
        let variable = self.builder.declare_var(clif_type(ty));
        self.locals.push(Local { variable, value, known_at: self.joins, noted: 0, read_in: 0 });
        self.set_local(self.locals.len() as u32 - 1, value)
    }

    /// The value of local `index`.
    ///
    /// # Errors
    /// As [`Translator::set_local`].
    pub(super) fn local(&mut self, index: u32) -> Result<ir::Value> {
        if self.locals[index as usize].known_at != self.joins {
            self.note(index)?;
            let local = &mut self.locals[index as usize];
            local.value = self.builder.use_var(local.variable);
            local.known_at = self.joins;
            let (depth, outermost) = (self.loops, self.outermost_loops);
            if depth > 0 && local.read_in != outermost {
                local.read_in = outermost;
                self.read_in_loop.push(index);
            }
        }
        Ok(self.locals[index as usize].value)
    }

    /// Sets local `index` to `value`.
    ///
    /// # Errors
    /// If there are too many locals in too many blocks.
    pub(super) fn set_local(&mut self, index: u32, value: ir::Value) -> Result<()> {
        self.note(index)?;
        let local = &mut self.locals[index as usize];
        self.builder.def_var(local.variable, value);
        local.value = value;
        local.known_at = self.joins;
        Ok(())
    }

    /// Counts the frontend's notes of local `index`.
    fn note(&mut self, index: u32) -> Result<()> {
        let blocks = self.builder.func.dfg.num_blocks() as u32;
        let local = &mut self.locals[index as usize];
        self.notes += u64::from(blocks.saturating_sub(local.noted));
        local.noted = local.noted.max(blocks);
        self.check_notes(self.notes)
    }

    fn check_notes(&self, notes: u64) -> Result<()> {
        if notes > MAX_NOTES {
            let (locals, blocks) = (self.locals.len(), self.builder.func.dfg.num_blocks());
            bail!("function too large: its {locals} locals are used across {blocks} blocks");
        }
        Ok(())
    }

    /// Counts operands that are passed to labels, or kept for the other arm of an `if`.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn count_operands(&mut self, count: usize) -> Result<()> {
        self.operands += count;
        if self.operands > MAX_OPERANDS {
            bail!(
                "function too large: its branches, blocks and handlers have {} operands",
                self.operands
            );
        }
        Ok(())
    }

    /// Checks the function's size, because a short operator may become many instructions and
    /// values.
    fn check_size(&self) -> Result<()> {
        let dfg = &self.builder.func.dfg;
        let size = dfg.num_insts() + dfg.num_values() + dfg.value_lists.capacity() / 4;
        if size > MAX_SIZE {
            bail!(
                "function too large: {} instructions and {} values of intermediate code",
                dfg.num_insts(),
                dfg.num_values()
            );
        }
        Ok(())
    }

    /// Enters a loop, whose head is not sealed yet.
    pub(super) fn enter_loop(&mut self) {
        self.join();
        if self.loops == 0 {
            self.outermost_loops += 1;
        }
        self.loops += 1;
    }

    /// Leaves a loop and seals its head. To seal it, the frontend looks up the values that all
    /// locals read in the loop have at the loop's end.
    pub(super) fn leave_loop(&mut self, head: ir::Block) -> Result<()> {
        if self.loops > MAX_NESTED_LOOPS {
            bail!("function too large: {} loops in each other", self.loops);
        }
        let blocks = self.builder.func.dfg.num_blocks() as u64;
        self.check_notes(self.notes + self.read_in_loop.len() as u64 * blocks)?;
        self.builder.seal_block(head);
        self.loops -= 1;
        self.shorten_aliases();
        if self.loops == 0 {
            for index in std::mem::take(&mut self.read_in_loop) {
                self.note(index)?;
            }
        }
        Ok(())
    }

    /// Keeps chains of aliases short. The frontend makes the value of a local in a loop an alias of its
    /// value in the loop around, one after the other, and follows the whole chain at each end of a loop.
    fn shorten_aliases(&mut self) {
        let dfg = &mut self.builder.func.dfg;
        self.aliased_loops += usize::from(self.loops >= DEEP_NEST);
        // This looks at all values, so it waits until a chain may be as long as the square root of their
        // number.
        if self.aliased_loops.saturating_mul(self.aliased_loops) <= dfg.num_values() {
            return;
        }
        self.aliased_loops = 0;
        let aliases: Vec<_> = dfg
            .values()
            .filter(|value| dfg.value_alias_dest_for_serialization(*value).is_some())
            .collect();
        for mut value in aliases {
            let original = dfg.resolve_aliases(value);
            while let Some(next) = dfg.value_alias_dest_for_serialization(value)
                && next != original
            {
                dfg.change_to_alias(value, original);
                value = next;
            }
        }
    }

    /// Records a join. Call this where the next code is not dominated by all earlier code.
    pub(super) fn join(&mut self) {
        self.joins += 1;
    }

    fn zero(&mut self, ty: &WasmValType) -> ir::Value {
        match clif_type(ty) {
            types::F32 => self.builder.ins().f32const(0.0),
            types::F64 => self.builder.ins().f64const(0.0),
            V128 => self.vector(V128, [0; 16]),
            ty => self.builder.ins().iconst(ty, 0),
        }
    }

    /// A constant vector with these bytes, of the vector type `ty`.
    pub(super) fn vector(&mut self, ty: ir::Type, bytes: [u8; 16]) -> ir::Value {
        let bytes = self.builder.func.dfg.constants.insert(bytes.as_slice().into());
        self.builder.ins().vconst(ty, bytes)
    }

    /// The emitter for objects, references and host calls.
    pub(super) fn emitter(&mut self) -> GcEmitter<'_, 'b> {
        let gc = self.env.cx.gc;
        GcEmitter::new(&mut self.builder, &mut self.env, gc)
    }

    /// An emitter for the operator if it works on many elements of arrays, which are metered.
    pub(super) fn metered_emitter(&mut self) -> GcEmitter<'_, 'b> {
        let gc = self.env.cx.gc;
        let emitter = GcEmitter::new(&mut self.builder, &mut self.env, gc);
        emitter.metered(&mut self.meter, self.per_part)
    }

    /// Converts a type of an operator.
    pub(super) fn val_type(&self, ty: ValType) -> Result<WasmValType> {
        self.env.cx.info.types.convert_valtype(ty).map_err(|e| anyhow!("{e}"))
    }

    /// Gives `block` a parameter for each of `types`.
    pub(super) fn append_params(&mut self, block: ir::Block, types: &[WasmValType]) -> Result<()> {
        self.count_operands(types.len())?;
        for ty in types {
            let param = self.builder.append_block_param(block, clif_type(ty));
            self.declare(param, ty);
        }
        Ok(())
    }

    /// Declares that `value` needs a stack map if `ty` is a root's type.
    pub(super) fn declare(&mut self, value: ir::Value, ty: &WasmValType) {
        let WasmValType::Ref(ty) = ty else { return };
        if ty.is_vmgcref_type() {
            let known = self.env.known(ty);
            self.env.annotations.references.mark_known(value, known);
        }
    }

    /// Flags for an access in `region` that is aligned and cannot fault.
    pub(super) fn flags(&mut self, region: Region) -> MemFlagsData {
        let region = env::intern(self.builder.func, region);
        MemFlagsData::trusted().with_alias_region(Some(region))
    }

    /// Loads from `address` plus a constant. The access cannot fault.
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

    /// A word of the vmctx's imports, which never changes while code runs. It may be loaded once for
    /// several uses, and before a loop.
    pub(super) fn load_import(&mut self, offset: u32) -> ir::Value {
        let flags = self.flags(env::IMPORTS).with_readonly().with_can_move();
        let vmctx = self.env.vmctx;
        self.builder.ins().load(types::I64, flags, vmctx, offset.cast_signed())
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
