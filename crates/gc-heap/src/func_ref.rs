//! Function references in the heap are ids, never pointers. [`FuncRefTable`] maps the ids to native
//! function references. To call a function reference from an object, compiled code compares the id
//! with the table's length and then indexes the table.

/// The table of a store without functions. Its only entry is null's.
static NULL: usize = 0;

/// A store's function references by id. Id 0 is null.
///
/// # Examples
/// ```
/// use gc_heap::FuncRefTable;
///
/// let mut table = FuncRefTable::default();
/// let id = table.add(0x1000);
/// assert_eq!(table.get(id), Some(0x1000));
/// assert_eq!(table.get(0), Some(0), "null");
/// assert_eq!(table.get(id + 1), None);
/// ```
#[derive(Debug, Default)]
pub struct FuncRefTable {
    /// With null's entry, unless there is no other.
    pointers: Vec<usize>,
    /// The ids that were removed.
    free: Vec<u32>,
}

impl FuncRefTable {
    /// Makes an id for the native function reference at address `pointer`. The address must stay
    /// valid as long as the table is used. A function reference keeps its id and gets only one, so
    /// that equal references have equal ids.
    ///
    /// A new id may move the table. Afterwards, update the copies of [`base`](FuncRefTable::base)
    /// and [`len`](FuncRefTable::len) that compiled code reads.
    ///
    /// # Panics
    /// At 2^32 function references, more than fit in memory.
    pub fn add(&mut self, pointer: usize) -> u32 {
        if self.pointers.is_empty() {
            self.pointers.reserve(4);
            self.pointers.push(NULL);
        }
        if let Some(id) = self.free.pop() {
            self.pointers[id as usize] = pointer;
            return id;
        }
        let id = u32::try_from(self.pointers.len()).expect("too many function references");
        self.pointers.push(pointer);
        id
    }

    /// Removes a function reference, so that its id becomes free for another one. Until then, the id is
    /// that of null: code that calls it traps. The caller must know that the heap does not have the id.
    ///
    /// # Panics
    /// If there is no such function reference.
    pub fn remove(&mut self, id: u32) {
        let pointer = self.pointers.get_mut(id as usize).filter(|pointer| **pointer != NULL);
        *pointer.expect("a function reference that is there") = NULL;
        self.free.push(id);
    }

    /// Makes room for `count` more function references. It may move the table, as
    /// [`add`](FuncRefTable::add) does.
    pub fn reserve(&mut self, count: usize) {
        if self.pointers.is_empty() {
            self.pointers.reserve(count.saturating_add(1));
            self.pointers.push(NULL);
        } else {
            self.pointers.reserve(count);
        }
    }

    /// The address with this id. It is 0 for id 0, and `None` for an unknown id.
    pub fn get(&self, id: u32) -> Option<usize> {
        match id {
            0 => Some(NULL),
            id => self.pointers.get(id as usize).copied(),
        }
    }

    /// Address of the table's first element, which belongs to null. It may change when
    /// [`add`](FuncRefTable::add) makes a new id.
    pub fn base(&self) -> *const usize {
        if self.pointers.is_empty() { &raw const NULL } else { self.pointers.as_ptr() }
    }

    /// Number of ids, null's included.
    #[allow(clippy::len_without_is_empty, reason = "null's id is always there")]
    pub fn len(&self) -> usize {
        self.pointers.len().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_for_each_reference() {
        let mut table = FuncRefTable::default();
        assert_eq!((table.len(), table.get(0), table.get(1)), (1, Some(0), None));
        assert!(std::ptr::eq(table.base(), &NULL));
        let (a, b) = (table.add(0x1000), table.add(0x2000));
        assert_eq!((a, b), (1, 2));
        assert_eq!((table.get(0), table.get(b), table.get(3)), (Some(0), Some(0x2000), None));
        assert_eq!(table.len(), 3);
        assert!(std::ptr::eq(table.base(), &table.pointers[0]));

        // A removed id is null's until it is used again.
        table.remove(a);
        assert_eq!((table.get(a), table.get(b), table.len()), (Some(0), Some(0x2000), 3));
        assert_eq!((table.add(0x4000), table.get(a)), (a, Some(0x4000)));

        for mut table in [table, FuncRefTable::default()] {
            let before = table.len();
            table.reserve(100);
            assert_eq!((table.len(), table.get(0)), (before, Some(0)));
            let base = table.base();
            (0..100).for_each(|i| assert_eq!(table.add(0x3000 + i), (before + i) as u32));
            assert!(std::ptr::eq(table.base(), base), "there was room");
        }
    }
}
