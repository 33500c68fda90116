//! A small executor, and futures that wait.
#![allow(dead_code, unreachable_pub)]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Polls a future once.
pub fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future until it is ready. Returns how often it was pending, too.
pub fn block_on_counted<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    for pending in 0.. {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return (output, pending);
        }
    }
    unreachable!("it was pending more often than can be counted")
}

/// Polls a future until it is ready.
pub fn block_on<F: Future>(future: F) -> F::Output {
    block_on_counted(future).0
}

/// Polls a future until it is ready, each time on another thread.
pub fn block_on_threads<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let polled = std::thread::scope(|scope| {
            scope
                .spawn(|| poll(future.as_mut()))
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        if let Poll::Ready(output) = polled {
            return output;
        }
    }
}

/// Polls a future this many times, unless it is ready before. Returns whether it is.
pub fn poll_times<F: Future>(future: F, times: usize) -> bool {
    let mut future = pin!(future);
    (0..times).any(|_| poll(future.as_mut()).is_ready())
}

/// Is pending this many times.
pub async fn wait(times: usize) {
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
