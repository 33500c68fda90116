//! Finds the objects that were allocated since the last call that may collect. Accesses to them
//! cannot fault, and stores to them need no barrier. It is a forward dataflow analysis.
//!
//! There are two kinds of fresh objects. The first is the result of an allocating host call of the
//! heap. The second is allocated inline: the object is at the cursor of the heap data, the code
//! then moves the cursor to the object's end, and a branch has checked that this end is not above
//! the limit. One branch may check the end of several objects that are allocated one after the other.

use super::view::View;
use crate::regions;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, Inst, InstructionData, Opcode, StackSlot, Value};
use gc_types::HostCall;
use gc_types::collector::bump::{LIMIT, NEXT};

/// The place of a fresh object's reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FreshRef {
    Value(Value),
    Slot(StackSlot, u32),
}

/// A fresh object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Object {
    place: FreshRef,
    /// The object's size, if the analysis knows it. It does not know the size of an object that the
    /// host allocated.
    size: Option<Size>,
    /// Whether emitted code allocated it, on every path.
    is_inline: bool,
}

/// The size of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// This many bytes.
    Exactly(u64),
    /// The size depends on a length that is not a constant. It is at least this number of bytes.
    AtLeast(u64),
}

/// What is known at a point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// The fresh objects. There are few, because a call that may collect removes all of them.
    objects: Vec<Object>,
    /// Values that are equal to the cursor.
    cursors: Vec<Value>,
    /// Values that are equal to the limit.
    limits: Vec<Value>,
    room: Room,
}

/// The memory between the cursor and the limit, as far as branches have checked it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Room {
    /// It has at least this number of bytes.
    bytes: u64,
    /// It reaches at least up to this value.
    end: Option<Value>,
}

impl State {
    fn forget(&mut self, place: FreshRef) {
        self.objects.retain(|known| known.place != place);
    }

    fn add(&mut self, object: Object) {
        self.forget(object.place);
        self.objects.push(object);
    }

    /// What is known where control arrives with either state. `None` if it is `self`.
    fn join(&self, arriving: &State) -> Option<State> {
        let both = |ours: &[Value], theirs: &[Value]| {
            ours.iter().filter(|value| theirs.contains(value)).copied().collect()
        };
        let objects = self.objects.iter().filter_map(|object| {
            let other = arriving.objects.iter().find(|other| other.place == object.place)?;
            let size = match (object.size, other.size) {
                (known, None) | (None, known) => known,
                (Some(a), Some(b)) if a == b => Some(a),
                _ => return None,
            };
            let is_inline = object.is_inline && other.is_inline;
            Some(Object { place: object.place, size, is_inline })
        });
        let joined = State {
            objects: objects.collect(),
            cursors: both(&self.cursors, &arriving.cursors),
            limits: both(&self.limits, &arriving.limits),
            room: if self.room == arriving.room { self.room } else { Room::default() },
        };
        (joined != *self).then_some(joined)
    }
}

/// The fresh objects of a function.
pub(super) struct Fresh {
    /// The fresh objects at the beginning of each block. `None` for blocks that are never entered.
    start: SecondaryMap<Block, Option<State>>,
}

impl Fresh {
    pub(super) fn new(view: &View<'_>) -> Fresh {
        let mut fresh = Fresh { start: SecondaryMap::new() };
        let Some(&entry) = view.rpo.first() else { return fresh };
        fresh.start[entry] = Some(State::default());
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
            // A block parameter is a new value in its block.
            let params = dfg.block_params(target);
            let old = |value: &Value| !params.contains(value);
            let mut arriving = state.clone();
            arriving.objects.retain(|object| match object.place {
                FreshRef::Value(value) => old(&value),
                FreshRef::Slot(..) => true,
            });
            arriving.cursors.retain(old);
            arriving.limits.retain(old);
            if let (0, InstructionData::Brif { arg, .. }) = (at, view.func.dfg.insts[last])
                && let Some(room) = checked_room(view, state, arg)
            {
                arriving.room = room;
            }
            for (arg, &param) in call.args(&dfg.value_lists).zip(params) {
                if let BlockArg::Value(arg) = arg
                    && let Some(object) = find(view, state, arg)
                {
                    arriving.objects.push(Object { place: FreshRef::Value(param), ..object });
                }
            }
            let joined = match &self.start[target] {
                None => Some(arriving),
                Some(known) => known.join(&arriving),
            };
            if joined.is_some() {
                self.start[target] = joined;
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
    /// Whether `value` refers to a fresh object that emitted code allocated.
    pub(super) fn is_inline(&self, value: Value) -> bool {
        find(self.view, self.state, value).is_some_and(|object| object.is_inline)
    }

    /// Whether `end` is the end of an object that can be allocated now, by moving the cursor there.
    pub(super) fn is_end(&self, end: Value) -> bool {
        bumped(self.view, self.state, end).is_some()
    }

    /// The size of the fresh object that `value` refers to. `None` if the object may not be fresh.
    pub(super) fn size_of(&self, value: Value) -> Option<Option<Size>> {
        find(self.view, self.state, value).map(|object| object.size)
    }
}

fn find(view: &View<'_>, state: &State, value: Value) -> Option<Object> {
    let value = view.func.dfg.resolve_aliases(value);
    state.objects.iter().find(|object| object.place == FreshRef::Value(value)).copied()
}

fn step(view: &View<'_>, state: &mut State, block: Block, inst: Inst) {
    if view.func.dfg.insts[inst].opcode().is_call() {
        let objects = std::mem::take(&mut state.objects);
        *state = State::default();
        if !view.is_safepoint(inst) {
            state.objects = objects;
        }
        return;
    }
    let Some(access) = view.access(inst) else { return };
    if let Some((slot, offset)) = view.slot(inst) {
        let place = FreshRef::Slot(slot, offset);
        match access.stored {
            Some(value) => {
                let object = find(view, state, value);
                state.forget(place);
                state.objects.extend(object.map(|object| Object { place, ..object }));
            }
            None => {
                let known = state.objects.iter().find(|object| object.place == place).copied();
                let place = FreshRef::Value(view.func.dfg.inst_results(inst)[0]);
                state.forget(place);
                state.objects.extend(known.map(|object| Object { place, ..object }));
            }
        }
        return;
    }
    let word =
        |offset: u32| access.offset == offset.cast_signed() && is_heap_data(view, access.address);
    match (view.region(inst), access.stored) {
        (Some(regions::HOST_RESULT), None) if follows_allocation(view, block, inst) => {
            let result = view.func.dfg.inst_results(inst)[0];
            let (place, size) = (FreshRef::Value(result), None);
            state.add(Object { place, size, is_inline: false });
        }
        (Some(regions::HEAP_CURSOR), None) if word(NEXT) => {
            let result = view.func.dfg.inst_results(inst)[0];
            state.forget(FreshRef::Value(result));
            state.cursors.retain(|known| *known != result);
            state.cursors.push(result);
        }
        (Some(regions::HEAP_DATA), None) if word(LIMIT) => {
            let result = view.func.dfg.inst_results(inst)[0];
            state.limits.retain(|known| *known != result);
            state.limits.push(result);
        }
        (Some(regions::HEAP_CURSOR), Some(end)) if word(NEXT) => {
            let bumped = bumped(view, state, end);
            state.cursors.clear();
            state.room = bumped.map_or(Room::default(), |(_, room)| room);
            if let Some((object, _)) = bumped {
                state.add(object);
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
            allocated = view.host_call(before).is_some_and(|call| {
                [HostCall::ALLOC_STRUCT, HostCall::ALLOC_ARRAY].contains(&call)
            });
        }
    }
    allocated
}

/// The object that is allocated by moving the cursor to `end`, and the room behind it.
fn bumped(view: &View<'_>, state: &State, end: Value) -> Option<(Object, Room)> {
    let [object, size] = view.binary(Opcode::Iadd, end)?;
    let object = view.func.dfg.resolve_aliases(object);
    if !state.cursors.contains(&object) {
        return None;
    }
    let size = size_of(view, size);
    let left = match size {
        Size::Exactly(size) => state.room.bytes.checked_sub(size),
        Size::AtLeast(_) => None,
    };
    let is_end = state.room.end == Some(view.same(end));
    let room = match left {
        Some(bytes) => Room { bytes, end: None },
        None if is_end => Room::default(),
        None => return None,
    };
    let (place, size) = (FreshRef::Value(object), Some(size));
    Some((Object { place, size, is_inline: true }, room))
}

/// The room that there is if `condition` holds: it says that an end is not above the limit.
fn checked_room(view: &View<'_>, state: &State, condition: Value) -> Option<Room> {
    match view.definition(condition)?.1 {
        InstructionData::Binary { opcode: Opcode::Band, args } => {
            args.iter().find_map(|arg| checked_room(view, state, *arg))
        }
        InstructionData::IntCompare {
            cond: IntCC::UnsignedLessThanOrEqual,
            args: [end, limit],
            ..
        } => {
            let resolve = |value| view.func.dfg.resolve_aliases(value);
            let [next, size] = view.binary(Opcode::Iadd, end)?;
            let is_room =
                state.cursors.contains(&resolve(next)) && state.limits.contains(&resolve(limit));
            let bytes = match size_of(view, size) {
                Size::Exactly(bytes) => bytes,
                Size::AtLeast(_) => 0,
            };
            is_room.then_some(Room { bytes, end: Some(view.same(end)) })
        }
        _ => None,
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
