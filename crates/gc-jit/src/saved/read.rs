//! Reads the bytes of saved images: the checks of a file that come before those of its tables.

use super::{EMBEDDER, MAGIC, TRAILER, WORDS, name};
use anyhow::{Context as _, Result, bail, ensure};
use gc_types::{Abi, CodeImage, Section};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSection as _};
use std::ops::Range;

/// The places of the sections in a file.
pub(super) struct Contents {
    pub(super) sections: [Range<usize>; Section::COUNT],
    pub(super) embedder: Range<usize>,
}

impl Contents {
    /// Checks the trailer of `bytes`, finds the sections and compares the code's ABI with
    /// `abi`.
    pub(super) fn read(bytes: &[u8], abi: &Abi) -> Result<Contents> {
        let object = without_trailer(bytes)?;
        let elf: ElfFile64<'_, LittleEndian> =
            ElfFile64::parse(object).context("a saved image that is no ELF file")?;
        let find = |name: &str| -> Result<Range<usize>> {
            let missing = || format!("a saved image without section {name}");
            let section = elf.section_by_name(name).with_context(missing)?;
            let (start, size) = section.file_range().with_context(missing)?;
            let start = usize::try_from(start)?;
            let end = start.checked_add(usize::try_from(size)?).with_context(missing)?;
            ensure!(end <= object.len(), "section {name} of a saved image is outside the image");
            Ok(start..end)
        };
        let mut sections: [Range<usize>; Section::COUNT] = [const { 0..0 }; Section::COUNT];
        for section in Section::ALL {
            sections[section as usize] = find(name(section))?;
        }
        let compiled_for = std::str::from_utf8(&bytes[sections[Section::Abi as usize].clone()])
            .context("the ABI of a saved image")?;
        abi.check(compiled_for).context(
            "the saved code does not fit this engine (here: this engine; there: the saved code)",
        )?;
        let text = &sections[Section::Text as usize];
        let words = find(WORDS)?;
        let count = sections[Section::TypeWords as usize].len() / 4;
        let page = CodeImage::PAGE_SIZE as usize;
        ensure!(
            text.start.is_multiple_of(page)
                && text.end.is_multiple_of(page)
                && (count == 0 || words == (text.end..text.end + 8 * count)),
            "the code of a saved image is at a wrong offset"
        );
        Ok(Contents { sections, embedder: find(EMBEDDER)? })
    }
}

/// The ELF object in the file `bytes`.
fn without_trailer(bytes: &[u8]) -> Result<&[u8]> {
    let at = bytes.len().checked_sub(TRAILER).context("not a saved image: too short")?;
    let (object, trailer) = bytes.split_at(at);
    let (magic, rest) = trailer.split_at(MAGIC.len());
    if magic != MAGIC {
        let family = MAGIC.len() - 2;
        match magic[..family] == MAGIC[..family] {
            true => bail!(
                "a saved image of format `{}`, where this reads `{}`",
                String::from_utf8_lossy(&magic[family..]),
                String::from_utf8_lossy(&MAGIC[family..])
            ),
            false => bail!("not a saved image, or not a whole one: the trailer is missing"),
        }
    }
    let (length, checksum) = rest.split_at(8);
    let length = u64::from_le_bytes(length.try_into()?);
    ensure!(
        length == bytes.len() as u64,
        "a damaged saved image: it has {} bytes and says {length}",
        bytes.len()
    );
    let checksum = u32::from_le_bytes(checksum.try_into()?);
    let actual = crc32fast::hash(&bytes[..bytes.len() - 4]);
    ensure!(
        checksum == actual,
        "a damaged saved image: its checksum is {actual:08x} and should be {checksum:08x}"
    );
    Ok(object)
}
