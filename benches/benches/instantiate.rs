//! Making a store and an instance in it, and dropping both: of a module without tables, memories
//! and GC types, and of one that allocates one object. Wasmtime allocates on demand, which is its
//! default.

use criterion::{Criterion, criterion_group, criterion_main};
use gc_benches::measure::{self, compare_instances};

const PLAIN: &str = include_str!("../wat/plain.wat");
const OBJECT: &str = include_str!("../wat/object.wat");

fn plain(c: &mut Criterion) {
    compare_instances(c, "store and instance: one function", PLAIN, None);
}

fn object(c: &mut Criterion) {
    compare_instances(c, "store and instance: one object", OBJECT, Some("object"));
}

criterion_group!(name = benches; config = measure::criterion(); targets = plain, object);
criterion_main!(benches);
