//! Checks of all invariants of a semispace.

use super::Semispace;
use super::chunks::{CHUNK_SIZE, Chunks, State};
use crate::space::check::check_objects;
use crate::{HeapCore, HeapError, HeapMemory};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{NULL_PAGE_SIZE, OBJECT_ALIGN};

fn corrupt(at: u32, what: &'static str) -> Result<(), HeapError> {
    Err(HeapError::Corrupt { at, what })
}

impl Semispace {
    /// Checks the pool's counts and the cursor; that headers and sizes are valid and no forwarding
    /// word remains; that references refer to the starts of objects; and that memory to be handed out is
    /// zero.
    ///
    /// # Errors
    /// The first error, and its place.
    pub fn check(&self, core: &HeapCore) -> Result<(), HeapError> {
        self.chunks.check().or_else(|(at, what)| corrupt(at, what))?;
        if u64::from(self.chunks.len()) != core.memory.usable() / u64::from(CHUNK_SIZE) {
            corrupt(NULL_PAGE_SIZE, "the pool does not have all mapped chunks")?;
        }
        self.check_cursor(&core.memory)?;
        check_objects(core, |visit| self.walk(core, visit))
    }

    fn check_cursor(&self, memory: &HeapMemory) -> Result<(), HeapError> {
        let (next, limit) = (memory.data_u32(NEXT), memory.data_u32(LIMIT));
        let Some(current) = self.current else {
            return if next < limit { corrupt(next, "free memory in no chunk") } else { Ok(()) };
        };
        if self.chunks.state(current) != Some(State::Live) || self.chunks.is_retained(current) {
            corrupt(next, "the chunk that is being filled has a wrong state")?;
        }
        let inside =
            Chunks::start(current) <= next && next <= limit && limit <= Chunks::limit(current);
        if !inside || !next.is_multiple_of(OBJECT_ALIGN) {
            corrupt(next, "the next object's index is not in its chunk")?;
        }
        let mut bytes = vec![HeapMemory::POISON; (limit - next) as usize];
        memory.read_bytes(next.into(), &mut bytes);
        match bytes.iter().position(|&byte| byte != 0) {
            Some(at) => corrupt(next + at as u32, "memory for the next objects is not zero"),
            None => Ok(()),
        }
    }
}
