//! Exceptions: objects that compiled code or the host throws, and that a handler in compiled code
//! catches.
//!
//! Code that throws calls the host ([`HostCall::THROW`](gc_types::HostCall::THROW)). The host walks
//! the frames of the innermost activation once, from the place where compiled code was left, and
//! looks up each return address in the handlers of its image. Handlers with a tag are the
//! embedder's to decide ([`JitStore::catches`]). If one catches the exception, execution resumes
//! there, in the frame of the handler, and the exception is passed in the first exception register.
//! The callee-saved registers get the values that the frames in between have saved.
//! Nothing is done at calls that do not throw.
//!
//! If no frame of the activation catches it, the exception becomes the *pending exception* of the
//! store, which is a root, and the call into compiled code fails with [`ThrownException`]. A host
//! function that returns this error throws the pending exception on into the activation below. So a
//! host function can throw, catch (by taking the pending exception) and rethrow.
#![allow(unsafe_code)]

use crate::call_sites::{CallSite, CallSites};
use crate::guard::{classify, set_failed};
use crate::vmcontext::{ResumePoint, SavedRegisters, VMStoreContext};
use crate::walk::{RawFrame, RawFrames, incomplete, unpublished, vmctx_in};
use crate::{CodeMemory, JitState, JitStore, VMContextPrefix, arch, lookup_code};
use anyhow::{Result, anyhow, ensure};
use gc_heap::OwnedHandle;
use gc_types::host_calls::{Ref, Thrown};
use gc_types::{Catches, CodeImage, EntryStatus, ReturnSignature, Trap, VMGcRef};
use std::fmt;

/// The error of a call in which an exception was thrown and not caught. The exception is the
/// store's [pending exception](JitState::take_pending_exception).
///
/// A host function that returns this error throws the pending exception.
///
/// # Examples
/// ```
/// use gc_jit::ThrownException;
///
/// let error = anyhow::Error::from(ThrownException).context("while it did something");
/// assert!(error.is::<ThrownException>());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrownException;

impl fmt::Display for ThrownException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("uncaught exception")
    }
}

impl std::error::Error for ThrownException {}

/// The exception that is being thrown through the host.
#[derive(Debug, Default)]
pub(crate) struct Exception {
    pending: Option<OwnedHandle>,
    /// The calls through which exceptions were thrown.
    sites: CallSites,
}

impl Exception {
    /// Forgets what is known of calls. The store no longer keeps all of their code.
    pub(crate) fn forget_sites(&mut self) {
        self.sites = CallSites::default();
    }
}

impl<S: JitStore> JitState<S> {
    /// Makes `exception` the pending exception, which a host function then throws by returning
    /// [`ThrownException`]. It replaces the one that was pending.
    ///
    /// # Errors
    /// If there are too many handles.
    pub fn set_pending_exception(&mut self, exception: VMGcRef) -> Result<()> {
        self.exception.pending = None;
        let gc = self.gc_mut();
        gc.drop_dead_handles();
        let handle = gc.root_owned(exception);
        let handle = handle.map_err(|_| anyhow!("more than {} owned handles", OwnedHandle::MAX))?;
        self.exception.pending = Some(handle);
        Ok(())
    }

    /// Drops the pending exception, if there is one.
    pub fn forget_pending_exception(&mut self) {
        self.exception.pending = None;
    }

    /// Takes the pending exception, if there is one. The caller owns the reference.
    pub fn take_pending_exception(&mut self) -> Option<VMGcRef> {
        let handle = self.exception.pending.take()?;
        let gc = self.gc_mut();
        let exception = gc.rooted(&handle.handle()).ok()?.unchecked_copy();
        Some(gc.clone_gc_ref(&exception))
    }

    /// Whether there is a pending exception.
    pub fn has_pending_exception(&self) -> bool {
        self.exception.pending.is_some()
    }

    /// The pending exception, if there is one.
    fn pending_exception(&self) -> Option<VMGcRef> {
        let handle = self.exception.pending.as_ref()?;
        Some(self.gc().rooted(&handle.handle()).ok()?.unchecked_copy())
    }
}

/// Throws `exception`, which compiled code passed: it is then caught, or pending and the call into
/// compiled code fails. Null is a trap.
pub(crate) fn throw<S: JitStore>(store: &mut S, exception: Ref) -> Thrown {
    if let Err(error) = try_throw(store, exception) {
        let error = classify(store, error);
        set_failed(store, error);
    }
    Thrown
}

/// # Errors
/// If the exception is not caught, or if something else went wrong.
fn try_throw<S: JitStore>(store: &mut S, exception: Ref) -> Result<()> {
    let exception = exception.ok_or(Trap::NullReference)?;
    ensure!(store.can_throw(&exception), Trap::CorruptHeap);
    if let Some(place) = find(store, &exception)? {
        resume_at(store, place, &exception);
        return Ok(());
    }
    let jit = store.jit_mut();
    let owned = jit.gc_mut().clone_gc_ref(&exception);
    jit.set_pending_exception(owned)?;
    Err(ThrownException.into())
}

/// Whether a frame of the innermost activation catches the pending exception, which a failing host
/// function throws. If so, execution continues there.
///
/// # Errors
/// If a frame cannot be trusted.
pub(crate) fn is_caught<S: JitStore>(store: &mut S) -> Result<bool> {
    let Some(exception) = store.jit().pending_exception() else { return Ok(false) };
    let Some(place) = find(store, &exception)? else { return Ok(false) };
    resume_at(store, place, &exception);
    store.jit_mut().exception.pending = None;
    Ok(true)
}

/// Chooses `place` as the one where execution continues, with `exception`.
fn resume_at<S: JitStore>(store: &mut S, place: ResumePoint, exception: &VMGcRef) {
    let jit = store.jit_mut();
    let gc = jit.gc_mut();
    let exception = gc.clone_gc_ref(exception);
    let payload = gc.expose_gc_ref_to_wasm(exception).into();
    jit.context().next_place.set(&ResumePoint { payload, ..place });
}

/// The innermost handler in the frames of the innermost activation that catches `exception`.
fn find<S: JitStore>(store: &mut S, exception: &VMGcRef) -> Result<Option<ResumePoint>> {
    let mut sites = std::mem::take(&mut store.jit_mut().exception.sites);
    let found = find_with(store, &mut sites, exception);
    store.jit_mut().exception.sites = sites;
    found
}

/// As [`find`], with what is known of calls.
fn find_with<S: JitStore>(
    store: &S,
    sites: &mut CallSites,
    exception: &VMGcRef,
) -> Result<Option<ResumePoint>> {
    let context = store.jit().context();
    let innermost = context.stack.activation.get().cast_const();
    // SAFETY: activations live in the frames of the calls that made them.
    let Some(activation) = (unsafe { innermost.as_ref() }) else { return Ok(None) };
    if activation.entry_fp == 0 {
        // The host called a host function, so no compiled code waits in this activation.
        return Ok(None);
    }
    // SAFETY: the store's compiled code waits for the host function that throws.
    let mut frames = unsafe { RawFrames::from_exit(context) };
    let mut registers = SavedRegisters::default();
    while let Some(frame) = frames.next() {
        let frame = frame.map_err(incomplete)?;
        if frames.activation() != innermost {
            break;
        }
        // Mostly the store keeps the code, and then the lock of all published code is not needed.
        let (code, shared);
        let site = match store.jit().code_at(frame.pc) {
            Some(own) => {
                code = own;
                sites.find(code, frame.pc)
            }
            None => {
                shared = lookup_code(frame.pc).ok_or_else(|| unpublished(frame))?;
                code = &*shared;
                CallSite::find(code, frame.pc)
            }
        };
        let site = site.ok_or_else(|| unpublished(frame))?;
        // SAFETY: the frame was found on the stack.
        let handler = unsafe { handler_of(store, code, &site, frame, exception) };
        if let Some((pc, sp)) = handler {
            return Ok(Some(ResumePoint { pc, fp: frame.fp, sp, payload: 0, registers }));
        }
        // SAFETY: as above.
        unsafe { leave(&mut registers, &site, frame) };
    }
    Ok(None)
}

/// Sets the callee-saved registers to what they are when the function of a frame has returned.
///
/// # Safety
/// The frame is on the stack and waits for the call `site`.
unsafe fn leave(registers: &mut SavedRegisters, site: &CallSite, frame: RawFrame) {
    for (number, slot) in site.saved.into_iter().enumerate() {
        if slot != 0 {
            let slot: *const usize = std::ptr::with_exposed_provenance(frame.fp - slot as usize);
            // SAFETY: the function stored the register there before it called anything.
            registers.set(number, unsafe { slot.read() });
        }
    }
}

/// The handler of the call `site` in `frame` that catches `exception`: its address and stack pointer.
///
/// # Safety
/// The frame is on the stack, runs `code` and waits for this call.
unsafe fn handler_of<S: JitStore>(
    store: &S,
    code: &CodeMemory,
    site: &CallSite,
    frame: RawFrame,
    exception: &VMGcRef,
) -> Option<(usize, usize)> {
    let handlers = code.image().handlers_at(site.handlers()?);
    let mut number = None;
    let mut has_tag = |tag| {
        // SAFETY: a running function got a vmctx, and keeps it in its slot.
        let number = *number.get_or_insert_with(|| unsafe {
            let vmctx = vmctx_in(site.vmctx_slot, frame)?.cast::<VMContextPrefix>();
            Some((*vmctx).number)
        });
        number.is_some_and(|number| store.catches(number, tag, exception))
    };
    let (_, at) =
        handlers.iter().find(|(catches, _)| is_caught_by(code.image(), *catches, &mut has_tag))?;
    let sp = frame.fp - handlers.frame_offset() as usize;
    Some((code.base().addr() + at as usize, sp))
}

/// Whether a handler, or one of those that it stands for, catches an exception. `has_tag` tells whether
/// the exception has a tag.
fn is_caught_by(
    image: &CodeImage,
    mut catches: Catches,
    has_tag: &mut impl FnMut(u32) -> bool,
) -> bool {
    // A handler stands for those of a call, the last of which may stand for those of another one. A damaged
    // image may have a cycle.
    for _ in 0..=image.handlers().len() {
        let call = match catches {
            Catches::All => return true,
            Catches::Tag(tag) => return has_tag(tag),
            Catches::LikeCall(call) => call,
        };
        let Some(handlers) = image.handlers_of(call) else { return false };
        let mut next = None;
        for (catches, _) in handlers.iter() {
            match catches {
                Catches::All => return true,
                Catches::Tag(tag) if has_tag(tag) => return true,
                Catches::Tag(_) => {}
                Catches::LikeCall(_) => next = Some(catches),
            }
        }
        let Some(following) = next else { return false };
        catches = following;
    }
    false
}

/// Makes a trampoline, whose host function has failed, return to the handler of the exception that it
/// throws, or else to the handler of the innermost activation. All frames that are dropped then belong
/// to compiled code.
///
/// # Safety
/// Only emitted trampolines may call this, with the context of the store of the running code and their
/// [frame](ReturnSignature::frame), and then they must return. Nobody walks the stack until they have.
pub(crate) unsafe extern "C" fn unwind(context: *const VMStoreContext, frame: usize) {
    let (fp, signature) = ReturnSignature::of_frame(frame);
    let resume = arch::sign((arch::resume as *const u8).expose_provenance(), signature, fp);
    // SAFETY: the trampoline passes the context of its store. There is an activation, because
    // compiled code runs. The place is a handler of a frame of this activation.
    unsafe {
        let next = &(*context).next_place;
        if !next.is_set() {
            let activation = &*(*context).stack.activation.get();
            next.set(&ResumePoint {
                pc: activation.handler_pc,
                fp: activation.entry_fp,
                sp: activation.entry_fp - activation.frame_offset,
                payload: EntryStatus::HOST,
                registers: SavedRegisters::default(),
            });
        }
        // A frame begins with the caller's frame pointer and the return address. The epilogue restores all callee-saved
        // registers that the trampoline itself uses. `resume` expects the context in the frame pointer.
        let frame: *mut usize = std::ptr::with_exposed_provenance_mut(fp);
        frame.write(context.expose_provenance());
        frame.add(1).write(resume);
    }
}
