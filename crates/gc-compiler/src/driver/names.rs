//! Declarations in the functions that an embedder builds: callees by name, the stack limit, and the
//! slot that holds the vmctx.

use crate::host_call_signature;
use anyhow::{Context as _, Result, anyhow};
use cranelift_codegen::ir::{
    self, ArgumentPurpose, ExtFuncData, ExternalName, GlobalValueData, InstBuilder, MemFlagsData,
    Signature, StackSlotData, StackSlotKey, StackSlotKind, UserExternalName, types,
};
use cranelift_frontend::FunctionBuilder;
use gc_types::{HostCall, HostSignature, TypeWord, VMOffsets};

/// The namespace of a [`UserExternalName`] that names a function of the image by index.
pub const FUNCTION_NAMESPACE: u32 = 0;

/// The namespace of a [`UserExternalName`] that names a host call's trampoline by the
/// [`HostCall`]'s index. A function with such a name and the signature of
/// [`host_call_signature`] is the trampoline.
pub const HOST_CALL_NAMESPACE: u32 = 1;

/// The namespace of a [`UserExternalName`] that names the word of a type by the [`TypeWord`]'s
/// code.
pub const TYPE_WORD_NAMESPACE: u32 = 2;

/// The namespace of a [`UserExternalName`] that names a symbol outside of the image by its number.
pub(super) const SYMBOL_NAMESPACE: u32 = 3;

/// The key of the stack slot in which a function keeps its vmctx, so that stack walks can find it.
/// The slot has eight bytes and is written at the function's entry, before the function calls
/// anything.
pub const VMCTX_SLOT_KEY: u64 = 0x766d_6374_7821_0001;

/// Declares function `index` of the image as a callee of `func`. Each call makes a new reference,
/// so keep it.
///
/// # Examples
/// ```
/// use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Function, Signature, types};
/// use cranelift_codegen::isa::CallConv;
/// use gc_compiler::import_function;
///
/// let mut signature = Signature::new(CallConv::Tail);
/// signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
/// let mut func = Function::new();
/// // A call passes the function's own vmctx: `ins().call(callee, &[vmctx])`.
/// let callee = import_function(&mut func, 3, signature);
/// assert_eq!(func.dfg.ext_funcs.len(), 1);
/// ```
pub fn import_function(func: &mut ir::Function, index: u32, signature: Signature) -> ir::FuncRef {
    import(func, FUNCTION_NAMESPACE, index, signature)
}

/// Declares the trampoline of a host call as a callee of `func`. Call it with `(vmctx,
/// parameters…)`. The result is then in the store context's `store_host_result` word. Each call
/// makes a new reference, so keep it.
pub fn import_host_call(
    func: &mut ir::Function,
    call: HostCall,
    signature: &HostSignature,
) -> ir::FuncRef {
    import(func, HOST_CALL_NAMESPACE, call.index(), host_call_signature(signature))
}

/// The host call of a callee of `func`, if [`import_host_call`] declared the callee.
///
/// # Examples
/// ```
/// use cranelift_codegen::ir::Function;
/// use gc_compiler::{import_host_call, imported_host_call};
/// use gc_types::HostCall;
///
/// let mut func = Function::new();
/// let call = HostCall::ALLOC_STRUCT;
/// let callee = import_host_call(&mut func, call, call.gc_signature().unwrap());
/// assert_eq!(imported_host_call(&func, callee), Some(call));
/// ```
pub fn imported_host_call(func: &ir::Function, callee: ir::FuncRef) -> Option<HostCall> {
    let ExternalName::User(name) = func.dfg.ext_funcs[callee].name else { return None };
    let name = &func.params.user_named_funcs()[name];
    (name.namespace == HOST_CALL_NAMESPACE).then(|| HostCall::from_index(name.index))
}

/// Declares the symbol with this number as a callee of `func`.
pub(super) fn import_symbol(
    func: &mut ir::Function,
    symbol: u32,
    signature: Signature,
) -> ir::FuncRef {
    import(func, SYMBOL_NAMESPACE, symbol, signature)
}

/// Declares a word of a type of the image, which `func` reads with [`type_word`]. Each call makes a
/// new global value, so keep it.
pub fn import_type_word(func: &mut ir::Function, word: TypeWord) -> ir::GlobalValue {
    let name = UserExternalName { namespace: TYPE_WORD_NAMESPACE, index: word.code() };
    let name = ExternalName::user(func.declare_imported_user_function(name));
    // It is not colocated, because its value is in a table of words that the linker places after
    // the code.
    func.create_global_value(GlobalValueData::Symbol {
        name,
        offset: 0.into(),
        colocated: false,
        tls: false,
    })
}

/// Emits the value (`I32`) of a word that [`import_type_word`] declared.
///
/// # Examples
/// A new object of a type whose index the code does not know:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use gc_compiler::{import_type_word, type_word};
/// use gc_types::{StructLayout, TypeIndex, TypeWord, VMGcKind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layout = StructLayout::new([])?;
/// let ty = TypeIndex::new(0).unwrap(); // The number of the type in the image.
/// # emit(&CopyingCompiler, &[], |e, _| {
/// // `e` is a `GcEmitter`.
/// let word = TypeWord::header(ty, VMGcKind::StructRef);
/// let word = import_type_word(e.builder.func, word);
/// let header_word = type_word(e.builder, word);
/// let object = e.struct_new(header_word, &layout, &[]);
/// # })?;
/// # Ok(())
/// # }
/// ```
pub fn type_word(builder: &mut FunctionBuilder<'_>, word: ir::GlobalValue) -> ir::Value {
    let word = builder.ins().symbol_value(types::I64, word);
    builder.ins().ireduce(types::I32, word)
}

/// Extends the word `value` (`I32`) to 64 bits whose upper half is zero. A [`type_word`] has 64 bits already, so no
/// instruction is emitted for it.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use cranelift_codegen::ir::{InstBuilder, types};
/// use gc_compiler::zero_extended;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # emit(&CopyingCompiler, &[], |e, _| {
/// // `e` is a `GcEmitter`.
/// let word = e.builder.ins().iconst(types::I32, 7);
/// let wide = zero_extended(e.builder, word);
/// assert_eq!(e.builder.func.dfg.value_type(wide), types::I64);
/// # })?;
/// # Ok(())
/// # }
/// ```
pub fn zero_extended(builder: &mut FunctionBuilder<'_>, value: ir::Value) -> ir::Value {
    let dfg = &builder.func.dfg;
    let definition = |value| dfg.value_def(value).inst().map(|inst| dfg.insts[inst]);
    if let Some(ir::InstructionData::Unary { opcode: ir::Opcode::Ireduce, arg }) = definition(value)
        && let Some(ir::InstructionData::UnaryGlobalValue {
            opcode: ir::Opcode::SymbolValue, ..
        }) = definition(arg)
    {
        return arg;
    }
    builder.ins().uextend(types::I64, value)
}

fn import(
    func: &mut ir::Function,
    namespace: u32,
    index: u32,
    signature: Signature,
) -> ir::FuncRef {
    let name = func.declare_imported_user_function(UserExternalName { namespace, index });
    let signature = func.import_signature(signature);
    func.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        // Everything is linked into one image, so direct calls reach it.
        colocated: true,
        patchable: false,
    })
}

/// Makes `func` check the store's stack limit at its entry and trap with
/// [`Trap::StackOverflow`](gc_types::Trap::StackOverflow) if its frame would exceed the limit.
///
/// # Errors
/// If the signature has no parameter with the purpose `VMContext`.
pub(crate) fn set_stack_limit(func: &mut ir::Function, offsets: &VMOffsets) -> Result<()> {
    func.signature
        .special_param_index(ArgumentPurpose::VMContext)
        .context("a stack limit needs a vmctx parameter")?;
    let flags = func
        .dfg
        .mem_flags
        .insert(MemFlagsData::trusted())
        .map_err(|_| anyhow!("too many kinds of memory access in one function"))?;
    let vmctx = func.create_global_value(GlobalValueData::VMContext);
    let store_context = func.create_global_value(GlobalValueData::Load {
        base: vmctx,
        offset: (offsets.vmctx_store_context() as i32).into(),
        global_type: types::I64,
        flags,
    });
    let limit = func.create_global_value(GlobalValueData::Load {
        base: store_context,
        offset: (offsets.store_stack_limit() as i32).into(),
        global_type: types::I64,
        flags,
    });
    func.stack_limit = Some(limit);
    Ok(())
}

/// Declares the stack slot with [`VMCTX_SLOT_KEY`]. The caller must emit code that stores the vmctx
/// in it at the function's entry.
pub(crate) fn declare_vmctx_slot(func: &mut ir::Function) -> ir::StackSlot {
    func.create_sized_stack_slot(StackSlotData::new_with_key(
        StackSlotKind::ExplicitSlot,
        8,
        3,
        StackSlotKey::new(VMCTX_SLOT_KEY),
    ))
}
