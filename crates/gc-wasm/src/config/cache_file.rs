//! The settings of a [`Cache`] in a file, in the format of Wasmtime's `config.toml`.

use super::cache::user_directory;
use super::{Cache, CacheConfig};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Deserializer, de};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The whole file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    cache: Section,
}

/// What is in the file. All is optional. Numbers with units are texts, such as `"512Mi"`. Those with an
/// underscore are read, so that a wrong value is an error as in Wasmtime, and have no effect.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Section {
    /// Files of old versions of Wasmtime have it.
    enabled: Option<bool>,
    directory: Option<PathBuf>,
    #[serde(rename = "files-total-size-soft-limit", deserialize_with = "bytes")]
    limit: Option<u64>,
    #[serde(rename = "baseline-compression-level")]
    baseline_level: Option<i32>,
    #[serde(rename = "optimized-compression-level")]
    optimized_level: Option<i32>,
    #[serde(rename = "file-count-limit-percent-if-deleting", deserialize_with = "percent")]
    count_percent: Option<u64>,
    #[serde(rename = "files-total-size-limit-percent-if-deleting", deserialize_with = "percent")]
    size_percent: Option<u64>,
    #[serde(rename = "worker-event-queue-size", deserialize_with = "count")]
    _queue: Option<u64>,
    #[serde(rename = "optimized-compression-usage-counter-threshold", deserialize_with = "count")]
    _threshold: Option<u64>,
    #[serde(rename = "file-count-soft-limit", deserialize_with = "count")]
    _count_limit: Option<u64>,
    #[serde(rename = "cleanup-interval", deserialize_with = "seconds")]
    _interval: Option<u64>,
    #[serde(rename = "optimizing-compression-task-timeout", deserialize_with = "seconds")]
    _timeout: Option<u64>,
    #[serde(rename = "allowed-clock-drift-for-files-from-future", deserialize_with = "seconds")]
    _drift: Option<u64>,
}

/// A number in a text, with a unit. Each unit has its factor.
macro_rules! quantities {
    ($($(#[$doc:meta])* $name:ident: $($unit:literal $factor:expr),*;)*) => {$(
        $(#[$doc])*
        fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
            let text = String::deserialize(deserializer)?;
            quantity(&text, &[$(($unit, $factor)),*]).map(Some).map_err(de::Error::custom)
        }
    )*};
}

quantities! {
    /// A number of bytes.
    bytes: "" 1, "K" 1_000, "M" 1_000_000, "G" 1_000_000_000, "T" 1_000_000_000_000,
        "P" 1_000_000_000_000_000, "Ki" 1 << 10, "Mi" 1 << 20, "Gi" 1 << 30, "Ti" 1 << 40,
        "Pi" 1 << 50;
    /// A number of things.
    count: "" 1, "K" 1_000, "M" 1_000_000, "G" 1_000_000_000, "T" 1_000_000_000_000,
        "P" 1_000_000_000_000_000;
    /// A time in seconds.
    seconds: "s" 1, "m" 60, "h" 3_600, "d" 86_400;
    /// A part of a hundred.
    percent: "%" 1;
}

/// The number in a text such as `512Mi`, times the factor of its unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| factor);
    let number = number.parse::<u64>().ok().zip(factor);
    number.and_then(|(number, factor)| number.checked_mul(*factor)).ok_or_else(|| {
        let names: Vec<String> = units.iter().map(|(name, _)| format!("`1{name}`")).collect();
        format!("`{text}` is no such value; write it as one of {}", names.join(", "))
    })
}

impl Section {
    fn to_config(&self) -> Result<CacheConfig> {
        ensure!(
            self.enabled != Some(false),
            "`enabled = false` is not supported: call `Config::cache(None)` instead"
        );
        for level in [self.baseline_level, self.optimized_level].into_iter().flatten() {
            ensure!((0..=21).contains(&level), "{level} is no level of compression: 0 to 21");
        }
        for percent in [self.count_percent, self.size_percent].into_iter().flatten() {
            ensure!(percent <= 100, "{percent}% is more than 100%");
        }
        let mut config = CacheConfig::new();
        if let Some(directory) = &self.directory {
            config.with_directory(directory);
        }
        if let Some(limit) = self.limit {
            config.with_files_total_size_soft_limit(limit);
        }
        Ok(config)
    }
}

impl CacheConfig {
    /// The settings in a file in the format of Wasmtime's `config.toml`. Without a path it is the file
    /// `reclaim/config.toml` in the user's folder for settings (`$XDG_CONFIG_HOME`, or else
    /// `~/.config`). If there is no such file, the settings are [the default ones](CacheConfig::new).
    ///
    /// `directory` and `files-total-size-soft-limit` are honoured. Entries are neither compressed nor
    /// counted, and are deleted when one is added. So the file may have Wasmtime's settings about that,
    /// but they have no effect.
    ///
    /// # Errors
    /// If the file that was asked for cannot be read, or has an unknown setting or a wrong value.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::CacheConfig;
    ///
    /// # let file = std::env::temp_dir().join(format!("reclaim-cache-{}.toml", std::process::id()));
    /// let settings = "[cache]\ndirectory = '/var/cache/app'\nfiles-total-size-soft-limit = '64Mi'\n";
    /// std::fs::write(&file, settings)?;
    /// let config = CacheConfig::from_file(Some(&file))?;
    /// assert_eq!(config.directory().unwrap().to_str(), Some("/var/cache/app"));
    /// # std::fs::remove_file(&file)?;
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn from_file(path: Option<&Path>) -> Result<CacheConfig> {
        let default = || Some(user_directory("XDG_CONFIG_HOME", ".config")?.join("config.toml"));
        let Some(file) = path.map(Path::to_owned).or_else(default) else {
            return Ok(CacheConfig::new());
        };
        let text = match fs::read_to_string(&file) {
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok(CacheConfig::new());
            }
            text => {
                text.with_context(|| format!("failed to read config file: {}", file.display()))?
            }
        };
        let config = toml::from_str::<File>(&text).map_err(anyhow::Error::from);
        config
            .and_then(|file| file.cache.to_config())
            .with_context(|| format!("failed to parse config file: {}", file.display()))
    }
}

impl Cache {
    /// Makes a cache with the settings in a file: see [`CacheConfig::from_file`] and [`Cache::new`].
    ///
    /// # Errors
    /// As these.
    pub fn from_file(path: Option<&Path>) -> Result<Cache> {
        Cache::new(CacheConfig::from_file(path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CacheConfig> {
        toml::from_str::<File>(text)?.cache.to_config()
    }

    /// All that Wasmtime's documentation lists.
    #[test]
    fn every_setting_of_wasmtime_is_read() {
        let config = read(
            "[cache]
            enabled = true
            directory = '/somewhere'
            worker-event-queue-size = '16'
            baseline-compression-level = 3
            optimized-compression-level = 20
            optimized-compression-usage-counter-threshold = '256'
            cleanup-interval = '1h'
            optimizing-compression-task-timeout = '30m'
            allowed-clock-drift-for-files-from-future = '1d'
            file-count-soft-limit = '65536'
            files-total-size-soft-limit = '3Ki'
            file-count-limit-percent-if-deleting = '70%'
            files-total-size-limit-percent-if-deleting = '70%'",
        );
        let config = config.unwrap();
        assert_eq!(config.directory().unwrap(), Path::new("/somewhere"));
        assert_eq!(config.limit(), 3 << 10);
        for nothing in ["", "[cache]"] {
            let config = read(nothing).unwrap();
            assert_eq!((config.directory(), config.limit()), (None, 512 << 20), "{nothing}");
        }
    }

    #[test]
    fn wrong_settings_are_refused() {
        for (text, expected) in [
            ("[cach]", "unknown field `cach`"),
            ("[cache]\nsize = 1", "unknown field `size`"),
            ("[cache]\nenabled = false", "`Config::cache(None)`"),
            ("[cache]\nfiles-total-size-soft-limit = '1Kib'", "`1Kib` is no such value"),
            ("[cache]\nfiles-total-size-soft-limit = 'Ki'", "`Ki` is no such value"),
            ("[cache]\nfiles-total-size-soft-limit = '99999999Pi'", "is no such value"),
            ("[cache]\ncleanup-interval = '1'", "`1` is no such value; write it as one of `1s`"),
            ("[cache]\nbaseline-compression-level = 22", "22 is no level"),
            ("[cache]\nfile-count-limit-percent-if-deleting = '101%'", "101% is more"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
