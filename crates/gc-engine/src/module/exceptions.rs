//! Exceptions: objects that are thrown, and handlers for them by type.
//!
//! A call in a block with handlers is a `try_call` that lists them, the innermost first. A handler for a type
//! has the type's number in the image as its tag; the store compares the object with it
//! ([`StoreInner`](crate::store::StoreInner)). Nothing is done at calls that do not throw.

use super::body::CalleeCode;
use super::{Body, RefType, casts::Target, clif_type};
use crate::Type;
use anyhow::anyhow;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, ExceptionTag, InstBuilder,
    Value, types,
};
use gc_compiler::GcFuncEnv as _;
use gc_types::{HostCall, Trap, TypeWord, VMGcKind};

/// A handler of the block that is being built.
#[derive(Clone, Copy)]
pub(super) struct Handler {
    /// The number in the image of the type that it catches. `None` if it catches every object.
    tag: Option<u32>,
    block: Block,
}

impl Body<'_, '_> {
    /// Throws an object with fields. The innermost handler for its type gets it
    /// ([`Control::try_catch`](super::Control::try_catch)), in this function or in one that called it. If
    /// there is none, the host's call fails with [`ThrownException`](crate::ThrownException). Traps if the
    /// reference is null. Code that is emitted after it is never reached.
    pub fn throw(&mut self, object: Value) {
        if !self.expect("throw", object, Type::Ref) {
            return;
        }
        self.ref_cast(object, RefType::STRUCT.nullable());
        let callee = self.env.host_call(self.builder.func, HostCall::THROW);
        let args = [self.env.vmctx, object];
        self.emit_call(CalleeCode::Own(callee), &args, &[]);
        self.trap(Trap::UnreachableCodeReached);
    }

    /// Begins a block with a handler for objects of this type.
    pub(super) fn enter_try(&mut self, ty: RefType) {
        let is_struct = |word: TypeWord| word == TypeWord::header(word.ty(), VMGcKind::StructRef);
        let tag = match ty.target {
            Target::Any | Target::Struct => None,
            Target::Object(module, _) if module != self.function().module => {
                self.misused(anyhow!("a type of another module is used"));
                None
            }
            Target::Object(_, word) if is_struct(word) => Some(word.ty().as_u32()),
            Target::Object(..) | Target::I31 | Target::Array => {
                self.misused(anyhow!("only objects with fields are thrown and caught"));
                None
            }
        };
        let block = self.builder.create_block();
        self.builder.set_cold_block(block);
        let exception = self.builder.append_block_param(block, types::I64);
        self.env.annotations.references.mark(exception);
        self.handlers.push(Handler { tag, block });
    }

    /// Ends the block with the innermost handler. Returns the handler's block, and the object that it gets.
    pub(super) fn leave_try(&mut self) -> (Block, Value) {
        let Handler { block, .. } = self.handlers.pop().expect("a block with a handler was begun");
        (block, self.builder.block_params(block)[0])
    }

    /// Emits a call in a block with handlers, and returns its results, which have these types.
    pub(super) fn emit_try_call(
        &mut self,
        code: CalleeCode,
        args: &[Value],
        results: &[Type],
    ) -> Vec<Value> {
        let returned = self.builder.create_block();
        for ty in results {
            let value = self.builder.append_block_param(returned, clif_type(*ty));
            match ty {
                Type::Ref => self.env.annotations.references.mark(value),
                Type::Func => {
                    self.env.functions.insert(value);
                }
                _ => {}
            }
        }
        // The host reads the vmctx of a frame to find out whether a handler catches the object.
        self.env.annotations.leaves_instance = true;
        let dfg = &mut self.builder.func.dfg;
        let signature = match code {
            CalleeCode::Own(callee) => dfg.ext_funcs[callee].signature,
            CalleeCode::At(signature, _) => signature,
        };
        let pool = &mut dfg.value_lists;
        let passed = (0..results.len() as u32).map(BlockArg::TryCallRet);
        let normal = BlockCall::new(returned, passed, pool);
        let items = self.handlers.iter().rev().map(|Handler { tag, block }| {
            let call = BlockCall::new(*block, [BlockArg::TryCallExn(0)], pool);
            match tag {
                Some(tag) => ExceptionTableItem::Tag(ExceptionTag::from_u32(*tag), call),
                None => ExceptionTableItem::Default(call),
            }
        });
        let items: Vec<_> = items.collect();
        let table = dfg.exception_tables.push(ExceptionTableData::new(signature, normal, items));
        let call = match code {
            CalleeCode::Own(callee) => self.ins().try_call(callee, args, table),
            CalleeCode::At(_, code) => self.ins().try_call_indirect(code, args, table),
        };
        self.env.try_calls.insert(call);
        self.builder.seal_block(returned);
        self.builder.switch_to_block(returned);
        self.builder.block_params(returned).to_vec()
    }
}
