//! Calls with raw values from C, beside those of Rust: the host calls WebAssembly, and WebAssembly calls a
//! function of the host in a loop. The functions of the C interface are called by their addresses, as a
//! program of C calls them. `wasm_func_call`, which checks and allocates, stands beside them.
//!
//! Both take turns, and the result is the best turn of each: other processes only make turns longer.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table};
use gc_wasm::{Engine, Func, Linker, Module, Store, ValRaw};
use std::ffi::c_void;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

const SUBJECT: Subject = Subject {
    name: "c_calls",
    title: "Calls with raw values from C and from Rust",
    about: "The host calls WebAssembly with raw values, and WebAssembly calls a function of the host in a \
            loop: through the C interface, by the addresses of its functions, and through that of Rust. The \
            rows of `wasm_func_call` are the C function that checks and allocates. All ways take turns. \
            Each time is that of the shortest turn, in wall-clock time: other processes only make turns \
            longer.",
};

/// Measures calls with raw values from C and from Rust.
#[derive(Parser)]
struct Options {
    /// Turns of each.
    #[arg(long, default_value_t = 301)]
    turns: usize,
    /// Run everything once and measure nothing.
    #[arg(long)]
    test: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A type of functions.
struct Shape {
    name: &'static str,
    params: &'static [&'static str],
    results: &'static [&'static str],
}

const SHAPES: &[Shape] = &[
    Shape { name: "nop", params: &[], results: &[] },
    Shape { name: "i64", params: &["i64"], results: &["i64"] },
    Shape {
        name: "many",
        params: &["i32", "i64", "f32", "f64", "i32", "i64", "f32", "f64"],
        results: &["i32", "i64", "f32", "f64"],
    },
];

/// The most that a call of C may take, as a ratio to one of Rust.
const TARGET: f64 = 1.1;

/// The calls of a turn.
const CALLS: u32 = 20_000;

impl Shape {
    fn slots(&self) -> usize {
        self.params.len().max(self.results.len())
    }

    /// A module with a function of this type, and with one that calls the host's in a loop.
    fn wat(&self) -> String {
        let (params, results) = (self.params.join(" "), self.results.join(" "));
        let ty = format!("(param {params}) (result {results})");
        let gets: String = (0..self.results.len()).map(|i| format!("local.get {i} ")).collect();
        let zeros: String = self.params.iter().map(|ty| format!("({ty}.const 0)")).collect();
        let drops = "drop ".repeat(self.results.len());
        format!(
            r#"(module (import "" "" (func $host {ty}))
                (func (export "wasm") {ty} {gets})
                (func (export "loop") (param $n i32)
                    (loop $next
                        (call $host {zeros}) {drops}
                        (br_if $next
                            (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#
        )
    }
}

/// What Rust and C do in the host's function: the results are the first arguments, and are there already.
/// It is not inlined, because no function of C can be.
#[inline(never)]
fn host(slots: &mut [MaybeUninit<ValRaw>]) {
    black_box(slots.as_mut_ptr());
}

/// One way to call: what makes a turn.
type Turn = Box<dyn FnMut() -> Result<Duration>>;

/// A call from the host with raw values, and a loop in WebAssembly that calls the host.
fn rust(shape: &Shape) -> Result<[Turn; 2]> {
    let engine = Engine::default();
    let module = Module::new(&engine, shape.wat())?;
    let mut linker = Linker::new(&engine);
    let ty = module.imports().next().context("an import")?.ty().unwrap_func().clone();
    // SAFETY: the results are the first arguments.
    unsafe {
        linker.func_new_unchecked("", "", ty, |_, slots| {
            host(slots);
            Ok(())
        })?
    };
    let turns = ["wasm", "loop"].map(|name| -> Result<Turn> {
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module)?;
        let func: Func = instance.get_func(&mut store, name).context("an export")?;
        let slots = shape.slots();
        let from_host = name == "wasm";
        Ok(Box::new(move || {
            let mut values = [ValRaw::ZERO; 17];
            let values: *mut [ValRaw] = &mut values[..slots.max(1)];
            let began = Instant::now();
            if from_host {
                for _ in 0..CALLS {
                    // SAFETY: the slots hold numbers, as the function's type says.
                    unsafe { func.call_unchecked(&mut store, black_box(values))? };
                }
            } else {
                let mut values = [ValRaw::u32(CALLS)];
                // SAFETY: as above.
                unsafe { func.call_unchecked(&mut store, &mut values)? };
            }
            Ok(began.elapsed())
        }))
    });
    let [a, b] = turns;
    Ok([a?, b?])
}

extern "C" fn c_host(
    _: *mut c_void,
    values: *mut ValRaw,
    count: usize,
) -> Option<Box<capi::wasm_trap_t>> {
    black_box((values, count));
    None
}

/// The number of a type in `wasm.h`.
fn kind(ty: &str) -> u8 {
    match ty {
        "i32" => 0,
        "i64" => 1,
        "f32" => 2,
        _ => 3,
    }
}

type RawCall = extern "C" fn(*const capi::wasm_func_t, *mut ValRaw, usize) -> capi::CallResult;

type CheckedCall = extern "C" fn(
    *const capi::wasm_func_t,
    Option<&capi::wasm_val_vec_t>,
    Option<&mut capi::wasm_val_vec_t>,
) -> capi::CallResult;

/// The same through the C interface. With `raw` false through `wasm_func_call`, from the host only.
fn c(shape: &Shape, raw: bool) -> Result<Vec<Turn>> {
    let engine = capi::wasm_engine_new().context("an engine")?;
    let text = wat::parse_str(shape.wat())?;
    let names: &[usize] = if raw { &[0, 1] } else { &[0] };
    let turns = names.iter().map(|&export| -> Result<Turn> {
        let store = capi::wasm_store_new(Some(&engine)).context("a store")?;
        let binary = text.clone().into();
        let module = capi::wasm_module_new(Some(&store), Some(&binary)).context("a module")?;
        let types = |types: &[&str]| {
            let types = types.iter().map(|ty| capi::wasm_valtype_new(kind(ty)));
            capi::wasm_valtype_vec_t::from(types.collect::<Vec<_>>())
        };
        let (mut params, mut results) = (types(shape.params), types(shape.results));
        let ty = capi::wasm_functype_new(Some(&mut params), Some(&mut results));
        let null = std::ptr::null_mut();
        let func =
            capi::reclaim_func_new_unchecked(Some(&store), ty.as_deref(), Some(c_host), null, None);
        let import = capi::wasm_extern_copy(capi::wasm_func_as_extern(func.as_deref()));
        let imports = vec![import].into();
        let instance = capi::wasm_instance_new(Some(&store), Some(&module), Some(&imports), None);
        let instance = instance.context("an instance")?;
        let mut exports = MaybeUninit::new(capi::wasm_extern_vec_t::default());
        capi::wasm_instance_exports(Some(&instance), Some(&mut exports));
        // SAFETY: it was initialised above.
        let exports = unsafe { exports.assume_init() };
        let called = exports.as_slice()[export].as_deref();
        let called =
            capi::wasm_func_copy(capi::wasm_extern_as_func(called)).context("a function")?;
        let slots = shape.slots();
        let zeros = |types: &[&str]| {
            let mut zeros = MaybeUninit::uninit();
            capi::wasm_val_vec_new_uninitialized(Some(&mut zeros), types.len());
            // SAFETY: the function has written it.
            let mut zeros = unsafe { zeros.assume_init() };
            for (value, ty) in zeros.as_mut_slice().iter_mut().zip(types) {
                value.kind = kind(ty);
                value.of.i64 = 0;
            }
            zeros
        };
        let (arguments, mut returned) = (zeros(shape.params), zeros(shape.results));
        Ok(Box::new(move || {
            let _kept = (&store, &exports);
            let mut values = [ValRaw::ZERO; 17];
            let call: RawCall = black_box(capi::reclaim_func_call_unchecked);
            let call_checked: CheckedCall = black_box(capi::wasm_func_call);
            let began = Instant::now();
            if export == 1 {
                values[0] = ValRaw::u32(CALLS);
                ensure!(
                    call(&raw const *called, values.as_mut_ptr(), 1).into_trap().is_none(),
                    "a trap"
                );
            } else if raw {
                for _ in 0..CALLS {
                    let trap =
                        call(&raw const *called, black_box(values.as_mut_ptr()), slots.max(1));
                    ensure!(trap.into_trap().is_none(), "a trap");
                }
            } else {
                for _ in 0..CALLS {
                    let trap =
                        call_checked(&raw const *called, Some(&arguments), Some(&mut returned));
                    ensure!(trap.into_trap().is_none(), "a trap");
                }
            }
            Ok(began.elapsed())
        }))
    });
    turns.collect()
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut record = Record::new(SUBJECT);
    let mut report = table("call", ["ns in Rust", "ns in C", "ratio", "target"].map(str::to_owned));
    for shape in SHAPES {
        let mut turns: Vec<Turn> = rust(shape)?.into();
        turns.extend(c(shape, true)?);
        turns.extend(c(shape, false)?);
        let mut best = vec![f64::INFINITY; turns.len()];
        for _ in 0..if options.test { 1 } else { options.turns.max(1) } {
            for (turn, best) in turns.iter_mut().zip(&mut best) {
                *best = best.min(turn()?.as_secs_f64() * 1e9 / f64::from(CALLS));
            }
        }
        for (name, rust, c) in [
            ("host to wasm", best[0], best[2]),
            ("wasm to host", best[1], best[3]),
            ("host to wasm, `wasm_func_call`", best[0], best[4]),
        ] {
            let target = match (name.contains("func_call"), c / rust <= TARGET) {
                (true, _) => String::new(),
                (false, true) => format!("met (at most {TARGET})"),
                (false, false) => format!("missed (at most {TARGET})"),
            };
            report.add_row([
                Cell::new(format!("{name}: {}", shape.name)),
                right(format!("{rust:.1}")),
                right(format!("{c:.1}")),
                right(format!("{:.2}", c / rust)),
                Cell::new(target),
            ]);
        }
    }
    match options.test {
        true => println!("c_calls: ok"),
        false => record.table("Nanoseconds of a call", &report),
    }
    record.finish()
}
