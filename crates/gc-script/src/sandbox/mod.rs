//! A program that uses its heap in every way, and the damage that is written over this heap.
//!
//! A [`Victim`] runs the program of [`module`] one operation after the other. [`overwrite`] damages its heap
//! between them. Each operation must end with a value, a trap or an error, and nothing outside the heap may
//! change.
//!
//! ```
//! use gc_script::sandbox::{Victim, module, overwrite};
//! use gc_testkit::{Ledger, choices::Choices};
//! use gc_wasm::{Engine, Module};
//!
//! let engine = Engine::default();
//! let module = Module::new(&engine, module())?;
//! let values = Ledger::default();
//! let mut victim = Victim::new(&engine, &module, &values)?;
//! let (mut choices, mut name) = (Choices::from_seed(5), String::new());
//! for _ in 0..10 {
//!     overwrite(&mut victim.store, &mut choices, &[]);
//!     // Traps and errors are what damage leads to.
//!     let _ = victim.step(&mut choices, &mut name);
//! }
//! victim.check_canaries()?;
//! drop(victim);
//! values.check_all_once()?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod damage;
mod host;
mod module;
mod victim;

pub use damage::overwrite;
pub use module::module;
pub use victim::Victim;
