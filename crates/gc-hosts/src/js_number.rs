//! Numbers as JavaScript prints and reads them (ECMA-262, `Number::toString` and `parseFloat`).

use crate::js_text::is_space;

/// The text of a number: the fewest digits that are read as the same number.
pub(crate) fn to_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    let sign = if number < 0.0 { "-" } else { "" };
    if number.is_infinite() {
        return format!("{sign}Infinity");
    }
    // Rust finds the digits, as `1.25e2`.
    let text = format!("{:e}", number.abs());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.replace('.', "");
    let count = digits.len() as i32;
    // The number of digits before the point.
    let before = exponent.parse::<i32>().unwrap_or(0) + 1;
    if (count..=21).contains(&before) {
        format!("{sign}{digits}{}", "0".repeat((before - count) as usize))
    } else if (1..=21).contains(&before) {
        let (whole, rest) = digits.split_at(before as usize);
        format!("{sign}{whole}.{rest}")
    } else if (-5..=0).contains(&before) {
        format!("{sign}0.{}{digits}", "0".repeat(-before as usize))
    } else {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}e{:+}", before - 1)
    }
}

/// `Math.cbrt`, by the algorithm of FreeBSD's `msun` that V8 has, so that the last bit is the same.
pub(crate) fn cbrt(number: f64) -> f64 {
    /// The exponents of a normal and a subnormal number, divided by three, minus a small error.
    const NORMAL: u32 = 715_094_163;
    const SUBNORMAL: u32 = 696_219_795;
    /// Approximates `1 / cbrt(x)` (with an error of less than `2^-23.5`).
    const P: [f64; 5] = [
        1.875_951_824_271_77,
        -1.884_979_795_433_771_7,
        1.621_429_720_105_354_5,
        -0.758_397_934_778_766,
        0.145_996_192_886_612_45,
    ];
    let high = |number: f64| (number.abs().to_bits() >> 32) as u32;
    let from_high = |high: u32| f64::from_bits(u64::from(high) << 32).copysign(number);
    if number == 0.0 || !number.is_finite() {
        return number;
    }
    let guess = match high(number) {
        normal @ 0x0010_0000.. => from_high(normal / 3 + NORMAL),
        _ => from_high(high(number * f64::from_bits(0x4350 << 48)) / 3 + SUBNORMAL),
    };
    // To 23 bits, which are rounded away from zero.
    let r = (guess * guess) * (guess / number);
    let guess = guess * ((P[0] + r * (P[1] + r * P[2])) + ((r * r) * r) * (P[3] + r * P[4]));
    let guess = f64::from_bits((guess.to_bits() + 0x8000_0000) & 0xffff_ffff_c000_0000);
    // A step of Newton's method makes 53 bits of them.
    let r = number / (guess * guess);
    guess + guess * ((r - guess) / (guess + guess + r))
}

/// The digits of an integer in a base from 2 to 36. `None` for another base.
pub(crate) fn to_radix(number: i32, radix: u32) -> Option<String> {
    if !(2..=36).contains(&radix) {
        return None;
    }
    let (mut rest, mut digits) = (number.unsigned_abs(), Vec::new());
    loop {
        digits.extend(char::from_digit(rest % radix, radix));
        rest /= radix;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        digits.push('-');
    }
    Some(digits.into_iter().rev().collect())
}

/// The number at the begin of the text, or NaN.
pub(crate) fn parse_float(text: &str) -> f64 {
    let text = text.trim_start_matches(is_space);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let signed = |number: f64| if negative { -number } else { number };
    if unsigned.starts_with("Infinity") {
        return signed(f64::INFINITY);
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned);
    let mut end = whole;
    let mut any = whole > 0;
    if unsigned[end..].starts_with('.') {
        let fraction = digits(&unsigned[end + 1..]);
        any |= fraction > 0;
        end += 1 + fraction;
    }
    if !any {
        return f64::NAN;
    }
    if let Some(rest) = unsigned[end..].strip_prefix(['e', 'E']) {
        let sign = usize::from(rest.starts_with(['+', '-']));
        let exponent = digits(&rest[sign..]);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    signed(unsigned[..end].parse().unwrap_or(f64::NAN))
}

/// Whether `Double.valueOf` of Java accepts the text.
pub(crate) fn is_java_double(text: &str) -> bool {
    let text = text.trim_matches(is_space);
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    if ["NaN", "Infinity"].contains(&text) {
        return true;
    }
    let whole = digits(text);
    let (fraction, mut rest) = match text[whole..].strip_prefix('.') {
        Some(rest) => (digits(rest), &rest[digits(rest)..]),
        None => (0, &text[whole..]),
    };
    if whole + fraction == 0 {
        return false;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = &exponent[count..];
    }
    rest.is_empty() || ["d", "D", "f", "F"].contains(&rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_in_javascript() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e21, "1e+21"),
            (123456789012345680000.0, "123456789012345680000"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (-1.25e-9, "-1.25e-9"),
            (f64::MIN_POSITIVE * f64::EPSILON, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (100.0, "100"),
            (12.34, "12.34"),
        ] {
            assert_eq!(to_text(number), text);
        }
        assert_eq!(to_radix(i32::MIN, 2).unwrap(), format!("-1{}", "0".repeat(31)));
        assert_eq!(to_radix(0, 10).unwrap(), "0");
        assert_eq!(to_radix(255, 36).unwrap(), "73");
        assert_eq!(to_radix(1, 37), None);
    }

    #[test]
    fn doubles_of_java_are_recognised() {
        for text in ["1", " -1.5e3 ", "1.", ".5", "+NaN", "-Infinity", "1e5d", "2F", "\u{feff}7"] {
            assert!(is_java_double(text), "{text}");
        }
        let long = format!("{}x", "1".repeat(1 << 20));
        for text in ["", ".", "1e", "1e+", "x", "1x", "--1", "NaNd", "1 2", "1dd", ".e5", &long] {
            assert!(!is_java_double(text), "{text}");
        }
    }

    /// The expected bits are those of V8.
    #[test]
    fn cube_roots_are_those_of_v8() {
        for (number, bits) in [
            (27.0, 0x4008000000000000),
            (2.0, 0x3ff428a2f98d728b),
            (-8.0, 0xc000000000000000),
            (0.1, 0x3fddb4c7760bcff3),
            (1e+300, 0x54b249ad2594c37d),
            (5e-324, 0x2990000000000000),
            (1e-310, 0x2a7a9d1b0b5d7427),
            (3.0, 0x3ff7137449123ef6),
            (123456.789, 0x4048e58dab7da808),
            (-1e-07, 0xbf73030f03de9991),
            (0.001, 0x3fb999999999999a),
            (1.7976931348623157e+308, 0x554428a2f98d728b),
        ] {
            assert_eq!(cbrt(number).to_bits(), bits, "{number}");
        }
        assert!(cbrt(f64::NAN).is_nan() && cbrt(f64::NEG_INFINITY) == f64::NEG_INFINITY);
        assert!(cbrt(-0.0).is_sign_negative());
    }

    #[test]
    fn numbers_are_read_as_in_javascript() {
        for (text, number) in [
            ("1", 1.0),
            ("  -1.5e3xyz", -1500.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e", 1.0),
            ("1e+", 1.0),
            ("-Infinityx", f64::NEG_INFINITY),
            ("\u{feff}\u{a0}\u{2003}+7", 7.0),
        ] {
            assert_eq!(parse_float(text), number, "{text}");
        }
        for text in ["", "x", ".", "-", "e5", "NaN", "ä", "\u{85}1"] {
            assert!(parse_float(text).is_nan(), "{text}");
        }
        assert!(parse_float("-0").is_sign_negative());
    }
}
