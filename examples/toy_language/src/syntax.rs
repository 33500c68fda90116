//! From text to [`Expr`]: a lexer and a parser by recursive descent, with precedence
//! climbing for operators.

use anyhow::{Result, bail, ensure};

/// An expression, with the line it begins on where something can go wrong at run time.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Int(i32),
    Nil,
    Var(String, u32),
    Binary(Op, Box<Expr>, Box<Expr>, u32),
    Cons(Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>, u32),
    Let(String, Box<Expr>, Box<Expr>),
    Fun(Fun),
    Call(Box<Expr>, Box<Expr>, u32),
    Match {
        list: Box<Expr>,
        nil: Box<Expr>,
        head: String,
        tail: String,
        cons: Box<Expr>,
        line: u32,
    },
    Print(Box<Expr>),
    Seq(Box<Expr>, Box<Expr>),
}

/// A function of one parameter.
#[derive(Clone, Debug)]
pub(crate) struct Fun {
    /// The name it was bound to, by which a recursive one calls itself.
    pub(crate) name: Option<String>,
    pub(crate) is_recursive: bool,
    pub(crate) param: String,
    pub(crate) body: Box<Expr>,
    pub(crate) line: u32,
}

/// An operator on integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Int(i32),
    Name(String),
    /// A keyword, an operator or a bracket.
    Symbol(&'static str),
    End,
}

const KEYWORDS: [&str; 11] =
    ["let", "rec", "in", "fun", "if", "then", "else", "match", "with", "print", "_"];
/// Longer ones first.
const SYMBOLS: [&str; 23] = [
    "->", "::", "<>", "<=", ">=", "&&", "||", "(", ")", "[", "]", ",", ";", "|", "=", "<", ">",
    "+", "-", "*", "/", "%", ".",
];

/// Operators between operands, how tightly they bind, and what they compute if that is
/// an operation on integers.
const OPERATORS: [(&str, u32, Option<Op>); 14] = [
    ("||", 0, None),
    ("&&", 1, None),
    ("=", 2, Some(Op::Eq)),
    ("<>", 2, Some(Op::Ne)),
    ("<", 2, Some(Op::Lt)),
    ("<=", 2, Some(Op::Le)),
    (">", 2, Some(Op::Gt)),
    (">=", 2, Some(Op::Ge)),
    ("::", 3, None),
    ("+", 4, Some(Op::Add)),
    ("-", 4, Some(Op::Sub)),
    ("*", 5, Some(Op::Mul)),
    ("/", 5, Some(Op::Div)),
    ("%", 5, Some(Op::Rem)),
];

fn lex(source: &str) -> Result<Vec<(Token, u32)>> {
    let mut tokens = Vec::new();
    for (number, text) in source.lines().enumerate() {
        let line = number as u32 + 1;
        let mut rest = text.split('#').next().unwrap_or("").trim_start();
        while let Some(first) = rest.chars().next() {
            let word =
                |accept: fn(char) -> bool| rest.find(|c: char| !accept(c)).unwrap_or(rest.len());
            let (token, length) = if first.is_ascii_digit() {
                let length = word(|c| c.is_ascii_digit());
                match rest[..length].parse() {
                    Ok(value) if value < 1 << 30 => (Token::Int(value), length),
                    _ => bail!("line {line}: {} needs more than 31 bits", &rest[..length]),
                }
            } else if first.is_alphabetic() || first == '_' {
                let length = word(|c| c.is_alphanumeric() || c == '_' || c == '\'');
                let name = &rest[..length];
                match KEYWORDS.iter().find(|k| **k == name) {
                    Some(&"_") => (Token::Name("_".into()), length),
                    Some(keyword) => (Token::Symbol(keyword), length),
                    None => (Token::Name(name.into()), length),
                }
            } else if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
                (Token::Symbol(symbol), symbol.len())
            } else {
                bail!("line {line}: what is `{first}`?");
            };
            tokens.push((token, line));
            rest = rest[length..].trim_start();
        }
    }
    tokens.push((Token::End, source.lines().count() as u32));
    Ok(tokens)
}

/// Parses a program: one expression.
///
/// # Errors
/// The first mistake, with its line.
pub(crate) fn parse(source: &str) -> Result<Expr> {
    let mut parser = Parser { tokens: lex(source)?, next: 0, depth: 0 };
    let program = parser.sequence()?;
    match parser.peek() {
        Token::End => Ok(program),
        _ => Err(parser.unexpected("the end")),
    }
}

struct Parser {
    tokens: Vec<(Token, u32)>,
    next: usize,
    depth: u32,
}

/// Nesting that the parser and code generator can recurse into.
const MAX_DEPTH: u32 = 200;

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn line(&self) -> u32 {
        self.tokens[self.next].1
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(s) if *s == symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.eat(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> anyhow::Error {
        let found = match self.peek() {
            Token::Int(value) => format!("`{value}`"),
            Token::Name(name) => format!("`{name}`"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::End => "the end".into(),
        };
        anyhow::anyhow!("line {}: expected {wanted}, found {found}", self.line())
    }

    fn name(&mut self) -> Result<String> {
        match self.peek() {
            Token::Name(_) => {
                let Token::Name(name) = self.advance() else { unreachable!() };
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn sequence(&mut self) -> Result<Expr> {
        let first = self.expr()?;
        if self.eat(";") {
            return Ok(Expr::Seq(Box::new(first), Box::new(self.sequence()?)));
        }
        Ok(first)
    }

    fn expr(&mut self) -> Result<Expr> {
        self.depth += 1;
        ensure!(self.depth < MAX_DEPTH, "line {}: nested too deeply", self.line());
        let line = self.line();
        let result = if self.eat("let") {
            self.binding(line)
        } else if self.eat("fun") {
            self.function(None, false, "->", line)
        } else if self.eat("if") {
            let condition = Box::new(self.expr()?);
            self.expect("then")?;
            let yes = Box::new(self.expr()?);
            self.expect("else")?;
            Ok(Expr::If(condition, yes, Box::new(self.expr()?), line))
        } else if self.eat("match") {
            self.list_match(line)
        } else if self.eat("print") {
            Ok(Expr::Print(Box::new(self.expr()?)))
        } else {
            self.operators(0)
        };
        self.depth -= 1;
        result
    }

    fn binding(&mut self, line: u32) -> Result<Expr> {
        let is_recursive = self.eat("rec");
        let name = self.name()?;
        let value = if matches!(self.peek(), Token::Name(_)) {
            self.function(Some(name.clone()), is_recursive, "=", line)?
        } else {
            ensure!(!is_recursive, "line {line}: only functions can be recursive");
            self.expect("=")?;
            self.expr()?
        };
        self.expect("in")?;
        Ok(Expr::Let(name, Box::new(value), Box::new(self.sequence()?)))
    }

    /// Parameters, `separator`, a body: a function of the first parameter that returns
    /// one of the second, and so on.
    fn function(
        &mut self,
        name: Option<String>,
        is_recursive: bool,
        separator: &str,
        line: u32,
    ) -> Result<Expr> {
        let param = self.name()?;
        let body = match self.peek() {
            Token::Name(_) => self.function(name.clone(), false, separator, line)?,
            _ => {
                self.expect(separator)?;
                self.expr()?
            }
        };
        Ok(Expr::Fun(Fun { name, is_recursive, param, body: Box::new(body), line }))
    }

    fn list_match(&mut self, line: u32) -> Result<Expr> {
        let list = Box::new(self.expr()?);
        self.expect("with")?;
        self.eat("|");
        self.expect("[")?;
        self.expect("]")?;
        self.expect("->")?;
        let nil = Box::new(self.expr()?);
        self.expect("|")?;
        let head = self.name()?;
        self.expect("::")?;
        let tail = self.name()?;
        self.expect("->")?;
        let cons = Box::new(self.expr()?);
        Ok(Expr::Match { list, nil, head, tail, cons, line })
    }

    /// Operators that bind at least as tightly as `least` (precedence climbing: Richards
    /// and Whitby-Strevens, "BCPL: The Language and its Compiler", 1979).
    fn operators(&mut self, least: u32) -> Result<Expr> {
        let mut left = self.application()?;
        loop {
            let line = self.line();
            let Token::Symbol(symbol) = *self.peek() else { return Ok(left) };
            let Some((_, precedence, op)) = OPERATORS.iter().find(|(s, ..)| *s == symbol) else {
                return Ok(left);
            };
            if *precedence < least {
                return Ok(left);
            }
            self.advance();
            // `::` is right-associative, everything else left-associative.
            let right = self.operators(precedence + u32::from(symbol != "::"))?;
            let (a, b) = (Box::new(left), Box::new(right));
            left = match (op, symbol) {
                (Some(op), _) => Expr::Binary(*op, a, b, line),
                (None, "::") => Expr::Cons(a, b),
                (None, "&&") => Expr::If(a, b, Box::new(Expr::Int(0)), line),
                (None, _) => Expr::If(a, Box::new(Expr::Int(1)), b, line),
            };
        }
    }

    fn application(&mut self) -> Result<Expr> {
        let line = self.line();
        if self.eat("-") {
            let operand = self.application()?;
            return Ok(Expr::Binary(Op::Sub, Box::new(Expr::Int(0)), Box::new(operand), line));
        }
        let mut function = self.atom()?;
        while matches!(self.peek(), Token::Int(_) | Token::Name(_) | Token::Symbol("(" | "[")) {
            let line = self.line();
            function = Expr::Call(Box::new(function), Box::new(self.atom()?), line);
        }
        Ok(function)
    }

    fn atom(&mut self) -> Result<Expr> {
        let line = self.line();
        if self.eat("(") {
            let inner = self.sequence()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat("[") {
            let mut elements = Vec::new();
            while !self.eat("]") {
                if !elements.is_empty() {
                    self.expect(",")?;
                }
                elements.push(self.expr()?);
            }
            let cons = |tail, head| Expr::Cons(Box::new(head), Box::new(tail));
            return Ok(elements.into_iter().rev().fold(Expr::Nil, cons));
        }
        match self.peek() {
            Token::Int(_) | Token::Name(_) => Ok(match self.advance() {
                Token::Int(value) => Expr::Int(value),
                Token::Name(name) => Expr::Var(name, line),
                _ => unreachable!(),
            }),
            _ => Err(self.unexpected("an expression")),
        }
    }
}
