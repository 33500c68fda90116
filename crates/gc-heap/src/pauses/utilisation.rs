//! Minimum mutator utilisation: the least share of any window of time in which the program runs (Cheng
//! and Blelloch, "A Parallel, Real-Time Garbage Collector", PLDI 2001).
//!
//! The longest pause says how long the program is stopped at once. This also tells how close together
//! the pauses are: ten pauses of 1 ms with little between them stop a program as one of 10 ms does.

use std::collections::VecDeque;
use std::time::Duration;

/// The most stopped time in any window of one length.
///
/// Among the windows with the most stopped time, one ends with a pause. For if a window ends in a
/// pause, a later window has no less, up to the one that ends with this pause. And if it ends where the
/// program runs, an earlier one has no less, down to the one that ends with the last pause.
#[derive(Clone, Debug)]
pub(super) struct Window {
    length: Duration,
    /// The starts and the ends of the pauses in the last window.
    pauses: VecDeque<(Duration, Duration)>,
    /// The sum of these.
    stopped: Duration,
    most: Duration,
}

impl Window {
    /// No pause, and windows of this length.
    pub(super) fn new(length: Duration) -> Window {
        Window { length, pauses: VecDeque::new(), stopped: Duration::ZERO, most: Duration::ZERO }
    }

    /// Records a pause, after those before it.
    pub(super) fn record(&mut self, start: Duration, length: Duration) {
        let end = start + length;
        let begin = end.saturating_sub(self.length);
        self.pauses.push_back((start, end));
        self.stopped += length;
        while let Some(&(first, until)) = self.pauses.front()
            && until <= begin
        {
            self.pauses.pop_front();
            self.stopped = self.stopped.saturating_sub(until.saturating_sub(first));
        }
        let outside =
            self.pauses.front().map_or(Duration::ZERO, |&(first, _)| begin.saturating_sub(first));
        self.most = self.most.max(self.stopped.saturating_sub(outside).min(self.length));
    }

    /// Takes the most stopped time of other windows of this length into account.
    pub(super) fn add(&mut self, other: &Window) {
        self.most = self.most.max(other.most);
    }

    /// The least share of any window of a run of length `run` in which the program runs. `total` is the
    /// sum of all pauses: if the run is shorter than the window, the whole run counts.
    pub(super) fn utilisation(&self, run: Duration, total: Duration) -> f64 {
        let (stopped, window) = match run < self.length {
            true => (total.min(run), run),
            false => (self.most, self.length),
        };
        if window.is_zero() {
            return 1.0;
        }
        1.0 - stopped.as_secs_f64() / window.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The utilisation in windows of `window` ms, of a run of `run` ms.
    fn utilisation(pauses: &[(u64, u64)], run: u64, window: u64) -> f64 {
        let ms = Duration::from_millis;
        let mut windows = Window::new(ms(window));
        pauses.iter().for_each(|&(start, length)| windows.record(ms(start), ms(length)));
        let total = pauses.iter().map(|&(_, length)| ms(length)).sum();
        (windows.utilisation(ms(run), total) * 1e6).round() / 1e6
    }

    #[test]
    fn pauses_close_together_add_up() {
        let one = |window| utilisation(&[(40, 5)], 100, window);
        assert_eq!([one(1), one(5), one(10), one(100)], [0.0, 0.0, 0.5, 0.95]);
        // Ten pauses of 1 ms, one every 2 ms.
        let many: Vec<(u64, u64)> = (0..10).map(|n| (40 + 2 * n, 1)).collect();
        let many = |window| utilisation(&many, 100, window);
        assert_eq!([many(1), many(2), many(19), many(100)], [0.0, 0.5, 0.473684, 0.9]);
        // A window may begin within a pause: 2 ms of the first, then all of the second.
        let two = |window| utilisation(&[(20, 4), (26, 4)], 100, window);
        assert_eq!([two(8), two(10), two(20)], [0.25, 0.2, 0.6]);
    }

    #[test]
    fn a_window_longer_than_the_run_is_the_run() {
        assert_eq!(utilisation(&[(2, 5)], 20, 100), 0.75);
        assert_eq!([utilisation(&[], 0, 1), utilisation(&[], 50, 1)], [1.0, 1.0]);
    }

    /// The result is that of all windows, in steps that meet every edge.
    #[test]
    fn it_is_the_least_of_all_windows() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (mut pauses, mut at) = (Vec::new(), random(5));
            while at < 60 {
                let length = random(6);
                pauses.push((at, length));
                at += length + random(8);
            }
            for window in [1, 3, 10, 25] {
                let stopped = |from: u64| -> u64 {
                    let part = |&(start, length): &(u64, u64)| {
                        (start + length).min(from + window).saturating_sub(start.max(from))
                    };
                    pauses.iter().map(part).sum()
                };
                let most = (0..=at).map(stopped).max().unwrap_or_default();
                let expected = 1.0 - most as f64 / window as f64;
                let found = utilisation(&pauses, 1000, window);
                assert!((found - expected).abs() < 1e-5, "{pauses:?} {window}: {found} {expected}");
            }
        }
    }
}
