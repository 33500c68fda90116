//! [`V128`]: a vector that the host holds.

use gc_types::ValRaw;
use std::fmt;

/// A value of WebAssembly's type `v128`: 128 bits, which instructions use as lanes. Lane 0 is in
/// the lowest bits.
///
/// # Examples
/// ```
/// use gc_wasm::{Config, Engine, Instance, Module, Store, V128};
///
/// # fn main() -> anyhow::Result<()> {
/// let engine = Engine::new(&Config::new())?;
/// let module = Module::new(
///     &engine,
///     r#"(module (func (export "double") (param v128) (result v128)
///         (i32x4.add (local.get 0) (local.get 0))))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let double = instance.get_typed_func::<V128, V128>(&mut store, "double")?;
///
/// let vector = V128::from(0x00000004_00000003_00000002_00000001);
/// let doubled = double.call(&mut store, vector)?;
/// assert_eq!(doubled.as_u128(), 0x00000008_00000006_00000004_00000002);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
// Bytes, because an alignment of 16 would make every `Val` larger.
pub struct V128([u8; 16]);

impl V128 {
    /// Its bits. Lane 0 is in the lowest ones.
    pub fn as_u128(&self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    pub(crate) fn to_raw(self) -> ValRaw {
        ValRaw::v128(u128::from_le_bytes(self.0))
    }

    pub(crate) fn from_raw(raw: ValRaw) -> V128 {
        V128(raw.get_v128().to_le_bytes())
    }
}

impl From<u128> for V128 {
    fn from(bits: u128) -> V128 {
        V128(bits.to_le_bytes())
    }
}

impl From<V128> for u128 {
    fn from(vector: V128) -> u128 {
        vector.as_u128()
    }
}

impl fmt::Debug for V128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V128({:#034x})", self.as_u128())
    }
}

impl PartialOrd for V128 {
    fn partial_cmp(&self, other: &V128) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for V128 {
    fn cmp(&self, other: &V128) -> std::cmp::Ordering {
        self.as_u128().cmp(&other.as_u128())
    }
}
