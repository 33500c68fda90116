//! The layouts that a heap knows, by type index. The table is dense because it is read at every
//! allocation and every death. The indices may come from a corrupt heap.

use crate::HeapError;
use gc_types::{GcLayout, TypeIndex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Layouts by [`TypeIndex`].
///
/// # Examples
/// ```
/// use gc_heap::LayoutTable;
/// use gc_types::{GcLayout, StorageType, StructLayout, TypeIndex};
/// use std::sync::Arc;
///
/// let mut table = LayoutTable::default();
/// let pair = TypeIndex::new(5).unwrap();
/// let layout = Arc::new(GcLayout::Struct(StructLayout::new([StorageType::Ref; 2]).unwrap()));
/// table.ensure(pair, &layout)?;
/// assert_eq!(table.get(pair), Some(&*layout));
/// assert_eq!(table.get(TypeIndex::new(4).unwrap()), None);
///
/// // A type keeps its layout.
/// let other = Arc::new(GcLayout::Struct(StructLayout::new([]).unwrap()));
/// assert!(table.ensure(pair, &other).is_err());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug, Default)]
pub struct LayoutTable {
    layouts: Vec<Option<Arc<GcLayout>>>,
    version: LayoutVersion,
}

/// The contents of a [`LayoutTable`] at some time. What was derived from them is valid for a table that still has this
/// version. No two tables ever have the same, unless both are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayoutVersion {
    /// Different for each table that is not empty. Zero if it is empty.
    table: u64,
    /// The number of layouts that were registered.
    count: usize,
}

/// The number of tables that were not empty.
static TABLES: AtomicU64 = AtomicU64::new(0);

impl LayoutTable {
    /// The number of layouts whose memory stays for others.
    const KEPT: usize = 256;

    /// The layout of `ty`, if it was registered.
    #[inline]
    pub fn get(&self, ty: TypeIndex) -> Option<&GcLayout> {
        self.layouts.get(ty.as_u32() as usize)?.as_deref()
    }

    /// Like [`get`](LayoutTable::get), but shared, so that the caller can keep it.
    pub fn get_shared(&self, ty: TypeIndex) -> Option<&Arc<GcLayout>> {
        self.layouts.get(ty.as_u32() as usize)?.as_ref()
    }

    /// Registers the layout of `ty`, unless it is registered. [`TypeIndex::NONE`] never has one.
    ///
    /// # Errors
    /// If `ty` has another layout. Then code for one of the two would damage objects of the other.
    pub fn ensure(&mut self, ty: TypeIndex, layout: &Arc<GcLayout>) -> Result<(), HeapError> {
        if ty == TypeIndex::NONE {
            return Ok(());
        }
        let index = ty.as_u32() as usize;
        if index >= self.layouts.len() {
            self.layouts.resize(index + 1, None);
        }
        match &self.layouts[index] {
            None => {
                self.layouts[index] = Some(Arc::clone(layout));
                if self.version.count == 0 {
                    // 64 bits cannot overflow in practice.
                    self.version.table = TABLES.fetch_add(1, Ordering::Relaxed) + 1;
                }
                self.version.count += 1;
            }
            Some(known) if Arc::ptr_eq(known, layout) || known == layout => {}
            Some(_) => return Err(HeapError::OtherLayout { ty }),
        }
        Ok(())
    }

    /// What the table contains. It changes whenever a layout is registered or all are forgotten.
    pub fn version(&self) -> LayoutVersion {
        self.version
    }

    /// All layouts with their types, in the order of the types' indices.
    pub fn iter(&self) -> impl Iterator<Item = (TypeIndex, &GcLayout)> {
        self.layouts.iter().enumerate().filter_map(|(index, layout)| {
            Some((TypeIndex::new(u32::try_from(index).ok()?)?, layout.as_deref()?))
        })
    }

    /// Forgets all layouts. Objects in the heap can no longer be traced.
    pub fn clear(&mut self) {
        self.layouts.clear();
        self.layouts.shrink_to(LayoutTable::KEPT);
        self.version = LayoutVersion::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_types::{StorageType, StructLayout};

    #[test]
    fn unknown_types_have_no_layout() {
        let mut table = LayoutTable::default();
        let layout = Arc::new(GcLayout::Struct(StructLayout::new([]).unwrap()));
        table.ensure(TypeIndex::new(3).unwrap(), &layout).unwrap();
        table.ensure(TypeIndex::NONE, &layout).unwrap();
        for i in [0, 2, 4, TypeIndex::MAX] {
            assert!(table.get(TypeIndex::new(i).unwrap()).is_none());
        }
        assert_eq!(table.get(TypeIndex::new(3).unwrap()), Some(&*layout));
        assert!(table.iter().eq([(TypeIndex::new(3).unwrap(), &*layout)]));
    }

    #[test]
    fn tables_with_the_same_number_of_layouts_have_different_versions() {
        let layout = Arc::new(GcLayout::Struct(StructLayout::new([]).unwrap()));
        let mut tables = [LayoutTable::default(), LayoutTable::default()];
        assert_eq!(tables[0].version(), tables[1].version());
        for table in &mut tables {
            let before = table.version();
            table.ensure(TypeIndex::new(3).unwrap(), &layout).unwrap();
            assert_ne!(table.version(), before);
            let before = table.version();
            table.ensure(TypeIndex::new(3).unwrap(), &layout).unwrap();
            assert_eq!(table.version(), before);
        }
        assert_ne!(tables[0].version(), tables[1].version());
        // A table that was used before is a new one.
        let before = tables[0].version();
        tables[0].clear();
        tables[0].ensure(TypeIndex::new(3).unwrap(), &layout).unwrap();
        assert_ne!(tables[0].version(), before);
    }

    #[test]
    fn a_type_keeps_its_layout() {
        let layout = |fields: &[StorageType]| {
            Arc::new(GcLayout::Struct(StructLayout::new(fields.iter().copied()).unwrap()))
        };
        let mut table = LayoutTable::default();
        let ty = TypeIndex::new(3).unwrap();
        let pair = layout(&[StorageType::Ref, StorageType::Ref]);
        table.ensure(ty, &pair).unwrap();
        table.ensure(ty, &layout(&[StorageType::Ref, StorageType::Ref])).unwrap();
        let other = layout(&[StorageType::Ref, StorageType::I32]);
        assert_eq!(table.ensure(ty, &other), Err(HeapError::OtherLayout { ty }));
        assert_eq!(table.get(ty), Some(&*pair));
    }
}
