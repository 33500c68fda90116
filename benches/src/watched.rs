//! A contestant whose calls may take a limited processor time. In a heap that is hardly large enough,
//! a program may spend nearly all its time in collections. A call that takes longer fails. So does a call of an
//! instance that could not be made: its heap may have no room for what it begins with.

use crate::clock::{Spent, process_time};
use crate::contestant::{Answer, Call, Contestant, Heap, Module, Running};
use anyhow::{Result, anyhow, bail};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// A contestant with another name, whose calls fail after a time. It is the processor time of the
/// process, so that other work of the machine does not matter. No other thread may work meanwhile.
pub struct Watched {
    /// The name.
    pub name: String,
    /// The contestant. Its code must be one that can be interrupted.
    pub inner: Box<dyn Contestant>,
    /// The longest time.
    pub limit: Duration,
}

struct Compiled {
    inner: Box<dyn Module>,
    limit: Duration,
}

struct Run {
    inner: Result<Box<dyn Running>, String>,
    limit: Duration,
}

impl Contestant for Watched {
    fn name(&self) -> &str {
        &self.name
    }

    fn compile(&self, wat: &str) -> Result<Box<dyn Module>> {
        Ok(Box::new(Compiled { inner: self.inner.compile(wat)?, limit: self.limit }))
    }
}

impl Module for Compiled {
    fn start(&self) -> Result<Box<dyn Running>> {
        let inner = self.inner.start().map_err(|error| format!("{error:#}"));
        Ok(Box::new(Run { inner, limit: self.limit }))
    }

    fn instances(&self, export: Option<&str>, times: u64) -> Result<Spent> {
        self.inner.instances(export, times)
    }
}

impl Run {
    fn inner(&mut self) -> Result<&mut Box<dyn Running>> {
        self.inner.as_mut().map_err(|error| anyhow!("{error}"))
    }
}

impl Running for Run {
    fn run(&mut self, export: &str, arg: i32) -> Result<(Answer, Spent)> {
        let limit = self.limit;
        let inner = self.inner()?;
        let Some(stop) = inner.stopper() else { bail!("the code cannot be interrupted") };
        let (done, watch) = channel::<()>();
        thread::scope(|scope| {
            let end = process_time() + limit;
            let watcher = scope.spawn(move || {
                let mut left = limit;
                while !left.is_zero() {
                    // The sender is dropped when the call is over.
                    if watch.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
                        return false;
                    }
                    left = end.saturating_sub(process_time());
                }
                stop();
                true
            });
            let ran = inner.run(export, arg);
            drop(done);
            match (watcher.join(), ran) {
                (Ok(true), Err(_)) => bail!("it took more than {limit:.1?} of processor time"),
                // Without the backtrace: the reason is that the heap is too small.
                (_, Err(error)) => bail!("{}", error.root_cause()),
                (_, Ok(ran)) => Ok(ran),
            }
        })
    }

    fn heap(&self) -> Option<Heap> {
        self.inner.as_ref().ok()?.heap()
    }

    fn repeat(&mut self, export: &str, arg: i32, times: u64) -> Result<(i32, Spent)> {
        self.inner()?.repeat(export, arg, times)
    }

    fn call(&mut self, call: Call, times: u64) -> Result<Spent> {
        self.inner()?.call(call, times)
    }
}
