//! Arguments that begin with a minus sign and are no options.

use clap::builder::{OsStringValueParser, PathBufValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use std::ffi::OsString;
use std::path::PathBuf;

/// The typographic minus sign, with which no option begins.
const MINUS: char = '\u{2212}';

/// Replaces the minus signs of arguments that look like negative values, so that they are not
/// parsed as options. Stops at `--`, after which there are no options. [`unshield`] undoes it.
pub fn shield_negatives(
    args: impl IntoIterator<Item = OsString>,
) -> impl Iterator<Item = OsString> {
    let mut options = true;
    args.into_iter().map(move |arg| {
        options &= arg != "--";
        if options { shield_negative(arg) } else { arg }
    })
}

/// Undoes [`shield_negatives`] for an argument.
pub fn unshield(arg: &str) -> String {
    match arg.strip_prefix(MINUS) {
        Some(number) => format!("-{number}"),
        None => arg.to_owned(),
    }
}

/// Undoes [`shield_negatives`] in an error's text, which quotes shielded arguments.
pub fn unshield_error(error: &mut clap::Error) {
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg] {
        if let Some(ContextValue::String(arg)) = error.get(kind) {
            let arg = unshield(arg);
            error.insert(kind, ContextValue::String(arg));
        }
    }
}

/// Checks that no format follows `--stats` as an argument of its own, which would be the file or an
/// argument of the program.
///
/// # Errors
/// What to write instead.
pub fn check_stats(args: &[OsString]) -> Result<(), String> {
    let options = args.split(|arg| arg == "--").next().unwrap_or_default();
    let pair = options.windows(2).find(|pair| {
        pair[0] == "--stats" && ["json", "table"].iter().any(|format| pair[1] == *format)
    });
    match pair {
        Some([_, format]) => {
            let format = format.to_string_lossy();
            Err(format!(
                "`--stats {format}`: the format is given as `--stats={format}`; arguments of the \
                 program stand after `--`"
            ))
        }
        _ => Ok(()),
    }
}

/// Removes the proposal of another option from an error, unless the names are similar.
pub fn keep_similar(error: &mut clap::Error) {
    let name = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => name.split(['=', ' ']).next(),
        _ => None,
    };
    if let (Some(unknown), Some(known)) =
        (name(ContextKind::InvalidArg), name(ContextKind::SuggestedArg))
        && !is_similar(unknown, known)
    {
        error.remove(ContextKind::SuggestedArg);
        // It has the other option in it.
        error.remove(ContextKind::Usage);
    }
}

/// Whether one name may be a slip of the other: it has few other letters, or is a part of it.
fn is_similar(unknown: &str, known: &str) -> bool {
    let [unknown, known] = [unknown, known].map(|name| name.trim_start_matches('-'));
    strsim::normalized_damerau_levenshtein(unknown, known) >= 0.7
        || (known.len() > 2 && unknown.len() > 2)
            && (known.starts_with(unknown) || unknown.starts_with(known))
}

/// An argument as text.
pub(crate) fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(|arg| match arg.into_string() {
        Ok(arg) => Ok(unshield(&arg)),
        Err(_) => Err("it is not text in UTF-8"),
    })
}

/// An argument that names a file.
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| match path.to_str() {
        Some(text) => unshield(text).into(),
        None => path,
    })
}

/// Shields `-5`, `-.5`, `-inf` or `-nan:0x1` with a minus sign with which no option begins.
fn shield_negative(arg: OsString) -> OsString {
    let number = arg.to_str().and_then(|text| text.strip_prefix('-')).filter(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            || rest.starts_with("inf")
            || rest.starts_with("nan")
    });
    match number {
        Some(number) => format!("{MINUS}{number}").into(),
        None => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_options_are_proposed() {
        for (unknown, known) in
            [("--heap-maxx", "--heap-max"), ("--time-out", "--timeout"), ("--max", "--max-stack")]
        {
            assert!(is_similar(unknown, known), "{unknown} {known}");
        }
        for (unknown, known) in
            [("--heap-nursery", "--heap-max"), ("--foo", "--fuel"), ("-x", "--env")]
        {
            assert!(!is_similar(unknown, known), "{unknown} {known}");
        }
    }

    #[test]
    fn a_format_needs_an_equals_sign() {
        let check =
            |args: &[&str]| check_stats(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(check(&["run", "--stats", "json", "a.wasm"]).unwrap_err().contains("--stats=json"));
        assert!(check(&["run", "--stats", "a.wasm", "json"]).is_ok());
        assert!(check(&["a.wasm", "--", "--stats", "json"]).is_ok());
    }

    #[test]
    fn negative_values_are_not_options() {
        let shielded = |text: &str| shield_negative(text.into()).into_string().unwrap();
        for text in ["-5", "-.5", "-0x10", "-inf", "-nan:0x1"] {
            assert_eq!(shielded(text), format!("{MINUS}{}", &text[1..]));
        }
        for text in ["--stats", "-h", "-", "5", "f(-5)", "--", "-n"] {
            assert_eq!(shielded(text), text);
        }
        let args = ["-1", "--", "-1"].map(OsString::from);
        let args: Vec<_> = shield_negatives(args).map(|arg| arg.into_string().unwrap()).collect();
        assert_eq!(args, ["\u{2212}1", "--", "-1"]);
        assert_eq!(args.iter().map(|arg| unshield(arg)).collect::<Vec<_>>(), ["-1", "--", "-1"]);
    }
}
