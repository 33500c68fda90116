//! Stores with very many pieces of code. The test measures the memory of its process, so it is alone in it.

use anyhow::{Context as _, Result};
use gc_engine::{Code, Collector, Engine, Module, Rooted, Store, Type};

/// Code with a function `name` that adds `n`, and a function `make_{name}` that returns an object with a reference to
/// the first.
fn code(engine: &Engine, name: &str, n: i64) -> Result<Code> {
    let mut module = Module::new(engine);
    let closure = module.struct_type("closure", [Type::Func])?;
    let add = module.function(name, [Type::I64], [Type::I64], |f| {
        let (value, n) = (f.param(0), f.i64(n));
        let sum = f.add(value, n);
        f.ret(&[sum]);
    })?;
    module.function(&format!("make_{name}"), [], [Type::Ref], |f| {
        let add = f.func_ref(&add);
        let closure = f.struct_new(&closure, &[add]);
        f.ret(&[closure]);
    })?;
    module.compile()
}

/// The KiB of the process that are in memory, and its number of mappings.
fn memory() -> Result<(usize, usize)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("VmRSS")?.parse()?;
    Ok((kib, std::fs::read_to_string("/proc/self/maps")?.lines().count()))
}

/// Ten thousand pieces are loaded, then the code of one name is replaced a million times, each time with an object that
/// refers to the old code.
#[test]
fn pieces_are_small_and_replaced_ones_take_no_memory() -> Result<()> {
    const PIECES: usize = 10_000;
    const TIMES: usize = 1_000_000;
    let engine = Engine::new(Collector::generational())?;
    let mut store = Store::new(&engine, ())?;
    let (before, _) = memory()?;
    for n in 0..PIECES {
        store.load(&code(&engine, &format!("f{n}"), n as i64)?)?;
    }
    assert_eq!(store.pieces(), PIECES);
    let (after, _) = memory()?;
    assert!(after - before < 32 * PIECES, "{} KiB for {PIECES} pieces", after - before);
    for n in [0, 1, PIECES - 1] {
        let add = store.function::<i64, i64>(&format!("f{n}"))?;
        assert_eq!(add.call(&mut store, 1)?, 1 + n as i64);
    }

    let codes = [code(&engine, "g", 1)?, code(&engine, "g", 2)?];
    store.load(&codes[0])?;
    let add = store.function::<i64, i64>("g")?;
    let make = store.function::<(), Rooted>("make_g")?;
    let mut replace = |from: usize, to: usize| -> Result<()> {
        for n in from..to {
            store.replace(&codes[n % 2])?;
            make.call(&mut store, ())?;
        }
        assert_eq!(add.call(&mut store, 1)?, 2 + (to as i64 - 1) % 2);
        assert!(store.pieces() < PIECES + 100, "{}", store.pieces());
        Ok(())
    };
    replace(0, TIMES / 10)?;
    let (before, mappings) = memory()?;
    replace(TIMES / 10, TIMES)?;
    let (after, mappings_now) = memory()?;
    assert!(after < before + 4096, "{after} KiB after {before}");
    assert!(mappings_now < mappings + 100, "{mappings_now} mappings after {mappings}");
    Ok(())
}
