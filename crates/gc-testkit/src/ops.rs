//! Operations on a heap, generated from bytes.
//!
//! Any bytes are a sequence of operations, so a property test and a fuzzer use the same format. The
//! meaning of an operation's numbers depends on the objects it finds, so that most operations do
//! something: an empty place means the next one that is not empty ([`object`], [`array()`]), and an
//! index means an index in the array ([`range`]). About one range in sixteen ends just beyond an
//! array's end.

use crate::place::RootSlot;
use arbitrary::{Arbitrary, Unstructured};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are described with their variant")]
pub enum Op {
    /// Allocates a struct or exception of the type `ty` chooses.
    AllocStruct { ty: u8, tag: u16, to: RootSlot },
    /// Allocates an array of the type `ty` chooses.
    AllocArray { ty: u8, length: u32, to: RootSlot },
    /// Allocates an externref with a new host value.
    AllocExternRef { to: RootSlot },
    /// Makes an `i31`.
    MakeI31 { value: u32, to: RootSlot },
    /// Copies between two places: roots an object again, writes a table or a global, clones a
    /// handle.
    Copy { from: RootSlot, to: RootSlot },
    /// Empties a place, which unroots an object.
    Clear { at: RootSlot },
    /// Reads the reference that `field` chooses.
    ReadRef { object: RootSlot, field: u16, to: RootSlot },
    /// Overwrites the reference that `field` chooses, with null if `from` is empty.
    WriteRef { object: RootSlot, field: u16, from: RootSlot },
    /// Reads the field that `field` chooses among those that are not references.
    ReadScalar { object: RootSlot, field: u16 },
    /// Overwrites such a field.
    WriteScalar { object: RootSlot, field: u16, bits: u128 },
    /// Reads an externref's host value.
    ReadHost { object: RootSlot },
    /// Copies elements between two arrays, or within one.
    ArrayCopy { dst: RootSlot, dst_index: u16, src: RootSlot, src_index: u16, length: u16 },
    /// Fills elements with the reference at `from` if they are references, otherwise with `bits`.
    ArrayFill { array: RootSlot, index: u16, length: u16, from: RootSlot, bits: u128 },
    /// Overwrites elements that are not references with raw bytes.
    ArrayWriteBytes { array: RootSlot, index: u16, length: u8, byte: u8 },
    /// Makes a weak handle, which replaces the one in `slot`.
    Downgrade { object: RootSlot, slot: u8 },
    /// Reads the weak handle in `slot`, if there is one.
    Upgrade { slot: u8, to: RootSlot },
    /// Adds an entry to a weak map, or replaces its value.
    MapInsert { map: u8, key: RootSlot, value: RootSlot },
    /// Reads the value for a key in a weak map.
    MapGet { map: u8, key: RootSlot, to: RootSlot },
    /// Drops a weak map. Another one replaces it.
    MapDrop { map: u8 },
    /// Adds a finalizer.
    Finalize { object: RootSlot },
    /// Takes the next object that waits for its finalizer.
    TakeFinalizable { to: RootSlot },
    /// Collects if the heap asks for it before `count + 1` references are exposed.
    EnterWasm { count: u8 },
    /// Collects at once.
    Collect,
    /// Collects in increments and abandons the collection after this number. From 200 on it
    /// completes the collection.
    CollectIncrements { increments: u8 },
    /// Begins a collection for which not all roots can be found.
    CollectLost,
    /// Grows the heap.
    Grow { bytes: u32 },
    /// Enters a no-GC scope.
    EnterNoGcScope,
    /// Leaves a no-GC scope, if in one.
    ExitNoGcScope,
    /// Fills the heap until it is out of memory, then releases everything.
    Exhaust,
    /// Resets the store.
    Reset,
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Op> {
        Ok(match u.arbitrary::<u8>()? {
            0..=25 => {
                Op::AllocStruct { ty: u.arbitrary()?, tag: u.arbitrary()?, to: u.arbitrary()? }
            }
            26..=27 => Op::Downgrade { object: u.arbitrary()?, slot: u.arbitrary()? },
            28..=29 => Op::Upgrade { slot: u.arbitrary()?, to: u.arbitrary()? },
            30..=31 => {
                Op::MapInsert { map: u.arbitrary()?, key: u.arbitrary()?, value: u.arbitrary()? }
            }
            32 => Op::MapGet { map: u.arbitrary()?, key: u.arbitrary()?, to: u.arbitrary()? },
            33 => Op::MapDrop { map: u.arbitrary()? },
            34 => Op::Finalize { object: u.arbitrary()? },
            35 => Op::TakeFinalizable { to: u.arbitrary()? },
            36..=55 => {
                Op::AllocArray { ty: u.arbitrary()?, length: length(u)?, to: u.arbitrary()? }
            }
            56..=67 => Op::AllocExternRef { to: u.arbitrary()? },
            68..=71 => Op::MakeI31 { value: u.arbitrary()?, to: u.arbitrary()? },
            72..=95 => Op::Copy { from: u.arbitrary()?, to: u.arbitrary()? },
            96..=111 => Op::Clear { at: u.arbitrary()? },
            112..=131 => {
                Op::ReadRef { object: u.arbitrary()?, field: u.arbitrary()?, to: u.arbitrary()? }
            }
            132..=171 => {
                Op::WriteRef { object: u.arbitrary()?, field: u.arbitrary()?, from: u.arbitrary()? }
            }
            172..=175 => Op::ReadScalar { object: u.arbitrary()?, field: u.arbitrary()? },
            176..=187 => Op::WriteScalar {
                object: u.arbitrary()?,
                field: u.arbitrary()?,
                bits: u.arbitrary()?,
            },
            188..=191 => Op::ReadHost { object: u.arbitrary()? },
            kind @ 192..=207 => {
                let dst = u.arbitrary()?;
                Op::ArrayCopy {
                    dst,
                    dst_index: u.arbitrary()?,
                    // In half of the cases within one array.
                    src: if kind % 2 == 0 { dst } else { u.arbitrary()? },
                    src_index: u.arbitrary()?,
                    length: u.arbitrary()?,
                }
            }
            208..=215 => Op::ArrayFill {
                array: u.arbitrary()?,
                index: u.arbitrary()?,
                length: u.arbitrary()?,
                from: u.arbitrary()?,
                bits: u.arbitrary()?,
            },
            216..=219 => Op::ArrayWriteBytes {
                array: u.arbitrary()?,
                index: u.arbitrary()?,
                length: u.arbitrary()?,
                byte: u.arbitrary()?,
            },
            220..=223 => Op::EnterWasm { count: u.arbitrary()? },
            224..=229 => Op::Collect,
            230..=233 => {
                let increments: u8 = u.arbitrary()?;
                let few = increments % 4;
                Op::CollectIncrements { increments: if few < 3 { few } else { increments } }
            }
            234 => Op::CollectLost,
            235 => Op::Grow { bytes: u.int_in_range(0..=1 << 20)? },
            236..=239 => Op::EnterNoGcScope,
            240..=253 => Op::ExitNoGcScope,
            254 => Op::Exhaust,
            255 => Op::Reset,
        })
    }
}

impl Op {
    /// Whether it allocates, so that it may collect without saying so.
    pub fn allocates(&self) -> bool {
        matches!(
            self,
            Op::AllocStruct { .. }
                | Op::AllocArray { .. }
                | Op::AllocExternRef { .. }
                | Op::Exhaust
        )
    }

    /// Whether the result may depend on when the collector collects, and so may what lives later.
    pub fn is_weak(&self) -> bool {
        matches!(
            self,
            Op::Downgrade { .. }
                | Op::Upgrade { .. }
                | Op::MapInsert { .. }
                | Op::MapGet { .. }
                | Op::MapDrop { .. }
                | Op::Finalize { .. }
                | Op::TakeFinalizable { .. }
        )
    }
}

/// The number of weak handles of a mutator.
pub const WEAK_HANDLES: usize = 8;
/// The number of weak maps of a mutator.
pub const WEAK_MAPS: usize = 4;

/// An array's length: mostly a few elements, sometimes many.
fn length(u: &mut Unstructured<'_>) -> arbitrary::Result<u32> {
    Ok(match u.arbitrary::<u8>()? {
        0..=199 => u.int_in_range(0..=12)?,
        200..=251 => u.int_in_range(0..=300)?,
        252..=254 => u.int_in_range(0..=20_000)?,
        // Larger than any heap used here, or than any possible heap.
        255 => u.int_in_range(10_000_000..=u32::MAX)?,
    })
}

/// The contents of `place`, or of the next place that is not empty.
pub fn object<T>(place: RootSlot, get: impl Fn(RootSlot) -> Option<T>) -> Option<T> {
    place.onwards().find_map(get)
}

/// For three of four places the array at `place`, or at the next place that has one. For the other
/// places, or if there is no array, the result of [`object`].
pub fn array<T>(
    place: RootSlot,
    get: impl Fn(RootSlot) -> Option<T>,
    is_array: impl Fn(&T) -> bool,
) -> Option<T> {
    let any = place.number() % 4 == 3;
    let array = || place.onwards().filter_map(&get).find(is_array);
    if any { object(place, get) } else { array().or_else(|| object(place, &get)) }
}

/// The range `(index, count)` that an operation's numbers mean in an array of `length` elements. It
/// lies inside the array, unless `count` is one less than a multiple of 16: then it ends one
/// element too far.
pub fn range(index: u16, count: u16, length: u32) -> (u32, u32) {
    let index = (u64::from(index) % (u64::from(length) + 1)) as u32;
    (index, limit_count(count, length - index))
}

/// The destination index, source index and count that an operation's numbers mean
/// for two arrays, as in [`range`].
pub fn copy_range(
    dst_index: u16,
    src_index: u16,
    count: u16,
    dst_length: u32,
    src_length: u32,
) -> (u32, u32, u32) {
    let (dst_index, _) = range(dst_index, 0, dst_length);
    let (src_index, _) = range(src_index, 0, src_length);
    let room = (dst_length - dst_index).min(src_length - src_index);
    (dst_index, src_index, limit_count(count, room))
}

fn limit_count(count: u16, room: u32) -> u32 {
    if count % 16 == 15 {
        room.saturating_add(1)
    } else {
        (u64::from(count) % (u64::from(room) + 1)) as u32
    }
}

/// The bytes that [`Op::ArrayWriteBytes`] writes into `count` elements of `size`
/// bytes.
pub(crate) fn bytes(byte: u8, count: u32, size: u32) -> Vec<u8> {
    (0..count * size).map(|i| byte.wrapping_add(i as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_operations_of_every_kind() {
        let bytes = crate::random::bytes(1, 100_000);
        let mut u = Unstructured::new(&bytes);
        let mut kinds = std::collections::HashSet::new();
        while !u.is_empty() {
            kinds.insert(std::mem::discriminant(&u.arbitrary::<Op>().unwrap()));
        }
        assert_eq!(kinds.len(), 30);
    }

    #[test]
    fn ranges_are_inside_or_one_too_far() {
        for length in [0, 1, 7, 1000, u32::MAX] {
            for index in [0, 1, 6, 7, 8, 999, 60_000] {
                for count in [0, 1, 7, 16, 40_000] {
                    let (index, count) = range(index, count, length);
                    assert!(u64::from(index) + u64::from(count) <= u64::from(length));
                }
                let (index, count) = range(index, 31, length);
                assert!(
                    u64::from(index) + u64::from(count) == u64::from(length) + 1
                        || count == u32::MAX
                );
            }
        }
        assert_eq!(copy_range(1, 2, 31, 10, 5), (1, 2, 4));
        assert_eq!(copy_range(1, 2, 32, 10, 5), (1, 2, 0));
    }
}
