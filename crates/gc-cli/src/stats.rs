//! Statistics of a heap, for people (a table) and for programs (one line of JSON).

use crate::duration;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use gc_engine::size;
use gc_wasm::{GcStats, PauseKind, PauseLog};
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// The fuel that the program consumed, if it had some.
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    allocations: u64,
    allocated_bytes: u64,
    collections: u64,
    total_pause_ns: u64,
    longest_pause_ns: u64,
    /// The 99th percentile of the pauses, and the 99.9th.
    p99_pause_ns: u64,
    p999_pause_ns: u64,
    /// The minimum mutator utilisation in windows of some lengths.
    utilisation: Vec<Utilisation>,
    pauses: BTreeMap<&'static str, u64>,
    /// A bucket for each range between two powers of two in which there were pauses.
    pause_histogram: Vec<Bucket>,
    live_objects: u64,
    live_bytes: u64,
    heap_bytes: u64,
    peak_heap_bytes: u64,
}

#[derive(Serialize)]
struct Utilisation {
    window_ns: u64,
    /// From 0 to 1.
    least: f64,
}

#[derive(Serialize)]
struct Bucket {
    up_to_ns: u64,
    pauses: u64,
}

/// The statistics of a heap of `collector` as text, without a final newline, and the fuel that was
/// consumed, if there was some.
pub fn show(
    collector: &str,
    fuel: Option<u64>,
    stats: &GcStats,
    pauses: &PauseLog,
    format: StatsFormat,
) -> String {
    match format {
        StatsFormat::Table => table(collector, fuel, stats, pauses),
        StatsFormat::Json => json(collector, fuel, stats, pauses),
    }
}

/// The number of pauses of each kind, for kinds with pauses.
fn kinds(pauses: &PauseLog) -> impl Iterator<Item = (&'static str, u64)> {
    let counts = PauseKind::ALL.map(|kind| (kind.name(), pauses.count_of(kind)));
    counts.into_iter().filter(|(_, count)| *count > 0)
}

fn json(collector: &str, fuel: Option<u64>, stats: &GcStats, pauses: &PauseLog) -> String {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let bucket = |(bound, pauses)| Bucket { up_to_ns: nanoseconds(bound), pauses };
    let json = Json {
        collector,
        fuel,
        allocations: stats.allocations,
        allocated_bytes: stats.allocated_bytes,
        collections: stats.collections,
        total_pause_ns: nanoseconds(pauses.total()),
        longest_pause_ns: nanoseconds(pauses.longest()),
        p99_pause_ns: nanoseconds(pauses.quantile(0.99)),
        p999_pause_ns: nanoseconds(pauses.quantile(0.999)),
        utilisation: PauseLog::WINDOWS
            .into_iter()
            .zip(pauses.utilisation())
            .map(|(window, least)| Utilisation { window_ns: nanoseconds(window), least })
            .collect(),
        pauses: kinds(pauses).collect(),
        pause_histogram: pauses.histogram().into_iter().map(bucket).collect(),
        live_objects: stats.live_objects,
        live_bytes: stats.live_bytes,
        heap_bytes: stats.heap_bytes,
        peak_heap_bytes: stats.peak_heap_bytes,
    };
    serde_json::to_string(&json).expect("numbers and strings can be written as JSON")
}

fn table(collector: &str, fuel: Option<u64>, stats: &GcStats, pauses: &PauseLog) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let percent = |share: f64| format!("{:.0}%", (share * 100.0).floor());
    let [short, medium, long] = pauses.utilisation();
    let kinds: Vec<String> = kinds(pauses).map(|(kind, count)| format!("{count} {kind}")).collect();
    for (name, value) in [
        ("collector", collector.to_owned()),
        ("allocations", stats.allocations.to_string()),
        ("allocated", size::show(stats.allocated_bytes)),
        ("collections", stats.collections.to_string()),
        ("pauses", if kinds.is_empty() { "0".to_owned() } else { kinds.join(", ") }),
        ("total pause", duration::show(pauses.total())),
        ("longest pause", duration::show(pauses.longest())),
        ("p99 pause", duration::show(pauses.quantile(0.99))),
        ("p99.9 pause", duration::show(pauses.quantile(0.999))),
        ("MMU in 1 ms", percent(short)),
        ("MMU in 10 ms", percent(medium)),
        ("MMU in 100 ms", percent(long)),
        ("live objects", stats.live_objects.to_string()),
        ("live", size::show(stats.live_bytes)),
        ("heap", size::show(stats.heap_bytes)),
        ("peak heap", size::show(stats.peak_heap_bytes)),
    ] {
        table.add_row([name, &value]);
    }
    if let Some(fuel) = fuel {
        table.add_row(["fuel", &fuel.to_string()]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.trim_fmt();
    text.push_str(&histogram(pauses));
    text
}

/// Number of marks in the longest bar.
const BAR: u64 = 40;

/// A histogram with a bar for each bucket of pauses.
fn histogram(pauses: &PauseLog) -> String {
    let buckets = pauses.histogram();
    let Some(most) = buckets.iter().map(|(_, count)| *count).max() else { return String::new() };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for (bound, count) in buckets {
        let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
        table.add_row([format!("up to {}", duration::show(bound)), count.to_string(), bar]);
    }
    for column in [0, 1] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("\npauses by length:\n{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_wasm::Pause;

    fn stats() -> GcStats {
        GcStats { allocations: 3, allocated_bytes: 2048, ..GcStats::default() }
    }

    fn pauses() -> PauseLog {
        let mut pauses = PauseLog::default();
        for (count, micros) in [(3, 7), (80, 2)] {
            for _ in 0..count {
                pauses.record(Pause {
                    start: Duration::ZERO,
                    length: Duration::from_micros(micros),
                    kind: PauseKind::Minor,
                    bytes_before: 1000,
                    bytes_after: 10,
                });
            }
        }
        pauses
    }

    #[test]
    fn json_has_every_number() {
        let text = show("drc", Some(12), &stats(), &pauses(), StatsFormat::Json);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["collector"], "drc");
        assert_eq!(json["fuel"], 12);
        assert_eq!(json["allocations"], 3);
        assert_eq!(json["allocated_bytes"], 2048);
        assert_eq!(json["longest_pause_ns"], 7000);
        assert_eq!(json["pauses"]["minor"], 83);
        assert_eq!(json["pause_histogram"][1]["pauses"], 3);
        assert_eq!(json["pause_histogram"][1]["up_to_ns"], 8192);
        assert_eq!(json["peak_heap_bytes"], 0);
        assert!(!text.contains('\n'));
    }

    #[test]
    fn the_table_has_a_row_for_each() {
        let text = show("drc", Some(1234), &stats(), &pauses(), StatsFormat::Table);
        assert!(text.contains("fuel") && text.contains("1234"), "{text}");
        assert!(text.contains("allocated") && text.contains("2 KiB"), "{text}");
        assert!(text.contains("longest pause") && text.contains("7.00µs"), "{text}");
        assert!(text.contains("83 minor") && text.contains("up to 2.05µs  80  ####"), "{text}");
        assert!(text.ends_with("up to 8.19µs   3  ##"), "{text}");
        let none = show("drc", None, &stats(), &PauseLog::default(), StatsFormat::Table);
        assert!(!none.contains("fuel"), "{none}");
        assert!(!none.contains("by length"), "{none}");
    }
}
