//! For every broken invariant, the verifier names the wrong object and the path to it.

use super::*;

/// An old pair on the stack, whose `car` refers to an old array, whose element 1 refers to an old
/// pair. There is also a young pair on the stack.
struct Objects {
    top: u32,
    array: u32,
    leaf: u32,
    young: u32,
}

fn objects(f: &mut Fixture) -> Objects {
    let leaf = f.pair(0, 0);
    let array = f.refs(100);
    f.write(array, 12 + 4, leaf);
    f.stack[0] = f.pair(array, 0).into();
    f.collect(CollectionKind::Minor);
    let top = f.top();
    let array = f.read(top, CAR);
    let leaf = f.read(array, 12 + 4);
    let young = f.pair(0, 0);
    f.stack[1] = young.into();
    Objects { top, array, leaf, young }
}

/// The verifier's error: the object, the message, and the path.
fn found(f: &mut Fixture) -> (u32, &'static str, String) {
    // Names the roots.
    f.begin(CollectionKind::Full).abandon();
    match gc_heap::verify(&f.heap, &f.host_data, &f.weak, &mut f.roots, None) {
        Err(HeapError::Verification { at, what, path }) => (at, what, path),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_is_named_and_the_way_to_it() {
    type Case = (&'static str, fn(&mut Fixture, &Objects), fn(&Objects) -> u32);
    let cases: [Case; 10] = [
        (
            "an object was moved and no collection is under way",
            |f, o| f.poke(o.leaf, 4, forwarding(0)),
            |o| o.leaf,
        ),
        (
            "an object was moved and no collection is under way",
            |f, o| f.poke(o.young, 4, forwarding(o.leaf)),
            |o| o.young,
        ),
        (
            "a reference to a young object on a clean card",
            |f, o| f.poke(o.leaf, CAR, o.young),
            |o| o.leaf,
        ),
        (
            "a reference to something that is not an object",
            |f, o| f.poke(o.leaf, CAR, o.leaf + 8),
            |o| o.leaf,
        ),
        (
            "a reference to something that is not an object",
            |f, o| f.poke(o.young, CDR, o.top - 8),
            |o| o.young,
        ),
        (
            // The start bit is cleared, so there is no object.
            "a reference to something that is not an object",
            |f, o| f.heap.space.old.region.remove_outside(&[o.leaf]),
            |o| o.array,
        ),
        (
            "an object overlaps the one before it",
            |f, o| f.heap.space.old.region.add_outside(&[o.leaf + 8], 0),
            |o| o.leaf + 8,
        ),
        (
            "an object is marked and no marking is under way",
            |f, o| {
                f.heap.space.old.region.mark(o.leaf);
            },
            |o| o.leaf,
        ),
        ("a header names no kind", |f, o| f.poke(o.leaf, 0, 0), |o| o.leaf),
        (
            "free memory of the nursery is not zero",
            |f, _| f.poke(f.heap.next(), 64, 1),
            |o| o.young + 16 + 64,
        ),
    ];
    for (n, (what, damage, at)) in cases.into_iter().enumerate() {
        let mut f = Fixture::new(4 << 20);
        let o = objects(&mut f);
        f.heap.verify().unwrap();
        assert!(o.top < o.leaf && u32::abs_diff(o.top, o.leaf) > 256);
        damage(&mut f, &o);
        let (found_at, found_what, path) = found(&mut f);
        assert_eq!((found_at, found_what), (at(&o), what), "case {n}: {path}");
        let to_array = format!(
            "from stack slot (root 0) → StructRef type#0 at {:#x}, field 0 (+8) → ArrayRef type#1 at {:#x}",
            o.top, o.array
        );
        let expected = match at(&o) {
            at if at == o.top => to_array[..to_array.find(',').unwrap()].to_owned(),
            at if at == o.array => format!("{to_array}, element 1 (+16) → {:#x}", o.leaf),
            at if at == o.young => {
                format!("from stack slot (root 1) → StructRef type#0 at {at:#x}")
            }
            at if at == o.young + 16 + 64 => "no path from a root".into(),
            _ => format!("{to_array}, element 1 (+16) → "),
        };
        assert!(path.starts_with(&expected), "case {n}: {path}\ninstead of {expected}");
        assert!(f.heap.verify().is_err(), "case {n}");
    }
}
