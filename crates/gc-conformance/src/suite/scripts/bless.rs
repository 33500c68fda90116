//! Writes what a directive of a script expects again.

use anyhow::{Context, Result, bail, ensure};
use gc_script::ScriptFailure;

/// Replaces what a directive expects by what there was.
///
/// # Errors
/// If it was neither numbers nor a trap.
pub(super) fn replace(text: &mut String, failure: &ScriptFailure) -> Result<()> {
    let (_, got) = failure.message.split_once(", got ").context("there was no result")?;
    let new = match got.strip_prefix("the trap `wasm trap: ") {
        Some(trap) => format!(" \"{}\"", trap.trim_end_matches('`')),
        None if got == "no values" => String::new(),
        None => {
            let is_number =
                |part: &str| part.split_once(".const ").is_some_and(|(ty, _)| ty.len() <= 5);
            ensure!(got.split(") ").all(is_number), "only numbers can be written");
            format!(" {got}")
        }
    };
    let mut place = failure.at.rsplit(':').map(str::parse::<usize>);
    let (Some(Ok(column)), Some(Ok(line))) = (place.next(), place.next()) else {
        bail!("the failure has no place")
    };
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    // The call, and then what is expected of it, to the end of the directive.
    let (mut depth, mut call_ends, mut in_string, mut escaped) = (0, None, false, false);
    for (at, c) in text[start..].char_indices().skip(column - 1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' => depth += 1,
            ')' if depth == 0 => {
                let call_ends = call_ends.context("there is no call")?;
                text.replace_range(start + call_ends..start + at, &new);
                return Ok(());
            }
            ')' => {
                depth -= 1;
                if depth == 0 && call_ends.is_none() {
                    call_ends = Some(at + 1);
                }
            }
            _ => {}
        }
    }
    bail!("the directive has no end")
}
