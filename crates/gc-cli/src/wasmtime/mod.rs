//! Options of the command `wasmtime`, so that scripts that call it can call this command instead.
//!
//! Wasmtime has five groups of settings: `-W`, `-O`, `-C`, `-D` and `-S`. `names` has what each
//! setting means here. What cannot be had is refused with what is missing. What would only change
//! the speed, or what a debugger sees, is accepted and changes nothing.

mod names;
mod setting;

use crate::args;
use crate::imports::UnknownImports;
use crate::option_names::OptionNames;
use crate::options::{Changes, EngineOptions, Inlining, Settings};
use crate::program::Program;
use anyhow::{Error, Result};
use clap::Args;
use gc_hosts::{InputStream, OutputStream, Stdio};
use gc_wasm::{CompilationEnded, Config, Engine, StoreLimits, StoreLimitsBuilder};
use setting::{Group, Setter};
use std::time::Duration;

/// The groups of settings of Wasmtime.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of Wasmtime, for scripts")]
pub struct Groups {
    /// Features of WebAssembly, and limits. `-W help` lists the settings.
    ///
    /// Example: `-W gc,max-wasm-stack=8388608`. The settings of this and the next four options are
    /// those of Wasmtime 48. They have precedence over other options.
    #[arg(short = 'W', long = "wasm", value_name = SETTINGS, value_parser = names::WASM)]
    wasm: Vec<String>,
    /// Optimisation and memory. `-O help` lists the settings.
    #[arg(short = 'O', long = "optimize", value_name = SETTINGS, value_parser = names::OPTIMIZE)]
    optimize: Vec<String>,
    /// Compilation and the collector. `-C help` lists the settings.
    #[arg(short = 'C', long = "codegen", value_name = SETTINGS, value_parser = names::CODEGEN)]
    codegen: Vec<String>,
    /// Debugging. `-D help` lists the settings.
    #[arg(short = 'D', long = "debug", value_name = SETTINGS, value_parser = names::DEBUG)]
    debug: Vec<String>,
    /// WASI. `-S help` lists the settings.
    #[arg(short = 'S', long = "wasi", value_name = SETTINGS, value_parser = names::WASI)]
    wasi: Vec<String>,
}

/// The form of a group's value.
const SETTINGS: &str = "NAME[=VALUE],…";

/// Other options of `wasmtime run`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of Wasmtime, for scripts")]
pub struct RunOptions {
    /// The groups of settings.
    #[command(flatten)]
    pub groups: Groups,
    /// Has no effect: compiled files are run without this option too.
    #[arg(long)]
    pub allow_precompiled: bool,
    /// The same as `--dir HOST::GUEST`.
    #[arg(long, value_name = "GUEST::HOST", value_parser = args::text())]
    pub mapdir: Vec<String>,
}

/// What the groups ask for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Settings of the engine that are no options of this command.
    changes: Changes,
    collector: Option<String>,
    max_stack: Option<u64>,
    memory_max: Option<u64>,
    heap_initial: Option<u64>,
    inlining: Option<Inlining>,
    no_cache: bool,
    /// Fuel for the program.
    pub fuel: Option<u64>,
    /// The time after which the command ends.
    pub timeout: Option<Duration>,
    /// What becomes of unknown imports.
    pub unknown_imports: Option<UnknownImports>,
    /// Whether the program has all variables of the command's environment.
    pub inherit_env: bool,
    limits: Limits,
    /// The features that are turned off: each as it is written, and its setter.
    off: Vec<(String, Setter<bool>)>,
    /// Whether the program does without the standard streams of the command.
    closed: [bool; 3],
}

/// Limits of a store, if there are some.
#[derive(Clone, Debug, Default)]
struct Limits {
    table_elements: Option<usize>,
    instances: Option<usize>,
    tables: Option<usize>,
    memories: Option<usize>,
    trap_on_grow_failure: Option<bool>,
}

impl Groups {
    /// What all settings together ask for.
    ///
    /// # Errors
    /// If a setting is refused. Those that were parsed are not.
    pub fn asked(&self) -> Result<Asked> {
        let groups: [(&Group, &[String]); 5] = [
            (&names::WASM, &self.wasm),
            (&names::OPTIMIZE, &self.optimize),
            (&names::CODEGEN, &self.codegen),
            (&names::DEBUG, &self.debug),
            (&names::WASI, &self.wasi),
        ];
        let mut asked = Asked::default();
        for (group, texts) in groups {
            for text in texts {
                group.apply(text, &mut asked).map_err(crate::failure::misuse)?;
            }
        }
        Ok(asked)
    }

    /// The names by which errors call options. Those of this command, if a setting is refused.
    pub fn option_names(&self) -> OptionNames {
        self.asked().map(|asked| asked.option_names()).unwrap_or_default()
    }
}

/// A text in which the methods that set what a setting sets have the name of that setting.
pub fn with_settings(text: &str) -> String {
    let mut parts = text.split("`Config::");
    let mut named = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (method, rest) = part.split_once('`').unwrap_or((part, ""));
        let setting = [&names::WASM, &names::OPTIMIZE, &names::CODEGEN, &names::DEBUG]
            .into_iter()
            .find_map(|group| Some((group.short, group.named(&method.replace('_', "-"))?)));
        match setting {
            Some((group, setting)) => named.push_str(&format!("`-{group} {setting}`{rest}")),
            None => named.push_str(&format!("`Config::{part}")),
        }
    }
    named
}

impl Asked {
    /// The names of the options that were asked for.
    pub fn option_names(&self) -> OptionNames {
        let ours = OptionNames::OURS;
        let name = |asked: bool, theirs, ours| if asked { theirs } else { ours };
        OptionNames {
            collector: name(self.collector.is_some(), "-C collector", ours.collector),
            fuel: name(self.fuel.is_some(), "-W fuel", ours.fuel),
            timeout: name(self.timeout.is_some(), "-W timeout", ours.timeout),
            max_stack: name(self.max_stack.is_some(), "-W max-wasm-stack", ours.max_stack),
            memory_max: name(self.memory_max.is_some(), "-W max-memory-size", ours.memory_max),
            heap_initial: name(
                self.heap_initial.is_some(),
                "-O gc-heap-initial-size",
                ours.heap_initial,
            ),
        }
    }

    /// The error of a program that was not compiled. If it would be valid with all features, it names
    /// those that are turned off.
    pub fn explain(&self, error: Error, program: &Program) -> Error {
        let valid = |config: &Config| {
            Engine::new(config).is_ok_and(|engine| program.validate(&engine).is_ok())
        };
        if self.off.is_empty() || error.is::<CompilationEnded>() || !valid(&Config::new()) {
            return error;
        }
        let needed = self.off.iter().filter(|(_, set)| !valid(set(&mut Config::new(), false)));
        match &needed.map(|(written, _)| written.as_str()).collect::<Vec<_>>()[..] {
            [] => error,
            needed => error
                .context(format!("the module needs what is turned off by {}", needed.join(", "))),
        }
    }

    /// Changes the options of an engine.
    pub fn change(&self, options: &mut EngineOptions) {
        if let Some(collector) = &self.collector {
            options.collector.clone_from(collector);
        }
        if self.no_cache {
            options.cache = None;
        }
        let Settings { heap, run, code, changes, names } = &mut options.settings;
        run.max_stack = self.max_stack.unwrap_or(run.max_stack);
        run.memory_max = self.memory_max.unwrap_or(run.memory_max);
        heap.heap_initial = self.heap_initial.or(heap.heap_initial);
        code.inlining = self.inlining.unwrap_or(code.inlining);
        *changes = self.changes.clone();
        *names = self.option_names();
    }

    /// The limits of the store. `None` if there are none.
    pub fn limits(&self) -> Option<StoreLimits> {
        let Limits { table_elements, instances, tables, memories, trap_on_grow_failure } =
            self.limits;
        let counts = [table_elements, instances, tables, memories];
        if trap_on_grow_failure.is_none() && counts.iter().all(Option::is_none) {
            return None;
        }
        let mut limits = StoreLimitsBuilder::new();
        if let Some(count) = table_elements {
            limits = limits.table_elements(count);
        }
        if let Some(count) = instances {
            limits = limits.instances(count);
        }
        if let Some(count) = tables {
            limits = limits.tables(count);
        }
        if let Some(count) = memories {
            limits = limits.memories(count);
        }
        Some(limits.trap_on_grow_failure(trap_on_grow_failure.unwrap_or(false)).build())
    }

    /// The standard streams of the program.
    pub fn stdio(&self) -> Stdio {
        let mut stdio = Stdio::inherit();
        let [stdin, stdout, stderr] = self.closed;
        if stdin {
            stdio.stdin = InputStream::empty();
        }
        if stdout {
            stdio.stdout = OutputStream::sink();
        }
        if stderr {
            stdio.stderr = OutputStream::sink();
        }
        stdio
    }
}

impl RunOptions {
    /// Checks the options.
    ///
    /// # Errors
    /// Misuse: if a `--mapdir` has another form.
    pub fn check(&self) -> Result<()> {
        match self.mapdir.iter().find(|dir| !dir.contains("::")) {
            Some(dir) => {
                Err(crate::failure::misuse(format!("`--mapdir {dir}`: expected GUEST::HOST")))
            }
            None => Ok(()),
        }
    }
}
