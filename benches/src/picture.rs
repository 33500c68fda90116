//! The picture of `programs`: the time of each engine on each program as a ratio to V8's, or to that
//! of Wasmtime's default collector if V8 did not run.

use crate::plot::Mark;
use crate::plot::rows::{Engine, Rows};
use crate::report::{Results, V8, geometric_mean};
use anyhow::{Context, Result};

/// The collectors in the legend, in order.
const COLLECTORS: [&str; 4] = ["generational", "copying", "drc", "null"];

/// What V8 is replaced with.
const DEFAULT: &str = "wasmtime copying";

/// Draws the results.
///
/// # Errors
/// If neither V8 nor Wasmtime's default collector ran a program.
pub fn draw(results: &Results<'_>) -> Result<String> {
    let ran = |engine: &str| {
        results.rows.iter().any(|(_, outcomes)| results.seconds(outcomes, engine).is_some())
    };
    let unit = [V8, DEFAULT].into_iter().find(|engine| ran(engine));
    let unit = unit.context("there is no picture without V8 and without Wasmtime's `copying`")?;
    // Without the third number of the version, and those after it.
    let v8 = results.engines.iter().find(|name| name.starts_with(V8));
    let v8 = v8.map(|name| name.split('.').take(2).collect::<Vec<_>>().join("."));
    let unit_name = match v8 {
        Some(name) if unit == V8 => name,
        _ => "Wasmtime's copying collector".to_owned(),
    };

    let mut rows: Vec<_> = results.rows.iter().collect();
    let ratio = |row: &(String, Vec<_>), engine: &str| {
        let (_, outcomes) = row;
        Some(results.seconds(outcomes, engine)? / results.seconds(outcomes, unit)?)
    };
    // From the fastest of our default collector to the slowest. Rows without it are last.
    let key = |row: &(String, Vec<_>)| ratio(row, "reclaim generational").unwrap_or(f64::INFINITY);
    rows.sort_by(|a, b| key(a).total_cmp(&key(b)));

    let engines = |prefix: &str, filled: bool| -> Vec<Engine> {
        let all = COLLECTORS.iter().filter_map(|collector| {
            let engine = format!("{prefix} {collector}");
            let ratios: Vec<_> = rows.iter().map(|row| ratio(row, &engine)).collect();
            // A mean over some of the programs is not comparable with the others.
            let all: Option<Vec<f64>> = ratios.iter().copied().collect();
            let mark = Mark::of(collector)?;
            ratios.iter().any(Option::is_some).then(|| Engine {
                name: (*collector).to_owned(),
                mark: if filled { mark } else { mark.hollow() },
                ratios,
                mean: all.and_then(|all| geometric_mean(all.into_iter())),
            })
        });
        all.collect()
    };
    let groups =
        [("Reclaim", engines("reclaim", true)), ("Wasmtime 48", engines("wasmtime", false))];
    let picture = Rows {
        title: format!("Time of each program, as a ratio to {unit_name}: further left is faster"),
        axis: format!("{} / that of {unit_name}", results.clock.name()),
        unit: unit_name,
        programs: rows.iter().map(|row| short(&row.0)).collect(),
        groups: groups.into_iter().map(|(name, group)| (name.to_owned(), group)).collect(),
    };
    picture.draw()
}

/// The name of a program. Those of `tests/programs` need no folder.
fn short(name: &str) -> String {
    name.strip_prefix("programs/").unwrap_or(name).to_owned()
}
