//! The program in a store, and calls of functions.

use super::{Cx, Data, Handled, Prepared, Program, Rust, Types, Values, raw, value};
use crate::api::driver::{Argument, Export, FAILURE, Functions, How};
use crate::api::host::MODULE;
use crate::api::world::{Handle, World};
use crate::artifact::saved_and_loaded;
use crate::refs::internal;
use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use gc_testkit::Token;
use gc_wasm::{
    AnyRef, AsContextMut, Caller, ExnRef, ExnRefPre, ExnType, ExternRef, Func, FuncType, Linker,
    Module, RootScope, Rooted, Store, Tag, TagType, ThrownException, Trap, Val, ValType,
};

impl Functions for Rust {
    fn program(
        cx: &mut Cx<'_>,
        prepared: Option<&mut Prepared>,
        _: &mut World<Rust>,
        _: usize,
    ) -> Result<Program> {
        let compiled = || Module::new(cx.engine(), MODULE);
        let module = match prepared {
            Some(Prepared { module: Some(module), .. }) => module.clone(),
            Some(prepared) => prepared.module.insert(compiled()?).clone(),
            None => compiled()?,
        };
        let ty = tag_type(cx);
        let tag = Tag::new(&mut *cx, &ty)?;
        let mut linker = Linker::new(cx.engine());
        linker.func_wrap("", "host", called)?;
        linker.define(&mut *cx, "", "tag", tag)?;
        let instance = linker.instantiate(cx, &module)?;
        Ok(Program { module, linker, instance, tag })
    }

    fn func(cx: &mut Cx<'_>, program: &Program, export: Export) -> Result<Func> {
        program.instance.get_func(cx, export.name()).context("a function")
    }

    fn arguments(
        cx: &mut Cx<'_>,
        _: &Types,
        arguments: Vec<Argument<Handled>>,
        raw: bool,
    ) -> Result<Values> {
        let mut values = Vec::new();
        for argument in arguments {
            values.push(match argument {
                Argument::Any(handle) => value(&mut *cx, handle, false)?,
                Argument::Extern(handle) => value(&mut *cx, handle, true)?,
                Argument::Number(number) => Val::I32(number),
            });
        }
        if !raw {
            return Ok(Values::Checked(values));
        }
        let raw = values.iter().map(|value| value.to_raw(&mut *cx));
        Ok(Values::Raw(raw.collect::<Result<_>>()?))
    }

    fn call(
        cx: &mut Cx<'_>,
        func: &Func,
        export: Export,
        arguments: Values,
    ) -> Result<Values, Error> {
        match arguments {
            Values::Checked(arguments) => {
                let null = |external: &bool| match external {
                    true => Val::null_extern_ref(),
                    false => Val::null_any_ref(),
                };
                let mut results: Vec<Val> = export.results().iter().map(null).collect();
                func.call(cx, &arguments, &mut results)?;
                Ok(Values::Checked(results))
            }
            Values::Raw(mut slots) => {
                raw::call(cx, func, &mut slots)?;
                Ok(Values::Raw(slots))
            }
        }
    }

    fn results(
        cx: &mut Cx<'_>,
        _: &Types,
        export: Export,
        results: Values,
    ) -> Result<Option<Vec<Option<Handled>>>> {
        let values = match results {
            Values::Checked(values) => values,
            Values::Raw(slots) => raw::results(cx, export, &slots),
        };
        let handles = values.into_iter().map(|value| internal(&mut *cx, value));
        handles.collect::<Result<_>>().map(Some)
    }

    fn burn(cx: &mut Cx<'_>, program: &Program) -> Result<i32, Error> {
        let burn = program.instance.get_typed_func::<(), i32>(&mut *cx, Export::Burn.name())?;
        burn.call(cx, ())
    }

    fn error(failure: Error) -> Error {
        failure
    }

    fn is_out_of_fuel(failure: &Error) -> bool {
        failure.downcast_ref() == Some(&Trap::OutOfFuel)
    }

    fn check_failure(_: &mut Cx<'_>, _: &mut World<Rust>, error: Error, how: How) -> Result<()> {
        let expected = match how {
            How::Unreachable => error.downcast_ref() == Some(&Trap::UnreachableCodeReached),
            _ => error.root_cause().to_string() == FAILURE,
        };
        if expected { Ok(()) } else { Err(error) }
    }

    fn thrown(cx: &mut Cx<'_>, world: &mut World<Rust>, error: Error) -> Result<Option<Handled>> {
        if !error.is::<ThrownException>() {
            return Err(error);
        }
        let tag = world.program.as_ref().context("it has thrown")?.tag;
        // The exception is no root afterwards.
        let mut scope = RootScope::new(cx.as_context_mut());
        let exception = scope.as_context_mut().take_pending_exception();
        let exception = exception.context("no exception is pending")?;
        let found = exception.tag(&mut scope)?;
        ensure!(Tag::eq(&found, &tag, &scope), "another tag");
        let payload = exception.field(&mut scope, 0)?;
        let payload = internal(&mut scope, payload)?;
        let payload = payload.map(|payload| payload.to_owned_rooted(&mut scope)).transpose()?;
        drop(scope);
        Ok(payload.map(|payload| payload.to_rooted(cx)))
    }

    fn reply(
        cx: &mut Cx<'_>,
        world: &mut World<Rust>,
        how: How,
        Handle { handle, value }: Handle<Rust>,
    ) -> Result<Result<Option<Handled>>> {
        if how == How::Fail {
            return Ok(Err(anyhow!(FAILURE)));
        }
        world.returned = Some(value);
        if how != How::Throw {
            return Ok(Ok(handle));
        }
        let tag = world.program.as_ref().context("it runs")?.tag;
        let ty = ExnType::from_tag_type(&tag_type(cx))?;
        let allocator = ExnRefPre::new(&mut *cx, ty);
        let exception = ExnRef::new(&mut *cx, &allocator, &tag, &[Val::AnyRef(handle)])?;
        Ok(cx.throw(exception))
    }

    fn kept(cx: &mut Cx<'_>, program: &Program) -> Result<Option<Handled>> {
        let kept = program.instance.get_global(&mut *cx, "kept").context("a global")?;
        match kept.get(cx) {
            Val::AnyRef(handle) => Ok(handle),
            other => Err(anyhow!("another type: {other:?}")),
        }
    }

    fn identity(
        cx: &mut Cx<'_>,
        _: &Types,
        token: Token,
        argument: Option<&Handled>,
        raw: bool,
    ) -> Result<(Option<Handled>, Option<Handled>)> {
        let number = token.number();
        let (result, same) = match raw {
            true => raw::identity(cx, token, argument.copied())?,
            false => identity(cx, token, argument.copied())?,
        };
        ensure!(result as u32 == number, "{result} instead of {number}");
        Ok((same, None))
    }

    fn again(cx: &mut Cx<'_>, world: &mut World<Rust>, how: u8) -> Result<()> {
        let program = world.program.as_ref().context("it is ready")?;
        let instance = match how % 3 {
            0 => program.linker.instantiate(&mut *cx, &program.module)?,
            1 => program.linker.instantiate_pre(&program.module)?.instantiate(&mut *cx)?,
            _ => program.linker.instantiate(&mut *cx, &saved_and_loaded(&program.module)?)?,
        };
        let kept = instance.get_global(&mut *cx, "kept").context("a global")?.get(&mut *cx);
        ensure!(internal(cx, kept)?.is_none(), "a new instance keeps something");
        Ok(())
    }
}

/// The type of the tag that modules import.
fn tag_type(cx: &Cx<'_>) -> TagType {
    TagType::new(FuncType::new(cx.engine(), [ValType::ANYREF], []))
}

/// The function that modules import.
pub(super) fn called(
    mut caller: Caller<'_, Data>,
    a: Option<Rooted<AnyRef>>,
    e: Option<Rooted<ExternRef>>,
) -> Result<Option<Rooted<AnyRef>>> {
    let mut host = caller.data_mut().host.take().context("the host is here")?;
    let slot = caller.data().slot;
    let cx = &mut caller.as_context_mut();
    let e = e.map(|e| AnyRef::convert_extern(&mut *cx, e)).transpose();
    let reply = e.and_then(|e| host.called(slot, cx, [a, e]));
    let reply = reply.unwrap_or_else(|fault| {
        host.fault.get_or_insert(fault);
        Err(anyhow!("a fault"))
    });
    caller.data_mut().host = Some(host);
    reply
}

/// Makes a function that returns the number of its token and its argument, and calls it.
fn identity(
    cx: &mut Cx<'_>,
    token: Token,
    argument: Option<Handled>,
) -> Result<(i32, Option<Handled>)> {
    let func = Func::wrap(&mut *cx, move |a: Option<Rooted<AnyRef>>| (token.number() as i32, a));
    let func = func.typed::<Option<Rooted<AnyRef>>, (i32, Option<Rooted<AnyRef>>)>(&*cx)?;
    func.call(cx, argument)
}

/// Interrupts a loop. An engine without interrupts has none.
pub(super) fn interrupt(store: &mut Store<Data>, program: &Program, limited: bool) -> Result<()> {
    let handle = store.interrupt_handle();
    ensure!(limited == handle.is_ok(), "an engine without interrupts has one");
    let Ok(handle) = handle else { return Ok(()) };
    handle.interrupt();
    let burn = program.instance.get_typed_func::<(), i32>(&mut *store, Export::Burn.name())?;
    let error = burn.call(&mut *store, ()).err().context("it was not interrupted")?;
    if error.downcast_ref() != Some(&Trap::Interrupt) {
        bail!("{error:?}");
    }
    store.clear_interrupt()?;
    ensure!(burn.call(store, ())? == 100, "another result after an interrupt");
    Ok(())
}
