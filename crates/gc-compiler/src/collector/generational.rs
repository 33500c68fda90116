//! `generational`: inline bump allocation in a nursery (`bump.rs`), and a write barrier that tells
//! the collector of references from old objects, and from slots outside the heap, to young objects.
//!
//! The barrier tests the object first. One subtraction and one comparison show whether it is young. A store into a
//! young object needs no more: marking begins when the nursery is empty, so what a young object refers to either was
//! found in the snapshot or is younger than it. If the object is old, the same subtraction and a comparison with a word
//! of the heap data follow for the stored value ([`YOUNG_LAST`]). While nothing is being marked, they show whether it is
//! young. While old objects are being marked, every value is below the bound. Then the overwritten reference is
//! appended to a log. If the value is young, the card of the object (in an array, of the element) and the card's bundle
//! are marked, unless the card is marked already. Slots outside the heap have their own cards, selected by address.
//! Every store marks them, except for slots that the embedder reports in every collection.
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
    WILL_EVACUATE, YOUNG_LAST, has_slot_cards,
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
                let slot = |e: &mut GcEmitter<'_, '_>| {
                    e.builder.ins().iadd_imm_u(object, i64::from(offset))
                };
                write(e, access, value, object, slot, |_| object);
            }
            RefPlace::Element { object, index, offset } => {
                let slot = |e: &mut GcEmitter<'_, '_>| index_of_element(e, object, index, offset);
                write(e, access, value, object, slot, slot);
            }
            RefPlace::Native { address, offset, kind, .. } => {
                e.store_ref_at(access, value);
                if has_slot_cards(kind) {
                    mark_slot_card(e, address, offset, value);
                }
            }
        }
    }

    /// Those of young arrays.
    fn has_plain_elements(
        &self,
        e: &mut GcEmitter<'_, '_>,
        array: ir::Value,
        otherwise: ir::Block,
    ) -> bool {
        let is_plain = e.builder.create_block();
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

/// Stores `value` at `access`, a slot of `object`, with the barrier. `slot` returns the index of the slot, `at` the index
/// whose card must be marked (`I64`).
fn write(
    e: &mut GcEmitter<'_, '_>,
    access: Access,
    value: ir::Value,
    object: ir::Value,
    slot: impl FnOnce(&mut GcEmitter<'_, '_>) -> ir::Value,
    at: impl Fn(&mut GcEmitter<'_, '_>) -> ir::Value,
) {
    let log = e.create_cold_block();
    let [plain, done] = [(); 2].map(|()| e.builder.create_block());
    if e.is_unboxed(value) {
        // It needs no card. One test is enough.
        let marking = is_marking(e);
        e.builder.ins().brif(marking, log, &[], plain, &[]);
        e.continue_in(log);
        log_overwritten(e, access, slot);
        e.builder.ins().jump(plain, &[]);
    } else {
        let [is_old, barrier, unlogged] = [(); 3].map(|()| e.builder.create_block());
        let [log_young, clean] = [(); 2].map(|()| e.create_cold_block());
        let young = is_young(e, object);
        e.builder.ins().brif(young, plain, &[], is_old, &[]);

        e.continue_in(is_old);
        let data = e.heap_data();
        let last = e.load_native(types::I32, regions::HEAP_DATA, data, YOUNG_LAST);
        let from_start = from_nursery(e, value);
        let needed = e.builder.ins().icmp(IntCC::UnsignedLessThanOrEqual, from_start, last);
        e.builder.ins().brif(needed, barrier, &[], plain, &[]);

        e.continue_in(barrier);
        let marking = is_marking(e);
        e.builder.ins().brif(marking, log, &[], unlogged, &[]);

        // The value is young. The store comes before the card, so that a wrong index faults here and not at its card.
        e.continue_in(unlogged);
        e.store_ref_at(access, value);
        let index = at(e);
        let card = e.table_byte(CARDS, index);
        let flags = e.native_flags(regions::CARDS);
        let is_dirty = e.builder.ins().uload8(types::I32, flags, card, 0);
        e.builder.ins().brif(is_dirty, done, &[], clean, &[]);

        e.continue_in(clean);
        dirty(e, index, card);
        e.builder.ins().jump(done, &[]);

        e.continue_in(log);
        log_overwritten(e, access, slot);
        e.store_ref_at(access, value);
        let young = is_young(e, value);
        e.builder.ins().brif(young, log_young, &[], done, &[]);

        e.continue_in(log_young);
        let index = at(e);
        let card = e.table_byte(CARDS, index);
        dirty(e, index, card);
        e.builder.ins().jump(done, &[]);
    }
    e.continue_in(plain);
    e.store_ref_at(access, value);
    e.builder.ins().jump(done, &[]);
    e.continue_in(done);
}

/// Appends the reference at `access` to the log. `slot` returns the index of the slot (`I64`).
fn log_overwritten(
    e: &mut GcEmitter<'_, '_>,
    access: Access,
    slot: impl FnOnce(&mut GcEmitter<'_, '_>) -> ir::Value,
) {
    // This comes first: an entry that is counted and not written would be an old one.
    let old = e.load_ref_at(access);
    let place = append(e);
    let flags = e.native_flags(regions::SIDE_TABLE);
    // In two parts, which takes fewer registers than one word.
    e.builder.ins().istore32(flags, old, place, 0);
    let slot = slot(e);
    e.builder.ins().istore32(flags, slot, place, 4);
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
    let from_start = from_nursery(e, at);
    e.builder.ins().icmp_imm_u(IntCC::UnsignedLessThan, from_start, nursery.cast_signed())
}

/// How far the index `at` (`I64`) is after the start of the nursery, modulo 2³² (`I32`).
fn from_nursery(e: &mut GcEmitter<'_, '_>, at: ir::Value) -> ir::Value {
    let word = e.builder.ins().ireduce(types::I32, at);
    e.builder.ins().iadd_imm_s(word, -i64::from(NURSERY_START))
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
        law: "a reference that an old object had is not logged while old objects are being marked",
        applies: |m| m.is_in_heap() && !m.is_new(),
        kept: &[(When::Before, is_logged)],
    },
    BarrierLaw {
        law: "the place of a reference that an old object had is not logged while old objects are being marked",
        applies: |m| m.is_in_heap() && !m.is_new(),
        kept: &[(When::Before, is_place_logged)],
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
    match step {
        Step::Branch { condition, taken: true } => {
            m.loaded_from_native(condition, regions::CARDS).is_some_and(|card| byte_of(card, CARDS))
                || is_in_young(m, condition)
        }
        Step::Branch { condition, taken: false } => {
            let tested = tested_young(m, condition).or_else(|| tested_bound(m, condition));
            tested.is_some_and(|at| at == m.linear(m.store().value))
        }
        Step::Inst(inst) => m.stored_to_native(inst, regions::CARDS).is_some_and(|(at, value)| {
            m.constant(value) == Some(i64::from(DIRTY)) && byte_of(at, table)
        }),
    }
}

/// The index that `condition` tests for being in the nursery.
fn tested_young(m: &Matcher<'_>, condition: ir::Value) -> Option<Linear> {
    let (comparison, [from_start, count]) = m.comparison(condition)?;
    let is_all = m.constant(count) == Some(m.abi().option(NURSERY).cast_signed());
    let is_test = comparison == IntCC::UnsignedLessThan && is_all;
    is_test.then(|| m.linear(from_start).plus(NURSERY_START))
}

/// The index that `condition` compares with [`YOUNG_LAST`]. If it is not below, it is not in the nursery, and nothing is
/// being marked.
fn tested_bound(m: &Matcher<'_>, condition: ir::Value) -> Option<Linear> {
    let (comparison, [from_start, last]) = m.comparison(condition)?;
    let is_test =
        comparison == IntCC::UnsignedLessThanOrEqual && m.is_current_heap_data(last, YOUNG_LAST);
    is_test.then(|| m.linear(from_start).plus(NURSERY_START))
}

/// If `condition` is not zero, the written object is young.
fn is_in_young(m: &Matcher<'_>, condition: ir::Value) -> bool {
    tested_young(m, condition).is_some_and(|at| m.is_word_of_object(&at, 0))
}

/// No marking is under way, or the object is young.
fn needs_no_log(m: &Matcher<'_>, condition: ir::Value, taken: bool) -> bool {
    match taken {
        true => is_in_young(m, condition),
        false => m.is_current_heap_data(condition, MARKING) || tested_bound(m, condition).is_some(),
    }
}

/// The value that `inst` stores at this byte of an entry of the log.
fn logged(m: &Matcher<'_>, inst: ir::Inst, byte: i32) -> Option<ir::Value> {
    let ([table, _], value) = m.stored_to_native_at(inst, regions::SIDE_TABLE, byte)?;
    m.is_table(table, LOG).then_some(value)
}

/// The log is not needed, or the overwritten reference is in it.
fn is_logged(m: &Matcher<'_>, step: Step) -> bool {
    match step {
        Step::Branch { condition, taken } => needs_no_log(m, condition, taken),
        Step::Inst(inst) => logged(m, inst, 0).is_some_and(|old| m.is_overwritten(old)),
    }
}

/// The log is not needed, or the place is in it.
fn is_place_logged(m: &Matcher<'_>, step: Step) -> bool {
    match step {
        Step::Branch { condition, taken } => needs_no_log(m, condition, taken),
        Step::Inst(inst) => {
            logged(m, inst, 4).is_some_and(|place| m.linear(place) == m.store().address)
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
