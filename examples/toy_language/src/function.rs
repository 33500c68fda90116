//! A program's types, and the definition of its functions.

use crate::compiler::Body;
use anyhow::Result;
use gc_engine::{ArrayType, FunctionHandle, Module, Signature, StructType, Type};

/// The types of the parameters and of the result of every function. The parameters are its closure and an
/// argument.
pub(crate) const TYPES: ([Type; 2], [Type; 1]) = ([Type::Ref; 2], [Type::Ref]);

/// The types of a program's objects and functions.
pub(crate) struct Program {
    pub(crate) pair: StructType,
    /// A function, and the values that it has captured.
    pub(crate) closure: StructType,
    pub(crate) captured: ArrayType,
    pub(crate) signature: Signature,
}

impl Program {
    pub(crate) fn new(module: &mut Module) -> Result<Program> {
        let (params, results) = TYPES;
        Ok(Program {
            pair: module.struct_type("pair", [Type::Ref; 2])?,
            closure: module.struct_type("closure", [Type::Func, Type::Ref])?,
            captured: module.array_type("captured", Type::Ref)?,
            signature: Signature::new(params, results),
        })
    }
}

/// Defines a function that `emit` emits. Its first two names are those of its closure and its
/// argument. Returns the names that it captures, each with a line that uses it.
pub(crate) fn add<'t>(
    module: &mut Module,
    program: &Program,
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
