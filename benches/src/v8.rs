//! The contestant of V8: a process of Node.js for each module, which is told what to do by lines of
//! JSON. It measures the time itself, so the lines are not in it. The processor time is that of the
//! thread that runs the code, as for the other contestants. V8 compiles and collects on other
//! threads also.

use crate::clock::Spent;
use crate::contestant::{Answer, Call, Contestant, Heap, Module, Running};
use crate::ticks::Ticks;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

/// A stack of kilobytes for deep recursion, and a heap of megabytes as large as the others' may be.
const FLAGS: [&str; 2] = ["--stack-size=6000", "--max-old-space-size=4096"];

/// What the programs need, each with a module that is valid where it is known.
const NEEDED: [(&str, &str); 3] = [
    ("GC", "(module (type (struct (field i8))) (func (drop (struct.new_default 0))))"),
    (
        "typed function references",
        "(module (type (func)) (func (param (ref 0)) (call_ref 0 (local.get 0))))",
    ),
    (
        "exceptions of WebAssembly 3.0",
        "(module (tag) (func (block (try_table (catch 0 0) (throw 0)))))",
    ),
];

/// V8 in the Node.js that the environment variable `NODE` names, by default `node`. It must be of version
/// 25 or later.
///
/// # Errors
/// If it cannot be started, or lacks what the programs need. The error names that.
pub fn v8() -> Result<Box<dyn Contestant>> {
    let mut process = Process::start().context("there is no Node.js")?;
    let version = process.ask(json!({ "action": "version" })).context("there is no Node.js")?;
    let name = format!("V8 {}", version.as_str().context("its version is a text")?);
    let mut lacks = Vec::new();
    for (what, text) in NEEDED {
        let known = process.ask(json!({ "action": "validate", "bytes": wat::parse_str(text)? }))?;
        lacks.extend((known != Value::Bool(true)).then_some(what));
    }
    if process.ask(json!({ "action": "hasClock" }))? != Value::Bool(true) {
        lacks.push("the processor time of a thread (`process.threadCpuUsage`)");
    }
    ensure!(
        lacks.is_empty(),
        "{name} lacks {}; a Node.js of version 25 or later has all, and NODE names one",
        lacks.join(", ")
    );
    Ok(Box::new(Entrant { name }))
}

/// V8, or a warning that it is not measured and why.
pub fn v8_or_warning() -> Option<Box<dyn Contestant>> {
    v8().inspect_err(|why| eprintln!("\n!!! NOT MEASURED: V8, because {why:#}\n")).ok()
}

struct Entrant {
    name: String,
}

/// A process that waits for lines.
struct Process {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start() -> Result<Process> {
        let node = std::env::var_os("NODE").unwrap_or_else(|| "node".into());
        let mut child = Command::new(node)
            .args(FLAGS)
            .args(["--input-type=module", "--eval", include_str!("v8.mjs")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take().context("the process has an input")?;
        let answers = BufReader::new(child.stdout.take().context("the process has an output")?);
        Ok(Process { child, requests, answers })
    }

    /// Sends a request, and waits for its answer.
    fn ask(&mut self, request: Value) -> Result<Value> {
        writeln!(self.requests, "{request}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut answer: Value = serde_json::from_str(&line).context("the process has ended")?;
        match answer["error"].as_str() {
            Some(error) => bail!("{error}"),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Contestant for Entrant {
    fn name(&self) -> &str {
        &self.name
    }

    fn compile(&self, wat: &str) -> Result<Box<dyn Module>> {
        let path = exchanged("wasm");
        std::fs::write(&path, wat::parse_str(wat)?)?;
        let mut process = Process::start()?;
        let compiled = process.ask(json!({ "action": "compile", "path": path }));
        std::fs::remove_file(&path)?;
        compiled?;
        Ok(Box::new(Compiled(Rc::new(RefCell::new(process)))))
    }
}

struct Compiled(Rc<RefCell<Process>>);

impl Module for Compiled {
    fn start(&self) -> Result<Box<dyn Running>> {
        let instance = self.0.borrow_mut().ask(json!({ "action": "start" }))?;
        Ok(Box::new(Run { process: Rc::clone(&self.0), instance, ticks: None }))
    }

    fn instances(&self, _: Option<&str>, _: u64) -> Result<Spent> {
        bail!("not measured in V8")
    }
}

struct Run {
    process: Rc<RefCell<Process>>,
    instance: Value,
    ticks: Option<Ticks>,
}

/// A file for what the process and this one exchange beside the lines.
fn exchanged(extension: &str) -> PathBuf {
    std::env::temp_dir().join(format!("reclaim-v8-{}.{extension}", std::process::id()))
}

impl Run {
    /// The ticks of the last run, of which there are so many.
    fn read_ticks(&self, count: usize) -> Result<Ticks> {
        let path = exchanged("ticks");
        self.process.borrow_mut().ask(json!({ "action": "ticks", "path": path }))?;
        let bytes = std::fs::read(&path)?;
        std::fs::remove_file(&path)?;
        let ms: Vec<f64> =
            bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let (times, read) = ms.split_at_checked(count).context("there are fewer ticks")?;
        let since = |ms: f64| Duration::from_secs_f64((ms - times[0]).max(0.0) / 1e3);
        let read = read.as_chunks::<3>().0.iter();
        let read = read.map(|[tick, at, ran]| {
            (*tick as usize, since(*at), Duration::from_secs_f64(ran / 1e3))
        });
        Ok(Ticks::of(times.iter().map(|ms| since(*ms)), read))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let request = json!({ "action": "stop", "instance": self.instance });
        let _ = self.process.borrow_mut().ask(request);
    }
}

impl Running for Run {
    fn run(&mut self, export: &str, arg: i32) -> Result<(Answer, Spent)> {
        let request =
            json!({ "action": "run", "instance": self.instance, "name": export, "arg": arg });
        let ran = self.process.borrow_mut().ask(request)?;
        let time = |key: &str| ran[key].as_u64().ok_or_else(|| anyhow!("no `{key}`: {ran}"));
        let spent = Spent {
            wall: Duration::from_nanos(time("ns")?),
            cpu: Duration::from_micros(time("us")?),
        };
        let count = usize::try_from(time("ticks")?)?;
        self.ticks = (count > 0).then(|| self.read_ticks(count)).transpose()?;
        let text = ran["answer"].as_str().unwrap_or_default();
        let answer = text.parse().map(Answer::I32).or_else(|_| text.parse().map(Answer::I64));
        Ok((answer.with_context(|| format!("the answer `{text}` is not an integer"))?, spent))
    }

    fn heap(&self) -> Option<Heap> {
        None
    }

    fn ticks(&self) -> Option<&Ticks> {
        self.ticks.as_ref()
    }

    fn repeat(&mut self, _: &str, _: i32, _: u64) -> Result<(i32, Spent)> {
        bail!("not measured in V8")
    }

    fn call(&mut self, _: Call, _: u64) -> Result<Spent> {
        bail!("not measured in V8")
    }
}
