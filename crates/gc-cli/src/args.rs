//! Arguments that begin with a minus sign and are no options.

use clap::builder::{PathBufValueParser, StringValueParser, TypedValueParser};
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

/// An argument as text.
pub(crate) fn text() -> impl TypedValueParser<Value = String> {
    StringValueParser::new().map(|arg| unshield(&arg))
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
