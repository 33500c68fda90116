//! Compiles the emitted halves of this project's collectors as another crate would: what they use is public.
#![allow(missing_docs, unused, unreachable_pub)]

use gc_compiler::*;

#[path = "../src/collector/mod.rs"]
mod collector;

#[test]
fn they_are_the_same_halves() {
    let names: Vec<_> = collector::all().iter().map(|half| half.name()).collect();
    let theirs: Vec<_> = gc_compiler::collector::all().iter().map(|half| half.name()).collect();
    assert_eq!(names, theirs);
}
