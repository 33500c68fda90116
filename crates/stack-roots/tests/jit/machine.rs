//! A compiler with `cranelift-jit`, and a heap of pairs whose objects move at every collection.

use cranelift_codegen::ir::{
    AbiParam, FuncRef, InstBuilder, MemFlagsData, Signature, Type, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, ir};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use stack_roots::walk::{Tables, WalkError};
use stack_roots::write::Maps;
use std::cell::RefCell;

/// A heap of pairs of words. All live pairs move at each collection, and what they leave is poisoned.
#[derive(Default)]
pub(crate) struct Heap {
    #[expect(clippy::vec_box, reason = "each pair has its own address")]
    pairs: Vec<Box<[u64; 2]>>,
    /// What was left, kept so that no address is used again.
    #[expect(clippy::vec_box, reason = "each pair has its own address")]
    left: Vec<Box<[u64; 2]>>,
    pub(crate) collections: usize,
    /// The frames of each walk.
    pub(crate) frames: Vec<usize>,
    pub(crate) errors: Vec<WalkError>,
}

pub(crate) const POISON: u64 = 0xdead_dead_dead_dead;

impl Heap {
    fn pair(&mut self, words: [u64; 2]) -> u64 {
        let mut pair = Box::new(words);
        let address = (&raw mut *pair).expose_provenance();
        self.pairs.push(pair);
        address as u64
    }

    /// Moves all pairs. `visit` gets a function from old references to new ones, and calls it for each root.
    pub(crate) fn collect(&mut self, visit: impl FnOnce(&mut dyn FnMut(u64) -> u64)) {
        self.collections += 1;
        let mut old = std::mem::take(&mut self.pairs);
        let addresses: std::collections::HashMap<u64, usize> = old
            .iter()
            .enumerate()
            .map(|(n, pair)| ((&raw const **pair).addr() as u64, n))
            .collect();
        let mut moved: Vec<Option<u64>> = vec![None; old.len()];
        let mut forward = |heap: &mut Heap, old: &[Box<[u64; 2]>], value: u64| {
            let Some(&n) = addresses.get(&value) else {
                assert!(value == 0 || value & 1 != 0, "{value:#x} is no reference");
                return value;
            };
            *moved[n].get_or_insert_with(|| heap.pair(*old[n]))
        };
        visit(&mut |value| forward(self, &old, value));
        let mut scanned = 0;
        while scanned < self.pairs.len() {
            for word in 0..2 {
                let value = self.pairs[scanned][word];
                let new = forward(self, &old, value);
                self.pairs[scanned][word] = new;
            }
            scanned += 1;
        }
        old.iter_mut().for_each(|pair| **pair = [POISON; 2]);
        self.left.append(&mut old);
    }
}

/// What the runtime's functions use.
#[derive(Default)]
pub(crate) struct Runtime {
    pub(crate) heap: Heap,
    pub(crate) tables: Tables,
}

thread_local! {
    pub(crate) static RUNTIME: RefCell<Runtime> = RefCell::default();
}

/// Collects. The errors of walks are kept, and nothing is moved then.
fn walk_and_collect(values: &mut [u64]) {
    RUNTIME.with_borrow_mut(|Runtime { heap, tables }| {
        // SAFETY: compiled code preserves frame pointers and runs again after the walk.
        match unsafe { tables.walk_current() } {
            Ok(mut frames) => {
                heap.frames.push(frames.len());
                heap.collect(|forward| {
                    frames.visit(&mut *forward);
                    values.iter_mut().for_each(|value| *value = forward(*value));
                });
            }
            Err(error) => heap.errors.push(error),
        }
    });
}

extern "C" fn pair(head: u64, tail: u64) -> u64 {
    let mut values = [head, tail];
    walk_and_collect(&mut values);
    RUNTIME.with_borrow_mut(|runtime| runtime.heap.pair(values))
}

pub(crate) extern "C" fn collect() {
    walk_and_collect(&mut []);
}

stack_roots::exit! {
    pub(crate) extern "C" fn rt_pair(head: u64, tail: u64) -> u64 = pair;
    pub(crate) extern "C" fn rt_collect() = collect;
}

stack_roots::entry! {
    /// Calls a compiled function with one argument.
    pub(crate) unsafe fn enter(code: *const u8, argument: u64) -> u64;
}

/// A module, and the maps of its functions.
pub(crate) struct Machine {
    pub(crate) module: JITModule,
    pub(crate) maps: Maps,
    /// The function `pair(head, tail)` of the runtime.
    pub(crate) pair: FuncId,
    /// The function `collect()` of the runtime.
    pub(crate) collect: FuncId,
}

pub(crate) fn signature(params: usize, results: usize) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::I64); params];
    signature.returns = vec![AbiParam::new(types::I64); results];
    signature
}

impl Machine {
    /// A module with the runtime's functions, and these more.
    pub(crate) fn new(symbols: &[(&str, *const u8)]) -> Machine {
        let mut flags = settings::builder();
        flags.set("preserve_frame_pointers", "true").unwrap();
        flags.set("opt_level", "speed").unwrap();
        let isa = cranelift_native::builder().unwrap().finish(settings::Flags::new(flags)).unwrap();
        let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
        builder.symbol("pair", rt_pair as *const u8);
        builder.symbol("collect", rt_collect as *const u8);
        builder.symbols(symbols.iter().copied());
        let mut module = JITModule::new(builder);
        let mut import = |name, params, results| {
            module.declare_function(name, Linkage::Import, &signature(params, results)).unwrap()
        };
        let [pair, collect] = [import("pair", 2, 1), import("collect", 0, 0)];
        let maps = Maps::new(module.isa()).unwrap();
        Machine { module, maps, pair, collect }
    }

    pub(crate) fn declare(&mut self, name: &str, params: usize, results: usize) -> FuncId {
        let signature = signature(params, results);
        self.module.declare_function(name, Linkage::Local, &signature).unwrap()
    }

    pub(crate) fn import(&mut self, name: &str, params: usize, results: usize) -> FuncId {
        let signature = signature(params, results);
        self.module.declare_function(name, Linkage::Import, &signature).unwrap()
    }

    /// Compiles a function. `change` may change it after the frontend has placed its stack maps.
    pub(crate) fn define(
        &mut self,
        id: FuncId,
        body: impl FnOnce(&mut Code<'_, '_>),
        change: impl FnOnce(&mut ir::Function),
    ) {
        let mut context = self.compile(id, body, change);
        self.maps.add(id, &context).unwrap();
        self.module.clear_context(&mut context);
    }

    /// Compiles a function, whose maps are not added.
    pub(crate) fn compile(
        &mut self,
        id: FuncId,
        body: impl FnOnce(&mut Code<'_, '_>),
        change: impl FnOnce(&mut ir::Function),
    ) -> Context {
        let mut context = self.module.make_context();
        context.func.signature = self.module.declarations().get_function_decl(id).signature.clone();
        let mut frontend = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let mut code = Code { builder, module: &mut self.module, entry };
        body(&mut code);
        let Code { mut builder, module, .. } = code;
        builder.seal_all_blocks();
        builder.finalize(module.isa().frontend_config());
        change(&mut context.func);
        self.module.define_function(id, &mut context).unwrap();
        context
    }

    /// Makes the functions callable, and returns the code of `id`.
    pub(crate) fn finish(&mut self, id: FuncId) -> *const u8 {
        self.module.finalize_definitions().unwrap();
        RUNTIME.with_borrow_mut(|runtime| {
            let address = |id| self.module.get_finalized_function(id);
            self.maps.register(&mut runtime.tables, address).unwrap();
        });
        self.module.get_finalized_function(id)
    }
}

/// A function that is built.
pub(crate) struct Code<'f, 'm> {
    pub(crate) builder: FunctionBuilder<'f>,
    module: &'m mut JITModule,
    entry: ir::Block,
}

impl Code<'_, '_> {
    pub(crate) fn param(&self, n: usize) -> Value {
        self.builder.block_params(self.entry)[n]
    }

    /// Declares a reference.
    pub(crate) fn reference(&mut self, value: Value) -> Value {
        self.builder.declare_value_needs_stack_map(value);
        value
    }

    pub(crate) fn callee(&mut self, id: FuncId) -> FuncRef {
        self.module.declare_func_in_func(id, self.builder.func)
    }

    /// Calls a function whose result, if it has one, is no reference.
    pub(crate) fn call(&mut self, id: FuncId, arguments: &[Value]) -> Option<Value> {
        let callee = self.callee(id);
        let call = self.builder.ins().call(callee, arguments);
        self.builder.inst_results(call).first().copied()
    }

    /// Calls a function whose result is a reference.
    pub(crate) fn call_ref(&mut self, id: FuncId, arguments: &[Value]) -> Value {
        let result = self.call(id, arguments).unwrap();
        self.reference(result)
    }

    pub(crate) fn constant(&mut self, bits: i64) -> Value {
        self.builder.ins().iconst(types::I64, bits)
    }

    pub(crate) fn load(&mut self, ty: Type, address: Value, offset: i32) -> Value {
        self.builder.ins().load(ty, MemFlagsData::trusted(), address, offset)
    }
}
