//! `cranelift-fuzzgen`: machine code against Cranelift's interpreter.
//!
//! The input becomes a function that uses a heap ([`Program`]), under one collector. Its machine code
//! runs over a heap of that collector, which collects often ([`machine`]). `cranelift-interpreter`
//! runs the same CLIF over a heap that is nothing but bytes ([`model`]). Both must end in the same
//! way, and leave the same integers and the same graph of objects. `gc-compiler`'s checkers must
//! find nothing.
//!
//! The environment variable `FUZZGEN_ALLOWED_OPS` restricts the operations, to narrow a fault down:
//! names of [`Operations`], separated by commas.

mod machine;
mod model;
mod outcome;

use anyhow::{Result, ensure};
use arbitrary::Unstructured;
use gc_compiler::{CompileOptions, GcCompiler, OptLevel, RegallocAlgorithm};
use gc_runtime::{GcRuntime, HeapBounds, HeapOptions};
use gc_testkit::clif::{Operations, Program};
use gc_testkit::fuzz::Target;
use gc_testkit::{Reclaims, Subject};
use gc_types::{Abi, Trap};
use gc_wasm::Collector;
use outcome::End;
use std::fmt;
use std::sync::LazyLock;

pub(super) const TARGET: Target =
    Target { name: "cranelift-fuzzgen", run, seeds: 400, length: 512, mutate: None };

/// Both halves of each collector, and the maximum of its heap in bytes.
static COLLECTORS: LazyLock<Vec<(Collector, u64)>> = LazyLock::new(|| {
    let with_maximum = |collector: Collector| {
        let frees_nothing = collector.reclaims() == Reclaims::Nothing;
        (collector, if frees_nothing { 4 << 20 } else { 1 << 20 })
    };
    Collector::all().into_iter().map(with_maximum).collect()
});

/// How a program runs.
struct Case {
    collector: &'static dyn GcCompiler,
    runtime: &'static dyn GcRuntime,
    heap: HeapOptions,
    options: CompileOptions,
    /// Bytes of the model's heap in which code allocates by itself.
    room: u32,
    /// Whether the model's heap is being marked.
    marking: bool,
    /// The arguments: a reference and an integer.
    arguments: [u64; 2],
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (CompileOptions { opt_level, regalloc, .. }, heap) = (&self.options, &self.heap);
        write!(f, "{} ({:?} heap, zeal {})", self.collector.name(), heap.bounds, heap.zeal)?;
        write!(f, ", {opt_level:?}, {regalloc:?}, arguments {:x?}", self.arguments)?;
        write!(f, ", room {}, marking {}", self.room, self.marking)
    }
}

fn run(bytes: &[u8]) -> Result<()> {
    let operations = Operations::allowed()?;
    let Some((&head, program)) = bytes.split_first_chunk() else { return Ok(()) };
    let case = Case::of(head);
    super::report::configuration(&case);
    let abi = case.abi();
    let program = Program::of(operations, &mut Unstructured::new(program));
    let plain = program.build(case.collector, &abi, false)?;
    log::debug!("{}", plain.func());
    // Only the machine gets the simplified function.
    let built = match case.options.opt_level {
        OptLevel::None => plain.clone(),
        _ => {
            let simplified = program.build(case.collector, &abi, true)?;
            log::debug!("simplified: {}", simplified.func());
            simplified
        }
    };

    let ran = machine::run(&case, abi.clone(), built)?;
    if let End::Trapped(Trap::OutOfMemory | Trap::AllocationTooLarge) = ran.end {
        return Ok(());
    }
    let interpreted = model::run(&case, &abi, plain.func())?;
    ensure!(
        ran == interpreted,
        "{case:?}: the machine and the interpreter differ: {}",
        ran.difference(&interpreted)
    );
    Ok(())
}

impl Case {
    fn of([first, zeal, model, argument]: [u8; 4]) -> Case {
        let (collector, maximum) = &COLLECTORS[usize::from(first) % COLLECTORS.len()];
        let (runtime, compiler) = (collector.runtime(), collector.compiler());
        let bounds = if first & 4 == 0 { HeapBounds::Guarded } else { HeapBounds::Checked };
        let zeal = [1, 2, 3, 5, 1, 2, 0, 7][usize::from(zeal) % 8];
        let subject = Subject::new(runtime, Reclaims::Nothing).with(bounds, zeal);
        let opt_level = if first & 8 == 0 { OptLevel::Speed } else { OptLevel::None };
        let regalloc = match first & 16 {
            0 => RegallocAlgorithm::Backtracking,
            _ => RegallocAlgorithm::SinglePass,
        };
        // Null, or an `i31`.
        let reference = if argument & 1 == 0 { 0 } else { u64::from(argument) };
        Case {
            collector: compiler,
            runtime,
            heap: subject.options(0, *maximum),
            options: CompileOptions { opt_level, regalloc, ..CompileOptions::default() },
            room: [0, 64, 256, 8 << 10][usize::from(model) % 4],
            marking: model & 4 != 0,
            arguments: [reference, u64::from(argument).wrapping_mul(0x9e37_79b9_7f4a_7c15)],
        }
    }

    fn abi(&self) -> Abi {
        self.heap.abi(self.runtime).with_host_calls(machine::CALLS.iter().copied())
    }
}
