//! Emits operations that belong together. What is known after one of them matters for another, so a
//! wrong simplification shows, which it would hardly do in operations at random.

use super::emit::{Build, VariableKind};
use super::program::Var;
use super::world::*;
use cranelift_codegen::ir::{InstBuilder, types};
use gc_compiler::{ArrayInit, Extend};

/// Numbers of targets of tests ([`Build::target`]).
const STRUCT: u8 = 3;
const ARRAY: u8 = 4;
/// What the references of the two branches of a join are tested for.
const KINDS: [(u8, u8); 4] = [(STRUCT, ARRAY), (ARRAY, STRUCT), (STRUCT, STRUCT), (ARRAY, ARRAY)];

impl Build<'_, '_> {
    /// Reads a field of `of`, writes it in `alias`, and reads it again.
    pub(super) fn reread_wide(&mut self, w: Var, of: Var, alias: Var, value: Var) {
        let layout = layout();
        self.on(of, BASE, |this, of| {
            let before = this.e.struct_get(of, &layout, 2, None);
            let value = this.w(value);
            let new = this.e.builder.ins().iadd(value, before);
            this.on(alias, BASE, |this, alias| this.e.struct_set(alias, &layout, 2, new));
            let after = this.e.struct_get(of, &layout, 2, None);
            this.set(VariableKind::Wide, w, after);
        });
    }

    /// Makes an array of bytes, reads a byte of it, writes it in `alias`, and reads it again. Random
    /// variables seldom have such an array.
    pub(super) fn reread_byte(&mut self, i: Var, of: Var, alias: Var, (at, value): (Var, Var)) {
        let (word, value_of_all) = (self.word(BYTES_TYPE), self.i(value));
        let length = self.e.builder.ins().iconst(types::I32, 8);
        let fill = ArrayInit::Fill(value_of_all, length);
        let array = self.e.array_new(word, &BYTE_ARRAY, fill);
        self.set(VariableKind::Ref, of, array);
        self.on(of, BYTES_TYPE, |this, of| {
            let at = this.small(at, 3);
            let before = this.e.array_get(of, &BYTE_ARRAY, at, Some(Extend::Unsigned));
            let value = this.i(value);
            let new = this.e.builder.ins().iadd(value, before);
            this.on(alias, BYTES_TYPE, |this, alias| {
                this.e.array_set(alias, &BYTE_ARRAY, at, new);
            });
            let after = this.e.array_get(of, &BYTE_ARRAY, at, Some(Extend::Unsigned));
            this.set(VariableKind::Int, i, after);
        });
    }

    /// Chooses one of two references by branches. Each branch goes on only if its reference is of a
    /// kind. Where they meet, the chosen reference is tested again.
    pub(super) fn join(&mut self, r: Var, i: Var, (a, b): (Var, Var), choice: u8) {
        let (kind, other) = KINDS[usize::from(choice) % KINDS.len()];
        let target = match choice / 4 % 3 {
            0 => STRUCT,
            1 => ARRAY,
            _ => choice / 12,
        };
        let (condition, a, b) = (self.i(i), self.r(a), self.r(b));
        let [yes, no, joined, out] = [(); 4].map(|()| self.e.builder.create_block());
        self.e.builder.ins().brif(condition, yes, &[], no, &[]);
        for (block, value, kind) in [(yes, a, kind), (no, b, other)] {
            self.e.continue_in(block);
            let (test, passed) = (self.target(kind), self.e.builder.create_block());
            self.e.ref_test_branch(value, &test, passed, out);
            self.e.continue_in(passed);
            self.set(VariableKind::Ref, r, value);
            self.e.builder.ins().jump(joined, &[]);
        }
        self.e.continue_in(joined);
        let (r, test) = (self.r(r), self.target(target));
        let passes = self.e.ref_test(r, &test);
        let passes = self.e.builder.ins().uextend(types::I32, passes);
        self.set(VariableKind::Int, i, passes);
        self.e.builder.ins().jump(out, &[]);
        self.e.continue_in(out);
    }
}
