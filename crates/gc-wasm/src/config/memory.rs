//! Settings of linear memories and of the address space of GC heaps.

use super::Config;
use gc_runtime::HeapBounds;

impl Config {
    /// Sets the maximum size of each linear memory in bytes (default: 4 GiB). A memory that would be
    /// larger is an error when it is made. When it grows, the program gets -1.
    pub fn memory_maximum(&mut self, bytes: u64) -> &mut Config {
        self.memory.maximum = bytes;
        self
    }

    /// Sets the bytes of address space that are reserved for each linear memory (default: 4 GiB).
    /// In its reservation a memory grows without being moved. If it is at least 4 GiB, accesses of
    /// 32-bit memories are not checked, because they cannot leave it and the [guard]. Otherwise
    /// every access is compared with the memory's size, as those of 64-bit memories always are.
    ///
    /// A memory that begins larger than this gets a reservation of its size, and
    /// [some more](Config::memory_reservation_for_growth). Sizes are rounded up to pages of 64 KiB.
    ///
    /// [guard]: Config::memory_guard_size
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Memory, MemoryType, Store};
    ///
    /// // Small reservations, for many stores.
    /// let engine = Engine::new(Config::new().memory_reservation(1 << 20).memory_guard_size(1 << 16))?;
    /// let mut store = Store::new(&engine, ());
    /// let memory = Memory::new(&mut store, MemoryType::new(16, None))?;
    /// // It does not fit its reservation any more, and is moved.
    /// assert_eq!(memory.grow(&mut store, 16)?, 16);
    /// # anyhow::Ok(())
    /// ```
    pub fn memory_reservation(&mut self, bytes: u64) -> &mut Config {
        self.memory.reservation = bytes;
        self
    }

    /// Sets the bytes of address space that a linear memory gets beyond its size if it is larger
    /// than [its reservation](Config::memory_reservation), so that it is not moved each time that it
    /// grows (default: 2 GiB). If memories are not moved, this has no effect.
    pub fn memory_reservation_for_growth(&mut self, bytes: u64) -> &mut Config {
        self.memory.reservation_for_growth = bytes;
        self
    }

    /// Sets the bytes of address space after each linear memory's reservation that are never
    /// accessible (default: 2 GiB). Accesses with a larger constant offset are always compared with
    /// the memory's size. Rounded up to pages of 64 KiB.
    pub fn memory_guard_size(&mut self, bytes: u64) -> &mut Config {
        self.memory.guard = bytes;
        self
    }

    /// Sets whether a linear memory is moved if it grows beyond its reservation (default: yes). If
    /// not, such a growth fails.
    pub fn memory_may_move(&mut self, yes: bool) -> &mut Config {
        self.memory.may_move = yes;
        self
    }

    /// Sets the bytes of address space that are reserved for each GC heap. With at least 4 GiB (the
    /// default), accesses of compiled code are not checked, as with [`HeapBounds::Guarded`].
    /// Otherwise every access is checked, as with [`HeapBounds::Checked`].
    pub fn gc_heap_reservation(&mut self, bytes: u64) -> &mut Config {
        self.gc_heap_bounds(match bytes >= 4 << 30 {
            true => HeapBounds::Guarded,
            false => HeapBounds::Checked,
        })
    }

    /// Sets the bytes of address space after each GC heap that are never accessible. With
    /// [`HeapBounds::Guarded`] there are always 2 MiB, whatever smaller number is asked for. With [`HeapBounds::Checked`] there are none. An engine that should have more is
    /// refused.
    pub fn gc_heap_guard_size(&mut self, bytes: u64) -> &mut Config {
        self.heap_guard = Some(bytes);
        self
    }

    /// Sets the bytes of address space that a GC heap gets beyond its size when it is moved. None is
    /// moved, so this has no effect.
    pub fn gc_heap_reservation_for_growth(&mut self, _bytes: u64) -> &mut Config {
        self
    }

    /// Sets whether a GC heap may be moved in the address space when it grows. None is.
    pub fn gc_heap_may_move(&mut self, _yes: bool) -> &mut Config {
        self
    }
}
