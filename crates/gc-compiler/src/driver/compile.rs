//! [`Compiler`]: Cranelift with the settings that compiled code needs.

use super::arch::{self, Arch};
use super::cancel::{Cancellation, Compilation};
use super::function::CompiledFunction;
use super::relays::Site;
use super::reloc::{Reloc, RelocTarget, target_of};
use super::weight::weight;
use super::{host_args, names, nesting, polls, refuse, relays, settings, signature, try_calls};
use crate::GcCompiler;
use crate::cache::{CacheStore, FunctionCache};
use crate::finish::{BuiltFunction, FinishedFunction, Finisher};
use crate::inline::Inlining;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{self, ExternalName, Opcode, TrapCode};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa, TargetIsa};
use cranelift_codegen::{Context, FinalizedMachExceptionHandler, FinalizedRelocTarget};
use gc_types::{Abi, CallSignature, HostCall, ReturnSignature, Trap};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The optimization level of Cranelift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OptLevel {
    /// Compile fast.
    None,
    /// Make fast code.
    #[default]
    Speed,
    /// Make fast and small code.
    SpeedAndSize,
}

/// The register allocator of Cranelift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RegallocAlgorithm {
    /// Makes fast code.
    #[default]
    Backtracking,
    /// Compiles fast.
    SinglePass,
}

/// How functions are compiled.
///
/// # Examples
/// ```
/// use gc_compiler::{CompileOptions, Compiler, GcCompiler, OptLevel, collector::null::NullCompiler};
/// use gc_types::Abi;
///
/// // Compiles fast, and checks the CLIF in every build.
/// let options =
///     CompileOptions { opt_level: OptLevel::None, verifier: true, ..CompileOptions::default() };
/// let compiler = Compiler::new(&NullCompiler, &Abi::new(NullCompiler.abi()), &options)?;
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompileOptions {
    /// The optimization level of Cranelift.
    pub opt_level: OptLevel,
    /// The register allocator of Cranelift.
    pub regalloc: RegallocAlgorithm,
    /// Whether the results of float operations that are NaN are one canonical NaN. By default they
    /// are what the machine makes.
    pub nan_canonicalization: bool,
    /// Whether functions sign their return addresses while these are on the stack (pointer authentication of aarch64), so
    /// that a return to an address that was overwritten there fails. By default not. Processors without it ignore the
    /// instructions. Code that signs and code that does not can call each other.
    pub sign_return_addresses: bool,
    /// Whether Cranelift's verifier checks each function. By default in builds with
    /// debug assertions.
    pub verifier: bool,
    /// Functions with at least this number of CLIF instructions are compiled without optimization
    /// and with a single-pass register allocator, in time that is proportional to their size. The
    /// number includes the parameters of blocks and twice the arguments for them, and once more each call
    /// and its arguments. Where many parameters pass one value on, it includes a part of the square of
    /// their number, and where values live in many blocks, a part of the number of these blocks times that
    /// of the arguments for parameters. By default [`CompileOptions::HUGE_FUNCTION`].
    pub huge_function: usize,
}

impl Default for CompileOptions {
    fn default() -> CompileOptions {
        CompileOptions {
            opt_level: OptLevel::Speed,
            regalloc: RegallocAlgorithm::Backtracking,
            nan_canonicalization: false,
            sign_return_addresses: false,
            verifier: cfg!(debug_assertions),
            huge_function: CompileOptions::HUGE_FUNCTION,
        }
    }
}

impl CompileOptions {
    /// The default of [`huge_function`](CompileOptions::huge_function), in CLIF instructions.
    ///
    /// The time of the optimizer, and especially of the backtracking register allocator, grows
    /// faster than the function, in the worst case quadratically. For 5000 casts of one reference
    /// (145 000 instructions, 30 KB of Wasm) they took 1.1 s, and for 20 000 casts 20 s.
    /// `opt_level=none` with the single-pass allocator takes 0.2 s and 1.5 s. But its code is two
    /// to three times as large, and its frames are several times as large. So it should only
    /// compile functions that nobody writes by hand. Just below this number the slow way takes about
    /// five times as long as the fast one for casts.
    ///
    /// If P parameters of blocks pass one value on, P²/32 is added to the size of the function: 10 000 loops that all
    /// change one local took 3.6 s the slow way, 14 times as long as the fast way.
    ///
    /// With the single-pass allocator, two values never share a stack slot. If references live
    /// long, a frame has two thirds of a byte for each instruction.
    pub const HUGE_FUNCTION: usize = 100_000;

    /// A function in which more loops than these are nested in each other counts as huge, unless
    /// [`huge_function`](CompileOptions::huge_function) is `usize::MAX`. The time of the optimizer
    /// grows with the third power of the depth.
    pub const NESTED_LOOPS: usize = 100;
}

/// A trampoline. It is compiled once, and each image has a copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Trampoline {
    HostCall(HostCall),
    Entry(CallSignature),
    Exit(CallSignature),
    /// Of the symbol with this number.
    C(CallSignature, u32),
}

/// Finishes and compiles functions for one [`Abi`]. Many threads can use it at the same time.
///
/// # Examples
/// ```
/// use cranelift_codegen::Context;
/// use cranelift_codegen::cursor::{Cursor, FuncCursor};
/// use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Function, InstBuilder, Signature, types};
/// use cranelift_codegen::isa::CallConv;
/// use gc_compiler::{
///     BuiltFunction, CompileOptions, Compiler, GcCompiler, collector::copying::CopyingCompiler,
/// };
/// use gc_types::Abi;
///
/// let abi = Abi::new(CopyingCompiler.abi());
/// let compiler = Compiler::new(&CopyingCompiler, &abi, &CompileOptions::default())?;
///
/// let mut signature = Signature::new(CallConv::Tail);
/// signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
/// let mut func = Function::with_name_signature(Default::default(), signature);
/// let entry = func.dfg.make_block();
/// func.dfg.append_block_param(entry, types::I64);
/// let mut cursor = FuncCursor::new(&mut func);
/// cursor.insert_block(entry);
/// cursor.ins().return_(&[]);
///
/// let function = BuiltFunction::new(func.clone(), Default::default());
/// assert!(compiler.compile_alone(function)?.size() > 0);
///
/// // A function with a calling convention that does not work with traps is refused.
/// func.signature.call_conv = CallConv::SystemV;
/// assert!(compiler.compile_alone(BuiltFunction::new(func, Default::default())).is_err());
/// # anyhow::Ok(())
/// ```
pub struct Compiler {
    finisher: Finisher,
    arch: &'static dyn Arch,
    isa: OwnedTargetIsa,
    /// For huge functions.
    huge_isa: OwnedTargetIsa,
    huge_function: usize,
    signs_return_addresses: bool,
    cache: Option<FunctionCache>,
    cancellation: Cancellation,
    trampolines: Mutex<HashMap<Trampoline, Arc<CompiledFunction>>>,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("isa", &self.isa.name()).finish_non_exhaustive()
    }
}

impl Compiler {
    /// Creates a compiler of code of `collector` for `abi`.
    ///
    /// # Errors
    /// If `abi` is the one of another collector, or if Cranelift or this crate does not support the
    /// machine, or the machine does not support the options.
    pub fn new(
        collector: &dyn GcCompiler,
        abi: &Abi,
        options: &CompileOptions,
    ) -> Result<Compiler> {
        let (name, of) = (collector.name(), abi.collector().name());
        ensure!(name == of, "the code is that of `{name}`, but the ABI is that of `{of}`");
        Ok(Compiler {
            finisher: Finisher::new(collector, abi, options),
            arch: arch::of(abi.machine())?,
            isa: settings::target(abi, options, options.opt_level, options.regalloc)?,
            huge_isa: settings::target(
                abi,
                options,
                OptLevel::None,
                RegallocAlgorithm::SinglePass,
            )?,
            huge_function: options.huge_function,
            signs_return_addresses: options.sign_return_addresses,
            cache: None,
            cancellation: Cancellation::default(),
            trampolines: Mutex::default(),
        })
    }

    /// The same compiler with a cache of compiled functions. The code is the same with any cache.
    #[must_use]
    pub fn with_cache(mut self, store: Arc<dyn CacheStore>) -> Compiler {
        self.cache = Some(FunctionCache::new(store, self.abi()));
        self
    }

    /// The same compiler with a limit for the time of each [`Compilation`] (default: none).
    #[must_use]
    pub fn with_time_limit(mut self, limit: Option<Duration>) -> Compiler {
        self.cancellation.limit = limit;
        self
    }

    /// Begins a compilation of any number of functions. The limit for its time counts from now.
    pub fn begin(&self) -> Compilation {
        self.cancellation.begin()
    }

    /// Ends all compilations that have begun, soon and with the error
    /// [`CompilationEnded::Cancelled`](crate::CompilationEnded::Cancelled). Any thread can call this,
    /// and signal handlers too.
    pub fn cancel(&self) {
        self.cancellation.cancel();
    }

    /// The ABI of the code that it compiles.
    pub fn abi(&self) -> &Abi {
        self.finisher.abi()
    }

    /// What depends on the processor.
    pub(super) fn arch(&self) -> &'static dyn Arch {
        self.arch
    }

    /// How a function of this convention signs its return address.
    pub(super) fn return_signature(&self, convention: CallConv) -> ReturnSignature {
        match self.signs_return_addresses {
            true => self.arch.return_signature(convention),
            false => ReturnSignature::None,
        }
    }

    /// The target machine and the settings.
    pub fn isa(&self) -> &dyn TargetIsa {
        &*self.isa
    }

    /// Finishes a function: inlines calls, simplifies it, places its safepoints and checks it, as
    /// [`Finisher::finish`] does, as a part of `compilation`.
    ///
    /// # Errors
    /// As [`Finisher::finish`]. Also if the compilation is ended.
    pub fn finish(
        &self,
        function: BuiltFunction,
        inlining: &Inlining,
        compilation: &Compilation,
    ) -> Result<FinishedFunction> {
        self.finisher.finish_while(function, inlining, &|| Ok(compilation.check()?))
    }

    /// Compiles a function, or finds its code in the cache. Inserts a poll in each loop if the [`Abi`]
    /// [says so](Abi::polls). The memory of `context` is used, which has the function afterwards.
    ///
    /// # Errors
    /// If the function does not verify, exceeds a limit of Cranelift, has a trap code that is not a
    /// [`Trap`], or needs a library function. An operation that the machine of the [`Abi`] has no
    /// instruction for needs one; the error names the extension with the instruction. If the function or
    /// one of its callees has a wrong calling convention. If the compilation is ended.
    pub fn compile(
        &self,
        context: &mut Context,
        function: FinishedFunction,
        compilation: &Compilation,
    ) -> Result<CompiledFunction> {
        self.compile_with(self.cache.as_ref(), context, function, compilation)
    }

    /// Like [`compile`](Compiler::compile), but does not use the cache. So `context` then has the optimized
    /// CLIF.
    ///
    /// # Errors
    /// As [`compile`](Compiler::compile).
    pub fn compile_anew(
        &self,
        context: &mut Context,
        function: FinishedFunction,
        compilation: &Compilation,
    ) -> Result<CompiledFunction> {
        self.compile_with(None, context, function, compilation)
    }

    /// Finishes and compiles a function as a compilation of its own. Nothing is inlined into it.
    ///
    /// # Errors
    /// As [`finish`](Compiler::finish) and [`compile`](Compiler::compile).
    pub fn compile_alone(&self, function: BuiltFunction) -> Result<CompiledFunction> {
        let compilation = self.begin();
        let finished = self.finish(function, &Inlining::none(), &compilation)?;
        self.compile(&mut Context::new(), finished, &compilation)
    }

    fn compile_with(
        &self,
        cache: Option<&FunctionCache>,
        context: &mut Context,
        function: FinishedFunction,
        compilation: &Compilation,
    ) -> Result<CompiledFunction> {
        compilation.check()?;
        let FinishedFunction { func, annotations } = function;
        let inlined = &annotations.inlined;
        context.clear();
        context.func = func;
        refuse::refuse(&context.func)?;
        let mut huge = false;
        if self.abi().polls() {
            huge = !polls::insert(&mut context.func, &self.abi().offsets())?;
        }
        huge |= weight(&context.func) >= self.huge_function
            || self.huge_function != usize::MAX
                && nesting::is_deeper(&context.func, CompileOptions::NESTED_LOOPS);
        let calls_by_reference = calls_by_reference(&context.func);
        try_calls::keep_registers(self.arch, &mut context.func);
        host_args::align(self.arch, &mut context.func);
        let isa = if huge { &*self.huge_isa } else { &*self.isa };
        compilation.check()?;
        let function = self.find_or_compile(cache, isa, context)?;
        let locations = inlined.locations(&context.func, &function.srclocs).context(
            "calls were inlined into the function, and it is compiled without their list",
        )?;
        Ok(CompiledFunction {
            calls_by_reference,
            srclocs: Vec::new(),
            locations,
            inlined_calls: inlined.calls().to_vec(),
            ..function
        })
    }

    fn find_or_compile(
        &self,
        cache: Option<&FunctionCache>,
        isa: &dyn TargetIsa,
        context: &mut Context,
    ) -> Result<CompiledFunction> {
        let Some(cache) = cache else { return self.compile_for(isa, context) };
        let key = cache.key(isa, &context.func);
        if let Some(found) = cache.find(&key, &context.func) {
            return Ok(found);
        }
        let compiled = self.compile_for(isa, context)?;
        cache.keep(&key, &context.func, &compiled);
        Ok(compiled)
    }

    fn compile_for(&self, isa: &dyn TargetIsa, context: &mut Context) -> Result<CompiledFunction> {
        if let Err(error) = context.compile(isa, &mut ControlPlane::default()) {
            return Err(anyhow!(
                "{}",
                cranelift_codegen::print_errors::pretty_error(error.func, error.inner)
            ));
        }
        let compiled = context.take_compiled_code().expect("compile succeeded");
        let buffer = &compiled.buffer;

        let mut relocs = Vec::with_capacity(buffer.relocs().len());
        for reloc in buffer.relocs() {
            let target = match &reloc.target {
                FinalizedRelocTarget::Func(offset) => RelocTarget::Itself(*offset),
                FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                    let name = &context.func.params.user_named_funcs()[*name];
                    target_of(name).with_context(|| {
                        format!("a call to {name} has the unknown namespace {}", name.namespace)
                    })?
                }
                FinalizedRelocTarget::ExternalName(ExternalName::LibCall(call))
                    if let Some(extension) = self.arch.extension_for(*call) =>
                {
                    bail!(
                        "the code needs a processor with `{extension}`, which {} does not have",
                        self.abi().machine()
                    )
                }
                FinalizedRelocTarget::ExternalName(other) => {
                    bail!("the code needs {}, which is not available", other.display(None))
                }
            };
            relocs.push(Reloc {
                offset: reloc.offset,
                kind: reloc.kind,
                target,
                addend: reloc.addend,
            });
        }

        let mut traps = Vec::with_capacity(buffer.traps().len());
        for trap in buffer.traps() {
            let code =
                trap_of(trap.code).ok_or_else(|| anyhow!("unknown trap code {}", trap.code))?;
            traps.push((trap.offset, code));
        }
        traps.sort_by_key(|(offset, _)| *offset);
        traps.dedup_by_key(|(offset, _)| *offset);

        let stack_maps = buffer
            .user_stack_maps()
            .iter()
            .map(|(ret_addr, frame_size, map)| {
                (*ret_addr, *frame_size, map.entries().map(|(_, slot)| slot).collect())
            })
            .collect();

        // A host call that does not collect is a direct call.
        let quiet = relocs.iter().filter_map(|reloc: &Reloc| match reloc.target {
            RelocTarget::HostCall(index) => {
                let call = HostCall::from_index(index);
                (!self.abi().may_collect(call)).then_some(reloc.offset + arch::CALL_FIELD)
            }
            _ => None,
        });
        let quiet: BTreeSet<u32> = quiet.collect();
        let calls = buffer.call_sites().map(|site| site.ret_addr);
        let calls = calls.filter(|ret_addr| !quiet.contains(ret_addr)).collect();

        let mut handlers = Vec::new();
        for site in buffer.call_sites() {
            if site.exception_handlers.is_empty() {
                continue;
            }
            let mut found = Vec::new();
            for handler in site.exception_handlers {
                match handler {
                    FinalizedMachExceptionHandler::Tag(tag, at) => {
                        found.push((Some(tag.as_u32()), *at));
                    }
                    FinalizedMachExceptionHandler::Default(at) => found.push((None, *at)),
                    FinalizedMachExceptionHandler::Context(_) => {}
                }
            }
            let frame_offset =
                site.frame_offset.context("Cranelift gave no frame offset for a handler")?;
            handlers.push(Site { ret_addr: site.ret_addr, frame_offset, handlers: found });
        }
        let handlers = relays::link(handlers)?;

        let srclocs = buffer
            .get_srclocs_sorted()
            .iter()
            .filter(|range| !range.loc.is_default())
            .map(|range| (range.start, range.end, range.loc.bits()))
            .collect();

        let vmctx_slot = buffer.frame_layout().and_then(|layout| {
            layout.stackslots.values().find_map(|slot| {
                let key = slot.key?;
                (key.bits() == names::VMCTX_SLOT_KEY)
                    .then(|| layout.frame_to_fp_offset - slot.offset)
            })
        });

        Ok(CompiledFunction {
            signature: context.func.signature.clone(),
            calls_by_reference: BTreeSet::new(),
            code: compiled.code_buffer().to_vec(),
            alignment: compiled.buffer.alignment.max(16),
            relocs,
            traps,
            stack_maps,
            calls,
            handlers,
            srclocs,
            locations: Vec::new(),
            inlined_calls: Vec::new(),
            vmctx_slot,
            saved: arch::saved_registers(self.arch, &buffer.unwind_info)?,
            frame: arch::frame_steps(self.arch, &buffer.unwind_info)?,
        })
    }

    /// The compiled trampoline. If it is new, `build` builds its function and this compiles it.
    pub(super) fn trampoline(
        &self,
        key: Trampoline,
        build: impl FnOnce() -> ir::Function,
    ) -> Result<Arc<CompiledFunction>> {
        let cache = || self.trampolines.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(function) = cache().get(&key) {
            return Ok(function.clone());
        }
        let mut context = Context::for_function(build());
        host_args::align(self.arch, &mut context.func);
        let compiled = self.find_or_compile(self.cache.as_ref(), &*self.isa, &mut context)?;
        let function = Arc::new(compiled);
        cache().insert(key, function.clone());
        Ok(function)
    }
}

/// The signatures of `func`'s indirect calls, if host functions can have them.
fn calls_by_reference(func: &ir::Function) -> BTreeSet<CallSignature> {
    let dfg = &func.dfg;
    let mut found = BTreeSet::new();
    let mut seen = HashSet::new();
    for inst in func.layout.blocks().flat_map(|block| func.layout.block_insts(block)) {
        let by_reference =
            [Opcode::CallIndirect, Opcode::ReturnCallIndirect, Opcode::TryCallIndirect];
        if by_reference.contains(&dfg.insts[inst].opcode())
            && let Some(callee) = dfg.call_signature(inst)
            && seen.insert(callee)
            && let Ok(callee) = signature::call_signature(&dfg.signatures[callee])
        {
            found.insert(callee);
        }
    }
    found
}

/// The trap for a Cranelift trap code.
fn trap_of(code: TrapCode) -> Option<Trap> {
    Some(match code {
        TrapCode::STACK_OVERFLOW => Trap::StackOverflow,
        TrapCode::INTEGER_OVERFLOW => Trap::IntegerOverflow,
        TrapCode::INTEGER_DIVISION_BY_ZERO => Trap::IntegerDivisionByZero,
        TrapCode::BAD_CONVERSION_TO_INTEGER => Trap::BadConversionToInteger,
        TrapCode::HEAP_OUT_OF_BOUNDS => Trap::MemoryOutOfBounds,
        code => return Trap::from_code(code.as_raw().get()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trap_has_a_user_code_and_the_reserved_ones_map() {
        for trap in Trap::ALL {
            let code = TrapCode::user(trap.code()).expect("below Cranelift's own codes");
            assert_eq!(trap_of(code), Some(*trap));
        }
        for code in TrapCode::non_user_traps() {
            assert!(trap_of(*code).is_some());
        }
        assert_eq!(trap_of(TrapCode::unwrap_user(200)), None);
    }
}
