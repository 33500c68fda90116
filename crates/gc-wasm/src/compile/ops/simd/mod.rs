//! Vectors (`v128`): SIMD and relaxed SIMD.
//!
//! Everywhere else (operands, locals, block parameters, calls, globals, fields) a vector has the
//! CLIF type [`V128`]. An instruction on other lanes casts its operands to the type of its lanes,
//! and its result back. A cast between vector types is no machine instruction, and
//! [`lanes`](Translator::lanes) leaves out the casts between two instructions on the same lanes.
//!
//! Relaxed instructions have the results of the deterministic profile of WebAssembly, which are the
//! same on all machines.

mod arithmetic;
mod bits;
mod convert;
mod lanes;
mod memory;
mod relaxed;

use crate::compile::signature::V128;
use crate::compile::translate::Translator;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{self, Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode};
use wasmparser::Operator;

/// Emits `$op` if it is in the table, and returns whether it is. A line of the table has the shape
/// of the operators, the CLIF instruction, and each operator with the type of its lanes.
macro_rules! table {
    ($t:ident $op:ident $($shape:ident $method:ident: $($variant:ident $ty:ident),+;)+) => {
        match $op {
            $($(Operator::$variant => {
                let value = $crate::compile::ops::simd::table!(@$shape $t $method $ty);
                $t.push_lanes(value);
            })+)+
            _ => return false,
        }
        true
    };
    (@unary $t:ident $method:ident $ty:ident) => {{
        let a = $t.pop_lanes($ty);
        $t.builder.ins().$method(a)
    }};
    (@binary $t:ident $method:ident $ty:ident) => {{
        let (a, b) = $t.pop2_lanes($ty);
        $t.builder.ins().$method(a, b)
    }};
    (@integers_where $t:ident $condition:ident $ty:ident) => {{
        let (a, b) = $t.pop2_lanes($ty);
        $t.builder.ins().icmp(IntCC::$condition, a, b)
    }};
    (@floats_where $t:ident $condition:ident $ty:ident) => {{
        let (a, b) = $t.pop2_lanes($ty);
        $t.builder.ins().fcmp(FloatCC::$condition, a, b)
    }};
    // The instruction itself converts to lanes of another type.
    (@convert $t:ident $method:ident $ty:ident) => {{
        let a = $t.pop_lanes($ty);
        $t.$method(a)
    }};
    (@custom $t:ident $method:ident $ty:ident) => {
        $t.$method($ty)
    };
}
use table;

impl Translator<'_, '_> {
    /// Emits `op` if it is an operator on vectors. Returns whether it is.
    pub(super) fn simd(&mut self, op: &Operator<'_>) -> bool {
        self.simd_memory(op)
            || self.simd_lanes(op)
            || self.simd_bits(op)
            || self.simd_arithmetic(op)
            || self.simd_convert(op)
            || self.simd_relaxed(op)
    }

    /// `vector` as a vector of type `ty`.
    fn lanes(&mut self, ty: ir::Type, vector: ir::Value) -> ir::Value {
        let dfg = &self.builder.func.dfg;
        if dfg.value_type(vector) == ty {
            return vector;
        }
        // The former instruction's cast back.
        if let Some(inst) = dfg.value_def(vector).inst()
            && let InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, arg, .. } =
                dfg.insts[inst]
            && dfg.value_type(arg) == ty
        {
            return arg;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.builder.ins().bitcast(ty, flags, vector)
    }

    fn pop_lanes(&mut self, ty: ir::Type) -> ir::Value {
        let vector = self.stack.pop();
        self.lanes(ty, vector)
    }

    fn pop2_lanes(&mut self, ty: ir::Type) -> (ir::Value, ir::Value) {
        let (a, b) = self.stack.pop2();
        (self.lanes(ty, a), self.lanes(ty, b))
    }

    fn pop3_lanes(&mut self, ty: ir::Type) -> (ir::Value, ir::Value, ir::Value) {
        let (a, b, c) = self.stack.pop3();
        (self.lanes(ty, a), self.lanes(ty, b), self.lanes(ty, c))
    }

    fn push_lanes(&mut self, vector: ir::Value) {
        let vector = self.lanes(V128, vector);
        self.stack.push(vector);
    }

    /// Pushes the truth value `holds` (`I8`).
    fn push_bool(&mut self, holds: ir::Value) {
        let value = self.builder.ins().uextend(I32, holds);
        self.stack.push(value);
    }
}
