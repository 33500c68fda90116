//! The report of a comparison: a table, or lines of JSON.

use super::contender::Entry;
use crate::call::Call;
use crate::duration;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use gc_engine::size;
use gc_script::message::one_line;
use serde::Serialize;
use std::time::Duration;

/// A line of JSON. Values that are unknown, because there was no run, are null.
#[derive(Serialize)]
struct Json<'a> {
    collector: &'a str,
    result: Option<String>,
    runs: usize,
    secs: Secs,
    compile_secs: Option<f64>,
    collections: u64,
    pause_ns: PauseNs,
    peak_heap_bytes: u64,
    allocated_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stderr: &'a str,
}

#[derive(Serialize)]
struct Secs {
    first: Option<f64>,
    best: Option<f64>,
    median: Option<f64>,
}

#[derive(Serialize)]
struct PauseNs {
    total: u64,
    longest: u64,
    p99: u64,
}

/// One line for each entry.
pub(super) fn json(entries: &[Entry]) -> String {
    let lines = entries.iter().map(|entry| {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let seconds = |time: Duration| time.as_secs_f64();
        let json = Json {
            collector: entry.collector,
            result: entry.results.as_ref().map(|results| results.join(", ")),
            runs: entry.times.len(),
            secs: Secs {
                first: entry.times.first().copied().map(seconds),
                best: best(&entry.times).map(seconds),
                median: median(&entry.times).map(seconds),
            },
            compile_secs: entry.compile.map(seconds),
            collections: entry.collections,
            pause_ns: PauseNs {
                total: nanoseconds(entry.pauses.total()),
                longest: nanoseconds(entry.pauses.longest()),
                p99: nanoseconds(entry.pauses.quantile(0.99)),
            },
            peak_heap_bytes: entry.peak_heap_bytes,
            allocated_bytes: entry.allocated_bytes,
            error: entry.error.as_ref().map(one_line),
            stderr: &entry.stderr,
        };
        serde_json::to_string(&json).expect("numbers and strings can be written as JSON")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A table with a row for each entry.
pub(super) fn table(call: &Call, runs: u32, entries: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "collector",
        "median",
        "best",
        "collections",
        "total\npause",
        "longest\npause",
        "peak heap",
        "allocated",
    ]);
    for entry in entries {
        let time = |time: Option<Duration>| match &entry.error {
            Some(_) => "failed".to_owned(),
            None => time.map(duration::show).unwrap_or_default(),
        };
        table.add_row([
            entry.collector.to_owned(),
            time(median(&entry.times)),
            time(best(&entry.times)),
            entry.collections.to_string(),
            duration::show(entry.pauses.total()),
            duration::show(entry.pauses.longest()),
            size::show(entry.peak_heap_bytes),
            size::show(entry.allocated_bytes),
        ]);
    }
    let last = table.column_count().saturating_sub(1);
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if i == last { 0 } else { 2 }));
        if i > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let results = entries.iter().find_map(|entry| entry.results.as_ref());
    let results = match results {
        Some(results) if !results.is_empty() => format!(" = {}", results.join(", ")),
        _ => String::new(),
    };
    let (made, all) = match runs {
        1 => ("1 run".to_owned(), String::new()),
        _ => (
            format!("{runs} runs each"),
            format!("\n\ntimes are of one run; collections, pauses and bytes of all {runs} runs"),
        ),
    };
    let mut text = format!("{call}{results}, {made}\n\n{}{all}", table.trim_fmt());
    if let Some(comparison) = comparison(entries) {
        text.push_str(&format!("\n\n{comparison}"));
    }
    text
}

/// The medians of the collectors that did not fail, as multiples of the shortest.
fn comparison(entries: &[Entry]) -> Option<String> {
    let good = entries.iter().filter(|entry| entry.error.is_none());
    let mut medians: Vec<_> =
        good.filter_map(|entry| Some((median(&entry.times)?, entry.collector))).collect();
    medians.sort();
    let [(fastest, name), others @ ..] = &medians[..] else { return None };
    if others.is_empty() || fastest.is_zero() {
        return None;
    }
    let times = others.iter().map(|(time, name)| {
        let ratio = time.as_secs_f64() / fastest.as_secs_f64();
        format!("{name} {ratio:.2}")
    });
    let times: Vec<_> = times.collect();
    Some(format!("medians as multiples of {name}'s: {}", times.join(", ")))
}

fn best(times: &[Duration]) -> Option<Duration> {
    times.iter().min().copied()
}

/// The middle value, or the mean of the two middle values.
fn median(times: &[Duration]) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort();
    let (low, high) = (times.len().checked_sub(1)? / 2, times.len() / 2);
    Some((times[low] + times[high]) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let median = |millis: &[u64]| {
            let times: Vec<_> = millis.iter().copied().map(Duration::from_millis).collect();
            median(&times)
        };
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3]), Some(Duration::from_millis(3)));
        assert_eq!(median(&[9, 1, 3]), Some(Duration::from_millis(3)));
        assert_eq!(median(&[9, 1, 3, 4]), Some(Duration::from_micros(3500)));
    }
}
