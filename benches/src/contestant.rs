//! The interface between benches and engines, with one implementation for both engines: the macro
//! `contestant` is expanded over this project's embedding interface and over Wasmtime's. Only the
//! making of an engine differs, and is not timed.

use crate::clock::Spent;
use crate::ticks::Ticks;
use anyhow::Result;
use std::fmt;
use std::time::Duration;

/// The settings that both engines have.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of stack for compiled code.
    pub stack: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { stack: 512 << 10 }
    }
}

/// An engine with one collector.
pub trait Contestant {
    /// The engine and its collector, for example `reclaim drc`.
    fn name(&self) -> &str;

    /// Compiles a module in the text format.
    ///
    /// # Errors
    /// If the module is invalid.
    fn compile(&self, wat: &str) -> Result<Box<dyn Module>>;
}

/// A compiled module.
pub trait Module {
    /// Makes an instance in its own store.
    ///
    /// # Errors
    /// If an import is missing, or the start function traps.
    fn start(&self) -> Result<Box<dyn Running>>;

    /// `times` times makes a store and an instance of the module, calls `export` (from `i32` to `i32`)
    /// if there is one, and drops both. Imports are functions from `i32` to `i32`, which are made once and
    /// shared by all stores.
    ///
    /// # Errors
    /// If the module has other imports, or the call fails.
    fn instances(&self, export: Option<&str>, times: u64) -> Result<Spent>;
}

/// A call from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The host calls `nop`: no arguments, no result.
    Nop,
    /// The host calls `add`: two integers to one.
    Add,
    /// The host calls `same`: a reference to the same reference.
    Same,
    /// The host calls `add` with values whose types are checked in each call.
    UntypedAdd,
    /// The host calls `same` in the same way.
    UntypedSame,
    /// The host calls `add` with raw values, whose types nobody checks.
    UncheckedAdd,
}

/// An instance.
pub trait Running {
    /// Calls an export that takes one `i32` and returns a number. The time is that of the call
    /// alone.
    ///
    /// # Errors
    /// If there is no such export, or it traps.
    fn run(&mut self, export: &str, arg: i32) -> Result<(Answer, Spent)>;

    /// The heap's statistics so far, if the engine reports them.
    fn heap(&self) -> Option<Heap>;

    /// What ends a call from another thread, if the engine's code can be interrupted.
    fn stopper(&self) -> Option<Stopper> {
        None
    }

    /// The ticks of the program so far, if the engine can record them.
    fn ticks(&self) -> Option<&Ticks> {
        None
    }

    /// Calls an export from `i32` to `i32` `times` times. Returns the answer of the last call.
    ///
    /// # Errors
    /// If there is no such export, or it traps.
    fn repeat(&mut self, export: &str, arg: i32, times: u64) -> Result<(i32, Spent)>;

    /// Makes a call from the host `times` times.
    ///
    /// # Errors
    /// If the module does not export the function, or it traps.
    fn call(&mut self, call: Call, times: u64) -> Result<Spent>;
}

/// Ends the call that runs in an instance.
pub type Stopper = Box<dyn Fn() + Send>;

/// Statistics of a heap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap {
    /// Collections completed.
    pub collections: u64,
    /// The sum of all pauses. This and the next two are wall-clock times.
    pub pause_total: Duration,
    /// The longest pause.
    pub pause_longest: Duration,
    /// The 99th percentile of the pauses.
    pub pause_p99: Duration,
    /// The most bytes that were mapped for objects.
    pub peak_bytes: u64,
    /// Bytes allocated, headers included.
    pub allocated_bytes: u64,
    /// Objects allocated.
    pub allocations: u64,
}

/// The answer of a program. Floats are stored as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::I32(value) => write!(f, "{value}"),
            Answer::I64(value) => write!(f, "{value}"),
            Answer::F32(bits) => write!(f, "{}", f32::from_bits(*bits)),
            Answer::F64(bits) => write!(f, "{}", f64::from_bits(*bits)),
        }
    }
}

/// Defines `Entrant`, a [`Contestant`] over the embedding interface of `$api`, in a module
/// that defines `fn heap(&Store<Ticks>) -> Option<Heap>`, `fn stopper(&Store<Ticks>) ->
/// Option<Stopper>`, `fn report_pauses(&mut Caller<'_, Ticks>)`, which adds the pauses since its
/// last call to the ticks, and `fn give(Caller<'_, Ticks>, i32) -> Result<()>`, which collects for so many
/// µs.
macro_rules! contestant {
    ($api:ident) => {
        use anyhow::Context as _;
        use std::hint::black_box;
        use $api::{
            Caller, Engine, ExternRef, Instance, Linker, Module, RootScope, Rooted, Store, Val,
            ValRaw,
        };
        use $crate::clock::{Clock, Spent};
        use $crate::ticks::Ticks;

        struct Entrant {
            name: String,
            engine: Engine,
        }

        struct Compiled {
            module: Module,
            linker: Linker<Ticks>,
        }

        struct Run {
            store: Store<Ticks>,
            instance: Instance,
        }

        impl $crate::Contestant for Entrant {
            fn name(&self) -> &str {
                &self.name
            }

            fn compile(&self, wat: &str) -> anyhow::Result<Box<dyn $crate::Module>> {
                let mut linker = Linker::new(&self.engine);
                linker.func_wrap("host", "nop", || ())?;
                linker.func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b))?;
                linker.func_wrap("host", "same", |x: Option<Rooted<ExternRef>>| x)?;
                linker.func_wrap("host", "value", value)?;
                linker.func_wrap("host", "number", number)?;
                linker.func_wrap("host", "tick", tick)?;
                linker.func_wrap("host", "give", give)?;
                Ok(Box::new(Compiled { module: Module::new(&self.engine, wat)?, linker }))
            }
        }

        fn value(mut caller: Caller<'_, Ticks>, n: i32) -> $api::Result<Option<Rooted<ExternRef>>> {
            ExternRef::new(&mut caller, n).map(Some)
        }

        /// The number that was passed to `value`; -1 for null and for anything else.
        fn number(caller: Caller<'_, Ticks>, x: Option<Rooted<ExternRef>>) -> $api::Result<i32> {
            let Some(x) = x else { return Ok(-1) };
            let n = x.data(&caller)?.and_then(|data| data.downcast_ref::<i32>());
            Ok(n.copied().unwrap_or(-1))
        }

        fn tick(mut caller: Caller<'_, Ticks>) {
            caller.data_mut().tick();
            report_pauses(&mut caller);
        }

        impl $crate::Module for Compiled {
            fn start(&self) -> anyhow::Result<Box<dyn $crate::Running>> {
                let mut store = Store::new(self.module.engine(), Ticks::default());
                let instance = self.linker.instantiate(&mut store, &self.module)?;
                Ok(Box::new(Run { store, instance }))
            }

            fn instances(&self, export: Option<&str>, times: u64) -> anyhow::Result<Spent> {
                let engine = self.module.engine();
                let mut linker = Linker::new(engine);
                linker.allow_shadowing(true);
                for import in self.module.imports() {
                    linker.func_wrap(import.module(), import.name(), |n: i32| n)?;
                }
                let pre = match self.module.imports().len() {
                    0 => None,
                    _ => Some(linker.instantiate_pre(&self.module)?),
                };
                let began = Clock::start();
                for _ in 0..times {
                    let mut store = Store::new(engine, ());
                    let instance = match &pre {
                        Some(pre) => pre.instantiate(&mut store)?,
                        None => Instance::new(&mut store, &self.module, &[])?,
                    };
                    if let Some(export) = export {
                        let func = instance.get_typed_func::<i32, i32>(&mut store, export)?;
                        black_box(func.call(&mut store, 7)?);
                    }
                    black_box(&instance);
                }
                Ok(began.spent())
            }
        }

        impl $crate::Running for Run {
            fn run(&mut self, export: &str, arg: i32) -> anyhow::Result<($crate::Answer, Spent)> {
                let func = self
                    .instance
                    .get_func(&mut self.store, export)
                    .ok_or_else(|| anyhow::anyhow!("there is no function `{export}`"))?;
                let mut results = [Val::I32(0)];
                let began = Clock::start();
                func.call(&mut self.store, &[Val::I32(arg)], &mut results)?;
                let time = began.spent();
                let answer = match results[0] {
                    Val::I32(value) => $crate::Answer::I32(value),
                    Val::I64(value) => $crate::Answer::I64(value),
                    Val::F32(bits) => $crate::Answer::F32(bits),
                    Val::F64(bits) => $crate::Answer::F64(bits),
                    _ => anyhow::bail!("`{export}` does not answer a number"),
                };
                Ok((answer, time))
            }

            fn heap(&self) -> Option<$crate::contestant::Heap> {
                heap(&self.store)
            }

            fn stopper(&self) -> Option<$crate::contestant::Stopper> {
                stopper(&self.store)
            }

            fn ticks(&self) -> Option<&Ticks> {
                Some(self.store.data())
            }

            fn repeat(
                &mut self,
                export: &str,
                arg: i32,
                times: u64,
            ) -> anyhow::Result<(i32, Spent)> {
                let Run { store, instance } = self;
                let func = instance.get_typed_func::<i32, i32>(&mut *store, export)?;
                let mut answer = 0;
                let began = Clock::start();
                for _ in 0..times {
                    answer = func.call(&mut *store, black_box(arg))?;
                }
                Ok((answer, began.spent()))
            }

            fn call(&mut self, call: $crate::Call, times: u64) -> anyhow::Result<Spent> {
                let Run { store, instance } = self;
                match call {
                    $crate::Call::Nop => {
                        let func = instance.get_typed_func::<(), ()>(&mut *store, "nop")?;
                        let began = Clock::start();
                        for _ in 0..times {
                            func.call(&mut *store, ())?;
                        }
                        Ok(began.spent())
                    }
                    $crate::Call::Add => {
                        let func =
                            instance.get_typed_func::<(i32, i32), i32>(&mut *store, "add")?;
                        let began = Clock::start();
                        for i in 0..times {
                            black_box(func.call(&mut *store, (black_box(i as i32), 1))?);
                        }
                        Ok(began.spent())
                    }
                    $crate::Call::Same => {
                        type Extern = Option<Rooted<ExternRef>>;
                        let func =
                            instance.get_typed_func::<Extern, Extern>(&mut *store, "same")?;
                        let mut outer = RootScope::new(&mut *store);
                        let value = ExternRef::new(&mut outer, 7)?;
                        let began = Clock::start();
                        for _ in 0..times {
                            // The scope unroots the result.
                            let mut scope = RootScope::new(&mut outer);
                            black_box(func.call(&mut scope, Some(value))?);
                        }
                        Ok(began.spent())
                    }
                    $crate::Call::UntypedAdd => {
                        let func = instance.get_func(&mut *store, "add").context("add")?;
                        let mut results = [Val::I32(0)];
                        let began = Clock::start();
                        for i in 0..times {
                            let params = [Val::I32(black_box(i as i32)), Val::I32(1)];
                            func.call(&mut *store, &params, &mut results)?;
                            black_box(&results);
                        }
                        Ok(began.spent())
                    }
                    $crate::Call::UntypedSame => {
                        let func = instance.get_func(&mut *store, "same").context("same")?;
                        let mut outer = RootScope::new(&mut *store);
                        let value = ExternRef::new(&mut outer, 7)?;
                        let mut results = [Val::I32(0)];
                        let began = Clock::start();
                        for _ in 0..times {
                            let mut scope = RootScope::new(&mut outer);
                            func.call(&mut scope, &[value.into()], &mut results)?;
                            black_box(&results);
                        }
                        Ok(began.spent())
                    }
                    $crate::Call::UncheckedAdd => {
                        let func = instance.get_func(&mut *store, "add").context("add")?;
                        let began = Clock::start();
                        for i in 0..times {
                            let mut slots = [ValRaw::i32(black_box(i as i32)), ValRaw::i32(1)];
                            // SAFETY: `add` takes two numbers and returns one.
                            unsafe { func.call_unchecked(&mut *store, &mut slots)? };
                            black_box(slots[0].get_i32());
                        }
                        Ok(began.spent())
                    }
                }
            }
        }
    };
}

pub(crate) use contestant;
