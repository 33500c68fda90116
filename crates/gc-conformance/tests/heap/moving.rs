//! A collector from outside that moves objects passes everything: mutator, shadow and suite support
//! such collectors.

use crate::semispace::Semispace;
use gc_conformance::heap;
use gc_testkit::{Reclaims, Subject};

#[test]
fn a_copying_collector_conforms() {
    for subject in Subject::new(&Semispace, Reclaims::Everything).variants(&[0, 1]) {
        if let Err(faults) = heap::run(&subject) {
            panic!("{faults:#}");
        }
    }
}
