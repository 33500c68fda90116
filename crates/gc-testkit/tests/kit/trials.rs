//! `TESTKIT_PASSED`: trials that have passed do not run again.

use gc_testkit::trials::{conclude, trial};
use libtest_mimic::Arguments;
use std::process::Command;

/// Whether the trial `second` passes, in a child.
const SECOND_PASSES: &str = "SECOND_PASSES";

#[test]
#[ignore = "the next test runs it in a child"]
fn child() {
    let second_passes = std::env::var_os(SECOND_PASSES).is_some();
    let second = move || if second_passes { Ok(()) } else { Err("not yet".into()) };
    let trials = vec![trial("first", || Ok(())), trial("second", second)];
    let it = conclude(&Arguments::default(), trials);
    println!("passed, failed, left: {} {} {}", it.num_passed, it.num_failed, it.num_filtered_out);
}

#[test]
fn trials_that_have_passed_do_not_run_again() {
    let file = std::env::temp_dir().join(format!("passed-{}", std::process::id()));
    let run = |second_passes: bool| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "trials::child", "--nocapture"]);
        child.env("TESTKIT_PASSED", &file).env_remove("TESTKIT_SAMPLE");
        if second_passes {
            child.env(SECOND_PASSES, "");
        }
        let printed = String::from_utf8(child.output().unwrap().stdout).unwrap();
        let counts = printed.lines().find_map(|line| line.strip_prefix("passed, failed, left: "));
        counts.unwrap_or_else(|| panic!("{printed}")).to_owned()
    };
    assert_eq!(run(false), "1 1 0");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "first\n");
    assert_eq!(run(true), "1 0 1");
    assert_eq!(run(true), "0 0 2");
    std::fs::remove_file(file).unwrap();
}
