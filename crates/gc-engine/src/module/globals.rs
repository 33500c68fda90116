//! Globals, and constants.

use super::{Body, Module, clif_type};
use crate::code::Word;
use crate::{ArrayType, Type};
use anyhow::{Result, anyhow, ensure};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use gc_compiler::RefPlace;
use gc_compiler::regions::{self, Region};
use gc_types::{RootKind, StorageType};
use std::sync::Arc;

/// The region of the addresses of globals and constants in the vmctx.
pub(super) const CELLS: Region = regions::STRUCTURES + 2;
/// The region of globals that are no references.
pub(super) const GLOBALS: Region = regions::EMBEDDER;
/// The region of globals that are references.
pub(super) const GLOBAL_REFS: Region = regions::EMBEDDER + 1;
/// The region of constants.
pub(super) const CONSTANTS: Region = regions::EMBEDDER + 2;

/// A global of a [`Module`].
///
/// # Examples
/// Code that is loaded later finds the global by its name, and so does the host:
///
/// ```
/// use gc_engine::{Collector, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut store = Store::new(&engine, ())?;
/// for name in ["a", "b"] {
///     let mut module = Module::new(&engine);
///     let count = module.global("count", Type::I64)?;
///     module.function(name, [], [], |f| {
///         let (so_far, one) = (f.global_get(&count), f.i64(1));
///         let more = f.add(so_far, one);
///         f.global_set(&count, more);
///     })?;
///     store.load(&module.compile()?)?;
///     store.function::<(), ()>(name)?.call(&mut store, ())?;
/// }
/// assert_eq!(store.global::<i64>("count")?, 2);
/// store.set_global("count", 10_i64)?;
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Global {
    /// The number of its module.
    module: u64,
    /// The number of the word in the vmctx.
    word: u32,
    ty: Type,
}

impl Module {
    /// Declares a global: a variable of the store, which all code with a global of this name shares. It
    /// is zero or null when it is first there. To declare it twice in one module returns the same global.
    ///
    /// # Errors
    /// If the module has a global of this name and of another type, or if there are too many words in
    /// the vmctx.
    pub fn global(&mut self, name: &str, ty: Type) -> Result<Global> {
        if let Some((word, known)) = self.globals.get(name) {
            ensure!(*known == ty, "the global `{name}` is of type {known}, not {ty}");
            return Ok(Global { module: self.number, word: *word, ty });
        }
        let name: Arc<str> = name.into();
        let word = self.add_word(Word::Global(name.clone(), ty))?;
        self.globals.insert(name, (word, ty));
        Ok(Global { module: self.number, word, ty })
    }
}

impl Body<'_, '_> {
    /// The address of a global, if it belongs to this module.
    fn global_address(&mut self, global: &Global) -> Option<Value> {
        if global.module != self.function().module {
            self.misused(anyhow!("a global of another module is used"));
            return None;
        }
        Some(self.load_word(types::I64, CELLS, global.word))
    }

    /// The value of a global.
    pub fn global_get(&mut self, global: &Global) -> Value {
        let Some(address) = self.global_address(global) else {
            return self.dummy(clif_type(global.ty));
        };
        if global.ty == Type::Ref {
            return self.gc().read_ref(place(address, GLOBAL_REFS, RootKind::Global));
        }
        let value = self.load(clif_type(global.ty), GLOBALS, address, 0);
        if global.ty == Type::Func {
            self.env.functions.insert(value);
        }
        value
    }

    /// Overwrites a global.
    pub fn global_set(&mut self, global: &Global, value: Value) {
        if !self.expect("global_set", value, global.ty) {
            return;
        }
        let Some(address) = self.global_address(global) else { return };
        if global.ty == Type::Ref {
            return self.gc().write_ref(place(address, GLOBAL_REFS, RootKind::Global), value);
        }
        let region = regions::intern(self.builder.func, GLOBALS);
        let flags = MemFlagsData::trusted().with_alias_region(Some(region));
        self.ins().store(flags, value, address, 0);
    }

    /// A constant array of these bytes: a literal, a name. The store makes it once, when the code is loaded: all
    /// code that asks for the same type and bytes gets the same array. So its elements must not be written.
    /// The elements of `ty` must be [`StorageType::I8`].
    ///
    /// # Examples
    /// ```
    /// use gc_engine::{ArrayRef, Collector, Engine, Module, Rooted, StorageType, Store, Type};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let mut module = Module::new(&engine);
    /// let string = module.array_type("string", StorageType::I8)?;
    /// module.function("hello", [], [Type::Ref], |f| {
    ///     let hello = f.constant(&string, b"hello");
    ///     f.ret(&[hello]);
    /// })?;
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&module.compile()?)?;
    /// let hello = store.function::<(), Rooted<ArrayRef>>("hello")?;
    /// let [first, second] = [hello.call(&mut store, ())?, hello.call(&mut store, ())?];
    /// assert!(first.same(&second, &store)?);
    /// assert_eq!(string.bytes(&mut store, &first)?, b"hello");
    /// # anyhow::Ok(())
    /// ```
    pub fn constant(&mut self, ty: &ArrayType, bytes: &[u8]) -> Value {
        match self.constant_of(ty, bytes) {
            Ok(value) => value,
            Err(error) => {
                self.misused(error);
                self.null()
            }
        }
    }

    fn constant_of(&mut self, ty: &ArrayType, bytes: &[u8]) -> Result<Value> {
        ensure!(ty.0.module == self.function().module, "a type of another module is used");
        let (name, element) = (ty.name(), ty.layout().element);
        let found = crate::types::storage_name(element);
        ensure!(
            element == StorageType::I8,
            "the elements of a constant are bytes, but those of `{name}` are of type {found}"
        );
        let word = Word::Constant(ty.0.number.as_u32(), bytes.into());
        let word = self.own_module()?.add_word(word)?;
        let address = self.load_word(types::I64, CELLS, word);
        Ok(self.gc().read_ref(place(address, CONSTANTS, RootKind::Constant)))
    }

    /// A new array of these bytes, which can be written. May collect. The elements of `ty` must be
    /// [`StorageType::I8`].
    pub fn bytes(&mut self, ty: &ArrayType, bytes: &[u8]) -> Value {
        let Ok(length) = u32::try_from(bytes.len()) else {
            self.misused(anyhow!("an array has less than 2^32 elements"));
            return self.null();
        };
        let length = self.i32(length.cast_signed());
        if bytes.is_empty() {
            return self.array_new_default(ty, length);
        }
        let constant = self.constant(ty, bytes);
        let new = self.array_new_default(ty, length);
        let zero = self.i32(0);
        self.array_copy(ty, (new, zero), (constant, zero), length);
        new
    }
}

/// The place of a reference at an address.
fn place(address: Value, region: Region, kind: RootKind) -> RefPlace {
    RefPlace::Native { address, offset: 0, region, kind }
}
