//! Tests of a mark region alone, and of its evacuation.

use super::blocks::{BLOCK_SIZE, LINE_SIZE, MAX_SMALL};
use super::evacuate::{Evacuation, Evacuator};
use super::*;
use crate::trace::marking::{Marked, Marker, Marking};
use crate::trace::shapes::Shapes;
use crate::{HeapCore, HeapOptions};
use gc_types::{
    GcLayout, NULL_PAGE_SIZE, StorageType, StructLayout, TypeIndex, VMGcHeader, VMGcKind,
};
use std::sync::Arc;
use std::time::Duration;

const BLOCKS: u64 = 16;

/// Memory of a size that does not matter.
fn memory() -> HeapMemory {
    HeapMemory::new(&HeapOptions::default()).unwrap()
}

fn region() -> MarkRegion {
    let end = u64::from(NULL_PAGE_SIZE) + BLOCKS * u64::from(BLOCK_SIZE);
    let mut region = MarkRegion::new(NULL_PAGE_SIZE, end);
    region.extend(end);
    region
}

/// Marks these objects of `size` bytes and sweeps the others.
fn collect(region: &mut MarkRegion, live: &[u32], size: u32) {
    region.begin_marking();
    for &index in live {
        assert_eq!(region.mark(index), Mark::New);
        region.reached(index, size);
    }
    region.end_marking();
    region.begin_sweeping();
    while !region.sweep(&mut memory(), &mut 1) {
        region.check().unwrap();
    }
    region.check().unwrap();
}

#[test]
fn holes_of_dead_objects_are_used_again() {
    let mut region = region();
    let objects: Vec<u32> = std::iter::from_fn(|| region.alloc(LINE_SIZE)).collect();
    assert_eq!(objects.len() as u64, BLOCKS * u64::from(BLOCK_SIZE / LINE_SIZE));
    assert_eq!((region.free_bytes(), region.total().objects), (0, objects.len() as u64));
    // Of four lines two adjacent ones become free.
    let live: Vec<u32> = objects.iter().copied().filter(|at| at / LINE_SIZE % 4 < 2).collect();
    collect(&mut region, &live, LINE_SIZE);
    assert!(region.objects().eq(live.iter().copied()));
    assert_eq!(
        region.total(),
        Count { objects: live.len() as u64, bytes: live.len() as u64 * 128 }
    );
    let mut again = 0;
    while let Some(at) = region.alloc(2 * LINE_SIZE) {
        assert!(at / LINE_SIZE % 4 == 2 && region.check_object(at, 2 * LINE_SIZE).is_ok());
        again += 1;
    }
    assert_eq!(again, live.len() / 2);
}

#[test]
fn one_block_is_enough_for_objects_of_all_sizes() {
    let mut region = MarkRegion::new(NULL_PAGE_SIZE, (NULL_PAGE_SIZE + BLOCK_SIZE).into());
    region.extend((NULL_PAGE_SIZE + BLOCK_SIZE).into());
    let objects: Vec<u32> = std::iter::from_fn(|| region.alloc(LINE_SIZE)).collect();
    // The first line, one in the middle, and the last line stay.
    let live = [objects[0], objects[10], objects[255]];
    collect(&mut region, &live, LINE_SIZE);
    let small = region.alloc(16).unwrap();
    assert_eq!((small, region.free_bytes()), (objects[1], 9 * u64::from(LINE_SIZE) - 16));
    // The place of larger objects is in the same block.
    let medium = region.alloc(40 * LINE_SIZE).unwrap();
    assert_eq!(medium, objects[11]);
    // What is left beside it is for small objects again.
    let rest: Vec<u32> = std::iter::from_fn(|| region.alloc(LINE_SIZE)).collect();
    assert_eq!(rest, objects[51..255]);
    region.check().unwrap();
    for &at in live.iter().chain(&rest) {
        region.check_object(at, LINE_SIZE).unwrap();
    }
}

#[test]
fn small_objects_find_the_later_holes_of_the_block_for_larger_ones() {
    let mut region = MarkRegion::new(NULL_PAGE_SIZE, (NULL_PAGE_SIZE + BLOCK_SIZE).into());
    region.extend((NULL_PAGE_SIZE + BLOCK_SIZE).into());
    let objects: Vec<u32> = std::iter::from_fn(|| region.alloc(512)).collect();
    let live: Vec<u32> = objects.iter().copied().step_by(2).collect();
    collect(&mut region, &live, 512);
    // It takes the whole first hole.
    assert_eq!(region.alloc(512), Some(objects[1]));
    let small: Vec<u32> = std::iter::from_fn(|| region.alloc(64)).collect();
    assert_eq!((small.len(), small[0]), (31 * 8, objects[3]));
    region.check().unwrap();
}

#[test]
fn blocks_that_are_set_aside_are_not_lost() {
    let (mut region, mut memory) = (region(), memory());
    region.alloc(16).unwrap();
    let lost = region.lost_bytes();
    assert_eq!(region.set_aside(&mut memory, 3 * u64::from(BLOCK_SIZE)), 3 * u64::from(BLOCK_SIZE));
    assert_eq!(region.lost_bytes(), lost);
}

#[test]
fn large_objects_are_swept_one_by_one() {
    let mut region = region();
    let size = MAX_SMALL + 8;
    let objects: Vec<u32> = (0..6).map(|_| region.alloc(size).unwrap()).collect();
    region.begin_marking();
    for &index in &objects[..2] {
        region.mark(index);
        region.reached(index, size);
    }
    region.end_marking();
    region.begin_sweeping();
    assert_eq!((region.left_to_sweep().0, region.large_objects()), (6, 0));
    assert!(region.is_unswept(objects[0]) && region.is_sweeping());
    assert!(!region.sweep(&mut memory(), &mut 1));
    assert_eq!(region.left_to_sweep().0, 5);
    // One that is allocated meanwhile stays.
    let new = region.alloc(size).unwrap();
    assert!(!region.is_unswept(new));
    while !region.sweep(&mut memory(), &mut 1) {}
    assert_eq!((region.large_objects(), region.left_to_sweep()), (3, (0, 0)));
    let expected = [objects[0], objects[1], new];
    assert!(region.objects().eq(expected.into_iter()));
    region.check().unwrap();
}

#[test]
fn an_object_in_a_line_that_is_not_marked_is_found() {
    let mut region = region();
    let at = region.alloc(16).unwrap();
    assert_eq!(region.check_object(at, 16), Ok(()));
    region.blocks.mark_lines(at, 16, 77);
    assert_eq!(region.check_object(at, 16), Err("an object is in a line that is not marked"));
    assert_eq!(region.check_object(at, MAX_SMALL + 8), Err("an object does not fit in its memory"));
}

#[test]
fn an_abandoned_marking_frees_nothing() {
    let mut region = region();
    let (a, b) = (region.alloc(16).unwrap(), region.alloc(16).unwrap());
    region.begin_marking();
    region.mark(a);
    region.reached(a, 16);
    let black = region.alloc(16).unwrap();
    assert!(region.is_marked(black));
    region.abandon_marking();
    assert_eq!(region.first_marked(), None);
    assert!([a, b, black].iter().all(|&at| region.check_object(at, 16).is_ok()));
    assert_eq!(region.total().objects, 3);
}

#[test]
fn objects_outside_can_be_marked() {
    let start = 2 * NULL_PAGE_SIZE;
    let end = u64::from(start) + 4 * u64::from(BLOCK_SIZE);
    let mut region = MarkRegion::new(start, end);
    region.extend(end);
    let mut outside = vec![NULL_PAGE_SIZE, NULL_PAGE_SIZE + 8];
    region.add_outside(&outside, end);
    region.begin_marking();
    assert_eq!(region.mark(NULL_PAGE_SIZE), Mark::New);
    region.end_marking();
    region.sweep_outside(&mut outside);
    assert_eq!(outside, [NULL_PAGE_SIZE]);
    assert!(!region.is_start(NULL_PAGE_SIZE + 8) && !region.is_marked(NULL_PAGE_SIZE));
    region.remove_outside(&outside);
    assert!(!region.is_start(NULL_PAGE_SIZE));
}

const CELL: TypeIndex = TypeIndex::new(0).unwrap();

/// A heap of cells of one line, each with a reference at its begin.
struct Cells {
    core: HeapCore,
    shapes: Shapes,
    region: MarkRegion,
    cells: Vec<u32>,
}

impl Cells {
    /// Blocks of which one line in four lives, in a list.
    fn new() -> Cells {
        let options = HeapOptions { initial: 1 << 20, ..HeapOptions::default() };
        let mut core = HeapCore::new(HeapMemory::new(&options).unwrap());
        let fields = [StorageType::Ref].into_iter().chain([StorageType::I64; 14]);
        let layout = StructLayout::new(fields).unwrap();
        assert_eq!(layout.size, LINE_SIZE);
        core.side.layouts.ensure(CELL, &Arc::new(GcLayout::Struct(layout))).unwrap();
        let mut shapes = Shapes::default();
        shapes.update(&core.side.layouts);
        let mut region = region();
        let mut cells = Vec::new();
        for n in 0..6 * BLOCK_SIZE / LINE_SIZE {
            let at = region.alloc_zeroed(&mut core.memory, LINE_SIZE).unwrap();
            core.set_header_at(at, VMGcHeader::new(VMGcKind::StructRef, CELL)).unwrap();
            if n % 4 == 0 {
                cells.push(at);
            }
        }
        for pair in cells.windows(2) {
            core.memory.write_u32(u64::from(pair[0]) + 8, pair[1]).unwrap();
        }
        collect(&mut region, &cells, LINE_SIZE);
        Cells { core, shapes, region, cells }
    }

    /// Marks the list, and lets the evacuator record slots.
    fn mark(&mut self, evacuator: &mut Evacuator) {
        let Cells { core, shapes, region, cells } = self;
        evacuator.choose(region, core);
        region.begin_marking();
        let mut marker = Marker::default();
        marker.begin(region.start());
        let mut marking = Marking { core, shapes, region, evacuator, marker: &mut marker };
        marking.mark(cells[0]);
        while marking.run(&mut 10) != Marked::Done {}
        region.end_marking();
    }

    fn list(&self, mut at: u32) -> Vec<u32> {
        let mut list = Vec::new();
        while at != 0 {
            assert!(self.region.is_start(at));
            list.push(at);
            at = self.core.memory.read_u32(u64::from(at) + 8).unwrap();
        }
        list
    }
}

#[test]
fn blocks_with_holes_are_emptied() {
    let mut it = Cells::new();
    let mut evacuator = Evacuator::default();
    let free = it.region.blocks().free_blocks();
    it.mark(&mut evacuator);
    assert!(evacuator.is_active());
    // The first cell's slot is a root.
    let chosen = it.cells[1..].iter().filter(|&&cell| evacuator.is_chosen(cell)).count();
    assert_eq!(evacuator.slots().len(), chosen);
    assert!(chosen > it.cells.len() / 2);
    let Cells { core, shapes, region, cells } = &mut it;
    let mut evacuation = Evacuation { core, shapes, region, evacuator: &mut evacuator };
    while !evacuation.move_some(&mut 1) {}
    while !evacuation.update_some(&mut 1, |_, _| {}) {}
    let first = evacuation.moved(cells[0]).unwrap();
    evacuation.free();
    region.begin_sweeping();
    while !region.sweep(&mut core.memory, &mut 100) {}
    region.check().unwrap();
    let list = it.list(first);
    assert_eq!((list.len(), it.region.total().objects), (it.cells.len(), it.cells.len() as u64));
    assert!(it.region.blocks().free_blocks() > free);
    assert!(list.iter().all(|&at| it.region.check_object(at, LINE_SIZE).is_ok()));
}

#[test]
fn an_evacuation_with_too_many_slots_is_given_up() {
    let mut it = Cells::new();
    let mut evacuator = Evacuator::default();
    let usual = evacuator.most_bytes();
    it.mark(&mut evacuator);
    let most = evacuator.most_slots();
    while evacuator.slots().len() < most {
        assert!(evacuator.record(it.cells[0] + 8));
    }
    assert!(!evacuator.record(it.cells[0] + 8));
    evacuator.give_up();
    assert_eq!((evacuator.is_active(), evacuator.most_bytes()), (false, usual / 2));
    // The blocks are swept like all others.
    it.region.begin_sweeping();
    while !it.region.sweep(&mut it.core.memory, &mut 100) {}
    it.region.check().unwrap();
    assert_eq!(it.list(it.cells[0]), it.cells);
}

/// In time that the host gives, the evacuation that is chosen takes a part of it.
#[test]
fn an_evacuation_fits_into_given_time() {
    let expected = |given: Option<Duration>| {
        let mut it = Cells::new();
        // Even one block is chosen.
        it.core.memory.set_zeal(1);
        it.core.side.given = given;
        let mut evacuator = Evacuator::default();
        evacuator.choose(&mut it.region, &it.core);
        let most = Duration::from_nanos(evacuator.most_slots() as u64 * 80);
        (evacuator.expected(), most)
    };
    let usual = expected(None).0;
    assert!(usual > Duration::ZERO);
    // A quarter each for the bytes and for the slots.
    let half = usual / 2;
    let given = expected(Some(2 * usual));
    assert!(given.0 > Duration::ZERO && given.0 <= half, "{given:?} of {usual:?}");
    assert!(given.1 <= half, "{given:?} of {usual:?}");
    assert_eq!(expected(Some(Duration::ZERO)), (Duration::ZERO, Duration::ZERO));
}

#[test]
fn what_a_sweep_frees_is_overwritten_under_zeal() {
    let options = HeapOptions { initial: 1 << 20, zeal: 1, ..HeapOptions::default() };
    let mut memory = HeapMemory::new(&options).unwrap();
    let mut region = region();
    let cells = BLOCK_SIZE / LINE_SIZE;
    let small: Vec<u32> = (0..2 * cells).map(|_| region.alloc(LINE_SIZE).unwrap()).collect();
    let large = region.alloc(MAX_SMALL + 8).unwrap();
    // The block that is being filled is another one.
    while region.alloc(LINE_SIZE).unwrap() / BLOCK_SIZE == small[small.len() - 1] / BLOCK_SIZE {}
    region.begin_marking();
    region.mark(small[0]);
    region.reached(small[0], LINE_SIZE);
    region.end_marking();
    region.begin_sweeping();
    while !region.sweep(&mut memory, &mut 100) {}
    let is_poison = |at: u32, size: u32| {
        (at..at + size).all(|at| memory.read_u8(at.into()) == Some(HeapMemory::POISON))
    };
    assert!(!is_poison(small[0], 1) && is_poison(large, MAX_SMALL + 8));
    assert!(small[1..].iter().all(|&at| is_poison(at, LINE_SIZE)));
}
