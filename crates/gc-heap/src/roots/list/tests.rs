//! Tests of the roots that a collector gets.

use super::*;
use crate::{HeapMemory, HeapOptions, RootOwner};
use gc_types::{HeapDataOffsets, SideTable};

fn one(index: u32) -> VMGcRef {
    VMGcRef::from_heap_index(index).unwrap()
}

fn add(list: &mut GcRootsList, kind: RootKind, number: u32, slots: &mut [u32]) -> SlotsId {
    let first = NonNull::new(slots.as_mut_ptr()).unwrap();
    // SAFETY: every test keeps its slots as long as the list uses them.
    unsafe { list.add_slots(kind, number, first, slots.len()) }
}

fn words(roots: GcRootsIter<'_>) -> Vec<u32> {
    roots.map(|root| root.get().map_or(0, |gc_ref| gc_ref.as_raw_u32())).collect()
}

/// Nothing is remembered.
fn none() -> RememberedSlots {
    remembered(8)
}

fn remembered(shift: u32) -> RememberedSlots {
    let cards = SideTable::masked("slots", HeapDataOffsets::COLLECTOR + 8, 0, 64);
    let memory = HeapMemory::new(&HeapOptions::default()).unwrap();
    RememberedSlots::new(&memory, cards, shift).unwrap()
}

#[test]
fn of_a_table_those_on_remembered_cards_are_given() {
    let mut slots: Vec<u32> = (0..4096).map(|n| if n % 3 == 0 { 0 } else { 64 }).collect();
    let (first, len) = (slots.as_mut_ptr(), slots.len());
    let (mut set, mut list) = (none(), GcRootsList::default());
    add(&mut list, RootKind::Table, 2, &mut slots);
    assert_eq!(list.remembered(&set).count(), 0, "the set is empty");
    let remembered = [0, 1000, 1001, 4095].map(|n| first.wrapping_add(n).addr());
    remembered.iter().for_each(|&slot| set.insert(slot));
    let given: Vec<_> = list.remembered(&set).map(|r| (r.address(), r.owner())).collect();
    let card = |slot: usize| (slot >> 8) % 64;
    let expected: Vec<_> = (0..len)
        .filter(|n| n % 3 != 0)
        .map(|n| (first.wrapping_add(n).addr(), n as u32))
        .filter(|(slot, _)| remembered.iter().any(|&other| card(other) == card(*slot)))
        .map(|(slot, element)| (slot, RootOwner::Table { number: 2, element }))
        .collect();
    assert_eq!(given, expected);
    assert!(given.len() > 40 && given.len() < 2000, "{}", given.len());
    assert_eq!(list.all().count(), len - len.div_ceil(3));
}

#[test]
fn roots_are_read_and_overwritten_in_place() {
    let (mut stack, mut other) = ([64u64, 0, 3], [128u32, 0, 136]);
    let mut list = GcRootsList::default();
    for slot in &mut stack {
        // SAFETY: the slots live and are not accessed until the stack is cleared.
        unsafe { list.add_stack_root(slot) };
    }
    add(&mut list, RootKind::Global, 5, &mut other);
    let seen: Vec<_> =
        list.all().map(|r| (r.is_on_stack(), r.get().map(|r| r.as_raw_u32()))).collect();
    let on_stack = [Some(64), None, Some(3)].map(|word| (true, word));
    // Null slots outside the stack are skipped.
    assert_eq!(seen, [&on_stack[..], &[(false, Some(128)), (false, Some(136))]].concat());
    assert_eq!(words(list.stack()), [64, 0, 3]);
    let last = list.all().last().unwrap();
    assert_eq!((last.kind(), last.owner()), (RootKind::Global, RootOwner::Global { number: 7 }));
    assert_eq!(last.address(), (&raw mut other[2]).addr());
    let mut roots = list.all();
    for mut root in roots.by_ref() {
        if root.get().is_some_and(|r| !r.is_i31()) {
            root.set(one(256));
        }
    }
    roots.restart();
    assert_eq!(words(roots), [256, 0, 3, 256, 256]);
    list.clear_stack();
    assert_eq!((words(list.all()), stack, other), (vec![256; 2], [256, 0, 3], [256, 0, 256]));
}

#[test]
fn what_is_written_once_is_remembered_while_it_is_new() {
    let mut list = GcRootsList::default();
    let (mut globals, mut constants) = ([8u32; 2], [16u32; 2]);
    add(&mut list, RootKind::Global, 0, &mut globals);
    add(&mut list, RootKind::Constant, 0, &mut constants);
    let segment = list.add_segment(0, vec![Some(one(24)), None]);
    list.handles_mut().push(one(32));
    let _owned = list.handles_mut().add_owned(one(40)).unwrap();
    assert_eq!(words(list.remembered(&none())), [8, 8, 16, 16, 32, 40, 24]);
    // Asking for roots does not count as a visit.
    let mut roots = list.remembered(&none());
    roots.forget_new(|_| false);
    assert_eq!(words(roots), [8, 8, 16, 16, 32, 40, 24]);
    assert_eq!(words(list.remembered(&none())), [8, 8, 32]);
    assert_eq!(list.all().count(), 7);
    let other = list.add_segment(1, vec![Some(one(48))]);
    assert_eq!(words(list.remembered(&none())), [8, 8, 32, 48]);
    assert_eq!(list.remove_segment(other), [Some(one(48))]);
    assert_eq!(list.segment(segment), [Some(one(24)), None]);
    assert_eq!(words(list.remembered(&none())), [8, 8, 32]);
}

#[test]
fn all_of_a_table_that_moved_is_new() {
    let (mut here, mut there) = ([8u32; 3], [16u32; 5]);
    let mut list = GcRootsList::default();
    let id = add(&mut list, RootKind::Table, 0, &mut here[..2]);
    assert_eq!(words(list.remembered(&none())), [0; 0]);
    let first = NonNull::new(here.as_mut_ptr()).unwrap();
    // SAFETY: the slots live as long as the list.
    unsafe { list.move_slots(id, first, 3) };
    assert_eq!(words(list.remembered(&none())), [0; 0], "it has grown where it is");
    assert_eq!(words(list.all()), [8; 3]);
    let first = NonNull::new(there.as_mut_ptr()).unwrap();
    // SAFETY: as above.
    unsafe { list.move_slots(id, first, 5) };
    assert_eq!(words(list.remembered(&none())), [16; 5]);
    list.all().forget_new(|_| false);
    assert_eq!(words(list.remembered(&none())), [0; 0]);
    list.remove_slots(id);
    assert_eq!(list.all().count(), 0);
    let again = add(&mut list, RootKind::Table, 1, &mut here);
    assert_eq!((again, words(list.all())), (id, vec![8; 3]));
}

#[test]
fn fixed_tables_are_always_remembered() {
    let mut list = GcRootsList::default();
    let (mut table, mut fixed) = ([8u32; 2], [16u32; 2]);
    add(&mut list, RootKind::Table, 0, &mut table);
    add(&mut list, RootKind::FixedTable, 1, &mut fixed);
    for _ in 0..2 {
        let mut roots = list.remembered(&none());
        roots.forget_new(|_| false);
        assert_eq!(words(roots), [16, 16]);
    }
    let young = |range| remembered(9).with_young(range);
    assert_eq!(words(list.remembered(&young(8..16))), [0; 0]);
    assert_eq!(words(list.remembered(&young(16..24))), [16, 16]);
    let owner = list.all().last().unwrap().owner();
    assert_eq!(owner, RootOwner::FixedTable { number: 1, element: 1 });
    assert_eq!(
        (owner.kind(), owner.to_string()),
        (RootKind::FixedTable, "element 1 of table 1".into())
    );
}

#[test]
fn a_second_use_allocates_nothing() {
    let (mut slots, mut stack) = ([8u32; 1000], [8u64; 1000]);
    let mut list = GcRootsList::default();
    for slot in &mut slots {
        add(&mut list, RootKind::Global, 0, std::slice::from_mut(slot));
    }
    let mut capacity = None;
    for _ in 0..3 {
        list.clear_stack();
        for slot in &mut stack {
            // SAFETY: the slots live until the stack is cleared.
            unsafe { list.add_stack_root(slot) };
        }
        assert_eq!(list.all().count(), 2000);
        let now = (list.stack.capacity(), list.asked.capacity());
        assert_eq!(*capacity.get_or_insert(now), now);
    }
}

#[test]
fn lists_and_iterators_can_be_sent() {
    fn send<T: Send>() {}
    send::<GcRootsList>();
    send::<GcRootsIter<'_>>();
}

#[test]
#[should_panic(expected = "is not registered")]
fn the_stack_is_not_registered() {
    add(&mut GcRootsList::default(), RootKind::Stack, 0, &mut [0]);
}
