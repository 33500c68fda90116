//! Runs compiled programs: links their functions, makes a heap under the collector that
//! was asked for, enters the code and prints its values.
#![allow(unsafe_code)]

use crate::codegen::{self, Function, PRINT, PRINT_SIGNATURE, VMCTX_CODE, VMCTX_CODE_LEN};
use crate::syntax::Expr;
use crate::values::{self, CLOSURE, PAIR};
use anyhow::{Context as _, Result, anyhow};
use cranelift_codegen::Context;
use gc_compiler::GcCompiler;
use gc_compiler::collector::{drc::DrcCompiler, null::NullCompiler};
use gc_jit::{
    CallError, CodeImageBuilder, CodeMemory, EmbedderHooks, JitCompiler, JitOptions, JitStore,
    VMContextPrefix, ValRaw, host_call_guard,
};
use gc_runtime::collector::{DrcCollector, NullCollector};
use gc_runtime::{GcRuntime, GcStats, GcStore, HeapError, HeapOptions};
use gc_types::{VMGcHeader, VMGcRef};
use std::fmt::Write as _;
use std::sync::Arc;

/// A collector: the half that collects and the half that is emitted.
pub(crate) struct Collector {
    runtime: &'static dyn GcRuntime,
    compiler: &'static dyn GcCompiler,
}

/// The collectors to choose from.
pub(crate) static COLLECTORS: [Collector; 2] = [
    Collector { runtime: &NullCollector, compiler: &NullCompiler },
    Collector { runtime: &DrcCollector, compiler: &DrcCompiler },
];

impl Collector {
    pub(crate) fn name(&self) -> &'static str {
        self.runtime.name()
    }

    pub(crate) fn named(name: &str) -> Result<&'static Collector, String> {
        COLLECTORS.iter().find(|c| c.name() == name).ok_or_else(|| "no such collector".into())
    }
}

/// How to run a program.
pub(crate) struct Options {
    pub(crate) collector: &'static Collector,
    /// The most bytes the heap may use.
    pub(crate) heap_max: u64,
}

/// Bytes of stack compiled code may use: enough for lists of tens of thousands of elements
/// built without tail calls.
const MAX_STACK: usize = 4 << 20;

/// Our vmctx: the driver's prefix, then what `codegen` says.
#[repr(C)]
struct Vmctx {
    prefix: VMContextPrefix,
    code: *const *const u8,
    code_len: u64,
}

const _: () = {
    assert!(std::mem::offset_of!(Vmctx, code) == VMCTX_CODE as usize);
    assert!(std::mem::offset_of!(Vmctx, code_len) == VMCTX_CODE_LEN as usize);
};

fn functions(jit: &JitCompiler, program: &Expr, options: &Options) -> Result<Vec<Function>> {
    codegen::functions(program, options.collector.compiler, jit.isa().frontend_config())
}

/// The functions of `program`, as text.
pub(crate) fn clif(program: &Expr, options: &Options) -> Result<String> {
    let jit = JitCompiler::new(&JitOptions::default())?;
    let mut text = String::new();
    for (number, function) in functions(&jit, program, options)?.iter().enumerate() {
        writeln!(text, "; {number}: {}\n{}", function.name, function.clif)?;
    }
    Ok(text)
}

/// Compiles and links `program`.
fn compile(jit: &JitCompiler, program: &Expr, options: &Options) -> Result<Arc<CodeMemory>> {
    let mut image = CodeImageBuilder::new();
    for (number, function) in functions(jit, program, options)?.into_iter().enumerate() {
        let compiled = jit.compile(&mut Context::for_function(function.clif))?;
        image.define(number as u32, function.name, compiled)?;
    }
    let signature = |call| (call == PRINT).then_some(PRINT_SIGNATURE);
    CodeMemory::publish(image.finish(jit, &signature)?)
}

/// Compiles and runs `program`; what it prints goes to `output`.
///
/// # Errors
/// If it does not compile, or stops before its end.
pub(crate) fn run(program: &Expr, options: &Options, output: &mut String) -> Result<GcStats> {
    let jit = JitCompiler::new(&JitOptions::default())?;
    let code = compile(&jit, program, options)?;
    let table: Vec<*const u8> = (0..).map_while(|number| code.function_address(number)).collect();

    let heap = HeapOptions {
        initial: HeapOptions::DEFAULT_INITIAL.min(options.heap_max),
        maximum: options.heap_max,
        ..HeapOptions::default()
    };
    let mut gc = GcStore::new(options.collector.runtime, &heap)?;
    for (ty, layout) in values::layouts() {
        gc.ensure_layout(ty, &Arc::new(layout));
    }
    let mut store = JitStore::new(gc, &[print as *const u8], MAX_STACK)?;
    // SAFETY: `output` outlives the one call below, and the language keeps no roots
    // outside its frames.
    unsafe {
        let data = std::ptr::from_mut(output).cast();
        store.set_embedder(EmbedderHooks { data, ..EmbedderHooks::NONE });
    }
    let mut vmctx =
        Vmctx { prefix: store.vmctx_prefix(), code: table.as_ptr(), code_len: table.len() as u64 };
    let trampoline = jit.entry_trampoline(&codegen::signature())?;
    let main = code.function_address(0).context("a program has a first function")?;
    // The program's own closure and argument: null, and not used.
    let mut slots = [ValRaw::ZERO; 2];
    // SAFETY: `main` has the trampoline's signature and a stack limit; code, store and
    // vmctx outlive the call.
    let result = unsafe {
        JitStore::call(&raw mut *store, &trampoline, main, (&raw mut vmctx).cast(), &mut slots)
    };
    match result {
        Ok(()) => Ok(store.gc().stats()),
        Err(error) => Err(explain(error)),
    }
}

/// The error as a user of the language wants to read it.
fn explain(error: CallError) -> anyhow::Error {
    let trap = match error {
        CallError::Trap(trap) => trap,
        CallError::Host(error) => return error,
    };
    let mut text = match trap.trap {
        gc_types::Trap::CastFailure => "a value of another kind was needed".to_owned(),
        other => other.to_string(),
    };
    for frame in trap.backtrace.frames() {
        let line = frame.srcloc.map_or(String::new(), |line| format!(", line {line}"));
        let _ = write!(text, "\n  in {}{line}", frame.name);
    }
    anyhow!(text)
}

/// The host function behind `print`.
extern "C" fn print(vmctx: *mut u8, word: u64) -> u64 {
    // SAFETY: compiled code passes its vmctx; the embedder's data is `run`'s `output`, which
    // nobody else uses during the call.
    unsafe {
        host_call_guard(vmctx, |store| {
            let output = &mut *store.embedder().cast::<String>();
            let value = VMGcRef::from_raw_u32(word as u32);
            show(store.gc_mut(), value.as_ref(), output, 0)?;
            output.push('\n');
            Ok(0)
        })
    }
}

/// Lists in lists that are shown.
const MAX_SHOWN_DEPTH: u32 = 50;

/// Appends a value to `out`. What it reads it holds, and gives up again.
fn show(
    gc: &mut GcStore,
    value: Option<&VMGcRef>,
    out: &mut String,
    depth: u32,
) -> Result<(), HeapError> {
    let Some(value) = value else {
        out.push_str("[]");
        return Ok(());
    };
    if let Some(integer) = value.as_i31() {
        let _ = write!(out, "{}", integer.get_i32());
        return Ok(());
    }
    let header: VMGcHeader = gc.heap().core().header(value)?;
    if header.ty() == CLOSURE {
        out.push_str("<function>");
        return Ok(());
    }
    if depth == MAX_SHOWN_DEPTH {
        out.push_str("...");
        return Ok(());
    }
    let layout = values::pair_layout();
    let (head_at, tail_at) =
        (layout.fields[values::HEAD].offset, layout.fields[values::TAIL].offset);
    let mut cell = Some(gc.clone_gc_ref(value));
    let mut separator = "[";
    while let Some(pair) = cell {
        out.push_str(separator);
        separator = ", ";
        let is_pair = !pair.is_i31() && gc.heap().core().header(&pair)?.ty() == PAIR;
        if !is_pair {
            // `1 :: 2`, as the parser lets one write.
            out.push_str("...");
            gc.drop_gc_ref(pair);
            break;
        }
        let head = gc.read_field_ref(&pair, head_at)?;
        let shown = show(gc, head.as_ref(), out, depth + 1);
        if let Some(head) = head {
            gc.drop_gc_ref(head);
        }
        shown?;
        cell = gc.read_field_ref(&pair, tail_at)?;
        gc.drop_gc_ref(pair);
    }
    out.push(']');
    Ok(())
}
