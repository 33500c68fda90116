//! Handles and objects.

use super::pointers::{address_of, drop_token, last_error, written};
use super::{Boxed, C, Shared, Store, done, handle, read, result, value};
use crate::api::driver::{Objects, Seen};
use anyhow::{Context as _, Result, anyhow, ensure};
use gc_testkit::Token;
use reclaim::*;
use std::ffi::c_void;

impl Objects for C {
    fn same(_: &mut Shared, a: Option<&Boxed>, b: Option<&Boxed>) -> Result<bool> {
        Ok(wasm_ref_same(a.map(|a| &**a), b.map(|b| &**b)))
    }

    fn inspect(_: &mut Shared, handle: &Boxed) -> Result<Seen> {
        let handle = Some(&**handle);
        let kind = reclaim_ref_kind(handle);
        let is = |kinds: &[RefKind]| kinds.iter().any(|other| *other as u8 == kind);
        if is(&[RefKind::I31]) {
            Ok(Seen::I31(read(written(|out| reclaim_i31_get(handle, out)))? as u32))
        } else if is(&[RefKind::Array]) {
            Ok(Seen::Array(read(written(|out| reclaim_array_length(handle, out)))?))
        } else if is(&[RefKind::Struct]) {
            let number = read(written(|out| reclaim_struct_get(handle, 0, out)))?;
            Ok(Seen::Struct(number.i32().context("no number")?))
        } else if is(&[RefKind::Foreign]) {
            Ok(Seen::Host)
        } else if is(&[RefKind::Func, RefKind::Other]) {
            Ok(Seen::Thing)
        } else {
            Err(anyhow!("a reference of kind {kind}"))
        }
    }

    fn attached(_: &mut Shared, handle: &Boxed) -> Result<Option<*mut c_void>> {
        let found = wasm_ref_get_host_info(Some(handle));
        Ok(Some(found).filter(|found| !found.is_null()))
    }

    fn attach(handle: Option<&Boxed>, token: Token) -> Result<Option<*mut c_void>> {
        let address = address_of(token);
        let handle = handle.map(|handle| &**handle);
        wasm_ref_set_host_info_with_finalizer(handle, address, Some(drop_token));
        match last_error() {
            None => Ok(Some(address)),
            Some(why) => Err(anyhow!(why)),
        }
    }

    fn copy(_: &mut Shared, handle: &Boxed) -> Result<Boxed> {
        result(wasm_ref_copy(Some(handle)))
    }

    fn delete(handle: Option<Boxed>) {
        wasm_ref_delete(handle);
    }

    fn own(_: &mut Shared, handle: &Boxed) -> Result<Boxed> {
        result(wasm_ref_copy(Some(handle)))
    }

    fn unown(_: &mut Shared, owned: &Boxed) -> Result<Boxed> {
        result(wasm_ref_copy(Some(owned)))
    }

    fn same_owned(_: &mut Shared, a: &Boxed, b: &Boxed) -> Result<bool> {
        Ok(wasm_ref_same(Some(a), Some(b)))
    }

    fn host(
        _: &mut Shared,
        own: &Store,
        token: Option<Token>,
    ) -> Result<(Boxed, Option<*mut c_void>)> {
        let foreign = result(wasm_foreign_new(own.store.as_deref()))?;
        let handle = result(wasm_ref_copy(wasm_foreign_as_ref(Some(&foreign))))?;
        let attached = match token {
            Some(token) => C::attach(Some(&handle), token)?,
            None => None,
        };
        Ok((handle, attached))
    }

    fn i31(_: &mut Shared, own: &Store, value: u32) -> Result<Boxed> {
        result(reclaim_i31_new(own.store.as_deref(), value))
    }

    fn new_struct(
        _: &mut Shared,
        own: &Store,
        number: i32,
        external: Option<&Boxed>,
        any: Option<&Boxed>,
    ) -> Result<Boxed> {
        let fields = vec![number.into(), value(external, true), value(any, false)].into();
        let (store, ty) = (own.store.as_deref(), Some(&*own.struct_type));
        result(reclaim_struct_new(store, ty, Some(&fields)))
    }

    fn new_array(
        _: &mut Shared,
        own: &Store,
        element: Option<&Boxed>,
        len: u32,
        listed: bool,
    ) -> Result<Boxed> {
        let element = value(element, false);
        let (store, ty) = (own.store.as_deref(), Some(&*own.array_type));
        result(match listed {
            false => reclaim_array_new(store, ty, Some(&element), len),
            true => {
                let elements = vec![element; len as usize].into();
                reclaim_array_new_fixed(store, ty, Some(&elements))
            }
        })
    }

    fn read(_: &mut Shared, object: &Boxed, is_array: bool, index: usize) -> Result<Option<Boxed>> {
        let object = Some(&**object);
        let (done, value) = match is_array {
            true => written(|out| reclaim_array_get(object, index as u32, out)),
            // The first field is the number.
            false => written(|out| reclaim_struct_get(object, index + 1, out)),
        };
        if !done {
            ensure!(value.kind == 0, "a value of kind {}", value.kind);
        }
        handle(&read((done, value))?)
    }

    fn write(
        _: &mut Shared,
        object: &Boxed,
        is_array: bool,
        index: usize,
        new: Option<&Boxed>,
    ) -> Result<()> {
        // A field takes references of any kind.
        let (object, new) = (Some(&**object), value(new, false));
        done(match is_array {
            true => reclaim_array_set(object, index as u32, Some(&new)),
            false => reclaim_struct_set(object, index + 1, Some(&new)),
        })
    }
}
