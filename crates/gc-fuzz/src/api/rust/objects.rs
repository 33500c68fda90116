//! Handles and objects.

use super::{Cx, Handled, Rust, Types, value};
use crate::api::driver::{Objects, Seen};
use crate::refs::{host_number, internal};
use anyhow::{Context as _, Result};
use gc_testkit::Token;
use gc_wasm::{AnyRef, ArrayRef, ExternRef, I31, OwnedRooted, Rooted, StructRef, Val, WeakRooted};

impl Objects for Rust {
    fn same(cx: &mut Cx<'_>, a: Option<&Handled>, b: Option<&Handled>) -> Result<bool> {
        match (a, b) {
            (Some(a), Some(b)) => Rooted::ref_eq(&*cx, a, b),
            (a, b) => Ok(a.is_none() && b.is_none()),
        }
    }

    fn inspect(cx: &mut Cx<'_>, handle: &Handled) -> Result<Seen> {
        if let Some(i31) = handle.as_i31(&*cx)? {
            Ok(Seen::I31(i31.get_u32()))
        } else if let Some(array) = handle.as_array(&*cx)? {
            Ok(Seen::Array(array.len(&*cx)?))
        } else if let Some(object) = handle.as_struct(&*cx)? {
            Ok(Seen::Struct(object.field(cx, 0)?.i32().context("no number")?))
        } else {
            Ok(Seen::Host)
        }
    }

    fn attached(cx: &mut Cx<'_>, handle: &Handled) -> Result<Option<u32>> {
        let external = ExternRef::convert_any(&mut *cx, *handle)?;
        host_number(&*cx, external)
    }

    fn copy(cx: &mut Cx<'_>, handle: &Handled) -> Result<Handled> {
        Ok(handle.to_owned_rooted(&mut *cx)?.to_rooted(cx))
    }

    fn own(cx: &mut Cx<'_>, handle: &Handled) -> Result<OwnedRooted<AnyRef>> {
        handle.to_owned_rooted(cx)
    }

    fn unown(cx: &mut Cx<'_>, owned: &OwnedRooted<AnyRef>) -> Result<Handled> {
        Ok(owned.to_rooted(cx))
    }

    fn same_owned(
        cx: &mut Cx<'_>,
        a: &OwnedRooted<AnyRef>,
        b: &OwnedRooted<AnyRef>,
    ) -> Result<bool> {
        OwnedRooted::ref_eq(&*cx, a, b)
    }

    fn downgrade(cx: &mut Cx<'_>, handle: &Handled) -> Result<Option<WeakRooted<AnyRef>>> {
        handle.downgrade(cx).map(Some)
    }

    fn upgrade(cx: &mut Cx<'_>, weak: &WeakRooted<AnyRef>) -> Result<Option<Handled>> {
        weak.upgrade(cx)
    }

    fn add_finalizer(cx: &mut Cx<'_>, handle: &Handled, token: Token) -> Result<()> {
        handle.add_finalizer(cx, token)
    }

    fn next_finalizable(cx: &mut Cx<'_>) -> Result<Option<(Handled, u32)>> {
        let Some((object, value)) = cx.next_finalizable() else { return Ok(None) };
        let token: &Token = value.downcast_ref().context("another value")?;
        Ok(Some((object, token.number())))
    }

    fn host(cx: &mut Cx<'_>, _: &Types, token: Option<Token>) -> Result<(Handled, Option<u32>)> {
        let token = token.context("a value of the host is a token")?;
        let number = token.number();
        let new = ExternRef::new(&mut *cx, token)?;
        Ok((AnyRef::convert_extern(cx, new)?, Some(number)))
    }

    fn i31(cx: &mut Cx<'_>, _: &Types, value: u32) -> Result<Handled> {
        Ok(AnyRef::from_i31(cx, I31::wrapping_u32(value)))
    }

    fn new_struct(
        cx: &mut Cx<'_>,
        own: &Types,
        number: i32,
        external: Option<&Handled>,
        any: Option<&Handled>,
    ) -> Result<Handled> {
        let external = value(&mut *cx, external.copied(), true)?;
        let fields = [Val::I32(number), external, Val::AnyRef(any.copied())];
        Ok(StructRef::new(cx, &own.struct_pre, &fields)?.to_anyref())
    }

    fn new_array(
        cx: &mut Cx<'_>,
        own: &Types,
        element: Option<&Handled>,
        len: u32,
        listed: bool,
    ) -> Result<Handled> {
        let element = Val::AnyRef(element.copied());
        let new = match listed {
            true => ArrayRef::new_fixed(cx, &own.array_pre, &vec![element; len as usize])?,
            false => ArrayRef::new(cx, &own.array_pre, &element, len)?,
        };
        Ok(new.to_anyref())
    }

    fn read(
        cx: &mut Cx<'_>,
        object: &Handled,
        is_array: bool,
        index: usize,
    ) -> Result<Option<Handled>> {
        let read = match is_array {
            true => object.unwrap_array(&*cx)?.get(&mut *cx, index as u32)?,
            // The first field is the number.
            false => object.unwrap_struct(&*cx)?.field(&mut *cx, index + 1)?,
        };
        internal(cx, read)
    }

    fn write(
        cx: &mut Cx<'_>,
        object: &Handled,
        is_array: bool,
        index: usize,
        new: Option<&Handled>,
    ) -> Result<()> {
        let new = value(&mut *cx, new.copied(), !is_array && index == 0)?;
        match is_array {
            true => object.unwrap_array(&*cx)?.set(cx, index as u32, new),
            false => object.unwrap_struct(&*cx)?.set_field(cx, index + 1, new),
        }
    }
}
