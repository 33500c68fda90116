//! Pauses as the program itself sees them. A program with lines that begin with `;; @watch ` can be
//! watched: these lines become code, which imports the function `tick` of the host and calls it
//! after each small piece of work. All pieces are of about the same size. A gap between two calls
//! that is much longer than the median gap has a pause in it. This needs nothing from the engine,
//! so it is the same for all engines, also for those that report no pauses.
//!
//! Other processes make gaps too. So the processor time of the thread is read after each long gap.
//! Then the time in which the thread did not run can be cut out of the run. To read it at each tick would
//! cost a third of a piece of work.
//!
//! An engine that reports its pauses is measured in both ways, to compare them. All pauses of a run are
//! needed for this, and the log keeps only the last ones. So the function that ticks copies the new ones
//! (`StoreContext::gc_pauses`).

use crate::clock::thread_time;
use crate::mmu::{Stop, utilisation};
use std::time::{Duration, Instant};

/// The windows in which utilisation is reported.
pub const WINDOWS: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(10), Duration::from_millis(100)];

/// Pauses that are longer than each of these are counted.
pub const LONGER: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(5)];

/// A gap of this many medians has a pause in it.
pub const THRESHOLD: u32 = 4;

/// Room for the ticks of a run, so that they are not moved while it lasts: that took 9 ms. It is so much that
/// the system provides it page by page.
const ROOM: usize = 1 << 23;

/// After a gap of this length the processor time is read. Another process takes the processor for
/// longer. Most gaps are shorter, and cost no system call.
const LONG: Duration = Duration::from_micros(20);

/// The program with its `@watch` lines as code. `None` if it has none.
pub fn watchable(wat: &str) -> Option<String> {
    const MARK: &str = ";; @watch ";
    wat.contains(MARK).then(|| wat.replace(MARK, ""))
}

/// The data of a store: the times at which its program called `tick`, and the pauses that the
/// engine reports.
#[derive(Debug, Default)]
pub struct Ticks {
    times: Vec<Instant>,
    /// For each long gap the tick at its end, and the time in it in which the thread did not run.
    away: Vec<(usize, Duration)>,
    /// A tick, and the processor time at it.
    read: Option<(Instant, Duration)>,
    /// The start and the length of each pause, if the engine reports them.
    pauses: Option<Vec<(Instant, Duration)>>,
    /// Number of pauses before the first tick that are not among them.
    missed: u64,
}

impl Ticks {
    /// The ticks of another process, by the times since the first. After some of them the processor time was
    /// read: `read` has each of these ticks, its time and the processor time, first of all that of tick 0.
    pub fn of(
        times: impl IntoIterator<Item = Duration>,
        read: impl IntoIterator<Item = (usize, Duration, Duration)>,
    ) -> Ticks {
        let start = Instant::now();
        let times: Vec<Instant> = times.into_iter().map(|time| start + time).collect();
        let mut ticks = Ticks { times, ..Ticks::default() };
        for (tick, at, ran) in read {
            ticks.note_long_gap(tick, start + at, ran);
        }
        ticks
    }

    /// Notes that tick `tick` was at `now` and that the thread has used the processor for `ran` until then.
    fn note_long_gap(&mut self, tick: usize, now: Instant, ran: Duration) {
        if let Some((at, before)) = self.read
            && let Some(last) = tick.checked_sub(1).and_then(|last| self.times.get(last))
        {
            let away = (now - at).saturating_sub(ran.saturating_sub(before)).min(now - *last);
            self.away.push((tick, away));
        }
        self.read = Some((now, ran));
    }

    /// Records a tick.
    pub fn tick(&mut self) {
        let now = Instant::now();
        match self.times.last() {
            None => self.times.reserve(ROOM),
            Some(last) if now - *last >= LONG => {}
            Some(_) => return self.times.push(now),
        }
        self.note_long_gap(self.times.len(), now, thread_time());
        self.times.push(now);
    }

    /// Number of pauses that the engine has reported so far.
    pub fn reported(&self) -> u64 {
        self.missed + self.pauses.as_ref().map_or(0, |pauses| pauses.len() as u64)
    }

    /// Whether there was one tick so far.
    pub fn is_first(&self) -> bool {
        self.times.len() == 1
    }

    /// Adds pauses that the engine reports, with their starts. `missed` more were before the first tick.
    pub fn report(&mut self, missed: u64, pauses: impl IntoIterator<Item = (Instant, Duration)>) {
        self.missed += missed;
        self.pauses.get_or_insert_default().extend(pauses);
    }

    /// What was seen from the first tick to the last. `None` if there are not two.
    pub fn observed(&self) -> Option<Observed> {
        let (first, last) = (*self.times.first()?, *self.times.last()?);
        let since = |at: Instant| at.saturating_duration_since(first);
        let times: Vec<Duration> = self.times.iter().copied().map(since).collect();
        let ran = without(&times, &self.away);
        let work = median_gap(&times)?;
        let of = |times: &[Duration]| {
            Figures::of(&stops(times, work), times.last().copied().unwrap_or_default())
        };
        let pauses = self.pauses.as_ref().map(|pauses| {
            let pauses = pauses.iter().filter(|(start, _)| (first..last).contains(start));
            let stops =
                pauses.map(|(start, length)| Stop { start: since(*start), length: *length });
            stops.collect::<Vec<_>>()
        });
        Some(Observed {
            work,
            by_ticks: of(&times),
            by_processor: of(&ran),
            by_log: pauses
                .as_ref()
                .map(|pauses| Figures::of(pauses, times.last().copied().unwrap_or_default())),
            agreement: pauses.map(|pauses| Agreement::of(&times, &ran, work, &pauses)),
        })
    }
}

/// The times of ticks if the time before each of some of them is cut out.
fn without(times: &[Duration], away: &[(usize, Duration)]) -> Vec<Duration> {
    let mut away = away.iter().peekable();
    let mut cut = Duration::ZERO;
    let times = times.iter().enumerate().map(|(n, time)| {
        while let Some((_, length)) = away.next_if(|(tick, _)| *tick <= n) {
            cut += *length;
        }
        *time - cut
    });
    times.collect()
}

/// What was seen of a run.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// The time of an ordinary piece of work: the median gap between ticks.
    pub work: Duration,
    /// The pauses that the program saw, in wall-clock time.
    pub by_ticks: Figures,
    /// The same without the time in which the thread did not run.
    pub by_processor: Figures,
    /// The pauses that the engine reported, if it does, in wall-clock time.
    pub by_log: Option<Figures>,
    /// Whether the program saw what the engine reported.
    pub agreement: Option<Agreement>,
}

/// A comparison of what a program saw with what the engine reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// The sum of the reported pauses, without those in gaps in which the thread did not run for
    /// some time.
    pub reported: Duration,
    /// The sum of the same gaps, without the work in them.
    pub seen: Duration,
    /// The sum of the stops in gaps without a reported pause: for example the first use of new
    /// memory, which the system has to clear.
    pub unreported: Duration,
    /// The largest difference between the utilisation by the reported pauses and that by the gaps
    /// that have one, from 0 to 1. Where the thread did not run for some time, the reported pause
    /// takes the place of its gap.
    pub apart: f64,
}

impl Agreement {
    /// `times` are those of the ticks, `ran` the same without the time in which the thread did not
    /// run. The pauses are in ascending order.
    fn of(times: &[Duration], ran: &[Duration], work: Duration, pauses: &[Stop]) -> Agreement {
        let (mut sum, mut seen, mut unreported) = Default::default();
        let mut gaps_with_one = Vec::new();
        let mut left = pauses.iter().peekable();
        for (time, ran) in times.windows(2).zip(ran.windows(2)) {
            let mut reported = Duration::ZERO;
            while let Some(pause) = left.next_if(|pause| pause.start < time[1]) {
                reported += pause.length;
            }
            let (gap, ran) = (time[1] - time[0], ran[1] - ran[0]);
            let length = gap.saturating_sub(work);
            if !reported.is_zero() {
                // What other processes do is not compared.
                let compared = gap - ran < LONG;
                if compared {
                    sum += reported;
                    seen += length;
                }
                let length = if compared { length } else { reported.min(gap) };
                gaps_with_one.push(Stop { start: time[1] - length, length });
            } else if is_stop(ran, work) {
                unreported += ran - work;
            }
        }
        let run = times.last().copied().unwrap_or_default();
        let apart = WINDOWS.map(|window| {
            let of = |stops: &[Stop]| utilisation(stops, run, window);
            (of(&gaps_with_one) - of(pauses)).abs()
        });
        let apart = apart.into_iter().fold(0.0, f64::max);
        Agreement { reported: sum, seen, unreported, apart }
    }

    /// What the program saw, divided by what the engine reported. `None` if that is nothing.
    pub fn ratio(&self) -> Option<f64> {
        let reported = self.reported.as_secs_f64();
        (reported > 0.0).then(|| self.seen.as_secs_f64() / reported)
    }
}

/// The pauses of a run.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The utilisation in windows of the lengths of [`WINDOWS`].
    pub mmu: [f64; WINDOWS.len()],
    /// Number of pauses.
    pub pauses: usize,
    /// The sum of all pauses.
    pub total: Duration,
    /// The longest pause. Zero if there was none.
    pub longest: Duration,
    /// The 99th percentile of the pauses. Zero if there was none.
    pub p99: Duration,
    /// The 99.9th percentile of the pauses. Zero if there was none.
    pub p999: Duration,
    /// Numbers of pauses that are longer than each of [`LONGER`].
    pub longer: [usize; LONGER.len()],
}

impl Figures {
    fn of(stops: &[Stop], run: Duration) -> Figures {
        let mut lengths: Vec<Duration> = stops.iter().map(|stop| stop.length).collect();
        lengths.sort();
        let percentile = |thousandths: usize| {
            let rank = (lengths.len() * thousandths).div_ceil(1000).saturating_sub(1);
            lengths.get(rank).copied().unwrap_or_default()
        };
        Figures {
            mmu: WINDOWS.map(|window| utilisation(stops, run, window)),
            pauses: stops.len(),
            total: lengths.iter().sum(),
            longest: lengths.last().copied().unwrap_or_default(),
            p99: percentile(990),
            p999: percentile(999),
            longer: LONGER.map(|than| lengths.iter().filter(|length| **length > than).count()),
        }
    }

    /// The median of the figures of several runs, each for itself. `None` if there are no runs.
    pub fn median(runs: impl Iterator<Item = Figures>) -> Option<Figures> {
        fn middle<T: PartialOrd + Copy>(runs: &[Figures], of: impl Fn(&Figures) -> T) -> T {
            let mut all: Vec<T> = runs.iter().map(of).collect();
            all.sort_by(|a, b| a.partial_cmp(b).expect("no figure is a NaN"));
            all[all.len() / 2]
        }
        let runs: Vec<Figures> = runs.collect();
        (!runs.is_empty()).then(|| Figures {
            mmu: std::array::from_fn(|n| middle(&runs, |run| run.mmu[n])),
            pauses: middle(&runs, |run| run.pauses),
            total: middle(&runs, |run| run.total),
            longest: middle(&runs, |run| run.longest),
            p99: middle(&runs, |run| run.p99),
            p999: middle(&runs, |run| run.p999),
            longer: std::array::from_fn(|n| middle(&runs, |run| run.longer[n])),
        })
    }

    /// The best of the figures of several runs, each for itself: other processes can only lengthen
    /// pauses and lower utilisation. `None` if there are no runs.
    pub fn best(runs: impl Iterator<Item = Figures>) -> Option<Figures> {
        runs.reduce(|a, b| Figures {
            mmu: std::array::from_fn(|n| a.mmu[n].max(b.mmu[n])),
            pauses: a.pauses.min(b.pauses),
            total: a.total.min(b.total),
            longest: a.longest.min(b.longest),
            p99: a.p99.min(b.p99),
            p999: a.p999.min(b.p999),
            longer: std::array::from_fn(|n| a.longer[n].min(b.longer[n])),
        })
    }
}

fn gaps(times: &[Duration]) -> impl Iterator<Item = Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0])
}

/// The median of the gaps between ascending times. `None` if there are no two.
fn median_gap(times: &[Duration]) -> Option<Duration> {
    let mut all: Vec<Duration> = gaps(times).collect();
    let middle = all.len() / 2;
    (!all.is_empty()).then(|| *all.select_nth_unstable(middle).1)
}

fn is_stop(gap: Duration, work: Duration) -> bool {
    !gap.is_zero() && gap >= THRESHOLD * work
}

/// The stops among these ascending times, if a piece of work takes `work`: each gap of at least
/// [`THRESHOLD`] times that, without the work. A stop is put at the end of its gap.
fn stops(times: &[Duration], work: Duration) -> Vec<Stop> {
    let long = gaps(times).zip(times).filter(|(gap, _)| is_stop(*gap, work));
    long.map(|(gap, start)| Stop { start: *start + work, length: gap - work }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// The times of ticks with these gaps in µs.
    fn times(gaps: &[u64]) -> Vec<Duration> {
        let mut at = Duration::ZERO;
        let after = gaps.iter().map(|gap| {
            at += us(*gap);
            at
        });
        std::iter::once(Duration::ZERO).chain(after).collect()
    }

    #[test]
    fn ticks_of_another_process_are_as_those_of_this_one() {
        let times = times(&[10, 10, 500, 10, 10]);
        // The thread did not run for 300 µs of the long gap.
        let read = [(0, us(0), us(7)), (3, us(520), us(227))];
        let ticks = Ticks::of(times, read);
        assert_eq!(ticks.away, [(3, us(300))]);
        let seen = ticks.observed().unwrap();
        assert_eq!((seen.work, seen.by_ticks.longest), (us(10), us(490)));
        assert_eq!((seen.by_processor.longest, seen.by_processor.pauses), (us(190), 1));
    }

    #[test]
    fn lines_are_uncommented() {
        assert_eq!(watchable("(module)"), None);
        let wat = "(module\n  ;; @watch (import \"host\" \"tick\" (func $tick))\n  ;; a comment\n)";
        let code = "(module\n  (import \"host\" \"tick\" (func $tick))\n  ;; a comment\n)";
        assert_eq!(watchable(wat).as_deref(), Some(code));
    }

    #[test]
    fn long_gaps_are_stops() {
        let times = times(&[10, 10, 510, 10, 39, 40, 10]);
        let work = median_gap(&times).unwrap();
        assert_eq!(work, us(10));
        let expected = [(30, 500), (589, 30)];
        let expected =
            expected.map(|(start, length)| Stop { start: us(start), length: us(length) });
        assert_eq!(stops(&times, work), expected);
    }

    #[test]
    fn no_ticks_show_nothing() {
        assert!(Ticks::default().observed().is_none());
        let mut ticks = Ticks::default();
        ticks.tick();
        assert!(ticks.observed().is_none());
        assert_eq!(ticks.reported(), 0);
    }

    #[test]
    fn a_run_is_seen_both_ways() {
        let first = Instant::now();
        let gaps =
            [vec![10; 1000], vec![5010], vec![10; 1000], vec![1010], vec![10; 8000]].concat();
        let times = times(&gaps).into_iter().map(|at| first + at).collect();
        let mut ticks = Ticks { times, ..Ticks::default() };
        assert!(ticks.observed().unwrap().by_log.is_none());
        // The pauses are at other places in their gaps.
        ticks.report(0, [(first + us(10_003), us(5000))]);
        ticks.report(0, [(first + us(25_019), us(1000)), (first + us(900_000), us(1000))]);
        assert_eq!(ticks.reported(), 3);
        let seen = ticks.observed().unwrap();
        assert_eq!(seen.work, us(10));
        for figures in [seen.by_ticks, seen.by_processor, seen.by_log.unwrap()] {
            assert_eq!((figures.pauses, figures.total), (2, us(6000)));
            assert_eq!((figures.longest, figures.p99), (us(5000), us(5000)));
            let mmu = figures.mmu.map(|share| (share * 1e6).round() / 1e6);
            assert_eq!(mmu, [0.0, 0.5, 0.94]);
        }
        let agreement = seen.agreement.unwrap();
        assert_eq!((agreement.reported, agreement.seen), (us(6000), us(6000)));
        assert_eq!((agreement.ratio(), agreement.unreported), (Some(1.0), us(0)));
        assert!(agreement.apart < 1e-9, "{agreement:?}");
    }

    #[test]
    fn the_time_of_other_processes_is_cut_out() {
        let first = Instant::now();
        let times = times(&[10, 4010, 10, 10, 6010, 10, 3010, 10, 10]);
        let instants = times.iter().map(|at| first + *at).collect();
        // The thread did not run in the first long gap, and for 4 ms of the second.
        let away = vec![(2, us(4000)), (5, us(4000)), (7, us(0))];
        let mut ticks = Ticks { times: instants, away, ..Ticks::default() };
        ticks.report(0, [(first + us(4041), us(5990)), (first + us(10_065), us(2997))]);
        let seen = ticks.observed().unwrap();
        assert_eq!((seen.by_ticks.longest, seen.by_ticks.pauses), (us(6000), 3));
        assert_eq!((seen.by_processor.longest, seen.by_processor.pauses), (us(3000), 2));
        let ran = without(&times, &ticks.away);
        assert_eq!(ran.last(), Some(&(*times.last().unwrap() - us(8000))));
        let agreement = seen.agreement.unwrap();
        assert_eq!((agreement.reported, agreement.seen), (us(2997), us(3000)));
        assert_eq!(agreement.unreported, us(0));
        assert!(agreement.apart > 0.0 && agreement.apart < 0.001, "{agreement:?}");
        // Nothing was reported in the last long gap.
        ticks.pauses = Some(Vec::new());
        let agreement = ticks.observed().unwrap().agreement.unwrap();
        assert_eq!((agreement.ratio(), agreement.unreported), (None, us(5000)));
    }

    #[test]
    fn the_best_of_each_figure() {
        let of = |lengths: &[u64]| {
            let stops = lengths
                .iter()
                .zip(1..)
                .map(|(length, n)| Stop { start: us(n * 20_000), length: us(*length) });
            Figures::of(&stops.collect::<Vec<_>>(), us(1_000_000))
        };
        assert!(Figures::best(std::iter::empty()).is_none());
        let best = Figures::best([of(&[500, 100]), of(&[300, 300, 300])].into_iter()).unwrap();
        assert_eq!((best.pauses, best.longest, best.total), (2, us(300), us(600)));
        assert!((best.mmu[0] - 0.7).abs() < 1e-9);
        assert!((best.mmu[2] - 0.994).abs() < 1e-9, "{best:?}");
    }
}
