//! What `drc`'s barriers do when they run: counts, the root set, the cold calls.
#![cfg(all(target_arch = "x86_64", unix))]

mod common;

use common::machine::{Code, Machine};
use common::*;
use gc_compiler::collector::drc::DrcCompiler;
use gc_compiler::{ArrayInit, RefPlace, regions};
use gc_types::collector::drc;
use gc_types::{ArrayLayout, HostCall, NULL_PAGE_SIZE, StorageType, StructLayout};
use std::sync::atomic::AtomicU32;

const HEAP: u32 = NULL_PAGE_SIZE;
const WORD: u32 = (0b01110 << 26) + 77;

const OLD: u32 = HEAP + 64;
const NEW: u32 = HEAP + 128;
const HOLDER: u32 = HEAP + 256;
const ONE: u32 = drc::COUNT_ONE;

type NamedPlace = (&'static str, fn(Args) -> RefPlace);

/// The three places of a reference at `HOLDER + 12`, as an address for `Native`.
fn places() -> [NamedPlace; 3] {
    [
        ("field", |a| RefPlace::Field { object: a.a, offset: 12 }),
        ("element", |a| RefPlace::Element { object: a.a, index: a.x, offset: 8 }),
        ("native", |a| RefPlace::Native {
            address: a.l,
            offset: 12,
            region: regions::EMBEDDER + 1,
            always_named: false,
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
            let (old_word, new_word, calls) = run(3 * ONE + flags, 5 * ONE + flags, OLD, new);
            assert_eq!((old_word, new_word), (2 * ONE + flags, 6 * ONE + flags));
            assert_eq!(calls, [], "{name}");
            // The last one, but the stack may still hold it: the set counts one.
            let (old_word, _, calls) = run(2 * ONE + flags, 0, OLD, new);
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
            let chunk: [AtomicU32; 4] = Default::default();
            machine.set_data_u64(drc::ROOT_SET_BASE, chunk.as_ptr() as u64);
            machine.set_data_u32(drc::ROOT_SET_LEN, 2);
            machine.set_data_u32(drc::ROOT_SET_CAPACITY, 4);
            // The second time it is in the set.
            for _ in 0..2 {
                assert_eq!(machine.run(&code, &mut args), u64::from(OLD), "{name}");
                assert_eq!(machine.data_u32(drc::ROOT_SET_LEN), 3);
                assert_eq!(machine.data_u32(drc::ROOT_SET_CAPACITY), 4);
                assert_eq!(machine.u32(OLD + 4), 2 * ONE + drc::IN_ROOT_SET);
            }
            let entries = chunk.map(AtomicU32::into_inner);
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
