//! Compiled functions as bytes.
//!
//! An entry is a SHA-256 of its key and the rest, the tables in the format of the crate `postcard`,
//! and the code. What a function refers to outside of itself is not there by name, but by the
//! number of the name in the CLIF, and source locations are relative to the function's. So the entry
//! is valid for every function with the key.

use crate::driver::{CompiledFunction, FrameStep, Reloc, RelocTarget, arch, target_of};
use cranelift_codegen::ir::{self, UserExternalName, UserExternalNameRef};
use gc_types::{Catches, HandlerSite, Trap};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashMap};

const DIGEST: usize = 32;

/// Handlers: words of [`Catches`], and offsets.
type Handlers = Vec<(u32, u32)>;

#[derive(Serialize, Deserialize)]
struct Tables {
    alignment: u32,
    /// Offset, kind, target, addend.
    relocs: Vec<(u32, u8, Target, i64)>,
    /// Offset and trap code.
    traps: Vec<(u32, u8)>,
    stack_maps: Vec<(u32, u32, Vec<u32>)>,
    calls: Vec<u32>,
    /// Return address, frame offset, handlers.
    handlers: Vec<(u32, u32, Handlers)>,
    /// First, end, and location relative to the function's.
    locations: Vec<(u32, u32, u32)>,
    vmctx_slot: Option<u32>,
    saved: Vec<u32>,
    frame: Vec<(u32, FrameStep)>,
}

#[derive(Serialize, Deserialize)]
enum Target {
    /// An offset in the function.
    Itself(u32),
    /// The name with this number in the function.
    Name(u32),
}

/// The entry for `compiled`, which was made from `func`. `None` if it has something that no entry
/// can have.
pub(super) fn encode(
    key: &[u8],
    func: &ir::Function,
    compiled: &CompiledFunction,
) -> Option<Vec<u8>> {
    let names = func.params.user_named_funcs().iter();
    let names: HashMap<&UserExternalName, u32> =
        names.map(|(number, name)| (name, number.as_u32())).collect();
    let target = |target: RelocTarget| match target {
        RelocTarget::Itself(offset) => Some(Target::Itself(offset)),
        target => names.get(&target.name()?).map(|number| Target::Name(*number)),
    };
    let reloc = |reloc: &Reloc| {
        let kind = arch::reloc_code(reloc.kind)?;
        Some((reloc.offset, kind, target(reloc.target)?, reloc.addend))
    };
    let base = func.params.base_srcloc().bits();
    let tables = Tables {
        alignment: compiled.alignment,
        relocs: compiled.relocs.iter().map(reloc).collect::<Option<_>>()?,
        traps: compiled.traps.iter().map(|(at, trap)| (*at, trap.code())).collect(),
        stack_maps: compiled.stack_maps.clone(),
        calls: compiled.calls.clone(),
        handlers: compiled
            .handlers
            .iter()
            .map(|site| {
                let words = site.handlers.iter().map(|(catches, at)| (catches.to_word(), *at));
                (site.ret_addr, site.frame_offset, words.collect())
            })
            .collect(),
        locations: compiled
            .srclocs
            .iter()
            .map(|(first, end, location)| (*first, *end, location.wrapping_sub(base)))
            .collect(),
        vmctx_slot: compiled.vmctx_slot,
        saved: compiled.saved.clone(),
        frame: compiled.frame.clone(),
    };
    let mut entry = vec![0; DIGEST];
    entry = postcard::to_extend(&tables, entry).ok()?;
    entry.extend_from_slice(&compiled.code);
    let digest = digest(key, &entry[DIGEST..]);
    entry[..DIGEST].copy_from_slice(&digest);
    Some(entry)
}

/// The compiled function of an entry, for `func`. `None` if the entry is damaged or that of another
/// key.
pub(super) fn decode(key: &[u8], func: &ir::Function, entry: &[u8]) -> Option<CompiledFunction> {
    let (found, rest) = entry.split_at_checked(DIGEST)?;
    if found != digest(key, rest) {
        return None;
    }
    let (tables, code) = postcard::take_from_bytes::<Tables>(rest).ok()?;
    let target = |target: Target| match target {
        Target::Itself(offset) => Some(RelocTarget::Itself(offset)),
        Target::Name(number) => {
            let name = func.params.user_named_funcs().get(UserExternalNameRef::from_u32(number))?;
            target_of(name)
        }
    };
    let reloc = |(offset, kind, to, addend)| {
        let kind = arch::reloc_kind(kind)?;
        Some(Reloc { offset, kind, target: target(to)?, addend })
    };
    let trap = |(at, code)| Some((at, Trap::from_code(code)?));
    let handlers = tables.handlers.into_iter();
    let base = func.params.base_srcloc().bits();
    let locations = tables.locations.into_iter();
    Some(CompiledFunction {
        signature: func.signature.clone(),
        code: code.to_vec(),
        alignment: tables.alignment,
        relocs: tables.relocs.into_iter().map(reloc).collect::<Option<_>>()?,
        calls_by_reference: BTreeSet::new(),
        traps: tables.traps.into_iter().map(trap).collect::<Option<_>>()?,
        stack_maps: tables.stack_maps,
        calls: tables.calls,
        handlers: handlers
            .map(|(ret_addr, frame_offset, handlers)| HandlerSite {
                ret_addr,
                frame_offset,
                handlers: handlers
                    .into_iter()
                    .map(|(word, at)| (Catches::from_word(word), at))
                    .collect(),
            })
            .collect(),
        srclocs: locations
            .map(|(first, end, location)| (first, end, base.wrapping_add(location)))
            .collect(),
        locations: Vec::new(),
        inlined_calls: Vec::new(),
        vmctx_slot: tables.vmctx_slot,
        saved: tables.saved,
        frame: tables.frame,
    })
}

fn digest(key: &[u8], rest: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(key).chain_update(rest).finalize().into()
}
