//! Linux: the size of the machine's last-level cache.

use std::fs;
use std::path::Path;

/// Bytes of the last-level cache of the first processor. `None` if the folder `/sys` does not tell.
pub(crate) fn last_level_cache() -> Option<u64> {
    let caches = fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    let sizes = caches.filter_map(|cache| {
        let cache = cache.ok()?.path();
        let level: u32 = read(&cache, "level")?.parse().ok()?;
        Some((level, bytes(&read(&cache, "size")?)?))
    });
    sizes.max().map(|(_, size)| size)
}

fn read(cache: &Path, name: &str) -> Option<String> {
    Some(fs::read_to_string(cache.join(name)).ok()?.trim().to_owned())
}

/// The number of bytes in a text such as `32K`.
fn bytes(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(["64", "48K", "2M"].map(bytes), [Some(64), Some(48 << 10), Some(2 << 20)]);
        assert_eq!(["", "K", "4G", "1 K", "-1K"].map(bytes), [None; 5]);
        if let Some(size) = last_level_cache() {
            assert!((64 << 10..64 << 30).contains(&size), "{size}");
        }
    }
}
