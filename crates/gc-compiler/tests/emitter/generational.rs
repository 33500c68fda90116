//! Runs the barriers of `generational`: cards, remembered slots, the log.

use crate::common::machine::{Code, Machine};
use crate::common::*;
use gc_compiler::collector::generational::GenerationalCompiler;
use gc_compiler::{ArrayInit, RefPlace, regions};
use gc_types::collector::generational::{
    BUNDLE_SHIFT, BUNDLES, CARD_SHIFT, CARD_SIZE, CARDS, DIRTY, LIMIT, LOG, LOG_CAPACITY, LOG_LEN,
    MARKING, NEXT, SLOT_CARD_SHIFT, SLOT_CARDS, SLOT_CARDS_LEN, WILL_EVACUATE, YOUNG_LAST,
};
use gc_types::collector::nursery::NURSERY_START;
use gc_types::{Abi, ArrayLayout, HostCall, RootKind, StorageType, StructLayout};

const NURSERY: u32 = 128 << 10;
const YOUNG: u32 = NURSERY_START + 64;
const LAST_YOUNG: u32 = NURSERY_START + NURSERY - 8;
const OLD: u32 = NURSERY_START + NURSERY;
/// Near a card's end, so that the fields are on the next card.
const HOLDER: u32 = OLD + 4096 + 496;
const WORD: u32 = (0b01110 << 26) + 77;

type NamedPlace = (&'static str, fn(Args) -> RefPlace);

/// A field and an element of `HOLDER`, both on the card after the one of its start.
const PLACES: [NamedPlace; 2] = [
    ("field", |a| RefPlace::Field { object: a.a, offset: 32 }),
    ("element", |a| RefPlace::Element { object: a.a, index: a.x, offset: 12 }),
];

fn modes() -> impl Iterator<Item = Abi> {
    crate::common::modes().map(|options| {
        let collector = options.collector().clone().with("nursery", NURSERY.into());
        options.with_collector(collector)
    })
}

/// A machine with the collector's tables.
struct Fixture {
    machine: Machine,
    cards: Vec<u8>,
    bundles: Vec<u8>,
    log: Vec<u64>,
    slots: Vec<u8>,
}

impl Fixture {
    fn new() -> Fixture {
        let mut machine = Machine::new();
        let mut cards = vec![0; 1 << (20 - CARD_SHIFT)];
        let mut bundles = vec![0; 1 << (20 - BUNDLE_SHIFT)];
        let mut log = vec![0; LOG_CAPACITY as usize];
        let mut slots = vec![0; SLOT_CARDS_LEN as usize];
        machine.set_data_u64(CARDS.address(), cards.as_mut_ptr() as u64);
        machine.set_data_u64(BUNDLES.address(), bundles.as_mut_ptr() as u64);
        machine.set_data_u64(LOG.address(), log.as_mut_ptr() as u64);
        machine.set_data_u64(SLOT_CARDS.address(), slots.as_mut_ptr() as u64);
        let mut f = Fixture { machine, cards, bundles, log, slots };
        f.mark(0);
        f
    }

    /// Says whether old objects are being marked, as the heap does.
    fn mark(&mut self, marking: u32) {
        self.machine.set_data_u32(MARKING, marking);
        self.machine.set_data_u32(YOUNG_LAST, if marking == 0 { NURSERY - 1 } else { u32::MAX });
    }

    /// Runs `code`, which stores `value` into a slot of `HOLDER` at offset 32 that has `old`.
    fn run(&mut self, code: &Code, old: u32, value: u32) {
        self.machine.set_u32(HOLDER + 32, old);
        let l = self.machine.native_address(HOLDER);
        let mut args = RawArgs { a: HOLDER.into(), b: value.into(), x: 5, l, ..Default::default() };
        self.machine.run(code, &mut args);
        assert_eq!(self.machine.u32(HOLDER + 32), value);
        assert_eq!((args.a, args.b), (HOLDER.into(), value.into()));
        assert_eq!(self.machine.calls(), []);
    }

    /// Returns the cards that are not clean with their values, and cleans all cards. Only their bundles
    /// are dirty.
    fn take_cards(&mut self) -> Vec<(u32, u8)> {
        let mut dirty_bundles = vec![0; self.bundles.len()];
        let cards = self.cards.iter_mut().enumerate().filter(|(_, card)| **card != 0);
        let found: Vec<(u32, u8)> =
            cards.map(|(n, card)| ((n as u32) << CARD_SHIFT, std::mem::take(card))).collect();
        for (at, _) in found.iter().filter(|(_, card)| *card == DIRTY) {
            dirty_bundles[(at >> BUNDLE_SHIFT) as usize] = DIRTY;
        }
        assert_eq!(self.bundles, dirty_bundles);
        self.bundles.fill(0);
        found
    }
}

fn write(options: &Abi, place: fn(Args) -> RefPlace) -> Code {
    Code::new(&GenerationalCompiler, options, &|e, a| {
        e.write_ref(place(a), a.b);
        None
    })
}

/// The log entry for overwriting `old`.
fn entry(old: u32) -> u64 {
    u64::from(HOLDER + 32) << 32 | u64::from(old)
}

/// Words that are not references to young objects.
fn not_young() -> [u32; 8] {
    let i31 = |value| i31(value) as u32;
    [0, OLD, OLD + 8, NURSERY_START - 8, u32::MAX - 7, i31(-1), i31(1), i31(1 << 29)]
}

#[test]
fn a_card_is_marked_for_young_values_alone() {
    for options in modes() {
        for (name, place) in PLACES {
            let code = write(&options, place);
            let mut f = Fixture::new();
            let marked = if name == "field" { HOLDER } else { HOLDER + 32 };
            let card = marked / CARD_SIZE * CARD_SIZE;
            for young in [YOUNG, NURSERY_START, LAST_YOUNG] {
                f.run(&code, OLD, young);
                assert_eq!(f.take_cards(), [(card, 1)], "{name}");
            }
            for value in not_young() {
                f.run(&code, YOUNG, value);
                assert_eq!(f.take_cards(), [], "{name}: {value:#x}");
            }
            // The card is not marked again.
            f.cards[(card >> CARD_SHIFT) as usize] = 7;
            f.run(&code, 0, YOUNG);
            assert_eq!(f.take_cards(), [(card, 7)], "{name}");
            assert_eq!(f.machine.data_u32(LOG_LEN), 0);
        }
    }
}

#[test]
fn a_young_object_needs_no_barrier() {
    for options in modes() {
        for ((name, place), marking) in PLACES.into_iter().flat_map(|it| [(it, 0), (it, 1)]) {
            let code = write(&options, place);
            let mut f = Fixture::new();
            f.mark(marking);
            for holder in [NURSERY_START, YOUNG] {
                let l = f.machine.native_address(holder);
                let (a, b) = (holder.into(), YOUNG.into());
                f.machine.run(&code, &mut RawArgs { a, b, x: 5, l, ..Default::default() });
                assert_eq!(f.machine.u32(holder + 32), YOUNG);
                assert_eq!(f.take_cards(), [], "{name}");
                assert_eq!(f.machine.data_u32(LOG_LEN), 0, "{name}");
            }
        }
    }
}

/// Short ranges of references are copied and filled inline in young arrays.
#[test]
fn ranges_of_references_in_young_arrays_need_no_host() {
    let layout = ArrayLayout::new(StorageType::Ref);
    for options in modes().filter(|options| options.guarded()) {
        let copy = Code::new(&GenerationalCompiler, &options, &|e, a| {
            e.array_copy(&layout, (a.a, a.x), (a.b, a.y), a.z);
            None
        });
        let fill = Code::new(&GenerationalCompiler, &options, &|e, a| {
            e.array_fill(a.a, &layout, a.x, a.b, a.z);
            None
        });
        for (array, marking, inline) in
            [(YOUNG, 0, true), (YOUNG, 1, true), (HOLDER, 0, false), (HOLDER, 1, false)]
        {
            let mut f = Fixture::new();
            f.mark(marking);
            f.machine.set_u32(array + ArrayLayout::LENGTH_OFFSET, 40);
            let element = |n| array + layout.element_offset(n) as u32;
            f.machine.set_u32(element(3), YOUNG);
            let (a, b) = (array.into(), array.into());
            let mut args = RawArgs { a, b, x: 20, y: 3, z: 7, ..Default::default() };
            f.machine.run(&copy, &mut args);
            assert_eq!(f.machine.calls().len(), usize::from(!inline), "{array:#x} {marking}");
            assert_eq!(f.machine.u32(element(20)), if inline { YOUNG } else { 0 });
            let mut args = RawArgs { a, b: OLD.into(), x: 30, z: 2, ..Default::default() };
            f.machine.run(&fill, &mut args);
            assert_eq!(f.machine.calls().len(), usize::from(!inline));
            assert_eq!(f.machine.u32(element(31)), if inline { OLD } else { 0 });
            assert_eq!(f.take_cards(), []);
        }
    }
}

#[test]
fn what_is_overwritten_is_logged_while_marking() {
    for options in modes() {
        for (name, place) in PLACES {
            let code = write(&options, place);
            let mut f = Fixture::new();
            f.mark(1);
            let overwritten = [OLD, 0, YOUNG, 3, OLD + 8];
            for (n, old) in overwritten.into_iter().enumerate() {
                f.run(&code, old, [OLD + 16, YOUNG, 0, NURSERY_START - 1, u32::MAX][n % 5]);
            }
            assert_eq!(f.machine.data_u32(LOG_LEN), 5, "{name}");
            assert_eq!(f.log[..5], overwritten.map(entry), "{name}");
            assert_eq!(f.log[5], 0);
            assert_eq!(f.take_cards().len(), 1, "{name}");
            // After its end the log begins again, and the count continues.
            f.machine.set_data_u64(LOG_LEN, (1 << 32) + LOG_CAPACITY - 1);
            f.run(&code, OLD + 24, 0);
            f.run(&code, OLD + 32, 0);
            assert_eq!(f.log[LOG_CAPACITY as usize - 1], entry(OLD + 24));
            assert_eq!(f.log[0], entry(OLD + 32));
            assert_eq!(f.machine.data_u32(LOG_LEN), LOG_CAPACITY as u32 + 1);
            assert_eq!(f.machine.data_u32(LOG_LEN + 4), 1);
            f.mark(0);
            f.run(&code, OLD, 0);
            assert_eq!(f.machine.data_u32(LOG_LEN), LOG_CAPACITY as u32 + 1);
        }
    }
}

#[test]
fn the_card_of_a_native_slot_is_marked_if_it_is_of_a_table() {
    type Place = fn(Args) -> RefPlace;
    const REGION: regions::Region = regions::EMBEDDER + 1;
    let of_table: Place =
        |a| RefPlace::Native { address: a.l, offset: 32, region: REGION, kind: RootKind::Table };
    let of_global: Place =
        |a| RefPlace::Native { address: a.l, offset: 32, region: REGION, kind: RootKind::Global };
    for options in modes() {
        for (place, marks) in [(of_table, true), (of_global, false)] {
            let init = Code::new(&GenerationalCompiler, &options, &|e, a| {
                e.init_ref(place(a), a.b);
                None
            });
            for code in [write(&options, place), init] {
                let mut f = Fixture::new();
                f.mark(1);
                let slot = f.machine.native_address(HOLDER + 32);
                let card = (slot >> SLOT_CARD_SHIFT) as usize % SLOT_CARDS_LEN as usize;
                for value in not_young().into_iter().chain([YOUNG, LAST_YOUNG]) {
                    f.run(&code, OLD, value);
                    assert_eq!(std::mem::take(&mut f.slots[card]), u8::from(marks), "{value:#x}");
                    assert_eq!(f.slots, vec![0; SLOT_CARDS_LEN as usize]);
                }
                // Native memory uses neither the heap's cards nor the log.
                assert_eq!(f.take_cards(), []);
                assert_eq!(f.machine.data_u32(LOG_LEN), 0);
            }
        }
    }
}

#[test]
fn new_objects_pass_no_barrier() {
    for options in modes() {
        let layout = StructLayout::new([StorageType::Ref, StorageType::Ref]).unwrap();
        let code = Code::new(&GenerationalCompiler, &options, &|e, a| {
            Some(e.struct_new(a.word, &layout, &[a.b, a.b]))
        });
        let elements = ArrayLayout::new(StorageType::Ref);
        let fill = Code::new(&GenerationalCompiler, &options, &|e, a| {
            Some(e.array_new(a.word, &elements, ArrayInit::Fill(a.b, a.x)))
        });
        let two = Code::new(&GenerationalCompiler, &options, &|e, a| {
            Some(e.array_new(a.word, &elements, ArrayInit::Elements(&[a.b, a.b])))
        });
        for born_old in [false, true] {
            let mut f = Fixture::new();
            f.mark(1);
            f.machine.set_data_u32(NEXT, NURSERY_START + 1024);
            f.machine.set_data_u32(LIMIT, NURSERY_START + if born_old { 1024 } else { 2048 });
            f.machine.host_returns(OLD.into());
            let mut args = RawArgs { b: YOUNG.into(), x: 20, word: WORD, ..Default::default() };
            let made = f.machine.run(&code, &mut args) as u32;
            assert_eq!(made, if born_old { OLD } else { NURSERY_START + 1024 });
            assert_eq!((f.machine.u32(made + 8), f.machine.u32(made + 12)), (YOUNG, YOUNG));
            let made = f.machine.run(&fill, &mut args) as u32;
            assert_eq!(made, if born_old { OLD } else { NURSERY_START + 1040 });
            for i in 0..20 {
                assert_eq!(f.machine.u32(made + elements.element_offset(i) as u32), YOUNG);
            }
            let calls = if born_old {
                vec![
                    (HostCall::ALLOC_STRUCT, vec![u64::from(WORD)]),
                    (HostCall::ALLOC_ARRAY, vec![u64::from(WORD), 20]),
                ]
            } else {
                vec![]
            };
            assert_eq!(f.machine.calls(), calls);
            // The collector does not look at the elements of an array because it is new. It may be
            // large.
            let card = |element| (OLD + elements.element_offset(element) as u32) & !(CARD_SIZE - 1);
            let mut cards = vec![(card(0), DIRTY), (card(19), DIRTY)];
            cards.dedup();
            let cards = if born_old { cards } else { vec![] };
            assert_eq!(f.take_cards(), cards);
            // The cards of a large array of old objects stay clean, unless these may be evacuated.
            args.b = HOLDER.into();
            f.machine.run(&fill, &mut args);
            assert_eq!(f.take_cards(), []);
            f.mark(1 | WILL_EVACUATE);
            f.machine.run(&fill, &mut args);
            assert_eq!(f.take_cards(), cards);
            // Elements whose indices are known are few.
            args.b = YOUNG.into();
            f.machine.run(&two, &mut args);
            assert_eq!(f.take_cards(), []);
            assert_eq!(f.machine.data_u32(LOG_LEN), 0);
        }
    }
}

/// A list of elements may be so long that the collector does not examine the array.
#[test]
fn the_elements_of_a_large_new_array_pass_the_barrier() {
    let elements = ArrayLayout::new(StorageType::Ref);
    let most = (ArrayLayout::MAX_EXAMINED - elements.elements_offset()) / 4;
    let options = modes().next().unwrap();
    for (length, passes) in [(most, false), (most + 1, true)] {
        let code = Code::new(&GenerationalCompiler, &options, &|e, a| {
            let null = e.ref_null();
            let mut values = vec![null; length as usize];
            values[0] = a.b;
            Some(e.array_new(a.word, &elements, ArrayInit::Elements(&values)))
        });
        let mut f = Fixture::new();
        f.machine.set_data_u32(NEXT, NURSERY_START + 1024);
        f.machine.set_data_u32(LIMIT, NURSERY_START + 1024);
        f.machine.host_returns(OLD.into());
        let mut args = RawArgs { b: YOUNG.into(), word: WORD, ..Default::default() };
        f.machine.run(&code, &mut args);
        assert_eq!(f.take_cards().len(), usize::from(passes), "{length} elements");
    }
}

#[test]
fn null_is_stored_without_a_look_at_cards() {
    for options in modes() {
        let code = Code::new(&GenerationalCompiler, &options, &|e, a| {
            let null = e.ref_null();
            e.write_ref(RefPlace::Field { object: a.a, offset: 32 }, null);
            None
        });
        let mut f = Fixture::new();
        // An access to a missing table would fault.
        f.machine.set_data_u64(CARDS.address(), 8);
        f.mark(1);
        f.machine.set_u32(HOLDER + 32, OLD);
        let mut args = RawArgs { a: HOLDER.into(), ..Default::default() };
        f.machine.run(&code, &mut args);
        assert_eq!((f.machine.u32(HOLDER + 32), f.log[0]), (0, entry(OLD)));
    }
}

#[test]
fn a_wrong_object_traps_before_its_card_is_looked_for() {
    for options in modes().filter(|options| !options.guarded()) {
        for (name, place) in PLACES {
            let code = write(&options, place);
            let mut f = Fixture::new();
            // An element is accessed after the array's length was read, which traps for null.
            for a in [if name == "field" { 0 } else { 0xffff_fe00 }, 0xffff_ff00] {
                let mut args = RawArgs { a, b: YOUNG.into(), x: 5, ..Default::default() };
                assert_eq!(f.machine.signal(&code, &mut args), Some(libc::SIGILL), "{name}");
            }
        }
    }
}
