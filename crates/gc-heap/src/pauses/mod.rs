//! Pauses: when and why the mutator was stopped, for how long, and what was freed.

mod utilisation;

use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};
use utilisation::Window;

/// The purpose of a pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PauseKind {
    /// A collection of the whole heap.
    #[default]
    Full,
    /// A collection of the nursery.
    Minor,
    /// A collection of the nursery that began or finished one of the old generation.
    Major,
    /// A bounded slice of a collection between whose slices the mutator runs.
    Slice,
    /// A collection of young objects and of objects that have no count left. It may include a slice of a search for
    /// cyclic garbage.
    Counts,
    /// Such a collection with a whole search for cyclic garbage.
    Cycles,
}

impl PauseKind {
    /// All kinds.
    pub const ALL: [PauseKind; 6] = [
        PauseKind::Full,
        PauseKind::Minor,
        PauseKind::Major,
        PauseKind::Slice,
        PauseKind::Counts,
        PauseKind::Cycles,
    ];

    /// The kind's name in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            PauseKind::Full => "full",
            PauseKind::Minor => "minor",
            PauseKind::Major => "major",
            PauseKind::Slice => "slice",
            PauseKind::Counts => "counts",
            PauseKind::Cycles => "cycles",
        }
    }

    /// Whether such a collection finds all garbage, so that a second one would find no more.
    pub fn is_complete(self) -> bool {
        matches!(self, PauseKind::Full | PauseKind::Cycles)
    }
}

/// One pause.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
/// store.gc(&mut NoStack)?;
/// let pause = *store.pauses().recent().last().unwrap();
/// assert_eq!((pause.bytes_before, pause.bytes_after), (16, 0));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The time from the making of the heap to the beginning of the pause.
    pub start: Duration,
    /// Its length, including the search for roots.
    pub length: Duration,
    /// Its purpose.
    pub kind: PauseKind,
    /// Bytes of objects before the pause. This is an estimate if objects are not counted one by
    /// one.
    pub bytes_before: u64,
    /// Bytes of objects after the pause.
    pub bytes_after: u64,
}

/// Number of the latest pauses that are kept one by one.
const RECENT: usize = 1024;

/// The pauses of one heap since it was made or reset.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, PauseKind, toy::ToyCollector};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// store.gc(&mut NoStack)?;
/// let pauses = store.pauses();
/// assert_eq!(pauses.count(), 1);
/// assert_eq!(pauses.recent().last().unwrap().kind, PauseKind::Full);
/// println!("half of the pauses are shorter than {:?}", pauses.quantile(0.5));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone)]
pub struct PauseLog {
    made: Instant,
    /// The time when the current pause began.
    under_way: Option<Instant>,
    /// The pauses, if there was one. Most stores of a server have none.
    recorded: Option<Box<Recorded>>,
}

/// The pauses of a log.
#[derive(Clone)]
struct Recorded {
    recent: VecDeque<Pause>,
    /// Lengths in ns.
    lengths: Histogram<u64>,
    /// Windows of each of [`WINDOWS`](PauseLog::WINDOWS).
    windows: [Window; PauseLog::WINDOWS.len()],
    counts: [u64; PauseKind::ALL.len()],
    total: Duration,
    longest: Duration,
}

impl Default for PauseLog {
    fn default() -> PauseLog {
        PauseLog { made: Instant::now(), under_way: None, recorded: None }
    }
}

impl Default for Recorded {
    fn default() -> Recorded {
        let mut lengths = Histogram::new(2).expect("two digits can be had");
        lengths.auto(true);
        Recorded {
            recent: VecDeque::new(),
            lengths,
            windows: PauseLog::WINDOWS.map(Window::new),
            counts: Default::default(),
            total: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }
}

impl Recorded {
    fn record(&mut self, pause: Pause) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(pause);
        // `saturating_record` would not let the histogram grow. Growing succeeds for every possible
        // length.
        let _grown = self.lengths.record(nanoseconds(pause.length));
        for window in &mut self.windows {
            window.record(pause.start, pause.length);
        }
        self.counts[pause.kind as usize] += 1;
        self.total += pause.length;
        self.longest = self.longest.max(pause.length);
    }

    fn add(&mut self, other: &Recorded) {
        let overflow = (self.recent.len() + other.recent.len()).saturating_sub(RECENT);
        self.recent.drain(..overflow.min(self.recent.len()));
        self.recent.extend(&other.recent);
        // It grows, so that every length has room.
        let _added = self.lengths.add(&other.lengths);
        for (window, others) in self.windows.iter_mut().zip(&other.windows) {
            window.add(others);
        }
        for (count, others) in self.counts.iter_mut().zip(other.counts) {
            *count += others;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }
}

impl PauseLog {
    /// The lengths of the windows of [`utilisation`](PauseLog::utilisation).
    pub const WINDOWS: [Duration; 3] =
        [Duration::from_millis(1), Duration::from_millis(10), Duration::from_millis(100)];

    /// The time when the heap was made.
    pub(crate) fn made(&self) -> Instant {
        self.made
    }

    /// The time from the making of the heap to `at`, as in [`Pause::start`].
    pub fn since_made(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.made)
    }

    /// Records that the mutator was stopped at `start`. The pause lasts until it is recorded.
    pub fn begin(&mut self, start: Instant) {
        self.under_way = Some(start);
    }

    /// The total time for which the mutator was stopped, including a current pause.
    pub fn stopped(&self) -> Duration {
        self.total() + self.under_way()
    }

    /// The time since the current pause began. Zero if there is none.
    pub fn under_way(&self) -> Duration {
        self.under_way.map_or(Duration::ZERO, |start| start.elapsed())
    }

    /// Records that the pause that was begun did not happen.
    pub fn cancel(&mut self) {
        self.under_way = None;
    }

    /// Records a pause.
    pub fn record(&mut self, pause: Pause) {
        self.under_way = None;
        self.recorded.get_or_insert_default().record(pause);
    }

    /// Adds the pauses of another heap. Their starts are still counted from the making of that heap.
    pub fn add(&mut self, other: &PauseLog) {
        if let Some(other) = &other.recorded {
            self.recorded.get_or_insert_default().add(other);
        }
    }

    /// Number of pauses.
    pub fn count(&self) -> u64 {
        self.recorded.as_ref().map_or(0, |recorded| recorded.counts.iter().sum())
    }

    /// Number of pauses of this kind.
    pub fn count_of(&self, kind: PauseKind) -> u64 {
        self.recorded.as_ref().map_or(0, |recorded| recorded.counts[kind as usize])
    }

    /// The sum of all pauses.
    pub fn total(&self) -> Duration {
        self.recorded.as_ref().map_or(Duration::ZERO, |recorded| recorded.total)
    }

    /// The longest pause. Zero if there was none.
    pub fn longest(&self) -> Duration {
        self.recorded.as_ref().map_or(Duration::ZERO, |recorded| recorded.longest)
    }

    /// The length that the share `part` of all pauses (from 0 to 1) did not exceed, to two digits.
    /// Zero if there was no pause.
    pub fn quantile(&self, part: f64) -> Duration {
        let Some(recorded) = &self.recorded else { return Duration::ZERO };
        let length = recorded.lengths.value_at_quantile(part);
        Duration::from_nanos(length).min(recorded.longest)
    }

    /// The minimum mutator utilisation for windows of each of [`WINDOWS`](PauseLog::WINDOWS): the least
    /// share of any such window, from 0 to 1, in which the heap did not stop the program. If the heap
    /// is younger than the window, the share of its whole life. For the sum of several logs, the least
    /// of them. (Perry Cheng and Guy E. Blelloch, "A Parallel, Real-Time Garbage Collector", 2001.)
    pub fn utilisation(&self) -> [f64; PauseLog::WINDOWS.len()] {
        let run = self.made.elapsed();
        match &self.recorded {
            Some(recorded) => {
                let Recorded { windows, total, .. } = &**recorded;
                windows.each_ref().map(|window| window.utilisation(run, *total))
            }
            None => [1.0; PauseLog::WINDOWS.len()],
        }
    }

    /// A histogram whose buckets are bounded by powers of two nanoseconds. Each entry has a
    /// bucket's upper bound and its number of pauses. Entries are in ascending order. Empty buckets
    /// are omitted.
    pub fn histogram(&self) -> Vec<(Duration, u64)> {
        let Some(recorded) = &self.recorded else { return Vec::new() };
        let mut buckets: Vec<(Duration, u64)> = Vec::new();
        for step in recorded.lengths.iter_recorded() {
            let bound = step.value_iterated_to().max(1).checked_next_power_of_two();
            let bound = Duration::from_nanos(bound.unwrap_or(u64::MAX));
            let count = step.count_since_last_iteration();
            match buckets.last_mut() {
                Some((last, so_far)) if *last == bound => *so_far += count,
                _ => buckets.push((bound, count)),
            }
        }
        buckets
    }

    /// The latest pauses in the order in which they happened, at most 1024.
    pub fn recent(&self) -> impl ExactSizeIterator<Item = &Pause> + DoubleEndedIterator {
        static NONE: VecDeque<Pause> = VecDeque::new();
        self.recorded.as_ref().map_or(&NONE, |recorded| &recorded.recent).iter()
    }

    /// The last pause of a collection of the whole heap, if it is among the latest.
    pub(crate) fn last_complete(&self) -> Option<&Pause> {
        self.recent().rev().find(|pause| pause.kind.is_complete())
    }
}

/// The number of pauses of each kind that happened, their sum, and the longest.
impl fmt::Debug for PauseLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut log = f.debug_struct("PauseLog");
        for kind in PauseKind::ALL {
            if self.count_of(kind) > 0 {
                log.field(kind.name(), &self.count_of(kind));
            }
        }
        log.field("total", &self.total()).field("longest", &self.longest()).finish_non_exhaustive()
    }
}

fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(nanoseconds: u64, kind: PauseKind) -> Pause {
        let length = Duration::from_nanos(nanoseconds);
        Pause { start: Duration::ZERO, length, kind, bytes_before: 10, bytes_after: 5 }
    }

    #[test]
    fn pauses_are_counted_and_measured() {
        let mut log = PauseLog::default();
        assert_eq!((log.count(), log.quantile(0.99), log.histogram()), (0, Duration::ZERO, vec![]));
        for n in 1..=2000 {
            log.record(pause(n * 1000, PauseKind::Minor));
        }
        log.record(pause(50_000_000, PauseKind::Full));
        assert_eq!((log.count(), log.count_of(PauseKind::Minor)), (2001, 2000));
        assert_eq!(log.longest(), Duration::from_millis(50));
        assert_eq!(log.total(), Duration::from_micros(2000 * 2001 / 2 + 50_000));
        let median = log.quantile(0.5).as_micros();
        assert!((980..=1020).contains(&median), "{median}");
        assert_eq!(log.quantile(1.0), log.longest());
        let histogram = log.histogram();
        assert_eq!(histogram.iter().map(|(_, count)| count).sum::<u64>(), 2001);
        assert_eq!(histogram.last(), Some(&(Duration::from_nanos(1 << 26), 1)));
        assert!(histogram.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(log.recent().len(), RECENT);
        assert_eq!(log.recent().last().unwrap().kind, PauseKind::Full);
        let text = "PauseLog { full: 1, minor: 2000, total: 2.051s, longest: 50ms, .. }";
        assert_eq!(format!("{log:?}"), text);
    }

    #[test]
    fn logs_are_added() {
        let mut sum = PauseLog::default();
        for heap in 1..=3 {
            let mut log = PauseLog::default();
            for n in 1..=400 {
                log.record(pause(n * heap * 1000, PauseKind::Minor));
            }
            sum.add(&log);
        }
        sum.add(&PauseLog::default());
        assert_eq!((sum.count(), sum.count_of(PauseKind::Minor)), (1200, 1200));
        assert_eq!(sum.longest(), Duration::from_micros(1200));
        assert_eq!(sum.total(), Duration::from_micros(6 * 400 * 401 / 2));
        assert_eq!(sum.quantile(1.0), sum.longest());
        assert_eq!(sum.recent().len(), RECENT);
        assert_eq!(sum.recent().last().unwrap().length, sum.longest());
    }
}
