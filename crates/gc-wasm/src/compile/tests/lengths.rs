//! The checkers refuse accesses with 64-bit addresses or indices that are not compared with the
//! length.

use super::{COLLECTORS, Fixture};
use crate::compile::{finish_one, inlining};
use crate::types::registry::TypeRegistry;
use cranelift_codegen::ir::{Function, Inst, Opcode};
use gc_compiler::OptLevel;
use gc_compiler::check::{CheckContext, check_function};

/// The conditional traps of a function.
fn comparisons(func: &Function) -> Vec<Inst> {
    let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    insts.filter(|inst| func.dfg.insts[*inst].opcode() == Opcode::Trapnz).collect()
}

#[test]
fn comparisons_with_lengths_are_needed() {
    let wasm = wat::parse_str(
        r#"(module (memory i64 1) (table $f i64 1 funcref) (table $r i64 1 5 anyref)
            (func (param i64) (result i32) (i32.load8_u (local.get 0)))
            (func (param i64) (i64.store offset=100 (local.get 0) (i64.const 1)))
            (func (param i64) (result f64) (f64.load offset=0x90000000 (local.get 0)))
            (func (param i64) (result i64) (i64.load offset=0xffffffffffffff00 (local.get 0)))
            (func (param i64) (result i64) (i64.load (i64.shl (local.get 0) (i64.const 16))))
            (func (param i64) (result i64) (i64.load (i64.shl (local.get 0) (i64.const 3))))
            (func (param i64) (result funcref) (table.get $f (local.get 0)))
            (func (param i64) (table.set $r (local.get 0) (ref.null any))))"#,
    )
    .unwrap();
    for gc in COLLECTORS {
        let registry = TypeRegistry::new().unwrap();
        let checked = Fixture::new(OptLevel::Speed).with(&registry, gc, &wasm, |cx, bodies| {
            let mut functions = 0;
            let (sources, candidates) = inlining::prepare(cx, bodies)?;
            for source in sources {
                let finished = finish_one(cx, &candidates, source)?;
                let func = finished.func();
                let types = finished.annotations().types.as_ref().unwrap();
                let check = CheckContext { abi: cx.abi, laws: cx.gc.barrier_laws(), types };
                let comparisons = comparisons(func);
                assert_eq!(comparisons.len(), 1, "{}", func.display());
                let mut without = func.clone();
                without.layout.remove_inst(comparisons[0]);
                let error = check_function(&without, &check).unwrap_err().to_string();
                assert!(error.contains("unbounded offset"), "{error}");
                functions += 1;
            }
            Ok(functions)
        });
        assert_eq!(checked.unwrap(), 8);
    }
}
