//! The law of the sandbox: through references, compiled code accesses only the heap, and it
//! accesses native memory only through native pointers.
//!
//! 1. Every load and store has an alias region.
//! 2. No heap load is one that Cranelift may move freely. Unless an access is to a fresh object, it
//!    is not assumed to be aligned and it has a trap code.
//! 3. Every heap address has the sandbox's form: the heap's base plus a value that is known to be
//!    32 bits wide, at an offset inside the guard. Accesses at larger offsets, and all accesses if
//!    the heap is not guarded, come after a comparison of their end with the bound.
//! 4. An access without a trap code is to an object that was allocated since the last call that may
//!    collect. If constants give the place, it is inside the object.
//! 5. A reference in memory is accessed in 32 bits. Elements of an array may be accessed as vectors
//!    of such references.
//! 6. A value that is passed or returned as a reference is 32 bits wide. So parameters and results
//!    can be trusted to be.
//! 7. A native address is a native pointer plus a bounded value: one that is narrow, or that was
//!    compared with a length that the host keeps. A pointer comes from a parameter, a result, or
//!    memory that the host keeps, and never from the heap. The same is true of the
//!    address of called code, and of values that are passed or returned as pointers. The vmctx's
//!    prefix and the place of host results are not written.
//! 8. A native table beside the heap is accessed as `side_tables.rs` says.
//! 9. An access to a stack slot is inside it, and a slot holds either pointers or other values.

use super::BrokenLaw;
use super::fresh::{Fresh, Now, Size};
use super::side_tables::SideTables;
use super::types::{Memory, ValueType};
use super::view::{HeapAddress, View, trap_condition};
use crate::{regions, trap_code};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, Inst, InstructionData, Opcode, Value, types};
use gc_types::{HEAP_GUARD_SIZE, Trap};
use stack_roots::check::ValueKinds;
use stack_roots::check::{MemoryAccess, signature};
use std::collections::HashSet;

type Law = Result<(), &'static str>;

/// Bits of an index of 32 bits that is multiplied by the size of an element, plus other such values.
const MAX_WIDTH: u8 = 42;

pub(super) fn check(view: &View<'_>) -> Result<(), BrokenLaw> {
    let tables = SideTables::new(view);
    let checker = Sandbox { view, tables, pointer_slots: pointer_slots(view) };
    let fresh = Fresh::new(view);
    for &block in &view.rpo {
        fresh.walk(view, block, |inst, now| {
            checker.inst(inst, now).map_err(|law| BrokenLaw { law, inst })
        })?;
    }
    Ok(())
}

/// The stack slots that hold native pointers.
fn pointer_slots(view: &View<'_>) -> HashSet<ir::StackSlot> {
    let insts = view.rpo.iter().flat_map(|block| view.func.layout.block_insts(*block));
    let native = insts.filter(|inst| {
        let memory = view.region(*inst).map(|region| view.cx.types.memory(region));
        memory == Some(Memory::Native)
    });
    native.filter_map(|inst| Some(view.slot(inst)?.0)).collect()
}

struct Sandbox<'v, 'a> {
    view: &'v View<'a>,
    tables: SideTables<'v, 'a>,
    pointer_slots: HashSet<ir::StackSlot>,
}

impl Sandbox<'_, '_> {
    fn inst(&self, inst: Inst, now: &Now<'_>) -> Law {
        let data = &self.view.func.dfg.insts[inst];
        let opcode = data.opcode();
        self.tables.uses(inst)?;
        if opcode.is_call() {
            return self.call(inst);
        }
        if opcode == Opcode::Return {
            let results = &self.view.cx.types.own().results;
            return self.passed(self.view.func.dfg.inst_args(inst), results);
        }
        if !(opcode.can_load() || opcode.can_store()) {
            return Ok(());
        }
        let access = self.view.access(inst);
        let access = access.ok_or("an access that is neither a load nor a store")?;
        let region = self.view.region(inst).ok_or("an access without an alias region")?;
        if regions::is_heap(region) {
            self.heap_access(inst, &access, region, now)
        } else {
            self.tables.access(inst, &access, now)?;
            self.native_access(inst, &access, region)
        }
    }

    fn heap_access(&self, inst: Inst, access: &MemoryAccess, region: u32, now: &Now<'_>) -> Law {
        let flags = access.flags;
        let is_load = access.stored.is_none();
        if is_load && (flags.readonly() || flags.can_move()) {
            return Err("a heap load that may move");
        }
        if is_load && flags.trap_code().is_none() {
            return Err("a heap load without a trap code");
        }
        if flags.aligned() && flags.trap_code().is_some() {
            return Err("an untrusted heap access that is assumed to be aligned");
        }
        if [regions::STRUCT_REF_FIELD, regions::ARRAY_REF_ELEMENT].contains(&region) {
            self.is_word(inst, region == regions::ARRAY_REF_ELEMENT)?;
        }
        let address = self.view.heap_address(access)?;
        if flags.trap_code().is_none() {
            return self.fresh_access(access, &address, now);
        }
        let end = address.offset.saturating_add(u64::from(access.size));
        let unchecked = self.view.cx.abi.guarded() && end <= HEAP_GUARD_SIZE;
        if !self.is_bounded(address.index, !unchecked) {
            return Err("a heap index that may be wider than 32 bits");
        }
        if !(unchecked || self.is_compared(&address, end)) {
            return Err("a heap access outside the guard without a comparison");
        }
        Ok(())
    }

    /// Checks an access that has no trap code.
    fn fresh_access(&self, access: &MemoryAccess, address: &HeapAddress, now: &Now<'_>) -> Law {
        if !self.view.kind(address.index).is_narrow() {
            return Err("a heap index that may be wider than 32 bits");
        }
        let end = address.offset.saturating_add(u64::from(access.size));
        let (size, is_element) = match now.size_of(address.index) {
            Some(size) => (size, false),
            None => {
                let sum = self.view.linear(address.index);
                let fresh = sum.terms.iter().filter(|(_, factor)| *factor == 1);
                let mut sizes = fresh.filter_map(|(term, _)| now.size_of(*term));
                let size = sizes
                    .next()
                    .ok_or("a heap store without a trap code to an object that is not fresh")?;
                (size, true)
            }
        };
        match size {
            Some(Size::Exactly(size)) if end > size => Err("a heap store beyond a fresh object"),
            // The index of an element is a loop's index, or was found to be below the length.
            Some(Size::AtLeast(size)) if end > size && !is_element => {
                Err("a heap store beyond a fresh object")
            }
            _ => Ok(()),
        }
    }

    /// Checks that a load of a reference zero-extends 32 bits, and that a store writes the low 32
    /// bits. Or that they load and store four of them, if these `may_be_four`.
    fn is_word(&self, inst: Inst, may_be_four: bool) -> Law {
        let dfg = &self.view.func.dfg;
        let are_four = |value: Value| may_be_four && dfg.value_type(value) == types::I32X4;
        let fits = match dfg.insts[inst] {
            InstructionData::Load { opcode, .. } => {
                let loaded = dfg.inst_results(inst)[0];
                match opcode {
                    Opcode::Uload32 => dfg.value_type(loaded) == types::I64,
                    Opcode::Load => are_four(loaded),
                    _ => false,
                }
            }
            InstructionData::Store { opcode: Opcode::Istore32, .. } => true,
            InstructionData::Store { opcode: Opcode::Store, args, .. } => {
                dfg.value_type(args[0]) == types::I32 || are_four(args[0])
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err("a reference in memory that is not accessed in 32 bits") }
    }

    fn native_access(&self, inst: Inst, access: &MemoryAccess, region: u32) -> Law {
        let memory = self.view.cx.types.memory(region);
        let slot = self.view.slot(inst);
        if let Some((slot, offset)) = slot {
            let size = self.view.func.sized_stack_slots[slot].size;
            if offset.checked_add(access.size).is_none_or(|end| end > size) {
                return Err("an access outside a stack slot");
            }
            let other = match memory {
                Memory::Data => self.pointer_slots.contains(&slot),
                Memory::Native => false,
                Memory::Refs(_) | Memory::Stack => true,
            };
            if other {
                return Err("a stack slot is accessed as other memory");
            }
        }
        if access.stored.is_some() {
            if region == regions::HOST_RESULT {
                return Err("a store to the result of host calls");
            }
            let (base, offset) = self.view.constant_offset(access);
            let prefix = i64::from(self.view.cx.abi.offsets().vmctx_prefix_size());
            if self.view.is_vmctx(base) && offset < prefix {
                return Err("a store to the prefix of the vmctx");
            }
        }
        if matches!(memory, Memory::Refs(_)) {
            self.is_word(inst, false)?;
        }
        if let (Memory::Native, Some(value)) = (memory, access.stored)
            && self.view.func.dfg.value_type(value) == types::I64
            && !self.view.kind(value).fits_pointer()
        {
            return Err("an integer is stored where native pointers are");
        }
        if slot.is_some() {
            return Ok(());
        }
        self.is_native_address(access.address, 16)
    }

    /// Whether `address` is a native pointer plus a bounded value.
    fn is_native_address(&self, address: Value, depth: u32) -> Law {
        const WRONG: Law = Err("a native address that is not computed from a native pointer");
        let kind = self.view.kind(address);
        // This is null, which is not mapped.
        if kind == ValueKinds::NONE {
            return Ok(());
        }
        if !kind.has(ValueKinds::POINTER) || !kind.fits_pointer() || depth == 0 {
            return WRONG;
        }
        if self.view.is_heap_base(address) {
            return Err("memory of the heap is accessed as if it were native");
        }
        let Some(args) = self.view.binary(Opcode::Iadd, address) else {
            return match self.view.definition(address) {
                Some((_, InstructionData::StackAddr { .. })) => {
                    Err("an access outside a stack slot")
                }
                _ if self.view.heap_data_word(address).is_some_and(|word| !self.is_table(word)) => {
                    Err("an address in the heap data that is no side table's")
                }
                _ => Ok(()),
            };
        };
        let pointers = args.map(|arg| self.view.kind(arg).has(ValueKinds::POINTER));
        let (pointer, offset) = match pointers {
            [true, false] => (args[0], args[1]),
            [false, true] => (args[1], args[0]),
            _ => return WRONG,
        };
        let is_bounded = self.is_bounded(offset, true) || self.view.iconst(offset).is_some();
        if !(is_bounded || self.is_within_length(address, offset)) {
            return Err("a native address with an unbounded offset");
        }
        self.is_native_address(pointer, depth - 1)
    }

    fn is_table(&self, word: u32) -> bool {
        self.view.cx.abi.collector().table_at(word).is_some()
    }

    /// Whether `value` is at most 32 bits wide, or, if `scaled`, at most [`MAX_WIDTH`] bits. 64-bit
    /// arithmetic with such values and a constant cannot overflow.
    fn is_bounded(&self, value: Value, scaled: bool) -> bool {
        self.view.kind(value).is_narrow() || scaled && self.view.width(value) <= MAX_WIDTH
    }

    fn call(&self, inst: Inst) -> Law {
        let dfg = &self.view.func.dfg;
        let callee = match dfg.insts[inst] {
            InstructionData::CallIndirect { .. } | InstructionData::TryCallIndirect { .. } => 1,
            _ => 0,
        };
        let args = dfg.inst_args(inst);
        if let [code, ..] = args[..callee]
            && !self.view.kind(code).fits_pointer()
        {
            return Err("a call to an address that is not a native pointer");
        }
        let types = self.view.language.call(self.view.func, inst);
        let types = types.ok_or("a call whose types are not declared")?;
        let own = signature(self.view.func, inst).map(|signature| &dfg.signatures[signature]);
        if own.is_none_or(|own| own.params.len() != types.params.len()) {
            return Err("a call whose types are not its signature's");
        }
        self.passed(&args[callee..], &types.params)
    }

    /// Checks that values that leave the function have their types.
    fn passed(&self, values: &[Value], types: &[ValueType]) -> Law {
        for (&value, ty) in values.iter().zip(types) {
            let kind = self.view.kind(value);
            match ty {
                ValueType::Ref if !kind.is_narrow() => {
                    return Err("a reference that may be wider than 32 bits is passed");
                }
                ValueType::Pointer if !kind.fits_pointer() => {
                    return Err("an integer is passed as a native pointer");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the block traps, before it computes `address`, unless `offset` is within a length that
    /// the host keeps. The offset may be an index that is multiplied by the size of an element, and
    /// the length that of the elements. What is compared may be the offset plus a constant, if the
    /// sum cannot overflow.
    fn is_within_length(&self, address: Value, offset: Value) -> bool {
        const LARGEST_ELEMENT: i64 = 4;
        let Some((inst, _)) = self.view.definition(address) else { return false };
        let Some(block) = self.view.func.layout.inst_block(inst) else { return false };
        let scaled = self
            .view
            .binary(Opcode::Ishl, offset)
            .filter(|[_, shift]| matches!(self.view.iconst(*shift), Some(0..=LARGEST_ELEMENT)));
        let bounded = [Some(offset), scaled.map(|[index, _]| index)];
        let bounded = bounded.map(|value| value.map(|value| self.view.same(value)));
        let before = self.view.func.layout.block_insts(block).take_while(|other| *other != inst);
        // The length may change in a call, but memory and tables do not shrink.
        before.filter_map(|other| self.within_length(other)).any(|mut compared| {
            loop {
                if bounded.contains(&Some(self.view.same(compared))) {
                    return true;
                }
                match self.view.definition(compared) {
                    Some((_, InstructionData::IntAddTrap { args: [sum, constant], .. }))
                        if self.view.iconst(constant).is_some() =>
                    {
                        compared = sum;
                    }
                    _ => return false,
                }
            }
        })
    }

    /// The value that is within a length that the host keeps unless `inst` traps.
    fn within_length(&self, inst: Inst) -> Option<Value> {
        let (condition, _, true) = trap_condition(self.view.func, inst)? else { return None };
        let InstructionData::IntCompare { cond, args: [value, length], .. } =
            self.view.definition(condition)?.1
        else {
            return None;
        };
        let is_above =
            matches!(cond, IntCC::UnsignedGreaterThan | IntCC::UnsignedGreaterThanOrEqual);
        let is_length = match self.view.definition(length)? {
            (_, InstructionData::UnaryImm { opcode: Opcode::Iconst, .. }) => true,
            (load, InstructionData::Load { opcode: Opcode::Load, .. }) => {
                let region = self.view.region(load)?;
                self.view.cx.types.memory(region) == Memory::Native
            }
            _ => false,
        };
        (is_above && is_length).then_some(value)
    }

    /// Whether the block traps, before it computes the address, unless the index plus at least
    /// `end` is within a bound.
    fn is_compared(&self, address: &HeapAddress, end: u64) -> bool {
        let Some(inst) = self.view.func.dfg.value_def(address.sum).inst() else { return false };
        let Some(block) = self.view.func.layout.inst_block(inst) else { return false };
        let before = self.view.func.layout.block_insts(block).take_while(|other| *other != inst);
        // The bound may change, and with it the index.
        let mut compared = false;
        for other in before {
            if self.view.func.dfg.insts[other].opcode().is_call() {
                compared = false;
            } else if let Some((sum, constant)) = self.compared_sum(other) {
                compared |= constant >= end && self.view.same(sum) == self.view.same(address.index);
            }
        }
        compared
    }

    /// `(value, constant)` if `inst` traps unless their sum is within a bound.
    fn compared_sum(&self, inst: Inst) -> Option<(Value, u64)> {
        let (condition, code, true) = trap_condition(self.view.func, inst)? else { return None };
        let InstructionData::IntCompare { cond, args, .. } = self.view.definition(condition)?.1
        else {
            return None;
        };
        if code != trap_code(Trap::CorruptHeap)
            || cond != IntCC::UnsignedGreaterThan
            || !self.is_bound(args[1])
        {
            return None;
        }
        let [sum, constant] = self.view.binary(Opcode::Iadd, args[0])?;
        let constant = self.view.iconst(constant)?;
        Some((sum, u64::try_from(constant).ok()?))
    }

    /// Whether `value` is a bound that no access may exceed: the heap's bound, or the end of the
    /// indices that a reference can have.
    fn is_bound(&self, value: ir::Value) -> bool {
        let bound = gc_types::HeapDataOffsets::BOUND;
        super::fresh::is_heap_data_word(self.view, value, regions::HEAP_DATA, bound)
            || self.view.cx.abi.guarded() && self.view.iconst(value) == Some(1 << 32)
    }
}
