//! Runs emitted code: allocation, fields, elements, `i31`s, traps, each with and without bounds
//! checks.

use crate::common::machine::{Code, Machine};
use crate::common::*;
use cranelift_codegen::ir::{InstBuilder, types};
use gc_compiler::collector::null::NullCompiler;
use gc_compiler::{ArrayInit, Extend};
use gc_types::collector::null;
use gc_types::{
    ArrayLayout, HeapBounds, HeapDataOffsets, HostCall, I31, NULL_PAGE_SIZE, StorageType,
    StructLayout,
};

const HEAP: u32 = NULL_PAGE_SIZE;
const WORD: u32 = (0b01110 << 26) + 77;

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
        let code = Code::new(&NullCompiler, &options, &|e, a| {
            Some(e.struct_new(a.word, &layout, &[a.x, a.b, a.l]))
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

        // The next object does not fit. The host's object is initialised in the same way.
        machine.host_returns(u64::from(HEAP + 4096));
        assert_eq!(machine.run(&code, &mut args), u64::from(HEAP + 4096));
        assert_eq!(machine.calls(), [(HostCall::ALLOC_STRUCT, vec![u64::from(WORD)])]);
        assert_eq!(machine.data_u32(null::NEXT), HEAP + layout.size);
        assert_eq!(machine.u32(HEAP + 4096 + layout.fields[1].offset), 0x12344);
        assert_eq!((args.a, args.b), (0, 0x12344), "values live over the call");

        // An object that fits exactly is allocated inline.
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
    for options in all_options().filter(|options| options.zeal()) {
        let layout = StructLayout::new([]).unwrap();
        let code =
            Code::new(&NullCompiler, &options, &|e, a| Some(e.struct_new_default(a.word, &layout)));
        let mut machine = null_machine(4096);
        machine.set_data_u32(HeapDataOffsets::ZEAL_COUNTDOWN, 3);
        machine.host_returns(u64::from(HEAP + 2048));
        for expected in [HEAP, HEAP + 8, HEAP + 2048, HEAP + 2048] {
            assert_eq!(machine.run(&code, &mut RawArgs::default()), u64::from(expected));
        }
        assert_eq!(machine.data_u32(HeapDataOffsets::ZEAL_COUNTDOWN), 1);
        assert_eq!(machine.data_u32(null::NEXT), HEAP + 16);
        assert_eq!(machine.calls().len(), 2);
    }
}

#[test]
fn null_arrays_are_sized_without_wrapping() {
    for options in modes() {
        for element in [StorageType::I8, StorageType::I64, StorageType::V128] {
            let layout = ArrayLayout::new(element);
            let code = Code::new(&NullCompiler, &options, &|e, a| {
                Some(e.array_new(a.word, &layout, ArrayInit::Default(a.x)))
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
        let fill = Code::new(&NullCompiler, &options, &|e, a| {
            Some(e.array_new(a.word, &layout, ArrayInit::Fill(a.x, a.y)))
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
        let fixed = Code::new(&NullCompiler, &options, &|e, a| {
            let null = e.ref_null();
            let elements = [a.a, null, a.b];
            Some(e.array_new(a.word, &layout, ArrayInit::Elements(&elements)))
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
                let code = Code::new(&NullCompiler, &options, &|e, a| {
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
                    e.struct_set(a.a, &layout, field, value);
                    let read = e.struct_get(a.a, &layout, field, Some(extend));
                    // Also through the array, at an index and at a constant.
                    e.array_set(a.b, &array, a.y, read);
                    let read = e.array_get(a.b, &array, a.y, Some(extend));
                    let two = e.builder.ins().iconst(types::I32, 2);
                    e.array_set(a.b, &array, two, read);
                    Some(e.array_get(a.b, &array, two, Some(extend)))
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
                let meaningful = size.min(8);
                assert_eq!(stored[..meaningful], expected.to_le_bytes()[..meaningful]);
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
fn what_must_trap_traps() {
    let layout = ArrayLayout::new(StorageType::I32);
    for options in modes() {
        let get =
            Code::new(&NullCompiler, &options, &|e, a| Some(e.array_get(a.a, &layout, a.x, None)));
        let mut machine = Machine::new();
        machine.set_u32(HEAP + ArrayLayout::LENGTH_OFFSET, 2);
        for (x, signal) in [(1, None), (2, Some(libc::SIGILL)), (u32::MAX, Some(libc::SIGILL))] {
            let mut args = RawArgs { a: HEAP.into(), x, ..Default::default() };
            assert_eq!(machine.signal(&get, &mut args), signal, "index {x}");
        }
        let unwrap = Code::new(&NullCompiler, &options, &|e, a| Some(e.i31_get_s(a.a)));
        assert_eq!(machine.signal(&unwrap, &mut RawArgs::default()), Some(libc::SIGILL));
    }

    // Explicit bounds: an object that begins inside the heap and ends outside.
    let checked = guarded().with_bounds(HeapBounds::Checked);
    let fields = StructLayout::new([StorageType::I32, StorageType::I32]).unwrap();
    let mut machine = Machine::new();
    machine.set_data_u64(HeapDataOffsets::BOUND, u64::from(HEAP) + 12);
    for (field, signal) in [(0, None), (1, Some(libc::SIGILL))] {
        let get = Code::new(&NullCompiler, &checked, &|e, a| {
            Some(e.struct_get(a.a, &fields, field, None))
        });
        let mut args = RawArgs { a: HEAP.into(), ..Default::default() };
        assert_eq!(machine.signal(&get, &mut args), signal, "field {field}");
        let mut far = RawArgs { a: 0xffff_fff8, ..Default::default() };
        assert_eq!(machine.signal(&get, &mut far), Some(libc::SIGILL));
        assert_eq!(machine.signal(&get, &mut RawArgs::default()), Some(libc::SIGILL));
    }
    let get =
        Code::new(&NullCompiler, &checked, &|e, a| Some(e.array_get(a.a, &layout, a.x, None)));
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
        let code = Code::new(&NullCompiler, &guarded(), &|e, a| {
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
    let wrap = Code::new(&NullCompiler, &guarded(), &|e, a| Some(e.ref_i31(a.x)));
    let mut args = RawArgs { x: u32::MAX, ..Default::default() };
    assert_eq!(Machine::new().run(&wrap, &mut args), i31(-1));
}
