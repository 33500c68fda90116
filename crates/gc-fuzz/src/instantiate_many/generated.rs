//! Modules of `wasm-smith`, several of one input. They are compiled at once, each by a thread of its own.
//! Then all threads of the input instantiate them as often as its steps say, and each instance of a module
//! must do the same.

use super::{ELEMENTS, PAGES};
use crate::differential::{Features, config};
use crate::instantiate::{self, MEMORIES, Setting, TABLES};
use crate::report;
use anyhow::{Context, Result, ensure};
use arbitrary::Unstructured;
use gc_testkit::Ledger;
use gc_testkit::choices::Choices;
use gc_wasm::{Engine, Module, Store, StoreLimits};
use std::sync::OnceLock;

/// The most modules.
pub(super) const MOST: usize = 5;

/// How many instances of a module a store has.
pub(super) const INSTANCES: u32 = 2;

/// What an error says of a pool that is full.
const NO_PLACE: &str = "maximum concurrent limit of";

/// How often a module's code may go on: calls and loops.
const FUEL: u32 = 300;

/// A module, and what a store does with it.
struct Generated {
    bytes: Vec<u8>,
    /// `None` if the engine refuses it.
    module: Option<Module>,
    /// The choices of arguments.
    calls: Choices,
    /// What the first store did that had a place for each of its instances.
    seen: OnceLock<Vec<String>>,
}

/// The modules of an input.
pub(super) struct Modules {
    setting: Setting,
    all: Vec<Generated>,
}

/// What came of a module in a store.
pub(super) struct Played {
    pub(super) store: Store<StoreLimits>,
    /// Whether the pool had no place for one of the instances.
    pub(super) refused: bool,
}

impl Modules {
    /// Makes up to `count` modules of the bytes, and compiles them at the same time.
    ///
    /// # Errors
    /// If one is refused that is valid and not too large.
    pub(super) fn new(
        setting: Setting,
        engine: &Engine,
        choices: &mut Choices,
        count: usize,
        bytes: &[u8],
    ) -> Result<Modules> {
        let parts = bytes.chunks(bytes.len().div_ceil(count.max(1)).max(1));
        let parts = parts.chain(std::iter::repeat(&[][..])).take(count);
        // Some bytes are no module.
        let made: Vec<Vec<u8>> = parts.filter_map(|bytes| generate(choices, bytes)).collect();
        made.iter().for_each(|module| report::module(module));
        let compiled = at_once(&made, |module| instantiate::compile(engine, module))?;
        let all = made.into_iter().zip(compiled).map(|(bytes, module)| {
            let (calls, seen) = (choices.many(), OnceLock::new());
            Generated { bytes, module, calls, seen }
        });
        Ok(Modules { setting, all: all.collect() })
    }

    /// Instantiates one of the modules in a store [twice](INSTANCES), and calls all that it exports. With
    /// `again` it is compiled another time. `None` if there is no module.
    ///
    /// # Errors
    /// If it does something else than in the first store.
    pub(super) fn play(
        &self,
        engine: &Engine,
        ledger: &Ledger,
        which: u8,
        again: bool,
    ) -> Result<Option<Played>> {
        let Some(number) = usize::from(which).checked_rem(self.all.len()) else { return Ok(None) };
        let Generated { bytes, module, calls, seen } = &self.all[number];
        let Some(module) = module else { return Ok(None) };
        let other = if again { instantiate::compile(engine, bytes)? } else { None };
        ensure!(other.is_some() == again, "module {number} is refused the second time");
        let module = other.as_ref().unwrap_or(module);
        let (store, now) =
            instantiate::session(&self.setting, engine, module, &mut calls.clone(), ledger)?;
        let refused = now.iter().any(|end| end.contains(NO_PLACE));
        if !refused {
            let first = seen.get_or_init(|| now.clone());
            instantiate::same(first, &now).with_context(|| format!("module {number}"))?;
        }
        Ok(Some(Played { store, refused }))
    }
}

/// A module with so few memories and tables that a place in the pool has room for them.
fn generate(choices: &mut Choices, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut config = config(choices, Features::ALL);
    config.max_memories = MEMORIES as usize;
    config.max_memory32_bytes = PAGES << 16;
    config.max_memory64_bytes = u128::from(PAGES << 16);
    config.max_tables = TABLES as usize;
    config.max_table_elements = ELEMENTS;
    config.canonicalize_nans = false;
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(bytes)).ok()?;
    module.ensure_termination(FUEL).ok()?;
    Some(module.to_bytes())
}

/// What `work` makes of each of `all`, each on a thread of its own.
fn at_once<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    std::thread::scope(|scope| {
        let spawn = |one| {
            let work = &work;
            let caught = move || super::caught(|| work(one));
            let thread = std::thread::Builder::new().stack_size(4 << 20);
            thread.spawn_scoped(scope, caught).context("a thread does not start")
        };
        let threads = all.iter().map(spawn).collect::<Result<Vec<_>>>()?;
        threads.into_iter().map(|thread| thread.join().expect("it caught all")).collect()
    })
}
