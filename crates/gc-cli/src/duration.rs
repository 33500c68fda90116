//! Times: parsed with their unit, and shown for people with three digits, in a fitting unit.

use humantime::DurationError;
use std::time::Duration;

/// Parses a time with its unit. The error gives examples.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str, examples: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| match error {
        DurationError::NumberOverflow => {
            format!("the time is out of range, which is 1ns to {}s", u64::MAX)
        }
        _ => format!("expected a time such as {examples}"),
    })
}

/// Units, each with its length in seconds, shortest first.
const UNITS: [(&str, f64); 4] = [("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];

/// A time: `312µs`, `1.75ms`, `12.5s`.
pub fn show(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    // A time that would be rounded to 1000 of a unit is shown in the next unit.
    let unit = UNITS.iter().find(|(_, length)| seconds / length < 999.5);
    let (name, length) = unit.unwrap_or(&UNITS[3]);
    let number = seconds / length;
    let digits = match number {
        _ if *name == "ns" => 0,
        number if number < 9.995 => 2,
        number if number < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown() {
        for (nanoseconds, text) in [
            (0, "0ns"),
            (7, "7ns"),
            (999, "999ns"),
            (1_000, "1.00µs"),
            (9_994, "9.99µs"),
            (9_996, "10.0µs"),
            (99_960, "100µs"),
            (999_400, "999µs"),
            (999_600, "1.00ms"),
            (12_340_000, "12.3ms"),
            (1_234_000_000, "1.23s"),
            (1_234_000_000_000, "1234s"),
        ] {
            assert_eq!(show(Duration::from_nanos(nanoseconds)), text);
        }
    }
}
