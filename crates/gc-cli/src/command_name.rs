//! The name under which the command was started. Help texts, examples and completions use it, so
//! that a copy of the command speaks of itself.

use clap::Command;
use std::ffi::OsStr;
use std::path::Path;

/// The usual name. Help texts are written with it.
pub const USUAL: &str = "reclaim";

/// The name of the command in the first of a program's arguments, which is a path.
pub fn of(first: &OsStr) -> String {
    let stem = Path::new(first).file_stem().and_then(OsStr::to_str);
    stem.filter(|stem| !stem.is_empty()).unwrap_or(USUAL).to_owned()
}

/// The grammar of a command with another name: all of its texts have that name.
pub fn rename(command: Command, name: &str) -> Command {
    if name == USUAL { command } else { texts(command, name).name(name.to_owned()) }
}

fn texts(mut command: Command, name: &str) -> Command {
    if let Some(text) = command.get_about().map(|text| replace(&text.to_string(), name)) {
        command = command.about(text);
    }
    if let Some(text) = command.get_long_about().map(|text| replace(&text.to_string(), name)) {
        command = command.long_about(text);
    }
    if let Some(text) = command.get_after_help().map(|text| replace(&text.to_string(), name)) {
        command = command.after_help(text);
    }
    if let Some(text) = command.get_after_long_help().map(|text| replace(&text.to_string(), name)) {
        command = command.after_long_help(text);
    }
    command
        .mut_args(|mut arg| {
            if let Some(text) = arg.get_help().map(|text| replace(&text.to_string(), name)) {
                arg = arg.help(text);
            }
            if let Some(text) = arg.get_long_help().map(|text| replace(&text.to_string(), name)) {
                arg = arg.long_help(text);
            }
            arg
        })
        .mut_subcommands(|command| texts(command, name))
}

/// `text` with `name` in place of the usual name, where that is a word.
fn replace(text: &str, name: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    // The sections of a file have names such as `.reclaim.abi`.
    let ends_before = |c: char| is_part(c) || c == '.';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(USUAL) {
        let (before, after) = (&rest[..at], &rest[at + USUAL.len()..]);
        out.push_str(before);
        let is_word = !out.ends_with(ends_before) && !after.starts_with(is_part);
        out.push_str(if is_word { name } else { USUAL });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use gc_wasm::Collector;

    #[test]
    fn a_name_is_the_last_part_of_a_path() {
        for (path, name) in [
            ("reclaim", "reclaim"),
            ("/usr/bin/mine", "mine"),
            ("../target/mine.exe", "mine"),
            ("", "reclaim"),
        ] {
            assert_eq!(of(OsStr::new(path)), name);
        }
    }

    #[test]
    fn words_are_replaced() {
        let text = "  reclaim run a (`reclaim bench`): reclaimed, RECLAIM_LOG, .reclaim.abi, _reclaim/reclaim.fish";
        assert_eq!(
            replace(text, "mine"),
            "  mine run a (`mine bench`): reclaimed, RECLAIM_LOG, .reclaim.abi, _reclaim/mine.fish"
        );
    }

    #[test]
    fn no_text_has_the_usual_name() {
        fn check(command: &mut Command) {
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                assert!(!replace(&help, "\u{1}").contains('\u{1}'), "{help}");
            }
            for command in command.get_subcommands_mut() {
                check(command);
            }
        }
        let registry = Registry::new(Collector::all()).unwrap().with_command_name("mine");
        check(&mut crate::grammar(&registry));
    }
}
