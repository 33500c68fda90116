//! Minimum mutator utilisation: the least share of any window of a run in which the program runs
//! and not the collector (Cheng and Blelloch, "A Parallel, Real-Time Garbage Collector", PLDI
//! 2001). The longest pause says how long the program is stopped at once. This also tells how close
//! together the pauses are: ten pauses of 1 ms with little between them stop a program as one of
//! 10 ms does.

use std::time::Duration;

/// A time in which the program did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The time from the beginning of the run.
    pub start: Duration,
    /// The length.
    pub length: Duration,
}

impl Stop {
    fn end(&self) -> Duration {
        self.start + self.length
    }
}

/// The least share, from 0 to 1, of any window of this length in which the program runs. All windows
/// are inside the run. If the run is shorter than the window, or the window is empty, the result is
/// the share of the whole run; 1 if that is empty too.
///
/// `stops` are in ascending order and do not overlap. Parts outside the run do not count.
pub fn utilisation(stops: &[Stop], run: Duration, window: Duration) -> f64 {
    let stops: Vec<Stop> = stops
        .iter()
        .map(|stop| {
            let start = stop.start.min(run);
            Stop { start, length: stop.end().min(run) - start }
        })
        .collect();
    let window = if window.is_zero() { run } else { window.min(run) };
    if window.is_zero() {
        return 1.0;
    }
    // The time for which the program was stopped before each stop.
    let mut before = Vec::with_capacity(stops.len());
    let mut total = Duration::ZERO;
    for stop in &stops {
        before.push(total);
        total += stop.length;
    }
    let stopped_until = |at: Duration| {
        let begun = stops.partition_point(|stop| stop.start < at);
        let Some(last) = begun.checked_sub(1) else { return Duration::ZERO };
        before[last] + stops[last].length.min(at - stops[last].start)
    };
    // While a window moves, its stopped time changes linearly, except where one of its edges meets
    // an edge of a stop. It grows at most until the window begins with a stop or ends with one.
    let latest = run - window;
    let starts = stops.iter().map(|stop| stop.start);
    let ends = stops.iter().map(|stop| stop.end().saturating_sub(window));
    let stopped = starts.chain(ends).map(|start| {
        let start = start.min(latest);
        stopped_until(start + window) - stopped_until(start)
    });
    let most = stopped.max().unwrap_or_default();
    1.0 - most.as_secs_f64() / window.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn stops(all: &[(u64, u64)]) -> Vec<Stop> {
        all.iter().map(|&(start, length)| Stop { start: ms(start), length: ms(length) }).collect()
    }

    /// Checks the utilisation in windows of some lengths.
    fn check(all: &[(u64, u64)], run: u64, expected: &[(u64, f64)]) {
        for &(window, expected) in expected {
            let found = utilisation(&stops(all), ms(run), ms(window));
            assert!((found - expected).abs() < 1e-9, "{all:?}, {window} ms: {found}");
        }
    }

    #[test]
    fn one_pause() {
        let expected = [(1, 0.0), (5, 0.0), (10, 0.5), (50, 0.9), (100, 0.95)];
        check(&[(40, 5)], 100, &expected);
        // The windows that contain it whole begin or end with the run.
        check(&[(0, 5)], 100, &expected);
        check(&[(95, 5)], 100, &expected);
    }

    #[test]
    fn no_pause() {
        check(&[], 100, &[(0, 1.0), (1, 1.0), (100, 1.0), (1000, 1.0)]);
        check(&[], 0, &[(0, 1.0), (1, 1.0)]);
        check(&[(3, 0)], 100, &[(1, 1.0)]);
    }

    #[test]
    fn pauses_close_together_add_up() {
        // Adjacent ones are one.
        check(&[(40, 2), (42, 3)], 100, &[(1, 0.0), (5, 0.0), (10, 0.5), (100, 0.95)]);
        // 4 ms in the 7 ms from the first start to the second end.
        check(&[(20, 2), (25, 2), (80, 3)], 100, &[(1, 0.0), (7, 3.0 / 7.0), (10, 0.6)]);
        // A window may begin within a pause: 2 ms of the first, then all of the second.
        check(&[(20, 4), (26, 4)], 100, &[(8, 0.25), (10, 0.2), (20, 0.6)]);
        // Ten pauses of 1 ms, one every 2 ms.
        let many: Vec<(u64, u64)> = (0..10).map(|n| (40 + 2 * n, 1)).collect();
        check(&many, 100, &[(1, 0.0), (2, 0.5), (19, 9.0 / 19.0), (100, 0.9)]);
    }

    #[test]
    fn a_window_longer_than_the_run_is_the_run() {
        check(&[(2, 5)], 20, &[(20, 0.75), (100, 0.75), (0, 0.75)]);
    }

    #[test]
    fn what_is_outside_the_run_does_not_count() {
        check(&[(90, 20)], 100, &[(10, 0.0), (20, 0.5), (100, 0.9)]);
        check(&[(200, 5)], 100, &[(10, 1.0)]);
        check(&[(0, 100)], 100, &[(1, 0.0), (100, 0.0)]);
    }

    /// The result is that of trying all windows, in steps that meet every edge.
    #[test]
    fn it_is_the_least_of_all_windows() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (mut all, mut at) = (Vec::new(), random(5));
            while at < 60 {
                let length = random(6);
                all.push((at, length));
                at += length + random(8);
            }
            let stopped =
                |at: u64| all.iter().any(|&(start, length)| (start..start + length).contains(&at));
            let window = 1 + random(60);
            let most = (0..=60 - window)
                .map(|start| (start..start + window).filter(|at| stopped(*at)).count());
            let expected = 1.0 - most.max().unwrap_or(0) as f64 / window as f64;
            check(&all, 60, &[(window, expected)]);
        }
    }
}
