//! [`Code`]: a compiled module, with everything that a store needs.

use crate::declarations::Declarations;
use crate::registry::EngineType;
use crate::{Engine, Signature, Type};
use anyhow::Result;
use gc_jit::{CodeMemory, EntryTrampoline};
use gc_types::{CodeImage, GcLayout};
use std::fmt;
use std::sync::Arc;

/// Compiled functions with the types that they use. Cheap to clone. Any number of stores can
/// [load](crate::Store::load) it, also together with other code.
///
/// `Module::compile` makes it, and [`Code::deserialize`] reads saved code. It contains the ABI for
/// which it was compiled. A store of an engine with another kind of heap refuses it.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// module.function("negate", [Type::I64], [Type::I64], |f| {
///     let (zero, n) = (f.i64(0), f.param(0));
///     let negative = f.sub(zero, n);
///     f.ret(&[negative]);
/// })?;
/// let code = module.compile()?;
///
/// let (name, signature) = code.functions().next().unwrap();
/// assert_eq!(format!("{name}{signature}"), "negate(i64) -> (i64)");
/// for n in [1, 2] {
///     let mut store = Store::new(&engine, ())?;
///     store.load(&code)?;
///     assert_eq!(store.function::<i64, i64>("negate")?.call(&mut store, n)?, -n);
/// }
///
/// // Code and heap must fit together.
/// let other = Engine::new(Collector::drc())?;
/// let error = Store::new(&other, ())?.load(&code).unwrap_err();
/// assert!(format!("{error:#}").ends_with("collector is `drc` here, but `copying` there"));
/// # }
/// # anyhow::Ok(())
/// ```
#[derive(Clone)]
pub struct Code(Arc<Parts>);

/// The parts of [`Code`].
pub(crate) struct Parts {
    /// The engine whose type indices the code has.
    pub(crate) engine: Engine,
    pub(crate) memory: Arc<CodeMemory>,
    /// The types by their number in the image.
    pub(crate) types: Vec<EngineType>,
    /// The functions that other code and the host can call, ascending by name.
    pub(crate) functions: Vec<Function>,
    /// The words that it reads from its vmctx.
    pub(crate) words: Vec<Word>,
    /// Whether it can get or make references, so that it needs a heap.
    pub(crate) uses_heap: bool,
}

/// A function that other code and the host can call.
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    /// Its number in the image.
    pub(crate) index: u32,
    pub(crate) ty: EngineType,
    /// The distance of its code from the image's start, in bytes.
    pub(crate) offset: u32,
    /// The trampoline by which the host calls it.
    pub(crate) trampoline: EntryTrampoline,
}

impl Function {
    pub(crate) fn signature(&self) -> &Arc<Signature> {
        self.ty.signature().expect("it is a type of functions")
    }
}

/// A word of a vmctx, which belongs to one piece of code in one store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Word {
    /// The address of the reference to the function with this name, which the code calls and does not
    /// have.
    Import(Arc<str>, Arc<Signature>),
    /// The number in the store of a function of the image, for references to it.
    Reference(u32, Arc<Signature>),
    /// The address of the global with this name.
    Global(Arc<str>, Type),
    /// The address of the constant array of the image's type with this number, and of these bytes.
    Constant(u32, Arc<[u8]>),
    /// A word that no function reads: the function that asked for it could not be defined, or no code calls the
    /// imported function.
    Unused,
}

impl Word {
    /// The number of the function of the image to which it is a reference.
    #[cfg(feature = "compiler")]
    pub(crate) fn referenced(&self) -> Option<u32> {
        match self {
            Word::Reference(index, _) => Some(*index),
            Word::Import(..) | Word::Global(..) | Word::Constant(..) | Word::Unused => None,
        }
    }
}

impl Code {
    pub(crate) fn new(parts: Parts) -> Code {
        Code(Arc::new(parts))
    }

    /// Its parts.
    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }

    /// The same code for another engine, whose types have other indices.
    ///
    /// # Errors
    /// If that engine has another kind of heap (the error names the difference), or if the system
    /// refuses the memory.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Engine, Module, Store};
    ///
    /// let module = Module::new(&Engine::new(Collector::copying())?);
    /// let code = module.compile()?;
    /// let other = Engine::new(Collector::copying())?;
    /// let mut store = Store::new(&other, ())?;
    /// assert!(store.load(&code).is_err());
    /// store.load(&code.for_engine(&other)?)?;
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn for_engine(&self, engine: &Engine) -> Result<Code> {
        let image = self.image().clone();
        Declarations::of(self)
            .into_code(engine, |indices| CodeMemory::publish(image, engine.abi(), indices))
    }

    /// The image: machine code with its tables.
    pub fn image(&self) -> &CodeImage {
        self.0.memory.image()
    }

    /// The image in executable memory.
    pub fn memory(&self) -> &Arc<CodeMemory> {
        &self.0.memory
    }

    /// The types of its objects: their names and layouts.
    pub fn types(&self) -> impl Iterator<Item = (&str, &GcLayout)> {
        let objects = self.0.types.iter().filter_map(EngineType::object);
        objects.map(|(name, layout)| (&**name, &**layout))
    }

    /// The functions that the host can call, with their signatures, by name.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &Signature)> {
        self.0.functions.iter().map(|function| (&*function.name, &**function.signature()))
    }

    /// The functions that it calls and does not have, or makes references to. The store into which it is loaded must have
    /// them, or another piece that is loaded [with it](crate::Store::load_all).
    pub fn imports(&self) -> impl Iterator<Item = (&str, &Signature)> {
        self.0.words.iter().filter_map(|word| match word {
            Word::Import(name, signature) => Some((&**name, &**signature)),
            _ => None,
        })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.functions().map(|(name, _)| name)).finish()
    }
}
