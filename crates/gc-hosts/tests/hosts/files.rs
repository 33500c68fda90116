//! Functions of WASI for files and directories, and what keeps a program inside its directories.

use crate::common::{DATA, Guest, OUT};
use gc_hosts::wasi::WasiCtxBuilder;
use std::os::unix::fs::symlink;

const BADF: i32 = 8;
const EXIST: i32 = 20;
const FAULT: i32 = 21;
const ILSEQ: i32 = 25;
const INVAL: i32 = 28;
const ISDIR: i32 = 31;
const LOOP: i32 = 32;
const NAMETOOLONG: i32 = 37;
const NOENT: i32 = 44;
const NOTDIR: i32 = 54;
const NOTEMPTY: i32 = 55;
const NOTSUP: i32 = 58;
const PERM: i32 = 63;

const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;

const CREAT: u64 = 1;
const DIRECTORY: u64 = 2;
const EXCL: u64 = 4;
const TRUNC: u64 = 8;

const APPEND: u64 = 1;

#[test]
fn a_missing_directory_is_an_error_of_the_host() {
    let mut builder = WasiCtxBuilder::new();
    let error = builder.preopened_dir("there/is/none", "/").unwrap_err();
    assert!(error.to_string().contains("there/is/none"), "{error:#}");
}

#[test]
fn preopened_directories_have_names() {
    let (mut guest, dir) = Guest::with_dir("preopened_directories_have_names");
    guest.ok("fd_prestat_get", &[3, OUT.into()]);
    assert_eq!((guest.u32(OUT), guest.u32(OUT + 4)), (0, 1));
    guest.ok("fd_prestat_dir_name", &[3, DATA.into(), 1]);
    assert_eq!(guest.get(DATA, 2), b"/\0");
    assert_eq!(guest.call("fd_prestat_dir_name", &[3, DATA.into(), 0]), NAMETOOLONG);
    assert_eq!(guest.call("fd_prestat_dir_name", &[3, 0x1_0000, 9]), FAULT);
    assert_eq!(guest.call("fd_prestat_get", &[4, OUT.into()]), BADF);
    assert_eq!(guest.call("fd_prestat_get", &[0, OUT.into()]), BADF);
    std::fs::create_dir(dir.join("sub")).unwrap();
    let sub = guest.open(3, "sub", DIRECTORY, READ, 0).unwrap();
    assert_eq!(guest.call("fd_prestat_get", &[sub, OUT.into()]), BADF);
    // What is given to the program can be written to the disk, and has times.
    for fd in [3, sub] {
        guest.ok("fd_sync", &[fd]);
        guest.ok("fd_datasync", &[fd]);
        guest.ok("fd_filestat_set_times", &[fd, 5, 1_000_000_009, 1 | 4]);
        guest.ok("fd_filestat_get", &[fd, OUT.into()]);
        assert_eq!((guest.u64(OUT + 40), guest.u64(OUT + 48)), (5, 1_000_000_009));
    }
    guest.ok("fd_fdstat_get", &[sub, OUT.into()]);
    assert_eq!(guest.get(OUT, 1), [3]);
}

#[test]
fn files_are_written_and_read() {
    let (mut guest, dir) = Guest::with_dir("files_are_written_and_read");
    assert_eq!(guest.open(3, "f", 0, READ, 0), Err(NOENT));
    let fd = guest.open(3, "f", CREAT | EXCL, READ | WRITE, 0).unwrap();
    assert_eq!(fd, 4);
    assert_eq!(guest.open(3, "f", CREAT | EXCL, WRITE, 0), Err(EXIST));
    assert_eq!(guest.write(fd, b"0123456789"), Ok(10));
    guest.ok("fd_tell", &[fd, OUT.into()]);
    assert_eq!(guest.u64(OUT), 10);
    // From the begin, from here, from the end.
    for (offset, whence, expected) in [(2i64, 0, 2), (3, 1, 5), (-1, 2, 9)] {
        guest.ok("fd_seek", &[fd, offset as u64, whence, OUT.into()]);
        assert_eq!(guest.u64(OUT), expected);
    }
    assert_eq!(guest.call("fd_seek", &[fd, -1i64 as u64, 0, OUT.into()]), INVAL);
    assert_eq!(guest.call("fd_seek", &[fd, -99i64 as u64, 1, OUT.into()]), INVAL);
    assert_eq!(guest.call("fd_seek", &[fd, 0, 3, OUT.into()]), INVAL);
    assert_eq!(guest.read(fd, 8), Ok(b"9".to_vec()));
    assert_eq!(guest.read(fd, 8), Ok(b"".to_vec()));
    // At a place, in several slices.
    let [iovs, count] = guest.iovs(&[(DATA, 2), (DATA + 8, 3)]);
    guest.ok("fd_pread", &[fd, iovs, count, 1, OUT.into()]);
    assert_eq!((guest.u32(OUT), guest.get(DATA, 2)), (5, b"12".to_vec()));
    assert_eq!(guest.get(DATA + 8, 3), b"345");
    guest.put(DATA, b"ab");
    guest.ok("fd_pwrite", &[fd, iovs, 1, 4, OUT.into()]);
    guest.ok("fd_seek", &[fd, 0, 0, OUT.into()]);
    let [iovs, count] = guest.iovs(&[(DATA, 4), (DATA + 8, 60)]);
    guest.ok("fd_read", &[fd, iovs, count, OUT.into()]);
    assert_eq!(guest.u32(OUT), 10);
    assert_eq!(guest.get(DATA + 8, 6), b"ab6789");
    guest.ok("fd_filestat_set_size", &[fd, 3]);
    guest.ok("fd_allocate", &[fd, 0, 5]);
    guest.ok("fd_advise", &[fd, 0, 0, 1]);
    assert_eq!(guest.call("fd_advise", &[fd, 0, 0, 6]), INVAL);
    guest.ok("fd_datasync", &[fd]);
    guest.ok("fd_sync", &[fd]);
    guest.ok("fd_close", &[fd]);
    assert_eq!(guest.read(fd, 1), Err(BADF));
    assert_eq!(std::fs::read(dir.join("f")).unwrap(), b"012\0\0");
    // The number is used again.
    let fd = guest.open(3, "f", TRUNC, WRITE, 0).unwrap();
    assert_eq!(fd, 4);
    assert_eq!(guest.read(fd, 1), Err(BADF));
    assert_eq!(std::fs::read(dir.join("f")).unwrap(), b"");
}

#[test]
fn files_are_opened_with_flags() {
    let (mut guest, dir) = Guest::with_dir("files_are_opened_with_flags");
    std::fs::write(dir.join("f"), "0123").unwrap();
    let fd = guest.open(3, "f", 0, READ | WRITE, APPEND).unwrap();
    assert_eq!(guest.write(fd, b"45"), Ok(2));
    guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
    assert_eq!(guest.get(OUT, 4), [4, 0, 1, 0]);
    assert_eq!(guest.u64(OUT + 8) & (READ | WRITE), READ | WRITE);
    guest.ok("fd_fdstat_set_flags", &[fd, 0]);
    guest.ok("fd_seek", &[fd, 0, 0, OUT.into()]);
    assert_eq!(guest.write(fd, b"x"), Ok(1));
    assert_eq!(std::fs::read(dir.join("f")).unwrap(), b"x12345");
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd, 2]), NOTSUP);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd, 32]), INVAL);
    assert_eq!(guest.call("fd_fdstat_set_rights", &[fd, 0, 0]), NOTSUP);
    // Synchronised, and without waiting.
    let synced = guest.open(3, "f", 0, WRITE, 2 | 4 | 16).unwrap();
    assert_eq!(guest.write(synced, b"y"), Ok(1));
    assert_eq!(guest.open(3, "f", 0, WRITE, 32), Err(INVAL));
    assert_eq!(guest.open(3, "f", 16, WRITE, 0), Err(INVAL));
    assert_eq!(guest.open_with(3, 2, "f", 0, READ, 0), Err(INVAL));
    // A file that was opened for neither is opened, but neither read nor written.
    let none = guest.open(3, "f", 0, 0, 0).unwrap();
    assert_eq!(guest.read(none, 1), Err(BADF));
    assert_eq!(guest.write(none, b"x"), Err(BADF));
}

#[test]
fn directories_are_no_files() {
    let (mut guest, dir) = Guest::with_dir("directories_are_no_files");
    std::fs::create_dir(dir.join("sub")).unwrap();
    std::fs::write(dir.join("f"), "").unwrap();
    assert_eq!(guest.open(3, "sub", 0, WRITE, 0), Err(ISDIR));
    assert_eq!(guest.open(3, "f", DIRECTORY, READ, 0), Err(NOTDIR));
    assert_eq!(guest.open(3, "sub", DIRECTORY | CREAT, READ, 0), Err(INVAL));
    assert_eq!(guest.open(3, "f/g", 0, READ, 0), Err(NOTDIR));
    assert_eq!(guest.open(0, "f", 0, READ, 0), Err(NOTDIR));
    assert_eq!(guest.open(99, "f", 0, READ, 0), Err(BADF));
    assert_eq!(guest.open(3, "sub", DIRECTORY, READ | WRITE, 0), Err(ISDIR));
    let sub = guest.open(3, "sub", DIRECTORY, READ, 0).unwrap();
    assert_eq!(guest.read(sub, 1), Err(BADF));
    assert_eq!(guest.write(sub, b"x"), Err(BADF));
    assert_eq!(guest.call("fd_seek", &[sub, 0, 0, OUT.into()]), BADF);
    let file = guest.open(3, "f", 0, READ, 0).unwrap();
    assert_eq!(guest.call("fd_readdir", &[file, DATA.into(), 64, 0, OUT.into()]), NOTDIR);
    // A file in it.
    guest.open(sub, "g", CREAT, WRITE, 0).unwrap();
    assert!(dir.join("sub/g").exists());
}

#[test]
fn no_path_leads_out() {
    let (mut guest, dir) = Guest::with_dir("no_path_leads_out");
    std::fs::write(dir.join("../secret"), "secret").unwrap();
    std::fs::create_dir(dir.join("sub")).unwrap();
    symlink("../secret", dir.join("link")).unwrap();
    symlink("..", dir.join("up")).unwrap();
    symlink("../../secret", dir.join("sub/link")).unwrap();
    symlink(dir.parent().unwrap().join("secret"), dir.join("absolute")).unwrap();
    let outside = dir.parent().unwrap().join("secret");
    let outside = outside.to_str().unwrap();
    for path in [
        "../secret",
        "link",
        "up/secret",
        "sub/link",
        "sub/../../secret",
        "absolute",
        "./../secret",
        "..",
        "/",
        outside,
        "/etc/passwd",
    ] {
        assert_eq!(guest.open(3, path, 0, READ, 0), Err(PERM), "{path}");
        let [at, len] = guest.path(0, path);
        let errno = guest.call("path_filestat_get", &[3, 1, at, len, OUT.into()]);
        assert_eq!(errno, PERM, "{path}");
    }
    for path in ["../new", "up/new", "/new"] {
        assert_eq!(guest.open(3, path, CREAT, WRITE, 0), Err(PERM), "{path}");
        let [at, len] = guest.path(0, path);
        assert_eq!(guest.call("path_create_directory", &[3, at, len]), PERM, "{path}");
        assert_eq!(guest.call("path_unlink_file", &[3, at, len]), PERM, "{path}");
        assert_eq!(guest.call("path_remove_directory", &[3, at, len]), PERM, "{path}");
        assert_eq!(guest.call("path_readlink", &[3, at, len, DATA.into(), 9, OUT.into()]), PERM);
        let [to, to_len] = guest.path(1, "sub/in");
        assert_eq!(guest.call("path_rename", &[3, at, len, 3, to, to_len]), PERM, "{path}");
        assert_eq!(guest.call("path_rename", &[3, to, to_len, 3, at, len]), PERM, "{path}");
        assert_eq!(guest.call("path_link", &[3, 0, at, len, 3, to, to_len]), PERM, "{path}");
    }
    // A link is not followed unless the program asks for it.
    assert_eq!(guest.open_with(3, 0, "link", 0, READ, 0), Err(LOOP));
    // A directory inside keeps its files inside too.
    let sub = guest.open(3, "sub", DIRECTORY, READ, 0).unwrap();
    assert_eq!(guest.open(sub, "../link", 0, READ, 0), Err(PERM));
    // What stays inside is allowed.
    std::fs::write(dir.join("in"), "in").unwrap();
    guest.open(3, "sub/../in", 0, READ, 0).unwrap();
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(dir.parent().unwrap()).unwrap().count(), 2);
}

#[test]
fn links_are_made_and_read() {
    let (mut guest, dir) = Guest::with_dir("links_are_made_and_read");
    std::fs::write(dir.join("f"), "text").unwrap();
    let [target, target_len] = guest.path(0, "f");
    let [at, len] = guest.path(1, "soft");
    guest.ok("path_symlink", &[target, target_len, 3, at, len]);
    assert_eq!(guest.call("path_symlink", &[target, target_len, 3, at, len]), EXIST);
    guest.ok("path_readlink", &[3, at, len, DATA.into(), 9, OUT.into()]);
    assert_eq!((guest.u32(OUT), guest.get(DATA, 1)), (1, b"f".to_vec()));
    let fd = guest.open(3, "soft", 0, READ, 0).unwrap();
    assert_eq!(guest.read(fd, 9), Ok(b"text".to_vec()));
    // The link, and what it leads to.
    for (flags, ty) in [(0, 7), (1, 4)] {
        let [at, len] = guest.path(1, "soft");
        guest.ok("path_filestat_get", &[3, flags, at, len, OUT.into()]);
        assert_eq!(guest.get(OUT + 16, 1), [ty]);
    }
    // A target that is absolute would lead out.
    let [target, target_len] = guest.path(0, "/etc/passwd");
    let [at, len] = guest.path(1, "out");
    assert_eq!(guest.call("path_symlink", &[target, target_len, 3, at, len]), PERM);
    let [old, old_len] = guest.path(0, "f");
    let [at, len] = guest.path(1, "hard");
    guest.ok("path_link", &[3, 0, old, old_len, 3, at, len]);
    assert_eq!(guest.call("path_link", &[3, 1, old, old_len, 3, at, len]), INVAL);
    assert_eq!(std::fs::read(dir.join("hard")).unwrap(), b"text");
    let [at, len] = guest.path(0, "f");
    assert_eq!(guest.call("path_readlink", &[3, at, len, DATA.into(), 9, OUT.into()]), INVAL);
}

#[test]
fn files_are_renamed_and_removed() {
    let (mut guest, dir) = Guest::with_dir("files_are_renamed_and_removed");
    let [at, len] = guest.path(0, "sub");
    guest.ok("path_create_directory", &[3, at, len]);
    assert_eq!(guest.call("path_create_directory", &[3, at, len]), EXIST);
    std::fs::write(dir.join("f"), "").unwrap();
    let [old, old_len] = guest.path(0, "f");
    let [new, new_len] = guest.path(1, "sub/g");
    guest.ok("path_rename", &[3, old, old_len, 3, new, new_len]);
    assert_eq!(guest.call("path_rename", &[3, old, old_len, 3, new, new_len]), NOENT);
    assert!(dir.join("sub/g").exists());
    let [at, len] = guest.path(0, "sub");
    assert_eq!(guest.call("path_unlink_file", &[3, at, len]), ISDIR);
    assert_eq!(guest.call("path_remove_directory", &[3, at, len]), NOTEMPTY);
    assert_eq!(guest.call("path_remove_directory", &[3, new, new_len]), NOTDIR);
    guest.ok("path_unlink_file", &[3, new, new_len]);
    assert_eq!(guest.call("path_unlink_file", &[3, new, new_len]), NOENT);
    guest.ok("path_remove_directory", &[3, at, len]);
    assert_eq!(guest.call("path_remove_directory", &[3, at, len]), NOENT);
}

#[test]
fn a_slash_says_that_a_path_is_a_directory() {
    let (mut guest, dir) = Guest::with_dir("a_slash_says_that_a_path_is_a_directory");
    std::fs::write(dir.join("f"), "").unwrap();
    std::fs::create_dir(dir.join("sub")).unwrap();
    symlink("sub", dir.join("to-sub")).unwrap();
    let rename = |guest: &mut Guest, old: &str, new: &str| {
        let ([old, old_len], [new, new_len]) = (guest.path(0, old), guest.path(1, new));
        guest.call("path_rename", &[3, old, old_len, 3, new, new_len])
    };
    assert_eq!(rename(&mut guest, "f", "x/"), NOTDIR);
    assert_eq!(rename(&mut guest, "f/", "x"), NOTDIR);
    assert_eq!(rename(&mut guest, "to-sub", "x/"), NOTDIR);
    assert_eq!(rename(&mut guest, "none", "x/"), NOENT);
    assert_eq!(rename(&mut guest, "sub", "x/"), 0);
    assert_eq!(rename(&mut guest, "x/", "sub"), 0);
    for path in ["to-sub", "to-sub/", "f/"] {
        let [at, len] = guest.path(0, path);
        assert_eq!(guest.call("path_remove_directory", &[3, at, len]), NOTDIR, "{path}");
    }
    for path in ["f/", "to-sub/"] {
        let [at, len] = guest.path(0, path);
        let errno = guest.call("path_unlink_file", &[3, at, len]);
        assert!([NOTDIR, ISDIR].contains(&errno), "{path}: {errno}");
    }
    assert!(dir.join("sub").is_dir() && dir.join("to-sub").is_symlink() && dir.join("f").exists());
}

#[test]
fn attributes_are_read_and_times_set() {
    let (mut guest, dir) = Guest::with_dir("attributes_are_read_and_times_set");
    std::fs::write(dir.join("f"), "text").unwrap();
    let fd = guest.open(3, "f", 0, READ | WRITE, 0).unwrap();
    guest.ok("fd_filestat_set_times", &[fd, 1_000_000_007, 2_000_000_005, 1 | 4]);
    guest.ok("fd_filestat_get", &[fd, OUT.into()]);
    assert_eq!(guest.get(OUT + 16, 1), [4]);
    assert_eq!((guest.u64(OUT + 24), guest.u64(OUT + 32)), (1, 4));
    assert_eq!((guest.u64(OUT + 40), guest.u64(OUT + 48)), (1_000_000_007, 2_000_000_005));
    let [at, len] = guest.path(0, "f");
    guest.ok("path_filestat_set_times", &[3, 1, at, len, 5, 0, 1 | 8]);
    guest.ok("path_filestat_get", &[3, 1, at, len, OUT.into()]);
    assert_eq!(guest.u64(OUT + 40), 5);
    assert!(guest.u64(OUT + 48) > 1 << 60, "now");
    // It stays as it is.
    guest.ok("fd_filestat_set_times", &[fd, 1, 1, 0]);
    guest.ok("fd_filestat_get", &[fd, OUT.into()]);
    assert_eq!(guest.u64(OUT + 40), 5);
    assert_eq!(guest.call("fd_filestat_set_times", &[fd, 1, 1, 3]), INVAL);
    assert_eq!(guest.call("fd_filestat_set_times", &[1, 1, 1, 1]), NOTSUP);
    assert_eq!(guest.call("fd_filestat_get", &[fd, 0xfff0]), FAULT);
    guest.ok("fd_filestat_get", &[3, OUT.into()]);
    assert_eq!(guest.get(OUT + 16, 1), [3]);
}

/// Reads a directory with a buffer of this length. Returns the names and types.
fn names(guest: &mut Guest, fd: u64, len: u32) -> Vec<(String, u8)> {
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        guest.ok("fd_readdir", &[fd, DATA.into(), len.into(), cookie, OUT.into()]);
        let used = guest.u32(OUT);
        let mut at = 0;
        while at + 24 <= used {
            let entry = DATA + at;
            let (next, name_len) = (guest.u64(entry), guest.u32(entry + 16));
            if at + 24 + name_len > used {
                break;
            }
            let name = String::from_utf8(guest.get(entry + 24, name_len)).unwrap();
            names.push((name, guest.get(entry + 20, 1)[0]));
            (at, cookie) = (at + 24 + name_len, next);
        }
        if used < len {
            names.sort();
            return names;
        }
        assert!(at > 0, "the buffer is too small for an entry");
    }
}

#[test]
fn directories_are_read_in_parts() {
    let (mut guest, dir) = Guest::with_dir("directories_are_read_in_parts");
    let mut expected = vec![(".".to_owned(), 3), ("..".to_owned(), 3)];
    for i in 0..20 {
        let name = format!("file-{i:0i$}");
        std::fs::write(dir.join(&name), "").unwrap();
        expected.push((name, 4));
    }
    std::fs::create_dir(dir.join("sub")).unwrap();
    symlink("sub", dir.join("to-sub")).unwrap();
    expected.extend([("sub".to_owned(), 3), ("to-sub".to_owned(), 7)]);
    expected.sort();
    for len in [64, 100, 1000, 4096] {
        assert_eq!(names(&mut guest, 3, len), expected, "{len}");
    }
    // From a cookie beyond the end, and without room.
    guest.ok("fd_readdir", &[3, DATA.into(), 64, u64::MAX, OUT.into()]);
    assert_eq!(guest.u32(OUT), 0);
    guest.ok("fd_readdir", &[3, DATA.into(), 0, 0, OUT.into()]);
    assert_eq!(guest.u32(OUT), 0);
    assert_eq!(guest.call("fd_readdir", &[3, DATA.into(), 0x1_0000, 0, OUT.into()]), FAULT);
}

#[test]
fn paths_are_text() {
    let (mut guest, _) = Guest::with_dir("paths_are_text");
    guest.put(DATA, b"\xff\xfe");
    assert_eq!(guest.call("path_create_directory", &[3, DATA.into(), 2]), ILSEQ);
    assert_eq!(guest.call("path_create_directory", &[3, 0xffff, 2]), FAULT);
    let [at, len] = guest.path(0, "a\0b");
    assert_eq!(guest.call("path_create_directory", &[3, at, len]), INVAL);
    let [at, _] = guest.path(0, "");
    assert_eq!(guest.call("path_create_directory", &[3, at, 0]), NOENT);
    let [at, len] = guest.path(0, &"x".repeat(300));
    assert_eq!(guest.call("path_create_directory", &[3, at, len]), NAMETOOLONG);
    let [at, len] = guest.path(0, "ä ö");
    guest.ok("path_create_directory", &[3, at, len]);
}
