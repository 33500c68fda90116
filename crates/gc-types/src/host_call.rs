//! The host functions compiled code may call.
//!
//! A [`HostCall`] is a small number: an index into the table of function pointers
//! that the store context holds, and the name of the trampoline that emitted code
//! calls. The first ones belong to the heap and stand here; an embedder numbers
//! its own from [`HostCall::FIRST_EMBEDDER`] on.
//!
//! The machine-level contract: the host function is `extern "C"`, takes the
//! caller's vmctx and then the parameters of its [`HostSignature`], each as a
//! 64-bit integer (floats by their bits, 32-bit values zero-extended), and returns
//! 64 bits. If it is fallible and fails, it has recorded why and returns
//! [`HostCall::FAILED`]; the trampoline then unwinds to the entry, and the call
//! never returns to the code that made it. Fallible results are 32-bit values, so
//! that the sentinel is not one of them.

use std::fmt;

/// The type of a host call's parameter or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostCallType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A reference into the heap, zero-extended to 64 bits; zero is null.
    Ref,
    /// A native pointer.
    Pointer,
}

/// What a host call takes and returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostSignature {
    /// A name for disassembly, CLIF and errors.
    pub name: &'static str,
    /// The parameters behind the vmctx.
    pub params: &'static [HostCallType],
    /// The result, if any.
    pub result: Option<HostCallType>,
    /// Whether it may fail, and so may end the activation. If so the result, if
    /// any, is `I32` or `Ref`.
    pub fallible: bool,
}

/// `name(param, …) -> result`, with `!` behind the name if it may fail.
impl fmt::Display for HostSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}(", self.name, if self.fallible { "!" } else { "" })?;
        for (i, param) in self.params.iter().enumerate() {
            write!(f, "{}{param:?}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(")")?;
        self.result.iter().try_for_each(|result| write!(f, " -> {result:?}"))
    }
}

/// A host function that compiled code may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostCall(u32);

impl HostCall {
    /// Allocates a struct or exception: `(header word) -> ref`, body zero. May
    /// collect. The layout is the one registered for the word's type.
    pub const ALLOC_STRUCT: HostCall = HostCall(0);
    /// Allocates an array: `(header word, length in elements) -> ref`, elements
    /// zero. May collect.
    pub const ALLOC_ARRAY: HostCall = HostCall(1);
    /// A collector's own slow path: `(operation, reference, operand) -> i64`.
    /// Never collects; the operations stand in the collector's constants.
    pub const COLLECTOR: HostCall = HostCall(2);
    /// `(actual type index, expected type index) -> i32`: whether the first is
    /// the second or a subtype of it. For types deeper than a display row.
    pub const IS_SUBTYPE: HostCall = HostCall(3);
    /// `(dst array, dst index, src array, src index, length in elements)`: copies
    /// elements, with barriers; overlapping allowed.
    pub const ARRAY_COPY: HostCall = HostCall(4);
    /// `(array, index, value bits, length in elements)`: stores one value into
    /// each element, with barriers.
    pub const ARRAY_FILL: HostCall = HostCall(5);

    /// Not a host call: the entry of the table that holds the driver's stub which
    /// resumes at an activation's handler. Only trampolines read it.
    pub const UNWIND: HostCall = HostCall(15);

    /// The number of an embedder's first own host call.
    pub const FIRST_EMBEDDER: u32 = 16;

    /// What a fallible host function returns when it failed.
    pub const FAILED: u64 = u64::MAX;

    /// The heap's host calls with their signatures.
    pub const GC: &'static [(HostCall, HostSignature)] = {
        use HostCallType::*;
        &[
            (
                HostCall::ALLOC_STRUCT,
                HostSignature {
                    name: "gc_alloc_struct",
                    params: &[I32],
                    result: Some(Ref),
                    fallible: true,
                },
            ),
            (
                HostCall::ALLOC_ARRAY,
                HostSignature {
                    name: "gc_alloc_array",
                    params: &[I32, I32],
                    result: Some(Ref),
                    fallible: true,
                },
            ),
            (
                HostCall::COLLECTOR,
                HostSignature {
                    name: "gc_collector",
                    params: &[I32, Ref, I64],
                    result: Some(I64),
                    fallible: false,
                },
            ),
            (
                HostCall::IS_SUBTYPE,
                HostSignature {
                    name: "gc_is_subtype",
                    params: &[I32, I32],
                    result: Some(I32),
                    fallible: false,
                },
            ),
            (
                HostCall::ARRAY_COPY,
                HostSignature {
                    name: "gc_array_copy",
                    params: &[Ref, I32, Ref, I32, I32],
                    result: None,
                    fallible: true,
                },
            ),
            (
                HostCall::ARRAY_FILL,
                HostSignature {
                    name: "gc_array_fill",
                    params: &[Ref, I32, I64, I32],
                    result: None,
                    fallible: true,
                },
            ),
        ]
    };

    /// An embedder's `n`th own host call.
    pub const fn embedder(n: u32) -> HostCall {
        HostCall(HostCall::FIRST_EMBEDDER + n)
    }

    /// The host call with this index in the table.
    pub const fn from_index(index: u32) -> HostCall {
        HostCall(index)
    }

    /// Its index in the store context's table of function pointers.
    pub const fn index(self) -> u32 {
        self.0
    }

    /// Whether the call may lead to a collection: the heap's allocations; an
    /// embedder's own are taken to, it may know better.
    pub const fn may_collect(self) -> bool {
        self.0 <= HostCall::ALLOC_ARRAY.0 || self.0 >= HostCall::FIRST_EMBEDDER
    }

    /// The signature of one of the heap's own calls; `None` for an embedder's.
    pub fn gc_signature(self) -> Option<&'static HostSignature> {
        HostCall::GC.iter().find(|(call, _)| *call == self).map(|(_, signature)| signature)
    }
}

const _: () = assert!(HostCall::GC.len() <= HostCall::UNWIND.index() as usize);
const _: () = assert!(HostCall::UNWIND.index() < HostCall::FIRST_EMBEDDER);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_fallible_results_leave_room_for_the_sentinel() {
        for (i, (call, signature)) in HostCall::GC.iter().enumerate() {
            assert_eq!(call.index() as usize, i);
            if signature.fallible {
                assert!(!matches!(
                    signature.result,
                    Some(HostCallType::I64 | HostCallType::Pointer)
                ));
            }
        }
    }
}
