//! What random modules may have. An engine that lacks something, or has a fault, gets others.

/// What modules may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The proposals for garbage collection and for typed references to functions.
    pub gc: bool,
    /// Exceptions.
    pub exceptions: bool,
    /// Relaxed SIMD instructions, with the deterministic results.
    pub relaxed_simd: bool,
    /// Casts of values of the host to struct and array types.
    pub casts_of_host_values: bool,
}

impl Features {
    /// Everything that this engine has and `wasm-smith` makes.
    pub const ALL: Features =
        Features { gc: true, exceptions: true, relaxed_simd: true, casts_of_host_values: true };
}
