//! The files by which `perf` knows compiled functions ([`Config::profiler`]).

use anyhow::{Context, Result};
use gc_jit::lookup_code;
use gc_wasm::{Collector, Config, Engine, Inlining, Instance, Module, ProfilingStrategy, Store};
use linux_perf_data::jitdump::{JitDumpReader, JitDumpRecord};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// The address and size of a function, and its code if the file has it.
type Function = (usize, usize, Option<Vec<u8>>);

/// The functions of a module, by name.
type Functions = BTreeMap<String, Function>;

/// A module whose functions have names that no other test has. `slow` calls the host where the space
/// for objects is used up.
fn module(engine: &Engine, test: &str) -> Result<Module> {
    let wat = format!(
        r#"(module
            (type $list (struct (field (ref null $list))))
            (import "host" "log" (func $log))
            (func $"fast {test}" (export "fast") (param i32) (result i32)
                (i32.mul (local.get 0) (local.get 0)))
            (func $"slow
{test}" (export "slow") (param i32) (result i32)
                (local $l (ref null $list))
                (loop $more
                    (local.set $l (struct.new $list (local.get $l)))
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $more (local.get 0)))
                (call $log)
                (call $"fast {test}" (i32.const 4))))"#
    );
    let wat = wat.replace("slow\n", "slow\\0a");
    Module::new(engine, wat)
}

fn config(strategy: ProfilingStrategy) -> Config {
    Config::new()
        .collector(Collector::copying())
        .compiler_inlining(Inlining::No)
        .profiler(strategy)
        .clone()
}

fn run(engine: &Engine, module: &Module) -> Result<()> {
    let mut store = Store::new(engine, ());
    let log = gc_wasm::Func::wrap(&mut store, || {});
    let instance = Instance::new(&mut store, module, &[log.into()])?;
    let slow = instance.get_typed_func::<i32, i32>(&mut store, "slow")?;
    assert_eq!(slow.call(&mut store, 100_000)?, 16);
    Ok(())
}

/// Checks that these are all functions of the published code at their addresses, with trampolines.
#[track_caller]
fn are_complete(functions: &Functions, test: &str) {
    let own = |name: &str| functions.get(name).unwrap_or_else(|| panic!("{name}: {functions:?}"));
    let (fast, _, _) = own(&format!("fast {test}"));
    let memory = lookup_code(*fast).expect("the code is published");
    let image = memory.image();
    assert!(image.functions().len() >= 5);
    for function in image.functions() {
        let start = memory.base().addr() + function.offset as usize;
        let same = functions.iter().filter(|(_, (address, ..))| *address == start);
        let same: Vec<_> = same.collect();
        let [(name, (_, size, code))] = &same[..] else { panic!("{}: {same:?}", function.name) };
        assert_eq!(*size, function.size as usize, "{name}");
        if let Some(code) = code {
            let range = function.offset as usize..(function.offset + function.size) as usize;
            assert_eq!(code[..], image.code()[range], "{name}");
        }
        match function.id {
            gc_types::FunctionId::Function(_) => {
                assert_eq!(**name, function.name.replace('\n', "_"));
            }
            _ => assert_eq!(**name, format!("[{}]", function.name)),
        }
    }
    own(&format!("slow_{test}"));
    assert!(functions.contains_key("[host call gc_alloc_struct]"), "{functions:?}");
    assert!(functions.keys().any(|name| name.starts_with("[entry ")), "{functions:?}");
    assert!(functions.keys().any(|name| name.starts_with("[exit ")), "{functions:?}");
}

/// The functions of this test's module in the map of this process.
fn in_map(test: &str) -> Result<Functions> {
    let path = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
    let text = std::fs::read_to_string(&path)?;
    let lines = text.lines().map(|line| {
        let mut parts = line.splitn(3, ' ');
        let mut number = || usize::from_str_radix(parts.next()?, 16).ok();
        let (address, size) = (number()?, number()?);
        Some((parts.next()?.to_owned(), (address, size, None)))
    });
    let all: Vec<_> = lines.collect::<Option<_>>().context("a malformed line")?;
    Ok(of_module(all, test))
}

/// The functions of the module of this test: other tests write to the same file, and memory of code
/// that was dropped is used again. The functions of a module are written at once, this one first.
fn of_module(all: Vec<(String, Function)>, test: &str) -> Functions {
    let name = format!("fast {test}");
    let first = all.iter().rposition(|(other, _)| *other == name).expect("the module is there");
    let memory = lookup_code(all[first].1.0).expect("the code is published");
    let own = all.into_iter().skip(first);
    own.take_while(|(_, (at, ..))| memory.offset_of(*at).is_some()).collect()
}

#[test]
fn a_map_has_all_functions() -> Result<()> {
    let engine = Engine::new(&config(ProfilingStrategy::PerfMap))?;
    let module = module(&engine, "mapped")?;
    run(&engine, &module)?;
    are_complete(&in_map("mapped")?, "mapped");
    // A second engine writes to the same file, also from several threads.
    let other = Engine::new(&config(ProfilingStrategy::PerfMap))?;
    let names: Vec<String> = (0..8).map(|n| format!("thread {n}")).collect();
    let modules: Vec<Result<Module>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            names.iter().map(|name| scope.spawn(|| self::module(&other, name))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (module, name) in modules.into_iter().zip(&names) {
        let module = module?;
        run(&other, &module)?;
        are_complete(&in_map(name)?, name);
    }
    Ok(())
}

#[test]
fn loaded_code_is_mapped() -> Result<()> {
    let engine = Engine::new(&config(ProfilingStrategy::PerfMap))?;
    let bytes = module(&engine, "loaded")?.serialize()?;
    // SAFETY: these are the bytes of a saved module.
    let module = unsafe { Module::deserialize(&engine, bytes)? };
    run(&engine, &module)?;
    are_complete(&in_map("loaded")?, "loaded");
    Ok(())
}

/// The folder to which the tests write dumps, which is then the current directory of the process.
fn folder() -> &'static Path {
    static ONCE: Once = Once::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    ONCE.call_once(|| std::env::set_current_dir(folder).unwrap());
    folder
}

fn dump() -> PathBuf {
    folder().join(format!("jit-{}.dump", std::process::id()))
}

/// The functions of the dump, and the lines of each: an address and a line, and the file.
type Lines = BTreeMap<usize, Vec<(usize, u32, String)>>;

fn in_dump(test: &str) -> Result<(Functions, Lines)> {
    let mut reader = JitDumpReader::new(std::fs::File::open(dump())?)?;
    assert_eq!(reader.header().pid, std::process::id());
    let (mut functions, mut lines, mut numbers) = (Vec::new(), Lines::new(), Vec::new());
    let mut last = 0;
    while let Some(record) = reader.next_record()? {
        assert!(record.timestamp >= last);
        last = record.timestamp;
        match record.parse()? {
            JitDumpRecord::CodeLoad(load) => {
                assert_eq!((load.pid, load.vma), (std::process::id(), load.code_addr));
                numbers.push(load.code_index);
                let name = String::from_utf8(load.function_name.as_slice().to_vec())?;
                let code = load.code_bytes.as_slice().to_vec();
                functions.push((name, (load.vma as usize, code.len(), Some(code))));
            }
            JitDumpRecord::CodeDebugInfo(info) => {
                let entries = info.entries.iter().map(|entry| {
                    let file = String::from_utf8(entry.file_path.as_slice().to_vec())?;
                    Ok((entry.code_addr as usize, entry.line, file))
                });
                let entries = entries.collect::<Result<Vec<_>>>()?;
                lines.insert(info.code_addr as usize, entries);
            }
            other => panic!("{other:?}"),
        }
    }
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "the numbers of functions are different");
    Ok((of_module(functions, test), lines))
}

#[test]
fn a_dump_has_all_functions_and_their_lines() -> Result<()> {
    folder();
    let [engine, other] = [(); 2].map(|()| Engine::new(&config(ProfilingStrategy::JitDump)));
    let (engine, other) = (engine?, other?);
    let first = module(&engine, "dumped")?;
    let second = module(&other, "dumped second")?;
    run(&engine, &first)?;
    run(&other, &second)?;
    for test in ["dumped", "dumped second"] {
        let (functions, lines) = in_dump(test)?;
        are_complete(&functions, test);
        let (start, size, _) = &functions[&format!("fast {test}")];
        let entries = &lines[start];
        let (_, _, file) = &entries[0];
        let text = std::fs::read_to_string(file)?;
        let mut shown = Vec::new();
        for (address, line, other) in entries {
            assert!((*start..start + size).contains(address) && other == file);
            shown.push(text.lines().nth(*line as usize - 1).context("no such line")?.trim());
        }
        assert!(shown.contains(&"i32.mul"), "{shown:?}");
        // Trampolines come from no line.
        let (trampoline, _, _) = functions["[host call gc_alloc_struct]"];
        assert!(!lines.contains_key(&trampoline));
    }
    Ok(())
}

#[test]
fn vtune_is_refused() {
    let error = Engine::new(Config::new().profiler(ProfilingStrategy::VTune)).unwrap_err();
    assert!(format!("{error:#}").contains("unsupported: `Config::profiler`: VTune"), "{error:#}");
}
