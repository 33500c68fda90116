//! Variables, closures and calls.
//!
//! A function gets its closure as its first parameter, which has copies of the variables that it uses of
//! the functions around it (Appel, "Compiling with Continuations", 1992, chapter 10). So such variables
//! cannot be set. A function defined outside of all others has no closure, and gets null.

use crate::compiler::{Function, Named, Unit, full_name};
use crate::forms::Lambda;
use crate::reader::Tree;
use crate::types::params;
use anyhow::{Result, bail, ensure};
use cranelift_codegen::ir::Value;
use gc_engine::{FunctionHandle, Module, Signature, Type, Variable};

/// Defines a function that `emit` emits. Returns the variables that it captures.
pub(crate) fn define<'t>(
    module: &mut Module,
    unit: &mut Unit<'t>,
    handle: &FunctionHandle,
    outside: &[&'t str],
    params: &[&'t str],
    emit: impl FnOnce(&mut Function<'_, '_, '_, 't>) -> Result<()>,
) -> Result<Vec<&'t str>> {
    let mut captured = Vec::new();
    module.define(handle, |f| -> Result<()> {
        let (locals, outside) = (Vec::new(), outside.to_vec());
        let mut function = Function { f, unit, locals, outside, captured: Vec::new() };
        for (number, name) in (1..).zip(params) {
            let value = function.f.param(number);
            function.bind(name, value);
        }
        emit(&mut function)?;
        captured = function.captured;
        Ok(())
    })?;
    Ok(captured)
}

/// A variable of a function.
pub(crate) struct Local<'t> {
    pub(crate) name: &'t str,
    pub(crate) variable: Variable,
    is_set: bool,
    is_captured: bool,
}

impl<'t> Function<'_, '_, '_, 't> {
    pub(crate) fn bind(&mut self, name: &'t str, value: Value) {
        let variable = self.f.variable(Type::Ref);
        self.f.set(variable, value);
        self.locals.push(Local { name, variable, is_set: false, is_captured: false });
    }

    pub(crate) fn variable(&mut self, name: &'t str, line: u32) -> Result<Value> {
        if let Some(local) = self.locals.iter().rfind(|local| local.name == name) {
            return Ok(self.f.get(local.variable));
        }
        if self.outside.contains(&name) {
            let known = self.captured.iter().position(|known| *known == name);
            let index = known.unwrap_or_else(|| {
                self.captured.push(name);
                self.captured.len() - 1
            });
            let (types, closure, index) = (self.types(), self.f.param(0), self.f.i32(index as i32));
            let captured = self.f.struct_get(&types.closure, closure, 1);
            return Ok(self.f.array_get(&types.captured, captured, index));
        }
        match self.unit.find(name) {
            Some(Named::Variable) => {
                let global = self.f.module().global(name, Type::Ref)?;
                Ok(self.f.global_get(&global))
            }
            Some(Named::Function(count)) => {
                let function = self.named(name, count)?;
                let (function, none, types) =
                    (self.f.func_ref(&function), self.f.null(), self.types());
                Ok(self.f.struct_new(&types.closure, &[function, none]))
            }
            None => bail!("line {line}: `{name}` is not defined"),
        }
    }

    pub(crate) fn set(&mut self, name: &'t str, value: Value, line: u32) -> Result<()> {
        let why = "because a function captures it: put the value into a vector";
        if let Some(local) = self.locals.iter_mut().rfind(|local| local.name == name) {
            ensure!(!local.is_captured, "line {line}: `{name}` cannot be set, {why}");
            local.is_set = true;
            self.f.set(local.variable, value);
            return Ok(());
        }
        ensure!(!self.outside.contains(&name), "line {line}: `{name}` cannot be set, {why}");
        ensure!(
            matches!(self.unit.find(name), Some(Named::Variable)),
            "line {line}: `{name}` is no variable"
        );
        let global = self.f.module().global(name, Type::Ref)?;
        self.f.global_set(&global, value);
        Ok(())
    }

    /// A new closure. Inside, `itself` stands for the closure.
    pub(crate) fn closure(
        &mut self,
        lambda: &Lambda<'t>,
        itself: Option<&'t str>,
    ) -> Result<Value> {
        let Lambda { name, params: names, body, line } = lambda;
        let outside =
            self.outside.iter().copied().chain(self.locals.iter().map(|local| local.name));
        let outside: Vec<_> = outside.collect();
        let module = self.f.module();
        let title = format!("{name} (line {line})");
        let handle = module.declare_local(&title, params(names.len()), [Type::Ref])?;
        let captured = define(module, self.unit, &handle, &outside, names, |function| {
            if let Some(name) = itself {
                let closure = function.f.param(0);
                function.bind(name, closure);
                // Parameters with the same name hide it.
                function.locals.rotate_right(1);
            }
            function.body(body, *line)
        })?;
        let mut values = Vec::new();
        for name in captured {
            if let Some(local) = self.locals.iter_mut().rfind(|local| local.name == name) {
                ensure!(
                    !local.is_set,
                    "line {line}: the function cannot use `{name}`, because it is set: put the value into a vector"
                );
                local.is_captured = true;
            }
            values.push(self.variable(name, *line)?);
        }
        // ANCHOR: closure
        let types = self.types();
        let captured = match values.is_empty() {
            true => self.f.null(),
            false => self.f.array_of(&types.captured, &values),
        };
        let function = self.f.func_ref(&handle);
        Ok(self.f.struct_new(&types.closure, &[function, captured]))
        // ANCHOR_END: closure
    }

    /// The function that is defined with this name outside of all functions, or will be.
    fn named(&mut self, name: &str, arguments: usize) -> Result<FunctionHandle> {
        if let Some((own, handle)) = &self.unit.own
            && *own == name
            && handle.signature().params().len() == arguments + 1
        {
            return Ok(handle.clone());
        }
        // ANCHOR: named
        let name = full_name(name, arguments);
        self.f.module().import(&name, params(arguments), [Type::Ref])
        // ANCHOR_END: named
    }

    pub(crate) fn call_named(
        &mut self,
        name: &str,
        args: &[Value],
        is_tail: bool,
    ) -> Result<Value> {
        let function = self.named(name, args.len())?;
        let args: Vec<_> = [self.f.null()].into_iter().chain(args.iter().copied()).collect();
        if is_tail {
            self.f.tail_call(&function, &args);
            return Ok(args[0]);
        }
        Ok(self.f.call(&function, &args)[0])
    }

    /// Calls the first of `parts` with the others. The code after a tail call is never reached.
    pub(crate) fn call(
        &mut self,
        parts: &'t [Tree<'t>],
        line: u32,
        is_tail: bool,
    ) -> Result<Value> {
        if let Tree::Word(name, _) = &parts[0]
            && !self.locals.iter().any(|local| local.name == *name)
            && !self.outside.contains(name)
            && !matches!(self.unit.find(name), Some(Named::Variable))
        {
            let args = self.values(&parts[1..])?;
            self.f.at(line);
            return self.call_named(name, &args, is_tail);
        }
        let args = self.values(parts)?;
        self.f.at(line);
        // ANCHOR: call
        let types = self.types();
        self.f.ref_cast(args[0], &types.closure);
        let function = self.f.struct_get(&types.closure, args[0], 0);
        let signature = Signature::new(params(args.len() - 1), [Type::Ref]);
        if is_tail {
            self.f.tail_call_indirect(&signature, function, &args);
            return Ok(args[0]);
        }
        Ok(self.f.call_indirect(&signature, function, &args)[0])
        // ANCHOR_END: call
    }
}
