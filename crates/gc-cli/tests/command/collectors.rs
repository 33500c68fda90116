//! `reclaim collectors` says what collectors say of themselves.

use crate::common::reclaim;
use gc_wasm::Collector;
use serde_json::Value;

#[test]
fn a_line_of_json_for_each() {
    let ran = reclaim(&["collectors", "--json"]);
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), Collector::all().len());
    for (line, collector) in lines.iter().zip(Collector::all()) {
        assert_eq!(line["collector"], collector.name());
        assert_eq!(line["default"], collector.name() == Collector::default().name());
        assert_eq!(line["max_heap_bytes"], collector.max_heap_size());
        assert_eq!(line["fingerprint"], collector.abi().fingerprint().to_string());
        assert_eq!(line["summary"], collector.summary());
    }
}
