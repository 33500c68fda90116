//! Programs of toolchains whose files are cut off or have wrong bits. The command refuses them, or
//! runs them until they end or `--timeout` ends them. It never panics, hangs, takes much more time
//! to compile than for the whole program, or takes more than 1 GiB for that.
//!
//! `DAMAGED=2000 cargo test -p gc-cli --test command damaged -- --nocapture` tries that many files instead
//! of the usual number, and prints how they ended.

use crate::common::programs::{Case, cases, toolchain};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::{ResUse, Wait4};

/// The usual number of damaged files.
const USUAL: u64 = 66;

/// How long the command may take in all, on a busy machine: `TESTKIT_LIMIT`, a number of seconds, or 120.
fn hang() -> Duration {
    let limit = std::env::var("TESTKIT_LIMIT").ok();
    Duration::from_secs(limit.map_or(120, |text| text.parse().expect("a number of seconds")))
}

/// What `--timeout` says: a second, or more where the command may take longer.
fn timeout() -> String {
    format!("{}s", (hang().as_secs() / 100).max(1))
}

/// The least limit of the time to compile. A process that only starts may take a part of it.
const LEAST: Duration = Duration::from_millis(300);

/// The collectors, which take turns.
const COLLECTORS: [&str; 4] = crate::common::COLLECTORS;

/// A program, and how long it takes to compile.
struct Whole {
    case: Case,
    bytes: Vec<u8>,
    compiles_in: Duration,
}

/// How a process ended.
struct Ended {
    usage: ResUse,
    stderr: String,
}

impl Ended {
    fn time(&self) -> Duration {
        self.usage.rusage.utime + self.usage.rusage.stime
    }
}

/// Runs the command without input and output, and waits for its end.
fn run(folder: &Path, args: &[&str]) -> Ended {
    let stderr = folder.join("stderr");
    let child = Command::new(env!("CARGO_BIN_EXE_reclaim"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let (id, began) = (child.id(), Instant::now());
    let (done, is_done) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let usage = child.wait4().unwrap();
        let _ = done.send(());
        usage
    });
    if is_done.recv_timeout(hang()).is_err() {
        let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        panic!("it did not end in {:?}: {args:?}", began.elapsed());
    }
    let usage = waiter.join().unwrap();
    let stderr = String::from_utf8_lossy(&std::fs::read(&stderr).unwrap()).into_owned();
    Ended { usage, stderr }
}

fn whole_programs(folder: &Path) -> Vec<Whole> {
    let own = ["c/wc.wasm", "c/files.wasm", "assemblyscript/lib.wasm"];
    let own = own.map(|path| Case { module: toolchain(path), options: vec![], result: "".into() });
    let mut programs: Vec<Case> = own.into();
    for case in cases("").unwrap_or_default() {
        if programs.iter().all(|known| known.module != case.module) {
            programs.push(case);
        }
    }
    let whole = |case: Case| {
        let compile = || run(folder, &["compile", &case.module, "-o", "out"]);
        let ended = [compile(), compile()];
        for ended in &ended {
            assert!(ended.usage.status.success(), "{}: {}", case.module, ended.stderr);
        }
        let bytes = std::fs::read(&case.module).unwrap();
        let compiles_in = ended.iter().map(Ended::time).min().unwrap();
        Whole { case, bytes, compiles_in }
    };
    programs.into_iter().map(whole).collect()
}

/// Cuts the file off, or turns some of its bits, most of them in its middle, where the code is.
fn damage(bytes: &mut Vec<u8>, random: &mut Rng) -> String {
    if random.u8(..4) == 0 {
        bytes.truncate(random.usize(..bytes.len()));
        return format!("cut off after {} bytes", bytes.len());
    }
    let count = [1, 1, 1, 2, 4][random.usize(..5)];
    let bits: Vec<usize> = (0..count).map(|_| random.usize(..8 * bytes.len())).collect();
    for bit in &bits {
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    format!("with the bits {bits:?} turned")
}

/// Tries the file with this number. Returns how it ended, or what is wrong.
fn try_one(whole: &[Whole], folder: &Path, number: u64) -> Result<&'static str, String> {
    let program = &whole[number as usize % whole.len()];
    let mut bytes = program.bytes.clone();
    let what = damage(&mut bytes, &mut Rng::with_seed(number));
    let file = folder.join("damaged.wasm");
    std::fs::write(&file, bytes).unwrap();
    let wrong = |why: &str, ended: &Ended| {
        format!("{number}: {} {what}: {why}: {}", program.case.module, ended.stderr)
    };
    let check = |ended: &Ended| {
        if ended.usage.status.code().is_none() {
            return Err(wrong("it was ended by a signal", ended));
        }
        if ended.stderr.contains("panicked") {
            return Err(wrong("it panicked", ended));
        }
        Ok(())
    };

    let compiled = run(folder, &["compile", "damaged.wasm", "-o", "out"]);
    check(&compiled)?;
    if compiled.usage.rusage.maxrss > 1 << 30 {
        return Err(wrong("it took more than 1 GiB to compile", &compiled));
    }
    let limit = LEAST.max(10 * program.compiles_in);
    if compiled.time() > limit {
        let why = format!("it took {:?} to compile instead of {limit:?}", compiled.time());
        return Err(wrong(&why, &compiled));
    }
    match compiled.usage.status.code() {
        Some(0) => {}
        Some(1 | 2) if compiled.stderr.starts_with("error: ") => return Ok("refused"),
        _ => return Err(wrong("it failed without an error", &compiled)),
    }

    let collector = COLLECTORS[number as usize / whole.len() % COLLECTORS.len()];
    let (mut args, timeout) = (vec!["run", "damaged.wasm", "--collector", collector], timeout());
    args.extend(["--timeout", &timeout, "--heap-max", "256MiB"]);
    args.extend(program.case.options.iter().map(String::as_str));
    let ended = run(folder, &args);
    check(&ended)?;
    match ended.usage.status.code() {
        Some(0) => Ok("ran to its end"),
        Some(124) => Ok("stopped by the timeout"),
        _ if ended.stderr.starts_with("error: ") => Ok("ended with an error or a trap"),
        _ if program.case.options.is_empty() => Ok("exited with a status of its own"),
        _ => Err(wrong("it failed without an error", &ended)),
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn damaged_programs_do_no_harm() {
    let count = match std::env::var("DAMAGED") {
        Ok(text) => text.parse().expect("DAMAGED is a number of files"),
        Err(_) => USUAL,
    };
    let first = folder("damaged0");
    let whole = whole_programs(&first);
    let threads = 2;
    let part = |thread: u64| {
        let folder = folder(&format!("damaged{thread}"));
        let (mut ends, mut faults) = (BTreeMap::<_, u32>::new(), Vec::new());
        for number in (thread..count).step_by(threads) {
            match try_one(&whole, &folder, number) {
                Ok(end) => *ends.entry(end).or_default() += 1,
                Err(fault) => faults.push(fault),
            }
        }
        (ends, faults)
    };
    let (mut ends, mut faults) = (BTreeMap::<_, u32>::new(), Vec::new());
    std::thread::scope(|scope| {
        let part = &part;
        let parts: Vec<_> = (0..threads as u64).map(|n| scope.spawn(move || part(n))).collect();
        for part in parts {
            let (part, mut wrong) = part.join().unwrap();
            part.into_iter().for_each(|(end, n)| *ends.entry(end).or_default() += n);
            faults.append(&mut wrong);
        }
    });
    println!("{count} damaged files of {} programs, seeds from 0: {ends:?}", whole.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for end in ["refused", "ran to its end"] {
        assert!(ends.contains_key(end), "no file is {end}: {ends:?}");
    }
}
