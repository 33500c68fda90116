//! Parses bytes to a [`ModuleInfo`], in one pass that validates each section. Function bodies are
//! kept with their validators. They are validated later, when they are compiled in parallel.

#[cfg(feature = "compiler")]
use super::data_drops;
use super::declarations::{Bytes, Declarations};
use super::info::{
    DataSegment, ElementItems, ElementMode, ElementSegment, FuncInfo, Import, ModuleInfo, TagInfo,
};
use super::sections;
#[cfg(feature = "compiler")]
use super::table_growth;
use crate::types::registry::TypeRegistry;
use anyhow::{Result, anyhow, bail};
#[cfg(feature = "compiler")]
use std::collections::HashSet;
use wasmparser::{
    ElementItems as ParsedItems, ElementKind, ExternalKind, FuncToValidate, FunctionBody, Parser,
    Payload, TableInit, TypeRef, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};
use wasmtime_types::{
    ConstExpr, EntityIndex, FuncIndex, GlobalIndex, MemoryIndex, TableIndex, TagIndex, TypeConvert,
};

/// A function body that is still to be validated and translated.
pub(crate) struct Body<'a> {
    /// Its function's index, imports included.
    #[cfg_attr(not(feature = "compiler"), expect(dead_code))]
    pub(crate) index: u32,
    pub(crate) validator: FuncToValidate<ValidatorResources>,
    pub(crate) body: FunctionBody<'a>,
}

/// Parses and validates a binary module, except its function bodies.
///
/// # Errors
/// If it is malformed or invalid (with the offset in bytes), or uses an unsupported feature.
pub(crate) fn parse<'a>(
    registry: &TypeRegistry,
    features: WasmFeatures,
    bytes: &'a [u8],
) -> Result<(ModuleInfo, Vec<Body<'a>>)> {
    if let Some(magic @ [a, b, c, d]) = bytes.get(..4)
        && magic != b"\0asm"
    {
        if gc_jit::is_saved(bytes) {
            bail!("magic header not detected: `Module::deserialize` loads compiled modules");
        }
        if let Some(form) = uncompiled(bytes) {
            bail!("magic header not detected: this is {form}, and the binary format is expected");
        }
        bail!(
            "magic header not detected: not a WebAssembly module, \
             which would not begin with the bytes {a:02x} {b:02x} {c:02x} {d:02x}"
        );
    }
    if bytes.get(4..8) == Some(b"\x0d\0\x01\0") {
        bail!("unknown binary version 13: a component, not a module, which is unsupported");
    }
    parse_with(registry, features, bytes, Declarations::of(bytes))
}

/// The form of a module that was not compiled. `None` if it is in none.
pub(super) fn uncompiled(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    if bytes.starts_with(b"\0asm") {
        Some("a module in the binary format")
    } else if text.starts_with(b"(") || text.starts_with(b";;") {
        Some("a module in the text format")
    } else {
        None
    }
}

/// Parses and validates a saved module ([`ModuleInfo::saved`]), whose function bodies are empty.
///
/// # Errors
/// If it is malformed or invalid.
pub(crate) fn parse_saved(
    registry: &TypeRegistry,
    features: WasmFeatures,
    saved: Bytes,
) -> Result<ModuleInfo> {
    let Some((&grows_tables, declarations)) = saved.split_last() else { bail!("it is empty") };
    let declarations = saved.slice(0..declarations.len());
    let bytes = declarations.clone();
    let (mut info, _) =
        parse_with(registry, features, &bytes, Declarations::unchanged(declarations))?;
    info.funcs.iter_mut().for_each(|func| func.body = None);
    info.set_table_growth(grows_tables != 0);
    Ok(info)
}

fn parse_with<'a>(
    registry: &TypeRegistry,
    features: WasmFeatures,
    bytes: &'a [u8],
    declarations: Declarations,
) -> Result<(ModuleInfo, Vec<Body<'a>>)> {
    let info = ModuleInfo { declarations: declarations.bytes.clone(), ..ModuleInfo::default() };
    let mut module = Parsing { info, bodies: Vec::new(), bytes, declarations };
    module.all(registry, features).map_err(|error| sections::locate(bytes, error))?;
    Ok((module.info, module.bodies))
}

struct Parsing<'a> {
    /// The module.
    bytes: &'a [u8],
    declarations: Declarations,
    info: ModuleInfo,
    bodies: Vec<Body<'a>>,
}

impl<'a> Parsing<'a> {
    /// Parses all sections.
    fn all(&mut self, registry: &TypeRegistry, features: WasmFeatures) -> Result<()> {
        let mut validator = Validator::new_with_features(features);
        let mut parser = Parser::new(0);
        parser.set_features(features);
        for payload in parser.parse_all(self.bytes) {
            let payload = payload?;
            match validator.payload(&payload)? {
                ValidPayload::Func(validator, body) => {
                    let index = self.info.num_imported_funcs + self.bodies.len() as u32;
                    let start = u32::try_from(body.range().start).ok();
                    self.info.funcs[index as usize].body = start;
                    self.bodies.push(Body { index, validator, body });
                }
                _ => self.section(registry, payload)?,
            }
        }
        self.info.name_by_exports();
        #[cfg(feature = "compiler")]
        {
            self.find_dropped_data();
            let mut bodies = self.bodies.iter();
            let grows = bodies.any(|body| table_growth::may_grow(body.body.as_bytes()));
            self.info.set_table_growth(grows);
        }
        Ok(())
    }

    #[cfg(feature = "compiler")]
    fn find_dropped_data(&mut self) {
        let data = &mut self.info.data;
        if data.iter().all(|segment| segment.active.is_some()) {
            return;
        }
        let mut dropped = HashSet::new();
        for body in &self.bodies {
            data_drops::find(body.body.as_bytes(), &mut dropped);
        }
        for (index, segment) in (0..).zip(data) {
            segment.may_be_dropped = dropped.contains(&index);
        }
    }

    /// The bytes of a data segment, as a part of the module's declarations.
    fn declared(&self, data: &[u8]) -> Bytes {
        let start = data.as_ptr().addr() - self.bytes.as_ptr().addr();
        self.declarations.part(start..start + data.len())
    }

    fn section(&mut self, registry: &TypeRegistry, payload: Payload<'a>) -> Result<()> {
        let info = &mut self.info;
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    info.types.push_group(registry, group?)?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.import(registry, import?)?;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    let ty = info.types.get(ty?);
                    info.funcs.push(FuncInfo { ty, func_ref: None, named: false, body: None });
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    info.tables.push(convert(info.types.convert_table_type(&table.ty))?);
                    let init = match table.init {
                        TableInit::RefNull => None,
                        TableInit::Expr(expr) => Some(const_expr(info, expr)?),
                    };
                    info.table_inits.push(init);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    info.memories.push(memory?.into());
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    if global.ty.mutable {
                        info.mutable_globals.push(info.globals.len() as u32);
                    }
                    info.globals.push(convert(info.types.convert_global_type(&global.ty))?);
                    let init = const_expr(info, global.init_expr)?;
                    info.global_inits.push(init);
                }
            }
            Payload::ExportSection(section) => {
                // An export has bytes, so a wrong number reserves little.
                info.exports.reserve((section.count() as usize).min(section.range().len()));
                for export in section {
                    let export = export?;
                    let index = entity(export.kind, export.index)?;
                    if let EntityIndex::Function(func) = index {
                        info.mark_func_ref(func.as_u32());
                    }
                    info.exports.insert(export.name.into(), index);
                }
            }
            Payload::StartSection { func, .. } => {
                info.mark_func_ref(func);
                info.start = Some(FuncIndex::from_u32(func));
            }
            Payload::ElementSection(section) => {
                for element in section {
                    self.element(element?)?;
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let active = match data.kind {
                        wasmparser::DataKind::Passive => None,
                        wasmparser::DataKind::Active { memory_index, offset_expr } => {
                            Some((memory_index, const_expr(&mut self.info, offset_expr)?))
                        }
                    };
                    let bytes = self.declared(data.data);
                    self.info.data.push(DataSegment {
                        active,
                        bytes,
                        #[cfg(feature = "compiler")]
                        may_be_dropped: false,
                    });
                }
            }
            Payload::CustomSection(section) => self.custom(&section),
            Payload::TagSection(section) => {
                for tag in section {
                    push_tag(info, registry, tag?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Keeps a custom section, and reads those that are known. A malformed one is not an error.
    fn custom(&mut self, section: &wasmparser::CustomSectionReader<'a>) {
        let content = self.declared(section.data());
        match section.as_known() {
            wasmparser::KnownCustom::Name(_) => self.info.names.read(content.clone()),
            #[cfg(feature = "compiler")]
            wasmparser::KnownCustom::BranchHints(hints) if self.bodies.is_empty() => {
                self.info.branch_hints.read(hints);
            }
            _ => {}
        }
        self.info.custom.push((section.name().to_string(), content));
    }

    fn import(&mut self, registry: &TypeRegistry, import: wasmparser::Import<'a>) -> Result<()> {
        let info = &mut self.info;
        let index = match import.ty {
            TypeRef::Func(ty) => {
                let ty = info.types.get(ty);
                info.funcs.push(FuncInfo { ty, func_ref: None, named: false, body: None });
                info.num_imported_funcs += 1;
                EntityIndex::Function(FuncIndex::from_u32(info.num_imported_funcs - 1))
            }
            TypeRef::Table(ty) => {
                info.tables.push(convert(info.types.convert_table_type(&ty))?);
                info.num_imported_tables += 1;
                EntityIndex::Table(TableIndex::from_u32(info.num_imported_tables - 1))
            }
            TypeRef::Memory(ty) => {
                info.memories.push(ty.into());
                info.num_imported_memories += 1;
                EntityIndex::Memory(MemoryIndex::from_u32(info.num_imported_memories - 1))
            }
            TypeRef::Global(ty) => {
                info.globals.push(convert(info.types.convert_global_type(&ty))?);
                info.num_imported_globals += 1;
                EntityIndex::Global(GlobalIndex::from_u32(info.num_imported_globals - 1))
            }
            TypeRef::Tag(ty) => {
                push_tag(info, registry, ty)?;
                info.num_imported_tags += 1;
                EntityIndex::Tag(TagIndex::from_u32(info.num_imported_tags - 1))
            }
            TypeRef::FuncExact(_) => {
                bail!("unsupported: import `{}` `{}`: {:?}", import.module, import.name, import.ty)
            }
        };
        info.imports.push(Import {
            module: import.module.to_string(),
            name: import.name.to_string(),
            index,
        });
        Ok(())
    }

    fn element(&mut self, element: wasmparser::Element<'a>) -> Result<()> {
        let info = &mut self.info;
        let mode = match element.kind {
            ElementKind::Passive => ElementMode::Passive,
            ElementKind::Declared => ElementMode::Declared,
            ElementKind::Active { table_index, offset_expr } => ElementMode::Active(
                TableIndex::from_u32(table_index.unwrap_or(0)),
                const_expr(info, offset_expr)?,
            ),
        };
        let items = match element.items {
            ParsedItems::Functions(section) => {
                let mut items = Vec::new();
                for index in section {
                    let index = index?;
                    info.name_func(index);
                    items.push(FuncIndex::from_u32(index));
                }
                ElementItems::Functions(items.into())
            }
            ParsedItems::Expressions(_, section) => {
                let mut items = Vec::new();
                for expr in section {
                    items.push(const_expr(info, expr?)?);
                }
                ElementItems::Expressions(items.into())
            }
        };
        info.elements.push(ElementSegment { mode, items });
        Ok(())
    }
}

fn push_tag(
    info: &mut ModuleInfo,
    registry: &TypeRegistry,
    tag: wasmparser::TagType,
) -> Result<()> {
    let ty = info.types.get(tag.func_type_idx);
    let exn = info.types.push_exn(registry, ty)?;
    info.tags.push(TagInfo { ty, exn });
    Ok(())
}

fn convert<T>(result: wasmtime_types::WasmResult<T>) -> Result<T> {
    result.map_err(|e| anyhow!("{e}"))
}

fn const_expr(info: &mut ModuleInfo, expr: wasmparser::ConstExpr<'_>) -> Result<ConstExpr> {
    let (expr, escaped) = convert(ConstExpr::from_wasmparser(&info.types, expr))?;
    for func in escaped {
        info.name_func(func.as_u32());
    }
    Ok(expr)
}

fn entity(kind: ExternalKind, index: u32) -> Result<EntityIndex> {
    Ok(match kind {
        ExternalKind::Func => EntityIndex::Function(FuncIndex::from_u32(index)),
        ExternalKind::Table => EntityIndex::Table(TableIndex::from_u32(index)),
        ExternalKind::Memory => EntityIndex::Memory(MemoryIndex::from_u32(index)),
        ExternalKind::Global => EntityIndex::Global(GlobalIndex::from_u32(index)),
        ExternalKind::Tag => EntityIndex::Tag(TagIndex::from_u32(index)),
        ExternalKind::FuncExact => {
            bail!("unsupported: an export of kind {kind:?}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_by_the_name_section_or_their_first_export() {
        let wat = r#"(module (func (export "a") (export "b")) (func $c (export "d")) (func))"#;
        let wasm = wat::parse_str(wat).unwrap();
        let (info, _) =
            parse(&TypeRegistry::new().unwrap(), WasmFeatures::default(), &wasm).unwrap();
        // Computed without a search, because there may be as many exports as functions.
        let mut named: Vec<_> = info.names.funcs.iter().collect();
        named.sort();
        assert_eq!(named, [(&0, &"a".to_string()), (&1, &"c".to_string())]);
        assert_eq!((0..3).map(|i| info.func_name(i)).collect::<Vec<_>>(), ["a", "c", "func[2]"]);
    }
}
