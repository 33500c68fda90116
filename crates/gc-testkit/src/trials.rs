//! Runs the trials of a test binary, or a sample of them.

use crate::panics::is_panic_expected;
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, Once};
use std::time::{Duration, Instant};

/// The trials that run, with their names, and when each began.
static RUNNING: Mutex<Vec<(Instant, String)>> = Mutex::new(Vec::new());

/// How long a trial may run: `TESTKIT_LIMIT`, a number of seconds, or ten minutes.
static LIMIT: LazyLock<Duration> = LazyLock::new(|| {
    let wrong = "TESTKIT_LIMIT is a positive number of seconds, as in 60";
    let seconds = std::env::var("TESTKIT_LIMIT")
        .map_or(NonZeroU64::new(600).expect(wrong), |seconds| seconds.parse().expect(wrong));
    Duration::from_secs(seconds.get())
});

/// A trial with a limit of time: `TESTKIT_LIMIT` seconds, 600 without this variable. A thread that does not end
/// cannot be stopped. So if a trial exceeds the limit, its name is printed and the process ends.
///
/// ```
/// use gc_testkit::trials::{conclude, trial};
/// use libtest_mimic::Arguments;
///
/// let trials = vec![trial("one", || Ok(()))];
/// assert_eq!(conclude(&Arguments::default(), trials).num_passed, 1);
/// ```
pub fn trial(
    name: impl Into<String>,
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let name = name.into();
    Trial::test(name.clone(), move || {
        let _running = Running::new(name.clone());
        run()?;
        Ok(note_passed(&name)?)
    })
}

/// The file in which the names of the trials that have passed are: `TESTKIT_PASSED`.
fn passed_file() -> Option<PathBuf> {
    std::env::var_os("TESTKIT_PASSED").map(PathBuf::from)
}

/// Adds a name to the file of those that have passed, if there is one.
fn note_passed(name: &str) -> std::io::Result<()> {
    let Some(file) = passed_file() else { return Ok(()) };
    // One write, which other threads do not divide.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?
        .write_all(format!("{name}\n").as_bytes())
}

/// An entry in [`RUNNING`].
struct Running(String);

impl Running {
    fn new(name: String) -> Running {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| drop(std::thread::spawn(watch)));
        let mut running = RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        running.push((Instant::now(), name.clone()));
        Running(name)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let ours = running.iter().position(|(_, name)| *name == self.0);
        drop(ours.map(|ours| running.swap_remove(ours)));
    }
}

/// Ends the process if a trial runs for too long.
fn watch() {
    loop {
        std::thread::sleep((*LIMIT / 20).min(Duration::from_secs(1)));
        let running = RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((_, name)) = running.iter().find(|(began, _)| began.elapsed() > *LIMIT) {
            let limit = LIMIT.as_secs();
            eprintln!("the trial {name} does not end within {limit} s (TESTKIT_LIMIT={limit})");
            std::process::exit(1);
        }
    }
}

/// Runs `trials` according to `arguments`, and prints the results. Expected panics are not printed. Returns
/// the counts.
///
/// With `TESTKIT_SAMPLE=25` in the environment, about one of 25 trials runs, always the same ones. The others
/// count as filtered out.
///
/// With `TESTKIT_PASSED=FILE` in the environment, a [`trial`] that passes adds its name to the file, and trials whose
/// names are there count as filtered out. So a run that takes hours can be stopped, and go on.
///
/// # Panics
/// If `TESTKIT_SAMPLE` or `TESTKIT_LIMIT` is not a positive number.
///
/// ```
/// use gc_testkit::trials::{conclude, trial};
/// use libtest_mimic::Arguments;
///
/// let trials = vec![trial("one", || Ok(())), trial("two", || Err("no".into()))];
/// let conclusion = conclude(&Arguments::default(), trials);
/// assert_eq!((conclusion.num_passed, conclusion.num_failed), (1, 1));
/// ```
pub fn conclude(arguments: &Arguments, mut trials: Vec<Trial>) -> Conclusion {
    let all = trials.len() as u64;
    LazyLock::force(&LIMIT);
    if let Ok(every) = std::env::var("TESTKIT_SAMPLE") {
        let every = every.parse().expect("TESTKIT_SAMPLE is a number, as in 25");
        trials.retain(|trial| {
            number_of(trial.name()).is_multiple_of(u64::from(NonZeroU32::get(every)))
        });
        eprintln!("a sample: {} of {all} trials (TESTKIT_SAMPLE={every})", trials.len());
    }
    if let Some(passed) = passed_file().and_then(|file| std::fs::read_to_string(file).ok()) {
        let passed: HashSet<&str> = passed.lines().collect();
        trials.retain(|trial| !passed.contains(trial.name()));
        eprintln!("{} trials have passed before (TESTKIT_PASSED)", passed.len());
    }
    let left = all - trials.len() as u64;
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_panic_expected() {
            usual(panic);
        }
    }));
    let mut conclusion = libtest_mimic::run(arguments, trials);
    conclusion.num_filtered_out += left;
    conclusion
}

/// A number that tells names apart (FNV-1a; Fowler, Noll and Vo 1991).
fn number_of(name: &str) -> u64 {
    let add = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, add)
}
