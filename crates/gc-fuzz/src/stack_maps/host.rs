//! Runs the module of a program, and compares with the model.

use super::model::{Alive, Outcome};
use crate::refs::host_number;
use anyhow::{Context, Result, bail, ensure};
use gc_testkit::Ledger;
use gc_wasm::{
    AnyRef, AsContextMut, Caller, Config, Engine, ExternRef, ExternType, Instance, Linker, Module,
    Reclaims, RootScope, Rooted, Store, ThrownException,
};

/// What the host functions know.
struct Host {
    values: Ledger,
    /// The host values that the model has at the collections to come.
    collections: std::vec::IntoIter<Alive>,
    reclaims: Reclaims,
}

impl Host {
    /// Compares the host values that are alive with those of the model.
    fn compare(&self, expected: &Alive) -> Result<()> {
        for number in 0..self.values.issued() {
            let is_alive = self.values.times_dropped(number) == 0;
            ensure!(
                is_alive || !expected.least.contains(&number),
                "host value {number} died, but a global or a table refers to it"
            );
            // No object of these programs is on a cycle.
            ensure!(
                !is_alive || expected.most.contains(&number) || self.reclaims == Reclaims::Nothing,
                "host value {number} is alive, but nothing refers to it"
            );
        }
        self.values.check_none_twice()
    }
}

/// Collects, and compares.
fn collect(mut caller: impl AsContextMut<Data = Host>) -> Result<()> {
    let mut store = caller.as_context_mut();
    store.gc(None)?;
    let expected = store.data_mut().collections.next().context("a collection too many")?;
    store.data().compare(&expected)
}

fn linker(engine: &Engine, module: &Module) -> Result<Linker<Host>> {
    let mut linker: Linker<Host> = Linker::new(engine);
    linker.func_wrap("host", "collect", |caller: Caller<'_, Host>| collect(caller))?;
    linker.func_wrap("host", "token", |mut caller: Caller<'_, Host>| {
        let token = caller.data().values.issue();
        ExternRef::new(&mut caller, token).map(Some)
    })?;
    linker.func_wrap(
        "host",
        "number",
        |caller: Caller<'_, Host>, value: Option<Rooted<ExternRef>>| -> Result<i32> {
            let number = host_number(&caller, value.context("null")?)?;
            Ok(number.context("no host value")? as i32)
        },
    )?;
    linker.func_wrap(
        "host",
        "same",
        |mut caller: Caller<'_, Host>, value: Option<Rooted<AnyRef>>| {
            collect(&mut caller)?;
            anyhow::Ok(value)
        },
    )?;
    for import in module.imports().filter(|import| import.module() == "functions") {
        let ExternType::Func(ty) = import.ty() else { bail!("it imports only functions") };
        let name = import.name().to_owned();
        linker.func_new(
            "functions",
            import.name(),
            ty,
            move |mut caller, arguments, results| {
                collect(&mut caller)?;
                let function = caller.get_export(&name).and_then(|export| export.into_func());
                function.context("it is exported")?.call(&mut caller, arguments, results)?;
                collect(&mut caller)
            },
        )?;
    }
    Ok(linker)
}

/// Runs a program, and compares what it does with what it should do.
pub(super) fn run(config: &Config, wasm: &[u8], expected: Outcome) -> Result<()> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, wasm)?;
    let values = Ledger::default();
    let host = Host {
        values: values.clone(),
        collections: expected.collections.into_iter(),
        reclaims: engine.collector().reclaims(),
    };
    let mut store = Store::new(&engine, host);
    let instance = linker(&engine, &module)?.instantiate(&mut store, &module)?;
    let thrown = call(&mut store, &instance, expected.depth);
    let log = log(&mut store, &instance)?;
    let differs = |n: &usize| log.get(*n) != expected.log.get(*n);
    // After another error the log is not complete, but the error may come of an entry before.
    let length = if thrown.is_ok() { expected.log.len().max(log.len()) } else { log.len() };
    if let Some(n) = (0..length).find(differs) {
        let (actual, expected) = (log.get(n), expected.log.get(n));
        bail!("entry {n} of the log is {actual:?} instead of {expected:?}");
    }
    let thrown = thrown?;
    let tag = expected.thrown.map(|tag| format!("t{tag}"));
    ensure!(thrown == tag, "it throws {thrown:?} instead of {tag:?}");
    let left = store.data().collections.len();
    ensure!(left == 0, "{left} collections are missing");
    store.gc(None)?;
    store.data().compare(&expected.at_end)?;
    drop(store);
    values.check_all_once()
}

/// Calls the first function. Returns the name of the tag of an exception that it throws.
fn call(store: &mut Store<Host>, instance: &Instance, depth: i32) -> Result<Option<String>> {
    let mut scope = RootScope::new(store);
    let entry = instance.get_typed_func::<i32, ()>(&mut scope, "f0")?;
    let Err(error) = entry.call(&mut scope, depth) else { return Ok(None) };
    if !error.is::<ThrownException>() {
        return Err(error);
    }
    let exception = scope.as_context_mut().take_pending_exception();
    let tag = exception.context("no exception is pending")?.tag(&mut scope)?;
    Ok(tag.name(&scope))
}

/// What the program wrote down.
fn log(store: &mut Store<Host>, instance: &Instance) -> Result<Vec<i32>> {
    let end = instance.get_global(&mut *store, "end").context("the end of the log")?;
    let end = end.get(&mut *store).i32().context("an i32")? as usize;
    let memory = instance.get_memory(&mut *store, "log").context("the log")?;
    let bytes = memory.data(&*store).get(..end).context("the log is longer than its memory")?;
    let words = bytes.chunks_exact(4).map(|word| word.try_into().expect("four bytes"));
    Ok(words.map(i32::from_le_bytes).collect())
}
