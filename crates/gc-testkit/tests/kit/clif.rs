//! Thousands of random functions for every collector. The checkers find no errors in the emitted
//! code after the safepoint pass.

use cranelift_codegen::settings::{self, Flags};
use gc_compiler::GcCompiler;
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_testkit::clif::{Program, abi};
use gc_testkit::{random, scaled};

const COLLECTORS: [&dyn GcCompiler; 4] =
    [&NullCompiler, &DrcCompiler, &CopyingCompiler, &GenerationalCompiler];

#[test]
fn the_checkers_find_nothing_in_random_functions() {
    let flags = Flags::new(settings::builder());
    let (mut calls, mut reloads) = (0, 0);
    for seed in 0..scaled(3_000) {
        let program = Program::from_bytes(&random::bytes(seed, 600));
        for compiler in COLLECTORS {
            let abi = abi(compiler, seed % 3 != 0);
            let emitted = program.emit(compiler, &abi).expect("small").0;
            let built = match program.build(compiler, &abi, seed % 2 == 0) {
                Ok(built) => built,
                Err(error) => panic!("seed {seed}: {error:#}"),
            };
            let func = built.func();
            if seed % 16 == 0
                && let Err(errors) = cranelift_codegen::verify_function(func, &flags)
            {
                panic!("seed {seed}, {}: {errors}\n{func}", compiler.name());
            }
            calls += func.layout.blocks().count();
            reloads += func.dfg.num_insts() - emitted.dfg.num_insts();
        }
    }
    assert!(calls > 100 && reloads > 100, "{calls} blocks, {reloads} stores and reloads");
}
