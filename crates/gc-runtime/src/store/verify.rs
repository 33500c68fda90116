//! When a store verifies its heap: when asked, and with zeal before and after a
//! collection.

use super::GcStore;
use crate::{HeapError, RootKind, RootsWanted, TraceRoots, verify};

/// Bytes of a heap for which one collection with zeal is not verified: with a megabyte
/// every 33rd is. A collection at every allocation makes programs slow enough.
const BYTES_PER_SKIP: u64 = 32 << 10;

/// A root that refers to a young object: a minor collection must be told of it.
pub(super) struct YoungRoot {
    address: usize,
    kind: RootKind,
    number: usize,
    contents: u32,
}

impl GcStore {
    /// Checks the heap, whoever its collector is: that what `tracer`'s roots lead to are
    /// objects, and every invariant of the collector. Slow: it looks at every object. If
    /// not all roots can be found, the collector's invariants alone are checked.
    ///
    /// # Errors
    /// The first object that is wrong, with how the mutator gets there
    /// ([`HeapError::Verification`]).
    pub fn verify(&mut self, tracer: &mut dyn TraceRoots) -> Result<(), HeapError> {
        self.roots.clear();
        let result = match tracer.trace_roots(&mut self.roots) {
            Ok(()) => self.verify_roots(),
            Err(_) => self.heap.verify(),
        };
        self.roots.clear();
        result
    }

    /// Verifies the heap with the roots that are in the list, which are all.
    fn verify_roots(&mut self) -> Result<(), HeapError> {
        verify::verify(&*self.heap, &self.host_data, &mut self.roots)?;
        self.unverified = (self.heap.occupancy().used / BYTES_PER_SKIP) as u32;
        Ok(())
    }

    /// Whether the collection that begins is one to verify the heap around.
    pub(super) fn verification_is_due(&mut self) -> bool {
        if self.zeal == 0 {
            return false;
        }
        match self.unverified.checked_sub(1) {
            None => true,
            Some(left) => {
                self.unverified = left;
                false
            }
        }
    }

    /// Verifies the heap before a collection that wants `wanted`; returns the roots
    /// that this one must be told of.
    pub(super) fn verify_before(
        &mut self,
        tracer: &mut dyn TraceRoots,
        wanted: RootsWanted,
    ) -> Result<Vec<YoungRoot>, HeapError> {
        self.roots.clear();
        // What cannot be found now will not be found for the collection either.
        if tracer.trace_roots(&mut self.roots).is_err() {
            return Ok(Vec::new());
        }
        self.verify_roots()?;
        if wanted != RootsWanted::Remembered {
            return Ok(Vec::new());
        }
        let heap = &self.heap;
        let young = self.roots.iter().enumerate().filter_map(|(number, root)| {
            let contents = root.get().filter(|gc_ref| !gc_ref.is_i31())?;
            heap.needs_remembering(&contents).then(|| YoungRoot {
                address: root.address(),
                kind: root.kind(),
                number,
                contents: contents.as_raw_u32(),
            })
        });
        Ok(young.collect())
    }

    /// Checks that the list has these roots.
    pub(super) fn check_remembered(&mut self, young: &[YoungRoot]) -> Result<(), HeapError> {
        if young.is_empty() {
            return Ok(());
        }
        let mut listed: Vec<usize> = self.roots.iter().map(|root| root.address()).collect();
        listed.sort_unstable();
        match young.iter().find(|root| listed.binary_search(&root.address).is_err()) {
            None => Ok(()),
            Some(&YoungRoot { kind, number, contents: at, .. }) => Err(HeapError::Verification {
                at,
                what: "a slot refers to a young object and is not remembered",
                path: format!("from {kind} (root {number}) → {at:#x}"),
            }),
        }
    }

    /// Verifies the heap after a collection. Without a tracer, which a collection that
    /// yields has lent out, with the roots of the collection if those were all.
    pub(super) fn verify_after(
        &mut self,
        tracer: Option<&mut dyn TraceRoots>,
    ) -> Result<(), HeapError> {
        match tracer {
            Some(tracer) => self.verify(tracer),
            None if self.roots.wanted() == RootsWanted::All => self.verify_roots(),
            None => self.heap.verify(),
        }
    }
}
