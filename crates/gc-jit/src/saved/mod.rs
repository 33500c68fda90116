//! Images in files. A file contains an ELF object, which `objdump -d` and `gdb` can read. The code
//! is in `.text`, its functions are symbols, and each table has a section. One section belongs to
//! the embedder. A trailer follows the ELF object: the format's name, the file's length, and a
//! checksum of all previous bytes, including the padding in the object.
//!
//! Everything in a file is checked before it is used: first the trailer, then the [`Abi`] for which
//! the code was compiled, entry by entry, then every table. The checksum protects against
//! accidents. It does not protect against an attacker, who could write any machine code into the
//! file.
#![allow(unsafe_code)]

mod mapping;
mod read;
mod write;

pub(crate) use mapping::FileMapping;
pub use write::save;

use crate::CodeMemory;
use anyhow::{Context as _, Result};
use gc_types::{Abi, CodeImage, ImageBytes, Section, TypeIndex};
use read::Contents;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The beginning of the trailer. The last two digits are the version of the format.
const MAGIC: &[u8; 16] = b"reclaim image 05";

/// The size of the trailer in bytes: the magic, the length of the file (u64), the checksum (u32).
const TRAILER: usize = 16 + 8 + 4;

/// The embedder's section.
const EMBEDDER: &str = ".reclaim.embedder";

/// The section that becomes the table of type words after the code.
const WORDS: &str = ".reclaim.words";

/// The name of a section.
fn name(section: Section) -> &'static str {
    match section {
        Section::Text => ".text",
        Section::Functions => ".reclaim.functions",
        Section::SavedRegisters => ".reclaim.saved_registers",
        Section::Names => ".reclaim.names",
        Section::Signatures => ".reclaim.signatures",
        Section::SignatureTypes => ".reclaim.signatures.types",
        Section::TrapOffsets => ".reclaim.traps",
        Section::TrapCodes => ".reclaim.traps.codes",
        Section::StackMaps => ".reclaim.stack_maps",
        Section::StackMapFrames => ".reclaim.stack_maps.frames",
        Section::StackMapSlots => ".reclaim.stack_maps.slots",
        Section::HandlerSites => ".reclaim.handler_sites",
        Section::Handlers => ".reclaim.handlers",
        Section::Locations => ".reclaim.locations",
        Section::InlinedCalls => ".reclaim.inlined_calls",
        Section::TypeWords => ".reclaim.type_words",
        Section::Abi => ".reclaim.abi",
    }
}

/// Whether `bytes` look like a whole saved image, of any version of the format: they are an ELF file
/// with the trailer.
pub fn is_saved(bytes: &[u8]) -> bool {
    let trailer = bytes.len().checked_sub(TRAILER).map(|at| &bytes[at..]);
    bytes.starts_with(b"\x7fELF") && trailer.is_some_and(is_trailer)
}

/// Whether the last bytes of `file` are a trailer, and its first ones those of an ELF file.
///
/// # Errors
/// If the file cannot be read.
pub fn is_saved_file(mut file: &File) -> std::io::Result<bool> {
    let (mut first, mut trailer) = ([0; 4], [0; TRAILER]);
    if file.metadata()?.len() < (first.len() + TRAILER) as u64 {
        return Ok(false);
    }
    file.rewind()?;
    file.read_exact(&mut first)?;
    file.seek(SeekFrom::End(-(TRAILER as i64)))?;
    file.read_exact(&mut trailer)?;
    Ok(first == *b"\x7fELF" && is_trailer(&trailer))
}

/// Whether these bytes begin like a trailer of any version.
fn is_trailer(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC[..MAGIC.len() - 2])
}

/// A saved image with the embedder's data. It is checked and can run here.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// use gc_jit::{SavedImage, is_saved, save};
/// # use gc_types::CallSignature;
///
/// # fn main() -> anyhow::Result<()> {
/// # let abi = abi();
/// # let image = compile(&abi, &CallSignature::new([], []), |b, _| {
/// #     b.ins().return_(&[]);
/// # })?;
/// let mut bytes = save(&image, b"names of types")?;
/// assert!(is_saved(&bytes));
///
/// let saved = SavedImage::from_bytes(&bytes, &abi)?;
/// let (data, range) = saved.embedder();
/// assert_eq!(&(*data).as_ref()[range], b"names of types");
/// let code = saved.publish(&[])?;
/// assert!(code.function_address(0).is_some());
///
/// // One changed bit is found.
/// bytes[100] ^= 1;
/// assert!(SavedImage::from_bytes(&bytes, &abi).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SavedImage {
    image: CodeImage,
    abi: Arc<Abi>,
    embedder: Range<usize>,
    /// The file, if it is mapped.
    file: Option<Arc<FileMapping>>,
}

impl SavedImage {
    /// Reads the image in `bytes`, which [`save`] made. `abi` is the expected ABI of its code. The
    /// bytes are copied.
    ///
    /// # Errors
    /// If the bytes are not a saved image, have another version of the format, or are damaged, or
    /// if the code's ABI is different. The error names the difference.
    pub fn from_bytes(bytes: &[u8], abi: &Arc<Abi>) -> Result<SavedImage> {
        let contents = Contents::read(bytes, abi)?;
        SavedImage::new(Arc::new(bytes.to_vec()), abi, contents, None)
    }

    /// Like [`from_bytes`](SavedImage::from_bytes), but for a file. The file is mapped and not
    /// copied, and processes that run it share its memory.
    ///
    /// # Errors
    /// As for [`from_bytes`](SavedImage::from_bytes), and if the path is not that of a
    /// regular file, or the file cannot be mapped.
    ///
    /// # Safety
    /// The file must not be changed or shortened as long as the image, or code that was published
    /// from it, exists.
    pub unsafe fn open(path: &Path, abi: &Arc<Abi>) -> Result<SavedImage> {
        let named = || format!("loading {}", path.display());
        let file = File::open(path).with_context(named)?;
        // SAFETY: the caller guarantees that the file does not change.
        unsafe { SavedImage::open_file(&file, abi) }.with_context(named)
    }

    /// Like [`open`](SavedImage::open), but for a file that is open. It can be closed afterwards.
    ///
    /// # Errors
    /// As for [`open`](SavedImage::open).
    ///
    /// # Safety
    /// As for [`open`](SavedImage::open).
    pub unsafe fn open_file(file: &File, abi: &Arc<Abi>) -> Result<SavedImage> {
        // SAFETY: the caller guarantees that the file does not change.
        let file = Arc::new(unsafe { FileMapping::new(file) }?);
        let bytes: &FileMapping = &file;
        let contents = Contents::read(bytes.as_ref(), abi)?;
        SavedImage::new(file.clone(), abi, contents, Some(file))
    }

    fn new(
        bytes: ImageBytes,
        abi: &Arc<Abi>,
        contents: Contents,
        file: Option<Arc<FileMapping>>,
    ) -> Result<SavedImage> {
        let Contents { sections, embedder } = contents;
        let image = CodeImage::new(bytes, sections)?;
        Ok(SavedImage { image, abi: abi.clone(), embedder, file })
    }

    /// The image.
    pub fn image(&self) -> &CodeImage {
        &self.image
    }

    /// The embedder's data: a range of these bytes.
    ///
    /// # Panics
    /// Never, because a saved image was made from bytes.
    pub fn embedder(&self) -> (ImageBytes, Range<usize>) {
        let bytes = self.image.shared_bytes().expect("the bytes of a saved image are shared");
        (bytes.clone(), self.embedder.clone())
    }

    /// Makes the image executable and registers its addresses; see [`CodeMemory::publish`]. The
    /// pages of a mapped file are executed in place.
    ///
    /// # Errors
    /// As for [`CodeMemory::publish`].
    pub fn publish(self, types: &[TypeIndex]) -> Result<Arc<CodeMemory>> {
        match self.file {
            Some(file) => CodeMemory::publish_file(self.image, self.abi, file, types),
            None => CodeMemory::publish_checked(self.image, self.abi, types),
        }
    }
}
