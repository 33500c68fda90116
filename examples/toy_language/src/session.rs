//! A session: a store whose functions and variables grow form by form, and the functions of the host.
//!
//! `eval` is one of these. So a running program defines and redefines functions, exactly as somebody at the
//! prompt does: calls go through the names, so code that was compiled before calls the new function. Calls
//! that run go on with the old code.

use crate::compiler::{Compiled, Named, Names, compile, full_name};
use crate::reader::read;
use crate::show::show;
use crate::types::Types;
use anyhow::{Context as _, Result, anyhow};
use gc_engine::{
    ArrayRef, Backtrace, CallBacktrace, Caller, Engine, HostFunction, Module, Rooted, Scoped,
    Store, StructRef, ThrownException, Trap, TrapError, TypedFunction, Val, Weak,
};
use gc_runtime::GcStats;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

/// The name of the function that computes the value of a form.
const FORM: &str = "a form";

/// The functions of the host, with their numbers of arguments.
pub(crate) const HOST_FUNCTIONS: [(&str, usize); 6] =
    [("print", 1), ("text", 1), ("same", 2), ("symbol", 1), ("symbols", 0), ("eval", 1)];

/// The data of a session's store.
pub struct State {
    names: Names,
    /// The symbols. A symbol that nothing else refers to is garbage.
    symbols: HashMap<Vec<u8>, Weak<StructRef>>,
    print: Box<dyn FnMut(&str) + Send + Sync>,
    /// The program that is run next.
    source: String,
}

/// A value of the language. `None` is `()`.
type Value = Option<Rooted>;

/// A store, and what the host knows of the language.
pub struct Session {
    store: Store<State>,
    types: Arc<Types>,
    run: TypedFunction<(), Value>,
}

impl Session {
    /// A session without definitions. `print` gets what programs print.
    ///
    /// # Errors
    /// If the system refuses the memory.
    pub fn new(
        engine: &Engine,
        print: impl FnMut(&str) + Send + Sync + 'static,
    ) -> Result<Session> {
        Session::with(print, |state, add| {
            let mut store = Store::new(engine, state)?;
            add(&mut store)?;
            Ok(store)
        })
    }

    /// A session with the code that `make` has loaded into a store with this state. `make` must call the other function
    /// before it loads code: it adds the functions of the host.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with(
        print: impl FnMut(&str) + Send + Sync + 'static,
        make: impl FnOnce(State, &dyn Fn(&mut Store<State>) -> Result<()>) -> Result<Store<State>>,
    ) -> Result<Session> {
        let (names, symbols, source) = (Names::new(), HashMap::new(), String::new());
        let state = State { names, symbols, print: Box::new(print), source };
        let mut store = make(state, &host_functions)?;
        let types = Arc::new(Types::new(&mut Module::new(store.engine()))?);
        // What was compiled ahead of time is known to `eval`, too.
        let functions = store.functions().filter_map(|(name, _)| {
            let (name, arguments) = name.rsplit_once('/')?;
            Some((name.to_owned(), Named::Function(arguments.parse().ok()?)))
        });
        let globals = store.globals().map(|(name, _)| (name.to_owned(), Named::Variable));
        let names: Names = globals.chain(functions).collect();
        store.data_mut().names = names;
        let run = store.function("run")?;
        Ok(Session { store, types, run })
    }

    /// The store.
    pub fn store(&mut self) -> &mut Store<State> {
        &mut self.store
    }

    /// Runs all forms of a program. Returns the last one's value as a text.
    ///
    /// # Errors
    /// If the program fails. The error is for its user.
    pub fn run(&mut self, source: &str) -> Result<String> {
        self.store.data_mut().source = source.to_owned();
        match self.run.call(&mut self.store, ()) {
            Ok(value) => show(&self.types, &mut self.store, value),
            Err(error) => Err(self.explain(error)?),
        }
    }

    #[cfg(test)]
    pub(crate) fn pieces(&self) -> usize {
        self.store.pieces()
    }

    /// The heap's statistics.
    pub fn stats(&self) -> GcStats {
        self.store.stats()
    }

    /// The error as a text for a user of the language.
    ///
    /// # Errors
    /// If there are too many handles.
    pub fn explain(&mut self, error: anyhow::Error) -> Result<anyhow::Error> {
        let mut text = error.root_cause().to_string();
        let mut backtrace = error.downcast_ref::<CallBacktrace>().map(CallBacktrace::backtrace);
        if error.is::<ThrownException>()
            && let Some(object) = self.store.take_pending_exception()?
        {
            let value: Value = self.types.thrown.field(0)?.get(&mut self.store, &object)?;
            let kind = value.as_ref().map(|value| value.type_name(&self.store)).transpose()?;
            let is_text = kind == Some(Some(self.types.string.name()));
            text = show(&self.types, &mut self.store, value)?;
            if !is_text {
                text += " was thrown";
            }
        } else if let Some(error) = error.downcast_ref::<TrapError>() {
            backtrace = Some(&error.backtrace);
            text = match &error.trap {
                Trap::CastFailure => "a value has the wrong kind".to_owned(),
                Trap::BadSignature => "a function takes another number of arguments".to_owned(),
                other => other.to_string(),
            };
        }
        for frame in backtrace.map_or(&[][..], Backtrace::frames) {
            if let Some(line) = frame.srcloc {
                text += &format!("\n  in {}, line {line}", frame.name);
            }
        }
        Ok(anyhow!(text))
    }
}

/// Runs all forms of a program. Returns the last one's value. A mistake in the program is thrown.
fn eval(caller: &mut Caller<'_, State>, types: &Types, source: &str) -> Result<Value> {
    let forms = match read(source) {
        Ok(forms) => forms,
        Err(error) => return Err(mistake(caller, types, &error)),
    };
    let mut value = None;
    for form in &forms {
        let compiled = compile(caller.engine(), &caller.data().names, form, FORM);
        let compiled =
            compiled.and_then(|Compiled { module, defines }| Ok((module.compile()?, defines)));
        let (code, defines) = match compiled {
            Ok(compiled) => compiled,
            Err(error) => return Err(mistake(caller, types, &error)),
        };
        // ANCHOR: replace
        // What it calls may be defined later.
        for (name, signature) in code.imports() {
            if caller.signature(name).is_none() {
                let (params, results) = (signature.params(), signature.results());
                caller.declare(name, params.iter().copied(), results.iter().copied())?;
            }
        }
        caller.replace(&code)?;
        // ANCHOR_END: replace
        caller.data_mut().names.extend(defines);
        value = match code.functions().any(|(name, _)| name == FORM) {
            true => caller.function::<Value, Value>(FORM)?.call(&mut *caller, None)?,
            false => None,
        };
    }
    Ok(value)
}

/// Throws the text of an error.
fn mistake(caller: &mut Caller<'_, State>, types: &Types, error: &anyhow::Error) -> anyhow::Error {
    // The outer errors name functions of the compiler.
    let text = error.root_cause().to_string();
    let thrown = types
        .string
        .new_bytes(caller, text.as_bytes())
        .and_then(|text| types.thrown.new_object(caller, &[Val::Ref(Some(text.any()))]));
    match thrown {
        Ok(object) => caller.throw(&object),
        Err(error) => error,
    }
}

/// The symbol with this name. There is one as long as something refers to it.
fn symbol(caller: &mut Caller<'_, State>, types: &Types, name: Rooted<ArrayRef>) -> Result<Value> {
    // ANCHOR: symbol
    let bytes = types.string.bytes(caller, &name)?;
    let known = caller.data().symbols.get(&bytes).cloned();
    if let Some(symbol) = known.map(|known| known.upgrade(caller)).transpose()?.flatten() {
        return Ok(Some(symbol.any()));
    }
    let symbol = types.symbol.new_object(caller, &[Val::Ref(Some(name.any()))])?;
    let weak = symbol.downgrade(caller)?;
    // ANCHOR_END: symbol
    let symbols = &caller.data().symbols;
    if symbols.len() == symbols.capacity() {
        living_symbols(caller)?;
    }
    caller.data_mut().symbols.insert(bytes, weak);
    Ok(Some(symbol.any()))
}

/// Removes dead symbols from the table. Returns the number of those that live.
fn living_symbols(caller: &mut Caller<'_, State>) -> Result<usize> {
    let mut living = HashMap::new();
    for (name, weak) in mem::take(&mut caller.data_mut().symbols) {
        if weak.upgrade(caller)?.is_some() {
            living.insert(name, weak);
        }
    }
    let count = living.len();
    living.reserve(count);
    caller.data_mut().symbols = living;
    Ok(count)
}

/// Adds the functions of the host. Like every function, each gets a closure first, which is null.
fn host_functions(store: &mut Store<State>) -> Result<()> {
    let types = Arc::new(Types::new(&mut Module::new(store.engine()))?);
    let shared = types.clone();
    store.func_wrap("run", move |mut caller: Caller<'_, State>| {
        let source = mem::take(&mut caller.data_mut().source);
        eval(&mut caller, &shared, &source)
    })?;
    type Host<'a> = Caller<'a, State>;
    let shared = types.clone();
    add(store, "print", move |mut caller: Host<'_>, _: Value, value: Value| {
        let text = show(&shared, &mut caller, value.clone())?;
        (caller.data_mut().print)(&text);
        Ok(value)
    })?;
    let shared = types.clone();
    add(store, "text", move |mut caller: Host<'_>, _: Value, value: Value| {
        let text = show(&shared, &mut caller, value)?;
        Ok(Some(shared.string.new_bytes(&mut caller, text.as_bytes())?.any()))
    })?;
    let shared = types.clone();
    // ANCHOR: same
    add(
        store,
        "same",
        move |mut caller: Host<'_>, _: Value, a: Scoped<ArrayRef>, b: Scoped<ArrayRef>| {
            let [a, b] =
                [shared.string.bytes(&mut caller, &a)?, shared.string.bytes(&mut caller, &b)?];
            Ok((a == b).then_some(Rooted::from_i31(&mut caller, 1)?))
        },
    )?;
    // ANCHOR_END: same
    let shared = types.clone();
    add(store, "symbol", move |mut caller: Host<'_>, _: Value, name: Rooted<ArrayRef>| {
        symbol(&mut caller, &shared, name)
    })?;
    add(store, "symbols", |mut caller: Host<'_>, _: Value| {
        caller.collect()?;
        let count = living_symbols(&mut caller)?;
        Ok(Some(Rooted::from_i31(&mut caller, count as i32)?))
    })?;
    let shared = types.clone();
    add(store, "eval", move |mut caller: Host<'_>, _: Value, source: Rooted<ArrayRef>| {
        let source = shared.string.bytes(&mut caller, &source)?;
        eval(&mut caller, &shared, &String::from_utf8_lossy(&source))
    })
}

fn add<P>(
    store: &mut Store<State>,
    name: &str,
    function: impl HostFunction<State, P, Result<Value>>,
) -> Result<()> {
    let known = HOST_FUNCTIONS.iter().find(|(known, _)| *known == name);
    let (_, arguments) = known.context("a function of the host that is not in the list")?;
    store.func_wrap(&full_name(name, *arguments), function)
}
