//! Alias regions: the kinds of memory that emitted code accesses and that never overlap.
//!
//! Cranelift forwards and removes loads and stores within a region, and treats regions as
//! independent. A store without a region is a fence for everything. So every access has a region,
//! and the same memory is never accessed under two regions, because that would be a miscompilation.
//! The numbers are global, because the inliner merges regions by number.
//!
//! A reference and a number have different regions, also within one kind of object, so that the
//! [checkers](crate::check) know from the region what a load returns. A field is always of one
//! kind, so these regions never overlap as long as every object has the type in its header. In a
//! damaged heap this may be wrong: if a struct's header is overwritten, code may access the same
//! bytes as fields of two types, with both regions. Cranelift may then forward an older value to a
//! load. The result is a wrong object or a wrong number in a heap that is already damaged. No
//! access can leave the heap: a value is forwarded only to loads of its type, so a reference stays
//! 32 bits wide, and each address has the sandbox's form for any 32 bits.
//!
//! Words that only the host writes have other regions than words that emitted code writes, even in
//! one structure. Otherwise an inline store to a bump index would make the following code reload
//! the heap's base.

use cranelift_codegen::ir;
use std::borrow::Cow;

/// The global number of an alias region (`AliasRegionData::user_id`).
pub type Region = u32;

/// The vmctx's prefix.
pub const VMCTX: Region = 0;
/// The store context, except the host's result, the fuel and the epoch's deadline.
pub const STORE_CONTEXT: Region = 1;
/// The store context's word for host calls' results.
pub const HOST_RESULT: Region = 2;
/// The words of the heap data that only the host writes (bounds, limits).
pub const HEAP_DATA: Region = 3;
/// The words of the heap data that emitted code writes (cursors, countdowns).
pub const HEAP_CURSOR: Region = 4;
/// Both words of objects' headers.
pub const HEADER: Region = 5;
/// Fields of structs and exceptions that are not references.
pub const STRUCT_FIELD: Region = 6;
/// Arrays' lengths.
pub const ARRAY_LENGTH: Region = 7;
/// Array elements that are not references.
pub const ARRAY_ELEMENT: Region = 8;
/// Native memory of the collector beside the heap: notes, and lists of objects.
pub const SIDE_TABLE: Region = 9;
/// Function references, their table and the type display table.
pub const TYPES: Region = 10;

/// A collector's card table.
pub const CARDS: Region = 11;

/// Fields of structs and exceptions that are references. They are always accessed in 32 bits.
pub const STRUCT_REF_FIELD: Region = 12;
/// Array elements that are references. They are accessed in 32 bits, or four of them as a vector.
pub const ARRAY_REF_ELEMENT: Region = 13;

/// The [poll page](gc_types::VMOffsets::POLL_PAGE_SIZE).
pub const POLL_PAGE: Region = 14;

/// The store context's word for [fuel](gc_types::VMOffsets::store_fuel).
pub const FUEL: Region = 15;
/// The counter of epochs, and the store context's word for the
/// [deadline](gc_types::VMOffsets::store_epoch_deadline).
pub const EPOCHS: Region = 16;

/// The [slot of a frame](crate::VMCTX_SLOT_KEY) that holds the vmctx.
pub const VMCTX_SLOT: Region = 17;

/// Whether this region is memory of the heap.
pub const fn is_heap(region: Region) -> bool {
    matches!(
        region,
        HEADER | STRUCT_FIELD | ARRAY_LENGTH | ARRAY_ELEMENT | STRUCT_REF_FIELD | ARRAY_REF_ELEMENT
    )
}

/// The first of 16 numbers that the embedder may use for words at constant places in its part of the
/// vmctx, and in structures that such words point to. They must be there as long as the code runs, so
/// that they may be read before the code finds out that it needs them.
pub const STRUCTURES: Region = 48;

/// The first number that the embedder may use for other memory (globals, elements of tables, linear
/// memories).
pub const EMBEDDER: Region = 64;

/// Whether the memory of this region is there as long as the code runs, at constant places in the vmctx
/// and in what it points to.
pub const fn is_structure(region: Region) -> bool {
    matches!(region, VMCTX | STORE_CONTEXT | HEAP_DATA) || region >= STRUCTURES && region < EMBEDDER
}

/// The first number for stack slots to which references are spilled. The user adds a number that
/// distinguishes the slots.
pub const STACK_MAP_SPILL: Region = 1 << 31;

/// `region` in `func`. Declares it if it is new.
///
/// # Examples
/// The regions of an embedder that has globals and tables:
///
/// ```
/// use cranelift_codegen::ir::{Function, MemFlagsData};
/// use gc_compiler::regions::{EMBEDDER, Region, STRUCTURES, intern};
///
/// const GLOBALS: Region = EMBEDDER;
/// /// The addresses and the lengths of tables.
/// const TABLES: Region = STRUCTURES;
///
/// let mut func = Function::new();
/// let globals = intern(&mut func, GLOBALS);
/// let flags = MemFlagsData::trusted().with_alias_region(Some(globals));
/// assert_eq!(intern(&mut func, GLOBALS), globals);
/// assert_ne!(intern(&mut func, TABLES), globals);
/// ```
pub fn intern(func: &mut ir::Function, region: Region) -> ir::AliasRegion {
    func.dfg
        .alias_regions
        .insert(ir::AliasRegionData { user_id: region, description: describe(region) })
}

fn describe(region: Region) -> Cow<'static, str> {
    Cow::Borrowed(match region {
        VMCTX => "vmctx",
        STORE_CONTEXT => "store context",
        HOST_RESULT => "host result",
        HEAP_DATA => "heap data",
        HEAP_CURSOR => "heap cursor",
        HEADER => "object header",
        STRUCT_FIELD => "struct field",
        ARRAY_LENGTH => "array length",
        ARRAY_ELEMENT => "array element",
        SIDE_TABLE => "side table",
        TYPES => "types",
        CARDS => "cards",
        STRUCT_REF_FIELD => "struct reference",
        ARRAY_REF_ELEMENT => "array reference",
        POLL_PAGE => "poll page",
        FUEL => "fuel",
        EPOCHS => "epochs",
        VMCTX_SLOT => "vmctx slot",
        STACK_MAP_SPILL.. => return Cow::Owned(format!("spill {}", region - STACK_MAP_SPILL)),
        _ => return Cow::Owned(format!("embedder {region}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_declared_once_and_keeps_the_embedders_description() {
        let mut func = ir::Function::new();
        let mine = func.dfg.alias_regions.insert(ir::AliasRegionData {
            user_id: EMBEDDER + 1,
            description: Cow::Borrowed("tables"),
        });
        assert_eq!(intern(&mut func, EMBEDDER + 1), mine);
        let header = intern(&mut func, HEADER);
        assert_eq!(intern(&mut func, HEADER), header);
        assert_eq!(func.dfg.alias_regions.len(), 2);
    }
}
