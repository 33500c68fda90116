//! Constants, and instructions that move lanes: `splat`, `extract_lane`, `replace_lane`, `shuffle`
//! and `swizzle`.
//!
//! Lanes of 8 and 16 bits are read and written as `i32`.

use crate::compile::signature::V128;
use crate::compile::translate::Translator;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{self, InstBuilder};
use gc_compiler::Extend;
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Emits `op` if it is a constant or moves lanes. Returns whether it is.
    pub(super) fn simd_lanes(&mut self, op: &Operator<'_>) -> bool {
        use Operator::*;
        match op {
            V128Const { value } => {
                let value = self.vector(V128, *value.bytes());
                self.stack.push(value);
            }
            I8x16Splat => self.splat(I8X16),
            I16x8Splat => self.splat(I16X8),
            I32x4Splat => self.splat(I32X4),
            I64x2Splat => self.splat(I64X2),
            F32x4Splat => self.splat(F32X4),
            F64x2Splat => self.splat(F64X2),

            I8x16ExtractLaneS { lane } => self.extract(I8X16, *lane, Some(Extend::Signed)),
            I8x16ExtractLaneU { lane } => self.extract(I8X16, *lane, Some(Extend::Unsigned)),
            I16x8ExtractLaneS { lane } => self.extract(I16X8, *lane, Some(Extend::Signed)),
            I16x8ExtractLaneU { lane } => self.extract(I16X8, *lane, Some(Extend::Unsigned)),
            I32x4ExtractLane { lane } => self.extract(I32X4, *lane, None),
            I64x2ExtractLane { lane } => self.extract(I64X2, *lane, None),
            F32x4ExtractLane { lane } => self.extract(F32X4, *lane, None),
            F64x2ExtractLane { lane } => self.extract(F64X2, *lane, None),

            I8x16ReplaceLane { lane } => self.replace(I8X16, *lane),
            I16x8ReplaceLane { lane } => self.replace(I16X8, *lane),
            I32x4ReplaceLane { lane } => self.replace(I32X4, *lane),
            I64x2ReplaceLane { lane } => self.replace(I64X2, *lane),
            F32x4ReplaceLane { lane } => self.replace(F32X4, *lane),
            F64x2ReplaceLane { lane } => self.replace(F64X2, *lane),

            I8x16Shuffle { lanes } => {
                let (a, b) = self.pop2_lanes(I8X16);
                let lanes = self.builder.func.dfg.immediates.push(lanes.as_slice().into());
                let vector = self.builder.ins().shuffle(a, b, lanes);
                self.push_lanes(vector);
            }
            I8x16Swizzle => self.swizzle(),
            _ => return false,
        }
        true
    }

    pub(super) fn swizzle(&mut self) {
        let (a, indices) = self.pop2_lanes(I8X16);
        let vector = self.builder.ins().swizzle(a, indices);
        self.push_lanes(vector);
    }

    /// Pops the value of a lane of a vector of type `ty`.
    fn pop_lane(&mut self, ty: ir::Type) -> ir::Value {
        let value = self.stack.pop();
        match ty {
            I8X16 | I16X8 => self.builder.ins().ireduce(ty.lane_type(), value),
            _ => value,
        }
    }

    fn splat(&mut self, ty: ir::Type) {
        let lane = self.pop_lane(ty);
        let vector = self.builder.ins().splat(ty, lane);
        self.push_lanes(vector);
    }

    fn extract(&mut self, ty: ir::Type, lane: u8, extend: Option<Extend>) {
        let vector = self.pop_lanes(ty);
        let value = self.builder.ins().extractlane(vector, lane);
        let value = match extend {
            Some(Extend::Signed) => self.builder.ins().sextend(I32, value),
            Some(Extend::Unsigned) => self.builder.ins().uextend(I32, value),
            None => value,
        };
        self.stack.push(value);
    }

    fn replace(&mut self, ty: ir::Type, lane: u8) {
        let value = self.pop_lane(ty);
        let vector = self.pop_lanes(ty);
        let vector = self.builder.ins().insertlane(vector, value, lane);
        self.push_lanes(vector);
    }
}
