//! The native tables beside the heap: emitted code finds a table by the address that is in the heap data,
//! and computes the place in it in the [form](gc_types::SideForm) that the ABI has for the table.
//!
//! 1. An address in the heap data is that of a table in the ABI. It is only added to and accessed. The words that
//!    the [owner](gc_types::SideTable::owned_words) of a table writes are not written.
//! 2. A byte of an indexed table is that of a heap index where the program has accessed the heap, or
//!    that of an object that the code has just allocated. The shift is that of the table.
//! 3. The number of an entry of a masked table is masked with the table's length, and the table's switch was tested.
//! 4. The number of an entry of a list was compared with the capacity.
//! 5. Where the host may change the address, no call is between its load and the access.
//! 6. The heap data is accessed at constant places inside it.

use super::barriers::{Step, Verdict, When, every_path};
use super::fresh::Now;
use super::linear::Linear;
use super::view::View;
use crate::regions;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Inst, InstructionData, Opcode, Value, types};
use gc_types::collector::bump::NEXT;
use gc_types::{HeapDataOffsets, NULL_PAGE_SIZE, SideForm, SideTable};
use stack_roots::check::MemoryAccess;
use std::collections::HashMap;

type Law = Result<(), &'static str>;

/// The accesses to the heap through sums with the same terms: each with the sum's constant and its own offset.
type Accesses = HashMap<Vec<(Value, u32)>, Vec<(Inst, u32, u64)>>;

pub(super) struct SideTables<'v, 'a> {
    view: &'v View<'a>,
    accesses: Accesses,
}

impl<'v, 'a> SideTables<'v, 'a> {
    pub(super) fn new(view: &'v View<'a>) -> SideTables<'v, 'a> {
        let mut accesses = Accesses::new();
        if view.cx.abi.collector().tables().next().is_some() {
            for inst in view.rpo.iter().flat_map(|block| view.func.layout.block_insts(*block)) {
                if view.region(inst).is_some_and(regions::is_heap)
                    && let Some(access) = view.access(inst)
                    && let Ok(address) = view.heap_address(&access)
                {
                    let Linear { terms, constant } = view.linear(address.index);
                    accesses.entry(terms).or_default().push((inst, constant, address.offset));
                }
            }
        }
        SideTables { view, accesses }
    }

    /// Checks an access to a native address, if it is to a table or to the heap data.
    pub(super) fn access(&self, inst: Inst, access: &MemoryAccess, now: &Now<'_>) -> Law {
        self.heap_data(access, now)?;
        let sum = self.view.binary(Opcode::Iadd, access.address);
        let (pointer, place) = match sum.unwrap_or([access.address; 2]) {
            [a, b] if self.table(a).is_some() => (a, b),
            [b, a] if self.table(a).is_some() => (a, b),
            _ => return Ok(()),
        };
        match (sum, self.table(pointer)) {
            (Some(_), Some(table)) => self.is_in(inst, access, table, pointer, place, now),
            _ => Err("a side table is accessed without a place"),
        }
    }

    /// Checks an access to the heap data.
    fn heap_data(&self, access: &MemoryAccess, now: &Now<'_>) -> Law {
        let (base, offset) = self.view.constant_offset(access);
        if !self.view.is_heap_data(base) {
            return match self.has_heap_data(base, 8) {
                true => Err("a place in the heap data that is not constant"),
                false => Ok(()),
            };
        }
        let end = offset.saturating_add(access.size.into());
        if offset < 0 || end > i64::from(HeapDataOffsets::SIZE) {
            return Err("an access outside the heap data");
        }
        let Some(stored) = access.stored else { return Ok(()) };
        let owned = self.view.cx.abi.collector().table_words();
        let mut written = (0..i64::from(u32::BITS)).filter(|n| owned & 1 << n != 0);
        let is_owned = written.any(|n| offset < 4 * n + 4 && 4 * n < end);
        // Allocation moves the cursor.
        let moves_cursor = offset == i64::from(NEXT) && access.size == 4 && now.is_end(stored);
        match is_owned && !moves_cursor {
            true => Err("a store to a word that belongs to a side table"),
            false => Ok(()),
        }
    }

    /// Whether the address of the heap data is a part of this sum.
    fn has_heap_data(&self, sum: Value, depth: u32) -> bool {
        let parts = self.view.binary(Opcode::Iadd, sum).filter(|_| depth > 0);
        self.view.is_heap_data(sum)
            || parts
                .is_some_and(|parts| parts.iter().any(|part| self.has_heap_data(*part, depth - 1)))
    }

    /// Checks that the address of a table, or a sum with it, is used for nothing but accesses and sums.
    pub(super) fn uses(&self, inst: Inst) -> Law {
        let dfg = &self.view.func.dfg;
        let data = dfg.insts[inst];
        let mut others = Vec::new();
        match data {
            InstructionData::Load { .. } => {}
            InstructionData::Store { args: [stored, _], .. } => others.push(stored),
            InstructionData::Binary { opcode: Opcode::Iadd, args: [a, b] } => {
                let is_sum = |value| self.view.binary(Opcode::Iadd, value).is_some();
                others.extend([a, b].into_iter().filter(|value| is_sum(*value)));
            }
            _ => others.extend(dfg.inst_values(inst)),
        }
        match others.into_iter().any(|value| self.is_in_table(value)) {
            true => Err("the address of a side table is not only accessed"),
            false => Ok(()),
        }
    }

    /// The table whose address is `value`.
    fn table(&self, value: Value) -> Option<SideTable> {
        self.view.cx.abi.collector().table_at(self.view.heap_data_word(value)?)
    }

    /// Whether `value` is the address of a table, or a sum with one.
    fn is_in_table(&self, value: Value) -> bool {
        let sum = self.view.binary(Opcode::Iadd, value).unwrap_or([value; 2]);
        sum.iter().any(|part| self.table(*part).is_some())
    }

    fn is_in(
        &self,
        inst: Inst,
        access: &MemoryAccess,
        table: SideTable,
        pointer: Value,
        place: Value,
        now: &Now<'_>,
    ) -> Law {
        let size = match table.form() {
            SideForm::Indexed { .. } | SideForm::IndexedNew { .. } => 1,
            SideForm::Masked { entry, .. } => 1 << entry,
            SideForm::Appended { .. } => 4,
        };
        let end = u32::try_from(access.offset).ok().and_then(|at| at.checked_add(access.size));
        if end.is_none_or(|end| end > size) {
            return Err("an access beyond an entry of a side table");
        }
        match table.form() {
            SideForm::Indexed { shift } => {
                let index = self.shifted(Opcode::Ushr, place, shift);
                let index =
                    index.ok_or("the place in a side table is not shifted as the ABI says")?;
                match self.was_accessed(inst, index) {
                    true => Ok(()),
                    false => Err("a side table is indexed by a place that was not accessed"),
                }
            }
            SideForm::IndexedNew { shift } => {
                let index = self.shifted(Opcode::Ushr, place, shift);
                let index =
                    index.ok_or("the place in a side table is not shifted as the ABI says")?;
                if !now.is_inline(index) {
                    return Err("a side table is indexed by an object that is not allocated here");
                }
                self.is_loaded_after_calls(inst, pointer)
            }
            SideForm::Masked { entry, len, switch } => {
                let number = self.shifted(Opcode::Ishl, place, entry);
                let masked = number.and_then(|number| self.view.binary(Opcode::Band, number));
                if masked.is_none_or(|args| !args.iter().any(|arg| self.is_mask(*arg, len))) {
                    return Err(
                        "the number of an entry of a side table is not masked as the ABI says",
                    );
                }
                let Some(switch) = switch else { return Ok(()) };
                if !self.is_on(inst, switch) {
                    return Err("a side table is accessed without a test of its switch");
                }
                self.is_loaded_after_calls(inst, pointer)
            }
            SideForm::Appended { capacity, .. } => {
                let number = self.shifted(Opcode::Ishl, place, 2);
                let number = number.and_then(|number| self.view.unary(Opcode::Uextend, number));
                let number = number.ok_or("a place in a list that is no number of an entry")?;
                if !self.has_room(inst, number, capacity) {
                    return Err("a list is accessed without a comparison with its capacity");
                }
                self.is_loaded_after_calls(inst, pointer)
            }
        }
    }

    /// The value that is shifted by `by` to get `place`.
    fn shifted(&self, opcode: Opcode, place: Value, by: u32) -> Option<Value> {
        if by == 0 {
            return Some(place);
        }
        let [value, shift] = self.view.binary(opcode, place)?;
        (self.view.iconst(shift) == Some(i64::from(by))).then_some(value)
    }

    fn is_mask(&self, value: Value, len: u32) -> bool {
        self.view.iconst(value) == Some(i64::from(len - 1))
    }

    /// Whether every path to `inst` has accessed the heap at `index`, or behind it from the same place.
    fn was_accessed(&self, inst: Inst, index: Value) -> bool {
        let (narrow, offset) = match self.view.binary(Opcode::Iadd, index) {
            _ if self.view.kind(index).is_narrow() => (index, 0),
            Some([a, b]) => match self.view.iconst(b).and_then(|bits| u32::try_from(bits).ok()) {
                Some(offset) if self.view.kind(a).is_narrow() => (a, u64::from(offset)),
                _ => return false,
            },
            None => return false,
        };
        let Linear { terms, constant } = self.view.linear(narrow);
        let same = self.accesses.get(&terms).map_or(&[][..], Vec::as_slice);
        same.iter().any(|(other, at, from)| {
            // If the sum of 32 bits wraps, its place is in the null page, for which every table has bytes.
            let ahead = u64::from(constant.wrapping_sub(*at));
            let is_before =
                ahead + offset <= *from && (ahead == 0 || *from < NULL_PAGE_SIZE.into());
            is_before && self.view.dominates(*other, inst)
        })
    }

    /// Whether every path to `inst` has found that this word of the heap data is not zero.
    fn is_on(&self, inst: Inst, switch: u32) -> bool {
        let step = |step| match step {
            Step::Branch { condition, taken: true }
                if self.view.is_heap_word(condition, switch) =>
            {
                Verdict::Kept
            }
            _ => Verdict::Open,
        };
        every_path(self.view, inst, When::Before, false, &step)
    }

    /// Whether every path to `inst` has found `number` below this word of the heap data.
    fn has_room(&self, inst: Inst, number: Value, capacity: u32) -> bool {
        let is_room = |condition| match self.view.definition(condition).map(|(_, data)| data) {
            Some(InstructionData::IntCompare { cond: IntCC::UnsignedLessThan, args, .. }) => {
                let [len, most] = args;
                self.view.same(len) == self.view.same(number)
                    && self.view.is_heap_word(most, capacity)
            }
            _ => false,
        };
        let step = |step| match step {
            Step::Branch { condition, taken: true } if is_room(condition) => Verdict::Kept,
            _ => Verdict::Open,
        };
        every_path(self.view, inst, When::Before, false, &step)
    }

    /// Checks that no call is on a path from the load of `pointer` to `inst`. The host changes these addresses.
    fn is_loaded_after_calls(&self, inst: Inst, pointer: Value) -> Law {
        const MOVED: Law = Err("a side table is accessed after a call that may move it");
        let Some((load, _)) = self.view.definition(pointer) else { return MOVED };
        let step = |step| match step {
            Step::Inst(other) if other == load => Verdict::Kept,
            Step::Inst(other) if self.view.func.dfg.insts[other].opcode().is_call() => {
                Verdict::Broken
            }
            _ => Verdict::Open,
        };
        match every_path(self.view, inst, When::Before, false, &step) {
            true => Ok(()),
            false => MOVED,
        }
    }
}

impl View<'_> {
    /// The offset in the heap data from which `value` was loaded, if it has 64 bits.
    pub(super) fn heap_data_word(&self, value: Value) -> Option<u32> {
        let (load, _) = self.definition(value)?;
        let access = self.access(load).filter(|access| access.stored.is_none())?;
        let is_wide = self.func.dfg.value_type(value) == types::I64 && access.size == 8;
        let (base, offset) = self.constant_offset(&access);
        (is_wide && self.is_heap_data(base)).then(|| u32::try_from(offset).ok()).flatten()
    }

    /// Whether `value` is the address of the heap data.
    fn is_heap_data(&self, value: Value) -> bool {
        let data = self.cx.abi.offsets().vmctx_heap_data();
        self.prefix_word(value).map(u32::try_from) == Some(Ok(data))
    }

    /// Whether `value` was loaded from this word (u32) of the heap data.
    fn is_heap_word(&self, value: Value, offset: u32) -> bool {
        let loaded = self.definition(value).and_then(|(load, _)| self.access(load));
        let is_word = self.func.dfg.value_type(value) == types::I32
            && loaded.is_some_and(|access| access.size == 4);
        is_word && super::fresh::is_heap_data_word(self, value, regions::HEAP_DATA, offset)
    }
}
