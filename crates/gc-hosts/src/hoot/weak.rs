//! Weak references, weak maps and finalization registries.
//!
//! A weak map is a [`WeakMap`] of the store: its entries are ephemerons, so a key and a value that
//! refer to each other die together.
//!
//! In JavaScript, the callback of a finalization registry runs when the program waits for its next
//! event. There are no events here, so it never runs: a weak hash table keeps the places of keys that
//! died. A registry only knows with which tokens something was registered: it is a weak map of them.

use crate::call::{Call, Functions};
use crate::own_type::own_struct;
use anyhow::Result;
use gc_wasm::{AnyRef, Rooted, StructRef, StructRefPre, Val, WeakMap, WeakRooted};

type Map = WeakMap<AnyRef, AnyRef>;

/// Defines weak references and weak maps.
pub(super) fn define<T: 'static>(rt: &mut Functions<'_, T>) -> Result<()> {
    rt.func("make_weak_ref", "a>x", |call| {
        let weak = call.internal(0)?.downgrade(&mut *call.caller)?;
        call.give_host(weak)
    })?;
    rt.func("weak_ref_deref", "xa>a", |call| {
        let weak = call.host::<WeakRooted<AnyRef>>(0, "weak reference")?.clone();
        let object = weak.upgrade(&mut *call.caller)?;
        give_or(call, object, 1)
    })?;
    rt.func("make_weak_map", ">x", |call| {
        let map = Map::new(&mut *call.caller)?;
        call.give_host(map)
    })?;
    rt.func("weak_map_get", "xaa>a", |call| {
        let (map, key) = map_and_key(&call)?;
        let value = map.get(&mut *call.caller, &key)?;
        give_or(call, value, 2)
    })?;
    let set = |call: &mut Call<'_, '_, T>| {
        let ((map, key), value) = (map_and_key(call)?, call.internal(2)?);
        map.insert(&mut *call.caller, &key, &value)
    };
    rt.func("weak_map_set", "xaa", move |mut call| set(&mut call))?;
    rt.func("weak_map_delete", "xa>i", |call| {
        let (map, key) = map_and_key(&call)?;
        let had = map.remove(&mut *call.caller, &key)?;
        call.give_bool(had)
    })
}

fn map_and_key<T>(call: &Call<'_, '_, T>) -> Result<(Map, Rooted<AnyRef>)> {
    Ok((call.host::<Map>(0, "weak map")?.clone(), call.internal(1)?))
}

/// Returns the object, or else the argument `otherwise`.
fn give_or<T>(
    call: Call<'_, '_, T>,
    object: Option<Rooted<AnyRef>>,
    otherwise: usize,
) -> Result<()> {
    let value = match object {
        Some(object) => object,
        None => call.internal(otherwise)?,
    };
    call.give(Val::AnyRef(Some(value)))
}

/// A finalization registry: the tokens with which something was registered. Nothing else is needed of
/// an object whose callback never runs.
#[derive(Clone)]
struct Registry(Map);

/// The registry in argument 0, and the token in another argument.
fn registry_and_token<T>(
    call: &Call<'_, '_, T>,
    token: usize,
) -> Result<(Registry, Rooted<AnyRef>)> {
    Ok((call.host::<Registry>(0, "finalization registry")?.clone(), call.internal(token)?))
}

/// Defines how a procedure of Scheme is passed to the host: as an object that refers to it.
pub(super) fn define_ffi<T: 'static>(of: &mut Functions<'_, T>) -> Result<()> {
    let procedure = own_struct(of.engine(), "(struct (field (ref null any)))")?;
    of.func("procedure_to_extern", "a>x", move |call| {
        let fields = [Val::AnyRef(Some(call.internal(0)?))];
        let allocator = StructRefPre::new(&mut *call.caller, procedure.clone());
        let procedure = StructRef::new(&mut *call.caller, &allocator, &fields)?;
        call.give_object(procedure.to_anyref())
    })
}

/// Defines finalization registries.
pub(super) fn define_finalization<T: 'static>(of: &mut Functions<'_, T>) -> Result<()> {
    of.func("make_finalization_registry", "x>x", |call| {
        let tokens = Map::new(&mut *call.caller)?;
        call.give_host(Registry(tokens))
    })?;
    of.func("finalization_registry_register", "xaa", |call| {
        call.host::<Registry>(0, "finalization registry")?;
        call.internal(1).map(drop)
    })?;
    of.func("finalization_registry_register_with_token", "xaaa", |call| {
        let (Registry(tokens), token) = registry_and_token(&call, 3)?;
        tokens.insert(&mut *call.caller, &token, &token)
    })?;
    of.func("finalization_registry_unregister", "xa>i", |call| {
        let (Registry(tokens), token) = registry_and_token(&call, 1)?;
        let had = tokens.remove(&mut *call.caller, &token)?;
        call.give_bool(had)
    })
}
