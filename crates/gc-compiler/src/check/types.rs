//! What the types of a program say of a function: [`FunctionTypes`].
//!
//! In CLIF a reference and an integer are both an `I64`. Which is which is known to
//! the embedder's type checker alone, so the checkers are told: of each signature which
//! parameters and results are references, and of each alias region what its memory
//! holds. They never see which values the emitter marked for the safepoint pass; that
//! set is one of the things they check.

use crate::regions::{self, Region};
use cranelift_codegen::ir;
use gc_types::{HostCall, HostCallType, HostSignature, RootKind};
use std::collections::HashMap;

/// What a parameter or a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A reference into the heap, an `i31`, or null: an `I64` whose upper half is zero.
    Ref,
    /// A native pointer: a vmctx, a function reference, the address of a table.
    Pointer,
    /// Anything else: integers of any width, floats, vectors.
    Data,
}

/// The types of a signature's parameters and results, in the order of the CLIF
/// signature: compiled functions and host calls have the vmctx first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SignatureTypes {
    /// One for each parameter.
    pub params: Vec<ValueType>,
    /// One for each result.
    pub results: Vec<ValueType>,
}

impl SignatureTypes {
    /// A signature with a vmctx as its first parameter, then these.
    pub fn with_vmctx(
        params: impl IntoIterator<Item = ValueType>,
        results: impl IntoIterator<Item = ValueType>,
    ) -> SignatureTypes {
        SignatureTypes {
            params: [ValueType::Pointer].into_iter().chain(params).collect(),
            results: results.into_iter().collect(),
        }
    }

    /// The trampoline of a host call: its result is not among the results, but in the
    /// store context.
    pub fn of_host_call(signature: &HostSignature) -> SignatureTypes {
        SignatureTypes::with_vmctx(signature.params.iter().copied().map(value_type), [])
    }
}

/// What a parameter or result of a host call is.
fn value_type(ty: HostCallType) -> ValueType {
    match ty {
        HostCallType::Ref => ValueType::Ref,
        HostCallType::Pointer => ValueType::Pointer,
        HostCallType::I32 | HostCallType::I64 => ValueType::Data,
    }
}

/// What the memory of an alias region holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Integers, floats and vectors: no references, and no pointers that are trusted.
    Data,
    /// Native words that are kept valid, pointers among them. What is loaded as an `I64` is
    /// believed to be an address.
    Native,
    /// References in 32 bits, outside the heap: a table's elements, a global. They need the
    /// write barrier for slots of this kind.
    Refs(RootKind),
    /// References, in 32 or 64 bits, that belong to an activation, such as a shadow stack.
    /// They are named as roots at every collection and need no barrier.
    Stack,
}

/// A host call as its caller knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostCallee {
    pub(super) call: HostCall,
    pub(super) result: Option<ValueType>,
    pub(super) may_collect: bool,
}

/// What the types say of one function. An embedder makes one for each function it
/// checks, from the types of its own language.
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
    host_calls: HashMap<ir::FuncRef, HostCallee>,
    regions: HashMap<Region, Memory>,
}

impl FunctionTypes {
    /// The types of a function of this signature. Its first parameter is the vmctx.
    pub fn new(own: SignatureTypes) -> FunctionTypes {
        FunctionTypes {
            own,
            signatures: HashMap::new(),
            host_calls: HashMap::new(),
            regions: HashMap::new(),
        }
    }

    /// Says what an imported signature takes and returns. A call through one of which
    /// nothing was said is refused.
    pub fn declare_signature(&mut self, signature: ir::SigRef, types: SignatureTypes) {
        self.signatures.insert(signature, types);
    }

    /// Says that `callee` is the trampoline of a host call, and whether that may lead to a
    /// collection. Calls of anything else may.
    pub fn declare_host_call(
        &mut self,
        func: &ir::Function,
        callee: ir::FuncRef,
        call: HostCall,
        signature: &HostSignature,
        may_collect: bool,
    ) {
        let result = signature.result.map(value_type);
        self.host_calls.insert(callee, HostCallee { call, result, may_collect });
        let types = SignatureTypes::of_host_call(signature);
        self.declare_signature(func.dfg.ext_funcs[callee].signature, types);
    }

    /// Says what the memory of one of the embedder's regions holds. One of which nothing was
    /// said holds [`Memory::Data`].
    pub fn declare_region(&mut self, region: Region, memory: Memory) {
        self.regions.insert(region, memory);
    }

    /// The types of the function's own signature.
    pub(super) fn own(&self) -> &SignatureTypes {
        &self.own
    }

    pub(super) fn signature(&self, signature: ir::SigRef) -> Option<&SignatureTypes> {
        self.signatures.get(&signature)
    }

    pub(super) fn host_call(&self, callee: ir::FuncRef) -> Option<HostCallee> {
        self.host_calls.get(&callee).copied()
    }

    /// What `region` holds, which is not of the heap.
    pub(super) fn memory(&self, region: Region) -> Memory {
        match region {
            regions::VMCTX | regions::STORE_CONTEXT | regions::HEAP_DATA | regions::TYPES => {
                Memory::Native
            }
            _ => self.regions.get(&region).copied().unwrap_or(Memory::Data),
        }
    }
}
