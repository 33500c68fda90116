//! Runs the command as a user does.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The result of a run of the command.
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the command.
pub fn reclaim(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_reclaim"))
        .args(args)
        .env_remove("RECLAIM_LOG")
        .output()
        .unwrap();
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
