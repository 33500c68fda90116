//! What a function calls: another one, by its handle or by its name.

use super::Module;
use crate::Signature;
use anyhow::{Context as _, Result, ensure};
use std::sync::Arc;

/// A function of a [`Module`] that was declared.
#[derive(Clone, Debug)]
pub struct FunctionHandle {
    pub(super) index: u32,
    /// Its address tells functions of different modules apart.
    pub(super) name: Arc<str>,
    pub(super) signature: Arc<Signature>,
}

impl FunctionHandle {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it takes and returns.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether both are handles of the same function.
    pub(super) fn same(&self, other: &FunctionHandle) -> bool {
        Arc::ptr_eq(&self.signature, &other.signature)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for &str {}
    impl Sealed for &super::FunctionHandle {}
}

/// What a function can call: a function's name, or its handle.
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
        ensure!(
            module.has_function(self),
            "it calls `{}`, which was declared in another module",
            self.name()
        );
        Ok(self.clone())
    }
}
