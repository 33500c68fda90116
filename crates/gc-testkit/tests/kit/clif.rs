//! Ten thousand random functions for every collector. The checkers find no errors in the emitted
//! code after the safepoint pass.

use cranelift_codegen::settings::{self, Flags};
use gc_compiler::GcCompiler;
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_testkit::clif::{Program, abi, check};
use gc_testkit::{random, scaled};

const COLLECTORS: [&dyn GcCompiler; 4] =
    [&NullCompiler, &DrcCompiler, &CopyingCompiler, &GenerationalCompiler];

#[test]
fn the_checkers_find_nothing_in_random_functions() {
    let flags = Flags::new(settings::builder());
    let (mut calls, mut reloads) = (0, 0);
    for seed in 0..scaled(10_000) {
        let program = Program::from_bytes(&random::bytes(seed, 600));
        for compiler in COLLECTORS {
            let abi = abi(compiler, seed % 3 != 0);
            let built = program.build(compiler, &abi, seed % 2 == 0).expect("small");
            if let Err(error) = check(&built, compiler, &abi) {
                panic!("seed {seed}: {error:#}");
            }
            if seed % 16 == 0
                && let Err(errors) = cranelift_codegen::verify_function(&built.func, &flags)
            {
                panic!("seed {seed}, {}: {errors}\n{}", compiler.name(), built.func);
            }
            calls += built.func.layout.blocks().count();
            reloads += built.func.dfg.num_insts() - built.before.dfg.num_insts();
        }
    }
    assert!(calls > 100 && reloads > 100, "{calls} blocks, {reloads} stores and reloads");
}
