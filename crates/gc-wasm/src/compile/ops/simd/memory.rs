//! Loads and stores of vectors, of single lanes, and of lanes that are widened or repeated.

use crate::compile::signature::V128;
use crate::compile::translate::Translator;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Opcode};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::{MemArg, Operator};

impl Translator<'_, '_> {
    /// Emits `op` if it is a load or store of vectors. Returns whether it is.
    pub(super) fn simd_memory(&mut self, op: &Operator<'_>) -> bool {
        use Operator::*;
        match op {
            V128Load { memarg } => self.mem_load(memarg, Opcode::Load, V128, 16),
            V128Store { memarg } => self.mem_store(memarg, Opcode::Store, 16),

            V128Load8x8S { memarg } => self.load_wide(memarg, |i, f, a, o| i.sload8x8(f, a, o)),
            V128Load8x8U { memarg } => self.load_wide(memarg, |i, f, a, o| i.uload8x8(f, a, o)),
            V128Load16x4S { memarg } => self.load_wide(memarg, |i, f, a, o| i.sload16x4(f, a, o)),
            V128Load16x4U { memarg } => self.load_wide(memarg, |i, f, a, o| i.uload16x4(f, a, o)),
            V128Load32x2S { memarg } => self.load_wide(memarg, |i, f, a, o| i.sload32x2(f, a, o)),
            V128Load32x2U { memarg } => self.load_wide(memarg, |i, f, a, o| i.uload32x2(f, a, o)),

            V128Load8Splat { memarg } => self.load_splat(memarg, I8X16),
            V128Load16Splat { memarg } => self.load_splat(memarg, I16X8),
            V128Load32Splat { memarg } => self.load_splat(memarg, I32X4),
            V128Load64Splat { memarg } => self.load_splat(memarg, I64X2),
            V128Load32Zero { memarg } => self.load_zero(memarg, I32X4),
            V128Load64Zero { memarg } => self.load_zero(memarg, I64X2),

            V128Load8Lane { memarg, lane } => self.load_lane(memarg, I8X16, *lane),
            V128Load16Lane { memarg, lane } => self.load_lane(memarg, I16X8, *lane),
            V128Load32Lane { memarg, lane } => self.load_lane(memarg, I32X4, *lane),
            V128Load64Lane { memarg, lane } => self.load_lane(memarg, I64X2, *lane),
            V128Store8Lane { memarg, lane } => self.store_lane(memarg, I8X16, *lane),
            V128Store16Lane { memarg, lane } => self.store_lane(memarg, I16X8, *lane),
            V128Store32Lane { memarg, lane } => self.store_lane(memarg, I32X4, *lane),
            V128Store64Lane { memarg, lane } => self.store_lane(memarg, I64X2, *lane),
            _ => return false,
        }
        true
    }

    /// Loads eight bytes and widens each lane to twice its size.
    fn load_wide(
        &mut self,
        memarg: &MemArg,
        load: impl FnOnce(FuncInstBuilder<'_, '_>, MemFlagsData, ir::Value, i32) -> ir::Value,
    ) {
        let index = self.stack.pop();
        let (flags, address, offset) = self.mem_address(memarg, index, 8);
        let vector = load(self.builder.ins(), flags, address, offset);
        self.push_lanes(vector);
    }

    /// Loads one lane of a vector of type `ty`.
    fn load_one(&mut self, memarg: &MemArg, ty: ir::Type) -> ir::Value {
        let lane = ty.lane_type();
        self.mem_load(memarg, Opcode::Load, lane, lane.bytes().into());
        self.stack.pop()
    }

    fn load_splat(&mut self, memarg: &MemArg, ty: ir::Type) {
        let lane = self.load_one(memarg, ty);
        let vector = self.builder.ins().splat(ty, lane);
        self.push_lanes(vector);
    }

    /// Loads the first lane. The other lanes are zero.
    fn load_zero(&mut self, memarg: &MemArg, ty: ir::Type) {
        let lane = self.load_one(memarg, ty);
        let vector = self.builder.ins().scalar_to_vector(ty, lane);
        self.push_lanes(vector);
    }

    fn load_lane(&mut self, memarg: &MemArg, ty: ir::Type, lane: u8) {
        let vector = self.pop_lanes(ty);
        let value = self.load_one(memarg, ty);
        let vector = self.builder.ins().insertlane(vector, value, lane);
        self.push_lanes(vector);
    }

    fn store_lane(&mut self, memarg: &MemArg, ty: ir::Type, lane: u8) {
        let vector = self.pop_lanes(ty);
        let value = self.builder.ins().extractlane(vector, lane);
        self.stack.push(value);
        self.mem_store(memarg, Opcode::Store, ty.lane_type().bytes().into());
    }
}
