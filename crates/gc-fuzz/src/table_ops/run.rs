//! Runs a program on an engine, and compares it with the model.

use super::emit;
use super::graph::{Graph, check};
use super::model::{Model, Seen};
use super::ops::Program;
use super::schema::{BUDGET, GLOBALS, PARAMS, TABLES};
use crate::refs::internal;
use crate::value::Referent;
use crate::{report, way::Way};
use anyhow::{Context, Result, bail, ensure};
use gc_testkit::Ledger;
use gc_wasm::{
    AnyRef, AsContext, Caller, Engine, ExternRef, Global, GlobalType, Instance, Linker, Module,
    Mutability, OwnedRooted, Reclaims, RootScope, Rooted, Store, StructRef, Trap, Val, ValType,
};
use std::sync::Arc;

type External = Option<Rooted<ExternRef>>;
type Any = Option<Rooted<AnyRef>>;

/// What the functions of the host know.
struct Host {
    ledger: Ledger,
    /// The model at the end of the call that runs.
    model: Option<Arc<Model>>,
    /// The number of calls of the host that were seen.
    seen: usize,
}

impl Host {
    /// What must be seen next.
    fn next(&mut self) -> Result<Seen> {
        let seen = self.model()?.seen.get(self.seen).cloned();
        self.seen += 1;
        seen.context("no call of the host is expected")
    }

    fn model(&self) -> Result<Arc<Model>> {
        self.model.clone().context("no code runs")
    }
}

fn gc(mut caller: Caller<'_, Host>) -> Result<()> {
    let Seen::Gc(alive) = caller.data_mut().next()? else { bail!("another call is expected") };
    caller.gc(None)?;
    for value in alive {
        ensure!(caller.data().ledger.times_dropped(value) == 0, "host value {value} was dropped");
    }
    Ok(())
}

fn make(mut caller: Caller<'_, Host>) -> Result<(External, External, External)> {
    let Seen::Make(first) = caller.data_mut().next()? else { bail!("another call is expected") };
    let mut new = || {
        let token = caller.data().ledger.issue();
        ExternRef::new(&mut caller, token).map(Some)
    };
    let values = (new()?, new()?, new()?);
    let issued = caller.data().ledger.issued();
    ensure!(issued == first + 3, "{issued} values were made instead of {first} + 3");
    Ok(values)
}

fn take(
    mut caller: Caller<'_, Host>,
    e: External,
    a: Any,
    s: Option<Rooted<StructRef>>,
) -> Result<()> {
    let Seen::Take(expected) = caller.data_mut().next()? else { bail!("another call is expected") };
    let e = internal(&mut caller, Val::ExternRef(e))?;
    let s = s.map(|s| s.to_anyref());
    let model = caller.data().model()?;
    for (expected, actual) in expected.into_iter().zip([e, a, s]) {
        check(&mut caller, &model, expected, actual).context("an argument of `take`")?;
    }
    Ok(())
}

pub(super) fn run(bytes: &[u8]) -> Result<()> {
    let program = Program::decode(bytes);
    let [collector, heap, code, rounds, between] = program.header;
    let config = Way::of_header([collector, heap, code]).config(80 << 20);
    report::configuration(&config);
    let text = emit::module(&program);
    let wasm = wat::parse_str(&text).with_context(|| text.clone())?;
    report::module(&wasm);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, &wasm)?;
    let mut linker: Linker<Host> = Linker::new(&engine);
    linker.func_wrap("", "gc", gc)?.func_wrap("", "make", make)?.func_wrap("", "take", take)?;

    let ledger = Ledger::default();
    let mut model = Model::new(&program);
    let mut store = Store::new(&engine, Host { ledger: ledger.clone(), model: None, seen: 0 });
    let instance = {
        let mut scope = RootScope::new(&mut store);
        let value = ExternRef::new(&mut scope, ledger.issue())?;
        let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Const);
        let value = Global::new(&mut scope, ty, value.into())?;
        linker.define(&scope, "", "value", value)?;
        linker.instantiate(&mut scope, &module)?
    };
    let mut last = (Referent::Null, None);
    for round in 0..rounds % 3 + 1 {
        model = call(&mut store, instance, model, &mut last)
            .with_context(|| format!("in call {round}"))?;
        compare(&mut store, instance, &model).with_context(|| format!("after call {round}"))?;
        if between >> round & 1 != 0 {
            store.gc(None)?;
            compare(&mut store, instance, &model).with_context(|| format!("after call {round}"))?;
        }
    }
    finish(&mut store, &model, &last)?;
    compare(&mut store, instance, &model).context("after the last collection")?;
    drop((last, store));
    ledger.check_all_once()
}

/// Calls the first function. Returns the model after the call.
fn call(
    store: &mut Store<Host>,
    instance: Instance,
    mut model: Model,
    last: &mut (Referent, Option<OwnedRooted<AnyRef>>),
) -> Result<Model> {
    let number = model.made;
    model.made += 1;
    let arguments: [Referent; PARAMS] = [Referent::Host(number), last.0, model.globals[4]];
    model.seen.clear();
    let expected = model.call(arguments);
    let model = Arc::new(model);
    store.data_mut().model = Some(model.clone());
    store.data_mut().seen = 0;

    {
        let mut scope = RootScope::new(&mut *store);
        let token = scope.as_context().data().ledger.issue();
        let e = ExternRef::new(&mut scope, token)?;
        let a = last.1.as_ref().map(|last| last.to_rooted(&mut scope));
        let s = instance.get_global(&mut scope, GLOBALS[4].0).context("a global")?.get(&mut scope);
        let budget = instance.get_global(&mut scope, "budget").context("a global")?;
        budget.set(&mut scope, Val::I32(BUDGET as i32))?;
        let func = instance.get_func(&mut scope, "f0").context("the function")?;
        let mut results = [Val::null_any_ref()];
        let arguments = [Val::ExternRef(Some(e)), Val::AnyRef(a), s];
        let result = func.call(&mut scope, &arguments, &mut results);
        match (result, expected) {
            (Ok(()), Ok(value)) => {
                let actual = internal(&mut scope, results[0])?;
                check(&mut scope, &model, value, actual).context("the result")?;
                let owned = actual.map(|actual| actual.to_owned_rooted(&mut scope)).transpose()?;
                *last = (value, owned);
            }
            (Err(error), Err(expected)) => match error.downcast_ref::<Trap>() {
                Some(trap) => ensure!(*trap == expected, "{trap:?} instead of {expected:?}"),
                None => return Err(error),
            },
            (Ok(()), Err(trap)) => bail!("no {trap:?}"),
            (Err(error), Ok(_)) => return Err(error),
        }
    }
    let seen = store.data().seen;
    ensure!(seen == model.seen.len(), "{seen} calls of the host instead of {}", model.seen.len());
    store.data_mut().model = None;
    Arc::into_inner(model).context("nothing else has the model")
}

/// Compares all globals and tables, and everything to which they refer.
fn compare(store: &mut Store<Host>, instance: Instance, model: &Model) -> Result<()> {
    let mut scope = RootScope::new(store);
    let mut graph = Graph::default();
    let acc = instance.get_global(&mut scope, "acc").context("a global")?.get(&mut scope);
    ensure!(acc.i32() == Some(model.acc as i32), "{acc:?} was added up instead of {}", model.acc);
    for ((name, _), expected) in GLOBALS.iter().zip(model.globals) {
        let value = instance.get_global(&mut scope, name).context("a global")?.get(&mut scope);
        let actual = internal(&mut scope, value)?;
        graph.compare(&mut scope, model, expected, actual).with_context(|| name.to_string())?;
    }
    for (table, expected) in TABLES.iter().zip(&model.tables) {
        let actual = instance.get_table(&mut scope, table.name).context("a table")?;
        let len = actual.size(&scope);
        ensure!(len == expected.len() as u64, "{len} elements instead of {expected:?}");
        for (i, expected) in expected.iter().enumerate() {
            let value = actual.get(&mut scope, i as u64).context("an element")?;
            let actual = internal(&mut scope, value.into())?;
            let what = || format!("element {i} of {}", table.name);
            graph.compare(&mut scope, model, *expected, actual).with_context(what)?;
        }
    }
    Ok(())
}

/// Collects, and checks what lives.
fn finish(
    store: &mut Store<Host>,
    model: &Model,
    last: &(Referent, Option<OwnedRooted<AnyRef>>),
) -> Result<()> {
    store.gc(None)?;
    let mut roots = model.roots();
    roots.push(last.0);
    let (objects, hosts) = model.reachable(&roots);
    let ledger = &store.data().ledger;
    ensure!(ledger.issued() == model.made, "{} values were made", ledger.issued());
    ledger.check_none_twice()?;
    for value in &hosts {
        ensure!(ledger.times_dropped(*value) == 0, "host value {value} was dropped");
    }
    let (alive, live) = (ledger.alive(), store.gc_stats().live_objects);
    let (values, all) = (hosts.len() as u32, (hosts.len() + objects.len()) as u64);
    match store.engine().collector().reclaims() {
        Reclaims::Everything => {
            ensure!(alive == values, "{alive} host values live instead of {values}");
            ensure!(live == all, "{live} objects live instead of {all}");
        }
        Reclaims::Acyclic => ensure!(live >= all, "only {live} objects live instead of {all}"),
        Reclaims::Nothing => ensure!(alive == model.made, "only {alive} host values live"),
    }
    Ok(())
}
