//! JavaScript's regular expressions over UTF-16, by the crate `regress`.

use crate::regexp_pattern::{Shape, translate, without_case};
use anyhow::{Result, bail, ensure};
use gc_wasm::Trap;
use regress::{Flags, Regex};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The largest number of code units of a pattern.
const LONGEST_PATTERN: usize = 1 << 16;

/// The number of code units that have as many bytes as a string has without its code units.
const PART: usize = 8;

/// The number of characters of a pattern that an error shows.
const SHOWN: usize = 100;

/// A regular expression, as JavaScript's `RegExp`.
#[derive(Debug)]
pub(crate) struct RegExp {
    regex: Regex,
    /// Whether a character of two code units is one.
    unicode: bool,
    /// Whether a search begins where the last match ended.
    global: bool,
    /// Whether a match must be where the search begins.
    sticky: bool,
    /// Whether case is ignored, but not as in Unicode.
    ignores_case: bool,
    last_index: AtomicUsize,
    shape: Shape,
    size: usize,
}

/// A match: the places of the whole match and of the groups in the text.
#[derive(Debug)]
pub(crate) struct Match {
    groups: Vec<Option<Range<usize>>>,
    names: Vec<(String, Option<Range<usize>>)>,
}

impl Match {
    /// The places of the whole match and of the groups.
    pub(crate) fn groups(&self) -> &[Option<Range<usize>>] {
        &self.groups
    }

    /// Where the whole match is.
    fn range(&self) -> Range<usize> {
        self.groups.first().cloned().flatten().unwrap_or_default()
    }

    /// The number of groups. The first one is the whole match.
    fn len(&self) -> usize {
        self.groups.len()
    }

    /// The text of a group, if it is part of the match.
    fn group<'t>(&self, text: &'t [u16], index: usize) -> Option<&'t [u16]> {
        text.get(self.groups.get(index)?.clone()?)
    }

    /// The text of the group with this name, if it is part of the match.
    fn named<'t>(&self, text: &'t [u16], name: &str) -> Option<&'t [u16]> {
        // Several groups may have one name. At most one of them is part of the match.
        let mut places = self.names.iter().filter(|(other, _)| other == name);
        text.get(places.find_map(|(_, place)| place.clone())?)
    }
}

/// A code point, or half of one that stands alone.
fn code_points(units: &[u16]) -> impl Iterator<Item = u32> + Clone + '_ {
    char::decode_utf16(units.iter().copied()).map(|c| match c {
        Ok(c) => c.into(),
        Err(half) => half.unpaired_surrogate().into(),
    })
}

/// An estimate of the bytes that a compiled pattern has.
fn size(pattern: &[u16], flags: &str) -> usize {
    let sets = flags.contains(['i', 'u', 'v']);
    let set = |unit: &&u16| [b'[', b'\\'].map(u16::from).contains(unit);
    let sets = if sets { pattern.iter().filter(set).count() } else { 0 };
    // A set of characters may be a long list of ranges.
    128 * (pattern.len() + 8) + (6 << 10) * sets
}

impl RegExp {
    /// # Errors
    /// If the pattern or the flags are invalid.
    pub(crate) fn new(pattern: &[u16], flags: &str) -> Result<RegExp> {
        let known = |flag| "dgimsuvy".contains(flag);
        let twice =
            (0..).zip(flags.chars()).any(|(i, flag)| flags.chars().take(i).any(|f| f == flag));
        let both = flags.contains('u') && flags.contains('v');
        if !flags.chars().all(known) || twice || both {
            bail!("invalid flags of a regular expression: `{flags}`");
        }
        let shown = || {
            let begin: String = String::from_utf16_lossy(&pattern[..pattern.len().min(SHOWN)]);
            if pattern.len() > SHOWN { format!("{begin}…") } else { begin }
        };
        if pattern.len() > LONGEST_PATTERN {
            bail!("the regular expression /{}/ is too large", shown());
        }
        let unicode = flags.contains(['u', 'v']);
        let ignores_case = !unicode && flags.contains('i');
        let with = Flags::from(flags);
        let regex = match unicode {
            true => Regex::from_unicode(code_points(pattern), with),
            false => Regex::from_unicode(
                translate(pattern, ignores_case).into_iter().map(u32::from),
                with,
            ),
        };
        match regex {
            Ok(regex) => Ok(RegExp {
                regex,
                unicode,
                global: flags.contains('g'),
                sticky: flags.contains('y'),
                ignores_case,
                last_index: AtomicUsize::new(0),
                shape: Shape::of(pattern),
                size: size(pattern, flags),
            }),
            Err(error) => bail!("invalid regular expression /{}/: {}", shown(), error.text),
        }
    }

    /// How many ways a search has to match.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// An estimate of its size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Sets where the next search begins, if the expression is global or sticky.
    pub(crate) fn set_last_index(&self, index: usize) {
        self.last_index.store(index, Ordering::Relaxed);
    }

    /// The text in which it searches.
    fn searched<'t>(&self, text: &'t [u16]) -> Cow<'t, [u16]> {
        if self.ignores_case && text.iter().any(|unit| without_case(*unit) != *unit) {
            return text.iter().map(|unit| without_case(*unit)).collect();
        }
        Cow::Borrowed(text)
    }

    fn find(&self, searched: &[u16], start: usize) -> Option<Match> {
        let found = match self.unicode {
            true => self.regex.find_from_utf16(searched, start).next(),
            false => self.regex.find_from_ucs2(searched, start).next(),
        };
        found.map(|found| Match {
            groups: found.groups().collect(),
            names: found.named_groups().map(|(name, place)| (name.to_owned(), place)).collect(),
        })
    }

    /// Searches the text.
    pub(crate) fn exec(&self, text: &[u16]) -> Option<Match> {
        let moves = self.global || self.sticky;
        let start = if moves { self.last_index.load(Ordering::Relaxed) } else { 0 };
        let found = match start <= text.len() {
            true => self.find(&self.searched(text), start),
            false => None,
        };
        let found = found.filter(|found| !self.sticky || found.range().start == start);
        if moves {
            self.set_last_index(found.as_ref().map_or(0, |found| found.range().end));
        }
        found
    }

    /// Calls `each` with the matches from `start` to the end, or with the first one. A match that is
    /// `anchored` begins where the search for it begins.
    ///
    /// # Errors
    /// Those of `each`.
    fn each_match(
        &self,
        text: &[u16],
        mut start: usize,
        (all, anchored): (bool, bool),
        mut each: impl FnMut(&Match) -> Result<()>,
    ) -> Result<()> {
        let searched = self.searched(text);
        while start <= text.len() {
            let Some(found) = self.find(&searched, start) else { break };
            let Range { start: begin, end } = found.range();
            if anchored && begin != start {
                break;
            }
            each(&found)?;
            if !all {
                break;
            }
            start = if begin == end { end + self.character_at(text, end) } else { end };
        }
        Ok(())
    }

    /// The number of code units of the character at `at`.
    fn character_at(&self, text: &[u16], at: usize) -> usize {
        let pair = text.get(at..).and_then(|rest| rest.get(..2));
        let is_pair =
            pair.is_some_and(|pair| char::decode_utf16(pair.iter().copied()).count() == 1);
        if self.unicode && is_pair { 2 } else { 1 }
    }

    /// Replaces the first match, or all if the expression is global. `$&` and its like in the
    /// replacement are parts of the match. The result has at most `longest` code units.
    ///
    /// # Errors
    /// [`Trap::AllocationTooLarge`] if the result would be longer.
    pub(crate) fn replace(
        &self,
        text: &[u16],
        replacement: &[u16],
        longest: usize,
    ) -> Result<Vec<u16>> {
        let mut out = Output { units: Vec::new(), longest };
        let moves = self.sticky && !self.global;
        let start = if moves { self.last_index.load(Ordering::Relaxed) } else { 0 };
        let (mut end, mut next) = (0, 0);
        self.each_match(text, start, (self.global, self.sticky), |found| {
            out.push(&text[end..found.range().start])?;
            expand(text, found, replacement, &mut out)?;
            end = found.range().end;
            next = end;
            Ok(())
        })?;
        if self.global || self.sticky {
            self.set_last_index(if moves { next } else { 0 });
        }
        out.push(&text[end..])?;
        Ok(out.units)
    }

    /// The places of the parts of the text between matches, and of the groups of these. All together
    /// have at most `longest` code units, where each place counts as [`PART`] more.
    ///
    /// # Errors
    /// [`Trap::AllocationTooLarge`] if there would be more.
    pub(crate) fn split(&self, text: &[u16], longest: usize) -> Result<Vec<Option<Range<usize>>>> {
        let (mut parts, mut begin, mut units) = (Vec::new(), 0, 0);
        let mut separates_empty = false;
        self.each_match(text, 0, (true, false), |found| {
            let Range { start, end } = found.range();
            separates_empty = true;
            // An empty match separates nothing at the ends and after another match.
            if start >= text.len() || end == begin {
                return Ok(());
            }
            let groups = found.groups.iter().skip(1).cloned();
            for part in std::iter::once(Some(begin..start)).chain(groups) {
                units += part.as_ref().map_or(0, ExactSizeIterator::len) + PART;
                ensure!(units <= longest, Trap::AllocationTooLarge);
                parts.push(part);
            }
            begin = end;
            Ok(())
        })?;
        if text.is_empty() {
            return Ok(if separates_empty { Vec::new() } else { vec![Some(0..0)] });
        }
        parts.push(Some(begin..text.len()));
        Ok(parts)
    }
}

/// Code units, of which there is a limited number.
struct Output {
    units: Vec<u16>,
    longest: usize,
}

impl Output {
    /// # Errors
    /// [`Trap::AllocationTooLarge`] if there are too many.
    fn push(&mut self, units: &[u16]) -> Result<()> {
        ensure!(units.len() <= self.longest - self.units.len(), Trap::AllocationTooLarge);
        self.units.extend_from_slice(units);
        Ok(())
    }
}

/// Appends a replacement with the parts of a match.
///
/// # Errors
/// [`Trap::AllocationTooLarge`] if it becomes too long.
fn expand(text: &[u16], found: &Match, replacement: &[u16], out: &mut Output) -> Result<()> {
    let unit = |at: usize| replacement.get(at).and_then(|unit| char::from_u32((*unit).into()));
    let Range { start, end } = found.range();
    let mut at = 0;
    while let Some(next) = replacement.get(at) {
        let digit = |at| unit(at).and_then(|c| c.to_digit(10)).map(|digit| digit as usize);
        let group = |index: usize| (1..found.len()).contains(&index);
        let step = match (unit(at), unit(at + 1)) {
            (Some('$'), Some('$')) => {
                out.push(&['$' as u16])?;
                2
            }
            (Some('$'), Some('&')) => {
                out.push(&text[start..end])?;
                2
            }
            (Some('$'), Some('`')) => {
                out.push(&text[..start])?;
                2
            }
            (Some('$'), Some('\'')) => {
                out.push(&text[end..])?;
                2
            }
            (Some('$'), Some('<')) if !found.names.is_empty() => {
                let rest = &replacement[at + 2..];
                match rest.iter().position(|unit| *unit == '>' as u16) {
                    Some(end) => {
                        let name = String::from_utf16_lossy(&rest[..end]);
                        out.push(found.named(text, &name).unwrap_or_default())?;
                        end + 3
                    }
                    None => {
                        out.push(&[*next])?;
                        1
                    }
                }
            }
            (Some('$'), Some('0'..='9')) => {
                let one = digit(at + 1).unwrap_or(0);
                let two = digit(at + 2).map(|two| 10 * one + two);
                let index = two.filter(|two| group(*two)).map(|two| (two, 3));
                let index = index.or(group(one).then_some((one, 2)));
                match index {
                    Some((index, step)) => {
                        out.push(found.group(text, index).unwrap_or_default())?;
                        step
                    }
                    None => {
                        out.push(&[*next])?;
                        1
                    }
                }
            }
            _ => {
                out.push(&[*next])?;
                1
            }
        };
        at += step;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn new(pattern: &str, flags: &str) -> RegExp {
        RegExp::new(&units(pattern), flags).unwrap()
    }

    fn text(units: &[u16]) -> String {
        String::from_utf16_lossy(units)
    }

    #[test]
    fn matches_have_groups() {
        let found = new("(a+)(x)?", "").exec(&units("baac")).unwrap();
        assert_eq!((found.range(), found.len()), (1..3, 3));
        assert_eq!(found.groups(), [Some(1..3), Some(1..3), None]);
        assert!(new("x", "").exec(&units("abc")).is_none());
    }

    #[test]
    fn a_global_search_goes_on() {
        let regex = new("a", "g");
        let at = || regex.exec(&units("aba")).map(|found| found.range().start);
        assert_eq!((at(), at(), at(), at()), (Some(0), Some(2), None, Some(0)));
        let sticky = new("a", "y");
        assert!(sticky.exec(&units("ab")).is_some() && sticky.exec(&units("aba")).is_none());
        regex.set_last_index(usize::MAX);
        assert!(regex.exec(&units("a")).is_none());
    }

    #[test]
    fn halves_of_characters_are_no_error() {
        let lone = [0xd83d, 0x61, 0xde00];
        for flags in ["", "u", "v", "i"] {
            assert!(new("a", flags).exec(&lone).is_some(), "{flags}");
            assert!(new(".$", flags).exec(&lone).is_some(), "{flags}");
            RegExp::new(&lone, flags).unwrap();
        }
        assert_eq!(new("^.$", "u").exec(&units("😀")).unwrap().range(), 0..2);
        assert!(new("^.$", "").exec(&units("😀")).is_none());
    }

    #[test]
    fn replaced_and_split() {
        let replace = |pattern, flags, with| {
            text(&new(pattern, flags).replace(&units("aXbX"), &units(with), 99).unwrap())
        };
        assert_eq!(replace("X", "", "-"), "a-bX");
        assert_eq!(replace("X", "g", "[$&$$$1]"), "a[X$$1]b[X$$1]");
        assert_eq!(replace("(X)(b)?", "g", "<$2$1>"), "a<bX><X>");
        assert_eq!(replace("", "g", "."), ".a.X.b.X.");
        assert_eq!(replace("(?<x>X)(?<y>Y)?", "", "<$<x>$<y>$<z>$<x"), "a<X$<xbX");
        assert_eq!(replace("(X)", "", "$<x>"), "a$<x>bX");
        let split = |pattern, of: &str| -> Vec<String> {
            let (of, empty) = (units(of), 0..0);
            let parts = new(pattern, "").split(&of, 99).unwrap();
            let parts = parts.iter().map(|part| part.as_ref().unwrap_or(&empty).clone());
            parts.map(|part| text(&of[part])).collect()
        };
        assert_eq!(split(",", "a,b,"), ["a", "b", ""]);
        assert_eq!(split("", "ab"), ["a", "b"]);
        assert_eq!(split("x", ""), [""]);
        assert_eq!(split("\r?\n|\r", "a\r\nb\nc"), ["a", "b", "c"]);
        assert_eq!(split("(-)", "a-b"), ["a", "-", "b"]);
    }

    #[test]
    fn sticky_expressions_match_where_the_search_begins() {
        let replace =
            |flags, of: &str| text(&new("a", flags).replace(&units(of), &units("-"), 99).unwrap());
        assert_eq!(replace("y", "zaac"), "zaac");
        assert_eq!(replace("y", "aac"), "-ac");
        assert_eq!(replace("gy", "aaba"), "--ba");
        let sticky = new("a", "y");
        let next = || text(&sticky.replace(&units("aab"), &units("-"), 99).unwrap());
        assert_eq!([next(), next(), next()], ["-ab", "a-b", "aab"]);
    }

    #[test]
    fn characters_of_two_units_are_not_split() {
        let pair = units("😀a");
        assert_eq!(new("(?:)", "u").split(&pair, 99).unwrap().len(), 2);
        assert_eq!(new("(?:)", "").split(&pair, 99).unwrap().len(), 3);
        let replaced = new("(?:)", "gu").replace(&pair, &units("-"), 99).unwrap();
        assert_eq!(text(&replaced), "-😀-a-");
    }

    #[test]
    fn what_is_too_long_is_not_made() {
        let many = units(&"a".repeat(1000));
        let too_long = |error: anyhow::Error| {
            assert_eq!(error.downcast_ref(), Some(&Trap::AllocationTooLarge));
        };
        let amplify = units(&"$`".repeat(1_000_000));
        too_long(new("a", "g").replace(&many, &amplify, 1 << 20).unwrap_err());
        too_long(new(&"(a)?".repeat(200), "").split(&many, 1100).unwrap_err());
        assert_eq!(new("a", "g").replace(&many, &units("bb"), 2000).unwrap().len(), 2000);
        too_long(new("a", "g").replace(&many, &units("bb"), 1999).unwrap_err());
    }

    /// The expected values are those of V8.
    #[test]
    fn case_and_escapes_are_those_of_javascript() {
        for (pattern, flags, of, expected) in [
            (r"\w", "i", "ſ", false),
            (r"\W", "i", "\u{212a}", true),
            (r"[\W_]", "i", "s", false),
            (r"[\W_]", "i", "ſ", true),
            ("[a-z]", "i", "ſ", false),
            ("s", "iu", "ſ", true),
            ("å", "i", "\u{212b}", false),
            ("\u{212b}", "i", "\u{212b}", true),
            (r"\u017f", "i", "ſ", true),
            (r"^\u{3}$", "", "uuu", true),
            (r"\u{61}", "", "a", false),
            (r"\u{61}", "u", "a", true),
            (r"\ud83d\ude00", "", "😀", true),
            (r"^[\ud83d\ude00]$", "", "😀", false),
        ] {
            let found = new(pattern, flags).exec(&units(of)).is_some();
            assert_eq!(found, expected, "/{pattern}/{flags} in {of}");
        }
    }

    #[test]
    fn errors_show_the_begin_of_a_pattern() {
        let long = units(&format!("({}", "a".repeat(1 << 20)));
        for pattern in [&long[..], &long[..1000]] {
            let error = RegExp::new(pattern, "").unwrap_err().to_string();
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn invalid_expressions_are_errors() {
        for (pattern, flags) in [("(", ""), ("a", "x"), ("a", "gg"), ("[", "u"), ("a", "uv")] {
            assert!(RegExp::new(&units(pattern), flags).is_err(), "/{pattern}/{flags}");
        }
        assert!(RegExp::new(&units(&"(".repeat(100_000)), "").is_err());
    }
}
