//! The features of WebAssembly that modules may use.

use super::Config;
use wasmparser::WasmFeatures;

/// The features that are supported: WebAssembly 3.0 and legacy exceptions.
pub(crate) fn supported() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::GC
        | WasmFeatures::GC_TYPES
}

/// The features of WebAssembly.
#[derive(Clone, Debug)]
pub(crate) struct FeatureSettings {
    /// Those that modules may use.
    pub(crate) on: WasmFeatures,
    /// Those that were switched on one by one.
    asked: WasmFeatures,
    /// Whether branch hints are used.
    pub(crate) branch_hints: bool,
}

impl Default for FeatureSettings {
    fn default() -> FeatureSettings {
        FeatureSettings { on: supported(), asked: WasmFeatures::empty(), branch_hints: true }
    }
}

impl Config {
    /// Adds a feature with those that it needs, or removes it with those that need it and were not
    /// asked for. The feature itself is in `on` and in `off`.
    fn feature(&mut self, yes: bool, on: WasmFeatures, off: WasmFeatures) -> &mut Config {
        let feature = on & off;
        match yes {
            true => {
                self.features.on |= on;
                self.features.asked |= feature;
            }
            false => {
                self.features.asked.remove(feature);
                self.features.on.remove(off.difference(self.features.asked));
            }
        }
        self
    }

    /// Sets whether modules may use functions and blocks with several results (default: yes).
    pub fn wasm_multi_value(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::MULTI_VALUE, WasmFeatures::MULTI_VALUE);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use bulk operations of memories and tables (default: yes).
    pub fn wasm_bulk_memory(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::BULK_MEMORY, WasmFeatures::BULK_MEMORY);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use reference types (default: yes). If not, they may not use [typed
    /// function references](Config::wasm_function_references) and [GC](Config::wasm_gc) either,
    /// unless these were switched on before.
    pub fn wasm_reference_types(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (
            WasmFeatures::REFERENCE_TYPES,
            WasmFeatures::REFERENCE_TYPES | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::GC,
        );
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use vectors (default: yes). If not, they may not use
    /// [relaxed vector operations](Config::wasm_relaxed_simd) either, unless these were switched on
    /// before.
    pub fn wasm_simd(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::SIMD, WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use relaxed vector operations (default: yes). If so, they may also
    /// use what these need: [vectors](Config::wasm_simd).
    pub fn wasm_relaxed_simd(&mut self, yes: bool) -> &mut Config {
        let (on, off) =
            (WasmFeatures::RELAXED_SIMD | WasmFeatures::SIMD, WasmFeatures::RELAXED_SIMD);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use tail calls (default: yes).
    pub fn wasm_tail_call(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::TAIL_CALL, WasmFeatures::TAIL_CALL);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use extended constant expressions (default: yes).
    pub fn wasm_extended_const(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::EXTENDED_CONST, WasmFeatures::EXTENDED_CONST);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use several memories (default: yes).
    pub fn wasm_multi_memory(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::MULTI_MEMORY, WasmFeatures::MULTI_MEMORY);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use memories and tables of 64 bits (default: yes).
    pub fn wasm_memory64(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::MEMORY64, WasmFeatures::MEMORY64);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use exceptions (default: yes).
    pub fn wasm_exceptions(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::EXCEPTIONS, WasmFeatures::EXCEPTIONS);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use legacy exceptions: `try` and `catch`, the instructions of the
    /// proposal's first version (default: yes).
    pub fn wasm_legacy_exceptions(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (WasmFeatures::LEGACY_EXCEPTIONS, WasmFeatures::LEGACY_EXCEPTIONS);
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use typed function references (default: yes). If not, they may not
    /// use [GC](Config::wasm_gc) either, unless it was switched on before. If so, they may also use
    /// what these need: [reference types](Config::wasm_reference_types).
    pub fn wasm_function_references(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (
            WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::REFERENCE_TYPES,
            WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::GC,
        );
        self.feature(yes, on, off)
    }

    /// Sets whether modules may use structs, arrays and unboxed integers (default: yes). If so,
    /// they may also use what these need: [reference types](Config::wasm_reference_types) and
    /// [typed function references](Config::wasm_function_references).
    pub fn wasm_gc(&mut self, yes: bool) -> &mut Config {
        let (on, off) = (
            WasmFeatures::GC | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::REFERENCE_TYPES,
            WasmFeatures::GC,
        );
        self.feature(yes, on, off)
    }

    /// Sets whether the code generator follows a module's hints about branches (default: yes).
    pub fn wasm_branch_hinting(&mut self, yes: bool) -> &mut Config {
        self.features.branch_hints = yes;
        self
    }

    /// Sets whether relaxed vector operations have the same results on all machines (default: no).
    /// They always have.
    pub fn relaxed_simd_deterministic(&mut self, _yes: bool) -> &mut Config {
        self
    }

    /// Sets whether modules may use shared memories and atomic operations (default: no). This is
    /// not supported.
    pub fn wasm_threads(&mut self, yes: bool) -> &mut Config {
        self.refuse("wasm_threads", yes, "shared memories and atomic operations are not supported")
    }

    /// Sets whether modules may use shared types (default: no). This is not supported.
    pub fn wasm_shared_everything_threads(&mut self, yes: bool) -> &mut Config {
        self.refuse("wasm_shared_everything_threads", yes, "shared types are not supported")
    }

    /// Sets whether modules may use pages of other sizes than 64 KiB (default: no). This is not
    /// supported.
    pub fn wasm_custom_page_sizes(&mut self, yes: bool) -> &mut Config {
        self.refuse(
            "wasm_custom_page_sizes",
            yes,
            "pages of other sizes than 64 KiB is not supported",
        )
    }

    /// Sets whether modules may use wide arithmetic (default: no). This is not supported.
    pub fn wasm_wide_arithmetic(&mut self, yes: bool) -> &mut Config {
        self.refuse("wasm_wide_arithmetic", yes, "wide arithmetic is not supported")
    }

    /// Sets whether modules may use stack switching (default: no). This is not supported.
    pub fn wasm_stack_switching(&mut self, yes: bool) -> &mut Config {
        self.refuse("wasm_stack_switching", yes, "stack switching is not supported")
    }

    /// Sets whether modules may use the component model (default: no). This is not supported.
    pub fn wasm_component_model(&mut self, yes: bool) -> &mut Config {
        self.refuse("wasm_component_model", yes, "the component model is not supported")
    }

    /// Sets whether modules may use the component model (default: no). This is not supported.
    pub fn wasm_component_model_async(&mut self, yes: bool) -> &mut Config {
        self.refuse("wasm_component_model_async", yes, "the component model is not supported")
    }
}
