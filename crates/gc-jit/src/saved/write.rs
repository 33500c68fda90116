//! Writes images to bytes.

use super::{EMBEDDER, MAGIC, TRAILER, WORDS, name};
use crate::arch;
use anyhow::{Context as _, Result, ensure};
use gc_types::{CodeImage, Section};
use object::write::{Object, Symbol, SymbolSection};
use object::{BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

/// The bytes of a file with `image` and the embedder's data. The same image gives the same bytes.
///
/// # Errors
/// If there is no ELF format for the image's machine, or if the image contains type indices of an
/// engine ([`CodeImage::is_portable`]).
pub fn save(image: &CodeImage, embedder: &[u8]) -> Result<Vec<u8>> {
    ensure!(
        image.is_portable(),
        "the code contains type indices of its engine, so it cannot be saved"
    );
    let processor = image.processor().context("the image does not tell its processor")?;
    let architecture = arch::of_elf(processor)
        .with_context(|| format!("cannot save code for {}", processor.name()))?;
    let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let mut add = |name: &str, kind, data: &[u8], align| {
        let id = object.add_section(Vec::new(), name.into(), kind);
        object.set_section_data(id, data.to_vec(), align);
        id
    };
    let page = u64::from(processor.page_size());
    let text = add(name(Section::Text), SectionKind::Text, image.code(), page);
    // This section follows the code, which ends at a page boundary. It is filled at publication.
    let words = vec![0; 8 * image.type_words().len()];
    add(WORDS, SectionKind::Data, &words, page);
    for section in Section::ALL.into_iter().filter(|section| *section != Section::Text) {
        add(name(section), SectionKind::ReadOnlyData, image.section(section), 4);
    }
    add(EMBEDDER, SectionKind::ReadOnlyData, embedder, 4);
    for function in image.functions() {
        object.add_symbol(Symbol {
            // A symbol's name ends at its first NUL. The section of names has the whole name.
            name: function.name.replace('\0', "\u{fffd}").into(),
            value: function.offset.into(),
            size: function.size.into(),
            kind: SymbolKind::Text,
            scope: SymbolScope::Compilation,
            weak: false,
            section: SymbolSection::Section(text),
            flags: SymbolFlags::None,
        });
    }
    let mut bytes = object.write().context("cannot write an ELF file")?;
    let length = bytes.len() + TRAILER;
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}
