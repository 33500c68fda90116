//! [`GcThreads`]: the threads of an engine that work for its heaps.
//!
//! An engine has some, or uses what its host has ([`GcExecutor`]). There is no thread until a heap has work, and none is
//! left when the engine and its heaps are gone. Work that no thread begins is not lost: its owner takes it back.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes of the stack of a thread. Nothing that is done there recurses.
const STACK: usize = 256 << 10;

/// Work for a heap that may be done on any thread.
pub trait GcWork: Send + Sync {
    /// Does what is to be done. If nothing is, returns at once. It ends soon when the heap needs it to: it looks for that
    /// every few microseconds.
    fn run(&self);

    /// Whether it should come before other work. False by default.
    fn is_urgent(&self) -> bool {
        false
    }
}

/// Runs work for heaps on other threads.
///
/// # Examples
/// A host that has a pool of threads lets them do it:
///
/// ```
/// use gc_heap::lend::{GcExecutor, GcWork};
/// use std::sync::Arc;
///
/// #[derive(Debug)]
/// struct NewThread;
///
/// impl GcExecutor for NewThread {
///     fn execute(&self, work: Arc<dyn GcWork>) {
///         std::thread::spawn(move || work.run());
///     }
/// }
/// ```
pub trait GcExecutor: fmt::Debug + Send + Sync {
    /// Calls [`GcWork::run`] once, soon, on a thread that is not this one. It returns at once. Work that is not begun in
    /// time is done by the program's thread, so it may also be dropped.
    fn execute(&self, work: Arc<dyn GcWork>);

    /// Whether work may be done beside the program at all. If not, it does all by itself. True by default.
    fn is_parallel(&self) -> bool {
        true
    }
}

/// What an engine's threads share.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Arc<dyn GcWork>>,
    /// Number of threads that were started, and of those that sleep.
    threads: usize,
    asleep: usize,
    closed: bool,
}

/// Threads for the work of heaps.
///
/// # Examples
/// ```
/// use gc_heap::lend::{GcExecutor, GcThreads, GcWork};
/// use std::sync::Arc;
/// use std::sync::mpsc::{Sender, channel};
///
/// struct Say(Sender<&'static str>);
///
/// impl GcWork for Say {
///     fn run(&self) {
///         self.0.send("done").unwrap();
///     }
/// }
///
/// let threads = GcThreads::new(1);
/// let (sender, receiver) = channel();
/// threads.execute(Arc::new(Say(sender)));
/// assert_eq!(receiver.recv(), Ok("done"));
/// ```
pub struct GcThreads {
    queue: Arc<Queue>,
    most: usize,
}

impl fmt::Debug for GcThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcThreads").field("most", &self.most).finish_non_exhaustive()
    }
}

impl GcThreads {
    /// At most so many threads. They are started when there is work for them. With 0, no work is done.
    pub fn new(most: usize) -> GcThreads {
        GcThreads { queue: Arc::default(), most }
    }

    /// The threads that an engine has if nothing else is said: one, where threads run in parallel. Otherwise none.
    pub fn usual() -> usize {
        usize::from(thread::available_parallelism().is_ok_and(|processors| processors.get() > 1))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work that comes, until the queue is closed.
    fn run(&self) {
        let mut waiting = self.lock();
        while !waiting.closed {
            if let Some(work) = waiting.work.pop_front() {
                drop(waiting);
                // What panics tells its owner. The thread goes on.
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.run()));
                if done.is_err() {
                    log::error!("work for a heap panicked on a thread of its engine");
                }
                drop(work);
                waiting = self.lock();
                continue;
            }
            waiting.asleep += 1;
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.asleep -= 1;
        }
    }
}

impl GcExecutor for GcThreads {
    fn execute(&self, work: Arc<dyn GcWork>) {
        let mut waiting = self.queue.lock();
        if self.most == 0 {
            return;
        }
        // Those that sleep may all have been woken for work that waits.
        if waiting.work.len() >= waiting.asleep && waiting.threads < self.most {
            let queue = Arc::clone(&self.queue);
            let thread = thread::Builder::new().name("gc".to_owned()).stack_size(STACK);
            match thread.spawn(move || queue.run()) {
                Ok(_) => waiting.threads += 1,
                Err(error) if waiting.threads == 0 => {
                    log::debug!("there is no thread for the work of heaps: {error}");
                    return;
                }
                Err(_) => {}
            }
        }
        match work.is_urgent() {
            true => waiting.work.push_front(work),
            false => waiting.work.push_back(work),
        }
        drop(waiting);
        self.queue.more.notify_one();
    }

    fn is_parallel(&self) -> bool {
        self.most > 0
    }
}

impl Drop for GcThreads {
    /// Lets the threads end. They finish what they do.
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.closed = true;
        waiting.work.clear();
        drop(waiting);
        self.queue.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::ThreadId;
    use std::time::Duration;

    struct Say(Mutex<Sender<ThreadId>>, bool);

    impl GcWork for Say {
        fn run(&self) {
            self.0.lock().unwrap().send(thread::current().id()).unwrap();
            assert!(!self.1, "a test");
        }
    }

    #[test]
    fn one_thread_does_all_and_survives_a_panic() {
        let threads = GcThreads::new(1);
        let (sender, receiver) = channel();
        for n in 0..20 {
            threads.execute(Arc::new(Say(Mutex::new(sender.clone()), n == 3)));
        }
        let ids: Vec<ThreadId> = (0..20).map(|_| receiver.recv().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && *id != thread::current().id()));
        assert_eq!(threads.queue.lock().threads, 1);
        // The thread ends with its engine, and with it the last handle of the queue.
        let queue = Arc::downgrade(&threads.queue);
        drop(threads);
        while queue.strong_count() > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn without_threads_nothing_is_done() {
        let threads = GcThreads::new(0);
        let (sender, receiver) = channel();
        threads.execute(Arc::new(Say(Mutex::new(sender), false)));
        assert!(receiver.recv_timeout(Duration::from_millis(20)).is_err());
    }

    #[test]
    fn two_threads_do_two_pieces_of_work_at_once() {
        /// Waits until two are there.
        struct Meet(Arc<(Mutex<u32>, Condvar)>, Mutex<Sender<bool>>);

        impl GcWork for Meet {
            fn run(&self) {
                let mut count = self.0.0.lock().unwrap();
                *count += 1;
                self.0.1.notify_all();
                let most = Duration::from_secs(10);
                let (count, _) = self.0.1.wait_timeout_while(count, most, |n| *n < 2).unwrap();
                self.1.lock().unwrap().send(*count == 2).unwrap();
            }
        }

        for _ in 0..20 {
            let threads = GcThreads::new(2);
            let (sender, receiver) = channel();
            threads.execute(Arc::new(Say(Mutex::new(sender), false)));
            receiver.recv().unwrap();
            while threads.queue.lock().asleep == 0 {
                thread::yield_now();
            }
            let (meeting, (sender, receiver)) = (Arc::default(), channel());
            for _ in 0..2 {
                let sender = Mutex::new(sender.clone());
                threads.execute(Arc::new(Meet(Arc::clone(&meeting), sender)));
            }
            assert!(receiver.recv().unwrap() && receiver.recv().unwrap());
        }
    }
}
