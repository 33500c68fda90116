//! Finds the objects that were allocated since the last call that may collect. Accesses to them
//! cannot fault, and stores to them need no barrier. It is a forward dataflow analysis.
//!
//! There are two kinds of fresh objects. The first is the result of an allocating host call of the
//! heap. The second is allocated inline: the object is at the cursor of the heap data, the code
//! then moves the cursor to the object's end, and a branch has checked that this end is not above
//! the limit.

use super::view::{MemoryAccess, View, edges};
use crate::regions;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, Inst, InstructionData, Opcode, StackSlot, Value};
use gc_types::HostCall;
use gc_types::collector::bump::{LIMIT, NEXT};

/// The place of a fresh object's reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Value(Value),
    Slot(StackSlot, u32),
}

/// A fresh object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Object {
    place: Place,
    /// The object's size, if the analysis knows it. It does not know the size of an object that the
    /// host allocated.
    size: Option<Size>,
}

/// The size of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// This many bytes.
    Exactly(u64),
    /// The size depends on a length that is not a constant. It is at least this number of bytes.
    AtLeast(u64),
}

/// The fresh objects at a point. There are few, because a call that may collect removes all of
/// them.
type State = Vec<Object>;

/// The fresh objects of a function.
pub(super) struct Fresh {
    /// The fresh objects at the beginning of each block. `None` for blocks that are never entered.
    start: SecondaryMap<Block, Option<State>>,
}

impl Fresh {
    pub(super) fn new(view: &View<'_>) -> Fresh {
        let mut fresh = Fresh { start: SecondaryMap::new() };
        let Some(&entry) = view.rpo.first() else { return fresh };
        fresh.start[entry] = Some(State::new());
        let mut again = true;
        while again {
            again = false;
            for &block in &view.rpo {
                let Some(mut state) = fresh.start[block].clone() else { continue };
                for inst in view.func.layout.block_insts(block) {
                    step(view, &mut state, block, inst);
                }
                if let Some(last) = view.func.layout.last_inst(block) {
                    again |= fresh.leave(view, &state, last);
                }
            }
        }
        fresh
    }

    /// Calls `look` for each instruction of `block` with the objects that are fresh before it.
    pub(super) fn walk<E>(
        &self,
        view: &View<'_>,
        block: Block,
        mut look: impl FnMut(Inst, &Now<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // A block that is never entered has no laws to keep.
        let Some(mut state) = self.start[block].clone() else { return Ok(()) };
        for inst in view.func.layout.block_insts(block) {
            look(inst, &Now { view, state: &state })?;
            step(view, &mut state, block, inst);
        }
        Ok(())
    }

    /// Joins the objects that are fresh after `last` into the successor blocks. Returns whether a
    /// block changed that was visited before.
    fn leave(&mut self, view: &View<'_>, state: &State, last: Inst) -> bool {
        let dfg = &view.func.dfg;
        let mut changed = false;
        let decided = decided(view, last);
        for (at, call) in view.destinations(last).iter().enumerate() {
            if decided.is_some_and(|taken| taken != (at == 0)) {
                continue;
            }
            let target = call.block(&dfg.value_lists);
            let mut arriving: State = state
                .iter()
                .filter(|object| match object.place {
                    // A block parameter is a new value in its block.
                    Place::Value(value) => !dfg.block_params(target).contains(&value),
                    Place::Slot(..) => true,
                })
                .copied()
                .collect();
            for (arg, &param) in call.args(&dfg.value_lists).zip(dfg.block_params(target)) {
                if let BlockArg::Value(arg) = arg
                    && let Some(object) = find(view, state, arg)
                {
                    arriving.push(Object { place: Place::Value(param), ..object });
                }
            }
            let joined = match &self.start[target] {
                None => arriving,
                Some(known) => known
                    .iter()
                    .filter_map(|object| {
                        let other = arriving.iter().find(|other| other.place == object.place)?;
                        let size = match (object.size, other.size) {
                            (known, None) | (None, known) => known,
                            (Some(a), Some(b)) if a == b => Some(a),
                            _ => return None,
                        };
                        Some(Object { place: object.place, size })
                    })
                    .collect(),
            };
            if self.start[target].as_ref() != Some(&joined) {
                self.start[target] = Some(joined);
                changed = true;
            }
        }
        changed
    }
}

/// Whether a conditional branch is taken, if its condition compares constants. The loop that
/// initializes the elements of an array is not entered if the array has none.
fn decided(view: &View<'_>, branch: Inst) -> Option<bool> {
    let InstructionData::Brif { arg, .. } = view.func.dfg.insts[branch] else { return None };
    match view.definition(arg)?.1 {
        InstructionData::IntCompare { cond: IntCC::NotEqual, args: [a, b], .. } => {
            Some(view.evaluate(a)? != view.evaluate(b)?)
        }
        _ => None,
    }
}

/// The fresh objects at one point.
pub(super) struct Now<'a> {
    view: &'a View<'a>,
    state: &'a State,
}

impl Now<'_> {
    /// The size of the fresh object that `value` refers to. `None` if the object may not be fresh.
    pub(super) fn size_of(&self, value: Value) -> Option<Option<Size>> {
        find(self.view, self.state, value).map(|object| object.size)
    }
}

fn find(view: &View<'_>, state: &State, value: Value) -> Option<Object> {
    let value = view.func.dfg.resolve_aliases(value);
    state.iter().find(|object| object.place == Place::Value(value)).copied()
}

fn step(view: &View<'_>, state: &mut State, block: Block, inst: Inst) {
    if view.is_safepoint(inst) {
        state.clear();
        return;
    }
    let Some(access) = view.access(inst) else { return };
    if let Some((slot, offset)) = view.slot(inst) {
        let place = Place::Slot(slot, offset);
        match access.stored {
            Some(value) => {
                let object = find(view, state, value);
                state.retain(|known| known.place != place);
                state.extend(object.map(|object| Object { place, ..object }));
            }
            None => {
                let known = state.iter().find(|object| object.place == place).copied();
                let result = view.func.dfg.inst_results(inst)[0];
                state.retain(|known| known.place != Place::Value(result));
                state.extend(known.map(|object| Object { place: Place::Value(result), ..object }));
            }
        }
        return;
    }
    match (view.region(inst), access.stored) {
        (Some(regions::HOST_RESULT), None) if follows_allocation(view, block, inst) => {
            let result = view.func.dfg.inst_results(inst)[0];
            state.retain(|known| known.place != Place::Value(result));
            state.push(Object { place: Place::Value(result), size: None });
        }
        (Some(regions::HEAP_CURSOR), Some(end)) => {
            if let Some((object, size)) = bumped(view, block, &access, end) {
                let place = Place::Value(object);
                state.retain(|known| known.place != place);
                state.push(Object { place, size: Some(size) });
            }
        }
        _ => {}
    }
}

/// Whether the last call before `inst` in its block allocates.
fn follows_allocation(view: &View<'_>, block: Block, inst: Inst) -> bool {
    let mut allocated = false;
    for before in view.func.layout.block_insts(block).take_while(|before| *before != inst) {
        if view.func.dfg.insts[before].opcode().is_call() {
            allocated = view.host_call(before).is_some_and(|callee| {
                [HostCall::ALLOC_STRUCT, HostCall::ALLOC_ARRAY].contains(&callee.call)
            });
        }
    }
    allocated
}

/// The object that is allocated by moving the cursor to `end`, and its size.
fn bumped(
    view: &View<'_>,
    block: Block,
    access: &MemoryAccess,
    end: Value,
) -> Option<(Value, Size)> {
    if access.offset != NEXT.cast_signed() || !is_heap_data(view, access.address) {
        return None;
    }
    let [object, size] = view.binary(Opcode::Iadd, end)?;
    if !is_heap_data_word(view, object, regions::HEAP_CURSOR, NEXT) {
        return None;
    }
    // The block's only predecessor must end with a branch that has found that the object fits.
    let mut from = view.cfg.pred_iter(block);
    let (before, None) = (from.next()?, from.next()) else { return None };
    let mut fits = edges(view.func, before.inst).filter(|(target, _)| *target == block);
    let (Some((_, Some((condition, true)))), None) = (fits.next(), fits.next()) else {
        return None;
    };
    // No other object may have been allocated since the cursor was read.
    let read = view.definition(object)?.0;
    let same_block = view.func.layout.inst_block(read) == Some(before.block);
    let moved =
        view.func.layout.block_insts(before.block).skip_while(|inst| *inst != read).any(|inst| {
            let opcode = view.func.dfg.insts[inst].opcode();
            opcode.is_call()
                || opcode.can_store() && view.region(inst) == Some(regions::HEAP_CURSOR)
        });
    (same_block && !moved && is_in_limit(view, condition, end))
        .then_some((object, size_of(view, size)))
}

fn is_in_limit(view: &View<'_>, condition: Value, end: Value) -> bool {
    match view.definition(condition).map(|(_, data)| data) {
        Some(InstructionData::Binary { opcode: Opcode::Band, args }) => {
            args.iter().any(|arg| is_in_limit(view, *arg, end))
        }
        Some(InstructionData::IntCompare {
            cond: IntCC::UnsignedLessThanOrEqual, args, ..
        }) => {
            view.same(args[0]) == view.same(end)
                && is_heap_data_word(view, args[1], regions::HEAP_DATA, LIMIT)
        }
        _ => false,
    }
}

/// The size that the value `size` stands for. For an array it is the size of its elements plus a
/// constant, rounded up.
fn size_of(view: &View<'_>, size: Value) -> Size {
    if let Some(size) = view.evaluate(size) {
        return Size::Exactly(size);
    }
    let constant = view
        .binary(Opcode::Band, size)
        .and_then(|[sum, mask]| Some((view.binary(Opcode::Iadd, sum)?[1], view.iconst(mask)?)))
        .and_then(|(constant, mask)| Some(view.evaluate(constant)? & mask.cast_unsigned()));
    Size::AtLeast(constant.unwrap_or(0))
}

/// Whether `value` is the address of the heap data.
pub(super) fn is_heap_data(view: &View<'_>, value: Value) -> bool {
    let expected = i32::try_from(view.cx.abi.offsets().vmctx_heap_data());
    view.prefix_word(value).map(Ok) == Some(expected)
}

/// Whether `value` was loaded from this word of the heap data.
pub(super) fn is_heap_data_word(view: &View<'_>, value: Value, region: u32, offset: u32) -> bool {
    let Some((inst, InstructionData::Load { arg, offset: at, .. })) = view.definition(value) else {
        return false;
    };
    view.region(inst) == Some(region)
        && i32::from(at) == offset.cast_signed()
        && is_heap_data(view, arg)
}
