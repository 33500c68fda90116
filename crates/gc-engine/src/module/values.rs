//! Values of a [`Body`]: constants, variables, sums, and the checks that a value has the type that its
//! use takes.

use super::{Body, clif_type};
use crate::Type;
use anyhow::anyhow;
use cranelift_codegen::ir::{self, InstBuilder, InstructionData, Opcode, Value, ValueDef, types};
use gc_types::{I31, VMGcRef};

/// A variable of a function. It can be set more than once. It is zero or null until it is set.
///
/// # Examples
/// ```
/// use gc_engine::{Collector, Control, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// module.function("factorial", [Type::I64], [Type::I64], |f| {
///     use cranelift_codegen::ir::InstBuilder;
///     let [n, product] = [Type::I64; 2].map(|ty| f.variable(ty));
///     let (first, one) = (f.param(0), f.i64(1));
///     f.set(n, first);
///     f.set(product, one);
///     f.while_loop(
///         |f| f.get(n),
///         |f| {
///             let (factor, so_far) = (f.get(n), f.get(product));
///             let larger = f.ins().imul(so_far, factor);
///             f.set(product, larger);
///             let less = f.sub(factor, one);
///             f.set(n, less);
///         },
///     );
///     let product = f.get(product);
///     f.ret(&[product]);
/// })?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
/// assert_eq!(store.function::<i64, i64>("factorial")?.call(&mut store, 5)?, 120);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    inner: cranelift_frontend::Variable,
    ty: Type,
    /// The number of its body.
    body: u64,
}

/// The end of the message about a value that is used as a reference.
pub(super) const NOT_A_REFERENCE: &str =
    "was given an integer (`declare_ref` declares a reference that other code makes)";

impl Body<'_, '_> {
    /// The parameter with this number, counted from 0.
    pub fn param(&mut self, number: usize) -> Value {
        match self.params.get(number) {
            Some(value) => *value,
            None => {
                let count = self.params.len();
                self.misused(anyhow!("it has no parameter {number}: it has {count}"));
                self.dummy(types::I64)
            }
        }
    }

    /// A constant.
    pub fn i32(&mut self, value: i32) -> Value {
        self.ins().iconst(types::I32, i64::from(value))
    }

    /// A constant.
    pub fn i64(&mut self, value: i64) -> Value {
        self.ins().iconst(types::I64, value)
    }

    /// The null reference.
    pub fn null(&mut self) -> Value {
        self.gc().ref_null()
    }

    /// Whether a reference is null (`I8`: 1 if so).
    pub fn is_null(&mut self, reference: Value) -> Value {
        self.expect("is_null", reference, Type::Ref);
        self.gc().ref_is_null(reference)
    }

    /// The sum of two integers of one type.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        match self.are_integers("add", a, b) {
            true => self.ins().iadd(a, b),
            false => self.dummy(types::I64),
        }
    }

    /// The difference of two integers of one type.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        match self.are_integers("sub", a, b) {
            true => self.ins().isub(a, b),
            false => self.dummy(types::I64),
        }
    }

    /// Checks that two operands of `what` are integers of one type.
    fn are_integers(&mut self, what: &str, a: Value, b: Value) -> bool {
        let [Some(a_type), Some(b_type)] = [a, b].map(|value| self.type_of(what, value)) else {
            return false;
        };
        if self.is_declared(a) || self.is_declared(b) {
            self.misused(anyhow!("`{what}` takes two integers, but was given a reference"));
            return false;
        }
        let [a, b] = [a_type, b_type];
        if a != b || !a.is_int() {
            self.misused(anyhow!("`{what}` takes two integers of one type, not {a} and {b}"));
            return false;
        }
        true
    }

    /// Checks that a condition is an integer.
    pub(super) fn is_condition(&mut self, value: Value) -> bool {
        match self.type_of("a condition", value) {
            Some(ty) if ty.is_int() => true,
            Some(ty) => {
                self.misused(anyhow!("a condition is an integer, not a value of {ty}"));
                false
            }
            None => false,
        }
    }

    /// The type of a value that `what` uses, if it is one of this body.
    pub(super) fn type_of(&mut self, what: &str, value: Value) -> Option<ir::Type> {
        if self.is_foreign(value) {
            self.misused(anyhow!(
                "`{what}` uses {value}, which is a value of the function around this one: a closure must capture it"
            ));
            return None;
        }
        let dfg = &self.builder.func.dfg;
        if dfg.value_is_valid(value) {
            return Some(dfg.value_type(value));
        }
        self.misused(anyhow!("`{what}` uses {value}, which is not a value of this function"));
        None
    }

    /// Whether it is a value of a function around this one.
    fn is_foreign(&self, value: Value) -> bool {
        value.as_u32() < self.foreign
    }

    /// A new variable.
    pub fn variable(&mut self, ty: Type) -> Variable {
        Variable { inner: self.builder.declare_var(clif_type(ty)), ty, body: self.number }
    }

    /// Sets a variable.
    pub fn set(&mut self, variable: Variable, value: Value) {
        if self.has_variable(variable) && self.expect("set", value, variable.ty) {
            self.builder.def_var(variable.inner, value);
        }
    }

    /// The value to which a variable was last set.
    pub fn get(&mut self, variable: Variable) -> Value {
        match self.has_variable(variable) {
            true => self.builder.use_var(variable.inner),
            false => self.dummy(clif_type(variable.ty)),
        }
    }

    fn has_variable(&mut self, variable: Variable) -> bool {
        let is_own = variable.body == self.number;
        if !is_own {
            self.misused(anyhow!("it uses a variable of another function"));
        }
        is_own
    }

    /// Checks that `value`, an argument of `what`, has type `ty`, and returns whether it does.
    pub(super) fn expect(&mut self, what: &str, value: Value, ty: Type) -> bool {
        let Some(found) = self.type_of(what, value) else { return false };
        if found != clif_type(ty) {
            self.misused(anyhow!(
                "`{what}` takes a value of type {ty}, but was given one of {found}"
            ));
            return false;
        }
        if ty == Type::Ref && !self.is_reference(value) {
            self.misused(anyhow!("`{what}` takes a reference, but {NOT_A_REFERENCE}"));
            return false;
        }
        if ty == Type::Func && !self.is_function(value) {
            self.misused(anyhow!(
                "`{what}` takes a reference to a function, but was given an integer"
            ));
            return false;
        }
        if ty != Type::Ref && self.is_declared(value) {
            self.misused(anyhow!("`{what}` takes a value of type {ty}, but was given a reference"));
            return false;
        }
        true
    }

    /// Whether `value`, an `i32`, is a reference to a function as far as the body knows.
    pub(super) fn is_function(&self, value: Value) -> bool {
        let dfg = &self.builder.func.dfg;
        let value = dfg.resolve_aliases(value);
        self.env.functions.contains(&value)
            || match dfg.value_def(value) {
                ValueDef::Result(inst, _) => match dfg.insts[inst] {
                    InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => imm.bits() == 0,
                    // Both are checked when the function is called.
                    InstructionData::Ternary { opcode: Opcode::Select, .. } => true,
                    _ => false,
                },
                ValueDef::Param(..) => !self.params.contains(&value),
                ValueDef::Union(..) => false,
            }
    }

    /// Whether `value` was declared as a reference, by the emitter or by the user.
    pub(super) fn is_declared(&self, value: Value) -> bool {
        self.env.annotations.references.contains(self.builder.func.dfg.resolve_aliases(value))
    }

    /// Whether `value`, an `i64`, is a reference as far as the body knows.
    pub(super) fn is_reference(&self, value: Value) -> bool {
        let func = &self.builder.func;
        let value = func.dfg.resolve_aliases(value);
        self.is_declared(value)
            || match func.dfg.value_def(value) {
                ValueDef::Result(inst, _) => match func.dfg.insts[inst] {
                    // Null and `i31`s, and what `ref_i31` emits.
                    InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                        let word = u32::try_from(imm.bits()).ok();
                        word.is_some_and(|word| {
                            VMGcRef::from_raw_u32(word).is_none_or(|gc_ref| gc_ref.is_i31())
                        })
                    }
                    InstructionData::Unary { opcode: Opcode::Uextend, arg } => self.is_i31(arg),
                    // These are derived, as block parameters are.
                    InstructionData::Ternary { opcode: Opcode::Select, .. } => true,
                    _ => false,
                },
                ValueDef::Param(..) => value != self.env.vmctx && !self.params.contains(&value),
                ValueDef::Union(..) => false,
            }
    }

    /// Whether `word` is what `ref_i31` extends: an integer that was shifted by one bit and tagged.
    fn is_i31(&self, word: Value) -> bool {
        let dfg = &self.builder.func.dfg;
        let definition = |value| dfg.value_def(value).inst().map(|inst| dfg.insts[inst]);
        let is_constant = |value, bits| match definition(value) {
            Some(InstructionData::UnaryImm { opcode: Opcode::Iconst, imm }) => imm.bits() == bits,
            _ => false,
        };
        let Some(InstructionData::Binary { opcode: Opcode::Bor, args: [shifted, tag] }) =
            definition(word)
        else {
            return false;
        };
        let Some(InstructionData::Binary { opcode: Opcode::Ishl, args: [_, by] }) =
            definition(shifted)
        else {
            return false;
        };
        dfg.value_type(word) == types::I32
            && is_constant(tag, i64::from(I31::TAG))
            && is_constant(by, 1)
    }

    /// A value of `ty` that replaces a value that cannot be made because of a misuse.
    pub(super) fn dummy(&mut self, ty: ir::Type) -> Value {
        match ty {
            types::F32 => self.ins().f32const(0.0),
            types::F64 => self.ins().f64const(0.0),
            types::I8X16 => {
                let zero = self.ins().iconst(types::I8, 0);
                self.ins().splat(types::I8X16, zero)
            }
            ty => self.ins().iconst(ty, 0),
        }
    }
}
