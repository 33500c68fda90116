//! Shared by all tests of emitted code: builds a function that performs one operation, for any
//! collector and options.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod machine;

use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, UserFuncName, types};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::check::{
    CheckContext, CheckError, Checker, FunctionTypes, Memory, SignatureTypes, ValueType,
    check_function_with,
};
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_compiler::safepoints::place_safepoints;
use gc_compiler::simplify::simplify;
use gc_compiler::{
    Annotations, GcCompiler, GcEmitter, GcFuncEnv, import_host_call, imported_host_call, regions,
};
use gc_types::{Abi, CollectorAbi, HeapBounds, HostCall, I31, RootKind, VMGcRef};

/// The collectors under test.
pub(crate) const COLLECTORS: [&dyn GcCompiler; 4] =
    [&NullCompiler, &DrcCompiler, &CopyingCompiler, &GenerationalCompiler];

/// Every combination of options.
pub(crate) fn all_options() -> impl Iterator<Item = Abi> {
    let bounds = [HeapBounds::Guarded, HeapBounds::Checked].into_iter();
    bounds
        .flat_map(|bounds| [false, true].map(|zeal| guarded().with_bounds(bounds).with_zeal(zeal)))
}

/// Guarded, without zeal, with the options of all collectors.
pub(crate) fn guarded() -> Abi {
    Abi::new(CollectorAbi::new("any").with("nursery", 1 << 20))
}

/// These options for code of `compiler`'s collector.
fn for_collector(options: &Abi, compiler: &dyn GcCompiler) -> Abi {
    let own = compiler.abi();
    let all = options.collector().options();
    let own = all.fold(own, |own, (name, value)| own.with(name.to_owned(), value));
    options.clone().with_collector(own)
}

/// The host machine with optimisation.
pub(crate) fn host_isa() -> OwnedTargetIsa {
    let mut flags = settings::builder();
    flags.set("opt_level", "speed").unwrap();
    flags.set("enable_verifier", "true").unwrap();
    flags.set("preserve_frame_pointers", "true").unwrap();
    cranelift_native::builder().unwrap().finish(settings::Flags::new(flags)).unwrap()
}

struct TestEnv {
    options: Abi,
    vmctx: ir::Value,
    annotations: Annotations,
    calls: Vec<(HostCall, ir::FuncRef)>,
}

impl GcFuncEnv for TestEnv {
    fn abi(&self) -> &Abi {
        &self.options
    }

    fn vmctx(&mut self, _func: &mut ir::Function) -> ir::Value {
        self.vmctx
    }

    fn annotations(&mut self) -> &mut Annotations {
        &mut self.annotations
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        if let Some((_, callee)) = self.calls.iter().find(|(known, _)| *known == call) {
            return *callee;
        }
        let callee = import_host_call(func, call, call.gc_signature().unwrap());
        self.calls.push((call, callee));
        callee
    }
}

/// The operation's inputs, which the function's prologue reads from memory.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    /// References, declared.
    pub(crate) a: ir::Value,
    pub(crate) b: ir::Value,
    /// `I32`s.
    pub(crate) x: ir::Value,
    pub(crate) y: ir::Value,
    pub(crate) z: ir::Value,
    /// A header word and a type index.
    pub(crate) word: ir::Value,
    pub(crate) ty: ir::Value,
    /// A native address or `I64`.
    pub(crate) l: ir::Value,
}

/// The inputs in memory. `a` and `b` are stored back after the operation, so that they are live
/// across it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawArgs {
    pub(crate) a: u64,
    pub(crate) b: u64,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) z: u32,
    pub(crate) word: u32,
    pub(crate) ty: u32,
    pub(crate) padding: u32,
    pub(crate) l: u64,
}

/// The region of inputs that are neither references nor addresses.
pub(crate) const DATA: regions::Region = regions::EMBEDDER;
/// The region of slots outside the heap that operations access.
pub(crate) const SLOTS: regions::Region = regions::EMBEDDER + 1;
/// The region of inputs that are references.
pub(crate) const REFS: regions::Region = regions::EMBEDDER + 2;
/// The region of inputs that are addresses.
pub(crate) const NATIVE: regions::Region = regions::EMBEDDER + 3;

/// The types of a function that [`build`] built.
pub(crate) fn function_types() -> FunctionTypes {
    let own = SignatureTypes::with_vmctx([ValueType::Pointer], [ValueType::Data]);
    let mut types = FunctionTypes::new(own);
    types.declare_region(SLOTS, Memory::Refs(RootKind::Table));
    types.declare_region(REFS, Memory::Stack);
    types.declare_region(NATIVE, Memory::Native);
    types
}

/// Checks a function that [`build`] built with these checkers.
pub(crate) fn check(
    func: &ir::Function,
    compiler: &dyn GcCompiler,
    options: &Abi,
    checkers: &[Checker],
) -> Result<(), CheckError> {
    let types = function_types();
    let abi = for_collector(options, compiler);
    let cx = CheckContext { abi: &abi, laws: compiler.barrier_laws(), types: &types };
    checkers.iter().try_for_each(|checker| check_function_with(func, &cx, *checker))
}

/// An operation. Its return value is the function's result.
pub(crate) type Op<'a> = &'a dyn Fn(&mut GcEmitter<'_, '_>, Args) -> Option<ir::Value>;

/// Builds `extern "C" fn(vmctx, *mut RawArgs) -> u64` around `op`.
pub(crate) fn build(
    isa: &OwnedTargetIsa,
    compiler: &dyn GcCompiler,
    options: &Abi,
    op: Op<'_>,
) -> ir::Function {
    build_with(isa, compiler, options, op, false)
}

/// As [`build`]. Simplifies the function if `simplifies`.
pub(crate) fn build_with(
    isa: &OwnedTargetIsa,
    compiler: &dyn GcCompiler,
    options: &Abi,
    op: Op<'_>,
    simplifies: bool,
) -> ir::Function {
    let mut signature = ir::Signature::new(CallConv::SystemV);
    signature.params.extend([ir::AbiParam::new(types::I64); 2]);
    signature.returns.push(ir::AbiParam::new(types::I64));
    let mut func = ir::Function::with_name_signature(UserFuncName::user(0, 0), signature);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let (vmctx, raw) = (builder.block_params(entry)[0], builder.block_params(entry)[1]);

    let mut flags = |region| {
        let region = regions::intern(builder.func, region);
        MemFlagsData::trusted().with_alias_region(Some(region))
    };
    let (flags, ref_flags, native_flags) = (flags(DATA), flags(REFS), flags(NATIVE));
    let mut load_with =
        |flags, ty, offset: usize| builder.ins().load(ty, flags, raw, offset as i32);
    let a = load_with(ref_flags, types::I64, std::mem::offset_of!(RawArgs, a));
    let b = load_with(ref_flags, types::I64, std::mem::offset_of!(RawArgs, b));
    let l = load_with(native_flags, types::I64, std::mem::offset_of!(RawArgs, l));
    let mut load = |ty, offset| load_with(flags, ty, offset);
    let args = Args {
        a,
        b,
        x: load(types::I32, std::mem::offset_of!(RawArgs, x)),
        y: load(types::I32, std::mem::offset_of!(RawArgs, y)),
        z: load(types::I32, std::mem::offset_of!(RawArgs, z)),
        word: load(types::I32, std::mem::offset_of!(RawArgs, word)),
        ty: load(types::I32, std::mem::offset_of!(RawArgs, ty)),
        l,
    };
    let mut env = TestEnv {
        options: for_collector(options, compiler),
        vmctx,
        annotations: Annotations::default(),
        calls: Vec::new(),
    };
    env.annotations.references.mark(args.a);
    env.annotations.references.mark(args.b);
    let result = op(&mut GcEmitter::new(&mut builder, &mut env, compiler), args);

    builder.ins().store(ref_flags, args.a, raw, std::mem::offset_of!(RawArgs, a) as i32);
    builder.ins().store(ref_flags, args.b, raw, std::mem::offset_of!(RawArgs, b) as i32);
    let result = match result {
        None => builder.ins().iconst(types::I64, 0),
        Some(value) => match builder.func.dfg.value_type(value) {
            types::I64 => value,
            types::F64 => builder.ins().bitcast(types::I64, MemFlagsData::new(), value),
            types::F32 => {
                let bits = builder.ins().bitcast(types::I32, MemFlagsData::new(), value);
                builder.ins().uextend(types::I64, bits)
            }
            types::I8X16 => {
                let little = MemFlagsData::new().with_endianness(ir::Endianness::Little);
                let lanes = builder.ins().bitcast(types::I64X2, little, value);
                let low = builder.ins().extractlane(lanes, 0);
                let high = builder.ins().extractlane(lanes, 1);
                builder.ins().bxor(low, high)
            }
            _ => builder.ins().uextend(types::I64, value),
        },
    };
    builder.ins().return_(&[result]);
    builder.finalize(isa.frontend_config());
    if simplifies {
        simplify(&mut func, &mut env.annotations);
    }
    place_safepoints(&mut func, &env.annotations.references, &|func, callee| {
        imported_host_call(func, callee).is_none_or(|call| options.may_collect(call))
    })
    .unwrap();
    func
}

/// The reference that carries `value`.
pub(crate) fn i31(value: i32) -> u64 {
    u64::from(VMGcRef::from_i31(I31::wrapping_i32(value)).as_raw_u32())
}

/// Both modes of heap bounds, without zeal.
pub(crate) fn modes() -> impl Iterator<Item = Abi> {
    all_options().filter(|options| !options.zeal())
}
