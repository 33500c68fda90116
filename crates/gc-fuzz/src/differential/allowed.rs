//! Which engines and collectors the target uses: `ALLOWED_ENGINES` and `ALLOWED_COLLECTORS`, lists of
//! names with commas. Without them it uses all, but V8 only if `NODE` names a program.

use anyhow::{Result, bail, ensure};
use gc_wasm::Collector;
use std::sync::LazyLock;

/// An engine to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// Wasmtime.
    Wasmtime,
    /// wasmi, an interpreter.
    Wasmi,
    /// V8, by a `node` program.
    V8,
    /// This engine in a plain setting.
    Reclaim,
}

const NAMES: [(&str, Other); 4] = [
    ("wasmtime", Other::Wasmtime),
    ("wasmi", Other::Wasmi),
    ("v8", Other::V8),
    ("reclaim", Other::Reclaim),
];

/// What is allowed.
#[derive(Debug)]
pub(super) struct Allowed {
    pub(super) engines: Vec<Other>,
    pub(super) collectors: Vec<Collector>,
}

/// What this process allows, or what is wrong with the variables.
pub(super) static ALLOWED: LazyLock<Result<Allowed>> = LazyLock::new(|| {
    let variable = |name| std::env::var(name).ok();
    let node = std::env::var_os("NODE").is_some();
    parse(variable("ALLOWED_ENGINES"), variable("ALLOWED_COLLECTORS"), node)
});

fn parse(engines: Option<String>, collectors: Option<String>, node: bool) -> Result<Allowed> {
    let engines = match engines {
        // Only Wasmtime knows all that a module may have, and is not this engine. So it has half of
        // the inputs, or nearly.
        None => [Other::Wasmtime; 2]
            .into_iter()
            .chain(NAMES.map(|(_, engine)| engine))
            .filter(|it| node || *it != Other::V8),
        Some(text) => {
            let engines = named("ALLOWED_ENGINES", "engine", &text, &NAMES)?;
            let v8 = engines.contains(&Other::V8);
            ensure!(node || !v8, "ALLOWED_ENGINES: v8 needs NODE, the path of a `node` program");
            return Ok(Allowed { engines, ..parse(None, collectors, node)? });
        }
    };
    let all = Collector::all().into_iter().map(|it| (it.name(), it)).collect::<Vec<_>>();
    let collectors = match collectors {
        None => Collector::all(),
        Some(text) => named("ALLOWED_COLLECTORS", "collector", &text, &all)?,
    };
    Ok(Allowed { engines: engines.collect(), collectors })
}

/// What the names in a list name.
fn named<T: Clone>(variable: &str, what: &str, list: &str, all: &[(&str, T)]) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let Some((_, it)) = all.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = all.iter().map(|(known, _)| *known).collect();
            bail!("{variable}: there is no {what} {name:?}; there are {}", known.join(", "));
        };
        found.push(it.clone());
    }
    ensure!(!found.is_empty(), "{variable} names no {what}");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(engines: &str, collectors: &str) -> String {
        let all = parse(Some(engines.into()), Some(collectors.into()), false);
        format!("{:#}", all.expect_err("it is wrong"))
    }

    #[test]
    fn names_are_known() {
        let allowed = parse(Some("wasmi, v8".into()), Some("drc".into()), true).unwrap();
        assert_eq!(allowed.engines, [Other::Wasmi, Other::V8]);
        assert_eq!(allowed.collectors[0].name(), "drc");
        assert_eq!(parse(None, None, false).unwrap().engines.len(), 5);
        assert_eq!(parse(None, None, true).unwrap().collectors.len(), 4);
        assert_eq!(
            wrong("wasmtime,winch", "drc"),
            "ALLOWED_ENGINES: there is no engine \"winch\"; there are wasmtime, wasmi, v8, reclaim"
        );
        assert_eq!(
            wrong("wasmtime", "mark"),
            "ALLOWED_COLLECTORS: there is no collector \"mark\"; there are null, drc, copying, \
             generational"
        );
        assert!(wrong("v8", "drc").contains("needs NODE"));
        assert!(wrong("", "drc").contains("names no engine"));
    }
}
