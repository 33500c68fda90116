//! Signals that do not come from compiled code must have the same effect as without this crate.
//! Each scenario runs in its own process, which is this test binary started again.

mod common;

use common::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, TrapCode, types};
use gc_compiler::import_host_call;
use gc_types::{HostCall, Trap, ValRaw};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const SCENARIO: &str = "GC_JIT_TEST_SCENARIO";

fn run(scenario: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scenario", "--nocapture", "--test-threads=1"])
        .env(SCENARIO, scenario)
        .output()
        .unwrap()
}

/// In a child process, runs the scenario for which the process was started. Otherwise it does
/// nothing.
#[test]
fn scenario() {
    match std::env::var(SCENARIO).as_deref() {
        Ok("host overflow") => in_host_call(overflow_now),
        Ok("host null") => in_host_call(null_now),
        Ok("host null outside") => {
            trap_once();
            null_now();
        }
        Ok("unlisted") => unlisted(),
        Ok("chained") => {
            install(libc::SIGSEGV, exit_42, libc::SA_SIGINFO);
            trap_once();
            null_now();
        }
        Ok("sent") => sent(),
        Ok("ignored") => ignored(),
        Ok("sent to the default") => {
            // SAFETY: dispositions of this child alone.
            unsafe { libc::signal(libc::SIGFPE, libc::SIG_DFL) };
            trap_once();
            // SAFETY: a signal to this process.
            unsafe { libc::kill(libc::getpid(), libc::SIGFPE) };
            std::thread::sleep(std::time::Duration::from_secs(10));
        }
        Ok(other) => panic!("unknown scenario {other}"),
        Err(_) => {}
    }
}

#[test]
fn a_host_stack_overflow_is_reported_by_rust() {
    let output = run("host overflow");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("has overflowed its stack"), "{text}");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
}

#[test]
fn a_host_fault_kills_the_process_inside_and_outside_an_activation() {
    for scenario in ["host null", "host null outside"] {
        assert_eq!(run(scenario).status.signal(), Some(libc::SIGSEGV), "{scenario}");
    }
}

#[test]
fn a_fault_at_an_instruction_that_cannot_trap_kills_the_process() {
    let output = run("unlisted");
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV));
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find(|line| line.starts_with("fault in compiled code: SIGSEGV from an access to 0x"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(", at +0x") && line.contains(" in `"), "{line}");
}

#[test]
fn the_handler_that_was_there_before_is_called() {
    assert_eq!(run("chained").status.code(), Some(42));
}

#[test]
fn a_signal_that_someone_sends_is_no_trap() {
    for scenario in ["sent", "ignored"] {
        let output = run(scenario);
        assert!(output.status.success(), "{scenario}: {output:?}");
    }
    assert_eq!(run("sent to the default").status.signal(), Some(libc::SIGFPE));
}

type Action = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

fn install(signal: libc::c_int, action: Action, flags: libc::c_int) {
    // SAFETY: a valid disposition, in a child process.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = action as usize;
        new.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &new, std::ptr::null_mut()), 0);
    }
}

extern "C" fn exit_42(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: async-signal-safe.
    unsafe { libc::_exit(42) }
}

/// Causes one trap, which installs the handler.
fn trap_once() {
    let compiler = compiler();
    let signature = signature(&[types::I32], &[types::I32]);
    let code = publish(
        vec![compile(&compiler, signature.clone(), |b, params| {
            let quotient = b.ins().sdiv(params[1], params[1]);
            b.ins().return_(&[quotient]);
        })],
        &[],
    );
    let error = fixture().call(&code, 0, &signature, &[ValRaw::ZERO]).unwrap_err();
    assert_eq!(error.trap(), Some(Trap::IntegerDivisionByZero));
}

fn null_now() {
    // SAFETY: this is not safe. The test needs the fault, in a child process.
    unsafe {
        let zero = std::hint::black_box(0usize);
        std::hint::black_box((zero as *const u32).read_volatile());
    }
}

#[allow(unconditional_recursion)]
fn overflow(n: u64) -> u64 {
    let space = std::hint::black_box([n; 64]);
    overflow(n + 1) + space[3]
}

fn overflow_now() {
    std::hint::black_box(overflow(0));
}

static IN_HOST: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();

/// Runs `body` in a host function that compiled code calls.
fn in_host_call(body: fn()) {
    gc_jit::host_calls! {
        /// One call.
        trait Calls;
        /// Its signature.
        const CALLS from HostCall::FIRST_EMBEDDER, named "";

        /// Runs the body.
        HOST: fn host();
    }
    impl Calls for TestStore {
        fn host(&mut self, _caller: usize) {
            IN_HOST.get().unwrap()();
        }
    }
    trap_once();
    IN_HOST.set(body).unwrap();
    let compiler = compiler();
    let signature = signature(&[], &[]);
    let caller = compile(&compiler, signature.clone(), |b, params| {
        let host = import_host_call(b.func, HOST, &CALLS[0].1);
        b.ins().call(host, &[params[0]]);
        b.ins().return_(&[]);
    });
    let code = publish(vec![caller], CALLS);
    let _ = fixture_of((), &TestStore::host_calls(), CALLS).call(&code, 0, &signature, &[]);
}

fn unlisted() {
    trap_once();
    let compiler = compiler();
    let signature = signature(&[types::I64], &[types::I32]);
    let function = compile(&compiler, signature.clone(), |b, params| {
        let value = b.ins().load(types::I32, MemFlagsData::trusted(), params[1], 0);
        b.ins().return_(&[value]);
    });
    let code = publish(vec![function], &[]);
    let _ = fixture().call(&code, 0, &signature, &[ValRaw::ZERO]);
}

static RECEIVED: AtomicU32 = AtomicU32::new(0);

extern "C" fn receive(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    RECEIVED.fetch_add(1, Ordering::Relaxed);
}

/// A thread loops in compiled code, nearly always in a load that may trap. Another thread sends it
/// the signal that such a trap raises.
fn sent() {
    install(libc::SIGSEGV, receive, libc::SA_SIGINFO);
    static STOP: AtomicU64 = AtomicU64::new(0);
    let compiler = compiler();
    let signature = signature(&[types::I64], &[types::I64]);
    let spin = compile(&compiler, signature.clone(), |b, params| {
        let (again, done) = (b.create_block(), b.create_block());
        b.ins().jump(again, &[]);
        b.switch_to_block(again);
        let code = TrapCode::unwrap_user(Trap::MemoryOutOfBounds.code());
        let flags = MemFlagsData::new().with_trap_code(Some(code));
        let stop = b.ins().atomic_load(types::I64, flags, params[1]);
        let go_on = b.ins().icmp_imm_s(IntCC::Equal, stop, 0);
        b.ins().brif(go_on, again, &[], done, &[]);
        b.switch_to_block(done);
        b.ins().return_(&[stop]);
    });
    let code = publish(vec![spin], &[]);
    // SAFETY: this thread lives until it has been joined below.
    let thread = unsafe { libc::pthread_self() };
    let sender = std::thread::spawn(move || {
        for i in 1..=500 {
            // SAFETY: the target runs until STOP is set below.
            unsafe { libc::pthread_kill(thread, libc::SIGSEGV) };
            while RECEIVED.load(Ordering::Relaxed) < i {
                std::thread::yield_now();
            }
        }
        STOP.store(9, Ordering::SeqCst);
    });
    let mut fixture = fixture();
    let args = [ValRaw::funcref(STOP.as_ptr().cast())];
    let result = fixture.call(&code, 0, &signature, &args).unwrap();
    assert_eq!(result[0].get_u64(), 9);
    sender.join().unwrap();
    assert_eq!(RECEIVED.load(Ordering::Relaxed), 500);
}

/// A signal that is ignored and sent stays ignored, and a later fault is a trap.
fn ignored() {
    // SAFETY: dispositions of this child alone.
    unsafe { libc::signal(libc::SIGFPE, libc::SIG_IGN) };
    trap_once();
    // SAFETY: a signal to this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGFPE) };
    trap_once();
}
