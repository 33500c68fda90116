//! What each operator costs, and where the [`Meter`] of a function is asked to do something.
//!
//! The costs are Wasmtime's defaults, unless the engine has others
//! ([`Config::operator_cost`](crate::Config::operator_cost)). The fuel is written to the store where
//! Wasmtime writes it: before calls, throws, returns and `unreachable`, and also before host calls that
//! work on many bytes or elements. Other operators that trap do not write it. The fuel after such a
//! trap is what it was at the function's last call, under every collector.

use super::translate::Translator;
use crate::host_calls;
use cranelift_codegen::ir;
use gc_compiler::{GcEmitter, Meter, MeterCalls};
use gc_types::{Abi, HostCall};
use wasmparser::Operator;
use wasmtime_types::{OperatorCostStrategy, VariableOperatorCost};

/// The cost of the call of a function, apart from the caller's operator.
const FUNCTION: u32 = 1;

/// The meter of a function.
pub(super) fn meter(abi: &Abi) -> Meter {
    let (out_of_fuel, new_epoch) = (host_calls::OUT_OF_FUEL, host_calls::NEW_EPOCH);
    Meter::new(abi, MeterCalls { out_of_fuel, new_epoch })
}

/// The fuel that an operator consumes, apart from the cost of each part of an operator on many.
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

/// For operators on many elements of an array, which may be done by compiled code: the fuel for each
/// element. Of the others that work on many parts, the host [knows](crate::store::work) the cost.
fn cost_per_element(costs: &VariableOperatorCost, op: &Operator<'_>) -> u32 {
    use Operator::*;
    let cost = match op {
        ArrayNew { .. } => costs.array_new_per_element,
        ArrayNewDefault { .. } => costs.array_new_default_per_element,
        ArrayNewData { .. } => costs.array_new_data_per_element,
        ArrayFill { .. } => costs.array_fill_per_element,
        ArrayCopy { .. } => costs.array_copy_per_element,
        _ => 0,
    };
    cost.into()
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
        self.per_part = cost_per_element(costs.variable(), op);
        self.meter.consume(cost(costs, op));
        match before(op) {
            Before::Flush => self.metered(Meter::flush),
            Before::Commit => self.metered(Meter::commit),
            Before::Nothing => {}
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

    /// Calls the host, which consumes the fuel for an operation on many parts.
    pub(super) fn call_metered(&mut self, call: HostCall, args: &[ir::Value]) {
        self.metered(Meter::flush);
        self.emitter().call_host(call, args);
        self.metered(Meter::reload);
    }

    fn metered(&mut self, emit: impl FnOnce(&mut Meter, &mut GcEmitter<'_, '_>)) {
        if self.meter.is_on() {
            let gc = self.env.cx.gc;
            emit(&mut self.meter, &mut GcEmitter::new(&mut self.builder, &mut self.env, gc));
        }
    }
}
