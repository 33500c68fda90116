//! [`Module`]: types and functions, by name, that are compiled to [`Code`].
//!
//! A closure builds a function with a [`Body`]. The module adds the parts that every function
//! needs: calling convention, context, stack check, safepoints and checks. So no function can lack
//! one of them.

mod body;
mod callee;
mod casts;
mod check;
mod control;
mod exceptions;
mod functions;
mod globals;
mod objects;
mod values;

pub use body::Body;
pub use callee::{Callee, FunctionHandle};
pub use casts::RefType;
pub use control::{Control, Outcome};
pub use globals::Global;
pub use values::Variable;

use crate::code::{Parts, Word};
use crate::registry::{Definition, EngineType};
use crate::types::describe;
use crate::{ArrayType, StructType};
use crate::{Code, Engine, Signature, Type};
use anyhow::{Context as _, Result, bail, ensure};
use body::Env;
use cranelift_codegen::Context;
use cranelift_codegen::ir::{self, AbiParam, ArgumentPurpose, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::inline::{InlineLimits, Inlining};
use gc_compiler::{BuiltFunction, ImageLinker};
use gc_jit::CodeMemory;
use gc_types::{ArrayLayout, GcLayout, StorageType, StructLayout, TypeIndex};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The types and functions of a program, which are compiled together.
///
/// ```
/// use gc_engine::{Collector, Control, Engine, Module, Store, Type};
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
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
/// assert_eq!(store.function::<i64, i32>("even")?.call(&mut store, 10)?, 1);
/// # anyhow::Ok(())
/// ```
pub struct Module {
    /// Its number among all modules of the process. Its functions and types have it too, because
    /// code that builds a function can put another module in this one's place.
    number: u64,
    engine: Engine,
    /// The types by their number in the image.
    types: Vec<Definition>,
    functions: Vec<Function>,
    /// The words that its code reads from its vmctx.
    words: Vec<Word>,
    names: HashMap<Arc<str>, u32>,
    /// Cranelift's memory for functions, which is reused.
    builders: Vec<FunctionBuilderContext>,
    context: Context,
}

/// The maximal number of words that code reads from its vmctx.
const MAX_WORDS: u32 = 1 << 24;

/// The number of modules that were begun.
static MODULES: AtomicU64 = AtomicU64::new(0);

/// A declared function.
struct Function {
    handle: FunctionHandle,
    /// Whether the host can call it.
    exported: bool,
    /// Whether its definition failed in the call that declared it.
    forgotten: bool,
    body: FunctionBody,
}

/// Where the code of a function is.
enum FunctionBody {
    /// In this module, which does not have it yet.
    Declared,
    /// In this module.
    Built(Box<BuiltFunction>),
    /// In other code, or in the host. The number is that of the word in the vmctx.
    Imported(u32),
}

impl Module {
    /// Creates an empty module. Its code can run in stores of `engine`, or of another engine with
    /// the same kind of heaps.
    pub fn new(engine: &Engine) -> Module {
        Module {
            number: MODULES.fetch_add(1, Ordering::Relaxed),
            engine: engine.clone(),
            types: Vec::new(),
            functions: Vec::new(),
            words: Vec::new(),
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
    /// The name is the type's identity: if other modules of the engine declare a type with this name and these
    /// fields, it is the same type, and their code can share objects. To declare it twice in one module returns
    /// the same type.
    ///
    /// # Errors
    /// If the module has another type with this name, if an object would be too large, or if there are
    /// too many types.
    pub fn struct_type(
        &mut self,
        name: &str,
        fields: impl IntoIterator<Item: Into<StorageType>>,
    ) -> Result<StructType> {
        let layout = StructLayout::new(fields.into_iter().map(Into::into));
        let layout = layout.with_context(|| format!("the type `{name}`"))?;
        let (number, layout) = self.add_object_type(name, GcLayout::Struct(layout))?;
        Ok(StructType { module: self.number, name: name.into(), number, layout })
    }

    /// Makes a type of arrays with these elements. The name is the type's identity, as for
    /// [`struct_type`](Module::struct_type).
    ///
    /// # Errors
    /// If the module has another type with this name, or if there are too many types.
    pub fn array_type(&mut self, name: &str, element: impl Into<StorageType>) -> Result<ArrayType> {
        let layout = ArrayLayout::new(element.into());
        let (number, layout) = self.add_object_type(name, GcLayout::Array(layout))?;
        Ok(ArrayType { module: self.number, name: name.into(), number, layout })
    }

    fn add_object_type(
        &mut self,
        name: &str,
        layout: GcLayout,
    ) -> Result<(TypeIndex, Arc<GcLayout>)> {
        for (number, known) in (0..).zip(&self.types) {
            if let Definition::Object(known_name, known) = known
                && **known_name == *name
            {
                ensure!(
                    **known == layout,
                    "the type `{name}` is declared twice: as {}, and as {}",
                    describe(known),
                    describe(&layout)
                );
                let number = TypeIndex::new(number).context("a module has too many types")?;
                return Ok((number, known.clone()));
            }
        }
        let layout = Arc::new(layout);
        let number = self.add_type(Definition::Object(name.into(), layout.clone()))?;
        Ok((number, layout))
    }

    /// The type of functions with this signature.
    fn function_type(&mut self, signature: &Arc<Signature>) -> Result<TypeIndex> {
        let is_it =
            |ty: &Definition| matches!(ty, Definition::Function(known) if known == signature);
        match self.types.iter().position(is_it) {
            Some(number) => TypeIndex::new(number as u32).context("a module has too many types"),
            None => self.add_type(Definition::Function(signature.clone())),
        }
    }

    /// The number of the word in the vmctx with the number of a function of the module.
    fn word_of_reference(&mut self, function: &FunctionHandle) -> Result<u32> {
        self.add_word(Word::Reference(function.index, function.signature.clone()))
    }

    /// The number of this word in the vmctx. It is added if it is not there.
    fn add_word(&mut self, word: Word) -> Result<u32> {
        match self.words.iter().position(|known| *known == word) {
            Some(number) => Ok(number as u32),
            None => {
                let number = self.next_word()?;
                self.words.push(word);
                Ok(number)
            }
        }
    }

    /// Adds a type. Returns its number in the image.
    fn add_type(&mut self, definition: Definition) -> Result<TypeIndex> {
        let number = u32::try_from(self.types.len()).ok().and_then(TypeIndex::new);
        let number = number.filter(|number| *number != TypeIndex::NONE);
        let number = number.context("a module has too many types")?;
        self.types.push(definition);
        Ok(number)
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
        self.add_named(name, Signature::new(params, results), FunctionBody::Declared)
    }

    /// Declares a function of other code or of the host, which this module calls. It is found by its name
    /// when the code is [loaded](crate::Store::load) into a store, and may be
    /// [replaced](crate::Store::replace) later.
    ///
    /// # Errors
    /// If there already is a function with this name, or if there are too many functions.
    ///
    /// # Examples
    /// [`Store::func_wrap`](crate::Store::func_wrap) has one.
    pub fn import(
        &mut self,
        name: &str,
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
    ) -> Result<FunctionHandle> {
        let signature = Signature::new(params, results);
        let word = self.next_word()?;
        let handle = self.add_named(name, signature, FunctionBody::Imported(word))?;
        self.words.push(Word::Import(handle.name.clone(), handle.signature.clone()));
        Ok(handle)
    }

    /// The number of the next word in the vmctx.
    fn next_word(&self) -> Result<u32> {
        let word = u32::try_from(self.words.len()).ok().filter(|word| *word < MAX_WORDS);
        word.context("a module imports too many functions")
    }

    fn add_named(
        &mut self,
        name: &str,
        signature: Signature,
        body: FunctionBody,
    ) -> Result<FunctionHandle> {
        if let Some(first) = self.names.get(name) {
            let verb = match self.functions[*first as usize].body {
                FunctionBody::Declared => "declared",
                FunctionBody::Built(_) => "defined",
                FunctionBody::Imported(_) => "imported",
            };
            bail!("the function `{name}` is already {verb}");
        }
        let handle = self.add_function(name, signature, true, body)?;
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
        let signature = Signature::new(params, results);
        self.add_function(name, signature, false, FunctionBody::Declared)
    }

    fn add_function(
        &mut self,
        name: &str,
        signature: Signature,
        exported: bool,
        body: FunctionBody,
    ) -> Result<FunctionHandle> {
        let index = u32::try_from(self.functions.len()).context("too many functions")?;
        let (module, signature) = (self.number, Arc::new(signature));
        let handle = FunctionHandle { module, index, name: name.into(), signature };
        let (declared, forgotten) = (handle.clone(), false);
        self.functions.push(Function { handle: declared, exported, forgotten, body });
        Ok(handle)
    }

    /// Declares and [defines](Module::define) a function. It can call itself by its name. If the
    /// definition fails, the function is no longer declared, and handles of it are refused.
    ///
    /// # Errors
    /// If there already is a function with this name, or as for [`define`](Module::define).
    pub fn function<O: Outcome<Value = ()>>(
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
    pub fn define<O: Outcome<Value = ()>>(
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
        self.functions[function.index as usize].body = FunctionBody::Built(Box::new(built));
        Ok(())
    }

    /// Checks that the function belongs to this module and is not defined.
    fn check_undefined(&self, function: &FunctionHandle) -> Result<()> {
        let known = self.own(function)?;
        match known.body {
            FunctionBody::Declared => Ok(()),
            FunctionBody::Built(_) => bail!("the function `{}` is defined twice", function.name()),
            FunctionBody::Imported(_) => {
                bail!("the function `{}` is imported, so it cannot be defined", function.name())
            }
        }
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
    fn emit<O: Outcome<Value = ()>>(
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
        let mut handles = Vec::new();
        let is_global = |word: &Word| matches!(word, Word::Global(_, Type::Ref));
        let mut uses_heap = self.types.iter().any(|ty| matches!(ty, Definition::Object(..)))
            || self.words.iter().any(is_global);
        let mut built_functions = BTreeMap::new();
        let functions = self.functions.into_iter().filter(|function| !function.forgotten);
        for Function { handle, exported, body, .. } in functions {
            let built = match body {
                FunctionBody::Built(built) => *built,
                FunctionBody::Imported(_) => {
                    uses_heap |= handle.signature.has_refs();
                    continue;
                }
                FunctionBody::Declared => {
                    bail!("the function `{}` is declared, but not defined", handle.name())
                }
            };
            uses_heap |= handle.signature.has_refs();
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
                exports.insert(name.to_owned(), (handle.index, handle.signature.clone()));
            }
        }
        let image = linker.link(self.engine.compiler())?;
        let types = self.types.iter().map(|ty| self.engine.types().register(ty));
        let types = types.collect::<Result<Vec<_>>>()?;
        let indices: Vec<_> = types.iter().map(EngineType::index).collect();
        let memory = CodeMemory::publish(image, self.engine.abi(), &indices)?;
        let (engine, functions, words) = (self.engine, exports, self.words);
        Ok(Code::new(Parts { engine, memory, types, functions, words, uses_heap }))
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

/// The CLIF type of values of `ty`.
pub(crate) fn clif_type(ty: Type) -> ir::Type {
    match ty {
        Type::I32 | Type::Func => types::I32,
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

fn new_function(function: &FunctionHandle) -> ir::Function {
    let name = ir::UserFuncName::user(0, function.index);
    ir::Function::with_name_signature(name, clif_signature(function.signature()))
}
