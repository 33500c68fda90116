//! The flags of `path_open` and `fd_fdstat_set_flags`, in every combination, and descriptors of what
//! is no regular file.

use crate::common::{DATA, Guest, OUT};
use crate::paths::make_node;
use gc_hosts::wasi::WasiCtxBuilder;
use rustix::fs::FileType;

const EXIST: i32 = 20;
const INVAL: i32 = 28;
const ISDIR: i32 = 31;
const NOENT: i32 = 44;
const NOTDIR: i32 = 54;
const NOTSUP: i32 = 58;

const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;
const SEEK_AND_TELL: u64 = 1 << 2 | 1 << 5;

const CREAT: u64 = 1;
const DIRECTORY: u64 = 2;
const EXCL: u64 = 4;
const TRUNC: u64 = 8;

const APPEND: u64 = 1;
const NONBLOCK: u64 = 4;

/// What `path_open` returns for nothing, a file and a directory.
fn expected(path: &str, oflags: u64, rights: u64) -> Result<(), i32> {
    let has = |flag| oflags & flag != 0;
    if has(DIRECTORY) {
        return match path {
            _ if has(CREAT | EXCL | TRUNC) => Err(INVAL),
            "none" => Err(NOENT),
            "file" => Err(NOTDIR),
            _ if rights & WRITE != 0 => Err(ISDIR),
            _ => Ok(()),
        };
    }
    match path {
        "none" if has(CREAT) => Ok(()),
        "none" => Err(NOENT),
        // Without `CREAT`, `EXCL` has no meaning.
        _ if has(CREAT) && has(EXCL) => Err(EXIST),
        "dir" if has(CREAT | TRUNC) || rights & WRITE != 0 => Err(ISDIR),
        _ => Ok(()),
    }
}

#[test]
fn files_are_opened_with_all_flags() {
    let (mut guest, dir) = Guest::with_dir("files_are_opened_with_all_flags");
    std::fs::create_dir(dir.join("dir")).unwrap();
    let (file, none) = (dir.join("file"), dir.join("none"));
    for oflags in 0..16 {
        for fdflags in 0..32 {
            for rights in [0, READ, WRITE, READ | WRITE] {
                let what = format!("oflags {oflags}, fdflags {fdflags}, rights {rights:#x}");
                std::fs::write(&file, "0123").unwrap();
                for path in ["none", "file", "dir"] {
                    let opened = guest.open(3, path, oflags, rights, fdflags);
                    let expected = expected(path, oflags, rights);
                    assert_eq!(opened.map(drop), expected, "{path}, {what}");
                    let Ok(fd) = opened else { continue };
                    guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
                    let flags = u64::from(guest.get(OUT + 2, 1)[0]);
                    let base = guest.u64(OUT + 8) & (READ | WRITE);
                    if path == "dir" {
                        assert_eq!((guest.get(OUT, 1)[0], base), (3, 0), "{what}");
                    } else {
                        assert_eq!((flags, base), (fdflags, rights), "{path}, {what}");
                    }
                    // Writing through to the disk is slow.
                    if path == "file" && rights & WRITE != 0 && fdflags & 26 == 0 {
                        assert_eq!(guest.write(fd, b"x"), Ok(1), "{what}");
                        let content = std::fs::read_to_string(&file).unwrap();
                        let expected = match (oflags & TRUNC != 0, fdflags & APPEND != 0) {
                            (true, _) => "x",
                            (false, true) => "0123x",
                            (false, false) => "x123",
                        };
                        assert_eq!(content, expected, "{what}");
                    }
                    if path == "file" && oflags & TRUNC != 0 && rights & WRITE == 0 {
                        assert_eq!(std::fs::read(&file).unwrap(), b"", "{what}");
                    }
                    guest.ok("fd_close", &[fd]);
                }
                assert_eq!(none.exists(), expected("none", oflags, rights).is_ok(), "{what}");
                let _ = std::fs::remove_file(&none);
            }
        }
    }
    // Flags that there are not.
    for (oflags, fdflags) in [(16, 0), (1 << 15, 0), (0, 32), (0, 1 << 15)] {
        assert_eq!(guest.open(3, "file", oflags, READ, fdflags), Err(INVAL));
    }
    for lookup in [2, 3, 1 << 15] {
        assert_eq!(guest.open_with(3, lookup, "file", 0, READ, 0), Err(INVAL));
    }
}

#[test]
fn flags_are_changed() {
    let (mut guest, dir) = Guest::with_dir("flags_are_changed");
    std::fs::write(dir.join("file"), "").unwrap();
    for before in [0, APPEND, NONBLOCK, APPEND | NONBLOCK, 2, 16] {
        for after in 0..32 {
            let fd = guest.open(3, "file", 0, READ | WRITE, before).unwrap();
            let changed = before ^ after;
            let errno = if changed & !(APPEND | NONBLOCK) == 0 { 0 } else { NOTSUP };
            let what = format!("{before} to {after}");
            assert_eq!(guest.call("fd_fdstat_set_flags", &[fd, after]), errno, "{what}");
            guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
            let now = if errno == 0 { after } else { before };
            assert_eq!(u64::from(guest.get(OUT + 2, 1)[0]), now, "{what}");
            if errno == 0 && now & !APPEND == 0 {
                std::fs::write(dir.join("file"), "01").unwrap();
                assert_eq!(guest.write(fd, b"x"), Ok(1));
                let content = std::fs::read_to_string(dir.join("file")).unwrap();
                assert_eq!(content, if now & APPEND != 0 { "01x" } else { "x1" }, "{what}");
            }
            guest.ok("fd_close", &[fd]);
        }
    }
    for fd in [0, 3] {
        assert_eq!(guest.call("fd_fdstat_set_flags", &[fd, APPEND]), NOTSUP);
        assert_eq!(guest.call("fd_fdstat_set_flags", &[fd, 0x40]), INVAL);
        guest.ok("fd_fdstat_set_flags", &[fd, 0]);
    }
}

/// The type of a descriptor, and whether it has a position.
fn fdstat(guest: &mut Guest, fd: u64) -> (u8, bool) {
    guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
    (guest.get(OUT, 1)[0], guest.u64(OUT + 8) & SEEK_AND_TELL != 0)
}

#[test]
fn devices_are_no_terminals() {
    let ctx = WasiCtxBuilder::new().preopened_dir("/dev", "/dev").unwrap().build();
    let mut guest = Guest::new(ctx);
    // C libraries take a character device without a position for a terminal.
    let null = guest.open(3, "null", 0, READ | WRITE, 0).unwrap();
    assert_eq!(fdstat(&mut guest, null), (2, true));
    assert_eq!(guest.write(null, b"x"), Ok(1));
    assert_eq!(guest.read(null, 9), Ok(Vec::new()));
    let terminal = guest.open(3, "ptmx", 0, READ | WRITE, 0).unwrap();
    assert_eq!(fdstat(&mut guest, terminal), (2, false));
    // Streams of the host are none either.
    for fd in 0..3 {
        assert_eq!(fdstat(&mut guest, fd), (0, false));
    }
}

#[test]
fn files_of_other_types_are_known() {
    let (mut guest, dir) = Guest::with_dir("files_of_other_types_are_known");
    make_node(&dir.join("pipe"), FileType::Fifo);
    make_node(&dir.join("socket"), FileType::Socket);
    for (path, ty) in [("pipe", 0), ("socket", 6)] {
        for flags in [0, 1] {
            let [at, len] = guest.path(0, path);
            guest.ok("path_filestat_get", &[3, flags, at, len, OUT.into()]);
            assert_eq!(guest.get(OUT + 16, 1), [ty], "{path}");
        }
        assert_eq!(guest.open(3, path, DIRECTORY, READ, 0), Err(NOTDIR), "{path}");
    }
    let pipe = guest.open(3, "pipe", 0, READ | WRITE, 0).unwrap();
    assert_eq!(fdstat(&mut guest, pipe).0, 0);
    // A socket is not a file to open.
    assert!(guest.open(3, "socket", 0, READ, 0).is_err());
    guest.ok("fd_readdir", &[3, DATA.into(), 4096, 0, OUT.into()]);
    let used = guest.u32(OUT);
    let listed = guest.get(DATA, used);
    for (name, ty) in [("pipe", 0), ("socket", 6)] {
        let at = listed.windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap();
        assert_eq!(listed[at - 4], ty, "{name}");
    }
}
