//! [`Numbered`]: a list without duplicates, whose items are found by their values.

use std::collections::HashMap;
use std::hash::Hash;

/// A list without duplicates. Items are never removed, so their numbers stay the same.
pub(super) struct Numbered<T> {
    items: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { items: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    /// The number of an item. It is added if it is not there. `None` if there are `limit` others.
    pub(super) fn number(&mut self, item: T, limit: u32) -> Option<u32> {
        if let Some(number) = self.numbers.get(&item) {
            return Some(*number);
        }
        let number = u32::try_from(self.items.len()).ok().filter(|number| *number < limit)?;
        self.items.push(item.clone());
        self.numbers.insert(item, number);
        Some(number)
    }

    /// The items, by their numbers.
    pub(super) fn as_slice(&self) -> &[T] {
        &self.items
    }
}
