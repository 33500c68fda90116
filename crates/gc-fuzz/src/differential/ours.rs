//! Runs a module in this engine, in some configuration.

#![allow(unsafe_code)]

use super::allowed::ALLOWED;
use super::embedding::embedding;
use crate::artifact::{load_unchanged, saved_and_loaded};
use gc_wasm::{Collector, Config, HeapBounds, OptLevel, RegallocAlgorithm};

embedding! { gc_wasm }

/// A configuration of this engine.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The collector.
    pub collector: Collector,
    /// A collection at every so many allocations, or none.
    pub zeal: u32,
    /// How accesses stay inside the heap.
    pub bounds: HeapBounds,
    /// Whether so little is reserved for linear memories that accesses are checked.
    pub small_reservations: bool,
    /// How far code is optimised.
    pub optimisation: OptLevel,
    /// Whether registers are allocated in one pass.
    pub single_pass: bool,
    /// Whether code counts fuel. There is enough of it.
    pub fuel: bool,
    /// Whether code watches the epoch, which does not change.
    pub epochs: bool,
    /// Whether the module is saved and loaded before it runs.
    pub saved: bool,
    /// The maximum size of the heap, in bytes.
    pub heap: u64,
}

/// The maximum of a heap, in bytes, that no module uses up.
const LARGE: u64 = 64 << 20;

impl Setting {
    /// A setting in which little can go wrong: nothing is freed or moved, and no code is optimised.
    fn plain() -> Setting {
        Setting {
            collector: crate::way::plain_and_others().0,
            zeal: 0,
            bounds: HeapBounds::Guarded,
            small_reservations: false,
            optimisation: OptLevel::None,
            single_pass: false,
            fuel: false,
            epochs: false,
            saved: false,
            heap: LARGE,
        }
    }

    /// Some setting, with an allowed collector.
    pub(super) fn some(choices: &mut Choices) -> Result<Setting> {
        let collectors = &ALLOWED.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?.collectors;
        Ok(Setting {
            // One byte, however many are allowed.
            collector: collectors[usize::from(choices.byte()) % collectors.len()].clone(),
            zeal: choices.pick(&[0, 1, 1, 2, 3, 7]),
            bounds: choices.pick(&[HeapBounds::Guarded, HeapBounds::Checked]),
            small_reservations: choices.byte() % 4 == 3,
            optimisation: choices.pick(&[OptLevel::Speed, OptLevel::None, OptLevel::SpeedAndSize]),
            single_pass: choices.byte() % 4 == 3,
            fuel: choices.byte() % 4 == 3,
            epochs: choices.byte() % 4 == 3,
            heap: choices.pick(&[1 << 20, LARGE]),
            saved: choices.byte() % 4 == 3,
        })
    }

    /// Every collector, in the modes that `seed` selects. One with a nursery always has zeal.
    pub fn of(seed: u64) -> Vec<Setting> {
        let collectors = Collector::all().into_iter().enumerate();
        collectors
            .map(|(index, collector)| {
                let mode = seed / 3 + index as u64;
                let zealous = crate::way::has_nursery(&collector) || mode.is_multiple_of(2);
                Setting {
                    collector,
                    zeal: if zealous { [1, 2, 3, 7][(seed % 4) as usize] } else { 0 },
                    bounds: match mode % 3 {
                        0 => HeapBounds::Checked,
                        _ => HeapBounds::Guarded,
                    },
                    small_reservations: mode.is_multiple_of(5),
                    optimisation: OptLevel::Speed,
                    ..Setting::plain()
                }
            })
            .collect()
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        let mut name = format!("{}, zeal {}, {:?}", self.collector.name(), self.zeal, self.bounds);
        for (has, what) in [
            (self.small_reservations, "small reservations"),
            (self.optimisation == OptLevel::None, "not optimised"),
            (self.optimisation == OptLevel::SpeedAndSize, "optimised for size"),
            (self.single_pass, "registers in one pass"),
            (self.fuel, "fuel"),
            (self.epochs, "epochs"),
            (self.saved, "saved and loaded"),
            (self.heap < LARGE, "small heap"),
        ] {
            if has {
                name = format!("{name}, {what}");
            }
        }
        name
    }

    /// An engine for this machine, or for `target`.
    fn engine(&self, target: Option<&str>) -> Result<Engine> {
        let mut config = Config::new();
        if let Some(target) = target {
            config.target(target)?;
        }
        config
            .collector(self.collector.clone())
            .gc_zeal(self.zeal)
            .gc_heap_bounds(self.bounds)
            .gc_heap_initial_size(256 << 10)
            .gc_heap_maximum(self.heap)
            .cranelift_opt_level(self.optimisation)
            .consume_fuel(self.fuel)
            .epoch_interruption(self.epochs)
            .parallel_compilation(false)
            .max_wasm_stack(super::STACK);
        if self.single_pass {
            config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
        }
        if self.small_reservations {
            config.memory_reservation(1 << 16).memory_guard_size(1 << 16);
        }
        Engine::new(&config)
    }

    /// Compiles a module.
    fn module(&self, bytes: &[u8]) -> Result<Module> {
        let module = Module::new(&self.engine(None)?, bytes)?;
        if self.saved { saved_and_loaded(&module) } else { Ok(module) }
    }

    /// A store for a module of the setting.
    fn store(&self, module: &Module) -> Result<Store<()>> {
        let mut store = Store::new(module.engine(), ());
        if self.fuel {
            store.set_fuel(u64::MAX >> 1)?;
        }
        if self.epochs {
            store.set_epoch_deadline(1);
        }
        Ok(store)
    }
}

/// Runs a module in a plain setting. `choices` decides what is called: all functions, or those that are
/// callable by JavaScript.
///
/// # Errors
/// If it is not compiled.
pub(super) fn run(
    bytes: &[u8],
    choices: &mut Choices,
    callable: Option<fn(&FuncType) -> bool>,
) -> Result<(Run, Module)> {
    let module = Setting::plain().module(bytes)?;
    let mut store = Setting::plain().store(&module)?;
    Ok((lead(&mut store, &module, choices, callable)?, module))
}

/// Runs a module with the calls of `leader`. Collects between the calls.
///
/// # Errors
/// If it is not compiled, or uses up a large heap that `leader` did not use up.
pub fn repeat(bytes: &[u8], setting: &Setting, leader: &Run) -> Result<Run> {
    repeat_module(&setting.module(bytes)?, setting, leader)
}

/// Compiles a module for another machine: `target` is one of those that [`Config::target`] takes. The
/// module is saved, for [`repeat_saved`].
///
/// # Errors
/// If it is not compiled.
pub fn save_for(target: &str, bytes: &[u8], setting: &Setting) -> Result<Vec<u8>> {
    setting.engine(Some(target))?.precompile_module(bytes)
}

/// As [`repeat`], with a saved module.
///
/// # Errors
/// If it is not loaded, or uses up a large heap that `leader` did not use up.
///
/// # Safety
/// The bytes are those that [`save_for`] returned for this setting.
pub unsafe fn repeat_saved(saved: &[u8], setting: &Setting, leader: &Run) -> Result<Run> {
    // SAFETY: as the caller promises.
    let module = unsafe { load_unchanged(&setting.engine(None)?, saved)? };
    repeat_module(&module, setting, leader)
}

fn repeat_module(module: &Module, setting: &Setting, leader: &Run) -> Result<Run> {
    let mut store = setting.store(module)?;
    let run = follow(&mut store, module, leader)?;
    if setting.heap >= LARGE && leader.exhausted().is_none() && run.exhausted() == Some("heap") {
        return Err(Error::msg(format!("{}: the heap is used up", setting.name())));
    }
    Ok(run)
}

/// Collects, so that a lost root is noticed.
fn between(store: &mut Store<()>) -> Result<()> {
    store.gc(None)
}

/// How the call that failed with `error` ended.
fn ended(store: &mut Store<()>, error: &Error) -> Result<Outcome> {
    if error.is::<ThrownException>() {
        return thrown(store);
    }
    let outcome = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfMemory) => Some(Outcome::Exhausted("heap".to_string())),
        // There is enough of it for all but a few operators on 2^62 elements.
        Some(Trap::OutOfFuel) => Some(Outcome::Exhausted("fuel".to_string())),
        trap => trap.and_then(|trap| trapped(*trap)),
    };
    Ok(outcome.unwrap_or_else(|| match format!("{error:#}").contains(super::NO_VALUE) {
        true => Outcome::Trapped("host function".into()),
        false => Outcome::Failed(format!("{error:#}")),
    }))
}
