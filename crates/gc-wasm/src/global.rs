//! [`Global`]: globals of a store.

use crate::externals::handles;
use crate::store::{StoreId, StoreOpaque, limits};
use crate::types::{GlobalType, ValType};
use crate::vm::globals::GlobalData;
use crate::vm::layout::GLOBAL_SIZE;
use crate::vm::words::VMWords;
use crate::{AsContext, AsContextMut, Func, V128, Val};
use anyhow::{Result, ensure};
use gc_types::VMGcRef;
use wasmtime_types::WasmValType;

/// A global in a store. Copies are the same global.
///
/// # Examples
/// ```
/// use gc_wasm::{Global, GlobalType, Mutability, Store, Val, ValType};
///
/// let mut store = Store::<()>::default();
/// let ty = GlobalType::new(ValType::I32, Mutability::Var);
/// let global = Global::new(&mut store, ty, Val::I32(1))?;
/// global.set(&mut store, Val::I32(2))?;
/// assert_eq!(global.get(&mut store).unwrap_i32(), 2);
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Global {
    store: StoreId,
    index: usize,
}

handles! { Global "a global" }

impl Global {
    /// Makes a global.
    ///
    /// # Errors
    /// If the value is not of the type, belongs to another store, or its scope has ended. If the store
    /// has too many globals.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, value: Val) -> Result<Global> {
        let store = store.as_context_mut().into_opaque();
        assert!(
            ty.content().comes_from(store.engine()),
            "the global's type belongs to another engine"
        );
        if let ValType::Ref(content) = ty.content() {
            store.keep_type(content.heap_type());
        }
        let ty = ty.to_wasm();
        let what = || {
            "type mismatch: initial value provided does not match the type of this global"
                .to_string()
        };
        value.check_given(store, &ty.wasm_ty, what)?;
        ensure!(store.globals.len() < limits::GLOBALS, "a store cannot have more globals");
        let place = VMWords::new(GLOBAL_SIZE);
        let index = store.globals.push(store.jit.gc_mut(), GlobalData { place, ty });
        store.write_global(index, &value)?;
        store.globals.initialized(store.jit.gc_mut(), index);
        Ok(Global::from_index(store, index))
    }

    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        let store = store.as_context().opaque();
        GlobalType::from_wasm(store.engine(), &store.globals[self.index(store)].ty)
    }

    /// Its value. A reference is rooted in the current scope.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut) -> Val {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store);
        store.read_global(index)
    }

    /// Overwrites its value.
    ///
    /// # Errors
    /// If it is not mutable, or the value is not of its type, belongs to another store, or its scope has
    /// ended.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, value: Val) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let index = self.index(store);
        let ty = store.globals[index].ty;
        ensure!(ty.mutability, "immutable global cannot be set");
        let what = || "type mismatch: attempt to set global to value of wrong type".to_string();
        value.check_given(store, &ty.wasm_ty, what)?;
        store.may_drop(|store| store.write_global(index, &value))
    }
}

impl StoreOpaque {
    /// The value of global `index`. A reference is rooted in the current scope.
    pub(crate) fn read_global(&mut self, index: usize) -> Val {
        let GlobalData { place, ty } = &self.globals[index];
        let ty = ty.wasm_ty;
        match ty {
            WasmValType::I32 => Val::I32(place.get_u32(0) as i32),
            WasmValType::I64 => Val::I64(place.get(0) as i64),
            WasmValType::F32 => Val::F32(place.get_u32(0)),
            WasmValType::F64 => Val::F64(place.get(0)),
            WasmValType::V128 => {
                let (low, high) = (place.get(0), place.get(8));
                Val::V128(V128::from(u128::from(low) | u128::from(high) << 64))
            }
            WasmValType::Ref(ty) if ty.is_vmgcref_type() => {
                let gc_ref = VMGcRef::from_raw_u32(place.get_u32(0));
                Val::from_borrowed(self, gc_ref.as_ref(), &ty)
            }
            WasmValType::Ref(_) => {
                let func = self.globals.func_ref(index);
                Val::FuncRef(func.map(|func| Func::from_vm(self, func)))
            }
        }
    }

    /// Overwrites global `index` with a value of its type.
    pub(crate) fn write_global(&mut self, index: usize, value: &Val) -> Result<()> {
        let place = &self.globals[index].place;
        match value {
            Val::I32(value) => place.set_u32s(0, *value as u32, 0),
            Val::I64(value) => place.set(0, *value as u64),
            Val::F32(bits) => place.set_u32s(0, *bits, 0),
            Val::F64(bits) => place.set(0, *bits),
            Val::V128(value) => {
                let bits = value.as_u128();
                place.set(0, bits as u64);
                place.set(8, (bits >> 64) as u64);
            }
            Val::FuncRef(None) => place.set(0, 0),
            Val::FuncRef(Some(func)) => place.set_pointer(0, func.as_vm(self).address()),
            Val::ExternRef(_) | Val::AnyRef(_) | Val::ExnRef(_) => {
                let word = self.gc_word(value)?;
                self.globals.write_ref(index, self.jit.gc_mut(), word);
            }
        }
        Ok(())
    }

    /// The word of a GC reference, which is not counted. Zero for null.
    pub(crate) fn gc_word(&self, value: &Val) -> Result<u32> {
        Ok(value.gc_ref(self)?.map_or(0, |gc_ref| gc_ref.as_raw_u32()))
    }
}
