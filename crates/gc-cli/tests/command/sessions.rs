//! The sessions of `tests/command`, whose README says how they are written: commands, and what they
//! print. With `BLESS=1` the answers are written again.

use crate::common::COLLECTORS;
use snapbox::filter::NormalizeToExpected;
use snapbox::{Assert, Data, assert::Action};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

macro_rules! sessions {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_session_runs() {
            let mut files = names("session");
            files.sort();
            assert_eq!(files, [$(concat!(stringify!($name), ".session")),*]);
        }
    };
}

sessions! {
    bench calls compile explore help imports limits modules options scripts start traps wasi wasmtime
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/command")
}

/// The names of the files with this ending.
fn names(ending: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|found| found == ending));
    files.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// A new folder in which a session runs, and the value of `PATH` for its commands.
fn place(session: &str) -> (PathBuf, String) {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sessions").join(session);
    let _ = std::fs::remove_dir_all(&place);
    let (programs, work) = (place.join("programs"), place.join("work"));
    for folder in [&programs, &work] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let link = |to: &Path, from: PathBuf| std::os::unix::fs::symlink(to, from).unwrap();
    link(Path::new(env!("CARGO_BIN_EXE_reclaim")), programs.join("reclaim"));
    link(&folder().join("..").canonicalize().unwrap(), work.join("tests"));
    for module in names("wat") {
        std::fs::copy(folder().join(&module), work.join(module)).unwrap();
    }
    (work, format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()))
}

/// Runs a session, and compares it with its file.
fn run(session: &str) {
    let (work, path) = place(session);
    let file = folder().join(format!("{session}.session"));
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines = text.split_inclusive('\n').peekable();
    let mut shown = String::new();
    while let Some(line) = lines.next() {
        shown.push_str(line);
        let Some(line) = line.strip_prefix("$ ") else { continue };
        let mut command = line.to_owned();
        while let Some(line) = lines.next_if(|line| line.starts_with("> ")) {
            shown.push_str(line);
            command.push_str(&line[2..]);
        }
        let mut expected = String::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with(['$', '#'])) {
            expected.push_str(line);
        }
        // What is between this command and the next one.
        let printed = expected.trim_end_matches('\n').len();
        let space = expected.split_off(if printed == 0 { 0 } else { printed + 1 });
        shown.push_str(&answers(&command, &work, &path, &expected));
        shown.push_str(&space);
    }
    let bless = std::env::var("BLESS").as_deref() == Ok("1");
    eprintln!("`BLESS=1 cargo test --test command {session}` writes the answers again");
    let assert = Assert::new().action(if bless { Action::Overwrite } else { Action::Verify });
    // The answers have their wildcards already.
    assert.normalize_paths(false).eq(shown, Data::read_from(&file, None).raw());
}

/// What a command prints, with the wildcards of what is expected where they fit. It is the same under
/// each collector, or all is shown that differs.
fn answers(command: &str, work: &Path, path: &str, expected: &str) -> String {
    let collectors = if command.contains("$COLLECTOR") { &COLLECTORS[..] } else { &[""] };
    let mut shown: Option<String> = None;
    for collector in collectors {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).current_dir(work).stdin(Stdio::null());
        shell.env("PATH", path).env("COLLECTOR", collector).env_remove("RECLAIM_LOG");
        let answer = Data::text(answer(&shell.output().unwrap()));
        let expected = Data::text(shown.as_deref().unwrap_or(expected));
        let answer = NormalizeToExpected::new().redact().normalize(answer, &expected).to_string();
        let shown = shown.get_or_insert_with(|| answer.clone());
        if *shown != answer {
            panic!("`{command}` prints\n{shown}and under {collector}\n{answer}");
        }
    }
    shown.unwrap_or_default()
}

/// What a command printed, as a session shows it.
fn answer(output: &std::process::Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str("\\\n");
    }
    let special = |line: &str| line.starts_with(['$', '#', '!', '?']);
    assert!(!text.lines().any(special), "a session cannot show this: {text}");
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        text.push_str(format!("! {line}").trim_end());
        text.push('\n');
    }
    match output.status.code() {
        Some(0) => {}
        Some(status) => text.push_str(&format!("? {status}\n")),
        None => text.push_str("? a signal\n"),
    }
    text
}
