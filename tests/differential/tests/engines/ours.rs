//! Runs a module in this engine, with the calls of the run in Wasmtime.

use super::embedding::embedding;
use anyhow::Context as _;
use differential::{Argument, Call, FUEL, FUEL_EXPORT, Outcome, Run, Value, hash};
use gc_wasm::{Collector, Config, HeapBounds};

embedding! { gc_wasm }

/// An engine with which the module of a seed is run.
pub(crate) struct Setting {
    collector: Collector,
    zeal: u32,
    bounds: HeapBounds,
    small_reservations: bool,
}

impl Setting {
    /// Every collector, in the modes that `seed` selects. `generational` always has zeal.
    pub(crate) fn of(seed: u64) -> Vec<Setting> {
        let collectors = Collector::all().into_iter().enumerate();
        collectors
            .map(|(index, collector)| {
                let mode = seed / 3 + index as u64;
                let zealous = collector.name() == "generational" || mode.is_multiple_of(2);
                Setting {
                    collector,
                    zeal: if zealous { [1, 2, 3, 7][(seed % 4) as usize] } else { 0 },
                    bounds: match mode % 3 {
                        0 => HeapBounds::Checked,
                        _ => HeapBounds::Guarded,
                    },
                    small_reservations: mode.is_multiple_of(5),
                }
            })
            .collect()
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        format!(
            "{}, zeal {}, {:?}{}",
            self.collector.name(),
            self.zeal,
            self.bounds,
            if self.small_reservations { ", small reservations" } else { "" }
        )
    }

    fn engine(&self) -> Result<Engine> {
        let mut config = Config::new();
        config
            .collector(self.collector.clone())
            .gc_zeal(self.zeal)
            .gc_heap_bounds(self.bounds)
            .gc_heap_maximum(64 << 20)
            .max_wasm_stack(super::STACK);
        if self.small_reservations {
            config.memory_reservation(1 << 16).memory_guard_size(1 << 16);
        }
        Engine::new(&config)
    }
}

/// Runs a module with the calls of `expected`.
///
/// # Errors
/// If it is not compiled.
pub(crate) fn run(bytes: &[u8], setting: &Setting, expected: &Run) -> Result<Run> {
    let engine = setting.engine()?;
    let module = Module::new(&engine, bytes)?;
    let mut store = Store::new(&engine, ());
    let mut run = Run::default();
    let Some(imports) = imports(&mut store, &module)? else {
        run.refused = Some(Outcome::Failed(super::NO_IMPORT.to_string()));
        return Ok(run);
    };
    let instance = match Instance::new(&mut store, &module, &imports) {
        Ok(instance) => instance,
        Err(error) => {
            run.refused = Some(ended(&mut store, &error)?);
            return Ok(run);
        }
    };
    let exports = exports(&mut store, &instance);
    let mut seen = seen_globals(&mut store, &exports);
    let fuel = instance.get_global(&mut store, FUEL_EXPORT).context("it is exported")?;
    for expected in &expected.calls {
        let func = instance.get_func(&mut store, &expected.export).context("it is exported")?;
        fuel.set(&mut store, Val::I32(FUEL as i32))?;
        let outcome = call(&mut store, &func, &expected.arguments, &mut seen)?;
        let fuel = fuel.get(&mut store);
        let fuel = describe(&mut store, &fuel, &mut 1)?;
        let exhausted = matches!(outcome, Outcome::Exhausted(_));
        run.calls.push(Call { outcome, fuel, ..expected.clone() });
        if exhausted {
            return Ok(run);
        }
    }
    run.state = state(&mut store, exports)?;
    Ok(run)
}

/// How the call that failed with `error` ended.
fn ended(store: &mut Store<()>, error: &Error) -> Result<Outcome> {
    if error.is::<ThrownException>() {
        return thrown(store);
    }
    let outcome = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfMemory) => Some(Outcome::Exhausted("heap".to_string())),
        trap => trap.and_then(|trap| trapped(*trap)),
    };
    Ok(outcome.unwrap_or_else(|| match format!("{error:#}").contains(super::NO_VALUE) {
        true => Outcome::Trapped("host function"),
        false => Outcome::Failed(format!("{error:#}")),
    }))
}
