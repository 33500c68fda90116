//! Runs programs: compiles and links their functions, makes a heap under the collector that
//! was asked for, enters the code and shows the value that comes back.
#![allow(unsafe_code)]

use crate::compiler::{CLOSURE, CLOSURE_LAYOUT, PAIR, compile, pair_layout};
use crate::function::{Program, signature};
use crate::syntax::read;
use anyhow::{Context as _, Result, anyhow, bail};
use cranelift_codegen::Context;
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_compiler::{CompileOptions, Compiler, GcCompiler, ImageLinker, call_signature};
use gc_jit::{CallError, CodeMemory, JitState, JitStore};
use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector, NullCollector};
use gc_runtime::{GcRuntime, GcStats, GcStore, HeapError, HeapOptions};
use gc_types::collector::generational::NURSERY;
use gc_types::{Abi, GcLayout, StorageType, Trap, VMGcRef, ValRaw};
use std::sync::Arc;

/// The collectors there are.
pub(crate) const COLLECTORS: [&str; 4] = ["null", "drc", "copying", "generational"];

/// A collector's two halves: the one that collects and the one that is emitted.
fn collector(name: &str) -> Result<(&'static dyn GcRuntime, &'static dyn GcCompiler)> {
    Ok(match name {
        "null" => (&NullCollector, &NullCompiler),
        "drc" => (&DrcCollector, &DrcCompiler),
        "copying" => (&CopyingCollector, &CopyingCompiler),
        "generational" => (&GenerationalCollector, &GenerationalCompiler),
        _ => bail!("no collector is called `{name}`"),
    })
}

/// Bytes of stack that compiled code may use: enough for lists of tens of thousands of
/// elements built without tail calls.
const MAX_STACK: usize = 4 << 20;

/// A store of the toy language: it has a heap, and no roots but those on the stack.
struct Store {
    jit: JitState<Store>,
}

impl JitStore for Store {
    fn jit(&self) -> &JitState<Store> {
        &self.jit
    }

    fn jit_mut(&mut self) -> &mut JitState<Store> {
        &mut self.jit
    }
}

/// Compiles and runs a program and shows its value.
pub(crate) fn run(source: &str, name: &str, heap: &HeapOptions) -> Result<(String, GcStats)> {
    let (runtime, gc) = collector(name)?;
    let abi = Abi::new(gc.abi().with(NURSERY, heap.nursery_size().into()))
        .with_bounds(heap.bounds)
        .with_zeal(heap.zeal != 0);
    let compiler = Compiler::new(&abi, &CompileOptions::default())?;
    let config = compiler.isa().frontend_config();
    let mut program = Program { gc, abi, config, functions: Vec::new() };
    let source = source.replace('(', " ( ").replace(')', " ) ");
    let trees = read(&source)?;
    compile(&trees, &mut program)?;
    let main = program.functions.len() as u32 - 1;
    let mut image = ImageLinker::new();
    for (number, (title, func)) in (0..).zip(program.functions) {
        image.define(number, title, compiler.compile(&mut Context::for_function(func))?)?;
    }
    image.export(main)?;
    let code = CodeMemory::publish(image.link(&compiler)?, &[])?;
    let main = code.function_address(main).context("no function")?;
    let trampoline = code.entry_trampoline(&call_signature(&signature())?).context("no way in")?;

    let mut gc = GcStore::new(runtime, heap)?;
    gc.ensure_layout(PAIR, &Arc::new(GcLayout::Struct(pair_layout())));
    gc.ensure_layout(CLOSURE, &Arc::new(GcLayout::Array(CLOSURE_LAYOUT)));
    let mut store = Store { jit: JitState::new(gc, &[], MAX_STACK)? };
    let mut vmctx = store.jit.vmctx_prefix(0);
    // The program's own closure and argument are null, and not used.
    let mut values = [ValRaw::ZERO; 2];
    // SAFETY: `main` has the trampoline's signature and a stack limit; code and vmctx
    // outlive the call.
    let result = unsafe {
        let vmctx = (&raw mut vmctx).cast();
        gc_jit::call(&mut store, &trampoline, main, vmctx, &mut values)
    };
    result.map_err(explain)?;
    let mut shown = String::new();
    show(store.jit.gc(), values[0].u32(), 0, &mut shown)?;
    Ok((shown, store.jit.gc().stats()))
}

/// The error as a user of the language wants to read it.
fn explain(error: CallError) -> anyhow::Error {
    let CallError::Trap(error) = error else { return error.into_anyhow() };
    let mut text = match error.trap {
        Trap::CastFailure => "a value of another kind was needed".to_owned(),
        other => other.to_string(),
    };
    for frame in error.backtrace.frames() {
        if let Some(line) = frame.srcloc {
            text += &format!("\n  in {}, line {line}", frame.name);
        }
    }
    anyhow!(text)
}

/// Lists in lists that are shown, and bytes: a value may share what it consists of, and be
/// exponentially longer as text.
const MAX_SHOWN: (u32, usize) = (50, 1 << 16);

/// Appends a value to `out`. What it reads needs no root: nothing collects meanwhile.
fn show(gc: &GcStore, word: u32, depth: u32, out: &mut String) -> Result<(), HeapError> {
    let mut rest = VMGcRef::from_raw_u32(word);
    if let Some(value) = &rest {
        if let Some(integer) = value.as_i31() {
            *out += &integer.get_i32().to_string();
            return Ok(());
        }
        if gc.heap().core().header(value)?.ty() == CLOSURE {
            *out += "a function";
            return Ok(());
        }
    }
    let layout = pair_layout();
    let mut separator = "";
    out.push('(');
    while let Some(pair) = rest {
        *out += separator;
        separator = " ";
        if depth == MAX_SHOWN.0 || out.len() > MAX_SHOWN.1 {
            *out += "...";
            break;
        }
        let field = |i: usize| gc.read_field(&pair, layout.fields[i].offset, StorageType::Ref);
        show(gc, field(0)? as u32, depth + 1, out)?;
        rest = VMGcRef::from_raw_u32(field(1)? as u32);
    }
    out.push(')');
    Ok(())
}
