//! [`CodeImage`]: the result of compilation, as plain data that can be run.
//!
//! An image consists of linked machine code and its tables: functions and their names, traps, stack
//! maps, handlers, source locations, inlined calls, trampolines by signature, and the text of the
//! [`Abi`](crate::Abi) for which it was compiled. It contains no absolute addresses. So it can be
//! published at any address, more than once, and in a later process.
//!
//! The format is the same in memory and on disk: one section of bytes for the code and one for each
//! table. All are little-endian and read in place. A table is an array that is searched by
//! bisection. [`CodeImageBuilder`] makes an image. [`CodeImage::new`] takes bytes from elsewhere
//! and checks every table first, so that later readers can trust them.

mod build;
mod catches;
mod check;
mod function;
mod sources;
mod type_word;

pub use build::{CodeImageBuilder, HandlerSite, ImageFunction};
pub use catches::Catches;
pub use function::{CallHandlers, EntryPoint, FunctionId, FunctionInfo};
pub use sources::{InlinedCall, InstructionSource};
pub use type_word::TypeWord;

use crate::table::{Row, Words, rows};
use crate::{Abi, CallSignature, Machine, Processor, StackMapTable, Trap, ValueType};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The bytes of an image, for example those of a mapped file. They must never change.
pub type ImageBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A part of an image's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Section {
    /// The code.
    Text,
    /// Rows of `(kind, index, offset, size, vmctx slot, name's start, name's length)`,
    /// ascending by kind and index, and by offset.
    Functions,
    /// For each function, where it keeps its caller's callee-saved registers: a row of
    /// as many words as the processor has [callee-saved registers](crate::Processor::callee_saved), as in
    /// [`ImageFunction::saved`].
    SavedRegisters,
    /// The functions' names, UTF-8.
    Names,
    /// Rows of `(start, parameters, results, entry, exit)`, ascending by signature: the position of
    /// the signature's types in the next section, the numbers of types, and the numbers of its
    /// trampolines among the functions plus one, where zero means no trampoline.
    Signatures,
    /// The codes of [`ValueType`]s.
    SignatureTypes,
    /// The offsets of the instructions that trap, ascending.
    TrapOffsets,
    /// The [`Trap`] of each, as a byte.
    TrapCodes,
    /// The return addresses that have a stack map, ascending.
    StackMaps,
    /// For each, `(frame size, first slot, number of slots)`.
    StackMapFrames,
    /// The slots: offsets in bytes from a frame's stack pointer.
    StackMapSlots,
    /// Rows of `(return address, frame offset, first handler, number of handlers)`,
    /// ascending.
    HandlerSites,
    /// Rows of `(word of a [`Catches`], code offset)`.
    Handlers,
    /// Rows of `(first, end, source location, inlined call)`, ascending. The inlined call is the
    /// number plus one of a row of the next section, or zero if the function's own body has the
    /// instruction. The location `u32::MAX` means none.
    Locations,
    /// Rows of `(function, source location of the call, inlined call, tail)`: the index of a function
    /// that was inlined, and where its caller calls it. If the caller was inlined too, its row is an
    /// earlier one, whose number plus one is in the third word. Otherwise this word is zero. The last
    /// word is not zero for a tail call.
    InlinedCalls,
    /// The codes of [`TypeWord`]s. After the code there is a table with eight bytes for each, which
    /// the code reads.
    TypeWords,
    /// The text of the [`Abi`](crate::Abi).
    Abi,
}

impl Section {
    /// The number of sections of an image.
    pub const COUNT: usize = Section::ALL.len();

    /// All sections, in order.
    pub const ALL: [Section; 17] = [
        Section::Text,
        Section::Functions,
        Section::SavedRegisters,
        Section::Names,
        Section::Signatures,
        Section::SignatureTypes,
        Section::TrapOffsets,
        Section::TrapCodes,
        Section::StackMaps,
        Section::StackMapFrames,
        Section::StackMapSlots,
        Section::HandlerSites,
        Section::Handlers,
        Section::Locations,
        Section::InlinedCalls,
        Section::TypeWords,
        Section::Abi,
    ];
}

/// The error for bytes that are not an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageError {
    /// The description of the error.
    pub why: String,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged code image: {}", self.why)
    }
}

impl std::error::Error for ImageError {}

#[derive(Clone)]
enum Backing {
    Owned(Arc<[u8]>),
    Shared(ImageBytes),
    /// The code is in other bytes than the tables.
    Apart {
        code: &'static [u8],
        tables: &'static [u8],
    },
}

/// The places of the sections.
#[derive(Clone)]
enum Sections {
    /// The start and the end of each.
    Own(Arc<[[u32; 2]; Section::COUNT]>),
    /// The words at the start of the tables of [`CodeImage::with_code_apart`].
    Static(&'static [Row<1>; Section::COUNT]),
}

/// Linked code and its tables. Cheap to clone.
///
/// # Examples
/// A compiler makes images. Here the code of the only function is one instruction:
///
/// ```
/// use gc_types::{Abi, CodeImage, CodeImageBuilder, CollectorAbi, FunctionId, ImageFunction, Trap};
///
/// let mut builder = CodeImageBuilder::default();
/// builder.function(ImageFunction {
///     id: FunctionId::Function(0),
///     name: "fail".into(),
///     offset: 0,
///     size: 1,
///     vmctx_slot: None,
///     saved: Default::default(),
/// });
/// builder.trap(0, Trap::UnreachableCodeReached);
/// let abi = Abi::new(CollectorAbi::new("copying"));
/// let code = [0xcc; CodeImage::PAGE_SIZE as usize];
/// let image: CodeImage = builder.finish(&code, &abi)?;
///
/// assert_eq!(image.function_at(0).unwrap().name, "fail");
/// assert_eq!(image.trap_at(0), Some(Trap::UnreachableCodeReached));
/// assert!(abi.check(image.abi()).is_ok());
/// # Ok::<(), gc_types::ImageError>(())
/// ```
#[derive(Clone)]
pub struct CodeImage {
    backing: Backing,
    sections: Sections,
    /// The ABI of the engine whose type indices the code contains.
    made_for: Option<Arc<Abi>>,
}

/// The places of sections, as numbers of 32 bits.
fn own(sections: [Range<usize>; Section::COUNT]) -> Result<Sections, ImageError> {
    let mut bounds = [[0; 2]; Section::COUNT];
    for (bounds, Range { start, end }) in bounds.iter_mut().zip(sections) {
        for (bound, number) in bounds.iter_mut().zip([start, end]) {
            let number = u32::try_from(number);
            let number =
                number.map_err(|_| ImageError { why: "a section ends after 4 GiB".into() })?;
            *bound = number;
        }
    }
    Ok(Sections::Own(Arc::new(bounds)))
}

impl fmt::Debug for CodeImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeImage")
            .field("code", &self.code().len())
            .field("functions", &self.functions().len())
            .finish_non_exhaustive()
    }
}

impl CodeImage {
    /// Makes an image whose sections are at these ranges of `bytes`. The bytes are read in place.
    ///
    /// # Errors
    /// If a section lies outside the bytes or ends after 4 GiB, or if a table is not as [`Section`] says: it is not
    /// sorted, or a number or an offset in it is out of range.
    pub fn new(
        bytes: ImageBytes,
        sections: [Range<usize>; Section::COUNT],
    ) -> Result<CodeImage, ImageError> {
        CodeImage::checked(Backing::Shared(bytes), own(sections)?, None)
    }

    /// Makes an image whose code is `code`. `tables` begins with a word of 32 bits for each section: the end of
    /// [`Section::Text`] in `code`, and of the others in `tables`. Those come one after the other, and each begins at a
    /// multiple of four. Each call that may collect must have a stack map.
    ///
    /// # Errors
    /// As for [`new`](CodeImage::new).
    pub fn with_code_apart(
        code: &'static [u8],
        tables: &'static [u8],
    ) -> Result<CodeImage, ImageError> {
        let sections = rows(tables).first_chunk();
        let sections =
            sections.ok_or_else(|| ImageError { why: "its tables are too short".into() })?;
        CodeImage::checked(Backing::Apart { code, tables }, Sections::Static(sections), None)
    }

    /// Whether the code can be loaded into any engine with an equal ABI. It cannot if it contains
    /// type indices of the engine that it was compiled for ([`CodeImageBuilder::made_for`]).
    pub fn is_portable(&self) -> bool {
        self.made_for.is_none()
    }

    /// Whether the code is [portable](CodeImage::is_portable), or contains type indices of the
    /// engine with this very ABI.
    pub fn is_for(&self, abi: &Arc<Abi>) -> bool {
        self.made_for.as_ref().is_none_or(|own| Arc::ptr_eq(own, abi))
    }

    fn checked(
        backing: Backing,
        sections: Sections,
        made_for: Option<Arc<Abi>>,
    ) -> Result<CodeImage, ImageError> {
        let image = CodeImage { backing, sections, made_for };
        check::check(&image)?;
        Ok(image)
    }

    /// The bytes of which a section is a part.
    #[inline]
    fn bytes(&self, section: Section) -> &[u8] {
        match &self.backing {
            Backing::Owned(bytes) => bytes,
            Backing::Shared(bytes) => (**bytes).as_ref(),
            Backing::Apart { code, .. } if section == Section::Text => code,
            Backing::Apart { tables, .. } => tables,
        }
    }

    /// The place of a section in its bytes.
    #[inline]
    fn range(&self, section: Section) -> Range<usize> {
        let number = section as usize;
        let [start, end] = match &self.sections {
            Sections::Own(sections) => sections[number],
            Sections::Static(ends) => {
                let start = match number {
                    0 => 0,
                    1 => size_of_val(*ends) as u32,
                    _ => ends[number - 1].word(0).saturating_add(3) & !3,
                };
                [start, ends[number].word(0)]
            }
        };
        start as usize..end as usize
    }

    /// The end of the last section in its bytes. Behind it are those of whoever made the tables of
    /// [`with_code_apart`](CodeImage::with_code_apart).
    pub fn end_of_tables(&self) -> usize {
        self.range(Section::ALL[Section::COUNT - 1]).end
    }

    /// The bytes of a section.
    #[inline]
    pub fn section(&self, section: Section) -> &[u8] {
        &self.bytes(section)[self.range(section)]
    }

    /// The bytes that were passed to [`new`](CodeImage::new), if the image was made so.
    pub fn shared_bytes(&self) -> Option<&ImageBytes> {
        match &self.backing {
            Backing::Owned(_) | Backing::Apart { .. } => None,
            Backing::Shared(bytes) => Some(bytes),
        }
    }

    #[inline]
    fn table<const N: usize>(&self, section: Section) -> &[Row<N>] {
        rows(self.section(section))
    }

    /// The code.
    pub fn code(&self) -> &[u8] {
        self.section(Section::Text)
    }

    /// The text of the [`Abi`](crate::Abi) for which it was compiled.
    pub fn abi(&self) -> &str {
        std::str::from_utf8(self.section(Section::Abi)).unwrap_or_default()
    }

    /// The processor of the code. `None` if the image does not have the ABI's text, as that of an object, or if code
    /// cannot be compiled for it.
    pub fn processor(&self) -> Option<&'static Processor> {
        Machine::of_abi(self.abi())?.processor()
    }

    /// The size of the code of an image that is copied or mapped is a multiple of this number of bytes, so that
    /// only its pages are executable. This is the number of this program's processor; each has
    /// [its own](Processor::page_size).
    pub const PAGE_SIZE: u32 = crate::arch::host::PAGE_SIZE;

    /// The words in the table after the code, which the code reads.
    pub fn type_words(&self) -> impl ExactSizeIterator<Item = TypeWord> {
        let words = self.table::<1>(Section::TypeWords).iter();
        words.map(|row| TypeWord::from_code(row.word(0)).expect("the image was checked"))
    }

    /// The functions, ascending by offset.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = FunctionInfo<'_>> {
        self.table(Section::Functions).iter().map(|row| self.function_of(row))
    }

    fn function_of(&self, row: &Row<7>) -> FunctionInfo<'_> {
        let [kind, index, offset, size, slot, start, length] = row.words();
        let name = self.section(Section::Names).get(start as usize..(start + length) as usize);
        FunctionInfo {
            id: FunctionId::from_words([kind, index]).unwrap_or(FunctionId::Function(index)),
            name: name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default(),
            offset,
            size,
            vmctx_slot: (slot != 0).then_some(slot),
        }
    }

    /// The offset of the embedder's function `index`, in bytes from the image's start.
    pub fn function_offset(&self, index: u32) -> Option<u32> {
        self.offset_of(FunctionId::Function(index))
    }

    fn offset_of(&self, id: FunctionId) -> Option<u32> {
        Some(self.row_of(id)?.word(2))
    }

    fn row_of(&self, id: FunctionId) -> Option<&Row<7>> {
        let functions = self.table::<7>(Section::Functions);
        let key = |row: &Row<7>| [row.word(0), row.word(1)];
        Some(&functions[functions.binary_search_by_key(&id.to_words(), key).ok()?])
    }

    /// All stack maps, by return-address offset.
    #[inline]
    pub fn stack_maps(&self) -> StackMapTable<'_> {
        StackMapTable::new(
            rows(self.section(Section::StackMaps)),
            rows(self.section(Section::StackMapFrames)),
            rows(self.section(Section::StackMapSlots)),
        )
    }

    /// Whether each call that may collect has a stack map, so that a call without one is damage. So it is in an image
    /// whose code is [apart](CodeImage::with_code_apart).
    #[inline]
    pub fn has_all_stack_maps(&self) -> bool {
        matches!(self.backing, Backing::Apart { .. })
    }

    /// The function that contains the byte at `offset`.
    pub fn function_at(&self, offset: u32) -> Option<FunctionInfo<'_>> {
        Some(self.function_of(self.function_row(offset)?))
    }

    /// The distance in bytes from the vmctx slot up to the frame pointer, in the function that
    /// contains the byte at `offset`, if this function has such a slot.
    pub fn vmctx_slot_at(&self, offset: u32) -> Option<u32> {
        let slot = self.function_row(offset)?.word(4);
        (slot != 0).then_some(slot)
    }

    /// Where the function that contains the byte at `offset` keeps its caller's callee-saved
    /// registers, as in [`ImageFunction::saved`].
    #[inline]
    pub fn saved_registers_at(&self, offset: u32) -> Option<impl ExactSizeIterator<Item = u32>> {
        let at = self.function_number(offset)?;
        let words = self.table::<1>(Section::SavedRegisters);
        let registers = words.len() / self.table::<7>(Section::Functions).len();
        Some(words[at * registers..][..registers].iter().map(|row| row.word(0)))
    }

    fn function_row(&self, offset: u32) -> Option<&Row<7>> {
        Some(&self.table::<7>(Section::Functions)[self.function_number(offset)?])
    }

    /// The position of the function that contains the byte at `offset`.
    fn function_number(&self, offset: u32) -> Option<usize> {
        let functions = self.table::<7>(Section::Functions);
        let at = functions.partition_point(|row| row.word(2) <= offset).checked_sub(1)?;
        let row = &functions[at];
        (offset < row.word(2) + row.word(3)).then_some(at)
    }

    /// The trap that the instruction at `offset` raises.
    pub fn trap_at(&self, offset: u32) -> Option<Trap> {
        let offsets = self.table::<1>(Section::TrapOffsets);
        let at = offsets.binary_search_by_key(&offset, |row| row.word(0)).ok()?;
        Trap::from_code(self.section(Section::TrapCodes)[at])
    }

    /// The name of the embedder's function `index`, if the image has its code.
    pub fn function_name(&self, index: u32) -> Option<&str> {
        Some(self.function_of(self.row_of(FunctionId::Function(index))?).name)
    }

    /// The handlers of calls, in ascending order of return address.
    pub fn handlers(&self) -> impl ExactSizeIterator<Item = HandlerSite> {
        self.table(Section::HandlerSites).iter().map(|row| self.handler_site(row))
    }

    fn handler_site(&self, row: &Row<4>) -> HandlerSite {
        let [ret_addr, frame_offset, first, count] = row.words();
        let rows = &self.table::<2>(Section::Handlers)[first as usize..][..count as usize];
        let handlers = CallHandlers { frame_offset, rows };
        HandlerSite { ret_addr, frame_offset, handlers: handlers.iter().collect() }
    }

    /// The handlers of the call with the return address `ret_addr`, in bytes from the code's start.
    /// `None` if it has none.
    pub fn handlers_of(&self, ret_addr: u32) -> Option<CallHandlers<'_>> {
        Some(self.handlers_at(self.handler_site_of(ret_addr)?))
    }

    /// The position of the call with the return address `ret_addr` among the calls with
    /// [`handlers`](CodeImage::handlers). `None` if it has none.
    pub fn handler_site_of(&self, ret_addr: u32) -> Option<usize> {
        let sites = self.table::<4>(Section::HandlerSites);
        sites.binary_search_by_key(&ret_addr, |row| row.word(0)).ok()
    }

    /// The handlers of the call at this position.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn handlers_at(&self, site: usize) -> CallHandlers<'_> {
        let [_, frame_offset, first, count] = self.table::<4>(Section::HandlerSites)[site].words();
        let rows = &self.table::<2>(Section::Handlers)[first as usize..][..count as usize];
        CallHandlers { frame_offset, rows }
    }

    /// The signatures for which it has trampolines, ascending.
    pub fn signatures(&self) -> impl ExactSizeIterator<Item = CallSignature> {
        self.table(Section::Signatures).iter().map(|row| {
            let (params, results) = self.signature_codes(row);
            let types =
                |codes: &[u8]| codes.iter().copied().filter_map(ValueType::from_code).collect();
            let types: [Vec<ValueType>; 2] = [types(params), types(results)];
            let [params, results] = types;
            CallSignature::new(params, results)
        })
    }

    fn signature_codes(&self, row: &Row<5>) -> (&[u8], &[u8]) {
        let [start, params, results, ..] = row.words().map(|word| word as usize);
        let types = &self.section(Section::SignatureTypes)[start..][..params + results];
        types.split_at(params)
    }

    fn find_signature(&self, signature: &CallSignature) -> Option<&Row<5>> {
        let table = self.table::<5>(Section::Signatures);
        let compare = |codes: &[u8], types: &[ValueType]| {
            codes.iter().copied().cmp(types.iter().map(|ty| ty.code()))
        };
        let found = table.binary_search_by(|row| {
            let (params, results) = self.signature_codes(row);
            let params = compare(params, signature.params());
            params.then_with(|| compare(results, signature.results()))
        });
        let at = found.ok()?;
        Some(&table[at])
    }

    /// The entry trampoline for functions of this signature, if the image has one.
    pub fn entry(&self, signature: &CallSignature) -> Option<EntryPoint> {
        let row = self.find_signature(signature)?;
        let number = row.word(3).checked_sub(1)?;
        let function = self.table::<7>(Section::Functions)[number as usize];
        let (offset, size) = (function.word(2), function.word(3));
        let sites = self.table::<4>(Section::HandlerSites);
        let site = sites.get(sites.partition_point(|row| row.word(0) <= offset))?;
        let site = self.handler_site(site);
        let (_, handler) = *site.handlers.first()?;
        (site.ret_addr <= offset + size && handler < offset + size).then_some(EntryPoint {
            offset,
            slots: signature.slots() as u32,
            handler,
            frame_offset: site.frame_offset,
        })
    }

    /// The offset of the exit trampoline for host functions of this signature, in bytes from the
    /// image's start, if the image has one.
    pub fn exit(&self, signature: &CallSignature) -> Option<u32> {
        let number = self.find_signature(signature)?.word(4).checked_sub(1)?;
        Some(self.table::<7>(Section::Functions)[number as usize].word(2))
    }
}
