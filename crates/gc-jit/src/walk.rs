//! Stack walks find the frames of compiled code on a store's stacks by frame pointer, and the
//! references in them.
//!
//! Each activation's part of a stack lies between two trampolines that recorded their frame
//! pointers: the exit trampoline, by which compiled code was left, and the entry trampoline. A walk
//! goes from the exit to the entry, then to the activation below. When a stack has no more
//! activations, the walk goes to the store's suspended stacks. Every frame between the trampolines
//! must belong to compiled code, and frame pointers must rise towards the entry. Otherwise the
//! frames cannot be trusted and roots may be missing ([`IncompleteWalk`]).
#![allow(unsafe_code)]

use crate::vmcontext::SuspendedStack;
use crate::{Activation, CodeMemory, FrameInfo, VMStoreContext, arch, lookup_code};
use gc_heap::{FrameSlot, GcRootsList, IncompleteWalk};
use gc_types::StackMap;
use std::marker::PhantomData;
use std::sync::Arc;

const WORD: usize = size_of::<usize>();

pub(crate) fn incomplete(why: impl Into<String>) -> IncompleteWalk {
    IncompleteWalk { why: why.into() }
}

/// The error for a frame that runs no published code.
pub(crate) fn unpublished(frame: RawFrame) -> IncompleteWalk {
    incomplete(format!("the return address {:#x} is not in published code", frame.pc))
}

/// One frame, before its code is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawFrame {
    /// The address of the faulting instruction, or the return address of the frame's call.
    pub(crate) pc: usize,
    /// Its frame pointer.
    pub(crate) fp: usize,
}

/// Follows frame pointers. It allocates nothing and reads only the stack.
#[derive(Clone, Debug)]
pub(crate) struct RawFrames {
    /// The activation of the next frames. Null at the end.
    activation: *const Activation,
    /// The next frame. `None` if compiled code of the activation was not left by a trampoline.
    next: Option<RawFrame>,
    /// The next frame pointer on this stack must be above this address.
    above: usize,
    /// The stack that follows this one. Null for the last.
    next_stack: *const SuspendedStack,
}

impl RawFrames {
    /// A walk that begins where compiled code last called the host.
    ///
    /// # Safety
    /// The frames of the context's activations are on their stacks, and none of them runs while the
    /// walk is used.
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

    /// A walk that begins at a fault in compiled code of the innermost activation.
    ///
    /// # Safety
    /// As for [`from_exit`](RawFrames::from_exit). The registers are those of the fault, and the
    /// faulting function has already set up its frame pointer.
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

    /// The activation of the last frame.
    pub(crate) fn activation(&self) -> *const Activation {
        self.activation
    }

    /// Ends the walk.
    fn stop(&mut self) {
        self.activation = std::ptr::null();
        self.next_stack = std::ptr::null();
    }

    /// Continues with `activation`, which was left by the trampoline with the frame pointer
    /// `exit_fp`.
    unsafe fn enter(&mut self, mut activation: *const Activation, mut exit_fp: usize) {
        // SAFETY: the activations on the store's list are alive.
        while let Some(empty) = unsafe { activation.as_ref() }
            && empty.entry_fp == 0
        {
            // No compiled code was entered in this activation, because the host called a host
            // function.
            (activation, exit_fp) = (empty.previous, empty.saved_last_exit_fp);
        }
        self.activation = activation;
        self.next = None;
        if !activation.is_null() && exit_fp > self.above && exit_fp.is_multiple_of(WORD) {
            self.above = exit_fp;
            // SAFETY: a trampoline stored its frame pointer there. Its frame is on the stack, below
            // the entry trampoline's.
            self.next = Some(unsafe { RawFrame::caller(exit_fp) });
        }
    }

    /// The next frame, from inner to outer. `None` after the outermost frame.
    pub(crate) fn next(&mut self) -> Option<Result<RawFrame, &'static str>> {
        loop {
            if self.activation.is_null() {
                // SAFETY: a suspended stack's words are in the frame of the call that waits for
                // another stack to end.
                let stack = unsafe { self.next_stack.as_ref()? };
                self.next_stack = stack.next;
                self.above = 0;
                // SAFETY: these values were recorded when the stack was suspended.
                unsafe { self.enter(stack.words.activation, stack.words.last_exit_fp) };
                continue;
            }
            // SAFETY: activations live in the frames of the calls that made them. These frames are
            // on the stack as long as the activation is in the chain.
            let activation = unsafe { &*self.activation };
            let Some(frame) = self.next else {
                self.stop();
                return Some(Err("compiled code was not left through a trampoline"));
            };
            if frame.fp == activation.entry_fp {
                // SAFETY: these values were recorded when this activation began.
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
            // SAFETY: the address lies between existing frames of this stack.
            self.next = Some(unsafe { RawFrame::caller(frame.fp) });
            return Some(Ok(frame));
        }
    }
}

impl RawFrame {
    /// The caller of the frame with the frame pointer `fp`.
    unsafe fn caller(fp: usize) -> RawFrame {
        let fp: *const usize = std::ptr::with_exposed_provenance(fp);
        // SAFETY: the caller promises two readable words of the stack.
        unsafe { RawFrame { fp: fp.read(), pc: arch::without_signature(fp.add(1).read()) } }
    }
}

/// A frame of compiled code that has called other compiled code or the host.
///
/// Only a [`StackWalk`] makes frames, and nobody can change them. Their methods read the memory to
/// which the frame pointer points.
///
/// ```compile_fail,E0616
/// fn move_to(frame: &mut gc_jit::Frame<'_>, address: usize) {
///     frame.fp = address;
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    pc: usize,
    fp: usize,
    code: Arc<CodeMemory>,
    _stack: PhantomData<&'a ()>,
}

impl Frame<'_> {
    /// The return address of the frame's call.
    pub fn pc(&self) -> usize {
        self.pc
    }

    /// Its frame pointer.
    pub fn fp(&self) -> usize {
        self.fp
    }

    /// The code that it runs.
    pub fn code(&self) -> &Arc<CodeMemory> {
        &self.code
    }

    /// The function that contains the code, and the source location of the call in it. Functions
    /// that were inlined there are left out.
    pub fn info(&self) -> Option<FrameInfo> {
        self.code.containing(self.pc - 1)
    }

    /// The vmctx of the function, if the image names a slot in which the function keeps it.
    pub fn vmctx(&self) -> Option<*mut u8> {
        // SAFETY: the frame is on the stack as long as the walk is borrowed.
        unsafe { vmctx_of(&self.code, RawFrame { pc: self.pc, fp: self.fp }) }
    }

    /// The references that are live in this frame, as `(slot, word)`.
    pub fn roots(&self) -> Vec<(*mut u64, u64)> {
        let mut roots = Vec::new();
        let Some(number) = map_number(&self.code, self.pc) else { return roots };
        each_slot(self.code.image().stack_maps().at(number), self.fp, |slot| {
            // SAFETY: the slot is in a frame that is on the stack.
            roots.push((slot, unsafe { slot.read() }));
        });
        roots
    }
}

/// The vmctx of the function of a frame, if the image names a slot in which the function keeps it.
///
/// # Safety
/// The frame is on the stack and runs `code`.
pub(crate) unsafe fn vmctx_of(code: &CodeMemory, frame: RawFrame) -> Option<*mut u8> {
    let offset = code.offset_of(frame.pc - 1)?;
    // SAFETY: passed on.
    unsafe { vmctx_in(code.image().vmctx_slot_at(offset)?, frame) }
}

/// The vmctx in the slot that is `slot` bytes below the frame pointer. Zero means that there is none.
///
/// # Safety
/// The frame is on the stack, and this is the slot of its function.
pub(crate) unsafe fn vmctx_in(slot: u32, frame: RawFrame) -> Option<*mut u8> {
    let slot = (slot != 0).then_some(slot as usize)?;
    let slot: *const *mut u8 = std::ptr::with_exposed_provenance(frame.fp - slot);
    // SAFETY: the slot is part of the frame. The function wrote it before it called anything.
    Some(unsafe { slot.read() })
}

/// The number of the stack map of the return address `pc`. A call without a stack map has no live
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

/// The number of return addresses whose maps are cached.
const FOUND: usize = 64;

/// A cache of stack maps: a deep stack consists mostly of the same calls.
struct FoundMaps {
    /// The address of the `CodeMemory` to which the maps belong.
    code: usize,
    /// Return addresses, and the numbers of their maps plus one. Zero means no map.
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
        // Call instructions have several bytes, so return addresses differ in more than the lowest
        // bits.
        let place = &mut self.maps[(pc ^ pc >> 6) % FOUND];
        if place.0 != pc {
            *place = (pc, map_number(code, pc).map_or(0, |number| number as u32 + 1));
        }
        Some(code.image().stack_maps().at(place.1.checked_sub(1)? as usize))
    }
}

/// An iterator over the frames of compiled code, innermost first, in all nested activations on all
/// stacks of one store. It ends after an error.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// # use gc_compiler::import_host_call;
/// # use gc_jit::{JitStore, call};
/// # use gc_types::CallSignature;
/// # fn main() -> anyhow::Result<()> {
/// # let prepared = prepare(&CallSignature::new([], []), |b, params| {
/// #     let callee = import_host_call(b.func, HOST, abi().host_call(HOST).unwrap());
/// #     b.ins().call(callee, &[params[0]]);
/// #     b.ins().return_(&[]);
/// # })?;
/// # let Prepared { mut store, trampoline, function, mut vmctx } = prepared;
/// // In a host function that the compiled function `f` calls:
/// # store.host = |store| {
/// let mut names = Vec::new();
/// for frame in store.jit().stack_walk() {
///     let frame = frame.expect("all frames are known");
///     names.extend(frame.info().map(|info| info.name));
/// }
/// assert_eq!(names, ["f"]);
/// # };
/// # let vmctx = (&raw mut *vmctx).cast();
/// # // SAFETY: the function has no parameters. The store has its code and the vmctx.
/// # unsafe { call(&mut store, &trampoline, function, vmctx, &mut [])? };
/// // When no compiled code runs, there are no frames.
/// assert_eq!(store.jit().stack_walk().count(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StackWalk<'a> {
    frames: RawFrames,
    /// The last frame's code. Adjacent frames mostly have the same code.
    code: Option<Arc<CodeMemory>>,
    _stack: PhantomData<&'a ()>,
}

impl StackWalk<'_> {
    /// # Safety
    /// As for [`RawFrames::from_exit`], as long as the walk lives.
    pub(crate) unsafe fn new(context: &VMStoreContext) -> Self {
        // SAFETY: passed on.
        let frames = unsafe { RawFrames::from_exit(context) };
        StackWalk { frames, code: None, _stack: PhantomData }
    }

    /// The activation of the last frame.
    pub(crate) fn activation(&self) -> *const Activation {
        self.frames.activation()
    }

    /// The next frame. Its code is then in `self.code`.
    pub(crate) fn advance(&mut self) -> Option<Result<RawFrame, IncompleteWalk>> {
        let frame = match self.frames.next()? {
            Ok(frame) => frame,
            Err(why) => return Some(Err(incomplete(why))),
        };
        if self.code.as_ref().is_none_or(|code| code.offset_of(frame.pc).is_none()) {
            self.code = lookup_code(frame.pc);
            if self.code.is_none() {
                self.frames.stop();
                return Some(Err(unpublished(frame)));
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
    let mut frames = 0;
    while let Some(frame) = walk.advance() {
        let RawFrame { pc, fp } = frame?;
        frames += 1;
        let code = walk.code.as_ref().expect("advance found it");
        let Some(map) = found.find(code, pc) else {
            if code.image().has_all_stack_maps() {
                return Err(incomplete(format!(
                    "the call that returns to {pc:#x} has no stack map"
                )));
            }
            continue;
        };
        each_slot(map, fp, |slot| {
            // SAFETY: the slot is aligned and in a frame that is on the stack and does not run.
            // Compiled code stored a reference in it before the call.
            unsafe { roots.add_stack_root(slot) };
        });
    }
    roots.add_frames(frames);
    Ok(())
}

/// The frame of the slot at address `slot`.
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
