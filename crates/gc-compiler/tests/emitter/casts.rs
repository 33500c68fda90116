//! Runs tests, casts and function references, and compares them with a model of the type hierarchy.

use crate::common::machine::{Code, Machine};
use crate::common::*;
use cranelift_codegen::ir::{InstBuilder, types};
use gc_compiler::collector::null::NullCompiler;
use gc_compiler::{FuncRefTest, FuncRefType, RefTest, TestTarget};
use gc_types::{HostCall, NULL_PAGE_SIZE, Trap, TypeIndex, VMGcKind, VMOffsets};

const HEAP: u32 = NULL_PAGE_SIZE;

/// The kind and the ancestors of type `index`. There is a chain of struct types 10 > 11 > … > 20,
/// each the parent of the next, and one array type 30.
fn type_of(index: u32) -> (VMGcKind, Vec<u32>) {
    match index {
        10..=20 => (VMGcKind::StructRef, (10..=index).collect()),
        _ => (VMGcKind::ArrayRef, vec![index]),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Null,
    I31(i32),
    Object(u32),
    Extern,
    Exn,
    /// A header with this type index, which is not a type.
    Corrupt(u32),
}

/// The expected result of a test.
fn expected(value: Value, nullable: bool, target: &TestTarget, ty: u32) -> bool {
    let kind = match value {
        Value::Null => return nullable,
        Value::I31(_) => {
            return matches!(
                target,
                TestTarget::Any | TestTarget::Extern | TestTarget::Eq | TestTarget::I31
            );
        }
        Value::Object(index) => type_of(index).0,
        Value::Extern => VMGcKind::ExternRef,
        Value::Exn => VMGcKind::ExnRef,
        Value::Corrupt(_) => VMGcKind::StructRef,
    };
    match target {
        TestTarget::Any | TestTarget::Extern => true,
        TestTarget::Eq => kind.matches(VMGcKind::EqRef),
        TestTarget::I31 | TestTarget::None => false,
        TestTarget::Struct => kind == VMGcKind::StructRef,
        TestTarget::Array => kind == VMGcKind::ArrayRef,
        TestTarget::Exn => kind == VMGcKind::ExnRef,
        TestTarget::Concrete { .. } => match value {
            Value::Object(index) => type_of(index).1.contains(&ty),
            _ => false,
        },
    }
}

#[test]
fn tests_casts_and_branches_agree_with_the_hierarchy() {
    let object = HEAP + 512;
    let values = [
        Value::Null,
        Value::I31(0),
        Value::I31(-1),
        Value::I31(11),
        Value::Object(10),
        Value::Object(12),
        Value::Object(13),
        Value::Object(20),
        Value::Object(30),
        Value::Extern,
        Value::Exn,
        Value::Corrupt(9),
        Value::Corrupt(VMOffsets::DISPLAY_TYPES * 3 + 5),
        Value::Corrupt(TypeIndex::MAX),
    ];
    let mut machine = Machine::new();
    for index in (10..=20).chain([30]) {
        machine.display(index, &type_of(index).1);
    }
    // (target, type index, depth, final)
    let concrete = [(10, 0, false), (12, 2, false), (12, 2, true), (17, 7, false), (30, 0, false)];
    let abstracts: [TestTarget; 8] = [
        TestTarget::Any,
        TestTarget::Eq,
        TestTarget::I31,
        TestTarget::Struct,
        TestTarget::Array,
        TestTarget::Extern,
        TestTarget::Exn,
        TestTarget::None,
    ];
    let cases =
        (0..abstracts.len() + concrete.len()).flat_map(|i| (0..8).map(move |known| (i, known)));
    for (i, known) in cases {
        let (nullable, non_null, not_i31) = (known & 1 != 0, known & 2 != 0, known & 4 != 0);
        let (ty, depth, is_final) =
            i.checked_sub(abstracts.len()).map_or((0, 0, false), |i| concrete[i]);
        let test = |a: Args| {
            let target = abstracts.get(i).copied().unwrap_or(TestTarget::Concrete {
                type_index: a.ty,
                header_word: a.word,
                depth,
                is_final,
            });
            RefTest::new(nullable, target).knowing(non_null, not_i31)
        };
        let test_code =
            Code::new(&NullCompiler, &guarded(), &|e, a| Some(e.ref_test(a.a, &test(a))));
        let branch_code = Code::new(&NullCompiler, &guarded(), &|e, a| {
            let blocks = [(); 3].map(|()| e.builder.create_block());
            let outcome = e.builder.append_block_param(blocks[2], types::I64);
            e.ref_test_branch(a.a, &test(a), blocks[0], blocks[1]);
            for (block, value) in [(blocks[0], 1), (blocks[1], 0)] {
                e.builder.seal_block(block);
                e.builder.switch_to_block(block);
                let value = e.builder.ins().iconst(types::I64, value);
                e.builder.ins().jump(blocks[2], &[value.into()]);
            }
            e.builder.seal_block(blocks[2]);
            e.builder.switch_to_block(blocks[2]);
            Some(outcome)
        });
        let cast_code = Code::new(&NullCompiler, &guarded(), &|e, a| {
            e.ref_cast(a.a, &test(a));
            Some(a.a)
        });
        for value in values {
            if non_null && value == Value::Null || not_i31 && matches!(value, Value::I31(_)) {
                continue;
            }
            let (kind, index) = match value {
                Value::Object(index) => (type_of(index).0, TypeIndex::new(index).unwrap()),
                Value::Exn => (VMGcKind::ExnRef, TypeIndex::new(40).unwrap()),
                Value::Corrupt(index) => (VMGcKind::StructRef, TypeIndex::new(index).unwrap()),
                _ => (VMGcKind::ExternRef, TypeIndex::NONE),
            };
            machine.object(object, kind, index, 0);
            let reference = match value {
                Value::Null => 0,
                Value::I31(value) => i31(value),
                _ => u64::from(object),
            };
            let expected_type = TypeIndex::new(ty).unwrap();
            let mut args = RawArgs {
                a: reference,
                ty,
                word: expected_type.header_word(type_of(ty).0),
                ..Default::default()
            };
            // A type with subtypes that is tested as final does not match its subtypes.
            let target = abstracts.get(i).copied();
            let concrete_target =
                test_target_of(target.as_ref(), is_final && value != Value::Object(ty));
            let expected = match concrete_target {
                None => value == Value::Null && nullable,
                Some(target) => expected(value, nullable, &target, ty),
            };
            let what = format!("{value:?} is {target:?} {ty} (known {known}, final {is_final})");
            assert_eq!(machine.run(&test_code, &mut args), u64::from(expected), "test: {what}");
            assert_eq!(machine.run(&branch_code, &mut args), u64::from(expected), "br: {what}");
            if expected {
                assert_eq!(machine.run(&cast_code, &mut args), reference, "cast: {what}");
            } else {
                let signal = machine.signal(&cast_code, &mut args);
                assert_eq!(signal, Some(libc::SIGILL), "cast: {what}");
            }
            assert_eq!(machine.calls(), [], "{what}");
        }
    }
}

/// The target for the model: the abstract one, or any concrete one. `None` if only null can pass.
fn test_target_of(target: Option<&TestTarget>, nothing: bool) -> Option<TestTarget> {
    match target {
        Some(target) => Some(*target),
        None if nothing => None,
        None => {
            let any = cranelift_codegen::ir::Value::from_u32(0);
            Some(TestTarget::Concrete {
                type_index: any,
                header_word: any,
                depth: 0,
                is_final: false,
            })
        }
    }
}

#[test]
fn types_deeper_than_a_row_ask_the_host() {
    let code = Code::new(&NullCompiler, &guarded(), &|e, a| {
        let target = TestTarget::Concrete {
            type_index: a.ty,
            header_word: a.word,
            depth: VMOffsets::DISPLAY_ROW,
            is_final: false,
        };
        Some(e.ref_test(a.a, &RefTest::new(false, target)))
    });
    let mut machine = Machine::new();
    let word = TypeIndex::new(18).unwrap().header_word(VMGcKind::StructRef);
    machine.object(HEAP, VMGcKind::StructRef, TypeIndex::new(20).unwrap(), 0);
    let mut args = RawArgs { a: HEAP.into(), ty: 18, word, ..Default::default() };
    for answer in [0, 1] {
        machine.host_returns(answer);
        assert_eq!(machine.run(&code, &mut args), answer);
        assert_eq!(machine.calls(), [(HostCall::IS_SUBTYPE, vec![20, 18])]);
    }
    // The type itself needs no host call.
    machine.object(HEAP, VMGcKind::StructRef, TypeIndex::new(18).unwrap(), 0);
    machine.host_returns(0);
    assert_eq!(machine.run(&code, &mut args), 1);
    assert_eq!(machine.calls(), []);
}

#[test]
fn function_references_survive_the_heap_and_nothing_else_does() {
    // Types 10 > 11 > 12 of functions; a native reference of type 12 with id 3.
    let mut machine = Machine::new();
    for index in 10..=12 {
        machine.display(index, &type_of(index).1);
    }
    let func_ref = [0u64, 0, 12 | 3 << 32];
    let address = func_ref.as_ptr() as u64;
    machine.func_ref(3, address);
    machine.func_ref(Machine::FUNC_REFS, address);

    for nullable in [false, true] {
        let to_id =
            Code::new(&NullCompiler, &guarded(), &|e, a| Some(e.func_ref_to_id(a.l, nullable)));
        let mut args = RawArgs { l: address, ..Default::default() };
        assert_eq!(machine.run(&to_id, &mut args), 3);
        if nullable {
            assert_eq!(machine.run(&to_id, &mut RawArgs::default()), 0);
        }
    }

    for (ty, depth, is_final, good) in [
        (12, 2, true, true),
        (12, 2, false, true),
        (10, 0, false, true),
        (11, 1, false, true),
        (10, 0, true, false),
        (9, 0, false, false),
        (13, 3, false, false),
    ] {
        for nullable in [false, true] {
            let from_id = Code::new(&NullCompiler, &guarded(), &|e, a| {
                let expected = FuncRefType { type_index: a.ty, depth, is_final };
                Some(e.func_ref_from_id(a.x, nullable, Some(&expected)))
            });
            let mut args = RawArgs { x: 3, ty, ..Default::default() };
            let mut null = RawArgs { ty, ..Default::default() };
            if good {
                assert_eq!(machine.run(&from_id, &mut args), address, "{ty}");
            } else {
                assert_eq!(machine.signal(&from_id, &mut args), Some(libc::SIGILL), "{ty}");
            }
            if nullable {
                assert_eq!(machine.run(&from_id, &mut null), 0);
            } else {
                assert_eq!(machine.signal(&from_id, &mut null), Some(libc::SIGILL));
            }
            for bad in [4, 16, u32::MAX] {
                let mut args = RawArgs { x: bad, ty, ..Default::default() };
                assert_eq!(machine.signal(&from_id, &mut args), Some(libc::SIGILL), "id {bad}");
            }

            let test = |a: Args| FuncRefTest {
                nullable,
                known_non_null: false,
                target: Some(FuncRefType { type_index: a.ty, depth, is_final }),
            };
            let tested =
                Code::new(&NullCompiler, &guarded(), &|e, a| Some(e.func_ref_test(a.l, &test(a))));
            let cast = Code::new(&NullCompiler, &guarded(), &|e, a| {
                e.func_ref_cast(a.l, &test(a), Trap::CastFailure);
                None
            });
            for (l, passes) in [(address, good), (0, nullable)] {
                let mut args = RawArgs { l, ty, ..Default::default() };
                assert_eq!(machine.run(&tested, &mut args), u64::from(passes));
                let signal = (!passes).then_some(libc::SIGILL);
                assert_eq!(machine.signal(&cast, &mut args), signal);
            }
        }
    }
    let any =
        Code::new(&NullCompiler, &guarded(), &|e, a| Some(e.func_ref_from_id(a.x, true, None)));
    let mut args = RawArgs { x: 3, ..Default::default() };
    assert_eq!(machine.run(&any, &mut args), address);
    assert_eq!(machine.calls(), []);
}
