//! The layouts a heap knows, by type index: a dense table, looked up at every
//! allocation and every death, with type indices that may come from a corrupt heap.

use gc_types::{GcLayout, TypeIndex};
use std::sync::Arc;

/// Layouts by [`TypeIndex`].
#[derive(Clone, Debug, Default)]
pub struct LayoutTable {
    layouts: Vec<Option<Arc<GcLayout>>>,
    version: u64,
}

impl LayoutTable {
    /// The layout of `ty`, if it was registered.
    #[inline]
    pub fn get(&self, ty: TypeIndex) -> Option<&GcLayout> {
        self.layouts.get(ty.as_u32() as usize)?.as_deref()
    }

    /// As [`get`](LayoutTable::get), to keep.
    pub fn get_shared(&self, ty: TypeIndex) -> Option<&Arc<GcLayout>> {
        self.layouts.get(ty.as_u32() as usize)?.as_ref()
    }

    /// Registers `ty`'s layout, unless it has one. [`TypeIndex::NONE`] never has one.
    pub fn ensure(&mut self, ty: TypeIndex, layout: &Arc<GcLayout>) {
        debug_assert!(self.get(ty).is_none_or(|known| *known == **layout), "{ty:?} changed");
        if ty == TypeIndex::NONE {
            return;
        }
        let index = ty.as_u32() as usize;
        if index >= self.layouts.len() {
            self.layouts.resize(index + 1, None);
        }
        if self.layouts[index].is_none() {
            self.layouts[index] = Some(Arc::clone(layout));
            self.version += 1;
        }
    }

    /// Changes whenever a layout is registered or all are forgotten.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All layouts with their types, in the order of the types' indices.
    pub fn iter(&self) -> impl Iterator<Item = (TypeIndex, &GcLayout)> {
        self.layouts.iter().enumerate().filter_map(|(index, layout)| {
            Some((TypeIndex::new(u32::try_from(index).ok()?)?, layout.as_deref()?))
        })
    }

    /// Forgets all layouts; what is in the heap can no longer be traced.
    pub fn clear(&mut self) {
        self.layouts.clear();
        self.version += 1;
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
        assert_eq!(table.version(), 1);
        assert!(table.iter().eq([(TypeIndex::new(3).unwrap(), &*layout)]));
    }
}
