//! What each operator costs, and where the [`Meter`] of a function is asked to do something.
//!
//! The costs are Wasmtime's defaults, unless the engine has others
//! ([`Config::operator_cost`](crate::Config::operator_cost)). The fuel is written to the store where
//! Wasmtime writes it: before calls, throws, returns and `unreachable`. Other operators that trap do
//! not write it. The fuel after such a trap is what it was at the function's last call, under every
//! collector.

use super::translate::Translator;
use crate::host_calls;
use gc_compiler::{GcEmitter, Meter, MeterCalls};
use gc_types::Abi;
use wasmparser::Operator;
use wasmtime_types::{OperatorCostStrategy, VariableOperatorCost};

/// The cost of the call of a function, apart from the caller's operator.
const FUNCTION: u32 = 1;

/// The meter of a function.
pub(super) fn meter(abi: &Abi) -> Meter {
    let (out_of_fuel, new_epoch) = (host_calls::OUT_OF_FUEL, host_calls::NEW_EPOCH);
    Meter::new(abi, MeterCalls { out_of_fuel, new_epoch })
}

/// The fuel that an operator consumes, apart from the cost [per part](cost_per_part).
fn cost(costs: &OperatorCostStrategy, op: &Operator<'_>) -> u32 {
    if let OperatorCostStrategy::Table(costs) = costs {
        return u32::try_from(costs.cost(op)).unwrap_or(u32::MAX);
    }
    use Operator::*;
    match op {
        // They emit nothing.
        Nop | Drop => 0,
        // They structure the code. An `if` compares something.
        Block { .. } | Loop { .. } | Unreachable | Return | Else | End => 0,
        // In a legacy `try` these are like `else` and `end`.
        Catch { .. } | CatchAll | Delegate { .. } => 0,
        _ => 1,
    }
}

/// For operators whose uppermost operand says how much they do: the fuel for each part of it.
fn cost_per_part(costs: &VariableOperatorCost, op: &Operator<'_>) -> Option<u32> {
    use Operator::*;
    let cost = match op {
        MemoryFill { .. } => costs.memory_fill_per_byte,
        MemoryCopy { .. } => costs.memory_copy_per_byte,
        MemoryInit { .. } => costs.memory_init_per_byte,
        MemoryGrow { .. } => costs.memory_grow_per_page,
        TableFill { .. } => costs.table_fill_per_element,
        TableCopy { .. } => costs.table_copy_per_element,
        TableInit { .. } => costs.table_init_per_element,
        TableGrow { .. } => costs.table_grow_per_element,
        ArrayNew { .. } => costs.array_new_per_element,
        ArrayNewDefault { .. } => costs.array_new_default_per_element,
        ArrayNewData { .. } => costs.array_new_data_per_element,
        ArrayNewElem { .. } => costs.array_new_elem_per_element,
        ArrayFill { .. } => costs.array_fill_per_element,
        ArrayCopy { .. } => costs.array_copy_per_element,
        ArrayInitData { .. } => costs.array_init_data_per_element,
        ArrayInitElem { .. } => costs.array_init_elem_per_element,
        _ => return None,
    };
    Some(cost.into())
}

/// What the meter does before an operator.
enum Before {
    /// Control leaves the function, or may.
    Flush,
    /// Control forks or joins.
    Commit,
    Nothing,
}

fn before(op: &Operator<'_>) -> Before {
    use Operator::*;
    match op {
        Unreachable
        | Call { .. }
        | CallIndirect { .. }
        | CallRef { .. }
        | ReturnCall { .. }
        | ReturnCallIndirect { .. }
        | ReturnCallRef { .. }
        | Throw { .. }
        | ThrowRef
        | Rethrow { .. } => Before::Flush,
        // A return is also the end of the function, and a branch to its label. It is flushed where
        // the return is emitted.
        Return
        | Loop { .. }
        | If { .. }
        | Else
        | End
        | Catch { .. }
        | CatchAll
        | Delegate { .. }
        | Br { .. }
        | BrIf { .. }
        | BrTable { .. }
        | BrOnNull { .. }
        | BrOnNonNull { .. }
        | BrOnCast { .. }
        | BrOnCastFail { .. } => Before::Commit,
        _ => Before::Nothing,
    }
}

impl Translator<'_, '_> {
    /// Begins to meter the function, whose first operator is at this offset.
    pub(super) fn meter_entry(&mut self, offset: usize) {
        let location = self.env.cx.location(offset);
        self.metered(|meter, e| {
            e.builder.set_srcloc(location);
            meter.consume(FUNCTION);
            meter.enter(e);
        });
    }

    /// Meters a reachable operator, before it is emitted.
    pub(super) fn meter_operator(&mut self, op: &Operator<'_>) {
        if !self.meter.is_on() {
            return;
        }
        let costs = self.env.cx.operator_cost;
        let (cost, per_part) = (cost(costs, op), cost_per_part(costs.variable(), op));
        self.meter.consume(cost);
        match before(op) {
            Before::Flush => self.metered(Meter::flush),
            Before::Commit => self.metered(Meter::commit),
            Before::Nothing => {}
        }
        if let Some(per_part) = per_part {
            let parts = self.stack.peek_n(1)[0];
            self.metered(|meter, e| meter.consume_many(e, parts, per_part));
        }
    }

    /// Emits the check at the head of a loop.
    pub(super) fn meter_loop(&mut self) {
        self.metered(Meter::check);
    }

    /// Writes the fuel to the store, before a return or a certain trap.
    pub(super) fn meter_leave(&mut self) {
        self.metered(Meter::flush);
    }

    /// Reads the fuel from the store, where control comes back to the function.
    pub(super) fn meter_back(&mut self) {
        self.metered(Meter::reload);
    }

    fn metered(&mut self, emit: impl FnOnce(&mut Meter, &mut GcEmitter<'_, '_>)) {
        if self.meter.is_on() {
            let gc = self.env.cx.gc;
            emit(&mut self.meter, &mut GcEmitter::new(&mut self.builder, &mut self.env, gc));
        }
    }
}
