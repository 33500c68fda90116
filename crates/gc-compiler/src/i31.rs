//! `i31`: 31-bit integers that are stored in the reference itself, marked by the tag bit.

use crate::{GcEmitter, trap_code};
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_types::{I31, Trap};

impl GcEmitter<'_, '_> {
    /// The reference that carries the low 31 bits of `value` (`I32`). It is not a root, so it is
    /// not declared to need a stack map.
    pub fn ref_i31(&mut self, value: ir::Value) -> ir::Value {
        let shifted = self.builder.ins().ishl_imm_u(value, 1);
        let tagged = self.builder.ins().bor_imm_u(shifted, i64::from(I31::TAG));
        self.builder.ins().uextend(types::I64, tagged)
    }

    /// The sign-extended integer (`I32`) that `reference` carries. `reference` is an `i31` or null;
    /// null traps.
    pub fn i31_get_s(&mut self, reference: ir::Value) -> ir::Value {
        let word = self.i31_word(reference);
        self.builder.ins().sshr_imm_u(word, 1)
    }

    /// The zero-extended integer (`I32`) that `reference` carries. `reference` is an `i31` or null;
    /// null traps.
    pub fn i31_get_u(&mut self, reference: ir::Value) -> ir::Value {
        let word = self.i31_word(reference);
        self.builder.ins().ushr_imm_u(word, 1)
    }

    fn i31_word(&mut self, reference: ir::Value) -> ir::Value {
        self.builder.ins().trapz(reference, trap_code(Trap::NullReference));
        self.builder.ins().ireduce(types::I32, reference)
    }
}
