//! [`CodeImageBuilder`]: puts an image together from plain data. Whoever compiles code
//! links it and says here what is where; `gc-compiler` does.

use super::{Backing, CATCH_ALL, CodeImage, FunctionId, ImageError, Section, TypeWord};
use crate::table::push;
use crate::{Abi, CallSignature, StackMapTableBuilder, Trap};
use std::collections::{BTreeMap, BTreeSet};

/// A function whose code stands in an image that is being built. All offsets are in bytes
/// from the image's start.
#[derive(Clone, Debug)]
pub struct ImageFunction {
    /// Which.
    pub id: FunctionId,
    /// Its name, for backtraces and disassembly.
    pub name: String,
    /// Where its code begins.
    pub offset: u32,
    /// Its code's size in bytes.
    pub size: u32,
    /// Bytes from its vmctx slot up to the frame pointer, if it has that slot.
    pub vmctx_slot: Option<u32>,
}

/// Where a call resumes if its callee unwinds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerSite {
    /// The call's return address, in bytes from the start of the code.
    pub ret_addr: u32,
    /// Bytes from the call's stack pointer up to the frame pointer.
    pub frame_offset: u32,
    /// `(tag, code offset)` in the order they are tried; no tag catches all.
    pub handlers: Vec<(Option<u32>, u32)>,
}

/// Collects what an image consists of. Functions are added ascending by id and by offset,
/// and what belongs to their code likewise.
#[derive(Debug, Default)]
pub struct CodeImageBuilder {
    functions: Vec<ImageFunction>,
    signatures: Vec<CallSignature>,
    traps: Vec<(u32, Trap)>,
    stack_maps: StackMapTableBuilder,
    handlers: Vec<HandlerSite>,
    locations: Vec<(u32, u32, u32)>,
    type_words: Vec<TypeWord>,
}

impl CodeImageBuilder {
    /// An image whose trampolines are of these signatures. A trampoline's
    /// [`FunctionId`] has its signature's place among them.
    pub fn new(signatures: BTreeSet<CallSignature>) -> CodeImageBuilder {
        CodeImageBuilder {
            signatures: signatures.into_iter().collect(),
            ..CodeImageBuilder::default()
        }
    }

    /// Adds a function.
    pub fn function(&mut self, function: ImageFunction) {
        self.functions.push(function);
    }

    /// The instruction at `offset` raises `trap`.
    pub fn trap(&mut self, offset: u32, trap: Trap) {
        self.traps.push((offset, trap));
    }

    /// The frame that makes the call that returns to `ret_addr` has references in `slots`,
    /// offsets in bytes from its stack pointer.
    pub fn stack_map(
        &mut self,
        ret_addr: u32,
        frame_size: u32,
        slots: impl IntoIterator<Item = u32>,
    ) {
        self.stack_maps.add(ret_addr, frame_size, slots);
    }

    /// A call that may be unwound to.
    pub fn handler(&mut self, site: HandlerSite) {
        self.handlers.push(site);
    }

    /// The instructions from `first` up to `end` come from a place of the program.
    pub fn location(&mut self, first: u32, end: u32, location: u32) {
        self.locations.push((first, end, location));
    }

    /// Adds a word to the table behind the code. The first is where the code ends, the
    /// next eight bytes further, and so on.
    pub fn type_word(&mut self, word: TypeWord) {
        self.type_words.push(word);
    }

    /// The image of `code`, linked, for `abi`. The code is filled up to a multiple of
    /// [`CodeImage::PAGE_SIZE`].
    ///
    /// # Errors
    /// If what was added is not ascending, or outside of the code.
    ///
    /// # Panics
    /// If a stack map is wrong: see [`StackMapTableBuilder::finish`].
    pub fn finish(self, code: &[u8], abi: &Abi) -> Result<CodeImage, ImageError> {
        let mut sections: [Vec<u8>; Section::COUNT] = Default::default();
        let mut at = |section: Section| std::mem::take(&mut sections[section as usize]);
        let [mut functions, mut names] = [at(Section::Functions), at(Section::Names)];
        let mut trampolines: BTreeMap<FunctionId, u32> = BTreeMap::new();
        for (number, function) in (1..).zip(&self.functions) {
            let ImageFunction { id, name, offset, size, vmctx_slot } = function;
            let [kind, index] = id.to_words();
            let slot = vmctx_slot.unwrap_or(0);
            let start = names.len() as u32;
            push(&mut functions, [kind, index, *offset, *size, slot, start, name.len() as u32]);
            names.extend_from_slice(name.as_bytes());
            if matches!(id, FunctionId::Entry(_) | FunctionId::Exit(_)) {
                trampolines.insert(*id, number);
            }
        }
        let [mut signatures, mut types] = [at(Section::Signatures), at(Section::SignatureTypes)];
        for (i, signature) in (0..).zip(&self.signatures) {
            let (params, results) = (signature.params(), signature.results());
            let number = |id| trampolines.get(&id).copied().unwrap_or(0);
            let (entry, exit) = (number(FunctionId::Entry(i)), number(FunctionId::Exit(i)));
            let counts = [params.len() as u32, results.len() as u32];
            let start = types.len() as u32;
            push(&mut signatures, [start, counts[0], counts[1], entry, exit]);
            types.extend(params.iter().chain(results).map(|ty| ty.code()));
        }
        let [mut offsets, mut codes] = [at(Section::TrapOffsets), at(Section::TrapCodes)];
        for (offset, trap) in &self.traps {
            push(&mut offsets, [*offset]);
            codes.push(trap.code());
        }
        let maps = self.stack_maps.finish();
        let [mut sites, mut handlers] = [at(Section::HandlerSites), at(Section::Handlers)];
        for site in &self.handlers {
            let first = handlers.len() as u32 / 8;
            let count = site.handlers.len() as u32;
            push(&mut sites, [site.ret_addr, site.frame_offset, first, count]);
            for (tag, offset) in &site.handlers {
                push(&mut handlers, [tag.unwrap_or(CATCH_ALL), *offset]);
            }
        }
        let mut locations = at(Section::Locations);
        for (first, end, location) in &self.locations {
            push(&mut locations, [*first, *end, *location]);
        }
        let mut type_words = at(Section::TypeWords);
        self.type_words.iter().for_each(|word| push(&mut type_words, [word.code()]));
        for (section, bytes) in [
            (Section::Text, code.to_vec()),
            (Section::Functions, functions),
            (Section::Names, names),
            (Section::Signatures, signatures),
            (Section::SignatureTypes, types),
            (Section::TrapOffsets, offsets),
            (Section::TrapCodes, codes),
            (Section::StackMaps, maps.offsets),
            (Section::StackMapFrames, maps.frames),
            (Section::StackMapSlots, maps.slots),
            (Section::HandlerSites, sites),
            (Section::Handlers, handlers),
            (Section::Locations, locations),
            (Section::TypeWords, type_words),
            (Section::Abi, abi.to_string().into_bytes()),
        ] {
            sections[section as usize] = bytes;
        }
        let mut bytes = Vec::with_capacity(sections.iter().map(Vec::len).sum());
        let ranges = sections.map(|section| {
            let start = bytes.len();
            bytes.extend_from_slice(&section);
            start..bytes.len()
        });
        CodeImage::checked(Backing::Owned(bytes.into()), ranges)
    }
}
