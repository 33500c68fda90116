//! `cranelift-icache`: the cache of compiled functions, under small changes of a function.
//!
//! A function is compiled with a cache. Then a few things in it are changed, and the changed function
//! is compiled with the same cache and without one. Both must give the same code, relocations, stack
//! maps, traps and source locations. So must everything that comes out of the cache a second time.

use crate::clif::{Program, abi, mutate};
use crate::fuzz::Target;
use anyhow::{Result, ensure};
use arbitrary::Unstructured;
use cranelift_codegen::{Context, ir};
use gc_compiler::cache::MemoryCache;
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_compiler::{
    CompileOptions, CompiledFunction, Compiler, GcCompiler, OptLevel, RegallocAlgorithm,
};
use std::sync::Arc;

pub(super) const TARGET: Target =
    Target { name: "cranelift-icache", run, seeds: 300, length: 256, mutate: None };

const COLLECTORS: [&dyn GcCompiler; 4] =
    [&NullCompiler, &DrcCompiler, &CopyingCompiler, &GenerationalCompiler];

/// The bytes in front, which say what is changed. The others are the function.
const CHANGES: usize = 24;

fn run(bytes: &[u8]) -> Result<()> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
    let (changes, program) = rest.split_at(rest.len().min(CHANGES));
    let collector = COLLECTORS[usize::from(*first) % COLLECTORS.len()];
    let abi = abi(collector, first & 4 != 0);
    let options = CompileOptions {
        opt_level: if first & 8 != 0 { OptLevel::Speed } else { OptLevel::None },
        regalloc: RegallocAlgorithm::SinglePass,
        ..CompileOptions::default()
    };
    let anew = Compiler::new(&abi, &options)?;
    let cached = Compiler::new(&abi, &options)?.with_cache(Arc::new(MemoryCache::new(1 << 20)));

    let program = Program::from_bytes(program);
    let original = program.build(collector, &abi)?.func;
    let expected = compile(&cached, &original);
    same("the function itself", &expected, &compile(&cached, &original))?;

    let mut changed = original.clone();
    let mut what = Vec::new();
    let mut u = Unstructured::new(changes);
    for _ in 0..=u.arbitrary::<u8>().unwrap_or(0) % 3 {
        what.extend(mutate(&mut changed, &mut u).ok().flatten());
    }
    let what = what.join(", ");
    let expected = compile(&anew, &changed);
    for time in ["once", "twice"] {
        let changed = compile(&cached, &changed);
        same(&format!("the function after a change of {what}, {time}"), &expected, &changed)?;
    }
    // What the change has put into the cache is not the original's.
    same("the function itself, again", &compile(&anew, &original), &compile(&cached, &original))?;
    // It is found for the same function at another place of a module.
    let moved = program.at(0x1234).build(collector, &abi)?.func;
    same("the function elsewhere", &compile(&anew, &moved), &compile(&cached, &moved))
}

/// The compiled function, or the reason why it is not valid.
fn compile(compiler: &Compiler, func: &ir::Function) -> Result<CompiledFunction, String> {
    compiler.compile(&mut Context::for_function(func.clone())).map_err(|why| format!("{why:#}"))
}

/// Compares all parts of two functions.
fn same(
    what: &str,
    expected: &Result<CompiledFunction, String>,
    cached: &Result<CompiledFunction, String>,
) -> Result<()> {
    let [expected, cached] = [expected, cached].map(|function| format!("{function:#?}"));
    let mut lines = expected.lines().zip(cached.lines());
    let difference = lines.find(|(expected, cached)| expected != cached);
    ensure!(
        expected == cached,
        "the cache has other code for {what}: the first difference is {difference:?}"
    );
    Ok(())
}
