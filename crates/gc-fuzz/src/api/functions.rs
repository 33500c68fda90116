//! Calls of functions of the module and of the host. The module calls the host, which makes more calls.

use super::driver::{Argument, Driver, Export, How};
use super::host::{Host, MOST};
use super::ops::Op;
use super::world::{Handle, Running, World};
use crate::value::Referent;
use anyhow::{Context as _, Result, ensure};

impl<A: Driver> Host<A> {
    /// A call of a function, or one that needs the program.
    pub(super) fn function_call(&mut self, slot: usize, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        match op {
            Op::Call { from, external, how } => self.call(slot, cx, [from, external], how, false),
            Op::RawCall { from, external, how } => self.call(slot, cx, [from, external], how, true),
            Op::Kept => self.world(slot).read_kept(cx),
            Op::Func { from } => self.world(slot).identity(cx, from, false),
            Op::RawFunc { from } => self.world(slot).identity(cx, from, true),
            Op::Burn { fuel } => self.burn(slot, cx, u64::from(fuel) * 8),
            Op::Throw { from } => self.throw(slot, cx, from),
            Op::Again { how } => match self.is_ready(slot, cx)? {
                true => A::again(cx, self.world(slot), how),
                false => Ok(()),
            },
            Op::Thing { what } => {
                // Most things are those of the program.
                self.is_ready(slot, cx)?;
                let world = self.world(slot);
                match A::thing(cx, world, what)? {
                    Some(handle) => world.thing(cx, handle).map(drop),
                    None => Ok(()),
                }
            }
            // What nests too deeply.
            _ => Ok(()),
        }
    }

    /// Calls a function that calls the host.
    fn call(
        &mut self,
        slot: usize,
        cx: &mut A::Cx<'_>,
        [from, external]: [u8; 2],
        how: u8,
        raw: bool,
    ) -> Result<()> {
        if !self.is_ready(slot, cx)? {
            return Ok(());
        }
        let how = How::of(how);
        let export = if how == How::Throw { Export::Catch } else { Export::Run };
        let world = self.world(slot);
        let (a, e) = (world.given(from), world.given(external));
        let func = A::func(cx, world.program.as_ref().context("it is ready")?, export)?;
        let mut arguments = vec![Argument::Any(a.handle), Argument::Extern(e.handle)];
        if how != How::Throw {
            arguments.push(Argument::Number(i32::from(how == How::Unreachable)));
        }
        world.running.push(Running { arguments: [a.value, e.value], how });
        let raw = raw && A::is_open(&world.own);
        let arguments = A::arguments(cx, &world.own, arguments, raw)?;
        A::lend(cx, self);
        let result = A::call(cx, &func, export, arguments);
        A::take_back(cx, self)?;
        let fault = self.fault.take();
        let world = self.world(slot);
        world.running.pop();
        if let Some(fault) = fault {
            return Err(fault.context("in a function of the host"));
        }
        world.has_ended(cx, result, export, how, [a.value, e.value])
    }

    /// The host is called with these arguments. What it returns to the module.
    pub(super) fn called(
        &mut self,
        slot: usize,
        cx: &mut A::Cx<'_>,
        arguments: [Option<A::Ref>; 2],
    ) -> Result<A::Reply> {
        let world = self.world(slot);
        let Running { arguments: expected, how } = *world.running.last().context("no call runs")?;
        world.open_scope();
        for (argument, expected) in arguments.into_iter().zip(expected) {
            world.found(cx, argument, expected)?;
        }
        self.calls(slot, cx)?;
        let world = self.world(slot);
        let value = world.given(0);
        let reply = A::reply(cx, world, how, value)?;
        world.end_scope();
        Ok(reply)
    }

    /// Runs a loop that may need more fuel than this.
    fn burn(&mut self, slot: usize, cx: &mut A::Cx<'_>, fuel: u64) -> Result<()> {
        if !self.is_ready(slot, cx)? || !A::is_open(&self.world(slot).own) {
            return Ok(());
        }
        let world = self.world(slot);
        let limited = world.limited;
        if limited {
            A::set_fuel(cx, &world.own, fuel)?;
        }
        match A::burn(cx, world.program.as_ref().context("it is ready")?) {
            Ok(n) => {
                ensure!(n == 100, "a loop of {n} turns");
                if limited {
                    let left = A::fuel(cx, &world.own)?;
                    ensure!(fuel >= left + 100, "{left} of {fuel} units are left");
                }
            }
            Err(failure) => {
                let expected = limited && fuel < 2000 && A::is_out_of_fuel(&failure);
                if !expected {
                    return Err(A::error(failure));
                }
            }
        }
        // The functions that run get enough fuel to end.
        self.is_ready(slot, cx).map(drop)
    }

    /// The module throws what nothing catches.
    fn throw(&mut self, slot: usize, cx: &mut A::Cx<'_>, from: u8) -> Result<()> {
        if !self.is_ready(slot, cx)? {
            return Ok(());
        }
        let world = self.world(slot);
        let Handle { handle, value } = world.given(from);
        let export = Export::Throw;
        let func = A::func(cx, world.program.as_ref().context("it is ready")?, export)?;
        let arguments = A::arguments(cx, &world.own, vec![Argument::Any(handle)], false)?;
        let failure = A::call(cx, &func, export, arguments).err().context("nothing was thrown")?;
        let payload = A::thrown(cx, world, failure)?;
        world.found(cx, payload, value)
    }
}

impl<A: Driver> World<A> {
    /// A call has returned or failed, in which the host was called. It had these arguments.
    fn has_ended(
        &mut self,
        cx: &mut A::Cx<'_>,
        result: Result<A::Values, A::Failure>,
        export: Export,
        how: How,
        arguments: [Referent; 2],
    ) -> Result<()> {
        let returned = self.returned.take();
        if how == How::Unreachable || how == How::Fail && returned.is_none() {
            let failure = result.err().context("it did not fail")?;
            return A::check_failure(cx, self, failure, how);
        }
        let results = A::results(cx, &self.own, export, result.map_err(A::error)?)?;
        let returned = returned.context("the host was called")?;
        let expected = match how {
            How::Throw => vec![returned],
            _ => {
                self.kept = returned;
                arguments.to_vec()
            }
        };
        let Some(results) = results else { return Ok(()) };
        ensure!(results.len() == expected.len(), "{} results", results.len());
        for (result, expected) in results.into_iter().zip(expected) {
            self.found(cx, result, expected)?;
        }
        Ok(())
    }

    /// Makes a function of the host that returns its argument, and calls it.
    fn identity(&mut self, cx: &mut A::Cx<'_>, from: u8, raw: bool) -> Result<()> {
        if self.lasting.len() >= MOST || !A::is_open(&self.own) {
            return Ok(());
        }
        let Handle { handle, value } = self.given(from);
        let token = self.token();
        self.lasting.push(token.number());
        let (same, func) = A::identity(cx, &self.own, token, handle.as_ref(), raw)?;
        self.found(cx, same, value)?;
        match func {
            Some(func) => self.thing(cx, func).map(drop),
            None => Ok(()),
        }
    }
}
