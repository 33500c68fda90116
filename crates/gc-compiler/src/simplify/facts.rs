//! What is known of a reference, and the tests that tell more.

use crate::regions;
use crate::safepoints::{Known, KnownType};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, ExternalName, GlobalValueData, InstructionData, Opcode, Value, ValueDef, types,
};
use gc_types::{I31, TypeIndex, TypeWord, VMGcHeader, VMOffsets};
use std::collections::HashSet;

/// The most operations that invert a condition or make it wider and are seen through. A program may have
/// any number of them, one inside the other.
const DEPTH: u32 = 16;

/// What is known of a reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) null: Option<bool>,
    pub(super) i31: Option<bool>,
    /// The object's type, or a supertype of it.
    pub(super) ty: Option<KnownType>,
    /// Whether `ty` is the object's own type.
    pub(super) exact: bool,
    /// The bits of a header's kind that are set.
    pub(super) kind: u32,
}

impl Facts {
    pub(super) fn is_empty(self) -> bool {
        self == Facts::default()
    }

    /// What is known of a reference of which either `self` or `other` is known.
    pub(super) fn meet(self, other: Facts) -> Facts {
        let same_type = self.ty == other.ty;
        Facts {
            null: self.null.filter(|_| self.null == other.null),
            i31: self.i31.filter(|_| self.i31 == other.i31),
            ty: self.ty.filter(|_| same_type),
            exact: same_type && self.exact && other.exact,
            kind: self.kind & other.kind,
        }
    }

    /// What is known if `other` is known too, which is newer.
    pub(super) fn and(self, other: Facts) -> Facts {
        let exact = self.exact && self.ty.is_some();
        let keeps = exact && !other.exact || other.ty.is_none();
        Facts {
            null: other.null.or(self.null),
            i31: other.i31.or(self.i31),
            ty: if keeps { self.ty } else { other.ty },
            exact: if keeps { exact } else { other.exact },
            kind: self.kind | other.kind,
        }
    }

    /// An object of the heap: neither null nor an `i31`.
    fn object() -> Facts {
        Facts { null: Some(false), i31: Some(false), ..Facts::default() }
    }
}

impl From<Known> for Facts {
    fn from(known: Known) -> Facts {
        Facts {
            null: known.non_null.then_some(false),
            i31: known.not_i31.then_some(false),
            ty: known.ty,
            exact: known.exact && known.ty.is_some(),
            kind: 0,
        }
    }
}

/// A question about a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// It is not null.
    NonNull,
    /// It is an `i31`.
    I31,
    /// It is neither null nor an `i31`.
    Object,
    /// The object has this very type.
    Exact(KnownType),
    /// The object's type is this or a subtype of it.
    Subtype(KnownType),
    /// The object's kind has these bits.
    Kind(u32),
}

impl Test {
    /// The answer for a reference of which `facts` are known.
    pub(super) fn answer(self, facts: Facts) -> Option<bool> {
        let Facts { null, i31, ty, exact, kind } = facts;
        match self {
            Test::NonNull => null.map(|null| !null),
            Test::I31 => i31.or(null.filter(|null| *null).map(|_| false)),
            Test::Object => match (null, i31) {
                (Some(true), _) | (_, Some(true)) => Some(false),
                (Some(false), Some(false)) => Some(true),
                _ => None,
            },
            Test::Exact(target) => match ty {
                Some(ty) if exact => ty.is_same(target),
                _ => None,
            },
            Test::Subtype(target) => (ty == Some(target)).then_some(true),
            Test::Kind(bits) => (kind & bits == bits).then_some(true),
        }
    }

    /// What is known if the answer is `answer`.
    pub(super) fn implies(self, answer: bool, facts: Facts) -> Facts {
        match (self, answer) {
            (Test::NonNull, true) => Facts { null: Some(false), ..Facts::default() },
            (Test::NonNull, false) => {
                Facts { null: Some(true), i31: Some(false), ..Facts::default() }
            }
            (Test::I31, true) => Facts { null: Some(false), i31: Some(true), ..Facts::default() },
            (Test::I31, false) => Facts { i31: Some(false), ..Facts::default() },
            (Test::Object, true) => Facts::object(),
            (Test::Object, false) => match (facts.null, facts.i31) {
                (Some(false), _) => Facts { i31: Some(true), ..Facts::default() },
                (_, Some(false)) => Facts { null: Some(true), ..Facts::default() },
                _ => Facts::default(),
            },
            (Test::Exact(ty), true) => Facts { ty: Some(ty), exact: true, ..Facts::object() },
            (Test::Subtype(ty), true) => Facts { ty: Some(ty), ..Facts::object() },
            (Test::Kind(kind), true) => Facts { kind, ..Facts::object() },
            (Test::Exact(_) | Test::Subtype(_) | Test::Kind(_), false) => Facts::default(),
        }
    }
}

/// Recognises the conditions that the emitter emits. Everything else is no test.
pub(super) struct Conditions<'a> {
    pub(super) func: &'a ir::Function,
    /// The values that are references. Only their upper halves are known to be zero.
    pub(super) references: HashSet<Value>,
}

impl Conditions<'_> {
    fn inst(&self, value: Value) -> Option<InstructionData> {
        match self.func.dfg.value_def(self.func.dfg.resolve_aliases(value)) {
            ValueDef::Result(inst, _) => Some(self.func.dfg.insts[inst]),
            _ => None,
        }
    }

    fn constant(&self, value: Value) -> Option<i64> {
        match self.inst(value)? {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
            _ => None,
        }
    }

    fn binary(&self, opcode: Opcode, value: Value) -> Option<[Value; 2]> {
        match self.inst(value)? {
            InstructionData::Binary { opcode: found, args } if found == opcode => Some(args),
            _ => None,
        }
    }

    fn unary(&self, opcode: Opcode, value: Value) -> Option<Value> {
        match self.inst(value)? {
            InstructionData::Unary { opcode: found, arg } if found == opcode => Some(arg),
            _ => None,
        }
    }

    /// The address and the offset of a load in `region`.
    fn load(&self, value: Value, region: regions::Region) -> Option<(Value, i32)> {
        let InstructionData::Load { opcode: Opcode::Load, arg, flags, offset } =
            self.inst(value)?
        else {
            return None;
        };
        let alias = self.func.dfg.mem_flags[flags].alias_region()?;
        let found = self.func.dfg.alias_regions[alias].user_id;
        (found == region).then_some((arg, offset.into()))
    }

    /// The reference whose header's first word `value` is.
    pub(super) fn header_of(&self, value: Value) -> Option<Value> {
        let (address, offset) = self.load(value, regions::HEADER)?;
        if offset.cast_unsigned() != VMGcHeader::WORD_OFFSET {
            return None;
        }
        let [base, object] = self.binary(Opcode::Iadd, address)?;
        self.load(base, regions::VMCTX)?;
        Some(self.func.dfg.resolve_aliases(object))
    }

    /// The type of which `value` is the index or a header's first word.
    fn type_of(&self, value: Value) -> Option<KnownType> {
        type_of(self.func, value)
    }

    /// The test that `condition` makes of a reference, and the answer if the condition is not zero.
    pub(super) fn test(&self, condition: Value) -> Option<(Value, Test, bool)> {
        self.test_within(condition, DEPTH)
    }

    /// [`Conditions::test`] for a condition that is inverted at most `depth` times.
    fn test_within(&self, condition: Value, depth: u32) -> Option<(Value, Test, bool)> {
        let depth = depth.checked_sub(1)?;
        let dfg = &self.func.dfg;
        let condition = dfg.resolve_aliases(condition);
        if dfg.value_type(condition) == types::I64 {
            if let Some([reference, tag]) = self.binary(Opcode::Band, condition) {
                let tests = self.constant(tag)? == i64::from(I31::TAG);
                return tests.then(|| (dfg.resolve_aliases(reference), Test::I31, true));
            }
            return Some((condition, Test::NonNull, true));
        }
        match self.inst(condition)? {
            InstructionData::Unary { opcode: Opcode::Uextend, arg } => self.test_within(arg, depth),
            InstructionData::IntCompare { opcode: Opcode::Icmp, args: [a, b], cond } => {
                self.comparison(cond, a, b, depth)
            }
            _ => None,
        }
    }

    fn comparison(
        &self,
        cond: IntCC,
        a: Value,
        b: Value,
        depth: u32,
    ) -> Option<(Value, Test, bool)> {
        let dfg = &self.func.dfg;
        let positive = match cond {
            IntCC::Equal => true,
            IntCC::NotEqual => false,
            IntCC::SignedGreaterThan | IntCC::SignedLessThanOrEqual => {
                // The tag is the sign after the rotation.
                let [word, one] = self.binary(Opcode::Rotr, a)?;
                let tests = self.constant(one)? == 1 && self.constant(b)? == 0;
                let reference = dfg.resolve_aliases(self.unary(Opcode::Ireduce, word)?);
                let tests = tests && self.references.contains(&reference);
                let positive = cond == IntCC::SignedGreaterThan;
                return tests.then_some((reference, Test::Object, positive));
            }
            _ => return None,
        };
        if self.constant(b) == Some(0) {
            let (reference, test, answer) = self.test_within(a, depth)?;
            return Some((reference, test, answer != positive));
        }
        if let Some(reference) = self.header_of(a) {
            return Some((reference, Test::Exact(self.type_of(b)?), positive));
        }
        if let Some([word, mask]) = self.binary(Opcode::Band, a) {
            let (reference, bits) = (self.header_of(word)?, self.constant(mask)?);
            let tests = self.constant(b) == Some(bits);
            return tests.then_some((reference, Test::Kind(bits as u32), positive));
        }
        let (row, _) = self.load(a, regions::TYPES)?;
        let [_, row] = self.binary(Opcode::Iadd, row)?;
        let [index, _] = self.binary(Opcode::Ishl, row)?;
        let index = self.unary(Opcode::Uextend, index)?;
        let [word, mask] = self.binary(Opcode::Band, index)?;
        if self.constant(mask)? != i64::from(VMOffsets::DISPLAY_TYPES - 1) {
            return None;
        }
        let reference = self.header_of(word)?;
        let [ty, one] = self.binary(Opcode::Iadd, b)?;
        let tests = self.constant(one)? == 1;
        let ty = self.type_of(ty)?;
        tests.then_some((reference, Test::Subtype(ty), positive))
    }

    /// What is known of `value` from the instruction that defines it.
    pub(super) fn definition(&self, value: Value) -> Facts {
        match self.inst(value) {
            Some(InstructionData::UnaryImm { opcode: Opcode::Iconst, imm }) => match imm.bits() {
                0 => Facts { null: Some(true), i31: Some(false), ..Facts::default() },
                bits if bits & 1 != 0 => Test::I31.implies(true, Facts::default()),
                _ => Facts::default(),
            },
            Some(InstructionData::Unary { opcode: Opcode::Uextend, arg }) => {
                let tagged = self.binary(Opcode::Bor, arg);
                let tag = tagged.and_then(|[_, tag]| self.constant(tag));
                match tag {
                    Some(bits) if bits & 1 != 0 => Test::I31.implies(true, Facts::default()),
                    _ => Facts::default(),
                }
            }
            _ => Facts::default(),
        }
    }
}

/// The type of which `value` is the index or a header's first word.
pub(crate) fn type_of(func: &ir::Function, value: Value) -> Option<KnownType> {
    let dfg = &func.dfg;
    let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
    match dfg.insts[inst] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
            Some(KnownType::of_engine(imm.bits() as u32 & TypeIndex::MAX))
        }
        InstructionData::Unary { opcode: Opcode::Ireduce | Opcode::Uextend, arg } => {
            type_of(func, arg)
        }
        InstructionData::UnaryGlobalValue { opcode: Opcode::SymbolValue, global_value } => {
            let GlobalValueData::Symbol { name: ExternalName::User(name), .. } =
                func.global_values[global_value]
            else {
                return None;
            };
            let name = &func.params.user_named_funcs()[name];
            if name.namespace != crate::TYPE_WORD_NAMESPACE {
                return None;
            }
            Some(KnownType::of_image(TypeWord::from_code(name.index)?.ty().as_u32()))
        }
        _ => None,
    }
}
