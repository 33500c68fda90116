//! Rewrites a module of `wasm-smith`, so that it can be seen what it executes.
//!
//! - Before an operator that is counted, code is added that increments a global, which is exported.
//!   It leaves the stack as it was.
//! - Operators whose NaNs `wasm-smith` leaves as they are get code that makes them canonical.
//! - Some calls and some function bodies get a handler for all exceptions. It throws the exception
//!   again, or returns zeros and nulls. Without this few exceptions are caught, since a handler of
//!   `wasm-smith` must find a label whose types fit.
//! - Where an engine cannot stand a value of the host in a cast to a struct or an array type, it gets an
//!   integer instead.
//! - Some modules get [bulk operations](super::bulk).
//! - In every other module that has tags, `unreachable` becomes a `throw`. So code whose fuel is used
//!   ends with an exception, which those handlers catch.

use super::bulk::Items;
use super::features::Features;
use anyhow::{Result, anyhow};
use gc_testkit::choices::Choices;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, Catch, CodeSection, ConstExpr, ExportKind, ExportSection, Function, GlobalSection,
    GlobalType, Instruction, Module, RefType, TagKind, TagSection, TagType, TypeSection, ValType,
};
use wasmparser::{
    CompositeInnerType, ExportSectionReader, FuncType, FunctionBody, GlobalSectionReader, HeapType,
    MemArg, Operator, Parser, Payload, TagSectionReader, TypeRef, TypeSectionReader,
};

/// Makes the counters from their names.
macro_rules! counters {
    ($($counter:ident: $name:literal,)*) => {
        /// The exports that count executed operators.
        pub const COUNTERS: [&str; [$($name),*].len()] = [$(concat!("count: ", $name)),*];

        /// A counter: its index in [`COUNTERS`].
        #[derive(Clone, Copy)]
        enum Counter {
            $($counter,)*
        }
    };
}

counters! {
    Gc: "GC operations",
    Objects: "objects",
    Throws: "throws",
    Rethrows: "rethrows",
    Handled: "exceptions in added handlers",
    TailCalls: "tail calls",
    Simd: "SIMD operations",
    Memory64: "64-bit memory accesses",
    HostCalls: "calls of host functions",
    Bulk: "added bulk operations",
}

/// The export of the global with the fuel.
pub const FUEL_EXPORT: &str = "fuel that is left";

/// Rewrites a module, whose fuel is global `fuel`, the last one. The fuel and the counters become
/// exports. `features` says whether values of the host are cast, and whether there are exceptions.
/// Without them nothing is added that handles any. With `bulk`, bulk operations are added.
///
/// # Errors
/// If the module is malformed.
pub fn instrument(
    module: &[u8],
    fuel: u32,
    features: Features,
    bulk: bool,
    mut choices: Choices,
) -> Result<Vec<u8>> {
    let throws = features.exceptions && choices.once_in(2);
    let bulk = bulk.then(|| choices.many());
    let mut rewriter = Rewriter {
        fuel,
        choices,
        bulk,
        throws,
        handles: features.exceptions,
        types: Vec::new(),
        functions: Vec::new(),
        items: Items::default(),
        tag: None,
        imported_tags: 0,
        imported_functions: 0,
        next_function: 0,
        touches64: false,
        spares: false,
    };
    rewriter.read(module)?;
    rewriter.spares &= !features.casts_of_host_values;
    let mut rewritten = Module::new();
    rewriter
        .parse_core_module(&mut rewritten, Parser::new(0), module)
        .map_err(|error| anyhow!("{error}"))?;
    Ok(rewritten.finish())
}

struct Rewriter {
    fuel: u32,
    choices: Choices,
    /// Without them no bulk operations are added.
    bulk: Option<Choices>,
    /// Whether handlers are added.
    handles: bool,
    /// Whether `unreachable` becomes a `throw`.
    throws: bool,
    /// The tag of these exceptions, after all others.
    tag: Option<u32>,
    imported_tags: u32,
    /// What bulk operations can name.
    items: Items,
    /// The types that are function types. Others are `None`.
    types: Vec<Option<FuncType>>,
    /// The type of each function.
    functions: Vec<u32>,
    imported_functions: u32,
    /// The function whose body is next.
    next_function: usize,
    /// Whether the operator that is being encoded names a 64-bit memory.
    touches64: bool,
    /// Whether values of the host are replaced before casts.
    spares: bool,
}

impl Rewriter {
    /// Reads what the rewriting needs.
    fn read(&mut self, module: &[u8]) -> Result<()> {
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            self.items.read(&payload)?;
            match payload {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group?.into_types() {
                            self.types.push(match ty.composite_type.inner {
                                CompositeInnerType::Func(ty) => Some(ty),
                                CompositeInnerType::Array(ty) => {
                                    self.items.read_array(self.types.len(), &ty);
                                    None
                                }
                                _ => None,
                            });
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => self.functions.push(ty),
                            TypeRef::Tag(_) => self.imported_tags += 1,
                            _ => {}
                        }
                    }
                    self.next_function = self.functions.len();
                    self.imported_functions = self.functions.len() as u32;
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        self.functions.push(ty?);
                    }
                }
                Payload::TagSection(section) => {
                    self.tag = Some(self.imported_tags + section.count());
                }
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader()? {
                        self.spares |= matches!(operator?, Operator::AnyConvertExtern);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn function_type(&self, ty: u32) -> &FuncType {
        self.types[ty as usize].as_ref().expect("a function has a function type")
    }

    /// The number of function types, and of those before type `ty`.
    fn function_types(&self, ty: u32) -> (u32, u32) {
        let count = |types: &[Option<_>]| types.iter().flatten().count() as u32;
        (count(&self.types), count(&self.types[..ty as usize]))
    }

    /// The added type with the parameters of `ty` that leaves an exception.
    fn params_to_exception(&self, ty: u32) -> BlockType {
        BlockType::FunctionType(self.types.len() as u32 + self.function_types(ty).1)
    }

    /// The added type with the results of `ty` and no parameters.
    fn body_type(&self, ty: u32) -> BlockType {
        let (all, before) = self.function_types(ty);
        BlockType::FunctionType(self.types.len() as u32 + all + before)
    }

    /// The added type without parameters and results.
    fn empty_type(&self) -> u32 {
        self.types.len() as u32 + 2 * self.function_types(0).0
    }

    fn once_in(&mut self, n: usize) -> bool {
        self.handles && self.choices.once_in(n)
    }

    /// Calls function `callee` with a handler.
    fn call_with_handler(&mut self, callee: u32, body: &mut Function) -> Result<(), Never> {
        let ty = self.functions[callee as usize];
        let like_callee = BlockType::FunctionType(ty);
        body.instructions()
            .block(like_callee)
            .block(self.params_to_exception(ty))
            .try_table(like_callee, [Catch::AllRef { label: 0 }])
            .call(callee)
            .end()
            .br(1)
            .end();
        self.handle(ty, body)?;
        body.instructions().end();
        Ok(())
    }

    /// Begins a handler for the rest of the body of a function.
    fn begin_handler(&mut self, ty: u32, body: &mut Function) {
        body.instructions()
            .block(BlockType::Result(ValType::EXNREF))
            .try_table(self.body_type(ty), [Catch::AllRef { label: 0 }]);
    }

    /// Ends it. The `end` of the function has ended the `try_table`.
    fn end_handler(&mut self, ty: u32, body: &mut Function) -> Result<(), Never> {
        body.instructions().return_().end();
        self.handle(ty, body)?;
        body.instructions().end();
        Ok(())
    }

    /// Handles the exception on the stack: throws it again or leaves results of function type `ty`.
    fn handle(&mut self, ty: u32, body: &mut Function) -> Result<(), Never> {
        self.count(body, Counter::Handled);
        let results = self.function_type(ty).results().to_vec();
        let nullable = |ty: &wasmparser::ValType| match ty {
            wasmparser::ValType::Ref(ty) => ty.is_nullable(),
            _ => true,
        };
        if self.once_in(2) || !results.iter().all(nullable) {
            self.count(body, Counter::Rethrows);
            body.instructions().throw_ref();
            return Ok(());
        }
        body.instructions().drop();
        for ty in results {
            let zero = match self.val_type(ty)? {
                ValType::I32 => Instruction::I32Const(0),
                ValType::I64 => Instruction::I64Const(0),
                ValType::F32 => Instruction::F32Const(0.0.into()),
                ValType::F64 => Instruction::F64Const(0.0.into()),
                ValType::V128 => Instruction::V128Const(0),
                ValType::Ref(ty) => Instruction::RefNull(ty.heap_type),
            };
            body.instruction(&zero);
        }
        Ok(())
    }

    /// Replaces the operand of a cast to a struct or an array type by an integer if it is a value of the
    /// host. `scratch` is an `anyref`.
    fn spare(
        &mut self,
        operator: &Operator<'_>,
        scratch: u32,
        body: &mut Function,
    ) -> Result<(), Never> {
        let (to, from) = match operator {
            Operator::RefTestNonNull { hty }
            | Operator::RefTestNullable { hty }
            | Operator::RefCastNonNull { hty }
            | Operator::RefCastNullable { hty } => (*hty, None),
            Operator::BrOnCast { from_ref_type: from, to_ref_type: to, .. }
            | Operator::BrOnCastFail { from_ref_type: from, to_ref_type: to, .. } => {
                (to.heap_type(), Some(*from))
            }
            _ => return Ok(()),
        };
        let (HeapType::Concrete(index) | HeapType::Exact(index)) = to else { return Ok(()) };
        let is_func = index.as_module_index().is_none_or(|ty| self.types[ty as usize].is_some());
        if !self.spares || is_func {
            return Ok(());
        }
        let eq = RefType::EQREF.heap_type;
        body.instructions().local_tee(scratch).ref_test_nullable(eq).i32_eqz();
        body.instructions().if_(BlockType::Empty).i32_const(77).ref_i31().local_set(scratch).end();
        body.instructions().local_get(scratch);
        if let Some(from) = from {
            let from = self.ref_type(from)?;
            body.instruction(&match from.nullable {
                true => Instruction::RefCastNullable(from.heap_type),
                false => Instruction::RefCastNonNull(from.heap_type),
            });
        }
        Ok(())
    }

    /// Sometimes adds a bulk operation.
    fn add_bulk(&mut self, body: &mut Function) {
        let arrays = self.counter(COUNTERS.len() as u32);
        let Some(choices) = &mut self.bulk else { return };
        if !choices.once_in(12) {
            return;
        }
        let code = self.items.operation(choices, arrays);
        if !code.is_empty() {
            self.count(body, Counter::Bulk);
            for instruction in &code {
                body.instruction(instruction);
            }
        }
    }

    fn counter(&self, index: u32) -> u32 {
        self.fuel + 1 + index
    }

    fn count(&self, body: &mut Function, counter: Counter) {
        let global = self.counter(counter as u32);
        body.instructions().global_get(global).i32_const(1).i32_add().global_set(global);
    }
}

type Never = Error<std::convert::Infallible>;

impl Reencode for Rewriter {
    type Error = std::convert::Infallible;

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Never> {
        utils::parse_type_section(self, types, section)?;
        if !self.handles {
            return Ok(());
        }
        for ty in self.types.clone().into_iter().flatten() {
            let params = self.val_types(ty.params().to_vec())?;
            types.ty().function(params, [ValType::EXNREF]);
        }
        for ty in self.types.clone().into_iter().flatten() {
            let results = self.val_types(ty.results().to_vec())?;
            types.ty().function([], results);
        }
        types.ty().function([], []);
        Ok(())
    }

    fn parse_tag_section(
        &mut self,
        tags: &mut TagSection,
        section: TagSectionReader<'_>,
    ) -> Result<(), Never> {
        utils::parse_tag_section(self, tags, section)?;
        tags.tag(TagType { kind: TagKind::Exception, func_type_idx: self.empty_type() });
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Never> {
        utils::parse_global_section(self, globals, section)?;
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        for _ in COUNTERS {
            globals.global(ty, &ConstExpr::i32_const(0));
        }
        if self.bulk.is_some() {
            for (ty, array) in self.items.globals() {
                globals.global(ty, &array);
            }
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Never> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(FUEL_EXPORT, ExportKind::Global, self.fuel);
        for (name, index) in COUNTERS.iter().zip(0..) {
            exports.export(name, ExportKind::Global, self.counter(index));
        }
        if self.bulk.is_some() {
            for index in 0..self.items.globals().count() as u32 {
                let global = self.counter(COUNTERS.len() as u32) + index;
                exports.export(&format!("array {index}"), ExportKind::Global, global);
            }
        }
        Ok(())
    }

    fn mem_arg(&mut self, arg: MemArg) -> Result<wasm_encoder::MemArg, Never> {
        self.touches64 |= self.items.memories[arg.memory as usize];
        utils::mem_arg(self, arg)
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, Never> {
        self.touches64 |= self.items.memories[memory as usize];
        Ok(memory)
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        func: FunctionBody<'_>,
    ) -> Result<(), Never> {
        let mut locals = Vec::new();
        let ty = self.functions[self.next_function];
        let mut scratch = self.function_type(ty).params().len() as u32;
        self.next_function += 1;
        for pair in func.get_locals_reader()? {
            let (count, ty) = pair?;
            scratch += count;
            locals.push((count, self.val_type(ty)?));
        }
        locals.extend([ValType::F32, ValType::F64, ValType::V128].map(|ty| (1, ty)));
        if self.spares {
            locals.push((1, ValType::Ref(RefType::ANYREF)));
        }
        let mut body = Function::new(locals);
        let handler = self.once_in(3);
        if handler {
            self.begin_handler(ty, &mut body);
        }
        for operator in func.get_operators_reader()? {
            let operator = operator?;
            self.add_bulk(&mut body);
            if let (Operator::Unreachable, true, Some(tag)) = (&operator, self.throws, self.tag) {
                self.count(&mut body, Counter::Throws);
                body.instructions().throw(tag);
                continue;
            }
            if let Operator::Call { function_index } | Operator::ReturnCall { function_index } =
                operator
                && function_index < self.imported_functions
            {
                self.count(&mut body, Counter::HostCalls);
            }
            if let Operator::Call { function_index } = operator
                && self.once_in(2)
            {
                self.call_with_handler(function_index, &mut body)?;
                continue;
            }
            self.touches64 = false;
            let instruction = self.instruction(operator.clone())?;
            for counter in counters_of(&operator) {
                self.count(&mut body, *counter);
            }
            if self.touches64 {
                self.count(&mut body, Counter::Memory64);
            }
            self.spare(&operator, scratch + 3, &mut body)?;
            body.instruction(&instruction);
            canonical_nan(&operator, scratch, &mut body);
        }
        if handler {
            self.end_handler(ty, &mut body)?;
        }
        code.function(&body);
        Ok(())
    }
}

fn counters_of(operator: &Operator<'_>) -> &'static [Counter] {
    use Counter::*;
    match proposal_and_name(operator) {
        (_, "Throw") => &[Throws],
        (_, "ThrowRef") => &[Rethrows],
        (_, name) if name.starts_with("ReturnCall") => &[TailCalls],
        (_, name) if name.starts_with("StructNew") || name.starts_with("ArrayNew") => {
            &[Gc, Objects]
        }
        ("gc", _) => &[Gc],
        ("simd" | "relaxed_simd", _) => &[Simd],
        _ => &[],
    }
}

macro_rules! define_proposal_and_name {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
        /// The proposal that an operator belongs to, and its name.
        fn proposal_and_name(operator: &Operator<'_>) -> (&'static str, &'static str) {
            match operator {
                $(Operator::$op { .. } => (stringify!($proposal), stringify!($op)),)*
                _ => ("unknown", ""),
            }
        }
    };
}

wasmparser::for_each_operator!(define_proposal_and_name);

/// Makes a NaN on the stack canonical, after operators whose NaNs `wasm-smith` leaves as they are.
/// `scratch` is the first of three locals: an `f32`, an `f64` and a `v128`.
fn canonical_nan(operator: &Operator<'_>, scratch: u32, body: &mut Function) {
    const NAN32: u32 = 0x7fc0_0000;
    const NAN64: u64 = 0x7ff8_0000_0000_0000;
    let (local, nan, equal, select) = match operator {
        Operator::F32DemoteF64 => (
            scratch,
            Instruction::F32Const(f32::from_bits(NAN32).into()),
            Instruction::F32Eq,
            Instruction::Select,
        ),
        Operator::F64PromoteF32 => (
            scratch + 1,
            Instruction::F64Const(f64::from_bits(NAN64).into()),
            Instruction::F64Eq,
            Instruction::Select,
        ),
        Operator::F32x4DemoteF64x2Zero
        | Operator::F32x4RelaxedMadd
        | Operator::F32x4RelaxedNmadd
        | Operator::F32x4RelaxedMin
        | Operator::F32x4RelaxedMax => (
            scratch + 2,
            Instruction::V128Const((u128::from(NAN32) * 0x1_0000_0001_0000_0001_0000_0001) as i128),
            Instruction::F32x4Eq,
            Instruction::V128Bitselect,
        ),
        Operator::F64x2PromoteLowF32x4
        | Operator::F64x2RelaxedMadd
        | Operator::F64x2RelaxedNmadd
        | Operator::F64x2RelaxedMin
        | Operator::F64x2RelaxedMax => (
            scratch + 2,
            Instruction::V128Const((u128::from(NAN64) * 0x1_0000_0000_0000_0001) as i128),
            Instruction::F64x2Eq,
            Instruction::V128Bitselect,
        ),
        _ => return,
    };
    body.instructions().local_tee(local);
    body.instruction(&nan);
    body.instructions().local_get(local).local_get(local);
    body.instruction(&equal);
    body.instruction(&select);
}
