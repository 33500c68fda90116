//! The objects that a collection still has to process. Some of them wait between two collections.

/// An array of references that is being processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArrayCursor {
    pub(super) array: u32,
    /// Heap index of the next element, and the end of the last one.
    pub(super) next: u64,
    pub(super) end: u64,
}

/// Objects to process, the last one first, and the array of which a part is processed.
#[derive(Debug, Default)]
pub(super) struct Stack {
    pub(super) objects: Vec<u32>,
    pub(super) cursor: Option<ArrayCursor>,
}

impl Stack {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.cursor.is_none()
    }

    /// Forgets all objects.
    pub(super) fn clear(&mut self) {
        self.objects.clear();
        self.cursor = None;
    }
}

/// The remaining work.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Objects that matured, whose referents are not counted yet. Empty between collections.
    pub(super) maturing: Stack,
    /// Objects that died, whose referents still have their counts. They have no count, and their flag that
    /// they are listed is set, but they are not in the list. Those for which a collection has no time
    /// wait for the next one.
    pub(super) dying: Stack,
    /// Objects that stay in the list. Empty between collections.
    pub(super) kept: Vec<u32>,
    /// Objects that a search for cycles has marked, whose referents it has not.
    pub(super) grey: Stack,
    /// Objects that a search has found to be garbage, whose referents still have their counts.
    pub(super) leaving: Stack,
    /// Objects to which uncounted roots refer, once for each root. Each has a count for it while the collection lasts.
    pub(super) rooted: Vec<u32>,
    /// Objects to which counted roots refer, for a search that begins.
    pub(super) named: Vec<u32>,
}

impl Work {
    /// Forgets all work.
    pub(super) fn clear(&mut self) {
        *self = Work::default();
    }

    /// Whether nothing is left that only a collection under way may have.
    pub(super) fn is_over(&self) -> bool {
        let lists = [&self.kept, &self.rooted, &self.named];
        self.maturing.is_empty() && lists.iter().all(|list| list.is_empty())
    }
}
