//! Functions that the frontend of Cranelift builds, and what their compiler says of their types.

use cranelift_codegen::ir::{
    self, AbiParam, Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem,
    ExceptionTag, FuncRef, Function, Inst, InstBuilder, MemFlagsData, SigRef, Signature, Type,
    Value, types,
};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use stack_roots::calls::mark_quiet_calls;
use stack_roots::check::{CheckError, SignatureTypes, Types, Unboxed, ValueType, check_roots};

/// What the language says of a parameter or a result, and its type in CLIF.
pub(crate) type Ty = (ValueType, Type);

pub(crate) const REF: Ty = (ValueType::Ref, types::I64);
pub(crate) const REF32: Ty = (ValueType::Ref, types::I32);
pub(crate) const POINTER: Ty = (ValueType::Pointer, types::I64);
pub(crate) const INT: Ty = (ValueType::Data, types::I64);

/// What the compiler of a function says of it. A change may make it wrong.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) own: SignatureTypes,
    pub(crate) signatures: Vec<(SigRef, SignatureTypes)>,
    pub(crate) quiet: Vec<FuncRef>,
    pub(crate) loads: Vec<(Value, ValueType)>,
    pub(crate) regions: Vec<(u32, ValueType)>,
    pub(crate) unboxed: Unboxed,
    pub(crate) reference: Type,
    pub(crate) exception: [ValueType; 2],
}

impl Said {
    pub(crate) fn types(&self) -> Types {
        let mut types = Types::new(self.own.clone());
        for (signature, of) in &self.signatures {
            types.declare_signature(*signature, of.clone());
        }
        self.quiet.iter().for_each(|function| _ = types.declare_quiet(*function));
        self.loads.iter().for_each(|(load, ty)| _ = types.declare_value(*load, *ty));
        self.regions.iter().for_each(|(region, ty)| _ = types.declare_region(*region, *ty));
        types.unboxed(self.unboxed).reference(self.reference).exception(self.exception);
        types
    }
}

/// A function, what is said of it, and what was declared to the frontend.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) func: Function,
    pub(crate) said: Said,
    /// The values that were declared to the frontend as references, in this order.
    pub(crate) declared: Vec<Value>,
}

impl Case {
    pub(crate) fn check(&self) -> Result<(), CheckError> {
        check_roots(&self.func, &self.said.types())
    }

    /// Whether any value may be where a reference is expected.
    pub(crate) fn takes_any(&self) -> bool {
        self.said.unboxed == Unboxed::Any
    }
}

/// A function to build.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Ty],
    pub(crate) results: &'static [Ty],
    pub(crate) unboxed: Unboxed,
    pub(crate) reference: Type,
    pub(crate) conv: CallConv,
    /// Whether the calls of quiet functions are marked.
    pub(crate) marks: bool,
    pub(crate) body: fn(&mut Code<'_>),
}

impl Program {
    pub(crate) const fn new(
        name: &'static str,
        params: &'static [Ty],
        results: &'static [Ty],
        body: fn(&mut Code<'_>),
    ) -> Program {
        Program {
            name,
            params,
            results,
            unboxed: Unboxed::Never,
            reference: types::I64,
            conv: CallConv::SystemV,
            marks: false,
            body,
        }
    }

    /// Builds the function. The reference with the number `skipped` is not declared to the frontend.
    pub(crate) fn build(&self, skipped: Option<usize>) -> Case {
        let mut func = Function::with_name_signature(
            Default::default(),
            signature(self.conv, self.params, self.results),
        );
        let said = Said {
            own: said(self.params, self.results),
            signatures: Vec::new(),
            quiet: Vec::new(),
            loads: Vec::new(),
            regions: Vec::new(),
            unboxed: self.unboxed,
            reference: self.reference,
            exception: [ValueType::Data; 2],
        };
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let mut code =
            Code { builder, said, conv: self.conv, skipped, declared: Vec::new(), entry };
        for (value, (ty, _)) in code.params().into_iter().zip(self.params) {
            if *ty == ValueType::Ref {
                code.reference(value);
            }
        }
        (self.body)(&mut code);
        let Code { mut builder, said, declared, .. } = code;
        builder.seal_all_blocks();
        builder.finalize(isa().frontend_config());
        if self.marks {
            mark_quiet_calls(&mut func, |func, call| {
                let ir::InstructionData::Call { func_ref, .. } = func.dfg.insts[call] else {
                    return true;
                };
                !said.quiet.contains(&func_ref)
            });
        }
        Case { func, said, declared }
    }
}

/// The host with frame pointers.
pub(crate) fn isa() -> OwnedTargetIsa {
    let mut flags = settings::builder();
    flags.set("preserve_frame_pointers", "true").unwrap();
    cranelift_native::builder().unwrap().finish(settings::Flags::new(flags)).unwrap()
}

fn signature(conv: CallConv, params: &[Ty], results: &[Ty]) -> Signature {
    let mut signature = Signature::new(conv);
    signature.params = params.iter().map(|(_, ty)| AbiParam::new(*ty)).collect();
    signature.returns = results.iter().map(|(_, ty)| AbiParam::new(*ty)).collect();
    signature
}

fn said(params: &[Ty], results: &[Ty]) -> SignatureTypes {
    SignatureTypes::new(params.iter().map(|(ty, _)| *ty), results.iter().map(|(ty, _)| *ty))
}

/// A function that is built.
pub(crate) struct Code<'f> {
    pub(crate) builder: FunctionBuilder<'f>,
    pub(crate) said: Said,
    conv: CallConv,
    skipped: Option<usize>,
    declared: Vec<Value>,
    entry: Block,
}

impl Code<'_> {
    pub(crate) fn params(&self) -> Vec<Value> {
        self.builder.block_params(self.entry).to_vec()
    }

    /// Declares a reference to the frontend.
    pub(crate) fn reference(&mut self, value: Value) -> Value {
        if self.skipped != Some(self.declared.len()) {
            self.builder.declare_value_needs_stack_map(value);
        }
        self.declared.push(value);
        value
    }

    pub(crate) fn constant(&mut self, bits: i64) -> Value {
        self.builder.ins().iconst(types::I64, bits)
    }

    /// A block with these parameters, and the parameters.
    pub(crate) fn block(&mut self, params: &[Ty]) -> (Block, Vec<Value>) {
        let block = self.builder.create_block();
        let mut values = Vec::new();
        for (ty, clif) in params {
            let value = self.builder.append_block_param(block, *clif);
            if *ty == ValueType::Ref {
                self.reference(value);
            }
            values.push(value);
        }
        (block, values)
    }

    pub(crate) fn switch(&mut self, block: Block) {
        self.builder.switch_to_block(block);
    }

    pub(crate) fn jump(&mut self, block: Block, args: &[Value]) {
        let args: Vec<BlockArg> = args.iter().map(|arg| (*arg).into()).collect();
        self.builder.ins().jump(block, &args);
    }

    /// Jumps to `then` if `condition` is not zero, and to `other` if it is.
    pub(crate) fn branch(
        &mut self,
        condition: Value,
        then: (Block, &[Value]),
        other: (Block, &[Value]),
    ) {
        let [a, b] = [then.1, other.1]
            .map(|args| args.iter().map(|arg| (*arg).into()).collect::<Vec<BlockArg>>());
        self.builder.ins().brif(condition, then.0, &a, other.0, &b);
    }

    pub(crate) fn load(&mut self, ty: Type, address: Value, offset: i32) -> Value {
        self.builder.ins().load(ty, MemFlagsData::trusted(), address, offset)
    }

    /// Loads a reference.
    pub(crate) fn load_ref(&mut self, address: Value, offset: i32) -> Value {
        let value = self.load(self.said.reference, address, offset);
        self.said.loads.push((value, ValueType::Ref));
        self.reference(value)
    }

    pub(crate) fn store(&mut self, value: Value, address: Value, offset: i32) {
        self.builder.ins().store(MemFlagsData::trusted(), value, address, offset);
    }

    pub(crate) fn signature(&mut self, params: &[Ty], results: &[Ty]) -> SigRef {
        let imported = self.builder.import_signature(signature(self.conv, params, results));
        self.said.signatures.push((imported, said(params, results)));
        imported
    }

    /// A function that may collect.
    pub(crate) fn function(&mut self, params: &[Ty], results: &[Ty]) -> FuncRef {
        let signature = self.signature(params, results);
        self.builder.import_function(ir::ExtFuncData {
            name: ir::ExternalName::testcase("runtime"),
            signature,
            colocated: false,
            patchable: false,
        })
    }

    /// A function that does not collect.
    pub(crate) fn quiet(&mut self, params: &[Ty], results: &[Ty]) -> FuncRef {
        let function = self.function(params, results);
        self.said.quiet.push(function);
        function
    }

    /// Calls a function. If its result is a reference, it is declared to the frontend.
    pub(crate) fn call(&mut self, function: FuncRef, args: &[Value]) -> Option<Value> {
        let call = self.builder.ins().call(function, args);
        let signature = self.builder.func.dfg.ext_funcs[function].signature;
        self.result(call, signature)
    }

    pub(crate) fn call_indirect(
        &mut self,
        signature: SigRef,
        code: Value,
        args: &[Value],
    ) -> Option<Value> {
        let call = self.builder.ins().call_indirect(signature, code, args);
        self.result(call, signature)
    }

    fn result(&mut self, call: Inst, signature: SigRef) -> Option<Value> {
        let value = self.builder.inst_results(call).first().copied()?;
        let (_, types) = self.said.signatures.iter().find(|(of, _)| *of == signature)?;
        if types.results[0] == ValueType::Ref {
            self.reference(value);
        }
        Some(value)
    }

    /// An exception table with a handler of all exceptions.
    pub(crate) fn handlers(
        &mut self,
        signature: SigRef,
        normal: (Block, &[BlockArg]),
        handler: (Block, &[BlockArg]),
        context: Option<Value>,
    ) -> ir::ExceptionTable {
        let dfg = &mut self.builder.func.dfg;
        let [normal, handler] = [normal, handler]
            .map(|(block, args)| BlockCall::new(block, args.iter().copied(), &mut dfg.value_lists));
        let context = context.map(ExceptionTableItem::Context);
        let tag = ExceptionTableItem::Tag(ExceptionTag::from_u32(1), handler);
        let items: Vec<ExceptionTableItem> = context.into_iter().chain([tag]).collect();
        dfg.exception_tables.push(ExceptionTableData::new(signature, normal, items))
    }
}
