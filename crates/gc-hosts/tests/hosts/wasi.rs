//! Functions of WASI that need no files: arguments, environment, clocks, streams, waiting, and what
//! happens to wrong arguments.

use crate::common::{DATA, FUNCTIONS, Guest, OUT};
use gc_hosts::wasi::{self, WasiCtx, WasiCtxBuilder};
use gc_hosts::{InputStream, MemoryOutputPipe, OutputStream};
use gc_wasm::{Collector, Config, Engine, Linker, Module, Store};
use std::time::{Duration, Instant};

const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NOTSOCK: i32 = 57;
const NOTSUP: i32 = 58;
const SPIPE: i32 = 70;

fn guest() -> Guest {
    Guest::new(WasiCtxBuilder::new().build())
}

#[test]
fn arguments_and_environment_are_read() {
    let ctx = WasiCtxBuilder::new().args(&["prog", "", "ä"]).env("A", "1").build();
    let mut guest = Guest::new(ctx);
    guest.ok("args_sizes_get", &[OUT.into(), u64::from(OUT) + 4]);
    assert_eq!((guest.u32(OUT), guest.u32(OUT + 4)), (3, 9));
    guest.ok("args_get", &[OUT.into(), DATA.into()]);
    assert_eq!(guest.get(DATA, 9), "prog\0\0ä\0".as_bytes());
    assert_eq!([0, 4, 8].map(|at| guest.u32(OUT + at) - DATA), [0, 5, 6]);
    guest.ok("environ_sizes_get", &[OUT.into(), u64::from(OUT) + 4]);
    assert_eq!((guest.u32(OUT), guest.u32(OUT + 4)), (1, 4));
    guest.ok("environ_get", &[OUT.into(), DATA.into()]);
    assert_eq!(guest.get(DATA, 4), b"A=1\0");
    // There is room for the pointers, but not for the text.
    assert_eq!(guest.call("args_get", &[OUT.into(), 0xffff]), FAULT);
}

#[test]
fn streams_are_read_and_written() {
    let (out, err) = (MemoryOutputPipe::new(), MemoryOutputPipe::new());
    let ctx = WasiCtxBuilder::new()
        .stdin(InputStream::new(&b"input"[..]))
        .stdout(OutputStream::new(out.clone()))
        .stderr(OutputStream::new(err.clone()))
        .build();
    let mut guest = Guest::new(ctx);
    guest.put(DATA, b"hello, world\n");
    let [iovs, count] = guest.iovs(&[(DATA, 5), (DATA, 0), (DATA + 5, 8)]);
    guest.ok("fd_write", &[1, iovs, count, OUT.into()]);
    assert_eq!(guest.u32(OUT), 13);
    assert_eq!(guest.write(2, b"oh"), Ok(2));
    assert_eq!((out.contents(), err.contents()), (b"hello, world\n".to_vec(), b"oh".to_vec()));
    assert_eq!(guest.read(0, 3), Ok(b"inp".to_vec()));
    assert_eq!(guest.read(0, 3), Ok(b"ut".to_vec()));
    assert_eq!(guest.read(0, 3), Ok(b"".to_vec()));
    assert_eq!(guest.read(1, 3), Err(BADF));
    assert_eq!(guest.write(0, b"x"), Err(BADF));
    assert_eq!(guest.call("fd_seek", &[1, 0, 0, OUT.into()]), SPIPE);
    assert_eq!(guest.call("fd_tell", &[0, OUT.into()]), SPIPE);
    // Nothing is written if the number of bytes cannot be.
    assert_eq!(guest.call("fd_write", &[1, iovs, count, 0xffff]), FAULT);
    assert_eq!(out.contents().len(), 13);
}

#[test]
fn the_streams_of_nobody_are_empty() {
    let mut guest = guest();
    assert_eq!(guest.read(0, 8), Ok(Vec::new()));
    assert_eq!(guest.write(1, b"lost"), Ok(4));
    guest.ok("fd_fdstat_get", &[1, OUT.into()]);
    assert_eq!(guest.get(OUT, 1), [0]);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[1, 4]), NOTSUP);
    guest.ok("fd_fdstat_set_flags", &[1, 0]);
    assert_eq!(guest.call("fd_prestat_get", &[3, OUT.into()]), BADF);
}

#[test]
fn closed_descriptors_are_no_descriptors() {
    let mut guest = guest();
    guest.ok("fd_close", &[1]);
    for (name, params) in FUNCTIONS {
        if name.starts_with("fd_") || name.starts_with("sock_") {
            let mut args = vec![1];
            args.resize(params.len(), 0);
            assert_eq!(guest.call(name, &args), BADF, "{name}");
        }
    }
    for fd in [4, 0xffff_ffff] {
        assert_eq!(guest.call("fd_close", &[fd]), BADF);
    }
}

#[test]
fn descriptors_are_renumbered() {
    let out = MemoryOutputPipe::new();
    let mut guest =
        Guest::new(WasiCtxBuilder::new().stdout(OutputStream::new(out.clone())).build());
    guest.ok("fd_renumber", &[1, 2]);
    assert_eq!(guest.write(2, b"moved"), Ok(5));
    assert_eq!(out.contents(), b"moved");
    assert_eq!(guest.write(1, b"x"), Err(BADF));
    guest.ok("fd_renumber", &[2, 2]);
    assert_eq!(guest.call("fd_renumber", &[2, 9]), BADF);
    assert_eq!(guest.call("fd_renumber", &[9, 2]), BADF);
}

#[test]
fn there_are_no_sockets() {
    let mut guest = guest();
    assert_eq!(guest.call("sock_accept", &[0, 0, OUT.into()]), NOTSOCK);
    assert_eq!(guest.call("sock_shutdown", &[1, 3]), NOTSOCK);
    assert_eq!(guest.call("sock_shutdown", &[7, 3]), BADF);
}

#[test]
fn clocks_go_forward() {
    let mut guest = guest();
    for clock in 0..4 {
        guest.ok("clock_res_get", &[clock, OUT.into()]);
        assert!((1..1_000_000_000).contains(&guest.u64(OUT)));
        guest.ok("clock_time_get", &[clock, 0, OUT.into()]);
        let begin = guest.u64(OUT);
        guest.ok("clock_time_get", &[clock, 0, OUT.into()]);
        assert!(guest.u64(OUT) >= begin);
    }
    guest.ok("clock_time_get", &[0, 0, OUT.into()]);
    // After 2020.
    assert!(guest.u64(OUT) > 50 * 365 * 24 * 3_600_000_000_000);
    assert_eq!(guest.call("clock_time_get", &[4, 0, OUT.into()]), INVAL);
    assert_eq!(guest.call("clock_res_get", &[0, 0xfffc]), FAULT);
}

#[test]
fn random_bytes_differ() {
    let mut guest = guest();
    guest.ok("random_get", &[DATA.into(), 32]);
    let first = guest.get(DATA, 32);
    guest.ok("random_get", &[DATA.into(), 32]);
    assert_ne!(guest.get(DATA, 32), first);
    assert_eq!(guest.get(DATA + 32, 8), [0; 8]);
    guest.ok("random_get", &[0x1_0000, 0]);
    assert_eq!(guest.call("random_get", &[0xffff, 2]), FAULT);
}

/// Puts a subscription into the memory.
fn subscribe(guest: &mut Guest, index: u32, userdata: u64, kind: u8, fields: &[(u32, u64)]) {
    let at = DATA + 48 * index;
    guest.put(at, &[0; 48]);
    guest.put(at, &userdata.to_le_bytes());
    guest.put(at + 8, &[kind]);
    for (offset, value) in fields {
        guest.put(at + offset, &value.to_le_bytes());
    }
}

/// An event: its user data, its error number, its kind.
fn event(guest: &mut Guest, index: u32) -> (u64, u8, u8) {
    let at = OUT + 32 * index;
    (guest.u64(at), guest.get(at + 8, 1)[0], guest.get(at + 10, 1)[0])
}

const COUNT: u64 = 0x800;

#[test]
fn a_program_waits_for_clocks() {
    let mut guest = guest();
    let poll = |guest: &mut Guest, count: u64| {
        let begin = Instant::now();
        guest.ok("poll_oneoff", &[DATA.into(), OUT.into(), count, COUNT]);
        (guest.u32(COUNT as u32), begin.elapsed())
    };
    // A relative time, and a later one.
    subscribe(&mut guest, 0, 7, 0, &[(16, 1), (24, 20_000_000)]);
    subscribe(&mut guest, 1, 8, 0, &[(16, 0), (24, 60_000_000_000)]);
    let (count, took) = poll(&mut guest, 2);
    assert_eq!((count, event(&mut guest, 0)), (1, (7, 0, 0)));
    assert!(took >= Duration::from_millis(20));
    // A time of the clock that is past.
    subscribe(&mut guest, 0, 9, 0, &[(16, 0), (24, 1), (40, 1)]);
    let (count, _) = poll(&mut guest, 2);
    assert_eq!((count, event(&mut guest, 0)), (1, (9, 0, 0)));
    // No such clock, and no such flags.
    subscribe(&mut guest, 0, 1, 0, &[(16, 9), (24, 1)]);
    subscribe(&mut guest, 1, 2, 0, &[(16, 1), (24, 1), (40, 2)]);
    let (count, _) = poll(&mut guest, 2);
    assert_eq!(count, 2);
    assert_eq!([0, 1].map(|i| event(&mut guest, i)), [(1, 28, 0), (2, 28, 0)]);
}

#[test]
fn a_program_waits_for_files() {
    let (mut guest, _) = Guest::with_dir("a_program_waits_for_files");
    let fd = guest.open(3, "f", 1, 1 << 6, 0).unwrap();
    subscribe(&mut guest, 0, 1, 2, &[(16, fd)]);
    subscribe(&mut guest, 1, 2, 1, &[(16, 0)]);
    subscribe(&mut guest, 2, 3, 1, &[(16, 99)]);
    subscribe(&mut guest, 3, 4, 1, &[(16, fd)]);
    guest.ok("poll_oneoff", &[DATA.into(), OUT.into(), 4, COUNT]);
    assert_eq!(guest.u32(COUNT as u32), 4);
    let events = [0, 1, 2, 3].map(|i| event(&mut guest, i));
    // The file is open to be written, standard input is at its end, 99 is not open.
    assert_eq!(events, [(1, 0, 2), (2, 0, 1), (3, 8, 1), (4, 8, 1)]);
}

#[test]
fn subscriptions_that_are_none() {
    let mut guest = guest();
    assert_eq!(guest.call("poll_oneoff", &[DATA.into(), OUT.into(), 0, COUNT]), INVAL);
    subscribe(&mut guest, 0, 1, 3, &[]);
    assert_eq!(guest.call("poll_oneoff", &[DATA.into(), OUT.into(), 1, COUNT]), INVAL);
    for (subscriptions, events, count, out) in [
        (0xfff0, u64::from(OUT), 1, COUNT),
        (DATA.into(), 0xfff0, 1, COUNT),
        (DATA.into(), OUT.into(), 1, 0xffff),
        (DATA.into(), OUT.into(), 0x1_0000, COUNT),
    ] {
        assert_eq!(guest.call("poll_oneoff", &[subscriptions, events, count, out]), FAULT);
    }
    // More than any program has descriptors would keep the host busy.
    for count in [0x1_0001, 0xffff_ffff] {
        assert_eq!(guest.call("poll_oneoff", &[DATA.into(), OUT.into(), count, COUNT]), INVAL);
    }
}

#[test]
fn signals_are_not_sent() {
    let mut guest = guest();
    guest.ok("proc_raise", &[0]);
    assert_eq!(guest.call("proc_raise", &[6]), NOTSUP);
    assert_eq!(guest.call("proc_raise", &[31]), INVAL);
    guest.ok("sched_yield", &[]);
}

/// Whatever the arguments are, a call returns an error number, and nothing outside the directory
/// changes.
#[test]
fn no_arguments_do_harm() {
    let (mut guest, dir) = Guest::with_dir("no_arguments_do_harm");
    let outside = dir.parent().unwrap().join("outside");
    std::fs::write(&outside, "outside").unwrap();
    std::os::unix::fs::symlink("../outside", dir.join("link")).unwrap();
    std::fs::write(dir.join("file"), "file").unwrap();
    for (at, path) in [(0x100, "../outside"), (0x110, "link"), (0x120, "file"), (0x130, "new")] {
        guest.put(at, path.as_bytes());
    }
    let interesting = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        10,
        16,
        64,
        0x100,
        0x110,
        0x120,
        0x130,
        0x8000,
        0xfff8,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        0xffff_ffff,
        u64::MAX >> 1,
        u64::MAX,
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        interesting[(random % interesting.len() as u64) as usize]
    };
    for _ in 0..400 {
        for (name, params) in FUNCTIONS {
            // These would wait, or fill the disk.
            if ["poll_oneoff", "fd_allocate"].contains(name) {
                continue;
            }
            let args: Vec<u64> = params.chars().map(|_| next()).collect();
            let errno = guest.call(name, &args);
            assert!((0..77).contains(&errno), "{name}{args:?}: {errno}");
        }
    }
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "outside");
    let entries = std::fs::read_dir(dir.parent().unwrap()).unwrap().count();
    assert_eq!(entries, 2, "the directory and the file beside it");
}

/// A program with a heap, whose references live across calls of WASI.
#[test]
fn calls_keep_the_heap_under_zeal() {
    const PROGRAM: &str = r#"(module
        (type $node (struct (field i32) (field (ref null $node))))
        (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\01\00\00\00")
        (func (export "run") (result i32) (local $i i32) (local $list (ref null $node))
            (loop $more
                (local.set $list (struct.new $node (local.get $i) (local.get $list)))
                (drop (struct.new $node (i32.const -1) (ref.null $node)))
                (i32.store8 (i32.const 16) (i32.add (i32.const 0x61) (local.get $i)))
                (if (call $random (i32.const 32) (i32.const 8)) (then (unreachable)))
                (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
                    (then (unreachable)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $more (i32.lt_s (local.get $i) (i32.const 26))))
            (local.set $i (i32.const 0))
            (loop $more
                (local.set $i (i32.add (local.get $i) (struct.get $node 0 (local.get $list))))
                (local.set $list (struct.get $node 1 (local.get $list)))
                (br_if $more (i32.eqz (ref.is_null (local.get $list)))))
            (local.get $i)))"#;
    for collector in Collector::all() {
        for zeal in [0, 1] {
            let mut config = Config::new();
            config.collector(collector.clone()).gc_zeal(zeal);
            let engine = Engine::new(&config).unwrap();
            let module = Module::new(&engine, PROGRAM).unwrap();
            let stdout = MemoryOutputPipe::new();
            let ctx = WasiCtxBuilder::new().stdout(OutputStream::new(stdout.clone())).build();
            let mut store = Store::new(&engine, ctx);
            let mut linker = Linker::new(&engine);
            wasi::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx).unwrap();
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
            assert_eq!(run.call(&mut store, ()).unwrap(), (0..26).sum::<i32>());
            assert_eq!(stdout.contents(), b"abcdefghijklmnopqrstuvwxyz");
        }
    }
}
