//! Finds the unsupported proposals that a module needs.
//!
//! A module that does not compile is validated again with all proposals, and with all but one for
//! each proposal. It needs the proposals without which it is invalid.

use wasmparser::{Validator, WasmFeatures};

/// Unsupported proposals, by the names of their repositories.
const UNSUPPORTED: [(&str, WasmFeatures); 12] = [
    ("exception-handling", WasmFeatures::EXCEPTIONS),
    ("exception-handling (legacy)", WasmFeatures::LEGACY_EXCEPTIONS),
    ("tail-call", WasmFeatures::TAIL_CALL),
    ("simd", WasmFeatures::SIMD),
    ("relaxed-simd", WasmFeatures::RELAXED_SIMD),
    ("memory64", WasmFeatures::MEMORY64),
    ("multi-memory", WasmFeatures::MULTI_MEMORY),
    ("threads", WasmFeatures::THREADS),
    ("custom-page-sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("custom-descriptors", WasmFeatures::CUSTOM_DESCRIPTORS),
    ("stack-switching", WasmFeatures::STACK_SWITCHING),
    ("wide-arithmetic", WasmFeatures::WIDE_ARITHMETIC),
];

/// The names of the unsupported proposals that `module` needs. Empty if there are none, or if the
/// module is invalid even with all proposals.
pub(crate) fn needed_by(module: &[u8]) -> Vec<&'static str> {
    let valid = |features| Validator::new_with_features(features).validate_all(module).is_ok();
    if !valid(WasmFeatures::all()) {
        return Vec::new();
    }
    UNSUPPORTED
        .iter()
        .filter(|(_, feature)| !valid(WasmFeatures::all() - *feature))
        .map(|(name, _)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_found() {
        for (text, needs) in [
            ("(module (type (struct)) (func (result i32) i32.const 1))", &[][..]),
            ("(module (tag))", &["exception-handling"]),
            ("(module (func return_call 0))", &["tail-call"]),
            ("(module (func (param v128)))", &["simd"]),
            ("(module (memory i64 1))", &["memory64"]),
            ("(module (table i64 1 funcref))", &["memory64"]),
            ("(module (memory 1) (memory 1))", &["multi-memory"]),
            ("(module (tag) (func return_call 0))", &["exception-handling", "tail-call"]),
            ("(module (func (result i32)))", &[]),
        ] {
            assert_eq!(needed_by(&wat::parse_str(text).unwrap()), needs, "{text}");
        }
        assert!(needed_by(b"\0asm").is_empty());
    }
}
