//! What emitted code does when it runs: allocation, barriers, accesses and tests
//! against what they should do, each with and without bounds checks.
#![cfg(all(target_arch = "x86_64", unix))]

mod common;

use common::machine::{Code, Machine};
use common::*;
use cranelift_codegen::ir::{InstBuilder, types};
use gc_compiler::collector::{drc::DrcCompiler, null::NullCompiler};
use gc_compiler::{
    ArrayInit, CompilerOptions, Extend, FuncRefTest, FuncRefType, RefPlace, RefTest, TestTarget,
    regions,
};
use gc_types::collector::{drc, null};
use gc_types::{
    ArrayLayout, HeapDataOffsets, HostCall, I31, NULL_PAGE_SIZE, StorageType, StructLayout, Trap,
    TypeIndex, VMGcKind, VMGcRef, VMOffsets,
};

const HEAP: u32 = NULL_PAGE_SIZE;
const WORD: u32 = 0b01110 << 26 | 77;

/// Both ways to address the heap, without zeal.
fn modes() -> impl Iterator<Item = CompilerOptions> {
    all_options().filter(|options| !options.zeal)
}

fn i31(value: i32) -> u64 {
    u64::from(VMGcRef::from_i31(I31::wrapping_i32(value)).as_raw_u32())
}

/// A machine whose `null` heap has `room` bytes left.
fn null_machine(room: u32) -> Machine {
    let mut machine = Machine::new();
    machine.set_data_u32(null::NEXT, HEAP);
    machine.set_data_u32(null::LIMIT, HEAP + room);
    machine
}

#[test]
fn null_allocates_between_next_and_limit() {
    let layout = StructLayout::new([StorageType::I8, StorageType::Ref, StorageType::I64]).unwrap();
    for options in modes() {
        let code = Code::new(&NullCompiler, &options, &|c, e, a| {
            Some(c.struct_new(e, a.word, &layout, &[a.x, a.b, a.l]))
        });
        let mut machine = null_machine(layout.size + 8);
        machine.host_returns(4711 * 8);
        let mut args =
            RawArgs { b: 0x12344, x: 0x1fe, word: WORD, l: u64::MAX / 3, ..Default::default() };
        assert_eq!(machine.run(&code, &mut args), u64::from(HEAP));
        assert_eq!(machine.data_u32(null::NEXT), HEAP + layout.size);
        assert_eq!((machine.u32(HEAP), machine.u32(HEAP + 4)), (WORD, 0));
        assert_eq!(machine.bytes::<1>(HEAP + layout.fields[0].offset), [0xfe]);
        assert_eq!(machine.u32(HEAP + layout.fields[1].offset), 0x12344);
        let long = machine.bytes::<8>(HEAP + layout.fields[2].offset);
        assert_eq!(u64::from_le_bytes(long), u64::MAX / 3);
        assert_eq!(machine.calls(), []);

        // The next one does not fit; the host's object is initialised all the same.
        machine.host_returns(u64::from(HEAP + 4096));
        assert_eq!(machine.run(&code, &mut args), u64::from(HEAP + 4096));
        assert_eq!(machine.calls(), [(HostCall::ALLOC_STRUCT, vec![u64::from(WORD)])]);
        assert_eq!(machine.data_u32(null::NEXT), HEAP + layout.size);
        assert_eq!(machine.u32(HEAP + 4096 + layout.fields[1].offset), 0x12344);
        assert_eq!((args.a, args.b), (0, 0x12344), "values live over the call");

        // What fits exactly, fits.
        let mut machine = null_machine(layout.size);
        assert_eq!(machine.run(&code, &mut args), u64::from(HEAP));
        assert_eq!(machine.calls(), []);
        let mut machine = null_machine(layout.size - 1);
        machine.host_returns(u64::from(HEAP + 4096));
        machine.run(&code, &mut args);
        assert_eq!(machine.calls().len(), 1);
    }
}

#[test]
fn zeal_counts_inline_allocations_down() {
    for options in all_options().filter(|options| options.zeal) {
        let layout = StructLayout::new([]).unwrap();
        let code = Code::new(&NullCompiler, &options, &|c, e, a| {
            Some(c.struct_new_default(e, a.word, &layout))
        });
        let mut machine = null_machine(4096);
        machine.set_data_u32(HeapDataOffsets::ZEAL_COUNTDOWN, 2);
        machine.host_returns(u64::from(HEAP + 2048));
        for expected in [HEAP, HEAP + 8, HEAP + 2048, HEAP + 2048] {
            assert_eq!(machine.run(&code, &mut RawArgs::default()), u64::from(expected));
        }
        assert_eq!(machine.data_u32(HeapDataOffsets::ZEAL_COUNTDOWN), 0);
        assert_eq!(machine.data_u32(null::NEXT), HEAP + 16);
        assert_eq!(machine.calls().len(), 2);
    }
}

#[test]
fn null_arrays_are_sized_without_wrapping() {
    for options in modes() {
        for element in [StorageType::I8, StorageType::I64, StorageType::V128] {
            let layout = ArrayLayout::new(element);
            let code = Code::new(&NullCompiler, &options, &|c, e, a| {
                Some(c.array_new(e, a.word, &layout, ArrayInit::Default(a.x)))
            });
            for length in [0, 1, 3, 4, 5, 100] {
                let mut machine = null_machine(1 << 16);
                let mut args = RawArgs { x: length, word: WORD, ..Default::default() };
                assert_eq!(machine.run(&code, &mut args), u64::from(HEAP));
                let size = layout.size(length).unwrap();
                assert_eq!(machine.data_u32(null::NEXT), HEAP + size, "{element:?} {length}");
                assert_eq!(machine.u32(HEAP + ArrayLayout::LENGTH_OFFSET), length);
            }
            for length in [1 << 16, 1 << 28, 1 << 29, u32::MAX - 7, u32::MAX] {
                let mut machine = null_machine(1 << 16);
                machine.host_returns(u64::from(HEAP));
                let mut args = RawArgs { x: length, word: WORD, ..Default::default() };
                machine.run(&code, &mut args);
                let expected = vec![u64::from(WORD), u64::from(length)];
                assert_eq!(machine.calls(), [(HostCall::ALLOC_ARRAY, expected)]);
                assert_eq!(machine.data_u32(null::NEXT), HEAP);
            }
        }
    }
}

#[test]
fn arrays_are_initialised() {
    for options in modes() {
        let layout = ArrayLayout::new(StorageType::I16);
        let fill = Code::new(&NullCompiler, &options, &|c, e, a| {
            Some(c.array_new(e, a.word, &layout, ArrayInit::Fill(a.x, a.y)))
        });
        for length in [0, 1, 2, 9] {
            let mut machine = null_machine(4096);
            let mut args = RawArgs { x: 0xabcd, y: length, ..Default::default() };
            machine.run(&fill, &mut args);
            for i in 0..12 {
                let expected = if i < length { 0xabcd_u16 } else { 0 };
                let at = HEAP + layout.element_offset(i) as u32;
                assert_eq!(machine.bytes(at), expected.to_le_bytes(), "{i} of {length}");
            }
        }

        let layout = ArrayLayout::new(StorageType::Ref);
        let fixed = Code::new(&NullCompiler, &options, &|c, e, a| {
            let null = e.ref_null();
            let elements = [a.a, null, a.b];
            Some(c.array_new(e, a.word, &layout, ArrayInit::Elements(&elements)))
        });
        let mut machine = null_machine(4096);
        let mut args = RawArgs { a: 0x10008, b: 0x10010, ..Default::default() };
        machine.run(&fixed, &mut args);
        assert_eq!(machine.u32(HEAP + ArrayLayout::LENGTH_OFFSET), 3);
        let elements: Vec<u32> =
            (0..3).map(|i| machine.u32(HEAP + layout.element_offset(i) as u32)).collect();
        assert_eq!(elements, [0x10008, 0, 0x10010]);
    }
}

#[test]
fn fields_and_elements_read_back_what_was_written() {
    use StorageType::*;
    let layout = StructLayout::new([I8, I8, I16, I32, I64, F32, F64, Ref, FuncRef, V128]).unwrap();
    for options in modes() {
        for (field, field_layout) in layout.fields.iter().enumerate() {
            let ty = field_layout.ty;
            let array = ArrayLayout::new(ty);
            for extend in [Extend::Signed, Extend::Unsigned] {
                let code = Code::new(&NullCompiler, &options, &|c, e, a| {
                    let value = match ty {
                        I64 => a.l,
                        Ref => a.b,
                        F32 => e.builder.ins().fcvt_from_sint(types::F32, a.x),
                        F64 => e.builder.ins().fcvt_from_sint(types::F64, a.x),
                        V128 => {
                            let lanes = e.builder.ins().scalar_to_vector(types::I32X4, a.x);
                            let flags = cranelift_codegen::ir::MemFlagsData::new()
                                .with_endianness(cranelift_codegen::ir::Endianness::Little);
                            e.builder.ins().bitcast(types::I8X16, flags, lanes)
                        }
                        _ => a.x,
                    };
                    c.struct_set(e, a.a, &layout, field, value);
                    let read = c.struct_get(e, a.a, &layout, field, Some(extend));
                    // Through the array too, at an index and at a constant.
                    c.array_set(e, a.b, &array, a.y, read);
                    let read = c.array_get(e, a.b, &array, a.y, Some(extend));
                    let two = e.builder.ins().iconst(types::I32, 2);
                    c.array_set(e, a.b, &array, two, read);
                    Some(c.array_get(e, a.b, &array, two, Some(extend)))
                });
                let mut machine = Machine::new();
                let elements = HEAP + 1024;
                machine.set_u32(elements + ArrayLayout::LENGTH_OFFSET, 3);
                let mut args = RawArgs {
                    a: u64::from(HEAP + 64),
                    b: u64::from(elements),
                    x: 0xfedc_ba98,
                    y: 1,
                    l: 0x0123_4567_89ab_cdef,
                    ..Default::default()
                };
                let signed = extend == Extend::Signed;
                let expected = match ty {
                    I8 if signed => 0xffff_ff98,
                    I8 => 0x98,
                    I16 if signed => 0xffff_ba98,
                    I16 => 0xba98,
                    I64 => args.l,
                    Ref => args.b,
                    F32 => u64::from((0xfedc_ba98_u32.cast_signed() as f32).to_bits()),
                    F64 => f64::from(0xfedc_ba98_u32.cast_signed()).to_bits(),
                    _ => 0xfedc_ba98,
                };
                assert_eq!(machine.run(&code, &mut args), expected, "{ty:?} {extend:?}");
                let size = ty.size() as usize;
                let stored = machine.bytes::<16>(HEAP + 64 + field_layout.offset);
                assert_eq!(
                    stored[..size],
                    expected.to_le_bytes().repeat(2)[..size][..size.min(8)]
                        .iter()
                        .copied()
                        .chain(std::iter::repeat(0))
                        .take(size)
                        .collect::<Vec<_>>()[..]
                );
                for index in 0..3 {
                    let at = elements + array.element_offset(index) as u32;
                    let element = machine.bytes::<16>(at);
                    let expected = if index == 0 { [0; 16] } else { stored };
                    assert_eq!(element[..size], expected[..size], "{ty:?} element {index}");
                }
            }
        }
    }
}

#[test]
fn bulk_operations_pass_bits_and_check_for_null() {
    for options in modes() {
        let layout = ArrayLayout::new(StorageType::F32);
        let fill = Code::new(&DrcCompiler, &options, &|c, e, a| {
            let value = e.builder.ins().f32const(-2.0);
            c.array_fill(e, a.a, &layout, a.x, value, a.y);
            None
        });
        let copy = Code::new(&DrcCompiler, &options, &|c, e, a| {
            c.array_copy(e, a.a, a.x, a.b, a.y, a.z);
            None
        });
        let mut machine = Machine::new();
        let mut args =
            RawArgs { a: 0x10000, b: 0x10010, x: 5, y: u32::MAX, z: 3, ..Default::default() };
        machine.run(&fill, &mut args);
        machine.run(&copy, &mut args);
        let bits = u64::from((-2.0_f32).to_bits());
        let max = u64::from(u32::MAX);
        assert_eq!(
            machine.calls(),
            [
                (HostCall::ARRAY_FILL, vec![0x10000, 5, bits, max]),
                (HostCall::ARRAY_COPY, vec![0x10000, 5, 0x10010, max, 3]),
            ]
        );
        for (a, b) in [(0, 0x10010), (0x10000, 0)] {
            let mut args = RawArgs { a, b, ..Default::default() };
            assert_eq!(machine.signal(&copy, &mut args), Some(libc::SIGILL));
        }
        assert_eq!(machine.signal(&fill, &mut RawArgs::default()), Some(libc::SIGILL));
    }
}

#[test]
fn vectors_are_filled_inside_the_array_only() {
    let layout = ArrayLayout::new(StorageType::V128);
    for options in modes() {
        let fill = Code::new(&NullCompiler, &options, &|c, e, a| {
            let lane = e.builder.ins().ireduce(types::I8, a.z);
            let value = e.builder.ins().splat(types::I8X16, lane);
            c.array_fill(e, a.a, &layout, a.x, value, a.y);
            None
        });
        let mut machine = Machine::new();
        machine.set_u32(HEAP + ArrayLayout::LENGTH_OFFSET, 4);
        let mut args = |x, y| RawArgs { a: HEAP.into(), x, y, z: 0xee, ..Default::default() };
        machine.run(&fill, &mut args(1, 2));
        machine.run(&fill, &mut args(4, 0));
        for i in 0..5 {
            let expected = if i == 1 || i == 2 { [0xee; 16] } else { [0; 16] };
            assert_eq!(machine.bytes(HEAP + layout.element_offset(i) as u32), expected);
        }
        for (x, y) in [(3, 2), (5, 0), (u32::MAX, 2), (2, u32::MAX)] {
            assert_eq!(machine.signal(&fill, &mut args(x, y)), Some(libc::SIGILL), "{x} {y}");
        }
    }
}

#[test]
fn what_must_trap_traps() {
    let layout = ArrayLayout::new(StorageType::I32);
    for options in modes() {
        let get = Code::new(&NullCompiler, &options, &|c, e, a| {
            Some(c.array_get(e, a.a, &layout, a.x, None))
        });
        let mut machine = Machine::new();
        machine.set_u32(HEAP + ArrayLayout::LENGTH_OFFSET, 2);
        for (x, signal) in [(1, None), (2, Some(libc::SIGILL)), (u32::MAX, Some(libc::SIGILL))] {
            let mut args = RawArgs { a: HEAP.into(), x, ..Default::default() };
            assert_eq!(machine.signal(&get, &mut args), signal, "index {x}");
        }
        let unwrap = Code::new(&NullCompiler, &options, &|_, e, a| Some(e.i31_get_s(a.a)));
        assert_eq!(machine.signal(&unwrap, &mut RawArgs::default()), Some(libc::SIGILL));
    }

    // Explicit bounds: an object that begins inside the heap and ends outside.
    let checked = CompilerOptions { guarded: false, ..guarded() };
    let fields = StructLayout::new([StorageType::I32, StorageType::I32]).unwrap();
    let mut machine = Machine::new();
    machine.set_data_u64(HeapDataOffsets::BOUND, u64::from(HEAP) + 12);
    for (field, signal) in [(0, None), (1, Some(libc::SIGILL))] {
        let get = Code::new(&NullCompiler, &checked, &|c, e, a| {
            Some(c.struct_get(e, a.a, &fields, field, None))
        });
        let mut args = RawArgs { a: HEAP.into(), ..Default::default() };
        assert_eq!(machine.signal(&get, &mut args), signal, "field {field}");
        let mut far = RawArgs { a: 0xffff_fff8, ..Default::default() };
        assert_eq!(machine.signal(&get, &mut far), Some(libc::SIGILL));
        assert_eq!(machine.signal(&get, &mut RawArgs::default()), Some(libc::SIGILL));
    }
    let get = Code::new(&NullCompiler, &checked, &|c, e, a| {
        Some(c.array_get(e, a.a, &layout, a.x, None))
    });
    machine.set_data_u64(HeapDataOffsets::BOUND, u64::from(HEAP) + 20);
    machine.set_u32(HEAP + ArrayLayout::LENGTH_OFFSET, u32::MAX);
    for (x, signal) in [(1, None), (2, Some(libc::SIGILL)), (0xc000_0000, Some(libc::SIGILL))] {
        let mut args = RawArgs { a: HEAP.into(), x, ..Default::default() };
        assert_eq!(machine.signal(&get, &mut args), signal, "corrupt length, index {x}");
    }
}

#[test]
fn i31_keeps_31_bits() {
    for signed in [true, false] {
        let code = Code::new(&NullCompiler, &guarded(), &|_, e, a| {
            let reference = e.ref_i31(a.x);
            Some(if signed { e.i31_get_s(reference) } else { e.i31_get_u(reference) })
        });
        for value in [0, 1, -1, (1 << 30) - 1, -(1 << 30), i32::MIN, i32::MAX] {
            let expected = I31::wrapping_i32(value);
            let expected =
                if signed { expected.get_i32().cast_unsigned() } else { expected.get_u32() };
            let mut args = RawArgs { x: value.cast_unsigned(), ..Default::default() };
            assert_eq!(Machine::new().run(&code, &mut args), u64::from(expected));
        }
    }
    let wrap = Code::new(&NullCompiler, &guarded(), &|_, e, a| Some(e.ref_i31(a.x)));
    let mut args = RawArgs { x: u32::MAX, ..Default::default() };
    assert_eq!(Machine::new().run(&wrap, &mut args), i31(-1));
}

// ---- drc ----------------------------------------------------------------

const OLD: u32 = HEAP + 64;
const NEW: u32 = HEAP + 128;
const HOLDER: u32 = HEAP + 256;
const ONE: u32 = drc::COUNT_ONE;

/// The three places of a reference at `HOLDER + 12`, as an address for `Native`.
fn places() -> [(&'static str, fn(Args) -> RefPlace); 3] {
    [
        ("field", |a| RefPlace::Field { object: a.a, offset: 12 }),
        ("element", |a| RefPlace::Element { object: a.a, index: a.x, offset: 8 }),
        ("native", |a| RefPlace::Native {
            address: a.l,
            offset: 12,
            region: regions::EMBEDDER + 1,
        }),
    ]
}

/// A machine with `OLD` and `NEW` of these collector words, `slot` in the holder.
fn drc_machine(old: u32, new: u32, slot: u32) -> (Machine, RawArgs) {
    let mut machine = Machine::new();
    machine.set_u32(OLD + 4, old);
    machine.set_u32(NEW + 4, new);
    machine.set_u32(HOLDER + 12, slot);
    let native = machine.native_address(HOLDER);
    (machine, RawArgs { a: HOLDER.into(), x: 1, l: native, ..Default::default() })
}

#[test]
fn drc_write_counts_up_then_stores_then_counts_down() {
    let flags = drc::IN_ROOT_SET;
    for options in modes() {
        for (name, place) in places() {
            let code = Code::new(&DrcCompiler, &options, &|c, e, a| {
                c.write_ref(e, place(a), a.b);
                None
            });
            let run = |old, new, slot: u32, value: u64| {
                let (mut machine, mut args) = drc_machine(old, new, slot);
                args.b = value;
                machine.run(&code, &mut args);
                assert_eq!(u64::from(machine.u32(HOLDER + 12)), value, "{name}");
                assert_eq!((args.a, args.b), (HOLDER.into(), value), "{name}");
                (machine.u32(OLD + 4), machine.u32(NEW + 4), machine.calls())
            };
            let new = u64::from(NEW);
            // One of several references, flags kept.
            let (old_word, new_word, calls) = run(3 * ONE | flags, 5 * ONE | flags, OLD, new);
            assert_eq!((old_word, new_word), (2 * ONE | flags, 6 * ONE | flags));
            assert_eq!(calls, [], "{name}");
            // The last one, but the stack may still hold it: the set counts one.
            let (old_word, _, calls) = run(2 * ONE | flags, 0, OLD, new);
            assert_eq!((old_word, calls), (ONE | flags, vec![]), "{name}");
            // The very last one.
            let (old_word, new_word, calls) = run(ONE, 0, OLD, new);
            assert_eq!((old_word, new_word), (0, ONE));
            let dead = vec![drc::OP_DEAD.into(), OLD.into(), 0];
            assert_eq!(calls, [(HostCall::COLLECTOR, dead.clone())], "{name}");
            // Null and i31 are not counted, on either side.
            assert_eq!(run(ONE, ONE, 0, new), (ONE, 2 * ONE, vec![]), "{name}");
            assert_eq!(run(ONE, ONE, 0, 0), (ONE, ONE, vec![]), "{name}");
            assert_eq!(run(ONE, ONE, i31(-1) as u32, i31(3)), (ONE, ONE, vec![]), "{name}");
            assert_eq!(
                run(ONE, ONE, OLD, i31(-5)),
                (0, ONE, vec![(HostCall::COLLECTOR, dead)]),
                "{name}"
            );
            // Itself: the count passes through two, not zero.
            assert_eq!(run(ONE, ONE, OLD, OLD.into()), (ONE, ONE, vec![]), "{name}");
        }
    }
}

#[test]
fn drc_read_enters_the_root_set_once() {
    for options in modes() {
        for (name, place) in places() {
            let code = Code::new(&DrcCompiler, &options, &|c, e, a| Some(c.read_ref(e, place(a))));
            let (mut machine, mut args) = drc_machine(ONE, 0, OLD);
            let mut chunk = vec![0u32; 4];
            machine.set_data_u64(drc::ROOT_SET_BASE, chunk.as_mut_ptr() as u64);
            machine.set_data_u32(drc::ROOT_SET_LEN, 2);
            machine.set_data_u32(drc::ROOT_SET_CAPACITY, 4);
            // The second time it is in the set.
            for _ in 0..2 {
                assert_eq!(machine.run(&code, &mut args), u64::from(OLD), "{name}");
                assert_eq!(machine.data_u32(drc::ROOT_SET_LEN), 3);
                assert_eq!(machine.data_u32(drc::ROOT_SET_CAPACITY), 4);
                assert_eq!(machine.u32(OLD + 4), 2 * ONE | drc::IN_ROOT_SET);
            }
            // SAFETY: the chunk is alive, and the machine has stopped.
            let entries = unsafe { std::slice::from_raw_parts(chunk.as_ptr(), 4) };
            assert_eq!(entries, [0, 0, OLD, 0]);

            // Full, as it is before the first reference: the host does everything.
            let (mut machine, mut args) = drc_machine(ONE, 0, OLD);
            assert_eq!(machine.run(&code, &mut args), u64::from(OLD));
            let full = vec![drc::OP_ROOT_SET_FULL.into(), OLD.into(), 0];
            assert_eq!(machine.calls(), [(HostCall::COLLECTOR, full)], "{name}");
            assert_eq!(machine.u32(OLD + 4), ONE);
            assert_eq!(machine.data_u32(drc::ROOT_SET_LEN), 0);

            for slot in [0, i31(7) as u32, i31(-7) as u32] {
                let (mut machine, mut args) = drc_machine(0, 0, slot);
                assert_eq!(machine.run(&code, &mut args), u64::from(slot));
                assert_eq!(machine.calls(), []);
            }
        }
    }
}

#[test]
fn drc_initialisation_counts_up() {
    for options in modes() {
        let layout = StructLayout::new([StorageType::Ref, StorageType::Ref]).unwrap();
        let code = Code::new(&DrcCompiler, &options, &|c, e, a| {
            Some(c.struct_new(e, a.word, &layout, &[a.b, a.b]))
        });
        for (value, count) in [(u64::from(NEW), 3 * ONE), (0, ONE), (i31(1), ONE)] {
            let (mut machine, mut args) = drc_machine(0, ONE, 0);
            args.b = value;
            args.word = WORD;
            machine.host_returns(u64::from(HOLDER));
            assert_eq!(machine.run(&code, &mut args), u64::from(HOLDER));
            assert_eq!(machine.u32(NEW + 4), count);
            assert_eq!(u64::from(machine.u32(HOLDER + 8)), value);
            assert_eq!(u64::from(machine.u32(HOLDER + 12)), value);
            assert_eq!(machine.calls(), [(HostCall::ALLOC_STRUCT, vec![u64::from(WORD)])]);
        }
        let layout = ArrayLayout::new(StorageType::Ref);
        let fill = Code::new(&DrcCompiler, &options, &|c, e, a| {
            Some(c.array_new(e, a.word, &layout, ArrayInit::Fill(a.b, a.x)))
        });
        let (mut machine, mut args) = drc_machine(0, 0, 0);
        (args.b, args.x, args.word) = (NEW.into(), 4, WORD);
        machine.host_returns(u64::from(HOLDER));
        machine.run(&fill, &mut args);
        assert_eq!(machine.u32(NEW + 4), 4 * ONE);
        for i in 0..5 {
            let expected = if i < 4 { NEW } else { 0 };
            assert_eq!(machine.u32(HOLDER + layout.element_offset(i) as u32), expected);
        }
        assert_eq!(machine.calls(), [(HostCall::ALLOC_ARRAY, vec![u64::from(WORD), 4])]);
    }
}

// ---- tests and casts ----------------------------------------------------

/// A chain of struct types 10 > 11 > … > 20, each the parent of the next, and one
/// array type 30. Type index, kind, ancestors.
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
    /// A header whose type index is this, which is no type.
    Corrupt(u32),
}

/// What a test should say.
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
            Code::new(&NullCompiler, &guarded(), &|_, e, a| Some(e.ref_test(a.a, &test(a))));
        let branch_code = Code::new(&NullCompiler, &guarded(), &|_, e, a| {
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
        let cast_code = Code::new(&NullCompiler, &guarded(), &|_, e, a| {
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
            // A type with subtypes tested as final is not asked about those.
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

/// The target the model is asked about: the abstract one, or any concrete one; `None`
/// if only null can pass.
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
    let code = Code::new(&NullCompiler, &guarded(), &|_, e, a| {
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
    // The type itself needs no question.
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

    let to_id = Code::new(&NullCompiler, &guarded(), &|_, e, a| Some(e.func_ref_to_id(a.l)));
    for (l, id) in [(address, 3), (0, 0)] {
        let mut args = RawArgs { l, ..Default::default() };
        assert_eq!(machine.run(&to_id, &mut args), id);
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
        let from_id = Code::new(&NullCompiler, &guarded(), &|_, e, a| {
            let expected = FuncRefType { type_index: a.ty, depth, is_final };
            Some(e.func_ref_from_id(a.x, Some(&expected)))
        });
        let mut args = RawArgs { x: 3, ty, ..Default::default() };
        let mut null = RawArgs { ty, ..Default::default() };
        if good {
            assert_eq!(machine.run(&from_id, &mut args), address, "{ty}");
        } else {
            assert_eq!(machine.signal(&from_id, &mut args), Some(libc::SIGILL), "{ty}");
        }
        assert_eq!(machine.run(&from_id, &mut null), 0);
        for bad in [4, 16, u32::MAX] {
            let mut args = RawArgs { x: bad, ty, ..Default::default() };
            assert_eq!(machine.signal(&from_id, &mut args), Some(libc::SIGILL), "id {bad}");
        }

        for nullable in [false, true] {
            let test = |a: Args| FuncRefTest {
                nullable,
                known_non_null: false,
                target: Some(FuncRefType { type_index: a.ty, depth, is_final }),
            };
            let tested = Code::new(&NullCompiler, &guarded(), &|_, e, a| {
                Some(e.func_ref_test(a.l, &test(a)))
            });
            let cast = Code::new(&NullCompiler, &guarded(), &|_, e, a| {
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
    let any = Code::new(&NullCompiler, &guarded(), &|_, e, a| Some(e.func_ref_from_id(a.x, None)));
    let mut args = RawArgs { x: 3, ..Default::default() };
    assert_eq!(machine.run(&any, &mut args), address);
    assert_eq!(machine.calls(), []);
}
