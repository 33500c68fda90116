//! Derived pointers: addresses inside an object that live across a call that may collect.
//!
//! A collector that moves an object must change the pointers into it as well. Cranelift's stack maps have only
//! the offset and the type of each entry, so they cannot say which object a derived pointer belongs to.
//! [`DerivedSlots`] has two stack slots for that: one for the reference of the object, the base, which is in
//! the stack map of the call, and one for the derived pointer, which is in no map. The keys of the
//! slots (`StackSlotKey`) tie them together, and so they reach the table.
//!
//! Use the slots for a pointer that lives across a call that may collect, and not otherwise: a reference in a slot that is in no
//! stack map is an error of the checker. Each such call between [`store`](DerivedSlots::store) and
//! [`load`](DerivedSlots::load) keeps them ([`keep_across`](DerivedSlots::keep_across)). A `FunctionBuilder` gives a cursor by
//! `cursor()`.
//!
//! `Frames::visit` of the crate `stack-roots-walk` makes the derived pointer relative before it shows the base to
//! the collector, and absolute again afterwards. So a collector sees only references.

use cranelift_codegen::cursor::FuncCursor;
use cranelift_codegen::ir::{
    Function, Inst, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKey,
    StackSlotKind, Type, UserStackMapEntry, Value,
};

/// The keys of the slots: this in the upper bits, then a number, then whether it is the derived pointer.
const KEY: u64 = 0x5afe_9a17 << 32;
const KEY_MASK: u64 = 0xffff_ffff << 32;

/// The stack slots of one derived pointer and of its base.
///
/// # Examples
/// An address inside an array lives across a call:
///
/// ```
/// use cranelift_codegen::cursor::{Cursor, FuncCursor};
/// use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, Signature, types};
/// use cranelift_codegen::isa::CallConv;
/// use stack_roots::derived::DerivedSlots;
///
/// let mut func = Function::new();
/// let callee = func.import_signature(Signature::new(CallConv::SystemV));
/// let entry = func.dfg.make_block();
/// let array = func.dfg.append_block_param(entry, types::I64);
/// let slots = DerivedSlots::new(&mut func, types::I64);
///
/// let mut at = FuncCursor::new(&mut func);
/// at.insert_block(entry);
/// let element = at.ins().iadd_imm_s(array, 16);
/// slots.store(&mut at, array, element);
/// let address = at.ins().iconst(types::I64, 0x1000);
/// let call = at.ins().call_indirect(callee, address, &[]);
/// let element = slots.load(&mut at);
/// at.ins().return_(&[]);
/// slots.keep_across(&mut func, call);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DerivedSlots {
    /// The slot of the base.
    pub base: StackSlot,
    /// The slot of the derived pointer.
    pub derived: StackSlot,
    /// The type of both.
    pub ty: Type,
}

impl DerivedSlots {
    /// Makes two slots for references of this type.
    pub fn new(func: &mut Function, ty: Type) -> DerivedSlots {
        let number = slots(func).len() as u64;
        let mut slot = |is_derived: u64| {
            func.create_sized_stack_slot(StackSlotData::new_with_key(
                StackSlotKind::ExplicitSlot,
                ty.bytes(),
                ty.bytes().trailing_zeros() as u8,
                StackSlotKey::new(KEY | number << 1 | is_derived),
            ))
        };
        DerivedSlots { base: slot(0), derived: slot(1), ty }
    }

    /// Stores a reference and a pointer that was computed from it, before the call.
    pub fn store(&self, at: &mut FuncCursor<'_>, base: Value, derived: Value) {
        for (slot, value) in [(self.base, base), (self.derived, derived)] {
            let address = at.ins().stack_addr(self.pointer(), slot, 0);
            at.ins().store(MemFlagsData::trusted(), value, address, 0);
        }
    }

    /// Loads the derived pointer after the call.
    pub fn load(&self, at: &mut FuncCursor<'_>) -> Value {
        let address = at.ins().stack_addr(self.pointer(), self.derived, 0);
        at.ins().load(self.ty, MemFlagsData::trusted(), address, 0)
    }

    /// Adds the base to the stack map of `call`. The collections in this call keep both slots current. Do it for each call
    /// that may collect between the store and the load.
    pub fn keep_across(&self, func: &mut Function, call: Inst) {
        func.dfg.append_user_stack_map_entry(
            call,
            UserStackMapEntry { ty: self.ty, slot: self.base, offset: 0 },
        );
    }

    fn pointer(&self) -> Type {
        cranelift_codegen::ir::types::I64
    }
}

/// The number of the pair to which a slot with this key belongs, and whether the slot is the derived pointer's.
pub(crate) fn of_key(key: StackSlotKey) -> Option<(u64, bool)> {
    let bits = key.bits();
    (bits & KEY_MASK == KEY).then_some(((bits & !KEY_MASK) >> 1, bits & 1 != 0))
}

/// All pairs of a function.
pub(crate) fn slots(func: &Function) -> Vec<DerivedSlots> {
    let with_numbers = || {
        let slots = func.sized_stack_slots.iter();
        slots.filter_map(|(slot, data)| Some((slot, data.size, of_key(data.key?)?)))
    };
    let bases = with_numbers().filter(|(_, _, (_, is_derived))| !is_derived);
    let pairs = bases.filter_map(|(base, size, (number, _))| {
        let (derived, ..) = with_numbers().find(|(_, _, of)| *of == (number, true))?;
        let ty = Type::int_with_byte_size(u16::try_from(size).ok()?)?;
        Some(DerivedSlots { base, derived, ty })
    });
    pairs.collect()
}
