//! Roots: where the mutator's references are when it is stopped.
//! (skeleton)
use gc_types::VMGcRef;

/// Some roots could not be found; a collection must not happen.
#[derive(Clone, Debug)]
pub struct IncompleteWalk { /// Why.
    pub why: String }

/// Names all roots of a mutator.
pub trait TraceRoots {
    /// Adds every root to `roots`.
    fn trace_roots(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk>;
}

/// A reusable list of roots.
#[derive(Debug, Default)]
pub struct GcRootsList(Vec<RawRoot>);
#[derive(Debug, Clone, Copy)]
enum RawRoot { Stack(*mut u64), NonStack(*mut u32) }

impl GcRootsList {
    /// # Safety: `slot` must stay valid for reads and writes while the list is in use.
    #[allow(unsafe_code)]
    pub unsafe fn add_stack_root(&mut self, slot: *mut u64) { self.0.push(RawRoot::Stack(slot)) }
    #[allow(unsafe_code)]
    pub unsafe fn add_non_stack_root(&mut self, slot: *mut u32) { self.0.push(RawRoot::NonStack(slot)) }
    pub fn clear(&mut self) { self.0.clear() }
    pub fn iter(&mut self) -> GcRootsIter<'_> { todo!() }
}
pub struct GcRootsIter<'a> { list: &'a mut GcRootsList, next: usize }
/// iterator of GcRoot<'a>
pub struct GcRoot<'a> { list: &'a mut GcRootsList, index: usize }
impl GcRoot<'_> {
    pub fn is_on_stack(&self) -> bool { todo!() }
    pub fn get(&self) -> Option<VMGcRef> { todo!() }
    pub fn set(&mut self, new: VMGcRef) { todo!() }
}
