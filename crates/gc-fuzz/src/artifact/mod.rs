//! Saved modules whose bytes are changed: they are refused, or they are as before.
//!
//! Some modules are compiled and saved once for each of some configurations. The input changes the
//! bytes of one ([`edits`]), and may make the checksum right again, so that what is behind it is
//! reached. Without that, every change must be refused. With it, a changed module may be loaded, but
//! it is never run: the checksum is all that protects the tables of the code against changes that
//! are plausible.

mod edits;
mod load;

#[cfg(feature = "peers")]
pub(super) use load::load_unchanged;
pub(super) use load::saved_and_loaded;

use super::report;
use anyhow::{Context, Result, bail, ensure};
use edits::{Edit, Parts};
use gc_testkit::fuzz::Target;
use gc_wasm::{Collector, Config, Engine, HeapBounds, Instance, Module, Precompiled, Store, Val};
use std::sync::LazyLock;

pub(super) const TARGET: Target =
    Target { name: "artifact", run, seeds: 8000, length: 60, mutate: Some(edits::mutate) };

/// The modules. Each exports a function `run`, which takes and returns an i32.
const MODULES: [&str; 3] = [
    r#"(module $objects
        (type $base (sub (struct (field $n (mut i32)))))
        (type $pair (sub $base (struct (field $n (mut i32)) (field $next (mut (ref null $base))))))
        (type $words (array (mut i16)))
        (global $kept (mut (ref null $pair)) (struct.new $pair (i32.const 9) (ref.null $base)))
        (data $data "\01\00\02\00\03\00")
        (func $sum (param $at (ref null $base)) (result i32) (local $sum i32)
            (loop $more
                (block $end
                    (br_if $end (ref.is_null (local.get $at)))
                    (local.set $sum
                        (i32.add (local.get $sum) (struct.get $base $n (local.get $at))))
                    (local.set $at (block $pair (result (ref null $base))
                        (drop (br_on_cast_fail $pair
                            (ref null $base) (ref $pair) (local.get $at)))
                        (struct.get $pair $next (ref.cast (ref $pair) (local.get $at)))))
                    (br $more)))
            (local.get $sum))
        (func (export "run") (param $n i32) (result i32) (local $i i32)
            (loop $more
                (global.set $kept (struct.new $pair (local.get $i) (global.get $kept)))
                (br_if $more (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (i32.add
                (call $sum (global.get $kept))
                (array.get_u $words
                    (array.new_data $words $data (i32.const 0) (i32.const 3)) (i32.const 2)))))"#,
    r#"(module $tables
        (type $binary (func (param i32) (result i32)))
        (memory (export "memory") 1 2)
        (table $table (export "table") 4 funcref)
        (global $counter (export "counter") (mut i64) (i64.const 5))
        (elem (table $table) (i32.const 1) func $twice $square)
        (data (i32.const 16) "saved bytes")
        (func $twice (type $binary) (i32.shl (local.get 0) (i32.const 1)))
        (func $square (type $binary) (i32.mul (local.get 0) (local.get 0)))
        (func (export "run") (param i32) (result i32)
            (global.set $counter (i64.add (global.get $counter) (i64.const 1)))
            (i32.add
                (i32.load8_u (i32.add (i32.const 16) (local.get 0)))
                (call_indirect (type $binary)
                    (local.get 0) (i32.and (local.get 0) (i32.const 3))))))"#,
    r#"(module $exceptions
        (type $box (struct (field i32) (field externref)))
        (tag $tag (export "tag") (param i32))
        (func $throw (param i32)
            (if (i32.and (local.get 0) (i32.const 1)) (then (throw $tag (local.get 0)))))
        (func (export "run") (param i32) (result i32) (local $box (ref null $box))
            (local.set $box (struct.new $box (local.get 0) (ref.null extern)))
            (i32.add (struct.get $box 0 (local.get $box))
                (block $caught (result i32)
                    (try_table (catch $tag $caught) (call $throw (local.get 0)))
                    (if (i32.eqz (local.get 0)) (then (unreachable)))
                    (i32.const 100)))))"#,
];

/// The configurations for which they are saved.
fn configs() -> Vec<Config> {
    let mut configs = Vec::new();
    for collector in Collector::all() {
        for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
            let mut config = Config::new();
            config.collector(collector.clone()).gc_heap_bounds(bounds).gc_heap_maximum(1 << 20);
            config.parallel_compilation(false);
            configs.push(config);
        }
    }
    configs
}

/// A saved module, with what it must be when it is loaded.
struct Saved {
    /// The module.
    wasm: Vec<u8>,
    /// The file.
    bytes: Vec<u8>,
    /// Its parts.
    parts: Parts,
    exports: Vec<String>,
    results: Vec<String>,
}

/// The arguments for which the results are compared.
const ARGUMENTS: [i32; 4] = [0, 1, 2, 7];

static SAVED: LazyLock<Vec<Saved>> = LazyLock::new(|| {
    let saved = |config: &Config, text: &str| -> Result<Saved> {
        let engine = Engine::new(config)?;
        let module = Module::new(&engine, text)?;
        let wasm = wat::parse_str(text)?;
        let bytes = engine.precompile_module(&wasm)?;
        let parts = edits::parts(&bytes)?;
        Ok(Saved { wasm, parts, bytes, exports: exports(&module), results: results(&module)? })
    };
    let all = configs().into_iter().flat_map(|config| MODULES.map(|text| saved(&config, text)));
    all.collect::<Result<_>>().expect("the modules can be saved")
});

fn exports(module: &Module) -> Vec<String> {
    let exports = module.exports().map(|export| format!("{} {:?}", export.name(), export.ty()));
    exports.collect()
}

/// What the exported function returns.
fn results(module: &Module) -> Result<Vec<String>> {
    let mut results = Vec::new();
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[])?;
    let run = instance.get_func(&mut store, "run").context("the module exports it")?;
    for argument in ARGUMENTS {
        let mut result = [Val::I32(0)];
        results.push(match run.call(&mut store, &[Val::I32(argument)], &mut result) {
            Ok(()) => format!("{result:?}"),
            Err(error) => error.root_cause().to_string(),
        });
    }
    Ok(results)
}

fn run(input: &[u8]) -> Result<()> {
    let ([module, config, mode], edits): (_, Vec<Edit>) = edits::decode(input);
    let configs = configs();
    let (module, config) =
        (usize::from(module) % MODULES.len(), usize::from(config) % configs.len());
    let saved = &SAVED[config * MODULES.len() + module];
    // Sometimes the engine is another one than that for which the module was saved.
    let other =
        if mode >= 0xf0 { (config + usize::from(mode % 15) + 1) % configs.len() } else { config };
    report::configuration(&configs[other]);
    report::module(&saved.wasm);
    let right = mode % 2 == 1;
    let bytes = edits::apply(&edits, &saved.bytes, right.then_some(&saved.parts));
    let engine = Engine::new(&configs[other])?;
    let same = bytes == saved.bytes;
    let detected = Engine::detect_precompiled(&bytes);
    ensure!(!same || detected == Some(Precompiled::Module), "a saved module is not recognised");
    match load::load(&engine, &bytes) {
        Err(error) => {
            let text = format!("{error:#}");
            log::debug!("refused: {text}");
            ensure!(!same || other != config, "a saved module is refused: {text}");
            ensure!(text.contains("saved"), "an unclear error: {text}");
            if same {
                ensure!(text.contains("does not fit this engine"), "another error: {text}");
            }
            Ok(())
        }
        Ok(_) if other != config => bail!("an engine loads a module of another one"),
        Ok(module) if same => {
            ensure!(exports(&module) == saved.exports, "the loaded module has other exports");
            let results = results(&module)?;
            ensure!(results == saved.results, "{results:?} instead of {:?}", saved.results);
            Ok(())
        }
        Ok(_) if !right => bail!("a change was not found"),
        Ok(module) => {
            log::debug!("loaded although it was changed");
            // It must only be possible to look at it.
            exports(&module);
            module.imports().for_each(|import| drop(import.ty()));
            Ok(())
        }
    }
}
