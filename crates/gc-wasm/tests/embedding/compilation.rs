//! Compilations that the host ends, or that take longer than it allows.

use crate::common::{message, texts};
use anyhow::{Context as _, Result};
use gc_wasm::{CompilationEnded, Config, Engine, Module};
use std::thread;
use std::time::{Duration, Instant};

/// A module that takes seconds to compile: `count` functions with casts.
fn long(count: usize) -> Result<Vec<u8>> {
    let casts = "(drop (ref.cast (ref $s) (global.get $g)))".repeat(500);
    let functions = format!("(func {casts})").repeat(count);
    let wat = format!(
        "(module (type $s (sub (struct))) (global $g (mut anyref) (ref.null any)) {functions})"
    );
    Ok(wat::parse_str(wat)?)
}

/// The reason for which a compilation was ended, and whether the error names a function.
fn ended<T>(result: Result<T>) -> Result<(CompilationEnded, bool)> {
    let error = result.err().context("an error")?;
    let ended = *error.downcast_ref::<CompilationEnded>().context("the compilation was ended")?;
    Ok((ended, texts(&error).iter().any(|text| text.starts_with("function "))))
}

#[test]
fn a_compilation_has_a_time_limit() -> Result<()> {
    let wasm = long(150)?;
    for parallel in [false, true] {
        let limit = Duration::from_millis(100);
        let mut config = Config::new();
        config.parallel_compilation(parallel).compilation_time_limit(Some(limit));
        let engine = Engine::new(&config)?;
        let begin = Instant::now();
        let reason = (CompilationEnded::TimeLimit(limit), true);
        assert_eq!(ended(Module::new(&engine, &wasm))?, reason, "parallel: {parallel}");
        assert_eq!(ended(engine.precompile_module(&wasm))?, reason, "parallel: {parallel}");
        // All functions would take several times as long.
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        // The limit is that of each compilation.
        Module::new(&engine, "(module (func))")?;
    }
    // A limit that is no limit, and one that is over at once.
    let mut config = Config::new();
    let engine = Engine::new(config.compilation_time_limit(Some(Duration::MAX)))?;
    Module::new(&engine, "(module (func))")?;
    let engine = Engine::new(config.compilation_time_limit(Some(Duration::ZERO)))?;
    let error = message(Module::new(&engine, "(module (func))"));
    let expected = "function 0 `func[0]`: the compilation takes longer than 0ns, the limit";
    assert_eq!(error, expected);
    // Nothing is compiled in order to validate a module.
    Module::validate(&engine, &long(1)?)
}

#[test]
fn another_thread_ends_compilations() -> Result<()> {
    let wasm = long(150)?;
    let engine = Engine::new(&Config::new())?;
    thread::scope(|scope| {
        let compiling = scope.spawn(|| Module::new(&engine, &wasm));
        // It may not have begun yet.
        while !compiling.is_finished() {
            thread::sleep(Duration::from_millis(200));
            engine.cancel_compilations();
        }
        let reason = ended(compiling.join().expect("no panic"))?;
        assert_eq!(reason, (CompilationEnded::Cancelled, true));
        Ok::<_, anyhow::Error>(())
    })?;
    Module::new(&engine, long(1)?)?;
    Ok(())
}
