//! A module that helps JavaScript with another module: it has what that one imports, of the exact
//! types, and functions that read the fields of its objects. A type of one module is the same as an
//! equal type of another one, so it has the types of the other module.

use anyhow::{Result, anyhow};
use serde_json::{Value as Json, json};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, HeapType, ImportSection, Instruction, MemorySection, Module,
    RefType, TableSection, TagSection, TypeSection, ValType,
};
use wasmparser::{
    AbstractHeapType, CompositeInnerType, Parser, Payload, StorageType, SubType, TypeRef,
};

/// The helper of a module, and what JavaScript must know of it.
#[derive(Default)]
pub(super) struct Helper {
    pub(super) module: Vec<u8>,
    /// The types of objects.
    pub(super) types: Vec<Json>,
    /// The numbers of the external references that it imports.
    pub(super) externals: Vec<i32>,
}

/// The sections that are being written.
#[derive(Default)]
struct Sections {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    tags: TagSection,
    globals: GlobalSection,
    exports: ExportSection,
    code: CodeSection,
    helper: Helper,
    /// The type of a function that reads a value of each of [`READ`].
    first_reader: u32,
    /// Which types are those of functions.
    function_types: Vec<usize>,
}

/// What functions that read a field return.
const READ: [ValType; 5] = [
    ValType::I32,
    ValType::I64,
    ValType::Ref(RefType::ANYREF),
    ValType::Ref(RefType::FUNCREF),
    ValType::Ref(RefType::EXTERNREF),
];

/// Makes the helper of a module. `None` if there is no value for an import.
pub(super) fn helper(module: &[u8]) -> Result<Option<Helper>> {
    let mut sections = Sections::default();
    let mut types = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    types.extend(group?.into_types());
                }
                utils::parse_type_section(&mut RoundtripReencoder, &mut sections.types, section)
                    .map_err(|why| anyhow!("{why}"))?;
            }
            Payload::ImportSection(section) => {
                let imports: Vec<_> = section.into_imports().collect::<Result<_, _>>()?;
                for number in 1..=imports.len() as i32 {
                    sections.external(number);
                }
                for (number, import) in (1..).zip(imports) {
                    if sections.import(import.ty, number)?.is_none() {
                        return Ok(None);
                    }
                }
            }
            _ => {}
        }
    }
    sections.first_reader = types.len() as u32;
    let is_function = |ty: &SubType| matches!(ty.composite_type.inner, CompositeInnerType::Func(_));
    let functions = types.iter().enumerate().filter(|(_, ty)| is_function(ty));
    sections.function_types = functions.map(|(index, _)| index).collect();
    for result in READ {
        sections.types.ty().function([ValType::Ref(RefType::ANYREF), ValType::I32], [result]);
    }
    for (index, ty) in (0..).zip(&types) {
        sections.readers(index, ty, depth(&types, ty));
    }
    Ok(Some(sections.finish()))
}

/// How many supertypes a type has.
fn depth(types: &[SubType], ty: &SubType) -> u32 {
    let above = ty.supertype_idx.and_then(|above| above.unpack().as_module_index());
    above.map_or(0, |above| 1 + depth(types, &types[above as usize]))
}

impl Sections {
    /// Defines what is imported with this number, unless it is a function.
    fn import(&mut self, ty: TypeRef, number: i32) -> Result<Option<()>> {
        let mut same = RoundtripReencoder;
        let name = format!("import {number}");
        let wrong = |why| anyhow!("{why}");
        let (kind, index) = match ty {
            TypeRef::Global(ty) => {
                let Some(init) = self.value(ty.content_type, number)? else { return Ok(None) };
                self.globals.global(same.global_type(ty).map_err(wrong)?, &init);
                (ExportKind::Global, self.imports.len() + self.globals.len() - 1)
            }
            TypeRef::Table(ty) => {
                let element = wasmparser::ValType::Ref(ty.element_type);
                let Some(init) = self.value(element, number)? else { return Ok(None) };
                self.tables.table_with_init(same.table_type(ty).map_err(wrong)?, &init);
                (ExportKind::Table, self.tables.len() - 1)
            }
            TypeRef::Memory(ty) => {
                self.memories.memory(same.memory_type(ty).map_err(wrong)?);
                (ExportKind::Memory, self.memories.len() - 1)
            }
            TypeRef::Tag(ty) => {
                self.tags.tag(same.tag_type(ty).map_err(wrong)?);
                (ExportKind::Tag, self.tags.len() - 1)
            }
            _ => return Ok(Some(())),
        };
        self.exports.export(&name, kind, index);
        Ok(Some(()))
    }

    /// Imports an external reference with this value of the host.
    fn external(&mut self, number: i32) {
        let ty = GlobalType { val_type: ValType::EXTERNREF, mutable: false, shared: false };
        self.imports.import("host", &number.to_string(), EntityType::Global(ty));
        self.helper.externals.push(number);
    }

    /// The same value as those of the other engines.
    fn value(&self, ty: wasmparser::ValType, number: i32) -> Result<Option<ConstExpr>> {
        use wasmparser::ValType;
        Ok(Some(match ty {
            ValType::I32 => ConstExpr::i32_const(number),
            ValType::I64 => ConstExpr::i64_const(number.into()),
            ValType::F32 => ConstExpr::f32_const((number as f32).into()),
            ValType::F64 => ConstExpr::f64_const(f64::from(number).into()),
            ValType::V128 => ConstExpr::v128_const(number.into()),
            ValType::Ref(ty) => {
                use AbstractHeapType::{Any, Eq, Extern, I31};
                match ty.heap_type() {
                    wasmparser::HeapType::Abstract { ty: Any | Eq | I31, .. } => {
                        let code = [Instruction::I32Const(number), Instruction::RefI31];
                        ConstExpr::extended(code)
                    }
                    wasmparser::HeapType::Abstract { ty: Extern, .. } => {
                        ConstExpr::global_get(number as u32 - 1)
                    }
                    heap_type if ty.is_nullable() => {
                        let heap_type = RoundtripReencoder.heap_type(heap_type);
                        ConstExpr::ref_null(heap_type.map_err(|why| anyhow!("{why}"))?)
                    }
                    _ => return Ok(None),
                }
            }
        }))
    }

    /// Defines the functions that read objects of a type.
    fn readers(&mut self, index: u32, ty: &SubType, depth: u32) {
        let own = HeapType::Concrete(index);
        let (is, cast) = (Instruction::RefTestNonNull(own), Instruction::RefCastNonNull(own));
        match &ty.composite_type.inner {
            CompositeInnerType::Struct(ty) => {
                let mut fields = Vec::new();
                for (field, ty) in (0..).zip(ty.fields.iter()) {
                    let (struct_type_index, field_index) = (index, field);
                    let get = match ty.element_type {
                        StorageType::Val(_) => {
                            Instruction::StructGet { struct_type_index, field_index }
                        }
                        _ => Instruction::StructGetU { struct_type_index, field_index },
                    };
                    let name = format!("get {index} {field}");
                    fields.push(self.reader(&name, ty.element_type, &[cast.clone(), get]));
                }
                let ty = json!({ "index": index, "depth": depth, "fields": fields });
                self.helper.types.push(ty);
            }
            CompositeInnerType::Array(ty) => {
                let ty = ty.0.element_type;
                let get = match ty {
                    StorageType::Val(_) => Instruction::ArrayGet(index),
                    _ => Instruction::ArrayGetU(index),
                };
                let at = [cast.clone(), Instruction::LocalGet(1), get];
                let element = self.reader(&format!("at {index}"), ty, &at);
                self.function(&format!("len {index}"), 0, &[cast, Instruction::ArrayLen]);
                let ty = json!({ "index": index, "depth": depth, "element": element });
                self.helper.types.push(ty);
            }
            _ => return,
        }
        self.function(&format!("is {index}"), 0, &[is]);
    }

    /// Defines a function that reads a value of this type. Returns what it says of it.
    fn reader(&mut self, name: &str, ty: StorageType, get: &[Instruction<'_>]) -> &'static str {
        use AbstractHeapType as Abstract;
        use wasmparser::ValType;
        let (kind, read, then) = match ty {
            StorageType::I8 | StorageType::I16 | StorageType::Val(ValType::I32) => ("i32", 0, None),
            StorageType::Val(ValType::I64) => ("i64", 1, None),
            StorageType::Val(ValType::F32) => ("f32 bits", 0, Some(Instruction::I32ReinterpretF32)),
            StorageType::Val(ValType::F64) => ("f64 bits", 1, Some(Instruction::I64ReinterpretF64)),
            StorageType::Val(ValType::V128) => ("deep", 0, Some(Instruction::I32x4ExtractLane(0))),
            StorageType::Val(ValType::Ref(ty)) => match self.top(ty.heap_type()) {
                Abstract::Func => ("func", 3, None),
                Abstract::Extern => ("extern", 4, None),
                Abstract::Exn => ("exn", 0, Some(Instruction::RefIsNull)),
                _ => ("any", 2, None),
            },
        };
        let code: Vec<_> = get.iter().cloned().chain(then).collect();
        self.function(name, read, &code);
        kind
    }

    /// The abstract type above a type of references.
    fn top(&self, ty: wasmparser::HeapType) -> AbstractHeapType {
        use AbstractHeapType::{Any, Exn, Extern, Func, NoExn, NoExtern, NoFunc};
        match ty {
            wasmparser::HeapType::Abstract { ty, .. } => match ty {
                Func | NoFunc => Func,
                Extern | NoExtern => Extern,
                Exn | NoExn => Exn,
                _ => Any,
            },
            wasmparser::HeapType::Concrete(index) | wasmparser::HeapType::Exact(index) => {
                let index = index.as_module_index().map(|index| index as usize);
                match index.is_some_and(|index| self.function_types.contains(&index)) {
                    true => Func,
                    false => Any,
                }
            }
        }
    }

    /// Defines a function of an object and a number.
    fn function(&mut self, name: &str, read: u32, code: &[Instruction<'_>]) {
        self.exports.export(name, ExportKind::Func, self.functions.len());
        self.functions.function(self.first_reader + read);
        let mut body = Function::new([]);
        body.instruction(&Instruction::LocalGet(0));
        for instruction in code {
            body.instruction(instruction);
        }
        body.instruction(&Instruction::End);
        self.code.function(&body);
    }

    fn finish(mut self) -> Helper {
        let mut module = Module::new();
        module
            .section(&self.types)
            .section(&self.imports)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories)
            .section(&self.tags)
            .section(&self.globals)
            .section(&self.exports)
            .section(&self.code);
        self.helper.module = module.finish();
        self.helper
    }
}
