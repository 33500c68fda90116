//! Explains why a compiled module does not fit: which option of the command to give.

use anyhow::{Error, anyhow};
use gc_types::AbiDifference;
use gc_wasm::Collector;
use std::path::Path;

/// If a compiled module was refused because it was compiled with other options: an error that says
/// which. Otherwise the error itself. `collector` is that of the engine.
pub fn explain(error: Error, path: &Path, collector: &Collector) -> Error {
    let difference = error.chain().find_map(|cause| cause.downcast_ref::<AbiDifference>());
    let advice = difference.and_then(|difference| advice(difference, collector));
    match advice {
        Some(advice) => anyhow!("{} was compiled {advice}", path.display()),
        None => error,
    }
}

/// What differs, and what to do, to follow "it was compiled".
fn advice(difference: &AbiDifference, collector: &Collector) -> Option<String> {
    let nothing = String::new();
    let [here, there] = [&difference.here, &difference.there];
    let [here, there] = [here, there].map(|value| value.as_ref().unwrap_or(&nothing));
    let name = difference.name.as_str();
    Some(match name {
        "collector" => {
            format!("for the collector `{there}`, not for `{here}`: give `--collector {there}`")
        }
        "heap.bounds" => {
            format!("with `--heap-bounds {there}`, not with `{here}`: give the same option")
        }
        "heap.zeal" if there == "true" => {
            "with `--gc-zeal`: give this option, with any number but 0".to_owned()
        }
        "heap.zeal" => "without `--gc-zeal`: leave this option out".to_owned(),
        "loops.polled" => {
            let there = if there == "true" { "on" } else { "off" };
            format!("with `--loop-polls {there}`: give the same option")
        }
        "fuel.consumed" if there == "true" => {
            "with `--consume-fuel`: say with `--fuel` how much it may consume".to_owned()
        }
        "fuel.consumed" => {
            "without `--consume-fuel`: compile it again, or leave `--fuel` and `-W fuel` out"
                .to_owned()
        }
        "version" => format!("by version {there}, and this is version {here}: compile it again"),
        "machine" => format!("for {there}, and this is {here}: run it there, or compile it again"),
        "machine.features" => {
            let extensions = here.split_whitespace();
            let missing =
                there.split_whitespace().filter(|one| !extensions.clone().any(|o| o == *one));
            let missing: Vec<&str> = missing.collect();
            format!(
                "for a processor with {}, which this one does not have: compile it here, or \
                 for a lower level with `--target`",
                missing.join(", ")
            )
        }
        _ => {
            let option = name.strip_prefix("collector.")?;
            // The options of collectors are sizes. What is not an option is a constant of the collector.
            if !collector.options().iter().any(|one| one.name == option) {
                return Some("with other constants of the collector: compile it again".to_owned());
            }
            let was = match &difference.there {
                Some(there) => format!("with {option}={there} bytes of the collector"),
                None => format!("without the collector's option {option}"),
            };
            let is = match &difference.here {
                Some(here) => format!("and here it is {here} bytes"),
                None => "which this one does not have".to_owned(),
            };
            format!("{was}, {is}: give the same `--collector` with its options")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_types::{Abi, CollectorAbi, HeapBounds, Machine};

    /// The explanation, if `there` was compiled and `here` is to run it.
    fn explained(here: &Abi, there: &Abi) -> String {
        let error = Error::from(here.check(&there.to_string()).unwrap_err());
        explain(error.context("loading it"), Path::new("a.elf"), &Collector::generational())
            .to_string()
    }

    #[test]
    fn differences_name_the_option() {
        let abi = || Abi::new(CollectorAbi::new("a").with("nursery", 1));
        for (there, expected) in [
            (
                abi().with_collector(CollectorAbi::new("b")),
                "for the collector `b`, not for `a`: give `--collector b`",
            ),
            (
                abi().with_collector(CollectorAbi::new("a").with("nursery", 2)),
                "with nursery=2 bytes of the collector, and here it is 1 bytes: give the same `--collector`",
            ),
            (
                abi().with_collector(CollectorAbi::new("a")),
                "without the collector's option nursery",
            ),
            (
                abi().with_collector(abi().collector().clone().with("card-shift", 9)),
                "with other constants of the collector: compile it again",
            ),
            (abi().with_bounds(HeapBounds::Checked), "with `--heap-bounds checked`, not with"),
            (abi().with_zeal(true), "with `--gc-zeal`: give"),
            (abi().with_polls(true), "with `--loop-polls on`: give"),
            (abi().with_fuel(true), "with `--consume-fuel`: say with `--fuel`"),
            (abi().with_machine(Machine::new("m68k", "amiga")), "for m68k-amiga, and this is"),
        ] {
            let text = explained(&abi(), &there);
            assert!(text.starts_with(&format!("a.elf was compiled {expected}")), "{text}");
        }
        let small = abi().with_machine(Machine::new("x86_64", "linux"));
        let large = abi().with_machine(Machine::new("x86_64", "linux").with_features(["avx"]));
        let text = explained(&small, &large);
        assert!(text.contains("for a processor with avx, which"), "{text}");
        let text = explained(&abi().with_fuel(true), &abi());
        assert!(text.contains("compiled without `--consume-fuel`: compile it again"), "{text}");
        // What no option changes stays.
        let text = explained(&abi(), &abi().with_embedder("vmctx", 2));
        assert_eq!(text, "loading it");
    }
}
