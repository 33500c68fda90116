//! Every operation, under every collector and every combination of options. The CLIF verifies and
//! lowers, obeys the rules about alias regions, trap codes and cold blocks, and contains nothing
//! unnecessary.

use crate::common::*;
use cranelift_codegen::Context;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_compiler::check::Checker;
use gc_compiler::collector::{drc::DrcCompiler, null::NullCompiler};
use gc_compiler::{
    ArrayInit, Extend, FuncRefTest, FuncRefType, GcCompiler, GcEmitter, RefPlace, RefTest,
    TestTarget, regions, trap_code,
};
use gc_types::{ArrayLayout, RootKind, StorageType, StructLayout, Trap};

/// A value for `ty` that is not a constant.
fn value(e: &mut GcEmitter<'_, '_>, args: Args, ty: StorageType) -> ir::Value {
    match ty {
        StorageType::Ref => args.b,
        StorageType::I64 => args.l,
        StorageType::F32 => e.builder.ins().fcvt_from_sint(types::F32, args.x),
        StorageType::F64 => e.builder.ins().fcvt_from_sint(types::F64, args.l),
        StorageType::V128 => {
            let lane = e.builder.ins().ireduce(types::I8, args.x);
            e.builder.ins().splat(types::I8X16, lane)
        }
        _ => args.x,
    }
}

fn big_struct() -> StructLayout {
    StructLayout::new(StorageType::ALL).unwrap()
}

/// A layout whose second reference lies beyond the null page, and whose last field lies beyond the
/// guard.
fn huge_struct() -> StructLayout {
    let mut fields = vec![StorageType::V128; (3 << 20) / 16];
    // Two references, so that they leave no hole.
    fields[5000..5002].fill(StorageType::Ref);
    fields.push(StorageType::Ref);
    StructLayout::new(fields).unwrap()
}

fn concrete(args: Args, depth: u32, is_final: bool) -> TestTarget {
    TestTarget::Concrete { type_index: args.ty, header_word: args.word, depth, is_final }
}

type NamedOp = (String, Box<dyn Fn(&mut GcEmitter<'_, '_>, Args) -> Option<ir::Value>>);

type NamedPlace = (&'static str, fn(Args) -> RefPlace);

fn operations() -> Vec<NamedOp> {
    let mut ops: Vec<NamedOp> = Vec::new();
    macro_rules! op {
        ($name:expr, $op:expr) => {
            ops.push(($name.to_string(), Box::new($op)))
        };
    }

    op!("struct.new", |e, a| {
        let layout = big_struct();
        let values: Vec<_> = layout.fields.iter().map(|f| value(e, a, f.ty)).collect();
        Some(e.struct_new(a.word, &layout, &values))
    });
    op!("struct.new_default", |e, a| Some(e.struct_new_default(a.word, &big_struct())));
    for (field, ty) in StorageType::ALL.into_iter().enumerate() {
        for extend in [None, Some(Extend::Signed), Some(Extend::Unsigned)] {
            op!(format!("struct.get {ty:?} {extend:?}"), move |e, a| {
                Some(e.struct_get(a.a, &big_struct(), field, extend))
            });
            op!(format!("array.get {ty:?} {extend:?}"), move |e, a| {
                Some(e.array_get(a.a, &ArrayLayout::new(ty), a.x, extend))
            });
        }
        op!(format!("struct.set {ty:?}"), move |e, a| {
            let value = value(e, a, ty);
            e.struct_set(a.a, &big_struct(), field, value);
            None
        });
        op!(format!("array.set {ty:?}"), move |e, a| {
            let value = value(e, a, ty);
            e.array_set(a.a, &ArrayLayout::new(ty), a.y, value);
            None
        });
        op!(format!("array.set {ty:?} at a constant"), move |e, a| {
            let value = value(e, a, ty);
            let index = e.builder.ins().iconst(types::I32, 7);
            e.array_set(a.a, &ArrayLayout::new(ty), index, value);
            None
        });
        op!(format!("array.set {ty:?} of a constant i31, in dead code"), move |e, a| {
            let value = value(e, a, ty);
            let zero = e.builder.ins().iconst(types::I32, 0);
            let array = e.ref_i31(zero);
            e.array_set(array, &ArrayLayout::new(ty), a.y, value);
            None
        });
        op!(format!("array.get {ty:?} at a large constant"), move |e, a| {
            let index = e.builder.ins().iconst(types::I32, 0xffff_fff0);
            Some(e.array_get(a.a, &ArrayLayout::new(ty), index, None))
        });
        op!(format!("array.new_default {ty:?}"), move |e, a| {
            Some(e.array_new(a.word, &ArrayLayout::new(ty), ArrayInit::Default(a.x)))
        });
        op!(format!("array.new {ty:?}"), move |e, a| {
            let value = value(e, a, ty);
            Some(e.array_new(a.word, &ArrayLayout::new(ty), ArrayInit::Fill(value, a.y)))
        });
        op!(format!("array.new_fixed {ty:?}"), move |e, a| {
            let value = value(e, a, ty);
            let values = [value; 3];
            Some(e.array_new(a.word, &ArrayLayout::new(ty), ArrayInit::Elements(&values)))
        });
        op!(format!("array.fill {ty:?}"), move |e, a| {
            let value = value(e, a, ty);
            e.array_fill(a.a, &ArrayLayout::new(ty), a.x, value, a.y);
            None
        });
        op!(format!("array.copy {ty:?}"), move |e, a| {
            e.array_copy(&ArrayLayout::new(ty), (a.a, a.x), (a.b, a.y), a.z);
            None
        });
    }
    op!("array.len", |e, a| Some(e.array_len(a.a)));

    let places: [NamedPlace; 3] = [
        ("field", |a| RefPlace::Field { object: a.a, offset: 12 }),
        ("element", |a| RefPlace::Element { object: a.a, index: a.x, offset: 12 }),
        ("native", |a| RefPlace::Native {
            address: a.l,
            offset: 8,
            region: SLOTS,
            kind: RootKind::Table,
        }),
    ];
    for (name, place) in places {
        op!(format!("read_ref {name}"), move |e, a| Some(e.read_ref(place(a))));
        op!(format!("write_ref {name}"), move |e, a| {
            e.write_ref(place(a), a.b);
            None
        });
        op!(format!("write_ref null {name}"), move |e, a| {
            let null = e.ref_null();
            e.write_ref(place(a), null);
            None
        });
        op!(format!("init_ref {name}"), move |e, a| {
            let object = match name {
                "field" => {
                    let layout = StructLayout::new([StorageType::Ref; 2]).unwrap();
                    e.struct_new_default(a.word, &layout)
                }
                "element" => {
                    let layout = ArrayLayout::new(StorageType::Ref);
                    e.array_new(a.word, &layout, ArrayInit::Default(a.z))
                }
                _ => a.a,
            };
            e.init_ref(place(Args { a: object, ..a }), a.b);
            None
        });
    }

    op!("ref.i31", |e, a| Some(e.ref_i31(a.x)));
    op!("i31.get_s", |e, a| Some(e.i31_get_s(a.a)));
    op!("i31.get_u", |e, a| Some(e.i31_get_u(a.a)));
    op!("ref.is_null", |e, a| Some(e.ref_is_null(a.a)));
    op!("ref.eq", |e, a| Some(e.ref_eq(a.a, a.b)));
    op!("ref.as_non_null", |e, a| {
        e.trap_if_null(a.a);
        None
    });
    let targets: [fn(Args) -> TestTarget; 11] = [
        |_| TestTarget::Any,
        |_| TestTarget::Eq,
        |_| TestTarget::I31,
        |_| TestTarget::Struct,
        |_| TestTarget::Array,
        |_| TestTarget::Extern,
        |_| TestTarget::Exn,
        |_| TestTarget::None,
        |a| concrete(a, 3, false),
        |a| concrete(a, 3, true),
        |a| concrete(a, 11, false),
    ];
    for (i, target) in targets.into_iter().enumerate() {
        for known in 0..8 {
            let test = move |a| {
                RefTest::new(known & 1 != 0, target(a)).knowing(known & 2 != 0, known & 4 != 0)
            };
            op!(format!("ref.test {i} {known}"), move |e, a| { Some(e.ref_test(a.a, &test(a))) });
            op!(format!("ref.cast {i} {known}"), move |e, a| {
                e.ref_cast(a.a, &test(a));
                Some(a.a)
            });
            op!(format!("br_on_cast {i} {known}"), move |e, a| {
                let (yes, no) = (e.builder.create_block(), e.builder.create_block());
                e.ref_test_branch(a.a, &test(a), yes, no);
                e.builder.seal_block(yes);
                e.builder.seal_block(no);
                e.builder.switch_to_block(no);
                e.builder.ins().trap(trap_code(Trap::UnreachableCodeReached));
                e.builder.switch_to_block(yes);
                None
            });
        }
    }
    for (name, depth, is_final) in [("final", 2, true), ("open", 2, false), ("deep", 9, false)] {
        for known in 0..4 {
            let test = move |a: Args| FuncRefTest {
                nullable: known & 1 != 0,
                known_non_null: known & 2 != 0,
                target: Some(FuncRefType { type_index: a.ty, depth, is_final }),
            };
            op!(format!("func ref.test {name} {known}"), move |e, a| {
                Some(e.func_ref_test(a.l, &test(a)))
            });
            op!(format!("func ref.cast {name} {known}"), move |e, a| {
                e.func_ref_cast(a.l, &test(a), Trap::CastFailure);
                None
            });
        }
        for nullable in [false, true] {
            op!(format!("func_ref_from_id {name} nullable={nullable}"), move |e, a| {
                let expected = FuncRefType { type_index: a.ty, depth, is_final };
                Some(e.func_ref_from_id(a.x, nullable, Some(&expected)))
            });
        }
    }
    op!("func ref.test any", |e, a| {
        let test = FuncRefTest { nullable: false, known_non_null: false, target: None };
        Some(e.func_ref_test(a.l, &test))
    });
    op!("func_ref_from_id any", |e, a| Some(e.func_ref_from_id(a.x, true, None)));
    op!("func_ref_to_id", |e, a| Some(e.func_ref_to_id(a.l, true)));
    op!("func_ref_to_id non-null", |e, a| Some(e.func_ref_to_id(a.l, false)));
    ops
}

/// The instructions of `func` with their blocks.
fn instructions(func: &ir::Function) -> impl Iterator<Item = (ir::Block, ir::Inst)> {
    func.layout.blocks().flat_map(|b| func.layout.block_insts(b).map(move |i| (b, i)))
}

/// Names of the host calls made outside cold blocks, and inside them.
fn calls(func: &ir::Function) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut hot, mut cold) = (Vec::new(), Vec::new());
    for (block, inst) in instructions(func) {
        if let ir::InstructionData::Call { func_ref, .. } = func.dfg.insts[inst] {
            let ir::ExternalName::User(name) = func.dfg.ext_funcs[func_ref].name else {
                panic!("only host calls are called")
            };
            let index = func.params.user_named_funcs()[name].index;
            let name = gc_types::HostCall::from_index(index).gc_signature().unwrap().name;
            if func.layout.is_cold(block) { cold.push(name) } else { hot.push(name) }
        }
    }
    (hot, cold)
}

#[test]
fn every_operation_verifies_lowers_and_keeps_the_rules() {
    let isa = host_isa();
    for compiler in COLLECTORS {
        for options in all_options() {
            let operations = operations();
            let both = operations.iter().flat_map(|op| [(op, false), (op, true)]);
            for ((name, op), simplifies) in both {
                let simplified = if simplifies { "simplified, " } else { "" };
                let name = format!("{name} ({simplified}{}, {options:?})", compiler.name());
                let func = build_with(&isa, compiler, &options, op, simplifies);
                cranelift_codegen::verify_function(&func, &*isa)
                    .unwrap_or_else(|error| panic!("{name}: {error}\n{func}"));
                // The code does not show that a place had no reference before.
                let checkers = match name.starts_with("init_ref native") {
                    true => &[Checker::Roots, Checker::Sandbox][..],
                    false => &Checker::ALL,
                };
                check(&func, compiler, &options, checkers)
                    .unwrap_or_else(|error| panic!("{name}: {error}\n{func}"));
                let mut context = Context::for_function(func);
                context
                    .compile(&*isa, &mut Default::default())
                    .unwrap_or_else(|error| panic!("{name}: {}", error.inner));
            }
        }
    }
}

#[test]
fn only_bulk_operations_call_the_host_from_hot_blocks() {
    let isa = host_isa();
    for compiler in COLLECTORS {
        for options in all_options() {
            for (name, op) in operations() {
                let func = build(&isa, compiler, &options, &*op);
                let (hot, cold) = calls(&func);
                for call in hot {
                    let allowed = matches!(call, "gc_array_copy" | "gc_array_fill");
                    assert!(allowed, "{name} ({}) calls {call}", compiler.name());
                }
                let barrier = cold.contains(&"gc_collector");
                let is_write = name.starts_with("write_ref");
                let is_read = name.starts_with("read_ref");
                if is_write || is_read {
                    assert_eq!(barrier, is_write && compiler.name() == "drc", "{name}");
                }
            }
        }
    }
}

#[test]
fn every_call_has_a_map_of_what_is_live() {
    let isa = host_isa();
    let func = build(&isa, &NullCompiler, &guarded(), &|e, a| {
        Some(e.struct_new(a.word, &StructLayout::new([StorageType::Ref]).unwrap(), &[a.b]))
    });
    let mut context = Context::for_function(func);
    let compiled = context.compile(&*isa, &mut Default::default()).unwrap();
    let maps = compiled.buffer.user_stack_maps();
    assert_eq!(maps.len(), 1);
    assert_eq!(maps[0].2.entries().count(), 2, "a and b live over the slow path");
}

#[test]
fn null_allocation_is_one_compare_and_two_stores() {
    let isa = host_isa();
    let func = build(&isa, &NullCompiler, &guarded(), &|e, a| {
        Some(e.struct_new_default(a.word, &StructLayout::new([StorageType::Ref]).unwrap()))
    });
    let hot = |wanted: fn(ir::Opcode) -> bool| {
        instructions(&func)
            .filter(|(block, inst)| {
                let data = &func.dfg.insts[*inst];
                let spill = data.alias_region(&func.dfg).is_some_and(|region| {
                    let region = func.dfg.alias_regions[region].user_id;
                    region >= regions::EMBEDDER
                });
                !func.layout.is_cold(*block) && !spill && wanted(data.opcode())
            })
            .count()
    };
    assert_eq!(hot(|opcode| opcode == ir::Opcode::Icmp), 1, "{func}");
    assert_eq!(hot(|opcode| opcode == ir::Opcode::Brif), 1, "{func}");
    assert_eq!(hot(|opcode| opcode.can_store()), 2, "bump and header: {func}");
}

#[test]
fn initialising_with_zero_stores_nothing() {
    let isa = host_isa();
    for compiler in COLLECTORS {
        let func = build(&isa, compiler, &guarded(), &|e, a| {
            let layout =
                StructLayout::new([StorageType::Ref, StorageType::I32, StorageType::F64]).unwrap();
            let null = e.ref_null();
            let zero = e.builder.ins().iconst(types::I32, 0);
            let float = e.builder.ins().f64const(0.0);
            e.struct_new(a.word, &layout, &[null, zero, float]);
            let fill = ArrayInit::Fill(zero, a.x);
            Some(e.array_new(a.word, &ArrayLayout::new(StorageType::I32), fill))
        });
        for (_, inst) in instructions(&func) {
            let region = func.dfg.insts[inst].alias_region(&func.dfg);
            let region = region.map(|r| func.dfg.alias_regions[r].user_id);
            assert_ne!(region, Some(regions::STRUCT_FIELD));
            assert_ne!(region, Some(regions::ARRAY_ELEMENT));
            assert_ne!(region, Some(regions::STRUCT_REF_FIELD));
        }
    }
}

#[test]
fn negative_zero_is_not_zero() {
    let func = build(&host_isa(), &NullCompiler, &guarded(), &|e, a| {
        let float = e.builder.ins().f64const(-0.0);
        let layout = StructLayout::new([StorageType::F64]).unwrap();
        Some(e.struct_new(a.word, &layout, &[float]))
    });
    assert!(func.dfg.alias_regions.contains(regions::STRUCT_FIELD));
}

/// Counts of explicit null checks, bound checks and trapping accesses by code.
fn traps(func: &ir::Function, wanted: Trap) -> (usize, usize) {
    let (mut explicit, mut implicit) = (0, 0);
    for (_, inst) in instructions(func) {
        let data = &func.dfg.insts[inst];
        if data.trap_code() == Some(trap_code(wanted)) {
            explicit += 1;
        }
        if data.memflags_data(&func.dfg).and_then(|f| f.trap_code()) == Some(trap_code(wanted)) {
            implicit += 1;
        }
    }
    (explicit, implicit)
}

#[test]
fn fields_are_checked_as_far_as_pages_do_not_do_it() {
    let isa = host_isa();
    let layout = huge_struct();
    let last = layout.fields.len() - 1;
    let get = |options: &_, field: usize| {
        build(&isa, &NullCompiler, options, &|e, a| Some(e.struct_get(a.a, &layout, field, None)))
    };
    let guarded = guarded();
    let checked = guarded.clone().with_bounds(gc_types::HeapBounds::Checked);

    let near = get(&guarded, 0);
    assert_eq!(traps(&near, Trap::NullReference), (0, 1));
    assert_eq!(traps(&near, Trap::CorruptHeap), (0, 0));
    let behind_the_null_page = get(&guarded, 5000);
    assert_eq!(traps(&behind_the_null_page, Trap::NullReference), (1, 1));
    assert_eq!(traps(&behind_the_null_page, Trap::CorruptHeap), (0, 0));
    let behind_the_guard = get(&guarded, last);
    assert_eq!(traps(&behind_the_guard, Trap::NullReference), (1, 1));
    assert_eq!(traps(&behind_the_guard, Trap::CorruptHeap), (1, 0));
    for field in [0, 5000, last] {
        let func = get(&checked, field);
        assert_eq!(traps(&func, Trap::NullReference), (1, 1));
        assert_eq!(traps(&func, Trap::CorruptHeap), (1, 0));
    }
}

#[test]
fn guarded_elements_are_addressed_in_32_bits() {
    let isa = host_isa();
    let func = build(&isa, &NullCompiler, &guarded(), &|e, a| {
        Some(e.array_get(a.a, &ArrayLayout::new(StorageType::I64), a.x, None))
    });
    let (explicit, implicit) = traps(&func, Trap::CorruptHeap);
    assert_eq!((explicit, implicit), (0, 1), "the element's load may meet a corrupt length");
    let scaled = instructions(&func)
        .filter(|(_, inst)| func.dfg.insts[*inst].opcode() == ir::Opcode::Ishl)
        .all(|(_, inst)| func.dfg.value_type(func.dfg.inst_results(inst)[0]) == types::I32);
    assert!(scaled, "{func}");
}

#[test]
fn drc_barriers_branch_once_on_null_and_i31() {
    let isa = host_isa();
    let func = build(&isa, &DrcCompiler, &guarded(), &|e, a| {
        e.write_ref(RefPlace::Field { object: a.a, offset: 8 }, a.b);
        None
    });
    let is_cold = |block| func.layout.is_cold(block);
    let branches = instructions(&func)
        .filter(|(block, inst)| {
            !is_cold(*block) && func.dfg.insts[*inst].opcode() == ir::Opcode::Brif
        })
        .count();
    assert_eq!(branches, 5, "mature; each of new and old in the heap, to be listed: {func}");
    assert_eq!(calls(&func), (vec![], vec!["gc_collector", "gc_collector"]));
}

/// The count of an object that is stored over itself must not reach zero in between.
#[test]
fn drc_counts_up_then_stores_then_counts_down() {
    let func = build(&host_isa(), &DrcCompiler, &guarded(), &|e, a| {
        let place =
            RefPlace::Native { address: a.l, offset: 8, region: SLOTS, kind: RootKind::Table };
        e.write_ref(place, a.b);
        None
    });
    let stores: Vec<_> = instructions(&func)
        .filter(|(block, _)| !func.layout.is_cold(*block))
        .filter(|(_, inst)| func.dfg.insts[*inst].opcode().can_store())
        .filter_map(|(_, inst)| func.dfg.insts[inst].alias_region(&func.dfg))
        .map(|region| func.dfg.alias_regions[region].user_id)
        .filter(|region| *region <= SLOTS)
        .collect();
    assert_eq!(stores, [regions::HEADER, SLOTS, regions::HEADER]);
}

#[test]
fn compilers_are_object_safe_and_shared() {
    fn shared<T: Send + Sync + ?Sized>(_: &T) {}
    let compilers: [std::sync::Arc<dyn GcCompiler>; 2] =
        [std::sync::Arc::new(NullCompiler), std::sync::Arc::new(DrcCompiler)];
    for compiler in &compilers {
        shared(compiler);
    }
    assert_eq!(compilers.map(|c| c.name()), ["null", "drc"]);
}
