//! Builds a random program as CLIF, like a small embedder of `gc-compiler`.

use super::program::{End, FUNCS, INTS, Op, Program, REFS, Var, WIDES};
use anyhow::{Result, anyhow};
use cranelift_codegen::ir::{self, Block, InstBuilder, Value, types};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_codegen::settings;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use gc_compiler::check::{CheckContext, FunctionTypes, Memory, SignatureTypes, ValueType};
use gc_compiler::regions::{self, Region};
use gc_compiler::safepoints::{References, place_safepoints};
use gc_compiler::{
    ArrayInit, Extend, FuncRefTest, FuncRefType, GcCompiler, GcEmitter, GcFuncEnv, RefPlace,
    RefTest, TestTarget, host_call_signature, trap_code,
};
use gc_types::collector::generational::NURSERY;
use gc_types::{
    Abi, ArrayLayout, CollectorAbi, HeapBounds, HostCall, HostCallType, HostSignature, RootKind,
    StorageType, StructLayout, Trap,
};
use std::collections::HashMap;

/// The table of references.
const TABLE: Region = regions::EMBEDDER;
/// The global that is a reference.
const GLOBAL: Region = regions::EMBEDDER + 1;
/// The addresses of the table, the global and functions.
const NATIVE: Region = regions::EMBEDDER + 2;

/// A host call that may collect, and one that does not.
const HOST_NEW: (HostCall, HostSignature) = (
    HostCall::embedder(0),
    HostSignature {
        name: "new",
        params: &[HostCallType::I32],
        result: Some(HostCallType::Ref),
        fallible: true,
        may_collect: true,
    },
);
const HOST_QUIET: (HostCall, HostSignature) = (
    HostCall::embedder(1),
    HostSignature {
        name: "quiet",
        params: &[HostCallType::Ref],
        result: Some(HostCallType::I32),
        fallible: false,
        may_collect: false,
    },
);

/// The namespaces of compiled functions and of host calls.
const FUNCTION: u32 = 0;
const HOST: u32 = 1;

const REF_ARRAY: ArrayLayout = ArrayLayout::new(StorageType::Ref);
const BYTE_ARRAY: ArrayLayout = ArrayLayout::new(StorageType::I8);

fn layout() -> StructLayout {
    use StorageType::{FuncRef, I64, Ref};
    StructLayout::new([Ref, Ref, I64, FuncRef]).expect("a small struct")
}

/// The ABI of the built code, for a heap of `compiler`'s collector, with or without a guard. It has
/// the options of all collectors of this project.
pub fn abi(compiler: &dyn GcCompiler, guarded: bool) -> Abi {
    let bounds = if guarded { HeapBounds::Guarded } else { HeapBounds::Checked };
    Abi::new(CollectorAbi::new(compiler.name()).with(NURSERY, 1 << 20)).with_bounds(bounds)
}

/// A built function.
#[derive(Clone, Debug)]
pub struct Built {
    /// The function before safepoints were placed.
    pub before: ir::Function,
    /// The function with safepoints.
    pub func: ir::Function,
    /// The function's types.
    pub types: FunctionTypes,
    /// The references that the emitter marked.
    pub references: References,
}

/// Runs the checkers over a function.
///
/// # Errors
/// The law that the function breaks, and the function.
pub fn check(built: &Built, compiler: &dyn GcCompiler, abi: &Abi) -> Result<()> {
    let cx = CheckContext { abi, compiler, types: &built.types };
    gc_compiler::check::check_function(&built.func, &cx)
        .map_err(|error| anyhow!("{}: {error}\n{}", compiler.name(), built.func))
}

/// The frontend's settings for the machine.
fn frontend_config() -> Result<TargetFrontendConfig> {
    let machine = cranelift_native::builder().map_err(|why| anyhow!("{why}"))?;
    Ok(machine.finish(settings::Flags::new(settings::builder()))?.frontend_config())
}

/// Whether a call of `callee` may collect.
fn may_collect(func: &ir::Function, callee: ir::FuncRef) -> bool {
    let ir::ExternalName::User(name) = func.dfg.ext_funcs[callee].name else { return true };
    let name = &func.params.user_named_funcs()[name];
    if name.namespace == FUNCTION {
        return true;
    }
    let call = HostCall::from_index(name.index);
    call.may_collect() && call != HOST_QUIET.0
}

/// `(vmctx, reference, i64) -> reference`.
fn own_types() -> SignatureTypes {
    SignatureTypes::with_vmctx([ValueType::Ref, ValueType::Data], [ValueType::Ref])
}

fn own_signature() -> ir::Signature {
    let mut signature = ir::Signature::new(CallConv::Tail);
    let vmctx = ir::AbiParam::special(types::I64, ir::ArgumentPurpose::VMContext);
    signature.params = vec![vmctx, ir::AbiParam::new(types::I64), ir::AbiParam::new(types::I64)];
    signature.returns = vec![ir::AbiParam::new(types::I64)];
    signature
}

struct Env {
    abi: Abi,
    vmctx: Value,
    references: References,
    host_calls: HashMap<HostCall, ir::FuncRef>,
}

impl GcFuncEnv for Env {
    fn abi(&self) -> &Abi {
        &self.abi
    }

    fn vmctx(&mut self, _func: &mut ir::Function) -> Value {
        self.vmctx
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        *self.host_calls.entry(call).or_insert_with(|| {
            let signature = host_call_signature(host_signature(call));
            import(func, HOST, call.index(), signature)
        })
    }

    fn references(&mut self) -> &mut References {
        &mut self.references
    }
}

fn host_signature(call: HostCall) -> &'static HostSignature {
    const OWN: [(HostCall, HostSignature); 2] = [HOST_NEW, HOST_QUIET];
    match call.gc_signature() {
        Some(signature) => signature,
        None => &OWN[(call.index() - HostCall::FIRST_EMBEDDER) as usize].1,
    }
}

fn import(
    func: &mut ir::Function,
    namespace: u32,
    index: u32,
    signature: ir::Signature,
) -> ir::FuncRef {
    let name = ir::UserExternalName { namespace, index };
    let name = ir::ExternalName::user(func.declare_imported_user_function(name));
    let signature = func.import_signature(signature);
    func.import_function(ir::ExtFuncData { name, signature, colocated: true, patchable: false })
}

impl Program {
    /// Emits the program for a collector and places safepoints.
    ///
    /// # Errors
    /// If the function is too large. No random program is.
    pub fn build(&self, compiler: &dyn GcCompiler, abi: &Abi) -> Result<Built> {
        let mut func = ir::Function::with_name_signature(Default::default(), own_signature());
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let [vmctx, reference, wide] = *builder.block_params(entry) else { unreachable!() };
        let callee = import(builder.func, FUNCTION, 7, own_signature());
        let signature = builder.import_signature(own_signature());
        let mut env = Env {
            abi: abi.clone(),
            vmctx,
            references: References::default(),
            host_calls: HashMap::new(),
        };
        for region in [TABLE, GLOBAL, NATIVE] {
            regions::intern(builder.func, region);
        }
        let mut build = Build {
            e: GcEmitter::new(&mut builder, &mut env, compiler),
            callee,
            signature,
            variables: [Vec::new(), Vec::new(), Vec::new(), Vec::new()],
        };
        build.e.declare_ref(reference);
        build.declare(reference, wide);
        build.program(self);
        builder.seal_all_blocks();
        builder.finalize(frontend_config()?);
        let mut types = FunctionTypes::new(own_types());
        types.declare_signature(func.dfg.ext_funcs[callee].signature, own_types());
        types.declare_signature(signature, own_types());
        for (call, callee) in &env.host_calls {
            let collects = may_collect(&func, *callee);
            types.declare_host_call(&func, *callee, *call, host_signature(*call), collects);
        }
        types.declare_region(TABLE, Memory::Refs(RootKind::Table));
        types.declare_region(GLOBAL, Memory::Refs(RootKind::Global));
        types.declare_region(NATIVE, Memory::Native);
        let before = func.clone();
        place_safepoints(&mut func, &env.references, &may_collect)?;
        Ok(Built { before, func, types, references: env.references })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Ref,
    Int,
    Wide,
    Func,
}

struct Build<'a, 'b> {
    e: GcEmitter<'a, 'b>,
    callee: ir::FuncRef,
    signature: ir::SigRef,
    variables: [Vec<Variable>; 4],
}

impl Build<'_, '_> {
    fn declare(&mut self, reference: Value, wide: Value) {
        let kinds = [
            (Kind::Ref, REFS, types::I64),
            (Kind::Int, INTS, types::I32),
            (Kind::Wide, WIDES, types::I64),
            (Kind::Func, FUNCS, types::I64),
        ];
        for (kind, count, ty) in kinds {
            for n in 0..count {
                let variable = self.e.builder.declare_var(ty);
                self.variables[kind as usize].push(variable);
                let first = match (kind, n) {
                    (Kind::Ref, 0) => reference,
                    (Kind::Wide, 0) => wide,
                    _ => self.e.builder.ins().iconst(ty, 0),
                };
                self.e.builder.def_var(variable, first);
            }
        }
    }

    fn get(&mut self, kind: Kind, n: Var) -> Value {
        self.e.builder.use_var(self.variables[kind as usize][n])
    }

    fn set(&mut self, kind: Kind, n: Var, value: Value) {
        self.e.builder.def_var(self.variables[kind as usize][n], value);
    }

    fn r(&mut self, n: Var) -> Value {
        self.get(Kind::Ref, n)
    }

    fn i(&mut self, n: Var) -> Value {
        self.get(Kind::Int, n)
    }

    fn w(&mut self, n: Var) -> Value {
        self.get(Kind::Wide, n)
    }

    fn f(&mut self, n: Var) -> Value {
        self.get(Kind::Func, n)
    }

    fn program(&mut self, program: &Program) {
        let blocks: Vec<Block> = program.0.iter().map(|_| self.e.builder.create_block()).collect();
        self.e.builder.ins().jump(blocks[0], &[]);
        for (block, (ops, end)) in blocks.iter().zip(&program.0) {
            self.e.builder.switch_to_block(*block);
            for op in ops {
                self.op(*op);
            }
            self.end(end, &blocks);
        }
    }

    fn word(&mut self) -> Value {
        self.e.builder.ins().iconst(types::I32, 0x0400_0001)
    }

    fn native(&mut self, offset: u32) -> Value {
        let vmctx = self.e.vmctx();
        self.e.load_native(types::I64, NATIVE, vmctx, offset)
    }

    fn table(&mut self, i: Var) -> RefPlace {
        let index = self.i(i);
        let base = self.native(64);
        let index = self.e.builder.ins().uextend(types::I64, index);
        let outside = self.e.builder.ins().icmp_imm_u(
            ir::condcodes::IntCC::UnsignedGreaterThanOrEqual,
            index,
            100,
        );
        self.e.builder.ins().trapnz(outside, trap_code(Trap::TableOutOfBounds));
        let offset = self.e.builder.ins().ishl_imm_u(index, 2);
        let address = self.e.builder.ins().iadd(base, offset);
        RefPlace::Native { address, offset: 0, region: TABLE, kind: RootKind::Table }
    }

    fn global(&mut self) -> RefPlace {
        let address = self.e.vmctx();
        RefPlace::Native { address, offset: 128, region: GLOBAL, kind: RootKind::Global }
    }

    fn target(&mut self, target: u8) -> RefTest {
        let type_index = self.e.builder.ins().iconst(types::I32, 3);
        let header_word = self.word();
        let concrete =
            |depth, is_final| TestTarget::Concrete { type_index, header_word, depth, is_final };
        let target_of = [
            TestTarget::Any,
            TestTarget::Eq,
            TestTarget::I31,
            TestTarget::Struct,
            TestTarget::Array,
            TestTarget::Extern,
            TestTarget::None,
            concrete(2, true),
            concrete(2, false),
            concrete(9, false),
        ];
        RefTest::new(target & 128 != 0, target_of[target as usize % target_of.len()])
    }

    fn func_type(&mut self) -> FuncRefType {
        let type_index = self.e.builder.ins().iconst(types::I32, 5);
        FuncRefType { type_index, depth: 1, is_final: false }
    }

    fn call(&mut self, callee: Option<Value>, reference: Value, wide: Value) -> Value {
        let args = [self.e.vmctx(), reference, wide];
        let call = match callee {
            None => self.e.builder.ins().call(self.callee, &args),
            Some(code) => self.e.builder.ins().call_indirect(self.signature, code, &args),
        };
        let result = self.e.builder.inst_results(call)[0];
        self.e.declare_ref(result)
    }

    fn op(&mut self, op: Op) {
        let layout = layout();
        let (kind, variable, value) = match op {
            Op::Null { r } => (Kind::Ref, r, self.e.ref_null()),
            Op::I31 { r, i } => {
                let value = self.i(i);
                (Kind::Ref, r, self.e.ref_i31(value))
            }
            Op::I31Get { i, r, signed } => {
                let reference = self.r(r);
                let value = match signed {
                    true => self.e.i31_get_s(reference),
                    false => self.e.i31_get_u(reference),
                };
                (Kind::Int, i, value)
            }
            Op::Move { r, from } => (Kind::Ref, r, self.r(from)),
            Op::Select { r, i, a, b } => {
                let (i, a, b) = (self.i(i), self.r(a), self.r(b));
                (Kind::Ref, r, self.e.builder.ins().select(i, a, b))
            }
            Op::Const { i, value } => {
                (Kind::Int, i, self.e.builder.ins().iconst(types::I32, i64::from(value)))
            }
            Op::Add { i, a, b } => {
                let (a, b) = (self.i(a), self.i(b));
                (Kind::Int, i, self.e.builder.ins().iadd(a, b))
            }
            Op::Widen { w, i } => {
                let value = self.i(i);
                (Kind::Wide, w, self.e.builder.ins().sextend(types::I64, value))
            }
            Op::Multiply { w, a, b } => {
                let (a, b) = (self.w(a), self.w(b));
                (Kind::Wide, w, self.e.builder.ins().imul(a, b))
            }
            Op::StructNew { r, a, b, w } => {
                let (word, a, b, w) = (self.word(), self.r(a), self.r(b), self.w(w));
                let id = self.e.builder.ins().iconst(types::I32, 0);
                (Kind::Ref, r, self.e.struct_new(word, &layout, &[a, b, w, id]))
            }
            Op::StructNewDefault { r } => {
                let word = self.word();
                (Kind::Ref, r, self.e.struct_new_default(word, &layout))
            }
            Op::StructGet { r, of, second } => {
                let of = self.r(of);
                (Kind::Ref, r, self.e.struct_get(of, &layout, usize::from(second), None))
            }
            Op::StructGetWide { w, of } => {
                let of = self.r(of);
                (Kind::Wide, w, self.e.struct_get(of, &layout, 2, None))
            }
            Op::StructGetFunc { f, of } => {
                let of = self.r(of);
                let id = self.e.struct_get(of, &layout, 3, None);
                let expected = self.func_type();
                (Kind::Func, f, self.e.func_ref_from_id(id, Some(&expected)))
            }
            Op::StructSet { of, r, second } => {
                let (of, r) = (self.r(of), self.r(r));
                return self.e.struct_set(of, &layout, usize::from(second), r);
            }
            Op::StructSetWide { of, w } => {
                let (of, w) = (self.r(of), self.w(w));
                return self.e.struct_set(of, &layout, 2, w);
            }
            Op::StructSetFunc { of, f } => {
                let (of, f) = (self.r(of), self.f(f));
                let id = self.e.func_ref_to_id(f);
                return self.e.struct_set(of, &layout, 3, id);
            }
            Op::ArrayNewDefault { r, i } => {
                let (word, length) = (self.word(), self.i(i));
                (Kind::Ref, r, self.e.array_new(word, &REF_ARRAY, ArrayInit::Default(length)))
            }
            Op::ArrayNewFill { r, i, a } => {
                let (word, length, value) = (self.word(), self.i(i), self.r(a));
                (Kind::Ref, r, self.e.array_new(word, &REF_ARRAY, ArrayInit::Fill(value, length)))
            }
            Op::ArrayNewElements { r, a, b } => {
                let (word, a, b) = (self.word(), self.r(a), self.r(b));
                let elements = ArrayInit::Elements(&[a, b, a]);
                (Kind::Ref, r, self.e.array_new(word, &REF_ARRAY, elements))
            }
            Op::BytesNew { r, i, value } => {
                let (word, length, value) = (self.word(), self.i(i), self.i(value));
                let fill = ArrayInit::Fill(value, length);
                (Kind::Ref, r, self.e.array_new(word, &BYTE_ARRAY, fill))
            }
            Op::ArrayLen { i, of } => {
                let of = self.r(of);
                (Kind::Int, i, self.e.array_len(of))
            }
            Op::ArrayGet { r, of, i } => {
                let (of, i) = (self.r(of), self.i(i));
                (Kind::Ref, r, self.e.array_get(of, &REF_ARRAY, i, None))
            }
            Op::ArraySet { of, i, r } => {
                let (of, i, r) = (self.r(of), self.i(i), self.r(r));
                return self.e.array_set(of, &REF_ARRAY, i, r);
            }
            Op::ArrayGetConst { r, of, index } => {
                let of = self.r(of);
                let index = self.e.builder.ins().iconst(types::I32, i64::from(index));
                (Kind::Ref, r, self.e.array_get(of, &REF_ARRAY, index, None))
            }
            Op::ArraySetConst { of, index, r } => {
                let (of, r) = (self.r(of), self.r(r));
                let index = self.e.builder.ins().iconst(types::I32, i64::from(index));
                return self.e.array_set(of, &REF_ARRAY, index, r);
            }
            Op::BytesGet { i, of, at } => {
                let (of, at) = (self.r(of), self.i(at));
                let value = self.e.array_get(of, &BYTE_ARRAY, at, Some(Extend::Signed));
                (Kind::Int, i, value)
            }
            Op::BytesSet { of, at, i } => {
                let (of, at, i) = (self.r(of), self.i(at), self.i(i));
                return self.e.array_set(of, &BYTE_ARRAY, at, i);
            }
            Op::ArrayFill { of, r, i } => {
                let (of, r, i) = (self.r(of), self.r(r), self.i(i));
                return self.e.array_fill(of, &REF_ARRAY, i, r, i);
            }
            Op::ArrayCopy { of, from, i } => {
                let (of, from, i) = (self.r(of), self.r(from), self.i(i));
                return self.e.array_copy(of, i, from, i, i);
            }
            Op::TableGet { r, i } => {
                let place = self.table(i);
                (Kind::Ref, r, self.e.read_ref(place))
            }
            Op::TableSet { i, r } => {
                let (place, r) = (self.table(i), self.r(r));
                return self.e.write_ref(place, r);
            }
            Op::GlobalGet { r } => {
                let place = self.global();
                (Kind::Ref, r, self.e.read_ref(place))
            }
            Op::GlobalSet { r } => {
                let (place, r) = (self.global(), self.r(r));
                return self.e.write_ref(place, r);
            }
            Op::FuncGet { f } => (Kind::Func, f, self.native(72)),
            Op::IsNull { i, r } => {
                let r = self.r(r);
                let is_null = self.e.ref_is_null(r);
                (Kind::Int, i, self.e.builder.ins().uextend(types::I32, is_null))
            }
            Op::Same { i, a, b } => {
                let (a, b) = (self.r(a), self.r(b));
                let same = self.e.ref_eq(a, b);
                (Kind::Int, i, self.e.builder.ins().uextend(types::I32, same))
            }
            Op::Test { i, r, target } => {
                let (r, test) = (self.r(r), self.target(target));
                let passes = self.e.ref_test(r, &test);
                (Kind::Int, i, self.e.builder.ins().uextend(types::I32, passes))
            }
            Op::Cast { r, target } => {
                let (r, test) = (self.r(r), self.target(target));
                return self.e.ref_cast(r, &test);
            }
            Op::FuncTest { i, f } => {
                let f = self.f(f);
                let target = Some(self.func_type());
                let test = FuncRefTest { nullable: true, known_non_null: false, target };
                let passes = self.e.func_ref_test(f, &test);
                (Kind::Int, i, self.e.builder.ins().uextend(types::I32, passes))
            }
            Op::Call { r, a, w } => {
                let (a, w) = (self.r(a), self.w(w));
                (Kind::Ref, r, self.call(None, a, w))
            }
            Op::CallIndirect { r, f, a } => {
                let (f, a, w) = (self.f(f), self.r(a), self.w(0));
                self.e.trap_if_null(f);
                let offset = self.e.offsets().func_ref_code();
                let code = self.e.load_native(types::I64, regions::TYPES, f, offset);
                (Kind::Ref, r, self.call(Some(code), a, w))
            }
            Op::HostNew { r, i } => {
                let i = self.i(i);
                self.e.call_host(HOST_NEW.0, &[i]);
                (Kind::Ref, r, self.e.host_result_ref())
            }
            Op::HostQuiet { i, r } => {
                let r = self.r(r);
                self.e.call_host(HOST_QUIET.0, &[r]);
                (Kind::Int, i, self.e.host_result_i32())
            }
        };
        self.set(kind, variable, value);
    }

    fn end(&mut self, end: &End, blocks: &[Block]) {
        match end {
            End::Jump(to) => {
                self.e.builder.ins().jump(blocks[*to], &[]);
            }
            End::Branch { i, yes, no } => {
                let i = self.i(*i);
                self.e.builder.ins().brif(i, blocks[*yes], &[], blocks[*no], &[]);
            }
            End::TestBranch { r, target, yes, no } => {
                let (r, test) = (self.r(*r), self.target(*target));
                self.e.ref_test_branch(r, &test, blocks[*yes], blocks[*no]);
            }
            End::Table { i, to } => {
                let i = self.i(*i);
                let pool = &mut self.e.builder.func.dfg.value_lists;
                let calls: Vec<_> =
                    to.iter().map(|to| ir::BlockCall::new(blocks[*to], [], pool)).collect();
                let table = ir::JumpTableData::new(calls[0], &calls[1..]);
                let table = self.e.builder.create_jump_table(table);
                self.e.builder.ins().br_table(i, table);
            }
            End::Return { r } => {
                let r = self.r(*r);
                self.e.builder.ins().return_(&[r]);
            }
            End::TailCall { a, w } => {
                let args = [self.e.vmctx(), self.r(*a), self.w(*w)];
                self.e.builder.ins().return_call(self.callee, &args);
            }
            End::Trap => {
                self.e.builder.ins().trap(trap_code(Trap::UnreachableCodeReached));
            }
        }
    }
}
