//! [`Control`]: loops and conditions. Variables pass values out of them.

use super::{Body, RefType, clif_type};
use crate::Type;
use anyhow::Result;
use cranelift_codegen::ir::{Block, InstBuilder, Value, types};

/// The result of a closure that builds code: nothing, a value, or a `Result` with one of these.
///
/// # Examples
/// ```
/// use gc_engine::{Collector, Engine, Module, Type};
///
/// let mut module = Module::new(&Engine::new(Collector::copying())?);
/// let error = module.function("parse", [], [Type::I64], |f| {
///     let number: i64 = "many".parse()?;
///     let number = f.i64(number);
///     f.ret(&[number]);
///     anyhow::Ok(())
/// });
/// assert!(error.is_err());
/// # anyhow::Ok(())
/// ```
pub trait Outcome: Sized {
    /// What it has if it is not an error.
    type Value;

    /// The value or the error.
    ///
    /// # Errors
    /// What the closure returned.
    fn into_result(self) -> Result<Self::Value>;

    /// The outcome that is this value or this error.
    ///
    /// # Panics
    /// If it is an error, and the type has none.
    fn from_result(result: Result<Self::Value>) -> Self;
}

macro_rules! outcomes {
    ($($ty:ty)*) => {$(
        impl Outcome for $ty {
            type Value = $ty;

            fn into_result(self) -> Result<$ty> {
                Ok(self)
            }

            fn from_result(result: Result<$ty>) -> $ty {
                result.expect("it is made from results that are no errors")
            }
        }

        impl Outcome for Result<$ty> {
            type Value = $ty;

            fn into_result(self) -> Result<$ty> {
                self
            }

            fn from_result(result: Result<$ty>) -> Result<$ty> {
                result
            }
        }
    )*};
}

outcomes!(() Value);

/// Loops and conditions of a function that is being built. A [`Body`] has them. A compiler can implement
/// this for its own type that has a body: then the closures get that type.
///
/// The closures return nothing, or a `Result`. Then the method returns the first error.
///
/// # Examples
/// ```
/// use anyhow::{Result, ensure};
/// use cranelift_codegen::ir::Value;
/// use gc_engine::{Body, Collector, Control, Engine, Module, Store, Type};
///
/// /// A compiler for the language of `?` (a choice) and digits.
/// struct Compiler<'a, 'm, 'b> {
///     f: &'a mut Body<'m, 'b>,
///     text: &'a [u8],
/// }
///
/// impl<'m, 'b> Control<'m, 'b> for Compiler<'_, 'm, 'b> {
///     fn body(&mut self) -> &mut Body<'m, 'b> {
///         self.f
///     }
/// }
///
/// impl Compiler<'_, '_, '_> {
///     fn expression(&mut self) -> Result<Value> {
///         ensure!(!self.text.is_empty(), "the text ends too early");
///         let (first, rest) = (self.text[0], &self.text[1..]);
///         self.text = rest;
///         if first == b'?' {
///             let condition = self.f.param(0);
///             return self.if_value(Type::I64, condition, |c| c.expression(), |c| c.expression());
///         }
///         Ok(self.f.i64(i64::from(first - b'0')))
///     }
/// }
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// let compile = |module: &mut Module, text: &[u8]| {
///     module.function("run", [Type::I32], [Type::I64], |f| {
///         let value = Compiler { f, text }.expression()?;
///         f.ret(&[value]);
///         anyhow::Ok(())
///     })
/// };
/// assert!(format!("{:#}", compile(&mut module, b"?1").unwrap_err()).contains("too early"));
/// compile(&mut module, b"?1?23")?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
/// let run = store.function::<i32, i64>("run")?;
/// assert_eq!((run.call(&mut store, 1)?, run.call(&mut store, 0)?), (1, 3));
/// # anyhow::Ok(())
/// ```
pub trait Control<'m, 'b>: Sized {
    /// The function that is being built.
    fn body(&mut self) -> &mut Body<'m, 'b>;

    /// Runs `body` as long as `condition` returns an integer that is not zero, or a reference that is not null.
    ///
    /// # Errors
    /// Those of the closures, if they return a `Result`.
    fn while_loop<C: Outcome<Value = Value>, O: Outcome<Value = ()>>(
        &mut self,
        condition: impl FnOnce(&mut Self) -> C,
        body: impl FnOnce(&mut Self) -> O,
    ) -> O {
        let [header, inside, after] = self.body().new_blocks();
        self.body().jump(header, &[]);
        self.body().builder.switch_to_block(header);
        let built = condition(self).into_result().and_then(|condition| {
            self.body().branch(condition, inside, after);
            self.body().enter(inside);
            body(self).into_result()
        });
        self.body().jump(header, &[]);
        self.body().builder.seal_block(header);
        self.body().enter(after);
        O::from_result(built)
    }

    /// Runs `then` if `condition`, an integer, is not zero.
    ///
    /// # Errors
    /// Those of the closure, if it returns a `Result`.
    fn if_then<O: Outcome<Value = ()>>(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Self) -> O,
    ) -> O {
        self.if_else(condition, then, |_| O::from_result(Ok(())))
    }

    /// Runs `then` if `condition`, an integer, is not zero, and `otherwise` if it is zero.
    ///
    /// # Errors
    /// Those of the closures, if they return a `Result`.
    fn if_else<O: Outcome<Value = ()>>(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Self) -> O,
        otherwise: impl FnOnce(&mut Self) -> O,
    ) -> O {
        let [yes, no, after] = self.body().new_blocks();
        self.body().branch(condition, yes, no);
        both(self, [yes, no, after], then, otherwise)
    }

    /// Runs `then` if a reference is of this type, and `otherwise` if it is not.
    ///
    /// # Errors
    /// Those of the closures, if they return a `Result`.
    fn if_type<O: Outcome<Value = ()>>(
        &mut self,
        reference: Value,
        ty: impl Into<RefType>,
        then: impl FnOnce(&mut Self) -> O,
        otherwise: impl FnOnce(&mut Self) -> O,
    ) -> O {
        let [yes, no, after] = self.body().new_blocks();
        self.body().branch_on_type(reference, ty.into(), yes, no);
        both(self, [yes, no, after], then, otherwise)
    }

    /// Runs `body`. If a call in it throws an object of type `ty`, runs `handler` with the object.
    /// [`RefType::STRUCT`] catches every object. [`Body::throw`] throws. What is thrown by a call that was made
    /// with [`Body::builder`] is not caught here.
    ///
    /// # Errors
    /// Those of the closures, if they return a `Result`.
    ///
    /// # Examples
    /// ```
    /// use gc_engine::{Collector, Control, Engine, Module, Store, Type};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut module = Module::new(&engine);
    /// let failure = module.struct_type("failure", [Type::I64])?;
    /// let check = module.function("check", [Type::I64], [], |f| {
    ///     let n = f.param(0);
    ///     f.if_then(n, |f| {
    ///         let object = f.struct_new(&failure, &[n]);
    ///         f.throw(object);
    ///     });
    /// })?;
    /// module.function("run", [Type::I64], [Type::I64], |f| {
    ///     let (n, zero) = (f.param(0), f.i64(0));
    ///     f.try_catch(
    ///         |f| drop(f.call(&check, &[n])),
    ///         &failure,
    ///         |f, object| {
    ///             let number = f.struct_get(&failure, object, 0);
    ///             f.ret(&[number]);
    ///         },
    ///     );
    ///     f.ret(&[zero]);
    /// })?;
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&module.compile()?)?;
    /// let run = store.function::<i64, i64>("run")?;
    /// assert_eq!((run.call(&mut store, 0)?, run.call(&mut store, 7)?), (0, 7));
    ///
    /// // Without a handler, the host gets the object.
    /// let check = store.function::<i64, ()>("check")?;
    /// assert!(check.call(&mut store, 7).unwrap_err().is::<gc_engine::ThrownException>());
    /// assert_eq!(store.take_pending_exception()?.unwrap().type_name(&store)?, Some("failure"));
    /// # anyhow::Ok(())
    /// ```
    fn try_catch<O: Outcome<Value = ()>>(
        &mut self,
        body: impl FnOnce(&mut Self) -> O,
        ty: impl Into<RefType>,
        handler: impl FnOnce(&mut Self, Value) -> O,
    ) -> O {
        let [after] = self.body().new_blocks();
        self.body().enter_try(ty.into());
        let built = body(self).into_result();
        let (block, object) = self.body().leave_try();
        let built = built.and_then(|()| {
            self.body().jump(after, &[]);
            self.body().enter(block);
            handler(self, object).into_result()
        });
        self.body().jump(after, &[]);
        self.body().enter(after);
        O::from_result(built)
    }

    /// The value of type `ty` that `then` returns if `condition`, an integer, is not zero, or that
    /// `otherwise` returns if it is zero.
    ///
    /// # Errors
    /// Those of the closures, if they return a `Result`.
    fn if_value<O: Outcome<Value = Value>>(
        &mut self,
        ty: Type,
        condition: Value,
        then: impl FnOnce(&mut Self) -> O,
        otherwise: impl FnOnce(&mut Self) -> O,
    ) -> O {
        let [yes, no, after] = self.body().new_blocks();
        let result = self.body().builder.append_block_param(after, clif_type(ty));
        self.body().branch(condition, yes, no);
        self.body().enter(yes);
        let end = |this: &mut Self, value: Result<Value>| {
            let value = value?;
            let body = this.body();
            let value = match body.expect("if_value", value, ty) {
                true => value,
                false => body.dummy(clif_type(ty)),
            };
            body.jump(after, &[value]);
            Ok(())
        };
        let value = then(self).into_result();
        let built = end(self, value).and_then(|()| {
            self.body().enter(no);
            let value = otherwise(self).into_result();
            end(self, value)
        });
        self.body().enter(after);
        O::from_result(built.map(|()| result))
    }
}

/// The two ends of a branch, which continue in `after`.
fn both<'m, 'b, S: Control<'m, 'b>, O: Outcome<Value = ()>>(
    builder: &mut S,
    [yes, no, after]: [Block; 3],
    then: impl FnOnce(&mut S) -> O,
    otherwise: impl FnOnce(&mut S) -> O,
) -> O {
    builder.body().enter(yes);
    let built = then(builder).into_result().and_then(|()| {
        builder.body().jump(after, &[]);
        builder.body().enter(no);
        otherwise(builder).into_result()
    });
    builder.body().jump(after, &[]);
    builder.body().enter(after);
    O::from_result(built)
}

impl<'m, 'b> Control<'m, 'b> for Body<'m, 'b> {
    fn body(&mut self) -> &mut Body<'m, 'b> {
        self
    }
}

impl Body<'_, '_> {
    pub(super) fn new_blocks<const N: usize>(&mut self) -> [Block; N] {
        [(); N].map(|()| self.builder.create_block())
    }

    /// Branches on a condition.
    fn branch(&mut self, condition: Value, yes: Block, no: Block) {
        let condition = match self.is_condition(condition) {
            true => condition,
            false => self.dummy(types::I8),
        };
        self.ins().brif(condition, yes, &[], no, &[]);
    }

    /// Continues in `block`. All jumps to the block must have been emitted.
    pub(super) fn enter(&mut self, block: Block) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
    }

    /// Jumps to `block`, unless the current block has already ended.
    pub(super) fn jump(&mut self, block: Block, values: &[Value]) {
        if !self.is_ended() {
            let values: Vec<_> = values.iter().map(|value| (*value).into()).collect();
            self.ins().jump(block, &values);
        }
    }
}
