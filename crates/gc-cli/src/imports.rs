//! What a program imports: the hosts that it needs, modules that are loaded before it, and what
//! becomes of the rest.

use crate::args;
use crate::exception;
use crate::failure::misuse;
use crate::printable::printable;
use crate::program::Program;
use anyhow::{Context, Error, Result, anyhow};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};
use gc_hosts::{HOSTS, Host, HostCtx, HostOptions, Stdio};
use gc_wasm::{ExternType, Instance, Linker, Module, Store, StoreLimits, Val};
use std::collections::HashSet;
use std::env::VarError;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// The name for no host.
const NONE: &str = "none";

/// What a program imports, and what it gets from its hosts.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Imports")]
pub struct ImportOptions {
    /// Give the program a directory, under the name GUEST, or that of HOST.
    ///
    /// May be repeated, with different names. The program sees no other files.
    #[arg(long = "dir", value_name = "HOST[::GUEST]", value_parser = args::text())]
    #[arg(help_heading = None::<&str>)]
    pub dirs: Vec<String>,
    /// The same in the form `GUEST::HOST`. `reclaim run` has the option `--mapdir` for it.
    #[arg(skip)]
    pub mapdirs: Vec<String>,
    /// Set a variable of the program's environment. Without VALUE it has that of the command.
    ///
    /// May be repeated; of one name the last counts. The program sees no other variables.
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = args::text())]
    #[arg(help_heading = None::<&str>)]
    pub env: Vec<String>,
    /// The host modules to provide, separated by commas [default: those that the program imports
    /// from].
    #[arg(long = "host", value_name = "NAME", value_delimiter = ',', value_parser = host_names())]
    pub hosts: Vec<String>,
    /// Instantiate the module FILE first, and offer its exports under NAME. May be repeated; later
    /// modules can import from earlier ones.
    #[arg(long, value_name = "NAME=FILE", value_parser = args::text())]
    pub preload: Vec<String>,
    /// What becomes of imports that nothing provides [default: an error before the program runs].
    #[arg(long, value_enum, value_name = "WHAT")]
    pub unknown_imports: Option<UnknownImports>,
    /// Whether the program has all variables of the command's environment. `reclaim run` has a
    /// setting for it.
    #[arg(skip)]
    pub inherit_env: bool,
    /// The limits of a store. `reclaim run` has settings for them.
    #[arg(skip)]
    pub limits: Option<StoreLimits>,
}

/// What becomes of imports that nothing provides.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownImports {
    /// A function traps when it is called.
    Trap,
    /// A function returns zero or null, or traps if it must return a reference that is not null.
    /// Other items are zero, null or empty.
    Default,
}

/// The error of a module that imports what nothing provides: a list, and what may help.
#[derive(Debug)]
pub struct MissingImports {
    list: String,
    hint: String,
}

impl fmt::Display for MissingImports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the module imports what this command does not provide:{}\nhint: {}",
            self.list, self.hint
        )
    }
}

impl std::error::Error for MissingImports {}

/// The names that `--host` takes.
fn host_names() -> PossibleValuesParser {
    let hosts = HOSTS.iter().map(|host| PossibleValue::new(host.name()).help(host.summary()));
    let none = PossibleValue::new(NONE).help("no host module");
    PossibleValuesParser::new(hosts.chain([none]))
}

/// The name of a variable that was given as `NAME` or `NAME=VALUE`.
fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

/// The error of a variable, given by `option`, that a program cannot have.
fn not_text(option: &str, name: &str) -> Error {
    misuse(format!("`{option}`: the variable `{name}` is not text in UTF-8"))
}

/// The names of a directory for the host and for the program.
fn dir_names(dir: &str) -> (&str, &str) {
    dir.split_once("::").unwrap_or((dir, dir))
}

/// What a program needs that has this import, if it is a part of WASI that is not supported.
fn not_supported(module: &str, name: &str) -> Option<&'static str> {
    match (module, name) {
        ("wasi_unstable", _) => Some("WASI preview 0"),
        ("wasi", "thread-spawn") => Some("threads of WASI"),
        _ if module.starts_with("wasi:") => Some("WASI 0.2 and later, which are for components"),
        _ => None,
    }
}

/// The maximum number of imports that are listed.
const LISTED: usize = 10;

impl ImportOptions {
    /// Checks the options.
    ///
    /// # Errors
    /// Misuse: if they contradict each other, or one has the wrong form.
    pub fn check(&self) -> Result<()> {
        if self.hosts.len() > 1 && self.hosts.iter().any(|name| name == NONE) {
            return Err(misuse(format!("`--host {NONE}` goes with no other `--host`")));
        }
        if let Some(variable) = self.env.iter().find(|variable| name_of(variable).is_empty()) {
            return Err(misuse(format!("`--env {variable}`: expected NAME or NAME=VALUE")));
        }
        let mut seen = HashSet::new();
        for (option, host, guest) in self.directories() {
            if host.is_empty() {
                return Err(misuse(format!("`{option}`: the directory has no name")));
            }
            if !seen.insert(guest) {
                return Err(misuse(format!("`--dir …::{guest}` is given twice")));
            }
        }
        let mut names = HashSet::new();
        match self.preloads()?.into_iter().find(|(name, _)| !names.insert(*name)) {
            Some((name, _)) => Err(misuse(format!("`--preload {name}=…` is given twice"))),
            None => Ok(()),
        }
    }

    /// The directories: the option that gives it, and the names for the host and for the program.
    fn directories(&self) -> impl Iterator<Item = (String, &str, &str)> {
        let dirs = self.dirs.iter().map(|dir| {
            let (host, guest) = dir_names(dir);
            (format!("--dir {dir}"), host, guest)
        });
        let mapped = self.mapdirs.iter().map(|dir| {
            let (guest, host) = dir_names(dir);
            (format!("--mapdir {dir}"), host, guest)
        });
        dirs.chain(mapped)
    }

    /// The program's environment.
    ///
    /// # Errors
    /// Misuse: if a variable of the command's environment is not text in UTF-8.
    fn environment(&self) -> Result<Vec<(String, String)>> {
        let mut env = Vec::new();
        if self.inherit_env {
            for (name, value) in std::env::vars_os() {
                let text = |name: &OsStr| name.to_string_lossy().into_owned();
                match (name.to_str(), value.to_str()) {
                    (Some(name), Some(value)) => env.push((name.to_owned(), value.to_owned())),
                    _ => return Err(not_text("-S inherit-env", &text(&name))),
                }
            }
        }
        for variable in &self.env {
            let (name, value) = match variable.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => match std::env::var(variable) {
                    Ok(value) => (&**variable, Some(value)),
                    Err(VarError::NotPresent) => (&**variable, None),
                    Err(VarError::NotUnicode(_)) => {
                        return Err(not_text(&format!("--env {variable}"), variable));
                    }
                },
            };
            // The last one of a name counts.
            env.retain(|(other, _)| other != name);
            env.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(env)
    }

    /// A store for a program with these arguments, of which the first one is its name.
    ///
    /// # Errors
    /// If a directory cannot be opened. Misuse: if a variable is not text in UTF-8.
    pub fn store(
        &self,
        engine: &gc_wasm::Engine,
        args: Vec<String>,
        stdio: Stdio,
    ) -> Result<Store<HostCtx>> {
        let dirs = self.directories();
        let dirs = dirs.map(|(_, host, guest)| (PathBuf::from(host), guest.to_owned()));
        let env = self.environment()?;
        let options = HostOptions { args, env, stdio, dirs: dirs.collect() };
        let ctx = options.build().map_err(|error| {
            let text = error.to_string();
            let at_fault = |host: &str| text == format!("opening the directory {host}");
            match self.directories().find(|(_, host, _)| at_fault(host)) {
                Some((option, ..)) => error.context(format!("`{option}`")),
                None => error,
            }
        })?;
        let mut store = Store::try_new(engine, ctx)?;
        if let Some(limits) = &self.limits {
            store.data_mut().limits = limits.clone();
            store.limiter(|ctx| &mut ctx.limits);
        }
        Ok(store)
    }

    /// The names and files of `--preload`.
    fn preloads(&self) -> Result<Vec<(&str, &Path)>> {
        let preloads = self.preload.iter().map(|text| match text.split_once('=') {
            Some((name, file)) if !file.is_empty() => Ok((name, Path::new(file))),
            _ => Err(misuse(format!("`--preload {text}`: expected NAME=FILE"))),
        });
        preloads.collect()
    }

    /// The hosts of a module.
    fn hosts(&self, module: &Module) -> Vec<&'static Host> {
        if self.hosts.is_empty() {
            return Host::recognised(module);
        }
        HOSTS.iter().filter(|host| self.hosts.iter().any(|name| name == host.name())).collect()
    }

    /// Checks that the program can read its arguments, if there are any.
    ///
    /// # Errors
    /// Misuse: if it cannot.
    pub fn check_args(&self, module: &Module, args: &[String]) -> Result<()> {
        let Some(first) = args.first() else { return Ok(()) };
        if module.get_export("_start").is_none() {
            return Err(misuse(format!(
                "`{first}` is an argument without a call: name a function with `--invoke NAME`"
            )));
        }
        if !self.hosts(module).iter().any(|host| host.reads_args()) {
            return Err(misuse(format!(
                "the program cannot read the argument `{first}`: it imports no function for \
                 arguments (options of the command stand before `--`)"
            )));
        }
        Ok(())
    }

    /// Instantiates a module, after those that are to be loaded before it.
    ///
    /// # Errors
    /// If a module cannot be read or compiled, if it imports what nothing provides, if it exceeds
    /// the store's limits, or if its start function fails.
    pub fn instantiate(&self, store: &mut Store<HostCtx>, module: &Module) -> Result<Instance> {
        let engine = module.engine();
        let mut linker = Linker::new(engine);
        // A preloaded module may stand for a host.
        linker.allow_shadowing(true);
        let mut preloads = Vec::new();
        for (name, file) in self.preloads()? {
            preloads.push((name, file, Program::read(file)?.compile(engine)?));
        }
        for module in preloads.iter().map(|(_, _, module)| module).chain([module]) {
            for host in self.hosts(module) {
                host.define(&mut linker, store, module)?;
            }
        }
        for (name, file, module) in &preloads {
            let preloading = || format!("preloading {}", file.display());
            let instance = self.link(&linker, store, module).with_context(preloading)?;
            initialize(store, module, &instance).with_context(preloading)?;
            linker.instance(&mut *store, name, instance)?;
        }
        self.link(&linker, store, module).context("instantiating the module")
    }

    /// Instantiates a module with the definitions of `linker`.
    fn link(
        &self,
        linker: &Linker<HostCtx>,
        store: &mut Store<HostCtx>,
        module: &Module,
    ) -> Result<Instance> {
        let mut linker = linker.clone();
        match self.unknown_imports {
            None => {}
            Some(UnknownImports::Trap) => linker.define_unknown_imports_as_traps(module)?,
            Some(UnknownImports::Default) => {
                trap_without_default(&mut linker, store, module)?;
                linker.define_unknown_imports_as_default_values(&mut *store, module)?;
            }
        }
        self.check_all_known(&linker, store, module)?;
        linker
            .instantiate(&mut *store, module)
            .map_err(|error| exception::describe(store, None, error))
    }

    /// Fails with a list of the imports that nothing provides.
    fn check_all_known(
        &self,
        linker: &Linker<HostCtx>,
        store: &mut Store<HostCtx>,
        module: &Module,
    ) -> Result<()> {
        let (mut list, mut count) = (String::new(), 0);
        let (mut hosts, mut only_functions) = (Vec::new(), true);
        for import in module.imports() {
            if linker.get_by_import(&mut *store, &import).is_some() {
                continue;
            }
            count += 1;
            only_functions &= import.ty().func().is_some();
            if count > LISTED {
                continue;
            }
            let [space, name] = [import.module(), import.name()].map(printable);
            list.push_str(&format!("\n  {space}.{name}: {}", module.show_type(&import.ty())));
            if let Some(host) = HOSTS.iter().find(|host| host.claims(&import)) {
                let has = host.has(module, &import)?;
                if has && !hosts.contains(&host.name()) {
                    hosts.push(host.name());
                }
                let verb = if has { "has" } else { "does not have" };
                list.push_str(&format!(" (host module `{}` {verb} it)", host.name()));
            }
            if let Some(what) = not_supported(import.module(), import.name()) {
                list.push_str(&format!(" (not supported: {what})"));
            }
            let preloads = self.preloads()?;
            if let Some((_, file)) = preloads.iter().find(|(name, _)| *name == import.module()) {
                list.push_str(&format!(" ({} does not export it)", file.display()));
            }
        }
        if count == 0 {
            return Ok(());
        }
        if count > LISTED {
            list.push_str(&format!("\n  … and {} more", count - LISTED));
        }
        let mut hint = String::new();
        if !hosts.is_empty() {
            // Those that were named stay.
            let named = self.hosts.iter().map(String::as_str).filter(|name| *name != NONE);
            let all: Vec<&str> = named.chain(hosts).collect();
            hint = format!("`--host {}` provides what host modules have, ", all.join(","));
        }
        // Only functions can trap.
        let without = if only_functions { "trap" } else { "default" };
        hint.push_str(&format!(
            "`--preload NAME=FILE` offers the exports of another module, `--unknown-imports \
             {without}` runs the program without them"
        ));
        Err(MissingImports { list, hint }.into())
    }
}

/// Defines each undefined function that must return a reference that is not null as one that traps.
/// There is no default for its result.
fn trap_without_default(
    linker: &mut Linker<HostCtx>,
    store: &mut Store<HostCtx>,
    module: &Module,
) -> Result<()> {
    for import in module.imports() {
        let (space, name) = (import.module(), import.name());
        let ExternType::Func(ty) = import.ty() else { continue };
        let has_default = ty.results().all(|ty| Val::default_for_ty(&ty).is_some());
        if has_default || linker.get(&mut *store, space, name).is_ok() {
            continue;
        }
        let message = format!("unknown import: `{space}::{name}` was called");
        linker.func_new(space, name, ty, move |_, _, _| Err(anyhow!("{message}")))?;
    }
    Ok(())
}

/// Checks that `_initialize` can be called by itself, if the module exports this function.
///
/// # Errors
/// Misuse: if it takes arguments or has results.
pub fn check_initialize(module: &Module) -> Result<()> {
    match module.get_export("_initialize") {
        Some(ExternType::Func(ty)) if ty.params().len() + ty.results().len() > 0 => {
            Err(misuse(format!(
                "`_initialize` takes arguments or has results, and so is not called by itself: call it \
                 with `--invoke '_initialize(…)'`; its type is {}",
                module.show_type(&ExternType::Func(ty))
            )))
        }
        _ => Ok(()),
    }
}

/// Calls `_initialize`, if the module exports this function: libraries begin with it, as programs
/// do with `_start`.
///
/// # Errors
/// If the function fails, takes arguments or has results.
pub fn initialize(store: &mut Store<HostCtx>, module: &Module, instance: &Instance) -> Result<()> {
    match module.get_export("_initialize") {
        Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0 => {
            let initialize = instance.get_typed_func::<(), ()>(&mut *store, "_initialize")?;
            initialize
                .call(&mut *store, ())
                .map_err(|error| exception::describe(store, Some(instance), error))
                .context("calling `_initialize()`")
        }
        Some(ExternType::Func(ty)) => Err(anyhow!(
            "`_initialize` takes arguments or has results, and so cannot be called first: its type is {}",
            module.show_type(&ExternType::Func(ty))
        )),
        _ => Ok(()),
    }
}
