//! The law of barriers: a reference is stored only where the collector looks for references, and
//! every such store has the collector's write barrier.
//!
//! A collector describes its barrier as a list of [`BarrierLaw`]s
//! ([`GcCompiler::barrier_laws`](crate::GcCompiler::barrier_laws)): what must happen on every path
//! to the store, or on every path from it, before anything can collect. Each law is a few lines in
//! the collector's own file that recognize the barrier's effect in CLIF: a card is marked, a count
//! is raised, or a branch is taken because the value is not young. This module finds the stores of
//! references and their places, and walks over all paths. So the checker does not trust that an
//! emitter was called. It looks for the barrier's instructions.
//!
//! Many collectors need no barrier for a store to an object that was allocated since the last call that may
//! collect. A law says so ([`Matcher::is_new`]), and the checker [shows](super::fresh) that the object is new.

use super::BrokenLaw;
use super::fresh::{self, Fresh, Size};
use super::types::Memory;
use super::view::{HeapAddress, View, edges};
use crate::regions::{self, Region};
use cranelift_codegen::ir::{Block, Inst, InstructionData, Opcode, Value};
use gc_types::{Abi, HostCall, NULL_PAGE_SIZE, RootKind};
use stack_roots::check::ValueKinds;
use std::collections::HashSet;

/// The place where a reference is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// In a field of a struct or exception.
    Field,
    /// In an element of an array.
    Element,
    /// Outside the heap.
    Native {
        /// The kind of root that the slot is.
        kind: RootKind,
    },
}

/// A store of a reference, to an object or outside the heap.
#[derive(Clone, Debug)]
pub struct RefStore {
    /// The store.
    pub inst: Inst,
    /// The place that is written.
    pub place: StorePlace,
    /// The value that is stored. It is a vector if several elements are stored at once.
    pub value: Value,
    /// The heap index, or the native address, of the place.
    pub address: super::Linear,
}

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An instruction.
    Inst(Inst),
    /// A branch (`brif`) that is taken or not.
    Branch {
        /// Its condition.
        condition: Value,
        /// Whether the condition is not zero.
        taken: bool,
    },
}

/// The paths that a law is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All paths from the last call that may collect to the store.
    Before,
    /// All paths from the store to the next call that may collect.
    After,
}

/// Returns whether a step of a path satisfies a law.
pub type Wanted = fn(&Matcher<'_>, Step) -> bool;

/// A rule that stores of references must obey.
///
/// # Examples
/// The law of a collector whose heap wants to know each reference that is stored, and its checker:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use cranelift_codegen::ir::types;
/// # use gc_types::{StorageType, StructLayout};
/// use gc_compiler::GcCompiler;
/// use gc_compiler::check::{BarrierLaw, Step, When};
/// use gc_types::HostCall;
///
/// struct Telling;
///
/// impl GcCompiler for Telling {
///     fn name(&self) -> &'static str {
///         "telling"
///     }
///
///     fn barrier_laws(&self) -> &'static [BarrierLaw] {
///         &[BarrierLaw {
///             law: "the heap is not told of a reference that is stored",
///             applies: |store| store.is_in_heap() && !store.is_new() && !store.stores_unboxed(),
///             kept: &[(When::Before, |store, step| {
///                 let Step::Inst(inst) = step else { return false };
///                 matches!(store.host_call(inst), Some((HostCall::COLLECTOR, [_, told, _]))
///                     if store.is_same(*told, store.store().value))
///             })],
///         }]
///     }
///
///     // The barrier, `write_ref`, was forgotten.
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layout = StructLayout::new([StorageType::Ref])?;
/// # let params = [types::I64; 2];
/// # let checked = emit(&Telling, &params, |e, params| {
/// #     let [object, value] = *params else { unreachable!() };
/// e.struct_set(object, &layout, 0, value);
/// # });
/// let error = checked.unwrap_err().to_string();
/// assert!(error.starts_with("barriers: the heap is not told of a reference that is stored"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BarrierLaw {
    /// The error if the rule is broken.
    pub law: &'static str,
    /// Whether it applies to this store.
    pub applies: fn(&Matcher<'_>) -> bool,
    /// The ways to satisfy the law. One of them must be satisfied on all of its paths.
    pub kept: &'static [(When, Wanted)],
}

/// A store of a reference, and queries about the function around it.
pub struct Matcher<'a> {
    view: &'a View<'a>,
    store: &'a RefStore,
    /// If the place is in a new object, its size, as far as it is known.
    new: Option<Option<Size>>,
}

impl Matcher<'_> {
    /// The store.
    pub fn store(&self) -> &RefStore {
        self.store
    }

    /// The settings with which the function was built.
    pub fn abi(&self) -> &Abi {
        self.view.cx.abi
    }

    /// Whether the place is in the heap.
    pub fn is_in_heap(&self) -> bool {
        !matches!(self.store.place, StorePlace::Native { .. })
    }

    /// Whether the place is in an object that was allocated since the last call that may collect. Such an object has
    /// not been seen by a collection yet. Where it was allocated depends on the collector.
    pub fn is_new(&self) -> bool {
        self.is_in_heap() && self.new.is_some()
    }

    /// The size in bytes of the [new](Matcher::is_new) object, header included, if the checker knows it.
    pub fn new_size(&self) -> Option<u32> {
        match self.new {
            Some(Some(Size::Exactly(size))) if self.is_in_heap() => u32::try_from(size).ok(),
            _ => None,
        }
    }

    /// Whether two references are equal because they are computed in the same way.
    pub fn is_same(&self, a: Value, b: Value) -> bool {
        self.view.linear(a) == self.view.linear(b)
    }

    /// The bits of an integer constant.
    pub fn constant(&self, value: Value) -> Option<i64> {
        self.view.iconst(value)
    }

    /// `value` as a sum, modulo 2³².
    pub fn linear(&self, value: Value) -> super::Linear {
        self.view.linear(value)
    }

    /// The operands of `value`, if it is the result of this operation.
    pub fn binary(&self, opcode: Opcode, value: Value) -> Option<[Value; 2]> {
        self.view.binary(opcode, value)
    }

    /// The operands and the kind of the comparison, if `value` is one.
    pub fn comparison(
        &self,
        value: Value,
    ) -> Option<(cranelift_codegen::ir::condcodes::IntCC, [Value; 2])> {
        match self.view.definition(value)?.1 {
            InstructionData::IntCompare { cond, args, .. } => Some((cond, args)),
            _ => None,
        }
    }

    /// Whether the stored value is null or an `i31`, whatever the program does.
    pub fn stores_unboxed(&self) -> bool {
        let value = self.store.value;
        self.view.iconst(self.view.same(value)).is_some()
            || !self.view.kind(value).has(ValueKinds::MOVES)
    }

    /// Whether `value` was loaded from this word of the heap data that never changes.
    pub fn is_heap_data(&self, value: Value, offset: u32) -> bool {
        fresh::is_heap_data_word(self.view, value, regions::HEAP_DATA, offset)
    }

    /// Whether `value` is the address of this table.
    pub fn is_table(&self, value: Value, table: gc_types::SideTable) -> bool {
        self.is_heap_data(value, table.address())
    }

    /// Like [`is_heap_data`](Matcher::is_heap_data), but for a word that the host changes while the
    /// program runs. The word must have been loaded since the last call that may collect.
    pub fn is_current_heap_data(&self, value: Value, offset: u32) -> bool {
        self.is_heap_data(value, offset) && self.is_current(value)
    }

    /// The host call that `inst` makes, and its arguments after the vmctx.
    pub fn host_call(&self, inst: Inst) -> Option<(HostCall, &[Value])> {
        let call = self.view.host_call(inst)?;
        Some((call, self.view.func.dfg.inst_args(inst).get(1..)?))
    }

    /// Whether `value` was computed after the last call before the store that may collect.
    pub fn is_current(&self, value: Value) -> bool {
        self.view.epochs.of(self.view.func, self.view.func.dfg.resolve_aliases(value))
            == self.view.epochs.before(self.store.inst)
    }

    /// The place in the heap from which `value` was loaded, if the place is in this region and the
    /// load is after the last call that may collect.
    pub fn loaded_from(&self, value: Value, region: Region) -> Option<super::Linear> {
        let (inst, _) = self.view.definition(value)?;
        let access = self.view.access(inst)?;
        (self.view.region(inst) == Some(region)
            && access.stored.is_none()
            && self.is_current(value))
        .then(|| self.view.heap_address(&access).ok())
        .flatten()
        .map(|address| place(self.view, &address))
    }

    /// The place and the value of the store `inst`, if the place is in the heap and in this region.
    pub fn stored_to(&self, inst: Inst, region: Region) -> Option<(super::Linear, Value)> {
        let access = self.view.access(inst)?;
        let stored = access.stored?;
        if self.view.region(inst) != Some(region) {
            return None;
        }
        let address = self.view.heap_address(&access).ok()?;
        Some((place(self.view, &address), stored))
    }

    /// The native address, as the sum of two values, and the stored value of the store `inst`, if
    /// the address is in this region.
    pub fn stored_to_native(&self, inst: Inst, region: Region) -> Option<([Value; 2], Value)> {
        self.stored_to_native_at(inst, region, 0)
    }

    /// As [`stored_to_native`](Matcher::stored_to_native), if the store is `offset` bytes after the address.
    pub fn stored_to_native_at(
        &self,
        inst: Inst,
        region: Region,
        offset: i32,
    ) -> Option<([Value; 2], Value)> {
        let access = self.view.access(inst)?;
        let stored = access.stored?;
        if self.view.region(inst) != Some(region) || i64::from(access.offset) != i64::from(offset) {
            return None;
        }
        Some((self.view.binary(Opcode::Iadd, access.address)?, stored))
    }

    /// The native address, as the sum of two values, from which `value` was loaded, if the address
    /// is in this region and the load is after the last call that may collect.
    pub fn loaded_from_native(&self, value: Value, region: Region) -> Option<[Value; 2]> {
        let (inst, _) = self.view.definition(value)?;
        let access = self.view.access(inst)?;
        if self.view.region(inst) != Some(region) || access.offset != 0 || !self.is_current(value) {
            return None;
        }
        self.view.binary(Opcode::Iadd, access.address)
    }

    /// Whether `place` is the word at `offset` in the object that the store writes to.
    pub fn is_word_of_object(&self, place: &super::Linear, offset: u32) -> bool {
        // An index is multiplied by an element's size. Null has no term.
        let of_object = |(_, factor): &&(Value, u32)| *factor == 1;
        let objects: Vec<_> = self.store.address.terms.iter().filter(of_object).collect();
        // The constant of an `i31` is part of both places. Nothing is stored through it, so it is not
        // compared.
        place.terms.iter().collect::<Vec<_>>() == objects
            && (place.constant == offset || objects.is_empty())
    }

    /// Whether `place` is the word at `offset` in the object of `reference`.
    pub fn is_word_of(&self, place: &super::Linear, reference: Value, offset: u32) -> bool {
        *place == self.view.linear(reference).plus(offset)
    }

    /// Whether `value` is the value that the store overwrites: it was loaded from the same place,
    /// and nothing can have been stored there in between.
    pub fn is_overwritten(&self, value: Value) -> bool {
        let Some((load, _)) = self.view.definition(value) else { return false };
        let region = self.view.region(self.store.inst);
        let address = self.view.access(load).and_then(|access| {
            let stored = access.stored.is_some() || self.view.region(load) != region;
            if stored { None } else { address_of(self.view, load) }
        });
        if address.as_ref() != Some(&self.store.address) {
            return false;
        }
        let overwrites = |inst: Inst| {
            self.view.func.dfg.insts[inst].opcode().can_store()
                && self.view.region(inst) == region
                && inst != self.store.inst
        };
        let step = |step: Step| match step {
            Step::Inst(inst) if inst == self.store.inst => Verdict::Kept,
            Step::Inst(inst) if overwrites(inst) => Verdict::Broken,
            _ => Verdict::Open,
        };
        // Paths that do not lead to the store are ignored.
        every_path(self.view, load, When::After, true, &step)
    }
}

/// The address of a store or load of a reference.
fn address_of(view: &View<'_>, inst: Inst) -> Option<super::Linear> {
    let access = view.access(inst)?;
    if view.region(inst).is_some_and(regions::is_heap) {
        return Some(place(view, &view.heap_address(&access).ok()?));
    }
    Some(view.linear(access.address).plus(access.offset.cast_unsigned()))
}

/// The heap index of an address.
fn place(view: &View<'_>, address: &HeapAddress) -> super::Linear {
    // If there is an access, this wraps only where the access itself does.
    view.linear(address.index).plus(address.offset as u32)
}

pub(super) fn check(view: &View<'_>) -> Result<(), BrokenLaw> {
    let laws = view.cx.laws;
    let fresh = Fresh::new(view);
    for &block in &view.rpo {
        fresh.walk(view, block, |inst, now| {
            let store = match ref_store(view, inst) {
                Ok(Some(store)) => store,
                Ok(None) => return Ok(()),
                Err(law) => return Err(BrokenLaw { law, inst }),
            };
            // The store is to a field of null. It traps, so nothing is written.
            let is_null = !matches!(store.place, StorePlace::Native { .. })
                && store.address.terms.is_empty()
                && store.address.constant < NULL_PAGE_SIZE;
            if is_null {
                return Ok(());
            }
            let mut terms = store.address.terms.iter().filter(|(_, factor)| *factor == 1);
            let new = terms.find_map(|(term, _)| now.size_of(*term));
            let matcher = Matcher { view, store: &store, new };
            for law in laws {
                if (law.applies)(&matcher) && !is_kept(&matcher, law) {
                    return Err(BrokenLaw { law: law.law, inst });
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// `inst` as a store of a reference, if it is one.
fn ref_store(view: &View<'_>, inst: Inst) -> Result<Option<RefStore>, &'static str> {
    let Some(access) = view.access(inst) else { return Ok(None) };
    let Some(value) = access.stored else { return Ok(None) };
    if view.slot(inst).is_some() {
        return Ok(None);
    }
    let Some(region) = view.region(inst) else { return Ok(None) };
    let place = match region {
        regions::STRUCT_REF_FIELD => StorePlace::Field,
        regions::ARRAY_REF_ELEMENT => StorePlace::Element,
        // The collector's own memory.
        regions::SIDE_TABLE | regions::CARDS | regions::HEAP_CURSOR => return Ok(None),
        region => match view.cx.types.memory(region) {
            Memory::Refs(kind) => StorePlace::Native { kind },
            Memory::Stack => return Ok(None),
            _ if view.kind(value).has(ValueKinds::REF | ValueKinds::VECTOR_OF_REFS) => {
                return Err(
                    "a reference is stored where the collector does not look for references",
                );
            }
            _ => return Ok(None),
        },
    };
    let fits = match view.func.dfg.value_type(value).is_vector() {
        true => place == StorePlace::Element && view.kind(value).is_vector_of_refs(),
        false => view.kind(value).fits_ref(),
    };
    if !fits {
        return Err("a value that is not a reference is stored where references are");
    }
    // Another checker reports an address that does not have the sandbox's form.
    let Some(address) = address_of(view, inst) else { return Ok(None) };
    Ok(Some(RefStore { inst, place, value, address }))
}

fn is_kept(matcher: &Matcher<'_>, law: &BarrierLaw) -> bool {
    law.kept.iter().any(|(when, wanted)| {
        let step = |step| match wanted(matcher, step) {
            true => Verdict::Kept,
            false => Verdict::Open,
        };
        every_path(matcher.view, matcher.store.inst, *when, false, &step)
    })
}

/// The result of a step.
pub(super) enum Verdict {
    /// The path satisfies the law.
    Kept,
    /// The path can no longer satisfy the law.
    Broken,
    /// The next steps decide.
    Open,
}

/// Whether `step` returns `Kept` on every path to `inst`, or from it, before the path ends. A path
/// ends at a call that may collect, and where the function begins or returns. If `step` has not
/// decided by then, the result of the path is `at_end`. A path that ends in a trap needs no check,
/// since the program ends. A path in an endless loop needs none either, since nothing more is
/// stored.
pub(super) fn every_path(
    view: &View<'_>,
    inst: Inst,
    when: When,
    at_end: bool,
    step: &dyn Fn(Step) -> Verdict,
) -> bool {
    let Some(home) = view.func.layout.inst_block(inst) else { return false };
    let mut seen: HashSet<Block> = HashSet::new();
    let mut work: Vec<(Block, Option<Inst>)> = vec![(home, Some(inst))];
    while let Some((block, from)) = work.pop() {
        let next = |inst: Inst| match when {
            When::Before => view.func.layout.prev_inst(inst),
            When::After => view.func.layout.next_inst(inst),
        };
        let mut at = match (from, when) {
            (Some(from), _) => next(from),
            (None, When::Before) => view.func.layout.last_inst(block),
            (None, When::After) => view.func.layout.first_inst(block),
        };
        let mut ended = false;
        while let (Some(inst), false) = (at, ended) {
            let opcode = view.func.dfg.insts[inst].opcode();
            ended = view.is_safepoint(inst) || when == When::After && opcode.is_return();
            if ended && !at_end {
                return false;
            }
            match step(Step::Inst(inst)) {
                Verdict::Kept => ended = true,
                Verdict::Broken if !ended => return false,
                _ => {}
            }
            at = next(inst);
        }
        if ended {
            continue;
        }
        let mut branch = |condition: Option<(Value, bool)>, to: Block| {
            if let Some((condition, taken)) = condition {
                match step(Step::Branch { condition, taken }) {
                    Verdict::Kept => return true,
                    Verdict::Broken => return false,
                    Verdict::Open => {}
                }
            }
            if seen.insert(to) {
                work.push((to, None));
            }
            true
        };
        match when {
            When::After => {
                let last = view.func.layout.last_inst(block);
                for (target, condition) in last.into_iter().flat_map(|last| edges(view.func, last))
                {
                    if !branch(condition, target) {
                        return false;
                    }
                }
            }
            When::Before => {
                if Some(block) == view.func.layout.entry_block() && !at_end {
                    return false;
                }
                for pred in view.cfg.pred_iter(block) {
                    if !view.is_reachable(pred.block) {
                        continue;
                    }
                    for (target, condition) in edges(view.func, pred.inst) {
                        if target == block && !branch(condition, pred.block) {
                            return false;
                        }
                    }
                }
            }
        }
    }
    true
}
