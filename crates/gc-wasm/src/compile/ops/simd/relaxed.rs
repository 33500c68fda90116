//! Relaxed instructions, with the results of the deterministic profile.
//!
//! Where the proposal leaves a choice, each machine gives the result that follows from the
//! instruction's own definition: multiplications and additions are fused, minima and maxima handle
//! NaN and zeros as the strict ones, lanes are selected bit by bit, and both operands of dot
//! products are signed. The products are exact, as are the sums in lanes of 32 bits. The relaxed
//! truncations are beside the strict ones.

use super::table;
use crate::compile::signature::V128;
use crate::compile::translate::Translator;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16X8, I32X4};
use cranelift_codegen::ir::{self, InstBuilder};
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Emits `op` if it is one of these instructions. Returns whether it is.
    pub(super) fn simd_relaxed(&mut self, op: &Operator<'_>) -> bool {
        if let Operator::I8x16RelaxedSwizzle = op {
            self.swizzle();
            return true;
        }
        table! { self op
            custom madd: F32x4RelaxedMadd F32X4, F64x2RelaxedMadd F64X2;
            custom nmadd: F32x4RelaxedNmadd F32X4, F64x2RelaxedNmadd F64X2;
            binary fmin: F32x4RelaxedMin F32X4, F64x2RelaxedMin F64X2;
            binary fmax: F32x4RelaxedMax F32X4, F64x2RelaxedMax F64X2;
            custom bitselect:
                I8x16RelaxedLaneselect V128, I16x8RelaxedLaneselect V128,
                I32x4RelaxedLaneselect V128, I64x2RelaxedLaneselect V128;
            binary sqmul_round_sat: I16x8RelaxedQ15mulrS I16X8;
            custom dot: I16x8RelaxedDotI8x16I7x16S I8X16;
            custom dot_add: I32x4RelaxedDotI8x16I7x16AddS I8X16;
        }
    }

    fn madd(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b, c) = self.pop3_lanes(ty);
        self.builder.ins().fma(a, b, c)
    }

    fn nmadd(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b, c) = self.pop3_lanes(ty);
        let a = self.builder.ins().fneg(a);
        self.builder.ins().fma(a, b, c)
    }

    /// The sums of the products of four adjacent lanes, added to lanes of 32 bits.
    fn dot_add(&mut self, ty: ir::Type) -> ir::Value {
        let sum = self.pop_lanes(I32X4);
        let (a, b) = self.pop2_lanes(ty);
        let (low, high) = self.products(a, b);
        let [low, high] = [low, high].map(|products| {
            let first = self.builder.ins().swiden_low(products);
            let second = self.builder.ins().swiden_high(products);
            self.builder.ins().iadd_pairwise(first, second)
        });
        let dot = self.builder.ins().iadd_pairwise(low, high);
        self.builder.ins().iadd(dot, sum)
    }
}
