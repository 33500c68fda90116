//! Runs the whole suite for the built-in collectors on every kind of heap.

use gc_conformance::heap;
use gc_testkit::Subject;

fn conforms(name: &str, zeal: u32) {
    let ours = gc_runtime::collector::all();
    let subject =
        Subject::each(&ours).into_iter().find(|ours| ours.runtime.name() == name).unwrap();
    for subject in subject.variants(&[zeal]) {
        if let Err(faults) = heap::run(&subject) {
            panic!("{faults:#}");
        }
    }
}

macro_rules! all_conform {
    ($($test:ident: $collector:literal, zeal $zeal:literal;)*) => {$(
        #[test]
        fn $test() {
            conforms($collector, $zeal);
        }
    )*};
}

all_conform! {
    null_conforms: "null", zeal 0;
    null_conforms_under_zeal: "null", zeal 1;
    drc_conforms: "drc", zeal 0;
    drc_conforms_under_zeal: "drc", zeal 1;
    copying_conforms: "copying", zeal 0;
    copying_conforms_under_zeal: "copying", zeal 1;
    generational_conforms: "generational", zeal 0;
    generational_conforms_under_zeal: "generational", zeal 1;
}

#[test]
fn checks_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = heap::checks().map(|check| check.name).collect();
    assert_eq!(names.len(), heap::checks().count());
    assert!(names.len() >= 35, "{}", names.len());
    assert!(heap::find("no such check").is_none());
}
