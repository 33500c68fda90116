//! The host calls of compiled WebAssembly beyond the heap's own: numbers and
//! signatures, which the compiler and the instances share.

use gc_types::{HostCall, HostCallType, HostSignature};

macro_rules! host_calls {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal ($($param:ident),*) $(-> $result:ident)? $fallible:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: HostCall = HostCall::embedder($n);)*

        /// The calls in order of their numbers.
        pub(crate) const WASM: &[(HostCall, HostSignature)] = &[
            $(($name, HostSignature {
                name: $text,
                params: &[$(HostCallType::$param),*],
                result: host_calls!(@result $($result)?),
                fallible: $fallible,
            }),)*
        ];
    };
    (@result) => { None };
    (@result $result:ident) => { Some(HostCallType::$result) };
}

host_calls! {
    /// `(memory, delta in pages)`: the former size in pages, or -1.
    MEMORY_GROW = 0, "memory_grow" (I32, I32) -> I32 false;
    /// `(dst memory, dst, src memory, src, length)`, in bytes.
    MEMORY_COPY = 1, "memory_copy" (I32, I32, I32, I32, I32) true;
    /// `(memory, dst, byte, length)`.
    MEMORY_FILL = 2, "memory_fill" (I32, I32, I32, I32) true;
    /// `(memory, data segment, dst, src, length)`.
    MEMORY_INIT = 3, "memory_init" (I32, I32, I32, I32, I32) true;
    /// `(data segment)`.
    DATA_DROP = 4, "data_drop" (I32) false;
    /// `(table, initial reference, delta)`: the former size in elements, or -1.
    TABLE_GROW_REF = 5, "table_grow_ref" (I32, Ref, I32) -> I32 false;
    /// As [`TABLE_GROW_REF`], for function references.
    TABLE_GROW_FUNC = 6, "table_grow_func" (I32, Pointer, I32) -> I32 false;
    /// `(table, start, reference, length)`.
    TABLE_FILL_REF = 7, "table_fill_ref" (I32, I32, Ref, I32) true;
    /// As [`TABLE_FILL_REF`], for function references.
    TABLE_FILL_FUNC = 8, "table_fill_func" (I32, I32, Pointer, I32) true;
    /// `(dst table, src table, dst, src, length)`.
    TABLE_COPY = 9, "table_copy" (I32, I32, I32, I32, I32) true;
    /// `(table, element segment, dst, src, length)`.
    TABLE_INIT = 10, "table_init" (I32, I32, I32, I32, I32) true;
    /// `(element segment)`.
    ELEM_DROP = 11, "elem_drop" (I32) false;
    /// `(header word, data segment, src in bytes, length in elements)`: a new array.
    ARRAY_NEW_DATA = 12, "array_new_data" (I32, I32, I32, I32) -> Ref true;
    /// `(header word, element segment, src, length)`: a new array.
    ARRAY_NEW_ELEM = 13, "array_new_elem" (I32, I32, I32, I32) -> Ref true;
    /// `(array, index, data segment, src in bytes, length in elements)`.
    ARRAY_INIT_DATA = 14, "array_init_data" (Ref, I32, I32, I32, I32) true;
    /// `(array, index, element segment, src, length)`.
    ARRAY_INIT_ELEM = 15, "array_init_elem" (Ref, I32, I32, I32, I32) true;
}

/// Whether a host call may lead to a collection: those that allocate.
pub(crate) fn may_collect(call: HostCall) -> bool {
    match call.gc_signature() {
        Some(_) => call.may_collect(),
        None => [ARRAY_NEW_DATA, ARRAY_NEW_ELEM].contains(&call),
    }
}

/// The signature of any host call compiled WebAssembly makes.
pub(crate) fn signature(call: HostCall) -> &'static HostSignature {
    match call.gc_signature() {
        Some(signature) => signature,
        None => &WASM[(call.index() - HostCall::FIRST_EMBEDDER) as usize].1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense() {
        for (i, (call, expected)) in WASM.iter().enumerate() {
            assert_eq!(*call, HostCall::embedder(i as u32));
            assert_eq!(signature(*call), expected);
        }
    }
}
