//! Images in files: an ELF object that `objdump -d` and `gdb` read, with the code in
//! `.text`, its functions as symbols, a section for each table, and one of the embedder's.
//! Behind the ELF object stands a trailer: what the file is, its length, and a checksum of
//! every byte before that, the padding in the object included.
//!
//! Nothing in a file is used before it was checked: first the trailer, then the
//! [`Abi`] the code was compiled for, entry by entry, then every table. The checksum
//! guards against accidents. Whoever writes such a file on purpose writes machine code.
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
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// What the trailer begins with. The last two digits are the version of the format.
const MAGIC: &[u8; 16] = b"reclaim image 01";

/// Bytes of the trailer: the magic, the length of the file (u64), the checksum (u32).
const TRAILER: usize = 16 + 8 + 4;

/// The section of the embedder's.
const EMBEDDER: &str = ".reclaim.embedder";

/// The section that becomes the table of type words behind the code.
const WORDS: &str = ".reclaim.words";

/// The name of a section.
fn name(section: Section) -> &'static str {
    match section {
        Section::Text => ".text",
        Section::Functions => ".reclaim.functions",
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
        Section::TypeWords => ".reclaim.type_words",
        Section::Abi => ".reclaim.abi",
    }
}

/// Whether a file that begins with `bytes` may be a saved image: an ELF file.
pub fn is_saved(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// An image that was saved, and what its embedder saved with it: checked, and fit to run
/// here.
#[derive(Debug)]
pub struct SavedImage {
    image: CodeImage,
    embedder: Range<usize>,
    /// The file, if it is mapped.
    file: Option<Arc<FileMapping>>,
}

impl SavedImage {
    /// The image in `bytes`, which [`save`] made, for code that `abi` describes. The bytes
    /// are copied.
    ///
    /// # Errors
    /// If the bytes are no saved image, of another version of the format, or damaged, or
    /// the code depends on something that is not so here: the error names it.
    pub fn from_bytes(bytes: &[u8], abi: &Abi) -> Result<SavedImage> {
        let contents = Contents::read(bytes, abi)?;
        SavedImage::new(Arc::new(bytes.to_vec()), contents, None)
    }

    /// As [`from_bytes`](SavedImage::from_bytes), of a file. It is mapped: nothing of it is
    /// copied, and processes that run it share its memory.
    ///
    /// # Errors
    /// As there, and if the file cannot be mapped.
    ///
    /// # Safety
    /// The file must not be changed or made shorter for as long as the image or code
    /// published from it exists.
    pub unsafe fn open(path: &Path, abi: &Abi) -> Result<SavedImage> {
        let named = || format!("loading {}", path.display());
        let file = std::fs::File::open(path).with_context(named)?;
        // SAFETY: the caller keeps the file as it is.
        let file = Arc::new(unsafe { FileMapping::new(&file) }.with_context(named)?);
        let bytes: &FileMapping = &file;
        let contents = Contents::read(bytes.as_ref(), abi).with_context(named)?;
        SavedImage::new(file.clone(), contents, Some(file)).with_context(named)
    }

    fn new(
        bytes: ImageBytes,
        contents: Contents,
        file: Option<Arc<FileMapping>>,
    ) -> Result<SavedImage> {
        let Contents { sections, embedder } = contents;
        Ok(SavedImage { image: CodeImage::new(bytes, sections)?, embedder, file })
    }

    /// The image.
    pub fn image(&self) -> &CodeImage {
        &self.image
    }

    /// What the embedder saved: some of these bytes.
    ///
    /// # Panics
    /// Never: a saved image has its bytes from elsewhere.
    pub fn embedder(&self) -> (ImageBytes, Range<usize>) {
        let bytes = self.image.shared_bytes().expect("the bytes of a saved image are shared");
        (bytes.clone(), self.embedder.clone())
    }

    /// Makes it executable and registers its addresses: see [`CodeMemory::publish`]. If it
    /// was a file its pages are executed where they are mapped.
    ///
    /// # Errors
    /// As there.
    pub fn publish(self, types: &[TypeIndex]) -> Result<Arc<CodeMemory>> {
        match self.file {
            Some(file) => CodeMemory::publish_file(self.image, file, types),
            None => CodeMemory::publish(self.image, types),
        }
    }
}
