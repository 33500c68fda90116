//! The types of references that can only be null: [`NoExtern`], [`NoFunc`] and [`NoneRef`].

use crate::{Ref, Val};
use std::convert::Infallible;

macro_rules! bottoms {
    ($($(#[$doc:meta])* $name:ident $ty:literal $variant:ident $val:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub(crate) Infallible);

        impl $name {
            #[doc = concat!("The null `", $ty, "`.")]
            pub fn null() -> Option<$name> {
                None
            }

            #[doc = concat!("The null `", $ty, "` as a [`Ref`].")]
            pub fn null_ref() -> Ref {
                Ref::$variant(None)
            }

            #[doc = concat!("The null `", $ty, "` as a [`Val`].")]
            pub fn null_val() -> Val {
                Val::$val(None)
            }
        }
    )*};
}

bottoms! {
    /// The bottom of the external references. It has no values; an `Option<NoExtern>` is the null
    /// `nullexternref`. It is for typed functions.
    NoExtern "nullexternref" Extern ExternRef
    /// The bottom of the function references. It has no values; an `Option<NoFunc>` is the null
    /// `nullfuncref`. It is for typed functions.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Engine, Instance, Module, NoFunc, Store};
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(
    ///     &engine,
    ///     r#"(module (func (export "f") (param nullfuncref) (result i32)
    ///         (ref.is_null (local.get 0))))"#,
    /// )?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let f = instance.get_typed_func::<Option<NoFunc>, i32>(&mut store, "f")?;
    /// assert_eq!(f.call(&mut store, NoFunc::null())?, 1);
    /// # gc_wasm::error::Ok(())
    /// ```
    NoFunc "nullfuncref" Func FuncRef
    /// The bottom of the internal references. It has no values; an `Option<NoneRef>` is the null
    /// `nullref`. It is for typed functions.
    NoneRef "nullref" Any AnyRef
}
