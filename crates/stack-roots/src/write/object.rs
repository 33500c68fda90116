//! Writes stack maps into an object of `cranelift-object`.

use super::arch::Arch;
use super::{FunctionMap, MapError, Maps};
use cranelift_module::FuncId;
use cranelift_object::ObjectProduct;
use object::write::{Comdat, Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{
    BinaryFormat, ComdatKind, FileFlags, RelocationFlags, SectionFlags, SectionKind, SymbolFlags,
    SymbolKind, SymbolScope, elf,
};
use stack_roots_walk::format::{
    CHECKSUM, FUNCTION_WORDS, HEADER_WORDS, MAGIC, SECTION, VERSION, checksum,
};
use std::collections::HashMap;

/// Where a function's code is in an object.
struct Place<'m> {
    map: &'m FunctionMap,
    symbol: SymbolId,
    section: SectionId,
    /// Bytes from the beginning of the section.
    offset: u64,
}

impl Maps {
    /// Writes the maps into the section `stack_roots` of an object: one record for all functions.
    ///
    /// The record refers to the functions, so a linker that drops unused sections (`--gc-sections`) keeps all of them.
    /// [`write_droppable`](Maps::write_droppable) does not keep them.
    ///
    /// # Errors
    /// If a function that is defined in the module has no maps, one with maps is not defined, or the object is not ELF.
    pub fn write(&self, product: &mut ObjectProduct) -> Result<(), MapError> {
        let places = self.places(product)?;
        let object = &mut product.object;
        mark_gnu(object);
        if places.is_empty() {
            return Ok(());
        }
        // The linker keeps the section, also if it drops what only its bounds refer to.
        let flags = elf::SHF_ALLOC | elf::SHF_GNU_RETAIN;
        record(object, self.arch, &places, flags)?;
        Ok(())
    }

    /// Writes the maps so that a linker may drop functions: one record for each function, in a group with the function's
    /// section. If several objects define a function of the same name that is exported or preemptible, as the instances
    /// of a generic one, the linker keeps one of them together with its maps.
    ///
    /// Each function must be in a section of its own (`ObjectBuilder::per_function_section`). Unused functions are dropped
    /// by lld (`--gc-sections`), and by bfd and gold with `-z start-stop-gc` too.
    ///
    /// `unit` is a name that no other object of the program has, for the groups of local functions.
    ///
    /// # Errors
    /// As [`write`](Maps::write), and if two functions share a section.
    pub fn write_droppable(&self, product: &mut ObjectProduct, unit: &str) -> Result<(), MapError> {
        let places = self.places(product)?;
        let object = &mut product.object;
        let mut sections: HashMap<SectionId, usize> = HashMap::new();
        // Also those without maps.
        for (symbol, _) in product.functions.values().flatten() {
            if let SymbolSection::Section(section) = object.symbol(*symbol).section {
                *sections.entry(section).or_default() += 1;
            }
        }
        for (n, place) in places.iter().enumerate() {
            let (name, scope) = {
                let symbol = object.symbol(place.symbol);
                (String::from_utf8_lossy(&symbol.name).into_owned(), symbol.scope)
            };
            if sections[&place.section] > 1 || place.offset != 0 {
                return Err(MapError::SharedSection(name));
            }
            let flags = elf::SHF_ALLOC | elf::SHF_GROUP;
            let section = record(object, self.arch, std::slice::from_ref(place), flags)?;
            let signature = match scope {
                SymbolScope::Dynamic | SymbolScope::Linkage => place.symbol,
                _ => local_symbol(object, format!("stack_roots.{unit}.{n}.{name}"), section),
            };
            let text = object.section_mut(place.section);
            let flags = elf::SHF_ALLOC | elf::SHF_EXECINSTR | elf::SHF_GROUP;
            text.flags = SectionFlags::Elf { sh_flags: flags.into() };
            object.add_comdat(Comdat {
                kind: ComdatKind::Any,
                symbol: signature,
                sections: vec![place.section, section],
            });
        }
        Ok(())
    }

    /// Writes the bounds of a shared library's tables under an exported symbol, for
    /// [`Tables::add_library`](stack_roots_walk::Tables::add_library). Exactly one object of the library has it, and
    /// at least one has maps.
    ///
    /// # Errors
    /// If the object is not ELF.
    pub fn write_library(&self, product: &mut ObjectProduct, name: &str) -> Result<(), MapError> {
        let object = &mut product.object;
        check_format(object)?;
        let section = object.add_section(
            Vec::new(),
            b".rodata.stack_roots".to_vec(),
            SectionKind::ReadOnlyData,
        );
        object.set_section_data(section, vec![0; 16], 8);
        object.add_symbol(Symbol {
            name: name.into(),
            value: 0,
            size: 16,
            kind: SymbolKind::Data,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
        for (n, bound) in ["__start_", "__stop_"].into_iter().enumerate() {
            let symbol = object.add_symbol(Symbol {
                name: format!("{bound}{SECTION}").into(),
                value: 0,
                size: 0,
                kind: SymbolKind::Unknown,
                scope: SymbolScope::Linkage,
                weak: false,
                section: SymbolSection::Undefined,
                flags: SymbolFlags::None,
            });
            relocation(object, section, 8 * n as u64, symbol, 0, self.arch.distance_64)?;
        }
        Ok(())
    }

    /// The functions with maps, and where their code is.
    fn places(&self, product: &ObjectProduct) -> Result<Vec<Place<'_>>, MapError> {
        let object = &product.object;
        check_format(object)?;
        for (id, function) in product.functions.iter() {
            if let Some((symbol, true)) = *function
                && !self.functions.contains_key(&id)
                && !self.without.contains(&id)
            {
                let name = String::from_utf8_lossy(&object.symbol(symbol).name).into_owned();
                return Err(MapError::Forgotten(name));
            }
        }
        let place = |(id, map): (&FuncId, _)| {
            let (symbol, _) = product.functions[*id]
                .filter(|(_, is_defined)| *is_defined)
                .ok_or(MapError::NotDefined(*id))?;
            let SymbolSection::Section(section) = object.symbol(symbol).section else {
                return Err(MapError::NotDefined(*id));
            };
            Ok(Place { map, symbol, section, offset: object.symbol(symbol).value })
        };
        self.functions.iter().map(place).collect()
    }
}

fn check_format(object: &Object<'_>) -> Result<(), MapError> {
    match object.format() {
        BinaryFormat::Elf => Ok(()),
        other => Err(MapError::Format(format!("{other:?}"))),
    }
}

/// The flag that keeps a section is one of GNU.
fn mark_gnu(object: &mut Object<'_>) {
    if let FileFlags::None = object.flags {
        object.flags = FileFlags::Elf { os_abi: elf::ELFOSABI_GNU, abi_version: 0, e_flags: 0 };
    }
}

/// Writes a record into a new section.
fn record(
    object: &mut Object<'_>,
    arch: &Arch,
    places: &[Place<'_>],
    flags: u32,
) -> Result<SectionId, MapError> {
    let bytes = encode(arch.machine, places)?;
    let section = object.add_section(Vec::new(), SECTION.into(), SectionKind::ReadOnlyData);
    object.section_mut(section).flags = SectionFlags::Elf { sh_flags: flags.into() };
    object.set_section_data(section, bytes, 8);
    for (n, place) in places.iter().enumerate() {
        // The symbol of the section is always this object's own, whatever else has the function's name.
        let target = object.section_symbol(place.section);
        let at = 4 * (HEADER_WORDS + n * FUNCTION_WORDS) as u64;
        let addend = i64::try_from(place.offset).map_err(|_| MapError::TooLarge)?;
        relocation(object, section, at, target, addend, arch.distance_32)?;
    }
    Ok(section)
}

fn relocation(
    object: &mut Object<'_>,
    section: SectionId,
    offset: u64,
    symbol: SymbolId,
    addend: i64,
    r_type: u32,
) -> Result<(), MapError> {
    let flags = RelocationFlags::Elf { r_type };
    object
        .add_relocation(section, Relocation { offset, symbol, addend, flags })
        .map_err(|error| MapError::Object(error.to_string()))
}

fn local_symbol(object: &mut Object<'_>, name: String, section: SectionId) -> SymbolId {
    object.add_symbol(Symbol {
        name: name.into(),
        value: 0,
        size: 0,
        kind: SymbolKind::Data,
        scope: SymbolScope::Compilation,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    })
}

/// The bytes of a record. The distances are zero.
fn encode(machine: u16, places: &[Place<'_>]) -> Result<Vec<u8>, MapError> {
    let mut functions = Vec::new();
    let mut rows = Vec::new();
    let mut maps: Vec<u32> = Vec::new();
    let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
    for place in places {
        functions.extend([0, place.map.code_size(), place.map.rows().len() as u32]);
        for row in place.map.rows() {
            let words = row.words();
            let next = u32::try_from(maps.len()).map_err(|_| MapError::TooLarge)?;
            let at = *known.entry(words).or_insert_with_key(|words| {
                maps.extend(words);
                next
            });
            rows.extend([row.return_address, at]);
        }
    }
    let mut words = vec![0; HEADER_WORDS];
    let row_count = rows.len() / stack_roots_walk::format::ROW_WORDS;
    words.extend(functions);
    words.extend(rows);
    words.extend(maps);
    if !words.len().is_multiple_of(2) {
        words.push(0);
    }
    let size = u32::try_from(4 * words.len()).map_err(|_| MapError::TooLarge)?;
    words[..2].copy_from_slice(&MAGIC);
    words[2] = u32::from(VERSION) | u32::from(machine) << 16;
    words[3] = size;
    words[4] = places.len() as u32;
    words[5] = row_count as u32;
    let sum = checksum(&words, places.len());
    words[CHECKSUM] = sum as u32;
    words[CHECKSUM + 1] = (sum >> 32) as u32;
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}
