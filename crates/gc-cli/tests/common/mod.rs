//! Runs the command as a user does.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

pub mod programs;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The result of a run of the command.
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the command.
pub fn reclaim(args: &[&str]) -> Ran {
    reclaim_with_input(args, "")
}

/// The command.
const RECLAIM: &str = env!("CARGO_BIN_EXE_reclaim");

/// Runs the command with this standard input.
pub fn reclaim_with_input(args: &[&str], input: &str) -> Ran {
    ran(start(RECLAIM, args, input))
}

/// Compiles a module for this machine, with the command of another machine if `TESTKIT_COMPILER` names one: under an
/// emulator, that takes seconds instead of minutes.
pub fn compile(args: &[&str]) -> Ran {
    match std::env::var("TESTKIT_COMPILER") {
        Ok(compiler) => {
            let target = format!("{}-linux", std::env::consts::ARCH);
            ran(start(&compiler, &[&["compile", "--target", &target], args].concat(), ""))
        }
        Err(_) => reclaim(&[&["compile"], args].concat()),
    }
}

/// As [`reclaim_with_input`], but ends the command after some time. It must print little.
pub fn reclaim_within(limit: Duration, args: &[&str], input: &str) -> Option<Ran> {
    let (mut child, began) = (start(RECLAIM, args, input), Instant::now());
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > limit {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(ran(child))
}

fn start(command: &str, args: &[&str], input: &str) -> Child {
    let mut child = Command::new(command)
        .args(args)
        .env_remove("RECLAIM_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The command need not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child
}

fn ran(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        status: output.status.code().expect("not ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    /// Checks that the command succeeded and printed this.
    #[track_caller]
    pub fn prints(&self, stdout: &str) -> &Ran {
        assert_eq!((self.status, &*self.stdout), (0, stdout), "stderr: {}", self.stderr);
        self
    }

    /// Checks that the command failed with this status and printed nothing, and that its error
    /// contains all of these.
    #[track_caller]
    pub fn fails(&self, status: i32, parts: &[&str]) -> &Ran {
        assert_eq!((self.status, &*self.stdout), (status, ""), "stderr: {}", self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        self.says(parts)
    }

    #[track_caller]
    pub fn says(&self, parts: &[&str]) -> &Ran {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in: {}", self.stderr);
        }
        self
    }
}

/// Makes a file with this text for this test.
pub fn file(name: &str, text: impl AsRef<[u8]>) -> String {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The path of a module with many kinds of functions.
pub fn library() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/command/library.wat").to_owned()
}

/// The names of the collectors.
pub const COLLECTORS: [&str; 4] = ["null", "drc", "copying", "generational"];
