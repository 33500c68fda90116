//! The path from a root to an object, as text: "from global 3 → StructRef type#7 at 0x10040, field
//! 2 (+20) → …".
//!
//! The search is breadth-first and therefore finds a shortest path. The heap is known to be
//! damaged. So the walk visits everything that can be traced, and gives up after more references
//! than a sound heap of that size has words.

use super::Edge;
use crate::space::object_map::{Mark, ObjectMap};
use crate::{GcHeap, GcRootsList, HeapCore, RootOwner, TraceRoots};
use gc_types::GcLayout;
use std::fmt::Write;

/// All roots, and the tracer that can name the frames of those on the stack.
pub(super) struct Roots<'a> {
    pub(super) list: &'a mut GcRootsList,
    pub(super) frames: Option<&'a dyn TraceRoots>,
}

/// Number of steps that are shown at each end of a long path.
const SHOWN: usize = 8;

/// An object on the path, and how it was reached.
#[derive(Clone, Copy)]
struct Step {
    object: u32,
    /// The previous step. `None` for a root.
    from: Option<u32>,
    /// The slot's offset in the object before it, or the root's number.
    slot: u32,
}

/// The path to the object at `at`, or to the object that contains `at`. Index 0, where no object
/// can be, means the heap as a whole.
pub(super) fn to_object(heap: &dyn GcHeap, roots: &mut Roots<'_>, at: u32) -> String {
    if at == 0 {
        return "in the heap as a whole".to_owned();
    }
    match search(heap.core(), roots, at) {
        Ok(steps) => {
            let mut words = words(heap.core(), roots, &steps);
            describe(heap.core(), at, &mut words);
            words
        }
        Err(why) => why.to_owned(),
    }
}

/// The path to a reference, and its target.
pub(super) fn to_edge(heap: &dyn GcHeap, roots: &mut Roots<'_>, edge: Edge) -> String {
    let core = heap.core();
    let mut words = match edge.holder {
        None => root_name(roots, edge.slot),
        Some(holder) => match search(core, roots, holder) {
            Err(why) => why.to_owned(),
            Ok(steps) => {
                let mut words = words(core, roots, &steps);
                describe(core, holder, &mut words);
                describe_slot(core, holder, edge.slot, &mut words);
                words
            }
        },
    };
    let _ = write!(words, " → {:#x}", edge.target);
    words
}

fn search(core: &HeapCore, roots: &mut Roots<'_>, at: u32) -> Result<Vec<Step>, &'static str> {
    let mut seen = ObjectMap::default();
    seen.extend(core.memory.len());
    // Every place may be the start of an object, because nothing can be trusted.
    let mut is_new = |target: u32| {
        let inside = target.is_multiple_of(8) && u64::from(target) + 8 <= core.memory.len();
        inside && {
            seen.set_start(target, false);
            seen.mark(target) == Mark::New
        }
    };
    let is_there = |object: u32| {
        let size = core.size_at(object).unwrap_or(8);
        (object..object.saturating_add(size)).contains(&at)
    };
    let mut budget = core.memory.len() / 4 + 1024;
    let mut steps: Vec<Step> = Vec::new();
    for (slot, root) in (0..).zip(roots.list.all()) {
        if let Some(object) = root.get().and_then(|gc_ref| gc_ref.as_heap_index())
            && is_new(object.get())
        {
            steps.push(Step { object: object.get(), from: None, slot });
        }
    }
    let mut next = 0;
    while let Some(&Step { object, .. }) = steps.get(next) {
        if is_there(object) {
            return Ok(way(&steps, next));
        }
        if budget == 0 {
            return Err("no path from a root was found: there are too many references");
        }
        // An object that cannot be traced has no referents.
        let _traced = core.for_each_ref_at(object, |at, contents| {
            budget = budget.saturating_sub(1);
            if let Some(target) = contents.as_heap_index()
                && budget > 0
                && is_new(target.get())
            {
                let slot = (at - u64::from(object)) as u32;
                steps.push(Step { object: target.get(), from: Some(next as u32), slot });
            }
        });
        next += 1;
    }
    Err("no path from a root")
}

/// The steps from a root to the one with this number.
fn way(steps: &[Step], last: usize) -> Vec<Step> {
    let mut way = vec![steps[last]];
    while let Some(from) = way[way.len() - 1].from {
        way.push(steps[from as usize]);
    }
    way.reverse();
    way
}

/// The text of the path up to the target of the last step, which is not included.
fn words(core: &HeapCore, roots: &mut Roots<'_>, steps: &[Step]) -> String {
    let mut words = steps.first().map_or_else(String::new, |first| root_name(roots, first.slot));
    let hidden = SHOWN..steps.len().saturating_sub(SHOWN);
    for (number, pair) in steps.windows(2).enumerate() {
        if !hidden.contains(&number) {
            describe(core, pair[0].object, &mut words);
            describe_slot(core, pair[0].object, pair[1].slot, &mut words);
        } else if number == hidden.start {
            let _ = write!(words, " → … {} objects …", hidden.len());
        }
    }
    words
}

fn root_name(roots: &mut Roots<'_>, number: u32) -> String {
    let Some(owner) = roots.list.all().nth(number as usize).map(|root| root.owner()) else {
        return format!("from root {number}");
    };
    let frame = match (owner, roots.frames) {
        (RootOwner::Frame { slot }, Some(frames)) => frames.frame_of(slot),
        _ => None,
    };
    match (frame, owner) {
        (Some(frame), _) => format!("from {frame}"),
        (None, RootOwner::Frame { .. }) => format!("from {owner} (root {number})"),
        (None, _) => format!("from {owner}"),
    }
}

fn describe(core: &HeapCore, object: u32, words: &mut String) {
    let Ok(header) = core.header_at(object) else {
        let _ = write!(words, " → {object:#x}, which is not mapped");
        return;
    };
    let _ = match header.kind() {
        Some(kind) if header.ty() == gc_types::TypeIndex::NONE => {
            write!(words, " → {kind:?} at {object:#x}")
        }
        Some(kind) => write!(words, " → {kind:?} {:?} at {object:#x}", header.ty()),
        None => write!(words, " → {object:#x}, whose header is {:#x}", header.word()),
    };
}

fn describe_slot(core: &HeapCore, object: u32, offset: u32, words: &mut String) {
    let number = match core.layout_at(object) {
        Ok(Some(GcLayout::Array(layout))) => {
            let begin = layout.element_offset(0) as u32;
            let element = offset.saturating_sub(begin) / layout.element.size().max(1);
            Some(("element", element))
        }
        Ok(Some(layout)) => layout
            .fields()
            .and_then(|fields| fields.iter().position(|field| field.offset == offset))
            .map(|field| ("field", field as u32)),
        _ => None,
    };
    let _ = match number {
        Some((what, number)) => write!(words, ", {what} {number} (+{offset})"),
        None => write!(words, ", +{offset}"),
    };
}
