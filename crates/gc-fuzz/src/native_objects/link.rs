//! Links objects in memory, as a system linker and the loader of a program do, but without files and processes.
//!
//! Each section has pages of its own and ends where its last page ends, and the page after it cannot be accessed. So
//! code that reads beyond a section is found. New pages of code are in the caches of instructions when they become
//! executable: Linux does that.
#![allow(unsafe_code)]

use anyhow::{Context as _, Result, bail, ensure};
use gc_engine::native::Objects;
use gc_engine::{Code, Engine};
use gc_types::CodeImage;
use object::read::{File, SectionIndex};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget,
    SectionFlags, elf,
};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// The size of a page in bytes.
const PAGE: usize = CodeImage::PAGE_SIZE as usize;
/// The sections that a linker joins.
const JOINED: [&str; 2] = ["reclaim_objects", "reclaim_words"];

/// Pages with the sections of a program.
#[derive(Debug)]
pub(super) struct Program {
    base: *mut u8,
    parts: Vec<Part>,
    /// The symbols that are not local, as distances from `base`.
    symbols: BTreeMap<String, usize>,
}

// SAFETY: it owns the pages, and only its methods write to them.
unsafe impl Send for Program {}

/// A section.
#[derive(Debug)]
struct Part {
    name: String,
    at: usize,
    bytes: Vec<u8>,
    flags: u64,
    align: usize,
}

impl Part {
    fn range(&self) -> Range<usize> {
        self.at..self.at + self.bytes.len()
    }

    /// Its pages.
    fn pages(&self) -> Range<usize> {
        let Range { start, end } = self.range();
        start / PAGE * PAGE..end.next_multiple_of(PAGE)
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }
}

/// What a section of an object became: the number of the part, and the distance from its start.
type Places = HashMap<(usize, SectionIndex), (usize, usize)>;

impl Program {
    /// Links these objects.
    pub(super) fn link(objects: &[Vec<u8>]) -> Result<Program> {
        let files = objects.iter().map(|bytes| File::parse(&**bytes));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let (mut parts, places) = sections(&files)?;
        let mut end = PAGE;
        for part in &mut parts {
            // The words of types are at the start of their pages.
            let size = part.bytes.len();
            let slack = match part.has(elf::SHF_WRITE) {
                true => 0,
                false => (size.next_multiple_of(PAGE) - size) / part.align * part.align,
            };
            part.at = end + slack;
            end = (part.at + size).next_multiple_of(PAGE) + PAGE;
        }
        let flags = MapFlags::PRIVATE;
        // SAFETY: new pages are not yet used by anyone.
        let base =
            unsafe { mmap_anonymous(std::ptr::null_mut(), end + PAGE, ProtFlags::empty(), flags)? };
        // Pages of the system may be smaller.
        let base = base.cast::<u8>();
        let base = base.wrapping_add(base.align_offset(PAGE));
        let mut program = Program { base, parts, symbols: BTreeMap::new() };
        program.find_symbols(&files, &places)?;
        program.relocate(&files, &places)?;
        program.reset(|_| ())?;
        Ok(program)
    }

    fn find_symbols(&mut self, files: &[File<'_>], places: &Places) -> Result<()> {
        for name in JOINED {
            let part = self.parts.iter().find(|part| part.name == name);
            let Range { start, end } = part.context("no object has such a section")?.range();
            self.symbols.insert(format!("__start_{name}"), start);
            self.symbols.insert(format!("__stop_{name}"), end);
        }
        for (n, file) in files.iter().enumerate() {
            for symbol in file.symbols().filter(|symbol| symbol.is_global()) {
                let Some(section) = symbol.section_index() else { continue };
                // Another object has had the same group.
                let Some((part, start)) = places.get(&(n, section)) else { continue };
                let at = self.parts[*part].at + start + symbol.address() as usize;
                let name = symbol.name()?;
                let first = self.symbols.insert(name.to_owned(), at);
                ensure!(first.is_none(), "multiple definition of `{name}`");
            }
        }
        Ok(())
    }

    fn relocate(&mut self, files: &[File<'_>], places: &Places) -> Result<()> {
        for (n, file) in files.iter().enumerate() {
            for section in file.sections() {
                let Some((part, start)) = places.get(&(n, section.index())) else { continue };
                for (offset, relocation) in section.relocations() {
                    let RelocationTarget::Symbol(target) = relocation.target() else {
                        bail!("a relocation has no symbol");
                    };
                    let target = file.symbol_by_index(target)?;
                    let name = target.name()?;
                    let local = target.section_index().filter(|_| !target.is_global());
                    let to = match local {
                        Some(section) => {
                            let (part, start) = places.get(&(n, section)).context("a section")?;
                            self.parts[*part].at + start + target.address() as usize
                        }
                        None => {
                            let known = self.symbols.get(name);
                            *known.with_context(|| format!("undefined reference to `{name}`"))?
                        }
                    };
                    let part = &mut self.parts[*part];
                    let at = start + offset as usize;
                    let RelocationFlags::Elf { r_type: kind } = relocation.flags() else {
                        bail!("a relocation of the kind {:?}", relocation.flags());
                    };
                    let to = to as i64 + relocation.addend();
                    relocate_field(&mut part.bytes[at..], kind, to, (part.at + at) as i64)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the program as it was linked, after `change` has changed the bytes of the sections without code.
    ///
    /// The objects of the program and their code must have been dropped.
    pub(super) fn reset(&mut self, change: impl Fn(&mut Bytes<'_>)) -> Result<()> {
        for part in &self.parts {
            let mut bytes = part.bytes.clone();
            if !part.has(elf::SHF_EXECINSTR) {
                change(&mut Bytes { start: part.at, bytes: &mut bytes });
            }
            let pages = part.pages();
            let mut flags = MprotectFlags::READ;
            if part.has(elf::SHF_EXECINSTR) {
                flags |= MprotectFlags::EXEC;
            }
            if part.has(elf::SHF_WRITE) {
                flags |= MprotectFlags::WRITE;
            }
            // SAFETY: the pages belong to the program, and nobody has references to them, as the caller promises.
            unsafe {
                let start = self.base.add(pages.start).cast();
                mprotect(start, pages.len(), MprotectFlags::READ | MprotectFlags::WRITE)?;
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(part.at), bytes.len());
                mprotect(start, pages.len(), flags)?;
            }
        }
        Ok(())
    }

    /// The objects of the program. They are loaded once after each [`reset`](Program::reset).
    pub(super) fn objects(&self) -> Result<Objects> {
        let start = self.symbols.get("reclaim_own_start").context("there is no start object")?;
        // SAFETY: the symbol is one of a start object. The pages stay, because no program is dropped: all are in a
        // static variable. They change only when nobody has references to them.
        unsafe { Objects::at(self.base.add(*start)) }
    }

    /// Loads the objects.
    pub(super) fn load(&self, engine: &Engine) -> Result<Vec<Code>> {
        let objects = self.objects()?;
        // SAFETY: the program was reset, so this is the first call for it. The code was compiled for the engine. Its
        // users do not run it if its tables were damaged, but for stack maps: a collection finds that one is missing
        // before it changes anything.
        unsafe { objects.load(engine) }
    }

    /// The bytes of the first section with this name after linking, with the distance at which they begin.
    pub(super) fn section(&self, name: &str) -> Result<(usize, &[u8])> {
        let part = self.parts.iter().find(|part| part.name == name);
        let part = part.with_context(|| format!("there is no section {name}"))?;
        Ok((part.at, &part.bytes))
    }

    /// So many bytes after linking, at this distance.
    pub(super) fn bytes(&self, at: usize, size: usize) -> Result<&[u8]> {
        let part =
            self.parts.iter().find(|part| part.range().contains(&at)).context("a section")?;
        part.bytes.get(at - part.at..).and_then(|rest| rest.get(..size)).context("its bytes")
    }
}

/// Writes the field of a relocation, with which the bytes begin. It is at the distance `at` from the program's base, and
/// refers to the distance `to`.
fn relocate_field(bytes: &mut [u8], kind: u32, to: i64, at: i64) -> Result<()> {
    let distance = to - at;
    let mut word = |mask: u32, bits: i64| -> Result<()> {
        let field = bytes.first_chunk_mut().context("a field of four bytes")?;
        *field = (u32::from_le_bytes(*field) & !mask | bits as u32 & mask).to_le_bytes();
        Ok(())
    };
    match kind {
        elf::R_X86_64_PC64 | elf::R_AARCH64_PREL64 => {
            let field = bytes.first_chunk_mut().context("a field of eight bytes")?;
            *field = distance.to_le_bytes();
            Ok(())
        }
        elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 | elf::R_AARCH64_PREL32 => {
            word(u32::MAX, i32::try_from(distance)?.into())
        }
        elf::R_AARCH64_CALL26 => {
            ensure!((-1 << 27..1 << 27).contains(&distance), "a call beyond 128 MiB");
            word(0x03ff_ffff, distance >> 2)
        }
        // Pages of 4 KiB, whatever the size of the system's pages is (ELF for the Arm 64-bit Architecture, section 5.7).
        elf::R_AARCH64_ADR_PREL_PG_HI21 => {
            let pages = (to >> 12) - (at >> 12);
            ensure!((-1 << 20..1 << 20).contains(&pages), "a place beyond 4 GiB");
            word(0x60ff_ffe0, (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5)
        }
        elf::R_AARCH64_LDST64_ABS_LO12_NC => word(0x003f_fc00, (to & 0xfff) >> 3 << 10),
        other => bail!("a relocation of the kind {other}"),
    }
}

/// Bytes of a section that can be changed.
pub(super) struct Bytes<'a> {
    start: usize,
    bytes: &'a mut [u8],
}

impl Bytes<'_> {
    /// Overwrites bytes, if this section has the place.
    pub(super) fn write(&mut self, at: usize, new: &[u8]) {
        let place = at.checked_sub(self.start);
        let rest = place.and_then(|at| self.bytes.get_mut(at..at + new.len()));
        if let Some(rest) = rest {
            rest.copy_from_slice(new);
        }
    }
}

/// The sections that are in memory. Sections of the same group are taken once.
fn sections(files: &[File<'_>]) -> Result<(Vec<Part>, Places)> {
    let (mut parts, mut places) = (Vec::<Part>::new(), Places::new());
    let mut groups = BTreeSet::new();
    for (n, file) in files.iter().enumerate() {
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags: flags } = section.flags() else {
                bail!("an object is not ELF");
            };
            let name = section.name()?;
            let is_group = flags & u64::from(elf::SHF_GROUP) != 0;
            if flags & u64::from(elf::SHF_ALLOC) == 0 || is_group && !groups.insert(name.to_owned())
            {
                continue;
            }
            let mut bytes = section.data()?.to_vec();
            bytes.resize(section.size() as usize, 0);
            let known = parts.iter().position(|part| part.name == name);
            let number = match known.filter(|_| JOINED.contains(&name)) {
                Some(known) => known,
                None => {
                    let (name, bytes, align) = (name.into(), Vec::new(), 1);
                    parts.push(Part { name, at: 0, bytes, flags, align });
                    parts.len() - 1
                }
            };
            let part = &mut parts[number];
            let align = section.align().max(1) as usize;
            part.align = part.align.max(align);
            let start = part.bytes.len().next_multiple_of(align);
            part.bytes.resize(start, 0);
            part.bytes.append(&mut bytes);
            places.insert((n, section.index()), (number, start));
        }
    }
    Ok((parts, places))
}
