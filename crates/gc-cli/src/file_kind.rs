//! What a file is that is no module.

/// The first bytes of files that people have, and what these are.
const KINDS: [(&[u8], &str); 15] = [
    (b"\x7fELF", "an ELF file, but `reclaim compile` did not write it, or its end is missing"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it first"),
    (b"BZh", "a bzip2 file: unpack it first"),
    (b"\xfd7zXZ\0", "an xz file: unpack it first"),
    (b"PK\x03\x04", "a zip file (also .jar and .whl): unpack it first"),
    (b"!<arch>\n", "an archive of object files (.a): link it first"),
    (b"BC\xc0\xde", "LLVM bitcode: compile it first"),
    (b"\xca\xfe\xba\xbe", "a Java class, or a Mach-O file for several machines"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O file"),
    (b"MZ", "a Windows program"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xef\xbb\xbf", "text with a byte order mark, which the text format does not allow"),
    (b"\xff\xfe", "text in UTF-16: the text format is UTF-8"),
];

/// Says what `bytes`, the content of a file, look like if they cannot be a module. `None` if they
/// may be a module in the binary or the text format.
pub fn no_module(bytes: &[u8]) -> Option<String> {
    if let Some(version) = bytes.strip_prefix(b"\0asm") {
        return match version {
            [1, 0, 0, 0, ..] => None,
            [_, _, 1, 0, ..] => Some(component()),
            [a, b, 0, 0, ..] => {
                let version = u16::from_le_bytes([*a, *b]);
                Some(format!("a module of version {version}, and only version 1 is supported"))
            }
            _ => None,
        };
    }
    let neither = |what: &str| Some(format!("neither .wasm nor .wat: it looks like {what}"));
    if let Some((_, what)) = KINDS.iter().find(|(first, _)| bytes.starts_with(first)) {
        return neither(what);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(is_binary) => neither("binary data"),
        Ok(text) => match first_token(text) {
            None if text.trim().is_empty() => Some("empty".to_owned()),
            None => Some("empty, except for comments".to_owned()),
            Some('(') if is_component(text) => Some(component()),
            Some('(') => None,
            Some(_) => {
                let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                let begin: String = line.trim().chars().take(30).collect();
                neither(&format!("text that begins with `{}`", begin.escape_debug()))
            }
        },
        // A mistake in the middle of a text is one of its syntax.
        Err(error) if error.valid_up_to() > 0 && first_token(valid(bytes, error)) == Some('(') => {
            None
        }
        Err(_) => neither("binary data"),
    }
}

/// What is said of a component.
fn component() -> String {
    "a component, and only core modules are supported".to_owned()
}

/// Whether a character is a control character that is not part of texts.
fn is_binary(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1b}')
}

/// Whether the text, which begins with a parenthesis, is a component in the text format.
fn is_component(text: &str) -> bool {
    let word = after_space(text).and_then(|text| after_space(text.strip_prefix('(')?));
    let rest = word.and_then(|text| text.strip_prefix("component"));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_whitespace() || "()$;".contains(c)))
}

fn valid(bytes: &[u8], error: std::str::Utf8Error) -> &str {
    std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
}

/// The first character of a text in the text format that is not white space or in a comment.
fn first_token(text: &str) -> Option<char> {
    after_space(text)?.chars().next()
}

/// The text after white space and comments.
fn after_space(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start();
        if text.starts_with(";;") {
            text = text.split_once('\n')?.1;
        } else if text.starts_with("(;") {
            text = after_comment(text)?;
        } else {
            return Some(text);
        }
    }
}

/// The rest of the text after the comment with which it begins. Comments nest.
fn after_comment(text: &str) -> Option<&str> {
    let mut depth = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(pair) = bytes.get(at..at + 2) {
        at += match pair {
            b"(;" => {
                depth += 1;
                2
            }
            b";)" => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        if depth == 0 {
            return text.get(at..);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_let_through() {
        for bytes in [
            &b"\0asm\x01\0\0\0"[..],
            b"\0asm\x01\0",
            b"(module)",
            b"(func)",
            b"(module $component)",
            b"(components)",
            b" ;; (a comment\n (; another (; inside ;) one ;)\n(module",
            b"(module \"\xff\")",
        ] {
            assert_eq!(no_module(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_module_is_named() {
        for (bytes, what) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b";; nothing", "empty, except for comments"),
            (b"(; never ends", "empty, except for comments"),
            (b"\x7fELF\x02\x01", "an ELF file, but `reclaim compile` did not write it"),
            (b"PK\x03\x04\x14", "a zip file"),
            (b"\0asm\x0d\0\x01\0", "a component"),
            (b"\0asm\x02\0\0\0", "a module of version 2"),
            (b"#!/bin/sh\nexit", "text that begins with `#!/bin/sh`"),
            (b"module", "text that begins with `module`"),
            (b"\x80\x81\x82", "binary data"),
            (b"a\0b", "binary data"),
            (b"\x01\x02\x03\x04", "binary data"),
            (b"(component)", "a component"),
            (b";; one\n( (; two ;) component $c)", "a component"),
            (b"\xff\xfe(\0m\0", "text in UTF-16"),
        ] {
            let said = no_module(bytes).unwrap_or_default();
            assert!(said.contains(what), "{}: {said}", bytes.escape_ascii());
        }
    }
}
