//! The fuel that instantiation consumes, if code consumes fuel.
//!
//! Instantiation computes constant expressions and copies segments. This is work of the host, but the
//! module chooses how much, so it consumes fuel: one unit to begin, one for each instruction of a
//! constant expression, and one for each element or byte that is copied, and for each element of an
//! array. What an engine could do before anything runs consumes nothing: globals with constant
//! values, tables of null, and segments of functions or bytes that are copied to a constant place in
//! a table or memory of the module. A module with nothing else consumes nothing. The call of the
//! start function consumes a unit like any other call. (The numbers are those of Wasmtime, where a
//! compiled function does this.)

use crate::module::info::{ElementItems, ElementMode, ModuleInfo};
use crate::store::StoreOpaque;
use anyhow::Result;
use wasmtime_types::{ConstExpr, ConstOp};

/// Work of this cost is not worth a check of its own.
const FEW: u64 = 128;

impl StoreOpaque {
    /// Consumes the fuel of an instantiation, except that of arrays and of the start function.
    ///
    /// # Errors
    /// If the fuel is used up.
    pub(super) fn consume_startup_fuel(&mut self, info: &ModuleInfo) -> Result<()> {
        if !self.engine().config().metering.fuel {
            return Ok(());
        }
        if let Some(units) = startup(info) {
            self.consume_fuel(1);
            self.check_fuel()?;
            self.consume_host_work(units)?;
        }
        Ok(())
    }

    /// Consumes fuel for work of the host on `units` parts.
    ///
    /// # Errors
    /// If they are many and the fuel is used up.
    pub(crate) fn consume_host_work(&mut self, units: u64) -> Result<()> {
        self.consume_fuel(units);
        if units > FEW { self.check_fuel() } else { Ok(()) }
    }
}

/// The cost of an instantiation, without the unit to begin. `None` if there is nothing to do.
fn startup(info: &ModuleInfo) -> Option<u64> {
    let mut costs: Vec<u64> = Vec::new();
    costs.extend(info.global_inits.iter().filter(|init| !is_constant(init)).map(cost));
    for (i, init) in info.table_inits.iter().enumerate() {
        let table = &info.tables[info.num_imported_tables as usize + i];
        match init.as_ref() {
            None => {}
            Some(init) if matches!(init.ops(), [ConstOp::RefNull(_) | ConstOp::RefFunc(_)]) => {}
            Some(init) => costs.push(cost(init).saturating_add(table.limits.min)),
        }
    }
    for segment in &info.elements {
        let items: u64 = match &segment.items {
            ElementItems::Functions(_) => 0,
            ElementItems::Expressions(items) => items.iter().map(cost).sum(),
        };
        let len = segment.items.len() as u64;
        match &segment.mode {
            ElementMode::Declared => {}
            ElementMode::Passive => costs.push(items),
            ElementMode::Active(table, offset) => {
                let is_own = table.as_u32() >= info.num_imported_tables;
                let room = info.tables[table.as_u32() as usize].limits.min;
                let is_functions = matches!(segment.items, ElementItems::Functions(_));
                if !(is_own && is_functions && fits(offset, len, room)) {
                    costs.push(cost(offset) + items + len);
                }
            }
        }
    }
    for segment in &info.data {
        let Some((memory, offset)) = &segment.active else { continue };
        let memory_type = &info.memories[*memory as usize];
        let is_own = *memory >= info.num_imported_memories;
        let room = memory_type.limits.min.saturating_mul(1 << memory_type.page_size_log2);
        let len = segment.bytes.len() as u64;
        if !(is_own && fits(offset, len, room)) {
            costs.push(cost(offset) + len);
        }
    }
    let is_needed = !costs.is_empty() || info.start.is_some();
    is_needed.then(|| costs.into_iter().fold(0, u64::saturating_add))
}

/// One unit for each instruction.
fn cost(expr: &ConstExpr) -> u64 {
    expr.ops().len() as u64
}

/// Whether it is a number that is written there.
fn is_constant(expr: &ConstExpr) -> bool {
    use ConstOp::{F32Const, F64Const, I32Const, I64Const, V128Const};
    matches!(expr.ops(), [I32Const(_) | I64Const(_) | F32Const(_) | F64Const(_) | V128Const(_)])
}

/// Whether `len` parts at a constant `offset` fit into `room`.
fn fits(offset: &ConstExpr, len: u64, room: u64) -> bool {
    let offset = match offset.ops() {
        [ConstOp::I32Const(offset)] => u64::from(offset.cast_unsigned()),
        [ConstOp::I64Const(offset)] => offset.cast_unsigned(),
        _ => return false,
    };
    offset.checked_add(len).is_some_and(|end| end <= room)
}
