//! What a heap did, for people (a table) and for programs (one line of JSON).

use crate::size;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use gc_wasm::GcStats;
use serde::Serialize;
use std::time::Duration;

/// How to show statistics.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsFormat {
    /// A table.
    Table,
    /// One line of JSON: sizes in bytes, times in nanoseconds.
    Json,
}

/// The line of JSON.
#[derive(Serialize)]
struct Json<'a> {
    collector: &'a str,
    allocations: u64,
    allocated_bytes: u64,
    collections: u64,
    total_pause_ns: u64,
    longest_pause_ns: u64,
    live_objects: u64,
    live_bytes: u64,
    heap_bytes: u64,
    peak_heap_bytes: u64,
}

/// The statistics of a heap of `collector` as text, without a line's end.
pub fn show(collector: &str, stats: &GcStats, format: StatsFormat) -> String {
    match format {
        StatsFormat::Table => table(collector, stats),
        StatsFormat::Json => json(collector, stats),
    }
}

fn json(collector: &str, stats: &GcStats) -> String {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let json = Json {
        collector,
        allocations: stats.allocations,
        allocated_bytes: stats.allocated_bytes,
        collections: stats.collections,
        total_pause_ns: nanoseconds(stats.total_pause),
        longest_pause_ns: nanoseconds(stats.longest_pause),
        live_objects: stats.live_objects,
        live_bytes: stats.live_bytes,
        heap_bytes: stats.heap_bytes,
        peak_heap_bytes: stats.peak_heap_bytes,
    };
    serde_json::to_string(&json).expect("numbers and strings can be written as JSON")
}

fn table(collector: &str, stats: &GcStats) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for (name, value) in [
        ("collector", collector.to_owned()),
        ("allocations", stats.allocations.to_string()),
        ("allocated", size::show(stats.allocated_bytes)),
        ("collections", stats.collections.to_string()),
        ("total pause", format!("{:.1?}", stats.total_pause)),
        ("longest pause", format!("{:.1?}", stats.longest_pause)),
        ("live objects", stats.live_objects.to_string()),
        ("live", size::show(stats.live_bytes)),
        ("heap", size::show(stats.heap_bytes)),
        ("peak heap", size::show(stats.peak_heap_bytes)),
    ] {
        table.add_row([name, &value]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> GcStats {
        GcStats {
            allocations: 3,
            allocated_bytes: 2048,
            longest_pause: Duration::from_micros(7),
            ..GcStats::default()
        }
    }

    #[test]
    fn json_has_every_number() {
        let text = show("drc", &stats(), StatsFormat::Json);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["collector"], "drc");
        assert_eq!(json["allocations"], 3);
        assert_eq!(json["allocated_bytes"], 2048);
        assert_eq!(json["longest_pause_ns"], 7000);
        assert_eq!(json["peak_heap_bytes"], 0);
        assert!(!text.contains('\n'));
    }

    #[test]
    fn the_table_has_a_row_for_each() {
        let text = show("drc", &stats(), StatsFormat::Table);
        assert!(text.contains("allocated") && text.contains("2 KiB"), "{text}");
        assert!(text.contains("longest pause") && text.contains("7.0µs"), "{text}");
    }
}
