//! Calls that use globals.

use super::driver::Driver;
use super::host::MOST;
use super::ops::Op;
use super::world::{KnownGlobal, World, pick};
use anyhow::{Context as _, Result};

impl<A: Driver> World<A> {
    /// A call with a global.
    pub(super) fn global_call(&mut self, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        match op {
            Op::NewGlobal { from, external }
                if self.globals.len() < MOST && A::is_open(&self.own) =>
            {
                let (init, external) = (self.given(from), external % 2 == 1);
                let global = A::new_global(cx, &self.own, init.to_place(external))?;
                self.globals.push(KnownGlobal { global, value: init.value, external });
            }
            Op::GlobalGet { global } => {
                if let Some(i) = pick(&self.globals, global) {
                    let KnownGlobal { global, value, external } = &self.globals[i];
                    let (read, value) = (A::global_get(cx, global, *external)?, *value);
                    return self.found(cx, read, value);
                }
            }
            Op::GlobalSet { global, from } => {
                if let Some(i) = pick(&self.globals, global) {
                    let new = self.given(from);
                    let known = &mut self.globals[i];
                    A::global_set(cx, &known.global, new.to_place(known.external))?;
                    known.value = new.value;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the global in which the program keeps a reference.
    pub(super) fn read_kept(&mut self, cx: &mut A::Cx<'_>) -> Result<()> {
        let Some(program) = &self.program else { return Ok(()) };
        let kept = A::kept(cx, program).context("what the program keeps")?;
        self.found(cx, kept, self.kept)
    }
}
