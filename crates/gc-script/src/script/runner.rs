//! Runs directives, one after the other, in one store.

use super::{expect, messages, spectest};
use crate::message::one_line;
use crate::proposals;
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use gc_wasm::{
    AsContextMut, Engine, Extern, Instance, Module, RootScope, Store, ThrownException, Trap, Val,
};
use std::collections::HashMap;
use std::fmt;
use wast::token::Id;
use wast::{QuoteWat, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

/// The outcome of a directive that did not fail.
pub(crate) enum Outcome {
    /// It passed.
    Passed,
    /// It was not run, for this reason.
    Skipped(String),
}

/// The error that means that a directive is skipped.
#[derive(Clone, Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

fn skip(reason: impl Into<String>) -> Error {
    Skip(reason.into()).into()
}

/// An instance or module of a script, or the reason why there is none.
#[derive(Clone)]
enum Made<T> {
    Here(T),
    /// It was skipped. Directives that need it are skipped too.
    Skipped(Skip),
    /// It failed. Directives that need it fail too.
    Failed,
}

impl<T: Clone> Made<T> {
    fn of(result: &Result<T>) -> Made<T> {
        match result {
            Ok(made) => Made::Here(made.clone()),
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(skip) => Made::Skipped(skip.clone()),
                None => Made::Failed,
            },
        }
    }

    fn get(&self) -> Result<T> {
        match self {
            Made::Here(made) => Ok(made.clone()),
            Made::Skipped(skip) => Err(skip.clone().into()),
            Made::Failed => bail!("the module it needs failed"),
        }
    }
}

/// The exports under a registered name.
enum Registered {
    Host(HashMap<String, Extern>),
    Instance(Made<Instance>),
}

/// The store and the names of a script.
pub(crate) struct Runner {
    store: Store<()>,
    script: Script,
}

/// The store while a directive runs in it. References that the directive makes are unrooted
/// afterwards.
type Scope<'a> = RootScope<&'a mut Store<()>>;

struct Script {
    engine: Engine,
    /// The most recent instance.
    current: Option<Made<Instance>>,
    instances: HashMap<String, Made<Instance>>,
    /// Modules by name. `None` is the most recent one.
    definitions: HashMap<Option<String>, Made<Module>>,
    registered: HashMap<String, Registered>,
}

impl Runner {
    pub(crate) fn new(engine: &Engine) -> Result<Runner> {
        let mut store = Store::new(engine, ());
        // If the engine counts fuel or epochs, the script has enough of them. If not, this is an
        // error.
        let _: Result<()> = store.set_fuel(u64::MAX >> 1);
        store.set_epoch_deadline(u64::MAX >> 1);
        let spectest = Registered::Host(spectest::exports(&mut store)?);
        let reclaim = Registered::Host(spectest::reclaim_exports(&mut store)?);
        let script = Script {
            engine: engine.clone(),
            current: None,
            instances: HashMap::new(),
            definitions: HashMap::new(),
            registered: HashMap::from([
                ("spectest".to_owned(), spectest),
                ("reclaim".to_owned(), reclaim),
            ]),
        };
        Ok(Runner { store, script })
    }

    /// Runs a directive. An error has the expected and the actual result.
    pub(crate) fn directive(&mut self, directive: WastDirective<'_>) -> Result<Outcome> {
        let mut scope = RootScope::new(&mut self.store);
        match self.script.directive(&mut scope, directive) {
            Ok(()) => Ok(Outcome::Passed),
            Err(error) => match error.downcast::<Skip>() {
                Ok(Skip(reason)) => Ok(Outcome::Skipped(reason)),
                Err(error) => Err(error),
            },
        }
    }
}

impl Script {
    fn directive(&mut self, store: &mut Scope<'_>, directive: WastDirective<'_>) -> Result<()> {
        match directive {
            WastDirective::Module(mut quote) => {
                let name = owned(quote.name());
                let module = self.define(name.clone(), &mut quote);
                let instance = module.and_then(|module| self.instantiate(store, &module));
                self.name_instance(name, instance).context("module")
            }
            WastDirective::ModuleDefinition(mut quote) => {
                let name = owned(quote.name());
                self.define(name, &mut quote).context("module definition")?;
                Ok(())
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let made = match self.definitions.get(&owned(module)) {
                    Some(module) => module.get(),
                    None => Err(anyhow!("there is no such module")),
                };
                let made = made.and_then(|module| self.instantiate(store, &module));
                self.name_instance(owned(instance), made).context("module instance")
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(module).context("register");
                let made = Made::of(&instance);
                self.registered.insert(name.to_owned(), Registered::Instance(made));
                instance.map(|_| ())
            }
            WastDirective::Invoke(invoke) => {
                self.invoke(store, &invoke)?;
                Ok(())
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                self.assert_return(store, exec, &results).context("assert_return")
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let result = self.execute(store, exec);
                assert_trap(store, result, message).context("assert_trap").map(|_| ())
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let result = self.invoke(store, &call);
                match assert_trap(store, result, message).context("assert_exhaustion")? {
                    Trap::StackOverflow => Ok(()),
                    trap => bail!("assert_exhaustion: expected a stack overflow, got `{trap}`"),
                }
            }
            WastDirective::AssertInvalid { module, message, .. } => {
                self.assert_rejected(module, message).context("assert_invalid")
            }
            WastDirective::AssertMalformed { module, message, .. } => {
                self.assert_rejected(module, message).context("assert_malformed")
            }
            WastDirective::AssertUnlinkable { module, message, .. } => {
                self.assert_unlinkable(store, module, message).context("assert_unlinkable")
            }
            WastDirective::AssertInvalidCustom { .. }
            | WastDirective::AssertMalformedCustom { .. } => {
                Err(skip("is about custom sections, in which nothing is an error"))
            }
            WastDirective::AssertException { exec, .. } => {
                let result = self.execute(store, exec);
                assert_exception(store, result).context("assert_exception")
            }
            WastDirective::AssertSuspension { .. } => Err(skip("needs stack-switching")),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => Err(skip("needs threads")),
        }
    }

    /// Compiles a module. Skips it if it needs an unsupported proposal.
    fn compile(&self, bytes: &[u8]) -> Result<Module> {
        Module::from_binary(&self.engine, bytes).map_err(|error| {
            match proposals::needed_by(bytes).join(", ") {
                needs if needs.is_empty() => error,
                needs => skip(format!("needs {needs}")),
            }
        })
    }

    /// Compiles a module that later directives may refer to by this name.
    fn define(&mut self, name: Option<String>, quote: &mut QuoteWat<'_>) -> Result<Module> {
        let bytes = match quote {
            QuoteWat::Wat(Wat::Component(_)) | QuoteWat::QuoteComponent(..) => {
                Err(skip("needs component-model"))
            }
            _ => quote.encode().map_err(|error| anyhow!("{}", error.message())),
        };
        let module = bytes.and_then(|bytes| self.compile(&bytes));
        if name.is_some() {
            self.definitions.insert(name, Made::of(&module));
        }
        self.definitions.insert(None, Made::of(&module));
        module
    }

    fn instantiate(&self, store: &mut Scope<'_>, module: &Module) -> Result<Instance> {
        let mut imports = Vec::new();
        for import in module.imports() {
            let found = match self.registered.get(import.module()) {
                Some(Registered::Host(exports)) => exports.get(import.name()).copied(),
                Some(Registered::Instance(made)) => {
                    made.get()?.get_export(&mut *store, import.name())
                }
                None => None,
            };
            imports.push(found.ok_or_else(|| {
                anyhow!("unknown import: `{}` `{}`", import.module(), import.name())
            })?);
        }
        Instance::new(store, module, &imports)
    }

    /// Makes the result of an instantiation the current instance, and the instance with this name.
    fn name_instance(&mut self, name: Option<String>, instance: Result<Instance>) -> Result<()> {
        let made = Made::of(&instance);
        if let Some(name) = name {
            self.instances.insert(name, made.clone());
        }
        self.current = Some(made);
        instance.map(|_| ())
    }

    /// The instance with this name, or the current one.
    fn instance(&self, name: Option<Id<'_>>) -> Result<Instance> {
        let made = match name {
            Some(name) => self.instances.get(name.name()),
            None => self.current.as_ref(),
        };
        made.context("there is no such instance")?.get()
    }

    fn execute(&mut self, store: &mut Scope<'_>, exec: WastExecute<'_>) -> Result<Vec<Val>> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(store, &invoke),
            WastExecute::Get { module, global, .. } => {
                let found = self.instance(module)?.get_global(&mut *store, global);
                let found = found.with_context(|| format!("there is no global `{global}`"))?;
                Ok(vec![found.get(store)])
            }
            WastExecute::Wat(module) => {
                let module = self.compile(&encode(module)?)?;
                self.instantiate(store, &module)?;
                Ok(Vec::new())
            }
        }
    }

    fn invoke(&mut self, store: &mut Scope<'_>, call: &WastInvoke<'_>) -> Result<Vec<Val>> {
        let name = call.name;
        let func = self.instance(call.module)?.get_func(&mut *store, name);
        let func = func.with_context(|| format!("there is no function `{name}`"))?;
        let args = call.args.iter().map(|arg| expect::argument(&mut *store, arg));
        let args = args.collect::<Result<Vec<Val>>>()?;
        let count = func.ty(&*store).results().len();
        let mut results = vec![Val::I32(0); count];
        func.call(store, &args, &mut results)?;
        Ok(results)
    }

    fn assert_return(
        &mut self,
        store: &mut Scope<'_>,
        exec: WastExecute<'_>,
        expected: &[WastRet<'_>],
    ) -> Result<()> {
        let actual = self.execute(store, exec)?;
        let mut all_match = expected.len() == actual.len();
        let mut wanted = Vec::new();
        for (i, expected) in expected.iter().enumerate() {
            let WastRet::Core(expected) = expected else {
                return Err(skip("needs component-model"));
            };
            wanted.push(expect::show_expected(expected));
            if let Some(actual) = actual.get(i) {
                all_match &= expect::matches(store, actual, expected)?;
            }
        }
        if !all_match {
            bail!("expected {}, got {}", list(&wanted), show(store, &actual)?);
        }
        Ok(())
    }

    /// The message is not compared, because every parser has other messages.
    fn assert_rejected(&self, mut module: QuoteWat<'_>, message: &str) -> Result<()> {
        let bytes = match module.encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                // With the text, the message shows the line.
                let text = error.to_string();
                let has_place = text.contains("at byte offset") || text.contains("-->");
                ensure!(has_place, "`{text}` does not say where");
                return Ok(());
            }
        };
        match Module::from_binary(&self.engine, &bytes) {
            Ok(_) => bail!("expected `{message}`, but the module compiled"),
            Err(error) => says_where(&bytes, &error),
        }
    }

    fn assert_unlinkable(
        &self,
        store: &mut Scope<'_>,
        module: Wat<'_>,
        message: &str,
    ) -> Result<()> {
        let module = self.compile(&encode(module)?)?;
        match self.instantiate(store, &module) {
            Ok(_) => bail!("expected `{message}`, but the module was instantiated"),
            Err(error) if error.is::<Skip>() => Err(error),
            Err(error)
                if messages::as_trap(&error).is_none()
                    && messages::link_error_matches(&error, message) =>
            {
                Ok(())
            }
            Err(error) => bail!("expected `{message}`, got `{}`", one_line(&error)),
        }
    }
}

/// Fails unless the error of a module says where it is: the offset in bytes, and the section or
/// function.
fn says_where(bytes: &[u8], error: &anyhow::Error) -> Result<()> {
    let text = one_line(error);
    let in_header = bytes.len() < 8 || !bytes.starts_with(b"\0asm\x01\0\0\0");
    let has_offset = text.contains("at offset 0x");
    let has_part = text.contains("section") || text.starts_with("function ");
    ensure!(in_header || has_offset && has_part, "`{text}` does not say where");
    Ok(())
}

/// Fails unless `result` is the expected trap. Returns the trap.
fn assert_trap(store: &mut Scope<'_>, result: Result<Vec<Val>>, expected: &str) -> Result<Trap> {
    let error = match result {
        Ok(values) => bail!("expected the trap `{expected}`, got {}", show(store, &values)?),
        Err(error) if error.is::<Skip>() => return Err(error),
        Err(error) => error,
    };
    match messages::as_trap(&error) {
        Some((trap, message)) if messages::trap_matches(trap, &message, expected) => Ok(trap),
        Some((_, message)) => bail!("expected the trap `{expected}`, got the trap `{message}`"),
        None => {
            bail!("expected the trap `{expected}`, got the error `{}`", one_line(&error))
        }
    }
}

/// Fails unless `result` is an exception that was not caught.
fn assert_exception(store: &mut Scope<'_>, result: Result<Vec<Val>>) -> Result<()> {
    let error = match result {
        Ok(values) => bail!("expected an exception, got {}", show(store, &values)?),
        Err(error) if error.is::<Skip>() => return Err(error),
        Err(error) => error,
    };
    ensure!(
        error.is::<ThrownException>(),
        "expected an exception, got the error `{}`",
        one_line(&error)
    );
    let exception = store.as_context_mut().take_pending_exception();
    exception.context("the exception is not pending")?;
    Ok(())
}

fn encode(mut module: Wat<'_>) -> Result<Vec<u8>> {
    if let Wat::Component(_) = module {
        return Err(skip("needs component-model"));
    }
    module.encode().map_err(|error| anyhow!("{}", error.message()))
}

fn owned(id: Option<Id<'_>>) -> Option<String> {
    id.map(|id| id.name().to_owned())
}

fn show(store: &mut Scope<'_>, values: &[Val]) -> Result<String> {
    let values = values.iter().map(|value| expect::show_actual(&mut *store, value));
    Ok(list(&values.collect::<Result<Vec<_>>>()?))
}

fn list(values: &[String]) -> String {
    if values.is_empty() { "no values".to_owned() } else { values.join(" ") }
}
