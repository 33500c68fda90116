//! Writes line tables for debuggers (DWARF 5, section 6.2), and the unit in `.debug_info` that refers to them.

use super::arch::Arch;
use super::dwarf::Part;
use anyhow::Result;
use gc_types::CodeImage;
use gimli::write::{
    Address, AttributeValue, DwarfUnit, LineProgram, LineString, RelocationTarget, Sections,
};
use gimli::{Encoding, Format, LineEncoding, SectionId};
use object::write::Object;
use object::{RelocationFlags, SectionKind};
use std::collections::BTreeMap;

/// Adds the lines of an image's code, which is in the section `text`. Its source locations are lines of `file`.
pub(super) fn write(
    object: &mut Object<'_>,
    arch: &Arch,
    text: object::write::SectionId,
    image: &CodeImage,
    file: &str,
) -> Result<()> {
    let encoding = Encoding { format: Format::Dwarf32, version: 5, address_size: 8 };
    let mut dwarf = DwarfUnit::new(encoding);
    let start = Address::Symbol { symbol: 0, addend: 0 };
    let size = u32::try_from(image.code().len())?;
    dwarf.unit.line_program = lines(encoding, image, size, file);
    let root = dwarf.unit.get_mut(dwarf.unit.root());
    let text_of = |text: &str| AttributeValue::String(text.into());
    root.set(gimli::DW_AT_producer, text_of(concat!("Reclaim ", env!("CARGO_PKG_VERSION"))));
    root.set(gimli::DW_AT_name, text_of(file));
    root.set(gimli::DW_AT_comp_dir, text_of("."));
    root.set(gimli::DW_AT_low_pc, AttributeValue::Address(start));
    root.set(gimli::DW_AT_high_pc, AttributeValue::Udata(size.into()));
    let mut sections = Sections::new(Part::new());
    dwarf.write(&mut sections)?;

    let mut written: BTreeMap<&str, _> = BTreeMap::new();
    sections.for_each(|id, part| {
        if !part.bytes.slice().is_empty() {
            let section =
                object.add_section(Vec::new(), id.name().as_bytes().to_vec(), SectionKind::Debug);
            object.set_section_data(section, part.bytes.slice().to_vec(), 1);
            written.insert(id.name(), section);
        }
        anyhow::Ok(())
    })?;
    sections.for_each(|id: SectionId, part| {
        for relocation in &part.relocations {
            let target = match relocation.target {
                RelocationTarget::Symbol(_) => text,
                RelocationTarget::Section(id) => written[id.name()],
            };
            let symbol = object.section_symbol(target);
            let r_type = if relocation.size == 8 { arch.address_64 } else { arch.address_32 };
            let relocation = object::write::Relocation {
                offset: relocation.offset as u64,
                symbol,
                addend: relocation.addend,
                flags: RelocationFlags::Elf { r_type },
            };
            object.add_relocation(written[id.name()], relocation)?;
        }
        anyhow::Ok(())
    })
}

/// The lines of code. Code without a line is between two sequences: debuggers ignore rows with line 0.
fn lines(encoding: Encoding, image: &CodeImage, size: u32, file: &str) -> LineProgram {
    let [folder, name] = [".", file].map(|text| LineString::String(text.into()));
    let mut program = LineProgram::new(encoding, LineEncoding::default(), folder, None, name, None);
    let (file, ..) = program.files().next().expect("version 5 has the file");
    // The first offset of the sequence, its end so far, and the last line.
    let mut sequence: Option<(u32, u32, u32)> = None;
    for (first, after, line) in image.locations_in(0..size) {
        let Some(line) = line else { continue };
        if let Some((begun, end, _)) = sequence
            && end != first
        {
            program.end_sequence((end - begun).into());
            sequence = None;
        }
        let begun = sequence.map_or(first, |(begun, ..)| begun);
        if sequence.is_none() {
            program.begin_sequence(Some(Address::Symbol { symbol: 0, addend: first.into() }));
        }
        if sequence.is_none_or(|(.., last)| last != line) {
            let row = program.row();
            (row.file, row.line, row.address_offset) = (file, line.into(), (first - begun).into());
            program.generate_row();
        }
        sequence = Some((begun, after, line));
    }
    if let Some((begun, end, _)) = sequence {
        program.end_sequence((end - begun).into());
    }
    program
}
