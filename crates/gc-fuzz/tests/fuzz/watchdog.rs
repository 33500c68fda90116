//! Ends the process when an input does not end, after it has said which one. A test that hangs would
//! say nothing.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long an input may take. All of them take a few seconds at most on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(180);

/// An input that runs.
struct Running {
    began: Instant,
    /// Where it is, or where it is written.
    path: PathBuf,
    /// Its bytes, if it is not there yet.
    input: Option<Vec<u8>>,
}

/// The inputs that run, each with its number.
static RUNNING: Mutex<Vec<(u64, Running)>> = Mutex::new(Vec::new());

/// Watches an input until it is dropped.
pub(crate) struct Watched(u64);

impl Watched {
    /// Watches the input at `path`. If it does not end, `input` is written there.
    pub(crate) fn new(path: &Path, input: Option<&[u8]>) -> Watched {
        static THREAD: Once = Once::new();
        THREAD.call_once(|| drop(std::thread::spawn(watch)));
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let number = running.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
        let (began, input) = (Instant::now(), input.map(<[u8]>::to_vec));
        running.push((number, Running { began, path: path.to_owned(), input }));
        Watched(number)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(number, _)| *number != self.0);
    }
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, late)) = running.iter().find(|(_, input)| input.began.elapsed() > LIMIT)
        else {
            continue;
        };
        if let Some(input) = &late.input {
            super::write(&late.path, input);
        }
        eprintln!("{} does not end: it ran for {} s", late.path.display(), LIMIT.as_secs());
        std::process::exit(101);
    }
}
