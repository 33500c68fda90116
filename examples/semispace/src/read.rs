//! Reads programs: text to expressions.

use anyhow::{Result, bail, ensure};

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// An integer of 62 bits.
    Number(i64),
    /// The empty list.
    Nil,
    /// A parameter, or a name of a `let`.
    Name(String),
    /// `(let NAME VALUE BODY)`.
    Let(String, Box<Expression>, Box<Expression>),
    /// `(if CONDITION THEN ELSE)`.
    If(Box<[Expression; 3]>),
    /// A call of a function, or an operation.
    Call(String, Vec<Expression>),
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The names of its parameters.
    pub params: Vec<String>,
    /// What it returns. `None` if another object has the function.
    pub body: Option<Expression>,
}

/// A parenthesis, or a word.
#[derive(Debug)]
enum Tree {
    Word(String),
    List(Vec<Tree>),
}

/// Reads the functions of a program. A comment begins with `;` and ends with its line.
///
/// # Errors
/// If the text is no program. The error says where.
pub fn read(text: &str) -> Result<Vec<Function>> {
    let mut open: Vec<(usize, Vec<Tree>)> = vec![(0, Vec::new())];
    for (line, text) in text.lines().enumerate() {
        let code = text.split(';').next().unwrap_or_default();
        let code = code.replace('(', " ( ").replace(')', " ) ");
        for word in code.split_whitespace() {
            match word {
                "(" => open.push((line + 1, Vec::new())),
                ")" => {
                    let Some((_, list)) = open.pop().filter(|_| !open.is_empty()) else {
                        bail!("line {}: a `)` too many", line + 1)
                    };
                    open.last_mut().expect("the outermost one").1.push(Tree::List(list));
                }
                word => open.last_mut().expect("the outermost one").1.push(Tree::Word(word.into())),
            }
        }
    }
    let (line, trees) = open.pop().expect("the outermost one");
    ensure!(open.is_empty(), "line {line}: a `(` without its `)`");
    trees.iter().map(function).collect()
}

fn function(tree: &Tree) -> Result<Function> {
    if let Tree::List(list) = tree
        && let [Tree::Word(form), Tree::List(head), rest @ ..] = &list[..]
        && let Some(words) = head.iter().map(word).collect::<Option<Vec<_>>>()
        && let Some((name, params)) = words.split_first()
    {
        let body = match (&form[..], rest) {
            ("define", [body]) => Some(Some(expression(body)?)),
            ("declare", []) => Some(None),
            _ => None,
        };
        if let Some(body) = body {
            return Ok(Function { name: name.clone(), params: params.to_vec(), body });
        }
    }
    bail!("expected (define (NAME PARAMETER ...) EXPRESSION), found {}", show(tree))
}

fn word(tree: &Tree) -> Option<String> {
    match tree {
        Tree::Word(word) => Some(word.clone()),
        Tree::List(_) => None,
    }
}

fn expression(tree: &Tree) -> Result<Expression> {
    let list = match tree {
        Tree::Word(word) if word == "nil" => return Ok(Expression::Nil),
        Tree::Word(word) => {
            let Ok(number) = word.parse::<i64>() else { return Ok(Expression::Name(word.clone())) };
            ensure!(number << 2 >> 2 == number, "{number} has more than 62 bits");
            return Ok(Expression::Number(number));
        }
        Tree::List(list) => list,
    };
    let Some((Tree::Word(operator), arguments)) = list.split_first() else {
        bail!("a list begins with a word, but this does not: {}", show(tree))
    };
    match (&operator[..], arguments) {
        ("let", [Tree::Word(name), value, body]) => Ok(Expression::Let(
            name.clone(),
            Box::new(expression(value)?),
            Box::new(expression(body)?),
        )),
        ("if", [condition, then, otherwise]) => {
            let parts = [expression(condition)?, expression(then)?, expression(otherwise)?];
            Ok(Expression::If(Box::new(parts)))
        }
        ("let" | "if" | "define" | "declare", _) => {
            bail!("not a form of the language: {}", show(tree))
        }
        _ => {
            let arguments = arguments.iter().map(expression).collect::<Result<_>>()?;
            Ok(Expression::Call(operator.clone(), arguments))
        }
    }
}

fn show(tree: &Tree) -> String {
    match tree {
        Tree::Word(word) => word.clone(),
        Tree::List(list) => format!("({})", list.iter().map(show).collect::<Vec<_>>().join(" ")),
    }
}
