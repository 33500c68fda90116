//! `drc`: deferred reference counting (Deutsch and Bobrow, "An Efficient, Incremental, Automatic
//! Garbage Collector", 1976). Its barriers are emitted inline.
//!
//! References on the stack are not counted, and a load has no barrier. So an object whose count
//! reaches zero may still be live. It is put on a list, and the next collection examines the stack.
//! New objects are young until a collection finds them alive. They are allocated inline. For each,
//! emitted code sets a byte in a table, so that the collector knows where objects begin. References
//! stored into a young object are not counted. A store into a mature object, a table or a global
//! increments the count of the new referent and decrements that of the old one. While a search for cycles
//! marks, the old one enters the list even if it still has a count: one word of the heap data
//! ([`LIST_MASK`]) decides that, so the same comparison serves both. Cold blocks call
//! the host when there is no room for an object or for an entry of the list.

use super::bump;
use crate::check::{BarrierLaw, Linear, Matcher, Step, When};
use crate::{Access, GcCompiler, GcEmitter, RefPlace, Trust, regions};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, Opcode, types};
use gc_types::collector::drc::{
    self, COUNT_ONE, COUNT_SHIFT, LIST, LIST_MASK, LISTED, MATURE, NAME, OP_LIST, STARTS,
};
use gc_types::{ArrayLayout, CollectorAbi, HostCall, VMGcHeader};

/// Emits code for the `drc` collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct DrcCompiler;

impl GcCompiler for DrcCompiler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abi(&self) -> CollectorAbi {
        drc::abi()
    }

    fn alloc_struct(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        size: u32,
    ) -> ir::Value {
        bump::alloc_struct_noted(e, header_word, size, note_start)
    }

    fn alloc_array(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        layout: &ArrayLayout,
        length: ir::Value,
    ) -> ir::Value {
        bump::alloc_array_noted(e, header_word, layout, length, note_start)
    }

    fn barrier_laws(&self) -> &'static [BarrierLaw] {
        LAWS
    }

    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        let access = e.place_access(place, Trust::MayBeNull);
        let (object, trust) = match place {
            RefPlace::Native { .. } => return write_counted(e, access, value),
            RefPlace::Field { object, .. } => (object, Trust::MayBeNull),
            // The array's length was read before, so it is not null.
            RefPlace::Element { object, .. } => (object, Trust::NotNull),
        };
        let word = {
            let at = VMGcHeader::COLLECTOR_OFFSET;
            let Access { address, offset, flags } =
                e.object_access(object, at, 4, regions::HEADER, trust);
            e.builder.ins().load(types::I32, flags, address, offset)
        };
        let counted = e.builder.create_block();
        let young = e.builder.create_block();
        let done = e.builder.create_block();
        let mature = e.builder.ins().band_imm_u(word, i64::from(MATURE));
        e.builder.ins().brif(mature, counted, &[], young, &[]);

        e.continue_in(young);
        e.store_ref_at(access, value);
        e.builder.ins().jump(done, &[]);

        e.continue_in(counted);
        write_counted(e, access, value);
        e.builder.ins().jump(done, &[]);
        e.continue_in(done);
    }

    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        if let RefPlace::Native { .. } = place {
            count_up(e, value);
        }
        // An object that was just allocated is young.
        e.store_ref(place, value, Trust::Fresh);
    }
}

/// Emits the note that an object begins at `object`.
fn note_start(e: &mut GcEmitter<'_, '_>, object: ir::Value) {
    let address = e.table_byte(STARTS, object);
    let one = e.builder.ins().iconst(types::I8, 1);
    let flags = e.native_flags(regions::SIDE_TABLE);
    e.builder.ins().store(flags, one, address, 0);
}

/// Overwrites a counted reference.
fn write_counted(e: &mut GcEmitter<'_, '_>, access: Access, value: ir::Value) {
    // Increment first, because the new referent may be the old one.
    let old = e.load_ref_at(access);
    count_up(e, value);
    e.store_ref_at(access, value);
    count_down(e, old);
}

/// The collector's word in the header of `object`, and the access to store it back.
fn load_count(e: &mut GcEmitter<'_, '_>, object: ir::Value) -> (ir::Value, Access) {
    let access = e.header_access(object, VMGcHeader::COLLECTOR_OFFSET);
    (e.builder.ins().load(types::I32, access.flags, access.address, access.offset), access)
}

fn store_count(e: &mut GcEmitter<'_, '_>, access: Access, word: ir::Value) {
    e.builder.ins().store(access.flags, word, access.address, access.offset);
}

/// Branches to a new block if `value` refers into the heap, otherwise to the block that is
/// returned. The new block becomes the current one.
fn if_heap_ref(e: &mut GcEmitter<'_, '_>, value: ir::Value) -> ir::Block {
    let counted = e.builder.create_block();
    let done = e.builder.create_block();
    let in_heap = e.is_heap_ref(value);
    e.builder.ins().brif(in_heap, counted, &[], done, &[]);
    e.continue_in(counted);
    done
}

/// Increments the count of the referent of `value`. Lists a young referent once, because it will
/// live.
fn count_up(e: &mut GcEmitter<'_, '_>, value: ir::Value) {
    if e.is_unboxed(value) {
        return;
    }
    let done = if_heap_ref(e, value);
    let (word, access) = load_count(e, value);
    let word = e.builder.ins().iadd_imm_u(word, i64::from(COUNT_ONE));
    store_count(e, access, word);
    let list = e.create_cold_block();
    let known = e.builder.ins().band_imm_u(word, i64::from(MATURE | LISTED));
    e.builder.ins().brif(known, done, &[], list, &[]);

    e.continue_in(list);
    enter_list(e, value, word, access, done);
    e.continue_in(done);
}

/// Decrements the count of the referent of `value`. Lists a mature referent without a count,
/// because it may be dead; and while a search for cycles marks, one with a count, because marking may
/// not find it.
fn count_down(e: &mut GcEmitter<'_, '_>, value: ir::Value) {
    const _: () = assert!(COUNT_ONE == 1 << COUNT_SHIFT && MATURE < COUNT_ONE);
    let done = if_heap_ref(e, value);
    let (word, access) = load_count(e, value);
    let word = e.builder.ins().iadd_imm_s(word, -i64::from(COUNT_ONE));
    store_count(e, access, word);
    let list = e.create_cold_block();
    let data = e.heap_data();
    let mask = e.load_native(types::I32, regions::HEAP_DATA, data, LIST_MASK);
    let deciding = e.builder.ins().band(word, mask);
    let unlisted = e.builder.ins().icmp_imm_u(IntCC::Equal, deciding, i64::from(MATURE));
    e.builder.ins().brif(unlisted, list, &[], done, &[]);

    e.continue_in(list);
    enter_list(e, value, word, access, done);
    e.continue_in(done);
}

/// Appends `value`, whose collector's word is `word`, to the list and continues in `done`.
fn enter_list(
    e: &mut GcEmitter<'_, '_>,
    value: ir::Value,
    word: ir::Value,
    access: Access,
    done: ir::Block,
) {
    let append = e.create_cold_block();
    let full = e.create_cold_block();
    let (length, room) = e.list_room(LIST);
    e.builder.ins().brif(room, append, &[], full, &[]);

    e.continue_in(append);
    let word = e.builder.ins().bor_imm_u(word, i64::from(LISTED));
    store_count(e, access, word);
    e.append_to_list(LIST, length, value);
    e.builder.ins().jump(done, &[]);

    e.continue_in(full);
    let operation = e.builder.ins().iconst(types::I32, i64::from(OP_LIST));
    let operand = e.builder.ins().iconst(types::I64, 0);
    e.call_host(HostCall::COLLECTOR, &[operation, value, operand]);
    e.builder.ins().jump(done, &[]);
}

const LAWS: &[BarrierLaw] = &[
    BarrierLaw {
        law: "a stored reference is not counted",
        applies: |m| !m.is_new() && !m.stores_unboxed(),
        kept: &[(When::Before, |m, step| is_to_young(m, step) || is_counted_up(m, step))],
    },
    BarrierLaw {
        law: "a young object is counted but not listed",
        applies: |m| !m.is_new() && !m.stores_unboxed(),
        kept: &[(When::Before, |m, step| {
            is_to_young(m, step) || is_listed(m, step, |m, value| m.is_same(value, m.store().value))
        })],
    },
    BarrierLaw {
        law: "an overwritten reference is not counted down",
        applies: |m| !m.is_new(),
        kept: &[(When::Before, is_to_young), (When::After, is_counted_down)],
    },
    BarrierLaw {
        law: "an object whose count reaches zero is not listed",
        applies: |m| !m.is_new(),
        kept: &[
            (When::Before, is_to_young),
            (When::After, |m, step| is_listed(m, step, |m, value| m.is_overwritten(value))),
        ],
    },
];

/// The object of the store is young, so its references are not counted.
fn is_to_young(m: &Matcher<'_>, step: Step) -> bool {
    let Step::Branch { condition, taken: false } = step else { return false };
    let Some([word, mask]) = m.binary(Opcode::Band, condition) else { return false };
    m.is_in_heap()
        && m.constant(mask) == Some(i64::from(MATURE))
        && m.loaded_from(word, regions::HEADER)
            .is_some_and(|place| m.is_word_of_object(&place, VMGcHeader::COLLECTOR_OFFSET))
}

/// The reference that `condition` tests, if it is the test whether a reference refers into the
/// heap.
fn tested_ref(m: &Matcher<'_>, condition: ir::Value) -> Option<ir::Value> {
    let (IntCC::SignedGreaterThan, [rotated, zero]) = m.comparison(condition)? else { return None };
    let [word, one] = m.binary(Opcode::Rotr, rotated)?;
    if m.constant(zero) != Some(0) || m.constant(one) != Some(1) {
        return None;
    }
    match m.linear(word) {
        Linear { terms, constant: 0 } => match terms[..] {
            [(reference, 1)] => Some(reference),
            _ => None,
        },
        _ => None,
    }
}

/// The reference whose count, changed by `change`, is `word`.
fn counted(m: &Matcher<'_>, word: ir::Value, change: i64) -> Option<ir::Value> {
    let [count, one] = m.binary(Opcode::Iadd, word)?;
    if m.constant(one)? as u32 != change as u32 {
        return None;
    }
    let Linear { terms, constant } = m.loaded_from(count, regions::HEADER)?;
    match terms[..] {
        [(reference, 1)] if constant == VMGcHeader::COLLECTOR_OFFSET => Some(reference),
        _ => None,
    }
}

/// The reference whose count, changed by `change`, is stored.
fn stored_count(m: &Matcher<'_>, inst: ir::Inst, change: i64) -> Option<ir::Value> {
    let (place, word) = m.stored_to(inst, regions::HEADER)?;
    let reference = counted(m, word, change)?;
    m.is_word_of(&place, reference, VMGcHeader::COLLECTOR_OFFSET).then_some(reference)
}

/// The stored reference is counted, or it does not refer to an object.
fn is_counted_up(m: &Matcher<'_>, step: Step) -> bool {
    let reference = match step {
        Step::Branch { condition, taken: false } => tested_ref(m, condition),
        Step::Branch { .. } => None,
        Step::Inst(inst) => stored_count(m, inst, i64::from(COUNT_ONE)),
    };
    reference.is_some_and(|reference| m.is_same(reference, m.store().value))
}

/// The count of the overwritten reference is decremented, or it does not refer to an object.
fn is_counted_down(m: &Matcher<'_>, step: Step) -> bool {
    let reference = match step {
        Step::Branch { condition, taken: false } => tested_ref(m, condition),
        Step::Branch { .. } => None,
        Step::Inst(inst) => stored_count(m, inst, -i64::from(COUNT_ONE)),
    };
    reference.is_some_and(|reference| m.is_overwritten(reference))
}

/// The counted reference is on the list or need not be, or it does not refer to an object.
fn is_listed(m: &Matcher<'_>, step: Step, is_it: fn(&Matcher<'_>, ir::Value) -> bool) -> bool {
    let reference = match step {
        Step::Branch { condition, taken: true } => {
            // The object is mature or was listed before, and its count was incremented.
            let Some([word, mask]) = m.binary(Opcode::Band, condition) else { return false };
            match m.constant(mask) == Some(i64::from(MATURE | LISTED)) {
                true => counted(m, word, i64::from(COUNT_ONE)),
                false => None,
            }
        }
        Step::Branch { condition, taken: false } => tested_ref(m, condition).or_else(|| {
            // By the mask it need not be on the list, and the count was decremented.
            let (IntCC::Equal, [deciding, last]) = m.comparison(condition)? else { return None };
            let [word, mask] = m.binary(Opcode::Band, deciding)?;
            let decides = m.is_current_heap_data(mask, LIST_MASK);
            match decides && m.constant(last) == Some(i64::from(MATURE)) {
                true => counted(m, word, -i64::from(COUNT_ONE)),
                false => None,
            }
        }),
        Step::Inst(inst) => match m.host_call(inst) {
            Some((HostCall::COLLECTOR, &[operation, reference, _]))
                if m.constant(operation) == Some(i64::from(OP_LIST)) =>
            {
                Some(reference)
            }
            _ => m
                .stored_to_native(inst, regions::SIDE_TABLE)
                .and_then(|([list, _], stored)| m.is_table(list, LIST).then_some(stored)),
        },
    };
    reference.is_some_and(|reference| is_it(m, reference))
}
