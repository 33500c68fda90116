//! [`GcFuncEnv`], which the embedder implements and which describes the function being built, and
//! [`GcEmitter`], which emits the code. The emitter also reads the words of the native structures
//! that all emitted code uses.

use crate::array_meter::MeteredElements;
use crate::regions::{self, Region};
use crate::safepoints::Known;
use crate::{Annotations, GcCompiler, Meter, RefPlace};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, TrapCode, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::FunctionBuilder;
use gc_types::{Abi, ArrayLayout, HostCall, HostCallType, HostSignature, Trap, VMOffsets};

/// The embedder's description of the function being built.
///
/// The duties of an implementation:
/// 1. [`vmctx`](GcFuncEnv::vmctx) dominates every block in which code is emitted, and is not
///    declared to need a stack map.
/// 2. [`host_call`](GcFuncEnv::host_call) returns a trampoline with the signature of
///    [`host_call_signature`] and the meaning that [`HostCall`] documents.
/// 3. Before `FunctionBuilder::finalize`, the embedder gives spill slots an alias region with
///    `FunctionBuilder::make_stack_map_alias_region`, numbered from [`regions::STACK_MAP_SPILL`].
///    Without an alias region, every spill is a fence.
///
/// # Examples
/// ```
/// use cranelift_codegen::ir;
/// use gc_compiler::{Annotations, GcFuncEnv, import_host_call};
/// use gc_types::{Abi, HostCall};
/// use std::collections::HashMap;
///
/// /// The function that is being built.
/// struct Env<'a> {
///     abi: &'a Abi,
///     vmctx: ir::Value,
///     annotations: Annotations,
///     /// The trampolines that the function has declared.
///     host_calls: HashMap<HostCall, ir::FuncRef>,
/// }
///
/// impl GcFuncEnv for Env<'_> {
///     fn abi(&self) -> &Abi {
///         self.abi
///     }
///
///     fn vmctx(&mut self, _: &mut ir::Function) -> ir::Value {
///         self.vmctx
///     }
///
///     fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
///         let signature = self.abi.host_call(call).expect("a call that the Abi has");
///         *self.host_calls.entry(call).or_insert_with(|| import_host_call(func, call, signature))
///     }
///
///     fn annotations(&mut self) -> &mut Annotations {
///         &mut self.annotations
///     }
/// }
/// ```
pub trait GcFuncEnv {
    /// The ABI of the code.
    fn abi(&self) -> &Abi;
    /// The vmctx parameter of the function being built (`I64`).
    fn vmctx(&mut self, func: &mut ir::Function) -> ir::Value;
    /// The trampoline of a host call. Its calling convention is `CallConv::PreserveAll` and its
    /// signature is `(vmctx, params...)` without results. It leaves the result in the store
    /// context's [`store_host_result`](VMOffsets::store_host_result) word.
    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef;
    /// What belongs to the function besides its CLIF: emitting methods record references and
    /// allocations there. When the function is built, the embedder passes it to
    /// [`BuiltFunction::new`](crate::BuiltFunction::new).
    fn annotations(&mut self) -> &mut Annotations;
    /// Called after the collector has emitted `code`: the instructions of `func` from the number `first`
    /// on. For tools that show what instructions are for. The provided method does nothing.
    fn emitted(&mut self, _func: &mut ir::Function, _code: CollectorCode, _first: usize) {}
}

/// The signature of a call that the ABI does not have. It is never called.
const UNKNOWN: HostSignature = HostSignature {
    name: "unknown",
    params: &[],
    result: None,
    fallible: false,
    may_collect: false,
};

/// What the collector emits instructions for ([`GcFuncEnv::emitted`]).
#[derive(Clone, Copy, Debug)]
pub enum CollectorCode {
    /// An allocation.
    Allocation,
    /// A read of the reference at this place.
    Read(RefPlace),
    /// The first store, or another one, of a reference to this place.
    Write(RefPlace),
    /// The test whether references of an array may be written without a barrier.
    PlainElements,
}

/// The CLIF signature of a host call's trampoline. The calling convention is
/// [`CallConv::PreserveAll`]. The parameters are the vmctx and then each parameter in its own type
/// (`I32` as `I32`, references and pointers as `I64`). There is no result.
///
/// # Examples
/// ```
/// use cranelift_codegen::ir::types;
/// use gc_compiler::host_call_signature;
/// use gc_types::HostCall;
///
/// let signature = host_call_signature(HostCall::ALLOC_ARRAY.gc_signature().unwrap());
/// let params: Vec<_> = signature.params.iter().map(|param| param.value_type).collect();
/// // The vmctx, the header's word and the length.
/// assert_eq!(params, [types::I64, types::I32, types::I32]);
/// ```
pub fn host_call_signature(signature: &HostSignature) -> ir::Signature {
    let mut clif = ir::Signature::new(CallConv::PreserveAll);
    clif.params.push(ir::AbiParam::new(types::I64));
    clif.params.extend(signature.params.iter().map(|ty| {
        ir::AbiParam::new(match ty {
            HostCallType::I32 => types::I32,
            HostCallType::I64 | HostCallType::Ref | HostCallType::Pointer => types::I64,
        })
    }));
    clif
}

/// The Cranelift trap code of a [`Trap`].
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use cranelift_codegen::ir::{InstBuilder, types};
/// use gc_compiler::trap_code;
/// use gc_types::Trap;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let function = emit(&CopyingCompiler, &[types::I32], |e, params| {
/// // `e` is a `GcEmitter`.
/// e.builder.ins().trapz(params[0], trap_code(Trap::IntegerDivisionByZero));
/// # })?;
/// assert_eq!(function.traps()[0].1, Trap::IntegerDivisionByZero);
/// # Ok(())
/// # }
/// ```
pub const fn trap_code(trap: Trap) -> TrapCode {
    TrapCode::unwrap_user(trap.code())
}

/// A function builder with its environment and its collector. It emits all code that touches
/// the heap.
///
/// An embedder calls its methods. Those that allocate, and those that read or write a reference,
/// call the collector's [`GcCompiler`], which emits with the same emitter. All other code is the
/// same under every collector.
///
/// Emitting methods may create blocks. They leave the builder in an unfilled, sealed block. All
/// code that was emitted before dominates that block.
///
/// # Trap codes
/// The first access to an object that may be null has the trap code [`Trap::NullReference`]. This
/// is so for every object that an embedder passes in: even if its type is not nullable, the
/// reference may come from a damaged heap. The signal handler must compare the fault's address with
/// the heap's null page and report [`Trap::CorruptHeap`] if it is outside. Accesses that cannot be
/// at null have [`Trap::CorruptHeap`]. Accesses to an object that was allocated since the last
/// safepoint cannot fault and have no trap code.
///
/// # Example
/// A function that takes two references and returns a new pair of them:
///
/// ```
/// use cranelift_codegen::ir::{self, AbiParam, InstBuilder, types};
/// use cranelift_codegen::isa::CallConv;
/// use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
/// use gc_compiler::collector::copying::CopyingCompiler;
/// use gc_compiler::{Annotations, BuiltFunction, CompileOptions, Compiler, GcCompiler};
/// use gc_compiler::{GcEmitter, GcFuncEnv, import_host_call};
/// use gc_types::{Abi, HostCall, StorageType, StructLayout, TypeIndex, VMGcKind};
///
/// struct Env {
///     abi: Abi,
///     vmctx: ir::Value,
///     annotations: Annotations,
/// }
///
/// impl GcFuncEnv for Env {
///     fn abi(&self) -> &Abi {
///         &self.abi
///     }
///
///     fn vmctx(&mut self, _: &mut ir::Function) -> ir::Value {
///         self.vmctx
///     }
///
///     fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
///         let signature = call.gc_signature().expect("all calls here are the heap's own");
///         import_host_call(func, call, signature)
///     }
///
///     fn annotations(&mut self) -> &mut Annotations {
///         &mut self.annotations
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gc = CopyingCompiler;
/// let abi = Abi::new(gc.abi());
/// let compiler = Compiler::new(&gc, &abi, &CompileOptions::default())?;
///
/// let mut signature = ir::Signature::new(CallConv::Tail);
/// signature.params.push(AbiParam::special(types::I64, ir::ArgumentPurpose::VMContext));
/// signature.params.extend([AbiParam::new(types::I64); 2]);
/// signature.returns.push(AbiParam::new(types::I64));
/// let mut func = ir::Function::with_name_signature(Default::default(), signature);
///
/// let mut context = FunctionBuilderContext::new();
/// let mut builder = FunctionBuilder::new(&mut func, &mut context);
/// let entry = builder.create_block();
/// builder.append_block_params_for_function_params(entry);
/// builder.switch_to_block(entry);
/// let [vmctx, head, tail] = *builder.block_params(entry) else { unreachable!() };
/// let mut env = Env { abi, vmctx, annotations: Annotations::default() };
///
/// let mut e = GcEmitter::new(&mut builder, &mut env, &gc);
/// e.declare_ref(head);
/// e.declare_ref(tail);
/// let pair_type = TypeIndex::new(0).expect("it is small");
/// let word = i64::from(pair_type.header_word(VMGcKind::StructRef));
/// let word = e.builder.ins().iconst(types::I32, word);
/// let layout = StructLayout::new([StorageType::Ref; 2]).expect("it is small");
/// let pair = e.struct_new(word, &layout, &[head, tail]);
/// e.builder.ins().return_(&[pair]);
///
/// builder.seal_all_blocks();
/// builder.finalize(compiler.isa().frontend_config());
/// let compiled = compiler.compile_alone(BuiltFunction::new(func, env.annotations))?;
///
/// // Allocation may collect in one place, where both references are live.
/// let maps: Vec<usize> = compiled.stack_maps().map(|(_, _, slots)| slots.len()).collect();
/// assert_eq!(maps, [2]);
/// # Ok(())
/// # }
/// ```
pub struct GcEmitter<'a, 'b> {
    /// The builder that instructions are appended to.
    pub builder: &'a mut FunctionBuilder<'b>,
    /// The embedder's description of the function.
    pub env: &'a mut dyn GcFuncEnv,
    /// The collector of the heap that the code uses. It emits only in
    /// [`by_collector`](GcEmitter::by_collector), so the environment is told of all that it emits.
    gc: &'a dyn GcCompiler,
    /// What meters the next operation on many elements.
    pub(crate) elements: MeteredElements<'a>,
}

impl<'a, 'b> GcEmitter<'a, 'b> {
    /// Creates an emitter for the collector `gc` that appends to `builder`'s current block.
    ///
    /// # Panics
    /// If the [`Abi`] of `env` is that of another collector. The code would damage its heap.
    pub fn new(
        builder: &'a mut FunctionBuilder<'b>,
        env: &'a mut dyn GcFuncEnv,
        gc: &'a dyn GcCompiler,
    ) -> Self {
        let heap = env.abi().collector().name();
        assert!(heap == gc.name(), "code of collector `{}` for a heap of `{heap}`", gc.name());
        GcEmitter { builder, env, gc, elements: MeteredElements::default() }
    }

    /// Meters the next operation that makes, fills or copies an array: it costs `per_element` for each
    /// element. Code consumes this when it knows that the operation does not trap. If the operation is
    /// long, its host call is told of each [part](gc_types::HostCall::SMALL_WORK), so the host
    /// consumes the fuel, and the call may do what a [check](Meter::check) may.
    #[must_use]
    pub fn metered(self, meter: &'a mut Meter, per_element: u32) -> Self {
        GcEmitter { elements: MeteredElements::new(meter, per_element), ..self }
    }

    /// Lets the collector emit `code`.
    fn by_collector<T>(
        &mut self,
        code: CollectorCode,
        emit: impl FnOnce(&dyn GcCompiler, &mut Self) -> T,
    ) -> T {
        let first = self.builder.func.dfg.num_insts();
        let result = emit(self.gc, self);
        self.env.emitted(self.builder.func, code, first);
        result
    }

    /// Reads a reference, with the collector's read barrier.
    pub fn read_ref(&mut self, place: RefPlace) -> ir::Value {
        self.by_collector(CollectorCode::Read(place), |gc, e| gc.read_ref(e, place))
    }

    /// Overwrites a reference, with the collector's write barrier.
    pub fn write_ref(&mut self, place: RefPlace, value: ir::Value) {
        self.by_collector(CollectorCode::Write(place), |gc, e| gc.write_ref(e, place, value));
    }

    /// Stores the first reference into a place whose old bytes are not a reference, with the
    /// collector's barrier for it. If the place is in an object, the object must have been
    /// allocated since the last safepoint.
    pub fn init_ref(&mut self, place: RefPlace, value: ir::Value) {
        self.by_collector(CollectorCode::Write(place), |gc, e| gc.init_ref(e, place, value));
    }

    /// Allocates a struct or exception of this size, whose fields are stored next.
    pub(crate) fn alloc_struct(&mut self, header_word: ir::Value, size: u32) -> ir::Value {
        let object = self
            .by_collector(CollectorCode::Allocation, |gc, e| gc.alloc_struct(e, header_word, size));
        self.declare_new(object, header_word)
    }

    /// Whether initializing stores of zero into a new struct are omitted.
    pub(crate) fn zeroes_structs(&self) -> bool {
        self.gc.zeroes_structs()
    }

    /// Allocates an array of zeros.
    pub(crate) fn alloc_array(
        &mut self,
        header_word: ir::Value,
        layout: &ArrayLayout,
        length: ir::Value,
    ) -> ir::Value {
        let array = self.by_collector(CollectorCode::Allocation, |gc, e| {
            gc.alloc_array(e, header_word, layout, length)
        });
        self.declare_new(array, header_word)
    }

    /// Tests whether the references of `array` may be written without a barrier
    /// ([`GcCompiler::has_plain_elements`]).
    pub(crate) fn has_plain_elements(&mut self, array: ir::Value, otherwise: ir::Block) -> bool {
        self.by_collector(CollectorCode::PlainElements, |gc, e| {
            gc.has_plain_elements(e, array, otherwise)
        })
    }

    /// Calls the host with the vmctx and then `args`. If there is a result, read it with one of the
    /// `host_result` methods before any other call.
    ///
    /// The frontend treats the call as a safepoint. Emit it in a cold block if possible, so that
    /// its cost is not in the hot path. Everywhere it is a fence for all alias regions.
    ///
    /// If the ABI has no such call, the function cannot be linked: the error has the number of the call.
    pub fn call_host(&mut self, call: HostCall, args: &[ir::Value]) {
        let vmctx = self.vmctx();
        if self.env.abi().host_call(call).is_none() {
            let callee = crate::import_host_call(self.builder.func, call, &UNKNOWN);
            self.builder.ins().call(callee, &[vmctx]);
            return;
        }
        let callee = self.env.host_call(self.builder.func, call);
        let args: Vec<ir::Value> = std::iter::once(vmctx).chain(args.iter().copied()).collect();
        self.builder.ins().call(callee, &args);
    }

    /// The reference that the last host call returned, declared to need a stack map.
    pub fn host_result_ref(&mut self) -> ir::Value {
        let result = self.host_result_i64();
        self.declare_ref(result);
        result
    }

    /// The 32-bit integer that the last host call returned.
    pub fn host_result_i32(&mut self) -> ir::Value {
        let result = self.host_result_i64();
        self.builder.ins().ireduce(types::I32, result)
    }

    /// The 64-bit integer that the last host call returned.
    pub fn host_result_i64(&mut self) -> ir::Value {
        let context = self.store_context();
        let offset = self.offsets().store_host_result();
        self.load_native(types::I64, regions::HOST_RESULT, context, offset)
    }

    /// Declares that `value` is a reference and needs a stack map where it is live across a
    /// collection. Returns `value`.
    pub fn declare_ref(&mut self, value: ir::Value) -> ir::Value {
        self.env.annotations().references.mark(value);
        value
    }

    /// Declares what is known of an object that was just allocated. Returns `object`.
    fn declare_new(&mut self, object: ir::Value, header_word: ir::Value) -> ir::Value {
        let ty = crate::simplify::facts::type_of(self.builder.func, header_word);
        let known = Known { non_null: true, not_i31: true, ty, exact: ty.is_some() };
        self.env.annotations().references.add_known(object, known);
        object
    }

    /// The null reference. It is not a root, so it is not declared to need a stack map.
    pub fn ref_null(&mut self) -> ir::Value {
        self.builder.ins().iconst(types::I64, 0)
    }

    /// The vmctx.
    pub fn vmctx(&mut self) -> ir::Value {
        self.env.vmctx(self.builder.func)
    }

    /// The store context's address.
    pub fn store_context(&mut self) -> ir::Value {
        let offset = self.offsets().vmctx_store_context();
        let vmctx = self.vmctx();
        self.load_native(types::I64, regions::VMCTX, vmctx, offset)
    }

    /// The address of the heap data.
    pub fn heap_data(&mut self) -> ir::Value {
        let offset = self.offsets().vmctx_heap_data();
        let vmctx = self.vmctx();
        self.load_native(types::I64, regions::VMCTX, vmctx, offset)
    }

    /// The heap's base address. This is a plain load: Cranelift would keep the result of a pure
    /// load in a callee-saved register across every call.
    pub fn heap_base(&mut self) -> ir::Value {
        let offset = self.offsets().vmctx_heap_base();
        let vmctx = self.vmctx();
        self.load_native(types::I64, regions::VMCTX, vmctx, offset)
    }

    /// The offsets in native structures of the target.
    pub fn offsets(&self) -> VMOffsets {
        self.env.abi().offsets()
    }

    /// Flags for an access to a native structure that the host keeps valid.
    pub fn native_flags(&mut self, region: Region) -> MemFlagsData {
        let region = regions::intern(self.builder.func, region);
        MemFlagsData::trusted().with_alias_region(Some(region))
    }

    /// Loads a `ty` from a native structure that the host keeps valid.
    pub fn load_native(
        &mut self,
        ty: ir::Type,
        region: Region,
        address: ir::Value,
        offset: u32,
    ) -> ir::Value {
        let flags = self.native_flags(region);
        self.builder.ins().load(ty, flags, address, offset.cast_signed())
    }

    /// A new block that is expected to be entered rarely.
    pub fn create_cold_block(&mut self) -> ir::Block {
        let block = self.builder.create_block();
        self.builder.set_cold_block(block);
        block
    }

    /// Seals `block` and continues in it. All its predecessors must have been emitted.
    pub fn continue_in(&mut self, block: ir::Block) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
    }
}
