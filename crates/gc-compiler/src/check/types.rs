//! [`FunctionTypes`]: a function's types, for the checkers.
//!
//! In CLIF a reference and an integer are both an `I64`. Only the embedder's type checker can tell
//! them apart. So the embedder tells the checkers which parameters and results of each signature
//! are references, and what the memory of each alias region holds. The checkers never see which
//! values the emitter marked for the safepoint pass, because they check that set.

use crate::regions::{self, Region};
use cranelift_codegen::ir;
use gc_types::{HostCallType, HostSignature, RootKind};
use std::collections::HashMap;

pub use stack_roots::check::{SignatureTypes, ValueType};

/// The types of a host call's trampoline. Its result is in the store context, so it has no results.
pub fn host_call_types(signature: &HostSignature) -> SignatureTypes {
    SignatureTypes::with_vmctx(signature.params.iter().copied().map(value_type), [])
}

/// The type of a parameter or result of a host call.
pub(super) fn value_type(ty: HostCallType) -> ValueType {
    match ty {
        HostCallType::Ref => ValueType::Ref,
        HostCallType::Pointer => ValueType::Pointer,
        HostCallType::I32 | HostCallType::I64 => ValueType::Data,
    }
}

/// The contents of an alias region's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Integers, floats and vectors, but no references and no trusted pointers.
    Data,
    /// Native words, which may be pointers and which the host keeps valid. The checkers assume that
    /// a loaded `I64` is an address.
    Native,
    /// References in 32 bits, outside the heap: a table's elements, a global. They need the
    /// write barrier for slots of this kind.
    Refs(RootKind),
    /// References of 32 or 64 bits that belong to an activation, for example in a shadow stack.
    /// They are roots in every collection and need no barrier.
    Stack,
}

/// The types of one function, for the checkers. An embedder makes one for each function that it
/// checks, from the types of its own language. Those of host calls are in the [`Abi`](gc_types::Abi).
///
/// ```
/// use gc_compiler::check::{FunctionTypes, Memory, SignatureTypes, ValueType};
/// use gc_compiler::regions;
/// use gc_types::RootKind;
///
/// // fn(vmctx, reference, i64) -> reference, in a language with one table of references.
/// let own = SignatureTypes::with_vmctx([ValueType::Ref, ValueType::Data], [ValueType::Ref]);
/// let mut types = FunctionTypes::new(own);
/// types.declare_region(regions::EMBEDDER, Memory::Refs(RootKind::Table));
/// ```
#[derive(Clone, Debug)]
pub struct FunctionTypes {
    own: SignatureTypes,
    signatures: HashMap<ir::SigRef, SignatureTypes>,
    regions: HashMap<Region, Memory>,
}

impl FunctionTypes {
    /// The types of a function with this signature. Its first parameter is the vmctx.
    pub fn new(own: SignatureTypes) -> FunctionTypes {
        FunctionTypes { own, signatures: HashMap::new(), regions: HashMap::new() }
    }

    /// Declares the types of an imported signature. A call with a signature that was not declared
    /// is refused.
    pub fn declare_signature(&mut self, signature: ir::SigRef, types: SignatureTypes) {
        self.signatures.insert(signature, types);
    }

    /// Declares the contents of a region of the embedder. A region that was not declared holds
    /// [`Memory::Data`].
    pub fn declare_region(&mut self, region: Region, memory: Memory) {
        self.regions.insert(region, memory);
    }

    /// Declares what `callee` declares, which was inlined into the function. The callee's signatures have
    /// their own numbers plus this one.
    pub(crate) fn add_inlined(&mut self, callee: &FunctionTypes, signatures: u32) {
        for (signature, types) in &callee.signatures {
            let signature = ir::SigRef::from_u32(signature.as_u32() + signatures);
            self.signatures.insert(signature, types.clone());
        }
        self.regions.extend(&callee.regions);
    }

    /// The types of the function's own signature.
    pub(super) fn own(&self) -> &SignatureTypes {
        &self.own
    }

    pub(super) fn signature(&self, signature: ir::SigRef) -> Option<&SignatureTypes> {
        self.signatures.get(&signature)
    }

    /// The contents of `region`, which is outside the heap.
    pub(super) fn memory(&self, region: Region) -> Memory {
        match region {
            regions::VMCTX
            | regions::VMCTX_SLOT
            | regions::STORE_CONTEXT
            | regions::HEAP_DATA
            | regions::TYPES => Memory::Native,
            _ => self.regions.get(&region).copied().unwrap_or(Memory::Data),
        }
    }
}
