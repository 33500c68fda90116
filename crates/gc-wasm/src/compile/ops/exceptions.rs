//! Exceptions: `throw`, `throw_ref` and `try_table`.
//!
//! A call inside a `try_table` is a `try_call`. Its exception table has the clauses of all enclosing
//! `try_table`s of the function, innermost first. If there are very many, the outer ones are behind a
//! relay, which catches what they catch and throws it again. Each clause has one block, which gets the
//! exception. It is emitted at the end of the `try_table`, reads the payload and branches to the
//! clause's label. A clause that nothing reaches has no block.
//!
//! Only calls of functions and throws can throw. The host calls of the heap's slow paths never do,
//! and they remain plain calls.

use crate::compile::env;
use crate::compile::signature::clif_type;
use crate::compile::stack::{Clause, FrameKind, Handler, HandlerPlace, Relay};
use crate::compile::translate::Translator;
use crate::types::registered::RegisteredType;
use anyhow::{Context as _, Result};
use cranelift_codegen::ir::{
    self, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, ExceptionTag, InstBuilder,
    types,
};
use gc_compiler::GcFuncEnv as _;
use gc_compiler::{tag_of_relay, tag_of_throw};
use gc_types::{ExnLayout, GcLayout, HostCall};
use std::rc::Rc;
use wasmparser::{Catch, TryTable};
use wasmtime_types::{WasmExnType, WasmFuncType};

/// The callee of a call.
#[derive(Clone, Copy)]
pub(super) enum Callee {
    /// A function of this module, or the host call that throws.
    Direct(ir::FuncRef),
    /// Code of this signature at an address.
    Indirect(ir::SigRef, ir::Value),
}

/// The type of exceptions with a tag, and their layout.
fn exn_type(ty: &RegisteredType) -> Result<(&WasmExnType, &ExnLayout)> {
    match (ty.sub_type.composite_type.inner.as_exn(), ty.layout.as_deref()) {
        (Some(exn), Some(GcLayout::Exn(layout))) => Ok((exn, layout)),
        _ => anyhow::bail!("{:?} is not a type of exceptions", ty.index),
    }
}

impl<'a> Translator<'a, '_> {
    /// Calls a function of type `ty` and pushes its results.
    pub(super) fn emit_call(
        &mut self,
        callee: Callee,
        args: &[ir::Value],
        ty: &WasmFuncType,
    ) -> Result<()> {
        let handlers = self.handlers()?;
        if handlers.is_empty() {
            let call = match callee {
                Callee::Direct(callee) => self.builder.ins().call(callee, args),
                Callee::Indirect(signature, code) => {
                    self.builder.ins().call_indirect(signature, code, args)
                }
            };
            for (i, result) in ty.results().iter().enumerate() {
                let value = self.builder.inst_results(call)[i];
                self.declare(value, result);
                self.stack.push(value);
            }
            self.meter_back();
            return Ok(());
        }
        let returned = self.builder.create_block();
        for result in ty.results() {
            let value = self.builder.append_block_param(returned, clif_type(result));
            self.declare(value, result);
        }
        self.emit_try_call(callee, args, returned, &handlers, None);
        self.stack.values.extend_from_slice(self.builder.block_params(returned));
        self.meter_back();
        Ok(())
    }

    /// Ends the block with a call that has handlers, and continues in `returned`, whose parameters
    /// are the call's results. If it throws again what a relay has caught, it gets the relay's number.
    fn emit_try_call(
        &mut self,
        callee: Callee,
        args: &[ir::Value],
        returned: ir::Block,
        handlers: &[Handler],
        relay: Option<u32>,
    ) {
        let listed: Vec<(Option<ExceptionTag>, ir::Block)> =
            handlers.iter().map(|handler| self.listed(*handler)).collect();
        // What marks the call is not tried, so it leads anywhere.
        let mark = relay.map(|relay| (Some(tag_of_throw(relay)), listed[0].1));
        let results = self.builder.block_params(returned).len() as u32;
        let dfg = &mut self.builder.func.dfg;
        let signature = match callee {
            Callee::Direct(callee) => dfg.ext_funcs[callee].signature,
            Callee::Indirect(signature, _) => signature,
        };
        let pool = &mut dfg.value_lists;
        let normal = BlockCall::new(returned, (0..results).map(BlockArg::TryCallRet), pool);
        let items: Vec<ExceptionTableItem> = (mark.iter().chain(&listed))
            .map(|(tag, block)| {
                let call = BlockCall::new(*block, [BlockArg::TryCallExn(0)], pool);
                match tag {
                    Some(tag) => ExceptionTableItem::Tag(*tag, call),
                    None => ExceptionTableItem::Default(call),
                }
            })
            .collect();
        let table = ExceptionTableData::new(signature, normal, items);
        let table = dfg.exception_tables.push(table);
        match callee {
            Callee::Direct(callee) => self.builder.ins().try_call(callee, args, table),
            Callee::Indirect(_, code) => self.builder.ins().try_call_indirect(code, args, table),
        };
        // The host reads the vmctx of a frame to find out whether its tags match.
        self.env.annotations.leaves_instance |= listed.iter().any(|(tag, _)| tag.is_some());
        self.continue_in(returned);
    }

    /// The handlers of a call at this place, in the order in which they are tried.
    fn handlers(&mut self) -> Result<Rc<[Handler]>> {
        let handlers = self.stack.handlers();
        self.count_operands(handlers.len())?;
        Ok(handlers)
    }

    /// What a call lists for a handler: a tag, or none if it catches everything, and the block.
    fn listed(&mut self, handler: Handler) -> (Option<ExceptionTag>, ir::Block) {
        let block = self.handler_block(handler);
        let tag = match (&self.stack.frames[handler.frame].kind, handler.place) {
            (FrameKind::Try { relays, .. }, HandlerPlace::Relay(relay)) => {
                Some(tag_of_relay(relays[relay].number))
            }
            _ => handler.tag.map(ExceptionTag::from_u32),
        };
        (tag, block)
    }

    /// The block of a handler. It is made if it does not exist yet.
    fn handler_block(&mut self, handler: Handler) -> ir::Block {
        let FrameKind::Try { clauses, relays } = &mut self.stack.frames[handler.frame].kind else {
            unreachable!("only frames of this kind have handlers");
        };
        let block = match handler.place {
            HandlerPlace::Clause(clause) => &mut clauses[clause].block,
            HandlerPlace::Relay(relay) => &mut relays[relay].block,
        };
        *block.get_or_insert_with(|| {
            let block = self.builder.create_block();
            self.builder.set_cold_block(block);
            let exn = self.builder.append_block_param(block, types::I64);
            self.env.annotations.references.mark(exn);
            block
        })
    }

    pub(super) fn try_table(&mut self, op: &TryTable) -> Result<()> {
        let clause = |catch: &Catch| {
            let (tag, label, with_exn) = match *catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            Clause { tag, block: None, target: Some((label, with_exn)) }
        };
        let clauses = op.catches.iter().map(clause).collect();
        self.push_try(op.ty, clauses, None)
    }

    /// Leaves the body of a `try` or `try_table`: its clauses catch nothing from here on. Emits the
    /// blocks of its relays, and returns the clauses.
    pub(super) fn leave_try(&mut self) -> Result<Vec<Clause>> {
        self.stack.leave_try();
        loop {
            let FrameKind::Try { clauses, relays } = &mut self.stack.frame(0).kind else {
                unreachable!("the caller has looked");
            };
            // The last one is innermost. It may be the first that throws to the one before.
            let Some(Relay { number, handlers, block }) = relays.pop() else {
                return Ok(std::mem::take(clauses));
            };
            let Some(block) = block else { continue };
            if self.stack.reachable() {
                self.jump_to_label(0)?;
            }
            let height = self.stack.frame(0).height;
            self.stack.values.truncate(height);
            let exn = self.enter_clause(block, None)?;
            self.count_operands(handlers.len())?;
            self.throw_exn(exn, &handlers, Some(number));
        }
    }

    /// Emits the blocks of the clauses of a `try_table` that ends. They branch to labels outside of
    /// it. If there are any, the end of the `try_table` is reached only by its label.
    pub(super) fn clauses(&mut self, clauses: Vec<Clause>) -> Result<()> {
        if clauses.iter().all(|clause| clause.block.is_none() || clause.target.is_none()) {
            return Ok(());
        }
        if self.stack.reachable() {
            self.jump_to_label(0)?;
        }
        let frame = self.stack.frames.pop().context("the frame of a try_table")?;
        for Clause { tag, block, target } in clauses {
            let (Some(block), Some((label, with_exn))) = (block, target) else { continue };
            self.stack.values.truncate(frame.height);
            let exn = self.enter_clause(block, tag)?;
            if with_exn {
                self.stack.push(exn);
            }
            self.br(label)?;
        }
        self.stack.values.truncate(frame.height);
        self.stack.frames.push(frame);
        self.stack.set_unreachable();
        Ok(())
    }

    /// Continues in the block of a clause and pushes the payload. Returns the exception.
    pub(super) fn enter_clause(&mut self, block: ir::Block, tag: Option<u32>) -> Result<ir::Value> {
        self.stack.set_reachable();
        self.continue_in(block);
        self.join();
        self.meter_back();
        let exn = self.builder.block_params(block)[0];
        if let Some(tag) = tag {
            let registered = self.tag_type(tag);
            let (ty, layout) = exn_type(registered)?;
            for (i, field) in ty.fields.iter().enumerate() {
                let stored = self.emitter().exn_get(exn, layout, i);
                let value = self.stored_to_value(&field.element_type, stored);
                self.stack.push(value);
            }
        }
        Ok(exn)
    }

    /// The type of exceptions with tag `tag`.
    fn tag_type(&self, tag: u32) -> &'a RegisteredType {
        self.env.registered(self.env.cx.info.tags[tag as usize].exn)
    }

    pub(super) fn throw(&mut self, tag: u32) -> Result<()> {
        let registered = self.tag_type(tag);
        let (ty, layout) = exn_type(registered)?;
        let mut values = self.stack.pop_n(ty.fields.len());
        for (value, field) in values.iter_mut().zip(&ty.fields) {
            *value = self.value_to_stored(&field.element_type, *value);
        }
        let header_word = self.header_word(registered);
        let vmctx = self.env.vmctx;
        let at = self.env.cx.layout.tag(tag);
        let words = self.load(types::I64, env::IMPORTS, vmctx, at);
        let exn = self.emitter().exn_new(header_word, layout, words, &values);
        let handlers = self.handlers()?;
        if let Some(handler) = self.certain_handler(tag, &handlers) {
            let block = self.handler_block(handler);
            self.builder.ins().jump(block, &[exn.into()]);
            self.stack.set_unreachable();
            return Ok(());
        }
        self.throw_exn(exn, &handlers, None);
        Ok(())
    }

    /// The handler that certainly catches an exception with tag `tag` of this instance.
    ///
    /// Two imported tags may be the same tag. All others are different.
    fn certain_handler(&self, tag: u32, handlers: &[Handler]) -> Option<Handler> {
        let is_imported = |tag: u32| tag < self.env.cx.info.num_imported_tags;
        for handler in handlers {
            match handler.tag {
                None if matches!(handler.place, HandlerPlace::Relay(_)) => return None,
                None => return Some(*handler),
                Some(caught) if caught == tag => return Some(*handler),
                Some(caught) if is_imported(caught) && is_imported(tag) => return None,
                Some(_) => {}
            }
        }
        None
    }

    pub(super) fn throw_ref(&mut self) -> Result<()> {
        let exn = self.stack.pop();
        self.rethrow_exn(exn)
    }

    /// Throws the exception `exn`, or traps if it is null.
    pub(super) fn rethrow_exn(&mut self, exn: ir::Value) -> Result<()> {
        let handlers = self.handlers()?;
        self.throw_exn(exn, &handlers, None);
        Ok(())
    }

    /// Throws an exception to these handlers. If a relay does it, it gives its number.
    fn throw_exn(&mut self, exn: ir::Value, handlers: &[Handler], relay: Option<u32>) {
        let callee = self.env.host_call(self.builder.func, HostCall::THROW);
        let args = [self.env.vmctx, exn];
        if handlers.is_empty() {
            self.builder.ins().call(callee, &args);
        } else {
            let returned = self.builder.create_block();
            self.builder.set_cold_block(returned);
            self.emit_try_call(Callee::Direct(callee), &args, returned, handlers, relay);
        }
        // The call does not return.
        self.unreachable();
    }
}
