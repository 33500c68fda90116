//! The half that emits code: the card barrier.

use crate::{BUNDLES, CARDS, NAME, abi};
use cranelift_codegen::ir::{self, InstBuilder, Opcode, types};
use gc_compiler::check::{BarrierLaw, Matcher, Step, When};
use gc_compiler::{GcCompiler, GcEmitter, RefPlace, Trust, regions};
use gc_runtime::remember::Cards;
use gc_types::{CollectorAbi, SideTable};

/// The value of a card that a collection looks at.
const DIRTY: i64 = Cards::<{ crate::CARD_SHIFT }>::DIRTY as i64;

/// The half that emits code.
#[derive(Clone, Copy, Debug, Default)]
pub struct TwoGenerationsCompiler;

// ANCHOR: barrier
impl GcCompiler for TwoGenerationsCompiler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn abi(&self) -> CollectorAbi {
        abi()
    }

    fn barrier_laws(&self) -> &'static [BarrierLaw] {
        LAWS
    }

    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        let access = e.place_access(place, Trust::MayBeNull);
        // The store comes first, so that null faults here and not at its card.
        e.store_ref_at(access, value);
        let slot = match place {
            RefPlace::Field { object, offset } => {
                e.builder.ins().iadd_imm_u(object, i64::from(offset))
            }
            RefPlace::Element { object, index, offset } => {
                let array = e.builder.ins().ireduce(types::I32, object);
                let scaled = e.builder.ins().ishl_imm_u(index, 2);
                let element = e.builder.ins().iadd(array, scaled);
                let element = e.builder.ins().uextend(types::I64, element);
                e.builder.ins().iadd_imm_u(element, i64::from(offset))
            }
            // Every collection visits all roots.
            RefPlace::Native { .. } => return,
        };
        for table in [CARDS, BUNDLES] {
            let card = e.table_byte(table, slot);
            let dirty = e.builder.ins().iconst(types::I8, DIRTY);
            let flags = e.native_flags(regions::CARDS);
            e.builder.ins().store(flags, dirty, card, 0);
        }
    }

    /// A new object may be in the old generation, if the nursery has no room for it.
    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        self.write_ref(e, place, value);
    }
}
// ANCHOR_END: barrier

const LAWS: &[BarrierLaw] = &[
    BarrierLaw {
        law: "a reference is stored in an object whose card may be clean",
        applies: |m| m.is_in_heap(),
        kept: &[(When::After, |m, step| is_dirty(m, step, CARDS))],
    },
    BarrierLaw {
        law: "the bundle of a dirty card may be clean",
        applies: |m| m.is_in_heap(),
        kept: &[(When::After, |m, step| is_dirty(m, step, BUNDLES))],
    },
];

/// The entry of the slot's index in `table` is made dirty.
fn is_dirty(m: &Matcher<'_>, step: Step, table: SideTable) -> bool {
    let Step::Inst(inst) = step else { return false };
    let stored = m.stored_to_native(inst, regions::CARDS);
    let Some(([bytes, byte], value)) = stored else { return false };
    let Some([at, shift]) = m.binary(Opcode::Ushr, byte) else { return false };
    m.is_table(bytes, table)
        && m.constant(shift) == Some(i64::from(table.shift()))
        && m.constant(value) == Some(DIRTY)
        && m.linear(at) == m.store().address
}
