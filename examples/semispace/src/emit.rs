//! Emits a function. Each value is a reference for `cranelift-frontend`, which puts it into stack maps.

use crate::compile::{Declared, signature};
use crate::read::Expression;
use anyhow::{Context as _, Result, bail, ensure};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, FuncRef, InstBuilder, MemFlagsData, Value, types};
use cranelift_frontend::FunctionBuilder;
use cranelift_module::{FuncId, Linkage, Module};
use cranelift_object::ObjectModule;
use stack_roots::check::{SignatureTypes, Types, Unboxed, ValueType};
use std::collections::HashMap;

/// The functions of the runtime.
#[derive(Debug)]
pub(crate) struct Runtime {
    pair: FuncId,
    print: FuncId,
    wrong_type: FuncId,
    pub(crate) run: FuncId,
}

impl Runtime {
    pub(crate) fn declare(module: &mut ObjectModule) -> Result<Runtime> {
        let mut declare = |name: &str, params: usize, result: Option<_>| {
            let mut signature = signature(params);
            signature.returns = result.map(AbiParam::new).into_iter().collect();
            anyhow::Ok(module.declare_function(name, Linkage::Import, &signature)?)
        };
        Ok(Runtime {
            pair: declare("semispace_pair", 2, Some(types::I64))?,
            print: declare("semispace_print", 1, None)?,
            wrong_type: declare("semispace_wrong_type", 1, None)?,
            run: declare("semispace_run", 1, Some(types::I32))?,
        })
    }
}

/// Emits one function.
pub(crate) struct Emitter<'f> {
    builder: FunctionBuilder<'f>,
    module: &'f mut ObjectModule,
    declared: &'f Declared,
    runtime: &'f Runtime,
    /// What the checker must know.
    types: Types,
    callees: HashMap<FuncId, FuncRef>,
    variables: Vec<(String, Value)>,
}

impl<'f> Emitter<'f> {
    pub(crate) fn new(
        builder: FunctionBuilder<'f>,
        module: &'f mut ObjectModule,
        declared: &'f Declared,
        runtime: &'f Runtime,
    ) -> Emitter<'f> {
        let params = builder.func.signature.params.len();
        let mut types = Types::new(values(params, 1));
        types.unboxed(Unboxed::LowestBitSet);
        let (callees, variables) = (HashMap::new(), Vec::new());
        Emitter { builder, module, declared, runtime, types, callees, variables }
    }

    /// Emits the function, and returns its types.
    pub(crate) fn function(mut self, params: &[String], body: &Expression) -> Result<Types> {
        let entry = self.builder.create_block();
        self.builder.append_block_params_for_function_params(entry);
        self.builder.switch_to_block(entry);
        self.builder.seal_block(entry);
        for (n, name) in params.iter().enumerate() {
            let value = self.builder.block_params(entry)[n];
            self.reference(value);
            self.variables.push((name.clone(), value));
        }
        let result = self.expression(body)?;
        self.builder.ins().return_(&[result]);
        self.builder.finalize(self.module.isa().frontend_config());
        Ok(self.types)
    }

    // ANCHOR: stack_maps
    /// Says that `value` is a reference.
    fn reference(&mut self, value: Value) -> Value {
        self.builder.declare_value_needs_stack_map(value);
        value
    }

    /// Loads a value from a pair.
    fn load(&mut self, pair: Value, offset: i32) -> Value {
        let value = self.builder.ins().load(types::I64, MemFlagsData::trusted(), pair, offset);
        self.types.declare_value(value, ValueType::Ref);
        self.reference(value)
    }

    /// The function, in the function that is emitted. Of those of the runtime, only `pair` collects.
    fn callee(&mut self, id: FuncId, types: SignatureTypes) -> FuncRef {
        *self.callees.entry(id).or_insert_with(|| {
            let callee = self.module.declare_func_in_func(id, self.builder.func);
            self.types.declare_function(callee, types);
            if [self.runtime.print, self.runtime.wrong_type].contains(&id) {
                self.types.declare_quiet(callee);
            }
            callee
        })
    }
    // ANCHOR_END: stack_maps

    fn call(&mut self, id: FuncId, arguments: &[Value]) -> Value {
        let callee = self.callee(id, values(arguments.len(), 1));
        let call = self.builder.ins().call(callee, arguments);
        let result = self.builder.inst_results(call)[0];
        self.reference(result)
    }

    /// Calls a function of the runtime that returns nothing.
    fn call_quiet(&mut self, id: FuncId, argument: Value) {
        let callee = self.callee(id, values(1, 0));
        self.builder.ins().call(callee, &[argument]);
    }

    fn number(&mut self, number: i64) -> Value {
        self.builder.ins().iconst(types::I64, number << 1 | 1)
    }

    fn nil(&mut self) -> Value {
        self.builder.ins().iconst(types::I64, 0)
    }

    fn expression(&mut self, expression: &Expression) -> Result<Value> {
        match expression {
            Expression::Number(number) => Ok(self.number(*number)),
            Expression::Nil => Ok(self.nil()),
            Expression::Name(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map(|(_, value)| *value).with_context(|| format!("unknown name {name}"))
            }
            Expression::Let(name, value, body) => {
                let value = self.expression(value)?;
                self.variables.push((name.clone(), value));
                let result = self.expression(body);
                self.variables.pop();
                result
            }
            Expression::If(parts) => self.emit_if(parts),
            Expression::Call(name, arguments) => {
                let arguments = arguments
                    .iter()
                    .map(|argument| self.expression(argument))
                    .collect::<Result<Vec<_>>>()?;
                self.operation(name, &arguments)
            }
        }
    }

    fn emit_if(&mut self, [condition, then, otherwise]: &[Expression; 3]) -> Result<Value> {
        let [first, second, end] = std::array::from_fn(|_| self.builder.create_block());
        let result = self.builder.append_block_param(end, types::I64);
        self.reference(result);
        let condition = self.expression(condition)?;
        // `nil` is 0, and the integer zero is 1.
        let is_true = self.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, condition, 1);
        self.builder.ins().brif(is_true, first, &[], second, &[]);
        for (block, part) in [(first, then), (second, otherwise)] {
            self.builder.switch_to_block(block);
            self.builder.seal_block(block);
            let value = self.expression(part)?;
            self.builder.ins().jump(end, &[value.into()]);
        }
        self.builder.switch_to_block(end);
        self.builder.seal_block(end);
        Ok(result)
    }

    fn operation(&mut self, name: &str, arguments: &[Value]) -> Result<Value> {
        match (name, arguments) {
            ("cons", [head, tail]) => Ok(self.call(self.runtime.pair, &[*head, *tail])),
            ("head", [pair]) => Ok(self.part(*pair, 0)),
            ("tail", [pair]) => Ok(self.part(*pair, 8)),
            ("+", [a, b]) => {
                let [a, b] = [self.integer(*a), self.integer(*b)];
                let sum = self.builder.ins().iadd(a, b);
                Ok(self.builder.ins().bor_imm_s(sum, 1))
            }
            ("-", [a, b]) => {
                let [a, b] = [self.integer(*a), self.integer(*b)];
                let difference = self.builder.ins().isub(a, b);
                Ok(self.builder.ins().bor_imm_s(difference, 1))
            }
            ("<", [a, b]) => {
                let [a, b] = [self.integer(*a), self.integer(*b)];
                let less = self.builder.ins().icmp(IntCC::SignedLessThan, a, b);
                let [yes, no] = [1, 0].map(|number| self.number(number));
                Ok(self.builder.ins().select(less, yes, no))
            }
            ("print", [value]) => {
                self.integer(*value);
                self.call_quiet(self.runtime.print, *value);
                Ok(*value)
            }
            ("cons" | "head" | "tail" | "+" | "-" | "<" | "print", _) => {
                bail!("{name} does not take {} arguments", arguments.len())
            }
            _ => {
                let function = self.declared.functions.get(name);
                let (id, params) = *function.with_context(|| format!("unknown function {name}"))?;
                let count = arguments.len();
                ensure!(params == count, "{name} takes {params} arguments, not {count}");
                Ok(self.call(id, arguments))
            }
        }
    }

    /// Twice an integer, with a check that the value is one.
    fn integer(&mut self, value: Value) -> Value {
        let tag = self.builder.ins().band_imm_s(value, 1);
        self.check(tag, value);
        self.builder.ins().iadd_imm_s(value, -1)
    }

    /// Loads a part of a pair, with a check that the value is one.
    fn part(&mut self, pair: Value, offset: i32) -> Value {
        let tag = self.builder.ins().band_imm_s(pair, 1);
        let is_even = self.builder.ins().icmp_imm_u(IntCC::Equal, tag, 0);
        self.check(is_even, pair);
        self.check(pair, pair);
        self.load(pair, offset)
    }

    /// Calls the runtime if `condition` is zero.
    fn check(&mut self, condition: Value, value: Value) {
        let [right, wrong] = std::array::from_fn(|_| self.builder.create_block());
        self.builder.set_cold_block(wrong);
        self.builder.ins().brif(condition, right, &[], wrong, &[]);
        self.builder.switch_to_block(wrong);
        self.builder.seal_block(wrong);
        self.call_quiet(self.runtime.wrong_type, value);
        self.builder.ins().jump(right, &[]);
        self.builder.switch_to_block(right);
        self.builder.seal_block(right);
    }
}

/// A signature of this number of values.
fn values(params: usize, results: usize) -> SignatureTypes {
    SignatureTypes::new(vec![ValueType::Ref; params], vec![ValueType::Ref; results])
}
