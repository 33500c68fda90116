//! Weak references whose objects finalizers revive, beside the shadow.

use gc_testkit::Reclaims;
use gc_testkit::differential::Differential;
use gc_testkit::ops::Op;
use gc_testkit::place::RootSlot;
use gc_testkit::schema::Schema;

/// Runs `ops` under every collector that reclaims, on both kinds of heap.
fn run(ops: &[Op]) {
    for subject in crate::ours().into_iter().flat_map(|subject| subject.variants(&[0, 1])) {
        if matches!(subject.reclaims, Reclaims::Nothing) {
            continue;
        }
        let options = subject.options(64 << 10, 1 << 20);
        let mut differential = Differential::new(&subject, &options, Schema::fixed()).unwrap();
        for op in ops {
            differential.step(op).unwrap_or_else(|fault| panic!("{subject:?}: {op:?}: {fault:#}"));
        }
        differential.finish().unwrap_or_else(|fault| panic!("{subject:?}: {fault:#}"));
    }
}

/// A collection clears the handle before it keeps the object for its finalizer.
#[test]
fn a_finalizer_revives_an_object_without_its_weak_handles() {
    let object = RootSlot::Stack(0);
    run(&[
        Op::AllocStruct { ty: 0, tag: 0, to: object },
        Op::Finalize { object },
        Op::Downgrade { object, slot: 4 },
        Op::Clear { at: object },
        Op::Collect,
        Op::TakeFinalizable { to: RootSlot::Table(3) },
        Op::Upgrade { slot: 4, to: RootSlot::Global(1) },
        // A handle that is made after that is not affected.
        Op::Downgrade { object: RootSlot::Table(3), slot: 4 },
        Op::Collect,
        Op::Upgrade { slot: 4, to: RootSlot::Global(1) },
    ]);
}

/// The same, when the object hangs on the one with the finalizer.
#[test]
fn a_finalizer_revives_what_its_object_reaches_without_weak_handles() {
    let (object, other) = (RootSlot::Stack(0), RootSlot::Stack(1));
    run(&[
        Op::AllocArray { ty: 5, length: 1, to: object },
        Op::AllocStruct { ty: 0, tag: 0, to: other },
        Op::WriteRef { object, field: 0, from: other },
        Op::Finalize { object },
        Op::Downgrade { object: other, slot: 0 },
        Op::Clear { at: object },
        Op::Clear { at: other },
        Op::Collect,
        Op::TakeFinalizable { to: RootSlot::Table(3) },
        Op::Upgrade { slot: 0, to: RootSlot::Global(1) },
    ]);
}
