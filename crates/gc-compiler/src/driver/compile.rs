//! [`Compiler`]: Cranelift, configured the way compiled code needs it here, and
//! [`CompiledFunction`]: what is kept of its output.

use super::{machine, names, refuse, signature};
use anyhow::{Context as _, Result, anyhow, bail};
use cranelift_codegen::binemit::Reloc as RelocKind;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{self, ExternalName, Opcode, TrapCode};
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, FinalizedMachExceptionHandler, FinalizedRelocTarget};
use gc_types::{Abi, CallSignature, HandlerSite, HostCall, Trap};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// How hard Cranelift tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OptLevel {
    /// Compile fast.
    None,
    /// Make fast code.
    #[default]
    Speed,
}

/// How functions are compiled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompileOptions {
    /// How hard Cranelift tries.
    pub opt_level: OptLevel,
    /// Whether Cranelift's verifier checks each function. By default in builds with
    /// debug assertions.
    pub verifier: bool,
    /// Functions of this many CLIF instructions or more (parameters of blocks, and twice
    /// the arguments for them, are counted too) are compiled in time that is
    /// proportional to their size: not optimised, and with a register allocator of a
    /// single pass. By default [`CompileOptions::HUGE_FUNCTION`].
    pub huge_function: usize,
}

impl Default for CompileOptions {
    fn default() -> CompileOptions {
        CompileOptions {
            opt_level: OptLevel::Speed,
            verifier: cfg!(debug_assertions),
            huge_function: CompileOptions::HUGE_FUNCTION,
        }
    }
}

impl CompileOptions {
    /// The default of [`huge_function`](CompileOptions::huge_function), in CLIF instructions.
    ///
    /// The optimiser and above all the backtracking register allocator take time that
    /// grows faster than the function, in the worst case as its square: 5000 casts of one
    /// reference (145 000 instructions, 30 KB of Wasm) took 1.1 s and 20 000 of them
    /// 20 s, where `opt_level=none` with the single-pass allocator takes 0.2 s and 1.5 s.
    /// Its code is two to three times as large and its frames several times, so that
    /// only what is hardly ever written by hand should be compiled so: at this number the
    /// slow way takes about five times as long as the fast one in the worst case known.
    ///
    /// The single-pass allocator lets no two values share a stack slot: where references
    /// live long, two thirds of a byte of frame for each instruction.
    pub const HUGE_FUNCTION: usize = 100_000;
}

/// Where a relocation points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelocTarget {
    /// A function of the same image.
    Function(u32),
    /// A host call's trampoline.
    HostCall(u32),
    /// The word of a type, by its code.
    TypeWord(u32),
    /// An offset in bytes into the function itself.
    Itself(u32),
}

/// A place in the code that holds another place's address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reloc {
    pub(crate) offset: u32,
    pub(crate) kind: RelocKind,
    pub(crate) target: RelocTarget,
    pub(crate) addend: i64,
}

/// A compiled function: position-independent code, not yet linked, and its tables.
#[derive(Clone, Debug)]
pub struct CompiledFunction {
    pub(crate) signature: ir::Signature,
    pub(crate) code: Vec<u8>,
    pub(crate) alignment: u32,
    pub(crate) relocs: Vec<Reloc>,
    /// The signatures with which it calls what may be a function of the host's.
    pub(crate) calls_by_reference: BTreeSet<CallSignature>,
    /// `(code offset, trap)`, ascending, offsets distinct.
    pub(crate) traps: Vec<(u32, Trap)>,
    /// `(return address, frame size, slots)`.
    pub(crate) stack_maps: Vec<(u32, u32, Vec<u32>)>,
    /// Offsets count from the function's start.
    pub(crate) handlers: Vec<HandlerSite>,
    /// `(first, end, source location)` in code offsets, ascending.
    pub(crate) srclocs: Vec<(u32, u32, u32)>,
    /// Bytes from the vmctx slot up to the frame pointer.
    pub(crate) vmctx_slot: Option<u32>,
    disassembly: Option<String>,
}

impl CompiledFunction {
    /// The code's size in bytes.
    pub fn size(&self) -> u32 {
        self.code.len() as u32
    }

    /// The code before linking.
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// Cranelift's disassembly, if the context's `want_disasm` was set.
    pub fn disassembly(&self) -> Option<&str> {
        self.disassembly.as_deref()
    }

    /// Each trapping instruction's code offset in bytes with its trap, ascending.
    pub fn traps(&self) -> &[(u32, Trap)] {
        &self.traps
    }

    /// Each safepoint that holds references: `(return-address offset, frame size,
    /// slot offsets)`, all in bytes, as in [`gc_types::StackMapTable`].
    pub fn stack_maps(&self) -> impl Iterator<Item = (u32, u32, &[u32])> {
        self.stack_maps.iter().map(|(ret, size, slots)| (*ret, *size, slots.as_slice()))
    }
}

/// What is compiled once for all images: trampolines. Each image has its own copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Trampoline {
    HostCall(HostCall),
    Entry(CallSignature),
    Exit(CallSignature),
}

/// Compiles functions for one [`Abi`]. Cheap to share, usable from many threads.
pub struct Compiler {
    abi: Abi,
    isa: OwnedTargetIsa,
    /// For functions that are huge.
    huge_isa: OwnedTargetIsa,
    huge_function: usize,
    trampolines: Mutex<HashMap<Trampoline, Arc<CompiledFunction>>>,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("isa", &self.isa.name()).finish_non_exhaustive()
    }
}

impl Compiler {
    /// A compiler of code for `abi`.
    ///
    /// # Errors
    /// If Cranelift or this crate does not support the machine.
    pub fn new(abi: &Abi, options: &CompileOptions) -> Result<Compiler> {
        Ok(Compiler {
            abi: abi.clone(),
            isa: target(abi, options, options.opt_level, "backtracking")?,
            huge_isa: target(abi, options, OptLevel::None, "single_pass")?,
            huge_function: options.huge_function,
            trampolines: Mutex::default(),
        })
    }

    /// What the code it compiles depends on.
    pub fn abi(&self) -> &Abi {
        &self.abi
    }

    /// The machine and settings it compiles for.
    pub fn isa(&self) -> &dyn TargetIsa {
        &*self.isa
    }

    /// Compiles the function in `context` (which is left as Cranelift leaves it; clear
    /// it to compile another one).
    ///
    /// # Errors
    /// If the function does not verify, or passes a limit of Cranelift's, or carries a
    /// trap code that is no [`Trap`], or needs a library function. If it or what it calls is of
    /// another calling convention than compiled code is; or if it calls what may collect, and
    /// [`place_safepoints`](crate::safepoints::place_safepoints) was not called for it.
    pub fn compile(&self, context: &mut Context) -> Result<CompiledFunction> {
        refuse::refuse(&context.func)?;
        let huge = weight(&context.func) >= self.huge_function;
        let calls_by_reference = calls_by_reference(&context.func);
        let isa = if huge { &*self.huge_isa } else { &*self.isa };
        let function = self.compile_for(isa, context)?;
        Ok(CompiledFunction { calls_by_reference, ..function })
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
                    match name.namespace {
                        names::FUNCTION_NAMESPACE => RelocTarget::Function(name.index),
                        names::HOST_CALL_NAMESPACE => RelocTarget::HostCall(name.index),
                        names::TYPE_WORD_NAMESPACE => RelocTarget::TypeWord(name.index),
                        other => bail!("a call to {name}: namespace {other} has no meaning"),
                    }
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
            let code = trap_of(trap.code)
                .ok_or_else(|| anyhow!("trap code {} has no meaning", trap.code))?;
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
            handlers.push(HandlerSite { ret_addr: site.ret_addr, frame_offset, handlers: found });
        }

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
            handlers,
            srclocs,
            vmctx_slot,
            disassembly: compiled.vcode,
        })
    }

    /// Compiles a trampoline, whose function `build` builds, unless it was before.
    pub(super) fn trampoline(
        &self,
        key: Trampoline,
        build: impl FnOnce() -> ir::Function,
    ) -> Result<Arc<CompiledFunction>> {
        let cache = || self.trampolines.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(function) = cache().get(&key) {
            return Ok(function.clone());
        }
        let compiled = self.compile_for(&*self.isa, &mut Context::for_function(build()))?;
        let function = Arc::new(compiled);
        cache().insert(key, function.clone());
        Ok(function)
    }
}

/// What a function costs the register allocator: its instructions, and, since each is a
/// move, the parameters of its blocks and twice what branches pass for them.
fn weight(func: &ir::Function) -> usize {
    let dfg = &func.dfg;
    let passed = |inst: ir::Inst| {
        let calls = dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables);
        calls.iter().map(|call| call.len(&dfg.value_lists)).sum::<usize>()
    };
    func.layout
        .blocks()
        .map(|block| {
            let insts = func.layout.block_insts(block).map(|inst| 1 + 2 * passed(inst));
            dfg.block_params(block).len() + insts.sum::<usize>()
        })
        .sum()
}

/// The signatures with which `func` calls by an address that it has from elsewhere, as long
/// as a function of the host's may have them.
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

/// The machine of `abi`, with the settings this crate needs.
fn target(
    abi: &Abi,
    options: &CompileOptions,
    opt_level: OptLevel,
    regalloc: &str,
) -> Result<OwnedTargetIsa> {
    let mut flags = settings::builder();
    for (name, value) in [
        (
            "opt_level",
            match opt_level {
                OptLevel::None => "none",
                OptLevel::Speed => "speed",
            },
        ),
        ("regalloc_algorithm", regalloc),
        ("enable_verifier", if options.verifier { "true" } else { "false" }),
        // Stack walks follow frame pointers.
        ("preserve_frame_pointers", "true"),
        ("unwind_info", "false"),
        // Large frames are checked against the stack limit before they are
        // entered; the probes are for functions without a limit.
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        // Functions with more results than registers.
        ("enable_multi_ret_implicit_sret", "true"),
        ("is_pic", "true"),
        ("use_colocated_libcalls", "true"),
    ] {
        flags.set(name, value).with_context(|| format!("Cranelift setting {name}={value}"))?;
    }
    machine::backend(abi.machine())?
        .finish(settings::Flags::new(flags))
        .with_context(|| format!("cannot configure Cranelift for {}", abi.machine()))
}

/// The trap that a Cranelift trap code stands for.
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
