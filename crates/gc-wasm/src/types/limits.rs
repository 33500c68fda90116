//! The types of tables and linear memories: how large they may be, and whether they are indexed with
//! 32 or 64 bits.

use super::val_type::RefType;
use crate::Engine;
use anyhow::{Result, ensure};
use std::fmt;
use wasmtime_types::{IndexType, Limits, Memory, Table};

/// Bytes of a WebAssembly page.
pub(crate) const PAGE_SIZE: u64 = 64 << 10;

/// The type of a table: the type of its elements, how many there may be, and whether indices have 32
/// or 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableType {
    element: RefType,
    index: IndexType,
    limits: Limits,
}

impl TableType {
    /// The type of a table of at least `minimum` and at most `maximum` elements.
    pub fn new(element: RefType, minimum: u32, maximum: Option<u32>) -> TableType {
        let limits = Limits { min: minimum.into(), max: maximum.map(u64::from) };
        TableType { element, index: IndexType::I32, limits }
    }

    /// The type of a table of at least `minimum` and at most `maximum` elements, whose indices are
    /// `i64`.
    pub fn new64(element: RefType, minimum: u64, maximum: Option<u64>) -> TableType {
        let limits = Limits { min: minimum, max: maximum };
        TableType { element, index: IndexType::I64, limits }
    }

    /// Whether its indices are `i64`.
    pub fn is_64(&self) -> bool {
        self.index == IndexType::I64
    }

    /// The type of its elements.
    pub fn element(&self) -> &RefType {
        &self.element
    }

    /// The minimum number of elements.
    pub fn minimum(&self) -> u64 {
        self.limits.min
    }

    /// The maximum number of elements, if limited.
    pub fn maximum(&self) -> Option<u64> {
        self.limits.max
    }

    pub(crate) fn to_wasm(&self) -> Table {
        Table { idx_type: self.index, limits: self.limits, ref_type: self.element.to_wasm() }
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &Table) -> TableType {
        let element = RefType::from_wasm(engine, &ty.ref_type);
        TableType { element, index: ty.idx_type, limits: ty.limits }
    }
}

/// The type of a linear memory: how many pages of 64 KiB it may have, and whether addresses have 32
/// or 64 bits.
///
/// # Examples
/// ```
/// use gc_wasm::{Memory, MemoryType, Store};
///
/// let mut store = Store::<()>::default();
/// let memory = Memory::new(&mut store, MemoryType::new64(1, Some(100)))?;
/// memory.grow(&mut store, 2)?;
/// assert!(memory.ty(&store).is_64());
/// assert_eq!(memory.data_size(&store), 3 << 16);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemoryType {
    ty: Memory,
}

impl MemoryType {
    /// The type of a memory of at least `minimum` and at most `maximum` pages. Whether there is such
    /// a memory is checked when one is made, and by [`MemoryTypeBuilder::build`].
    pub fn new(minimum: u32, maximum: Option<u32>) -> MemoryType {
        let (min, max) = (minimum.into(), maximum.map(u64::from));
        MemoryTypeBuilder::new().min(min).max(max).unchecked()
    }

    /// The type of a memory of at least `minimum` and at most `maximum` pages, whose addresses are
    /// `i64`.
    pub fn new64(minimum: u64, maximum: Option<u64>) -> MemoryType {
        MemoryTypeBuilder::new().memory64(true).min(minimum).max(maximum).unchecked()
    }

    /// A builder of such types.
    pub fn builder() -> MemoryTypeBuilder {
        MemoryTypeBuilder::new()
    }

    /// Whether its addresses are `i64`.
    pub fn is_64(&self) -> bool {
        self.ty.idx_type == IndexType::I64
    }

    /// Whether it is shared with other threads. No memory is.
    pub fn is_shared(&self) -> bool {
        self.ty.shared
    }

    /// The minimum number of pages.
    pub fn minimum(&self) -> u64 {
        self.ty.limits.min
    }

    /// The maximum number of pages, if limited.
    pub fn maximum(&self) -> Option<u64> {
        self.ty.limits.max
    }

    /// Bytes of a page: 64 KiB.
    pub fn page_size(&self) -> u64 {
        1 << self.ty.page_size_log2
    }

    /// The logarithm of [`page_size`](MemoryType::page_size) to base 2.
    pub fn page_size_log2(&self) -> u8 {
        self.ty.page_size_log2
    }

    pub(crate) fn to_wasm(&self) -> Memory {
        self.ty
    }

    pub(crate) fn from_wasm(ty: &Memory) -> MemoryType {
        MemoryType { ty: *ty }
    }
}

/// Makes a [`MemoryType`].
///
/// # Examples
/// ```
/// use gc_wasm::MemoryTypeBuilder;
///
/// let ty = MemoryTypeBuilder::new().memory64(true).min(1).max(Some(1 << 20)).build()?;
/// assert!(ty.is_64());
/// assert!(MemoryTypeBuilder::new().max(Some(1 << 20)).build().is_err());
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryTypeBuilder {
    ty: Memory,
}

impl Default for MemoryTypeBuilder {
    fn default() -> MemoryTypeBuilder {
        MemoryTypeBuilder {
            ty: Memory {
                idx_type: IndexType::I32,
                limits: Limits { min: 0, max: None },
                shared: false,
                page_size_log2: PAGE_SIZE.ilog2() as u8,
            },
        }
    }
}

impl MemoryTypeBuilder {
    /// The type of 32-bit memories of any size.
    pub fn new() -> MemoryTypeBuilder {
        MemoryTypeBuilder::default()
    }

    /// Sets the minimum number of pages (default: 0).
    pub fn min(&mut self, minimum: u64) -> &mut Self {
        self.ty.limits.min = minimum;
        self
    }

    /// Sets the maximum number of pages, if there is one (default: none).
    pub fn max(&mut self, maximum: Option<u64>) -> &mut Self {
        self.ty.limits.max = maximum;
        self
    }

    /// Sets whether addresses are `i64` (default: no).
    pub fn memory64(&mut self, memory64: bool) -> &mut Self {
        self.ty.idx_type = if memory64 { IndexType::I64 } else { IndexType::I32 };
        self
    }

    /// Sets whether the memory is shared with other threads (default: no). Shared memories are not
    /// supported.
    pub fn shared(&mut self, shared: bool) -> &mut Self {
        self.ty.shared = shared;
        self
    }

    /// Sets the logarithm of a page's size to base 2 (default: 16). Other sizes are not supported.
    pub fn page_size_log2(&mut self, page_size_log2: u8) -> &mut Self {
        self.ty.page_size_log2 = page_size_log2;
        self
    }

    /// The type.
    ///
    /// # Errors
    /// If the maximum is smaller than the minimum, if the addresses cannot reach so many pages, or if
    /// memories are shared or have pages of another size, which is unsupported.
    pub fn build(&self) -> Result<MemoryType> {
        check(&self.ty)?;
        Ok(self.unchecked())
    }

    fn unchecked(&self) -> MemoryType {
        MemoryType { ty: self.ty }
    }
}

/// Fails unless there can be memories of this type.
pub(crate) fn check(ty: &Memory) -> Result<()> {
    let Limits { min, max } = ty.limits;
    let (bits, most) = match ty.idx_type {
        IndexType::I32 => (32, 1_u64 << 16),
        IndexType::I64 => (64, 1_u64 << 48),
    };
    ensure!(!ty.shared, "unsupported: shared memories");
    ensure!(
        u64::checked_shl(1, ty.page_size_log2.into()) == Some(PAGE_SIZE),
        "unsupported: memories with pages of 2^{} bytes",
        ty.page_size_log2
    );
    // The size in bytes of the smallest memory has 64 bits, too.
    ensure!(min < 1 << 48, "a memory has fewer than {} pages, not {min}", 1_u64 << 48);
    for pages in [Some(min), max].into_iter().flatten() {
        ensure!(
            pages <= most,
            "a memory with addresses of {bits} bits has at most {most} pages, not {pages}"
        );
    }
    if let Some(max) = max {
        ensure!(min <= max, "a memory of {min} pages exceeds the limit of {max} pages");
    }
    Ok(())
}

/// The limits in the text format, with the type of indices.
fn show_limits(f: &mut fmt::Formatter<'_>, index: IndexType, limits: &Limits) -> fmt::Result {
    if index == IndexType::I64 {
        f.write_str("i64 ")?;
    }
    match limits.max {
        Some(max) => write!(f, "{} {max}", limits.min),
        None => write!(f, "{}", limits.min),
    }
}

impl TableType {
    /// Writes the type, with this text for the type of its elements.
    pub(super) fn show(
        &self,
        f: &mut fmt::Formatter<'_>,
        element: &dyn fmt::Display,
    ) -> fmt::Result {
        f.write_str("(table ")?;
        show_limits(f, self.index, &self.limits)?;
        write!(f, " {element})")
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, &self.element)
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(memory ")?;
        show_limits(f, self.ty.idx_type, &self.ty.limits)?;
        f.write_str(")")
    }
}
