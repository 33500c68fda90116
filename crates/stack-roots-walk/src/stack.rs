//! [`Activation`]: where the frames of compiled code are on a stack, and [`Frames`], a walk over them.

use crate::arch;
use crate::error::WalkError;
use crate::format::Slot;
use crate::tables::Tables;

/// Where the frames of compiled code are on a stack.
///
/// An entry function ([`entry!`](crate::entry)) makes an activation, and an exit function ([`exit!`](crate::exit))
/// records where compiled code left it. Compiled code that calls the runtime, which calls compiled code again, makes a
/// second activation that leads to the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Activation {
    /// The frame pointer of the exit function. Zero if compiled code runs or there is none.
    pub(crate) exit: usize,
    /// The frame pointer of the entry function. Zero if no compiled code is on the stack.
    pub(crate) entry: usize,
}

impl Activation {
    /// A stack without frames of compiled code, as a new thread has.
    pub const NONE: Activation = Activation { exit: 0, entry: 0 };

    /// The activation of the current thread.
    pub fn current() -> Activation {
        // SAFETY: only this thread uses its activation, and no reference to it is kept.
        unsafe { *arch::activation() }
    }

    /// The frame pointers of the exit function and of the entry function. Zero if there is none.
    ///
    /// The chain of frame pointers leads from the first one to the second one.
    pub fn frame_pointers(&self) -> [usize; 2] {
        [self.exit, self.entry]
    }

    /// Makes `self` the activation of the current thread, and returns the one before.
    ///
    /// A runtime with several stacks in a thread, such as coroutines, calls it when it changes the stack: with
    /// [`NONE`](Activation::NONE) for a new stack, and with what this function returned when it returns to one.
    ///
    /// # Safety
    /// It is the activation of the stack on which the thread runs from now on.
    pub unsafe fn replace(self) -> Activation {
        // SAFETY: only this thread uses its activation, and no reference to it is kept.
        unsafe { std::mem::replace(&mut *arch::activation(), self) }
    }
}

/// A frame of compiled code.
#[derive(Clone, Copy, Debug)]
struct FrameAt {
    frame_pointer: usize,
    return_address: usize,
    map: u32,
}

/// A frame of compiled code, for a collector that wants more than [`Frames::visit`] does.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'t> {
    tables: &'t Tables,
    at: FrameAt,
}

impl<'t> Frame<'t> {
    /// The place where the frame's function continues.
    pub fn return_address(&self) -> usize {
        self.at.return_address
    }

    /// The frame pointer.
    pub fn frame_pointer(&self) -> usize {
        self.at.frame_pointer
    }

    /// The addresses of the frame's references, each with its size in bytes.
    pub fn roots(&self) -> impl Iterator<Item = (*mut u8, u32)> + use<'t> {
        let fp = self.at.frame_pointer;
        self.tables.map(self.at.map).0.iter().map(move |word| slot(fp, *word))
    }

    /// The addresses of the frame's derived pointers, each after the address of the reference that it was derived from.
    /// Both have this size in bytes.
    pub fn derived(&self) -> impl Iterator<Item = (*mut u8, *mut u8, u32)> + use<'t> {
        let fp = self.at.frame_pointer;
        self.tables.map(self.at.map).1.iter().map(move |[base, derived]| {
            let (derived, bytes) = slot(fp, *derived);
            (slot(fp, *base).0, derived, bytes)
        })
    }
}

/// The address of the slot with this word in a frame, and its size in bytes.
fn slot(frame_pointer: usize, word: u32) -> (*mut u8, u32) {
    let Slot { offset, bytes } = Slot::in_map(word);
    let address = frame_pointer.wrapping_add_signed(offset as isize);
    (std::ptr::with_exposed_provenance_mut(address), bytes)
}

/// The frames of compiled code on a stack, the innermost one first.
#[derive(Debug)]
pub struct Frames<'t> {
    tables: &'t Tables,
    frames: Vec<FrameAt>,
}

impl Tables {
    /// Walks a stack: finds all frames of compiled code, and their stack maps.
    ///
    /// It reads the frames of compiled code and nothing else of the stack. The frames of the runtime between two
    /// activations are not touched, so the runtime needs no frame pointers.
    ///
    /// # Errors
    /// If one frame has no stack map, or the chain of frames does not lead to the entry. Then no reference is
    /// known, and the collection must not happen.
    ///
    /// # Safety
    /// The stack exists, and the code on it does not run, until the [`Frames`] are dropped: it is the stack of
    /// this thread, or one that is suspended. The activation is the stack's present one, and the compiled code
    /// preserves frame pointers. The tables describe the code on the stack: they are those of its objects, or were
    /// added with the right addresses and removed before other code was there.
    pub unsafe fn walk(&self, activation: Activation) -> Result<Frames<'_>, WalkError> {
        let mut frames = Vec::with_capacity(64);
        let Activation { mut exit, mut entry } = activation;
        // SAFETY: the caller promises that these are frames. Each address that is read is between the exit and the
        // entry of an activation, because the chain only goes up.
        let word =
            |address: usize| unsafe { std::ptr::with_exposed_provenance::<usize>(address).read() };
        if entry == 0 && exit != 0 && self.has_code_at(arch::without_signature(word(exit + 8))) {
            return Err(WalkError::NoEntry);
        }
        while entry != 0 {
            if exit == 0 || exit >= entry {
                return Err(WalkError::NoExit);
            }
            let mut frame_pointer = exit;
            loop {
                let caller = word(frame_pointer);
                let return_address = arch::without_signature(word(frame_pointer + 8));
                if caller <= frame_pointer || caller > entry || !caller.is_multiple_of(8) {
                    let frame = frames.len();
                    return Err(WalkError::BrokenChain { frame_pointer, caller, frame });
                }
                if caller == entry {
                    // The entry function has no row, and only it returns there.
                    break;
                }
                let map = self.row(return_address, frames.len())?;
                frames.push(FrameAt { frame_pointer: caller, return_address, map });
                frame_pointer = caller;
            }
            exit = word(entry - 8);
            entry = word(entry - 16);
        }
        Ok(Frames { tables: self, frames })
    }

    /// Walks the stack of this thread. [`walk`](Tables::walk) says more.
    ///
    /// # Errors
    /// As [`walk`](Tables::walk).
    ///
    /// # Safety
    /// The compiled code preserves frame pointers, and the tables describe it. The function that has called this one does
    /// not return to compiled code until the [`Frames`] are dropped.
    pub unsafe fn walk_current(&self) -> Result<Frames<'_>, WalkError> {
        // SAFETY: it is the stack of this thread, and the caller promises the rest.
        unsafe { self.walk(Activation::current()) }
    }
}

impl<'t> Frames<'t> {
    /// The number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames, the innermost one first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Frame<'t>> + use<'_, 't> {
        let tables = self.tables;
        self.frames.iter().map(move |at| Frame { tables, at: *at })
    }

    /// Shows each reference on the stack to `visit`, which returns the reference that takes its place: the new address
    /// of an object that was moved, or the same one. References of 32 bits are extended with zeros. Of those of 128
    /// bits only the lower half is a reference.
    ///
    /// Derived pointers are adjusted by as much as their bases are.
    pub fn visit(&mut self, mut visit: impl FnMut(u64) -> u64) {
        // The derived pointers stay relative to their bases until this is dropped.
        let _relative = self.tables.has_derived().then(|| Relative::new(self));
        for frame in self.iter() {
            for (slot, bytes) in frame.roots() {
                let old = read(slot, bytes);
                let new = visit(old);
                if new != old {
                    write(slot, bytes, new);
                }
            }
        }
    }
}

/// Frames whose derived pointers are relative to their bases.
struct Relative<'f, 't> {
    frames: &'f Frames<'t>,
}

impl<'f, 't> Relative<'f, 't> {
    fn new(frames: &'f Frames<'t>) -> Relative<'f, 't> {
        for (base, derived, bytes) in frames.iter().flat_map(|frame| frame.derived()) {
            write(derived, bytes, read(derived, bytes).wrapping_sub(read(base, bytes)));
        }
        Relative { frames }
    }
}

impl Drop for Relative<'_, '_> {
    fn drop(&mut self) {
        for (base, derived, bytes) in self.frames.iter().flat_map(|frame| frame.derived()) {
            write(derived, bytes, read(derived, bytes).wrapping_add(read(base, bytes)));
        }
    }
}

/// Reads a slot of a frame.
fn read(slot: *mut u8, bytes: u32) -> u64 {
    // SAFETY: the slot is in a frame that a walk has found, whose code does not run (`Tables::walk`).
    unsafe {
        match bytes {
            4 => slot.cast::<u32>().read_unaligned().into(),
            _ => slot.cast::<u64>().read_unaligned(),
        }
    }
}

/// Writes a slot of a frame.
fn write(slot: *mut u8, bytes: u32, value: u64) {
    // SAFETY: as for `read`.
    unsafe {
        match bytes {
            4 => slot.cast::<u32>().write_unaligned(value as u32),
            _ => slot.cast::<u64>().write_unaligned(value),
        }
    }
}
