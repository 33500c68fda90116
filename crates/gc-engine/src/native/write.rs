//! Writes objects: relocatable ELF.

use super::arch::{self, Arch, Main};
use super::{Header, Options, Record, Start, VERSION, frames, lines};
use crate::code::Word;
use crate::declarations::{Declarations, Exported};
use crate::registry::Definition;
use crate::types::describe;
use crate::{Engine, Module};
use anyhow::{Context as _, Result, bail, ensure};
use gc_compiler::{ImageLinker, ObjectCode, ObjectReloc, ObjectTarget};
use gc_types::{Abi, CodeImage, HeapBounds, Section};
use object::elf;
use object::write::{Comdat, Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{
    BinaryFormat, ComdatKind, Endianness, FileFlags, RelocationFlags, SectionFlags, SectionKind,
    SymbolFlags, SymbolKind, SymbolScope,
};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;

impl Module {
    /// Compiles all functions to an object: a relocatable ELF file, from which a system linker makes executables and
    /// libraries. The same module gives the same bytes.
    ///
    /// # Errors
    /// As for [`compile`](Module::compile). Also if there are no objects for the machine.
    ///
    /// # Examples
    /// ```
    /// use gc_engine::native::Start;
    /// use gc_engine::{Collector, Engine, Module, Type};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut module = Module::new(&engine);
    /// module.function("seven", [], [Type::I64], |f| {
    ///     let seven = f.i64(7);
    ///     f.ret(&[seven]);
    /// })?;
    /// let object: Vec<u8> = module.emit_object()?;
    /// assert!(object.starts_with(b"\x7fELF"));
    /// // The object that has what all others need.
    /// let start: Vec<u8> = engine.emit_start(&Start::main("seven"))?;
    /// # anyhow::Ok(())
    /// ```
    pub fn emit_object(self) -> Result<Vec<u8>> {
        let (engine, c_symbols) = (self.engine().clone(), self.c_symbols.clone());
        let source_file = self.source_file.clone();
        let (declared, code) = self.link(ImageLinker::link_object)?;
        let mut writer = Writer::new(&engine)?;
        writer.c_symbols = c_symbols;
        writer.source_file = source_file;
        writer.object(&declared, &code)
    }
}

impl Engine {
    /// Compiles the start object. Each executable or shared library needs exactly one, in addition to the objects of
    /// [`Module::emit_object`]. It contains the trampolines of host calls, the text of the ABI, and options of the
    /// engine: the collector, the heap's maximum, bounds and zeal, the stack, and whether code is interruptible.
    ///
    /// # Errors
    /// If the machine is not x86-64.
    pub fn emit_start(&self, start: &Start) -> Result<Vec<u8>> {
        let mut linker = ImageLinker::new();
        self.abi().host_calls().for_each(|(call, _)| linker.host_call(call));
        let code = linker.link_object(self.compiler())?;
        let declared = Declarations {
            types: Vec::new(),
            functions: Vec::new(),
            words: Vec::new(),
            uses_heap: false,
        };
        let mut writer = Writer::new(self)?;
        writer.start(start)?;
        writer.object(&declared, &code)
    }
}

/// A name as a part of a symbol: other characters than letters, digits and `_` are escaped.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => text.push(byte.into()),
            other => text += &format!("${other:02x}"),
        }
    }
    text
}

/// A short hash for symbols.
fn hash(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// The symbol of an ABI.
fn abi_symbol(abi: &Abi) -> String {
    let zeal = if abi.zeal() { ".zeal" } else { "" };
    let fingerprint = abi.fingerprint().to_string();
    format!("reclaim.abi.{}{zeal}.{}", escaped(abi.collector().name()), &fingerprint[..8])
}

/// An object that is being written.
struct Writer<'a> {
    engine: &'a Engine,
    arch: &'static Arch,
    object: Object<'a>,
    /// Whether it is the start object.
    is_start: bool,
    /// The names of symbols that it needs.
    needs: BTreeSet<String>,
    /// The symbols of functions of C.
    c_symbols: Vec<String>,
    /// The file whose lines are the locations.
    source_file: Option<String>,
}

impl<'a> Writer<'a> {
    fn new(engine: &'a Engine) -> Result<Writer<'a>> {
        let arch = arch::of(engine.abi())?;
        let mut object = Object::new(BinaryFormat::Elf, arch.architecture, Endianness::Little);
        // The flag that keeps a section is one of GNU.
        object.flags = FileFlags::Elf { os_abi: elf::ELFOSABI_GNU, abi_version: 0, e_flags: 0 };
        Ok(Writer {
            engine,
            arch,
            object,
            is_start: false,
            needs: BTreeSet::new(),
            c_symbols: Vec::new(),
            source_file: None,
        })
    }

    fn section(
        &mut self,
        name: &str,
        kind: SectionKind,
        flags: u32,
        data: &[u8],
        align: u64,
    ) -> SectionId {
        let id = self.object.add_section(Vec::new(), name.into(), kind);
        self.object.section_mut(id).flags = SectionFlags::Elf { sh_flags: flags.into() };
        self.object.set_section_data(id, data.to_vec(), align);
        id
    }

    /// A symbol of this object, or one without a section that another object has.
    fn symbol(
        &mut self,
        name: String,
        place: Option<(SectionId, u64)>,
        scope: SymbolScope,
    ) -> SymbolId {
        let kind = if place.is_some() { SymbolKind::Data } else { SymbolKind::Unknown };
        self.typed_symbol(name, place, scope, kind, 0)
    }

    fn typed_symbol(
        &mut self,
        name: String,
        place: Option<(SectionId, u64)>,
        scope: SymbolScope,
        kind: SymbolKind,
        size: u64,
    ) -> SymbolId {
        self.object.add_symbol(Symbol {
            name: name.into(),
            value: place.map_or(0, |(_, at)| at),
            size,
            kind,
            scope,
            weak: false,
            section: place
                .map_or(SymbolSection::Undefined, |(section, _)| SymbolSection::Section(section)),
            flags: SymbolFlags::None,
        })
    }

    /// The distance from the 64 bits at `offset` in a section to `symbol`, plus `addend`.
    fn distance(
        &mut self,
        section: SectionId,
        offset: usize,
        symbol: SymbolId,
        addend: i64,
    ) -> Result<()> {
        self.reloc(section, offset as u64, symbol, addend, self.arch.distance_64)
    }

    fn reloc(
        &mut self,
        section: SectionId,
        offset: u64,
        symbol: SymbolId,
        addend: i64,
        r_type: u32,
    ) -> Result<()> {
        let flags = RelocationFlags::Elf { r_type };
        let relocation = Relocation { offset, symbol, addend, flags };
        self.object.add_relocation(section, relocation).context("cannot write a relocation")
    }

    /// Adds the start object's parts.
    fn start(&mut self, options: &Start) -> Result<()> {
        self.is_start = true;
        let Start { main, roots, host_functions, runtime } = options;
        let engine = self.engine;
        let heap = engine.heap_options();
        let options = Options {
            collector: engine.collector().to_string(),
            heap_maximum: heap.maximum,
            guarded: heap.bounds == HeapBounds::Guarded,
            zeal: heap.zeal,
            max_stack: engine.max_stack() as u64,
            interruptible: engine.abi().polls(),
            main: main.clone(),
        };
        let options = postcard::to_stdvec(&options)?;
        let text = engine.abi().to_string();
        let data = [text.as_bytes(), &options].concat();
        let contents = crc32fast::hash(&data);
        let read = elf::SHF_ALLOC;
        let data = self.section(".rodata.reclaim.start", SectionKind::ReadOnlyData, read, &data, 1);
        let name = abi_symbol(engine.abi());
        let abi = self.symbol(name, Some((data, 0)), SymbolScope::Linkage);
        let header = Header {
            version: VERSION,
            checksum: 0,
            contents,
            reserved: 0,
            abi: [0, text.len() as i64],
            options: [0, options.len() as i64],
            records: [0; 2],
            words: [0; 2],
        };
        let words = [VERSION, header.checksum(), contents, header.reserved];
        let mut start: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let fields = [header.abi, header.options, header.records, header.words];
        start.extend(fields.as_flattened().iter().flat_map(|field| field.to_le_bytes()));
        let place =
            self.section(".rodata.reclaim.header", SectionKind::ReadOnlyData, read, &start, 8);
        // A program finds that of a library by its name, and its own by the other, which is hidden.
        self.symbol("reclaim_start".into(), Some((place, 0)), SymbolScope::Dynamic);
        self.symbol("reclaim_own_start".into(), Some((place, 0)), SymbolScope::Linkage);
        self.distance(place, offset_of!(Header, abi), abi, 0)?;
        self.distance(place, offset_of!(Header, options), abi, text.len() as i64)?;
        for (field, section) in [
            (offset_of!(Header, records), "reclaim_objects"),
            (offset_of!(Header, words), "reclaim_words"),
        ] {
            for (n, bound) in ["start", "stop"].into_iter().enumerate() {
                let bound = self.symbol(format!("__{bound}_{section}"), None, SymbolScope::Linkage);
                self.distance(place, field + 8 * n, bound, 0)?;
            }
        }
        let of_host: BTreeSet<&String> = host_functions.iter().collect();
        if let Some(name) = main.iter().chain(roots).find(|name| of_host.contains(name)) {
            bail!("the function `{name}` is both called by the host and one of the host");
        }
        ensure!(
            !runtime.is_empty() && !runtime.contains('\0'),
            "{runtime:?} is no name of a symbol"
        );
        for name in of_host {
            // It is only there for the linker.
            let name = function_symbol(name);
            self.symbol(name, Some((place, 0)), SymbolScope::Linkage);
        }
        self.needs.extend(main.iter().chain(roots).map(|name| function_symbol(name)));
        if main.is_some() {
            let Main { code, jump } = &self.arch.main;
            let flags = elf::SHF_ALLOC | elf::SHF_EXECINSTR;
            let text =
                self.section(".text.main", SectionKind::Text, flags, code, ObjectCode::ALIGNMENT);
            let (kind, size) = (SymbolKind::Text, code.len() as u64);
            self.typed_symbol("main".into(), Some((text, 0)), SymbolScope::Dynamic, kind, size);
            let target = self.symbol(runtime.clone(), None, SymbolScope::Unknown);
            let (offset, r_type, addend) = *jump;
            self.reloc(text, offset, target, addend, r_type)?;
        }
        Ok(())
    }

    /// Adds the code with its tables and its record.
    fn object(mut self, declared: &Declarations, code: &ObjectCode) -> Result<Vec<u8>> {
        let ObjectCode { image, relocs, frames } = code;
        ensure!(
            image.is_portable(),
            "the code contains type indices of its engine, so it cannot be in an object"
        );
        let table_bytes = tables(declared, image)?;
        // A linker must not merge the code of two objects that is the same, so it is different at its end.
        let tables_checksum = crc32fast::hash(&table_bytes);
        let code = [image.code(), &tables_checksum.to_le_bytes(), &[0; 12]].concat();
        let flags = elf::SHF_ALLOC | elf::SHF_EXECINSTR;
        let text =
            self.section(".text.reclaim", SectionKind::Text, flags, &code, ObjectCode::ALIGNMENT);
        let read = elf::SHF_ALLOC;
        let tables =
            self.section(".rodata.reclaim", SectionKind::ReadOnlyData, read, &table_bytes, 8);
        let count = image.type_words().len();
        // The pages of the words are protected. The words of the start object make the section begin with a page.
        let (size, align) = match self.is_start {
            true => (self.arch.page_size(), self.arch.page_size()),
            false => (8 * count as u64, 8),
        };
        let words = self.object.add_section(
            Vec::new(),
            b"reclaim_words".to_vec(),
            SectionKind::UninitializedData,
        );
        let flags = elf::SHF_ALLOC | elf::SHF_WRITE;
        self.object.section_mut(words).flags = SectionFlags::Elf { sh_flags: flags.into() };
        self.object.append_section_bss(words, size, align);
        self.functions(declared, image, text);
        self.relocs(text, words, relocs)?;
        if let Some(file) = &self.source_file {
            lines::write(&mut self.object, self.arch, text, image, file)?;
        }
        if self.engine.has_unwind_tables() {
            frames::write(&mut self.object, self.arch, text, frames)?;
        }

        let needs = self.needs(declared)?;
        let needed = u32::try_from(needs.len())?;
        let record = Record {
            size: u32::try_from(Record::size_with(needed))?,
            version: VERSION,
            checksum: 0,
            needs: needed,
            fingerprint: self.engine.abi().fingerprint().to_bytes(),
            code: [0, image.code().len() as i64],
            tables: [0, table_bytes.len() as i64],
            words: [0, count as i64],
            abi: 0,
            tables_checksum,
            reserved: 0,
        };
        let record = Record { checksum: record.checksum(), ..record };
        let record = record.to_bytes();
        let flags = elf::SHF_ALLOC | elf::SHF_GNU_RETAIN;
        let place = self.section("reclaim_objects", SectionKind::ReadOnlyData, flags, &record, 8);
        let [text, tables, words] =
            [text, tables, words].map(|section| self.object.section_symbol(section));
        self.distance(place, offset_of!(Record, code), text, 0)?;
        self.distance(place, offset_of!(Record, tables), tables, 0)?;
        self.distance(place, offset_of!(Record, words), words, 0)?;
        if !self.is_start {
            let abi = self.symbol(abi_symbol(self.engine.abi()), None, SymbolScope::Linkage);
            self.distance(place, offset_of!(Record, abi), abi, 0)?;
        }
        for (n, needed) in needs.into_iter().enumerate() {
            let at = size_of::<Record>() + 4 * n;
            self.reloc(place, at as u64, needed, 0, self.arch.distance_32)?;
        }
        // No stack is executable.
        self.section(".note.GNU-stack", SectionKind::Other, 0, &[], 1);
        self.object.write().context("cannot write an object")
    }

    /// The symbols of its functions: those of all for debuggers, and those of exported ones, so that a linker finds two
    /// with one name.
    fn functions(&mut self, declared: &Declarations, image: &CodeImage, text: SectionId) {
        for function in image.functions() {
            // A symbol's name ends at its first NUL.
            let name = function.name.replace('\0', "\u{fffd}");
            let (place, size) = (Some((text, function.offset.into())), function.size.into());
            self.typed_symbol(name, place, SymbolScope::Compilation, SymbolKind::Text, size);
        }
        for Exported { name, index, .. } in &declared.functions {
            let offset = image.function_offset(*index).expect("an exported function has code");
            let name = function_symbol(name);
            let place = Some((text, offset.into()));
            self.typed_symbol(name, place, SymbolScope::Linkage, SymbolKind::Text, 0);
        }
        if self.is_start {
            for (call, signature) in self.engine.abi().host_calls() {
                let functions = image.functions();
                let mut own = functions.filter(|it| it.id == gc_types::FunctionId::HostCall(call));
                let offset = own.next().expect("it has all host calls").offset;
                let name = host_call_symbol(signature.name);
                let place = Some((text, offset.into()));
                self.typed_symbol(name, place, SymbolScope::Linkage, SymbolKind::Text, 0);
            }
        }
    }

    fn relocs(&mut self, text: SectionId, words: SectionId, relocs: &[ObjectReloc]) -> Result<()> {
        let words = self.object.section_symbol(words);
        let mut symbols: BTreeMap<String, SymbolId> = BTreeMap::new();
        for ObjectReloc { offset, elf_type, target, addend } in relocs {
            let offset = u64::from(*offset);
            let (name, scope) = match target {
                ObjectTarget::TypeWord(number) => {
                    let addend = addend + 8 * i64::from(*number);
                    self.reloc(text, offset, words, addend, *elf_type)?;
                    continue;
                }
                ObjectTarget::HostCall(call) => {
                    let signature = self.engine.abi().host_call(*call);
                    let signature = signature
                        .with_context(|| format!("there is no host call {}", call.index()))?;
                    (host_call_symbol(signature.name), SymbolScope::Linkage)
                }
                ObjectTarget::Symbol(number) => {
                    (self.c_symbols[*number as usize].clone(), SymbolScope::Unknown)
                }
            };
            let symbol = match symbols.get(&name) {
                Some(symbol) => *symbol,
                None => {
                    let symbol = self.symbol(name.clone(), None, scope);
                    symbols.insert(name, symbol);
                    symbol
                }
            };
            self.reloc(text, offset, symbol, *addend, *elf_type)?;
        }
        Ok(())
    }

    /// The symbols that it needs: those of its types, each in the group of its name, and those of functions.
    fn needs(&mut self, declared: &Declarations) -> Result<Vec<SymbolId>> {
        let mut symbols = Vec::new();
        for word in &declared.words {
            if let Word::Import(name, _) = word {
                self.needs.insert(function_symbol(name));
            }
        }
        for name in std::mem::take(&mut self.needs) {
            symbols.push(self.symbol(name, None, SymbolScope::Linkage));
        }
        let mut known = BTreeSet::new();
        for ty in &declared.types {
            let Definition::Object(name, layout) = ty else { continue };
            ensure!(known.insert(name.clone()), "the type `{name}` is there twice");
            let name = escaped(name);
            let section_name = format!(".rodata.reclaim.type.{name}");
            let flags = elf::SHF_ALLOC | elf::SHF_GROUP;
            let section = self.section(&section_name, SectionKind::ReadOnlyData, flags, &[0], 1);
            let group = self.symbol(
                format!("reclaim.type.{name}"),
                Some((section, 0)),
                SymbolScope::Linkage,
            );
            let layout = hash(&describe(layout));
            let own = format!("reclaim.type.{name}.{layout}");
            symbols.push(self.symbol(own, Some((section, 0)), SymbolScope::Linkage));
            let sections = vec![section];
            self.object.add_comdat(Comdat { kind: ComdatKind::Any, symbol: group, sections });
        }
        Ok(symbols)
    }
}

fn function_symbol(name: &str) -> String {
    format!("reclaim.function.{}", escaped(name))
}

fn host_call_symbol(name: &str) -> String {
    format!("reclaim.host_call.{}", escaped(name))
}

impl Record {
    /// Its bytes, with room for the references to the symbols that it needs.
    fn to_bytes(self) -> Vec<u8> {
        let Record { size, version, checksum, needs, fingerprint, code, tables, words, .. } = self;
        let mut bytes = Vec::new();
        bytes.extend([size, version, checksum, needs].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(fingerprint);
        let fields = [code, tables, words];
        bytes.extend(fields.as_flattened().iter().flat_map(|field| field.to_le_bytes()));
        bytes.extend(self.abi.to_le_bytes());
        bytes.extend(self.tables_checksum.to_le_bytes());
        bytes.extend(self.reserved.to_le_bytes());
        bytes.resize(size as usize, 0);
        bytes
    }
}

/// The tables of an image as [`CodeImage::with_code_apart`] reads them, and then the declarations.
fn tables(declared: &Declarations, image: &CodeImage) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 4 * Section::COUNT];
    for section in Section::ALL {
        let end = match section {
            Section::Text => image.code().len(),
            section => {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                // All objects of a program have the same ABI.
                if section != Section::Abi {
                    bytes.extend_from_slice(image.section(section));
                }
                bytes.len()
            }
        };
        let end = u32::try_from(end)?;
        bytes[4 * section as usize..][..4].copy_from_slice(&end.to_le_bytes());
    }
    bytes.extend_from_slice(&declared.to_bytes()?);
    Ok(bytes)
}
