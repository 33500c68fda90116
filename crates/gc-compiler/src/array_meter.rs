//! How operations on many elements are metered.
//!
//! Such an operation consumes fuel for each element. It does so when it is certain that it does not
//! trap, so what is refused costs nothing. Code that does a small operation itself adds the cost and
//! needs no check. Longer ones are done by the host, which consumes the fuel and checks before each
//! part. Where the line is does not depend on the collector, and so neither does the place where the
//! fuel is used up.

use crate::{GcEmitter, Meter};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder};
use gc_types::{ArrayLayout, HostCall};

/// The meter of an operation, and the cost of each element. By default nothing is metered.
#[derive(Default)]
pub(crate) struct MeteredElements<'a>(Option<(&'a mut Meter, u32)>);

impl<'a> MeteredElements<'a> {
    pub(crate) fn new(meter: &'a mut Meter, per_element: u32) -> MeteredElements<'a> {
        MeteredElements(meter.is_on().then_some((meter, per_element)))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Adds what was consumed before, because control forks.
    pub(crate) fn commit(&mut self, e: &mut GcEmitter<'_, '_>) {
        if let Some((meter, _)) = &mut self.0 {
            meter.commit(e);
        }
    }

    /// Consumes the fuel for a small operation, before control joins.
    pub(crate) fn consume(&mut self, e: &mut GcEmitter<'_, '_>, length: ir::Value) {
        if let Some((meter, per_element)) = &mut self.0 {
            meter.consume_many(e, length, *per_element);
            meter.commit(e);
        }
    }

    /// Consumes the fuel for an operation that is done, and checks if it was not small.
    pub(crate) fn consume_done(
        &mut self,
        e: &mut GcEmitter<'_, '_>,
        layout: &ArrayLayout,
        length: ir::Value,
    ) {
        let Some((meter, per_element)) = &mut self.0 else { return };
        meter.consume_many(e, length, *per_element);
        let most = most(layout);
        if e.constant(length).is_none_or(|length| length as u32 > most) {
            let is_more = is_more(e, layout, length);
            meter.check_if(e, is_more);
        }
    }

    /// Emits a host call that consumes the fuel.
    pub(crate) fn call_host(
        &mut self,
        e: &mut GcEmitter<'_, '_>,
        call: HostCall,
        args: &[ir::Value],
    ) {
        if let Some((meter, _)) = &mut self.0 {
            meter.flush(e);
        }
        e.call_host(call, args);
        if let Some((meter, _)) = &mut self.0 {
            meter.reload(e);
        }
    }
}

/// The most elements of a small operation.
fn most(layout: &ArrayLayout) -> u32 {
    HostCall::SMALL_WORK / layout.element.size()
}

/// Whether an operation on so many elements is not small.
pub(crate) fn is_more(
    e: &mut GcEmitter<'_, '_>,
    layout: &ArrayLayout,
    length: ir::Value,
) -> ir::Value {
    let most = i64::from(most(layout));
    e.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, length, most)
}
