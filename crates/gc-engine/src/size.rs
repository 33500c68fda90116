//! Sizes in bytes as text: `64KiB`, `512MiB`, `2GiB`, or plain bytes.

/// Units, largest first.
const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Parses a number and a unit: `B`, `KiB`, `MiB`, `GiB`, `TiB`, or only the first letter (`512m`), in
/// upper or lower case. A number without a unit is in bytes. The units are powers of 1024.
///
/// # Errors
/// A message that says what was expected.
///
/// # Examples
/// ```
/// use gc_engine::size;
///
/// assert_eq!(size::parse("64KiB"), Ok(65536));
/// assert_eq!(size::parse("2g"), Ok(2 << 30));
/// assert!(size::parse("many").is_err());
/// ```
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor = if unit.is_empty() || unit.eq_ignore_ascii_case("b") {
        Some(1)
    } else {
        UNITS.iter().find_map(|(name, factor)| {
            (unit.eq_ignore_ascii_case(name) || unit.eq_ignore_ascii_case(&name[..1]))
                .then_some(*factor)
        })
    };
    let Some(factor) = factor.filter(|_| !number.is_empty()) else {
        return Err("expected a size such as 65536, 64KiB, 512MiB or 2GiB".to_owned());
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    size.ok_or_else(|| format!("the size is out of range, which is 0 to {} bytes", u64::MAX))
}

/// A size for people: in the largest unit that gives at least one, with one decimal if it is not
/// zero.
///
/// # Examples
/// ```
/// use gc_engine::size;
///
/// assert_eq!(size::show(1536), "1.5 KiB");
/// ```
pub fn show(bytes: u64) -> String {
    match UNITS.iter().find(|(_, factor)| bytes >= *factor) {
        Some((name, factor)) => {
            let number = format!("{:.1}", bytes as f64 / *factor as f64);
            format!("{} {name}", number.strip_suffix(".0").unwrap_or(&number))
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse() {
        for (text, size) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("64KiB", 64 << 10),
            ("64k", 64 << 10),
            ("512MiB", 512 << 20),
            ("2 GiB", 2 << 30),
            ("3g", 3 << 30),
            ("5TiB", 5 << 40),
        ] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "12 parsecs", "0x10", "99999999999GiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["16777216TiB", "99999999999999999999GiB", "18446744073709551616"] {
            assert!(parse(text).unwrap_err().contains("out of range"), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(show(0), "0 B");
        assert_eq!(show(1023), "1023 B");
        assert_eq!(show(64 << 10), "64 KiB");
        assert_eq!(show((1 << 20) + (1 << 19)), "1.5 MiB");
        assert_eq!(show(2 << 30), "2 GiB");
        assert_eq!(show((4 << 30) - (64 << 10)), "4 GiB");
        assert_eq!(show(100 << 30), "100 GiB");
    }
}
