//! Runs copies and fills of array elements: short ones, which are emitted, and long ones, which call
//! the host.

use crate::common::machine::{Code, Machine};
use crate::common::*;
use cranelift_codegen::ir::{InstBuilder, types};
use gc_compiler::collector::{drc::DrcCompiler, null::NullCompiler};
use gc_types::{ArrayLayout, HostCall, NULL_PAGE_SIZE, StorageType};

const HEAP: u32 = NULL_PAGE_SIZE;

/// A machine with arrays of `length` elements at these places.
fn machine(length: u32, arrays: &[u32]) -> Machine {
    let mut machine = Machine::new();
    arrays.iter().for_each(|at| machine.set_u32(at + ArrayLayout::LENGTH_OFFSET, length));
    machine
}

#[test]
fn long_ranges_pass_bits_and_check_for_null() {
    for options in modes() {
        let layout = ArrayLayout::new(StorageType::F32);
        let fill = Code::new(&DrcCompiler, &options, &|e, a| {
            let value = e.builder.ins().f32const(-2.0);
            e.array_fill(a.a, &layout, a.x, value, a.y);
            None
        });
        let copy = Code::new(&DrcCompiler, &options, &|e, a| {
            e.array_copy(&layout, (a.a, a.x), (a.b, a.y), a.z);
            None
        });
        let (a, b) = (u64::from(HEAP), u64::from(HEAP + 1024));
        let mut machine = machine(1000, &[HEAP, HEAP + 1024]);
        machine.run(&fill, &mut RawArgs { a, x: 83, y: 257, ..Default::default() });
        machine.run(&copy, &mut RawArgs { a, b, x: 5, y: 83, z: 257, ..Default::default() });
        // These may overlap.
        machine.run(&copy, &mut RawArgs { a, b: a, x: 5, y: 83, z: 33, ..Default::default() });
        let bits = u64::from((-2.0_f32).to_bits());
        assert_eq!(
            machine.calls(),
            [
                (HostCall::ARRAY_FILL, vec![a, 83, bits, 257]),
                (HostCall::ARRAY_COPY, vec![a, 5, b, 83, 257]),
                (HostCall::ARRAY_COPY, vec![a, 5, a, 83, 33]),
            ]
        );
        // With guards the load of the length of null faults, but this machine has memory there.
        if !options.guarded() {
            for (a, b) in [(0, b), (a, 0)] {
                let mut args = RawArgs { a, b, ..Default::default() };
                assert_eq!(machine.signal(&copy, &mut args), Some(libc::SIGILL));
            }
            let mut args = RawArgs::default();
            assert_eq!(machine.signal(&fill, &mut args), Some(libc::SIGILL));
        }
    }
}

const SCALARS: [StorageType; 7] = [
    StorageType::I8,
    StorageType::I16,
    StorageType::I32,
    StorageType::I64,
    StorageType::F32,
    StorageType::F64,
    StorageType::V128,
];

/// Each length up to the longest that is emitted, from and to several places, also overlapping.
#[test]
fn short_ranges_are_copied_without_the_host() {
    for options in modes().filter(|options| options.guarded()) {
        for ty in SCALARS.into_iter().chain([StorageType::Ref]) {
            let layout = ArrayLayout::new(ty);
            let size = ty.size() as usize;
            let copy = Code::new(&NullCompiler, &options, &|e, a| {
                e.array_copy(&layout, (a.a, a.x), (a.b, a.y), a.z);
                None
            });
            for length in 0..=128 / size {
                for (to, from) in [(0, 0), (1, 0), (0, 1), (7, 3), (3, 7), (70, 2)] {
                    let mut machine = machine(200, &[HEAP]);
                    let elements = HEAP + layout.elements_offset();
                    let mut expected: Vec<u8> = (0..200 * size).map(|n| (n % 251) as u8).collect();
                    for (n, word) in expected.chunks_exact(4).enumerate() {
                        let word = u32::from_le_bytes(word.try_into().unwrap());
                        machine.set_u32(elements + 4 * n as u32, word);
                    }
                    let (x, y, z) = (to as u32, from as u32, length as u32);
                    let (a, b) = (HEAP.into(), HEAP.into());
                    machine.run(&copy, &mut RawArgs { a, b, x, y, z, ..Default::default() });
                    expected.copy_within(from * size..(from + length) * size, to * size);
                    let found: Vec<u8> = (0..200 * size as u32)
                        .map(|n| machine.bytes::<1>(elements + n)[0])
                        .collect();
                    assert_eq!(found, expected, "{length} {ty:?} from {from} to {to}");
                    assert_eq!(machine.calls(), []);
                }
            }
        }
    }
}

/// Lengths at the bounds of the loop, between two arrays.
#[test]
fn longer_ranges_are_copied_and_filled_in_a_loop() {
    for options in modes().filter(|options| options.guarded()) {
        for ty in SCALARS.into_iter().chain([StorageType::Ref]) {
            let layout = ArrayLayout::new(ty);
            let size = ty.size();
            let copy = Code::new(&NullCompiler, &options, &|e, a| {
                e.array_copy(&layout, (a.a, a.x), (a.b, a.y), a.z);
                None
            });
            let lengths = [127, 128, 129, 130, 191, 192, 193, 255, 256, 257, 1023, 1024];
            for length in lengths.map(|bytes: u32| bytes.div_ceil(size)) {
                let of_b = HEAP + 2048;
                let mut machine = machine(100_000, &[HEAP, of_b]);
                let elements = of_b + layout.elements_offset();
                for n in 0..512 {
                    machine.set_u32(elements + 4 * n, (n + 1).wrapping_mul(0x0305_0709));
                }
                let from = machine.bytes::<1100>(elements + size);
                let (x, y, z) = (2, 1, length);
                let (a, b) = (HEAP.into(), of_b.into());
                machine.run(&copy, &mut RawArgs { a, b, x, y, z, ..Default::default() });
                let mut expected = [0; 1100];
                let begin = 2 * size as usize;
                let bytes = (length * size) as usize;
                expected[begin..begin + bytes].copy_from_slice(&from[..bytes]);
                let found = machine.bytes::<1100>(HEAP + layout.elements_offset());
                assert_eq!(found, expected, "{length} {ty:?}");
                assert_eq!(machine.calls(), []);
            }
        }
    }
}

#[test]
fn short_ranges_are_filled_without_the_host() {
    for options in modes().filter(|options| options.guarded()) {
        for ty in [
            StorageType::I8,
            StorageType::I16,
            StorageType::I32,
            StorageType::I64,
            StorageType::Ref,
        ] {
            let layout = ArrayLayout::new(ty);
            let size = ty.size();
            let fill = Code::new(&NullCompiler, &options, &|e, a| {
                let value = match ty {
                    StorageType::I64 => a.l,
                    StorageType::Ref => a.b,
                    _ => a.z,
                };
                e.array_fill(a.a, &layout, a.x, value, a.y);
                None
            });
            let (z, l) = (0xa4a3_a2a1, 0xb8b7_b6b5_b4b3_b2b1_u64);
            let value = if ty == StorageType::I64 { l } else { z.into() };
            let longer = [70, 100, 130, 150].into_iter().filter(|y| y * size <= 1024);
            for y in (0..=128 / size).chain(longer) {
                for x in 0..4 {
                    let mut machine = machine(160, &[HEAP]);
                    machine.run(
                        &fill,
                        &mut RawArgs {
                            a: HEAP.into(),
                            b: z.into(),
                            x,
                            y,
                            z,
                            l,
                            ..Default::default()
                        },
                    );
                    for n in 0..160 {
                        let element = machine.bytes::<8>(HEAP + layout.element_offset(n) as u32);
                        let expected =
                            if n >= x && n < x + y { value.to_le_bytes() } else { [0; 8] };
                        let size = size as usize;
                        assert_eq!(element[..size], expected[..size], "{ty:?} {n}: {y} from {x}");
                    }
                    assert_eq!(machine.calls(), []);
                }
            }
        }
    }
}

/// The host says which elements an array does not have.
#[test]
fn ranges_outside_an_array_are_the_hosts() {
    let layout = ArrayLayout::new(StorageType::I16);
    for options in modes().filter(|options| options.guarded()) {
        let fill = Code::new(&NullCompiler, &options, &|e, a| {
            e.array_fill(a.a, &layout, a.x, a.z, a.y);
            None
        });
        let copy = Code::new(&NullCompiler, &options, &|e, a| {
            e.array_copy(&layout, (a.a, a.x), (a.b, a.y), a.z);
            None
        });
        let mut machine = machine(4, &[HEAP, HEAP + 64]);
        let (a, b) = (HEAP.into(), u64::from(HEAP + 64));
        for (x, y) in [(3, 2), (5, 0), (u32::MAX, 2), (2, u32::MAX)] {
            let mut args = RawArgs { a, x, y, ..Default::default() };
            machine.run(&fill, &mut args);
            assert_eq!(machine.calls().len(), 1, "{x} {y}");
            let mut args = RawArgs { a, b, x, y: 0, z: y, ..Default::default() };
            machine.run(&copy, &mut args);
            assert_eq!(machine.calls().len(), 1, "to {x}, {y}");
            let mut args = RawArgs { a, b, x: 0, y: x, z: y, ..Default::default() };
            machine.run(&copy, &mut args);
            assert_eq!(machine.calls().len(), 1, "from {x}, {y}");
        }
        for (x, y) in [(4, 0), (0, 4)] {
            machine.run(&fill, &mut RawArgs { a, x, y, ..Default::default() });
            machine.run(&copy, &mut RawArgs { a, b, x, y: x, z: y, ..Default::default() });
            assert_eq!(machine.calls(), []);
        }
    }
}

#[test]
fn vectors_are_filled_inside_the_array_only() {
    let layout = ArrayLayout::new(StorageType::V128);
    for options in modes() {
        let fill = Code::new(&NullCompiler, &options, &|e, a| {
            let lane = e.builder.ins().ireduce(types::I8, a.z);
            let value = e.builder.ins().splat(types::I8X16, lane);
            e.array_fill(a.a, &layout, a.x, value, a.y);
            None
        });
        let mut machine = machine(4, &[HEAP]);
        let args = |x, y| RawArgs { a: HEAP.into(), x, y, z: 0xee, ..Default::default() };
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
