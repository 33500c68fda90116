//! The program in a store, and calls of functions.

use super::pointers::{
    Env, RawEnv, address_of, call_raw, drop_env, drop_raw_env, drop_token, from_raw, last_error,
    message, raw_identity, to_raw, written,
};
use super::{
    Boxed, C, Program, Shared, SharedEngine, Store, Values, handle, kind, result, succeeded,
};
use crate::api::driver::{Argument, Export, FAILURE, Functions, How};
use crate::api::host::MODULE;
use crate::api::world::{Handle, World, pick};
use anyhow::{Context as _, Error, Result, anyhow, ensure};
use gc_testkit::Token;
use reclaim::*;
use std::ffi::c_void;

impl Functions for C {
    fn program(
        cx: &mut Shared,
        engine: Option<&mut SharedEngine>,
        world: &mut World<C>,
        slot: usize,
    ) -> Result<Program> {
        let token = world.token();
        world.lasting.push(token.number());
        let store = world.own.store.as_deref();
        let module = match engine {
            Some(SharedEngine { module: Some(shared), .. }) => {
                wasm_module_obtain(store, Some(shared)).context("no module")?
            }
            engine => {
                let binary: wasm_byte_vec_t = wat::parse_str(MODULE)?.into();
                let module = wasm_module_new(store, Some(&binary)).context("no module")?;
                if let Some(engine) = engine {
                    engine.module = wasm_module_share(Some(&module));
                }
                module
            }
        };
        let env = Env { shared: cx.clone(), slot, _token: token }.into_address();
        let ty = function_type(&[ValKind::AnyRef, ValKind::ExternRef], &[ValKind::AnyRef]);
        let host = wasm_func_new_with_env(store, ty.as_deref(), Some(called), env, Some(drop_env));
        let host = host.context("no function")?;
        let tag = wasm_tagtype_new(function_type(&[ValKind::AnyRef], &[]));
        let tag = reclaim_tag_new(store, tag.as_deref()).context("no tag")?;
        let imports = vec![wasm_extern_copy(wasm_func_as_extern(Some(&host))), Some(tag)];
        let instance = instance(store, &module, &imports)?;
        let ((), mut exports) = written(|out| wasm_instance_exports(Some(&instance), out));
        let exports: Vec<_> = exports.as_mut_slice().iter_mut().map(Option::take).collect();
        ensure!(exports.len() == Program::EXPORTS, "{} exports", exports.len());
        Ok(Program { module, imports, exports })
    }

    fn func(_: &mut Shared, program: &Program, export: Export) -> Result<Box<wasm_func_t>> {
        program.func(export)
    }

    fn arguments(
        _: &mut Shared,
        own: &Store,
        arguments: Vec<Argument<Boxed>>,
        raw: bool,
    ) -> Result<Values> {
        let value = |argument| match argument {
            Argument::Any(handle) => wasm_val_t::of_ref(ValKind::AnyRef, handle),
            Argument::Extern(handle) => wasm_val_t::of_ref(ValKind::ExternRef, handle),
            Argument::Number(number) => wasm_val_t::from(number),
        };
        let values: Vec<_> = arguments.into_iter().map(value).collect();
        if !raw {
            return Ok(Values::Checked(values.into()));
        }
        Ok(Values::Raw(result(to_raw(own.store.as_deref(), &values))?))
    }

    fn call(
        _: &mut Shared,
        func: &Box<wasm_func_t>,
        export: Export,
        arguments: Values,
    ) -> Result<Values, Box<wasm_trap_t>> {
        match arguments {
            Values::Checked(arguments) => {
                let arguments = arguments.as_slice().to_vec();
                invoke(func, arguments, export.results().len()).map(Values::Checked)
            }
            Values::Raw(mut slots) => {
                match trapped("reclaim_func_call_unchecked", call_raw(func, &mut slots)) {
                    Some(trap) => Err(trap),
                    None => Ok(Values::Raw(slots)),
                }
            }
        }
    }

    fn results(
        _: &mut Shared,
        own: &Store,
        export: Export,
        results: Values,
    ) -> Result<Option<Vec<Option<Boxed>>>> {
        let values: Vec<wasm_val_t> = match results {
            Values::Checked(values) => values.as_slice().to_vec(),
            Values::Raw(slots) => {
                // The handle may have been deleted in the meantime.
                let Some(store) = own.store.as_deref() else { return Ok(None) };
                let results = slots.iter().zip(export.results());
                results
                    .map(|(slot, external)| from_raw(Some(store), slot, kind(*external)))
                    .collect()
            }
        };
        values.iter().map(handle).collect::<Result<_>>().map(Some)
    }

    fn burn(_: &mut Shared, program: &Program) -> Result<i32, Box<wasm_trap_t>> {
        let func = program.func(Export::Burn).expect("the program has it");
        let results = invoke(&func, Vec::new(), 1)?;
        Ok(results.as_slice()[0].i32().unwrap_or_default())
    }

    fn error(trap: Box<wasm_trap_t>) -> Error {
        anyhow!("a trap: {}", trap_message(&trap))
    }

    fn is_out_of_fuel(trap: &Box<wasm_trap_t>) -> bool {
        trap_message(trap).contains("fuel")
    }

    fn check_failure(
        cx: &mut Shared,
        world: &mut World<C>,
        trap: Box<wasm_trap_t>,
        how: How,
    ) -> Result<()> {
        let message = trap_message(&trap);
        let expected = if how == How::Unreachable { "unreachable" } else { FAILURE };
        ensure!(message.contains(expected), "another trap: {message}");
        let frame = wasm_trap_origin(Some(&trap)).context("no function")?;
        ensure!(wasm_frame_func_index(Some(&frame)) == 1, "another function");
        let Some(same) = world.failed.take() else { return Ok(()) };
        world.check(cx, wasm_ref_copy(wasm_trap_as_ref(Some(&trap))).as_ref(), same)
    }

    fn thrown(
        _: &mut Shared,
        world: &mut World<C>,
        trap: Box<wasm_trap_t>,
    ) -> Result<Option<Boxed>> {
        let exception = reclaim_trap_exception(Some(&trap));
        let exception =
            exception.with_context(|| format!("no exception: {}", trap_message(&trap)))?;
        let kind = reclaim_ref_kind(Some(&exception));
        ensure!(kind == RefKind::Exception as u8, "a reference of kind {kind}");
        let (read, value) = written(|out| reclaim_exception_get(Some(&exception), 0, out));
        ensure!(read, "no field");
        let tag = reclaim_exception_tag(Some(&exception));
        let imported = world.program.as_ref().and_then(|program| program.imports[1].as_deref());
        ensure!(wasm_extern_same(tag.as_deref(), imported), "another tag");
        handle(&value)
    }

    fn reply(
        cx: &mut Shared,
        world: &mut World<C>,
        how: How,
        Handle { handle, value }: Handle<C>,
    ) -> Result<Result<wasm_val_t, Box<wasm_trap_t>>> {
        let argument = wasm_val_t::of_ref(ValKind::AnyRef, handle);
        match (how, world.own.store.as_deref()) {
            (How::Fail, Some(store)) => {
                let message = format!("{FAILURE}\0").into_bytes().into();
                let trap = wasm_trap_new(Some(store), Some(&message)).context("no trap")?;
                let handle = wasm_ref_copy(wasm_trap_as_ref(Some(&trap))).context("no handle")?;
                world.failed = Some(world.thing(cx, handle)?);
                world.attach_new(0)?;
                Ok(Err(trap))
            }
            (How::Throw, Some(store)) => {
                let program = world.program.as_ref().context("it runs")?;
                let (tag, values) = (program.imports[1].as_deref(), vec![argument].into());
                let exception = reclaim_exception_new(Some(store), tag, Some(&values));
                let trap = reclaim_trap_new_exception(exception.as_deref());
                let trap = trap.context("no trap of an exception")?;
                let found = reclaim_trap_exception(Some(&trap));
                ensure!(wasm_ref_same(found.as_deref(), exception.as_deref()), "another exception");
                world.returned = Some(value);
                Ok(Err(trap))
            }
            _ => {
                world.returned = Some(value);
                Ok(Ok(argument))
            }
        }
    }

    fn kept(_: &mut Shared, program: &Program) -> Result<Option<Boxed>> {
        let kept = program.global(Program::KEPT)?;
        handle(&written(|out| wasm_global_get(Some(kept), out)).1)
    }

    fn identity(
        _: &mut Shared,
        own: &Store,
        token: Token,
        argument: Option<&Boxed>,
        raw: bool,
    ) -> Result<(Option<Boxed>, Option<Boxed>)> {
        let (same, func) = match raw {
            true => raw_identity_of(own, token, argument.cloned())?,
            false => identity(own, token, argument.cloned())?,
        };
        Ok((same, wasm_ref_copy(wasm_func_as_ref(Some(&func)))))
    }

    fn again(_: &mut Shared, world: &mut World<C>, how: u8) -> Result<()> {
        let Some(store) = world.own.store.as_deref() else { return Ok(()) };
        let program = world.program.as_ref().context("it is ready")?;
        let module = match how % 3 {
            0 => wasm_module_copy(Some(&program.module)),
            1 => {
                let shared = wasm_module_share(Some(&program.module));
                let obtained = wasm_module_obtain(Some(store), shared.as_deref());
                wasm_shared_module_delete(shared);
                obtained
            }
            _ => {
                let ((), saved) = written(|out| wasm_module_serialize(Some(&program.module), out));
                wasm_module_deserialize(Some(store), Some(&saved))
            }
        };
        let module = module.with_context(|| format!("no module: {:?}", last_error()))?;
        let same = wasm_module_same(Some(&module), Some(&program.module));
        ensure!(same == how.is_multiple_of(3), "the same module: {same}");
        let instance = instance(Some(store), &module, &program.imports)?;
        let address = address_of(world.token());
        wasm_instance_set_host_info_with_finalizer(Some(&instance), address, Some(drop_token));
        ensure!(wasm_instance_get_host_info(Some(&instance)) == address, "another address");
        Ok(())
    }

    fn thing(_: &mut Shared, world: &World<C>, what: u8) -> Result<Option<Boxed>> {
        let index = what / 8;
        Ok(match (what % 8, &world.program) {
            (0, Some(program)) => wasm_ref_copy(wasm_module_as_ref(Some(&program.module))),
            (2 | 4 | 6, Some(program)) => {
                let i = usize::from(index) % program.exports.len();
                wasm_ref_copy(wasm_extern_as_ref(program.exports[i].as_deref()))
            }
            (1, _) => pick(&world.globals, index)
                .and_then(|i| wasm_ref_copy(wasm_global_as_ref(Some(&world.globals[i].global)))),
            (3, _) => pick(&world.tables, index)
                .and_then(|i| wasm_ref_copy(wasm_table_as_ref(Some(&world.tables[i].table)))),
            _ => {
                let Some(store) = world.own.store.as_deref() else { return Ok(None) };
                let trap = result(wasm_trap_new(Some(store), Some(&b"a thing".to_vec().into())))?;
                ensure!(trap_message(&trap) == "a thing", "another message");
                wasm_ref_copy(wasm_trap_as_ref(Some(&trap)))
            }
        })
    }
}

/// A trap's message.
pub(super) fn trap_message(trap: &wasm_trap_t) -> String {
    let ((), text) = written(|out| wasm_trap_message(Some(trap), out));
    message(&text)
}

/// A type of functions whose parameters and results are of these kinds.
fn function_type(params: &[ValKind], results: &[ValKind]) -> Option<Box<wasm_functype_t>> {
    let list = |kinds: &[ValKind]| -> wasm_valtype_vec_t {
        kinds.iter().map(|kind| wasm_valtype_new(*kind as u8)).collect::<Vec<_>>().into()
    };
    wasm_functype_new(Some(&mut list(params)), Some(&mut list(results)))
}

/// Calls a function. The results or the trap.
pub(super) fn invoke(
    func: &wasm_func_t,
    arguments: Vec<wasm_val_t>,
    results: usize,
) -> Result<wasm_val_vec_t, Box<wasm_trap_t>> {
    let arguments = arguments.into();
    let mut results = vec![wasm_val_t::default(); results].into();
    let called = wasm_func_call(func, Some(&arguments), Some(&mut results));
    match trapped("wasm_func_call", called) {
        Some(trap) => Err(trap),
        None => Ok(results),
    }
}

/// The trap of a call, whose reason is the last error.
fn trapped(name: &str, called: CallResult) -> Option<Box<wasm_trap_t>> {
    let trap = called.into_trap()?;
    let why = format!("{name}: {}", trap_message(&trap));
    assert_eq!(last_error(), Some(why), "another reason than the trap's message");
    Some(trap)
}

/// Makes an instance.
fn instance(
    store: Option<&wasm_store_t>,
    module: &wasm_module_t,
    imports: &[Option<Box<wasm_extern_t>>],
) -> Result<Box<wasm_instance_t>> {
    let imports = imports.to_vec().into();
    let (instance, trap) =
        written(|trap| wasm_instance_new(store, Some(module), Some(&imports), trap));
    instance.with_context(|| format!("no instance: {:?}", trap.as_deref().map(trap_message)))
}

/// The function that modules import.
extern "C" fn called(
    env: *mut c_void,
    arguments: &wasm_val_vec_t,
    results: &mut wasm_val_vec_t,
) -> Option<Box<wasm_trap_t>> {
    let env = Env::of_running(env);
    let mut host = env.host();
    let mut cx = env.shared.clone();
    let reply = match arguments.as_slice() {
        [a, e] => handle(a).and_then(|a| Ok([a, handle(e)?])),
        other => Err(anyhow::anyhow!("{} arguments", other.len())),
    };
    let reply = reply.and_then(|arguments| host.called(env.slot, &mut cx, arguments));
    let trap = match reply {
        Ok(Ok(value)) => {
            results.as_mut_slice()[0] = value;
            None
        }
        Ok(Err(trap)) => Some(trap),
        Err(fault) => {
            host.fault.get_or_insert(fault);
            let store = host.world(env.slot).own.store.as_deref();
            let trap = wasm_trap_new(store, Some(&b"a fault\0".to_vec().into()));
            last_error();
            trap
        }
    };
    env.shared.replace(Some(host));
    trap
}

/// A function of C that returns its argument.
extern "C" fn identity_function(
    env: *mut c_void,
    arguments: &wasm_val_vec_t,
    results: &mut wasm_val_vec_t,
) -> Option<Box<wasm_trap_t>> {
    if !env.is_null()
        && let ([argument], [result]) = (arguments.as_slice(), results.as_mut_slice())
    {
        result.clone_from(argument);
    }
    None
}

/// Makes a function of C that returns its argument, and calls it.
pub(super) fn identity(
    own: &Store,
    token: Token,
    argument: Option<Boxed>,
) -> Result<(Option<Boxed>, Box<wasm_func_t>)> {
    let ty = function_type(&[ValKind::ExternRef], &[ValKind::ExternRef]);
    let (store, env) = (own.store.as_deref(), address_of(token));
    let func = wasm_func_new_with_env(
        store,
        ty.as_deref(),
        Some(identity_function),
        env,
        Some(drop_token),
    );
    let func = func.context("no function")?;
    let argument = wasm_val_t::of_ref(ValKind::ExternRef, argument);
    let results = succeeded(invoke(&func, vec![argument], 1))?;
    Ok((handle(&results.as_slice()[0])?, func))
}

/// As [`identity`], with raw values.
pub(super) fn raw_identity_of(
    own: &Store,
    token: Token,
    argument: Option<Boxed>,
) -> Result<(Option<Boxed>, Box<wasm_func_t>)> {
    let number = token.number();
    let store = own.store.as_deref();
    let address = store.map_or(std::ptr::null(), std::ptr::from_ref);
    let ty = function_type(&[ValKind::ExternRef], &[ValKind::ExternRef, ValKind::I32]);
    let env = RawEnv { store: address, token }.into_address();
    let func = reclaim_func_new_unchecked(
        store,
        ty.as_deref(),
        Some(raw_identity),
        env,
        Some(drop_raw_env),
    );
    let func = func.context("no function")?;
    let argument = wasm_val_t::of_ref(ValKind::ExternRef, argument);
    let mut slots = result(to_raw(store, &[argument]))?;
    if let Some(trap) = trapped("reclaim_func_call_unchecked", call_raw(&func, &mut slots)) {
        return succeeded(Err(trap));
    }
    ensure!(slots[1].get_i32() as u32 == number, "another number than {number}");
    let same = from_raw(store, &slots[0], ValKind::ExternRef);
    Ok((handle(&same)?, func))
}
