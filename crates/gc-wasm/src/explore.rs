//! Shows the code of a compiled module: CLIF, and machine code with its tables. Used by `reclaim
//! explore` and by golden tests.

mod marks;
mod sides;

pub use marks::Part;
pub use sides::{ClifLine, ClifMark, Sides, sides};

use crate::compile::inlining::{Candidates, Source};
use crate::compile::{
    CompileContext, TypeWords, check_one, compile_one, finish_one, func_type, inlining, stages,
};
use crate::module::info::ModuleInfo;
use crate::module::parse::parse;
use crate::types::ValType;
use crate::types::matching::type_index;
use crate::vm::layout::VMContextLayout;
use crate::{Engine, Module};
use anyhow::{Context as _, Result, bail};
use cranelift_codegen::ir;
use gc_compiler::{CompiledFunction, FUNCTION_NAMESPACE, Symbol, imported_host_call};
use gc_types::{Catches, HostCall, Processor, Trap};
use std::collections::{BTreeMap, HashMap};
use wasmtime_types::{WasmHeapType, WasmValType};

/// The view of a function's CLIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The code generator's input, before optimisation.
    Clif,
    /// The code generator's input after optimisation, with the polls of loops.
    Optimised,
}

/// The CLIF of one function.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Its index in the module, imports included.
    pub index: u32,
    /// Its name: from the name section, an export, or its index.
    pub name: String,
    /// Its type, with the names of types and parameters that the name section has, and then its
    /// other locals that have names: `(param $x (ref $node)) (result i32) (local 2 $next)`.
    pub signature: String,
    /// What it calls: `fn0` and so on, as in the text, with the name of the function or host call.
    pub callees: Vec<(String, String)>,
    /// The requested view as text of several lines.
    pub text: String,
}

/// The machine code of one function, before it is linked. All offsets are in bytes from the start of
/// the code.
#[derive(Clone, Debug)]
pub struct MachineCode {
    /// Its index in the module, imports included.
    pub index: u32,
    /// Its name, as in [`Listing`].
    pub name: String,
    /// Its type and locals, as in [`Listing`].
    pub signature: String,
    /// The processor that executes the code.
    pub processor: &'static Processor,
    /// The code. Tables of jumps and constants can follow instructions.
    pub code: Vec<u8>,
    /// The names of functions, host calls and types that instructions refer to, by the offset of the field
    /// that the linker fills in. Where that is some bits of a word, as on aarch64, it is the offset of
    /// the instruction.
    pub symbols: BTreeMap<u32, String>,
    /// The instructions that may trap, by offset.
    pub traps: BTreeMap<u32, Trap>,
    /// Where the code comes from: ranges `(first, end)` of the code, ascending, with the offset of
    /// the operator in the module's bytes.
    pub locations: Vec<(u32, u32, u32)>,
    /// The references on the stack at calls, by return address.
    pub stack_maps: BTreeMap<u32, StackMap>,
    /// The exception handlers of calls, by return address: a tag of the module, or `all`, and where
    /// the handler begins. The first one that fits is used.
    pub handlers: BTreeMap<u32, Vec<(String, u32)>>,
}

/// The references on the stack at a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackMap {
    /// The size of the frame in bytes.
    pub frame_size: u32,
    /// The slots that hold references: distances in bytes up from the stack pointer.
    pub slots: Vec<u32>,
}

/// Shows the functions that a module defines (binary, or text with the feature `wat`). `filter`
/// selects one function by its name, the name of an export, or its index.
///
/// # Errors
/// If the module is malformed or invalid, or there is no such function.
pub fn explore(
    engine: &Engine,
    bytes: &[u8],
    what: Emit,
    filter: Option<&str>,
) -> Result<Vec<Listing>> {
    each(engine, bytes, filter, |module, function| {
        let index = function.index();
        let func = match what {
            Emit::Clif => finish_one(&module.cx, &module.candidates, function)?.func().clone(),
            Emit::Optimised => stages(&module.cx, &module.candidates, function)?.optimized,
        };
        Ok(Listing {
            index,
            name: module.cx.info.func_name(index),
            signature: module.signature(index)?,
            callees: module.callees(&func),
            text: func.display().to_string(),
        })
    })
}

/// Compiles the functions that [`explore`] shows.
///
/// # Errors
/// As [`explore`]. Also if a function exceeds a limit of the compiler.
///
/// # Examples
/// ```
/// use gc_wasm::explore::machine_code;
/// use gc_wasm::{Config, Engine};
///
/// let wat = r#"(module (func $log (import "host" "log"))
///     (func $f (call $log) (call $f))
///     (func $g (call $log) (call $f)))"#;
/// # let config = Config::new().compiler_inlining(gc_wasm::Inlining::No).clone();
/// let code = machine_code(&Engine::new(&config)?, wat.as_bytes(), Some("g"))?;
/// assert_eq!(code[0].symbols.values().collect::<Vec<_>>(), ["f"]);
/// # anyhow::Ok(())
/// ```
pub fn machine_code(
    engine: &Engine,
    bytes: &[u8],
    filter: Option<&str>,
) -> Result<Vec<MachineCode>> {
    each(engine, bytes, filter, |module, function| {
        let index = function.index();
        module.machine_code(index, &compile_one(&module.cx, &module.candidates, function)?)
    })
}

/// The indices and names of the functions that [`explore`] shows. There may be none.
///
/// # Errors
/// If the module is malformed, or invalid outside of functions.
pub fn functions(
    engine: &Engine,
    bytes: &[u8],
    filter: Option<&str>,
) -> Result<Vec<(u32, String)>> {
    #[cfg(feature = "wat")]
    let bytes = &*Module::text_to_binary(bytes)?;
    let (info, bodies) = parse(engine.types(), engine.config().features.on, bytes)?;
    let wanted = bodies.iter().filter(|body| is_wanted(&info, body.index, filter));
    Ok(wanted.map(|body| (body.index, info.func_name(body.index))).collect())
}

/// The result of the checkers for one function.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its index in the module, imports included.
    pub index: u32,
    /// Its name, as in [`Listing`].
    pub name: String,
    /// The law of emitted code that it breaks, and the instruction that breaks it. `None` unless
    /// the compiler has a bug.
    pub broken: Option<String>,
}

/// Runs the [checkers](gc_compiler::check) over the functions that [`explore`] shows, even if
/// [`Config::cranelift_debug_verifier`](crate::Config::cranelift_debug_verifier) is off.
///
/// # Errors
/// As [`explore`].
pub fn check(engine: &Engine, bytes: &[u8], filter: Option<&str>) -> Result<Vec<Checked>> {
    let settings = Settings { check: true, ..Settings::default() };
    each_with(engine, bytes, filter, settings, |module, function| {
        let index = function.index();
        let broken = check_one(&module.cx, &module.candidates, function)?;
        let broken = broken.map(|error| error.to_string());
        Ok(Checked { index, name: module.cx.info.func_name(index), broken })
    })
}

/// What is known of a module.
struct Explored<'a> {
    cx: CompileContext<'a>,
    candidates: Candidates,
    engine: &'a Engine,
    locals: HashMap<u32, HashMap<u32, String>>,
}

/// Calls `show` for each function that `filter` selects.
fn each<T>(
    engine: &Engine,
    bytes: &[u8],
    filter: Option<&str>,
    show: impl Fn(&Explored<'_>, Source<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    each_with(engine, bytes, filter, Settings::default(), show)
}

/// How functions are compiled to be shown. By default they are not checked, so that code is shown even if
/// it breaks a law.
#[derive(Clone, Copy, Default)]
struct Settings {
    /// Whether they are checked.
    check: bool,
    /// Whether source locations say what instructions are for.
    marks: bool,
}

/// [`each`], with other settings than those of the engine.
fn each_with<T>(
    engine: &Engine,
    bytes: &[u8],
    filter: Option<&str>,
    settings: Settings,
    show: impl Fn(&Explored<'_>, Source<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    #[cfg(feature = "wat")]
    let bytes = &*Module::text_to_binary(bytes)?;
    let (info, bodies) = parse(engine.types(), engine.config().features.on, bytes)?;
    let layout = VMContextLayout::new(engine.abi().offsets(), &info)?;
    let cx = CompileContext {
        check: settings.check,
        marks: settings.marks.then_some(marks::MARKS),
        ..CompileContext::new(engine, &info, &layout, TypeWords::Constants)
    };
    let (functions, candidates) = inlining::prepare(&cx, bodies)?;
    let module = Explored { cx, candidates, engine, locals: info.names.all_locals() };
    let wanted = functions.into_iter().filter(|f| is_wanted(&info, f.index(), filter));
    let shown = wanted.map(|function| show(&module, function)).collect::<Result<Vec<_>>>()?;
    if let (true, Some(filter)) = (shown.is_empty(), filter) {
        bail!("the module defines no function `{filter}`");
    }
    Ok(shown)
}

impl Explored<'_> {
    /// The text of [`Listing::signature`].
    fn signature(&self, index: u32) -> Result<String> {
        let (engine, info) = (self.engine, self.cx.info);
        let ty = info.types.registered(info.funcs[index as usize].ty);
        let ty = func_type(ty)?;
        let locals = self.locals.get(&index).into_iter().flatten();
        let mut locals: BTreeMap<u32, &str> = locals.map(|(i, name)| (*i, &**name)).collect();
        let mut parts = Vec::new();
        for (i, param) in ty.params().iter().enumerate() {
            let param = val_type(engine, info, param);
            parts.push(match locals.remove(&(i as u32)) {
                Some(name) => format!("(param ${name} {param})"),
                None => format!("(param {param})"),
            });
        }
        let results = ty.results().iter().map(|ty| val_type(engine, info, ty));
        parts.extend(results.map(|result| format!("(result {result})")));
        parts.extend(locals.into_iter().map(|(i, name)| format!("(local {i} ${name})")));
        Ok(parts.join(" "))
    }

    /// The machine code of the function `index`, which was compiled.
    fn machine_code(&self, index: u32, compiled: &CompiledFunction) -> Result<MachineCode> {
        let locations = compiled
            .locations()
            .iter()
            .filter_map(|range| Some((range.first, range.end, range.location?)));
        let stack_maps = compiled.stack_maps().map(|(return_address, frame_size, slots)| {
            (return_address, StackMap { frame_size, slots: slots.to_vec() })
        });
        let machine = self.engine.abi().machine();
        let processor = machine.processor();
        Ok(MachineCode {
            index,
            name: self.cx.info.func_name(index),
            signature: self.signature(index)?,
            processor: processor.with_context(|| format!("no code is compiled for {machine}"))?,
            code: compiled.code().to_vec(),
            symbols: compiled.symbols().map(|(at, to)| (at, self.symbol(to))).collect(),
            traps: compiled.traps().iter().copied().collect(),
            locations: locations.collect(),
            stack_maps: stack_maps.collect(),
            handlers: self.handlers(compiled),
        })
    }

    /// The callees of a function and their names.
    fn callees(&self, func: &ir::Function) -> Vec<(String, String)> {
        let names = func.params.user_named_funcs();
        let callees = func.dfg.ext_funcs.iter().filter_map(|(callee, data)| {
            let symbol = match (imported_host_call(func, callee), &data.name) {
                (Some(call), _) => Symbol::HostCall(call),
                (None, ir::ExternalName::User(name))
                    if names[*name].namespace == FUNCTION_NAMESPACE =>
                {
                    Symbol::Function(names[*name].index)
                }
                _ => return None,
            };
            Some((callee.to_string(), self.symbol(symbol)))
        });
        callees.collect()
    }

    /// The name of what code refers to.
    fn symbol(&self, symbol: Symbol) -> String {
        match symbol {
            Symbol::Function(index) => self.cx.info.func_name(index),
            Symbol::HostCall(call) => self.host_call(call),
            Symbol::TypeWord(word) => format!("word of type {}", word.ty().as_u32()),
        }
    }

    fn host_call(&self, call: HostCall) -> String {
        match self.cx.abi.host_call(call) {
            Some(signature) => signature.name.to_owned(),
            None => format!("host call {}", call.index()),
        }
    }

    /// The handlers of the calls, for [`MachineCode::handlers`].
    fn handlers(&self, compiled: &CompiledFunction) -> BTreeMap<u32, Vec<(String, u32)>> {
        let name = |catches: Catches| match catches {
            Catches::Tag(tag) => match self.cx.info.names.tag(tag) {
                Some(name) => format!("tag {tag} `{name}`"),
                None => format!("tag {tag}"),
            },
            Catches::All => "all".to_owned(),
            Catches::LikeCall(call) => format!("what the call before {call:#06x} catches"),
        };
        let sites = compiled.handlers().iter().map(|site| {
            let handlers = site.handlers.iter().map(|(catches, at)| (name(*catches), *at));
            (site.ret_addr, handlers.collect())
        });
        sites.collect()
    }
}

/// A type in the text format. A type of the module has its name or its index there.
fn val_type(engine: &Engine, info: &ModuleInfo, ty: &WasmValType) -> String {
    let edge = match ty {
        WasmValType::Ref(ty) => match ty.heap_type {
            WasmHeapType::ConcreteFunc(edge)
            | WasmHeapType::ConcreteStruct(edge)
            | WasmHeapType::ConcreteArray(edge) => Some((ty.nullable, edge)),
            _ => None,
        },
        _ => None,
    };
    let Some((nullable, edge)) = edge else { return ValType::from_wasm(engine, ty).to_string() };
    let number = info.types.number(type_index(edge)).as_u32();
    let name = match info.names.ty(number) {
        Some(name) => format!("${name}"),
        None => number.to_string(),
    };
    format!("(ref {}{name})", if nullable { "null " } else { "" })
}

/// Whether `filter` names the function, as for [`explore`].
fn is_wanted(info: &ModuleInfo, function: u32, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| {
        info.func_name(function) == filter
            || filter.parse() == Ok(function)
            || info.exports.get(filter).is_some_and(|entity| {
                let index = wasmtime_types::FuncIndex::from_u32(function);
                *entity == wasmtime_types::EntityIndex::Function(index)
            })
    })
}
