//! Runs the program that `save_code` compiled: prints how many primes are below N. It is built
//! without the feature `compiler` of gc-engine, and so without Cranelift.
//!
//! ```text
//! cargo run -p saved_code --no-default-features --bin run_code -- generational primes.elf 1000
//! ```
#![allow(unsafe_code)]

use anyhow::{Context, Result};
use gc_engine::{Code, Collector, Engine, Rooted, Store};

fn main() -> Result<()> {
    let usage = "usage: run_code COLLECTOR FILE N";
    let mut args = std::env::args().skip(1);
    let collector: Collector = args.next().context(usage)?.parse()?;
    let file = args.next().context(usage)?;
    let n: i64 = args.next().context(usage)?.parse().context("N must be a number")?;
    let engine = Engine::new(collector)?;
    // SAFETY: the user trusts the file, and nobody changes it while this program runs.
    let code = unsafe { Code::deserialize_file(&engine, &file)? };
    let mut store = Store::new(&engine, ())?;
    store.load(&code)?;
    let primes = store.function::<i64, Option<Rooted>>("primes")?.call(&mut store, n)?;
    let length = store.function::<Option<Rooted>, i64>("length")?.call(&mut store, primes)?;
    println!("{length}");
    Ok(())
}
