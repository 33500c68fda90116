//! The collectors from which a copy of the command can choose.
//!
//! The command itself knows no collector. It gets a list, with the built-in collectors or others,
//! and passes it on. Help texts, completions and errors are made from the descriptions of the
//! collectors in the list.

use crate::command_name;
use crate::failure::misuse;
use crate::option_names::{OptionNames, with_value};
use anyhow::{Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Command};
use gc_wasm::Collector;

/// The name of the option that chooses collectors.
const OPTION: &str = "collector";

/// The name for all collectors, where several can be chosen.
const ALL: &str = "all";

/// Wasmtime's name for the default collector.
const AUTO: &str = "auto";

/// Collectors with different names. One of them is the default.
#[derive(Clone, Debug)]
pub struct Registry {
    collectors: Vec<Collector>,
    default: usize,
    command_name: String,
}

impl Registry {
    /// A registry of these collectors. The default is that of `Config` if it is in the list,
    /// otherwise the first one.
    ///
    /// # Errors
    /// If the list is empty, two collectors have the same name, or one is named `all` or `auto`.
    pub fn new(collectors: Vec<Collector>) -> Result<Registry> {
        if collectors.is_empty() {
            bail!("there is no collector to choose");
        }
        for (i, collector) in collectors.iter().enumerate() {
            if collector.name() == ALL {
                bail!("`{ALL}` means all collectors, so no collector can have this name");
            }
            if collector.name() == AUTO {
                bail!("`{AUTO}` means the default collector, so no collector can have this name");
            }
            if collectors[..i].iter().any(|other| other.name() == collector.name()) {
                bail!("two collectors have the name `{}`", collector.name());
            }
        }
        let usual = Collector::default();
        let default = collectors.iter().position(|other| other.name() == usual.name());
        let command_name = command_name::USUAL.to_owned();
        Ok(Registry { collectors, default: default.unwrap_or(0), command_name })
    }

    /// Sets the name of the command that chooses from them. Help texts use it.
    #[must_use]
    pub fn with_command_name(self, name: impl Into<String>) -> Registry {
        Registry { command_name: name.into(), ..self }
    }

    /// The name of the command that chooses from them.
    pub fn command_name(&self) -> &str {
        &self.command_name
    }

    /// The collectors, in the order in which they were given.
    pub fn all(&self) -> &[Collector] {
        &self.collectors
    }

    /// The collector that is used unless another one is chosen.
    pub fn default_collector(&self) -> &Collector {
        &self.collectors[self.default]
    }

    /// The collector that `text`, the value of `option`, chooses: `NAME` or `NAME:OPTION=VALUE:...`.
    /// `auto` means the default collector.
    ///
    /// # Errors
    /// A misuse if there is no collector with this name, or if it has no such option.
    pub fn choose(&self, text: &str, option: &str) -> Result<Collector> {
        if text == AUTO {
            return Ok(self.default_collector().clone());
        }
        let (name, options) = match text.split_once(':') {
            Some((name, options)) => (name, Some(options)),
            None => (text, None),
        };
        let found = self.collectors.iter().find(|collector| collector.name() == name);
        let collector = found.ok_or_else(|| {
            let names: Vec<_> = self.collectors.iter().map(Collector::name).collect();
            let (option, names) = (with_value(option, text), names.join(", "));
            misuse(format!("`{option}`: there is no collector `{name}`; available: {names}"))
        })?;
        match options {
            Some(options) => {
                let chosen = collector.with_options(options);
                chosen.map_err(|error| misuse(format!("`{}`: {error:#}", with_value(option, text))))
            }
            None => Ok(collector.clone()),
        }
    }

    /// The collectors that these texts [choose](Registry::choose), each once. `all` means all
    /// collectors.
    ///
    /// # Errors
    /// As for [`choose`](Registry::choose).
    pub fn choose_all(&self, texts: &[String]) -> Result<Vec<Collector>> {
        let mut chosen: Vec<Collector> = Vec::new();
        for text in texts {
            let more = match text.as_str() {
                ALL => self.collectors.clone(),
                text => vec![self.choose(text, OptionNames::OURS.collector)?],
            };
            for collector in more {
                if !chosen.iter().any(|other| other.to_string() == collector.to_string()) {
                    chosen.push(collector);
                }
            }
        }
        Ok(chosen)
    }

    /// Returns `command`, in which `--collector` options, also those of subcommands, take the names
    /// of these collectors.
    pub(crate) fn teach(&self, command: Command) -> Command {
        let has_option = command.get_arguments().any(|arg| arg.get_id() == OPTION);
        let command = match has_option {
            true => command.mut_arg(OPTION, |arg| self.option(arg)),
            false => command,
        };
        let names: Vec<_> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        names.iter().fold(command, |command, name| {
            command.mut_subcommand(name, |subcommand| self.teach(subcommand))
        })
    }

    /// Adds the possible values to an option, and the default collector unless the option has another
    /// default. An option that takes several names also takes `all`, and one that takes a name `auto`.
    fn option(&self, option: Arg) -> Arg {
        let several = matches!(option.get_action(), ArgAction::Append);
        let values = self.collectors.iter();
        let values =
            values.map(|one| PossibleValue::new(one.name()).help(format!("for {}", one.summary())));
        let more = match several {
            true => PossibleValue::new(ALL).help("all of them"),
            false => PossibleValue::new(AUTO).help("the default collector, as in Wasmtime"),
        };
        let option = match option.get_default_values() {
            [] => option.default_value(self.default_collector().name()),
            _ => option,
        };
        option.required(false).value_parser(Chosen(PossibleValuesParser::new(values.chain([more]))))
    }
}

/// Parses one of the names, optionally with options of the collector.
#[derive(Clone)]
struct Chosen(PossibleValuesParser);

impl TypedValueParser for Chosen {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        let text = value.to_string_lossy();
        let (name, options) = text.split_at(text.find(':').unwrap_or(text.len()));
        let name = self.0.parse_ref(command, arg, name.as_ref())?;
        Ok(name + options)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_a_name() {
        let registry = Registry::new(Collector::all()).unwrap();
        let chosen = registry.choose("generational:nursery=4MiB", "--collector").unwrap();
        assert_eq!(chosen.options()[0].value, 4 << 20);
        for (text, expected) in [
            (
                "perfect",
                "`-C collector=perfect`: there is no collector `perfect`; available: null, drc",
            ),
            ("drc:nursery=1", "no option `nursery`: it has no options"),
            ("generational:size=1", "no option `size`; available: `nursery`"),
            ("generational:nursery=much", "expected a size such as"),
            ("generational:nursery", "OPTION=VALUE"),
        ] {
            let error = registry.choose(text, "-C collector").unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        }
    }

    #[test]
    fn the_default_is_the_usual_one_if_there() {
        let usual = Collector::default().name();
        let mut collectors = Collector::all();
        let registry = Registry::new(collectors.clone()).unwrap();
        assert_eq!(registry.default_collector().name(), usual);
        assert_eq!(registry.choose("auto", "--collector").unwrap().name(), usual);
        collectors.retain(|collector| collector.name() != usual);
        let registry = Registry::new(collectors.clone()).unwrap();
        assert_eq!(registry.default_collector().name(), collectors[0].name());
        assert!(registry.choose(usual, "--collector").is_err());
    }

    #[test]
    fn lists_that_are_none() {
        assert!(Registry::new(Vec::new()).is_err());
        let twice = Registry::new(vec![Collector::null(), Collector::drc(), Collector::null()]);
        assert!(twice.unwrap_err().to_string().contains("`null`"));
    }
}
