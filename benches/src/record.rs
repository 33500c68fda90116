//! What a bench has measured: it is printed, and if the environment variable `RECORD` is set, it is also
//! written as a page of the book into the folder `docs/measurements`. A page says when, how and on what
//! machine it was measured, and how busy other processes were meanwhile.

use crate::report::markdown;
use anyhow::{Context, Result};
use comfy_table::Table;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that has the benches write what they print.
const RECORD: &str = "RECORD";

/// A machine counts as busy if other processes use more processors than this.
const BUSY: f64 = 0.1;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The name of the page's file, without its extension.
    pub name: &'static str,
    /// The page's title.
    pub title: &'static str,
    /// What is measured, in one paragraph.
    pub about: &'static str,
}

/// A page that grows while a bench runs.
#[derive(Debug)]
pub struct Record {
    subject: Subject,
    command: String,
    peers: Vec<String>,
    body: String,
    date: String,
    load: String,
    began: Option<Ticks>,
    /// A run that only checks that everything runs.
    check: bool,
}

impl Record {
    /// Begins a page when the bench begins.
    pub fn new(subject: Subject) -> Record {
        let arguments: Vec<String> = std::env::args().collect();
        let check = |argument: &String| argument == "--test" || argument == "--smoke";
        Record {
            subject,
            command: command(&arguments),
            peers: Vec::new(),
            body: String::new(),
            date: said("date", &["-u", "+%F"]).unwrap_or_else(unknown),
            load: read("/proc/loadavg")
                .and_then(|text| Some(text.split(' ').next()?.to_owned()))
                .unwrap_or_else(unknown),
            began: Ticks::now(),
            check: arguments.iter().any(check),
        }
    }

    /// The command, for what is not measured by the running program itself.
    pub fn command(&mut self, command: &str) {
        command.clone_into(&mut self.command);
    }

    /// The engines that take part. The page has the versions of those that are not this project's.
    pub fn engines<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let peer = match name.split_once(' ') {
                Some(("wasmtime", _)) => format!("Wasmtime {}", locked("wasmtime")),
                // Without the third number of the version, and those after it.
                Some(("V8", _)) => name.split('.').take(2).collect::<Vec<_>>().join("."),
                _ => continue,
            };
            if !self.peers.contains(&peer) {
                self.peers.push(peer);
            }
        }
    }

    /// Prints a table, and adds it to the page with a heading.
    pub fn table(&mut self, heading: &str, table: &Table) {
        println!("\n{heading}:\n\n{table}");
        self.body += &format!("\n## {heading}\n\n{}", markdown(table));
    }

    /// Prints lines, and adds each to the page as an item of a list.
    pub fn lines<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        let mut separator = "\n";
        for line in lines {
            println!("{separator}{line}");
            self.body += &format!("{separator}- {line}\n");
            separator = "";
        }
    }

    /// Writes the page if it is asked for.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<()> {
        if self.check || std::env::var_os(RECORD).is_none() {
            return Ok(());
        }
        let path = folder().join(self.subject.name).with_extension("md");
        std::fs::write(&path, self.page()).with_context(|| path.display().to_string())?;
        eprintln!("written: docs/measurements/{}.md", self.subject.name);
        Ok(())
    }

    fn page(&self) -> String {
        let Subject { title, about, .. } = self.subject;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let others = match (&self.began, Ticks::now()) {
            (Some(began), Some(ended)) => others(began, &ended, processors),
            _ => unknown(),
        };
        let v8 = self.peers.iter().any(|peer| peer.starts_with("V8"));
        let node = if v8 { "NODE=… " } else { "" };
        let peers = if self.peers.is_empty() { "none".to_owned() } else { self.peers.join(", ") };
        let mut page = format!(
            "<!-- Written by a bench. Do not edit it: `ci/measure` writes it again. -->\n\n\
             # {title}\n\n{about}\n\n| | |\n|---|---|\n"
        );
        for (name, value) in [
            ("date", self.date.as_str()),
            ("command", &format!("`{node}{}`", self.command)),
            ("machine", &machine(processors)),
            ("load average at the start", &self.load),
            ("other processes", &others),
            ("peers", &peers),
            ("commit", &commit().unwrap_or_else(unknown)),
        ] {
            page += &format!("| {name} | {} |\n", value.replace('|', "\\|"));
        }
        page + &self.body
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The folder of the pages.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/measurements")
}

/// The command of cargo that runs a program with these arguments. Cargo passes `--bench` to benches, and
/// gives their files a name with a hash. Paths on this machine are left out.
fn command(arguments: &[String]) -> String {
    let mut arguments = arguments.iter();
    let file = arguments.next().map(Path::new).and_then(Path::file_stem);
    let file = file.map_or(String::new(), |file| file.to_string_lossy().into_owned());
    let (benches, arguments): (Vec<&String>, Vec<&String>) =
        arguments.partition(|argument| *argument == "--bench");
    let cargo = match benches.is_empty() {
        true => format!("cargo run --release -p gc-benches --bin {file}"),
        false => {
            let name = file.rsplit_once('-').map_or(&*file, |(name, _)| name);
            format!("cargo bench -p gc-benches --bench {name}")
        }
    };
    let shown = arguments.into_iter().map(|argument| match Path::new(argument).is_absolute() {
        true => "…",
        false => argument,
    });
    let shown: Vec<&str> = shown.collect();
    let dashes = if shown.is_empty() { "" } else { " -- " };
    format!("{cargo}{dashes}{}", shown.join(" "))
}

/// The machine in general terms.
fn machine(processors: usize) -> String {
    let field = |path: &str, name: &str| {
        let text = read(path)?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(unknown);
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.strip_suffix(" kB")?.parse::<f64>().ok())
        .map_or_else(unknown, |kib| format!("{:.0} GiB", kib / f64::from(1 << 20)));
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown);
    // What follows the numbers is a name that the builder of the kernel chose.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{model}, {processors} processors, {memory} of memory, Linux {kernel}")
}

/// The commit, and whether the files that are built differ from it.
fn commit() -> Option<String> {
    let hash = said("git", &["rev-parse", "--short", "HEAD"])?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.to_str()?;
    let changed = said(
        "git",
        &["-C", root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"],
    )?;
    Some(hash + if changed.is_empty() { "" } else { " + changes" })
}

/// The version of a package in the lock file.
fn locked(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let after = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|it| it.1);
    after
        .and_then(|text| Some(text.split_once('"')?.0))
        .unwrap_or("of an unknown version")
        .to_owned()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// What a program prints, without the end of the line. `None` if it fails.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The time of the system so far, in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    /// Of all processors together.
    all: u64,
    /// In which a process of this system ran.
    used: u64,
    /// In which the host ran something else instead.
    stolen: u64,
    /// In which this process and those that it has waited for ran.
    own: u64,
}

impl Ticks {
    fn now() -> Option<Ticks> {
        let all = read("/proc/stat")?;
        let own = read("/proc/self/stat")?;
        let numbers = |text: &str| -> Vec<u64> {
            text.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect()
        };
        // user, nice, system, idle, iowait, irq, softirq, steal; the times of guests are among these.
        let all = numbers(all.lines().next()?.strip_prefix("cpu ")?);
        let all = all.get(..8)?;
        // The name, in brackets, is followed by the state and ten more fields.
        let own = numbers(own.rsplit_once(')')?.1);
        let total = all.iter().sum();
        Some(Ticks {
            all: total,
            used: total - all[3] - all[4] - all[7],
            stolen: all[7],
            own: own.get(11..15)?.iter().sum(),
        })
    }
}

/// What else ran between two times, as text.
fn others(began: &Ticks, ended: &Ticks, processors: usize) -> String {
    let all = ended.all.saturating_sub(began.all).max(1) as f64;
    let share = |ticks: u64| ticks as f64 * processors as f64 / all;
    let used = share((ended.used - began.used).saturating_sub(ended.own - began.own));
    let stolen = share(ended.stolen - began.stolen);
    let busy = if used + stolen > BUSY { ": a busy machine" } else { "" };
    let host = if stolen > 0.005 { format!(", the host {stolen:.2}") } else { String::new() };
    format!("used {used:.2} of {processors} processors on average{host}{busy}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table;
    use comfy_table::Cell;

    #[test]
    fn commands_are_those_of_cargo() {
        let of = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            command(&words)
        };
        let bench = "target/release/deps/c_calls-0123456789abcdef";
        assert_eq!(of(&format!("{bench} --bench")), "cargo bench -p gc-benches --bench c_calls");
        let with = format!("{bench} --turns 5 --bench");
        assert_eq!(of(&with), "cargo bench -p gc-benches --bench c_calls -- --turns 5");
        let program = "target/release/price --folder /a/place --runs 3";
        let expected = "cargo run --release -p gc-benches --bin price -- --folder … --runs 3";
        assert_eq!(of(program), expected);
    }

    #[test]
    fn other_processes_and_the_host_are_told_apart() {
        let began = Ticks::default();
        let ended = |used, stolen| Ticks { all: 2000, used, stolen, own: 900 };
        let text = |used, stolen| others(&began, &ended(used, stolen), 2);
        assert_eq!(text(910, 0), "used 0.01 of 2 processors on average");
        assert_eq!(text(1500, 0), "used 0.60 of 2 processors on average: a busy machine");
        let both = "used 0.00 of 2 processors on average, the host 0.30: a busy machine";
        assert_eq!(text(900, 300), both);
    }

    #[test]
    fn a_page_has_its_tables_and_says_how_it_was_made() {
        let subject = Subject { name: "test", title: "A test", about: "Nothing is measured." };
        let mut record = Record::new(subject);
        record.engines(["reclaim null", "wasmtime null", "wasmtime drc", "V8 14.6.202.33-node.20"]);
        let mut rows = table("program", ["ms".to_owned()]);
        rows.add_row([Cell::new("one"), Cell::new("1.5")]);
        record.table("Times", &rows);
        record.lines(["met"]);
        let page = record.page();
        let wasmtime = format!("| peers | Wasmtime {}, V8 14.6 |\n", locked("wasmtime"));
        assert!(page.contains("| command | `NODE=… "), "{page}");
        let table = "\n## Times\n\n| program | ms |\n|---|--:|\n| one | 1.5 |\n\n- met\n";
        for part in ["\n# A test\n\nNothing is measured.\n", "| date | 2", &wasmtime, table] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }
}
