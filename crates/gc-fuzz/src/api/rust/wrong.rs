//! Calls with arguments that do not fit: values of another type, too many or too few of them, names of
//! something else. Each ends with the error that names what is wrong, and changes nothing.

use super::mistakes::failed;
use super::{Cx, Handled, Rust, linking, value};
use crate::api::driver::{Export, Wrong};
use crate::api::host::Host;
use crate::api::world::{Handle, World};
use crate::value::Referent;
use anyhow::{Context as _, Result, ensure};
use gc_wasm::{Func, FuncType, Ref, Val, ValType};

/// The text of the error of a value of a wrong type.
pub(super) const MISMATCH: &str = "type mismatch: expected ";

/// Makes a call whose arguments do not fit.
pub(super) fn wrong(
    cx: &mut Cx<'_>,
    host: &mut Host<Rust>,
    slot: usize,
    Wrong { what, index, from }: Wrong,
) -> Result<()> {
    let what = what % 9;
    if what >= 5 && !host.is_ready(slot, cx)? {
        return Ok(());
    }
    match what {
        6 => return linking::imports(cx, host, slot, index),
        7 => return linking::linker(cx, host, slot, index),
        _ => {}
    }
    let world = host.world(slot);
    let Handle { handle, value } = world.handle(from);
    let mut attempt = Attempt { cx, world, index, handle, value };
    match what {
        0 => attempt.global(),
        1 => attempt.table(),
        2 => attempt.object(),
        3 => attempt.new_object(),
        4 => attempt.typed_place(),
        5 => attempt.call(),
        _ => attempt.names(),
    }
}

/// With what a wrong call is made.
pub(super) struct Attempt<'a, 'b> {
    pub(super) cx: &'a mut Cx<'b>,
    pub(super) world: &'a mut World<Rust>,
    /// Chooses the mistake.
    pub(super) index: u8,
    pub(super) handle: Option<Handled>,
    /// What the handle refers to.
    pub(super) value: Referent,
}

impl Attempt<'_, '_> {
    /// A value that is not of the type of a place that is external, or of one that is internal. It is an
    /// `i32` only for multiples of 8.
    pub(super) fn another(&mut self, number: u8, external: bool) -> Result<Val> {
        Ok(match number % 8 {
            0 => Val::I32(0),
            1 => Val::I64(-1),
            2 => Val::F32(0),
            3 => Val::V128(1.into()),
            4 => Val::FuncRef(None),
            5 => Val::ExnRef(None),
            _ => value(&mut *self.cx, self.handle, !external)?,
        })
    }

    /// A reference that can be in no table of this kind.
    pub(super) fn another_element(&mut self, number: u8, external: bool) -> Result<Ref> {
        self.another(number % 4 + 4, external)?.ref_().context("a reference")
    }

    /// Calls a function with arguments of another number or type. The host is not called.
    fn call(&mut self) -> Result<()> {
        let (index, handle) = (self.index, self.handle);
        let program = self.world.program.as_ref().context("it is ready")?;
        let run = program.instance.get_func(&mut *self.cx, Export::Run.name());
        let run = run.context("a function")?;
        let external = value(&mut *self.cx, handle, true)?;
        let mut arguments = vec![Val::AnyRef(handle), external, Val::I32(0)];
        let mut results = vec![Val::null_any_ref(), Val::null_extern_ref()];
        let place = usize::from(index / 8 % 3);
        let why = match index % 8 {
            0 => {
                arguments.truncate(place);
                format!("expected 3 arguments, got {place}")
            }
            1 => {
                arguments.extend([Val::I32(0); 3].into_iter().take(place + 1));
                format!("expected 3 arguments, got {}", place + 4)
            }
            2 => {
                results = vec![Val::I32(0); if place < 2 { place } else { 3 }];
                format!("expected 2 results, got {}", results.len())
            }
            3 if !self.world.limited => {
                return failed(self.cx.set_fuel(1), "fuel is not configured");
            }
            4 => return self.results(place),
            _ => {
                arguments[place] = match place {
                    2 => self.another(index / 24 % 7 + 1, false)?,
                    _ => self.another(index / 24, place == 1)?,
                };
                format!("argument type mismatch: argument {place}: {MISMATCH}")
            }
        };
        // The host is not there: it would be an error if the function called it.
        failed(run.call(&mut *self.cx, &arguments, &mut results), &why)
    }

    /// Calls a function of the host that sets its result to a value of another type, or forgets it.
    fn results(&mut self, how: usize) -> Result<()> {
        let ty = FuncType::new(self.cx.engine(), [ValType::ANYREF], [ValType::EXTERNREF]);
        let func = Func::new(&mut *self.cx, ty, move |_, arguments, results| {
            match how {
                0 => results[0] = arguments[0],
                1 => results[0] = Val::I32(1),
                _ => {}
            }
            Ok(())
        });
        let mut results = [Val::null_extern_ref()];
        let called = func.call(&mut *self.cx, &[Val::AnyRef(self.handle)], &mut results);
        failed(called, "type mismatch: expected externref, found ")
    }

    /// Looks for exports by wrong names and types.
    fn names(&mut self) -> Result<()> {
        let cx = &mut *self.cx;
        let instance = self.world.program.as_ref().context("it is ready")?.instance;
        match self.index % 6 {
            0 => ensure!(instance.get_func(&mut *cx, "kept").is_none(), "a global is a function"),
            1 => {
                ensure!(instance.get_global(&mut *cx, "run").is_none(), "a function is a global")
            }
            2 => {
                let func = instance.get_typed_func::<(), ()>(&mut *cx, "running");
                failed(func, "failed to find function export `running`")?;
            }
            3 => {
                let func = instance.get_typed_func::<(), ()>(&mut *cx, "burn");
                failed(func, "type mismatch with results: expected 0 types, found 1")?;
            }
            4 => {
                let func = instance.get_typed_func::<i32, i32>(&mut *cx, "burn");
                failed(func, "type mismatch with parameters: expected 1 types, found 0")?;
            }
            _ => {
                let func = instance.get_typed_func::<(), i64>(&mut *cx, "burn");
                failed(func, "type mismatch with results: result 0: type mismatch: expected i64")?;
            }
        }
        Ok(())
    }
}
