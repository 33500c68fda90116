//! Stack walks: the frames of compiled code on a store's stack, found by frame
//! pointer, and the references in them.
//!
//! Each activation's part of a stack lies between two trampolines that recorded
//! their frame pointers: the one compiled code was left through and the one it was
//! entered through. A walk goes from the first to the second, then on to the
//! activation below, and when a stack has no more of them, on to the stacks of the store
//! that are suspended. What it finds in between must be compiled code and must move
//! towards the entry; anything else means that frames cannot be trusted and roots
//! may be missing ([`IncompleteWalk`]).
#![allow(unsafe_code)]

use crate::vmcontext::SuspendedStack;
use crate::{Activation, CodeMemory, FrameInfo, VMStoreContext, lookup_code};
use gc_runtime::{FrameSlot, GcRootsList, IncompleteWalk};
use gc_types::StackMap;
use std::marker::PhantomData;
use std::sync::Arc;

const WORD: usize = size_of::<usize>();

/// One frame, before it is known whose code it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawFrame {
    /// Where it is: the faulting instruction, or the return address of its call.
    pub(crate) pc: usize,
    /// Its frame pointer.
    pub(crate) fp: usize,
}

/// Follows frame pointers. Allocates nothing, reads only the stack.
#[derive(Clone, Debug)]
pub(crate) struct RawFrames {
    /// The activation being walked; null at the end.
    activation: *const Activation,
    /// The next frame; `None` if its activation has not been left through a trampoline.
    next: Option<RawFrame>,
    /// Frame pointers of this stack must rise above this.
    above: usize,
    /// The stack that comes when this one ends; null at the last.
    next_stack: *const SuspendedStack,
}

impl RawFrames {
    /// From where compiled code last called the host.
    ///
    /// # Safety
    /// The frames of the context's activations are on their stacks, and nothing runs in
    /// them while the walk is used.
    pub(crate) unsafe fn from_exit(context: &VMStoreContext) -> RawFrames {
        let mut frames = RawFrames {
            activation: std::ptr::null(),
            next: None,
            above: 0,
            next_stack: context.suspended.get(),
        };
        let stack = &context.stack;
        // SAFETY: as the caller promises.
        unsafe { frames.enter(stack.activation.get(), stack.last_exit_fp.get()) };
        frames
    }

    /// From a fault in compiled code of the innermost activation.
    ///
    /// # Safety
    /// As for [`from_exit`](RawFrames::from_exit); the registers are those of the fault,
    /// past its function's prologue up to the frame pointer's setup.
    pub(crate) unsafe fn from_fault(
        context: &VMStoreContext,
        pc: usize,
        fp: usize,
        sp: usize,
    ) -> RawFrames {
        RawFrames {
            activation: context.stack.activation.get(),
            next: Some(RawFrame { pc, fp }),
            above: sp.saturating_sub(1),
            next_stack: context.suspended.get(),
        }
    }

    /// The addresses of the frames, up to the first that cannot be trusted.
    pub(crate) fn pcs(mut self) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || Some(self.next()?.ok()?.pc))
    }

    /// Ends the walk.
    fn stop(&mut self) {
        self.activation = std::ptr::null();
        self.next_stack = std::ptr::null();
    }

    /// Goes on with `activation`, left through the trampoline whose frame pointer is
    /// `exit_fp`.
    unsafe fn enter(&mut self, mut activation: *const Activation, mut exit_fp: usize) {
        // SAFETY: activations that are on the store's list live.
        while let Some(empty) = unsafe { activation.as_ref() }
            && empty.entry_fp == 0
        {
            // In it no compiled code was entered: the host called the host.
            (activation, exit_fp) = (empty.previous, empty.saved_last_exit_fp);
        }
        self.activation = activation;
        self.next = None;
        if !activation.is_null() && exit_fp > self.above && exit_fp.is_multiple_of(WORD) {
            self.above = exit_fp;
            // SAFETY: a trampoline stored its frame pointer there, and its frame lies
            // between that and the entry's, on the stack.
            self.next = Some(unsafe { RawFrame::caller(exit_fp) });
        }
    }

    /// The next frame, from inner to outer; `None` behind the outermost.
    pub(crate) fn next(&mut self) -> Option<Result<RawFrame, &'static str>> {
        loop {
            if self.activation.is_null() {
                // SAFETY: a suspended stack's words stand in the frame of the call that
                // waits for another stack to end.
                let stack = unsafe { self.next_stack.as_ref()? };
                self.next_stack = stack.next;
                self.above = 0;
                // SAFETY: what was recorded when the stack was suspended.
                unsafe { self.enter(stack.activation, stack.last_exit_fp) };
                continue;
            }
            // SAFETY: activations live in the frames of the calls that made them, which
            // are on the stack while this one is in its chain.
            let activation = unsafe { &*self.activation };
            let Some(frame) = self.next else {
                self.stop();
                return Some(Err("compiled code was not left through a trampoline"));
            };
            if frame.fp == activation.entry_fp {
                // SAFETY: what was recorded when this activation began.
                unsafe { self.enter(activation.previous, activation.saved_last_exit_fp) };
                continue;
            }
            if frame.fp <= self.above
                || frame.fp > activation.entry_fp
                || !frame.fp.is_multiple_of(WORD)
            {
                self.stop();
                return Some(Err("a frame pointer does not lead towards the entry frame"));
            }
            self.above = frame.fp;
            // SAFETY: the address lies between frames of this stack that exist.
            self.next = Some(unsafe { RawFrame::caller(frame.fp) });
            return Some(Ok(frame));
        }
    }
}

impl RawFrame {
    /// The frame that called the one whose frame pointer is `fp`.
    unsafe fn caller(fp: usize) -> RawFrame {
        let fp: *const usize = std::ptr::with_exposed_provenance(fp);
        // SAFETY: as the caller promises: two words of the stack.
        unsafe { RawFrame { fp: fp.read(), pc: fp.add(1).read() } }
    }
}

/// A frame of compiled code that has called, or is on its way to, the host.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The return address of the call it makes.
    pub pc: usize,
    /// Its frame pointer.
    pub fp: usize,
    /// Whose code it runs.
    pub code: Arc<CodeMemory>,
    _stack: PhantomData<&'a ()>,
}

impl Frame<'_> {
    /// The function and source location of the call.
    pub fn info(&self) -> Option<FrameInfo> {
        self.code.lookup(self.pc - 1)
    }

    /// The vmctx of the function, if it keeps one in a slot that the image names.
    pub fn vmctx(&self) -> Option<*mut u8> {
        let offset = self.code.offset_of(self.pc - 1)?;
        let slot = self.code.image().function_at(offset)?.vmctx_slot?;
        let slot: *const *mut u8 = std::ptr::with_exposed_provenance(self.fp - slot as usize);
        // SAFETY: the slot is part of the frame, which is on the stack for as long as the
        // walk is borrowed; the function wrote it before it called anything.
        Some(unsafe { slot.read() })
    }

    /// The references that are live in this frame, as `(slot, word)`.
    pub fn roots(&self) -> Vec<(*mut u64, u64)> {
        let mut roots = Vec::new();
        let Some(number) = map_number(&self.code, self.pc) else { return roots };
        each_slot(self.code.image().stack_maps().at(number), self.fp, |slot| {
            // SAFETY: a slot of a frame that is on the stack.
            roots.push((slot, unsafe { slot.read() }));
        });
        roots
    }
}

/// The stack map of the return address `pc`, by its number; a call without one has no live
/// references in its frame.
fn map_number(code: &CodeMemory, pc: usize) -> Option<usize> {
    code.image().stack_maps().find(code.offset_of(pc)?)
}

/// Calls `visit` with each slot of the frame at `fp` that holds a reference.
#[inline]
fn each_slot(map: StackMap<'_>, fp: usize, mut visit: impl FnMut(*mut u64)) {
    let sp = fp - map.frame_size as usize;
    for slot in map.slots() {
        visit(std::ptr::with_exposed_provenance_mut(sp + slot as usize));
    }
}

/// Return addresses whose maps are remembered.
const FOUND: usize = 64;

/// The stack maps found last: a deep stack is mostly made of the same calls.
struct FoundMaps {
    /// Where the code begins that these are of.
    code: usize,
    /// Return addresses, and one more than the numbers of their maps; zero for none.
    maps: [(usize, u32); FOUND],
}

impl Default for FoundMaps {
    fn default() -> FoundMaps {
        FoundMaps { code: 0, maps: [(0, 0); FOUND] }
    }
}

impl FoundMaps {
    /// The stack map of the return address `pc` in `code`.
    #[inline]
    fn find<'a>(&mut self, code: &'a CodeMemory, pc: usize) -> Option<StackMap<'a>> {
        let address = std::ptr::from_ref(code).addr();
        if self.code != address {
            *self = FoundMaps { code: address, ..FoundMaps::default() };
        }
        // Calls are some bytes long: their ends differ in more than the last bits.
        let place = &mut self.maps[(pc ^ pc >> 6) % FOUND];
        if place.0 != pc {
            *place = (pc, map_number(code, pc).map_or(0, |number| number as u32 + 1));
        }
        Some(code.image().stack_maps().at(place.1.checked_sub(1)? as usize))
    }
}

/// Iterates over the frames of compiled code, innermost first, through all nested
/// activations on all stacks of one store. After an error it ends.
#[derive(Clone, Debug)]
pub struct StackWalk<'a> {
    frames: RawFrames,
    /// The last frame's code: neighbours are mostly of the same.
    code: Option<Arc<CodeMemory>>,
    _stack: PhantomData<&'a ()>,
}

impl StackWalk<'_> {
    /// # Safety
    /// As for [`RawFrames::from_exit`], for as long as the walk lives.
    pub(crate) unsafe fn new(context: &VMStoreContext) -> Self {
        // SAFETY: passed on.
        let frames = unsafe { RawFrames::from_exit(context) };
        StackWalk { frames, code: None, _stack: PhantomData }
    }

    /// The activation that the last frame is in.
    pub(crate) fn activation(&self) -> *const Activation {
        self.frames.activation
    }

    /// The next frame without its code, which is then in `self.code`.
    fn advance(&mut self) -> Option<Result<RawFrame, IncompleteWalk>> {
        let frame = match self.frames.next()? {
            Ok(frame) => frame,
            Err(why) => return Some(Err(IncompleteWalk { why: why.to_owned() })),
        };
        if self.code.as_ref().is_none_or(|code| code.offset_of(frame.pc).is_none()) {
            self.code = lookup_code(frame.pc);
            if self.code.is_none() {
                self.frames.stop();
                let why = format!("the return address {:#x} is in no published code", frame.pc);
                return Some(Err(IncompleteWalk { why }));
            }
        }
        Some(Ok(frame))
    }
}

impl<'a> Iterator for StackWalk<'a> {
    type Item = Result<Frame<'a>, IncompleteWalk>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.advance()?.map(|RawFrame { pc, fp }| Frame {
            pc,
            fp,
            code: self.code.clone().expect("advance found it"),
            _stack: PhantomData,
        }))
    }
}

/// Adds the references of all frames to `roots`.
///
/// # Safety
/// As for [`RawFrames::from_exit`], until `roots` is cleared.
pub(crate) unsafe fn trace_stack(
    context: &VMStoreContext,
    roots: &mut GcRootsList,
) -> Result<(), IncompleteWalk> {
    // SAFETY: passed on.
    let mut walk = unsafe { StackWalk::new(context) };
    let mut found = FoundMaps::default();
    while let Some(frame) = walk.advance() {
        let RawFrame { pc, fp } = frame?;
        let code = walk.code.as_ref().expect("advance found it");
        let Some(map) = found.find(code, pc) else { continue };
        each_slot(map, fp, |slot| {
            // SAFETY: an aligned slot of a frame that is on the stack and at rest, in
            // which compiled code has stored a reference before the call it is in.
            unsafe { roots.add_stack_root(slot) };
        });
    }
    Ok(())
}

/// The frame that the slot at address `slot` is in.
///
/// # Safety
/// As for [`RawFrames::from_exit`].
pub(crate) unsafe fn frame_of(context: &VMStoreContext, slot: usize) -> Option<FrameSlot> {
    // SAFETY: passed on.
    let frames = unsafe { StackWalk::new(context) };
    frames.map_while(Result::ok).find_map(|frame| {
        let map = frame.code.image().stack_maps().at(map_number(&frame.code, frame.pc)?);
        let sp = frame.fp - map.frame_size as usize;
        let offset = slot.checked_sub(sp).filter(|_| slot < frame.fp)?;
        Some(FrameSlot { function: frame.info()?.name, offset: offset as u32 })
    })
}
