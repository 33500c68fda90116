//! Function references in the heap are ids, never pointers. [`FuncRefTable`] maps the ids to native
//! function references. To call a function reference from an object, compiled code compares the id
//! with the table's length and then indexes the table.

use std::collections::HashMap;

/// A store's function references by id. Id 0 is null.
///
/// # Examples
/// ```
/// use gc_runtime::FuncRefTable;
///
/// let mut table = FuncRefTable::default();
/// let id = table.intern(0x1000);
/// assert_eq!(table.intern(0x1000), id);
/// assert_eq!(table.get(id), Some(0x1000));
/// assert_eq!(table.get(0), Some(0), "null");
/// assert_eq!(table.get(id + 1), None);
/// ```
#[derive(Debug)]
pub struct FuncRefTable {
    pointers: Vec<usize>,
    /// The ids of all pointers but null.
    ids: HashMap<usize, u32>,
}

impl Default for FuncRefTable {
    fn default() -> Self {
        FuncRefTable { pointers: vec![0], ids: HashMap::new() }
    }
}

impl FuncRefTable {
    /// The id of the native function reference at address `pointer`. Makes a new id if there is
    /// none yet. The address must stay valid as long as the table is used. Address 0 has id 0.
    ///
    /// A new id may move the table. Afterwards, update the copies of [`base`](FuncRefTable::base)
    /// and [`len`](FuncRefTable::len) that compiled code reads.
    ///
    /// # Panics
    /// At 2^32 function references, more than fit in memory.
    pub fn intern(&mut self, pointer: usize) -> u32 {
        if pointer == 0 {
            return 0;
        }
        *self.ids.entry(pointer).or_insert_with(|| {
            let id = u32::try_from(self.pointers.len()).expect("too many function references");
            self.pointers.push(pointer);
            id
        })
    }

    /// The address with this id. It is 0 for id 0, and `None` for an unknown id.
    pub fn get(&self, id: u32) -> Option<usize> {
        self.pointers.get(id as usize).copied()
    }

    /// Address of the table's first element, which belongs to null. It may change when
    /// [`intern`](FuncRefTable::intern) makes a new id.
    pub fn base(&self) -> *const usize {
        self.pointers.as_ptr()
    }

    /// Number of ids, null's included.
    #[allow(clippy::len_without_is_empty, reason = "null's id is always there")]
    pub fn len(&self) -> usize {
        self.pointers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_for_each_pointer() {
        let mut table = FuncRefTable::default();
        assert_eq!((table.len(), table.get(0), table.intern(0)), (1, Some(0), 0));
        let (a, b) = (table.intern(0x1000), table.intern(0x2000));
        assert_eq!((a, b, table.intern(0x1000)), (1, 2, 1));
        assert_eq!((table.get(b), table.get(3)), (Some(0x2000), None));
        assert_eq!(table.len(), 3);
    }
}
