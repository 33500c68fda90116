//! Carries over what belongs to an inlined body. [`annotate`] walks the callee and its copy side by
//! side.

use super::Candidate;
use super::locations::InlinedCalls;
use crate::annotations::Annotations;
use crate::driver::imported_host_call;
use anyhow::{Context as _, Result, ensure};
use cranelift_codegen::entity::{EntityRef as _, SecondaryMap};
use cranelift_codegen::ir::{
    self, Block, ExternalName, GlobalValue, GlobalValueData, Inst, InstructionData, Opcode, Value,
};
use cranelift_codegen::traversals::Dfs;
use gc_types::{HostCall, InlinedCall};
use std::collections::HashMap;

/// A body that Cranelift copies, as it is when the copy begins.
pub(super) struct Copy<'a> {
    callee: &'a Candidate,
    pub(super) call: InlinedCall,
    /// The source location of the call.
    location: ir::SourceLoc,
    /// The callee's entities have these numbers plus their own in the caller.
    blocks: usize,
    signatures: usize,
    global_values: usize,
}

impl<'a> Copy<'a> {
    /// The copy of function `function`, which `caller`, into which `calls` were inlined, calls at `inst`.
    pub(super) fn new(
        caller: &ir::Function,
        calls: &InlinedCalls,
        inst: Inst,
        function: u32,
        callee: &'a Candidate,
    ) -> Copy<'a> {
        let (location, of) = calls.place_of(caller, inst);
        let tail = caller.dfg.insts[inst].opcode().is_return();
        Copy {
            callee,
            call: InlinedCall { function, location, caller: of, tail },
            location: caller.srcloc(inst),
            blocks: caller.dfg.num_blocks(),
            signatures: caller.dfg.signatures.len(),
            global_values: caller.global_values.len(),
        }
    }

    /// Gives the copies of symbols the names that they have in the callee. Cranelift copies the numbers
    /// of the names, which stand for other names in the caller.
    fn name_symbols(&self, func: &mut ir::Function) {
        for (value, data) in &self.callee.func.global_values {
            if let GlobalValueData::Symbol { name: ExternalName::User(name), .. } = data {
                let name = self.callee.func.params.user_named_funcs()[*name].clone();
                let own = func.declare_imported_user_function(name);
                let copy = GlobalValue::from_u32((self.global_values + value.index()) as u32);
                let mut named = data.clone();
                if let GlobalValueData::Symbol { name, .. } = &mut named {
                    *name = ExternalName::user(own);
                }
                func.global_values[copy] = named;
            }
        }
    }

    /// The copy of a block of the callee.
    fn block(&self, block: Block) -> Block {
        Block::from_u32(self.blocks as u32 + block.as_u32())
    }
}

/// Marks the references of the copied values, sets the source locations of the copied instructions,
/// declares their types, and takes the handlers from calls that cannot throw.
///
/// # Errors
/// If the copy does not look as the callee: Cranelift's inliner is not the one that this file was
/// written for.
pub(super) fn annotate(
    func: &mut ir::Function,
    annotations: &mut Annotations,
    copy: &Copy<'_>,
    may_throw: fn(HostCall) -> bool,
) -> Result<()> {
    let Candidate { func: callee, annotations: own, .. } = copy.callee;
    let mut added = annotations.inlined.add(copy.call, callee, &own.inlined);
    let mut copies: SecondaryMap<Value, Option<Value>> = SecondaryMap::new();
    // Of the instructions only those of allocations are looked up.
    let mut inst_copies: HashMap<Inst, Option<Inst>> = own
        .allocations
        .iter()
        .flat_map(|site| [(site.branch, None), (site.moves_cursor, None)])
        .collect();
    let entry = callee.layout.entry_block();
    for block in Dfs::new().pre_order_iter(callee) {
        // The arguments of the call replace the parameters of the entry.
        if Some(block) != entry {
            let params = callee.dfg.block_params(block);
            let copied = func.dfg.block_params(copy.block(block));
            pair(&mut copies, params, copied)?;
        }
        let mut next = func.layout.first_inst(copy.block(block));
        for inst in callee.layout.block_insts(block) {
            let copied = next.context(DIFFERS)?;
            match callee.dfg.insts[inst].opcode() {
                // The callee would be gone during its tail call, which returns to the caller.
                Opcode::ReturnCall | Opcode::ReturnCallIndirect if !copy.call.tail => {
                    func.set_srcloc(copied, copy.location);
                }
                _ => added.copy_location(&mut annotations.inlined, func, copied, inst),
            }
            if let Some(copy) = inst_copies.get_mut(&inst) {
                *copy = Some(copied);
            }
            let split = check_pair(callee, inst, func, copied)?;
            let results = callee.dfg.inst_results(inst);
            next = match split {
                // The call has got handlers, and its results are parameters of the next block.
                Some(after) => {
                    pair(&mut copies, results, func.dfg.block_params(after))?;
                    let first = func.layout.first_inst(after);
                    if cannot_throw(func, copied, may_throw) {
                        take_handlers(func, copied, after);
                    }
                    first
                }
                None => {
                    pair(&mut copies, results, func.dfg.inst_results(copied))?;
                    func.layout.next_inst(copied)
                }
            };
        }
    }
    copy.name_symbols(func);
    for (value, copied) in copies.iter() {
        if let Some(copied) = copied.filter(|_| own.references.contains(value)) {
            annotations.references.mark_known(copied, own.references.known(value));
        }
    }
    for site in own.allocations.iter() {
        let inst = |inst| inst_copies.get(&inst).copied().flatten();
        if let Some(copied) = site.copied(inst, |value| copies[value]) {
            annotations.allocations.record(copied);
        }
    }
    if let (Some(types), Some(own)) = (&mut annotations.types, &own.types) {
        types.add_inlined(own, copy.signatures as u32);
    }
    annotations.leaves_instance |= own.leaves_instance;
    Ok(())
}

const DIFFERS: &str = "Cranelift copied another body than that of the callee";

/// Records that these are copies of each other.
fn pair(
    copies: &mut SecondaryMap<Value, Option<Value>>,
    values: &[Value],
    copied: &[Value],
) -> Result<()> {
    ensure!(values.len() <= copied.len(), DIFFERS);
    for (value, copied) in values.iter().zip(copied) {
        copies[*value] = Some(*copied);
    }
    Ok(())
}

/// Whether `copied` can be the copy of `inst`. If `inst` is a call that ended no block, and its copy
/// does, returns the block with the instructions after it.
fn check_pair(
    callee: &ir::Function,
    inst: Inst,
    func: &ir::Function,
    copied: Inst,
) -> Result<Option<Block>> {
    use Opcode::{
        Call, CallIndirect, Jump, Return, ReturnCall, ReturnCallIndirect, TryCall, TryCallIndirect,
    };
    let opcode = callee.dfg.insts[inst].opcode();
    let data = &func.dfg.insts[copied];
    let split = match (opcode, data.opcode()) {
        (Call | ReturnCall, TryCall) | (CallIndirect | ReturnCallIndirect, TryCallIndirect) => true,
        (Return, Jump) | (ReturnCall, Call) | (ReturnCallIndirect, CallIndirect) => false,
        (own, copied) => {
            ensure!(own == copied, DIFFERS);
            false
        }
    };
    if !split {
        return Ok(None);
    }
    let table = data.exception_table().context(DIFFERS)?;
    let normal = func.dfg.exception_tables[table].normal_return();
    Ok(Some(normal.block(&func.dfg.value_lists)))
}

/// Whether a call is a host call that does not throw.
fn cannot_throw(func: &ir::Function, inst: Inst, may_throw: fn(HostCall) -> bool) -> bool {
    let InstructionData::TryCall { func_ref, .. } = func.dfg.insts[inst] else { return false };
    imported_host_call(func, func_ref)
        .is_some_and(|call| call != HostCall::THROW && !may_throw(call))
}

/// Makes a plain call of a host call with handlers. `after` is the block where it returns to, which
/// has no other predecessors. Host calls have no results.
fn take_handlers(func: &mut ir::Function, inst: Inst, after: Block) {
    let InstructionData::TryCall { args, func_ref, .. } = func.dfg.insts[inst] else { return };
    func.dfg.insts[inst] = InstructionData::Call { opcode: Opcode::Call, args, func_ref };
    let block = func.layout.inst_block(inst).expect("it is in a block");
    while let Some(next) = func.layout.first_inst(after) {
        func.layout.remove_inst(next);
        func.layout.append_inst(next, block);
    }
    func.layout.remove_block(after);
}
