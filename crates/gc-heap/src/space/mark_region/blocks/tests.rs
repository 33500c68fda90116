//! Tests of [`Blocks`].

use super::*;
use crate::{HeapBounds, HeapOptions};

const START: u32 = 68 << 10;

fn blocks(pages: u32) -> Blocks {
    let mut blocks = Blocks::new(START);
    blocks.extend(u64::from(START + pages * PAGE_SIZE));
    blocks.check().unwrap();
    blocks
}

#[test]
fn a_block_is_free_once_all_its_pages_are_mapped() {
    let mut blocks = blocks(19);
    assert_eq!((blocks.free_blocks(), blocks.free_pages(), blocks.len()), (2, 19, 3));
    assert_eq!((blocks.take_block(), blocks.take_block()), (Some(0), Some(1)));
    assert_eq!(blocks.take_block(), None);
    blocks.extend(u64::from(START + 24 * PAGE_SIZE));
    assert_eq!(blocks.take_block(), Some(2));
    blocks.release_block(1);
    blocks.check().unwrap();
    assert_eq!(blocks.take_block(), Some(1));
    assert_eq!(blocks.owner(START + BLOCK_SIZE + 5), Owner::Block(START + BLOCK_SIZE));
    for index in [0, START - 1, START + 24 * PAGE_SIZE, u32::MAX] {
        assert_eq!(blocks.owner(index), Owner::Nobody, "{index:#x}");
    }
}

#[test]
fn the_end_of_what_was_ever_taken_is_known() {
    let mut blocks = blocks(24);
    assert_eq!(blocks.touched_end(), START);
    blocks.take_block().unwrap();
    assert_eq!(blocks.touched_end(), START + BLOCK_SIZE);
    let run = blocks.take_run(PAGE_SIZE).unwrap();
    blocks.release_run(run);
    blocks.extend(u64::from(START + 32 * PAGE_SIZE));
    assert_eq!(blocks.touched_end(), run + PAGE_SIZE);
    blocks.clear();
    assert_eq!(blocks.touched_end(), START);
}

#[test]
fn large_objects_take_pages_in_a_row() {
    let mut blocks = blocks(24);
    let a = blocks.take_run(PAGE_SIZE * 3).unwrap();
    let b = blocks.take_run(PAGE_SIZE * 9 + 1).unwrap();
    assert_eq!((a, b), (START, START + 3 * PAGE_SIZE));
    assert_eq!((blocks.run_size(a), blocks.run_size(b)), (3 * PAGE_SIZE, 10 * PAGE_SIZE));
    assert_eq!(blocks.owner(b + 10 * PAGE_SIZE - 1), Owner::Large(b));
    assert_eq!(blocks.take_block(), Some(2));
    assert_eq!(blocks.take_run(PAGE_SIZE * 4), None);
    assert_eq!(blocks.release_run(a), 3 * PAGE_SIZE);
    assert_eq!(blocks.take_run(PAGE_SIZE * 4), None);
    assert_eq!(blocks.take_run(PAGE_SIZE * 3), Some(a));
    blocks.check().unwrap();
    blocks.release_run(b);
    blocks.release_run(a);
    assert_eq!(blocks.free_blocks(), 2);
    // After the place where the search began, and before it.
    blocks.next_page = 8;
    assert_eq!(blocks.take_run(PAGE_SIZE * 15), Some(START));
    let end = u64::from(blocks.end());
    blocks.clear();
    assert!(blocks.is_empty() && blocks.free_pages() == 0);
    blocks.extend(end);
    blocks.check().unwrap();
    assert_eq!(blocks.free_pages(), 24);
}

#[test]
fn free_blocks_are_given_back_until_they_are_used() {
    let options = HeapOptions {
        initial: 1 << 20,
        bounds: HeapBounds::Checked,
        maximum: 1 << 20,
        ..HeapOptions::default()
    };
    let mut memory = HeapMemory::new(&options).unwrap();
    let mut blocks = blocks(PAGES as u32 * 10 + 3);
    // The last block is never used.
    (0..9).for_each(|block| assert_eq!(blocks.take_block(), Some(block)));
    (0..9).filter(|&block| block != 1).for_each(|block| blocks.release_block(block));
    let at = |block: u32| u64::from(START + block * BLOCK_SIZE);
    (0..10).for_each(|block| memory.write_u32(at(block), 7).unwrap());
    // Among the free blocks, 0 and 2 are kept.
    let mut from = GiveBack::new(2 * u64::from(BLOCK_SIZE));
    assert!(!blocks.give_back(&mut memory, &mut from, 3));
    assert_eq!(blocks.given_back(), 3 * u64::from(BLOCK_SIZE));
    assert!(blocks.give_back(&mut memory, &mut from, 1000));
    blocks.check().unwrap();
    assert_eq!(blocks.given_back(), 7 * u64::from(BLOCK_SIZE));
    // The system has provided nothing for the last block, so it is left alone.
    let zero = (0..10).map(|block| memory.read_u32(at(block)) == Some(0));
    let zeroed = [vec![false; 3], vec![true; 6], vec![false]].concat();
    assert_eq!(zero.collect::<Vec<_>>(), zeroed);
    // A second time gives nothing back.
    assert!(blocks.give_back(&mut memory, &mut GiveBack::new(0), 1000));
    assert_eq!(blocks.given_back(), 9 * u64::from(BLOCK_SIZE));
    blocks.take_run(BLOCK_SIZE * 8).unwrap();
    assert_eq!(blocks.given_back(), u64::from(BLOCK_SIZE));
    blocks.take_block();
    blocks.check().unwrap();
    assert_eq!(blocks.given_back(), 0);
    // All are dirty, and stay so when all become free.
    let end = u64::from(blocks.end());
    blocks.clear();
    blocks.extend(end);
    assert!(blocks.give_back(&mut memory, &mut GiveBack::new(0), 1000));
    assert_eq!((0..10).find(|&block| memory.read_u32(at(block)) != Some(0)), None);
    assert_eq!(blocks.given_back(), 10 * u64::from(BLOCK_SIZE));
    // What has no memory has none when it is added again.
    blocks.clear();
    assert_eq!(blocks.given_back(), 0);
    blocks.extend(end);
    blocks.check().unwrap();
    assert_eq!(blocks.given_back(), 10 * u64::from(BLOCK_SIZE));
}

/// The pages of an incomplete block are used by large objects, so it has memory when it is
/// complete.
#[test]
fn a_block_that_becomes_complete_may_be_dirty() {
    let (maximum, bounds) = (1 << 20, HeapBounds::Checked);
    let options = HeapOptions { initial: 1 << 20, maximum, bounds, ..HeapOptions::default() };
    let mut memory = HeapMemory::new(&options).unwrap();
    let mut blocks = blocks(PAGES as u32 - 1);
    let large = blocks.take_run(MAX_SMALL + 1).unwrap();
    memory.write_u32(large.into(), 7).unwrap();
    blocks.release_run(large);
    blocks.extend(u64::from(START + BLOCK_SIZE));
    assert!(blocks.give_back(&mut memory, &mut GiveBack::new(0), 1000));
    assert_eq!(memory.read_u32(large.into()), Some(0));
}

#[test]
fn holes_are_runs_of_free_lines() {
    let mut blocks = blocks(8);
    assert_eq!(blocks.take_block(), Some(0));
    assert_eq!(blocks.hole(0, START, 8), Some(Hole { next: START, limit: START + BLOCK_SIZE }));
    blocks.mark_lines(START + 2 * LINE_SIZE - 8, 16, 1);
    blocks.mark_lines(START + BLOCK_SIZE - 8, 8, 1);
    blocks.mark_lines(START + 5 * LINE_SIZE, LINE_SIZE, 2);
    let hole = |from, size| {
        let hole = blocks.hole(0, START + from * LINE_SIZE, size)?;
        Some(((hole.next - START) / LINE_SIZE, (hole.limit - START) / LINE_SIZE))
    };
    assert_eq!(hole(0, 8), Some((0, 1)));
    assert_eq!(hole(0, LINE_SIZE + 8), Some((3, 5)));
    assert_eq!(hole(3, 3 * LINE_SIZE), Some((6, 255)));
    assert_eq!(hole(255, 8), None);
    assert_eq!(hole(256, 8), None);
    assert!(blocks.lines_are(START + 5 * LINE_SIZE + 8, 8, 2));
    assert_eq!(blocks.sweep_lines(0, 1), 253);
    assert!(blocks.lines_are(START + 5 * LINE_SIZE + 8, 8, 0));
    blocks.set_all_lines(7);
    assert_eq!(blocks.sweep_lines(0, 7), 253);
    assert_eq!(blocks.sweep_lines(0, 1), 256);
}

#[test]
fn the_next_free_blocks_are_touched_ahead() {
    let (maximum, bounds) = (1 << 20, HeapBounds::Checked);
    let options = HeapOptions { initial: 1 << 20, maximum, bounds, ..HeapOptions::default() };
    let mut memory = HeapMemory::new(&options).unwrap();
    let mut blocks = blocks(10 * PAGES as u32);
    let size = u64::from(BLOCK_SIZE);
    assert!(blocks.give_back(&mut memory, &mut GiveBack::new(0), 1000));
    assert_eq!(blocks.take_block(), Some(0));
    assert_eq!(blocks.given_back(), 9 * size);
    blocks.touch_ahead(&memory, 3 * size - 1);
    blocks.check().unwrap();
    assert_eq!(blocks.given_back(), 7 * size);
    // More than half of three blocks have memory, so nothing is asked for.
    blocks.touch_ahead(&memory, 3 * size);
    assert_eq!(blocks.given_back(), 7 * size);
    // Of four blocks two have memory, so only the others are touched.
    blocks.touch_ahead(&memory, 4 * size);
    assert_eq!(blocks.given_back(), 5 * size);
    blocks.touch_ahead(&memory, 100 * size);
    assert_eq!(blocks.given_back(), 0);
    blocks.touch_ahead(&memory, 100 * size);
    // They can be given back again.
    assert!(blocks.give_back(&mut memory, &mut GiveBack::new(0), 1000));
    assert_eq!(blocks.given_back(), 9 * size);
    blocks.check().unwrap();
}
