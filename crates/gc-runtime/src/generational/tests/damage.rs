//! Tests of damage that collections find.

use super::*;

#[test]
fn damage_ends_a_collection() {
    type Break = fn(&mut Fixture, u32, u32);
    // Damage to a young and an old object. The stack refers to both.
    let breaks: [Break; 9] = [
        |f, young, _| f.poke(young, 0, 0),
        |f, young, _| f.poke(young, 0, u32::MAX),
        |f, young, old| f.poke(young, 4, forwarding(old + 8)),
        |f, young, _| f.poke(young, 4, 2),
        |f, young, _| f.poke(young, CAR, young + 8),
        |f, young, _| f.poke(young, CAR, f.heap.next()),
        |f, young, _| {
            f.poke(young, 0, BYTES.header_word(VMGcKind::ArrayRef));
            f.poke(young, 8, 1 << 20);
        },
        |f, _, old| f.poke(old, 0, 7),
        |f, _, old| f.poke(old, CAR, old + 8),
    ];
    for (i, damage) in breaks.iter().enumerate() {
        let mut f = Fixture::new(4 << 20);
        let pair = f.pair(0, 0);
        f.stack[0] = u64::from(pair);
        f.collect(CollectionKind::Minor);
        let old = f.top();
        let young = f.pair(0, 0);
        f.stack[1] = u64::from(young);
        damage(&mut f, young, old);
        assert!(matches!(f.heap.verify(), Err(HeapError::Corrupt { .. })), "break {i}");
        let result = f.begin(CollectionKind::Full).collect();
        assert!(matches!(result, Err(HeapError::Corrupt { .. })), "break {i}");
        let header = VMGcHeader::new(VMGcKind::StructRef, PAIR);
        assert!(matches!(f.heap.alloc_raw(header, 16), Err(HeapError::Corrupt { .. })));
        assert!(f.begin(CollectionKind::Minor).collect().is_err());
        f.stack.fill(0);
        assert!(f.heap.reset(&mut f.host_data));
        f.heap.verify().unwrap();
        f.pair(0, 0);
        f.collect(CollectionKind::Full);
        assert_eq!(f.live(), 0);
    }
}

#[test]
fn more_than_the_nursery_is_never_copied() {
    let mut f = Fixture::new(4 << 20);
    // Fake arrays inside an array: references into its middle, where there are fake headers.
    let outer = f.refs(2000);
    for n in 0..900u32 {
        let at = 12 + u64::from(n) * 8;
        f.poke(outer, at + 4, BYTES.header_word(VMGcKind::ArrayRef));
        f.poke(outer, at + 8, 7000);
    }
    f.stack.resize(1000, 0);
    for n in 0..900 {
        f.stack[n] = u64::from(outer) + 16 + n as u64 * 8;
    }
    f.pair(0, 0);
    let result = f.begin(CollectionKind::Minor).collect();
    assert!(matches!(result, Err(HeapError::Corrupt { .. })), "{result:?}");
    assert!(f.heap.space.old.region.total().bytes < 512 << 10);
}

#[test]
fn a_header_of_zeros_is_damage() {
    let mut f = Fixture::new(4 << 20);
    // There is a place for the next object.
    let pair = f.pair(0, 0);
    f.stack[0] = u64::from(pair);
    f.collect(CollectionKind::Minor);
    let pair = f.pair(0, 0);
    f.stack[0] = u64::from(pair);
    f.poke(pair, 0, 0);
    let result = f.begin(CollectionKind::Minor).collect();
    assert!(matches!(result, Err(HeapError::Corrupt { .. })), "{result:?}");
}
