//! Tests of the example with every collector, and with wrong arguments.

use std::process::{Command, Output};

const COLLECTORS: [&str; 4] = ["null", "drc", "copying", "generational"];

fn linked_list(args: &[&str], zeal: u32) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linked_list"));
    command.args(args).env("ZEAL", zeal.to_string()).output().expect("the example starts")
}

#[track_caller]
fn prints(args: &[&str], zeal: u32, expected: &str) {
    let output = linked_list(args, zeal);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{args:?}");
}

#[track_caller]
fn fails(args: &[&str], expected: &str) {
    let output = linked_list(args, 0);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?}");
    assert!(errors.contains(expected), "{args:?}: {errors}");
}

#[test]
fn a_list_is_summed_under_every_collector() {
    for collector in COLLECTORS {
        prints(&[collector, "1000"], 0, "500500");
        prints(&[collector, "0"], 0, "0");
        prints(&[collector, "1000000"], 0, "500000500000");
    }
    prints(&["generational:nursery=64KiB", "100000"], 0, "5000050000");
}

#[test]
fn a_list_is_summed_with_a_collection_at_every_allocation() {
    for collector in COLLECTORS {
        prints(&[collector, "100"], 1, "5050");
        prints(&[collector, "1000"], 7, "500500");
    }
}

#[test]
fn wrong_arguments_are_errors() {
    fails(&[], "usage: linked_list COLLECTOR N");
    fails(&["drc"], "usage: linked_list COLLECTOR N");
    fails(&["perfect", "1"], "no collector `perfect`; available: null, drc, copying, generational");
    fails(&["drc", "many"], "N must be a number");
    fails(&["drc", "1", "2"], "usage: linked_list COLLECTOR N");
    fails(
        &["drc:nursery=1", "1"],
        "the collector `drc` has no option `nursery`: it has no options",
    );
    fails(&["generational:size=1", "1"], "has no option `size`; available: `nursery`");
    fails(
        &["generational:nursery=big", "1"],
        "`big` is not a valid value for the option `nursery`",
    );
    fails(&["generational:nursery", "1"], "not of the form OPTION=VALUE");
}
