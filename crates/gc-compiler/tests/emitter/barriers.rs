//! Runs the barriers and the allocation of `drc`: counts, the list, the notes, the cold calls.

use crate::common::machine::{Call, Code, Machine};
use crate::common::*;
use gc_compiler::collector::drc::DrcCompiler;
use gc_compiler::{ArrayInit, RefPlace, regions};
use gc_types::collector::drc;
use gc_types::{Abi, ArrayLayout, HostCall, NULL_PAGE_SIZE, RootKind, StorageType, StructLayout};
use std::sync::atomic::{AtomicU8, AtomicU32};

const HEAP: u32 = NULL_PAGE_SIZE;
const WORD: u32 = (0b01110 << 26) + 77;

const OLD: u32 = HEAP + 64;
const NEW: u32 = HEAP + 128;
const HOLDER: u32 = HEAP + 256;
const ONE: u32 = drc::COUNT_ONE;
const MATURE: u32 = drc::MATURE;
const LISTED: u32 = drc::LISTED;

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
            kind: RootKind::Table,
        }),
    ]
}

/// A machine in which `OLD` and `NEW` have these collector words, and the mature holder's slot has
/// `slot`.
fn drc_machine(old: u32, new: u32, slot: u32) -> (Machine, RawArgs) {
    let mut machine = Machine::new();
    machine.set_u32(OLD + 4, old);
    machine.set_u32(NEW + 4, new);
    machine.set_u32(HOLDER + 4, MATURE);
    machine.set_u32(HOLDER + 12, slot);
    machine.set_data_u32(drc::LIST_MASK, drc::LIST_MASK_IDLE);
    let native = machine.native_address(HOLDER);
    (machine, RawArgs { a: HOLDER.into(), x: 1, l: native, ..Default::default() })
}

fn write(options: &Abi, place: fn(Args) -> RefPlace) -> Code {
    Code::new(&DrcCompiler, options, &|e, a| {
        e.write_ref(place(a), a.b);
        None
    })
}

fn list_call(object: u32) -> Vec<Call> {
    vec![(HostCall::COLLECTOR, vec![drc::OP_LIST.into(), object.into(), 0])]
}

#[test]
fn drc_write_counts_up_and_down() {
    for options in modes() {
        for (name, place) in places() {
            let code = write(&options, place);
            // Returns the words of the old and the new object, and the calls for the list.
            let run = |old, new, slot: u32, value: u64| {
                let (mut machine, mut args) = drc_machine(old, new, slot);
                args.b = value;
                machine.run(&code, &mut args);
                assert_eq!(u64::from(machine.u32(HOLDER + 12)), value, "{name}");
                assert_eq!((args.a, args.b), (HOLDER.into(), value), "{name}");
                (machine.u32(OLD + 4), machine.u32(NEW + 4), machine.calls())
            };
            let new = u64::from(NEW);
            // One of several references is removed, and the flags are kept.
            for flags in [MATURE, LISTED, MATURE | LISTED] {
                assert_eq!(
                    run(3 * ONE + flags, 5 * ONE + flags, OLD, new),
                    (2 * ONE + flags, 6 * ONE + flags, vec![]),
                    "{name}"
                );
            }
            // A young object is listed when it gets a count, and not when it loses it.
            assert_eq!(run(ONE, 0, OLD, new), (0, ONE, list_call(NEW)), "{name}");
            assert_eq!(run(ONE | LISTED, LISTED, OLD, new), (LISTED, ONE | LISTED, vec![]));
            // A mature object is listed once, when it loses its last count.
            assert_eq!(
                run(ONE | MATURE, MATURE, OLD, new),
                (MATURE, ONE | MATURE, list_call(OLD)),
                "{name}"
            );
            let both = MATURE | LISTED;
            assert_eq!(run(ONE | both, both, OLD, new), (both, ONE | both, vec![]), "{name}");
            // Null and i31 are not counted, on either side.
            let one = ONE | MATURE;
            assert_eq!(run(one, one, 0, new), (one, ONE + one, vec![]), "{name}");
            assert_eq!(run(one, one, 0, 0), (one, one, vec![]), "{name}");
            assert_eq!(run(one, one, i31(-1) as u32, i31(3)), (one, one, vec![]), "{name}");
            assert_eq!(run(one, one, OLD, i31(-5)), (MATURE, one, list_call(OLD)), "{name}");
            assert_eq!(run(one, one, OLD, 0), (MATURE, one, list_call(OLD)), "{name}");
            // Storing the same object: the count passes through two, not zero.
            assert_eq!(run(one, one, OLD, OLD.into()), (one, one, vec![]), "{name}");
        }
    }
}

#[test]
fn drc_write_appends_to_the_list_until_it_is_full() {
    for options in modes() {
        for (name, place) in places() {
            let code = write(&options, place);
            let (mut machine, mut args) = drc_machine(ONE | MATURE, 0, OLD);
            args.b = NEW.into();
            let chunk: [AtomicU32; 4] = Default::default();
            machine.set_data_u64(drc::LIST.address(), chunk.as_ptr() as u64);
            machine.set_data_u32(drc::LIST_LEN, 2);
            machine.set_data_u32(drc::LIST_CAPACITY, 3);
            machine.run(&code, &mut args);
            // The first object takes the last place of the list.
            assert_eq!(machine.u32(NEW + 4), ONE | LISTED, "{name}");
            assert_eq!(machine.u32(OLD + 4), MATURE, "{name}");
            assert_eq!(machine.data_u32(drc::LIST_LEN), 3, "{name}");
            assert_eq!(machine.data_u32(drc::LIST_CAPACITY), 3, "{name}");
            assert_eq!(machine.calls(), list_call(OLD), "{name}");
            assert_eq!(chunk.map(AtomicU32::into_inner), [0, 0, NEW, 0], "{name}");
        }
    }
}

/// While a search for cycles marks, a mature object is listed whenever it loses a count, and still only once.
#[test]
fn drc_write_lists_what_is_overwritten_while_a_search_marks() {
    for options in modes() {
        for (name, place) in places() {
            let code = write(&options, place);
            for (count, flags) in [(1, MATURE), (3, MATURE), (3, LISTED), (3, MATURE | LISTED)] {
                let (mut machine, mut args) = drc_machine(count * ONE + flags, ONE | MATURE, OLD);
                machine.set_data_u32(drc::LIST_MASK, drc::LIST_MASK_MARKING);
                args.b = NEW.into();
                machine.run(&code, &mut args);
                let listed = if flags == MATURE { list_call(OLD) } else { vec![] };
                assert_eq!(machine.calls(), listed, "{name}: {count} {flags}");
                assert_eq!(machine.u32(OLD + 4), (count - 1) * ONE + flags, "{name}");
            }
        }
    }
}

#[test]
fn drc_write_into_a_young_object_only_stores() {
    for options in modes() {
        for (name, place) in places() {
            let code = write(&options, place);
            for (flags, value) in [(0, NEW), (LISTED, NEW), (ONE | LISTED, 0)] {
                let (mut machine, mut args) = drc_machine(ONE | MATURE, 0, OLD);
                machine.set_u32(HOLDER + 4, flags);
                args.b = value.into();
                machine.run(&code, &mut args);
                assert_eq!(machine.u32(HOLDER + 12), value, "{name}");
                let counted = name == "native";
                assert_eq!(machine.u32(OLD + 4) == ONE | MATURE, !counted, "{name}");
                assert_eq!(machine.u32(NEW + 4) == 0, !counted || value == 0, "{name}");
                assert_eq!(machine.calls().is_empty(), !counted, "{name}");
            }
        }
    }
}

#[test]
fn drc_read_only_loads() {
    for options in modes() {
        for (name, place) in places() {
            let code = Code::new(&DrcCompiler, &options, &|e, a| Some(e.read_ref(place(a))));
            for slot in [OLD, 0, i31(7) as u32, i31(-7) as u32] {
                let (mut machine, mut args) = drc_machine(MATURE, 0, slot);
                assert_eq!(machine.run(&code, &mut args), u64::from(slot), "{name}");
                assert_eq!(machine.u32(OLD + 4), MATURE, "{name}");
                assert_eq!(machine.calls(), [], "{name}");
            }
        }
    }
}

#[test]
fn drc_initialisation_of_objects_does_not_count() {
    for options in modes() {
        let layout = StructLayout::new([StorageType::Ref, StorageType::Ref]).unwrap();
        let code = Code::new(&DrcCompiler, &options, &|e, a| {
            Some(e.struct_new(a.word, &layout, &[a.b, a.b]))
        });
        for value in [u64::from(NEW), 0, i31(1)] {
            let (mut machine, mut args) = drc_machine(0, ONE | MATURE, 0);
            args.b = value;
            args.word = WORD;
            machine.host_returns(u64::from(HOLDER));
            assert_eq!(machine.run(&code, &mut args), u64::from(HOLDER));
            assert_eq!(machine.u32(NEW + 4), ONE | MATURE);
            assert_eq!(u64::from(machine.u32(HOLDER + 8)), value);
            assert_eq!(u64::from(machine.u32(HOLDER + 12)), value);
            assert_eq!(machine.calls(), [(HostCall::ALLOC_STRUCT, vec![u64::from(WORD)])]);
        }
        let layout = ArrayLayout::new(StorageType::Ref);
        let fill = Code::new(&DrcCompiler, &options, &|e, a| {
            Some(e.array_new(a.word, &layout, ArrayInit::Fill(a.b, a.x)))
        });
        let (mut machine, mut args) = drc_machine(0, 0, 0);
        (args.b, args.x, args.word) = (NEW.into(), 4, WORD);
        machine.host_returns(u64::from(HOLDER));
        machine.run(&fill, &mut args);
        assert_eq!(machine.u32(NEW + 4), 0);
        for i in 0..5 {
            let expected = if i < 4 { NEW } else { 0 };
            assert_eq!(machine.u32(HOLDER + layout.element_offset(i) as u32), expected);
        }
        assert_eq!(machine.calls(), [(HostCall::ALLOC_ARRAY, vec![u64::from(WORD), 4])]);
        // References in native memory are counted from the start.
        let (_, native) = places()[2];
        let code = Code::new(&DrcCompiler, &options, &|e, a| {
            e.init_ref(native(a), a.b);
            None
        });
        let (mut machine, mut args) = drc_machine(MATURE, ONE | MATURE, OLD);
        args.b = NEW.into();
        machine.run(&code, &mut args);
        assert_eq!((machine.u32(OLD + 4), machine.u32(NEW + 4)), (MATURE, (2 * ONE) | MATURE));
    }
}

#[test]
fn drc_allocation_is_noted() {
    const FREE: u32 = HEAP + 1024;
    for options in modes() {
        let pair = StructLayout::new([StorageType::Ref, StorageType::Ref]).unwrap();
        let array = ArrayLayout::new(StorageType::Ref);
        let code = Code::new(&DrcCompiler, &options, &|e, a| {
            e.struct_new_default(a.word, &pair);
            Some(e.array_new(a.word, &array, ArrayInit::Default(a.x)))
        });
        let (mut machine, mut args) = drc_machine(0, 0, 0);
        let notes: [AtomicU8; 16] = Default::default();
        let starts = (notes.as_ptr() as u64).wrapping_sub(u64::from(FREE >> drc::STARTS_SHIFT));
        machine.set_data_u64(drc::STARTS.address(), starts);
        machine.set_data_u32(drc::NEXT, FREE);
        machine.set_data_u32(drc::LIMIT, FREE + 48);
        (args.x, args.word) = (5, WORD);
        assert_eq!(machine.run(&code, &mut args), u64::from(FREE + 16));
        assert_eq!(machine.data_u32(drc::NEXT), FREE + 48);
        assert_eq!(machine.calls(), []);
        let notes = notes.map(AtomicU8::into_inner);
        assert_eq!(notes[..6], [1, 0, 1, 0, 0, 0]);
        assert_eq!(notes[6..], [0; 10]);
    }
}
