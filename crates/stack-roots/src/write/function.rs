//! [`FunctionMap`]: the stack maps of one compiled function.

use super::Slot;
use super::error::MapError;
use crate::calls::QUIET;
use crate::derived;
use cranelift_codegen::CompiledCode;
use std::collections::{BTreeMap, BTreeSet};

/// What is live across one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The return address of the call, in bytes from the beginning of the function's code.
    pub return_address: u32,
    /// The slots of references.
    pub roots: Vec<Slot>,
    /// The slots of derived pointers, each after the slot of the reference that it was derived from.
    pub derived: Vec<(Slot, Slot)>,
}

impl Row {
    /// The words of the map.
    pub(crate) fn words(&self) -> Vec<u32> {
        let word = |slot: &Slot| slot.word().expect("it was checked");
        let mut words = vec![self.roots.len() as u32, self.derived.len() as u32];
        words.extend(self.roots.iter().map(word));
        words.extend(self.derived.iter().flat_map(|(base, slot)| [word(base), word(slot)]));
        words
    }
}

/// The stack maps of one compiled function: a row for each call that may collect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionMap {
    code_size: u32,
    rows: Vec<Row>,
}

impl FunctionMap {
    /// Takes the maps of compiled code. Calls that are [marked](crate::calls::mark_quiet_calls) as quiet are left out.
    /// The code must preserve frame pointers, which [`Maps::new`](super::Maps::new) checks.
    ///
    /// # Errors
    /// If a map has values that are no references, or slots of derived pointers do not fit together.
    pub fn new(code: &CompiledCode) -> Result<FunctionMap, MapError> {
        let buffer = &code.buffer;
        let quiet = quiet_calls(code);
        let derived = derived_slots(code)?;
        let maps: BTreeMap<u32, _> =
            buffer.user_stack_maps().iter().map(|(at, frame, map)| (*at, (*frame, map))).collect();
        let mut rows = Vec::new();
        for site in buffer.call_sites() {
            if quiet.contains(&site.ret_addr) {
                continue;
            }
            let mut row =
                Row { return_address: site.ret_addr, roots: Vec::new(), derived: Vec::new() };
            if let Some((frame, map)) = maps.get(&site.ret_addr) {
                for (ty, offset) in map.entries() {
                    if !ty.is_int() {
                        return Err(MapError::Type(ty));
                    }
                    row.roots.push(slot(i64::from(offset) - i64::from(*frame), ty.bytes())?);
                }
            }
            row.roots.sort_unstable();
            // A derived pointer is live where its base is.
            let live = derived.iter().filter(|(base, _)| {
                row.roots.binary_search_by_key(base, |root| root.offset).is_ok()
            });
            for (base, derived) in live {
                let bytes = row.roots.iter().find(|root| root.offset == *base).expect("it is live");
                let of = |offset: i32| slot(offset.into(), bytes.bytes);
                row.derived.push((of(*base)?, of(*derived)?));
            }
            rows.push(row);
        }
        rows.sort_by_key(|row| row.return_address);
        rows.dedup_by_key(|row| row.return_address);
        Ok(FunctionMap { code_size: buffer.total_size(), rows })
    }

    /// The size of the function's code in bytes.
    pub fn code_size(&self) -> u32 {
        self.code_size
    }

    /// The rows, by return address.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

fn slot(offset: i64, bytes: u32) -> Result<Slot, MapError> {
    let offset = i32::try_from(offset).map_err(|_| MapError::Place(i32::MIN))?;
    let slot = Slot { offset, bytes };
    slot.word().map(|_| slot).ok_or(MapError::Place(offset))
}

/// The return addresses of calls that are marked as quiet.
fn quiet_calls(code: &CompiledCode) -> BTreeSet<u32> {
    let sites: BTreeSet<u32> = code.buffer.call_sites().map(|site| site.ret_addr).collect();
    let tags = code.buffer.debug_tags();
    // What computes the arguments has the tags of the call too, before each instruction. Those after the call come
    // after what it does when it has returned. Cranelift does not export the type of this position.
    let is_after = |position: &dyn std::fmt::Debug| format!("{position:?}") == "Post";
    let quiet = tags.filter(|tags| tags.tags.contains(&QUIET) && is_after(&tags.pos));
    quiet.filter_map(|tags| sites.range(..=tags.offset).next_back().copied()).collect()
}

/// The derived pointers of a function: the place of each one's base, and its own, from the frame pointer.
fn derived_slots(code: &CompiledCode) -> Result<Vec<(i32, i32)>, MapError> {
    let layout = code.buffer.frame_layout().ok_or(MapError::NoLayout)?;
    let mut pairs: BTreeMap<u64, [Option<i32>; 2]> = BTreeMap::new();
    for slot in layout.stackslots.values() {
        let Some((number, is_derived)) = slot.key.and_then(derived::of_key) else { continue };
        let offset = i64::from(slot.offset) - i64::from(layout.frame_to_fp_offset);
        let offset = i32::try_from(offset).map_err(|_| MapError::Place(i32::MIN))?;
        let pair = pairs.entry(number).or_default();
        if pair[usize::from(is_derived)].replace(offset).is_some() {
            return Err(MapError::DerivedTwice);
        }
    }
    let pairs = pairs.into_values();
    pairs.map(|[base, derived]| base.zip(derived).ok_or(MapError::NoBase)).collect()
}
