//! The linear memory of the calling program. Every access checks its bounds: a pointer outside the
//! memory is [`Errno::Fault`]. Numbers are little-endian and need no alignment.

use super::errno::Errno;
use std::io::IoSlice;

/// The largest number of slices of one read or write, as in Linux (`IOV_MAX`).
const SLICES: u32 = 1024;

/// The largest number of bytes of one read or write, as in Linux (`MAX_RW_COUNT`). So the number
/// fits what the functions return.
const BYTES: usize = 0x7fff_f000;

/// The memory of a program.
pub(super) struct GuestMemory<'a>(&'a mut [u8]);

/// A place in the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GuestRange {
    at: u32,
    len: u32,
}

impl<'a> GuestMemory<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> GuestMemory<'a> {
        GuestMemory(bytes)
    }

    /// `len` bytes at `at`.
    pub(super) fn bytes(&self, at: u32, len: u32) -> Result<&[u8], Errno> {
        let place = self.0.get(at as usize..).and_then(|bytes| bytes.get(..len as usize));
        place.ok_or(Errno::Fault)
    }

    /// `len` bytes at `at`, mutable.
    pub(super) fn bytes_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8], Errno> {
        let place = self.0.get_mut(at as usize..).and_then(|bytes| bytes.get_mut(..len as usize));
        place.ok_or(Errno::Fault)
    }

    /// The text of `len` bytes at `at`.
    pub(super) fn text(&self, at: u32, len: u32) -> Result<&str, Errno> {
        std::str::from_utf8(self.bytes(at, len)?).map_err(|_| Errno::Ilseq)
    }

    /// Checks that `count` items of `size` bytes are inside the memory.
    pub(super) fn check_array(&self, at: u32, count: u32, size: u32) -> Result<(), Errno> {
        let len = count.checked_mul(size).ok_or(Errno::Fault)?;
        self.bytes(at, len).map(drop)
    }

    fn array<const N: usize>(&self, at: u32) -> Result<[u8; N], Errno> {
        let bytes = self.bytes(at, N as u32)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    /// The byte at `at`.
    pub(super) fn u8(&self, at: u32) -> Result<u8, Errno> {
        Ok(self.array::<1>(at)?[0])
    }

    /// The number at `at`.
    pub(super) fn u16(&self, at: u32) -> Result<u16, Errno> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    /// The number at `at`.
    pub(super) fn u32(&self, at: u32) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    /// The number at `at`.
    pub(super) fn u64(&self, at: u32) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    /// Writes `bytes` at `at`.
    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.bytes_mut(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a number at `at`.
    pub(super) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    /// Writes a number at `at`.
    pub(super) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    /// The places that an array of `iovec` or `ciovec` names, as far as they hold bytes. Together
    /// they are not longer than [`BYTES`].
    pub(super) fn places(&self, at: u32, count: u32) -> Result<Vec<GuestRange>, Errno> {
        if count > SLICES {
            return Err(Errno::Inval);
        }
        self.check_array(at, count, 8)?;
        let mut places = Vec::with_capacity(count as usize);
        let mut left = BYTES;
        for entry in 0..count {
            let entry = at + 8 * entry;
            let place = GuestRange { at: self.u32(entry)?, len: self.u32(entry + 4)? };
            // A place outside the memory is an error even if it would not be reached.
            self.bytes(place.at, place.len)?;
            let len = left.min(place.len as usize);
            left -= len;
            if len > 0 {
                places.push(GuestRange { at: place.at, len: len as u32 });
            }
        }
        Ok(places)
    }

    /// The bytes at a place.
    pub(super) fn at(&mut self, place: GuestRange) -> Result<&mut [u8], Errno> {
        self.bytes_mut(place.at, place.len)
    }

    /// The bytes at these places, to write them to a file.
    pub(super) fn slices(&self, places: &[GuestRange]) -> Result<Vec<IoSlice<'_>>, Errno> {
        places.iter().map(|place| Ok(IoSlice::new(self.bytes(place.at, place.len)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pointer_leaves_the_memory() {
        let mut bytes = [0u8; 64];
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.u32(60), Ok(0));
        assert_eq!(memory.u32(61), Err(Errno::Fault));
        assert_eq!(memory.u64(u32::MAX), Err(Errno::Fault));
        assert_eq!(memory.bytes(u32::MAX, u32::MAX), Err(Errno::Fault));
        assert_eq!(memory.bytes(64, 0), Ok(&[][..]));
        assert_eq!(memory.write(63, &[1, 2]), Err(Errno::Fault));
        assert_eq!(memory.check_array(0, 0x2000_0001, 8), Err(Errno::Fault));
        memory.write_u32(0, 60).unwrap();
        memory.write_u32(4, 4).unwrap();
        assert_eq!(memory.places(0, 1).unwrap(), [GuestRange { at: 60, len: 4 }]);
        assert_eq!(memory.places(0, SLICES + 1), Err(Errno::Inval));
        memory.write_u32(4, 5).unwrap();
        assert_eq!(memory.places(0, 1), Err(Errno::Fault));
        assert_eq!(memory.places(60, 1), Err(Errno::Fault));
    }
}
