//! [`CallSites`]: what is known of the calls in whose frames a throw looks for a handler.
//!
//! Programs that throw often throw through the same calls. Without this each frame would need several
//! searches in the tables of its image.

use crate::CodeMemory;
use gc_types::CALLEE_SAVED;

/// A call of compiled code that waits for its callee.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallSite {
    /// Its return address. Zero if nothing is known.
    pc: usize,
    /// The position of its handlers in the image, plus one. Zero if it has none.
    handlers: u32,
    /// The distance in bytes from the vmctx slot up to the frame pointer. Zero if there is none.
    pub(crate) vmctx_slot: u32,
    /// Where the function keeps its caller's callee-saved registers, as in
    /// [`ImageFunction::saved`](gc_types::ImageFunction::saved).
    pub(crate) saved: [u32; CALLEE_SAVED],
}

impl CallSite {
    /// The call with the return address `pc`, which is in `code`.
    pub(crate) fn find(code: &CodeMemory, pc: usize) -> Option<CallSite> {
        let image = code.image();
        let handlers = image.handler_site_of(code.offset_of(pc)?);
        // The return address of a call at a function's end is outside of the function.
        let call = code.offset_of(pc - 1)?;
        let mut saved = [0; CALLEE_SAVED];
        let slots = image.saved_registers_at(call)?;
        saved.iter_mut().zip(slots).for_each(|(place, slot)| *place = slot);
        Some(CallSite {
            pc,
            handlers: handlers.map_or(0, |site| site as u32 + 1),
            vmctx_slot: image.vmctx_slot_at(call).unwrap_or(0),
            saved,
        })
    }

    /// The position of its handlers in the image, if it has any.
    pub(crate) fn handlers(&self) -> Option<usize> {
        self.handlers.checked_sub(1).map(|site| site as usize)
    }
}

/// The number of calls that are remembered.
const REMEMBERED: usize = 64;

/// A cache of [`CallSite`]s in code that a store keeps. When the store no longer keeps some of it, the cache must be
/// emptied. It allocates nothing before the first.
#[derive(Debug, Default)]
pub(crate) struct CallSites(Vec<CallSite>);

impl CallSites {
    /// The call with the return address `pc`, which is in `code`, code that the store of this cache
    /// keeps.
    #[inline]
    pub(crate) fn find(&mut self, code: &CodeMemory, pc: usize) -> Option<CallSite> {
        if self.0.is_empty() {
            self.0.resize(REMEMBERED, CallSite::default());
        }
        // Call instructions have several bytes, so return addresses differ in more than the lowest
        // bits.
        let place = &mut self.0[(pc ^ pc >> 6) % REMEMBERED];
        if place.pc != pc {
            *place = CallSite::find(code, pc)?;
        }
        Some(*place)
    }
}
