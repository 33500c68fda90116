//! References to functions, and calls through them.
//!
//! In compiled code and in the heap, a reference to a function is the function's number in the store (a
//! value of 32 bits). A call looks the number up in the store's table and compares the function's type. So
//! whatever the heap contains, a call reaches only functions of the type that it expects.

use super::body::{CalleeCode, REFERENCES};
use super::{Body, Callee, FunctionBody, FunctionHandle, clif_type};
use crate::code::Word;
use crate::registry::Definition;
use crate::{Signature, Type};
use anyhow::{Result, anyhow};
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};
use gc_compiler::{FuncRefTest, FuncRefType, GcFuncEnv as _, regions, trap_code};
use gc_types::{Trap, TypeWord};
use std::sync::Arc;

/// The most functions with which a reference is compared before it is called.
const MOST_LIKELY: usize = 4;

/// What an indirect call calls, in messages.
const INDIRECT: &str = "a function through a reference";

impl Body<'_, '_> {
    /// A reference to a function (a value of [`Type::Func`]). A reference to a function of this module is to
    /// its code here, also after the function was [replaced](crate::Store::replace): a closure's
    /// captured values belong to its code. A reference to an imported function is to what its name
    /// stands for when it is called.
    ///
    /// # Examples
    /// A closure is an object with a function and the values that it has captured:
    ///
    /// ```
    /// use gc_engine::{Collector, Engine, Module, Rooted, Signature, Store, Type};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut module = Module::new(&engine);
    /// let closure = module.struct_type("closure", [Type::Func, Type::I64])?;
    /// let adds = module.function("adds", [Type::Ref, Type::I64], [Type::I64], |f| {
    ///     let (closure_ref, n) = (f.param(0), f.param(1));
    ///     let captured = f.struct_get(&closure, closure_ref, 1);
    ///     let sum = f.add(captured, n);
    ///     f.ret(&[sum]);
    /// })?;
    /// module.function("adder", [Type::I64], [Type::Ref], |f| {
    ///     let fields = [f.func_ref(&adds), f.param(0)];
    ///     let new = f.struct_new(&closure, &fields);
    ///     f.ret(&[new]);
    /// })?;
    /// let unary = Signature::new([Type::Ref, Type::I64], [Type::I64]);
    /// module.function("apply", [Type::Ref, Type::I64], [Type::I64], |f| {
    ///     let (closure_ref, n) = (f.param(0), f.param(1));
    ///     let function = f.struct_get(&closure, closure_ref, 0);
    ///     let result = f.call_indirect(&unary, function, &[closure_ref, n]);
    ///     f.ret(&result);
    /// })?;
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&module.compile()?)?;
    /// let adder = store.function::<i64, Rooted>("adder")?.call(&mut store, 40)?;
    /// let apply = store.function::<(Rooted, i64), i64>("apply")?;
    /// assert_eq!(apply.call(&mut store, (adder, 2))?, 42);
    /// # anyhow::Ok(())
    /// ```
    pub fn func_ref(&mut self, function: impl Callee) -> Value {
        match self.func_ref_of(function) {
            Ok(value) => value,
            Err(error) => {
                self.misused(error);
                self.dummy(types::I32)
            }
        }
    }

    fn func_ref_of(&mut self, function: impl Callee) -> Result<Value> {
        let module = self.own_module()?;
        let function = function.find(module)?;
        let value = match module.functions[function.index as usize].body {
            FunctionBody::Imported(word) => {
                let reference = self.import(word);
                let at = self.env.abi().offsets().func_ref_id();
                self.load(types::I32, regions::TYPES, reference, at)
            }
            FunctionBody::Declared | FunctionBody::Built(..) | FunctionBody::C(_) => {
                let (index, signature) = (function.index, function.signature.clone());
                let word = module.add_word(Word::Reference(index, signature.clone()))?;
                let same = module.referenced.entry(signature).or_default();
                if !same.contains(&index) && same.len() <= MOST_LIKELY {
                    same.push(index);
                }
                self.load_word(types::I32, REFERENCES, word)
            }
        };
        self.env.functions.insert(value);
        Ok(value)
    }

    /// The null reference to a function.
    pub fn func_null(&mut self) -> Value {
        self.ins().iconst(types::I32, 0)
    }

    /// Whether a reference to a function is null (`I8`: 1 if so).
    pub fn func_is_null(&mut self, function: Value) -> Value {
        if !self.expect("func_is_null", function, Type::Func) {
            return self.dummy(types::I8);
        }
        self.ins().icmp_imm_u(IntCC::Equal, function, 0)
    }

    /// Calls the function to which `function` refers, and returns its results. Traps if the reference
    /// is null, or if the function is of another type.
    pub fn call_indirect(
        &mut self,
        signature: &Signature,
        function: Value,
        args: &[Value],
    ) -> Vec<Value> {
        let what = "call_indirect";
        if !self.expect(what, function, Type::Func)
            || !self.expect_args(what, INDIRECT, signature, args)
        {
            return self.dummy_results();
        }
        let likely = self.likely(signature);
        if likely.is_empty() {
            return self.call_any(signature, function, args);
        }
        let types = signature.results();
        let called = self.builder.create_block();
        for ty in types {
            let value = self.builder.append_block_param(called, clif_type(*ty));
            if *ty == Type::Func {
                self.env.functions.insert(value);
            }
        }
        for target in likely {
            let own = self.func_ref(&target);
            let is_target = self.ins().icmp(IntCC::Equal, function, own);
            let [direct, next] = self.new_blocks();
            self.ins().brif(is_target, direct, &[], next, &[]);
            self.enter(direct);
            let results = self.call(&target, args);
            self.jump(called, &results);
            self.enter(next);
        }
        // All functions of this module have been compared, so what follows is rare.
        let other = self.builder.current_block().expect("a block is being built");
        self.builder.set_cold_block(other);
        let results = self.call_any(signature, function, args);
        let results: Vec<_> = results.into_iter().take(types.len()).collect();
        self.jump(called, &results);
        self.enter(called);
        self.builder.block_params(called).to_vec()
    }

    /// The functions of the module of this type to which it makes references, if there are few. They are likely
    /// to be called through a reference: it is compared with each, and they are called directly and may be inlined.
    /// (Class hierarchy analysis, Dean, Grove and Chambers, ECOOP 1995, with a test because other code
    /// may make references too.)
    fn likely(&mut self, signature: &Signature) -> Vec<FunctionHandle> {
        let Ok(module) = self.own_module() else { return Vec::new() };
        let Some(found) = module.referenced.get(signature) else { return Vec::new() };
        let mut handles = found.iter().map(|index| &module.functions[*index as usize]);
        match found.len() <= MOST_LIKELY && handles.clone().all(|function| !function.forgotten) {
            true => handles.by_ref().map(|function| function.handle.clone()).collect(),
            false => Vec::new(),
        }
    }

    /// Calls any function to which `function` refers.
    fn call_any(&mut self, signature: &Signature, function: Value, args: &[Value]) -> Vec<Value> {
        match self.prepare_indirect("call_indirect", signature, function, args) {
            Some((code, args)) => self.emit_call(code, &args, signature.results()),
            None => self.dummy_results(),
        }
    }

    /// Calls the function to which `function` refers, and returns its results from this function. The
    /// callee's frame replaces this function's frame. Traps as [`call_indirect`](Body::call_indirect)
    /// does.
    pub fn tail_call_indirect(&mut self, signature: &Signature, function: Value, args: &[Value]) {
        if signature.results() != self.function().signature().results() {
            let error = anyhow!(
                "it makes a tail call of a function with other results: its type is {signature}"
            );
            return self.misused(error);
        }
        let prepared = self.prepare_indirect("tail_call_indirect", signature, function, args);
        if let Some((code, args)) = prepared {
            self.emit_tail_call(code, &args);
        }
    }

    /// The code of the function, and its arguments with its context before them.
    fn prepare_indirect(
        &mut self,
        what: &str,
        signature: &Signature,
        function: Value,
        args: &[Value],
    ) -> Option<(CalleeCode, Vec<Value>)> {
        if !self.expect(what, function, Type::Func)
            || !self.expect_args(what, INDIRECT, signature, args)
        {
            return None;
        }
        let signature = Arc::new(signature.clone());
        let ty = Definition::Function(signature.clone());
        let ty = match self.own_module().and_then(|module| module.add_type(ty)) {
            Ok(ty) => ty,
            Err(error) => {
                self.misused(error);
                return None;
            }
        };
        let type_index = self.type_word(TypeWord::index(ty));
        let target = Some(FuncRefType { type_index, depth: 0, is_final: true });
        let test = FuncRefTest { nullable: false, known_non_null: true, target };
        self.ins().trapz(function, trap_code(Trap::NullReference));
        let reference = self.gc().func_ref_from_id(function, false, None);
        self.gc().func_ref_cast(reference, &test, Trap::BadSignature);
        let (code, vmctx) = self.code_of(reference);
        let code = CalleeCode::At(self.signature(&signature), code);
        Some((code, [vmctx].into_iter().chain(args.iter().copied()).collect()))
    }
}
