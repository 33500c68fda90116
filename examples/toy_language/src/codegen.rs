//! From [`Expr`] to CLIF: one function for each `fun`, all of one signature.
//!
//! A compiled function gets its vmctx, its own closure and its argument, and returns a
//! value; every value is a reference. What a `fun` uses of its surroundings is copied into
//! its closure (flat closures: Appel, "Compiling with Continuations", 1992, chapter 10). A
//! recursive function finds itself in its closure parameter, so that closures form no
//! cycles, which reference counting could not free.

use crate::syntax::{Expr, Fun, Op};
use crate::values::{
    CLOSURE, CLOSURE_LAYOUT, CLOSURE_WORD, HEAD, PAIR, PAIR_WORD, TAIL, pair_layout,
};
use anyhow::{Result, anyhow};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, ArgumentPurpose, InstBuilder, MemFlagsData, Signature, SourceLoc, UserFuncName,
    Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::safepoints::{References, place_safepoints};
use gc_compiler::{
    ArrayInit, CompilerOptions, GcCompiler, GcEmitter, GcFuncEnv, RefTest, TestTarget, regions,
    trap_code,
};
use gc_types::{HostCall, HostCallType, HostSignature, I31, Trap, VMOffsets};
use std::collections::{HashMap, VecDeque};

const OFFSETS: VMOffsets = VMOffsets::HOST;

/// vmctx: address of the table of the functions' code.
pub(crate) const VMCTX_CODE: u32 = OFFSETS.vmctx_prefix_size();
/// vmctx: number of functions in that table (u64).
pub(crate) const VMCTX_CODE_LEN: u32 = VMCTX_CODE + 8;

/// Our own part of the vmctx, and the code table: written before any code runs.
const REGION_CODE_TABLE: regions::Region = regions::EMBEDDER;

/// The host call behind `print`.
pub(crate) const PRINT: HostCall = HostCall::embedder(0);
/// Its signature.
pub(crate) const PRINT_SIGNATURE: HostSignature =
    HostSignature { name: "print", params: &[HostCallType::Ref], result: None, fallible: true };

/// The signature of every compiled function: `(vmctx, closure, argument) -> value`.
pub(crate) fn signature() -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
    signature.params.extend([AbiParam::new(types::I64); 2]);
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

/// A function ready to be compiled.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) clif: ir::Function,
}

/// A `fun` whose code is still to be made.
struct Pending<'a> {
    name: String,
    /// By which it calls itself.
    itself: Option<&'a str>,
    param: Option<&'a str>,
    captured: Vec<&'a str>,
    body: &'a Expr,
}

/// The functions of `program`, each at its code's number. The first one is the program
/// itself.
///
/// # Errors
/// If a name is not bound.
pub(crate) fn functions(
    program: &Expr,
    collector: &dyn GcCompiler,
    config: TargetFrontendConfig,
) -> Result<Vec<Function>> {
    let mut pending = VecDeque::from([Pending {
        name: "the program".into(),
        itself: None,
        param: None,
        captured: Vec::new(),
        body: program,
    }]);
    let mut functions = Vec::new();
    while let Some(function) = pending.pop_front() {
        let next = functions.len() + 1 + pending.len();
        let clif = build(&function, collector, config, next, &mut pending)?;
        functions.push(Function { name: function.name, clif });
    }
    Ok(functions)
}

/// What gc-compiler asks of us.
struct Env {
    options: CompilerOptions,
    vmctx: Value,
    references: References,
    host_calls: HashMap<HostCall, ir::FuncRef>,
}

impl GcFuncEnv for Env {
    fn options(&self) -> &CompilerOptions {
        &self.options
    }

    fn vmctx(&mut self, _: &mut ir::Function) -> Value {
        self.vmctx
    }

    fn references(&mut self) -> &mut References {
        &mut self.references
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        *self.host_calls.entry(call).or_insert_with(|| {
            let signature = call.gc_signature().unwrap_or(&PRINT_SIGNATURE);
            gc_jit::import_host_call(func, call, signature)
        })
    }
}

fn build<'a>(
    function: &Pending<'a>,
    collector: &dyn GcCompiler,
    config: TargetFrontendConfig,
    next_code: usize,
    pending: &mut VecDeque<Pending<'a>>,
) -> Result<ir::Function> {
    let mut clif = ir::Function::with_name_signature(UserFuncName::default(), signature());
    gc_jit::set_stack_limit(&mut clif, &OFFSETS)?;
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut clif, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let &[vmctx, closure, argument] = builder.block_params(entry) else { unreachable!() };
    let mut scope: Vec<(&str, Binding)> = Vec::new();
    scope.extend(function.captured.iter().enumerate().map(|(i, name)| {
        // Behind the number of the code.
        (*name, Binding::Captured(i as u32 + 1))
    }));
    scope.extend(function.itself.map(|name| (name, Binding::Value(closure))));
    scope.extend(function.param.map(|name| (name, Binding::Value(argument))));
    let mut env = Env {
        options: CompilerOptions { offsets: OFFSETS, guarded: true, zeal: false, nursery: 0 },
        vmctx,
        references: References::default(),
        host_calls: HashMap::new(),
    };
    env.references.mark(closure);
    env.references.mark(argument);
    let mut body = Body {
        e: GcEmitter::new(&mut builder, &mut env),
        collector,
        closure,
        scope,
        next_code,
        pending,
    };
    body.tail(function.body)?;
    builder.finalize(config);
    place_safepoints(&mut clif, &env.references, &|func, callee| {
        gc_jit::imported_host_call(func, callee).is_none_or(HostCall::may_collect)
    })?;
    Ok(clif)
}

/// Where a name's value is.
#[derive(Clone, Copy)]
enum Binding {
    Value(Value),
    /// Element of the closure.
    Captured(u32),
}

/// A function being built.
struct Body<'a, 'b, 'e> {
    e: GcEmitter<'e, 'b>,
    collector: &'e dyn GcCompiler,
    closure: Value,
    /// The innermost binding is the last.
    scope: Vec<(&'a str, Binding)>,
    /// Number of the next `fun` that is found.
    next_code: usize,
    pending: &'e mut VecDeque<Pending<'a>>,
}

impl<'a> Body<'a, '_, '_> {
    fn at_line(&mut self, line: u32) {
        self.e.builder.set_srcloc(SourceLoc::new(line));
    }

    /// Emits `expr` as what the function returns.
    fn tail(&mut self, expr: &'a Expr) -> Result<()> {
        match expr {
            Expr::Call(function, argument, line) => {
                let (code, args) = self.callee(function, argument, *line)?;
                let signature = self.e.builder.import_signature(signature());
                self.e.builder.ins().return_call_indirect(signature, code, &args);
            }
            Expr::If(..) | Expr::Match { .. } => {
                self.branch(expr, |body, arm| body.tail(arm))?;
            }
            Expr::Let(name, value, rest) => {
                let value = self.value(value)?;
                self.with(&[(name, value)], |body| body.tail(rest))?;
            }
            Expr::Seq(first, rest) => {
                self.value(first)?;
                self.tail(rest)?;
            }
            _ => {
                let value = self.value(expr)?;
                self.e.builder.ins().return_(&[value]);
            }
        }
        Ok(())
    }

    /// Emits `expr` and gives its value.
    fn value(&mut self, expr: &'a Expr) -> Result<Value> {
        Ok(match expr {
            Expr::Int(value) => self.int(*value),
            Expr::Nil => self.e.ref_null(),
            Expr::Var(name, line) => self.variable(name, *line)?,
            Expr::Binary(op, a, b, line) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                self.at_line(*line);
                self.binary(*op, a, b)
            }
            Expr::Cons(head, tail) => {
                let (head, tail) = (self.value(head)?, self.value(tail)?);
                let word = self.e.builder.ins().iconst(types::I32, i64::from(PAIR_WORD));
                self.collector.struct_new(&mut self.e, word, &pair_layout(), &[head, tail])
            }
            Expr::If(..) | Expr::Match { .. } => {
                let merge = self.e.builder.create_block();
                let result = self.e.builder.append_block_param(merge, types::I64);
                self.e.declare_ref(result);
                self.branch(expr, |body, arm| {
                    let value = body.value(arm)?;
                    body.e.builder.ins().jump(merge, &[value.into()]);
                    Ok(())
                })?;
                self.enter(merge);
                result
            }
            Expr::Let(name, value, rest) => {
                let value = self.value(value)?;
                self.with(&[(name, value)], |body| body.value(rest))?
            }
            Expr::Fun(fun) => self.function(fun)?,
            Expr::Call(function, argument, line) => {
                let (code, args) = self.callee(function, argument, *line)?;
                let signature = self.e.builder.import_signature(signature());
                let call = self.e.builder.ins().call_indirect(signature, code, &args);
                let result = self.e.builder.inst_results(call)[0];
                self.e.declare_ref(result)
            }
            Expr::Print(inner) => {
                let value = self.value(inner)?;
                self.e.call_host(PRINT, &[value]);
                value
            }
            Expr::Seq(first, rest) => {
                self.value(first)?;
                self.value(rest)?
            }
        })
    }

    fn enter(&mut self, block: ir::Block) {
        self.e.builder.seal_block(block);
        self.e.builder.switch_to_block(block);
    }

    /// Emits both ways out of an `if` or a `match`; `arm` ends each.
    fn branch(
        &mut self,
        expr: &'a Expr,
        mut arm: impl FnMut(&mut Self, &'a Expr) -> Result<()>,
    ) -> Result<()> {
        let (yes, no) = (self.e.builder.create_block(), self.e.builder.create_block());
        match expr {
            Expr::If(condition, then, otherwise, line) => {
                let condition = self.value(condition)?;
                self.at_line(*line);
                let condition = self.unboxed(condition);
                self.e.builder.ins().brif(condition, yes, &[], no, &[]);
                self.enter(yes);
                arm(self, then)?;
                self.enter(no);
                arm(self, otherwise)
            }
            Expr::Match { list, nil, head, tail, cons, line } => {
                let list = self.value(list)?;
                let is_nil = self.e.ref_is_null(list);
                self.e.builder.ins().brif(is_nil, yes, &[], no, &[]);
                self.enter(yes);
                arm(self, nil)?;
                self.enter(no);
                self.at_line(*line);
                let pair = self.exactly(PAIR.as_u32(), PAIR_WORD);
                self.e.ref_cast(list, &pair.knowing(true, false));
                let layout = pair_layout();
                let first = self.collector.struct_get(&mut self.e, list, &layout, HEAD, None);
                let rest = self.collector.struct_get(&mut self.e, list, &layout, TAIL, None);
                self.with(&[(head, first), (tail, rest)], |body| arm(body, cons))
            }
            _ => unreachable!("nothing else branches"),
        }
    }

    fn with<R>(
        &mut self,
        names: &[(&'a str, Value)],
        inside: impl FnOnce(&mut Self) -> Result<R>,
    ) -> Result<R> {
        let outer = self.scope.len();
        self.scope.extend(names.iter().map(|(name, value)| (*name, Binding::Value(*value))));
        let result = inside(self);
        self.scope.truncate(outer);
        result
    }

    fn variable(&mut self, name: &str, line: u32) -> Result<Value> {
        let binding = self.scope.iter().rev().find(|(bound, _)| *bound == name);
        match binding.ok_or_else(|| anyhow!("line {line}: `{name}` is not bound"))?.1 {
            Binding::Value(value) => Ok(value),
            Binding::Captured(element) => {
                let index = self.e.builder.ins().iconst(types::I32, i64::from(element));
                let closure = self.closure;
                Ok(self.collector.array_get(&mut self.e, closure, &CLOSURE_LAYOUT, index, None))
            }
        }
    }

    fn int(&mut self, value: i32) -> Value {
        let reference = gc_types::VMGcRef::from_i31(I31::wrapping_i32(value));
        self.e.builder.ins().iconst(types::I64, i64::from(reference.as_raw_u32()))
    }

    /// The integer (`I32`) that `value` is; traps if it is none.
    fn unboxed(&mut self, value: Value) -> Value {
        self.e.ref_cast(value, &RefTest::new(false, TestTarget::I31));
        self.e.i31_get_s(value)
    }

    /// A test for instances of one type, which has no subtypes.
    fn exactly(&mut self, index: u32, word: u32) -> RefTest {
        let type_index = self.e.builder.ins().iconst(types::I32, i64::from(index));
        let header_word = self.e.builder.ins().iconst(types::I32, i64::from(word));
        let target = TestTarget::Concrete { type_index, header_word, depth: 0, is_final: true };
        RefTest::new(false, target)
    }

    fn binary(&mut self, op: Op, a: Value, b: Value) -> Value {
        let (a, b) = (self.unboxed(a), self.unboxed(b));
        let compare = |condition| {
            move |ins: cranelift_frontend::FuncInstBuilder<'_, '_>| ins.icmp(condition, a, b)
        };
        let ins = self.e.builder.ins();
        let result = match op {
            Op::Add => ins.iadd(a, b),
            Op::Sub => ins.isub(a, b),
            Op::Mul => ins.imul(a, b),
            Op::Div => ins.sdiv(a, b),
            Op::Rem => ins.srem(a, b),
            Op::Eq => compare(IntCC::Equal)(ins),
            Op::Ne => compare(IntCC::NotEqual)(ins),
            Op::Lt => compare(IntCC::SignedLessThan)(ins),
            Op::Le => compare(IntCC::SignedLessThanOrEqual)(ins),
            Op::Gt => compare(IntCC::SignedGreaterThan)(ins),
            Op::Ge => compare(IntCC::SignedGreaterThanOrEqual)(ins),
        };
        let result = match self.e.builder.func.dfg.value_type(result) {
            types::I32 => result,
            _ => self.e.builder.ins().uextend(types::I32, result),
        };
        self.e.ref_i31(result)
    }

    /// A closure: the number of its code, then what it captures.
    fn function(&mut self, fun: &'a Fun) -> Result<Value> {
        let itself = fun.name.as_deref().filter(|_| fun.is_recursive);
        let mut captured = Vec::new();
        let mut bound: Vec<&str> = itself.into_iter().chain([fun.param.as_str()]).collect();
        free_variables(&fun.body, &mut bound, &mut captured);

        let mut elements = vec![self.int(self.next_code as i32)];
        for (name, line) in &captured {
            elements.push(self.variable(name, *line)?);
        }
        self.next_code += 1;
        let name = fun.name.as_deref().unwrap_or("a function");
        self.pending.push_back(Pending {
            name: format!("{name} (line {})", fun.line),
            itself,
            param: Some(&fun.param),
            captured: captured.into_iter().map(|(name, _)| name).collect(),
            body: &fun.body,
        });
        let word = self.e.builder.ins().iconst(types::I32, i64::from(CLOSURE_WORD));
        let elements = ArrayInit::Elements(&elements);
        Ok(self.collector.array_new(&mut self.e, word, &CLOSURE_LAYOUT, elements))
    }

    /// Emits a call up to the call itself: the code's address and the arguments.
    fn callee(
        &mut self,
        function: &'a Expr,
        argument: &'a Expr,
        line: u32,
    ) -> Result<(Value, [Value; 3])> {
        let closure = self.value(function)?;
        let argument = self.value(argument)?;
        self.at_line(line);
        let is_closure = self.exactly(CLOSURE.as_u32(), CLOSURE_WORD);
        self.e.ref_cast(closure, &is_closure);
        let zero = self.e.builder.ins().iconst(types::I32, 0);
        let number = self.collector.array_get(&mut self.e, closure, &CLOSURE_LAYOUT, zero, None);
        // It comes from the heap, so it is checked, whatever the compiler wrote there.
        let number = self.e.i31_get_u(number);
        let number = self.e.builder.ins().uextend(types::I64, number);
        let vmctx = self.e.vmctx();
        let flags = self.e.native_flags(REGION_CODE_TABLE);
        let load = |body: &mut Self, flags: MemFlagsData, base, offset: u32| {
            body.e.builder.ins().load(types::I64, flags, base, offset as i32)
        };
        let count = load(self, flags, vmctx, VMCTX_CODE_LEN);
        let unknown = self.e.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, number, count);
        self.e.builder.ins().trapnz(unknown, trap_code(Trap::BadFuncRef));
        let table = load(self, flags, vmctx, VMCTX_CODE);
        let offset = self.e.builder.ins().ishl_imm_u(number, 3);
        let entry = self.e.builder.ins().iadd(table, offset);
        let code = load(self, flags, entry, 0);
        Ok((code, [vmctx, closure, argument]))
    }
}

/// Adds to `free` what `expr` uses and `bound` does not bind, each once, with the line of
/// its first use.
fn free_variables<'a>(expr: &'a Expr, bound: &mut Vec<&'a str>, free: &mut Vec<(&'a str, u32)>) {
    match expr {
        Expr::Int(_) | Expr::Nil => {}
        Expr::Var(name, line) => {
            let name = name.as_str();
            if !bound.contains(&name) && !free.iter().any(|(known, _)| *known == name) {
                free.push((name, *line));
            }
        }
        Expr::Print(a) => free_variables(a, bound, free),
        Expr::Binary(_, a, b, _) | Expr::Cons(a, b) | Expr::Call(a, b, _) | Expr::Seq(a, b) => {
            free_variables(a, bound, free);
            free_variables(b, bound, free);
        }
        Expr::If(a, b, c, _) => {
            for part in [a, b, c] {
                free_variables(part, bound, free);
            }
        }
        Expr::Let(name, value, rest) => {
            free_variables(value, bound, free);
            bound.push(name);
            free_variables(rest, bound, free);
            bound.pop();
        }
        Expr::Fun(fun) => {
            let outer = bound.len();
            bound.extend(fun.name.as_deref().filter(|_| fun.is_recursive));
            bound.push(&fun.param);
            free_variables(&fun.body, bound, free);
            bound.truncate(outer);
        }
        Expr::Match { list, nil, head, tail, cons, .. } => {
            free_variables(list, bound, free);
            free_variables(nil, bound, free);
            bound.extend([head.as_str(), tail.as_str()]);
            free_variables(cons, bound, free);
            bound.truncate(bound.len() - 2);
        }
    }
}
