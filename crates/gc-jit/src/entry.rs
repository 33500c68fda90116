//! [`EntryTrampoline`]: the host's way into compiled functions of one signature.
#![allow(unsafe_code)]

use crate::{Activation, CodeMemory};
use gc_types::{CallSignature, EntryPoint, ValRaw};
use std::sync::Arc;

/// An entry trampoline's machine-level type: `(activation, callee's code, callee's
/// vmctx, values)`; the arguments are taken from `values` and the results left there.
pub(crate) type EntryFn =
    unsafe extern "C" fn(*mut Activation, *const u8, *mut u8, *mut ValRaw) -> u64;

/// Host code's way into compiled functions of one signature: code that an image brought
/// along. It does for functions of other images, too. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EntryTrampoline {
    memory: Arc<CodeMemory>,
    point: EntryPoint,
}

impl CodeMemory {
    /// The way into functions of `signature`, if the image has one.
    pub fn entry_trampoline(
        self: &Arc<CodeMemory>,
        signature: &CallSignature,
    ) -> Option<EntryTrampoline> {
        let point = self.image().entry(signature)?;
        Some(EntryTrampoline { memory: self.clone(), point })
    }

    /// What host functions of `signature` have as their
    /// [code](crate::VMFuncRef::code), if the image has a way out to them.
    pub fn exit_trampoline(&self, signature: &CallSignature) -> Option<*const u8> {
        Some(self.base().wrapping_add(self.image().exit(signature)? as usize))
    }
}

impl EntryTrampoline {
    /// How many [`ValRaw`]s a call needs: as many as there are parameters (behind the
    /// vmctx) or results, whichever is more.
    pub fn slots(&self) -> usize {
        self.point.slots as usize
    }

    /// The published code it is part of.
    pub fn memory(&self) -> &Arc<CodeMemory> {
        &self.memory
    }

    /// Address of the handler block.
    pub(crate) fn handler_pc(&self) -> usize {
        self.memory.base().addr() + self.point.handler as usize
    }

    /// Bytes from the handler's stack pointer up to the trampoline's frame pointer.
    pub(crate) fn frame_offset(&self) -> usize {
        self.point.frame_offset as usize
    }

    /// The trampoline as a function.
    pub(crate) fn function(&self) -> EntryFn {
        let code = self.memory.base().wrapping_add(self.point.offset as usize);
        // SAFETY: the image says that an entry trampoline begins there, which is compiled
        // with exactly this signature and convention.
        unsafe { std::mem::transmute::<*const u8, EntryFn>(code) }
    }
}
