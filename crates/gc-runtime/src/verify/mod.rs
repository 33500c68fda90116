//! The heap verifier, the part that all collectors share: what the mutator's roots
//! lead to are objects, wherever the references are read.
//!
//! A collector knows which invariants it keeps and checks them itself
//! ([`GcHeap::verify_with_roots`]); whether it says so honestly is what is checked here.
//! The objects it lists must not overlap; each root, and each field that can be reached
//! from one, must refer to the start of one of them, or to none; each externref that can
//! be reached must have its host value. The bytes are untrusted: the walk is iterative,
//! marks in a bitmap beside the heap, and looks at each object once.
//!
//! What is wrong is told with the shortest way there from a root (`path.rs`). It is
//! looked for only then, so that a heap that is sound pays for no parents.

mod path;

use crate::space::object_map::{Mark, ObjectMap};
use crate::{ExternRefHostDataTable, GcHeap, GcRootsList, HeapError, TraceRoots};
use gc_types::{VMGcHeader, VMGcKind, VMGcRef};

/// A reference to what it must not refer to.
#[derive(Clone, Copy, Debug)]
struct Edge {
    /// The object it stands in; `None`: in a root.
    holder: Option<u32>,
    /// The slot's offset in the object, or the root's number.
    slot: u32,
    /// What it refers to.
    target: u32,
}

/// What is wrong, before it is known how to get there.
#[derive(Debug)]
enum Fault {
    /// An object, or what is not one.
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

/// Checks the heap; `roots` are all of its mutator's, and `frames` can name frames on its
/// stack.
///
/// # Errors
/// The first object that is wrong, and how the mutator gets there.
pub(crate) fn verify(
    heap: &dyn GcHeap,
    host_data: &ExternRefHostDataTable,
    roots: &mut GcRootsList,
    frames: Option<&dyn TraceRoots>,
) -> Result<(), HeapError> {
    check(heap, host_data, roots).map_err(|fault| {
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
    roots: &mut GcRootsList,
) -> Result<(), Fault> {
    let mut map = list(heap)?;
    let mut to_do = Vec::new();
    let visit = |map: &mut ObjectMap, edge: Edge, to_do: &mut Vec<u32>| {
        match map.mark(edge.target) {
            Mark::New => to_do.push(edge.target),
            Mark::Old => {}
            Mark::NoObject => return Err(Fault::Edge(edge, "a reference to what is no object")),
        }
        Ok(())
    };
    for (slot, root) in (0..).zip(roots.all()) {
        if let Some(target) = root.get().and_then(|gc_ref| gc_ref.as_heap_index()) {
            visit(&mut map, Edge { holder: None, slot, target: target.get() }, &mut to_do)?;
        }
    }
    let core = heap.core();
    while let Some(holder) = to_do.pop() {
        if core.header_at(holder)?.kind() == Some(VMGcKind::ExternRef) {
            let id = core.externref_id_at(holder);
            if id.and_then(|id| host_data.get(id)).is_none() {
                return Err(corrupt(holder, "an externref without a host value").into());
            }
        }
        let mut result = Ok(());
        core.trace_at(holder, |at, contents| {
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

/// Where objects are, by what the collector says.
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
