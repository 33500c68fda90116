//! What the parts of long host calls cost, and what ends them: fuel that is used up, and the deadline of
//! the epoch. ([`gc_jit::Work`] divides them into parts, and lets an interrupt end them.)

use super::StoreOpaque;
use super::epoch::DeadlineReached;
use crate::host_calls;
use anyhow::Result;
use gc_jit::{InterruptHandle, Part};
use gc_types::HostCall;
use std::sync::atomic::Ordering;

impl StoreOpaque {
    /// Consumes the fuel for a part of a host call. Unless the call is small, also checks the fuel and
    /// the epoch, as code does in a loop. A call begins only if there is enough fuel for all of it.
    ///
    /// # Errors
    /// [`Trap::OutOfFuel`], or what ends code at the deadline.
    pub(super) fn begin_part(&mut self, part: &Part) -> Result<()> {
        if self.engine().config().metering.fuel {
            let per_unit = self.cost_per_unit(part.call);
            let cost = part.units.saturating_mul(per_unit);
            if part.is_small {
                self.consume_fuel(cost);
            } else {
                if self.fuel_left() <= part.left.saturating_mul(per_unit) {
                    self.consume_fuel(u64::MAX);
                }
                self.consume_fuel(cost);
                if self.jit.fuel_word() >= 0 {
                    self.refuel()?;
                }
            }
        }
        if !part.is_small && self.is_deadline_reached() {
            self.reach_deadline()?;
        }
        Ok(())
    }

    /// Consumes the fuel for `units` parts of a host call that is done.
    ///
    /// # Errors
    /// [`Trap::OutOfFuel`] if they are many and there was less.
    pub(crate) fn consume_done(&mut self, call: HostCall, units: u64) -> Result<()> {
        if !self.engine().config().metering.fuel {
            return Ok(());
        }
        self.consume_host_work(units.saturating_mul(self.cost_per_unit(call)))
    }

    /// Whether code must end at once: it is interrupted, or its deadline is reached, and it traps then.
    /// Work that cannot wait for a callback asks from time to time.
    pub(super) fn must_end(&self) -> impl Fn() -> bool + use<> {
        let handle = self.jit.interrupt_handle();
        let traps = matches!(self.deadline_reached, DeadlineReached::Trap);
        let has_epochs = traps && self.engine().config().metering.epochs;
        let epoch = has_epochs.then(|| (self.engine().epoch().clone(), self.jit.epoch_deadline()));
        move || {
            handle.as_ref().is_some_and(InterruptHandle::is_interrupted)
                || epoch.as_ref().is_some_and(|(epoch, end)| epoch.load(Ordering::Relaxed) >= *end)
        }
    }

    fn is_deadline_reached(&self) -> bool {
        let engine = self.engine();
        engine.config().metering.epochs
            && engine.epoch().load(Ordering::Relaxed) >= self.jit.epoch_deadline()
    }

    /// What a host call costs for each byte, element or page.
    fn cost_per_unit(&self, call: HostCall) -> u64 {
        let costs = self.engine().config().metering.operator_cost.variable();
        let cost = match call {
            HostCall::ARRAY_COPY => costs.array_copy_per_element,
            HostCall::ARRAY_FILL => costs.array_fill_per_element,
            HostCall::ALLOC_ARRAY => costs.array_new_per_element,
            host_calls::MEMORY_FILL => costs.memory_fill_per_byte,
            host_calls::MEMORY_COPY => costs.memory_copy_per_byte,
            host_calls::MEMORY_INIT => costs.memory_init_per_byte,
            host_calls::MEMORY_GROW => costs.memory_grow_per_page,
            host_calls::TABLE_FILL_REF | host_calls::TABLE_FILL_FUNC => {
                costs.table_fill_per_element
            }
            host_calls::TABLE_COPY => costs.table_copy_per_element,
            host_calls::TABLE_INIT => costs.table_init_per_element,
            host_calls::TABLE_GROW_REF | host_calls::TABLE_GROW_FUNC => {
                costs.table_grow_per_element
            }
            host_calls::ARRAY_NEW_DATA => costs.array_new_data_per_element,
            host_calls::ARRAY_NEW_ELEM => costs.array_new_elem_per_element,
            host_calls::ARRAY_INIT_DATA => costs.array_init_data_per_element,
            host_calls::ARRAY_INIT_ELEM => costs.array_init_elem_per_element,
            _ => 0,
        };
        cost.into()
    }
}
