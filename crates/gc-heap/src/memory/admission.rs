//! [`Admission`]: bytes of the ordinary allocator that a source has admitted.

use super::{MemoryPurpose, MemorySource};
use crate::HeapError;
use std::sync::Arc;

/// The consent of a [`MemorySource`] to some bytes of the ordinary allocator. Small tables and the
/// contexts of instances have no pages of their own, so the source only counts or refuses them.
/// Dropping the admission tells the source that the bytes are free.
///
/// ```
/// use gc_heap::{Admission, MemoryPurpose, MemorySource, OnDemand};
/// use std::sync::Arc;
///
/// let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
/// let mut admission = Admission::new(&source, MemoryPurpose::Table, 64)?;
/// admission.grow(128)?;
/// assert_eq!(admission.bytes(), 128);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Admission {
    source: Arc<dyn MemorySource>,
    purpose: MemoryPurpose,
    bytes: usize,
}

impl Admission {
    /// Asks `source` for `bytes` bytes.
    ///
    /// # Errors
    /// If the source refuses.
    pub fn new(
        source: &Arc<dyn MemorySource>,
        purpose: MemoryPurpose,
        bytes: usize,
    ) -> Result<Admission, HeapError> {
        let mut admission = Admission::nothing(source, purpose);
        admission.grow(bytes)?;
        Ok(admission)
    }

    /// No bytes yet.
    pub(super) fn nothing(source: &Arc<dyn MemorySource>, purpose: MemoryPurpose) -> Admission {
        Admission { source: source.clone(), purpose, bytes: 0 }
    }

    /// Asks for the bytes that are missing to `bytes`.
    ///
    /// # Errors
    /// If the source refuses. Then nothing changes.
    pub fn grow(&mut self, bytes: usize) -> Result<(), HeapError> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.source.admit(self.purpose, more)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Admitted bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The source.
    pub fn source(&self) -> &Arc<dyn MemorySource> {
        &self.source
    }

    /// What the bytes are for.
    pub fn purpose(&self) -> MemoryPurpose {
        self.purpose
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.source.freed(self.purpose, self.bytes);
        }
    }
}
