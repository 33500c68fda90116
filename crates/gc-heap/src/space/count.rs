//! [`Count`]: numbers of objects and of their bytes.

/// Numbers of objects and of their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The number of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    /// Counts an object of `size` bytes.
    #[inline(always)]
    pub fn add(&mut self, size: u32) {
        self.objects += 1;
        self.bytes += u64::from(size);
    }

    /// Counts more objects.
    #[inline]
    pub fn add_all(&mut self, more: Count) {
        self.objects += more.objects;
        self.bytes += more.bytes;
    }

    /// Removes an object of `size` bytes from the count, in which it is.
    pub fn remove(&mut self, size: u32) {
        self.objects -= 1;
        self.bytes -= u64::from(size);
    }
}
