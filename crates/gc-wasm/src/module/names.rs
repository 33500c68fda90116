//! The names of a module's items, from its name section (core specification, appendix "Custom
//! Sections", and the proposal extended-name-section).
//!
//! Names are only for people, so a malformed name section is not an error: the names before the
//! fault are used. The names of locals and fields can be as many as the module's operators. They are
//! read when somebody asks for them.

use super::declarations::Bytes;
use anyhow::{Context, Result};
use std::collections::HashMap;
use wasmparser::{BinaryReader, IndirectNameMap, Name, NameMap, NameSectionReader};

/// Names by index, imports included.
type NamesOf = HashMap<u32, String>;

/// The names of a module's items, from its name section. Indices are those of the module, imports
/// included.
///
/// # Examples
/// ```
/// use gc_wasm::{Config, Engine, Module};
///
/// let engine = Engine::new(&Config::new())?;
/// let wat = "(module (type $point (struct (field $x i32))) (func $f (param i64) (param $b i64)))";
/// let module = Module::new(&engine, wat)?;
/// let names = module.names();
/// assert_eq!((names.func(0), names.ty(0)), (Some("f"), Some("point")));
/// assert_eq!(names.fields(0)[&0], "x");
/// assert_eq!(names.locals(0).get(&1).map(String::as_str), Some("b"));
/// # anyhow::Ok(())
/// ```
#[derive(Debug, Default)]
pub struct Names {
    /// The module's name.
    pub(crate) module: Option<String>,
    /// Names of functions, from the name section or else from an export.
    pub(crate) funcs: NamesOf,
    types: NamesOf,
    tables: NamesOf,
    memories: NamesOf,
    globals: NamesOf,
    tags: NamesOf,
    elements: NamesOf,
    data: NamesOf,
    /// The name section.
    section: Bytes,
}

/// An item in a message: its kind and index, and its name if it has one.
fn describe(kind: &str, names: &NamesOf, index: u32) -> String {
    match names.get(&index) {
        Some(name) => format!("{kind} {index} `{name}`"),
        None => format!("{kind} {index}"),
    }
}

impl Names {
    /// Reads a name section. The names of an earlier one stay.
    pub(super) fn read(&mut self, section: Bytes) {
        let reader = NameSectionReader::new(BinaryReader::new(&section, 0));
        if let Err(error) = self.read_all(reader) {
            log::debug!("ignoring the rest of a malformed name section: {error}");
        }
        self.section = section;
    }

    fn read_all(&mut self, names: NameSectionReader<'_>) -> Result<()> {
        for name in names {
            match name.context("name section")? {
                Name::Module { name, .. } => self.module = Some(name.to_string()),
                Name::Function(names) => read_map(&mut self.funcs, names)?,
                Name::Type(names) => read_map(&mut self.types, names)?,
                Name::Table(names) => read_map(&mut self.tables, names)?,
                Name::Memory(names) => read_map(&mut self.memories, names)?,
                Name::Global(names) => read_map(&mut self.globals, names)?,
                Name::Tag(names) => read_map(&mut self.tags, names)?,
                Name::Element(names) => read_map(&mut self.elements, names)?,
                Name::Data(names) => read_map(&mut self.data, names)?,
                Name::Local(_) | Name::Label(_) | Name::Field(_) | Name::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    /// The name of function `index`. If the name section has none, it is that of its
    /// first export.
    pub fn func(&self, index: u32) -> Option<&str> {
        self.funcs.get(&index).map(String::as_str)
    }

    /// The name of type `index`.
    pub fn ty(&self, index: u32) -> Option<&str> {
        self.types.get(&index).map(String::as_str)
    }

    /// The name of table `index`.
    pub fn table(&self, index: u32) -> Option<&str> {
        self.tables.get(&index).map(String::as_str)
    }

    /// The name of memory `index`.
    pub fn memory(&self, index: u32) -> Option<&str> {
        self.memories.get(&index).map(String::as_str)
    }

    /// The name of global `index`.
    pub fn global(&self, index: u32) -> Option<&str> {
        self.globals.get(&index).map(String::as_str)
    }

    /// The name of tag `index`.
    pub fn tag(&self, index: u32) -> Option<&str> {
        self.tags.get(&index).map(String::as_str)
    }

    /// The name of element segment `index`.
    pub fn element(&self, index: u32) -> Option<&str> {
        self.elements.get(&index).map(String::as_str)
    }

    /// The name of data segment `index`.
    pub fn data(&self, index: u32) -> Option<&str> {
        self.data.get(&index).map(String::as_str)
    }

    /// The names of the locals of function `func`, parameters included, by index.
    pub fn locals(&self, func: u32) -> HashMap<u32, String> {
        self.inner(func, |name| match name {
            Name::Local(names) => Some(names),
            _ => None,
        })
    }

    /// The names of the locals of all functions, by function and index: all at once, because to find
    /// those of one function the whole section is read.
    #[cfg(feature = "compiler")]
    pub(crate) fn all_locals(&self) -> HashMap<u32, NamesOf> {
        let mut found: HashMap<u32, NamesOf> = HashMap::new();
        let section = NameSectionReader::new(BinaryReader::new(&self.section, 0));
        for names in section.into_iter().map_while(Result::ok) {
            let Name::Local(names) = names else { continue };
            for locals in names.into_iter().map_while(Result::ok) {
                let _ = read_map(found.entry(locals.index).or_default(), locals.names);
            }
        }
        found
    }

    /// The names of the labels of function `func`, by index.
    pub fn labels(&self, func: u32) -> HashMap<u32, String> {
        self.inner(func, |name| match name {
            Name::Label(names) => Some(names),
            _ => None,
        })
    }

    /// The names of the fields of type `ty`, by index.
    pub fn fields(&self, ty: u32) -> HashMap<u32, String> {
        self.inner(ty, |name| match name {
            Name::Field(names) => Some(names),
            _ => None,
        })
    }

    /// Table `index` in a message.
    pub(crate) fn describe_table(&self, index: u32) -> String {
        describe("table", &self.tables, index)
    }

    /// Memory `index` in a message.
    pub(crate) fn describe_memory(&self, index: u32) -> String {
        describe("memory", &self.memories, index)
    }

    /// Global `index` in a message.
    pub(crate) fn describe_global(&self, index: u32) -> String {
        describe("global", &self.globals, index)
    }

    /// Element segment `index` in a message.
    pub(crate) fn describe_element(&self, index: u32) -> String {
        describe("element segment", &self.elements, index)
    }

    /// Data segment `index` in a message.
    pub(crate) fn describe_data(&self, index: u32) -> String {
        describe("data segment", &self.data, index)
    }

    /// The names of the parts of item `outer`, in the subsection that `select` selects.
    fn inner<'a>(
        &'a self,
        outer: u32,
        select: impl Fn(Name<'a>) -> Option<IndirectNameMap<'a>>,
    ) -> NamesOf {
        let mut found = NamesOf::new();
        let section = NameSectionReader::new(BinaryReader::new(&self.section, 0));
        // What is malformed was reported when the section was read.
        for names in section.into_iter().map_while(Result::ok).filter_map(select) {
            let parts = names.into_iter().map_while(Result::ok);
            for parts in parts.filter(|parts| parts.index == outer) {
                let _ = read_map(&mut found, parts.names);
            }
        }
        found
    }
}

fn read_map(names: &mut NamesOf, map: NameMap<'_>) -> Result<()> {
    for naming in map {
        let naming = naming?;
        names.insert(naming.index, naming.name.to_string());
    }
    Ok(())
}
