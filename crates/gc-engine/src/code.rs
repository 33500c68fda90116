//! [`Code`]: a compiled module, with everything that a store needs.

use crate::Signature;
use gc_jit::CodeMemory;
use gc_types::{CodeImage, GcLayout, TypeIndex};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Compiled functions with the layouts of their types. Cheap to clone. Any number of stores can run
/// it.
///
/// `Module::compile` makes it, and [`Code::deserialize`] reads saved code. It contains the ABI for
/// which it was compiled. [`Store::new`](crate::Store::new) refuses it for an engine with another
/// kind of heap.
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
///     let mut store = Store::new(&engine, &code)?;
///     assert_eq!(store.function::<i64, i64>("negate")?.call(&mut store, n)?, -n);
/// }
///
/// // Code and heap must fit together.
/// let other = Engine::new(Collector::drc())?;
/// let error = Store::new(&other, &code).unwrap_err();
/// assert!(format!("{error:#}").ends_with("collector is `drc` here, but `copying` there"));
/// # }
/// # anyhow::Ok(())
/// ```
#[derive(Clone)]
pub struct Code(Arc<Inner>);

struct Inner {
    memory: Arc<CodeMemory>,
    layouts: Vec<(TypeIndex, Arc<GcLayout>)>,
    functions: BTreeMap<String, (u32, Signature)>,
}

impl Code {
    pub(crate) fn new(
        memory: Arc<CodeMemory>,
        layouts: Vec<(TypeIndex, Arc<GcLayout>)>,
        functions: BTreeMap<String, (u32, Signature)>,
    ) -> Code {
        Code(Arc::new(Inner { memory, layouts, functions }))
    }

    /// The image: machine code with its tables.
    pub fn image(&self) -> &CodeImage {
        self.0.memory.image()
    }

    /// The image in executable memory.
    pub fn memory(&self) -> &Arc<CodeMemory> {
        &self.0.memory
    }

    /// The layouts of its types, for which its functions were compiled.
    pub fn layouts(&self) -> impl Iterator<Item = (TypeIndex, &Arc<GcLayout>)> {
        self.0.layouts.iter().map(|(ty, layout)| (*ty, layout))
    }

    /// The functions that the host can call, with their signatures, by name.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &Signature)> {
        self.0.functions.iter().map(|(name, (_, signature))| (name.as_str(), signature))
    }

    /// The functions that the host can call: name, number, signature.
    pub(crate) fn exports(&self) -> impl Iterator<Item = (&str, u32, &Signature)> {
        self.0.functions.iter().map(|(name, (index, signature))| (name.as_str(), *index, signature))
    }

    /// The number and the signature of a function that the host can call.
    pub(crate) fn function(&self, name: &str) -> Option<(u32, &Signature)> {
        self.0.functions.get(name).map(|(index, signature)| (*index, signature))
    }

    /// Whether both are the same code.
    pub(crate) fn same(&self, other: &Code) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.functions.keys()).finish()
    }
}
