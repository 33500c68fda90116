//! The layouts a heap knows, by type index: a dense table, looked up at every
//! allocation and every death, with type indices that may come from a corrupt heap.

use gc_types::{GcLayout, TypeIndex};
use std::sync::Arc;

/// Layouts by [`TypeIndex`].
#[derive(Clone, Debug, Default)]
pub struct LayoutTable(Vec<Option<Arc<GcLayout>>>);

impl LayoutTable {
    /// The layout of `ty`, if it was registered.
    #[inline]
    pub fn get(&self, ty: TypeIndex) -> Option<&GcLayout> {
        self.0.get(ty.as_u32() as usize)?.as_deref()
    }

    /// As [`get`](LayoutTable::get), to keep.
    pub fn get_shared(&self, ty: TypeIndex) -> Option<&Arc<GcLayout>> {
        self.0.get(ty.as_u32() as usize)?.as_ref()
    }

    /// Registers `ty`'s layout, unless it has one. [`TypeIndex::NONE`] never has one.
    pub fn ensure(&mut self, ty: TypeIndex, layout: &Arc<GcLayout>) {
        debug_assert!(self.get(ty).is_none_or(|known| *known == **layout), "{ty:?} changed");
        if ty == TypeIndex::NONE {
            return;
        }
        let index = ty.as_u32() as usize;
        if index >= self.0.len() {
            self.0.resize(index + 1, None);
        }
        self.0[index].get_or_insert_with(|| Arc::clone(layout));
    }

    /// Forgets all layouts; what is in the heap can no longer be traced.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_types::StructLayout;

    #[test]
    fn unknown_types_have_no_layout() {
        let mut table = LayoutTable::default();
        let layout = Arc::new(GcLayout::Struct(StructLayout::new([]).unwrap()));
        table.ensure(TypeIndex::new(3).unwrap(), &layout);
        table.ensure(TypeIndex::NONE, &layout);
        for i in [0, 2, 4, TypeIndex::MAX] {
            assert!(table.get(TypeIndex::new(i).unwrap()).is_none());
        }
        assert_eq!(table.get(TypeIndex::new(3).unwrap()), Some(&*layout));
    }
}
