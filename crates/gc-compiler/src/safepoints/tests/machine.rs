//! A machine that runs CLIF of a few operations. Its collector moves every object at every call
//! that may collect. So a reference that was not in the call's stack map, or was not reloaded, is
//! found at its next use.

use cranelift_codegen::ir::{
    self, Block, BlockArg, FuncRef, Function, Inst, InstructionData, Opcode, StackSlot, Value,
};
use std::collections::HashMap;

/// The functions that programs call, by the index of their `FuncRef`.
pub(super) mod callee {
    /// `() -> ref`: a new object; may collect.
    pub(in super::super) const NEW: u32 = 0;
    /// `() -> ref`: a new object; never collects.
    pub(in super::super) const NEW_QUIETLY: u32 = 1;
    /// `(ref)`: uses an object; never collects.
    pub(in super::super) const LOOK: u32 = 2;
    /// `(ref)`: uses an object, then collects.
    pub(in super::super) const COLLECT: u32 = 3;
    /// `() -> i32`: the condition of a branch; never collects.
    pub(in super::super) const CHOOSE: u32 = 4;
    /// The number of functions.
    pub(in super::super) const COUNT: u32 = 5;

    pub(in super::super) fn may_collect(index: u32) -> bool {
        matches!(index, NEW | COLLECT)
    }
}

/// An event of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Enter(Block),
    Look(u32),
    Return(u32),
}

/// Number of blocks entered before a run is cut off.
const FUEL: usize = 60;

/// Runs `func`. Branches follow `choices`. `moving` says whether collections move objects (for a
/// function with stack maps) or do nothing. Only the first `blocks` blocks are recorded when they
/// are entered. The later blocks split edges.
pub(super) fn run(
    func: &Function,
    choices: &[u8],
    moving: bool,
    blocks: usize,
) -> Result<Vec<Event>, String> {
    let mut machine = Machine {
        blocks,
        func,
        choices: choices.iter().copied().cycle(),
        moving,
        values: HashMap::new(),
        slots: HashMap::new(),
        epoch: 0,
        objects: 0,
        events: Vec::new(),
    };
    machine.run()?;
    Ok(machine.events)
}

struct Machine<'a, C> {
    func: &'a Function,
    choices: C,
    moving: bool,
    blocks: usize,
    values: HashMap<Value, u64>,
    /// Slots' contents, and addresses within them as values.
    slots: HashMap<(StackSlot, u32), u64>,
    /// Number of collections. Every valid reference has it in its upper half.
    epoch: u32,
    objects: u32,
    events: Vec<Event>,
}

impl<C: Iterator<Item = u8>> Machine<'_, C> {
    fn run(&mut self) -> Result<(), String> {
        let mut block = self.func.layout.entry_block().expect("an entry");
        for &param in self.func.dfg.block_params(block) {
            let object = self.object();
            self.values.insert(param, object);
        }
        let mut fuel = FUEL;
        while fuel > 0 {
            if (block.as_u32() as usize) < self.blocks {
                self.events.push(Event::Enter(block));
                fuel -= 1;
            }
            match self.block(block)? {
                Some(next) => block = next,
                None => break,
            }
        }
        Ok(())
    }

    fn object(&mut self) -> u64 {
        self.objects += 1;
        u64::from(self.epoch) << 32 | u64::from(self.objects)
    }

    fn value(&self, value: Value) -> Result<u64, String> {
        let value = self.func.dfg.resolve_aliases(value);
        self.values.get(&value).copied().ok_or_else(|| format!("{value} is not defined here"))
    }

    /// The object that a reference refers to, 0 for null.
    fn object_of(&self, inst: Inst, reference: u64) -> Result<u32, String> {
        if reference != 0 && (reference >> 32) as u32 != self.epoch {
            let text = self.func.dfg.display_inst(inst);
            return Err(format!("{text}: a reference from before the last collection"));
        }
        Ok(reference as u32)
    }

    fn collect(&mut self, inst: Inst) -> Result<(), String> {
        if !self.moving {
            return Ok(());
        }
        let entries = self.func.dfg.user_stack_map_entries(inst).unwrap_or(&[]);
        let mut held = Vec::new();
        for entry in entries {
            let place = (entry.slot, entry.offset);
            let reference = *self.slots.get(&place).ok_or("a slot in a map holds nothing")?;
            held.push((place, self.object_of(inst, reference)?));
        }
        self.epoch += 1;
        for (place, object) in held {
            let moved =
                if object == 0 { 0 } else { u64::from(self.epoch) << 32 | u64::from(object) };
            self.slots.insert(place, moved);
        }
        Ok(())
    }

    fn call(&mut self, inst: Inst, callee: FuncRef) -> Result<Option<u64>, String> {
        let args = self.func.dfg.inst_args(inst).to_vec();
        let looked_at = |machine: &Self| machine.object_of(inst, machine.value(args[0])?);
        Ok(match callee.as_u32() {
            callee::NEW => {
                self.collect(inst)?;
                Some(self.object())
            }
            callee::NEW_QUIETLY => Some(self.object()),
            callee::CHOOSE => Some(u64::from(self.choices.next().unwrap_or(0))),
            index => {
                let object = looked_at(self)?;
                self.events.push(Event::Look(object));
                if index == callee::COLLECT {
                    self.collect(inst)?;
                }
                None
            }
        })
    }

    fn jump(&mut self, call: ir::BlockCall) -> Result<Option<Block>, String> {
        self.jump_with(call, None)
    }

    /// Returns from a call, or throws a new object to the call's first handler.
    fn leave_try_call(
        &mut self,
        exception: ir::ExceptionTable,
        result: Option<u64>,
    ) -> Result<Option<Block>, String> {
        let table = &self.func.dfg.exception_tables[exception];
        if self.choices.next().unwrap_or(0).is_multiple_of(2) {
            return self.jump_with(*table.normal_return(), result);
        }
        let thrown = self.object();
        let handler = table.items().find_map(|item| match item {
            ir::ExceptionTableItem::Default(call) | ir::ExceptionTableItem::Tag(_, call) => {
                Some(call)
            }
            ir::ExceptionTableItem::Context(_) => None,
        });
        self.jump_with(handler.ok_or("no handler")?, Some(thrown))
    }

    /// Follows an edge. `of_call` is the value that a call returned or threw.
    fn jump_with(
        &mut self,
        call: ir::BlockCall,
        of_call: Option<u64>,
    ) -> Result<Option<Block>, String> {
        let dfg = &self.func.dfg;
        let target = call.block(&dfg.value_lists);
        let mut values = Vec::new();
        for arg in call.args(&dfg.value_lists) {
            values.push(match arg {
                BlockArg::Value(arg) => self.value(arg)?,
                _ => of_call.ok_or("a call that gives nothing")?,
            });
        }
        let params = dfg.block_params(target);
        if params.len() != values.len() {
            return Err(format!("{target} takes {}, gets {}", params.len(), values.len()));
        }
        self.values.extend(params.iter().copied().zip(values));
        Ok(Some(target))
    }

    /// Runs a block. Returns the next one.
    fn block(&mut self, block: Block) -> Result<Option<Block>, String> {
        let func = self.func;
        let dfg = &func.dfg;
        for inst in func.layout.block_insts(block) {
            let args = dfg.inst_args(inst);
            let result = match dfg.insts[inst] {
                InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                    Some(imm.bits() as u64)
                }
                InstructionData::Call { opcode: Opcode::Call, func_ref, .. } => {
                    self.call(inst, func_ref)?
                }
                InstructionData::CallIndirect { .. } => {
                    self.collect(inst)?;
                    None
                }
                InstructionData::Ternary { opcode: Opcode::Select, .. } => {
                    let taken = if self.value(args[0])? != 0 { args[1] } else { args[2] };
                    Some(self.value(taken)?)
                }
                InstructionData::StackAddr { stack_slot, offset, .. } => {
                    let offset: i32 = offset.into();
                    Some(u64::from(stack_slot.as_u32()) << 32 | u64::from(offset.cast_unsigned()))
                }
                InstructionData::Load { .. } => Some(*self.slot(args[0])?),
                InstructionData::Store { .. } => {
                    *self.slot(args[1])? = self.value(args[0])?;
                    None
                }
                InstructionData::TryCall { func_ref, exception, .. } => {
                    let result = self.call(inst, func_ref)?;
                    return self.leave_try_call(exception, result);
                }
                InstructionData::TryCallIndirect { exception, .. } => {
                    self.collect(inst)?;
                    return self.leave_try_call(exception, None);
                }
                InstructionData::Jump { destination, .. } => return self.jump(destination),
                InstructionData::Brif { blocks, .. } => {
                    let taken = blocks[usize::from(self.value(args[0])? == 0)];
                    return self.jump(taken);
                }
                InstructionData::BranchTable { table, .. } => {
                    let table = &dfg.jump_tables[table];
                    let index = self.value(args[0])? as usize;
                    let taken = table.as_slice().get(index).copied();
                    return self.jump(taken.unwrap_or(table.default_block()));
                }
                InstructionData::MultiAry { opcode: Opcode::Return, .. } => {
                    let object = self.object_of(inst, self.value(args[0])?)?;
                    self.events.push(Event::Return(object));
                    return Ok(None);
                }
                _ => return Err(format!("unknown: {}", dfg.display_inst(inst))),
            };
            if let (Some(result), &[value]) = (result, dfg.inst_results(inst)) {
                self.values.insert(value, result);
            }
        }
        Err(format!("{block} has no end"))
    }

    fn slot(&mut self, address: Value) -> Result<&mut u64, String> {
        let address = self.value(address)?;
        let place = (StackSlot::from_u32((address >> 32) as u32), address as u32);
        Ok(self.slots.entry(place).or_default())
    }
}
