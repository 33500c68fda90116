//! Paths that end with slashes and dots, in every function that takes one; paths that are not text.

use crate::common::{DATA, Guest, OUT};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

const EXIST: i32 = 20;
const ILSEQ: i32 = 25;
const INVAL: i32 = 28;
const ISDIR: i32 = 31;
const LOOP: i32 = 32;
const NOENT: i32 = 44;
const NOTDIR: i32 = 54;
const NOTEMPTY: i32 = 55;
const PERM: i32 = 63;

const READ: u64 = 1 << 1;

/// Types of files.
const DIRECTORY: u8 = 3;
const FILE: u8 = 4;
const LINK: u8 = 7;

/// A guest with a file, a directory, and links to both, to nothing, and to itself.
fn guest(test: &str) -> (Guest, std::path::PathBuf) {
    let (guest, dir) = Guest::with_dir(test);
    std::fs::write(dir.join("file"), "text").unwrap();
    std::fs::create_dir(dir.join("dir")).unwrap();
    for (target, link) in [("file", "link"), ("dir", "dlink"), ("none", "dang"), ("loop", "loop")] {
        symlink(target, dir.join(link)).unwrap();
    }
    (guest, dir)
}

/// The type of what is at a path, or the error number.
fn stat(guest: &mut Guest, flags: u64, path: &str) -> Result<u8, i32> {
    let [at, len] = guest.path(0, path);
    match guest.call("path_filestat_get", &[3, flags, at, len, OUT.into()]) {
        0 => Ok(guest.get(OUT + 16, 1)[0]),
        errno => Err(errno),
    }
}

#[test]
fn what_has_a_slash_or_a_dot_is_a_directory() {
    let (mut guest, dir) = guest("what_has_a_slash_or_a_dot_is_a_directory");
    let same = [
        ("file", Ok(FILE)),
        ("file/", Err(NOTDIR)),
        ("file//", Err(NOTDIR)),
        ("file/.", Err(NOTDIR)),
        ("file/..", Err(NOTDIR)),
        ("./file", Ok(FILE)),
        ("dir", Ok(DIRECTORY)),
        ("dir/", Ok(DIRECTORY)),
        ("./dir//./", Ok(DIRECTORY)),
        ("dir/..", Ok(DIRECTORY)),
        (".", Ok(DIRECTORY)),
        ("./", Ok(DIRECTORY)),
        ("link/", Err(NOTDIR)),
        ("link/.", Err(NOTDIR)),
        ("dlink/", Ok(DIRECTORY)),
        ("dlink/.", Ok(DIRECTORY)),
        ("dang/", Err(NOENT)),
        ("dang/.", Err(NOENT)),
        ("loop/", Err(LOOP)),
        ("loop/.", Err(LOOP)),
        ("none/", Err(NOENT)),
        ("", Err(NOENT)),
        ("..", Err(PERM)),
        ("../", Err(PERM)),
        ("/", Err(PERM)),
    ];
    for (path, expected) in same {
        for flags in [0, 1] {
            assert_eq!(stat(&mut guest, flags, path), expected, "{path}, {flags}");
            let [at, len] = guest.path(0, path);
            let times = [3, flags, at, len, 1_000_000_007, 2_000_000_009, 1 | 4];
            let errno = guest.call("path_filestat_set_times", &times);
            assert_eq!(errno, expected.err().unwrap_or(0), "{path}, {flags}");
            let opened = guest.open_with(3, flags, path, 0, READ, 0).map(|fd| {
                guest.ok("fd_filestat_get", &[fd, OUT.into()]);
                let found = (guest.get(OUT + 16, 1)[0], guest.u64(OUT + 48));
                guest.ok("fd_close", &[fd]);
                found
            });
            assert_eq!(opened, expected.map(|ty| (ty, 2_000_000_009)), "{path}, {flags}");
        }
    }
    // Without a slash, the flag says whether a link is followed.
    for (path, followed) in
        [("link", Ok(FILE)), ("dlink", Ok(DIRECTORY)), ("dang", Err(NOENT)), ("loop", Err(LOOP))]
    {
        assert_eq!(stat(&mut guest, 0, path), Ok(LINK), "{path}");
        assert_eq!(stat(&mut guest, 1, path), followed, "{path}");
        assert_eq!(guest.open_with(3, 0, path, 0, READ, 0), Err(LOOP), "{path}");
        let [at, len] = guest.path(0, path);
        guest.ok("path_filestat_set_times", &[3, 0, at, len, 5, 7, 1 | 4]);
        guest.ok("path_filestat_get", &[3, 0, at, len, OUT.into()]);
        assert_eq!((guest.u64(OUT + 40), guest.u64(OUT + 48)), (5, 7), "{path}");
        let errno = guest.call("path_filestat_set_times", &[3, 1, at, len, 5, 7, 0]);
        assert_eq!(errno, followed.err().unwrap_or(0), "{path}");
    }
    let modified = std::fs::metadata(dir.join("file")).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(since.as_nanos(), 2_000_000_009, "the times of the links are their own");
}

#[test]
fn files_are_not_made_with_a_slash() {
    let (mut guest, dir) = guest("files_are_not_made_with_a_slash");
    const CREAT: u64 = 1;
    for (path, errno) in [
        ("new/", ISDIR),
        ("dir/", ISDIR),
        ("dir/.", ISDIR),
        ("dlink/", ISDIR),
        ("new/.", NOENT),
        ("none/new", NOENT),
        ("file/new", NOTDIR),
    ] {
        assert_eq!(guest.open(3, path, CREAT, 1 << 6, 0), Err(errno), "{path}");
    }
    assert!(!dir.join("new").exists());
}

#[test]
fn directories_are_made_and_removed_with_slashes() {
    let (mut guest, dir) = guest("directories_are_made_and_removed_with_slashes");
    let call = |guest: &mut Guest, name: &str, path: &str| {
        let [at, len] = guest.path(0, path);
        guest.call(name, &[3, at, len])
    };
    for path in ["a", "b/", "c//", "dir/d/", "./dir/e", "dlink/f/"] {
        assert_eq!(call(&mut guest, "path_create_directory", path), 0, "{path}");
        assert!(dir.join(path).is_dir(), "{path}");
    }
    for (path, errno) in [
        ("dir", EXIST),
        ("dir/", EXIST),
        ("dir/.", EXIST),
        ("dlink/", EXIST),
        ("dang/", EXIST),
        ("file/", EXIST),
        (".", EXIST),
        ("new/.", NOENT),
        ("none/new", NOENT),
        ("file/new", NOTDIR),
        ("", NOENT),
        ("..", PERM),
        ("/", PERM),
    ] {
        assert_eq!(call(&mut guest, "path_create_directory", path), errno, "{path}");
    }
    for (path, errno) in [
        ("a/.", INVAL),
        (".", INVAL),
        ("./", INVAL),
        ("a/..", INVAL),
        ("dir/", NOTEMPTY),
        ("dlink", NOTDIR),
        ("dlink/", NOTDIR),
        ("file/", NOTDIR),
        ("file/.", NOTDIR),
        ("dang/", NOTDIR),
        ("loop/", NOTDIR),
        ("none/", NOENT),
        ("", NOENT),
        ("..", PERM),
        ("../", PERM),
        ("/", PERM),
        ("//", PERM),
    ] {
        assert_eq!(call(&mut guest, "path_remove_directory", path), errno, "{path}");
    }
    for path in ["a", "b/", "c//", "dir/d/", "./dir/./e/", "dlink/f/", "dir/"] {
        assert_eq!(call(&mut guest, "path_remove_directory", path), 0, "{path}");
        assert!(!dir.join(path).exists(), "{path}");
    }
    assert!(dir.join("dlink").is_symlink());
}

#[test]
fn files_and_links_have_no_slash() {
    let (mut guest, dir) = guest("files_and_links_have_no_slash");
    for (path, errno) in [
        ("file/", NOTDIR),
        ("link/", NOTDIR),
        ("dir", ISDIR),
        ("dir/", ISDIR),
        ("dir/.", ISDIR),
        ("dlink/", ISDIR),
        ("dang/", NOENT),
        ("loop/", LOOP),
        ("none/", NOENT),
        (".", ISDIR),
        ("..", PERM),
    ] {
        let [at, len] = guest.path(0, path);
        assert_eq!(guest.call("path_unlink_file", &[3, at, len]), errno, "{path}");
    }
    for (path, errno) in [
        ("new/", NOENT),
        ("file/", NOTDIR),
        ("dir/", EXIST),
        ("dlink/", EXIST),
        ("dir/.", EXIST),
        ("dang/", NOENT),
        ("file", EXIST),
        ("dang", EXIST),
    ] {
        let ([target, target_len], [at, len]) = (guest.path(0, "file"), guest.path(1, path));
        let errno_found = guest.call("path_symlink", &[target, target_len, 3, at, len]);
        assert_eq!(errno_found, errno, "{path}");
        let errno_found = guest.call("path_link", &[3, 0, target, target_len, 3, at, len]);
        assert_eq!(errno_found, errno, "{path}");
    }
    for (path, errno) in [
        ("file/", NOTDIR),
        ("link/", NOTDIR),
        ("dir", PERM),
        ("dir/", PERM),
        ("dlink/", PERM),
        ("dang/", NOENT),
        ("loop/", LOOP),
        ("none/", NOENT),
    ] {
        let ([old, old_len], [at, len]) = (guest.path(0, path), guest.path(1, "new"));
        let errno_found = guest.call("path_link", &[3, 0, old, old_len, 3, at, len]);
        assert_eq!(errno_found, errno, "{path}");
    }
    for (path, expected) in [
        ("link", Ok("file")),
        ("dlink", Ok("dir")),
        ("dang", Ok("none")),
        ("link/", Err(NOTDIR)),
        ("file/", Err(NOTDIR)),
        ("file", Err(INVAL)),
        ("dlink/", Err(INVAL)),
        ("dlink/.", Err(INVAL)),
        (".", Err(INVAL)),
        ("dang/", Err(NOENT)),
        ("loop/", Err(LOOP)),
    ] {
        let [at, len] = guest.path(0, path);
        let read = match guest.call("path_readlink", &[3, at, len, DATA.into(), 9, OUT.into()]) {
            0 => {
                let len = guest.u32(OUT);
                Ok(String::from_utf8(guest.get(DATA, len)).unwrap())
            }
            errno => Err(errno),
        };
        assert_eq!(read, expected.map(str::to_owned), "{path}");
    }
    // A link itself is linked, also one to nothing.
    for path in ["dang", "loop"] {
        let ([old, old_len], [at, len]) = (guest.path(0, path), guest.path(1, "new"));
        guest.ok("path_link", &[3, 0, old, old_len, 3, at, len]);
        assert!(dir.join("new").is_symlink());
        guest.ok("path_unlink_file", &[3, at, len]);
    }
    assert!(dir.join("file").exists() && dir.join("dlink").is_symlink());
}

#[test]
fn only_directories_are_renamed_with_slashes() {
    const BUSY: i32 = 10;
    let (mut guest, dir) = guest("only_directories_are_renamed_with_slashes");
    for (old, new, errno) in [
        ("file/", "x", NOTDIR),
        ("file/.", "x", NOTDIR),
        ("file", "x/", NOTDIR),
        ("file", "dir/", NOTDIR),
        ("link/", "x", NOTDIR),
        ("dlink/", "x", NOTDIR),
        ("dlink", "x/", NOTDIR),
        ("dir", "dlink/", NOTDIR),
        ("dir", "file/", NOTDIR),
        ("none/", "x/", NOENT),
        ("dir/.", "x", BUSY),
        ("dir", "dir/.", BUSY),
        ("dir", "x/.", NOENT),
        (".", "x", BUSY),
        ("..", "x", PERM),
        ("dir", "..", PERM),
        ("dir/", "x/", 0),
        ("x//", "y", 0),
        ("y", "dir//", 0),
        ("link", "z", 0),
    ] {
        let ([at, len], [to, to_len]) = (guest.path(0, old), guest.path(1, new));
        let found = guest.call("path_rename", &[3, at, len, 3, to, to_len]);
        assert_eq!(found, errno, "{old} to {new}");
    }
    assert!(dir.join("dir").is_dir() && dir.join("file").is_file());
    assert!(dir.join("dlink").is_symlink() && dir.join("z").is_symlink());
}

#[test]
fn a_pipe_has_times_and_is_not_opened_for_them() {
    let (mut guest, dir) = guest("a_pipe_has_times_and_is_not_opened_for_them");
    make_node(&dir.join("pipe"), FileType::Fifo);
    symlink("pipe", dir.join("to-pipe")).unwrap();
    for path in ["pipe", "to-pipe"] {
        let [at, len] = guest.path(0, path);
        // Opening it would wait for its other end.
        guest.ok("path_filestat_set_times", &[3, 1, at, len, 5, 7, 1 | 4]);
        guest.ok("path_filestat_get", &[3, 1, at, len, OUT.into()]);
        assert_eq!((guest.get(OUT + 16, 1), guest.u64(OUT + 48)), (vec![0], 7));
    }
    // Neither does the file need to be readable.
    let hidden = dir.join("hidden");
    std::fs::write(&hidden, "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&hidden, mode).unwrap();
    let [at, len] = guest.path(0, "hidden");
    guest.ok("path_filestat_set_times", &[3, 1, at, len, 5, 7, 1 | 4]);
}

/// Makes a named pipe or a socket.
pub(crate) fn make_node(path: &Path, ty: FileType) {
    mknodat(CWD, path, ty, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn paths_are_text_in_every_function() {
    let (mut guest, _) = guest("paths_are_text_in_every_function");
    guest.put(DATA, b"\xff\xfe");
    let [at, len] = guest.path(0, "file");
    let bad = u64::from(DATA);
    for (name, args) in [
        ("path_create_directory", &[3, bad, 2][..]),
        ("path_filestat_get", &[3, 0, bad, 2, OUT.into()]),
        ("path_filestat_set_times", &[3, 0, bad, 2, 0, 0, 0]),
        ("path_link", &[3, 0, bad, 2, 3, at, len]),
        ("path_link", &[3, 0, at, len, 3, bad, 2]),
        ("path_open", &[3, 0, bad, 2, 0, READ, 0, 0, OUT.into()]),
        ("path_readlink", &[3, bad, 2, OUT.into(), 9, OUT.into()]),
        ("path_remove_directory", &[3, bad, 2]),
        ("path_rename", &[3, bad, 2, 3, at, len]),
        ("path_rename", &[3, at, len, 3, bad, 2]),
        ("path_symlink", &[bad, 2, 3, at, len]),
        ("path_symlink", &[at, len, 3, bad, 2]),
        ("path_unlink_file", &[3, bad, 2]),
    ] {
        assert_eq!(guest.call(name, args), ILSEQ, "{name}");
    }
}

#[test]
fn names_that_are_not_text_are_read_as_they_are() {
    let (mut guest, dir) = Guest::with_dir("names_that_are_not_text_are_read_as_they_are");
    let name = OsStr::from_bytes(b"\xff\xfe");
    std::fs::write(dir.join(name), "").unwrap();
    symlink(name, dir.join("link")).unwrap();
    guest.ok("fd_readdir", &[3, DATA.into(), 4096, 0, OUT.into()]);
    let used = guest.u32(OUT);
    let listed = guest.get(DATA, used);
    assert!(listed.windows(2).any(|bytes| bytes == b"\xff\xfe"));
    assert!(listed.windows(4).any(|bytes| bytes == b"link"), "the others are there too");
    let [at, len] = guest.path(0, "link");
    guest.ok("path_readlink", &[3, at, len, DATA.into(), 9, OUT.into()]);
    assert_eq!((guest.u32(OUT), guest.get(DATA, 2)), (2, b"\xff\xfe".to_vec()));
    // The program reaches the file through the link.
    guest.open(3, "link", 0, READ, 0).unwrap();
}
