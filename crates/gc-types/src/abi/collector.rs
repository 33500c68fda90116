//! [`CollectorAbi`]: the facts on which the two halves of a collector must agree.

use super::{AbiDifference, Fingerprint};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A collector's name, and the numbers that its emitted code and its heaps must both know: options
/// like the size of a nursery, and a version if the collector's constants change. Both halves of a
/// collector have a `CollectorAbi` and work together only if the two are equal.
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
    /// Creates the ABI of a collector without options.
    pub fn new(name: impl Into<Cow<'static, str>>) -> CollectorAbi {
        CollectorAbi { name: name.into(), options: BTreeMap::new() }
    }

    /// Adds an option. It replaces an option of the same name.
    pub fn with(mut self, option: impl Into<Cow<'static, str>>, value: u64) -> CollectorAbi {
        self.options.insert(option.into(), value);
        self
    }

    /// The ABI of a collector of this name, with the options of the collector that it wraps, if it wraps one.
    ///
    /// ```
    /// use gc_types::CollectorAbi;
    ///
    /// let copying = CollectorAbi::new("copying").with("limit", 7);
    /// let logging = CollectorAbi::wrapping("logging", Some(copying));
    /// assert_eq!((logging.name(), logging.option("limit")), ("logging", Some(7)));
    /// ```
    pub fn wrapping(
        name: impl Into<Cow<'static, str>>,
        wrapped: Option<CollectorAbi>,
    ) -> CollectorAbi {
        CollectorAbi {
            name: name.into(),
            options: wrapped.map_or_else(BTreeMap::new, |it| it.options),
        }
    }

    /// Adds the options of `other`. They replace options of the same names.
    #[must_use]
    pub fn with_all(mut self, other: &CollectorAbi) -> CollectorAbi {
        self.options.extend(other.options.iter().map(|(name, value)| (name.clone(), *value)));
        self
    }

    /// The collector's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of the option `name`, if there is one.
    pub fn option(&self, name: &str) -> Option<u64> {
        self.options.get(name).copied()
    }

    /// The options, sorted by name.
    pub fn options(&self) -> impl Iterator<Item = (&str, u64)> {
        self.options.iter().map(|(name, value)| (&**name, *value))
    }

    /// A hash of the ABI and of this crate's version, to compare two ABIs quickly.
    pub fn fingerprint(&self) -> Fingerprint {
        let options = self.options().map(|(name, value)| format!("{name}: {value}\n"));
        let version = env!("CARGO_PKG_VERSION");
        Fingerprint::of(&format!("{version}\n{}\n{}", self.name, options.collect::<String>()))
    }

    /// Checks that code with the ABI `code` fits heaps with this ABI.
    ///
    /// # Errors
    /// The first entry that differs.
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
