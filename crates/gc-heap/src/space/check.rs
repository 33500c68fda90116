//! A check of the objects of a space in which all references refer to objects of the same space.

use super::Visit;
use super::object_map::ObjectMap;
use crate::{HeapCore, HeapError};

/// Checks that headers and sizes are valid, that no object has bits of the collector, and that references refer to the
/// starts of objects. `walk` calls its argument for each object.
///
/// # Errors
/// The first error, and its place.
pub(super) fn check_objects(
    core: &HeapCore,
    walk: impl Fn(Visit<'_>) -> Result<(), HeapError>,
) -> Result<(), HeapError> {
    let mut starts = ObjectMap::default();
    starts.extend(core.memory.len());
    walk(&mut |index, _| {
        starts.set_start(index, false);
        match core.header_at(index)?.collector_bits() {
            0 => Ok(()),
            _ => corrupt(index, "unexpected collector bits in a header"),
        }
    })?;
    walk(&mut |index, _| {
        let mut dangling = false;
        core.for_each_ref_at(index, |_, contents| {
            dangling |= contents.as_heap_index().is_some_and(|to| !starts.is_start(to.get()));
        })?;
        match dangling {
            false => Ok(()),
            true => corrupt(index, "an object refers to something that is not an object"),
        }
    })
}

fn corrupt(at: u32, what: &'static str) -> Result<(), HeapError> {
    Err(HeapError::Corrupt { at, what })
}
