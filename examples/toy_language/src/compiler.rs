//! Compiles a form of a program in one pass. All accesses to the heap use `gc_engine`, so nothing here
//! depends on the collector.

use crate::builtins::{Built, is_test};
use crate::forms::{Definition, Lambda, definition, is_call, name, wrong_use};
use crate::reader::Tree;
use crate::types::{Types, params};
use crate::variables::{Local, define};
use anyhow::{Context as _, Result};
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC};
use gc_engine::{Body, Control, Engine, FunctionHandle, Module, Type, Variable};
use std::collections::HashMap;
use std::rc::Rc;

/// What the names stand for that are defined outside of all functions.
pub(crate) type Names = HashMap<String, Named>;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Named {
    Variable,
    /// A function with this number of arguments.
    Function(usize),
}

/// The name in the store of a function with this number of arguments.
pub(crate) fn full_name(name: &str, arguments: usize) -> String {
    format!("{name}/{arguments}")
}

/// A form that was compiled.
pub(crate) struct Compiled {
    /// A module with one function: the one that the form defines, or one that computes the form's value.
    pub(crate) module: Module,
    /// The name that the form defines.
    pub(crate) defines: Option<(String, Named)>,
}

/// Compiles a form: the definition of a function to this function, and others to one named `title`.
pub(crate) fn compile<'t>(
    engine: &Engine,
    names: &'t Names,
    form: &'t Tree<'t>,
    title: &str,
) -> Result<Compiled> {
    let mut module = Module::new(engine);
    let mut unit = Unit { types: Rc::new(Types::new(&mut module)?), names, own: None };
    let mut defines = None;
    match definition(form)? {
        Some(Definition::Function(lambda)) => {
            let count = lambda.params.len();
            defines = Some((lambda.name.to_owned(), Named::Function(count)));
            let handle =
                module.declare(&full_name(lambda.name, count), params(count), [Type::Ref])?;
            unit.own = Some((lambda.name, handle.clone()));
            define(&mut module, &mut unit, &handle, &[], &lambda.params, |function| {
                function.body(lambda.body, lambda.line)
            })?;
        }
        Some(Definition::Variable(name, value)) => {
            defines = Some((name.to_owned(), Named::Variable));
            let handle = module.declare(title, params(0), [Type::Ref])?;
            define(&mut module, &mut unit, &handle, &[], &[], |function| {
                let value = function.value(value)?;
                let global = function.f.module().global(name, Type::Ref)?;
                function.f.global_set(&global, value);
                function.end(value, End::Return)
            })?;
        }
        None => {
            let handle = module.declare(title, params(0), [Type::Ref])?;
            define(&mut module, &mut unit, &handle, &[], &[], |function| {
                function.finish(form, End::Return)
            })?;
        }
    }
    Ok(Compiled { module, defines })
}

/// What the functions of a form share.
pub(crate) struct Unit<'n> {
    types: Rc<Types>,
    names: &'n Names,
    /// The function that the form defines.
    pub(crate) own: Option<(&'n str, FunctionHandle)>,
}

impl Unit<'_> {
    /// What a name stands for that no function around it has as a variable.
    pub(crate) fn find(&self, name: &str) -> Option<Named> {
        match &self.own {
            Some((own, handle)) if *own == name => {
                Some(Named::Function(handle.signature().params().len() - 1))
            }
            _ => self.names.get(name).copied(),
        }
    }
}

/// A function that is being compiled.
pub(crate) struct Function<'a, 'm, 'b, 't> {
    pub(crate) f: &'a mut Body<'m, 'b>,
    pub(crate) unit: &'a mut Unit<'t>,
    /// Its variables, the innermost last.
    pub(crate) locals: Vec<Local<'t>>,
    /// The variables of the functions around it.
    pub(crate) outside: Vec<&'t str>,
    /// Those of them that it uses.
    pub(crate) captured: Vec<&'t str>,
}

/// What becomes of a form's value.
#[derive(Clone, Copy)]
enum End {
    /// The function returns it. A call is a tail call, which uses no stack.
    Return,
    Set(Variable),
}

// ANCHOR: control
impl<'m, 'b> Control<'m, 'b> for Function<'_, 'm, 'b, '_> {
    fn body(&mut self) -> &mut Body<'m, 'b> {
        self.f
    }
}
// ANCHOR_END: control

impl<'t> Function<'_, '_, '_, 't> {
    pub(crate) fn types(&self) -> Rc<Types> {
        self.unit.types.clone()
    }

    /// Emits forms of which the last has the value that the function returns.
    pub(crate) fn body(&mut self, forms: &'t [Tree<'t>], line: u32) -> Result<()> {
        let last = self.all_but_last(forms, line)?;
        self.finish(last, End::Return)
    }

    fn all_but_last(&mut self, forms: &'t [Tree<'t>], line: u32) -> Result<&'t Tree<'t>> {
        let parts = forms.split_last();
        let (last, first) =
            parts.with_context(|| format!("line {line}: an expression is missing"))?;
        for form in first {
            match definition(form)? {
                None => drop(self.value(form)?),
                Some(Definition::Variable(name, value)) => {
                    let value = self.value(value)?;
                    self.bind(name, value);
                }
                Some(Definition::Function(lambda)) => {
                    let name = lambda.name;
                    let closure = self.closure(&lambda, Some(name))?;
                    self.bind(name, closure);
                }
            }
        }
        Ok(last)
    }

    fn end(&mut self, value: Value, end: End) -> Result<()> {
        match end {
            End::Return => self.f.ret(&[value]),
            End::Set(variable) => self.f.set(variable, value),
        }
        Ok(())
    }

    /// Emits a form whose value ends as `end` says. The names that it defines end, too.
    fn finish(&mut self, form: &'t Tree<'t>, end: End) -> Result<()> {
        use Tree::{List, Word};
        let scope = self.locals.len();
        let Tree::List(parts, line) = form else {
            let value = self.value(form)?;
            return self.end(value, end);
        };
        match &parts[..] {
            // ANCHOR: if
            [Word("if", _), test, yes, no] => {
                let test = self.condition(test)?;
                self.if_else(test, |c| c.finish(yes, end), |c| c.finish(no, end))?;
            }
            // ANCHOR_END: if
            [Word("match", _), list, empty, List(names, _), rest]
                if let [head, tail] = &names[..] =>
            {
                let names = [name(head)?, name(tail)?];
                let (list, types) = (self.value(list)?, self.types());
                self.f.at(*line);
                let is_empty = self.f.is_null(list);
                self.if_else(
                    is_empty,
                    |c| c.finish(empty, end),
                    |c| {
                        c.f.ref_cast(list, &types.pair);
                        for (number, name) in names.into_iter().enumerate() {
                            let value = c.f.struct_get(&types.pair, list, number);
                            c.bind(name, value);
                        }
                        c.finish(rest, end)
                    },
                )?;
            }
            [Word("do", _), forms @ ..] => {
                let last = self.all_but_last(forms, *line)?;
                self.finish(last, end)?;
            }
            [Word("try", _), form, List(handler, _)] if let [bound, handler] = &handler[..] => {
                // ANCHOR: try
                // No tail calls here: the handler needs this frame.
                let (result, types, bound) =
                    (self.f.variable(Type::Ref), self.types(), name(bound)?);
                self.try_catch(
                    |c| c.finish(form, End::Set(result)),
                    &types.thrown,
                    |c, object| {
                        let value = c.f.struct_get(&types.thrown, object, 0);
                        c.bind(bound, value);
                        c.finish(handler, End::Set(result))
                    },
                )?;
                let result = self.f.get(result);
                self.end(result, end)?;
                // ANCHOR_END: try
            }
            [Word(word @ ("if" | "match" | "try"), _), ..] => return Err(wrong_use(word, *line)),
            parts if is_call(parts) && matches!(end, End::Return) => {
                self.call(parts, *line, true)?;
            }
            _ => {
                let value = self.value(form)?;
                self.end(value, end)?;
            }
        }
        self.locals.truncate(scope);
        Ok(())
    }

    /// Emits a form and returns its value.
    pub(crate) fn value(&mut self, form: &'t Tree<'t>) -> Result<Value> {
        use Tree::{List, Word};
        let (parts, line) = match form {
            Word(word, line) => return self.word(word, *line),
            Tree::Text(text, _) => return Ok(self.constant(text)),
            List(parts, line) => (&parts[..], *line),
        };
        self.f.at(line);
        Ok(match parts {
            [] => self.f.null(),
            [Word("if" | "match" | "do" | "try", _), ..] => {
                let result = self.f.variable(Type::Ref);
                self.finish(form, End::Set(result))?;
                self.f.get(result)
            }
            [Word("while", _), test, forms @ ..] if !forms.is_empty() => {
                self.while_loop(
                    |c| c.condition(test),
                    |c| {
                        let scope = c.locals.len();
                        let last = c.all_but_last(forms, line)?;
                        c.value(last)?;
                        c.locals.truncate(scope);
                        Ok(())
                    },
                )?;
                self.f.null()
            }
            [Word("set", _), variable, value] => {
                let value = self.value(value)?;
                self.set(name(variable)?, value, line)?;
                value
            }
            [Word("fun", _), List(params, _), body @ ..] => {
                let lambda = Lambda::new("a function", params, body, line)?;
                self.closure(&lambda, None)?
            }
            [Word("list", _), elements @ ..] => {
                let elements = self.values(elements)?;
                let (nil, types) = (self.f.null(), self.types());
                elements
                    .into_iter()
                    .rfold(nil, |tail, head| self.f.struct_new(&types.pair, &[head, tail]))
            }
            [Word("vector", _), elements @ ..] => {
                let (elements, types) = (self.values(elements)?, self.types());
                self.f.array_of(&types.vector, &elements)
            }
            [Word("throw", _), value] => {
                let (value, types) = (self.value(value)?, self.types());
                let object = self.f.struct_new(&types.thrown, &[value]);
                self.f.at(line);
                self.f.throw(object);
                self.f.null()
            }
            [Word(word @ ("def" | "while" | "set" | "fun" | "throw"), _), ..] => {
                return Err(wrong_use(word, line));
            }
            parts if is_call(parts) => self.call(parts, line, false)?,
            [Word(word, _), args @ ..] => match self.builtin(word, args, line)? {
                Built::Value(value) => value,
                Built::Test(test) => {
                    let (yes, no) = (self.int(1), self.f.null());
                    self.f.ins().select(test, yes, no)
                }
            },
            _ => unreachable!("what does not begin with a word is a call"),
        })
    }

    pub(crate) fn values(&mut self, forms: &'t [Tree<'t>]) -> Result<Vec<Value>> {
        forms.iter().map(|form| self.value(form)).collect()
    }

    /// Emits a form and returns whether its value is not `()`: an integer that is not zero.
    fn condition(&mut self, form: &'t Tree<'t>) -> Result<Value> {
        if let Tree::List(parts, line) = form
            && let [Tree::Word(word, _), args @ ..] = &parts[..]
            && is_test(word)
            && let Built::Test(test) = self.builtin(word, args, *line)?
        {
            return Ok(test);
        }
        let value = self.value(form)?;
        let is_null = self.f.is_null(value);
        Ok(self.f.ins().icmp_imm_u(IntCC::Equal, is_null, 0))
    }

    pub(crate) fn int(&mut self, value: i32) -> Value {
        let value = self.f.i32(value);
        self.f.i31(value)
    }

    pub(crate) fn constant(&mut self, text: &str) -> Value {
        let types = self.types();
        self.f.constant(&types.string, text.as_bytes())
    }

    /// An integer, a symbol or a name.
    fn word(&mut self, word: &'t str, line: u32) -> Result<Value> {
        self.f.at(line);
        if let Some(name) = word.strip_prefix('\'') {
            let name = self.constant(name);
            return self.call_named("symbol", &[name], false);
        }
        if word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()) {
            let value = word.parse().ok().filter(|value| (-1 << 30..1 << 30).contains(value));
            let value =
                value.with_context(|| format!("line {line}: `{word}` is no integer of 31 bits"))?;
            return Ok(self.int(value));
        }
        self.variable(word, line)
    }
}
