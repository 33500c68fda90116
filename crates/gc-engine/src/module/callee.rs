//! Callees: functions by handle or by name.

use super::Module;
use crate::Signature;
use anyhow::{Context as _, Result};
use std::sync::Arc;

/// A declared function of a [`Module`].
///
/// # Examples
/// ```
/// use gc_engine::{Collector, Engine, Module, Type};
///
/// let mut module = Module::new(&Engine::new(Collector::copying())?);
/// let one = module.declare("one", [], [Type::I64])?;
/// module.function("two", [], [Type::I64], |f| {
///     let one = f.call(&one, &[])[0];
///     let two = f.add(one, one);
///     f.ret(&[two]);
/// })?;
/// let error = module.compile().unwrap_err();
/// assert_eq!(error.to_string(), "the function `one` is declared, but not defined");
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct FunctionHandle {
    /// The number of its module.
    pub(super) module: u64,
    pub(super) index: u32,
    pub(super) name: Arc<str>,
    pub(super) signature: Arc<Signature>,
}

impl FunctionHandle {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters and results.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &str {}
    impl Sealed for &super::FunctionHandle {}
}

/// Types that name a callee: a function's name, or its handle.
pub trait Callee: sealed::Sealed {
    #[doc(hidden)]
    fn find(self, module: &Module) -> Result<FunctionHandle>;
}

impl Callee for &str {
    fn find(self, module: &Module) -> Result<FunctionHandle> {
        module
            .lookup(self)
            .cloned()
            .with_context(|| format!("it calls `{self}`, which is not declared"))
    }
}

impl Callee for &FunctionHandle {
    fn find(self, module: &Module) -> Result<FunctionHandle> {
        module.own(self)?;
        Ok(self.clone())
    }
}
