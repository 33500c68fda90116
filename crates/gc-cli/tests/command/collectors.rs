//! `reclaim collectors`.

use crate::common::reclaim;
use gc_wasm::Collector;
use serde_json::Value;

#[test]
fn every_collector_is_listed_and_the_default_is_marked() {
    let ran = reclaim(&["collectors"]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    for collector in Collector::all() {
        let mut lines = ran.stdout.lines().filter(|line| line.starts_with(collector.name()));
        let (Some(line), None) = (lines.next(), lines.next()) else { panic!("{}", ran.stdout) };
        let is_default = collector.name() == Collector::default().name();
        assert_eq!(line[collector.name().len()..].starts_with(" *"), is_default, "{line}");
        assert!(line.contains(collector.summary()), "{line}");
        for option in collector.options() {
            let text = format!("\n  {}:{}=SIZE  {}", collector.name(), option.name, option.help);
            assert!(ran.stdout.contains(&text), "{}", ran.stdout);
        }
    }
}

#[test]
fn a_line_of_json_for_each() {
    let ran = reclaim(&["collectors", "--json"]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.collect();
    let facts = |key: &str| lines.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    assert_eq!(facts("collector"), ["null", "drc", "copying", "generational"]);
    assert_eq!(facts("frees"), ["nothing", "everything", "everything", "everything"]);
    assert_eq!(facts("moves_objects"), [false, false, true, true]);
    for (line, collector) in lines.iter().zip(Collector::all()) {
        let is_default = collector.name() == Collector::default().name();
        assert_eq!(line["default"], is_default);
        assert_eq!(line["max_heap_bytes"], collector.max_heap_size());
        assert_eq!(line["fingerprint"], collector.abi().fingerprint().to_string());
        assert_eq!(line["summary"], collector.summary());
        for option in collector.options() {
            assert_eq!(line["options"][option.name], option.value);
        }
    }
}
