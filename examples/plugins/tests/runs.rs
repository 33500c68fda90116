//! Tests of the example: the same outcomes under every collector, and wrong arguments.

use std::process::{Command, Output};

fn plugins(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugins"));
    command.args(args).output().expect("the example starts")
}

#[test]
fn every_collector_serves_all_requests() {
    let printed = ["null", "drc", "copying", "generational"].map(|collector| {
        let output = plugins(&[collector]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{collector}: {errors}");
        String::from_utf8(output.stdout).expect("it is text")
    });
    // With the same costs.
    assert!(printed.iter().all(|lines| *lines == printed[0]), "{printed:#?}");
    assert!(printed[0].contains(" 284 discount: an answer for "), "{}", printed[0]);
}

#[test]
fn wrong_arguments_are_errors() {
    for (args, expected) in [
        (&[][..], "usage: plugins COLLECTOR"),
        (&["drc", "drc"], "usage: plugins COLLECTOR"),
        (&["perfect"], "no collector `perfect`"),
    ] {
        let output = plugins(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(errors.contains(expected), "{args:?}: {errors}");
    }
}
