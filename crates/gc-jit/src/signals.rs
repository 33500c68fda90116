//! Faults of compiled code become traps.
//!
//! Compiled code makes few checks itself. A null dereference, an explicit trap and, on some processors, a division by
//! zero raise a signal. The handler asks four questions. Does this thread run compiled
//! code? Did the kernel raise the signal because of an instruction? Is that instruction in
//! published code and listed as one that may trap? For a heap access, is the address in the heap?
//! If the answers are yes, the handler records the stack for a backtrace, sets the registers to the
//! innermost activation's handler, and returns. `sigreturn` restores the signal mask and the
//! floating-point state of the compiled code.
//!
//! Any other signal does not belong to compiled code, or shows a bug in it, which is printed (`fault.rs`).
//! The previous handler gets it: Rust's own, which reports stack overflows of the host, or the
//! embedder's. If there was no handler, the default action is reinstalled and the instruction faults
//! again.
#![allow(unsafe_code)]

use crate::arch::{Interrupted, SIGNALS};
use crate::os;
use crate::walk::RawFrames;
use crate::{fault, registry, stack};
use anyhow::{Result, anyhow};
use gc_types::Trap;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// The actions that were installed before, by index in [`SIGNALS`].
static PREVIOUS: [OnceLock<libc::sigaction>; SIGNALS.len()] =
    [const { OnceLock::new() }; SIGNALS.len()];

/// Installs the handler, once per process.
///
/// # Errors
/// If the operating system refuses.
pub(crate) fn install() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        for (i, signal) in SIGNALS.into_iter().enumerate() {
            // SAFETY: this queries and changes signal dispositions with valid arguments. The
            // previous action is stored before the handler can run.
            unsafe {
                let mut previous = MaybeUninit::uninit();
                if libc::sigaction(signal, std::ptr::null(), previous.as_mut_ptr()) != 0 {
                    return Err(std::io::Error::last_os_error().to_string());
                }
                PREVIOUS[i].get_or_init(|| previous.assume_init());
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handle as *const () as usize;
                // The handler runs on the alternate stack, if there is one: a stack overflow of the
                // host also calls this handler.
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                if libc::sigaction(signal, &action, std::ptr::null_mut()) != 0 {
                    return Err(std::io::Error::last_os_error().to_string());
                }
            }
        }
        Ok(())
    });
    installed.as_ref().copied().map_err(|why| anyhow!("cannot handle signals: {why}"))
}

unsafe extern "C" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the arguments are the kernel's. `errno` belongs to this thread and is restored.
    unsafe {
        let errno = *os::errno();
        let interrupted = Interrupted::new(context);
        let pc = interrupted.pc();
        let ours = deliver(signal, &*info, interrupted);
        // Only the kernel raises a signal in compiled code, and only while this thread runs some.
        if !ours && (*info).si_code > 0 && !stack::running().is_null() {
            report(signal, pc, &*info);
        }
        *os::errno() = errno;
        if !ours {
            forward(signal, info, context);
        }
    }
}

/// Turns the fault into a trap. Returns `false` if it is not compiled code's.
unsafe fn deliver(
    signal: libc::c_int,
    info: &libc::siginfo_t,
    mut interrupted: Interrupted<'_>,
) -> bool {
    // If the code is positive, the kernel raised the signal. Otherwise a process sent it.
    if info.si_code <= 0 {
        return false;
    }
    // SAFETY: the call that set the context keeps it alive until it sets another one.
    let Some(context) = (unsafe { stack::running().as_ref() }) else { return false };
    let pc = interrupted.pc();
    let trap = registry::with_code(pc, |code| code.image().trap_at(code.offset_of(pc)?));
    let Some(Some(trap)) = trap else { return false };
    let trap = match signal {
        libc::SIGSEGV | libc::SIGBUS => {
            // SAFETY: these signals have an address.
            let address = unsafe { info.si_addr() }.addr();
            match context.classify_fault(trap, address) {
                Some(trap) => trap,
                None => return false,
            }
        }
        _ => trap,
    };
    // SAFETY: activations live in the frames of the calls that made them.
    let Some(activation) = (unsafe { context.stack.activation.get().as_ref() }) else {
        return false;
    };
    // SAFETY: this thread is in compiled code, in its innermost activation.
    let frames = unsafe { RawFrames::from_fault(context, pc, interrupted.fp(), interrupted.sp()) };
    context.traced.note(frames.pcs(), true);
    let entry_fp = activation.entry_fp;
    let status = u64::from(Trap::code(trap));
    interrupted.resume_at(
        entry_fp - activation.frame_offset,
        entry_fp,
        activation.handler_pc,
        status,
    );
    true
}

/// Says which function raised the signal, if compiled code did.
unsafe fn report(signal: libc::c_int, pc: usize, info: &libc::siginfo_t) {
    // The kernel does not tell an address that no page can have.
    // SAFETY: these signals have an address.
    let address = || (info.si_code != os::SI_KERNEL).then(|| unsafe { info.si_addr() }.addr());
    match signal {
        libc::SIGSEGV => fault::report("SIGSEGV", pc, address()),
        libc::SIGBUS => fault::report("SIGBUS", pc, address()),
        libc::SIGILL => fault::report("SIGILL", pc, None),
        _ => fault::report("SIGFPE", pc, None),
    }
}

/// Passes the signal to the previous handler.
unsafe fn forward(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = SIGNALS.iter().position(|s| *s == signal).and_then(|i| PREVIOUS[i].get());
    // SAFETY: the previous action is called with the arguments that it asked for, or it is
    // reinstalled and the instruction runs again.
    unsafe {
        let Some(previous) = previous else {
            libc::signal(signal, libc::SIG_DFL);
            return;
        };
        // A fault happens again when the instruction runs again. A signal that was sent does not.
        let sent = (*info).si_code <= 0;
        if previous.sa_sigaction == libc::SIG_IGN && sent {
            return;
        }
        if previous.sa_sigaction == libc::SIG_DFL || previous.sa_sigaction == libc::SIG_IGN {
            libc::sigaction(signal, previous, std::ptr::null_mut());
            if sent {
                libc::raise(signal);
            }
        } else if previous.sa_flags & libc::SA_SIGINFO != 0 {
            type Action =
                unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            std::mem::transmute::<usize, Action>(previous.sa_sigaction)(signal, info, context);
        } else {
            type Handler = unsafe extern "C" fn(libc::c_int);
            std::mem::transmute::<usize, Handler>(previous.sa_sigaction)(signal);
        }
    }
}
