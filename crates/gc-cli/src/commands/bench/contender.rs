//! A collector in the comparison: its instance and the times of its runs.

use crate::call::{Call, Outcome};
use crate::failure::Failure;
use crate::imports::{self, ImportOptions, MissingImports};
use crate::interrupt::Interrupter;
use crate::interrupted::Interrupted;
use crate::program::Program;
use anyhow::{Error, Result, anyhow};
use gc_hosts::{HostCtx, Stdio};
use gc_wasm::{Engine, FuncType, GcStats, Instance, Module, PauseLog, Store};
use std::time::{Duration, Instant};

/// The results of a collector.
pub(super) struct Entry {
    /// The collector's name.
    pub(super) collector: &'static str,
    /// The results of its first run.
    pub(super) results: Option<Vec<String>>,
    /// The times of the runs that succeeded, in order.
    pub(super) times: Vec<Duration>,
    /// The time to compile.
    pub(super) compile: Option<Duration>,
    /// The statistics of the heap, over all runs.
    pub(super) stats: GcStats,
    /// The pauses of all runs.
    pub(super) pauses: PauseLog,
    /// The error that ended the runs, if there was one.
    pub(super) error: Option<Error>,
}

/// The store and the instance of a contender. They are dropped when it fails, so that its heap does
/// not affect the others.
struct Lane {
    store: Store<HostCtx>,
    instance: Instance,
    ty: FuncType,
}

pub(super) struct Contender<'a> {
    call: &'a Call,
    interrupter: &'a Interrupter,
    lane: Option<Lane>,
    entry: Entry,
}

impl<'a> Contender<'a> {
    /// Compiles the program and makes its instance. If that fails, only this contender fails.
    ///
    /// # Errors
    /// If the program imports what nothing provides. Misuse: if the call does not fit the program.
    pub(super) fn new(
        engine: &Engine,
        program: &Program,
        imports: &ImportOptions,
        call: &'a Call,
        interrupter: &'a Interrupter,
    ) -> Result<Contender<'a>> {
        let entry = Entry {
            collector: engine.collector().name(),
            results: None,
            times: Vec::new(),
            compile: None,
            stats: GcStats::default(),
            pauses: PauseLog::default(),
            error: None,
        };
        let mut contender = Contender { call, interrupter, lane: None, entry };
        let begin = Instant::now();
        match program.compile(engine) {
            Ok(module) => {
                contender.entry.compile = Some(begin.elapsed());
                let ty = call.check(&module)?;
                contender.instantiate(imports, &module, program.name(), ty)?;
            }
            Err(error) => contender.entry.error = Some(error),
        }
        Ok(contender)
    }

    /// Makes the store and the instance.
    ///
    /// # Errors
    /// If the module imports what nothing provides. If it fails otherwise, only this contender fails.
    fn instantiate(
        &mut self,
        imports: &ImportOptions,
        module: &Module,
        name: String,
        ty: FuncType,
    ) -> Result<()> {
        // Printing would be timed, and would be mixed with the table.
        let store = imports.store(module.engine(), vec![name], Stdio::none());
        let lane = store.and_then(|mut store| {
            let _running = self.interrupter.begin(&store)?;
            let instance = imports.instantiate(&mut store, module)?;
            imports::initialize(&mut store, module, &instance)?;
            Ok(Lane { store, instance, ty })
        });
        match lane {
            Ok(lane) => self.lane = Some(lane),
            Err(error) if error.is::<MissingImports>() => return Err(error),
            Err(error) => self.entry.error = Some(self.unless_interrupted(error)?),
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
        let Some(lane) = &mut self.lane else { return Ok(None) };
        let running = self.interrupter.begin(&lane.store)?;
        let outcome = self.call.perform(&mut lane.store, &lane.instance, &lane.ty);
        drop(running);
        match outcome {
            Ok(Outcome { exit: Some(exit), .. }) if exit.0 != 0 => {
                self.fail(self.entry.times.len() + 1, exit.into());
                Ok(None)
            }
            Ok(outcome) => {
                self.entry.times.push(outcome.took);
                self.entry.results.get_or_insert_with(|| outcome.results.clone());
                Ok(Some(outcome.results))
            }
            Err(error) if error.is::<Failure>() => Err(error),
            Err(error) => {
                let error = self.unless_interrupted(error)?;
                self.fail(self.entry.times.len() + 1, error);
                Ok(None)
            }
        }
    }

    /// Records the error that the last run had other results than the run of `other` in the same
    /// round.
    pub(super) fn differs(&mut self, results: &[String], other: &str, expected: &[String]) {
        let [results, expected] = [results, expected].map(|all| all.join(", "));
        let error = anyhow!("the result is {results}, but {expected} under `{other}`");
        self.fail(self.entry.times.len(), error);
    }

    /// The error of the program, unless somebody interrupted it: that ends the comparison.
    fn unless_interrupted(&self, error: Error) -> Result<Error> {
        let error = self.interrupter.explain(error);
        if error.is::<Interrupted>() { Err(error) } else { Ok(error) }
    }

    fn fail(&mut self, run: usize, error: Error) {
        self.entry.error = Some(error.context(format!("run {run}")));
        self.leave();
    }

    /// Records the heap's statistics, and frees the heap.
    fn leave(&mut self) {
        if let Some(lane) = self.lane.take() {
            self.entry.stats = lane.store.gc_stats();
            self.entry.pauses = lane.store.gc_pauses().clone();
        }
    }

    /// Ends the contender and returns its results.
    pub(super) fn finish(mut self) -> Entry {
        self.leave();
        self.entry
    }
}
