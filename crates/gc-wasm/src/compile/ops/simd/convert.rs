//! Instructions whose results have other lanes than their operands: conversions, narrowing,
//! widening, and sums and products in wider lanes.

use super::table;
use crate::compile::translate::Translator;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{self, InstBuilder};
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Emits `op` if it is one of these instructions. Returns whether it is.
    pub(super) fn simd_convert(&mut self, op: &Operator<'_>) -> bool {
        table! { self op
            binary snarrow: I8x16NarrowI16x8S I16X8, I16x8NarrowI32x4S I32X4;
            binary unarrow: I8x16NarrowI16x8U I16X8, I16x8NarrowI32x4U I32X4;
            unary swiden_low:
                I16x8ExtendLowI8x16S I8X16, I32x4ExtendLowI16x8S I16X8, I64x2ExtendLowI32x4S I32X4;
            unary swiden_high:
                I16x8ExtendHighI8x16S I8X16, I32x4ExtendHighI16x8S I16X8,
                I64x2ExtendHighI32x4S I32X4;
            unary uwiden_low:
                I16x8ExtendLowI8x16U I8X16, I32x4ExtendLowI16x8U I16X8, I64x2ExtendLowI32x4U I32X4;
            unary uwiden_high:
                I16x8ExtendHighI8x16U I8X16, I32x4ExtendHighI16x8U I16X8,
                I64x2ExtendHighI32x4U I32X4;

            custom mul_low_s:
                I16x8ExtMulLowI8x16S I8X16, I32x4ExtMulLowI16x8S I16X8, I64x2ExtMulLowI32x4S I32X4;
            custom mul_high_s:
                I16x8ExtMulHighI8x16S I8X16, I32x4ExtMulHighI16x8S I16X8,
                I64x2ExtMulHighI32x4S I32X4;
            custom mul_low_u:
                I16x8ExtMulLowI8x16U I8X16, I32x4ExtMulLowI16x8U I16X8, I64x2ExtMulLowI32x4U I32X4;
            custom mul_high_u:
                I16x8ExtMulHighI8x16U I8X16, I32x4ExtMulHighI16x8U I16X8,
                I64x2ExtMulHighI32x4U I32X4;
            custom add_pairs_s: I16x8ExtAddPairwiseI8x16S I8X16, I32x4ExtAddPairwiseI16x8S I16X8;
            custom add_pairs_u: I16x8ExtAddPairwiseI8x16U I8X16, I32x4ExtAddPairwiseI16x8U I16X8;
            custom dot: I32x4DotI16x8S I16X8;

            convert floats_s: F32x4ConvertI32x4S I32X4;
            convert floats_u: F32x4ConvertI32x4U I32X4;
            convert doubles_s: F64x2ConvertLowI32x4S I32X4;
            convert doubles_u: F64x2ConvertLowI32x4U I32X4;
            unary fvdemote: F32x4DemoteF64x2Zero F64X2;
            unary fvpromote_low: F64x2PromoteLowF32x4 F32X4;
            // The deterministic results of the relaxed truncations are those of the saturating ones.
            convert trunc_s: I32x4TruncSatF32x4S F32X4, I32x4RelaxedTruncF32x4S F32X4;
            convert trunc_u: I32x4TruncSatF32x4U F32X4, I32x4RelaxedTruncF32x4U F32X4;
            convert trunc_zero_s: I32x4TruncSatF64x2SZero F64X2, I32x4RelaxedTruncF64x2SZero F64X2;
            convert trunc_zero_u: I32x4TruncSatF64x2UZero F64X2, I32x4RelaxedTruncF64x2UZero F64X2;
        }
    }

    fn mul_low_s(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b) = self.pop2_lanes(ty);
        let a = self.builder.ins().swiden_low(a);
        let b = self.builder.ins().swiden_low(b);
        self.builder.ins().imul(a, b)
    }

    fn mul_high_s(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b) = self.pop2_lanes(ty);
        let a = self.builder.ins().swiden_high(a);
        let b = self.builder.ins().swiden_high(b);
        self.builder.ins().imul(a, b)
    }

    fn mul_low_u(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b) = self.pop2_lanes(ty);
        let a = self.builder.ins().uwiden_low(a);
        let b = self.builder.ins().uwiden_low(b);
        self.builder.ins().imul(a, b)
    }

    fn mul_high_u(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b) = self.pop2_lanes(ty);
        let a = self.builder.ins().uwiden_high(a);
        let b = self.builder.ins().uwiden_high(b);
        self.builder.ins().imul(a, b)
    }

    fn add_pairs_s(&mut self, ty: ir::Type) -> ir::Value {
        let a = self.pop_lanes(ty);
        let low = self.builder.ins().swiden_low(a);
        let high = self.builder.ins().swiden_high(a);
        self.builder.ins().iadd_pairwise(low, high)
    }

    fn add_pairs_u(&mut self, ty: ir::Type) -> ir::Value {
        let a = self.pop_lanes(ty);
        let low = self.builder.ins().uwiden_low(a);
        let high = self.builder.ins().uwiden_high(a);
        self.builder.ins().iadd_pairwise(low, high)
    }

    /// The products of signed lanes, in lanes of twice the width: those of the lower and of the
    /// upper halves.
    pub(super) fn products(&mut self, a: ir::Value, b: ir::Value) -> (ir::Value, ir::Value) {
        let (a_low, b_low) = (self.builder.ins().swiden_low(a), self.builder.ins().swiden_low(b));
        let low = self.builder.ins().imul(a_low, b_low);
        let (a_high, b_high) =
            (self.builder.ins().swiden_high(a), self.builder.ins().swiden_high(b));
        let high = self.builder.ins().imul(a_high, b_high);
        (low, high)
    }

    /// The sums of the products of two adjacent signed lanes.
    pub(super) fn dot(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b) = self.pop2_lanes(ty);
        let (low, high) = self.products(a, b);
        self.builder.ins().iadd_pairwise(low, high)
    }

    fn floats_s(&mut self, a: ir::Value) -> ir::Value {
        self.builder.ins().fcvt_from_sint(F32X4, a)
    }

    fn floats_u(&mut self, a: ir::Value) -> ir::Value {
        self.builder.ins().fcvt_from_uint(F32X4, a)
    }

    fn doubles_s(&mut self, a: ir::Value) -> ir::Value {
        let wide = self.builder.ins().swiden_low(a);
        self.builder.ins().fcvt_from_sint(F64X2, wide)
    }

    fn doubles_u(&mut self, a: ir::Value) -> ir::Value {
        let wide = self.builder.ins().uwiden_low(a);
        self.builder.ins().fcvt_from_uint(F64X2, wide)
    }

    fn trunc_s(&mut self, a: ir::Value) -> ir::Value {
        self.builder.ins().fcvt_to_sint_sat(I32X4, a)
    }

    fn trunc_u(&mut self, a: ir::Value) -> ir::Value {
        self.builder.ins().fcvt_to_uint_sat(I32X4, a)
    }

    fn trunc_zero_s(&mut self, a: ir::Value) -> ir::Value {
        let wide = self.builder.ins().fcvt_to_sint_sat(I64X2, a);
        let zero = self.vector(I64X2, [0; 16]);
        self.builder.ins().snarrow(wide, zero)
    }

    fn trunc_zero_u(&mut self, a: ir::Value) -> ir::Value {
        let wide = self.builder.ins().fcvt_to_uint_sat(I64X2, a);
        let zero = self.vector(I64X2, [0; 16]);
        self.builder.ins().uunarrow(wide, zero)
    }
}
