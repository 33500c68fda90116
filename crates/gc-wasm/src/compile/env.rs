//! The environment of a function that is being translated: its module, its vmctx, and its
//! declarations (callees, signatures, types). Also the alias regions of WebAssembly's memory.

use super::signature::{clif_signature, signature_types, value_type};
use super::{CompileContext, TypeWords};
use crate::host_calls;
use crate::module::info::ModuleInfo;
use crate::types::matching::type_index;
use crate::types::registered::RegisteredType;
use anyhow::{Result, bail};
use cranelift_codegen::ir;
use gc_compiler::check::{FunctionTypes, Memory, ValueType};
use gc_compiler::regions::{self, Region};
use gc_compiler::safepoints::{Known, KnownType};
use gc_compiler::{
    Annotations, CollectorCode, GcFuncEnv, import_function, import_host_call, import_type_word,
};
use gc_types::{Abi, ArrayLayout, GcLayout, HostCall, RootKind, StructLayout, TypeIndex, TypeWord};
use std::borrow::Cow;
use std::collections::HashMap;
use wasmtime_types::{
    WasmArrayType, WasmCompositeInnerType, WasmFuncType, WasmHeapType, WasmRefType,
    WasmStorageType, WasmStructType, WasmValType,
};

/// The embedder's part of the vmctx that is written before any code runs: imports.
pub(super) const IMPORTS: Region = regions::STRUCTURES;
/// Tables' bases and lengths. Only the host writes them, when a table grows.
pub(super) const TABLE_DEFINITION: Region = regions::STRUCTURES + 1;
/// Memories' bases and lengths. Only the host writes them, when a memory grows.
pub(super) const MEMORY_DEFINITION: Region = regions::STRUCTURES + 2;
/// The bytes of linear memories.
pub(super) const MEMORY: Region = regions::EMBEDDER;
/// Elements of tables of references into the heap.
pub(super) const TABLE_REFS: Region = regions::EMBEDDER + 1;
/// Elements of tables of function references.
pub(super) const TABLE_FUNCS: Region = regions::EMBEDDER + 2;
/// Imported globals that are numbers. Two of them may be the same global.
const IMPORTED_GLOBALS: Region = regions::EMBEDDER + 4;
/// Imported globals that are references into the heap.
const IMPORTED_REF_GLOBALS: Region = regions::EMBEDDER + 5;
/// Imported globals that are function references.
const IMPORTED_FUNC_GLOBALS: Region = regions::EMBEDDER + 6;
/// Defined globals that are immutable. No code stores to them. They have three regions, like imported
/// globals.
const CONSTANT_GLOBALS: Region = regions::EMBEDDER + 7;
const CONSTANT_REF_GLOBALS: Region = CONSTANT_GLOBALS + 1;
const CONSTANT_FUNC_GLOBALS: Region = CONSTANT_GLOBALS + 2;
/// Elements of fixed tables ([`RootKind::FixedTable`]) of references into the heap.
pub(super) const FIXED_TABLE_REFS: Region = CONSTANT_GLOBALS + 3;
/// Defined mutable globals, one region each. An imported global cannot be one of them.
const DEFINED_GLOBALS: Region = regions::EMBEDDER + 64;
/// The number of globals with their own region. Cranelift's alias analysis visits all regions of a
/// function at each instruction that may trap.
const MAX_GLOBAL_REGIONS: u32 = 64;
/// The further defined mutable globals. They have three regions, like imported globals.
const MORE_GLOBALS: Region = DEFINED_GLOBALS + MAX_GLOBAL_REGIONS;
const MORE_REF_GLOBALS: Region = MORE_GLOBALS + 1;
const MORE_FUNC_GLOBALS: Region = MORE_GLOBALS + 2;

/// The region of global `index`.
pub(super) fn global(info: &ModuleInfo, index: u32) -> Region {
    let kind = match memory_of(&info.globals[index as usize].wasm_ty) {
        Memory::Refs(_) => 1,
        Memory::Native => 2,
        _ => 0,
    };
    if info.defined_global(index).is_none() {
        return IMPORTED_GLOBALS + kind;
    }
    match info.mutable_globals.binary_search(&index) {
        Ok(n) if n < MAX_GLOBAL_REGIONS as usize => DEFINED_GLOBALS + n as u32,
        Ok(_) => MORE_GLOBALS + kind,
        Err(_) => CONSTANT_GLOBALS + kind,
    }
}

/// The contents of a global of this type.
fn memory_of(ty: &WasmValType) -> Memory {
    match value_type(ty) {
        ValueType::Ref => Memory::Refs(RootKind::Global),
        ValueType::Pointer => Memory::Native,
        ValueType::Data => Memory::Data,
    }
}

/// The contents of a region of WebAssembly's memory.
fn memory(info: &ModuleInfo, region: Region) -> Memory {
    match region {
        IMPORTS
        | TABLE_DEFINITION
        | MEMORY_DEFINITION
        | TABLE_FUNCS
        | IMPORTED_FUNC_GLOBALS
        | CONSTANT_FUNC_GLOBALS
        | MORE_FUNC_GLOBALS => Memory::Native,
        TABLE_REFS => Memory::Refs(RootKind::Table),
        FIXED_TABLE_REFS => Memory::Refs(RootKind::FixedTable),
        IMPORTED_REF_GLOBALS | CONSTANT_REF_GLOBALS | MORE_REF_GLOBALS => {
            Memory::Refs(RootKind::Global)
        }
        _ if (DEFINED_GLOBALS..MORE_GLOBALS).contains(&region) => {
            let index = info.mutable_globals.get((region - DEFINED_GLOBALS) as usize);
            let global = index.and_then(|index| info.globals.get(*index as usize));
            global.map_or(Memory::Data, |ty| memory_of(&ty.wasm_ty))
        }
        _ => Memory::Data,
    }
}

/// `region` in `func`. Declares it with a description if it is new.
pub(super) fn intern(func: &mut ir::Function, region: Region) -> ir::AliasRegion {
    let description = match region {
        IMPORTS => "imports".into(),
        TABLE_DEFINITION => "table definitions".into(),
        MEMORY_DEFINITION => "memory definitions".into(),
        MEMORY => "linear memory".into(),
        TABLE_REFS => "table references".into(),
        FIXED_TABLE_REFS => "fixed table references".into(),
        TABLE_FUNCS => "table functions".into(),
        IMPORTED_GLOBALS => "imported globals".into(),
        IMPORTED_REF_GLOBALS => "imported references".into(),
        IMPORTED_FUNC_GLOBALS => "imported functions".into(),
        CONSTANT_GLOBALS => "constants".into(),
        CONSTANT_REF_GLOBALS => "constant references".into(),
        CONSTANT_FUNC_GLOBALS => "constant functions".into(),
        DEFINED_GLOBALS..=MORE_FUNC_GLOBALS => {
            Cow::Owned(format!("defined global {}", region - DEFINED_GLOBALS))
        }
        _ => return regions::intern(func, region),
    };
    func.dfg.alias_regions.insert(ir::AliasRegionData { user_id: region, description })
}

/// The environment of a function that is being translated.
pub(super) struct FuncEnv<'a> {
    pub(super) cx: &'a CompileContext<'a>,
    /// The vmctx parameter.
    pub(super) vmctx: ir::Value,
    /// What belongs to it besides its CLIF.
    pub(super) annotations: Annotations,
    host_calls: HashMap<HostCall, ir::FuncRef>,
    functions: HashMap<u32, ir::FuncRef>,
    signatures: HashMap<TypeIndex, ir::SigRef>,
    type_words: HashMap<TypeWord, ir::GlobalValue>,
}

impl<'a> FuncEnv<'a> {
    /// The environment of a function whose vmctx parameter is `vmctx`.
    pub(super) fn new(cx: &'a CompileContext<'a>, vmctx: ir::Value) -> FuncEnv<'a> {
        FuncEnv {
            cx,
            vmctx,
            annotations: Annotations::default(),
            host_calls: HashMap::new(),
            functions: HashMap::new(),
            signatures: HashMap::new(),
            type_words: HashMap::new(),
        }
    }

    /// The module's type `index`.
    pub(super) fn module_type(&self, index: u32) -> &'a RegisteredType {
        self.registered(self.cx.info.types.get(index))
    }

    /// The module's type with this engine-wide index.
    pub(super) fn registered(&self, index: TypeIndex) -> &'a RegisteredType {
        self.cx.info.types.registered(index)
    }

    /// Declares function `index`, which this module defines, as a callee.
    pub(super) fn function(&mut self, func: &mut ir::Function, index: u32) -> Result<ir::FuncRef> {
        if let Some(callee) = self.functions.get(&index) {
            return Ok(*callee);
        }
        let ty = self.registered(self.cx.info.funcs[index as usize].ty);
        let callee = import_function(func, index, clif_signature(func_type(ty)?));
        self.functions.insert(index, callee);
        Ok(callee)
    }

    /// The word of a type, as [`type_word`](gc_compiler::type_word) reads it.
    pub(super) fn type_word(&mut self, func: &mut ir::Function, word: TypeWord) -> ir::GlobalValue {
        *self.type_words.entry(word).or_insert_with(|| import_type_word(func, word))
    }

    /// What the type `ty` says of its references.
    pub(super) fn known(&self, ty: &WasmRefType) -> Known {
        use WasmHeapType::{Array, ConcreteArray, ConcreteExn, ConcreteStruct, Exn, Struct};
        let not_i31 = matches!(
            ty.heap_type,
            Struct | Array | Exn | ConcreteStruct(_) | ConcreteArray(_) | ConcreteExn(_)
        );
        let known_type = match ty.heap_type {
            ConcreteStruct(edge) | ConcreteArray(edge) => {
                let index = type_index(edge);
                Some(match self.cx.type_words {
                    TypeWords::Constants => KnownType::of_engine(index.as_u32()),
                    TypeWords::Table => {
                        KnownType::of_image(self.cx.info.types.number(index).as_u32())
                    }
                })
            }
            _ => None,
        };
        Known { non_null: !ty.nullable, not_i31, ty: known_type, exact: false }
    }

    /// The signature of functions of type `ty`.
    pub(super) fn signature(
        &mut self,
        func: &mut ir::Function,
        ty: &RegisteredType,
    ) -> Result<ir::SigRef> {
        if let Some(signature) = self.signatures.get(&ty.index) {
            return Ok(*signature);
        }
        let signature = func.import_signature(clif_signature(func_type(ty)?));
        self.signatures.insert(ty.index, signature);
        Ok(signature)
    }

    /// The types of a function of the module, for the checkers. `own` is its type.
    pub(super) fn types(&self, func: &ir::Function, own: &WasmFuncType) -> Result<FunctionTypes> {
        let mut types = FunctionTypes::new(signature_types(own));
        for (index, callee) in &self.functions {
            let ty = self.registered(self.cx.info.funcs[*index as usize].ty);
            let signature = func.dfg.ext_funcs[*callee].signature;
            types.declare_signature(signature, signature_types(func_type(ty)?));
        }
        for (index, signature) in &self.signatures {
            let ty = self.registered(*index);
            types.declare_signature(*signature, signature_types(func_type(ty)?));
        }
        for (_, region) in func.dfg.alias_regions.iter() {
            if (regions::STRUCTURES..regions::STACK_MAP_SPILL).contains(&region.user_id) {
                types.declare_region(region.user_id, memory(self.cx.info, region.user_id));
            }
        }
        Ok(types)
    }
}

impl GcFuncEnv for FuncEnv<'_> {
    fn annotations(&mut self) -> &mut Annotations {
        &mut self.annotations
    }

    fn abi(&self) -> &Abi {
        self.cx.abi
    }

    fn vmctx(&mut self, _func: &mut ir::Function) -> ir::Value {
        self.vmctx
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        *self
            .host_calls
            .entry(call)
            .or_insert_with(|| import_host_call(func, call, host_calls::signature(call)))
    }

    fn emitted(&mut self, func: &mut ir::Function, code: CollectorCode, first: usize) {
        if let Some(marks) = self.cx.marks {
            (marks.mark)(func, code, first);
        }
    }
}

/// `ty` as a function type.
///
/// # Errors
/// If it is not. Validation excludes that.
pub(crate) fn func_type(ty: &RegisteredType) -> Result<&WasmFuncType> {
    match &ty.sub_type.composite_type.inner {
        WasmCompositeInnerType::Func(func) => Ok(func),
        _ => bail!("{:?} is not a function type", ty.index),
    }
}

/// `ty` as a struct type, with its layout.
///
/// # Errors
/// If it is not. Validation excludes that.
pub(super) fn struct_type(ty: &RegisteredType) -> Result<(&WasmStructType, &StructLayout)> {
    match (&ty.sub_type.composite_type.inner, ty.layout.as_deref()) {
        (WasmCompositeInnerType::Struct(ty), Some(GcLayout::Struct(layout))) => Ok((ty, layout)),
        _ => bail!("{:?} is not a struct type", ty.index),
    }
}

/// `ty` as an array type, with its layout.
///
/// # Errors
/// If it is not. Validation excludes that.
pub(super) fn array_type(ty: &RegisteredType) -> Result<(&WasmStorageType, &ArrayLayout)> {
    match (&ty.sub_type.composite_type.inner, ty.layout.as_deref()) {
        (WasmCompositeInnerType::Array(WasmArrayType(field)), Some(GcLayout::Array(layout))) => {
            Ok((&field.element_type, layout))
        }
        _ => bail!("{:?} is not an array type", ty.index),
    }
}
