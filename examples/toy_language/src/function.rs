//! A program's types, and the functions that are compiled so far.

use crate::compiler::Body;
use anyhow::Result;
use gc_engine::{ArrayType, FunctionHandle, Module, StructType, Type};

/// The signature of every function. The parameters are its closure and an argument.
pub(crate) const SIGNATURE: ([Type; 2], [Type; 1]) = ([Type::Ref; 2], [Type::Ref]);

/// The types of a program's objects, and its functions.
pub(crate) struct Program {
    pub(crate) pair: StructType,
    pub(crate) closure: ArrayType,
    /// Calls the function of a closure.
    pub(crate) apply: FunctionHandle,
    /// The functions of closures, the one with number 1 first.
    pub(crate) functions: Vec<FunctionHandle>,
}

impl Program {
    pub(crate) fn new(module: &mut Module) -> Result<Program> {
        let (params, results) = SIGNATURE;
        Ok(Program {
            pair: module.struct_type("pair", [Type::Ref; 2])?,
            closure: module.array_type("closure", Type::Ref)?,
            apply: module.declare_local("apply", params, results)?,
            functions: Vec::new(),
        })
    }
}

/// Defines a function that `emit` emits. Its first two names are those of its closure and its
/// argument. Returns the names that it captures, each with a line that uses it.
pub(crate) fn add<'t>(
    module: &mut Module,
    program: &mut Program,
    function: &FunctionHandle,
    names: [&'t str; 2],
    depth: usize,
    emit: impl FnOnce(&mut Body<'_, '_, '_, 't>) -> Result<()>,
) -> Result<Vec<(&'t str, u32)>> {
    let mut captured = Vec::new();
    module.define(function, |f| -> Result<()> {
        let values = [f.param(0), f.param(1)];
        let locals = names.into_iter().zip(values).collect();
        let closure = values[0];
        let mut body = Body { f, program, closure, locals, captured: Vec::new(), depth };
        emit(&mut body)?;
        captured = body.captured;
        Ok(())
    })?;
    Ok(captured)
}
