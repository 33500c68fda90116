//! Finds the unsupported proposals that a module needs.
//!
//! A module that does not compile is validated again with all proposals, and with all but one for
//! each proposal. It needs the proposals without which it is invalid.

use wasmparser::{Validator, WasmFeatures};

/// Unsupported proposals, by the names of their repositories.
const UNSUPPORTED: [(&str, WasmFeatures); 5] = [
    ("threads", WasmFeatures::THREADS),
    ("custom-page-sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("custom-descriptors", WasmFeatures::CUSTOM_DESCRIPTORS),
    ("stack-switching", WasmFeatures::STACK_SWITCHING),
    ("wide-arithmetic", WasmFeatures::WIDE_ARITHMETIC),
];

/// The names of the unsupported proposals that `module` needs. Empty if there are none, or if the
/// module is invalid even with all proposals.
///
/// # Examples
/// ```
/// use gc_script::proposals::needed_by;
///
/// let shared = wat::parse_str("(module (memory 1 1 shared))")?;
/// assert_eq!(needed_by(&shared), ["threads"]);
/// # Ok::<(), wat::Error>(())
/// ```
pub fn needed_by(module: &[u8]) -> Vec<&'static str> {
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
            ("(module (tag))", &[]),
            ("(module (func return_call 0))", &[]),
            ("(module (func (param v128)))", &[]),
            ("(module (memory i64 1))", &[]),
            ("(module (table i64 1 funcref))", &[]),
            ("(module (memory 1) (memory 1))", &[]),
            ("(module (memory 1 (pagesize 1)))", &["custom-page-sizes"]),
            (
                "(module (memory 1 1 shared) (memory 1 (pagesize 1)))",
                &["threads", "custom-page-sizes"],
            ),
            ("(module (func (result i32)))", &[]),
        ] {
            assert_eq!(needed_by(&wat::parse_str(text).unwrap()), needs, "{text}");
        }
        assert!(needed_by(b"\0asm").is_empty());
    }
}
