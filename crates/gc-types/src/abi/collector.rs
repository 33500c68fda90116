//! [`CollectorAbi`]: what the two halves of one collector must agree on.

use super::{AbiDifference, Fingerprint};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A collector's name, and the numbers that its emitted code and its heaps must both know:
/// options like the size of a nursery, and a version of its own if its constants change.
/// Both halves of a collector say one, and are paired only if these are equal.
///
/// ```
/// use gc_types::CollectorAbi;
///
/// let code = CollectorAbi::new("mine").with("version", 2);
/// let heap = CollectorAbi::new("mine").with("version", 3);
/// let difference = heap.check(&code).unwrap_err();
/// assert_eq!(difference.to_string(), "collector.version is `3` here, but `2` there");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CollectorAbi {
    name: Cow<'static, str>,
    options: BTreeMap<Cow<'static, str>, u64>,
}

impl CollectorAbi {
    /// A collector without options.
    pub fn new(name: impl Into<Cow<'static, str>>) -> CollectorAbi {
        CollectorAbi { name: name.into(), options: BTreeMap::new() }
    }

    /// The same with an option, which replaces one of that name.
    pub fn with(mut self, option: impl Into<Cow<'static, str>>, value: u64) -> CollectorAbi {
        self.options.insert(option.into(), value);
        self
    }

    /// The collector's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of an option, if it has one of that name.
    pub fn option(&self, name: &str) -> Option<u64> {
        self.options.get(name).copied()
    }

    /// The options, ascending by name.
    pub fn options(&self) -> impl Iterator<Item = (&str, u64)> {
        self.options.iter().map(|(name, value)| (&**name, *value))
    }

    /// A hash of it and of this crate's version, to tell at a glance whether two are alike.
    pub fn fingerprint(&self) -> Fingerprint {
        let options = self.options().map(|(name, value)| format!("{name}: {value}\n"));
        let version = env!("CARGO_PKG_VERSION");
        Fingerprint::of(&format!("{version}\n{}\n{}", self.name, options.collect::<String>()))
    }

    /// Whether code that says `code` fits heaps that say this.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self, code: &CollectorAbi) -> Result<(), AbiDifference> {
        let difference = |name: String, here: Option<String>, there: Option<String>| {
            Err(AbiDifference { name, here, there })
        };
        if self.name != code.name {
            let names = [self, code].map(|abi| Some(abi.name.to_string()));
            let [here, there] = names;
            return difference("collector".into(), here, there);
        }
        for name in self.options.keys().chain(code.options.keys()) {
            let (here, there) = (self.option(name), code.option(name));
            if here != there {
                let [here, there] = [here, there].map(|value| value.map(|v| v.to_string()));
                return difference(format!("collector.{name}"), here, there);
            }
        }
        Ok(())
    }
}
