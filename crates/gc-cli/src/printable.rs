//! Names from modules, made fit for a terminal.

use std::borrow::Cow;

/// The name, in which control characters are escaped as in `\u{1b}`. A name may have any characters,
/// also those that move a terminal's cursor or end a line.
pub fn printable(name: &str) -> Cow<'_, str> {
    let changes =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !name.contains(changes) {
        return Cow::Borrowed(name);
    }
    let escaped = name.chars().map(|c| match changes(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    Cow::Owned(escaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert!(matches!(printable("größe<T> $x"), Cow::Borrowed("größe<T> $x")));
        assert_eq!(printable("a\nb\u{1b}[2J\u{202e}"), r"a\nb\u{1b}[2J\u{202e}");
    }
}
