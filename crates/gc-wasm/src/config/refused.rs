//! Settings of Wasmtime with one value that is honoured. With other values the engine is refused.

use super::Config;
use anyhow::{Result, ensure};

/// The version of saved modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModuleVersionStrategy {
    /// That of this crate.
    #[default]
    WasmtimeVersion,
    /// That of this crate together with this text, of at most 255 bytes.
    Custom(String),
    /// Any, which is not supported.
    None,
}

impl Config {
    /// Refuses to make an engine if `yes`; not any more otherwise.
    pub(super) fn refuse(
        &mut self,
        setting: &'static str,
        yes: bool,
        why: &'static str,
    ) -> &mut Config {
        match yes {
            true => self.refused.insert(setting, why),
            false => self.refused.remove(setting),
        };
        self
    }

    /// Sets whether guests can be debugged (default: no). Anything else is not
    /// supported.
    pub fn guest_debug(&mut self, yes: bool) -> &mut Config {
        self.refuse("guest_debug", yes, "guests cannot be debugged")
    }

    /// Sets whether there is a core dump in the error of a trap (default: no). Anything else is not
    /// supported.
    pub fn coredump_on_trap(&mut self, yes: bool) -> &mut Config {
        self.refuse("coredump_on_trap", yes, "core dumps are not made")
    }

    /// Sets whether there are handlers of signals for traps (default: yes). Anything else is not
    /// supported.
    pub fn signals_based_traps(&mut self, yes: bool) -> &mut Config {
        self.refuse("signals_based_traps", !yes, "traps need handlers of signals")
    }

    /// Sets whether there are shared memories (default: no). Anything else is not
    /// supported.
    pub fn shared_memory(&mut self, yes: bool) -> &mut Config {
        self.refuse("shared_memory", yes, "shared memories are not supported")
    }

    /// Sets whether there are concurrent components (default: no). Anything else is not
    /// supported.
    pub fn concurrency_support(&mut self, yes: bool) -> &mut Config {
        self.refuse("concurrency_support", yes, "components are not supported")
    }

    /// Sets whether there are checks of a guest's memory allocator (default: no). Anything else is
    /// not supported.
    pub fn wmemcheck(&mut self, yes: bool) -> &mut Config {
        self.refuse("wmemcheck", yes, "they are not supported")
    }

    /// Sets the version of saved modules (default: that of this crate). An engine only loads
    /// modules of its own version. The version of this crate is always a part of it.
    ///
    /// # Errors
    /// If the text has more than 255 bytes.
    pub fn module_version(&mut self, strategy: ModuleVersionStrategy) -> Result<&mut Config> {
        let any = strategy == ModuleVersionStrategy::None;
        self.code.module_version = match strategy {
            ModuleVersionStrategy::Custom(version) => {
                ensure!(
                    version.len() <= 255,
                    "custom module version cannot be more than 255 bytes: {version}"
                );
                Some(version)
            }
            ModuleVersionStrategy::WasmtimeVersion | ModuleVersionStrategy::None => None,
        };
        Ok(self.refuse("module_version", any, "code of another version is never loaded"))
    }
}
