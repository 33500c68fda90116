//! From forms to CLIF, in one pass. Whatever touches the heap goes through a `GcEmitter`:
//! nothing here knows which collector it is.
//!
//! | value | reference |
//! |---|---|
//! | integer | an `i31`: the reference itself, no object |
//! | `()` | null |
//! | `(cons x xs)` | a struct `{ head, tail }` |
//! | function | an array: the function's number as an `i31`, then the captured values |
//!
//! The captured values are copied into the closure (Appel, "Compiling with Continuations", 1992,
//! chapter 10). A function gets its closure as a parameter and uses it to refer to itself. So
//! closures form no cycles, which reference counting could not free. The heap never contains code
//! addresses: function 0, `apply`, calls a closure by jumping to the function whose number it finds
//! (Reynolds, "Definitional Interpreters", 1972).

use crate::function::{Program, signature};
use crate::syntax::{Form, Function, MAX_DEPTH, Tree};
use anyhow::{Context, Result, bail, ensure};
use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use cranelift_frontend::{FuncInstBuilder, Switch};
use gc_compiler::{ArrayInit, GcEmitter, RefTest, TestTarget, import_function, trap_code};
use gc_types::{ArrayLayout, I31, StorageType, StructLayout, Trap, TypeIndex, VMGcKind, VMGcRef};

pub(crate) const PAIR: TypeIndex = TypeIndex::new(1).unwrap();
pub(crate) const CLOSURE: TypeIndex = TypeIndex::new(2).unwrap();
pub(crate) const CLOSURE_LAYOUT: ArrayLayout = ArrayLayout::new(StorageType::Ref);

pub(crate) fn pair_layout() -> StructLayout {
    StructLayout::new([StorageType::Ref; 2]).expect("two fields fit")
}

/// Compiles a program: definitions and an expression. The program is the last of the functions.
pub(crate) fn compile<'t>(trees: &'t [Tree<'t>], program: &mut Program<'t>) -> Result<()> {
    program.add("the program".into(), ["", ""], 0, |main| main.body(trees, 1))?;
    let count = program.functions.len();
    program.add("apply".into(), ["", ""], 0, |apply| {
        apply.apply(count);
        Ok(())
    })?;
    program.functions.rotate_right(1);
    Ok(())
}

/// A function being compiled.
pub(crate) struct Body<'a, 'b, 't> {
    pub(crate) e: GcEmitter<'a, 'b>,
    pub(crate) program: &'a mut Program<'t>,
    pub(crate) closure: Value,
    /// The names in scope, the innermost last.
    pub(crate) locals: Vec<(&'t str, Value)>,
    /// The names that it uses from the functions around it, each with the line of its first use.
    pub(crate) captured: Vec<(&'t str, u32)>,
    /// Number of functions around it.
    pub(crate) depth: usize,
}

impl<'b, 't> Body<'_, 'b, 't> {
    fn ins(&mut self) -> FuncInstBuilder<'_, 'b> {
        self.e.builder.ins()
    }

    fn at_line(&mut self, line: u32) {
        self.e.builder.set_srcloc(ir::SourceLoc::new(line));
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
                    Some(_) => self.e.ref_is_null(test),
                };
                let [then, otherwise] = [(); 2].map(|()| self.e.builder.create_block());
                self.ins().brif(condition, then, &[], otherwise, &[]);
                self.e.builder.switch_to_block(then);
                self.finish(yes.form()?, yes.line(), merge)?;
                self.e.builder.switch_to_block(otherwise);
                self.at_line(line);
                let outside = self.locals.len();
                if names.is_some() {
                    self.e.ref_cast(test, &RefTest::new(false, TestTarget::Struct));
                }
                for (field, name) in names.into_iter().flatten().enumerate() {
                    let value = self.e.struct_get(test, &pair_layout(), field, None);
                    self.locals.push((name, value));
                }
                self.finish(no.form()?, no.line(), merge)?;
                self.locals.truncate(outside);
            }
            form => {
                let value = self.form(form, line)?;
                match merge {
                    Some(block) => self.ins().jump(block, &[value.into()]),
                    None => self.ins().return_(&[value]),
                };
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
                let nil = self.e.ref_null();
                elements.into_iter().rfold(nil, |tail, head| self.pair(head, tail))
            }
            Form::Cons(head, tail) => {
                let (head, tail) = (self.value(head)?, self.value(tail)?);
                self.at_line(line);
                self.e.ref_cast(tail, &RefTest::new(true, TestTarget::Struct));
                self.pair(head, tail)
            }
            Form::Operator(operator, a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                self.at_line(line);
                let (a, b) = (self.unboxed(a), self.unboxed(b));
                let mut result = operator(self.ins(), a, b);
                if self.e.builder.func.dfg.value_type(result) == types::I8 {
                    result = self.ins().uextend(types::I32, result);
                }
                self.e.ref_i31(result)
            }
            Form::Function(function) => self.function(function, function.name)?,
            Form::Call(parts) => self.call(parts, line, false)?,
            Form::If(..) => {
                let merge = self.e.builder.create_block();
                let result = self.e.builder.append_block_param(merge, types::I64);
                self.finish(form, line, Some(merge))?;
                self.e.builder.switch_to_block(merge);
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
        self.e.ref_cast(value, &RefTest::new(false, TestTarget::I31));
        self.e.i31_get_s(value)
    }

    fn pair(&mut self, head: Value, tail: Value) -> Value {
        let word = self.ins().iconst(types::I32, i64::from(PAIR.header_word(VMGcKind::StructRef)));
        self.e.struct_new(word, &pair_layout(), &[head, tail])
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
        Ok(self.closure_element(index + 1))
    }

    fn closure_element(&mut self, index: usize) -> Value {
        let index = self.ins().iconst(types::I32, index as i64);
        self.e.array_get(self.closure, &CLOSURE_LAYOUT, index, None)
    }

    /// A closure for the function's first parameter, which returns a closure for the second, and so
    /// on. Inside, the function's name is `itself`.
    fn function(&mut self, function: Function<'t>, itself: &'t str) -> Result<Value> {
        let Function { name, params, body, line } = function;
        let Some((Tree::Word(param, _), params)) = params.split_first() else {
            bail!("line {line}: a function has parameters, which are names")
        };
        ensure!(self.depth < MAX_DEPTH, "line {line}: nested too deeply");
        let title = format!("{name} (line {line})");
        let emit = |inner: &mut Body<'_, '_, 't>| {
            if params.is_empty() {
                return inner.body(body, line);
            }
            let rest = inner.function(Function { params, ..function }, "")?;
            inner.ins().return_(&[rest]);
            Ok(())
        };
        let captured = self.program.add(title, [itself, param], self.depth + 1, emit)?;
        let mut elements = vec![self.int(self.program.functions.len() as i32)];
        for (name, line) in captured {
            elements.push(self.variable(name, line)?);
        }
        let word = i64::from(CLOSURE.header_word(VMGcKind::ArrayRef));
        let word = self.ins().iconst(types::I32, word);
        let elements = ArrayInit::Elements(&elements);
        Ok(self.e.array_new(word, &CLOSURE_LAYOUT, elements))
    }

    /// Calls the first of `parts` with the second, the result with the third, and so on. A tail
    /// call ends the block.
    fn call(&mut self, parts: &'t [Tree<'t>], line: u32, is_tail: bool) -> Result<Value> {
        let parts = self.values(parts)?;
        self.at_line(line);
        let apply = import_function(self.e.builder.func, 0, signature());
        let mut result = parts[0];
        for (i, argument) in parts.iter().enumerate().skip(1) {
            self.e.ref_cast(result, &RefTest::new(false, TestTarget::Array));
            let args = [self.e.vmctx(), result, *argument];
            if is_tail && i == parts.len() - 1 {
                self.ins().return_call(apply, &args);
            } else {
                let call = self.ins().call(apply, &args);
                result = self.e.builder.inst_results(call)[0];
                self.e.declare_ref(result);
            }
        }
        Ok(result)
    }

    /// Emits `apply`: a tail call of that one of `count` functions whose number is in the closure.
    fn apply(&mut self, count: usize) {
        let number = self.closure_element(0);
        let number = self.e.i31_get_u(number);
        let mut switch = Switch::new();
        let blocks: Vec<_> = (1..=count).map(|n| (n, self.e.builder.create_block())).collect();
        for (number, block) in &blocks {
            switch.set_entry(*number as u128, *block);
        }
        let unknown = self.e.builder.create_block();
        switch.emit(self.e.builder, number, unknown);
        for (number, block) in blocks {
            self.e.builder.switch_to_block(block);
            let code = import_function(self.e.builder.func, number as u32, signature());
            let args = [self.e.vmctx(), self.closure, self.locals[1].1];
            self.ins().return_call(code, &args);
        }
        self.e.builder.switch_to_block(unknown);
        self.ins().trap(trap_code(Trap::BadFuncRef));
    }
}
