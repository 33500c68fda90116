//! Runs the whole suite for the built-in collectors on every kind of heap.

use gc_conformance::heap;
use gc_testkit::Subject;

fn conforms(name: &str, zeal: &[u32]) {
    let subject = Subject::ours().into_iter().find(|ours| ours.runtime.name() == name).unwrap();
    for subject in subject.variants(zeal) {
        if let Err(faults) = heap::run(&subject) {
            panic!("{faults:#}");
        }
    }
}

#[test]
fn null_conforms() {
    conforms("null", &[0]);
}

#[test]
fn null_conforms_under_zeal() {
    conforms("null", &[1]);
}

#[test]
fn drc_conforms() {
    conforms("drc", &[0]);
}

#[test]
fn drc_conforms_under_zeal() {
    conforms("drc", &[1]);
}

#[test]
fn copying_conforms() {
    conforms("copying", &[0]);
}

#[test]
fn copying_conforms_under_zeal() {
    conforms("copying", &[1]);
}

#[test]
fn generational_conforms() {
    conforms("generational", &[0]);
}

#[test]
fn generational_conforms_under_zeal() {
    conforms("generational", &[1]);
}

#[test]
fn checks_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = heap::checks().map(|check| check.name).collect();
    assert_eq!(names.len(), heap::checks().count());
    assert!(names.len() >= 35, "{}", names.len());
    assert!(heap::find("no such check").is_none());
}
