//! Random operations on the built-in collectors: against the shadow heap, side by side, and on
//! heaps whose bytes are overwritten. Each test runs a fixed set of seeds, the same on a busy
//! machine as on an idle one, and then others until its time budget is used.

use arbitrary::Unstructured;
use arbtest::arbtest;
use gc_testkit::{Subject, agreement, corrupt, differential, random, scaled};
use std::sync::mpsc;
use std::time::Duration;

/// Runs `test` on another thread. Fails if it takes far longer than it should, so that an endless
/// collection does not look like a slow machine.
fn in_bounded_time(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        test();
        done.send(())
    });
    match is_done.recv_timeout(Duration::from_secs(600)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {}
    }
    if let Err(panic) = worker.join() {
        std::panic::resume_unwind(panic);
    }
}

fn variants(zeal: &[u32]) -> Vec<Subject<'static>> {
    crate::ours().into_iter().flat_map(|subject| subject.variants(zeal)).collect()
}

fn fixed_seeds(
    subjects: &[Subject<'_>],
    seeds: u64,
    length: impl Fn(u64) -> usize,
    run: fn(&Subject<'_>, &mut Unstructured<'_>) -> anyhow::Result<()>,
) {
    for subject in subjects {
        for seed in 0..seeds {
            // Other seeds than those of the suite.
            let bytes = random::bytes(seed + (1 << 32), length(seed));
            if let Err(fault) = run(subject, &mut Unstructured::new(&bytes)) {
                panic!("seed {seed} + 2^32: {fault:#}");
            }
        }
    }
}

fn other_seeds(
    subjects: &[Subject<'_>],
    run: fn(&Subject<'_>, &mut Unstructured<'_>) -> anyhow::Result<()>,
) {
    for subject in subjects {
        let property = |u: &mut Unstructured<'_>| {
            if let Err(fault) = run(subject, u) {
                panic!("{fault:#}");
            }
            Ok(())
        };
        arbtest(property).size_max(16 << 10).budget_ms(scaled(250)).run();
    }
}

#[test]
fn heaps_and_shadows_agree() {
    in_bounded_time(|| {
        let subjects = variants(&[0]);
        fixed_seeds(&subjects, scaled(60), |seed| 100 + 133 * seed as usize, differential::run);
        other_seeds(&subjects, differential::run);
    });
}

#[test]
fn heaps_and_shadows_agree_under_zeal() {
    in_bounded_time(|| {
        let subjects = variants(&[1, 3]);
        fixed_seeds(&subjects, scaled(20), |seed| 100 + 120 * seed as usize, differential::run);
        other_seeds(&subjects, differential::run);
    });
}

/// Compares all collectors on both kinds of heap, with each of `zeals`.
fn agree(seeds: u64, first: u64, length: impl Fn(u64) -> usize, zeals: &[u32]) {
    let kinds = crate::ours()[0].variants(zeals);
    for kind in kinds {
        let with = |subject: Subject<'static>| subject.with(kind.bounds, kind.zeal);
        let subjects: Vec<_> = crate::ours().into_iter().map(with).collect();
        for seed in first..first + seeds {
            let bytes = random::bytes(seed, length(seed - first));
            if let Err(fault) = agreement::run(&subjects, &mut Unstructured::new(&bytes)) {
                panic!("seed {seed}: {fault:#}");
            }
        }
    }
}

#[test]
fn collectors_agree() {
    in_bounded_time(|| agree(scaled(50), 3 << 32, |n| 100 + 120 * n as usize, &[0]));
}

#[test]
fn collectors_agree_under_zeal() {
    in_bounded_time(|| agree(scaled(12), 4 << 32, |n| 100 + 260 * n as usize, &[1, 7]));
}

/// Runs `TESTKIT_SEEDS` seeds, from `TESTKIT_FIRST_SEED` (default 0) on. Without `TESTKIT_SEEDS` it
/// runs none.
#[test]
fn collectors_agree_for_as_long_as_asked() {
    let number = |name| std::env::var(name).map(|text| text.parse().expect("a number of seeds"));
    let Ok(seeds) = number("TESTKIT_SEEDS") else { return };
    let first = number("TESTKIT_FIRST_SEED").unwrap_or(0);
    for seed in first..first + seeds {
        agree(1, seed, |_| 64 << (seed % 9), &[[0, 1, 2, 3, 5, 7, 11, 13][seed as usize % 8]]);
    }
}

#[test]
fn damage_stays_inside_the_heap() {
    in_bounded_time(|| {
        let subjects = variants(&[0]);
        fixed_seeds(&subjects, scaled(600), |seed| 200 + 3 * seed as usize, corrupt::run);
        other_seeds(&subjects, corrupt::run);
    });
}

#[test]
fn damage_stays_inside_the_heap_under_zeal() {
    in_bounded_time(|| {
        let subjects = variants(&[1, 3]);
        fixed_seeds(&subjects, scaled(150), |seed| 200 + 3 * seed as usize, corrupt::run);
        other_seeds(&subjects, corrupt::run);
    });
}
