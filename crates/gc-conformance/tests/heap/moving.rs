//! A collector that is not this project's and moves objects passes all there is:
//! mutator, shadow and suite are ready for such collectors.

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
