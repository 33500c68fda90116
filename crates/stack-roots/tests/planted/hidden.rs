//! References that hide from the checker if it is not careful: in vectors, behind computed addresses of the frame, in
//! loads that Cranelift moves. Each function is `fn(reference, i64) -> i64`, and calls a function that may collect.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData, SigRef, Signature, types,
};
use cranelift_codegen::isa::CallConv;
use stack_roots::check::{CheckError, SignatureTypes, Types, Unboxed, ValueType, check_roots};
use stack_roots::derived::DerivedSlots;

const FLOATS: &str = "a load that Cranelift may move after a call that may collect";
const DERIVED: &str =
    "a value that was computed from a reference is used after a call that may collect";
const NO_MAP: &str = "a reference is stored in a slot that is in no stack map";
const BAD_MAP: &str = "a stack map names a slot that may not hold a current reference";

/// Checks a function with this body. Its result has this type.
fn check(body: &str, result: ValueType, unboxed: Unboxed) -> Result<(), CheckError> {
    let text = format!(
        "function %hidden(i64, i64) -> i64 system_v {{
            ss0 = explicit_slot 16, align = 8
            sig0 = () system_v
            fn0 = %collect sig0
        block0(v0: i64, v1: i64):
            {body}
        }}"
    );
    let func = cranelift_reader::parse_functions(&text).unwrap().remove(0);
    cranelift_codegen::verify_function(&func, &*crate::isa()).unwrap();
    let own = SignatureTypes::new([ValueType::Ref, ValueType::Data], [result]);
    let mut types = Types::new(own);
    types.declare_signature(SigRef::from_u32(0), SignatureTypes::default()).unboxed(unboxed);
    check_roots(&func, &types)
}

#[track_caller]
fn is_found(body: &str, result: ValueType, unboxed: Unboxed, law: &str) {
    match check(body, result, unboxed) {
        Ok(()) => panic!("not found: {body}"),
        Err(error) => assert_eq!(error.law, law, "{body}"),
    }
}

#[test]
fn loads_that_cranelift_may_move() {
    let load = |flags| format!("v2 = load.i64 {flags} v0+8\n call fn0()\n return v2");
    let floats = load("notrap aligned readonly can_move");
    is_found(&floats, ValueType::Data, Unboxed::Never, FLOATS);
    for stays in ["notrap aligned", "notrap aligned readonly", "notrap aligned can_move"] {
        check(&load(stays), ValueType::Data, Unboxed::Never).unwrap();
    }
    // The vtable of something that never moves.
    let body = "v2 = load.i64 notrap aligned readonly can_move v1+8\n call fn0()\n return v2";
    check(body, ValueType::Data, Unboxed::Never).unwrap();
}

#[test]
fn references_in_vectors() {
    let body = "v2 = splat.i64x2 v0\n call fn0()\n v3 = extractlane v2, 0\n return v3";
    for unboxed in [Unboxed::Never, Unboxed::LowestBitSet, Unboxed::Any] {
        is_found(body, ValueType::Ref, unboxed, DERIVED);
    }
}

#[test]
fn shifts_that_keep_most_of_an_address() {
    let shift =
        |bits: i32| format!("v2 = iconst.i64 {bits}\n v3 = ushr v0, v2\n call fn0()\n return v3");
    is_found(&shift(9), ValueType::Data, Unboxed::LowestBitSet, DERIVED);
    is_found(&shift(1), ValueType::Data, Unboxed::Never, DERIVED);
    // An integer without its tag.
    check(&shift(1), ValueType::Data, Unboxed::LowestBitSet).unwrap();
}

#[test]
fn references_behind_computed_addresses_of_the_frame() {
    for address in [
        "v4 = iconst.i64 0\n v3 = isub v2, v4",
        "v4 = iconst.i64 -8\n v3 = band v2, v4",
        "v4 = iconst.i8 1\n v3 = select v4, v2, v2",
        "v4 = iconst.i64 8\n v5 = iadd v2, v4\n v6 = iconst.i64 -8\n v3 = iadd v6, v5",
        "jump block1(v2)\n block1(v3: i64):",
    ] {
        for store in ["store notrap v0, v3", "atomic_store v0, v3"] {
            let body = format!(
                "v2 = stack_addr.i64 ss0\n {address}\n {store}\n call fn0()\n v7 = load.i64 notrap v3\n return v7"
            );
            is_found(&body, ValueType::Data, Unboxed::Never, NO_MAP);
            is_found(&body, ValueType::Data, Unboxed::Any, NO_MAP);
        }
    }
}

#[test]
fn the_lowest_bits_of_an_address_stay() {
    let mask =
        |bits: i32| format!("v2 = iconst.i64 {bits}\n v3 = band v0, v2\n call fn0()\n return v3");
    check(&mask(7), ValueType::Data, Unboxed::LowestBitSet).unwrap();
    is_found(&mask(15), ValueType::Data, Unboxed::LowestBitSet, DERIVED);
}

/// Two references and a derived pointer. The base is overwritten before or after the pointer is stored.
#[test]
fn a_base_that_is_overwritten() {
    let build = |after: bool, other_block: bool| {
        let mut func = Function::new();
        func.signature = Signature::new(CallConv::SystemV);
        func.signature.params = vec![AbiParam::new(types::I64); 2];
        func.signature.returns = vec![AbiParam::new(types::I64)];
        let callee = func.import_signature(Signature::new(CallConv::SystemV));
        let entry = func.dfg.make_block();
        let [a, b] = [(); 2].map(|()| func.dfg.append_block_param(entry, types::I64));
        let slots = DerivedSlots::new(&mut func, types::I64);
        let mut at = FuncCursor::new(&mut func);
        at.insert_block(entry);
        let pointer = at.ins().iadd_imm_s(a, 16);
        slots.store(&mut at, a, pointer);
        if after {
            let base = at.ins().stack_addr(types::I64, slots.base, 0);
            at.ins().store(MemFlagsData::trusted(), b, base, 0);
        }
        if other_block {
            let next = at.func.dfg.make_block();
            at.ins().jump(next, &[]);
            at.insert_block(next);
        }
        let code = at.ins().iconst(types::I64, 0x1000);
        let call = at.ins().call_indirect(callee, code, &[]);
        let pointer = slots.load(&mut at);
        let word = at.ins().load(types::I64, MemFlagsData::trusted(), pointer, 0);
        at.ins().return_(&[word]);
        slots.keep_across(&mut func, call);
        let own = SignatureTypes::new([ValueType::Ref; 2], [ValueType::Data]);
        let mut types = Types::new(own);
        types.declare_signature(callee, SignatureTypes::default());
        check_roots(&func, &types)
    };
    for other_block in [false, true] {
        build(false, other_block).unwrap();
        assert_eq!(build(true, other_block).unwrap_err().law, BAD_MAP);
    }
}
