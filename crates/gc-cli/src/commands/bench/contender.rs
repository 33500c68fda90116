//! A collector in the comparison: its instances and the times of its runs.

use super::tail::Tail;
use crate::call::{Call, Outcome};
use crate::failure::Failure;
use crate::imports::{self, ImportOptions, MissingImports};
use crate::interrupt::Interrupter;
use crate::interrupted::Interrupted;
use crate::program::Program;
use anyhow::{Error, Result, anyhow};
use gc_hosts::{HostCtx, InputStream, OutputStream, Stdio};
use gc_wasm::{Engine, FuncType, Instance, Module, PauseLog, Store};
use std::time::{Duration, Instant};

/// What all collectors run.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) program: &'a Program,
    pub(super) imports: &'a ImportOptions,
    pub(super) call: &'a Call,
    /// The program's arguments, without its name.
    pub(super) args: &'a [String],
    pub(super) interrupter: &'a Interrupter,
}

/// The results of a collector. The numbers are of all its runs.
pub(super) struct Entry {
    /// The collector's name.
    pub(super) collector: &'static str,
    /// The results of its first run.
    pub(super) results: Option<Vec<String>>,
    /// The times of the runs that succeeded, in order.
    pub(super) times: Vec<Duration>,
    /// The time to compile.
    pub(super) compile: Option<Duration>,
    /// Collections that were completed.
    pub(super) collections: u64,
    /// Bytes that were allocated.
    pub(super) allocated_bytes: u64,
    /// The most bytes that a heap had.
    pub(super) peak_heap_bytes: u64,
    /// The pauses.
    pub(super) pauses: PauseLog,
    /// The error that ended the runs, if there was one.
    pub(super) error: Option<Error>,
    /// The end of what the run that failed wrote to its standard error output.
    pub(super) stderr: String,
}

/// A store and an instance. They are dropped when a run fails, so that the heap does not affect the
/// other collectors.
struct Lane {
    store: Store<HostCtx>,
    instance: Instance,
    stderr: Tail,
}

pub(super) struct Contender<'a> {
    task: Task<'a>,
    /// The compiled module and the type of the function that is called. `None` if there is an error.
    ready: Option<(Module, FuncType)>,
    lane: Option<Lane>,
    entry: Entry,
}

impl<'a> Contender<'a> {
    /// Compiles the program and makes an instance. If that fails, only this contender fails.
    ///
    /// # Errors
    /// If the program imports what nothing provides. Misuse: if the call or the arguments do not fit
    /// the program.
    pub(super) fn new(engine: &Engine, task: Task<'a>) -> Result<Contender<'a>> {
        let entry = Entry {
            collector: engine.collector().name(),
            results: None,
            times: Vec::new(),
            compile: None,
            collections: 0,
            allocated_bytes: 0,
            peak_heap_bytes: 0,
            pauses: PauseLog::default(),
            error: None,
            stderr: String::new(),
        };
        let mut contender = Contender { task, ready: None, lane: None, entry };
        let what = format!("{} for `{}`", task.program.compiling(), contender.name());
        let begin = Instant::now();
        match task.interrupter.compiling(engine, what, || task.program.compile(engine)) {
            Ok(module) => {
                contender.entry.compile = Some(begin.elapsed());
                task.imports.check_args(&module, task.args)?;
                let ty = task.call.check(&module)?;
                if !task.call.is_start() {
                    imports::check_initialize(&module)?;
                }
                contender.ready = Some((module, ty));
                contender.instantiate()?;
            }
            Err(error) => contender.entry.error = Some(contender.unless_interrupted(error)?),
        }
        Ok(contender)
    }

    /// Makes a store and an instance.
    ///
    /// # Errors
    /// If the module imports what nothing provides. If it fails otherwise, only this contender fails.
    fn instantiate(&mut self) -> Result<()> {
        let Some((module, _)) = &self.ready else { return Ok(()) };
        let Task { imports, interrupter, .. } = self.task;
        let args = [&[self.task.program.name()][..], self.task.args].concat();
        // Printing would be timed, and would be mixed with the table.
        let stderr = Tail::default();
        let stdio = Stdio {
            stdin: InputStream::empty(),
            stdout: OutputStream::sink(),
            stderr: OutputStream::new(stderr.clone()),
        };
        let lane = imports.store(module.engine(), args, stdio).and_then(|mut store| {
            let _running = interrupter.begin(&store)?;
            let instance = imports.instantiate(&mut store, module)?;
            if !self.task.call.is_start() {
                imports::initialize(&mut store, module, &instance)?;
            }
            Ok(Lane { store, instance, stderr: stderr.clone() })
        });
        match lane {
            Ok(lane) => self.lane = Some(lane),
            Err(error) if error.is::<MissingImports>() => return Err(error),
            Err(error) => {
                let error = self.unless_interrupted(error)?;
                self.fail(error, stderr.text());
            }
        }
        Ok(())
    }

    /// The collector's name.
    pub(super) fn name(&self) -> &'static str {
        self.entry.collector
    }

    /// Makes the next run and returns its results. `None` if it failed, now or before.
    ///
    /// # Errors
    /// Misuse: if an argument does not have its parameter's type.
    pub(super) fn run(&mut self) -> Result<Option<Vec<String>>> {
        if self.lane.is_none() {
            self.instantiate()?;
        }
        let (Some(lane), Some((_, ty))) = (&mut self.lane, &self.ready) else { return Ok(None) };
        let running = self.task.interrupter.begin(&lane.store)?;
        let outcome = self.task.call.perform(&mut lane.store, &lane.instance, ty);
        drop(running);
        let error = match outcome {
            Ok(Outcome { exit: Some(exit), .. }) if exit.0 != 0 => exit.into(),
            Ok(outcome) => {
                self.entry.times.push(outcome.took);
                self.entry.results.get_or_insert_with(|| outcome.results.clone());
                if self.task.call.is_start() {
                    // A program runs once in an instance.
                    self.leave();
                }
                return Ok(Some(outcome.results));
            }
            Err(error) if error.is::<Failure>() => return Err(error),
            Err(error) => error,
        };
        let wrote = lane.stderr.text();
        let error = self.unless_interrupted(error)?;
        self.fail(error.context(format!("run {}", self.entry.times.len() + 1)), wrote);
        Ok(None)
    }

    /// Records the error that the last run had other results than the run of `other` in the same
    /// round.
    pub(super) fn differs(&mut self, results: &[String], other: &str, expected: &[String]) {
        let [results, expected] = [results, expected].map(|all| all.join(", "));
        let error = anyhow!("the result is {results}, but {expected} under `{other}`");
        self.fail(error.context(format!("run {}", self.entry.times.len())), String::new());
    }

    /// The error of the program, unless somebody interrupted it: that ends the comparison.
    fn unless_interrupted(&self, error: Error) -> Result<Error> {
        let error = self.task.interrupter.explain(error);
        match error.is::<Interrupted>() {
            true => Err(error.context(format!("under `{}`", self.name()))),
            false => Ok(error),
        }
    }

    /// Records an error, and what the program wrote. There are no more runs.
    fn fail(&mut self, error: Error, stderr: String) {
        self.entry.error = Some(error);
        self.entry.stderr = stderr;
        self.ready = None;
        self.leave();
    }

    /// Records what the heap did, and frees it.
    fn leave(&mut self) {
        if let Some(lane) = self.lane.take() {
            let stats = lane.store.gc_stats();
            self.entry.collections += stats.collections;
            self.entry.allocated_bytes += stats.allocated_bytes;
            self.entry.peak_heap_bytes = self.entry.peak_heap_bytes.max(stats.peak_heap_bytes);
            self.entry.pauses.add(lane.store.gc_pauses());
        }
    }

    /// Ends the contender and returns its results.
    pub(super) fn finish(mut self) -> Entry {
        self.leave();
        self.entry
    }
}
