//! [`CodeImageBuilder`] makes an image from plain data. A compiler, such as `gc-compiler`, links
//! the code and tells the builder where everything is.

use super::sources::{InlinedCall, NO_LOCATION};
use super::{Backing, Catches, CodeImage, FunctionId, ImageError, Section, TypeWord};
use crate::table::push;
use crate::{Abi, CallSignature, StackMapTableBuilder, Trap};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A function of an image that is being built. All offsets are in bytes from the image's start.
#[derive(Clone, Debug)]
pub struct ImageFunction {
    /// The function's identity.
    pub id: FunctionId,
    /// Its name, for backtraces and disassembly.
    pub name: String,
    /// The offset of its code.
    pub offset: u32,
    /// Its code's size in bytes.
    pub size: u32,
    /// The distance in bytes from its vmctx slot up to the frame pointer, if it has such a slot.
    pub vmctx_slot: Option<u32>,
    /// For each callee-saved register of the [processor](crate::Processor::callee_saved), the distance in
    /// bytes from the slot with its caller's value up to the frame pointer. Zero if the function does not
    /// change the register. Empty if it changes none.
    pub saved: Vec<u32>,
}

/// The handlers of a call: where execution resumes if the callee unwinds to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerSite {
    /// The call's return address, in bytes from the code's start.
    pub ret_addr: u32,
    /// Bytes from the call's stack pointer up to the frame pointer.
    pub frame_offset: u32,
    /// What each catches, and its code offset, in the order in which they are tried.
    pub handlers: Vec<(Catches, u32)>,
}

/// Collects the parts of an image. Functions must be added in ascending order of id and of offset,
/// and the parts of their code in ascending order too.
///
/// # Examples
/// ```
/// use gc_types::{Abi, CodeImage, CodeImageBuilder, CollectorAbi, FunctionId, ImageFunction};
///
/// let function = |index, offset| ImageFunction {
///     id: FunctionId::Function(index),
///     name: format!("function {index}"),
///     offset,
///     size: 4,
///     vmctx_slot: None,
///     saved: Default::default(),
/// };
/// let abi = Abi::new(CollectorAbi::new("copying"));
/// let code = [0xcc; CodeImage::PAGE_SIZE as usize];
///
/// let mut builder = CodeImageBuilder::default();
/// builder.function(function(0, 0));
/// builder.function(function(1, 16));
/// builder.stack_map(18, 32, [8]);
/// let image = builder.finish(&code, &abi)?;
/// assert_eq!(image.function_offset(1), Some(16));
/// assert_eq!(image.stack_maps().len(), 1);
///
/// // A function that does not lie in the code is refused.
/// let mut builder = CodeImageBuilder::default();
/// builder.function(function(0, 1 << 20));
/// assert!(builder.finish(&code, &abi).is_err());
/// # Ok::<(), gc_types::ImageError>(())
/// ```
#[derive(Debug, Default)]
pub struct CodeImageBuilder {
    functions: Vec<ImageFunction>,
    signatures: Vec<CallSignature>,
    traps: Vec<(u32, Trap)>,
    stack_maps: StackMapTableBuilder,
    handlers: Vec<HandlerSite>,
    locations: Vec<[u32; 4]>,
    inlined_calls: Vec<InlinedCall>,
    type_words: Vec<TypeWord>,
    made_for: Option<Arc<Abi>>,
}

impl CodeImageBuilder {
    /// Begins an image with trampolines for these signatures. The number in a trampoline's
    /// [`FunctionId`] is its signature's position among them.
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

    /// Records that the instruction at `offset` raises `trap`.
    pub fn trap(&mut self, offset: u32, trap: Trap) {
        self.traps.push((offset, trap));
    }

    /// Records that during the call with return address `ret_addr` the caller's frame has
    /// references in `slots`. These are offsets in bytes from the frame's stack pointer.
    pub fn stack_map(
        &mut self,
        ret_addr: u32,
        frame_size: u32,
        slots: impl IntoIterator<Item = u32>,
    ) {
        self.stack_maps.add(ret_addr, frame_size, slots);
    }

    /// Adds a call with handlers.
    pub fn handler(&mut self, site: HandlerSite) {
        self.handlers.push(site);
    }

    /// Records that the instructions from `first` up to `end` come from the source location
    /// `location` (less than `u32::MAX`) of the callee of the inlined call with this number, or of
    /// the function that contains them if there is no such call.
    pub fn location(&mut self, first: u32, end: u32, location: Option<u32>, call: Option<u32>) {
        let location = location.unwrap_or(NO_LOCATION);
        self.locations.push([first, end, location, call.map_or(0, |call| call + 1)]);
    }

    /// Adds an inlined call. Returns its number. Numbers begin with zero and ascend by one.
    pub fn inlined_call(&mut self, call: InlinedCall) -> u32 {
        self.inlined_calls.push(call);
        self.inlined_calls.len() as u32 - 1
    }

    /// Says that the code contains type indices of one engine instead of type words. Only the
    /// engine with this very ABI can load it, and it cannot be saved.
    pub fn made_for(&mut self, abi: &Arc<Abi>) {
        self.made_for = Some(abi.clone());
    }

    /// Adds a word to the table after the code. The first word is where the code ends, and each
    /// further word is eight bytes later.
    pub fn type_word(&mut self, word: TypeWord) {
        self.type_words.push(word);
    }

    /// Makes the image of the linked `code` for `abi`. To be published, the code's length must be a multiple of
    /// [`CodeImage::PAGE_SIZE`].
    ///
    /// # Errors
    /// If something was added out of order or lies outside the code.
    ///
    /// # Panics
    /// If a stack map is wrong; see [`StackMapTableBuilder::finish`].
    pub fn finish(self, code: &[u8], abi: &Abi) -> Result<CodeImage, ImageError> {
        let mut sections: [Vec<u8>; Section::COUNT] = Default::default();
        let mut at = |section: Section| std::mem::take(&mut sections[section as usize]);
        let [mut functions, mut names] = [at(Section::Functions), at(Section::Names)];
        let mut saved_registers = at(Section::SavedRegisters);
        let registers = super::check::callee_saved(&abi.to_string())?;
        let mut trampolines: BTreeMap<FunctionId, u32> = BTreeMap::new();
        for (number, function) in (1..).zip(&self.functions) {
            let ImageFunction { id, name, offset, size, vmctx_slot, saved } = function;
            let [kind, index] = id.to_words();
            let slot = vmctx_slot.unwrap_or(0);
            let start = names.len() as u32;
            push(&mut functions, [kind, index, *offset, *size, slot, start, name.len() as u32]);
            super::check::ensure(saved.is_empty() || saved.len() == registers, || {
                format!("{name} has {} saved registers of {registers}", saved.len())
            })?;
            let words = saved.iter().copied().chain(std::iter::repeat(0));
            saved_registers.extend(words.take(registers).flat_map(u32::to_le_bytes));
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
            for (catches, offset) in &site.handlers {
                push(&mut handlers, [catches.to_word(), *offset]);
            }
        }
        let [mut locations, mut calls] = [at(Section::Locations), at(Section::InlinedCalls)];
        self.locations.iter().for_each(|row| push(&mut locations, *row));
        for InlinedCall { function, location, caller, tail } in &self.inlined_calls {
            let location = location.unwrap_or(NO_LOCATION);
            let caller = caller.map_or(0, |caller| caller + 1);
            push(&mut calls, [*function, location, caller, u32::from(*tail)]);
        }
        let mut type_words = at(Section::TypeWords);
        self.type_words.iter().for_each(|word| push(&mut type_words, [word.code()]));
        for (section, bytes) in [
            (Section::Text, code.to_vec()),
            (Section::Functions, functions),
            (Section::SavedRegisters, saved_registers),
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
            (Section::InlinedCalls, calls),
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
        CodeImage::checked(Backing::Owned(bytes.into()), super::own(ranges)?, self.made_for)
    }
}
