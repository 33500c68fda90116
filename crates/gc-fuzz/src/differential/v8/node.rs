//! The `node` program, which is started once and answers one question after the other.

use anyhow::{Context, Result};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

const SCRIPT: &str = include_str!("node.cjs");

/// The running program.
struct Node {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

static NODE: Mutex<Option<Node>> = Mutex::new(None);

impl Node {
    fn start() -> Result<Node> {
        let program = std::env::var_os("NODE").context("NODE is not set")?;
        let mut child = Command::new(&program)
            .args(["-e", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("NODE: cannot start {}", program.display()))?;
        let questions = child.stdin.take().context("it has a standard input")?;
        let answers = child.stdout.take().context("it has a standard output")?;
        let mut node = Node { child, questions, answers: BufReader::new(answers) };
        // What starts may be another program.
        let asked = node.ask(&serde_json::json!({}));
        asked.with_context(|| format!("NODE: {} is no node", program.display()))?;
        Ok(node)
    }

    fn ask(&mut self, question: &Json) -> Result<Json> {
        let mut line = question.to_string();
        line.push('\n');
        self.questions.write_all(line.as_bytes()).context("the `node` program has ended")?;
        line.clear();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the `node` program gives no answer")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program if it does not run.
pub(super) fn start() -> Result<()> {
    started(&mut NODE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn started(node: &mut Option<Node>) -> Result<()> {
    if node.is_none() {
        *node = Some(Node::start()?);
    }
    Ok(())
}

/// Asks the program, which is started if it does not run.
pub(super) fn ask(question: &Json) -> Result<Json> {
    let mut node = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    started(&mut node)?;
    let answer = node.as_mut().context("it was started")?.ask(question);
    if answer.is_err() {
        *node = None;
    }
    answer
}
