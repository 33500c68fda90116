//! Safepoints: the places of references while a call may collect.
//!
//! Cranelift's frontend treats every call as a safepoint, spills a reference at its definition and
//! reloads it at each use. [`place_safepoints`] runs over the finished function instead, and knows
//! which calls may collect. References live in values, and so in registers. Before a call that may
//! collect, the references that are live across it are stored to slots, and the call's stack map
//! names the slots. A reference that is already in its slot is not stored again. After the call a
//! reference is reloaded at its next use. Where a path with a spill joins a path without one (for
//! example after the cold path of an inline allocation), the reference is reloaded before the join,
//! so that the other path has no cost.
//!
//! # With a runtime of your own
//!
//! The pass needs only CLIF, and neither a heap nor a collector of this project:
//!
//! 1. Build a function, and [mark](References::mark) its references: `i64` values, of which all
//!    bits are kept. So they may also be native pointers.
//! 2. Call [`place_safepoints`] and say which calls may collect.
//! 3. Compile the function. Cranelift returns the stack maps as
//!    `CompiledCode::buffer.user_stack_maps()`. Each has the return address of a call (in bytes from
//!    the function's start), the size of the caller's frame, and the offsets of the slots. A slot is
//!    at `SP + offset`, where `SP` is the stack pointer of the caller during the call. If frame
//!    pointers are preserved, `SP` is the frame pointer minus the frame's size.
//!
//! A return address without references in its frame has no map. A collector may change the slots
//! that a map names, because the code after the call reads the references from there.
//! [`StackMapTableBuilder`](gc_types::StackMapTableBuilder) makes a table of maps that is small and
//! can be searched.
//!
//! ```
//! use cranelift_codegen::ir::{self, AbiParam, InstBuilder, types};
//! use cranelift_codegen::isa::{self, CallConv};
//! use cranelift_codegen::{Context, control::ControlPlane, settings};
//! use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
//! use gc_compiler::safepoints::{References, place_safepoints};
//!
//! // fn(reference) -> reference. It calls function 1, which may collect.
//! let mut func = ir::Function::new();
//! func.signature = ir::Signature::new(CallConv::Tail);
//! func.signature.params.push(AbiParam::new(types::I64));
//! func.signature.returns.push(AbiParam::new(types::I64));
//! let mut context = FunctionBuilderContext::new();
//! let mut builder = FunctionBuilder::new(&mut func, &mut context);
//! let name = builder.func.declare_imported_user_function(ir::UserExternalName::new(0, 1));
//! let signature = builder.import_signature(ir::Signature::new(CallConv::Tail));
//! let callee = builder.import_function(ir::ExtFuncData {
//!     name: ir::ExternalName::user(name),
//!     signature,
//!     colocated: true,
//!     patchable: false,
//! });
//! let entry = builder.create_block();
//! builder.append_block_params_for_function_params(entry);
//! builder.switch_to_block(entry);
//! let reference = builder.block_params(entry)[0];
//! builder.ins().call(callee, &[]);
//! builder.ins().return_(&[reference]);
//! builder.seal_all_blocks();
//!
//! let mut references = References::default();
//! references.mark(reference);
//! let flags = settings::Flags::new(settings::builder());
//! let isa = isa::lookup_by_name(std::env::consts::ARCH)?.finish(flags)?;
//! builder.finalize(isa.frontend_config());
//! place_safepoints(&mut func, &references, &|_, callee| callee.as_u32() == 0)?;
//!
//! let mut context = Context::for_function(func);
//! let code = context.compile(&*isa, &mut ControlPlane::default()).map_err(|e| e.inner)?;
//! let [(_return_address, _frame_size, map)] = code.buffer.user_stack_maps() else {
//!     panic!("one call")
//! };
//! assert_eq!(map.entries().count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Exceptions
//!
//! A `try_call` that may collect is a safepoint like any other call. It ends its block, so
//! references are reloaded in its successors, which are the normal one and the handlers. A result
//! that is a reference is a parameter of the normal successor. Mark that parameter. The value of an
//! `ExceptionTableItem::Context` must not be a reference. Edges that pass references, or that lead
//! to a block with other predecessors, get their own block (`edges`).
//!
//! A function that returns what function 1 returns, or its own parameter if function 1 throws:
//!
//! ```
//! # use cranelift_codegen::ir::{self, AbiParam, InstBuilder, types};
//! # use cranelift_codegen::isa::{self, CallConv};
//! # use cranelift_codegen::{Context, control::ControlPlane, settings};
//! # use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
//! # use gc_compiler::safepoints::{References, place_safepoints};
//! use cranelift_codegen::ir::{BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem};
//! # let mut func = ir::Function::new();
//! # func.signature = ir::Signature::new(CallConv::Tail);
//! # func.signature.params.push(AbiParam::new(types::I64));
//! # func.signature.returns.push(AbiParam::new(types::I64));
//! # let signature = func.signature.clone();
//! # let mut context = FunctionBuilderContext::new();
//! # let mut builder = FunctionBuilder::new(&mut func, &mut context);
//! # let name = builder.func.declare_imported_user_function(ir::UserExternalName::new(0, 1));
//! # let signature = builder.import_signature(signature);
//! # let callee = builder.import_function(ir::ExtFuncData {
//! #     name: ir::ExternalName::user(name),
//! #     signature,
//! #     colocated: true,
//! #     patchable: false,
//! # });
//! # let entry = builder.create_block();
//! # builder.append_block_params_for_function_params(entry);
//! # builder.switch_to_block(entry);
//! # let reference = builder.block_params(entry)[0];
//!
//! let [returned, thrown] = std::array::from_fn(|_| builder.create_block());
//! let result = builder.append_block_param(returned, types::I64);
//! let pool = &mut builder.func.dfg.value_lists;
//! let normal = BlockCall::new(returned, [BlockArg::TryCallRet(0)], pool);
//! let handler = ExceptionTableItem::Default(BlockCall::new(thrown, [], pool));
//! let table = ExceptionTableData::new(signature, normal, [handler]);
//! let table = builder.func.dfg.exception_tables.push(table);
//! builder.ins().try_call(callee, &[reference], table);
//! builder.switch_to_block(returned);
//! builder.ins().return_(&[result]);
//! builder.switch_to_block(thrown);
//! builder.ins().return_(&[reference]);
//!
//! let mut references = References::default();
//! references.mark(reference);
//! references.mark(result);
//! # builder.seal_all_blocks();
//! # let flags = settings::Flags::new(settings::builder());
//! # let isa = isa::lookup_by_name(std::env::consts::ARCH)?.finish(flags)?;
//! # builder.finalize(isa.frontend_config());
//! place_safepoints(&mut func, &references, &|_, _| true)?;
//!
//! # let mut context = Context::for_function(func);
//! # let code = context.compile(&*isa, &mut ControlPlane::default()).map_err(|e| e.inner)?;
//! // The call has a map with the parameter, and a handler that reads the slot.
//! let (return_address, _, map) = &code.buffer.user_stack_maps()[0];
//! assert_eq!(map.entries().count(), 1);
//! let site = code.buffer.call_sites().next().unwrap();
//! assert_eq!((site.ret_addr, site.exception_handlers.len()), (*return_address, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How
//!
//! There are three steps, each in its own file. `liveness` finds the references that are live
//! across each call. `plan` decides where to store and reload them. `rewrite` inserts the stores
//! and reloads and repairs SSA form. This can make a huge function several times larger, if
//! thousands of references are live across thousands of joins. In that case references are kept in
//! their slots, as in the frontend: they are stored once at the definition and loaded at each use.

mod edges;
mod liveness;
mod plan;
mod references;
mod rewrite;
#[cfg(test)]
mod tests;

pub use references::{Known, KnownType, References};

use crate::regions;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{self, BlockArg, InstructionData, Opcode, Value, types};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// A function whose stack maps would be too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyReferences {
    /// Sum of the numbers of references live at each call and at each block's beginning.
    pub entries: usize,
    /// The maximum of this sum.
    pub limit: usize,
}

impl fmt::Display for TooManyReferences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "function too large: {} references live at its calls and blocks, of at most {}",
            self.entries, self.limit
        )
    }
}

impl std::error::Error for TooManyReferences {}

/// Limits for one function.
#[derive(Clone, Copy)]
struct Limits {
    /// The most parameters and reloads that keeping references in registers may add to a function
    /// with this number of instructions. Later passes take time for each.
    added: fn(usize) -> usize,
    /// The largest sum of references live at the beginnings of blocks with which references are
    /// kept in registers, for a function with this number of instructions. The planning takes time
    /// for each.
    live_in: fn(usize) -> usize,
    /// The most entries of stack maps and live sets.
    entries: usize,
}

/// Stack maps and live sets of this size take about 300 MiB while they are made.
const LIMITS: Limits = Limits {
    added: |instructions| 20_000 + 2 * instructions,
    live_in: |instructions| 400_000 + 8 * instructions,
    entries: 10 << 20,
};

/// A reference's number within the pass.
type Ref = u32;

/// Stores and reloads references around calls that may collect, and attaches stack maps. Call it
/// after `FunctionBuilder::finalize`. No value may have been declared to the frontend's own stack
/// maps.
///
/// `may_collect` returns whether a call through a function reference may lead to a collection.
/// Indirect calls always may. Tail calls are not safepoints, because their frame is gone.
///
/// # Errors
/// If there are too many references live at too many calls.
pub fn place_safepoints(
    func: &mut ir::Function,
    references: &References,
    may_collect: &dyn Fn(&ir::Function, ir::FuncRef) -> bool,
) -> Result<(), TooManyReferences> {
    place(func, references, may_collect, &LIMITS)
}

/// [`place_safepoints`] within other limits.
fn place(
    func: &mut ir::Function,
    references: &References,
    may_collect: &dyn Fn(&ir::Function, ir::FuncRef) -> bool,
    limits: &Limits,
) -> Result<(), TooManyReferences> {
    func.dfg.resolve_all_aliases();
    let is_safepoint = |func: &ir::Function, inst: ir::Inst| match func.dfg.insts[inst] {
        InstructionData::Call { opcode: Opcode::Call, func_ref, .. } => may_collect(func, func_ref),
        InstructionData::TryCall { func_ref, .. } => may_collect(func, func_ref),
        InstructionData::CallIndirect { opcode: Opcode::CallIndirect, .. }
        | InstructionData::TryCallIndirect { .. } => true,
        _ => false,
    };
    let refs = number(func, references);
    if refs.is_empty() {
        return Ok(());
    }
    edges::split(func, &refs, &is_safepoint);
    let cfg = ControlFlowGraph::with_function(func);
    let live = liveness::Liveness::new(func, &cfg, &refs, &is_safepoint, limits.entries)?;
    if live.spilled.is_empty() {
        return Ok(());
    }
    let plan = plan::Plan::new(func, &cfg, &refs, &live, limits);
    rewrite::rewrite(func, &cfg, &refs, &live, &plan);
    Ok(())
}

/// The references of a function, numbered in the order of their values.
#[derive(Debug, Default)]
struct Refs {
    values: Vec<Value>,
    numbers: HashMap<Value, Ref>,
}

impl Refs {
    fn get(&self, value: Value) -> Option<Ref> {
        self.numbers.get(&value).copied()
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The references of a function, numbered.
fn number(func: &ir::Function, marked: &References) -> Refs {
    let mut values: Vec<Value> = all_references(func, marked).into_iter().collect();
    values.sort_unstable();
    let numbers = values.iter().enumerate().map(|(i, value)| (*value, i as Ref)).collect();
    Refs { values, numbers }
}

/// All references: the marked values, and the block parameters and `select`s into which one of them
/// flows. Constants are left out.
pub(crate) fn all_references(func: &ir::Function, marked: &References) -> HashSet<Value> {
    let dfg = &func.dfg;
    let mut flows: HashMap<Value, Vec<Value>> = HashMap::new();
    let mut present: HashSet<Value> = HashSet::new();
    for block in func.layout.blocks() {
        present.extend(dfg.block_params(block));
        for inst in func.layout.block_insts(block) {
            present.extend(dfg.inst_results(inst));
            if dfg.insts[inst].opcode() == Opcode::Select {
                for arg in &dfg.inst_args(inst)[1..] {
                    flows.entry(*arg).or_default().push(dfg.first_result(inst));
                }
            }
            let data = &dfg.insts[inst];
            for call in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
                let params = dfg.block_params(call.block(&dfg.value_lists));
                for (arg, param) in call.args(&dfg.value_lists).zip(params) {
                    if let BlockArg::Value(arg) = arg {
                        flows.entry(arg).or_default().push(*param);
                    }
                }
            }
        }
    }
    let mut found: HashSet<Value> = HashSet::new();
    let mut work: Vec<Value> = marked.values().map(|value| dfg.resolve_aliases(value)).collect();
    while let Some(value) = work.pop() {
        if !present.contains(&value) || is_constant(func, value) || !found.insert(value) {
            continue;
        }
        debug_assert_eq!(dfg.value_type(value), types::I64, "a reference that is no i64");
        work.extend(flows.get(&value).into_iter().flatten().copied());
    }
    found
}

/// Constant references (null and unboxed integers) need no slot.
fn is_constant(func: &ir::Function, value: Value) -> bool {
    match func.dfg.value_def(value) {
        ir::ValueDef::Result(inst, _) => func.dfg.insts[inst].opcode() == Opcode::Iconst,
        _ => false,
    }
}

/// The most regions for slots. A function can have at most 2^16 combinations of memory flags.
const MAX_SLOT_REGIONS: usize = 4096;

/// The fewest regions for slots, if there are as many slots.
const MIN_SLOT_REGIONS: usize = 64;

/// The largest product of regions for slots and instructions. Cranelift's alias analysis visits all
/// regions at each call, at each instruction that may trap, and at each block. With a region for each of
/// 1,700 slots it took 5 s.
const SLOT_REGIONS_AND_INSTRUCTIONS: usize = 4 << 20;

/// The number of regions for the slots of a function with this number of instructions.
fn slot_regions(instructions: usize) -> u32 {
    let regions = SLOT_REGIONS_AND_INSTRUCTIONS / instructions.max(1);
    regions.clamp(MIN_SLOT_REGIONS, MAX_SLOT_REGIONS) as u32
}

/// The alias region of the slot at `offset`. The last of the `regions` is that of all further slots.
fn slot_region(func: &mut ir::Function, offset: u32, regions: u32) -> ir::AliasRegion {
    let n = (offset / 8).min(regions);
    regions::intern(func, regions::STACK_MAP_SPILL + n)
}
