//! [`GcCompiler`]: what a collector emits. (skeleton: signatures are the contract)

use crate::GcEmitter;
use cranelift_codegen::ir;
use gc_types::{ArrayLayout, StorageType, StructLayout};

/// A slot that holds a reference, outside an object or inside one.
#[derive(Clone, Copy, Debug)]
pub enum RefPlace {
    /// `object` (an I64 reference known not null or that may trap) + constant byte offset.
    Field { object: ir::Value, offset: u32 },
    /// Element: `object` reference, `index` (I32, already bounds-checked), layout elements_offset.
    Element { object: ir::Value, index: ir::Value, offset: u32 },
    /// Native memory (a table element, a global): address (I64) + offset; region is an alias region user id.
    Native { address: ir::Value, offset: i32, region: u32 },
}

/// How an array's elements begin.
pub enum ArrayInit<'a> {
    /// All zero / null.
    Default(ir::Value /* length I32 */),
    /// All the same value.
    Fill(ir::Value, ir::Value /* length I32 */),
    /// These.
    Elements(&'a [ir::Value]),
}

/// Emits one collector's code. Object safe; one value is used for many functions at once.
///
/// Values: references are I64, zero-extended; function references in *storage* are I32 ids
/// (the embedder converts); I8/I16 storage uses I32 values; everything else its own type.
/// Every reference a method returns has been declared to need a stack map; every reference
/// given to a method was.
pub trait GcCompiler: Send + Sync {
    /// Same as GcRuntime::name.
    fn name(&self) -> &'static str;

    // ---- what each collector writes itself ----
    /// Allocates an object with `header word` (I32) and constant `size`; the body need not be initialised,
    /// is initialised by the caller before anything can collect.
    fn alloc_struct(&self, e: &mut GcEmitter<'_, '_>, header_word: ir::Value, size: u32) -> ir::Value;
    /// Allocates an array of `length` (I32) elements whose elements are zero and whose length is set.
    fn alloc_array(&self, e: &mut GcEmitter<'_, '_>, header_word: ir::Value, layout: &ArrayLayout, length: ir::Value) -> ir::Value;
    /// Reads a reference, with the read barrier.
    fn read_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace) -> ir::Value;
    /// Overwrites a reference, with the write barrier.
    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value);
    /// First store of a reference into a place whose old bytes are no reference.
    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value);

    // ---- provided, from the above ----
    // struct_new(header_word, &StructLayout, &[Value]) ; struct_new_default
    // struct_get(object, &StructLayout, field, Option<Extend>) ; struct_set
    // array_new(header_word, &ArrayLayout, ArrayInit) ; array_len ; array_get(.., Option<Extend>) ; array_set
    // array_fill(array, layout, index, value, length) ; array_copy(dst, di, src, si, length)
}
