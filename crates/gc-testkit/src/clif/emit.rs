//! Emits the blocks and operations of a random program, as a compiler would that knows no types: it
//! tests an object's type before it uses the object.

use super::program::{Arith, End, FUNCS, INTS, Op, Program, REFS, Var, WIDES};
use super::world::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, Block, InstBuilder, SourceLoc, Value, types};
use cranelift_frontend::Variable;
use gc_compiler::{
    ArrayInit, Extend, FuncRefTest, FuncRefType, GcEmitter, RefPlace, RefTest, TestTarget, regions,
    trap_code,
};
use gc_types::{RootKind, Trap, TypeIndex, VMGcKind};

#[derive(Clone, Copy)]
pub(super) enum VariableKind {
    Ref,
    Int,
    Wide,
    Func,
}

pub(super) struct Build<'a, 'b> {
    pub(super) e: GcEmitter<'a, 'b>,
    pub(super) callee: ir::FuncRef,
    pub(super) signature: ir::SigRef,
    pub(super) variables: [Vec<Variable>; 4],
}

impl Build<'_, '_> {
    pub(super) fn declare(&mut self, reference: Value, wide: Value) {
        let kinds = [
            (VariableKind::Ref, REFS, types::I64),
            (VariableKind::Int, INTS, types::I32),
            (VariableKind::Wide, WIDES, types::I64),
            (VariableKind::Func, FUNCS, types::I64),
        ];
        for (kind, count, ty) in kinds {
            for n in 0..count {
                let variable = self.e.builder.declare_var(ty);
                self.variables[kind as usize].push(variable);
                let first = match (kind, n) {
                    (VariableKind::Ref, 0) => reference,
                    (VariableKind::Wide, 0) => wide,
                    _ => self.e.builder.ins().iconst(ty, 0),
                };
                self.e.builder.def_var(variable, first);
            }
        }
    }

    fn get(&mut self, kind: VariableKind, n: Var) -> Value {
        self.e.builder.use_var(self.variables[kind as usize][n])
    }

    pub(super) fn set(&mut self, kind: VariableKind, n: Var, value: Value) {
        self.e.builder.def_var(self.variables[kind as usize][n], value);
    }

    pub(super) fn r(&mut self, n: Var) -> Value {
        self.get(VariableKind::Ref, n)
    }

    pub(super) fn i(&mut self, n: Var) -> Value {
        self.get(VariableKind::Int, n)
    }

    pub(super) fn w(&mut self, n: Var) -> Value {
        self.get(VariableKind::Wide, n)
    }

    fn f(&mut self, n: Var) -> Value {
        self.get(VariableKind::Func, n)
    }

    pub(super) fn program(&mut self, program: &Program) {
        let mut locations = program.location..;
        let mut next_location = |build: &mut Self| {
            let location = locations.next().expect("a program is short");
            build.e.builder.set_srcloc(SourceLoc::new(location));
        };
        let blocks: Vec<Block> =
            program.blocks.iter().map(|_| self.e.builder.create_block()).collect();
        self.e.builder.ins().jump(blocks[0], &[]);
        for (block, (ops, end)) in blocks.iter().zip(&program.blocks) {
            self.e.builder.switch_to_block(*block);
            self.spend();
            for op in ops {
                next_location(self);
                self.op(*op);
            }
            next_location(self);
            self.end(end, &blocks);
        }
    }

    /// The first word of the headers of a type's objects.
    pub(super) fn word(&mut self, ty: TypeIndex) -> Value {
        let kind = if ty == BASE || ty == NODE { VMGcKind::StructRef } else { VMGcKind::ArrayRef };
        self.e.builder.ins().iconst(types::I32, i64::from(ty.header_word(kind)))
    }

    fn native(&mut self, offset: u32) -> Value {
        let vmctx = self.e.vmctx();
        self.e.load_native(types::I64, NATIVE, vmctx, offset)
    }

    /// Counts the block that begins. Traps if it is one too many, so every program ends.
    fn spend(&mut self) {
        let vmctx = self.e.vmctx();
        let left = self.e.load_native(types::I32, WORDS, vmctx, FUEL);
        self.e.builder.ins().trapz(left, trap_code(Trap::OutOfFuel));
        let less = self.e.builder.ins().iadd_imm_s(left, -1);
        let flags = self.e.native_flags(WORDS);
        self.e.builder.ins().store(flags, less, vmctx, FUEL.cast_signed());
    }

    /// Mixes all integers into a word that is compared.
    fn observe(&mut self) {
        let vmctx = self.e.vmctx();
        let mut sum = self.e.load_native(types::I64, WORDS, vmctx, OBSERVED);
        let ints: Vec<Value> = (0..INTS).map(|n| self.i(n)).collect();
        let ints = ints.into_iter().map(|i| self.e.builder.ins().uextend(types::I64, i));
        let mut all: Vec<Value> = ints.collect();
        all.extend((0..WIDES).map(|n| self.w(n)));
        for value in all {
            sum = self.e.builder.ins().imul_imm_s(sum, 31);
            sum = self.e.builder.ins().iadd(sum, value);
        }
        let flags = self.e.native_flags(WORDS);
        self.e.builder.ins().store(flags, sum, vmctx, OBSERVED.cast_signed());
    }

    /// An index or a length from a variable. Only the last variable has numbers that are not small.
    pub(super) fn small(&mut self, i: Var, mask: i64) -> Value {
        let value = self.i(i);
        let mask = if i == INTS - 1 { 0x7f } else { mask };
        self.e.builder.ins().band_imm_u(value, mask)
    }

    /// Emits what uses the object in variable `of`, if that has this type. Null has every type if
    /// it is the last variable.
    pub(super) fn on(&mut self, of: Var, ty: TypeIndex, emit: impl FnOnce(&mut Self, Value)) {
        let target = self.concrete(ty, ty != BASE);
        self.if_passes(of, &RefTest::new(of == REFS - 1, target), emit);
    }

    fn if_passes(&mut self, of: Var, test: &RefTest, emit: impl FnOnce(&mut Self, Value)) {
        let object = self.r(of);
        let (yes, no) = (self.e.builder.create_block(), self.e.builder.create_block());
        self.e.ref_test_branch(object, test, yes, no);
        self.e.continue_in(yes);
        emit(self, object);
        self.e.builder.ins().jump(no, &[]);
        self.e.continue_in(no);
    }

    fn table(&mut self, i: Var) -> RefPlace {
        let index = self.small(i, 7);
        let base = self.native(TABLE_BASE);
        let index = self.e.builder.ins().uextend(types::I64, index);
        let outside = self.e.builder.ins().icmp_imm_u(
            ir::condcodes::IntCC::UnsignedGreaterThanOrEqual,
            index,
            i64::from(TABLE_LENGTH),
        );
        self.e.builder.ins().trapnz(outside, trap_code(Trap::TableOutOfBounds));
        let offset = self.e.builder.ins().ishl_imm_u(index, 2);
        let address = self.e.builder.ins().iadd(base, offset);
        RefPlace::Native { address, offset: 0, region: TABLE, kind: RootKind::Table }
    }

    fn global(&mut self) -> RefPlace {
        let address = self.e.vmctx();
        RefPlace::Native { address, offset: GLOBAL_OFFSET, region: GLOBAL, kind: RootKind::Global }
    }

    fn concrete(&mut self, ty: TypeIndex, is_final: bool) -> TestTarget {
        let depth = ANCESTORS.iter().find(|(known, _)| *known == ty).map_or(0, |(_, up)| up.len());
        let header_word = self.word(ty);
        let type_index = self.e.builder.ins().iconst(types::I32, i64::from(ty.as_u32()));
        TestTarget::Concrete { type_index, header_word, depth: depth as u32, is_final }
    }

    pub(super) fn target(&mut self, target: u8) -> RefTest {
        let type_index = self.e.builder.ins().iconst(types::I32, i64::from(BASE.as_u32()));
        let header_word = self.word(BASE);
        let deep = TestTarget::Concrete { type_index, header_word, depth: 9, is_final: false };
        let target_of = [
            TestTarget::Any,
            TestTarget::Eq,
            TestTarget::I31,
            TestTarget::Struct,
            TestTarget::Array,
            TestTarget::Extern,
            TestTarget::None,
            self.concrete(NODE, true),
            self.concrete(NODE, false),
            self.concrete(BASE, false),
            self.concrete(REFS_TYPE, true),
            deep,
        ];
        RefTest::new(target & 128 != 0, target_of[target as usize % target_of.len()])
    }

    fn func_type(&mut self) -> FuncRefType {
        let type_index = i64::from(FUNC_BASE.as_u32());
        let type_index = self.e.builder.ins().iconst(types::I32, type_index);
        FuncRefType { type_index, depth: 1, is_final: false }
    }

    /// Only a divisor in the first variable may be zero.
    fn divisor(&mut self, arith: Arith, b: Var, value: Value) -> Value {
        let divides = matches!(arith, Arith::Sdiv | Arith::Udiv | Arith::Urem);
        if divides && b > 0 { self.e.builder.ins().bor_imm_u(value, 1) } else { value }
    }

    fn arith(&mut self, arith: Arith, a: Value, b: Value) -> Value {
        let ins = self.e.builder.ins();
        match arith {
            Arith::Iadd => ins.iadd(a, b),
            Arith::Isub => ins.isub(a, b),
            Arith::Imul => ins.imul(a, b),
            Arith::Band => ins.band(a, b),
            Arith::Bor => ins.bor(a, b),
            Arith::Bxor => ins.bxor(a, b),
            Arith::Ishl => ins.ishl(a, b),
            Arith::Ushr => ins.ushr(a, b),
            Arith::Sshr => ins.sshr(a, b),
            Arith::Rotl => ins.rotl(a, b),
            Arith::Sdiv => ins.sdiv(a, b),
            Arith::Udiv => ins.udiv(a, b),
            Arith::Urem => ins.urem(a, b),
            Arith::Smin => ins.smin(a, b),
            Arith::Umax => ins.umax(a, b),
        }
    }

    fn icmp(&mut self, condition: u8, a: Value, b: Value) -> Value {
        const CONDITIONS: [IntCC; 10] = [
            IntCC::Equal,
            IntCC::NotEqual,
            IntCC::SignedLessThan,
            IntCC::SignedGreaterThanOrEqual,
            IntCC::SignedGreaterThan,
            IntCC::SignedLessThanOrEqual,
            IntCC::UnsignedLessThan,
            IntCC::UnsignedGreaterThanOrEqual,
            IntCC::UnsignedGreaterThan,
            IntCC::UnsignedLessThanOrEqual,
        ];
        let condition = CONDITIONS[usize::from(condition) % CONDITIONS.len()];
        let result = self.e.builder.ins().icmp(condition, a, b);
        self.e.builder.ins().uextend(types::I32, result)
    }

    fn call(&mut self, callee: Option<Value>, reference: Value, wide: Value) -> Value {
        let args = [self.e.vmctx(), reference, wide];
        let call = match callee {
            None => self.e.builder.ins().call(self.callee, &args),
            Some(code) => self.e.builder.ins().call_indirect(self.signature, code, &args),
        };
        let result = self.e.builder.inst_results(call)[0];
        self.e.declare_ref(result)
    }

    fn op(&mut self, op: Op) {
        if !self.object_op(op) {
            let (kind, variable, value) = self.value_op(op);
            self.set(kind, variable, value);
        }
    }

    /// Emits an operation on an object, unless it is none.
    fn object_op(&mut self, op: Op) -> bool {
        let layout = layout();
        match op {
            Op::I31Get { i, r, signed } => {
                let test = RefTest::new(r == REFS - 1, TestTarget::I31);
                self.if_passes(r, &test, |this, reference| {
                    let value = match signed {
                        true => this.e.i31_get_s(reference),
                        false => this.e.i31_get_u(reference),
                    };
                    this.set(VariableKind::Int, i, value);
                });
            }
            Op::StructGet { r, of, second } => self.on(of, BASE, |this, of| {
                let value = this.e.struct_get(of, &layout, usize::from(second), None);
                this.set(VariableKind::Ref, r, value);
            }),
            Op::StructGetWide { w, of } => self.on(of, BASE, |this, of| {
                let value = this.e.struct_get(of, &layout, 2, None);
                this.set(VariableKind::Wide, w, value);
            }),
            Op::StructGetFunc { f, of } => self.on(of, BASE, |this, of| {
                let id = this.e.struct_get(of, &layout, 3, None);
                let expected = this.func_type();
                let value = this.e.func_ref_from_id(id, true, Some(&expected));
                this.set(VariableKind::Func, f, value);
            }),
            Op::StructSet { of, r, second } => self.on(of, BASE, |this, of| {
                let r = this.r(r);
                this.e.struct_set(of, &layout, usize::from(second), r);
            }),
            Op::StructSetWide { of, w } => self.on(of, BASE, |this, of| {
                let w = this.w(w);
                this.e.struct_set(of, &layout, 2, w);
            }),
            Op::StructSetFunc { of, f } => self.on(of, BASE, |this, of| {
                let f = this.f(f);
                let id = this.e.func_ref_to_id(f, true);
                this.e.struct_set(of, &layout, 3, id);
            }),
            Op::ArrayLen { i, of } => self.on(of, REFS_TYPE, |this, of| {
                let value = this.e.array_len(of);
                this.set(VariableKind::Int, i, value);
            }),
            Op::ArrayGet { r, of, i } => self.on(of, REFS_TYPE, |this, of| {
                let i = this.small(i, 3);
                let value = this.e.array_get(of, &REF_ARRAY, i, None);
                this.set(VariableKind::Ref, r, value);
            }),
            Op::ArraySet { of, i, r } => self.on(of, REFS_TYPE, |this, of| {
                let (i, r) = (this.small(i, 3), this.r(r));
                this.e.array_set(of, &REF_ARRAY, i, r);
            }),
            Op::ArrayGetConst { r, of, index } => self.on(of, REFS_TYPE, |this, of| {
                let index = this.e.builder.ins().iconst(types::I32, i64::from(index % 8));
                let value = this.e.array_get(of, &REF_ARRAY, index, None);
                this.set(VariableKind::Ref, r, value);
            }),
            Op::ArraySetConst { of, index, r } => self.on(of, REFS_TYPE, |this, of| {
                let r = this.r(r);
                let index = this.e.builder.ins().iconst(types::I32, i64::from(index % 8));
                this.e.array_set(of, &REF_ARRAY, index, r);
            }),
            Op::BytesGet { i, of, at } => self.on(of, BYTES_TYPE, |this, of| {
                let at = this.small(at, 3);
                let value = this.e.array_get(of, &BYTE_ARRAY, at, Some(Extend::Signed));
                this.set(VariableKind::Int, i, value);
            }),
            Op::RereadWide { w, of, alias, value } => self.reread_wide(w, of, alias, value),
            Op::RereadByte { i, of, alias, at, value } => {
                self.reread_byte(i, of, alias, (at, value));
            }
            Op::Join { r, i, a, b, target } => self.join(r, i, (a, b), target),
            Op::BytesSet { of, at, i } => self.on(of, BYTES_TYPE, |this, of| {
                let (at, i) = (this.small(at, 3), this.i(i));
                this.e.array_set(of, &BYTE_ARRAY, at, i);
            }),
            Op::ArrayFill { of, r, i } => self.on(of, REFS_TYPE, |this, of| {
                let (r, i, length) = (this.r(r), this.small(i, 1), this.small(i, 3));
                this.e.array_fill(of, &REF_ARRAY, i, r, length);
            }),
            Op::ArrayCopy { of, from, i } => self.on(of, REFS_TYPE, |this, of| {
                this.on(from, REFS_TYPE, |this, from| {
                    let (to, at, length) = (this.small(i, 1), this.small(i, 2), this.small(i, 3));
                    this.e.array_copy(&REF_ARRAY, (of, to), (from, at), length);
                });
            }),
            Op::TableSet { i, r } => {
                let (place, r) = (self.table(i), self.r(r));
                self.e.write_ref(place, r);
            }
            Op::TableSetAll => {
                for n in 0..REFS {
                    let base = self.native(TABLE_BASE);
                    let offset = i64::from(TABLE_LENGTH) - 1 - n as i64;
                    let address = self.e.builder.ins().iadd_imm_u(base, 4 * offset);
                    let kind = RootKind::Table;
                    let place = RefPlace::Native { address, offset: 0, region: TABLE, kind };
                    let r = self.r(n);
                    self.e.write_ref(place, r);
                }
            }
            Op::GlobalSet { r } => {
                let (place, r) = (self.global(), self.r(r));
                self.e.write_ref(place, r);
            }
            Op::Cast { r, target } => {
                let (r, test) = (self.r(r), self.target(target));
                self.e.ref_cast(r, &test);
            }
            Op::CallIndirect { r, f, a } => {
                let (f, a, w) = (self.f(f), self.r(a), self.w(0));
                let (yes, no) = (self.e.builder.create_block(), self.e.builder.create_block());
                self.e.builder.ins().brif(f, yes, &[], no, &[]);
                self.e.continue_in(yes);
                let offset = self.e.offsets().func_ref_code();
                let code = self.e.load_native(types::I64, regions::TYPES, f, offset);
                let value = self.call(Some(code), a, w);
                self.set(VariableKind::Ref, r, value);
                self.e.builder.ins().jump(no, &[]);
                self.e.continue_in(no);
            }
            _ => return false,
        }
        true
    }

    /// Emits an operation that has a result for every operand. Returns the variable that is set.
    fn value_op(&mut self, op: Op) -> (VariableKind, Var, Value) {
        let layout = layout();
        match op {
            Op::Null { r } => (VariableKind::Ref, r, self.e.ref_null()),
            Op::I31 { r, i } => {
                let value = self.i(i);
                (VariableKind::Ref, r, self.e.ref_i31(value))
            }
            Op::Move { r, from } => (VariableKind::Ref, r, self.r(from)),
            Op::Select { r, i, a, b } => {
                let (i, a, b) = (self.i(i), self.r(a), self.r(b));
                (VariableKind::Ref, r, self.e.builder.ins().select(i, a, b))
            }
            Op::SelectInt { i, a, b } => {
                let (condition, a, b) = (self.i(i), self.i(a), self.i(b));
                (VariableKind::Int, i, self.e.builder.ins().select(condition, a, b))
            }
            Op::Const { i, value } => {
                (VariableKind::Int, i, self.e.builder.ins().iconst(types::I32, i64::from(value)))
            }
            Op::Arith { i, arith, a, b } => {
                let (a, value) = (self.i(a), self.i(b));
                let b = self.divisor(arith, b, value);
                (VariableKind::Int, i, self.arith(arith, a, b))
            }
            Op::ArithWide { w, arith, a, b } => {
                let (a, value) = (self.w(a), self.w(b));
                let b = self.divisor(arith, b, value);
                (VariableKind::Wide, w, self.arith(arith, a, b))
            }
            Op::Icmp { i, a, b, condition } => {
                let (a, b) = (self.i(a), self.i(b));
                (VariableKind::Int, i, self.icmp(condition, a, b))
            }
            Op::IcmpWide { i, a, b, condition } => {
                let (a, b) = (self.w(a), self.w(b));
                (VariableKind::Int, i, self.icmp(condition, a, b))
            }
            Op::Widen { w, i, signed } => {
                let value = self.i(i);
                let ins = self.e.builder.ins();
                let wide = match signed {
                    true => ins.sextend(types::I64, value),
                    false => ins.uextend(types::I64, value),
                };
                (VariableKind::Wide, w, wide)
            }
            Op::Narrow { i, w } => {
                let value = self.w(w);
                (VariableKind::Int, i, self.e.builder.ins().ireduce(types::I32, value))
            }
            Op::StructNew { r, a, b, w } => {
                let (word, a, b, w) = (self.word(NODE), self.r(a), self.r(b), self.w(w));
                let id = self.e.builder.ins().iconst(types::I32, 0);
                (VariableKind::Ref, r, self.e.struct_new(word, &layout, &[a, b, w, id]))
            }
            Op::StructNewDefault { r, base } => {
                let word = self.word(if base { BASE } else { NODE });
                (VariableKind::Ref, r, self.e.struct_new_default(word, &layout))
            }
            Op::ArrayNewDefault { r, i } => {
                let (word, length) = (self.word(REFS_TYPE), self.small(i, 7));
                (
                    VariableKind::Ref,
                    r,
                    self.e.array_new(word, &REF_ARRAY, ArrayInit::Default(length)),
                )
            }
            Op::ArrayNewFill { r, i, a } => {
                let (word, length, value) = (self.word(REFS_TYPE), self.small(i, 7), self.r(a));
                (
                    VariableKind::Ref,
                    r,
                    self.e.array_new(word, &REF_ARRAY, ArrayInit::Fill(value, length)),
                )
            }
            Op::ArrayNewElements { r, a, b } => {
                let (word, a, b) = (self.word(REFS_TYPE), self.r(a), self.r(b));
                let elements = ArrayInit::Elements(&[a, b, a, b, a, b]);
                (VariableKind::Ref, r, self.e.array_new(word, &REF_ARRAY, elements))
            }
            Op::BytesNew { r, i, value } => {
                let (word, length, value) =
                    (self.word(BYTES_TYPE), self.small(i, 7), self.i(value));
                let fill = ArrayInit::Fill(value, length);
                (VariableKind::Ref, r, self.e.array_new(word, &BYTE_ARRAY, fill))
            }
            Op::TableGet { r, i } => {
                let place = self.table(i);
                (VariableKind::Ref, r, self.e.read_ref(place))
            }
            Op::GlobalGet { r } => {
                let place = self.global();
                (VariableKind::Ref, r, self.e.read_ref(place))
            }
            Op::FuncGet { f } => (VariableKind::Func, f, self.native(FUNC_REF)),
            Op::IsNull { i, r } => {
                let r = self.r(r);
                let is_null = self.e.ref_is_null(r);
                (VariableKind::Int, i, self.e.builder.ins().uextend(types::I32, is_null))
            }
            Op::Same { i, a, b } => {
                let (a, b) = (self.r(a), self.r(b));
                let same = self.e.ref_eq(a, b);
                (VariableKind::Int, i, self.e.builder.ins().uextend(types::I32, same))
            }
            Op::Test { i, r, target } => {
                let (r, test) = (self.r(r), self.target(target));
                let passes = self.e.ref_test(r, &test);
                (VariableKind::Int, i, self.e.builder.ins().uextend(types::I32, passes))
            }
            Op::FuncTest { i, f } => {
                let f = self.f(f);
                let target = Some(self.func_type());
                let test = FuncRefTest { nullable: true, known_non_null: false, target };
                let passes = self.e.func_ref_test(f, &test);
                (VariableKind::Int, i, self.e.builder.ins().uextend(types::I32, passes))
            }
            Op::Call { r, a, w } => {
                let (a, w) = (self.r(a), self.w(w));
                (VariableKind::Ref, r, self.call(None, a, w))
            }
            Op::HostNew { r, i } => {
                let i = self.i(i);
                self.e.call_host(HOST_NEW.0, &[i]);
                (VariableKind::Ref, r, self.e.host_result_ref())
            }
            Op::HostQuiet { i, r } => {
                let r = self.r(r);
                self.e.call_host(HOST_QUIET.0, &[r]);
                (VariableKind::Int, i, self.e.host_result_i32())
            }
            op => unreachable!("{op:?} is on an object"),
        }
    }

    fn end(&mut self, end: &End, blocks: &[Block]) {
        match end {
            End::Jump(to) => {
                self.e.builder.ins().jump(blocks[*to], &[]);
            }
            End::Branch { i, yes, no } => {
                let i = self.i(*i);
                self.e.builder.ins().brif(i, blocks[*yes], &[], blocks[*no], &[]);
            }
            End::TestBranch { r, target, yes, no } => {
                let (r, test) = (self.r(*r), self.target(*target));
                self.e.ref_test_branch(r, &test, blocks[*yes], blocks[*no]);
            }
            End::Table { i, to } => {
                let i = self.i(*i);
                let pool = &mut self.e.builder.func.dfg.value_lists;
                let calls: Vec<_> =
                    to.iter().map(|to| ir::BlockCall::new(blocks[*to], [], pool)).collect();
                let table = ir::JumpTableData::new(calls[0], &calls[1..]);
                let table = self.e.builder.create_jump_table(table);
                self.e.builder.ins().br_table(i, table);
            }
            End::Return { r } => {
                self.observe();
                let r = self.r(*r);
                self.e.builder.ins().return_(&[r]);
            }
            End::TailCall { a, w } => {
                self.observe();
                let args = [self.e.vmctx(), self.r(*a), self.w(*w)];
                self.e.builder.ins().return_call(self.callee, &args);
            }
            End::Trap => {
                self.e.builder.ins().trap(trap_code(Trap::UnreachableCodeReached));
            }
        }
    }
}
