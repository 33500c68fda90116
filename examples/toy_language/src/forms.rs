//! The words of the language, and what definitions and functions consist of.

use crate::reader::Tree;
use Tree::{List, Word};
use anyhow::{Result, bail, ensure};

/// The words with a meaning of their own, and how they are used. They cannot be defined.
const WORDS: [(&str, &str); 30] = [
    ("def", "(def NAME VALUE) or (def (NAME PARAMETER...) FORM...), in a body"),
    ("fun", "(fun (PARAMETER...) FORM...)"),
    ("if", "(if TEST YES NO)"),
    ("match", "(match LIST EMPTY (HEAD TAIL) NOT_EMPTY)"),
    ("do", "(do FORM...)"),
    ("while", "(while TEST FORM...)"),
    ("set", "(set NAME VALUE)"),
    ("try", "(try FORM (NAME HANDLER))"),
    ("throw", "(throw VALUE)"),
    ("list", "(list VALUE...)"),
    ("vector", "(vector VALUE...)"),
    ("cons", "(cons HEAD TAIL)"),
    ("+", "(+ A B)"),
    ("-", "(- A B)"),
    ("*", "(* A B)"),
    ("/", "(/ A B)"),
    ("%", "(% A B)"),
    ("<", "(< A B)"),
    ("=", "(= A B)"),
    ("not", "(not VALUE)"),
    ("int?", "(int? VALUE)"),
    ("pair?", "(pair? VALUE)"),
    ("string?", "(string? VALUE)"),
    ("symbol?", "(symbol? VALUE)"),
    ("new-vector", "(new-vector SIZE VALUE)"),
    ("size", "(size VECTOR_OR_STRING)"),
    ("get", "(get VECTOR INDEX)"),
    ("put", "(put VECTOR INDEX VALUE)"),
    ("byte", "(byte STRING INDEX)"),
    ("join", "(join STRING STRING)"),
];

/// The error for a form that begins with one of these words and does not go on as it must.
pub(crate) fn wrong_use(word: &str, line: u32) -> anyhow::Error {
    let usage =
        WORDS.iter().find(|(name, _)| *name == word).map_or("another form", |(_, usage)| usage);
    anyhow::anyhow!("line {line}: wrong use of `{word}`: expected {usage}")
}

/// Whether a list is the call of a function.
pub(crate) fn is_call(parts: &[Tree<'_>]) -> bool {
    match parts {
        [] => false,
        [Word(first, _), ..] => !WORDS.iter().any(|(word, _)| word == first),
        _ => true,
    }
}

/// The name that is defined here.
pub(crate) fn name<'t>(tree: &'t Tree<'t>) -> Result<&'t str> {
    let line = tree.line();
    let Word(name, _) = tree else { bail!("line {line}: a name is expected") };
    let is_name =
        !name.trim_start_matches('-').starts_with(|c: char| c == '\'' || c.is_ascii_digit());
    ensure!(is_name, "line {line}: a name is expected, not `{name}`");
    ensure!(
        !WORDS.iter().any(|(word, _)| word == name),
        "line {line}: `{name}` is a word of the language, so it cannot be defined"
    );
    Ok(name)
}

/// A function of a program.
pub(crate) struct Lambda<'t> {
    pub(crate) name: &'t str,
    pub(crate) params: Vec<&'t str>,
    pub(crate) body: &'t [Tree<'t>],
    pub(crate) line: u32,
}

impl<'t> Lambda<'t> {
    pub(crate) fn new(
        name: &'t str,
        params: &'t [Tree<'t>],
        body: &'t [Tree<'t>],
        line: u32,
    ) -> Result<Lambda<'t>> {
        let params = params.iter().map(self::name).collect::<Result<Vec<_>>>()?;
        ensure!(params.len() <= 100, "line {line}: a function has at most 100 parameters");
        Ok(Lambda { name, params, body, line })
    }
}

pub(crate) enum Definition<'t> {
    Variable(&'t str, &'t Tree<'t>),
    Function(Lambda<'t>),
}

/// What a form defines, if it is a definition.
pub(crate) fn definition<'t>(form: &'t Tree<'t>) -> Result<Option<Definition<'t>>> {
    let List(parts, line) = form else { return Ok(None) };
    Ok(match &parts[..] {
        [Word("def", _), List(head, _), body @ ..] if let [first, params @ ..] = &head[..] => {
            Some(Definition::Function(Lambda::new(name(first)?, params, body, *line)?))
        }
        [Word("def", _), first, value] => Some(Definition::Variable(name(first)?, value)),
        [Word("def", _), ..] => return Err(wrong_use("def", *line)),
        _ => None,
    })
}
