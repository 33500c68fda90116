//! Constants, arithmetic, comparisons, conversions.
//!
//! Cranelift's integer division and float-to-integer conversions trap by themselves, with
//! Cranelift's trap codes, which the driver knows. Its float minimum, maximum and rounding behave
//! as in WebAssembly, and its shift counts wrap.

use crate::compile::translate::Translator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData};
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Emits `op` if it is an operator on numbers. Returns whether it is.
    pub(super) fn numeric(&mut self, op: &Operator<'_>) -> bool {
        use Operator::*;
        /// `method(a)`, `method(a, b)`, or `method(type, a)`.
        macro_rules! emit {
            (unary $method:ident) => {{
                let a = self.stack.pop();
                self.builder.ins().$method(a)
            }};
            (binary $method:ident) => {{
                let (a, b) = self.stack.pop2();
                self.builder.ins().$method(a, b)
            }};
            (convert $method:ident $ty:ident) => {{
                let a = self.stack.pop();
                self.builder.ins().$method($ty, a)
            }};
        }
        let value = match op {
            I32Const { value } => self.builder.ins().iconst(I32, i64::from(value.cast_unsigned())),
            I64Const { value } => self.builder.ins().iconst(I64, *value),
            F32Const { value } => self.builder.ins().f32const(Ieee32::with_bits(value.bits())),
            F64Const { value } => self.builder.ins().f64const(Ieee64::with_bits(value.bits())),

            I32Eqz | I64Eqz => {
                let a = self.stack.pop();
                let is_zero = self.builder.ins().icmp_imm_u(IntCC::Equal, a, 0);
                self.builder.ins().uextend(I32, is_zero)
            }
            I32Eq | I64Eq => self.icmp(IntCC::Equal),
            I32Ne | I64Ne => self.icmp(IntCC::NotEqual),
            I32LtS | I64LtS => self.icmp(IntCC::SignedLessThan),
            I32LtU | I64LtU => self.icmp(IntCC::UnsignedLessThan),
            I32GtS | I64GtS => self.icmp(IntCC::SignedGreaterThan),
            I32GtU | I64GtU => self.icmp(IntCC::UnsignedGreaterThan),
            I32LeS | I64LeS => self.icmp(IntCC::SignedLessThanOrEqual),
            I32LeU | I64LeU => self.icmp(IntCC::UnsignedLessThanOrEqual),
            I32GeS | I64GeS => self.icmp(IntCC::SignedGreaterThanOrEqual),
            I32GeU | I64GeU => self.icmp(IntCC::UnsignedGreaterThanOrEqual),
            F32Eq | F64Eq => self.fcmp(FloatCC::Equal),
            F32Ne | F64Ne => self.fcmp(FloatCC::NotEqual),
            F32Lt | F64Lt => self.fcmp(FloatCC::LessThan),
            F32Gt | F64Gt => self.fcmp(FloatCC::GreaterThan),
            F32Le | F64Le => self.fcmp(FloatCC::LessThanOrEqual),
            F32Ge | F64Ge => self.fcmp(FloatCC::GreaterThanOrEqual),

            I32Clz | I64Clz => emit!(unary clz),
            I32Ctz | I64Ctz => emit!(unary ctz),
            I32Popcnt | I64Popcnt => emit!(unary popcnt),
            I32Add | I64Add => emit!(binary iadd),
            I32Sub | I64Sub => emit!(binary isub),
            I32Mul | I64Mul => emit!(binary imul),
            I32DivS | I64DivS => emit!(binary sdiv),
            I32DivU | I64DivU => emit!(binary udiv),
            I32RemS | I64RemS => emit!(binary srem),
            I32RemU | I64RemU => emit!(binary urem),
            I32And | I64And => emit!(binary band),
            I32Or | I64Or => emit!(binary bor),
            I32Xor | I64Xor => emit!(binary bxor),
            I32Shl | I64Shl => emit!(binary ishl),
            I32ShrS | I64ShrS => emit!(binary sshr),
            I32ShrU | I64ShrU => emit!(binary ushr),
            I32Rotl | I64Rotl => emit!(binary rotl),
            I32Rotr | I64Rotr => emit!(binary rotr),

            F32Abs | F64Abs => emit!(unary fabs),
            F32Neg | F64Neg => emit!(unary fneg),
            F32Ceil | F64Ceil => emit!(unary ceil),
            F32Floor | F64Floor => emit!(unary floor),
            F32Trunc | F64Trunc => emit!(unary trunc),
            F32Nearest | F64Nearest => emit!(unary nearest),
            F32Sqrt | F64Sqrt => emit!(unary sqrt),
            F32Add | F64Add => emit!(binary fadd),
            F32Sub | F64Sub => emit!(binary fsub),
            F32Mul | F64Mul => emit!(binary fmul),
            F32Div | F64Div => emit!(binary fdiv),
            F32Min | F64Min => emit!(binary fmin),
            F32Max | F64Max => emit!(binary fmax),
            F32Copysign | F64Copysign => emit!(binary fcopysign),

            I32WrapI64 => emit!(convert ireduce I32),
            I64ExtendI32S => emit!(convert sextend I64),
            I64ExtendI32U => emit!(convert uextend I64),
            I32Extend8S => self.sign_extend(I8, I32),
            I32Extend16S => self.sign_extend(I16, I32),
            I64Extend8S => self.sign_extend(I8, I64),
            I64Extend16S => self.sign_extend(I16, I64),
            I64Extend32S => self.sign_extend(I32, I64),

            I32TruncF32S | I32TruncF64S => emit!(convert fcvt_to_sint I32),
            I32TruncF32U | I32TruncF64U => emit!(convert fcvt_to_uint I32),
            I64TruncF32S | I64TruncF64S => emit!(convert fcvt_to_sint I64),
            I64TruncF32U | I64TruncF64U => emit!(convert fcvt_to_uint I64),
            I32TruncSatF32S | I32TruncSatF64S => emit!(convert fcvt_to_sint_sat I32),
            I32TruncSatF32U | I32TruncSatF64U => emit!(convert fcvt_to_uint_sat I32),
            I64TruncSatF32S | I64TruncSatF64S => emit!(convert fcvt_to_sint_sat I64),
            I64TruncSatF32U | I64TruncSatF64U => emit!(convert fcvt_to_uint_sat I64),

            F32ConvertI32S | F32ConvertI64S => emit!(convert fcvt_from_sint F32),
            F32ConvertI32U | F32ConvertI64U => emit!(convert fcvt_from_uint F32),
            F64ConvertI32S | F64ConvertI64S => emit!(convert fcvt_from_sint F64),
            F64ConvertI32U | F64ConvertI64U => emit!(convert fcvt_from_uint F64),
            F32DemoteF64 => emit!(convert fdemote F32),
            F64PromoteF32 => emit!(convert fpromote F64),

            I32ReinterpretF32 => self.reinterpret(I32),
            I64ReinterpretF64 => self.reinterpret(I64),
            F32ReinterpretI32 => self.reinterpret(F32),
            F64ReinterpretI64 => self.reinterpret(F64),

            _ => return false,
        };
        self.stack.push(value);
        true
    }

    fn icmp(&mut self, condition: IntCC) -> ir::Value {
        let (a, b) = self.stack.pop2();
        let holds = self.builder.ins().icmp(condition, a, b);
        self.builder.ins().uextend(I32, holds)
    }

    fn fcmp(&mut self, condition: FloatCC) -> ir::Value {
        let (a, b) = self.stack.pop2();
        let holds = self.builder.ins().fcmp(condition, a, b);
        self.builder.ins().uextend(I32, holds)
    }

    fn sign_extend(&mut self, from: ir::Type, to: ir::Type) -> ir::Value {
        let a = self.stack.pop();
        let low = self.builder.ins().ireduce(from, a);
        self.builder.ins().sextend(to, low)
    }

    fn reinterpret(&mut self, to: ir::Type) -> ir::Value {
        let a = self.stack.pop();
        self.builder.ins().bitcast(to, MemFlagsData::new(), a)
    }
}
