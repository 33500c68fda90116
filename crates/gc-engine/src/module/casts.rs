//! Tests and casts of references.

use super::Body;
use crate::{ArrayType, StructType, Type};
use anyhow::anyhow;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use gc_compiler::{RefTest, TestTarget};
use gc_types::TypeWord;

/// A type for which a reference is tested ([`Body::ref_test`], [`Body::ref_cast`]): a type of objects, or
/// a kind of references. Null does not pass, unless the type is [`nullable`](RefType::nullable).
///
/// # Examples
/// ```
/// use gc_engine::{Collector, Control, Engine, Module, RefType, Rooted, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// let pair = module.struct_type("pair", [Type::Ref; 2])?;
/// module.function("pair", [Type::Ref], [Type::Ref], |f| {
///     let fields = [f.param(0), f.null()];
///     let new = f.struct_new(&pair, &fields);
///     f.ret(&[new]);
/// })?;
/// module.function("is_pair", [Type::Ref], [Type::I32], |f| {
///     let value = f.param(0);
///     let (yes, no) = (f.i32(1), f.i32(0));
///     f.if_type(value, &pair, |f| f.ret(&[yes]), |f| f.ret(&[no]));
/// })?;
/// module.function("integer", [Type::Ref], [Type::I32], |f| {
///     let value = f.param(0);
///     f.ref_cast(value, RefType::I31);
///     let integer = f.i31_get(value);
///     f.ret(&[integer]);
/// })?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
/// let pair = store.function::<Option<Rooted>, Rooted>("pair")?.call(&mut store, None)?;
/// let is_pair = store.function::<Option<Rooted>, i32>("is_pair")?;
/// assert_eq!(is_pair.call(&mut store, Some(pair.clone()))?, 1);
/// assert_eq!(is_pair.call(&mut store, None)?, 0);
/// assert!(store.function::<Rooted, i32>("integer")?.call(&mut store, pair).is_err());
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RefType {
    pub(super) target: Target,
    nullable: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Any,
    I31,
    Struct,
    Array,
    /// A type of the module with this number.
    Object(u64, TypeWord),
}

impl RefType {
    /// Everything but null.
    pub const ANY: RefType = RefType { target: Target::Any, nullable: false };
    /// Integers of 31 bits.
    pub const I31: RefType = RefType { target: Target::I31, nullable: false };
    /// All objects with fields.
    pub const STRUCT: RefType = RefType { target: Target::Struct, nullable: false };
    /// All arrays.
    pub const ARRAY: RefType = RefType { target: Target::Array, nullable: false };

    /// The same, or null.
    #[must_use]
    pub fn nullable(self) -> RefType {
        RefType { nullable: true, ..self }
    }
}

impl From<&StructType> for RefType {
    fn from(ty: &StructType) -> RefType {
        RefType { target: Target::Object(ty.0.module, ty.0.header_word()), nullable: false }
    }
}

impl From<&ArrayType> for RefType {
    fn from(ty: &ArrayType) -> RefType {
        RefType { target: Target::Object(ty.0.module, ty.0.header_word()), nullable: false }
    }
}

impl Body<'_, '_> {
    /// Whether a reference is of this type (`I8`: 1 if so).
    pub fn ref_test(&mut self, reference: Value, ty: impl Into<RefType>) -> Value {
        match self.reference_test("ref_test", reference, ty.into()) {
            Some(test) => self.gc().ref_test(reference, &test),
            None => self.dummy(types::I8),
        }
    }

    /// Traps unless a reference is of this type.
    pub fn ref_cast(&mut self, reference: Value, ty: impl Into<RefType>) {
        if let Some(test) = self.reference_test("ref_cast", reference, ty.into()) {
            self.gc().ref_cast(reference, &test);
        }
    }

    /// The test of a reference that `what` makes.
    fn reference_test(&mut self, what: &str, reference: Value, ty: RefType) -> Option<RefTest> {
        if !self.expect(what, reference, Type::Ref) {
            return None;
        }
        let target = match ty.target {
            Target::Any => TestTarget::Any,
            Target::I31 => TestTarget::I31,
            Target::Struct => TestTarget::Struct,
            Target::Array => TestTarget::Array,
            Target::Object(module, word) => {
                if module != self.function().module {
                    self.misused(anyhow!("a type of another module is used"));
                    return None;
                }
                let type_index = self.type_word(TypeWord::index(word.ty()));
                let header_word = self.type_word(word);
                TestTarget::Concrete { type_index, header_word, depth: 0, is_final: true }
            }
        };
        Some(RefTest::new(ty.nullable, target))
    }

    /// Ends the current block with a branch to `yes` if a reference is of this type, otherwise to
    /// `no`.
    pub(super) fn branch_on_type(
        &mut self,
        reference: Value,
        ty: RefType,
        yes: cranelift_codegen::ir::Block,
        no: cranelift_codegen::ir::Block,
    ) {
        match self.reference_test("if_type", reference, ty) {
            Some(test) => self.gc().ref_test_branch(reference, &test, yes, no),
            None => {
                let condition = self.dummy(types::I8);
                self.ins().brif(condition, yes, &[], no, &[]);
            }
        }
    }

    /// The reference that is an integer of 31 bits: the low bits of `value` (`I32`).
    pub fn i31(&mut self, value: Value) -> Value {
        match self.expect("i31", value, Type::I32) {
            true => self.gc().ref_i31(value),
            false => self.null(),
        }
    }

    /// The integer (`I32`, with its sign) that a reference is. Traps if the reference is null or to an
    /// object.
    pub fn i31_get(&mut self, reference: Value) -> Value {
        if !self.expect("i31_get", reference, Type::Ref) {
            return self.dummy(types::I32);
        }
        self.gc().ref_cast(reference, &RefTest::new(false, TestTarget::I31));
        self.gc().i31_get_s(reference)
    }

    /// Whether two references are the same one (`I8`: 1 if so).
    pub fn ref_eq(&mut self, a: Value, b: Value) -> Value {
        match self.expect("ref_eq", a, Type::Ref) && self.expect("ref_eq", b, Type::Ref) {
            true => self.gc().ref_eq(a, b),
            false => self.dummy(types::I8),
        }
    }
}
