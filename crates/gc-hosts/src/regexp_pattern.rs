//! Patterns of regular expressions: what the crate `regress` reads otherwise than JavaScript, and how
//! long a search may take.

/// How many ways a search has to match a pattern. The figures are upper bounds: brackets and escapes
/// are not looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The length of the pattern.
    length: u64,
    /// Groups, alternatives and repetitions.
    operators: u64,
    /// Alternatives and optional parts.
    choices: u64,
    /// Repetitions of a character, and references to groups. Each can have any length.
    repetitions: u64,
    /// Whether a group is repeated.
    repeats_groups: bool,
    /// The number of times that a group is repeated at least.
    minimum: u64,
}

/// Bytes of an entry of the stack of a search, while the stack grows.
const ENTRY: u64 = 128;

impl Shape {
    pub(crate) fn of(pattern: &[u16]) -> Shape {
        let unit = |at: usize| pattern.get(at).and_then(|unit| char::from_u32((*unit).into()));
        let mut shape = Shape { length: pattern.len() as u64, minimum: 1, ..Shape::default() };
        // The largest number of repetitions in each open group.
        let mut open = vec![1u64];
        let (mut at, mut closed) = (0, None);
        while at < pattern.len() {
            let group = closed.take();
            let mut next = at + 1;
            match unit(at) {
                Some('\\') => {
                    next += 1;
                    if matches!(unit(at + 1), Some('1'..='9' | 'k')) {
                        shape.repetitions += 1;
                    }
                }
                Some('[') => next = end_of_class(pattern, at),
                Some('(') => {
                    shape.operators += 1;
                    open.push(1);
                    if unit(at + 1) == Some('?') {
                        next += 1;
                    }
                }
                Some(')') => {
                    let inner = if open.len() > 1 { open.pop().unwrap_or(1) } else { 1 };
                    closed = Some(inner);
                    let outer = open.last_mut();
                    outer.into_iter().for_each(|outer| *outer = inner.max(*outer));
                }
                Some('|' | '?') => {
                    shape.operators += 1;
                    shape.choices += 1;
                }
                Some(c @ ('*' | '+' | '{')) => {
                    shape.operators += 1;
                    match group {
                        Some(inner) => {
                            shape.repeats_groups = true;
                            let times = if c == '{' { times(&pattern[next..]).0 } else { 1 };
                            let times = inner.saturating_mul(times.max(1));
                            let outer = open.last_mut();
                            outer.into_iter().for_each(|outer| *outer = times.max(*outer));
                        }
                        None => match (c, times(&pattern[next..])) {
                            ('{', (least, Some(most))) => {
                                shape.choices +=
                                    u64::from(most.saturating_sub(least).max(1).ilog2());
                            }
                            _ => shape.repetitions += 1,
                        },
                    }
                }
                _ => {}
            }
            at = next;
        }
        shape.minimum = open.into_iter().max().unwrap_or(1);
        shape
    }

    /// The number of steps of a search in a text of this length.
    pub(crate) fn steps(&self, length: usize) -> u64 {
        let (length, repetitions) = (length as f64 + 1.0, self.repetitions as f64 + 1.0);
        // A way to match is a list of places, one after the other: there are `l^r / r!` of them.
        let ways = repetitions * (length.log2() - repetitions.log2() + 1.5).max(1.0);
        let mut steps = ways + self.choices as f64 + (self.length as f64 + 1.0).log2();
        if self.repeats_groups {
            // Each repetition has all choices again. A step takes longer, too.
            let times = length + self.minimum as f64;
            steps += times * (self.choices as f64 + repetitions) + 4.0;
        }
        if steps < 63.0 { 1 << steps as u32 } else { u64::MAX }
    }

    /// Bytes of the stack of a search in a text of this length.
    pub(crate) fn stack(&self, length: usize) -> u64 {
        let times = match self.repeats_groups {
            true => (length as u64).saturating_add(1).saturating_mul(self.minimum),
            false => 1,
        };
        times.saturating_mul(self.operators + 2).saturating_mul(ENTRY)
    }
}

/// The place after the class that begins at `at`.
fn end_of_class(pattern: &[u16], at: usize) -> usize {
    let mut next = at + 1;
    while let Some(unit) = pattern.get(next) {
        match char::from_u32((*unit).into()) {
            Some('\\') => next += 2,
            Some(']') => return next + 1,
            _ => next += 1,
        }
    }
    next
}

/// The least and the largest number in `{2}`, `{2,}` or `{2,3}`, from after the brace.
fn times(units: &[u16]) -> (u64, Option<u64>) {
    let unit = |at: usize| units.get(at).and_then(|unit| char::from_u32((*unit).into()));
    let number = |from: usize| {
        let digits = (from..).map_while(|at| unit(at)?.to_digit(10));
        digits.fold((0u64, from), |(number, at), digit| {
            (number.saturating_mul(10).saturating_add(digit.into()), at + 1)
        })
    };
    let (least, at) = number(0);
    match (unit(at), unit(at + 1)) {
        (Some('}'), _) => (least, Some(least)),
        (Some(','), Some('0'..='9')) => (least, Some(number(at + 1).0)),
        _ => (least, None),
    }
}

/// Characters that have another case in Unicode, but not in JavaScript's expressions without the
/// flag `u`, and characters without case that stand for them there.
const CASES: [(u16, u16); 7] = [
    (0x017f, 0x0149),
    (0x1e9e, 0x1e9f),
    (0x1fd3, 0x1fcd),
    (0x1fe3, 0x1fdd),
    (0x2126, 0x2127),
    (0x212a, 0x2129),
    (0x212b, 0x2125),
];

/// The code unit that stands for this one if case is ignored without the flag `u`.
pub(crate) fn without_case(unit: u16) -> u16 {
    let case = CASES.iter().find(|(from, _)| *from == unit);
    case.map_or(unit, |(_, to)| *to)
}

/// `\W` as a part of a class, without the characters of [`CASES`] that have a case in ASCII.
const NO_WORD: &str = r"\x00-\/:-@\[-\^`{-\u017e\u0180-\u2129\u212b-\uffff";

/// A pattern without the flags `u` and `v`, as `regress` must read it.
pub(crate) fn translate(pattern: &[u16], ignores_case: bool) -> Vec<u16> {
    let mut out = Vec::with_capacity(pattern.len());
    let (mut rest, mut class) = (pattern, false);
    while let [unit, next @ ..] = rest {
        rest = next;
        match (char::from_u32((*unit).into()), next) {
            (Some('\\'), [escaped, after @ ..]) => {
                rest = after;
                match char::from_u32((*escaped).into()) {
                    // `\u{…}` is an escape with the flag `u` only.
                    Some('u') if after.first() == Some(&u16::from(b'{')) => out.push(*escaped),
                    Some('u') => match hexadecimal(after) {
                        // Two halves are two characters.
                        Some(half) if (0xd800..0xe000).contains(&half) => {
                            out.push(half);
                            rest = &after[4..];
                        }
                        Some(unit) if ignores_case && without_case(unit) != unit => {
                            out.push(without_case(unit));
                            rest = &after[4..];
                        }
                        _ => out.extend([*unit, *escaped]),
                    },
                    Some('W') if class && ignores_case => out.extend(NO_WORD.encode_utf16()),
                    _ => out.extend([*unit, *escaped]),
                }
                continue;
            }
            (Some('['), _) => class = true,
            (Some(']'), _) => class = false,
            _ => {}
        }
        out.push(if ignores_case { without_case(*unit) } else { *unit });
    }
    out
}

/// The number that four digits are.
fn hexadecimal(units: &[u16]) -> Option<u16> {
    units.get(..4)?.iter().try_fold(0, |number, unit| {
        let digit = char::from_u32((*unit).into())?.to_digit(16)?;
        Some(number << 4 | digit as u16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::LONG;

    fn shape(pattern: &str) -> Shape {
        Shape::of(&pattern.encode_utf16().collect::<Vec<_>>())
    }

    #[test]
    fn dangerous_patterns_are_seen() {
        for pattern in ["(a+)+b", "(?:a|aa)*$", "(a|b?){30}", "(.*)(.*)(.*)(.*)x", r"(.*)\1\1\1x"] {
            assert!(shape(pattern).steps(200) >= LONG, "{pattern}");
        }
        for pattern in
            ["[0-9]+", r"^\s*[+-]?\d+\s*$", "a,b", "[(*+]+", r"^\d{1,3}\.\d{1,3}\.\d{4}$"]
        {
            assert!(shape(pattern).steps(64) < LONG, "{pattern}");
        }
        assert!(shape("(a+)+b").steps(4) < LONG);
        assert!(shape("(?:()){1000000000}").stack(0) > 1 << 36);
        assert!(shape("(?:(?:a?){1000}){1000}").stack(0) > 1 << 26);
        assert!(shape("[a-z]{1000000}x").stack(1 << 20) < 1 << 20);
        assert!(shape(r"(?:[^\\]|\\.)*").stack(1 << 16) < 1 << 26);
    }

    #[test]
    fn patterns_without_unicode_are_translated() {
        for (pattern, ignores_case, expected) in [
            (r"\u{61}\x41", false, r"u{61}\x41"),
            (r"\\u{2}", false, r"\\u{2}"),
            (r"\u0041[\W]\W", false, r"\u0041[\W]\W"),
            ("\u{212a}\\u017f", true, "\u{2129}\u{149}"),
        ] {
            let pattern: Vec<u16> = pattern.encode_utf16().collect();
            let translated = String::from_utf16(&translate(&pattern, ignores_case)).unwrap();
            assert_eq!(translated, expected);
        }
        let halves: Vec<u16> = r"\ud83d\ude00".encode_utf16().collect();
        assert_eq!(translate(&halves, false), [0xd83d, 0xde00]);
        for text in ["", "\\", "\\u", "[", "\\u12"] {
            let units: Vec<u16> = text.encode_utf16().collect();
            assert_eq!(translate(&units, true), units);
        }
    }
}
