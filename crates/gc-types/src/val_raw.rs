//! [`ValRaw`]: a slot that passes a value between the host and compiled code.

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
/// let slots = [ValRaw::from_i32(-5), ValRaw::from_f64_bits(1.5_f64.to_bits())];
/// assert_eq!(slots[0].i32(), -5);
/// assert_eq!(f64::from_bits(slots[1].f64_bits()), 1.5);
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
    pub const fn from_i32(value: i32) -> ValRaw {
        ValRaw::from_u64(value as u32 as u64)
    }

    /// A 64-bit integer.
    pub const fn from_i64(value: i64) -> ValRaw {
        ValRaw::from_u64(value as u64)
    }

    /// An unsigned 64-bit integer, or a reference's word, zero-extended.
    pub const fn from_u64(value: u64) -> ValRaw {
        ValRaw::from_v128((value as u128).to_le_bytes())
    }

    /// The bits of a 32-bit float.
    pub const fn from_f32_bits(bits: u32) -> ValRaw {
        ValRaw::from_u64(bits as u64)
    }

    /// The bits of a 64-bit float.
    pub const fn from_f64_bits(bits: u64) -> ValRaw {
        ValRaw::from_u64(bits)
    }

    /// A 128-bit vector, its bytes in little-endian order.
    pub const fn from_v128(bytes: [u8; 16]) -> ValRaw {
        ValRaw(bytes)
    }

    /// A native pointer.
    pub fn from_pointer<T>(pointer: *mut T) -> ValRaw {
        ValRaw::from_u64(pointer.expose_provenance() as u64)
    }

    /// The low 32 bits, signed.
    pub const fn i32(self) -> i32 {
        self.u64() as i32
    }

    /// The low 32 bits, unsigned. They are also a reference's word.
    pub const fn u32(self) -> u32 {
        self.u64() as u32
    }

    /// The low 64 bits, signed.
    pub const fn i64(self) -> i64 {
        self.u64() as i64
    }

    /// The low 64 bits, unsigned.
    pub const fn u64(self) -> u64 {
        u128::from_le_bytes(self.v128()) as u64
    }

    /// The bits of a 32-bit float.
    pub const fn f32_bits(self) -> u32 {
        self.u32()
    }

    /// The bits of a 64-bit float.
    pub const fn f64_bits(self) -> u64 {
        self.u64()
    }

    /// All sixteen bytes.
    pub const fn v128(self) -> [u8; 16] {
        self.0
    }

    /// The native pointer that the low bits hold.
    pub fn pointer<T>(self) -> *mut T {
        std::ptr::with_exposed_provenance_mut(self.u64() as usize)
    }
}

impl Default for ValRaw {
    fn default() -> ValRaw {
        ValRaw::ZERO
    }
}

impl std::fmt::Debug for ValRaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ValRaw({:#x})", u128::from_le_bytes(self.v128()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip() {
        assert_eq!(ValRaw::from_i32(-5).i32(), -5);
        assert_eq!(ValRaw::from_i32(-5).u64(), 0xffff_fffb);
        assert_eq!(ValRaw::from_i64(i64::MIN).i64(), i64::MIN);
        assert_eq!(f64::from_bits(ValRaw::from_f64_bits(1.5f64.to_bits()).f64_bits()), 1.5);
        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(ValRaw::from_v128(bytes).v128(), bytes);
    }
}
