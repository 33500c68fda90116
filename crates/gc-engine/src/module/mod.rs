//! [`Module`]: types and functions, by name, that are compiled to [`Code`].
//!
//! A closure builds a function with a [`Body`]. The module adds the parts that every function
//! needs: calling convention, context, stack check, safepoints and checks. So no function can lack
//! one of them.

mod body;
mod callee;
mod control;
mod objects;
mod values;

pub use body::{Body, Outcome};
pub use callee::{Callee, FunctionHandle};
pub use objects::{ArrayType, StructType};
pub use values::Variable;

use crate::{Code, Engine, Signature, Type};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use body::Env;
use cranelift_codegen::ir::{self, AbiParam, ArgumentPurpose, Opcode, types};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::{Context, ir::InstructionData};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::check::{FunctionTypes, SignatureTypes, ValueType};
use gc_compiler::inline::{InlineLimits, Inlining};
use gc_compiler::{
    Annotations, BuiltFunction, FUNCTION_NAMESPACE, HOST_CALL_NAMESPACE, ImageLinker,
    host_call_signature,
};
use gc_jit::CodeMemory;
use gc_types::{
    Abi, ArrayLayout, GcLayout, HostCall, StorageType, StructLayout, TypeIndex, VMGcKind,
};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The types and functions of a program, which are compiled together.
///
/// ```
/// use gc_engine::{Collector, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::null())?;
/// let mut module = Module::new(&engine);
/// // Two functions call each other. One is declared before it is defined.
/// let odd = module.declare("odd", [Type::I64], [Type::I32])?;
/// module.function("even", [Type::I64], [Type::I32], |f| {
///     let (n, yes, one) = (f.param(0), f.i32(1), f.i64(1));
///     f.if_then(n, |f| {
///         let less = f.sub(n, one);
///         let result = f.call(&odd, &[less]);
///         f.ret(&result);
///     });
///     f.ret(&[yes]);
/// })?;
/// module.define(&odd, |f| {
///     let (n, no, one) = (f.param(0), f.i32(0), f.i64(1));
///     f.if_then(n, |f| {
///         let less = f.sub(n, one);
///         let result = f.call("even", &[less]);
///         f.ret(&result);
///     });
///     f.ret(&[no]);
/// })?;
/// let mut store = Store::new(&engine, &module.compile()?)?;
/// assert_eq!(store.function::<i64, i32>("even")?.call(&mut store, 10)?, 1);
/// # anyhow::Ok(())
/// ```
pub struct Module {
    /// Its number among all modules of the process. Its functions and types have it too, because
    /// code that builds a function can put another module in this one's place.
    number: u64,
    engine: Engine,
    layouts: Vec<(TypeIndex, Arc<GcLayout>)>,
    functions: Vec<Function>,
    names: HashMap<Arc<str>, u32>,
    /// Cranelift's memory for functions, which is reused.
    builders: Vec<FunctionBuilderContext>,
    context: Context,
}

/// The number of modules that were begun.
static MODULES: AtomicU64 = AtomicU64::new(0);

/// A declared function.
struct Function {
    handle: FunctionHandle,
    /// Whether the host can call it.
    exported: bool,
    /// Whether its definition failed in the call that declared it.
    forgotten: bool,
    built: Option<BuiltFunction>,
}

impl Module {
    /// Creates an empty module. Its code can run in stores of `engine`, or of another engine with
    /// the same kind of heaps.
    pub fn new(engine: &Engine) -> Module {
        Module {
            number: MODULES.fetch_add(1, Ordering::Relaxed),
            engine: engine.clone(),
            layouts: Vec::new(),
            functions: Vec::new(),
            names: HashMap::new(),
            builders: Vec::new(),
            context: Context::new(),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes a type of objects with these fields. They are [`Type`]s, or [`StorageType`]s if some
    /// are packed.
    ///
    /// # Errors
    /// If an object would be too large, or if there are too many types.
    pub fn struct_type(
        &mut self,
        fields: impl IntoIterator<Item: Into<StorageType>>,
    ) -> Result<StructType> {
        let layout = StructLayout::new(fields.into_iter().map(Into::into))?;
        let (index, layout) = self.add_type(GcLayout::Struct(layout))?;
        Ok(StructType { module: self.number, index, layout })
    }

    /// Makes a type of arrays with these elements.
    ///
    /// # Errors
    /// If there are too many types.
    pub fn array_type(&mut self, element: impl Into<StorageType>) -> Result<ArrayType> {
        let layout = ArrayLayout::new(element.into());
        let (index, layout) = self.add_type(GcLayout::Array(layout))?;
        Ok(ArrayType { module: self.number, index, layout })
    }

    fn add_type(&mut self, layout: GcLayout) -> Result<(TypeIndex, Arc<GcLayout>)> {
        let number = u32::try_from(self.layouts.len() + 1).ok();
        let index = number.and_then(TypeIndex::new).filter(|index| *index != TypeIndex::NONE);
        let index = index.context("a module has too many types")?;
        let layout = Arc::new(layout);
        self.layouts.push((index, layout.clone()));
        Ok((index, layout))
    }

    /// Declares a function, so that other functions can call it before it is
    /// [defined](Module::define).
    ///
    /// # Errors
    /// If there already is a function with this name.
    pub fn declare(
        &mut self,
        name: &str,
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
    ) -> Result<FunctionHandle> {
        if let Some(first) = self.names.get(name) {
            let verb = match self.functions[*first as usize].built {
                Some(_) => "defined",
                None => "declared",
            };
            bail!("the function `{name}` is already {verb}");
        }
        let handle = self.add_function(name, Signature::new(params, results), true)?;
        self.names.insert(handle.name.clone(), handle.index);
        Ok(handle)
    }

    /// Declares a function whose name is only used in traces. Neither the host nor other functions
    /// can call it by name, and several functions may have the same name.
    ///
    /// # Errors
    /// If there are too many functions.
    pub fn declare_local(
        &mut self,
        name: &str,
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
    ) -> Result<FunctionHandle> {
        self.add_function(name, Signature::new(params, results), false)
    }

    fn add_function(
        &mut self,
        name: &str,
        signature: Signature,
        exported: bool,
    ) -> Result<FunctionHandle> {
        let index = u32::try_from(self.functions.len()).context("too many functions")?;
        let (module, signature) = (self.number, Arc::new(signature));
        let handle = FunctionHandle { module, index, name: name.into(), signature };
        let (declared, forgotten) = (handle.clone(), false);
        self.functions.push(Function { handle: declared, exported, forgotten, built: None });
        Ok(handle)
    }

    /// Declares and [defines](Module::define) a function. It can call itself by its name. If the
    /// definition fails, the function is no longer declared, and handles of it are refused.
    ///
    /// # Errors
    /// If there already is a function with this name, or as for [`define`](Module::define).
    pub fn function<O: Outcome>(
        &mut self,
        name: &str,
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
        build: impl FnOnce(&mut Body<'_, '_>) -> O,
    ) -> Result<FunctionHandle> {
        let function = self.declare(name, params, results)?;
        let defined = self.define(&function, build);
        // `build` has had access to the module, so this may be another one.
        if defined.is_err() && function.module == self.number {
            self.names.remove(name);
            self.functions[function.index as usize].forgotten = true;
        }
        defined.map(|()| function)
    }

    /// Defines a declared function: `build` emits its code.
    ///
    /// # Errors
    /// If it is already defined or belongs to another module, if `build` fails or misuses something
    /// (a value of a wrong type, a function that is not declared), if the function can reach its end
    /// without returning, or if its CLIF is not valid.
    pub fn define<O: Outcome>(
        &mut self,
        function: &FunctionHandle,
        build: impl FnOnce(&mut Body<'_, '_>) -> O,
    ) -> Result<()> {
        self.check_undefined(function)?;
        let mut builders = self.builders.pop().unwrap_or_default();
        let mut func = new_function(function);
        let emitted = self.emit(function, &mut func, &mut builders, build);
        let (env, end) = emitted.with_context(|| format!("function `{}`", function.name()))?;
        // `build` has had access to the module.
        self.check_undefined(function)?;
        // After an error, Cranelift's memory cannot be used for another function.
        self.builders.push(builders);
        let built = self.check(function, func, env, end);
        let built = built.with_context(|| format!("function `{}`", function.name()))?;
        self.functions[function.index as usize].built = Some(built);
        Ok(())
    }

    /// Checks that the function belongs to this module and is not defined.
    fn check_undefined(&self, function: &FunctionHandle) -> Result<()> {
        let known = self.own(function)?;
        ensure!(known.built.is_none(), "the function `{}` is defined twice", function.name());
        Ok(())
    }

    /// The function of this module that has this handle.
    fn own(&self, function: &FunctionHandle) -> Result<&Function> {
        let name = function.name();
        ensure!(
            function.module == self.number,
            "the function `{name}` was declared in another module"
        );
        // Functions are never removed.
        let own = &self.functions[function.index as usize];
        ensure!(
            !own.forgotten,
            "the function `{name}` cannot be used, because its definition failed"
        );
        Ok(own)
    }

    /// Emits a function's code. Returns the block that must not be reached, if the function has
    /// results and its last block does not return.
    fn emit<O: Outcome>(
        &mut self,
        function: &FunctionHandle,
        func: &mut ir::Function,
        builders: &mut FunctionBuilderContext,
        build: impl FnOnce(&mut Body<'_, '_>) -> O,
    ) -> Result<(Env, Option<ir::Block>)> {
        let frontend = self.engine.compiler().isa().frontend_config();
        let mut body = Body::new(self, function, FunctionBuilder::new(func, builders));
        let outcome = build(&mut body).into_result();
        let (mut builder, env, end) = body.end(outcome)?;
        builder.seal_all_blocks();
        builder.finalize(frontend);
        Ok((env, end))
    }

    /// Checks that objects are allocated with the layouts of their types. [`Body::gc`] takes both.
    fn check_layouts(&self, env: &Env) -> Result<()> {
        let dfg = &self.context.func.dfg;
        for (word, layout) in &env.allocated {
            let inst = dfg.value_def(dfg.resolve_aliases(*word)).inst();
            let constant = inst.and_then(|inst| match dfg.insts[inst] {
                InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
                _ => None,
            });
            let has_word = |(index, known): &&(TypeIndex, Arc<GcLayout>)| {
                constant == Some(header_word(*index, known.kind()))
            };
            let known = self.layouts.iter().find(has_word).map(|(_, known)| known);
            ensure!(
                known.is_some_and(|known| **known == *layout),
                "an object is allocated with a layout that is not that of its type: the first word \
                 of its header is {word}, and the layout is {layout:?}"
            );
        }
        Ok(())
    }

    /// Checks that a function obeys the rules of this crate.
    fn check(
        &mut self,
        function: &FunctionHandle,
        func: ir::Function,
        env: Env,
        end: Option<ir::Block>,
    ) -> Result<BuiltFunction> {
        let expected = clif_signature(function.signature());
        ensure!(
            func.signature.call_conv == expected.call_conv,
            "its calling convention was changed to `{}`: after a trap nothing would restore the \
             host's registers; it must be `{}`",
            func.signature.call_conv,
            expected.call_conv
        );
        ensure!(func.signature == expected, "its signature was changed while it was built");
        let compiler = self.engine.compiler();
        self.context.clear();
        self.context.func = func;
        self.context.compute_cfg();
        self.context.compute_domtree();
        if let Some(end) = end {
            ensure!(
                !self.context.domtree.is_reachable(end),
                "it can reach its end without returning {}",
                function.signature()
            );
        }
        if self.engine.verifies() {
            let verified = cranelift_codegen::verify_function(&self.context.func, compiler.isa());
            verified.map_err(|errors| anyhow!("its CLIF is not valid:\n{errors}"))?;
        }
        self.check_layouts(&env)?;
        let removed = self.context.eliminate_unreachable_code(compiler.isa());
        removed.map_err(|error| anyhow!("{error}"))?;
        let func = &mut self.context.func;
        for block in func.layout.blocks() {
            for inst in func.layout.block_insts(block) {
                let data = &func.dfg.insts[inst];
                if matches!(
                    data,
                    InstructionData::TryCall { .. } | InstructionData::TryCallIndirect { .. }
                ) {
                    bail!("it has a `try_call`, which modules do not support");
                }
            }
        }
        let func = std::mem::replace(&mut self.context.func, ir::Function::new());
        let types = match self.engine.verifies() {
            true => Some(types(&self.functions, function, &func, self.engine.abi())?),
            false => None,
        };
        let annotations = Annotations { types, ..env.annotations };
        Ok(BuiltFunction::new(func, annotations))
    }

    /// Compiles and links all functions, and makes their code executable. Small functions are inlined into
    /// the others.
    ///
    /// # Errors
    /// If a function is declared but not defined, breaks a rule of emitted code or is refused by Cranelift.
    /// If the compilation takes longer than [its limit](crate::CodeOptions::time_limit), if
    /// the code is too large, or if the system refuses the memory.
    pub fn compile(self) -> Result<Code> {
        let compiler = self.engine.compiler();
        let compilation = compiler.begin();
        let functions = self.functions.into_iter().filter(|function| !function.forgotten);
        let mut handles = Vec::new();
        let mut built_functions = BTreeMap::new();
        for Function { handle, exported, built, .. } in functions {
            let built = built.with_context(|| {
                format!("the function `{}` is declared, but not defined", handle.name())
            })?;
            built_functions.insert(handle.index, built);
            handles.push((handle, exported));
        }
        let limits = InlineLimits::of_module(built_functions.values());
        let inlines = self.engine.inlines();
        let may_inline = |_: &u32, built: &mut BuiltFunction| inlines && limits.may_inline(built);
        let small: Vec<_> = built_functions.extract_if(.., may_inline).collect();
        let inlining = Inlining::new(small, limits)?;

        let mut linker = ImageLinker::new();
        let mut exports = BTreeMap::new();
        let mut context = Context::new();
        for (handle, exported) in handles {
            let name = handle.name();
            let large = built_functions.remove(&handle.index);
            let compile = || {
                let built = large.or_else(|| inlining.function(handle.index));
                let built = built.context("it is neither large nor small")?;
                let finished = compiler.finish(built, &inlining, &compilation)?;
                compiler.compile(&mut context, finished, &compilation)
            };
            let compiled = compile().with_context(|| format!("function `{name}`"))?;
            linker.define(handle.index, name.to_owned(), compiled)?;
            if exported {
                linker.export(handle.index)?;
                exports.insert(name.to_owned(), (handle.index, handle.signature().clone()));
            }
        }
        let image = linker.link(self.engine.compiler())?;
        // A store has one code. So the type indices in it are those of the module.
        let memory = CodeMemory::publish(image, self.engine.abi(), &[])?;
        Ok(Code::new(memory, self.layouts, exports))
    }

    /// The function with this name.
    pub(crate) fn lookup(&self, name: &str) -> Option<&FunctionHandle> {
        self.names.get(name).map(|index| &self.functions[*index as usize].handle)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.functions.iter().map(|function| function.handle.name());
        f.debug_list().entries(names).finish()
    }
}

/// The first word of the headers of objects of this type.
fn header_word(index: TypeIndex, kind: VMGcKind) -> i64 {
    i64::from(index.header_word(kind))
}

/// The CLIF type of values of `ty`.
pub(crate) fn clif_type(ty: Type) -> ir::Type {
    match ty {
        Type::I32 => types::I32,
        Type::I64 | Type::Ref => types::I64,
        Type::F32 => types::F32,
        Type::F64 => types::F64,
    }
}

/// The CLIF signature of a compiled function. The context is its first parameter.
pub(crate) fn clif_signature(signature: &Signature) -> ir::Signature {
    let mut clif = ir::Signature::new(CallConv::Tail);
    clif.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
    clif.params.extend(signature.params().iter().map(|ty| AbiParam::new(clif_type(*ty))));
    clif.returns.extend(signature.results().iter().map(|ty| AbiParam::new(clif_type(*ty))));
    clif
}

/// The types of `function` and its callees, for the checkers. Fails if it imports something else
/// than functions of the module and the engine's host calls, each with its own signature: Cranelift
/// calls with the signature of the import, and the checkers know that of the callee.
fn types(
    functions: &[Function],
    function: &FunctionHandle,
    func: &ir::Function,
    abi: &Abi,
) -> Result<FunctionTypes> {
    let types = |types: &[Type]| types.iter().map(|ty| check_type(*ty)).collect::<Vec<_>>();
    let signature = |handle: &FunctionHandle| {
        let signature = handle.signature();
        SignatureTypes::with_vmctx(types(signature.params()), types(signature.results()))
    };
    let mut known = FunctionTypes::new(signature(function));
    let mut declared = HashMap::new();
    for data in func.dfg.ext_funcs.values() {
        let ir::ExternalName::User(name) = data.name else {
            bail!("it imports {}, which is not a function of its module", data.name.display(None));
        };
        let ir::UserExternalName { namespace, index } = func.params.user_named_funcs()[name];
        let (name, expected, types) = match namespace {
            FUNCTION_NAMESPACE => {
                let found = functions.get(index as usize).filter(|found| !found.forgotten);
                let handle = &found
                    .with_context(|| format!("it imports function {index}, which is not declared"))?
                    .handle;
                let types = signature(handle);
                known.declare_signature(data.signature, types.clone());
                (handle.name(), clif_signature(handle.signature()), types)
            }
            HOST_CALL_NAMESPACE => {
                let call = HostCall::from_index(index);
                let signature = abi.host_call(call).with_context(|| {
                    format!("it imports host call {index}, which its engine does not have")
                })?;
                let types = SignatureTypes::of_host_call(signature);
                (signature.name, host_call_signature(signature), types)
            }
            _ => bail!("it imports a function of the unknown namespace {namespace}"),
        };
        let imported = &func.dfg.signatures[data.signature];
        ensure!(
            *imported == expected,
            "it imports `{name}` with the signature {imported}, but its signature is {expected}"
        );
        // The checkers know the types of a signature, and not those of each callee.
        let first = declared.entry(data.signature).or_insert_with(|| types.clone());
        ensure!(
            *first == types,
            "it imports `{name}` with the `SigRef` of a function of another type"
        );
    }
    Ok(known)
}

fn check_type(ty: Type) -> ValueType {
    match ty {
        Type::Ref => ValueType::Ref,
        Type::I32 | Type::I64 | Type::F32 | Type::F64 => ValueType::Data,
    }
}

fn new_function(function: &FunctionHandle) -> ir::Function {
    let name = ir::UserFuncName::user(0, function.index);
    ir::Function::with_name_signature(name, clif_signature(function.signature()))
}
