//! [`HostCtx`]: what all hosts know about a program. Each host has a context of its own; this is all
//! of them together.

use crate::assemblyscript::context::AssemblyScriptCtx;
use crate::hoot::context::HootCtx;
use crate::j2cl::context::J2clCtx;
use crate::moonbit::context::MoonBitCtx;
use crate::stdio::Stdio;
use crate::wasi::context::{WasiCtx, WasiCtxBuilder};
use anyhow::Result;
use gc_wasm::{InterruptHandle, StoreLimits};
use std::path::PathBuf;

/// What all hosts know about a program. It is the data of a store.
#[derive(Debug)]
pub struct HostCtx {
    /// The context of WASI.
    pub wasi: WasiCtx,
    /// The context of MoonBit's host.
    pub moonbit: MoonBitCtx,
    /// The context of Hoot's host.
    pub hoot: HootCtx,
    /// The context of J2CL's host.
    pub j2cl: J2clCtx,
    /// The context of AssemblyScript's host.
    pub assemblyscript: AssemblyScriptCtx,
    /// The limits of the store, once they are set with [`Store::limiter`](gc_wasm::Store::limiter).
    pub limits: StoreLimits,
}

impl HostCtx {
    /// Lets an interrupt of the program end host functions that wait. The program ends when the host
    /// function has returned.
    pub fn set_interrupt(&mut self, handle: &InterruptHandle) {
        self.wasi.set_interrupt(handle);
        self.moonbit.set_interrupt(handle);
    }
}

/// What a program gets from its host. The default is nothing.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The arguments. The first one is the program's name.
    pub args: Vec<String>,
    /// The environment: names and values.
    pub env: Vec<(String, String)>,
    /// The standard streams.
    pub stdio: Stdio,
    /// Directories of the host, and the names under which the program sees them.
    pub dirs: Vec<(PathBuf, String)>,
}

impl Default for HostOptions {
    fn default() -> HostOptions {
        HostOptions { args: Vec::new(), env: Vec::new(), stdio: Stdio::none(), dirs: Vec::new() }
    }
}

impl HostOptions {
    /// Makes the context.
    ///
    /// # Errors
    /// If a directory cannot be opened.
    pub fn build(self) -> Result<HostCtx> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&self.args).stdio(self.stdio.clone());
        for (name, value) in &self.env {
            wasi.env(name, value);
        }
        let mut moonbit = MoonBitCtx::new(&self.args, &self.env, self.stdio.clone());
        for (host, guest) in &self.dirs {
            wasi.preopened_dir(host, guest)?;
            moonbit.preopened_dir(host, guest)?;
        }
        Ok(HostCtx {
            wasi: wasi.build(),
            moonbit,
            hoot: HootCtx::new(self.stdio.clone()),
            j2cl: J2clCtx::new(self.stdio.clone()),
            assemblyscript: AssemblyScriptCtx::new(self.stdio),
            limits: StoreLimits::default(),
        })
    }
}
