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
mod link;
mod numbered;
mod objects;
mod values;

pub use body::Body;
pub use callee::{Callee, FunctionHandle};
pub use casts::RefType;
pub use control::{Control, Outcome};
pub use globals::Global;
pub use values::Variable;

use crate::code::Word;
use crate::object_type::ObjectType;
use crate::registry::Definition;
use crate::types::describe;
use crate::{ArrayType, StructType};
use crate::{Engine, Signature, Type};
use anyhow::{Context as _, Result, bail, ensure};
use body::Env;
use cranelift_codegen::Context;
use cranelift_codegen::ir::{self, AbiParam, ArgumentPurpose, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::BuiltFunction;
use gc_types::{ArrayLayout, GcLayout, StorageType, StructLayout, TypeIndex};
use numbered::Numbered;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most parameters and the most results of a function. WebAssembly engines have the same limit.
const MOST_VALUES: usize = 1000;

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
    types: Numbered<Definition>,
    /// The numbers of types of objects by name.
    type_names: HashMap<Arc<str>, u32>,
    functions: Vec<Function>,
    /// The words that its code reads from its vmctx.
    words: Numbered<Word>,
    /// The words and the types of globals by name.
    globals: HashMap<Arc<str>, (u32, Type)>,
    /// The functions of each type to which code makes references.
    referenced: HashMap<Arc<Signature>, Vec<u32>>,
    names: HashMap<Arc<str>, u32>,
    /// Cranelift's memory for functions, which is reused.
    builders: Vec<FunctionBuilderContext>,
    /// The symbols of functions of C.
    pub(crate) c_symbols: Vec<String>,
    /// The file whose lines are the locations of [`Body::at`], if it is known.
    pub(crate) source_file: Option<String>,
    /// The number of values of the function that is being built.
    values_around: usize,
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
    Built(Built),
    /// In other code, or in the host. The number is that of the word in the vmctx.
    Imported(u32),
    /// A function of C: the number of its symbol.
    C(u32),
}

/// A defined function.
struct Built {
    function: Box<BuiltFunction>,
    /// The words that it reads from its vmctx.
    words: BTreeSet<u32>,
    /// Whether it catches objects.
    catches: bool,
}

impl Module {
    /// Creates an empty module. Its code can run in stores of `engine`.
    /// [`Code::for_engine`](crate::Code::for_engine) makes it
    /// code of another engine with the same kind of heaps.
    pub fn new(engine: &Engine) -> Module {
        Module {
            number: MODULES.fetch_add(1, Ordering::Relaxed),
            engine: engine.clone(),
            types: Numbered::default(),
            type_names: HashMap::new(),
            functions: Vec::new(),
            words: Numbered::default(),
            globals: HashMap::new(),
            referenced: HashMap::new(),
            names: HashMap::new(),
            builders: Vec::new(),
            c_symbols: Vec::new(),
            source_file: None,
            values_around: 0,
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
        let ty = self.add_object_type(name, GcLayout::Struct(layout))?;
        Ok(StructType(ty))
    }

    /// Makes a type of arrays with these elements. The name is the type's identity, as for
    /// [`struct_type`](Module::struct_type).
    ///
    /// # Errors
    /// If the module has another type with this name, or if there are too many types.
    pub fn array_type(&mut self, name: &str, element: impl Into<StorageType>) -> Result<ArrayType> {
        let layout = ArrayLayout::new(element.into());
        let ty = self.add_object_type(name, GcLayout::Array(layout))?;
        Ok(ArrayType(ty))
    }

    fn add_object_type(&mut self, name: &str, layout: GcLayout) -> Result<ObjectType> {
        let module = self.number;
        if let Some(number) = self.type_names.get(name)
            && let Definition::Object(name, known) = &self.types.as_slice()[*number as usize]
        {
            ensure!(
                **known == layout,
                "the type `{name}` is declared twice: as {}, and as {}",
                describe(known),
                describe(&layout)
            );
            let number = TypeIndex::new(*number).context("a module has too many types")?;
            return Ok(ObjectType { module, name: name.clone(), number, layout: known.clone() });
        }
        let (name, layout): (Arc<str>, _) = (name.into(), Arc::new(layout));
        let number = self.add_type(Definition::Object(name.clone(), layout.clone()))?;
        self.type_names.insert(name.clone(), number.as_u32());
        Ok(ObjectType { module, name, number, layout })
    }

    /// The number in the image of a type. It is added if it is not there.
    fn add_type(&mut self, definition: Definition) -> Result<TypeIndex> {
        let number = self.types.number(definition, TypeIndex::NONE.as_u32());
        number.and_then(TypeIndex::new).context("a module has too many types")
    }

    /// The number of this word in the vmctx. It is added if it is not there.
    fn add_word(&mut self, word: Word) -> Result<u32> {
        let number = self.words.number(word, MAX_WORDS);
        number.context("a module has too many imports, globals, constants and referenced functions")
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
    /// [replaced](crate::Store::replace) later. A function that no code calls need not be there. To import a function
    /// twice returns the same handle.
    ///
    /// # Errors
    /// If the module declares a function with this name, or imports one with other parameters or results,
    /// or if there are too many functions.
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
        if let Some(known) = self.names.get(name)
            && let Function { handle, body: FunctionBody::Imported(_), .. } =
                &self.functions[*known as usize]
        {
            let first = handle.signature();
            ensure!(
                *first == signature,
                "the function `{name}` is imported twice: as {first}, and as {signature}"
            );
            return Ok(handle.clone());
        }
        self.check_name(name)?;
        let word = self.add_word(Word::Import(name.into(), Arc::new(signature.clone())))?;
        self.add_named(name, signature, FunctionBody::Imported(word))
    }

    /// Declares a function of C, which the code of an [object](crate::native) calls by its symbol. A system linker finds
    /// it if code calls it or makes references to it. To declare it twice is an error. [`compile`](Module::compile) fails
    /// if code calls it: only [`emit_object`](Module::emit_object) can make such code.
    ///
    /// Numbers can be passed, and no references: C could not keep them. The C function must not use the store whose code
    /// calls it.
    ///
    /// # Errors
    /// If there already is a function with this name, if a parameter or the result is a reference, or if there are
    /// several results.
    ///
    /// # Examples
    /// ```
    /// use gc_engine::{Collector, Engine, Module, Type};
    ///
    /// let mut module = Module::new(&Engine::new(Collector::copying())?);
    /// let cosine = module.extern_c("cos", [Type::F64], [Type::F64])?;
    /// module.function("run", [Type::F64], [Type::F64], |f| {
    ///     let angle = f.param(0);
    ///     let result = f.call(&cosine, &[angle]);
    ///     f.ret(&result);
    /// })?;
    /// let object = module.emit_object()?;
    /// # anyhow::Ok(())
    /// ```
    pub fn extern_c(
        &mut self,
        symbol: &str,
        params: impl IntoIterator<Item = Type>,
        results: impl IntoIterator<Item = Type>,
    ) -> Result<FunctionHandle> {
        let signature = Signature::new(params, results);
        ensure!(signature.results().len() <= 1, "the C function `{symbol}` has several results");
        let mut types = signature.params().iter().chain(signature.results());
        ensure!(
            !types.any(|ty| matches!(ty, Type::Ref | Type::Func)),
            "the C function `{symbol}` takes or returns references: its type is {signature}"
        );
        ensure!(!symbol.is_empty() && !symbol.contains('\0'), "{symbol:?} is no name of a symbol");
        let number = self.c_symbols.len() as u32;
        let handle = self.add_named(symbol, signature, FunctionBody::C(number))?;
        self.c_symbols.push(symbol.into());
        Ok(handle)
    }

    /// Says that the locations of [`Body::at`] are lines of this file. Objects then have line tables for debuggers
    /// (DWARF). A path that is relative is one from the folder in which the debugger runs.
    ///
    /// # Errors
    /// If the path is empty or contains NUL.
    pub fn source_file(&mut self, path: &str) -> Result<()> {
        ensure!(!path.is_empty() && !path.contains('\0'), "{path:?} is no path of a source file");
        self.source_file = Some(path.into());
        Ok(())
    }

    fn add_named(
        &mut self,
        name: &str,
        signature: Signature,
        body: FunctionBody,
    ) -> Result<FunctionHandle> {
        self.check_name(name)?;
        let exported = !matches!(body, FunctionBody::C(_));
        let handle = self.add_function(name, signature, exported, body)?;
        self.names.insert(handle.name.clone(), handle.index);
        Ok(handle)
    }

    /// Checks that no function has this name.
    fn check_name(&self, name: &str) -> Result<()> {
        let Some(first) = self.names.get(name) else { return Ok(()) };
        let verb = match self.functions[*first as usize].body {
            FunctionBody::Declared => "declared",
            FunctionBody::Built(..) => "defined",
            FunctionBody::Imported(_) => "imported",
            FunctionBody::C(_) => "declared as one of C",
        };
        bail!("the function `{name}` is already {verb}")
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
        let most = signature.params().len().max(signature.results().len());
        ensure!(
            most <= MOST_VALUES,
            "the function `{name}` has {most} parameters or results: there may be {MOST_VALUES}"
        );
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
        let around = self.values_around;
        let emitted = self.emit(function, &mut func, &mut builders, build);
        self.values_around = around;
        let (env, end) = emitted.with_context(|| format!("function `{}`", function.name()))?;
        // `build` has had access to the module.
        self.check_undefined(function)?;
        // After an error, Cranelift's memory cannot be used for another function.
        self.builders.push(builders);
        let (words, catches) = (env.words.clone(), !env.try_calls.is_empty());
        let built = self.check(function, func, env, end);
        let built = built.with_context(|| format!("function `{}`", function.name()))?;
        let built = Built { function: Box::new(built), words, catches };
        self.functions[function.index as usize].body = FunctionBody::Built(built);
        Ok(())
    }

    /// Checks that the function belongs to this module and is not defined.
    fn check_undefined(&self, function: &FunctionHandle) -> Result<()> {
        let known = self.own(function)?;
        match known.body {
            FunctionBody::Declared => Ok(()),
            FunctionBody::Built(..) => bail!("the function `{}` is defined twice", function.name()),
            FunctionBody::Imported(_) | FunctionBody::C(_) => {
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
