//! A group of settings: how `NAME[=VALUE],…` is parsed, and the list for `help`.

use super::Asked;
use crate::call::near;
use crate::duration;
use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use gc_wasm::Config;
use std::ffi::OsStr;
use std::time::Duration;

/// A group of settings, as `-W`.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) short: char,
    pub(super) settings: &'static [Setting],
}

/// A setting. A name with `*` at its end stands for several.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// What can stand for the `*`. If nothing is here, any text can.
    pub(super) ends: &'static [&'static str],
    pub(super) kind: SettingKind,
    /// What it is, or why it has no effect, or what is missing.
    pub(super) help: &'static str,
}

/// A setter of the engine's settings.
pub(super) type Setter<T> = for<'a> fn(&'a mut Config, T) -> &'a mut Config;

/// The names that ask for the list of a group.
const HELP: [&str; 2] = ["help", "help-long"];

/// What a setting is.
#[derive(Debug)]
pub(super) enum SettingKind {
    /// A setting of the engine: on or off.
    Feature(Setter<bool>),
    /// A setting of the engine: a number of bytes.
    Bytes(Setter<u64>),
    /// On or off.
    Switch(fn(&mut Asked, bool)),
    /// A number.
    Number(fn(&mut Asked, u64)),
    /// A time.
    Time(fn(&mut Asked, Duration)),
    /// One of these.
    Choice(&'static [&'static str], fn(&mut Asked, &str)),
    /// Any text.
    Text(fn(&mut Asked, &str)),
    /// A switch or a number that changes nothing here.
    NoEffect,
    /// It is always on.
    Always,
    /// It cannot be had. Off is accepted.
    Missing,
}

/// Parses `y`, `n` and the like. No value means yes.
fn switch(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("y" | "yes" | "true") => Some(true),
        Some("n" | "no" | "false") => Some(false),
        Some(_) => None,
    }
}

/// What a number is expected to be.
fn a_number() -> String {
    format!("expected a number from 0 to {}", u64::MAX)
}

/// Parses a number: decimal, or hexadecimal with `0x`. Underscores are ignored.
fn number(value: Option<&str>) -> Option<u64> {
    let digits = value?.replace('_', "");
    match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// Parses a time. A number alone is one of seconds.
fn time(value: Option<&str>) -> Result<Duration, String> {
    let value = value.unwrap_or_default();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number { format!("{value}s") } else { value.to_owned() };
    duration::parse(&seconds, "10, 10s or 500ms")
}

impl SettingKind {
    /// The form of the value, for lists.
    fn form(&self) -> String {
        match self {
            SettingKind::Feature(_) | SettingKind::Switch(_) | SettingKind::Always => {
                "[=y|n]".to_owned()
            }
            SettingKind::Bytes(_) | SettingKind::Number(_) => "=N".to_owned(),
            SettingKind::Time(_) => "=TIME".to_owned(),
            SettingKind::Choice(all, _) => format!("={}", all.join("|")),
            SettingKind::Text(_) => "=TEXT".to_owned(),
            SettingKind::NoEffect | SettingKind::Missing => "[=…]".to_owned(),
        }
    }

    /// What a list says of it before its help.
    fn remark(&self) -> &'static str {
        match self {
            SettingKind::NoEffect => "no effect: ",
            SettingKind::Missing => "refused: ",
            SettingKind::Always => "always on: ",
            _ => "",
        }
    }
}

impl Asked {
    /// Asks for a setting of the engine.
    pub(super) fn config<T: Copy + Send + Sync + 'static>(&mut self, set: Setter<T>, value: T) {
        self.changes.add(move |config| {
            set(config, value);
        });
    }
}

impl Setting {
    fn is(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(begin) => name
                .strip_prefix(begin)
                .is_some_and(|end| self.ends.is_empty() || self.ends.contains(&end)),
            None => self.name == name,
        }
    }

    /// All names for which it stands. If any text can stand for the `*`, only its own.
    fn names(&self) -> Vec<String> {
        match self.name.strip_suffix('*') {
            Some(begin) if !self.ends.is_empty() => {
                self.ends.iter().map(|end| format!("{begin}{end}")).collect()
            }
            _ => vec![self.name.to_owned()],
        }
    }

    /// Applies the setting with this value.
    fn apply(&self, value: Option<&str>, asked: &mut Asked) -> Result<(), String> {
        let expected = |what: &str| format!("expected {what}");
        let switched = || switch(value).ok_or_else(|| expected("y or n"));
        let counted = || number(value).ok_or_else(a_number);
        match &self.kind {
            SettingKind::Feature(set) => asked.config(*set, switched()?),
            SettingKind::Bytes(set) => asked.config(*set, counted()?),
            SettingKind::Switch(set) => set(asked, switched()?),
            SettingKind::Number(set) => set(asked, counted()?),
            SettingKind::Time(set) => set(asked, time(value)?),
            SettingKind::Choice(all, set) => match value.filter(|value| all.contains(value)) {
                Some(value) => set(asked, value),
                None => return Err(expected(&format!("one of {}", all.join(", ")))),
            },
            SettingKind::Text(set) => set(asked, value.ok_or_else(|| expected("a value"))?),
            SettingKind::NoEffect => {
                log::info!("the setting `{}` has no effect: {}", self.name, self.help)
            }
            SettingKind::Always if switch(value) == Some(true) => {}
            SettingKind::Always => return Err(format!("it is always on: {}", self.help)),
            SettingKind::Missing if switch(value) == Some(false) => {}
            SettingKind::Missing => return Err(format!("not supported: {}", self.help)),
        }
        Ok(())
    }
}

impl Group {
    /// Applies the settings in `text`.
    ///
    /// # Errors
    /// If there is no such setting, its value has the wrong form, or it cannot be had.
    pub(super) fn apply(&self, text: &str, asked: &mut Asked) -> Result<(), String> {
        for one in text.strip_suffix(',').unwrap_or(text).split(',') {
            let (name, value) = match one.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (one, None),
            };
            let place = format!("`-{} {one}`", self.short);
            let setting = self
                .settings
                .iter()
                .find(|setting| setting.is(name))
                .ok_or_else(|| format!("{place}: {}", self.no_setting(name)))?;
            if let (SettingKind::Feature(set), Some(false)) = (&setting.kind, switch(value)) {
                asked.off.push((place.clone(), *set));
            }
            setting.apply(value, asked).map_err(|why| format!("{place}: {why}"))?;
        }
        Ok(())
    }

    /// Says that there is no setting `name`, and what may have been meant.
    fn no_setting(&self, name: &str) -> String {
        let list = format!("`-{} help` lists the settings", self.short);
        if HELP.contains(&name) {
            return format!("`{name}` has no value: {list}");
        }
        let names: Vec<_> = self.settings.iter().flat_map(Setting::names).collect();
        let hint = match near(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => list,
        };
        format!("there is no setting `{name}`; {hint}")
    }

    /// The setting with this name.
    pub(super) fn named(&self, name: &str) -> Option<&'static str> {
        self.settings.iter().map(|setting| setting.name).find(|other| *other == name)
    }

    /// All settings, one per line.
    fn list(&self) -> String {
        let lines = self.settings.iter();
        let lines: Vec<_> =
            lines.map(|one| (format!("{}{}", one.name, one.kind.form()), one)).collect();
        let width = lines.iter().map(|(form, _)| form.chars().count()).max().unwrap_or(0);
        let lines = lines.iter().map(|(form, one)| {
            format!("  -{} {form:width$}  {}{}\n", self.short, one.kind.remark(), one.help)
        });
        lines.collect()
    }
}

impl TypedValueParser for Group {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        let text = value.to_string_lossy().into_owned();
        if text.split(',').any(|one| HELP.contains(&one)) {
            let mut list = Error::new(ErrorKind::DisplayHelp);
            list.insert(ContextKind::Custom, ContextValue::String(self.list()));
            return Err(list);
        }
        let parsed = self.apply(&text, &mut Asked::default());
        parsed.map(|()| text).map_err(|message| {
            Error::raw(ErrorKind::ValueValidation, format!("{message}\n")).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    #[test]
    fn names_differ_and_are_lists_words() {
        for group in [names::WASM, names::OPTIMIZE, names::CODEGEN, names::DEBUG, names::WASI] {
            for (n, one) in group.settings.iter().enumerate() {
                assert!(
                    !one.help.is_empty() && !one.name.contains([',', '=', '_']),
                    "{}",
                    one.name
                );
                for name in one.names() {
                    let first = group.settings.iter().position(|other| other.is(&name));
                    assert_eq!(first, Some(n), "-{} {name}", group.short);
                }
            }
        }
    }

    #[test]
    fn values_are_those_of_wasmtime() {
        let asked = |text: &str| {
            let mut asked = Asked::default();
            names::WASM.apply(text, &mut asked).map(|()| asked)
        };
        let all = asked("gc,fuel=1_000,timeout=2,max-wasm-stack=0x100000,simd=n").unwrap();
        assert_eq!((all.fuel, all.timeout), (Some(1000), Some(Duration::from_secs(2))));
        assert_eq!(all.max_stack, Some(1 << 20));
        assert_eq!(asked("timeout=150ms").unwrap().timeout, Some(Duration::from_millis(150)));
        for (text, why) in [
            ("gc=maybe", "`-W gc=maybe`: expected y or n"),
            ("fuel", "`-W fuel`: expected a number"),
            ("threads", "`-W threads`: not supported: shared memories"),
            ("component-model-async=y", "not supported: the component model"),
            ("gcc", "there is no setting `gcc`; did you mean `gc`?"),
            ("", "there is no setting ``; `-W help` lists the settings"),
        ] {
            let error = asked(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(asked("threads=n,component-model=n").is_ok());
    }
}
