//! Text to trees: words, strings and lists, each with its line.

use anyhow::{Context as _, Result, ensure};
use std::fmt;

/// A part of a program, and its line.
pub(crate) enum Tree<'s> {
    /// A name, an integer, or a symbol after `'`.
    Word(&'s str, u32),
    /// A string, without its quotes.
    Text(String, u32),
    List(Vec<Tree<'s>>, u32),
}

impl Tree<'_> {
    pub(crate) fn line(&self) -> u32 {
        let (Tree::Word(_, line) | Tree::Text(_, line) | Tree::List(_, line)) = self;
        *line
    }
}

/// The error for a text that ends too early. The rest may follow.
#[derive(Debug)]
pub struct Unclosed {
    line: u32,
    what: char,
}

impl fmt::Display for Unclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: this `{}` is not closed", self.line, self.what)
    }
}

impl std::error::Error for Unclosed {}

/// The maximum nesting, for the compiler's recursion.
pub(crate) const MAX_DEPTH: usize = 100;

/// Parses `source`.
pub(crate) fn read(source: &str) -> Result<Vec<Tree<'_>>> {
    let (mut rest, mut line) = (source, 1);
    let (mut trees, mut outside) = (Vec::new(), Vec::new());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ';' => rest.find('\n').unwrap_or(rest.len()),
            '"' => {
                let (text, length) = text(&rest[1..]).ok_or(Unclosed { line, what: '"' })?;
                trees.push(Tree::Text(text, line));
                length + 1
            }
            '(' => {
                ensure!(outside.len() < MAX_DEPTH, "line {line}: nested too deeply");
                outside.push((std::mem::take(&mut trees), line));
                1
            }
            ')' => {
                let last = outside.pop();
                let (before, line) =
                    last.with_context(|| format!("line {line}: one `)` too many"))?;
                let list = Tree::List(std::mem::replace(&mut trees, before), line);
                trees.push(list);
                1
            }
            space if space.is_whitespace() => space.len_utf8(),
            _ => {
                let ends = |c: char| c.is_whitespace() || "();\"".contains(c);
                let length = rest.find(ends).unwrap_or(rest.len());
                trees.push(Tree::Word(&rest[..length], line));
                length
            }
        };
        line += rest[..length].matches('\n').count() as u32;
        rest = &rest[length..];
    }
    match outside.pop() {
        Some((_, line)) => Err(Unclosed { line, what: '(' }.into()),
        None => Ok(trees),
    }
}

/// Checks that a text has whole forms.
///
/// # Errors
/// If it does not. The error is an [`Unclosed`] if the text ends too early.
pub fn check(source: &str) -> Result<()> {
    read(source).map(drop)
}

/// The string at the start of `source`, up to its closing quote, and the number of bytes with the quote.
fn text(source: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = source.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((text, at + 1)),
            (_, '\\') => text.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => text.push(other),
        }
    }
}
