//! Functions for the tests: random functions, and a builder for handwritten ones.

use super::super::References;
use super::machine::callee;
use arbtest::arbitrary::{Arbitrary, Result, Unstructured};
use cranelift_codegen::ir::{self, AbiParam, Block, Function, InstBuilder, Value, types};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

const VARIABLES: usize = 5;

/// A random program over a few variables that hold references.
#[derive(Clone, Debug)]
pub(super) struct Program(Vec<(Vec<Op>, End)>);

#[derive(Clone, Copy, Debug)]
enum Op {
    New(usize),
    NewQuietly(usize),
    Null(usize),
    Move(usize, usize),
    Select(usize, usize, usize),
    Look(usize),
    Collect(usize),
    CollectIndirectly,
}

#[derive(Clone, Debug)]
enum End {
    Jump(usize),
    Branch(usize, usize),
    Table(Vec<usize>),
    Return(usize),
    Try(Try),
}

/// A `try_call` at the end of a block.
#[derive(Clone, Copy, Debug)]
struct Try {
    callee: u32,
    /// The argument, if it has one.
    arg: usize,
    /// The variable for its result or the thrown object.
    result: usize,
    normal: usize,
    handler: usize,
    /// Whether the result, and the thrown object, is taken in a separate block.
    takes: (bool, bool),
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Program> {
        let blocks = u.int_in_range(1..=9)?;
        let mut program = Vec::new();
        for _ in 0..blocks {
            let mut ops = Vec::new();
            for _ in 0..u.int_in_range(0..=5)? {
                ops.push(Op::arbitrary(u)?);
            }
            // The first block is the entry. Nothing jumps to it.
            let mut target = || u.int_in_range(1..=blocks);
            let (a, b, c) = (target()?, target()?, target()?);
            let end = match u.int_in_range(0..=9)? {
                0 => End::Return(u.choose_index(VARIABLES)?),
                1 | 2 => End::Jump(a),
                3 => End::Table(vec![a, b, a, c]),
                8 | 9 => End::Try(Try {
                    callee: u.int_in_range(0..=callee::COUNT)?,
                    arg: u.choose_index(VARIABLES)?,
                    result: u.choose_index(VARIABLES)?,
                    normal: a,
                    handler: b,
                    takes: u.arbitrary()?,
                }),
                _ => End::Branch(a, b),
            };
            program.push((ops, end));
        }
        program.push((vec![], End::Return(0)));
        Ok(Program(program))
    }
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Op> {
        let (a, b, c) =
            (u.choose_index(VARIABLES)?, u.choose_index(VARIABLES)?, u.choose_index(VARIABLES)?);
        Ok(match u.int_in_range(0..=11)? {
            0 | 1 => Op::New(a),
            2 => Op::NewQuietly(a),
            3 => Op::Null(a),
            4 => Op::Move(a, b),
            5 => Op::Select(a, b, c),
            6 => Op::CollectIndirectly,
            7 | 8 => Op::Collect(a),
            _ => Op::Look(a),
        })
    }
}

impl Program {
    /// The function before safepoints are placed.
    pub(super) fn build(&self) -> (Function, References) {
        function(2, |b| {
            for i in 0..VARIABLES {
                let variable = b.builder.declare_var(types::I64);
                let value = b.entry()[i % 2];
                b.builder.def_var(variable, value);
            }
            let blocks: Vec<Block> = self.0.iter().map(|_| b.block()).collect();
            b.jump(blocks[0]);
            for (block, (ops, end)) in blocks.iter().zip(&self.0) {
                b.switch_to(*block);
                for op in ops {
                    b.op(*op);
                }
                let at = |i: &usize| blocks[*i];
                match end {
                    End::Jump(to) => b.jump(at(to)),
                    End::Branch(yes, no) => b.branch(at(yes), at(no)),
                    End::Table(to) => b.table(&to.iter().map(at).collect::<Vec<_>>()),
                    End::Try(end) => b.try_end(*end, &blocks),
                    End::Return(v) => {
                        let value = b.get(*v);
                        b.finish(value);
                    }
                }
            }
        })
    }
}

/// Makes a function of `params` references that returns one.
pub(super) fn function(params: usize, body: impl FnOnce(&mut Build<'_>)) -> (Function, References) {
    let mut func = Function::new();
    func.signature = signature(params, Some(types::I64));
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    for index in 0..callee::COUNT {
        let signature = match index {
            callee::NEW | callee::NEW_QUIETLY => signature(0, Some(types::I64)),
            callee::CHOOSE => signature(0, Some(types::I32)),
            _ => signature(1, None),
        };
        let signature = builder.import_signature(signature);
        let name = ir::UserExternalName::new(0, index);
        let name = ir::ExternalName::user(builder.func.declare_imported_user_function(name));
        let callee = ir::ExtFuncData { name, signature, colocated: false, patchable: false };
        assert_eq!(builder.import_function(callee).as_u32(), index);
    }
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let mut build = Build { builder, references: References::default(), entry };
    for param in build.entry() {
        build.references.mark(param);
    }
    body(&mut build);
    let Build { mut builder, references, .. } = build;
    builder.seal_all_blocks();
    let flags = settings::Flags::new(settings::builder());
    let isa = cranelift_native::builder().expect("a known host").finish(flags).expect("an ISA");
    builder.finalize(isa.frontend_config());
    (func, references)
}

fn signature(params: usize, result: Option<ir::Type>) -> ir::Signature {
    let mut signature = ir::Signature::new(CallConv::SystemV);
    signature.params.extend((0..params).map(|_| AbiParam::new(types::I64)));
    signature.returns.extend(result.map(AbiParam::new));
    signature
}

/// A function under construction.
pub(super) struct Build<'a> {
    builder: FunctionBuilder<'a>,
    references: References,
    entry: Block,
}

impl Build<'_> {
    /// The function's parameters.
    pub(super) fn entry(&self) -> Vec<Value> {
        self.builder.block_params(self.entry).to_vec()
    }

    fn call(&mut self, callee: u32, args: &[Value]) -> Option<Value> {
        let call = self.builder.ins().call(ir::FuncRef::from_u32(callee), args);
        self.builder.inst_results(call).first().copied()
    }

    fn object(&mut self, callee: u32) -> Value {
        let object = self.call(callee, &[]).expect("a result");
        self.references.mark(object);
        object
    }

    pub(super) fn new_object(&mut self) -> Value {
        self.object(callee::NEW)
    }

    pub(super) fn new_quietly(&mut self) -> Value {
        self.object(callee::NEW_QUIETLY)
    }

    pub(super) fn null(&mut self) -> Value {
        let null = self.builder.ins().iconst(types::I64, 0);
        self.references.mark(null);
        null
    }

    pub(super) fn look(&mut self, reference: Value) {
        self.call(callee::LOOK, &[reference]);
    }

    pub(super) fn collect(&mut self, reference: Value) {
        self.call(callee::COLLECT, &[reference]);
    }

    pub(super) fn select(&mut self, a: Value, b: Value) -> Value {
        let which = self.call(callee::CHOOSE, &[]).expect("a result");
        self.builder.ins().select(which, a, b)
    }

    fn get(&mut self, variable: usize) -> Value {
        self.builder.use_var(Variable::from_u32(variable as u32))
    }

    fn op(&mut self, op: Op) {
        let (variable, value) = match op {
            Op::New(v) => (v, self.new_object()),
            Op::NewQuietly(v) => (v, self.new_quietly()),
            Op::Null(v) => (v, self.null()),
            Op::Move(v, from) => (v, self.get(from)),
            Op::Select(v, a, b) => {
                let (a, b) = (self.get(a), self.get(b));
                (v, self.select(a, b))
            }
            Op::Look(v) => {
                let value = self.get(v);
                return self.look(value);
            }
            Op::Collect(v) => {
                let value = self.get(v);
                return self.collect(value);
            }
            Op::CollectIndirectly => return self.collect_indirectly(),
        };
        self.builder.def_var(Variable::from_u32(variable as u32), value);
    }

    fn collect_indirectly(&mut self) {
        let signature = self.builder.import_signature(signature(0, None));
        let callee = self.builder.ins().iconst(types::I64, 0);
        self.builder.ins().call_indirect(signature, callee, &[]);
    }

    pub(super) fn block(&mut self) -> Block {
        self.builder.create_block()
    }

    /// A block with a parameter that is not marked as a reference.
    pub(super) fn block_with_parameter(&mut self) -> (Block, Value) {
        let block = self.block();
        (block, self.builder.append_block_param(block, types::I64))
    }

    pub(super) fn switch_to(&mut self, block: Block) {
        self.builder.switch_to_block(block);
    }

    pub(super) fn jump(&mut self, to: Block) {
        self.builder.ins().jump(to, &[]);
    }

    pub(super) fn jump_with(&mut self, to: Block, arg: Value) {
        self.builder.ins().jump(to, &[arg.into()]);
    }

    pub(super) fn branch(&mut self, yes: Block, no: Block) {
        let which = self.call(callee::CHOOSE, &[]).expect("a result");
        self.builder.ins().brif(which, yes, &[], no, &[]);
    }

    /// Ends the block with a `try_call` of `callee`, or with an indirect one if there is no callee.
    fn try_call(
        &mut self,
        callee: Option<u32>,
        args: &[Value],
        normal: (Block, &[ir::BlockArg]),
        handler: (Block, &[ir::BlockArg]),
    ) {
        let func = &mut self.builder.func;
        let signature = match callee {
            Some(callee) => func.dfg.ext_funcs[ir::FuncRef::from_u32(callee)].signature,
            None => func.import_signature(signature(0, None)),
        };
        let pool = &mut func.dfg.value_lists;
        let [normal, handler] = [normal, handler]
            .map(|(block, args)| ir::BlockCall::new(block, args.iter().copied(), pool));
        let handlers = [ir::ExceptionTableItem::Default(handler)];
        let table = ir::ExceptionTableData::new(signature, normal, handlers);
        let table = self.builder.func.dfg.exception_tables.push(table);
        match callee {
            Some(callee) => {
                self.builder.ins().try_call(ir::FuncRef::from_u32(callee), args, table);
            }
            None => {
                let code = self.builder.ins().iconst(types::I64, 0);
                self.builder.ins().try_call_indirect(code, args, table);
            }
        }
    }

    fn try_end(&mut self, end: Try, blocks: &[Block]) {
        let arg = self.get(end.arg);
        let (callee, args, gives) = match end.callee {
            callee::COUNT => (None, vec![], false),
            callee::NEW | callee::NEW_QUIETLY => (Some(end.callee), vec![], true),
            callee::CHOOSE | callee::LOOK => (Some(callee::LOOK), vec![arg], false),
            _ => (Some(callee::COLLECT), vec![arg], false),
        };
        let (normal, handler) = (blocks[end.normal], blocks[end.handler]);
        let takes = (gives && end.takes.0, end.takes.1);
        let returned = if takes.0 { Some(self.block_with_parameter()) } else { None };
        let thrown = if takes.1 { Some(self.block_with_parameter()) } else { None };
        let (result, exception) = (ir::BlockArg::TryCallRet(0), ir::BlockArg::TryCallExn(0));
        self.try_call(
            callee,
            &args,
            returned.map_or((normal, &[]), |(block, _)| (block, std::slice::from_ref(&result))),
            thrown.map_or((handler, &[]), |(block, _)| (block, std::slice::from_ref(&exception))),
        );
        for (taken, target) in [(returned, normal), (thrown, handler)] {
            let Some((block, value)) = taken else { continue };
            self.references.mark(value);
            self.switch_to(block);
            self.builder.def_var(Variable::from_u32(end.result as u32), value);
            self.jump(target);
        }
    }

    /// Ends the block with a `try_call` that collects.
    pub(super) fn try_collect(
        &mut self,
        reference: Value,
        normal: (Block, &[Value]),
        handler: (Block, &[Value]),
    ) {
        self.try_with(callee::COLLECT, reference, normal, handler);
    }

    /// Ends the block with a `try_call` that never collects.
    pub(super) fn try_look(
        &mut self,
        reference: Value,
        normal: (Block, &[Value]),
        handler: (Block, &[Value]),
    ) {
        self.try_with(callee::LOOK, reference, normal, handler);
    }

    fn try_with(
        &mut self,
        callee: u32,
        reference: Value,
        normal: (Block, &[Value]),
        handler: (Block, &[Value]),
    ) {
        let args = |args: &[Value]| args.iter().map(|arg| (*arg).into()).collect::<Vec<_>>();
        let (to_normal, to_handler) = (args(normal.1), args(handler.1));
        self.try_call(Some(callee), &[reference], (normal.0, &to_normal), (handler.0, &to_handler));
    }

    /// A parameter of `block`, which is not marked as a reference.
    pub(super) fn param(&mut self, block: Block) -> Value {
        self.builder.append_block_param(block, types::I64)
    }

    fn table(&mut self, to: &[Block]) {
        let which = self.call(callee::CHOOSE, &[]).expect("a result");
        let pool = &mut self.builder.func.dfg.value_lists;
        let calls: Vec<_> = to.iter().map(|to| ir::BlockCall::new(*to, [], pool)).collect();
        let table = self.builder.create_jump_table(ir::JumpTableData::new(calls[0], &calls[1..]));
        self.builder.ins().br_table(which, table);
    }

    pub(super) fn finish(&mut self, result: Value) {
        self.builder.ins().return_(&[result]);
    }
}
