//! Tests that the suite finds faults in the emitting half of a collector, through compiled code.
//!
//! Each suite runs in a separate process, because that process must fail. The process is this
//! binary again, with the fault's number in the environment.

use anyhow::{Context, Result, ensure};
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_compiler::check::BarrierLaw;
use gc_compiler::collector::{copying::CopyingCompiler, drc::DrcCompiler};
use gc_compiler::collector::{generational::GenerationalCompiler, null::NullCompiler};
use gc_compiler::{GcCompiler, GcEmitter, RefPlace, Trust};
use gc_runtime::GcRuntime;
use gc_runtime::collector::{CopyingCollector, DrcCollector};
use gc_runtime::collector::{GenerationalCollector, NullCollector};
use gc_testkit::trials::trial;
use gc_wasm::Collector;
use libtest_mimic::Failed;
use std::process::{Command, ExitCode};
use std::sync::Arc;

/// The environment variable with the number of the process's case in [`CASES`].
const CASE: &str = "RECLAIM_TEST_FAULT";

/// A fault, the collector with the fault, and a part of the names of the trials that find it.
const CASES: [(Fault, &str, &str); 11] = [
    (Fault::None, "copying", "tests/lru::"),
    (Fault::NoWriteBarrier, "generational", "tests/lru::"),
    (Fault::NoWriteBarrier, "drc", "tests/lru::"),
    (Fault::LostElements, "null", "tests/lru::"),
    (Fault::UndeclaredReads, "copying", "tests/hash_map::"),
    (Fault::DirtyStructs, "copying", "handles_follow_their_objects"),
    (Fault::LostElements, "copying", "deep_and_wide_graphs_live"),
    (Fault::None, "drc", "random::"),
    (Fault::NoWriteBarrier, "drc", "random::"),
    (Fault::NoWriteBarrier, "generational", "random::"),
    (Fault::UndeclaredReads, "copying", "random::"),
];

/// A fault in emitted code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// Stores have no barrier.
    NoWriteBarrier,
    /// References are not stored into arrays.
    LostElements,
    /// Loaded references are in no stack map.
    UndeclaredReads,
    /// The fields of a new struct are not zeroed.
    DirtyStructs,
}

/// A compiler with a fault.
struct Faulty {
    inner: Arc<dyn GcCompiler>,
    fault: Fault,
}

impl GcCompiler for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn wrapped(&self) -> Option<&dyn GcCompiler> {
        Some(&*self.inner)
    }

    /// None, because the checkers would find a missing barrier before the code runs.
    fn barrier_laws(&self) -> &'static [BarrierLaw] {
        &[]
    }

    fn zeroes_structs(&self) -> bool {
        self.fault == Fault::DirtyStructs || self.inner.zeroes_structs()
    }

    fn alloc_struct(&self, e: &mut GcEmitter<'_, '_>, word: ir::Value, size: u32) -> ir::Value {
        let object = self.inner.alloc_struct(e, word, size);
        if self.fault == Fault::DirtyStructs && size >= 16 {
            let one = e.builder.ins().iconst(types::I64, 2);
            let place = RefPlace::Field { object, offset: size - 4 };
            e.store_ref(place, one, Trust::Fresh);
        }
        object
    }

    fn read_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace) -> ir::Value {
        match self.fault {
            Fault::UndeclaredReads => e.load_ref(place),
            _ => self.inner.read_ref(e, place),
        }
    }

    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        match (self.fault, place) {
            (Fault::NoWriteBarrier, _) => e.store_ref(place, value, Trust::MayBeNull),
            (Fault::LostElements, RefPlace::Element { .. }) => {}
            _ => self.inner.write_ref(e, place, value),
        }
    }
}

/// The collector with this name, with a fault.
fn faulty(name: &str, fault: Fault) -> Result<Collector> {
    let (runtime, inner): (Arc<dyn GcRuntime>, Arc<dyn GcCompiler>) = match name {
        "null" => (Arc::new(NullCollector), Arc::new(NullCompiler)),
        "drc" => (Arc::new(DrcCollector), Arc::new(DrcCompiler)),
        "copying" => (Arc::new(CopyingCollector), Arc::new(CopyingCompiler)),
        _ => (Arc::new(GenerationalCollector::new()), Arc::new(GenerationalCompiler)),
    };
    Collector::new(runtime, Arc::new(Faulty { inner, fault }))
}

/// Runs the suite in a process with the fault of case `case`.
fn run(case: usize) -> Result<()> {
    let (fault, collector, trials) = CASES[case];
    let output = Command::new(std::env::current_exe()?)
        .arg(trials)
        .env(CASE, case.to_string())
        // Its trials have the same names for all faults.
        .env_remove("TESTKIT_PASSED")
        .output()
        .context("running a suite")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let ran = printed.lines().any(|line| line.starts_with("test [") && line.contains(collector));
    ensure!(ran, "no trial of {collector} ran: {printed}");
    let (found, expected) = (!output.status.success(), fault != Fault::None);
    ensure!(found == expected, "{fault:?} under {collector}: {}\n{printed}", output.status);
    Ok(())
}

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        let (fault, collector, _) = CASES[case.parse::<usize>().expect("a case's number")];
        return gc_conformance::main(&[faulty(collector, fault).expect("a name is all that fits")]);
    }
    let trials = CASES.iter().enumerate().map(|(case, (fault, collector, trials))| {
        let name = format!("{fault:?}::{collector}::{trials}");
        trial(name, move || run(case).map_err(|e| Failed::from(format!("{e:?}"))))
    });
    gc_conformance::run(trials.collect())
}
