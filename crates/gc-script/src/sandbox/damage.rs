//! Damage that is written over the heap.

use gc_testkit::Ledger;
use gc_testkit::choices::Choices;
use gc_wasm::Store;

/// Overwrites a part of the heap, from single bits to whole ranges, with random bytes or with
/// plausible words. Often in the objects at `places`, if there are any: in their headers, in the lengths
/// of arrays, in the first fields.
///
/// # Panics
/// If the store has no heap yet.
pub fn overwrite(store: &mut Store<Ledger>, rng: &mut Choices, places: &[u32]) {
    let (start, end) = (64 << 10, store.gc_heap_len());
    // Mostly at places with objects.
    let place = |rng: &mut Choices, align: u64| {
        if !places.is_empty() && rng.below(2) == 0 {
            let place = u64::from(rng.pick(places)) + 4 * rng.below(6) as u64;
            return place.clamp(start, end - 8) & !(align - 1);
        }
        let end = if rng.below(4) == 0 { end } else { end.min(start + (100 << 10)) };
        (start + rng.below((end - start) as usize) as u64) & !(align - 1)
    };
    let edges = [
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        0xfff8,
        0xffff,
        0x1_0000,
        0x1_0004,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff8,
        0xffff_fffc,
        0xffff_fffe,
        u32::MAX,
        end as u32,
        end as u32 - 4,
        end as u32 - 8,
        end as u32 + 8,
        0xfffe_fff8,
    ];
    for _ in 0..1 + rng.below(12) {
        match rng.below(8) {
            0 => {
                let at = place(rng, 1);
                assert!(store.overwrite_gc_heap(at, &[rng.below(256) as u8]));
            }
            1 | 2 => {
                let at = place(rng, 4);
                store.overwrite_gc_heap(at, &(rng.word() as u32).to_le_bytes());
            }
            3 => {
                let at = place(rng, 4);
                let word = rng.pick(&edges);
                store.overwrite_gc_heap(at, &word.to_le_bytes());
            }
            4 | 5 => {
                // A reference to a random place among the objects.
                let at = place(rng, 4);
                let word = place(rng, 8) as u32 + rng.pick(&[0, 0, 0, 0, 4, 1, 2]);
                store.overwrite_gc_heap(at, &word.to_le_bytes());
            }
            6 => {
                // A header: a kind with a small type index, and a plausible collector's word.
                let at = place(rng, 8);
                let kind = rng.pick(&[0_u32, 1, 2, 3, 4, 5, 6, 7, 31, 63]) << 26;
                let word = kind | rng.below(40) as u32;
                store.overwrite_gc_heap(at, &word.to_le_bytes());
                let word = rng.pick(&[0_u32, 1, 2, 4, 5, 8, 0x10, 0xffff_ffff, 0x8000_0000]);
                store.overwrite_gc_heap(at + 4, &word.to_le_bytes());
            }
            _ => {
                let at = place(rng, 4);
                let byte = rng.pick(&[0_u8, 0xff, 0xa5, 1]);
                let most = if rng.below(20) == 0 { 20_000 } else { 64 };
                let len = rng.below(most) as u64;
                let len = len.min(end - at) as usize;
                assert!(store.overwrite_gc_heap(at, &vec![byte; len]));
            }
        }
    }
}
