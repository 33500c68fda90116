//! Marking and sweeping on another thread: when the old generation's tables are lent, and when they are recalled.
//!
//! At the end of a pause the tables go to a thread, with the references that the program has overwritten. Before the next
//! pause, and before anything else that uses them, they are recalled. A recall waits for a thread that may not be
//! running: where processors are busy it took 4 ms in one of a hundred, the time slice of the system. So after a recall
//! that took long, or if no thread has begun, the program's thread marks in slices for a while.
//!
//! The thread marks only while the program runs between two pauses. Where much survives that is not enough. So each
//! minor collection plans how much has to be marked before the next one. The thread comes first. The program's thread
//! marks what that is likely to leave, in slices, while it uses the last chunks of the nursery.
//!
//! What the program overwrites meanwhile is in the log, and what the host overwrites is in a list. Both go with the
//! tables the next time. Marking is over when, with the tables at home, nothing is to be scanned and nothing is logged.

use super::loan::{Ended, Task};
use super::major::{SLICE, ZEAL_SLICE};
use super::{Cycle, Phase};
use crate::space::nursery;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A recall that takes longer is slow.
const SLOW: Duration = Duration::from_micros(200);
/// A thread that has begun none of the loans of this time comes late.
const LATE: Duration = Duration::from_millis(2);
/// The number of times that the program's thread marks by itself after a slow recall. It doubles with each slow one, and is
/// halved after so many good ones.
const REST: u32 = 16;
const MOST_DOUBLED: u32 = 4;
const GOOD: u32 = 64;
/// Bytes of the nursery after whose use what a thread has marked meanwhile counts half.
const RECENT: u64 = 64 * nursery::CHUNK as u64;
/// So many overwritten references may wait for the next lending, in the log and in the list of the host. More are handed
/// over at once.
const MOST_WAITING: u32 = 1 << 16;

/// How lending went so far.
#[derive(Debug, Default)]
pub(super) struct Lending {
    /// What the tables were lent for, until it is known what the thread told.
    lent: Option<Task>,
    /// What the host has overwritten since they were lent, and the slots.
    overwritten: Vec<(u32, u32)>,
    /// When the first of the last loans was made that no thread has begun.
    waits_since: Option<Instant>,
    /// Whether no thread has begun with the last sweep.
    idle: bool,
    /// How often the program's thread still marks by itself, how often that number was doubled, and the number of recalls
    /// since then that were not slow.
    rest: u32,
    doubled: u32,
    good: u32,
    /// Units of work that must be done until the next minor collection so that marking ends in time.
    needed: u64,
    /// How many of them the program's thread has to do, because the thread that has the tables is likely not to.
    owed: u64,
    /// The bytes of the nursery that were used when the tables were lent.
    used: u32,
    /// Units that threads have done lately, and bytes of the nursery that the program has used meanwhile.
    lately: (u64, u64),
}

impl Lending {
    /// Learns from a recall.
    fn learn(&mut self, slow: bool) {
        if slow {
            self.rest = REST << self.doubled;
            (self.doubled, self.good) = ((self.doubled + 1).min(MOST_DOUBLED), 0);
        } else {
            self.good += 1;
            if self.good.is_multiple_of(GOOD) {
                self.doubled = self.doubled.saturating_sub(1);
            }
        }
    }

    /// The units that another thread is likely to do while the program uses `bytes` bytes of the nursery.
    fn expected(&self, bytes: u32) -> u64 {
        let (done, used) = self.lately;
        done.saturating_mul(bytes.into()) / used.max(1)
    }

    /// Counts units of work that were done.
    pub(super) fn count(&mut self, units: u64) {
        self.needed = self.needed.saturating_sub(units);
    }

    /// Counts the units of work that a thread did while the program used `used` bytes of the nursery. If it used none, that
    /// does not tell how many the thread will do.
    fn count_marked(&mut self, units: u64, used: u64) {
        self.count(units);
        if used == 0 {
            return;
        }
        let (done, during) = &mut self.lately;
        if *during > RECENT {
            (*done, *during) = (*done / 2, *during / 2);
        }
        (*done, *during) = (*done + units, *during + used);
    }

    /// Whether the program's thread must do its part now, because it uses the last `left` bytes of the nursery.
    fn must_help(&self, left: u32) -> bool {
        self.owed > 0 && self.owed >= u64::from(left / nursery::CHUNK) * u64::from(SLICE)
    }

    /// Forgets what waits, because marking was abandoned.
    pub(super) fn clear(&mut self) {
        self.overwritten.clear();
    }
}

impl Cycle<'_> {
    /// What a thread could do now.
    fn task(&self) -> Option<Task> {
        match self.major.phase() {
            Phase::Marking if !self.major.marking_waits() => Some(Task::Mark),
            Phase::Sweeping | Phase::GivingBack => Some(Task::Sweep),
            _ => None,
        }
    }

    /// Lends the tables to a thread that marks or sweeps, if there is something to do and a thread. Returns whether it did.
    /// The program runs afterwards.
    pub fn lend(&mut self) -> bool {
        let threads = self.core.memory.threads();
        // Time that the host gives is used on this thread.
        let given = self.core.side.given.is_some();
        if self.task().is_none() || given || !threads.is_parallel() || self.core.damage.is_some() {
            return false;
        }
        self.recall();
        let (used, left) = self.nursery_use();
        let lending = &mut self.major.lending;
        if lending.rest > 0 {
            lending.rest -= 1;
            return false;
        }
        let task = match self.task() {
            Some(Task::Mark) if self.hand_over(left) => Task::Mark,
            Some(Task::Sweep) if !std::mem::take(&mut self.major.lending.idle) => Task::Sweep,
            _ => return false,
        };
        let (start, borrower) = (self.space.old.region.start(), self.space.old.borrower());
        let Some(bytes) = self.core.memory.lend(start.into(), borrower) else { return false };
        self.major.lending.lent = Some(task);
        self.major.lending.waits_since.get_or_insert_with(Instant::now);
        self.major.lending.used = used;
        let most = if self.core.memory.zeal() == 0 { u32::MAX } else { ZEAL_SLICE };
        let work = self.space.old.lend(task, Arc::clone(self.shapes), bytes, most);
        threads.execute(work);
        true
    }

    /// Hands what the program has overwritten over to the thread that marks next. Returns whether there is something to
    /// mark, and the program's thread need not do it while it uses the last `left` bytes of the nursery.
    fn hand_over(&mut self, left: u32) -> bool {
        // If more wait than a thread takes, the log must be able to become full. Then marking is given up.
        if self.space.old.marker.overwritten.len() > MOST_WAITING as usize {
            return false;
        }
        let lending = &mut self.major.lending;
        lending.owed = lending.needed.saturating_sub(lending.expected(left));
        if lending.must_help(left) {
            return false;
        }
        let Some(unread) = self.log.unread(&self.core.memory) else { return false };
        let marker = &mut self.space.old.marker;
        marker.overwritten.extend((0..unread).map(|_| self.log.next()));
        !marker.is_done()
    }

    /// The bytes of the nursery that are used, and those that the program can still use.
    fn nursery_use(&self) -> (u32, u32) {
        let used = self.space.nursery.used(&self.core.memory);
        (used, self.space.nursery.size().saturating_sub(used))
    }

    /// Plans how much must be marked until the next minor collection.
    pub fn plan_marking(&mut self) {
        let chunks = u64::from(self.space.nursery.size() / nursery::CHUNK);
        self.major.lending.needed = u64::from(self.to_keep_up()) * chunks;
    }

    /// Has the tables at home again, and learns what the thread that had them has to tell.
    pub fn recall(&mut self) {
        let Some(task) = self.major.lending.lent.take() else { return };
        let (asked, waits) = (Instant::now(), !self.space.old.is_back());
        self.core.memory.recall();
        let told = std::mem::take(&mut self.space.old.told);
        let lending = &mut self.major.lending;
        self.space.old.marker.overwritten.append(&mut lending.overwritten);
        // A loan that came back before this recall may have had no time.
        let waited = lending.waits_since.filter(|_| !told.began && waits);
        let late = waited.is_some_and(|since| asked.duration_since(since) > LATE);
        if told.began || late {
            lending.waits_since = None;
        }
        // Under zeal this thread does not depend on time.
        if self.core.memory.zeal() == 0 && (told.began || late) {
            lending.learn(late || waits && asked.elapsed() > SLOW);
        }
        let used = self.space.nursery.used(&self.core.memory).saturating_sub(lending.used);
        match task {
            Task::Mark => lending.count_marked(told.units, used.into()),
            Task::Sweep => lending.idle = !told.began,
        }
        self.major.took += told.took;
        match told.ended {
            Ended::Recalled | Ended::Done => {}
            Ended::Damage(at, what) => self.core.note_damage(at, what),
            Ended::ManySlots => {
                self.space.old.evacuator.give_up();
                self.cancel_evacuation();
            }
        }
    }

    /// Whether a thread works and can go on. Otherwise it is done, or needs help, or should get what the program has
    /// overwritten.
    pub(super) fn is_done_elsewhere(&self) -> bool {
        let (_, left) = self.nursery_use();
        self.space.old.is_lent()
            && !self.space.old.is_back()
            && (self.major.phase() != Phase::Marking
                || !self.major.lending.must_help(left)
                    && self
                        .log
                        .unread(&self.core.memory)
                        .is_some_and(|unread| unread <= MOST_WAITING))
    }

    /// Marks the referent of `word`, which the host overwrites in the slot at `at`, or a thread does it later.
    pub fn mark_overwritten(&mut self, word: u32, at: u64) {
        match self.space.old.is_lent() {
            true => self.keep(word, at),
            false => self.marking().mark(word),
        }
    }

    /// Keeps an overwritten reference for the next lending.
    fn keep(&mut self, word: u32, at: u64) {
        let waiting = &mut self.major.lending.overwritten;
        waiting.push((word, u32::try_from(at).unwrap_or(0)));
        if waiting.len() > MOST_WAITING as usize {
            self.recall();
        }
    }

    /// Records that the slot at `at` now holds `word`, if that refers into a block that will be evacuated. While the tables
    /// are lent, a thread looks later.
    #[inline(always)]
    pub fn note_slot(&mut self, at: u64, word: u32) {
        if self.space.old.is_lent() {
            // A thread that sweeps does so when nothing is to be evacuated.
            if self.major.phase() == Phase::Marking {
                self.keep(0, at);
            }
        } else if self.space.note_slot(at, word) {
            self.cancel_evacuation();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_expected_to_do_what_it_did_lately() {
        let mut lending = Lending { needed: 5000, ..Lending::default() };
        assert_eq!(lending.expected(nursery::CHUNK), 0);
        // Large objects use nothing of the nursery, however long the thread had time.
        lending.count_marked(3000, 0);
        assert_eq!((lending.needed, lending.expected(nursery::CHUNK)), (2000, 0));
        lending.count_marked(400, nursery::CHUNK.into());
        assert_eq!((lending.needed, lending.expected(4 * nursery::CHUNK)), (1600, 1600));
        // What is long ago counts less.
        for _ in 0..200 {
            lending.count_marked(100, nursery::CHUNK.into());
        }
        assert!((100..110).contains(&lending.expected(nursery::CHUNK)));
    }
}
