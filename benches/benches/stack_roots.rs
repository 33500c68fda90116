//! Walks of a deep stack with the crate `stack-roots`, by code of `cranelift-jit`: a chain of ten thousand calls of
//! sixteen functions, each of which keeps two references. The tables have ten thousand rows of other functions besides.
//!
//! The peer follows the frame pointers of the same stack and looks nothing up. All take turns.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlagsData, Signature, types};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use gc_benches::clock::Clock;
use gc_benches::measure::median;
use gc_benches::options::Turns;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table, target};
use stack_roots::walk::{Activation, Tables};
use stack_roots::write::Maps;
use std::cell::RefCell;

const SUBJECT: Subject = Subject {
    name: "stack_roots",
    title: "Walks of a deep stack",
    about: "A chain of ten thousand calls of sixteen functions, compiled by cranelift-jit, each of which keeps two \
            references. The tables of stack-roots have ten thousand rows of other functions besides. The peer follows \
            the frame pointers of the same stack and looks nothing up. All take turns. Times are processor time of the \
            thread, as medians.",
};

/// Measures walks of a deep stack.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    turns: Turns,
}

/// The calls of the chain.
const FRAMES: u64 = 10_000;

/// The functions of the chain.
const FUNCTIONS: usize = 16;

/// Other functions, each with this number of calls.
const OTHERS: [usize; 2] = [200, 50];

/// Walks in a turn.
const WALKS: u32 = 20;

/// The most nanoseconds that a frame should take.
const TARGET: f64 = 15.0;

/// What is measured, in this order.
const SUBJECTS: [&str; 3] =
    ["the frame pointers alone", "a walk", "a walk, and a visit of all references"];

/// The tables, and what was measured: nanoseconds for each frame, for each subject.
struct Measured {
    tables: Tables,
    turns: u32,
    times: [Vec<f64>; SUBJECTS.len()],
    error: Option<anyhow::Error>,
}

thread_local! {
    static MEASURED: RefCell<Option<Measured>> = const { RefCell::new(None) };
}

extern "C" fn measure() {
    MEASURED.with_borrow_mut(|measured| {
        let measured = measured.as_mut().expect("it was set");
        for _ in 0..measured.turns {
            if let Err(error) = turn(measured) {
                measured.error = Some(error);
                return;
            }
        }
    });
}

stack_roots::exit! {
    extern "C" fn rt_measure() = measure;
}

stack_roots::entry! {
    unsafe fn enter(code: *const u8, depth: u64, first: *const u64, second: *const u64) -> u64;
}

fn turn(measured: &mut Measured) -> Result<()> {
    let Measured { tables, times, .. } = measured;
    let mut time = |subject: usize, walk: &mut dyn FnMut() -> Result<usize>| -> Result<()> {
        let began = Clock::start();
        for _ in 0..WALKS {
            let frames = walk()?;
            ensure!(frames as u64 == FRAMES + 1, "{frames} frames");
        }
        let spent = began.spent().cpu.as_secs_f64() * 1e9;
        times[subject].push(spent / f64::from(WALKS) / (FRAMES + 1) as f64);
        Ok(())
    };
    time(0, &mut || Ok(chain()))?;
    // SAFETY: compiled code preserves frame pointers, and runs again after the walk.
    time(1, &mut || Ok(unsafe { tables.walk_current() }?.len()))?;
    time(2, &mut || {
        // SAFETY: as above.
        let mut frames = unsafe { tables.walk_current() }?;
        let mut sum = 0;
        frames.visit(|reference| {
            sum += reference & 7;
            reference
        });
        ensure!(sum == 0, "a reference is wrong");
        Ok(frames.len())
    })
}

/// Counts the frames by their frame pointers.
fn chain() -> usize {
    let [exit, entry] = Activation::current().frame_pointers();
    let mut frames = 0;
    let mut frame_pointer = exit;
    loop {
        // SAFETY: it is the frame of the exit function or of compiled code, which begin with the caller's frame pointer.
        frame_pointer = unsafe { std::ptr::with_exposed_provenance::<usize>(frame_pointer).read() };
        if frame_pointer == entry {
            return std::hint::black_box(frames);
        }
        frames += 1;
    }
}

fn signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::I64); 3];
    signature.returns = vec![AbiParam::new(types::I64)];
    signature
}

struct Compiler {
    module: JITModule,
    maps: Maps,
    measure: FuncId,
}

impl Compiler {
    fn new() -> Result<Compiler> {
        let mut flags = settings::builder();
        flags.set("preserve_frame_pointers", "true")?;
        let isa = cranelift_native::builder().map_err(anyhow::Error::msg)?;
        let isa = isa.finish(settings::Flags::new(flags))?;
        let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
        builder.symbol("measure", rt_measure as *const u8);
        let mut module = JITModule::new(builder);
        let nothing = Signature::new(CallConv::SystemV);
        let measure = module.declare_function("measure", Linkage::Import, &nothing)?;
        let maps = Maps::new(module.isa())?;
        Ok(Compiler { module, maps, measure })
    }

    /// Defines a function that calls others with a smaller depth and, at depth zero, `measure`. It keeps both references.
    fn define(&mut self, id: FuncId, callees: &[FuncId]) -> Result<()> {
        let mut context = self.module.make_context();
        context.func.signature = signature();
        let mut frontend = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let [depth, first, second] = builder.block_params(entry)[..] else { unreachable!() };
        builder.declare_value_needs_stack_map(first);
        builder.declare_value_needs_stack_map(second);
        let [deeper, end, out] = std::array::from_fn(|_| builder.create_block());
        builder.ins().brif(depth, deeper, &[], end, &[]);
        builder.switch_to_block(deeper);
        let less = builder.ins().iadd_imm_s(depth, -1);
        for callee in callees {
            let callee = self.module.declare_func_in_func(*callee, builder.func);
            builder.ins().call(callee, &[less, second, first]);
        }
        builder.ins().jump(out, &[]);
        builder.switch_to_block(end);
        let measure = self.module.declare_func_in_func(self.measure, builder.func);
        builder.ins().call(measure, &[]);
        builder.ins().jump(out, &[]);
        builder.switch_to_block(out);
        let [a, b] = [first, second]
            .map(|reference| builder.ins().load(types::I64, MemFlagsData::trusted(), reference, 0));
        let sum = builder.ins().iadd(a, b);
        builder.ins().return_(&[sum]);
        builder.seal_all_blocks();
        builder.finalize(self.module.isa().frontend_config());
        self.module.define_function(id, &mut context)?;
        self.maps.add(id, &context)?;
        Ok(())
    }

    fn declare(&mut self, name: &str) -> Result<FuncId> {
        Ok(self.module.declare_function(name, Linkage::Local, &signature())?)
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    // The frames take a megabyte and a half.
    let thread = std::thread::Builder::new().stack_size(64 << 20);
    thread.spawn(move || run(&options))?.join().expect("no panic")
}

fn run(options: &Options) -> Result<()> {
    let mut compiler = Compiler::new()?;
    let chain = (0..FUNCTIONS)
        .map(|n| compiler.declare(&format!("chain{n}")))
        .collect::<Result<Vec<_>>>()?;
    for (n, id) in chain.iter().enumerate() {
        compiler.define(*id, &[chain[(n + 1) % FUNCTIONS]])?;
    }
    let [others, calls] = OTHERS;
    for n in 0..others {
        let id = compiler.declare(&format!("other{n}"))?;
        compiler.define(id, &vec![chain[n % FUNCTIONS]; calls])?;
    }
    let Compiler { mut module, maps, .. } = compiler;
    module.finalize_definitions()?;
    let mut tables = Tables::new();
    maps.register(&mut tables, |id| module.get_finalized_function(id))?;
    let turns = options.turns.rules().runs as u32;
    MEASURED.set(Some(Measured { tables, turns, times: Default::default(), error: None }));
    let (first, second) = (20, 22);
    // SAFETY: it is a compiled function with these parameters.
    let sum = unsafe {
        enter(module.get_finalized_function(chain[0]), FRAMES, &raw const first, &raw const second)
    };
    ensure!(sum == 42, "the frames were changed");
    let Measured { times, error, .. } = MEASURED.take().context("it was set")?;
    if let Some(error) = error {
        return Err(error);
    }
    if options.turns.test {
        println!("stack_roots: ok");
        return Ok(());
    }
    let mut record = Record::new(SUBJECT);
    let mut rows = table("", ["ns a frame".to_owned()]);
    for (subject, times) in SUBJECTS.iter().zip(&times) {
        let time = median(times).unwrap_or(f64::NAN);
        rows.add_row([Cell::new(subject), right(format!("{time:.1}"))]);
    }
    record.table("A stack with 10,001 frames", &rows);
    let time = median(&times[2]).unwrap_or(f64::NAN);
    record.lines([&*format!(
        "a frame with its two references: {time:.1} ns{}",
        target(time, Some(TARGET))
    )]);
    record.finish()
}
