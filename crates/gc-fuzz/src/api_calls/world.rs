//! What the host knows of a store: its handles, and what they must refer to.

use anyhow::{Context as _, Result, bail, ensure};
use gc_testkit::{Ledger, Token};
use gc_wasm::{
    AnyRef, ArrayRefPre, ArrayType, AsContextMut, ExternRef, Global, Instance, Memory, OwnedRooted,
    Reclaims, Rooted, StructRefPre, StructType, Table, WeakRooted,
};
use std::any::Any;

/// What a handle refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    I31(u32),
    /// The host's value with this number.
    Host(u32),
    /// An object by its number.
    Object(usize),
}

/// A struct or an array.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) is_array: bool,
    pub(super) refs: Vec<Value>,
}

/// A value with a handle. Null has none.
pub(super) type Handle = (Option<Rooted<AnyRef>>, Value);

/// A weak handle, or a finalizer.
pub(super) struct Weak<T> {
    pub(super) weak: T,
    pub(super) value: Value,
    /// Whether its object was unreachable at some time, so that a collection may have found it dead.
    lost: bool,
    /// Whether a collection must have found it dead.
    dead: bool,
}

impl<T> Weak<T> {
    pub(super) fn new(weak: T, value: Value) -> Weak<T> {
        Weak { weak, value, lost: false, dead: false }
    }

    /// Checks whether it may be that the object is dead, or not.
    pub(super) fn check(&self, dead: bool) -> Result<()> {
        ensure!(!dead || self.lost, "{:?} died while something referred to it", self.value);
        ensure!(dead || !self.dead, "{:?} lives although nothing refers to it", self.value);
        Ok(())
    }
}

pub(super) struct KnownGlobal {
    pub(super) global: Global,
    pub(super) value: Value,
    pub(super) external: bool,
}

pub(super) struct KnownTable {
    pub(super) table: Table,
    pub(super) elements: Vec<Value>,
    pub(super) external: bool,
}

/// The model of a store.
pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) reclaims: Reclaims,
    /// The struct type is that of [`Op::Struct`](super::ops::Op::Struct).
    pub(super) struct_pre: StructRefPre,
    pub(super) array_pre: ArrayRefPre,
    pub(super) struct_type: StructType,
    pub(super) array_type: ArrayType,
    pub(super) objects: Vec<Object>,
    /// The handles of all scopes that are open, the innermost last.
    pub(super) scopes: Vec<Vec<Handle>>,
    /// Handles whose scopes have ended.
    pub(super) stale: Vec<Rooted<AnyRef>>,
    pub(super) owned: Vec<(OwnedRooted<AnyRef>, Value)>,
    pub(super) weak: Vec<Weak<WeakRooted<AnyRef>>>,
    /// The finalizers, with the number of the host value that each of them has.
    pub(super) finalizers: Vec<Weak<u32>>,
    pub(super) globals: Vec<KnownGlobal>,
    pub(super) tables: Vec<KnownTable>,
    pub(super) memory: Option<(Memory, Vec<u8>)>,
    pub(super) instance: Option<Instance>,
    /// What the instance keeps in a global.
    pub(super) kept: Value,
    /// What the host returned to the function that called it last.
    pub(super) running_result: Option<Value>,
    /// The arguments of calls that have not returned.
    pub(super) running: Vec<Value>,
    /// The host values that the store has or had in its heap.
    pub(super) boxed: Vec<u32>,
    /// The other host values that live until the store is dropped.
    pub(super) others: Vec<u32>,
}

impl World {
    pub(super) fn push(&mut self, handle: Option<Rooted<AnyRef>>, value: Value) {
        self.scopes.last_mut().expect("a scope is open").push((handle, value));
    }

    /// A handle: the last for zero. Null for large bytes.
    pub(super) fn handle(&self, byte: u8) -> Handle {
        let all = self.scopes.iter().rev().flat_map(|scope| scope.iter().rev());
        let count = self.scopes.iter().map(Vec::len).sum::<usize>();
        if count == 0 || byte >= 0xf8 {
            return (None, Value::Null);
        }
        *all.into_iter().nth(usize::from(byte) % count).expect("there are that many")
    }

    pub(super) fn end_scope(&mut self) {
        let ended = self.scopes.pop().expect("a scope is open");
        self.stale.extend(ended.into_iter().filter_map(|(handle, _)| handle));
    }

    pub(super) fn object(&mut self, is_array: bool, refs: Vec<Value>) -> Value {
        self.objects.push(Object { is_array, refs });
        Value::Object(self.objects.len() - 1)
    }

    fn roots(&self) -> Vec<Value> {
        let running = self.running.iter().copied().chain(self.running_result);
        let handles = self.scopes.iter().flatten().map(|(_, value)| *value);
        let owned = self.owned.iter().map(|(_, value)| *value);
        let globals = self.globals.iter().map(|global| global.value);
        let elements = self.tables.iter().flat_map(|table| table.elements.iter().copied());
        let kept = [self.kept].into_iter().chain(running);
        handles.chain(owned).chain(globals).chain(elements).chain(kept).collect()
    }

    /// Which objects and host values these values and what they refer to are.
    fn reachable(&self, roots: Vec<Value>) -> Reachable {
        let mut objects = vec![false; self.objects.len()];
        let mut hosts = vec![false; self.ledger.issued() as usize];
        let mut waiting = roots;
        while let Some(value) = waiting.pop() {
            match value {
                Value::Host(n) => hosts[n as usize] = true,
                Value::Object(n) if !objects[n] => {
                    objects[n] = true;
                    waiting.extend_from_slice(&self.objects[n].refs);
                }
                _ => {}
            }
        }
        Reachable { objects, hosts }
    }

    /// Notes which weak handles may be cleared from now on.
    pub(super) fn note_lost(&mut self) {
        if self.weak.is_empty() && self.finalizers.is_empty() {
            return;
        }
        let reachable = self.reachable(self.roots());
        for weak in &mut self.weak {
            weak.lost |= !reachable.has(weak.value);
        }
        for finalizer in &mut self.finalizers {
            finalizer.lost |= !reachable.has(finalizer.value);
        }
    }

    /// Checks what lives after a collection of the whole heap. `objects` is their number in the heap.
    pub(super) fn check_alive(&mut self, objects: u64) -> Result<()> {
        self.ledger.check_none_twice()?;
        let finalizable: Vec<_> = self.finalizers.iter().map(|other| other.value).collect();
        let with = |world: &World, more: &[Value]| {
            let mut roots = world.roots();
            roots.extend_from_slice(more);
            world.reachable(roots)
        };
        let reachable = with(self, &finalizable);
        for token in &self.boxed {
            let dropped = self.ledger.times_dropped(*token) != 0;
            ensure!(
                !dropped || !reachable.has(Value::Host(*token)),
                "host value {token} was dropped"
            );
        }
        for token in self.others.iter().chain(self.finalizers.iter().map(|other| &other.weak)) {
            ensure!(self.ledger.times_dropped(*token) == 0, "host value {token} was dropped");
        }
        // What the functions that run hold is not known exactly.
        if !self.running.is_empty() || self.reclaims != Reclaims::Everything {
            return Ok(());
        }
        for token in &self.boxed {
            let dropped = self.ledger.times_dropped(*token) != 0;
            ensure!(dropped || reachable.has(Value::Host(*token)), "host value {token} leaks");
        }
        let expected = reachable.objects.iter().chain(&reachable.hosts).filter(|yes| **yes).count();
        ensure!(objects == expected as u64, "{objects} objects live instead of {expected}");
        for weak in &mut self.weak {
            weak.dead |= !reachable.has(weak.value);
        }
        for i in 0..self.finalizers.len() {
            let mut others = finalizable.clone();
            others.remove(i);
            let value = self.finalizers[i].value;
            let twice = others.contains(&value);
            self.finalizers[i].dead |= !twice && !with(self, &others).has(value);
        }
        Ok(())
    }

    /// Whether a finalizer's object must be dead.
    pub(super) fn some_finalizable(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer.dead)
    }

    /// Checks an object that was found dead, and makes a handle of it.
    pub(super) fn finalized(
        &mut self,
        store: impl AsContextMut,
        object: Rooted<AnyRef>,
        value: Box<dyn Any + Send + Sync>,
    ) -> Result<()> {
        let token = value.downcast_ref::<Token>().context("another value")?.number();
        let known = self.finalizers.iter().position(|known| known.weak == token);
        let known = self.finalizers.swap_remove(known.context("there is no such finalizer")?);
        known.check(true)?;
        self.check(store, Some(object), known.value)?;
        self.push(Some(object), known.value);
        Ok(())
    }

    /// Checks that a handle refers to `expected`.
    pub(super) fn check(
        &self,
        mut store: impl AsContextMut,
        actual: Option<Rooted<AnyRef>>,
        expected: Value,
    ) -> Result<()> {
        let Some(actual) = actual else {
            ensure!(expected == Value::Null, "null instead of {expected:?}");
            return Ok(());
        };
        match expected {
            Value::Null => bail!("{} instead of null", actual.ty(&store)?),
            Value::I31(n) => {
                let i31 = actual.as_i31(&store)?.context("no i31")?.get_u32();
                ensure!(i31 == n, "the i31 {i31} instead of {n}");
            }
            Value::Host(n) => {
                let external = ExternRef::convert_any(&store, actual)?;
                let data = external.data(store.as_context())?.context("an object")?;
                let token = data.downcast_ref::<Token>().context("another host value")?.number();
                ensure!(token == n, "host value {token} instead of {n}");
            }
            Value::Object(n) => {
                let object = &self.objects[n];
                if object.is_array {
                    let len = actual.as_array(&store)?.context("no array")?.len(&store)?;
                    ensure!(
                        len as usize == object.refs.len(),
                        "an array of {len} instead of {object:?}"
                    );
                } else {
                    let object = actual.as_struct(&store)?.context("no struct")?;
                    let number = object.field(&mut store, 0)?.i32().context("no number")?;
                    ensure!(number as usize == n, "object {number} instead of {n}");
                }
            }
        }
        for (handle, value) in self.scopes.iter().flatten() {
            let Some(handle) = handle else { continue };
            let same = Rooted::ref_eq(&store, handle, &actual)?;
            ensure!(same == (*value == expected), "{value:?} is the same as {expected:?}: {same}");
        }
        Ok(())
    }
}

struct Reachable {
    objects: Vec<bool>,
    hosts: Vec<bool>,
}

impl Reachable {
    fn has(&self, value: Value) -> bool {
        match value {
            Value::Object(n) => self.objects[n],
            Value::Host(n) => self.hosts.get(n as usize).copied().unwrap_or(false),
            Value::Null | Value::I31(_) => true,
        }
    }
}
