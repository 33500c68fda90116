//! Parses text to forms. Parentheses become trees, and each tree is converted to a form of the
//! language when it is compiled.

use anyhow::{Context, Result, bail, ensure};
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC};
use cranelift_frontend::FuncInstBuilder;
use std::mem;

/// A word or a list, and its line.
pub(crate) enum Tree<'s> {
    Word(&'s str, u32),
    List(Vec<Tree<'s>>, u32),
}
use Tree::{List, Word};

/// An expression and its parts.
pub(crate) enum Form<'t> {
    Int(i32),
    Name(&'t str),
    List(&'t [Tree<'t>]),
    Cons(&'t Tree<'t>, &'t Tree<'t>),
    Operator(Operator, &'t Tree<'t>, &'t Tree<'t>),
    /// A test and its two alternatives. With names, the test is whether a list is empty; otherwise
    /// the names are bound to its head and its tail.
    If(&'t Tree<'t>, Option<[&'t str; 2]>, &'t Tree<'t>, &'t Tree<'t>),
    Function(Function<'t>),
    /// A function and its arguments.
    Call(&'t [Tree<'t>]),
}

#[derive(Clone, Copy)]
pub(crate) struct Function<'t> {
    pub(crate) name: &'t str,
    pub(crate) params: &'t [Tree<'t>],
    pub(crate) body: &'t [Tree<'t>],
    pub(crate) line: u32,
}

/// Emits an operator on two `I32`s. The result is an `I32`, or an `I8` for a comparison.
pub(crate) type Operator = fn(FuncInstBuilder<'_, '_>, Value, Value) -> Value;

pub(crate) const OPERATORS: [(&str, Operator); 7] = [
    ("+", |ins, a, b| ins.iadd(a, b)),
    ("-", |ins, a, b| ins.isub(a, b)),
    ("*", |ins, a, b| ins.imul(a, b)),
    ("/", |ins, a, b| ins.sdiv(a, b)),
    ("%", |ins, a, b| ins.srem(a, b)),
    ("=", |ins, a, b| ins.icmp(IntCC::Equal, a, b)),
    ("<", |ins, a, b| ins.icmp(IntCC::SignedLessThan, a, b)),
];

/// The special words, and what is expected where one is used wrongly.
const FORMS: [(&str, &str); 5] = [
    ("def", "an expression, because a definition has no value"),
    ("fun", "(fun (PARAMETER...) BODY...)"),
    ("if", "(if CONDITION YES NO)"),
    ("match", "(match LIST EMPTY (HEAD TAIL) NOT_EMPTY)"),
    ("cons", "(cons HEAD TAIL)"),
];

/// The maximum nesting for the compiler's recursion.
pub(crate) const MAX_DEPTH: usize = 100;

/// Parses `source` to trees.
pub(crate) fn read(source: &str) -> Result<Vec<Tree<'_>>> {
    let tokens = (1..).zip(source.lines()).flat_map(|(line, text)| {
        let code = text.split(';').next().unwrap_or("");
        code.split_whitespace().map(move |token| (token, line))
    });
    let mut trees = Vec::new();
    let mut outside = Vec::new();
    for (token, line) in tokens {
        match token {
            "(" => outside.push((mem::take(&mut trees), line)),
            ")" => {
                let Some((before, line)) = outside.pop() else {
                    bail!("line {line}: one `)` too many")
                };
                let list = List(mem::replace(&mut trees, before), line);
                trees.push(list);
            }
            word => trees.push(Word(word, line)),
        }
        ensure!(outside.len() < MAX_DEPTH, "line {line}: nested too deeply");
    }
    match outside.last() {
        Some((_, line)) => bail!("line {line}: this `(` is not closed"),
        None => Ok(trees),
    }
}

impl<'t> Tree<'t> {
    pub(crate) fn line(&self) -> u32 {
        let (Word(_, line) | List(_, line)) = self;
        *line
    }

    /// The form of the expression.
    pub(crate) fn form(&'t self) -> Result<Form<'t>> {
        let (parts, line) = match self {
            Word(word, line) => return atom(word, *line),
            List(parts, line) => (&parts[..], *line),
        };
        let operator = |word: &str| OPERATORS.iter().find(|(name, _)| *name == word);
        Ok(match parts {
            [] => Form::List(&[]),
            [Word("list", _), elements @ ..] => Form::List(elements),
            [Word("cons", _), head, tail] => Form::Cons(head, tail),
            [Word("fun", _), List(params, _), body @ ..] => {
                Form::Function(Function { name: "a function", params, body, line })
            }
            [Word("if", _), condition, yes, no] => Form::If(condition, None, yes, no),
            [Word("match", _), list, nil, List(names, _), cons]
                if let [Word(head, _), Word(tail, _)] = names[..] =>
            {
                Form::If(list, Some([head, tail]), nil, cons)
            }
            [Word(word, _), a, b] if let Some((_, op)) = operator(word) => {
                Form::Operator(*op, a, b)
            }
            [Word(word, _), ..] if operator(word).is_some() => {
                bail!("line {line}: wrong use of `{word}`: expected ({word} A B)")
            }
            [Word(word, _), ..]
                if let Some((_, form)) = FORMS.iter().find(|(name, _)| name == word) =>
            {
                bail!("line {line}: wrong use of `{word}`: expected {form}")
            }
            [_] => bail!("line {line}: a call needs an argument"),
            _ => Form::Call(parts),
        })
    }

    /// The defined name and the value.
    pub(crate) fn definition(&'t self) -> Result<(&'t str, Form<'t>)> {
        let line = self.line();
        if let List(parts, _) = self
            && let [Word("def", _), what, body @ ..] = &parts[..]
        {
            match what {
                Word(name, _) if let [value] = body => return Ok((name, value.form()?)),
                List(head, _) if let [Word(name, _), params @ ..] = &head[..] => {
                    return Ok((name, Form::Function(Function { name, params, body, line })));
                }
                _ => {}
            }
        }
        bail!("line {line}: expected (def NAME VALUE) or (def (NAME PARAMETER...) BODY...)")
    }
}

fn atom(word: &str, line: u32) -> Result<Form<'_>> {
    if !word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(Form::Name(word));
    }
    let value = word.parse().ok().filter(|value| (-1 << 30..1 << 30).contains(value));
    value.map(Form::Int).with_context(|| format!("line {line}: `{word}` has over 31 bits"))
}
