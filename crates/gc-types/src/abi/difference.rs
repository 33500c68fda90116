//! The comparison of two ABIs, and the report of their first difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The entry that need not be equal: code may use fewer extensions than the machine has.
pub(super) const FEATURES: &str = "machine.features";

/// An entry in which two ABIs differ.
///
/// # Examples
/// ```
/// use gc_types::{Abi, AbiDifference, CollectorAbi};
///
/// let abi = Abi::new(CollectorAbi::new("copying"));
/// let code = abi.clone().with_collector(CollectorAbi::new("drc"));
/// let AbiDifference { name, here, there } = abi.check(&code.to_string()).unwrap_err();
/// assert_eq!(name, "collector");
/// assert_eq!((here.as_deref(), there.as_deref()), (Some("copying"), Some("drc")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbiDifference {
    /// The name of the entry.
    pub name: String,
    /// Its value where the code was to run.
    pub here: Option<String>,
    /// Its value where the code was compiled.
    pub there: Option<String>,
}

impl fmt::Display for AbiDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AbiDifference { name, here, there } = self;
        match (here, there) {
            (Some(here), Some(there)) if name == FEATURES => {
                let missing = missing_features(here, there).collect::<Vec<_>>().join(" ");
                write!(f, "{name} has no `{missing}` here, which the code uses")
            }
            (Some(here), Some(there)) => write!(f, "{name} is `{here}` here, but `{there}` there"),
            (Some(here), None) => write!(f, "{name} is `{here}` here, and nothing there"),
            (None, Some(there)) => write!(f, "{name} is nothing here, but `{there}` there"),
            (None, None) => write!(f, "{name} differs"),
        }
    }
}

impl std::error::Error for AbiDifference {}

fn missing_features<'a>(here: &str, there: &'a str) -> impl Iterator<Item = &'a str> {
    let here: BTreeSet<String> = here.split_whitespace().map(str::to_owned).collect();
    there.split_whitespace().filter(move |feature| !here.contains(*feature))
}

/// Compares `here` with the text of another ABI.
pub(super) fn check(here: &BTreeMap<String, String>, there: &str) -> Result<(), AbiDifference> {
    let there: BTreeMap<&str, &str> =
        there.lines().map(|line| line.split_once(": ").unwrap_or((line, ""))).collect();
    // These come first, because they explain the other differences.
    let names = ["version", "machine", "collector"].into_iter();
    let names = names.chain(here.keys().map(String::as_str)).chain(there.keys().copied());
    for name in names {
        let (ours, theirs) = (here.get(name).map(String::as_str), there.get(name).copied());
        let fits = match (ours, theirs) {
            (Some(ours), Some(theirs)) if name == FEATURES => {
                missing_features(ours, theirs).next().is_none()
            }
            _ => ours == theirs,
        };
        if !fits {
            return Err(AbiDifference {
                name: name.to_owned(),
                here: ours.map(str::to_owned),
                there: theirs.map(str::to_owned),
            });
        }
    }
    Ok(())
}
