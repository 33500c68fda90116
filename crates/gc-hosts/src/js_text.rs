//! Texts of JavaScript: case, spaces and searches. A text is code units of UTF-16, among which halves
//! of characters may stand alone.

/// Whether JavaScript skips the character at the begin of a number.
pub(crate) fn is_space(c: char) -> bool {
    // U+0085 is a space in Unicode only.
    c.is_whitespace() && c != '\u{85}' || c == '\u{feff}'
}

/// The text in the case that `f` makes. Halves of characters stay.
pub(crate) fn cased(units: &[u16], f: fn(&str) -> String) -> Vec<u16> {
    let (mut out, mut text) = (Vec::with_capacity(units.len()), String::new());
    for c in char::decode_utf16(units.iter().copied()) {
        match c {
            Ok(c) => text.push(c),
            Err(half) => {
                out.extend(f(&text).encode_utf16());
                text.clear();
                out.push(half.unpaired_surrogate());
            }
        }
    }
    out.extend(f(&text).encode_utf16());
    out
}

/// For each begin of `part`, the length of the longest shorter begin that is also its end (Knuth,
/// Morris and Pratt 1977).
fn borders(part: &[u16], at: impl Fn(usize) -> usize) -> Vec<u32> {
    let mut borders = vec![0u32; part.len()];
    let mut length = 0;
    for end in 1..part.len() {
        while length > 0 && part[at(length)] != part[at(end)] {
            length = borders[length - 1] as usize;
        }
        length += usize::from(part[at(length)] == part[at(end)]);
        borders[end] = length as u32;
    }
    borders
}

/// The number of units of `text` before the end of `part` in it. `at` and `place` say in which
/// direction both are read.
fn search(
    text: &[u16],
    part: &[u16],
    at: impl Fn(usize) -> usize,
    place: impl Fn(usize) -> usize,
) -> Option<usize> {
    let borders = borders(part, &at);
    let mut length = 0;
    for index in 0..text.len() {
        let unit = text[place(index)];
        while length > 0 && part[at(length)] != unit {
            length = borders[length - 1] as usize;
        }
        length += usize::from(part[at(length)] == unit);
        if length == part.len() {
            return Some(index + 1);
        }
    }
    None
}

/// The place of `part` in `text`, from `start` on.
pub(crate) fn find(text: &[u16], part: &[u16], start: usize) -> Option<usize> {
    let start = start.min(text.len());
    if part.is_empty() {
        return Some(start);
    }
    let rest = &text[start..];
    search(rest, part, |at| at, |at| at).map(|end| start + end - part.len())
}

/// The last place of `part` in `text` that is not after `start`.
pub(crate) fn find_last(text: &[u16], part: &[u16], start: usize) -> Option<usize> {
    let last = start.min(text.len().checked_sub(part.len())?);
    if part.is_empty() {
        return Some(last);
    }
    let text = &text[..last + part.len()];
    let found = search(text, part, |at| part.len() - 1 - at, |at| text.len() - 1 - at);
    found.map(|count| text.len() - count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn halves_of_characters_have_no_case() {
        let mixed = [&units("aΣ")[..], &[0xd83d], &units("ßΣ"), &[0xde00, 0xd83d]].concat();
        let lower = [&units("aς")[..], &[0xd83d], &units("ßς"), &[0xde00, 0xd83d]].concat();
        let upper = [&units("AΣ")[..], &[0xd83d], &units("SSΣ"), &[0xde00, 0xd83d]].concat();
        assert_eq!(cased(&mixed, str::to_lowercase), lower);
        assert_eq!(cased(&mixed, str::to_uppercase), upper);
        assert_eq!(cased(&units("𐐀é"), str::to_lowercase), units("𐐨é"));
    }

    #[test]
    fn spaces_are_those_of_javascript() {
        let spaces: Vec<u32> =
            (0..=0xffff).filter(|code| char::from_u32(*code).is_some_and(is_space)).collect();
        let mut expected: Vec<u32> = (9..=0xd).chain([0x20, 0xa0, 0x1680]).collect();
        expected.extend((0x2000..=0x200a).chain([0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff]));
        assert_eq!(spaces, expected);
    }

    #[test]
    fn places_in_texts() {
        let (text, part) = (units("abcabc"), units("bc"));
        assert_eq!((find(&text, &part, 0), find(&text, &part, 2)), (Some(1), Some(4)));
        assert_eq!((find(&text, &part, 5), find(&text, &[], 99)), (None, Some(6)));
        assert_eq!(find(&part, &text, 0), None);
        assert_eq!(find_last(&text, &part, usize::MAX), Some(4));
        assert_eq!((find_last(&text, &part, 3), find_last(&text, &part, 0)), (Some(1), None));
        assert_eq!(find_last(&text, &[], 99), Some(6));
        assert_eq!(find_last(&part, &text, 9), None);
        // All texts and parts of few letters.
        let word = |mut number: usize, length| -> Vec<u16> {
            (0..length)
                .map(|_| {
                    let unit = (number % 2) as u16;
                    number /= 2;
                    unit
                })
                .collect()
        };
        for (text, part) in (0..256).flat_map(|text| (0..8).map(move |part| (text, part))) {
            let (text, part) = (word(text, 8), word(part, 3));
            let places: Vec<usize> = (0..=5).filter(|at| text[*at..].starts_with(&part)).collect();
            for start in 0..9 {
                let next = places.iter().find(|at| **at >= start).copied();
                let last = places.iter().rfind(|at| **at <= start).copied();
                assert_eq!(
                    (find(&text, &part, start), find_last(&text, &part, start)),
                    (next, last)
                );
            }
        }
    }

    #[test]
    fn searches_take_linear_time() {
        let text = vec![97u16; 1 << 20];
        let part = [vec![97; 1 << 19], vec![98], vec![97; 1 << 18]].concat();
        let begin = Instant::now();
        assert_eq!((find(&text, &part, 0), find_last(&text, &part, usize::MAX)), (None, None));
        assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
    }
}
