//! The host functions that compiled code may call.
//!
//! A [`HostCall`] is a small number: the index in the store context's table of function pointers,
//! and the name of the trampoline that emitted code calls. The first numbers belong to the heap and
//! are defined here. An embedder's host calls begin at [`HostCall::FIRST_EMBEDDER`].
//!
//! The machine-level contract: the host function is `extern "C"`. It takes the caller's vmctx and
//! then the parameters of its [`HostSignature`], each as a 64-bit integer (floats by their bits,
//! 32-bit values zero-extended), and returns 64 bits. If a fallible function fails, it records the
//! error and returns [`HostCall::FAILED`]. The trampoline then unwinds to the entry, and the call
//! never returns to its caller. The results of fallible functions are 32-bit values, so they cannot
//! be equal to the sentinel.

use std::fmt;

/// The type of a host call's parameter or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostCallType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A reference into the heap, zero-extended to 64 bits. Zero is null.
    Ref,
    /// A native pointer.
    Pointer,
}

/// The parameters and the result of a host call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostSignature {
    /// A name for disassembly, CLIF and errors.
    pub name: &'static str,
    /// The parameters after the vmctx.
    pub params: &'static [HostCallType],
    /// The result, if any.
    pub result: Option<HostCallType>,
    /// Whether it may fail and end the activation. If so, the result, if any, is `I32` or `Ref`.
    pub fallible: bool,
}

/// `name(param, …) -> result`, with `!` after the name if the call may fail.
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
    /// Allocates a struct or exception: `(header word) -> ref`. The body is zero. The call may
    /// collect. The layout is the one registered for the header word's type.
    pub const ALLOC_STRUCT: HostCall = HostCall(0);
    /// Allocates an array: `(header word, length in elements) -> ref`. The elements are zero. The
    /// call may collect.
    pub const ALLOC_ARRAY: HostCall = HostCall(1);
    /// A collector's own slow path: `(operation, reference, operand) -> i64`. The collector's
    /// constants define the operations. The call never collects.
    pub const COLLECTOR: HostCall = HostCall(2);
    /// `(actual type index, expected type index) -> i32`: whether the first type is the second or a
    /// subtype of it. It is for types that are deeper than a display row.
    pub const IS_SUBTYPE: HostCall = HostCall(3);
    /// `(dst array, dst index, src array, src index, length in elements)`: copies elements, with
    /// barriers. The ranges may overlap.
    pub const ARRAY_COPY: HostCall = HostCall(4);
    /// `(array, index, value bits, length in elements)`: stores one value in each element, with
    /// barriers.
    pub const ARRAY_FILL: HostCall = HostCall(5);

    /// Not a host call. This entry of the table holds the driver's stub, which resumes at an
    /// activation's handler. Only trampolines read it.
    pub const UNWIND: HostCall = HostCall(15);

    /// The number of an embedder's first host call.
    pub const FIRST_EMBEDDER: u32 = 16;

    /// The value that a fallible host function returns when it fails.
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

    /// The embedder's host call with number `n`, counted from zero.
    pub const fn embedder(n: u32) -> HostCall {
        HostCall(HostCall::FIRST_EMBEDDER + n)
    }

    /// The host call with this index in the table.
    pub const fn from_index(index: u32) -> HostCall {
        HostCall(index)
    }

    /// The index in the store context's table of function pointers.
    pub const fn index(self) -> u32 {
        self.0
    }

    /// Whether the call may cause a collection. The heap's allocations may. An embedder's host
    /// calls are assumed to, although the embedder may know better.
    pub const fn may_collect(self) -> bool {
        self.0 <= HostCall::ALLOC_ARRAY.0 || self.0 >= HostCall::FIRST_EMBEDDER
    }

    /// The signature of a host call of the heap. `None` for an embedder's.
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
