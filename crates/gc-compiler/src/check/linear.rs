//! [`Linear`]: a sum of values, the form of an index of the heap.

use cranelift_codegen::ir::Value;

/// A sum of values, each multiplied by a constant, plus a constant, modulo 2³². Heap indices are
/// computed in this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The values, in ascending order, and their factors.
    pub terms: Vec<(Value, u32)>,
    /// The constant.
    pub constant: u32,
}

impl Linear {
    pub(super) fn add(&mut self, value: Value, factor: u32) {
        match self.terms.iter_mut().find(|(term, _)| *term == value) {
            Some((_, known)) => *known = known.wrapping_add(factor),
            None => self.terms.push((value, factor)),
        }
    }

    pub(super) fn finish(mut self) -> Linear {
        self.terms.retain(|(_, factor)| *factor != 0);
        self.terms.sort_unstable();
        self
    }

    /// The sum, with `offset` added.
    #[must_use]
    pub fn plus(mut self, offset: u32) -> Linear {
        self.constant = self.constant.wrapping_add(offset);
        self
    }
}
