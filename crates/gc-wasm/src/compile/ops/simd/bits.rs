//! Instructions on the bits of vectors, shifts of all lanes, and tests of all lanes.
//!
//! Cranelift's shift counts wrap at the width of a lane, as in WebAssembly.

use super::table;
use crate::compile::signature::V128;
use crate::compile::translate::Translator;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{self, InstBuilder};
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Emits `op` if it is one of these instructions. Returns whether it is.
    pub(super) fn simd_bits(&mut self, op: &Operator<'_>) -> bool {
        use Operator::*;
        match op {
            V128AnyTrue => {
                let a = self.pop_lanes(V128);
                let any = self.builder.ins().vany_true(a);
                self.push_bool(any);
            }
            I8x16AllTrue => self.all_true(I8X16),
            I16x8AllTrue => self.all_true(I16X8),
            I32x4AllTrue => self.all_true(I32X4),
            I64x2AllTrue => self.all_true(I64X2),
            I8x16Bitmask => self.bitmask(I8X16),
            I16x8Bitmask => self.bitmask(I16X8),
            I32x4Bitmask => self.bitmask(I32X4),
            I64x2Bitmask => self.bitmask(I64X2),
            _ => return self.simd_bits_of_lanes(op),
        }
        true
    }

    fn simd_bits_of_lanes(&mut self, op: &Operator<'_>) -> bool {
        table! { self op
            unary bnot: V128Not V128;
            binary band: V128And V128;
            binary band_not: V128AndNot V128;
            binary bor: V128Or V128;
            binary bxor: V128Xor V128;
            custom bitselect: V128Bitselect V128;
            custom shl: I8x16Shl I8X16, I16x8Shl I16X8, I32x4Shl I32X4, I64x2Shl I64X2;
            custom shr_s: I8x16ShrS I8X16, I16x8ShrS I16X8, I32x4ShrS I32X4, I64x2ShrS I64X2;
            custom shr_u: I8x16ShrU I8X16, I16x8ShrU I16X8, I32x4ShrU I32X4, I64x2ShrU I64X2;
        }
    }

    /// Takes each bit from the first operand if the third one has it, and otherwise from the
    /// second.
    pub(super) fn bitselect(&mut self, ty: ir::Type) -> ir::Value {
        let (a, b, mask) = self.pop3_lanes(ty);
        self.builder.ins().bitselect(mask, a, b)
    }

    fn shl(&mut self, ty: ir::Type) -> ir::Value {
        let count = self.stack.pop();
        let a = self.pop_lanes(ty);
        self.builder.ins().ishl(a, count)
    }

    fn shr_s(&mut self, ty: ir::Type) -> ir::Value {
        let count = self.stack.pop();
        let a = self.pop_lanes(ty);
        self.builder.ins().sshr(a, count)
    }

    fn shr_u(&mut self, ty: ir::Type) -> ir::Value {
        let count = self.stack.pop();
        let a = self.pop_lanes(ty);
        self.builder.ins().ushr(a, count)
    }

    fn all_true(&mut self, ty: ir::Type) {
        let a = self.pop_lanes(ty);
        let all = self.builder.ins().vall_true(a);
        self.push_bool(all);
    }

    /// The highest bits of the lanes, as an integer.
    fn bitmask(&mut self, ty: ir::Type) {
        let a = self.pop_lanes(ty);
        let bits = self.builder.ins().vhigh_bits(I32, a);
        self.stack.push(bits);
    }
}
