//! Arithmetic and comparisons, lane by lane.
//!
//! Cranelift's float minimum, maximum and rounding behave as in WebAssembly.

use super::table;
use crate::compile::translate::Translator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{self, InstBuilder};
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Emits `op` if it computes lanes from lanes of the same type, or compares them. Returns
    /// whether it does.
    pub(super) fn simd_arithmetic(&mut self, op: &Operator<'_>) -> bool {
        self.simd_integers(op) || self.simd_integer_comparison(op) || self.simd_floats(op)
    }

    fn simd_integers(&mut self, op: &Operator<'_>) -> bool {
        table! { self op
            unary ineg: I8x16Neg I8X16, I16x8Neg I16X8, I32x4Neg I32X4, I64x2Neg I64X2;
            unary iabs: I8x16Abs I8X16, I16x8Abs I16X8, I32x4Abs I32X4, I64x2Abs I64X2;
            unary popcnt: I8x16Popcnt I8X16;
            binary iadd: I8x16Add I8X16, I16x8Add I16X8, I32x4Add I32X4, I64x2Add I64X2;
            binary isub: I8x16Sub I8X16, I16x8Sub I16X8, I32x4Sub I32X4, I64x2Sub I64X2;
            binary imul: I16x8Mul I16X8, I32x4Mul I32X4, I64x2Mul I64X2;
            binary sadd_sat: I8x16AddSatS I8X16, I16x8AddSatS I16X8;
            binary uadd_sat: I8x16AddSatU I8X16, I16x8AddSatU I16X8;
            binary ssub_sat: I8x16SubSatS I8X16, I16x8SubSatS I16X8;
            binary usub_sat: I8x16SubSatU I8X16, I16x8SubSatU I16X8;
            binary smin: I8x16MinS I8X16, I16x8MinS I16X8, I32x4MinS I32X4;
            binary umin: I8x16MinU I8X16, I16x8MinU I16X8, I32x4MinU I32X4;
            binary smax: I8x16MaxS I8X16, I16x8MaxS I16X8, I32x4MaxS I32X4;
            binary umax: I8x16MaxU I8X16, I16x8MaxU I16X8, I32x4MaxU I32X4;
            binary avg_round: I8x16AvgrU I8X16, I16x8AvgrU I16X8;
            binary sqmul_round_sat: I16x8Q15MulrSatS I16X8;
        }
    }

    fn simd_integer_comparison(&mut self, op: &Operator<'_>) -> bool {
        table! { self op
            integers_where Equal: I8x16Eq I8X16, I16x8Eq I16X8, I32x4Eq I32X4, I64x2Eq I64X2;
            integers_where NotEqual: I8x16Ne I8X16, I16x8Ne I16X8, I32x4Ne I32X4, I64x2Ne I64X2;
            integers_where SignedLessThan:
                I8x16LtS I8X16, I16x8LtS I16X8, I32x4LtS I32X4, I64x2LtS I64X2;
            integers_where SignedGreaterThan:
                I8x16GtS I8X16, I16x8GtS I16X8, I32x4GtS I32X4, I64x2GtS I64X2;
            integers_where SignedLessThanOrEqual:
                I8x16LeS I8X16, I16x8LeS I16X8, I32x4LeS I32X4, I64x2LeS I64X2;
            integers_where SignedGreaterThanOrEqual:
                I8x16GeS I8X16, I16x8GeS I16X8, I32x4GeS I32X4, I64x2GeS I64X2;
            integers_where UnsignedLessThan: I8x16LtU I8X16, I16x8LtU I16X8, I32x4LtU I32X4;
            integers_where UnsignedGreaterThan: I8x16GtU I8X16, I16x8GtU I16X8, I32x4GtU I32X4;
            integers_where UnsignedLessThanOrEqual:
                I8x16LeU I8X16, I16x8LeU I16X8, I32x4LeU I32X4;
            integers_where UnsignedGreaterThanOrEqual:
                I8x16GeU I8X16, I16x8GeU I16X8, I32x4GeU I32X4;
        }
    }

    fn simd_floats(&mut self, op: &Operator<'_>) -> bool {
        table! { self op
            floats_where Equal: F32x4Eq F32X4, F64x2Eq F64X2;
            floats_where NotEqual: F32x4Ne F32X4, F64x2Ne F64X2;
            floats_where LessThan: F32x4Lt F32X4, F64x2Lt F64X2;
            floats_where GreaterThan: F32x4Gt F32X4, F64x2Gt F64X2;
            floats_where LessThanOrEqual: F32x4Le F32X4, F64x2Le F64X2;
            floats_where GreaterThanOrEqual: F32x4Ge F32X4, F64x2Ge F64X2;
            unary ceil: F32x4Ceil F32X4, F64x2Ceil F64X2;
            unary floor: F32x4Floor F32X4, F64x2Floor F64X2;
            unary trunc: F32x4Trunc F32X4, F64x2Trunc F64X2;
            unary nearest: F32x4Nearest F32X4, F64x2Nearest F64X2;
            unary fabs: F32x4Abs F32X4, F64x2Abs F64X2;
            unary fneg: F32x4Neg F32X4, F64x2Neg F64X2;
            unary sqrt: F32x4Sqrt F32X4, F64x2Sqrt F64X2;
            binary fadd: F32x4Add F32X4, F64x2Add F64X2;
            binary fsub: F32x4Sub F32X4, F64x2Sub F64X2;
            binary fmul: F32x4Mul F32X4, F64x2Mul F64X2;
            binary fdiv: F32x4Div F32X4, F64x2Div F64X2;
            binary fmin: F32x4Min F32X4, F64x2Min F64X2;
            binary fmax: F32x4Max F32X4, F64x2Max F64X2;
            custom pmin: F32x4PMin F32X4, F64x2PMin F64X2;
            custom pmax: F32x4PMax F32X4, F64x2PMax F64X2;
        }
    }

    /// The second operand where it is less than the first one. Cranelift makes one instruction of
    /// this form.
    fn pmin(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b) = self.pop2_lanes(ty);
        let less = self.builder.ins().fcmp(FloatCC::LessThan, b, a);
        let less = self.lanes(ty, less);
        self.builder.ins().bitselect(less, b, a)
    }

    /// The second operand where the first one is less. Cranelift makes one instruction of this
    /// form.
    fn pmax(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b) = self.pop2_lanes(ty);
        let less = self.builder.ins().fcmp(FloatCC::LessThan, a, b);
        let less = self.lanes(ty, less);
        self.builder.ins().bitselect(less, b, a)
    }
}
