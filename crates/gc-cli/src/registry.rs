//! The collectors that a copy of the command can choose from.
//!
//! The command knows no collector by itself: it is handed a list, ours or one with
//! anybody's own in it, and carries it along. Help texts, completions and errors are made
//! from what the collectors in it say of themselves.

use crate::failure::misuse;
use anyhow::{Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, Command};
use gc_wasm::Collector;

/// The name of the option that chooses collectors.
const OPTION: &str = "collector";

/// What stands for every collector where several can be chosen.
const ALL: &str = "all";

/// Collectors with names of their own, one of which is the default.
#[derive(Clone, Debug)]
pub struct Registry {
    collectors: Vec<Collector>,
    default: usize,
}

impl Registry {
    /// These collectors. The default is the one that a `Config` begins with, or else the
    /// first.
    ///
    /// # Errors
    /// If there is none, two have one name, or one is called `all`.
    pub fn new(collectors: Vec<Collector>) -> Result<Registry> {
        if collectors.is_empty() {
            bail!("there is no collector to choose");
        }
        for (i, collector) in collectors.iter().enumerate() {
            if collector.name() == ALL {
                bail!("`{ALL}` is the name of every collector, and cannot be that of one");
            }
            if collectors[..i].iter().any(|other| other.name() == collector.name()) {
                bail!("two collectors have the name `{}`", collector.name());
            }
        }
        let usual = Collector::default();
        let default = collectors.iter().position(|other| other.name() == usual.name());
        Ok(Registry { collectors, default: default.unwrap_or(0) })
    }

    /// The collectors, in the order they were given in.
    pub fn all(&self) -> &[Collector] {
        &self.collectors
    }

    /// The one that is taken unless another is asked for.
    pub fn default_collector(&self) -> &Collector {
        &self.collectors[self.default]
    }

    /// The one with this name.
    ///
    /// # Errors
    /// Misuse: if there is none.
    pub fn by_name(&self, name: &str) -> Result<&Collector> {
        self.collectors.iter().find(|collector| collector.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.collectors.iter().map(Collector::name).collect();
            misuse(format!("no collector `{name}`: there are {}", names.join(", ")))
        })
    }

    /// Those with these names, `all` standing for every one; each once.
    ///
    /// # Errors
    /// Misuse: if there is no collector of one of the names.
    pub fn by_names(&self, names: &[String]) -> Result<Vec<&Collector>> {
        let mut chosen: Vec<&Collector> = Vec::new();
        for name in names {
            let more = match name.as_str() {
                ALL => self.collectors.iter().collect(),
                name => vec![self.by_name(name)?],
            };
            for collector in more {
                if !chosen.iter().any(|other| other.name() == collector.name()) {
                    chosen.push(collector);
                }
            }
        }
        Ok(chosen)
    }

    /// `command` with options `--collector` that take one of these, in it and its
    /// subcommands.
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

    /// An option that takes several takes `all`, too, and that is its default.
    fn option(&self, option: Arg) -> Arg {
        let several = matches!(option.get_action(), ArgAction::Append);
        let values = self.collectors.iter();
        let values =
            values.map(|one| PossibleValue::new(one.name()).help(format!("for {}", one.summary())));
        let all = several.then(|| PossibleValue::new(ALL).help("every one of these"));
        option
            .required(false)
            .value_parser(PossibleValuesParser::new(values.chain(all)))
            .default_value(if several { ALL } else { self.default_collector().name() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_usual_one_if_there() {
        let usual = Collector::default().name();
        let mut collectors = Collector::all();
        let registry = Registry::new(collectors.clone()).unwrap();
        assert_eq!(registry.default_collector().name(), usual);
        collectors.retain(|collector| collector.name() != usual);
        let registry = Registry::new(collectors.clone()).unwrap();
        assert_eq!(registry.default_collector().name(), collectors[0].name());
        assert!(registry.by_name(usual).is_err());
    }

    #[test]
    fn lists_that_are_none() {
        assert!(Registry::new(Vec::new()).is_err());
        let twice = Registry::new(vec![Collector::null(), Collector::drc(), Collector::null()]);
        assert!(twice.unwrap_err().to_string().contains("`null`"));
    }
}
