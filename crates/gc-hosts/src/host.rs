//! [`Host`]: what a host is to the command and to `Host::recognised`.

use crate::context::{HostCtx, HostOptions};
use anyhow::Result;
use gc_wasm::{ImportType, Linker, Module, Store};
use std::fmt;

/// Functions and other items that the programs of some toolchains import.
#[derive(Clone, Copy)]
pub struct Host {
    /// The name by which the command knows it.
    pub(crate) name: &'static str,
    /// What it is for, in one line.
    pub(crate) summary: &'static str,
    /// Whether an import, by its names, is meant for this host.
    pub(crate) claims: fn(&ImportType<'_>) -> bool,
    /// Defines everything, or, of what there is no end, everything that the module imports.
    pub(crate) define: fn(&mut Linker<HostCtx>, &mut Store<HostCtx>, &Module) -> Result<()>,
    /// Whether programs can read their arguments through it.
    pub(crate) reads_args: bool,
}

impl Host {
    /// The name by which the command knows it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is for, in one line.
    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// Whether programs can read their arguments through it.
    pub fn reads_args(&self) -> bool {
        self.reads_args
    }

    /// Whether an import, by its names, is meant for this host. The host may lack it all the same.
    pub fn claims(&self, import: &ImportType<'_>) -> bool {
        (self.claims)(import)
    }

    /// Defines what the host has in `linker`. `module` is the module that imports from it. If the
    /// engine is [interruptible](gc_wasm::Config::interruptible), an interrupt of the store's code
    /// also ends the host's functions that wait.
    ///
    /// # Errors
    /// If a name is taken, or an item cannot be made.
    pub fn define(
        &self,
        linker: &mut Linker<HostCtx>,
        store: &mut Store<HostCtx>,
        module: &Module,
    ) -> Result<()> {
        if let Ok(handle) = store.interrupt_handle() {
            store.data_mut().set_interrupt(&handle);
        }
        (self.define)(linker, store, module)
    }

    /// Whether the host has what `import` of `module` names.
    ///
    /// # Errors
    /// If its items cannot be made.
    pub fn has(&self, module: &Module, import: &ImportType<'_>) -> Result<bool> {
        let mut linker = Linker::new(module.engine());
        let mut store = Store::new(module.engine(), HostOptions::default().build()?);
        self.define(&mut linker, &mut store, module)?;
        Ok(linker.get_by_import(&mut store, import).is_some())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).finish_non_exhaustive()
    }
}
