//! Patterns: many operations that a few bytes encode.
//!
//! A collector does most of its work only after many allocations: it fills blocks, finds holes in
//! them, empties them, marks for several collections. Single operations hardly come so far within
//! an input of a few hundred bytes. A pattern is a program's way to use a heap, as a list of
//! ordinary operations: a list, an array that is filled and thinned out, a reference that moves
//! while objects are being marked. So shadow and shrinker need not know patterns.

use crate::ops::Op;
use crate::place::RootSlot;
use arbitrary::Unstructured;

/// The first bytes of an operation that mean a pattern instead.
const PATTERNS: u8 = 12;

/// Types of arrays, as [`Op::AllocArray`] chooses them.
const REFS: u8 = 0;
const VECTORS: u8 = 132;
/// The size of a vector in bytes.
const VECTOR: u32 = 16;

/// Operations and patterns of operations from bytes.
#[derive(Debug)]
pub struct Operations {
    /// Operations that patterns may still give.
    left: usize,
    /// The operations of the last pattern that were not returned yet, the next one last.
    waiting: Vec<Op>,
}

impl Operations {
    /// Operations of which patterns give at most this many. After these, every byte is one
    /// operation.
    pub fn new(most: usize) -> Operations {
        Operations { left: most, waiting: Vec::new() }
    }

    /// The next operation. `None` if `u` ran out.
    pub fn next(&mut self, u: &mut Unstructured<'_>) -> Option<Op> {
        if let Some(op) = self.waiting.pop() {
            return Some(op);
        }
        let is_pattern = u.peek_bytes(1).is_some_and(|bytes| bytes[0] < PATTERNS);
        if !is_pattern || self.left == 0 {
            return if u.is_empty() { None } else { u.arbitrary().ok() };
        }
        let mut pattern = Pattern { ops: Vec::new() };
        pattern.read(u).ok()?;
        pattern.ops.truncate(self.left);
        self.left -= pattern.ops.len();
        self.waiting = pattern.ops;
        self.waiting.reverse();
        self.next(u)
    }

    /// Whether the next operation belongs to the same pattern as the last one.
    pub fn is_within_pattern(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// The operations of a pattern.
struct Pattern {
    ops: Vec<Op>,
}

impl Pattern {
    fn read(&mut self, u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        let kind: u8 = u.arbitrary()?;
        let [place, what, count, more]: [u8; 4] = u.arbitrary()?;
        let place = RootSlot::from_byte(place);
        match kind {
            0 | 1 => self.churn(what, count),
            2 => self.list(place, what, count),
            3 => {
                self.array_of(place, what, count);
                self.churn(more, more % 32);
            }
            4 => {
                self.thin(place, more, count);
                self.churn(what, more % 32);
            }
            5 => self.holes(place, what, count, more),
            6 => self.large(place, what, count, u.arbitrary()?),
            7 => self.copied(place, what, count, more),
            8 => self.taken(place, count, more),
            9 => self.weak_for_a_while(what, more),
            _ => self.weak(place, what, count, more),
        }
        Ok(())
    }

    /// Objects that are garbage at once. With zeal each may collect, without zeal they fill small
    /// nurseries.
    fn churn(&mut self, what: u8, count: u8) {
        for _ in 0..count % 64 {
            self.ops.push(filler(what, 32, SPARE));
        }
        self.ops.push(Op::Clear { at: SPARE });
    }

    /// A list of structs, from the last one on. It goes on where the place has one.
    fn list(&mut self, head: RootSlot, ty: u8, count: u8) {
        for n in 0..count % 64 {
            self.ops.push(Op::AllocStruct { ty, tag: n.into(), to: SPARE });
            self.ops.push(Op::WriteRef { object: SPARE, field: 0, from: head });
            self.ops.push(Op::Copy { from: SPARE, to: head });
        }
        self.ops.push(Op::Clear { at: SPARE });
    }

    /// A new array of references to new objects.
    fn array_of(&mut self, array: RootSlot, what: u8, count: u8) {
        self.ops.push(Op::AllocArray { ty: REFS, length: count.into(), to: array });
        for field in 0..u16::from(count) {
            self.ops.push(filler(what, 4 + u32::from(what) / 4, SPARE));
            self.ops.push(Op::WriteRef { object: array, field, from: SPARE });
        }
        self.ops.push(Op::Clear { at: SPARE });
    }

    /// Empties most references of an array or struct, and keeps every few.
    fn thin(&mut self, object: RootSlot, kept: u8, count: u8) {
        self.ops.push(Op::Clear { at: SPARE });
        let every = 2 + u16::from(kept) % 7;
        for field in (0..u16::from(count)).filter(|field| field % every != 0) {
            self.ops.push(Op::WriteRef { object, field, from: SPARE });
        }
    }

    /// Blocks with holes: what was allocated side by side dies, except a few. The collections after
    /// that empty such blocks.
    fn holes(&mut self, array: RootSlot, what: u8, count: u8, more: u8) {
        self.array_of(array, what, count);
        self.ops.push(Op::Collect);
        self.thin(array, more, count);
        self.ops.push(Op::Collect);
        self.churn(what, more / 8);
        if more.is_multiple_of(2) {
            self.ops.push(Op::Collect);
        }
    }

    /// A large array of references, whose elements are written after it has become old. They are
    /// `apart` from each other.
    fn large(&mut self, array: RootSlot, what: u8, count: u8, apart: u16) {
        let length = 2100 + u32::from(count) * 8;
        self.ops.push(Op::AllocArray { ty: REFS, length, to: array });
        if what & 0x40 == 0 {
            self.ops.push(Op::Collect);
        }
        for n in 0..u16::from(count % 16) {
            self.ops.push(filler(what, 8, SPARE));
            let field = n.wrapping_mul(apart);
            self.ops.push(Op::WriteRef { object: array, field, from: SPARE });
        }
        self.ops.push(Op::Clear { at: SPARE });
        self.churn(what, count / 4);
    }

    /// An array of young objects whose elements are copied to an old one.
    fn copied(&mut self, array: RootSlot, what: u8, count: u8, more: u8) {
        let length = u32::from(count % 32) + 1;
        if more.is_multiple_of(2) {
            self.ops.push(Op::AllocArray { ty: REFS, length: length * 8, to: array });
            self.ops.push(Op::Collect);
        }
        self.array_of(OTHER, what, length as u8);
        self.ops.push(Op::ArrayCopy {
            dst: array,
            dst_index: u16::from(more) * 5,
            src: OTHER,
            src_index: 0,
            length: length as u16,
        });
        self.ops.push(Op::Clear { at: OTHER });
        self.churn(what, more % 32);
    }

    /// An array of structs that refer to structs, and references that move from these to roots, a
    /// few allocations apart. Marking that is under way must find what moves.
    fn taken(&mut self, array: RootSlot, count: u8, more: u8) {
        let length = 16 + u16::from(count % 32);
        self.ops.push(Op::AllocArray { ty: REFS, length: length.into(), to: array });
        for field in 0..length {
            self.ops.push(Op::AllocStruct { ty: 0, tag: 0, to: SPARE });
            self.ops.push(Op::WriteRef { object: array, field, from: SPARE });
            self.ops.push(Op::AllocStruct { ty: 0, tag: 0, to: OTHER });
            self.ops.push(Op::WriteRef { object: SPARE, field: 0, from: OTHER });
        }
        self.ops.push(Op::Clear { at: OTHER });
        for (field, to) in (0..).zip(ROOTS) {
            self.churn(0, 1 + more % 4);
            self.ops.push(Op::ReadRef { object: array, field, to: SPARE });
            self.ops.push(Op::ReadRef { object: SPARE, field: 0, to });
            self.ops.push(Op::WriteRef { object: SPARE, field: 0, from: OTHER });
        }
        self.churn(0, more / 4 % 32);
    }

    /// Old objects that only weak handles keep for one allocation, which may begin to mark.
    fn weak_for_a_while(&mut self, what: u8, more: u8) {
        for (slot, to) in (0..).zip(ROOTS.into_iter().chain(ROOTS)) {
            self.ops.push(filler(what, 8, to));
            self.ops.push(Op::Downgrade { object: to, slot });
            self.churn(0, 1);
            self.ops.push(Op::Clear { at: to });
            self.churn(0, 1 + more % 2);
            self.ops.push(Op::Upgrade { slot, to });
        }
        self.churn(0, more % 32);
    }

    /// A weak handle of an object that nothing else keeps at its end. It is read before or after
    /// the object is found dead.
    fn weak(&mut self, place: RootSlot, what: u8, count: u8, more: u8) {
        let slot = more;
        self.ops.push(match what % 4 {
            0 => Op::AllocArray { ty: REFS, length: 4200, to: place },
            _ => filler(what, 8, place),
        });
        self.ops.push(Op::Downgrade { object: place, slot });
        self.churn(0, count % 16);
        self.ops.push(Op::Clear { at: place });
        match more / 64 {
            0 => self.ops.push(Op::Collect),
            _ => self.churn(0, count / 16),
        }
        self.ops.push(Op::Upgrade { slot, to: place });
        self.churn(0, more % 32);
    }
}

/// Places that patterns use for themselves. Of all bytes of an operation only one means each.
const SPARE: RootSlot = RootSlot::Stack(13);
const OTHER: RootSlot = RootSlot::Stack(14);
/// Places for what must live on after a pattern.
const ROOTS: [RootSlot; 8] = {
    use RootSlot::{Global, Handle, Stack, Table};
    [Stack(12), Handle(12), Table(12), Global(12), Stack(11), Handle(11), Table(11), Global(11)]
};

/// The allocation of one of many similar objects. Arrays have about `vectors` vectors.
fn filler(what: u8, vectors: u32, to: RootSlot) -> Op {
    match what % 4 {
        0 => Op::AllocStruct { ty: what / 4, tag: what.into(), to },
        1 => Op::AllocArray { ty: VECTORS, length: vectors, to },
        2 => Op::AllocArray { ty: REFS, length: vectors * VECTOR / 4, to },
        _ => Op::AllocExternRef { to },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1000;

    /// The operations that `bytes` encode.
    fn operations(bytes: &[u8]) -> Vec<Op> {
        let (mut u, mut operations) = (Unstructured::new(bytes), Operations::new(MOST));
        std::iter::from_fn(|| operations.next(&mut u)).collect()
    }

    #[test]
    fn each_pattern_is_several_operations() {
        for kind in 0..PATTERNS {
            let ops = operations(&[kind, 1, 2, 33, 40, 50, 60]);
            assert!((8..MOST).contains(&ops.len()), "pattern {kind}: {} operations", ops.len());
        }
    }

    #[test]
    fn patterns_end() {
        for kind in 0..PATTERNS {
            let bytes = [&[kind][..], &[250; 4]].concat().repeat(100);
            // All bytes may be operations, after the patterns.
            assert!(operations(&bytes).len() <= MOST + bytes.len());
        }
        assert_eq!(operations(&[]), []);
        assert_eq!(operations(&[230, 3]), [Op::CollectIncrements { increments: 3 }]);
    }
}
