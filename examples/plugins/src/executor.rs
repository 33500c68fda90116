//! A small executor: it runs futures on several threads, and has a clock. A server has those of its
//! framework.

use gc_wasm::Engine;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// A future that any thread may poll.
pub(crate) type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The numbers of the tasks that are to be polled.
struct Ready {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ready: VecDeque<usize>,
    /// The number of tasks that have not ended.
    left: usize,
}

struct Wakes {
    ready: Arc<Ready>,
    task: usize,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.ready.state.lock().expect("no thread has panicked").ready.push_back(self.task);
        self.ready.changed.notify_one();
    }
}

impl Ready {
    /// The next task to poll. `None` if all have ended.
    fn next(&self) -> Option<usize> {
        let mut state = self.state.lock().expect("no thread has panicked");
        loop {
            match state.ready.pop_front() {
                Some(task) => return Some(task),
                None if state.left == 0 => return None,
                None => state = self.changed.wait(state).expect("no thread has panicked"),
            }
        }
    }

    fn end(&self, tasks: usize) {
        self.state.lock().expect("no thread has panicked").left -= tasks;
        self.changed.notify_all();
    }
}

/// Runs all tasks to their ends, on this number of threads. A task may be polled by another thread
/// each time.
pub(crate) fn run(threads: usize, tasks: Vec<Task<'_>>) {
    let (ready, left) = ((0..tasks.len()).collect(), tasks.len());
    let ready =
        Arc::new(Ready { state: Mutex::new(State { ready, left }), changed: Condvar::new() });
    let tasks: Vec<_> = tasks.into_iter().map(|task| Mutex::new(Some(task))).collect();
    let work = || {
        while let Some(number) = ready.next() {
            // It has ended if it was woken in its last poll.
            let mut task = tasks[number].lock().expect("no thread has panicked");
            let Some(future) = &mut *task else { continue };
            let waker = Waker::from(Arc::new(Wakes { ready: ready.clone(), task: number }));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *task = None;
                ready.end(1);
            }
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
}

/// Wakes futures that sleep.
pub(crate) struct Clock {
    sleeping: Mutex<Vec<(Instant, Waker)>>,
}

impl Clock {
    // ANCHOR: ticker
    /// Starts a clock that begins a new epoch of the engine with each tick. It stops when the engine
    /// or the clock is dropped.
    pub(crate) fn start(engine: &Engine, tick: Duration) -> Arc<Clock> {
        let clock = Arc::new(Clock { sleeping: Mutex::default() });
        let (engine, ticking) = (engine.weak(), Arc::downgrade(&clock));
        thread::spawn(move || {
            while let (Some(engine), Some(clock)) = (engine.upgrade(), Weak::upgrade(&ticking)) {
                engine.increment_epoch();
                clock.wake();
                drop((engine, clock));
                thread::sleep(tick);
            }
        });
        clock
    }
    // ANCHOR_END: ticker

    fn wake(&self) {
        let now = Instant::now();
        let mut sleeping = self.sleeping.lock().expect("no thread has panicked");
        sleeping.extract_if(.., |(until, _)| *until <= now).for_each(|(_, waker)| waker.wake());
    }

    /// Is ready after this time.
    pub(crate) async fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        poll_fn(|context| {
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            let sleeper = (until, context.waker().clone());
            self.sleeping.lock().expect("no thread has panicked").push(sleeper);
            Poll::Pending
        })
        .await;
    }

    // ANCHOR: timeout
    /// What `future` returns. `None` if it is not ready within this time: then it is dropped.
    pub(crate) async fn timeout<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let (mut future, mut sleep) = (pin!(future), pin!(self.sleep(time)));
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }
    // ANCHOR_END: timeout
}
