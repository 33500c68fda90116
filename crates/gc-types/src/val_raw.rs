//! [`ValRaw`]: a slot that passes a value between the host and compiled code.

use std::ffi::c_void;

/// Sixteen bytes that hold a value of any type of compiled code. The slot does not record the type.
/// Trampolines load from and store to arrays of slots: slot `i` is argument `i` before the call and
/// result `i` after it.
///
/// A value that is narrower than the slot is in the low bytes (little-endian). The bytes above it
/// are undefined. A reference is an `i64` whose upper half is zero.
///
/// # Examples
/// ```
/// use gc_types::ValRaw;
///
/// let slots = [ValRaw::i32(-5), ValRaw::f64(1.5_f64.to_bits())];
/// assert_eq!(slots[0].get_i32(), -5);
/// assert_eq!(f64::from_bits(slots[1].get_f64()), 1.5);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct ValRaw([u8; 16]);

const _: () = assert!(size_of::<ValRaw>() == 16 && align_of::<ValRaw>() == 16);

impl ValRaw {
    /// All bytes zero: zero, 0.0 or null.
    pub const ZERO: ValRaw = ValRaw([0; 16]);

    /// The size of a slot in bytes.
    pub const SIZE: u32 = 16;

    /// A 32-bit integer.
    pub const fn i32(value: i32) -> ValRaw {
        ValRaw::u32(value.cast_unsigned())
    }

    /// A 64-bit integer.
    pub const fn i64(value: i64) -> ValRaw {
        ValRaw::u64(value.cast_unsigned())
    }

    /// An unsigned 32-bit integer.
    pub const fn u32(value: u32) -> ValRaw {
        ValRaw::u64(value as u64)
    }

    /// An unsigned 64-bit integer, or a reference's word, zero-extended.
    pub const fn u64(value: u64) -> ValRaw {
        ValRaw::v128(value as u128)
    }

    /// The bits of a 32-bit float.
    pub const fn f32(bits: u32) -> ValRaw {
        ValRaw::u32(bits)
    }

    /// The bits of a 64-bit float.
    pub const fn f64(bits: u64) -> ValRaw {
        ValRaw::u64(bits)
    }

    /// A 128-bit vector, whose byte 0 is the lowest.
    pub const fn v128(bits: u128) -> ValRaw {
        ValRaw(bits.to_le_bytes())
    }

    /// A function reference, which is an address. Null is a null reference.
    pub fn funcref(address: *mut c_void) -> ValRaw {
        ValRaw::u64(address.expose_provenance() as u64)
    }

    /// An external reference. 0 is null.
    pub const fn externref(word: u32) -> ValRaw {
        ValRaw::u32(word)
    }

    /// An internal reference. 0 is null.
    pub const fn anyref(word: u32) -> ValRaw {
        ValRaw::u32(word)
    }

    /// A reference to an exception. 0 is null.
    pub const fn exnref(word: u32) -> ValRaw {
        ValRaw::u32(word)
    }

    /// The low 32 bits, signed.
    pub const fn get_i32(self) -> i32 {
        self.get_u32().cast_signed()
    }

    /// The low 64 bits, signed.
    pub const fn get_i64(self) -> i64 {
        self.get_u64().cast_signed()
    }

    /// The low 32 bits, unsigned. They are also a reference's word.
    pub const fn get_u32(self) -> u32 {
        self.get_u64() as u32
    }

    /// The low 64 bits, unsigned.
    pub const fn get_u64(self) -> u64 {
        self.get_v128() as u64
    }

    /// The bits of a 32-bit float.
    pub const fn get_f32(self) -> u32 {
        self.get_u32()
    }

    /// The bits of a 64-bit float.
    pub const fn get_f64(self) -> u64 {
        self.get_u64()
    }

    /// All 128 bits.
    pub const fn get_v128(self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// The address that is a function reference.
    pub fn get_funcref(self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.get_u64() as usize)
    }

    /// An external reference.
    pub const fn get_externref(self) -> u32 {
        self.get_u32()
    }

    /// An internal reference.
    pub const fn get_anyref(self) -> u32 {
        self.get_u32()
    }

    /// A reference to an exception.
    pub const fn get_exnref(self) -> u32 {
        self.get_u32()
    }
}

impl Default for ValRaw {
    fn default() -> ValRaw {
        ValRaw::ZERO
    }
}

impl std::fmt::Debug for ValRaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ValRaw({:#x})", self.get_v128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip() {
        assert_eq!(ValRaw::i32(-5).get_i32(), -5);
        assert_eq!(ValRaw::i32(-5).get_u64(), 0xffff_fffb);
        assert_eq!(ValRaw::i64(i64::MIN).get_i64(), i64::MIN);
        assert_eq!(f64::from_bits(ValRaw::f64(1.5f64.to_bits()).get_f64()), 1.5);
        assert_eq!(ValRaw::v128(1 << 100).get_v128(), 1 << 100);
        assert_eq!(ValRaw::anyref(7).get_anyref(), 7);
        assert!(ValRaw::funcref(std::ptr::null_mut()).get_funcref().is_null());
    }
}
