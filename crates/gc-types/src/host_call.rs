//! The host functions that compiled code may call.
//!
//! A [`HostCall`] is a small number: the index in the store context's table of function pointers,
//! and the name of the trampoline that emitted code calls. The first numbers belong to the heap and
//! are defined here. An embedder's host calls begin at [`HostCall::FIRST_EMBEDDER`].
//!
//! The machine-level contract: the host function is `extern "C"`. It takes the caller's vmctx and
//! then the parameters of its [`HostSignature`], each as a 64-bit integer (floats by their bits,
//! 32-bit values zero-extended), and returns 64 bits. If a fallible function fails, it records the
//! error and returns [`HostCall::FAILED`]. The trampoline then unwinds to a handler or to the entry,
//! and the call never returns to its caller. The results of fallible functions are 32-bit values, so they cannot
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
///
/// # Examples
/// ```
/// use gc_types::HostCall;
///
/// let signature = HostCall::ALLOC_ARRAY.gc_signature().unwrap();
/// assert!(signature.fallible && signature.may_collect);
/// assert_eq!(signature.to_string(), "gc_alloc_array!*(I32, I32) -> Ref");
/// ```
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
    /// Whether the call may collect.
    pub may_collect: bool,
}

impl HostSignature {
    /// The signature itself.
    ///
    /// # Panics
    /// If the call may fail and returns 64 bits: then [`HostCall::FAILED`] would be a result.
    pub const fn checked(self) -> HostSignature {
        let wide = matches!(self.result, Some(HostCallType::I64 | HostCallType::Pointer));
        assert!(!(self.fallible && wide), "a host call that may fail returns 32 bits at most");
        self
    }
}

/// `name(param, …) -> result`, with `!` after the name if the call may fail, and `*` if it may
/// collect.
impl fmt::Display for HostSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fallible = if self.fallible { "!" } else { "" };
        write!(f, "{}{fallible}{}(", self.name, if self.may_collect { "*" } else { "" })?;
        for (i, param) in self.params.iter().enumerate() {
            write!(f, "{}{param:?}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(")")?;
        self.result.iter().try_for_each(|result| write!(f, " -> {result:?}"))
    }
}

/// A host function that compiled code may call.
///
/// # Examples
/// ```
/// use gc_types::HostCall;
///
/// // The embedder's calls come after those of the heap.
/// assert_eq!(HostCall::embedder(2).index(), HostCall::FIRST_EMBEDDER + 2);
/// assert!(HostCall::embedder(2).gc_signature().is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostCall(u32);

gc_host_calls! { [declare_host_calls] @numbers GcCall; }

impl HostCall {
    gc_host_calls! { [declare_host_calls] @constants GcCall, pub, 0; }

    /// Not a host call. This entry of the table holds the driver's function for the failure of a host
    /// function. It takes the store context and the trampoline's [frame](ReturnSignature::frame), and changes where
    /// the trampoline returns to. Only trampolines read it.
    pub const UNWIND: HostCall = HostCall(15);

    /// The bytes of small work. A host call that reads or writes at most this many is never divided into
    /// parts, and code that does such work itself does not ask the host before.
    pub const SMALL_WORK: u32 = 1024;

    /// The heap's calls that do their work in parts. In [metered](crate::Abi::is_metered) code, the host is
    /// asked between two parts, and may then collect or throw.
    pub const IN_PARTS: [HostCall; 3] =
        [HostCall::ARRAY_COPY, HostCall::ARRAY_FILL, HostCall::ARRAY_FILL_WIDE];

    /// The number of an embedder's first host call.
    pub const FIRST_EMBEDDER: u32 = 16;

    /// The value that a fallible host function returns when it fails.
    pub const FAILED: u64 = u64::MAX;

    /// The heap's host calls with their signatures.
    pub const GC: &'static [(HostCall, HostSignature)] = GcCall;

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

    /// The signature of a host call of the heap. `None` for an embedder's.
    pub fn gc_signature(self) -> Option<&'static HostSignature> {
        HostCall::GC.iter().find(|(call, _)| *call == self).map(|(_, signature)| signature)
    }
}

gc_host_calls! {
    [declare_host_calls] @table [
        /// The heap's host calls with their signatures.
        #[allow(non_upper_case_globals)]
        const GcCall from 0, named "gc_"
    ];
}

/// How a function signs its return address while that is on the stack (pointer authentication: Arm Architecture Reference
/// Manual, "Pointer authentication"). Before it returns it checks the signature.
///
/// # Examples
/// ```
/// use gc_types::ReturnSignature;
///
/// let frame = ReturnSignature::Zero.frame(0x7fff_0010);
/// assert_eq!(ReturnSignature::of_frame(frame), (0x7fff_0010, ReturnSignature::Zero));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnSignature {
    /// It does not.
    None,
    /// The modifier of the signature is zero.
    Zero,
    /// The modifier is the caller's stack pointer.
    StackPointer,
}

impl ReturnSignature {
    const ALL: [ReturnSignature; 3] =
        [ReturnSignature::None, ReturnSignature::Zero, ReturnSignature::StackPointer];

    /// What a trampoline passes to [`HostCall::UNWIND`], if it has this frame pointer, which is a multiple of 16: their sum.
    pub const fn frame(self, fp: usize) -> usize {
        fp + self as usize
    }

    /// The frame pointer and the kind of signature in what a trampoline has passed.
    ///
    /// # Panics
    /// If there is no such kind.
    pub fn of_frame(frame: usize) -> (usize, ReturnSignature) {
        (frame & !15, ReturnSignature::ALL[frame & 15])
    }
}

const _: () = assert!(HostCall::GC.len() <= HostCall::UNWIND.index() as usize);
const _: () = assert!(HostCall::UNWIND.index() < HostCall::FIRST_EMBEDDER);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaps_calls_are_numbered_in_order() {
        for (i, (call, signature)) in HostCall::GC.iter().enumerate() {
            assert_eq!(call.index() as usize, i);
            assert_eq!(call.gc_signature(), Some(signature));
        }
        let collecting = [HostCall::ALLOC_STRUCT, HostCall::ALLOC_ARRAY];
        for (call, signature) in HostCall::GC {
            assert_eq!(signature.may_collect, collecting.contains(call));
        }
    }
}
