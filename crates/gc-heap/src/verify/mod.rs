//! The part of the heap verifier that all collectors share. It checks that the mutator's roots lead
//! only to objects.
//!
//! A collector checks its own invariants ([`GcHeap::verify_with_roots`]). The checks here do not
//! trust the collector. The objects that it lists must not overlap. Each root, and each reachable
//! field, must refer to the start of a listed object, or to none. Each reachable externref must
//! have its host value. Each weak reference must refer to a listed object. The bytes are untrusted: the walk is iterative, marks in a bitmap beside
//! the heap, and visits each object once.
//!
//! An error has the shortest path from a root (`path.rs`). The path is searched for only after an
//! error, so verifying a sound heap needs no memory for parents.

mod path;

use crate::space::object_map::{Mark, ObjectMap};
use crate::{ExternRefHostDataTable, GcHeap, GcRootsList, HeapError, TraceRoots, WeakTable};
use gc_types::{VMGcHeader, VMGcKind, VMGcRef};

/// A wrong reference.
#[derive(Clone, Copy, Debug)]
struct Edge {
    /// The object that contains it. `None` for a root.
    holder: Option<u32>,
    /// The slot's offset in the object, or the root's number.
    slot: u32,
    /// Its target.
    target: u32,
}

/// An error without its path.
#[derive(Debug)]
enum Fault {
    /// An object, or something that is not an object.
    At(HeapError),
    /// A reference.
    Edge(Edge, &'static str),
}

impl From<HeapError> for Fault {
    fn from(error: HeapError) -> Fault {
        Fault::At(error)
    }
}

fn corrupt(at: u32, what: &'static str) -> HeapError {
    HeapError::Corrupt { at, what }
}

/// Checks a heap that is in no store ([`GcStore::verify`](crate::GcStore::verify) checks one that is): that its
/// objects do not overlap, and that each root, each field that is reachable and each weak reference refers to one of
/// them. Each reachable externref must have its host value. The collector's own invariants are those of
/// [`GcHeap::verify_with_roots`]. `roots` are all roots of the mutator, and `frames` can name the frames on its stack.
///
/// # Examples
/// ```
/// use gc_heap::{ExternRefHostDataTable, GcRootsList, WeakTable, toy::ToyCollector};
/// use gc_heap::{GcRuntime, HeapMemory, HeapOptions, verify};
/// use gc_types::{VMGcRef, TypeIndex, VMGcHeader, VMGcKind};
///
/// let mut heap = ToyCollector.new_gc_heap(HeapMemory::new(&HeapOptions::default())?)?;
/// let (host_data, weak) = (ExternRefHostDataTable::default(), WeakTable::default());
/// let mut roots = GcRootsList::default();
/// verify(&*heap, &host_data, &weak, &mut roots, None)?;
///
/// roots.add_segment(7, vec![VMGcRef::from_heap_index(1 << 20)]);
/// let error = verify(&*heap, &host_data, &weak, &mut roots, None).unwrap_err();
/// assert!(error.to_string().contains("element 0 of segment 7"), "{error}");
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
///
/// # Errors
/// The first wrong object, with the path from a root.
pub fn verify(
    heap: &dyn GcHeap,
    host_data: &ExternRefHostDataTable,
    weak: &WeakTable,
    roots: &mut GcRootsList,
    frames: Option<&dyn TraceRoots>,
) -> Result<(), HeapError> {
    check(heap, host_data, weak, roots).map_err(|fault| {
        let roots = &mut path::Roots { list: roots, frames };
        match fault {
            Fault::At(HeapError::Corrupt { at, what }) => {
                HeapError::Verification { at, what, path: path::to_object(heap, roots, at) }
            }
            Fault::At(error) => error,
            Fault::Edge(edge, what) => HeapError::Verification {
                at: edge.holder.unwrap_or(edge.target),
                what,
                path: path::to_edge(heap, roots, edge),
            },
        }
    })
}

fn check(
    heap: &dyn GcHeap,
    host_data: &ExternRefHostDataTable,
    weak: &WeakTable,
    roots: &mut GcRootsList,
) -> Result<(), Fault> {
    let mut map = list(heap)?;
    let mut dangling = None;
    weak.for_each(&mut |target| {
        let target = target.as_heap_index().map(|target| target.get());
        dangling = dangling.or(target.filter(|&target| !map.is_start(target)));
    });
    if let Some(at) = dangling {
        return Err(corrupt(at, "a weak reference to something that is not an object").into());
    }
    let core = heap.core();
    host_data.for_each_box(&mut |externref| {
        let at = externref.as_raw_u32();
        let kind = core.header_at(at).map(|header| header.kind());
        let is_box = map.is_start(at) && matches!(kind, Ok(Some(VMGcKind::ExternRef)));
        dangling = dangling.or((!is_box).then_some(at));
    });
    if let Some(at) = dangling {
        return Err(corrupt(at, "the box of a host value is not an externref").into());
    }
    let mut to_do = Vec::new();
    let visit = |map: &mut ObjectMap, edge: Edge, to_do: &mut Vec<u32>| {
        match map.mark(edge.target) {
            Mark::New => to_do.push(edge.target),
            Mark::Old => {}
            Mark::NoObject => {
                return Err(Fault::Edge(edge, "a reference to something that is not an object"));
            }
        }
        Ok(())
    };
    for (slot, root) in (0..).zip(roots.all()) {
        if let Some(target) = root.get().and_then(|gc_ref| gc_ref.as_heap_index()) {
            visit(&mut map, Edge { holder: None, slot, target: target.get() }, &mut to_do)?;
        }
    }
    while let Some(holder) = to_do.pop() {
        if core.header_at(holder)?.kind() == Some(VMGcKind::ExternRef) {
            let id = core.externref_id_at(holder);
            let Some(id) = id.filter(|&id| host_data.get(id).is_some()) else {
                return Err(corrupt(holder, "an externref without a host value").into());
            };
            if host_data.box_of(id).is_none_or(|known| known.as_raw_u32() != holder) {
                return Err(corrupt(holder, "an externref whose place is not known").into());
            }
        }
        let mut result = Ok(());
        core.for_each_ref_at(holder, |at, contents| {
            if let (Ok(()), Some(target)) = (&result, contents.as_heap_index()) {
                let slot = (at - u64::from(holder)) as u32;
                let edge = Edge { holder: Some(holder), slot, target: target.get() };
                result = visit(&mut map, edge, &mut to_do);
            }
        })?;
        result?;
    }
    Ok(heap.verify_with_roots(roots)?)
}

/// A map of the objects that the collector lists.
fn list(heap: &dyn GcHeap) -> Result<ObjectMap, HeapError> {
    let memory = &heap.core().memory;
    let mut map = ObjectMap::default();
    map.extend(memory.len());
    let mut result = Ok(());
    let mut end = u64::from(gc_types::NULL_PAGE_SIZE);
    heap.for_each_object(&mut |object: VMGcRef| {
        if result.is_err() {
            return;
        }
        let at = object.as_raw_u32();
        if !at.is_multiple_of(gc_types::OBJECT_ALIGN) || u64::from(at) < end {
            result = Err(corrupt(at, "an object overlaps the one before it"));
            return;
        }
        if u64::from(at) + u64::from(VMGcHeader::SIZE) > memory.len() {
            result = Err(corrupt(at, "an object reaches past the end of the heap"));
            return;
        }
        result = heap.object_size(&object).map(|size| {
            end = u64::from(at) + u64::from(size);
            map.set_start(at, false);
        });
    })?;
    result.map(|()| map)
}
