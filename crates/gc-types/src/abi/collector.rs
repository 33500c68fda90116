//! [`CollectorAbi`]: the facts on which the two halves of a collector must agree.

use super::{AbiDifference, Fingerprint, SideTable};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A collector's name, and the numbers that its emitted code and its heaps must both know: options
/// like the size of a nursery, and a version if the collector's constants change. It also has the native
/// [tables](SideTable) beside a heap that emitted code writes. Both halves of a collector have a `CollectorAbi`
/// and work together only if the two are equal.
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
    tables: BTreeMap<&'static str, SideTable>,
}

impl CollectorAbi {
    /// Creates the ABI of a collector without options and tables.
    pub fn new(name: impl Into<Cow<'static, str>>) -> CollectorAbi {
        CollectorAbi { name: name.into(), options: BTreeMap::new(), tables: BTreeMap::new() }
    }

    /// Adds a table. Only the value that owns the table writes its words in the heap data.
    ///
    /// # Panics
    /// If there is a table with this name, or with one of its words.
    #[must_use]
    pub fn with_table(mut self, table: SideTable) -> CollectorAbi {
        let name = table.name();
        let taken = self.tables().any(|other| other.words() & table.words() != 0);
        assert!(!taken, "the table `{name}` has words of another table");
        let other = self.tables.insert(name, table);
        assert!(other.is_none(), "there are two tables `{name}`");
        self
    }

    /// The tables, sorted by name.
    pub fn tables(&self) -> impl Iterator<Item = SideTable> {
        self.tables.values().copied()
    }

    /// The table whose address is in the word `address` of the heap data.
    pub fn table_at(&self, address: u32) -> Option<SideTable> {
        self.tables().find(|table| table.address() == address)
    }

    /// The words that belong to [tables](SideTable::owned_words).
    pub fn table_words(&self) -> u32 {
        self.tables().fold(0, |words, table| words | table.owned_words())
    }

    /// Adds an option. It replaces an option of the same name.
    pub fn with(mut self, option: impl Into<Cow<'static, str>>, value: u64) -> CollectorAbi {
        self.options.insert(option.into(), value);
        self
    }

    /// The ABI of a collector of this name, with the options and tables of the collector that it wraps, if it
    /// wraps one.
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
        CollectorAbi { name: name.into(), ..wrapped.unwrap_or_else(|| CollectorAbi::new("")) }
    }

    /// Adds the options and tables of `other`. They replace those of the same names.
    #[must_use]
    pub fn with_all(mut self, other: &CollectorAbi) -> CollectorAbi {
        self.tables.extend(other.tables.iter().map(|(name, table)| (*name, *table)));
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
        let entries = self.entries().into_iter().map(|(name, value)| format!("{name}: {value}\n"));
        let version = env!("CARGO_PKG_VERSION");
        Fingerprint::of(&format!("{version}\n{}", entries.collect::<String>()))
    }

    /// All entries as names and values in text, sorted by name: the collector's name, its options and its
    /// tables. Two ABIs are equal exactly if their entries are equal.
    pub(super) fn entries(&self) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::from([("collector".to_owned(), self.name.to_string())]);
        entries
            .extend(self.options().map(|(name, n)| (format!("collector.{name}"), n.to_string())));
        let table = |it: SideTable| (format!("collector.table.{}", it.name()), it.to_string());
        entries.extend(self.tables().map(table));
        entries
    }

    /// Checks that code with the ABI `code` fits heaps with this ABI.
    ///
    /// # Errors
    /// The first entry that differs.
    pub fn check(&self, code: &CollectorAbi) -> Result<(), AbiDifference> {
        let (here, there) = (self.entries(), code.entries());
        // The name is the first one.
        for name in here.keys().chain(there.keys()) {
            if here.get(name) != there.get(name) {
                let [here, there] =
                    [here.get(name), there.get(name)].map(Option::<&String>::cloned);
                return Err(AbiDifference { name: name.clone(), here, there });
            }
        }
        Ok(())
    }
}
