//! The layout of an instance's vmctx: the driver's prefix, then the data of a WebAssembly module.
//! Also the native definitions of tables, memories and globals that compiled code reads.
//!
//! Defined tables, memories and globals are in the vmctx itself. For imported ones it holds the
//! address. Of each tag it holds the two words by which exceptions name it.

use crate::module::info::ModuleInfo;
use anyhow::{Context as _, Result};
use gc_types::VMOffsets;

/// To be changed with the layout of the vmctx or of a definition in it, and with the arguments of a
/// host call.
pub(crate) const VERSION: u32 = 4;

/// Bytes of the definition of a table or memory: the address of its first element or byte, and
/// the number of them. Both are pointer-sized. The address of a memory never changes, because
/// growth maps more of the same reservation.
pub(crate) const DEFINITION_SIZE: usize = 2 * size_of::<usize>();

/// In the definition of a table or memory on this machine: offset of the length.
pub(crate) const DEFINITION_LEN: u32 = size_of::<usize>() as u32;

/// Bytes of a global, and its alignment. The value is in the first bytes. A reference is a
/// 32-bit word, and a function reference is an address.
pub(crate) const GLOBAL_SIZE: usize = 16;

/// The number of the contexts of host functions. No instance has it.
pub(crate) const HOST_FUNC: usize = usize::MAX;

/// Offsets in bytes into the vmctx of one module's instances.
#[derive(Clone, Debug)]
pub(crate) struct VMContextLayout {
    /// The driver's offsets.
    pub(crate) offsets: VMOffsets,
    func_imports: u32,
    table_imports: u32,
    memory_imports: u32,
    global_imports: u32,
    tags: u32,
    tables: u32,
    memories: u32,
    globals: u32,
    func_refs: u32,
    size: u32,
    num_imported_tables: u32,
    num_imported_memories: u32,
    num_imported_globals: u32,
}

/// The place of a definition: in the vmctx, or behind a pointer in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefinitionPlace {
    /// At this offset in the vmctx.
    Inline(u32),
    /// At the address that is stored at this offset in the vmctx.
    Indirect(u32),
}

/// The largest vmctx in bytes. Compiled code has offsets of 31 bits.
const MAX_SIZE: u32 = 1 << 30;

/// The numbers of parts of a vmctx. Tables, memories and globals are without the imported ones.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    imported_funcs: u32,
    imported_tables: u32,
    imported_memories: u32,
    imported_globals: u32,
    tags: u32,
    memories: u32,
    tables: u32,
    globals: u32,
    func_refs: u32,
}

impl Counts {
    /// Those of `info`. `None` if more is imported than there is.
    fn of(info: &ModuleInfo) -> Option<Counts> {
        let count = |all: usize| u32::try_from(all).ok();
        let defined = |all: usize, imported: u32| count(all)?.checked_sub(imported);
        Some(Counts {
            imported_funcs: info.num_imported_funcs,
            imported_tables: info.num_imported_tables,
            imported_memories: info.num_imported_memories,
            imported_globals: info.num_imported_globals,
            tags: count(info.tags.len())?,
            memories: defined(info.memories.len(), info.num_imported_memories)?,
            tables: defined(info.tables.len(), info.num_imported_tables)?,
            globals: defined(info.globals.len(), info.num_imported_globals)?,
            func_refs: info.num_func_refs,
        })
    }
}

impl VMContextLayout {
    /// The layout for instances of `info`.
    ///
    /// # Errors
    /// If the vmctx is too large for the offsets in compiled code.
    pub(crate) fn new(offsets: VMOffsets, info: &ModuleInfo) -> Result<VMContextLayout> {
        let counts = Counts::of(info).context("more is imported than there is")?;
        let parts = format_args!(
            "{} functions, {} tables, {} memories, {} globals and {} tags",
            info.funcs.len(),
            info.tables.len(),
            info.memories.len(),
            info.globals.len(),
            info.tags.len()
        );
        VMContextLayout::of(offsets, &counts).with_context(|| {
            format!("module too large: {parts} need a vmctx of more than {MAX_SIZE} bytes")
        })
    }

    /// The layout for instances with these numbers of parts. `None` if it is too large.
    fn of(offsets: VMOffsets, counts: &Counts) -> Option<VMContextLayout> {
        let pointer = u32::from(offsets.pointer_size());
        let mut at = offsets.vmctx_prefix_size();
        let mut take = |count: u32, size: u32, align: u32| {
            let start = at.checked_next_multiple_of(align)?;
            at = start.checked_add(count.checked_mul(size)?).filter(|end| *end <= MAX_SIZE)?;
            Some(start)
        };
        Some(VMContextLayout {
            offsets,
            func_imports: take(counts.imported_funcs, 3 * pointer, pointer)?,
            table_imports: take(counts.imported_tables, pointer, pointer)?,
            memory_imports: take(counts.imported_memories, pointer, pointer)?,
            global_imports: take(counts.imported_globals, pointer, pointer)?,
            tags: take(counts.tags, 8, 8)?,
            memories: take(counts.memories, 2 * pointer, pointer)?,
            tables: take(counts.tables, 2 * pointer, pointer)?,
            globals: take(counts.globals, 16, 16)?,
            func_refs: take(counts.func_refs, offsets.func_ref_size(), 8)?,
            size: take(0, 0, 16)?,
            num_imported_tables: counts.imported_tables,
            num_imported_memories: counts.imported_memories,
            num_imported_globals: counts.imported_globals,
        })
    }

    fn pointer(&self) -> u32 {
        u32::from(self.offsets.pointer_size())
    }

    /// Bytes of the vmctx; its alignment is 16.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Its parts, with their bytes.
    pub(crate) fn regions(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let starts = [
            ("static vmctx data", 0),
            ("imported functions", self.func_imports),
            ("imported tables", self.table_imports),
            ("imported memories", self.memory_imports),
            ("imported globals", self.global_imports),
            ("tags", self.tags),
            ("defined memories", self.memories),
            ("defined tables", self.tables),
            ("defined globals", self.globals),
            ("function references", self.func_refs),
            ("", self.size),
        ];
        (1..starts.len()).map(move |n| {
            let (what, start) = starts[n - 1];
            (what, (starts[n].1 - start) as usize)
        })
    }

    /// Offset of the data of imported function `index`: its code, its vmctx, its reference.
    pub(crate) fn func_import(&self, index: u32) -> u32 {
        self.func_imports + index * 3 * self.pointer()
    }

    /// Offset of that import's code address.
    pub(crate) fn func_import_code(&self, index: u32) -> u32 {
        self.func_import(index)
    }

    /// Offset of that import's vmctx.
    pub(crate) fn func_import_vmctx(&self, index: u32) -> u32 {
        self.func_import(index) + self.pointer()
    }

    /// Offset of that import's function reference address.
    pub(crate) fn func_import_ref(&self, index: u32) -> u32 {
        self.func_import(index) + 2 * self.pointer()
    }

    /// The place of the definition of table `index` (imports included).
    pub(crate) fn table(&self, index: u32) -> DefinitionPlace {
        match index.checked_sub(self.num_imported_tables) {
            Some(defined) => DefinitionPlace::Inline(self.tables + defined * 2 * self.pointer()),
            None => DefinitionPlace::Indirect(self.table_imports + index * self.pointer()),
        }
    }

    /// The place of the definition of memory `index` (imports included).
    pub(crate) fn memory(&self, index: u32) -> DefinitionPlace {
        match index.checked_sub(self.num_imported_memories) {
            Some(defined) => DefinitionPlace::Inline(self.memories + defined * 2 * self.pointer()),
            None => DefinitionPlace::Indirect(self.memory_imports + index * self.pointer()),
        }
    }

    /// The place of global `index` (imports included).
    pub(crate) fn global(&self, index: u32) -> DefinitionPlace {
        match index.checked_sub(self.num_imported_globals) {
            Some(defined) => DefinitionPlace::Inline(self.globals + defined * 16),
            None => DefinitionPlace::Indirect(self.global_imports + index * self.pointer()),
        }
    }

    /// Offset of the two words (u32) of tag `index` (imports included), which identify it in the
    /// store.
    pub(crate) fn tag(&self, index: u32) -> u32 {
        self.tags + index * 8
    }

    /// Offset of the function reference of the instance's `n`th referenced function.
    pub(crate) fn func_ref(&self, n: u32) -> u32 {
        self.func_refs + n * self.offsets.func_ref_size()
    }

    /// In a table or memory definition: offset of the base address.
    #[cfg(feature = "compiler")]
    pub(crate) fn definition_base(&self) -> u32 {
        0
    }

    /// In a table or memory definition: offset of the length (pointer-sized).
    #[cfg(feature = "compiler")]
    pub(crate) fn definition_len(&self) -> u32 {
        self.pointer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSETS: VMOffsets = VMOffsets::new(8);

    #[test]
    fn parts_follow_each_other() {
        let counts =
            Counts { imported_funcs: 2, imported_tables: 1, tables: 3, ..Counts::default() };
        let counts = Counts { tags: 1, globals: 1, func_refs: 2, ..counts };
        let layout = VMContextLayout::of(OFFSETS, &counts).unwrap();
        let prefix = OFFSETS.vmctx_prefix_size();
        assert_eq!(layout.func_import_ref(1), prefix + 24 + 16);
        assert_eq!(layout.table(0), DefinitionPlace::Indirect(prefix + 48));
        assert_eq!(layout.tag(0), prefix + 56);
        assert_eq!(layout.table(3), DefinitionPlace::Inline(prefix + 64 + 2 * 16));
        // A global is aligned.
        assert_eq!(layout.global(0), DefinitionPlace::Inline((prefix + 112).next_multiple_of(16)));
        assert_eq!(layout.size() % 16, 0);
        assert!(layout.size() >= layout.func_ref(1) + OFFSETS.func_ref_size());
        let bytes: usize = layout.regions().map(|(_, bytes)| bytes).sum();
        assert_eq!(bytes, layout.size() as usize);
    }

    #[test]
    fn a_layout_that_is_too_large_is_refused() {
        let of = |counts| VMContextLayout::of(OFFSETS, &counts);
        let globals = (MAX_SIZE - OFFSETS.vmctx_prefix_size()) / 16;
        assert!(of(Counts { globals, ..Counts::default() }).is_some());
        assert!(of(Counts { globals: globals + 1, ..Counts::default() }).is_none());
        // These would wrap.
        assert!(of(Counts { globals: u32::MAX, ..Counts::default() }).is_none());
        assert!(of(Counts { tags: 1 << 29, ..Counts::default() }).is_none());
        let two =
            Counts { imported_funcs: u32::MAX / 24, imported_tables: 1 << 10, ..Counts::default() };
        assert!(of(two).is_none());
    }
}
