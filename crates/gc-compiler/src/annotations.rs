//! What belongs to a function besides its CLIF: [`Annotations`], which the emitter fills while the function is
//! built, which follow its instructions when it is inlined and simplified, and which the driver reads.

use crate::check::FunctionTypes;
use crate::inline::InlinedCalls;
use crate::safepoints::References;
use cranelift_codegen::ir::{self, Inst, Value};
use std::collections::HashMap;

/// What belongs to a function besides its CLIF.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    /// Its references into the heap.
    pub references: References,
    /// Its inline allocations.
    pub allocations: AllocationSites,
    /// Its types, if it is to be checked.
    pub types: Option<FunctionTypes>,
    /// Whether it calls code that may have another vmctx. Then its own is in a slot of its frame
    /// ([`VMCTX_SLOT_KEY`](crate::VMCTX_SLOT_KEY)), where a walk of the stack finds it.
    pub leaves_instance: bool,
    /// The calls that were inlined into it: none before it is finished.
    pub inlined: InlinedCalls,
}

impl Annotations {
    /// Moves what is known of aliases to the values that they stand for. Later,
    /// `DataFlowGraph::resolve_all_aliases` may delete the aliases.
    pub(crate) fn resolve_aliases(&mut self, dfg: &ir::DataFlowGraph) {
        self.references.resolve_aliases(dfg);
        for site in self.allocations.0.values_mut() {
            *site = site.map(|value| dfg.resolve_aliases(value));
        }
    }
}

/// Code that allocates an object from the memory between the cursor and the limit of the heap data
/// ([`gc_types::collector::bump`]), and otherwise calls the host.
///
/// The block that tests whether the object fits ends with a branch without arguments. Its first successor
/// moves the cursor and makes the object. Its second one calls the host. Both have no other predecessor, and
/// both continue in the same block. Between the load of the cursor and the branch nothing writes to it.
///
/// [`collector::bump`](crate::collector::bump) emits such code and records it. Objects that are allocated in a
/// row are then tested together ([`simplify`](crate::simplify)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocationSite {
    /// The branch that has tested whether the object fits.
    pub branch: Inst,
    /// The store that moves the cursor to the object's end.
    pub moves_cursor: Inst,
    /// The cursor before the allocation, which a load in the branch's block gives (`I64`).
    pub next: Value,
    /// The limit, which a load in the branch's block gives (`I64`).
    pub limit: Value,
    /// The size of the object in bytes (`I64`).
    pub size: Value,
    /// [Zeal's countdown](gc_types::HeapDataOffsets::ZEAL_COUNTDOWN) before the allocation (`I32`), if the code
    /// has one. A load in the branch's block gives it.
    pub countdown: Option<Value>,
}

impl AllocationSite {
    /// The site with other values.
    fn map(self, mut of: impl FnMut(Value) -> Value) -> AllocationSite {
        let [next, limit, size] = [self.next, self.limit, self.size].map(&mut of);
        AllocationSite { next, limit, size, countdown: self.countdown.map(of), ..self }
    }

    /// The site in a copy of the code. `None` if a part of it was not copied.
    pub(crate) fn copied(
        self,
        inst: impl Fn(Inst) -> Option<Inst>,
        value: impl Fn(Value) -> Option<Value>,
    ) -> Option<AllocationSite> {
        let mut complete = true;
        let site = self.map(|old| {
            let new = value(old);
            complete &= new.is_some();
            new.unwrap_or(old)
        });
        let (branch, moves_cursor) = (inst(self.branch)?, inst(self.moves_cursor)?);
        complete.then_some(AllocationSite { branch, moves_cursor, ..site })
    }
}

/// The inline allocations of a function.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use cranelift_codegen::ir::{InstBuilder, types};
/// use gc_types::{StorageType, StructLayout};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layout = StructLayout::new([StorageType::Ref])?;
/// # emit(&CopyingCompiler, &[types::I64], |e, params| {
/// // `e` is a `GcEmitter`.
/// let header_word = e.builder.ins().iconst(types::I32, 0);
/// e.struct_new(header_word, &layout, &[params[0]]);
/// assert_eq!(e.env.annotations().allocations.len(), 1);
/// # })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct AllocationSites(HashMap<Inst, AllocationSite>);

impl AllocationSites {
    /// Records an allocation. A collector that emits its own inline allocation in the form of an
    /// [`AllocationSite`] calls this. Without the record the code is right too, but it is not merged with other
    /// allocations.
    pub fn record(&mut self, site: AllocationSite) {
        self.0.insert(site.branch, site);
    }

    /// The allocation whose branch is `branch`.
    pub fn at(&self, branch: Inst) -> Option<AllocationSite> {
        self.0.get(&branch).copied()
    }

    /// All allocations, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &AllocationSite> + '_ {
        self.0.values()
    }

    /// The number of allocations.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no inline allocation.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
