//! What the host knows of a store: its handles, what they must refer to, and what lives.

use super::driver::{Api, Driver, Given, How, Seen, fits};
use crate::value::Referent;
use anyhow::{Context as _, Result, bail, ensure};
use gc_testkit::{Ledger, Token};
use gc_wasm::Reclaims;
use std::collections::{HashMap, HashSet};

/// The most handles, if each is deleted by itself.
const HANDLES: usize = 60;

/// A struct or an array.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) is_array: bool,
    pub(super) refs: Vec<Referent>,
}

/// A value with a handle. Null has none.
pub(super) struct Handle<A: Api> {
    pub(super) handle: Option<A::Ref>,
    pub(super) value: Referent,
}

impl<A: Api> Clone for Handle<A> {
    fn clone(&self) -> Handle<A> {
        Handle { handle: self.handle.clone(), value: self.value }
    }
}

impl<A: Api> Handle<A> {
    /// The handle as what goes to a place.
    pub(super) fn to_place(&self, external: bool) -> Given<'_, A> {
        Given { handle: self.handle.as_ref(), external }
    }
}

/// A weak handle, or a finalizer.
pub(super) struct Weak<T> {
    pub(super) weak: T,
    pub(super) value: Referent,
    /// Whether its object was unreachable at some time, so that a collection may have found it dead.
    lost: bool,
    /// Whether a collection must have found it dead.
    dead: bool,
}

impl<T> Weak<T> {
    pub(super) fn new(weak: T, value: Referent) -> Weak<T> {
        Weak { weak, value, lost: false, dead: false }
    }

    /// Checks whether it may be that the object is dead, or not.
    pub(super) fn check(&self, dead: bool) -> Result<()> {
        ensure!(!dead || self.lost, "{:?} died while something referred to it", self.value);
        ensure!(dead || !self.dead, "{:?} lives although nothing refers to it", self.value);
        Ok(())
    }
}

pub(super) struct KnownGlobal<A: Api> {
    pub(super) global: A::Global,
    pub(super) value: Referent,
    pub(super) external: bool,
}

pub(super) struct KnownTable<A: Api> {
    pub(super) table: A::Table,
    pub(super) elements: Vec<Referent>,
    pub(super) external: bool,
}

/// A call that has not returned.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub(super) arguments: [Referent; 2],
    pub(super) how: How,
}

/// The model of a store.
pub(super) struct World<A: Api> {
    /// What the driver has.
    pub(super) own: A::Own,
    pub(super) ledger: Ledger,
    pub(super) reclaims: Reclaims,
    /// The number of its engine.
    pub(super) engine: usize,
    /// Whether the store's code needs fuel, and can be interrupted.
    pub(super) limited: bool,
    pub(super) objects: Vec<Object>,
    /// The number of values of the host.
    pub(super) hosts: u32,
    /// A handle to each thing that is not in the heap.
    pub(super) things: Vec<A::Ref>,
    /// The handles of all scopes that are open, the innermost last.
    scopes: Vec<Vec<Handle<A>>>,
    /// Handles whose scopes have ended.
    pub(super) stale: Vec<A::Ref>,
    pub(super) owned: Vec<(A::Owned, Referent)>,
    pub(super) weak: Vec<Weak<A::Weak>>,
    /// The finalizers, with the numbers of their tokens.
    pub(super) finalizers: Vec<Weak<u32>>,
    /// What is attached to values, with the numbers of the tokens.
    attached: HashMap<Referent, (A::Attachment, u32)>,
    pub(super) globals: Vec<KnownGlobal<A>>,
    pub(super) tables: Vec<KnownTable<A>>,
    pub(super) memory: Option<(A::Memory, Vec<u8>)>,
    pub(super) program: Option<A::Program>,
    /// What the program keeps in a global.
    pub(super) kept: Referent,
    /// The calls that have not returned.
    pub(super) running: Vec<Running>,
    /// What the host has returned to the module, or thrown.
    pub(super) returned: Option<Referent>,
    /// The handle to the error with which the host has failed.
    pub(super) failed: Option<Referent>,
    /// Whether there may be objects in the heap that the model does not know.
    inexact: bool,
    /// The numbers of the tokens that live until the store is gone.
    pub(super) lasting: Vec<u32>,
    /// The numbers of all tokens of the store.
    pub(super) tokens: Vec<u32>,
}

impl<A: Driver> World<A> {
    pub(super) fn new(own: A::Own, ledger: &Ledger, reclaims: Reclaims) -> World<A> {
        World {
            own,
            ledger: ledger.clone(),
            reclaims,
            engine: 0,
            limited: false,
            objects: Vec::new(),
            hosts: 0,
            things: Vec::new(),
            scopes: vec![Vec::new()],
            stale: Vec::new(),
            owned: Vec::new(),
            weak: Vec::new(),
            finalizers: Vec::new(),
            attached: HashMap::new(),
            globals: Vec::new(),
            tables: Vec::new(),
            memory: None,
            program: None,
            kept: Referent::Null,
            running: Vec::new(),
            returned: None,
            failed: None,
            inexact: false,
            lasting: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// A new token of the store.
    pub(super) fn token(&mut self) -> Token {
        let token = self.ledger.issue();
        self.tokens.push(token.number());
        token
    }

    // ---- handles ----

    pub(super) fn push(&mut self, handle: Option<A::Ref>, value: Referent) {
        if !A::SCOPED && self.handles().count() > HANDLES {
            // A deleted handle's number is used by another then.
            self.scopes[0].drain(..HANDLES / 2);
        }
        self.scopes.last_mut().expect("a scope is open").push(Handle { handle, value });
    }

    /// All handles of the scopes that are open, the last one first.
    pub(super) fn handles(&self) -> impl Iterator<Item = &Handle<A>> {
        self.scopes.iter().rev().flat_map(|scope| scope.iter().rev())
    }

    /// A handle: the last for zero. Null for large bytes.
    pub(super) fn handle(&self, byte: u8) -> Handle<A> {
        let count = self.handles().count();
        if count == 0 || byte >= 0xf8 {
            return Handle { handle: None, value: Referent::Null };
        }
        self.handles().nth(usize::from(byte) % count).expect("there are that many").clone()
    }

    /// A handle whose value goes to the heap, or to the code of the store.
    pub(super) fn given(&mut self, byte: u8) -> Handle<A> {
        let handle = self.handle(byte);
        // It may be put in a box.
        self.inexact |= matches!(handle.value, Referent::Thing(_));
        handle
    }

    /// Deletes a handle of an API without scopes.
    pub(super) fn delete(&mut self, byte: u8) {
        let handles = &mut self.scopes[0];
        if let Some(i) = pick(handles, byte) {
            A::delete(handles.swap_remove(i).handle);
        }
    }

    pub(super) fn open_scope(&mut self) {
        if A::SCOPED {
            self.scopes.push(Vec::new());
        }
    }

    pub(super) fn end_scope(&mut self) {
        if A::SCOPED {
            let ended = self.scopes.pop().expect("a scope is open");
            self.stale.extend(ended.into_iter().filter_map(|handle| handle.handle));
        }
    }

    /// Ends all scopes. The handles that there were.
    pub(super) fn end_scopes(&mut self) -> Vec<A::Ref> {
        let ended = self.scopes.drain(..).flatten();
        let mut ended: Vec<_> = ended.filter_map(|handle| handle.handle).collect();
        ended.append(&mut self.stale);
        ended
    }

    pub(super) fn object(&mut self, is_array: bool, refs: Vec<Referent>) -> Referent {
        self.objects.push(Object { is_array, refs });
        Referent::Object(self.objects.len() - 1)
    }

    /// Notes that a token is attached to a value. The number of the token that was attached before.
    pub(super) fn attach(
        &mut self,
        value: Referent,
        attachment: A::Attachment,
        token: u32,
    ) -> Option<u32> {
        self.attached.insert(value, (attachment, token)).map(|(_, token)| token)
    }

    // ---- what lives ----

    fn roots(&self) -> Vec<Referent> {
        let handles = self.handles().map(|handle| handle.value);
        let owned = self.owned.iter().map(|(_, value)| *value);
        let globals = self.globals.iter().map(|global| global.value);
        let elements = self.tables.iter().flat_map(|table| table.elements.iter().copied());
        // A function that catches needs its arguments no more when it has called the host.
        let running = self.running.iter().filter(|running| running.how != How::Throw);
        let running = running.flat_map(|running| running.arguments).chain(self.returned);
        let others = [self.kept].into_iter().chain(running);
        handles.chain(owned).chain(globals).chain(elements).chain(others).collect()
    }

    /// These values, and what they refer to.
    fn reachable(&self, roots: impl IntoIterator<Item = Referent>) -> Reachable {
        let mut waiting: Vec<_> = roots.into_iter().collect();
        let mut found = HashSet::new();
        while let Some(value) = waiting.pop() {
            if found.insert(value)
                && let Referent::Object(n) = value
            {
                waiting.extend_from_slice(&self.objects[n].refs);
            }
        }
        Reachable(found)
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
        let reachable = self.reachable(self.roots().into_iter().chain(finalizable.clone()));
        // What the functions that run hold is not known exactly.
        let exact = self.running.is_empty() && self.reclaims == Reclaims::Everything;
        let exact = exact && !self.inexact;
        let mut expected = reachable.count();
        for (value, (_, token)) in &self.attached {
            let dropped = self.ledger.times_dropped(*token) != 0;
            let lives = reachable.has(*value);
            ensure!(!dropped || !lives, "what is attached to {value:?} was dropped");
            ensure!(dropped || lives || !exact, "what is attached to {value:?} leaks");
            // Attached to an object is a box of the heap.
            expected += u64::from(lives && matches!(value, Referent::Object(_)));
        }
        for token in self.lasting.iter().chain(self.finalizers.iter().map(|other| &other.weak)) {
            ensure!(self.ledger.times_dropped(*token) == 0, "host value {token} was dropped");
        }
        if !exact {
            return Ok(());
        }
        ensure!(objects == expected, "{objects} objects live instead of {expected}");
        for weak in &mut self.weak {
            weak.dead |= !reachable.has(weak.value);
        }
        self.note_dead(&finalizable);
        Ok(())
    }

    /// Notes the finalizers whose objects must have been found dead.
    fn note_dead(&mut self, finalizable: &[Referent]) {
        for i in 0..self.finalizers.len() {
            let mut others = finalizable.to_vec();
            others.remove(i);
            let value = self.finalizers[i].value;
            let twice = others.contains(&value);
            let reachable = self.reachable(self.roots().into_iter().chain(others));
            self.finalizers[i].dead |= !twice && !reachable.has(value);
        }
    }

    /// Whether a finalizer's object must be dead.
    pub(super) fn some_finalizable(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer.dead)
    }

    /// Checks an object that was found dead, and makes a handle of it.
    pub(super) fn finalized(
        &mut self,
        cx: &mut A::Cx<'_>,
        object: A::Ref,
        token: u32,
    ) -> Result<()> {
        let known = self.finalizers.iter().position(|known| known.weak == token);
        let known = self.finalizers.swap_remove(known.context("there is no such finalizer")?);
        known.check(true)?;
        self.found(cx, Some(object), known.value)
    }

    // ---- what a handle refers to ----

    /// Checks that a handle refers to `expected`, and to nothing else that has a handle.
    pub(super) fn check(
        &self,
        cx: &mut A::Cx<'_>,
        actual: Option<&A::Ref>,
        expected: Referent,
    ) -> Result<()> {
        let seen = actual.map(|actual| A::inspect(cx, actual)).transpose()?;
        let shape = |n: usize| (self.objects[n].is_array, self.objects[n].refs.len());
        ensure!(fits(seen, expected, shape), "{seen:?} instead of {expected:?}");
        if let Referent::Thing(n) = expected {
            let same = A::same(cx, actual, Some(&self.things[n]))?;
            ensure!(same, "something else instead of {expected:?}");
        }
        if let Some(actual) = actual {
            let found = A::attached(cx, actual)?;
            let attached = self.attached.get(&expected).map(|(attachment, _)| *attachment);
            ensure!(found == attached, "{found:?} is attached to {expected:?}, not {attached:?}");
        }
        for Handle { handle, value } in self.handles() {
            let same = A::same(cx, handle.as_ref(), actual)?;
            ensure!(same == (*value == expected), "{value:?} is the same as {expected:?}: {same}");
        }
        A::settled()
    }

    /// Checks a reference that was found somewhere, and keeps a handle.
    pub(super) fn found(
        &mut self,
        cx: &mut A::Cx<'_>,
        actual: Option<A::Ref>,
        expected: Referent,
    ) -> Result<()> {
        self.check(cx, actual.as_ref(), expected)?;
        self.push(actual, expected);
        Ok(())
    }

    /// Keeps a handle to something that is not in the heap.
    pub(super) fn thing(&mut self, cx: &mut A::Cx<'_>, handle: A::Ref) -> Result<Referent> {
        let mut known = None;
        for (number, thing) in self.things.iter().enumerate() {
            if A::same(cx, Some(thing), Some(&handle))? {
                known = Some(number);
                break;
            }
        }
        let number = known.unwrap_or_else(|| {
            self.things.push(handle.clone());
            self.things.len() - 1
        });
        let Seen::Thing = A::inspect(cx, &handle)? else { bail!("it is in the heap") };
        self.found(cx, Some(handle), Referent::Thing(number))?;
        Ok(Referent::Thing(number))
    }
}

/// The values that can be reached.
struct Reachable(HashSet<Referent>);

impl Reachable {
    fn has(&self, value: Referent) -> bool {
        match value {
            Referent::Object(_) | Referent::Host(_) => self.0.contains(&value),
            Referent::Null | Referent::I31(_) | Referent::Thing(_) => true,
        }
    }

    /// How many of them are in the heap.
    fn count(&self) -> u64 {
        let in_heap = |value: &&Referent| matches!(value, Referent::Object(_) | Referent::Host(_));
        self.0.iter().filter(in_heap).count() as u64
    }
}

/// The element of `list` that a byte chooses.
pub(super) fn pick<T>(list: &[T], byte: u8) -> Option<usize> {
    usize::from(byte).checked_rem(list.len())
}

/// An index. Small bytes may be behind the end.
pub(super) fn index(byte: u8, len: usize, most: u8) -> usize {
    match usize::from(byte).checked_rem(len) {
        Some(index) if byte >= 0x80 => index,
        _ => usize::from(byte % most),
    }
}
