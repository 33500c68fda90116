//! Runs the trials of a test binary, or a sample of them.

use crate::panics::is_panic_expected;
use libtest_mimic::{Arguments, Conclusion, Trial};
use std::num::NonZeroU32;

/// Runs `trials` according to `arguments`, and prints the results. Expected panics are not printed. Returns
/// the counts.
///
/// With `TESTKIT_SAMPLE=25` in the environment, about one of 25 trials runs, always the same ones. The others
/// count as filtered out.
///
/// # Panics
/// If `TESTKIT_SAMPLE` is not a positive number.
///
/// ```
/// use gc_testkit::trials::conclude;
/// use libtest_mimic::{Arguments, Trial};
///
/// let trials = vec![Trial::test("one", || Ok(())), Trial::test("two", || Err("no".into()))];
/// let conclusion = conclude(&Arguments::default(), trials);
/// assert_eq!((conclusion.num_passed, conclusion.num_failed), (1, 1));
/// ```
pub fn conclude(arguments: &Arguments, mut trials: Vec<Trial>) -> Conclusion {
    let all = trials.len() as u64;
    if let Ok(every) = std::env::var("TESTKIT_SAMPLE") {
        let every = every.parse().expect("TESTKIT_SAMPLE is a number, as in 25");
        trials.retain(|trial| {
            number_of(trial.name()).is_multiple_of(u64::from(NonZeroU32::get(every)))
        });
        eprintln!("a sample: {} of {all} trials (TESTKIT_SAMPLE={every})", trials.len());
    }
    let left = all - trials.len() as u64;
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_panic_expected() {
            usual(panic);
        }
    }));
    let mut conclusion = libtest_mimic::run(arguments, trials);
    conclusion.num_filtered_out += left;
    conclusion
}

/// A number that tells names apart (FNV-1a; Fowler, Noll and Vo 1991).
fn number_of(name: &str) -> u64 {
    let add = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, add)
}
