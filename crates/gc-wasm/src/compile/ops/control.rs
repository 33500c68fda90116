//! Blocks and branches.

use crate::compile::env::func_type;
use crate::compile::stack::{Clause, Frame, FrameKind};
use crate::compile::translate::Translator;
use anyhow::Result;
use cranelift_codegen::ir::{self, BlockArg, InstBuilder, JumpTableData};
use gc_types::Trap;
use std::collections::BTreeMap;
use wasmparser::{BlockType, BrTable, RefType, ValType};
use wasmtime_types::WasmValType;

fn block_args(values: &[ir::Value]) -> Vec<BlockArg> {
    values.iter().map(|value| BlockArg::Value(*value)).collect()
}

/// The most labels to which a table branches without a block for each. If a block has several
/// predecessors, the frontend looks through all targets of a table among them.
const DIRECT_TARGETS: usize = 256;

impl Translator<'_, '_> {
    /// Parameter and result types of a block.
    fn block_type(&mut self, ty: BlockType) -> Result<(Vec<WasmValType>, Vec<WasmValType>)> {
        Ok(match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(ty) => (Vec::new(), vec![self.val_type(ty)?]),
            BlockType::FuncType(index) => {
                let ty = self.env.module_type(index);
                let ty = func_type(ty)?;
                (ty.params().to_vec(), ty.results().to_vec())
            }
        })
    }

    /// Enters a construct with `params` parameters, whose label takes `arity` operands.
    fn push_frame(
        &mut self,
        kind: FrameKind,
        label: ir::Block,
        unmade: Option<BlockType>,
        arity: usize,
        params: usize,
    ) {
        self.stack.frames.push(Frame {
            kind,
            label,
            unmade,
            label_arity: arity,
            height: self.stack.values.len() - params,
            branched: false,
        });
    }

    pub(super) fn block(&mut self, ty: BlockType) -> Result<()> {
        let (params, results) = self.block_type(ty)?;
        let label = self.builder.create_block();
        self.push_frame(FrameKind::Block, label, Some(ty), results.len(), params.len());
        Ok(())
    }

    /// Enters a `try` or `try_table`. If exceptions are delegated, only the frames below the number
    /// `delegate` can catch them.
    pub(super) fn push_try(
        &mut self,
        ty: BlockType,
        clauses: Vec<Clause>,
        delegate: Option<usize>,
    ) -> Result<()> {
        let (params, results) = self.block_type(ty)?;
        let label = self.builder.create_block();
        let relays = self.stack.enter_try(&clauses, delegate);
        let kind = FrameKind::Try { clauses, relays };
        self.push_frame(kind, label, Some(ty), results.len(), params.len());
        Ok(())
    }

    pub(super) fn loop_(&mut self, ty: BlockType) -> Result<()> {
        let (params, _) = self.block_type(ty)?;
        let label = self.builder.create_block();
        self.append_params(label, &params)?;
        let operands = self.stack.pop_n(params.len());
        self.builder.ins().jump(label, &block_args(&operands));
        self.builder.switch_to_block(label);
        self.enter_loop();
        self.stack.values.extend_from_slice(self.builder.block_params(label));
        self.push_frame(FrameKind::Loop, label, None, params.len(), params.len());
        self.meter_loop();
        Ok(())
    }

    pub(super) fn if_(&mut self, ty: BlockType) -> Result<()> {
        let (params, results) = self.block_type(ty)?;
        self.count_operands(params.len())?;
        let label = self.builder.create_block();
        let then_block = self.builder.create_block();
        let else_block = self.builder.create_block();
        let condition = self.stack.pop();
        self.builder.ins().brif(condition, then_block, &[], else_block, &[]);
        if let Some(taken) = self.branch_hint() {
            self.builder.set_cold_block(if taken { else_block } else { then_block });
        }
        self.builder.seal_block(else_block);
        let operands = self.stack.peek_n(params.len()).to_vec();
        let kind = FrameKind::If { else_block, params: operands };
        self.push_frame(kind, label, Some(ty), results.len(), params.len());
        self.continue_in(then_block);
        Ok(())
    }

    pub(super) fn else_(&mut self) -> Result<()> {
        if self.stack.reachable() {
            self.jump_to_label(0)?;
        }
        let frame = self.stack.frame(0);
        let height = frame.height;
        let FrameKind::If { else_block, params } =
            std::mem::replace(&mut frame.kind, FrameKind::Block)
        else {
            unreachable!("validated: an else belongs to an if");
        };
        self.stack.values.truncate(height);
        self.stack.values.extend(params);
        self.stack.set_reachable();
        self.builder.switch_to_block(else_block);
        self.join();
        Ok(())
    }

    /// The end of a block or of the function, or the `delegate` that ends a `try`.
    ///
    /// # Errors
    /// If there are too many locals in too many blocks, or too many operands.
    pub(super) fn end(&mut self) -> Result<()> {
        if let FrameKind::If { .. } = self.stack.frame(0).kind {
            // Without an else the parameters are the results.
            self.else_()?;
        }
        if let FrameKind::Try { .. } = self.stack.frame(0).kind {
            let clauses = self.leave_try()?;
            self.clauses(clauses)?;
        }
        let reachable = self.stack.reachable();
        let frame = self.stack.frame(0);
        if reachable && frame.branched && !matches!(frame.kind, FrameKind::Loop) {
            self.jump_to_label(0)?;
        }
        let frame = self.stack.frames.pop().expect("validated: an end belongs to a frame");
        match frame.kind {
            FrameKind::Loop => self.leave_loop(frame.label)?,
            // Its operands are its results, already on the stack.
            _ if !frame.branched => {}
            _ => {
                self.stack.values.truncate(frame.height);
                self.stack.set_reachable();
                self.continue_in(frame.label);
                self.join();
                self.stack.values.extend_from_slice(self.builder.block_params(frame.label));
            }
        }
        if self.stack.frames.is_empty() && self.stack.reachable() {
            let results = self.stack.pop_n(frame.label_arity);
            self.meter_leave();
            self.builder.ins().return_(&results);
        }
        Ok(())
    }

    /// Jumps to label `depth` with the operands it takes, which stay on the stack.
    pub(super) fn jump_to_label(&mut self, depth: u32) -> Result<()> {
        let (label, arity) = self.label(depth)?;
        let args = block_args(self.stack.peek_n(arity));
        self.builder.ins().jump(label, &args);
        Ok(())
    }

    /// The block of label `depth` and its number of parameters. The caller emits a branch to it.
    fn label(&mut self, depth: u32) -> Result<(ir::Block, usize)> {
        let frame = self.stack.frame(depth);
        frame.branched = true;
        let (label, arity, unmade) = (frame.label, frame.label_arity, frame.unmade.take());
        if let Some(ty) = unmade {
            let (_, results) = self.block_type(ty)?;
            self.append_params(label, &results)?;
        }
        self.count_operands(arity)?;
        Ok((label, arity))
    }

    pub(super) fn unreachable(&mut self) {
        self.builder.ins().trap(gc_compiler::trap_code(Trap::UnreachableCodeReached));
        self.stack.set_unreachable();
    }

    pub(super) fn return_(&mut self) {
        let arity = self.stack.frames[0].label_arity;
        let results = self.stack.peek_n(arity).to_vec();
        self.meter_leave();
        self.builder.ins().return_(&results);
        self.stack.set_unreachable();
    }

    pub(super) fn br(&mut self, depth: u32) -> Result<()> {
        if let FrameKind::Function = self.stack.frame(depth).kind {
            self.return_();
            return Ok(());
        }
        self.jump_to_label(depth)?;
        self.stack.set_unreachable();
        Ok(())
    }

    pub(super) fn br_if(&mut self, depth: u32) -> Result<()> {
        let condition = self.stack.pop();
        let (label, arity) = self.label(depth)?;
        let args = block_args(self.stack.peek_n(arity));
        let next = self.builder.create_block();
        if self.branch_hint() == Some(false) {
            // The label may also be reached from other places, so it is not cold itself.
            let taken = self.builder.create_block();
            self.builder.set_cold_block(taken);
            self.builder.ins().brif(condition, taken, &[], next, &[]);
            self.continue_in(taken);
            self.builder.ins().jump(label, &args);
        } else {
            if self.branch_hint() == Some(true) {
                self.builder.set_cold_block(next);
            }
            self.builder.ins().brif(condition, label, &args, next, &[]);
        }
        self.continue_in(next);
        Ok(())
    }

    /// Whether the module says that the current branch is likely to be taken
    /// (proposal branch-hinting).
    fn branch_hint(&self) -> Option<bool> {
        let offset = (self.offset - self.body_start) as u32;
        let found = self.hints.binary_search_by_key(&offset, |hint| hint.offset);
        found.ok().map(|at| self.hints[at].taken)
    }

    /// Branches to the label selected by the index. A label that takes operands or has several
    /// entries is reached through a separate block. Otherwise each table entry would have code for
    /// the operands and the locals.
    pub(super) fn br_table(&mut self, targets: &BrTable<'_>) -> Result<()> {
        let index = self.stack.pop();
        let depths = targets.targets().collect::<Result<Vec<u32>, _>>()?;
        let mut entries: BTreeMap<u32, u32> = BTreeMap::new();
        for depth in depths.iter().copied().chain([targets.default()]) {
            *entries.entry(depth).or_default() += 1;
        }
        let is_short = entries.len() <= DIRECT_TARGETS;
        let mut between = BTreeMap::new();
        for (depth, entries) in entries {
            let is_direct = entries == 1 && is_short && self.stack.frame(depth).label_arity == 0;
            let block = match is_direct {
                true => self.label(depth)?.0,
                false => self.builder.create_block(),
            };
            between.insert(depth, (block, is_direct));
        }
        let mut call = |depth| self.builder.func.dfg.block_call(between[&depth].0, &[]);
        let calls: Vec<_> = depths.into_iter().map(&mut call).collect();
        let default = call(targets.default());
        let table = self.builder.create_jump_table(JumpTableData::new(default, &calls));
        self.builder.ins().br_table(index, table);
        for (depth, (block, is_direct)) in between {
            if !is_direct {
                self.continue_in(block);
                self.jump_to_label(depth)?;
            }
        }
        self.stack.set_unreachable();
        Ok(())
    }

    /// Whether the uppermost operand cannot be null by its static type.
    pub(super) fn top_is_non_null(&self) -> bool {
        matches!(self.top, Some(ValType::Ref(ty)) if !ty.is_nullable())
    }

    pub(super) fn br_on_null(&mut self, depth: u32) -> Result<()> {
        if self.top_is_non_null() {
            return Ok(());
        }
        let reference = self.stack.pop();
        let (label, arity) = self.label(depth)?;
        let args = block_args(self.stack.peek_n(arity));
        let next = self.builder.create_block();
        self.builder.ins().brif(reference, next, &[], label, &args);
        self.continue_in(next);
        self.stack.push(reference);
        Ok(())
    }

    pub(super) fn br_on_non_null(&mut self, depth: u32) -> Result<()> {
        if self.top_is_non_null() {
            return self.br(depth);
        }
        let (label, arity) = self.label(depth)?;
        let args = block_args(self.stack.peek_n(arity));
        let reference = self.stack.pop();
        let next = self.builder.create_block();
        self.builder.ins().brif(reference, label, &args, next, &[]);
        self.continue_in(next);
        Ok(())
    }

    /// Tests whether the uppermost operand is of type `to`. Branches to label `depth` if the result
    /// equals `on_match`. The operand stays on the stack in both cases.
    pub(super) fn br_on_cast(&mut self, depth: u32, to: RefType, on_match: bool) -> Result<()> {
        let reference = self.stack.peek_n(1)[0];
        let taken = self.builder.create_block();
        let next = self.builder.create_block();
        let (yes, no) = if on_match { (taken, next) } else { (next, taken) };
        self.branch_on_test(reference, to, yes, no)?;
        self.continue_in(taken);
        self.jump_to_label(depth)?;
        self.continue_in(next);
        Ok(())
    }
}
