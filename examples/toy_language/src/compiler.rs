//! Compiles forms to CLIF in one pass. All heap accesses use `gc_engine`, so nothing here depends
//! on the collector.
//!
//! | value | reference |
//! |---|---|
//! | integer | an `i31`: the reference itself, no object |
//! | `()` | null |
//! | `(cons x xs)` | a struct `{ head, tail }` |
//! | function | a struct `{ function, captured values }` |
//!
//! The captured values are copied into an array of the closure (Appel, "Compiling with Continuations",
//! 1992, chapter 10). A function gets its closure as a parameter and uses it to refer to itself. So
//! closures form no cycles, which reference counting could not free.

use crate::function::{Program, TYPES, add};
use crate::syntax::{Form, Function, MAX_DEPTH, Tree};
use anyhow::{Context, Result, bail, ensure};
use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use cranelift_frontend::FuncInstBuilder;
use gc_engine::{Module, RefType};
use gc_types::{I31, VMGcRef};

/// The name of the function that computes a program's value.
pub(crate) const MAIN: &str = "the program";

/// Compiles a program: definitions and an expression.
pub(crate) fn compile<'t>(trees: &'t [Tree<'t>], module: &mut Module) -> Result<Program> {
    let program = Program::new(module)?;
    let (params, results) = TYPES;
    let main = module.declare(MAIN, params, results)?;
    add(module, &program, &main, ["", ""], 0, |main| main.body(trees, 1))?;
    Ok(program)
}

/// A function being compiled.
pub(crate) struct Body<'a, 'm, 'b, 't> {
    pub(crate) f: &'a mut gc_engine::Body<'m, 'b>,
    pub(crate) program: &'a Program,
    pub(crate) closure: Value,
    /// The names in scope, the innermost last.
    pub(crate) locals: Vec<(&'t str, Value)>,
    /// The names that it uses from the functions around it, each with the line of its first use.
    pub(crate) captured: Vec<(&'t str, u32)>,
    /// Number of functions around it.
    pub(crate) depth: usize,
}

impl<'b, 't> Body<'_, '_, 'b, 't> {
    fn ins(&mut self) -> FuncInstBuilder<'_, 'b> {
        self.f.ins()
    }

    fn at_line(&mut self, line: u32) {
        self.f.at(line);
    }

    /// Emits definitions, then the expression whose value the function returns.
    fn body(&mut self, trees: &'t [Tree<'t>], line: u32) -> Result<()> {
        let (last, definitions) =
            trees.split_last().with_context(|| format!("line {line}: an expression is missing"))?;
        for tree in definitions {
            let (name, form) = tree.definition()?;
            let value = self.form(form, tree.line())?;
            self.locals.push((name, value));
        }
        self.finish(last.form()?, last.line(), None)
    }

    /// Emits `form` and ends the block with a jump to `merge`. If there is none, returns the value;
    /// calls are then tail calls, which use no stack.
    fn finish(&mut self, form: Form<'t>, line: u32, merge: Option<ir::Block>) -> Result<()> {
        match form {
            Form::Call(parts) if merge.is_none() => {
                self.call(parts, line, true)?;
            }
            Form::If(test, names, yes, no) => {
                let test = self.value(test)?;
                self.at_line(line);
                let condition = match names {
                    None => self.unboxed(test),
                    Some(_) => self.f.is_null(test),
                };
                let [then, otherwise] = [(); 2].map(|()| self.f.builder().create_block());
                self.ins().brif(condition, then, &[], otherwise, &[]);
                self.f.builder().switch_to_block(then);
                self.finish(yes.form()?, yes.line(), merge)?;
                self.f.builder().switch_to_block(otherwise);
                self.at_line(line);
                let outside = self.locals.len();
                if names.is_some() {
                    self.f.ref_cast(test, &self.program.pair);
                }
                for (field, name) in names.into_iter().flatten().enumerate() {
                    let value = self.f.struct_get(&self.program.pair, test, field);
                    self.locals.push((name, value));
                }
                self.finish(no.form()?, no.line(), merge)?;
                self.locals.truncate(outside);
            }
            form => {
                let value = self.form(form, line)?;
                match merge {
                    Some(block) => {
                        self.ins().jump(block, &[value.into()]);
                    }
                    None => self.f.ret(&[value]),
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, tree: &'t Tree<'t>) -> Result<Value> {
        self.form(tree.form()?, tree.line())
    }

    fn values(&mut self, trees: &'t [Tree<'t>]) -> Result<Vec<Value>> {
        trees.iter().map(|tree| self.value(tree)).collect()
    }

    /// Emits `form` and returns its value.
    fn form(&mut self, form: Form<'t>, line: u32) -> Result<Value> {
        Ok(match form {
            Form::Int(value) => self.int(value),
            Form::Name(name) => self.variable(name, line)?,
            Form::List(elements) => {
                let elements = self.values(elements)?;
                let nil = self.f.null();
                elements.into_iter().rfold(nil, |tail, head| self.pair(head, tail))
            }
            Form::Cons(head, tail) => {
                let (head, tail) = (self.value(head)?, self.value(tail)?);
                self.at_line(line);
                self.f.ref_cast(tail, RefType::from(&self.program.pair).nullable());
                self.pair(head, tail)
            }
            Form::Operator(operator, a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                self.at_line(line);
                let (a, b) = (self.unboxed(a), self.unboxed(b));
                let mut result = operator(self.ins(), a, b);
                if self.f.builder().func.dfg.value_type(result) == types::I8 {
                    result = self.ins().uextend(types::I32, result);
                }
                self.f.i31(result)
            }
            Form::Function(function) => self.function(function, function.name)?,
            Form::Call(parts) => self.call(parts, line, false)?,
            Form::If(..) => {
                let merge = self.f.builder().create_block();
                let result = self.f.builder().append_block_param(merge, types::I64);
                self.finish(form, line, Some(merge))?;
                self.f.builder().switch_to_block(merge);
                result
            }
        })
    }

    fn int(&mut self, value: i32) -> Value {
        let reference = VMGcRef::from_i31(I31::wrapping_i32(value));
        self.ins().iconst(types::I64, i64::from(reference.as_raw_u32()))
    }

    /// The integer (`I32`) in `value`. Traps if `value` is not an integer.
    fn unboxed(&mut self, value: Value) -> Value {
        self.f.i31_get(value)
    }

    fn pair(&mut self, head: Value, tail: Value) -> Value {
        self.f.struct_new(&self.program.pair, &[head, tail])
    }

    fn variable(&mut self, name: &'t str, line: u32) -> Result<Value> {
        if let Some((_, value)) = self.locals.iter().rfind(|(known, _)| *known == name) {
            return Ok(*value);
        }
        ensure!(self.depth > 0, "line {line}: `{name}` is not bound");
        let known = self.captured.iter().position(|(known, _)| *known == name);
        let index = known.unwrap_or_else(|| {
            self.captured.push((name, line));
            self.captured.len() - 1
        });
        let captured = self.f.struct_get(&self.program.closure, self.closure, 1);
        let index = self.f.i32(index as i32);
        Ok(self.f.array_get(&self.program.captured, captured, index))
    }

    /// A closure for the function's first parameter, which returns a closure for the second, and so
    /// on. Inside, the function's name is `itself`.
    fn function(&mut self, function: Function<'t>, itself: &'t str) -> Result<Value> {
        let Function { name, params, body, line } = function;
        let Some((Tree::Word(param, _), params)) = params.split_first() else {
            bail!("line {line}: a function needs parameters, and each must be a name")
        };
        ensure!(self.depth < MAX_DEPTH, "line {line}: nested too deeply");
        let title = format!("{name} (line {line})");
        let emit = |inner: &mut Body<'_, '_, '_, 't>| {
            if params.is_empty() {
                return inner.body(body, line);
            }
            let rest = inner.function(Function { params, ..function }, "")?;
            inner.f.ret(&[rest]);
            Ok(())
        };
        let (module, names) = (self.f.module(), [itself, param]);
        let (params, results) = TYPES;
        let code = module.declare_local(&title, params, results)?;
        let captured = add(module, self.program, &code, names, self.depth + 1, emit)?;
        let captured = captured.into_iter().map(|(name, line)| self.variable(name, line));
        let captured = captured.collect::<Result<Vec<_>>>()?;
        let captured = match captured.is_empty() {
            true => self.f.null(),
            false => self.f.array_of(&self.program.captured, &captured),
        };
        let function = self.f.func_ref(&code);
        Ok(self.f.struct_new(&self.program.closure, &[function, captured]))
    }

    /// Calls the first of `parts` with the second, the result with the third, and so on. A tail
    /// call ends the block.
    fn call(&mut self, parts: &'t [Tree<'t>], line: u32, is_tail: bool) -> Result<Value> {
        let parts = self.values(parts)?;
        self.at_line(line);
        let mut result = parts[0];
        for (i, argument) in parts.iter().enumerate().skip(1) {
            self.f.ref_cast(result, &self.program.closure);
            let function = self.f.struct_get(&self.program.closure, result, 0);
            let args = [result, *argument];
            let signature = &self.program.signature;
            if is_tail && i == parts.len() - 1 {
                self.f.tail_call_indirect(signature, function, &args);
            } else {
                result = self.f.call_indirect(signature, function, &args)[0];
            }
        }
        Ok(result)
    }
}
