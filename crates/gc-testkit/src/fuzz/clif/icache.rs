//! `cranelift-icache`: the cache of compiled functions, under small changes of a function.
//!
//! Two compilers share a cache. The settings of the second one differ from those of the first in one
//! thing, or not at all. A function is compiled by both. Then a few things in it are changed, and the
//! changed function is compiled by both, with the cache and without one. The code, the relocations,
//! the stack maps, the traps and the source locations must be the same. So must everything that comes
//! out of the cache a second time.
//!
//! The environment variable `FUZZGEN_ALLOWED_OPS` restricts the operations, to narrow a fault down:
//! names of [`Operations`], separated by commas.
//!
//! The cache may be too small, or in a folder, or may return damaged entries ([`watched`](super::watched)).

use super::watched::Watched;
use crate::clif::{Operations, Program, abi, finish, mutate};
use crate::fuzz::Target;
use anyhow::{Context as _, Result, ensure};
use arbitrary::Unstructured;
use cranelift_codegen::{Context, ir};
use gc_compiler::{
    Annotations, BuiltFunction, CompileOptions, CompiledFunction, Compiler, FinishedFunction,
    GcCompiler, OptLevel, RegallocAlgorithm, collector,
};
use gc_types::{Abi, CollectorAbi, HeapBounds, Machine};
use std::sync::{Arc, LazyLock};

pub(super) const TARGET: Target =
    Target { name: "cranelift-icache", run, seeds: 300, length: 256, mutate: None };

static COLLECTORS: LazyLock<Vec<Arc<dyn GcCompiler>>> = LazyLock::new(collector::all);

/// The bytes in front, which say what is changed, and how the cache is. The others are the function.
const CHANGES: usize = 24;

/// The settings of a compiler.
struct Settings {
    abi: Abi,
    options: CompileOptions,
}

impl Settings {
    /// Settings that differ from these in what a number below 16 says. For some numbers they do not
    /// differ.
    fn others(&self, number: u8) -> Settings {
        let (mut abi, mut options) = (self.abi.clone(), self.options.clone());
        match number {
            1 | 2 => {
                options.opt_level = match options.opt_level {
                    OptLevel::None => OptLevel::Speed,
                    _ => OptLevel::None,
                }
            }
            3 => options.regalloc = RegallocAlgorithm::Backtracking,
            4 => options.nan_canonicalization = true,
            5 => options.huge_function = 0,
            6..=8 => {
                let mut all = COLLECTORS.iter().cycle();
                let own = all.position(|collector| collector.name() == abi.collector().name());
                // The one that is so many places behind its own.
                let other = own.and_then(|_| all.nth(usize::from(number - 6)));
                let options: Vec<_> = abi.collector().options().collect();
                let collector = other.expect("the collectors never end").abi();
                let with = |abi: CollectorAbi, (name, value): &(&str, u64)| {
                    abi.with(name.to_string(), *value)
                };
                abi = abi.clone().with_collector(options.iter().fold(collector, with));
            }
            9 | 10 => {
                abi = match abi.bounds() {
                    HeapBounds::Guarded => abi.with_bounds(HeapBounds::Checked),
                    HeapBounds::Checked => abi.with_bounds(HeapBounds::Guarded),
                }
            }
            11 => abi = abi.with_zeal(true),
            12 => abi = abi.with_polls(true),
            13 => {
                let (arch, system) = (std::env::consts::ARCH, std::env::consts::OS);
                abi = abi.with_machine(Machine::new(arch, system));
            }
            _ => {}
        }
        Settings { abi, options }
    }
}

fn run(bytes: &[u8]) -> Result<()> {
    let operations = Operations::allowed()?;
    let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
    let (changes, program) = rest.split_at(rest.len().min(CHANGES));
    let collector = &*COLLECTORS[usize::from(*first) % COLLECTORS.len()];
    let options = CompileOptions {
        opt_level: if first & 8 != 0 { OptLevel::Speed } else { OptLevel::None },
        regalloc: RegallocAlgorithm::SinglePass,
        ..CompileOptions::default()
    };
    let settings = Settings { abi: abi(collector, first & 4 != 0), options };
    let others = settings.others(first >> 4);
    let cache = Watched::new(changes.get(CHANGES - 1).copied().unwrap_or(0))?;

    let program = Program::of(operations, &mut Unstructured::new(program));
    let simplifies = settings.options.opt_level == OptLevel::Speed;
    let original = program.build(collector, &settings.abi, simplifies)?;
    let (mut changed, annotations) = program.emit(collector, &settings.abi)?;
    let what = change(&mut changed, operations, changes);
    // What a change does to the laws of emitted code is not looked at: this code never runs.
    let annotations = Annotations { types: None, ..annotations };
    let changed = BuiltFunction::new(changed, annotations);
    let changed = finish(collector, &settings.abi, simplifies, changed)?;
    // It is found for the same function at another place of a module.
    let moved = program.at(0x1234).build(collector, &settings.abi, simplifies)?;

    let pair = [Pair::new(&settings, &cache, 0)?, Pair::new(&others, &cache, 1)?];
    let originals = pair.each_ref().map(|pair| compile(&pair.anew, &original));
    let what = format!("the function after a change of {}", what.join(", "));
    for time in ["", ", again"] {
        for (pair, expected) in pair.iter().zip(&originals) {
            pair.same(&format!("the function itself{time}"), expected, &original, &cache)?;
        }
    }
    for pair in &pair {
        let expected = compile(&pair.anew, &changed);
        for time in ["once", "twice"] {
            pair.same(&format!("{what}, {time}"), &expected, &changed, &cache)?;
        }
    }
    // What the change has put into the cache is not the original's.
    for (pair, expected) in pair.iter().zip(&originals) {
        pair.same("the function itself after the change", expected, &original, &cache)?;
        let expected = compile(&pair.anew, &moved);
        pair.same("the function elsewhere", &expected, &moved, &cache)?;
    }

    let (shared, all) = cache.shared();
    let same_abi = settings.abi.fingerprint() == others.abi.fingerprint();
    ensure!(same_abi || shared == 0, "code for another ABI has the same key");
    let same = same_abi && settings.options == others.options;
    ensure!(!same || shared == all, "compilers with the same settings have other keys");
    cache.check()
}

/// Changes a few things in a function. Returns what they were.
fn change(func: &mut ir::Function, operations: &Operations, bytes: &[u8]) -> Vec<&'static str> {
    let mut u = Unstructured::new(bytes);
    let count = u.arbitrary::<u8>().unwrap_or(0) % 3 + 1;
    (0..count).filter_map(|_| mutate(func, operations, &mut u).ok().flatten()).collect()
}

/// A compiler without a cache, and one with it.
struct Pair {
    anew: Compiler,
    cached: Compiler,
}

impl Pair {
    fn new(settings: &Settings, cache: &Arc<Watched>, number: usize) -> Result<Pair> {
        let name = settings.abi.collector().name();
        let collector = COLLECTORS.iter().find(|collector| collector.name() == name);
        let collector = collector.context("all settings are for one of the collectors")?;
        let new = || Compiler::new(&**collector, &settings.abi, &settings.options);
        Ok(Pair { anew: new()?, cached: new()?.with_cache(cache.view(number)) })
    }

    /// Compiles a function with the cache, and compares it.
    fn same(
        &self,
        what: &str,
        expected: &Result<CompiledFunction, String>,
        func: &FinishedFunction,
        cache: &Watched,
    ) -> Result<()> {
        same(what, expected, &compile(&self.cached, func))?;
        if cache.keeps_all() && expected.is_ok() {
            let before = cache.insertions();
            ensure!(before > 0, "the cache is not used");
            let again = compile(&self.cached, func);
            ensure!(cache.insertions() == before, "{what} is not found in the cache");
            same(what, expected, &again).context("directly afterwards")?;
        }
        Ok(())
    }
}

/// The compiled function, or the reason why it is not valid.
fn compile(compiler: &Compiler, func: &FinishedFunction) -> Result<CompiledFunction, String> {
    let compiled = compiler.compile(&mut Context::new(), func.clone(), &compiler.begin());
    compiled.map_err(|why| format!("{why:#}"))
}

/// Compares all parts of two functions.
fn same(
    what: &str,
    expected: &Result<CompiledFunction, String>,
    cached: &Result<CompiledFunction, String>,
) -> Result<()> {
    if format!("{expected:?}") == format!("{cached:?}") {
        return Ok(());
    }
    let [expected, cached] = [expected, cached].map(|function| format!("{function:#?}"));
    let mut lines = expected.lines().zip(cached.lines());
    let difference = lines.find(|(expected, cached)| expected != cached);
    anyhow::bail!("the cache has other code for {what}: the first difference is {difference:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;
    use cranelift_codegen::ir::{InstructionData, Opcode};
    use std::collections::BTreeSet;

    /// The instructions with two operands that functions of `operations` have only after a change.
    fn appear(operations: &Operations) -> BTreeSet<String> {
        let mut appeared = BTreeSet::new();
        let opcodes = |func: &ir::Function| -> Vec<Opcode> {
            let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
            let binary = insts.filter_map(|inst| match func.dfg.insts[inst] {
                InstructionData::Binary { opcode, .. } => Some(opcode),
                _ => None,
            });
            binary.collect()
        };
        for seed in 0..400 {
            let bytes = random::bytes(seed, 200);
            let (changes, program) = bytes.split_at(CHANGES);
            let program = Program::of(operations, &mut Unstructured::new(program));
            let abi = abi(&*COLLECTORS[0], true);
            let (mut func, _) = program.emit(&*COLLECTORS[0], &abi).expect("small");
            let before = opcodes(&func);
            change(&mut func, operations, changes);
            let new = opcodes(&func).into_iter().filter(|opcode| !before.contains(opcode));
            appeared.extend(new.map(|opcode| opcode.to_string()));
        }
        appeared
    }

    #[test]
    fn a_change_makes_only_instructions_that_are_allowed() {
        let few = Operations::named("rotl, bxor, struct_new").expect("they are there");
        assert_eq!(Vec::from_iter(appear(&few)), ["bxor", "rotl"]);
        let none = Operations::named("struct_new").expect("it is there");
        assert!(appear(&none).is_empty());
        assert!(appear(&Operations::all()).len() > 5);
    }
}
