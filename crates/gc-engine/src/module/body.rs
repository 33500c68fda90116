//! [`Body`]: a function that is being built.

use super::exceptions::Handler;
use super::{Callee, FunctionBody, FunctionHandle, Module, clif_signature};
use crate::store::word_offset;
use crate::{Engine, Signature, Type};
use anyhow::{Result, anyhow, ensure};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Value, ValueDef, types};
use cranelift_frontend::{FuncInstBuilder, FunctionBuilder};
use gc_compiler::regions::{self, Region};
use gc_compiler::{
    Annotations, GcEmitter, GcFuncEnv, import_function, import_host_call, import_type_word,
    trap_code, type_word,
};
use gc_types::{Abi, HostCall, Trap, TypeWord};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The function's environment for `gc-compiler`.
pub(super) struct Env {
    engine: Engine,
    pub(super) vmctx: Value,
    pub(super) annotations: Annotations,
    host_calls: HashMap<HostCall, ir::FuncRef>,
    /// The values that are references to functions.
    pub(super) functions: HashSet<Value>,
    /// The calls with handlers.
    pub(super) try_calls: HashSet<ir::Inst>,
    /// The signatures of calls by address.
    pub(super) signatures: Vec<(ir::SigRef, Arc<Signature>)>,
    /// The words that the function reads from its vmctx.
    pub(super) words: BTreeSet<u32>,
    /// The words of types that the function reads.
    type_words: HashMap<TypeWord, ir::GlobalValue>,
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

    fn annotations(&mut self) -> &mut Annotations {
        &mut self.annotations
    }
}

/// The code of a callee.
pub(super) enum CalleeCode {
    /// A function of the module.
    Own(ir::FuncRef),
    /// Code with this signature at an address.
    At(ir::SigRef, Value),
}

/// The region of the addresses of imported functions in the vmctx.
pub(super) const IMPORTS: Region = regions::STRUCTURES;

/// The region of the numbers of functions in the vmctx.
pub(super) const REFERENCES: Region = regions::STRUCTURES + 1;

/// A function that is being built. Its methods append to the current block.
///
/// If a method is misused (a value of a wrong type, a function that is not declared), the
/// definition of the function fails with the first such error. A [`Value`] belongs to one body, and is
/// refused in others. (In a function that is defined while another is built, the first 4,096 values of that one are
/// recognised. A later one may be taken for a value of this function.)
///
/// References automatically become roots. The body knows that values of [`Type::Ref`], and what its
/// methods read from fields of references, are references. If code that is emitted with
/// [`builder`](Body::builder) makes a reference in another way, declare it with
/// [`declare_ref`](Body::declare_ref).
///
/// # Examples
/// ```
/// use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
/// use gc_engine::{Collector, Control, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// module.function("max", [Type::I64, Type::I64], [Type::I64], |f| {
///     let (a, b) = (f.param(0), f.param(1));
///     let less = f.ins().icmp(IntCC::SignedLessThan, a, b);
///     f.if_then(less, |f| f.ret(&[b]));
///     f.ret(&[a]);
/// })?;
/// // A reference can be an integer of 31 bits.
/// module.function("box", [Type::I32], [Type::Ref], |f| {
///     let number = f.param(0);
///     let boxed = f.i31(number);
///     f.ret(&[boxed]);
/// })?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
/// assert_eq!(store.function::<(i64, i64), i64>("max")?.call(&mut store, (3, 5))?, 5);
/// # anyhow::Ok(())
/// ```
pub struct Body<'m, 'b> {
    module: &'m mut Module,
    engine: Engine,
    function: FunctionHandle,
    pub(super) builder: FunctionBuilder<'b>,
    pub(super) env: Env,
    /// Its number among all bodies of the process.
    pub(super) number: u64,
    pub(super) params: Vec<Value>,
    functions: HashMap<u32, ir::FuncRef>,
    /// The handlers of the block that is being built, the innermost last.
    pub(super) handlers: Vec<Handler>,
    /// The first values are those of the functions that were being built when this one began. They have no
    /// definition here.
    pub(super) foreign: u32,
    /// The source location of what is being built.
    location: Option<u32>,
    /// The first misuse.
    error: Option<anyhow::Error>,
}

/// The most values of functions around a function that are recognised in it.
const MOST_FOREIGN: usize = 4096;

/// The number of bodies that were begun.
static BODIES: AtomicU64 = AtomicU64::new(0);

impl<'m, 'b> Body<'m, 'b> {
    pub(super) fn new(
        module: &'m mut Module,
        function: &FunctionHandle,
        mut builder: FunctionBuilder<'b>,
    ) -> Body<'m, 'b> {
        // A block that is never reached has as many values as the function around this one. So a value of that
        // function is none of this one.
        let foreign = module.values_around.min(MOST_FOREIGN);
        if foreign > 0 {
            let block = builder.func.dfg.make_block();
            for _ in 0..foreign {
                builder.func.dfg.append_block_param(block, types::I64);
            }
        }
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let values = builder.block_params(entry);
        let (vmctx, params) = (values[0], values[1..].to_vec());
        let mut annotations = Annotations::default();
        let mut functions = HashSet::new();
        for (value, ty) in params.iter().zip(function.signature().params()) {
            match ty {
                Type::Ref => annotations.references.mark(*value),
                Type::Func => {
                    functions.insert(*value);
                }
                _ => {}
            }
        }
        let engine = module.engine.clone();
        let env = Env {
            engine: engine.clone(),
            vmctx,
            annotations,
            host_calls: HashMap::new(),
            functions,
            try_calls: HashSet::new(),
            signatures: Vec::new(),
            words: BTreeSet::new(),
            type_words: HashMap::new(),
        };
        let function = function.clone();
        let number = BODIES.fetch_add(1, Ordering::Relaxed);
        Body {
            module,
            engine,
            function,
            builder,
            env,
            number,
            params,
            functions: HashMap::new(),
            handlers: Vec::new(),
            foreign: foreign as u32,
            location: None,
            error: None,
        }
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
                self.builder.ins().trap(trap_code(Trap::UnreachableCodeReached));
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
        if self.error.is_none() {
            self.error = Some(match self.location {
                Some(location) => error.context(format!("at {location}")),
                None => error,
            });
        }
    }

    /// The module, to declare types and to define other functions. Nothing of another module that is
    /// put in its place can be used.
    pub fn module(&mut self) -> &mut Module {
        self.module.values_around = self.builder.func.dfg.num_values();
        self.module
    }

    /// The module, if it was not exchanged for another with [`module`](Body::module).
    pub(super) fn own_module(&mut self) -> Result<&mut Module> {
        ensure!(
            self.module.number == self.function.module,
            "another module was put in the place of its own while it was built"
        );
        Ok(self.module)
    }

    /// The engine of the module.
    pub fn engine(&self) -> &Engine {
        &self.engine
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
    /// [checkers](crate::CodeOptions::verify) find mistakes in it before it runs. They are no
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

    /// The emitter of all code that accesses the heap. It does not check its arguments.
    pub(super) fn gc(&mut self) -> GcEmitter<'_, 'b> {
        GcEmitter::new(&mut self.builder, &mut self.env, self.engine.collector().compiler())
    }

    /// Declares that `value` is a reference, and returns it.
    pub fn declare_ref(&mut self, value: Value) -> Value {
        // Block parameters are derived from the values that are passed to them. The builder may
        // still replace parameters that stand for variables.
        let value = self.builder.func.dfg.resolve_aliases(value);
        if matches!(self.builder.func.dfg.value_def(value), ValueDef::Result(..)) {
            self.env.annotations.references.mark(value);
        }
        value
    }

    /// Sets the source location, a number, of the following instructions. Traces and errors of the definition show
    /// it.
    pub fn at(&mut self, location: u32) {
        self.location = Some(location);
        self.builder.set_srcloc(ir::SourceLoc::new(location));
    }

    /// Calls a function by its name or handle and returns its results.
    pub fn call(&mut self, callee: impl Callee, args: &[Value]) -> Vec<Value> {
        let Some((callee, code, args)) = self.prepare_call(callee, args) else {
            return self.dummy_results();
        };
        self.emit_call(code, &args, callee.signature().results())
    }

    /// Emits a call and returns its results, which have these types.
    pub(super) fn emit_call(
        &mut self,
        code: CalleeCode,
        args: &[Value],
        types: &[Type],
    ) -> Vec<Value> {
        if !self.handlers.is_empty() {
            return self.emit_try_call(code, args, types);
        }
        let call = match code {
            CalleeCode::Own(code) => self.ins().call(code, args),
            CalleeCode::At(signature, code) => self.ins().call_indirect(signature, code, args),
        };
        let results = self.builder.inst_results(call).to_vec();
        self.declare(&results, types);
        results
    }

    /// Declares values of these types.
    fn declare(&mut self, values: &[Value], types: &[Type]) {
        for (value, ty) in values.iter().zip(types) {
            match ty {
                Type::Ref => {
                    self.declare_ref(*value);
                }
                Type::Func => {
                    self.env.functions.insert(*value);
                }
                _ => {}
            }
        }
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
        self.emit_tail_call(code, &args);
    }

    /// Emits a tail call.
    pub(super) fn emit_tail_call(&mut self, code: CalleeCode, args: &[Value]) {
        if !self.handlers.is_empty() {
            let error = anyhow!(
                "it makes a tail call in a block with a handler: the handler needs the frame that the \
                 callee's frame would replace"
            );
            return self.misused(error);
        }
        match code {
            CalleeCode::Own(code) => self.ins().return_call(code, args),
            CalleeCode::At(signature, code) => {
                self.ins().return_call_indirect(signature, code, args)
            }
        };
        self.begin_unreachable();
    }

    /// The callee, its code, and its arguments with its context before them.
    fn prepare_call(
        &mut self,
        callee: impl Callee,
        args: &[Value],
    ) -> Option<(FunctionHandle, CalleeCode, Vec<Value>)> {
        let callee = match self.own_module().and_then(|module| callee.find(module)) {
            Ok(callee) => callee,
            Err(error) => {
                self.misused(error);
                return None;
            }
        };
        let called = format!("`{}`", callee.name());
        if !self.expect_args(callee.name(), &called, callee.signature(), args) {
            return None;
        }
        let (code, vmctx) = match self.module.functions[callee.index as usize].body {
            FunctionBody::Imported(place) => {
                let reference = self.import(place);
                let (code, vmctx) = self.code_of(reference);
                (CalleeCode::At(self.signature(&callee.signature), code), vmctx)
            }
            FunctionBody::Declared | FunctionBody::Built(..) | FunctionBody::C(_) => {
                let func = &mut self.builder.func;
                let code = *self.functions.entry(callee.index).or_insert_with(|| {
                    import_function(func, callee.index, clif_signature(callee.signature()))
                });
                (CalleeCode::Own(code), self.env.vmctx)
            }
        };
        let args = [vmctx].into_iter().chain(args.iter().copied()).collect();
        Some((callee, code, args))
    }

    /// Checks the arguments of a call of a function of this type.
    pub(super) fn expect_args(
        &mut self,
        what: &str,
        callee: &str,
        signature: &Signature,
        args: &[Value],
    ) -> bool {
        let params = signature.params();
        if params.len() != args.len() {
            let error = anyhow!(
                "it calls {callee}, which takes {} values, with {}",
                params.len(),
                args.len()
            );
            self.misused(error);
            return false;
        }
        args.iter().zip(params).all(|(arg, ty)| self.expect(what, *arg, *ty))
    }

    /// The reference to the imported function whose address is in this word of the vmctx.
    pub(super) fn import(&mut self, word: u32) -> Value {
        self.load_word(types::I64, IMPORTS, word)
    }

    /// Reads a word of the vmctx.
    pub(super) fn load_word(&mut self, ty: ir::Type, region: Region, word: u32) -> Value {
        self.env.words.insert(word);
        let vmctx = self.env.vmctx;
        self.load(ty, region, vmctx, word_offset(word))
    }

    /// The code and the context of the function of a native reference.
    pub(super) fn code_of(&mut self, reference: Value) -> (Value, Value) {
        let offsets = self.env.abi().offsets();
        let code = self.load(types::I64, regions::TYPES, reference, offsets.func_ref_code());
        let vmctx = self.load(types::I64, regions::TYPES, reference, offsets.func_ref_vmctx());
        (code, vmctx)
    }

    /// Reads native memory that is always there.
    pub(super) fn load(
        &mut self,
        ty: ir::Type,
        region: Region,
        address: Value,
        offset: u32,
    ) -> Value {
        let region = regions::intern(self.builder.func, region);
        let flags = MemFlagsData::trusted().with_alias_region(Some(region));
        self.ins().load(ty, flags, address, offset.cast_signed())
    }

    /// The signature of calls by address of functions of this type.
    pub(super) fn signature(&mut self, signature: &Arc<Signature>) -> ir::SigRef {
        // The callee may have another context.
        self.env.annotations.leaves_instance = true;
        let known = self.env.signatures.iter().find(|(_, known)| known == signature);
        if let Some((code, _)) = known {
            return *code;
        }
        let code = self.builder.import_signature(clif_signature(signature));
        self.env.signatures.push((code, signature.clone()));
        code
    }

    /// Reads a word of a type (`I32`).
    pub(super) fn type_word(&mut self, word: TypeWord) -> Value {
        let func = &mut self.builder.func;
        let global = self.env.type_words.entry(word);
        let global = *global.or_insert_with(|| import_type_word(func, word));
        type_word(&mut self.builder, global)
    }

    /// Values that replace the results of a call that cannot be made. There are more of them than
    /// any correct use needs.
    pub(super) fn dummy_results(&mut self) -> Vec<Value> {
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
