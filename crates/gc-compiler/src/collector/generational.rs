//! `generational`: inline bump allocation in a nursery (`bump.rs`), and a write barrier that tells
//! the collector of references from old objects, and from slots outside the heap, to young objects.
//!
//! The barrier tests the stored value first. One subtraction and one comparison show whether it is
//! young. For most stores it is not, and the barrier ends. If it is, the same test of the place
//! follows. If the place is not young, the card of the object (in an array, of the element) and the
//! card's bundle are marked, unless the card is marked already. Before the store, one load and a
//! test show whether old objects are being marked. If so, the overwritten reference is appended to
//! a log. Slots outside the heap have their own cards, selected by address. Every store marks them,
//! except for slots that the embedder reports in every collection.
//!
//! The barrier never calls the host. Even in a cold block, a call would make the code after it
//! reload values from memory. If the log is full, it wraps around instead. Its length shows this to
//! the collector.

use crate::check::{BarrierLaw, Linear, Matcher, Step, StorePlace, When};
use crate::{Access, GcCompiler, GcEmitter, RefPlace, Trust, regions};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, Opcode, types};
use gc_types::collector::generational::{
    self, BUNDLES, CARDS, DIRTY, LOG, LOG_LEN, MARKING, NAME, SLOT_CARD_SHIFT, SLOT_CARDS,
    WILL_EVACUATE, has_slot_cards,
};
use gc_types::collector::nursery::{NURSERY, NURSERY_START};
use gc_types::{ArrayLayout, CollectorAbi, SideTable};

/// Emits code for the `generational` collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct GenerationalCompiler;

impl GcCompiler for GenerationalCompiler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abi(&self) -> CollectorAbi {
        generational::abi()
    }

    fn barrier_laws(&self) -> &'static [BarrierLaw] {
        LAWS
    }

    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        let access = e.place_access(place, Trust::MayBeNull);
        match place {
            RefPlace::Field { object, offset } => {
                log_overwritten(e, access, |e| {
                    e.builder.ins().iadd_imm_u(object, i64::from(offset))
                });
                // The store comes first, so that a wrong index faults here and not at its card.
                e.store_ref_at(access, value);
                mark_card(e, value, |_| object);
            }
            RefPlace::Element { object, index, offset } => {
                let slot = |e: &mut GcEmitter<'_, '_>| index_of_element(e, object, index, offset);
                log_overwritten(e, access, slot);
                e.store_ref_at(access, value);
                mark_card(e, value, slot);
            }
            RefPlace::Native { address, offset, kind, .. } => {
                e.store_ref_at(access, value);
                if has_slot_cards(kind) {
                    mark_slot_card(e, address, offset, value);
                }
            }
        }
    }

    /// Those of young arrays, unless old objects are being marked.
    fn has_plain_elements(
        &self,
        e: &mut GcEmitter<'_, '_>,
        array: ir::Value,
        otherwise: ir::Block,
    ) -> bool {
        let [is_idle, is_plain] = [(); 2].map(|()| e.builder.create_block());
        let marking = is_marking(e);
        e.builder.ins().brif(marking, otherwise, &[], is_idle, &[]);
        e.continue_in(is_idle);
        let young = is_young(e, array);
        e.builder.ins().brif(young, is_plain, &[], otherwise, &[]);
        e.continue_in(is_plain);
        true
    }

    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        if let RefPlace::Native { .. } = place {
            return self.write_ref(e, place, value);
        }
        // The collector scans every new object, young or old, except for large arrays, whose cards are
        // clean.
        e.store_ref(place, value, Trust::Fresh);
        if let RefPlace::Element { object, index, offset } = place
            && e.constant(index).is_none()
        {
            mark_card_if_old(e, object, index, offset, value);
        }
    }
}

/// The index of an element in the heap (`I64`).
fn index_of_element(
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    index: ir::Value,
    offset: u32,
) -> ir::Value {
    let array = e.builder.ins().ireduce(types::I32, array);
    let scaled = e.builder.ins().ishl_imm_u(index, 2);
    let element = e.builder.ins().iadd(array, scaled);
    let element = e.builder.ins().uextend(types::I64, element);
    e.builder.ins().iadd_imm_u(element, i64::from(offset))
}

/// Marks the card of an element of a new array, if the array is not young and `value` is, or may be in a
/// block that will be evacuated. The collector then looks at the element as if it had looked at the array
/// because it is new.
fn mark_card_if_old(
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    index: ir::Value,
    offset: u32,
    value: ir::Value,
) {
    if e.is_unboxed(value) {
        return;
    }
    let [is_old, may_move, mark] = [(); 3].map(|()| e.create_cold_block());
    let done = e.builder.create_block();
    let young = is_young(e, array);
    e.builder.ins().brif(young, done, &[], is_old, &[]);

    e.continue_in(is_old);
    let young = is_young(e, value);
    e.builder.ins().brif(young, mark, &[], may_move, &[]);

    e.continue_in(may_move);
    let marking = is_marking(e);
    let evacuates = e.builder.ins().band_imm_u(marking, i64::from(WILL_EVACUATE));
    e.builder.ins().brif(evacuates, mark, &[], done, &[]);

    e.continue_in(mark);
    let at = index_of_element(e, array, index, offset);
    let card = e.table_byte(CARDS, at);
    dirty(e, at, card);
    e.builder.ins().jump(done, &[]);
    e.continue_in(done);
}

/// The word that is not zero while old objects are being marked (`I32`).
fn is_marking(e: &mut GcEmitter<'_, '_>) -> ir::Value {
    let data = e.heap_data();
    e.load_native(types::I32, regions::HEAP_DATA, data, MARKING)
}

/// If old objects are being marked, appends the reference at `access` to the log. `slot` returns
/// the index of the slot (`I64`).
fn log_overwritten(
    e: &mut GcEmitter<'_, '_>,
    access: Access,
    slot: impl FnOnce(&mut GcEmitter<'_, '_>) -> ir::Value,
) {
    let cold = e.create_cold_block();
    let done = e.builder.create_block();
    let marking = is_marking(e);
    e.builder.ins().brif(marking, cold, &[], done, &[]);

    e.continue_in(cold);
    let old = e.load_ref_at(access);
    let slot = slot(e);
    let slot = e.builder.ins().ishl_imm_u(slot, 32);
    let entry = e.builder.ins().bor(slot, old);
    let place = append(e);
    let flags = e.native_flags(regions::SIDE_TABLE);
    e.builder.ins().store(flags, entry, place, 0);
    e.builder.ins().jump(done, &[]);
    e.continue_in(done);
}

/// Marks the card of the index that `at` returns (`I64`), if `value` may refer to a young object.
fn mark_card(
    e: &mut GcEmitter<'_, '_>,
    value: ir::Value,
    at: impl FnOnce(&mut GcEmitter<'_, '_>) -> ir::Value,
) {
    if e.is_unboxed(value) {
        return;
    }
    let [value_is_young, place_is_old] = [(); 2].map(|()| e.builder.create_block());
    let cold = e.create_cold_block();
    let done = e.builder.create_block();
    let young = is_young(e, value);
    e.builder.ins().brif(young, value_is_young, &[], done, &[]);

    e.continue_in(value_is_young);
    let at = at(e);
    let young = is_young(e, at);
    e.builder.ins().brif(young, done, &[], place_is_old, &[]);

    e.continue_in(place_is_old);
    let card = e.table_byte(CARDS, at);
    let flags = e.native_flags(regions::CARDS);
    let is_dirty = e.builder.ins().uload8(types::I32, flags, card, 0);
    e.builder.ins().brif(is_dirty, done, &[], cold, &[]);

    e.continue_in(cold);
    dirty(e, at, card);
    e.builder.ins().jump(done, &[]);
    e.continue_in(done);
}

/// Marks the `card` of the index `at` (`I64`), and its bundle.
fn dirty(e: &mut GcEmitter<'_, '_>, at: ir::Value, card: ir::Value) {
    let bundle = e.table_byte(BUNDLES, at);
    let flags = e.native_flags(regions::CARDS);
    let dirty = e.builder.ins().iconst(types::I8, i64::from(DIRTY));
    e.builder.ins().store(flags, dirty, card, 0);
    e.builder.ins().store(flags, dirty, bundle, 0);
}

/// Marks the card of a slot outside the heap, whatever is stored there. Tests of the new and the
/// old value would cost more than they save.
fn mark_slot_card(e: &mut GcEmitter<'_, '_>, address: ir::Value, offset: i32, value: ir::Value) {
    if e.is_unboxed(value) {
        return;
    }
    let slot = e.builder.ins().iadd_imm_s(address, i64::from(offset));
    let card = e.builder.ins().ushr_imm_u(slot, i64::from(SLOT_CARD_SHIFT));
    let card = e.table_entry(SLOT_CARDS, card);
    let flags = e.native_flags(regions::CARDS);
    let dirty = e.builder.ins().iconst(types::I8, i64::from(DIRTY));
    e.builder.ins().store(flags, dirty, card, 0);
}

/// Counts an entry of the log and returns its address. The log wraps around.
fn append(e: &mut GcEmitter<'_, '_>) -> ir::Value {
    let data = e.heap_data();
    let len = e.load_native(types::I64, regions::HEAP_CURSOR, data, LOG_LEN);
    let flags = e.native_flags(regions::HEAP_CURSOR);
    let more = e.builder.ins().iadd_imm_u(len, 1);
    e.builder.ins().store(flags, more, data, LOG_LEN.cast_signed());
    e.table_entry(LOG, len)
}

/// Whether the index `at` (`I64`) is in the nursery.
fn is_young(e: &mut GcEmitter<'_, '_>, at: ir::Value) -> ir::Value {
    let nursery = e.env.abi().option(NURSERY);
    let word = e.builder.ins().ireduce(types::I32, at);
    let from_start = e.builder.ins().iadd_imm_s(word, -i64::from(NURSERY_START));
    e.builder.ins().icmp_imm_u(IntCC::UnsignedLessThan, from_start, nursery.cast_signed())
}

const LAWS: &[BarrierLaw] = &[
    BarrierLaw {
        law: "a young reference is stored in an object whose card may be clean",
        applies: |m| m.is_in_heap() && !is_scanned(m) && !m.stores_unboxed(),
        kept: &[(When::After, card_is_dirty), (When::Before, card_is_dirty)],
    },
    BarrierLaw {
        law: "the bundle of a dirty card may be clean",
        applies: |m| m.is_in_heap() && !is_scanned(m) && !m.stores_unboxed(),
        kept: &[(When::After, bundle_is_dirty), (When::Before, bundle_is_dirty)],
    },
    BarrierLaw {
        law: "an overwritten reference is not logged while old objects are being marked",
        applies: |m| m.is_in_heap() && !m.is_new(),
        kept: &[(When::Before, is_logged)],
    },
    BarrierLaw {
        law: "the card of a written slot outside the heap may be clean",
        applies: |m| {
            matches!(m.store().place, StorePlace::Native { kind } if has_slot_cards(kind))
                && !m.stores_unboxed()
        },
        kept: &[(When::After, slot_card_is_dirty), (When::Before, slot_card_is_dirty)],
    },
];

/// The object is new, and is not a large array. So the collector scans it.
fn is_scanned(m: &Matcher<'_>) -> bool {
    let is_small = |size| size <= ArrayLayout::MAX_EXAMINED;
    m.is_new() && (m.store().place == StorePlace::Field || m.new_size().is_some_and(is_small))
}

/// The stored value does not refer to a young object, or the place is in one, or the card of the
/// place is dirty.
fn card_is_dirty(m: &Matcher<'_>, step: Step) -> bool {
    is_dirty(m, step, CARDS)
}

/// As [`card_is_dirty`], for the card's bundle. A bundle is dirty if one of its cards is.
fn bundle_is_dirty(m: &Matcher<'_>, step: Step) -> bool {
    is_dirty(m, step, BUNDLES)
}

/// As [`card_is_dirty`], for the byte of an indexed table.
fn is_dirty(m: &Matcher<'_>, step: Step, table: SideTable) -> bool {
    // The card of a struct is the one on which it begins.
    let covers = |at: &Linear| match m.store().place {
        StorePlace::Field => m.is_word_of_object(at, 0),
        _ => *at == m.store().address,
    };
    let byte_of = |[bytes, byte]: [ir::Value; 2], table: SideTable| {
        let Some([at, by]) = m.binary(Opcode::Ushr, byte) else { return false };
        covers(&m.linear(at))
            && m.constant(by) == Some(i64::from(table.shift()))
            && m.is_table(bytes, table)
    };
    let tested = |condition| {
        let (comparison, [from_start, count]) = m.comparison(condition)?;
        let is_all = m.constant(count) == Some(m.abi().option(NURSERY).cast_signed());
        let is_test = comparison == IntCC::UnsignedLessThan && is_all;
        is_test.then(|| m.linear(from_start).plus(NURSERY_START))
    };
    match step {
        Step::Branch { condition, taken: true } => {
            m.loaded_from_native(condition, regions::CARDS).is_some_and(|card| byte_of(card, CARDS))
                || tested(condition).is_some_and(|at| covers(&at) || m.is_word_of_object(&at, 0))
        }
        Step::Branch { condition, taken: false } => {
            tested(condition).is_some_and(|at| at == m.linear(m.store().value))
        }
        Step::Inst(inst) => m.stored_to_native(inst, regions::CARDS).is_some_and(|(at, value)| {
            m.constant(value) == Some(i64::from(DIRTY)) && byte_of(at, table)
        }),
    }
}

/// No marking is under way, or the overwritten reference and its place are in the log.
fn is_logged(m: &Matcher<'_>, step: Step) -> bool {
    match step {
        Step::Branch { condition, taken } => !taken && m.is_current_heap_data(condition, MARKING),
        Step::Inst(inst) => {
            let entry = m.stored_to_native(inst, regions::SIDE_TABLE);
            let Some(([table, _], entry)) = entry else { return false };
            let Some([place, old]) = m.binary(Opcode::Bor, entry) else { return false };
            let Some([place, shift]) = m.binary(Opcode::Ishl, place) else { return false };
            m.is_table(table, LOG)
                && m.constant(shift) == Some(32)
                && m.linear(place) == m.store().address
                && m.is_overwritten(old)
        }
    }
}

/// The card of the native slot is dirty.
fn slot_card_is_dirty(m: &Matcher<'_>, step: Step) -> bool {
    let Step::Inst(inst) = step else { return false };
    let stored = m.stored_to_native(inst, regions::CARDS);
    let Some(([cards, card], value)) = stored else { return false };
    let Some([card, mask]) = m.binary(Opcode::Band, card) else { return false };
    let Some([slot, shift]) = m.binary(Opcode::Ushr, card) else { return false };
    m.is_table(cards, SLOT_CARDS)
        && m.constant(value) == Some(i64::from(DIRTY))
        && m.constant(mask) == Some(i64::from(SLOT_CARDS.len_masked() - 1))
        && m.constant(shift) == Some(i64::from(SLOT_CARD_SHIFT))
        && m.linear(slot) == m.store().address
}
