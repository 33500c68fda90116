//! [`CompiledFunction`]: the output of the [`Compiler`](crate::Compiler).

use super::frame::FrameStep;
use super::reloc::{Reloc, RelocTarget};
use crate::inline::CodeLocation;
use cranelift_codegen::ir;
use gc_types::{CallSignature, HandlerSite, HostCall, InlinedCall, Trap, TypeWord};
use std::collections::BTreeSet;

/// What an instruction of a [`CompiledFunction`] refers to, outside of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// A function of the same image, by its number.
    Function(u32),
    /// The trampoline of a host call.
    HostCall(HostCall),
    /// The word of a type.
    TypeWord(TypeWord),
}

/// A compiled function: position-independent code, not yet linked, and its tables.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use cranelift_codegen::ir::types;
/// # use gc_types::{StorageType, StructLayout, Trap};
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use gc_compiler::CompiledFunction;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let layout = StructLayout::new([StorageType::I64])?;
/// # let function: CompiledFunction = emit(&CopyingCompiler, &[types::I64, types::F64], |e, params| {
/// #     let value = e.struct_get(params[0], &layout, 0, None);
/// #     e.struct_set(params[0], &layout, 0, value);
/// # })?;
/// // A function that accesses a field of an object that may be null:
/// for (offset, trap) in function.traps() {
///     println!("the instruction at {offset:#x} may trap: {}", trap.reason());
/// }
/// assert!(function.traps().iter().any(|(_, trap)| *trap == Trap::NullReference));
/// assert_eq!(function.stack_maps().count(), 0, "it cannot collect");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CompiledFunction {
    pub(crate) signature: ir::Signature,
    pub(crate) code: Vec<u8>,
    pub(crate) alignment: u32,
    pub(crate) relocs: Vec<Reloc>,
    /// The signatures of its calls that may call a host function.
    pub(crate) calls_by_reference: BTreeSet<CallSignature>,
    /// `(code offset, trap)`, ascending, with distinct offsets.
    pub(crate) traps: Vec<(u32, Trap)>,
    /// `(return address, frame size, slots)`.
    pub(crate) stack_maps: Vec<(u32, u32, Vec<u32>)>,
    /// The return addresses of all calls that may collect, ascending. Those without references have no stack map.
    pub(crate) calls: Vec<u32>,
    /// The offsets are relative to the function's start.
    pub(crate) handlers: Vec<HandlerSite>,
    /// `(first, end, source location)` in code offsets, ascending. A location is as in the CLIF. Empty
    /// when `locations` is made from it.
    pub(crate) srclocs: Vec<(u32, u32, u32)>,
    pub(crate) locations: Vec<CodeLocation>,
    pub(crate) inlined_calls: Vec<InlinedCall>,
    /// The distance in bytes from the vmctx slot up to the frame pointer.
    pub(crate) vmctx_slot: Option<u32>,
    /// As in [`gc_types::ImageFunction::saved`].
    pub(crate) saved: Vec<u32>,
    /// As in [`ObjectFrame::steps`](super::ObjectFrame::steps).
    pub(crate) frame: Vec<(u32, FrameStep)>,
}

impl CompiledFunction {
    /// The code's size in bytes.
    pub fn size(&self) -> u32 {
        self.code.len() as u32
    }

    /// The code before linking.
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// The fields in the code that the linker fills in: the offset in bytes of each, which is inside
    /// an instruction, and what it refers to. In no order.
    pub fn symbols(&self) -> impl Iterator<Item = (u32, Symbol)> {
        self.relocs.iter().filter_map(|reloc| {
            let symbol = match reloc.target {
                RelocTarget::Function(index) => Symbol::Function(index),
                RelocTarget::HostCall(index) => Symbol::HostCall(HostCall::from_index(index)),
                RelocTarget::TypeWord(code) => Symbol::TypeWord(TypeWord::from_code(code)?),
                // Only trampolines have symbols.
                RelocTarget::Symbol(_) | RelocTarget::Itself(_) => return None,
            };
            Some((reloc.offset, symbol))
        })
    }

    /// Where the code comes from, ascending. Code without a source location is left out.
    pub fn locations(&self) -> &[CodeLocation] {
        &self.locations
    }

    /// The calls that were inlined into it. The caller of one is an earlier one.
    pub fn inlined_calls(&self) -> &[InlinedCall] {
        &self.inlined_calls
    }

    /// The code offset in bytes of each trapping instruction, and its trap, ascending.
    pub fn traps(&self) -> &[(u32, Trap)] {
        &self.traps
    }

    /// The calls with handlers, ascending. The offsets are relative to the function's start.
    pub fn handlers(&self) -> &[HandlerSite] {
        &self.handlers
    }

    /// The safepoints with live references: `(return-address offset, frame size, slot offsets)`,
    /// all in bytes, as in [`gc_types::StackMapTable`].
    pub fn stack_maps(&self) -> impl Iterator<Item = (u32, u32, &[u32])> {
        self.stack_maps.iter().map(|(ret, size, slots)| (*ret, *size, slots.as_slice()))
    }
}
