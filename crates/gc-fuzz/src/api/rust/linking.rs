//! Imports that do not fit, and names of a linker that are defined twice or as something else. Each ends with
//! the error that names what is wrong.

use super::functions::called;
use super::mistakes::failed;
use super::{Cx, Data, Prepared, Rust};
use crate::api::host::Host;
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{
    AnyRef, Caller, Engine, Extern, Func, HeapType, Instance, Linker, Module, Ref, RefType, Rooted,
    Table, TableType, UnknownImportError,
};

/// The text of the error of an import of another type.
const INCOMPATIBLE: &str = "incompatible import type for `::host`: expected ";

/// The module of another engine, if it is compiled.
fn another_module(host: &Host<Rust>, engine: &Engine) -> Option<Module> {
    let engines = host.engines.iter().map(|known| &known.engine);
    let mut others = engines.filter(|other| !Engine::same(&other.engine, engine));
    others.find_map(|Prepared { module, .. }| module.clone())
}

/// Checks that a module of another engine was refused.
fn is_refused<T>(result: Result<T>) -> Result<()> {
    let Err(error) = result else { bail!("a module of another engine is accepted") };
    let text = format!("{error:#}");
    let texts = ["belong to different engines", "code does not fit the store"];
    ensure!(texts.iter().any(|why| text.contains(why)), "another error: {text}");
    Ok(())
}

/// Instantiates the module with imports that do not fit.
pub(super) fn imports(cx: &mut Cx<'_>, host: &mut Host<Rust>, slot: usize, how: u8) -> Result<()> {
    let foreign = host.global_of_another(slot, usize::from(how / 8));
    let world = host.world(slot);
    let own = world.globals.first().map(|known| known.global);
    let program = world.program.as_ref().context("it is ready")?;
    let (module, tag) = (program.module.clone(), Extern::from(program.tag));
    let (import, why): (Extern, _) = match how % 8 {
        0 => return failed(Instance::new(cx, &module, &[]), "expected 2 imports, found 0"),
        1 => {
            let func = Extern::from(Func::wrap(&mut *cx, || {}));
            let imports = [func, tag, func];
            return failed(Instance::new(cx, &module, &imports), "expected 2 imports, found 3");
        }
        2 => (Func::wrap(&mut *cx, || {}).into(), INCOMPATIBLE),
        3 => {
            let result = |_: Option<Rooted<AnyRef>>| None::<Rooted<AnyRef>>;
            (Func::wrap(&mut *cx, result).into(), INCOMPATIBLE)
        }
        4 => match own {
            Some(global) => (global.into(), INCOMPATIBLE),
            None => return Ok(()),
        },
        5 => match foreign {
            Some(global) => (global.into(), "cross-`Store` instantiation"),
            None => return Ok(()),
        },
        6 => {
            let ty = TableType::new(RefType::ANYREF, 0, Some(1));
            let null = Ref::null(&HeapType::Any);
            (Table::new(&mut *cx, ty, null)?.into(), INCOMPATIBLE)
        }
        _ => {
            let Some(other) = another_module(host, cx.engine()) else { return Ok(()) };
            return is_refused(Instance::new(cx, &other, &[]));
        }
    };
    failed(Instance::new(cx, &module, &[import, tag]), why)
}

/// Defines names of a linker twice, or as what does not fit.
pub(super) fn linker(cx: &mut Cx<'_>, host: &mut Host<Rust>, slot: usize, how: u8) -> Result<()> {
    let engine = cx.engine().clone();
    let world = host.world(slot);
    let known = world.globals.first().map(|known| known.global);
    let program = world.program.as_ref().context("it is ready")?;
    let (module, tag) = (program.module.clone(), program.tag);
    let mut linker = Linker::<Data>::new(&engine);
    if !how.is_multiple_of(6) {
        linker.define(&*cx, "", "tag", tag)?;
    }
    match how % 6 {
        0 => {
            let error = linker.instantiate(cx, &module).err();
            let error = error.context("an import is not defined")?;
            let unknown: &UnknownImportError = error.downcast_ref().context("another error")?;
            ensure!((unknown.module(), unknown.name()) == ("", "host"), "{unknown}");
        }
        1 => {
            linker.func_wrap("", "host", || {})?;
            failed(linker.func_wrap("", "host", || 1), "import of `::host` defined twice")?;
            failed(linker.instantiate(cx, &module), INCOMPATIBLE)?;
        }
        2 => {
            let missing = linker.get(cx, "", "host");
            failed(missing, "missing definition for `::host`")?;
            failed(linker.alias("", "host", "", "other"), "no item named `::host` defined")?;
        }
        3 => {
            linker.func_wrap("", "host", |_: Caller<'_, Data>, _: i32| {})?;
            failed(linker.instantiate_pre(&module), INCOMPATIBLE)?;
        }
        4 => {
            if let Some(global) = known {
                linker.define(&*cx, "", "host", global)?;
                failed(linker.instantiate(cx, &module), INCOMPATIBLE)?;
            }
        }
        _ => {
            let Some(other) = another_module(host, &engine) else { return Ok(()) };
            linker.func_wrap("", "host", called)?;
            is_refused(linker.instantiate(cx, &other))?;
        }
    }
    Ok(())
}
