//! [`InterruptHandle`]: ends the compiled code of a store from another thread.
//!
//! An interrupt stops code in two places. A function's entry compares the stack pointer with the
//! stack's limit, so the limit becomes higher than any stack pointer (as in V8). A loop reads a byte
//! of the poll page, so the page becomes inaccessible (as in HotSpot). In both places a trap leaves
//! the code. A host function that waits finds out by [`InterruptHandle::event`].
#![allow(unsafe_code)]

mod protocol;

use crate::VMStoreContext;
use crate::os::Event;
use crate::vmcontext::Word;
use anyhow::{Context as _, Result};
use gc_types::VMOffsets;
use protocol::Native;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// The limit that stops every function at its entry. It is higher than any stack pointer, and code
/// can add the size of its frame to it.
const NO_STACK: usize = usize::MAX / 2;

/// Interrupts the compiled code of a store, from any thread. Cheap to clone. It does not keep the
/// store alive.
///
/// # Examples
/// A function that never returns:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// # use example::Runtime as _;
/// # use gc_jit::{HostCallTable, JitState, JitStore, call};
/// # use gc_runtime::{GcStore, HeapOptions, collector::CopyingCollector};
/// # use gc_types::CallSignature;
/// use gc_jit::{CodeMemory, InterruptHandle};
/// use gc_types::{Abi, Trap};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// # fn main() -> anyhow::Result<()> {
/// // Loops are polled.
/// let abi = Arc::new(Abi::clone(&*abi()).with_polls(true));
/// # let signature = CallSignature::new([], []);
/// let image = compile(&abi, &signature, |builder, _| {
///     let head = builder.create_block();
///     builder.ins().jump(head, &[]);
///     builder.switch_to_block(head);
///     builder.ins().jump(head, &[]);
/// })?;
/// # let code = CodeMemory::publish(image, &abi, &[])?;
/// # let gc = GcStore::new(&CopyingCollector, &HeapOptions::default())?;
/// # let jit = JitState::new(gc, &HostCallTable::new(&abi, &Store::host_calls())?, 1 << 20)?;
/// # let mut store = Store::new(jit);
/// # store.jit_mut().keep_alive(code.clone())?;
/// # let mut vmctx = Box::new(store.jit_mut().vmctx_prefix(0)?);
/// # let vmctx = (&raw mut *vmctx).cast();
/// # let trampoline = code.entry_trampoline(&signature).unwrap();
/// # let function = code.function_address(0).unwrap();
/// let handle: InterruptHandle = store.jit().interrupt_handle().unwrap();
/// std::thread::spawn(move || {
///     std::thread::sleep(Duration::from_millis(10));
///     handle.interrupt();
/// });
/// // SAFETY: the function takes and returns nothing. The store has its code and the vmctx.
/// let error = unsafe { call(&mut store, &trampoline, function, vmctx, &mut []) }.unwrap_err();
/// assert_eq!(error.trap(), Some(Trap::Interrupt));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct InterruptHandle {
    interrupt: Arc<Interrupt>,
    context: Weak<VMStoreContext>,
}

impl InterruptHandle {
    pub(crate) fn new(context: &Arc<VMStoreContext>) -> Option<InterruptHandle> {
        let interrupt = context.interrupt.clone()?;
        Some(InterruptHandle { interrupt, context: Arc::downgrade(context) })
    }

    /// Interrupts the store's code. The code that runs ends with the trap
    /// [`Interrupt`](gc_types::Trap::Interrupt) at the next call of a function or turn of a
    /// loop. Every later call into the store's code ends in the same way, until
    /// [`clear_interrupt`](crate::JitState::clear_interrupt). So an interrupt is not lost if no code
    /// runs. If the store was dropped, this does nothing.
    ///
    /// Host functions are not ended. Those that wait should wait for [`event`](Self::event) too.
    pub fn interrupt(&self) {
        if let Some(context) = self.context.upgrade() {
            self.interrupt.begin(&context.stack.limit);
        }
    }

    /// Whether the store's code was interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_requested()
    }

    /// A file that becomes readable when the store's code is interrupted, for a host function that
    /// waits with `poll`. Do not read it.
    ///
    /// # Errors
    /// If the system refuses to make it.
    pub fn event(&self) -> Result<BorrowedFd<'_>> {
        self.interrupt.event()
    }
}

/// The state of a store's interrupt.
#[derive(Debug)]
pub(crate) struct Interrupt {
    requested: AtomicBool,
    page: PollPage,
    event: OnceLock<Event>,
    /// Held while the state is changed.
    change: Mutex<()>,
}

impl Interrupt {
    /// # Errors
    /// If the system refuses the poll page.
    pub(crate) fn new() -> Result<Interrupt> {
        Ok(Interrupt {
            requested: AtomicBool::new(false),
            page: PollPage::new()?,
            event: OnceLock::new(),
            change: Mutex::new(()),
        })
    }

    /// The address of the poll page.
    pub(crate) fn page(&self) -> *const u8 {
        self.page.0.as_ptr().cast_const()
    }

    /// Whether `address` is in the poll page. It is for the signal handler.
    pub(crate) fn is_poll(&self, address: usize) -> bool {
        let offset = address.wrapping_sub(self.page().addr());
        offset < VMOffsets::POLL_PAGE_SIZE as usize
    }

    /// Whether the code is interrupted. It is if this thread has read the limit that stops all code.
    pub(crate) fn is_requested(&self) -> bool {
        protocol::has_begun::<Native>(&self.requested)
    }

    fn begin(&self, limit: &Word) {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let end_loops = || self.page.protect(MprotectFlags::empty());
        protocol::begin::<Native>(&self.requested, limit, end_loops);
        if let Some(event) = self.event.get() {
            event.signal();
        }
    }

    /// Sets the limit that stops all code if the code is interrupted. The store's thread calls this
    /// when it has set another limit.
    pub(crate) fn hold(&self, limit: &Word) {
        protocol::hold::<Native>(&self.requested, limit);
    }

    /// Takes the interrupt back. No code of the store runs.
    pub(crate) fn clear(&self) {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.requested.store(false, Ordering::Relaxed);
        self.page.protect(MprotectFlags::READ);
        if let Some(event) = self.event.get() {
            event.clear();
        }
    }

    fn event(&self) -> Result<BorrowedFd<'_>> {
        if let Some(event) = self.event.get() {
            return Ok(event.file());
        }
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Event::new()?;
        let event = self.event.get_or_init(|| new);
        if self.is_requested() {
            event.signal();
        }
        Ok(event.file())
    }
}

/// The page that loops read.
///
/// It is shared memory. The system joins neighbouring private mappings that are alike. To protect a
/// part of such a mapping it must split it, which it refuses if the process has too many mappings. A
/// shared mapping is never joined with others, so its protection can always be changed.
struct PollPage(NonNull<u8>);

// SAFETY: its bytes are never written. Its protection can be changed by any thread.
unsafe impl Send for PollPage {}
// SAFETY: as above.
unsafe impl Sync for PollPage {}

const PAGE_SIZE: usize = VMOffsets::POLL_PAGE_SIZE as usize;

impl PollPage {
    fn new() -> Result<PollPage> {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a new mapping that nobody knows.
        let page = unsafe { mmap_anonymous(null_mut(), PAGE_SIZE, ProtFlags::READ, flags) };
        let page = page.context("reserving the page that loops poll")?;
        Ok(PollPage(NonNull::new(page.cast()).context("a mapping has an address")?))
    }

    fn protect(&self, protection: MprotectFlags) {
        // SAFETY: only compiled code reads the page, and a fault there is a trap.
        let changed = unsafe { mprotect(self.0.as_ptr().cast(), PAGE_SIZE, protection) };
        if let Err(error) = changed {
            log::error!("the protection of a poll page was not changed: {error}");
        }
    }
}

impl Drop for PollPage {
    fn drop(&mut self) {
        // SAFETY: the page was mapped by `new`. Code that reads it runs in stores that keep it.
        let unmapped = unsafe { munmap(self.0.as_ptr().cast(), PAGE_SIZE) };
        if let Err(error) = unmapped {
            log::error!("a poll page was not unmapped: {error}");
        }
    }
}

impl std::fmt::Debug for PollPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:p}", self.0)
    }
}
