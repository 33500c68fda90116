//! [`Body`]: a function that is being built.

use super::{Callee, FunctionHandle, Module, clif_signature, clif_type};
use crate::{Engine, Type};
use anyhow::{Result, anyhow, ensure};
use cranelift_codegen::ir::{self, InstBuilder, InstructionData, Opcode, Value, ValueDef, types};
use cranelift_frontend::{FuncInstBuilder, FunctionBuilder};
use gc_compiler::safepoints::References;
use gc_compiler::{GcEmitter, GcFuncEnv, NewObject, import_function, import_host_call, trap_code};
use gc_types::{Abi, GcLayout, HostCall, I31, Trap, VMGcRef};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// The function's environment for `gc-compiler`.
pub(super) struct Env {
    engine: Engine,
    vmctx: Value,
    pub(super) references: References,
    host_calls: HashMap<HostCall, ir::FuncRef>,
    /// The first words of allocated objects, and the layouts with which they are allocated.
    pub(super) allocated: Vec<(Value, GcLayout)>,
}

impl GcFuncEnv for Env {
    fn abi(&self) -> &Abi {
        self.engine.abi()
    }

    fn vmctx(&mut self, _: &mut ir::Function) -> Value {
        self.vmctx
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        let signature = self.engine.abi().host_call(call);
        let signature = signature.expect("an emitter makes the calls that its Abi has");
        *self.host_calls.entry(call).or_insert_with(|| import_host_call(func, call, signature))
    }

    fn references(&mut self) -> &mut References {
        &mut self.references
    }

    fn allocates(&mut self, header_word: Value, layout: NewObject<'_>) {
        let layout = match layout {
            NewObject::Struct(layout) => GcLayout::Struct(layout.clone()),
            NewObject::Array(layout) => GcLayout::Array(*layout),
        };
        if self.allocated.last().is_none_or(|last| *last != (header_word, layout.clone())) {
            self.allocated.push((header_word, layout));
        }
    }
}

/// The result of a closure that builds a function: `()` or a `Result`.
///
/// # Examples
/// ```
/// use gc_engine::{Collector, Engine, Module, Type};
///
/// let mut module = Module::new(&Engine::new(Collector::copying())?);
/// let error = module.function("parse", [], [Type::I64], |f| {
///     let number: i64 = "many".parse()?;
///     let number = f.i64(number);
///     f.ret(&[number]);
///     anyhow::Ok(())
/// });
/// assert!(error.is_err());
/// # anyhow::Ok(())
/// ```
pub trait Outcome {
    /// The error, if there is one.
    ///
    /// # Errors
    /// What the closure returned.
    fn into_result(self) -> Result<()>;
}

impl Outcome for () {
    fn into_result(self) -> Result<()> {
        Ok(())
    }
}

impl Outcome for Result<()> {
    fn into_result(self) -> Result<()> {
        self
    }
}

/// A variable of a function. It can be set more than once. It is zero or null until it is set.
///
/// # Examples
/// ```
/// use gc_engine::{Collector, Engine, Module, Store, Type};
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
/// let mut store = Store::new(&engine, &module.compile()?)?;
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

/// A function that is being built. Its methods append to the current block.
///
/// If a method is misused (a value of a wrong type, a function that is not declared), the
/// definition of the function fails with the first such error. A [`Value`] belongs to one body. In
/// another body it is an error at best, and another value at worst.
///
/// References automatically become roots. The body knows that values of [`Type::Ref`], and the
/// references that [`gc`](Body::gc) emits, are references. If code that is emitted with
/// [`builder`](Body::builder) makes a reference in another way, declare it with
/// [`declare_ref`](Body::declare_ref).
///
/// # Examples
/// ```
/// use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
/// use gc_engine::{Collector, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// module.function("max", [Type::I64, Type::I64], [Type::I64], |f| {
///     let (a, b) = (f.param(0), f.param(1));
///     let less = f.ins().icmp(IntCC::SignedLessThan, a, b);
///     f.if_then(less, |f| f.ret(&[b]));
///     f.ret(&[a]);
/// })?;
/// // The emitter of `gc-compiler` has more operations, here on unboxed integers.
/// module.function("box", [Type::I32], [Type::Ref], |f| {
///     let number = f.param(0);
///     let boxed = f.gc().ref_i31(number);
///     f.ret(&[boxed]);
/// })?;
/// let mut store = Store::new(&engine, &module.compile()?)?;
/// assert_eq!(store.function::<(i64, i64), i64>("max")?.call(&mut store, (3, 5))?, 5);
/// # anyhow::Ok(())
/// ```
pub struct Body<'m, 'b> {
    module: &'m mut Module,
    engine: Engine,
    function: FunctionHandle,
    builder: FunctionBuilder<'b>,
    env: Env,
    /// Its number among all bodies of the process.
    number: u64,
    params: Vec<Value>,
    functions: HashMap<u32, ir::FuncRef>,
    /// The first misuse.
    error: Option<anyhow::Error>,
}

/// The end of the message about a value that is used as a reference.
pub(super) const NOT_A_REFERENCE: &str =
    "was given an integer (`declare_ref` declares a reference that other code makes)";

/// The number of bodies that were begun.
static BODIES: AtomicU64 = AtomicU64::new(0);

impl<'m, 'b> Body<'m, 'b> {
    pub(super) fn new(
        module: &'m mut Module,
        function: &FunctionHandle,
        mut builder: FunctionBuilder<'b>,
    ) -> Body<'m, 'b> {
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let values = builder.block_params(entry);
        let (vmctx, params) = (values[0], values[1..].to_vec());
        let mut references = References::default();
        for (value, ty) in params.iter().zip(function.signature().params()) {
            if *ty == Type::Ref {
                references.mark(*value);
            }
        }
        let engine = module.engine.clone();
        let env = Env {
            engine: engine.clone(),
            vmctx,
            references,
            host_calls: HashMap::new(),
            allocated: Vec::new(),
        };
        let function = function.clone();
        let functions = HashMap::new();
        let number = BODIES.fetch_add(1, Ordering::Relaxed);
        Body { module, engine, function, builder, env, number, params, functions, error: None }
    }

    /// Ends the last block. Returns the block if the function must not reach it.
    pub(super) fn end(
        mut self,
        outcome: Result<()>,
    ) -> Result<(FunctionBuilder<'b>, Env, Option<ir::Block>)> {
        outcome?;
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut end = None;
        if !self.is_ended() {
            if self.function.signature().results().is_empty() {
                self.builder.ins().return_(&[]);
            } else {
                end = self.builder.current_block();
                self.builder.ins().trap(trap_code(Trap::Unreachable));
            }
        }
        let func = &self.builder.func;
        let open = func.layout.blocks().find(|block| {
            let last = func.layout.last_inst(*block);
            last.is_none_or(|last| !func.dfg.insts[last].opcode().is_terminator())
        });
        match open {
            Some(block) => Err(anyhow!("its {block} does not end with a branch or a return")),
            None => Ok((self.builder, self.env, end)),
        }
    }

    /// Whether the current block already ends with a terminator.
    pub(super) fn is_ended(&self) -> bool {
        let func = &self.builder.func;
        let last = self.builder.current_block().and_then(|block| func.layout.last_inst(block));
        last.is_some_and(|last| func.dfg.insts[last].opcode().is_terminator())
    }

    /// Records a misuse.
    pub(super) fn misused(&mut self, error: anyhow::Error) {
        self.error.get_or_insert(error);
    }

    /// The module, to declare types and to define other functions. Nothing of another module that is
    /// put in its place can be used.
    pub fn module(&mut self) -> &mut Module {
        self.module
    }

    /// The module, if it was not exchanged for another with [`module`](Body::module).
    fn own_module(&self) -> Result<&Module> {
        ensure!(
            self.module.number == self.function.module,
            "another module was put in the place of its own while it was built"
        );
        Ok(self.module)
    }

    /// The function that is being built.
    pub fn function(&self) -> &FunctionHandle {
        &self.function
    }

    /// Cranelift's builder of this function. Code that you build with it must keep the function's
    /// signature and end its blocks. Sealing is optional. Use [`ret`](Body::ret) and
    /// [`trap`](Body::trap) instead of Cranelift's instructions, so that code can follow.
    ///
    /// CLIF that is written with this builder is part of the compiler. The
    /// [checkers](crate::EngineBuilder::verify) find mistakes in it before it runs. They are no
    /// defence against CLIF that is written to deceive them.
    ///
    /// # Panics
    /// Cranelift's builder panics if it is misused, for example by an instruction after the end of
    /// a block.
    pub fn builder(&mut self) -> &mut FunctionBuilder<'b> {
        &mut self.builder
    }

    /// Inserts an instruction. [`builder`](Body::builder) says what to consider.
    ///
    /// # Panics
    /// If Cranelift's builder is misused.
    pub fn ins(&mut self) -> FuncInstBuilder<'_, 'b> {
        self.builder.ins()
    }

    /// The emitter of all code that accesses the heap: casts, `i31`s, bulk operations, and the
    /// operations that the methods of this type emit with checks.
    pub fn gc(&mut self) -> GcEmitter<'_, 'b> {
        GcEmitter::new(&mut self.builder, &mut self.env, self.engine.collector().compiler())
    }

    /// Declares that `value` is a reference, and returns it.
    pub fn declare_ref(&mut self, value: Value) -> Value {
        // Block parameters are derived from the values that are passed to them. The builder may
        // still replace parameters that stand for variables.
        let value = self.builder.func.dfg.resolve_aliases(value);
        if matches!(self.builder.func.dfg.value_def(value), ValueDef::Result(..)) {
            self.env.references.mark(value);
        }
        value
    }

    /// Sets the source location, a number, of the following instructions. Traces show it.
    pub fn at(&mut self, location: u32) {
        self.builder.set_srcloc(ir::SourceLoc::new(location));
    }

    // ---- values ----

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
        let [Some(a), Some(b)] = [a, b].map(|value| self.type_of(what, value)) else {
            return false;
        };
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
        let dfg = &self.builder.func.dfg;
        if dfg.value_is_valid(value) {
            return Some(dfg.value_type(value));
        }
        self.misused(anyhow!("`{what}` uses {value}, which is not a value of this function"));
        None
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
        if ty != Type::Ref && self.is_declared(value) {
            self.misused(anyhow!("`{what}` takes a value of type {ty}, but was given a reference"));
            return false;
        }
        true
    }

    /// Whether `value` was declared as a reference, by the emitter or by the user.
    pub(super) fn is_declared(&self, value: Value) -> bool {
        self.env.references.contains(self.builder.func.dfg.resolve_aliases(value))
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

    // ---- calls ----

    /// Calls a function by its name or handle and returns its results.
    pub fn call(&mut self, callee: impl Callee, args: &[Value]) -> Vec<Value> {
        let Some((callee, code, args)) = self.prepare_call(callee, args) else {
            return self.dummy_results();
        };
        let call = self.ins().call(code, &args);
        let results = self.builder.inst_results(call).to_vec();
        for (value, ty) in results.iter().zip(callee.signature().results()) {
            if *ty == Type::Ref {
                self.declare_ref(*value);
            }
        }
        results
    }

    /// Calls a function and returns its results from this function. The callee's frame replaces
    /// this function's frame.
    pub fn tail_call(&mut self, callee: impl Callee, args: &[Value]) {
        let Some((callee, code, args)) = self.prepare_call(callee, args) else { return };
        if callee.signature().results() != self.function.signature().results() {
            let error = anyhow!(
                "it makes a tail call of `{}`, which has other results: its type is {}",
                callee.name(),
                callee.signature()
            );
            return self.misused(error);
        }
        self.ins().return_call(code, &args);
        self.begin_unreachable();
    }

    /// The callee, its code, and its arguments with the context before them.
    fn prepare_call(
        &mut self,
        callee: impl Callee,
        args: &[Value],
    ) -> Option<(FunctionHandle, ir::FuncRef, Vec<Value>)> {
        let callee = match self.own_module().and_then(|module| callee.find(module)) {
            Ok(callee) => callee,
            Err(error) => {
                self.misused(error);
                return None;
            }
        };
        let params = callee.signature().params();
        if params.len() != args.len() {
            let error = anyhow!(
                "it calls `{}`, which takes {} values, with {}",
                callee.name(),
                params.len(),
                args.len()
            );
            self.misused(error);
            return None;
        }
        for (arg, ty) in args.iter().zip(params) {
            if !self.expect(callee.name(), *arg, *ty) {
                return None;
            }
        }
        let func = &mut self.builder.func;
        let code = *self.functions.entry(callee.index).or_insert_with(|| {
            import_function(func, callee.index, clif_signature(callee.signature()))
        });
        let args = [self.env.vmctx].into_iter().chain(args.iter().copied()).collect();
        Some((callee, code, args))
    }

    /// Values that replace the results of a call that cannot be made. There are more of them than
    /// any correct use needs.
    fn dummy_results(&mut self) -> Vec<Value> {
        let dummy = self.dummy(types::I64);
        vec![dummy; 8]
    }

    /// Returns from the function. Code that is emitted after it is never reached.
    pub fn ret(&mut self, values: &[Value]) {
        let function = self.function.clone();
        let results = function.signature().results();
        if results.len() != values.len() {
            let error = anyhow!("it returns {} values, not {}", values.len(), results.len());
            return self.misused(error);
        }
        if values.iter().zip(results).all(|(value, ty)| self.expect("ret", *value, *ty)) {
            self.ins().return_(values);
            self.begin_unreachable();
        }
    }

    /// Traps. Code that is emitted after it is never reached.
    pub fn trap(&mut self, trap: Trap) {
        self.ins().trap(trap_code(trap));
        self.begin_unreachable();
    }

    /// Continues in a block that is never reached.
    fn begin_unreachable(&mut self) {
        let block = self.builder.create_block();
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
    }
}
