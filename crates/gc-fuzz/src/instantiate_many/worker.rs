//! What a thread has, and the steps that it takes.

use super::generated::{INSTANCES, Modules, Played};
use super::{MODULES, SHAPES, THREADS, own_fields};
use crate::refs::host_number;
use anyhow::{Context, Result, ensure};
use gc_testkit::Ledger;
use gc_wasm::{
    Engine, ExternRef, FieldType, Finality, HeapType, Instance, Module, Mutability, OwnedRooted,
    PoolConcurrencyLimitError, RefType, RootScope, Rooted, Store, StoreLimits, StructRef,
    StructRefPre, StructType, Val, ValType,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most things of a kind that a thread has.
const MOST: usize = 4;

/// The most stores of generated modules: those of each thread, one more in a step, and those for all.
pub(super) const MOST_HELD: u32 = ((MOST + 1) * THREADS + MOST) as u32;

/// What the threads share.
pub(super) struct Shared {
    modules: Mutex<Vec<(usize, Module)>>,
    stores: Mutex<Vec<Running>>,
    generated: Modules,
    held: Mutex<Vec<Held>>,
    /// How many stores have an instance, and how many can. `None` if that depends on the moment.
    slots: Option<(Mutex<u32>, u32)>,
}

impl Shared {
    pub(super) fn new(generated: Modules, slots: Option<u32>) -> Shared {
        let slots = slots.map(|slots| (Mutex::default(), slots));
        let (modules, stores, held) = Default::default();
        Shared { modules, stores, generated, held, slots }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store with an instance, and what is known of it.
struct Running {
    store: Store<()>,
    instance: Instance,
    calls: i32,
    /// The number of the value of the host that it keeps.
    host: Option<u32>,
    /// An object of a type of the host, with its number.
    object: Option<(OwnedRooted<StructRef>, u32)>,
}

/// A store with instances of a generated module, and how many of the pool's places they have.
struct Held {
    _store: Store<StoreLimits>,
    places: u32,
}

/// A type, and what is known of it.
struct Known {
    ty: StructType,
    kind: TypeOrigin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TypeOrigin {
    /// The one with this number.
    Numbered(u8),
    /// The supertype and the type of a field are those with these numbers, which are groups of their
    /// own.
    Referring { supertype: u8, field: u8 },
    /// The type `$a` of modules of this shape.
    Module(usize),
}

/// A thread's own things.
pub(super) struct Worker<'a> {
    engine: &'a Engine,
    ledger: &'a Ledger,
    shared: &'a Shared,
    modules: Vec<(usize, Module)>,
    stores: Vec<Running>,
    held: Vec<Held>,
    types: Vec<Known>,
}

/// Takes one of the things out, if there are any.
fn take<T>(things: &mut Vec<T>, which: u8) -> Option<T> {
    let at = usize::from(which).checked_rem(things.len())?;
    Some(things.swap_remove(at))
}

impl<'a> Worker<'a> {
    pub(super) fn new(engine: &'a Engine, ledger: &'a Ledger, shared: &'a Shared) -> Worker<'a> {
        let (modules, stores, held, types) = Default::default();
        Worker { engine, ledger, shared, modules, stores, held, types }
    }

    /// Takes a step.
    pub(super) fn step(&mut self, operation: u8, which: u8) -> Result<()> {
        match operation % 16 {
            0 => self.compile(usize::from(which) % SHAPES)?,
            1 => self.play(which / 2, which.is_multiple_of(2))?,
            2..=4 => self.instantiate(which)?,
            5 | 6 => self.run(which)?,
            7 => self.keep(which)?,
            8 => {
                let stores = &mut self.stores;
                if let Some(at) = usize::from(which).checked_rem(stores.len()) {
                    stores[at].store.gc(None)?;
                }
            }
            9 => drop(take(&mut self.modules, which)),
            10 if operation / 16 % 4 == 3 => self.drop_held(which),
            10 => {
                if let Some(running) = take(&mut self.stores, which) {
                    drop(running);
                    self.count(|used| *used -= 1);
                }
            }
            11 => self.make_type(operation / 16, which)?,
            12 if operation / 16 % 4 == 3 => self.make_and_drop(which, 4)?,
            12 => self.use_type(which)?,
            13 => {
                // Give a module to all, or take one.
                let mut all = lock(&self.shared.modules);
                if which.is_multiple_of(2) && all.len() < MOST {
                    all.extend(take(&mut self.modules, which / 2));
                } else if let Some(at) = usize::from(which / 2).checked_rem(all.len()) {
                    self.modules.push(all[at].clone());
                    self.modules.truncate(MOST);
                }
            }
            14 if operation / 16 % 4 == 3 => {
                // The same with a store, which leaves the other threads.
                let mut all = lock(&self.shared.held);
                if which.is_multiple_of(2) && all.len() < MOST {
                    all.extend(take(&mut self.held, which / 2));
                } else if self.held.len() < MOST {
                    self.held.extend(take(&mut all, which / 2));
                }
            }
            14 => {
                // The same with a store of a module whose shape is known.
                let mut all = lock(&self.shared.stores);
                if which.is_multiple_of(2) {
                    all.extend(take(&mut self.stores, which / 2));
                } else {
                    self.stores.extend(take(&mut all, which / 2));
                }
            }
            _ => drop(take(&mut self.types, which)),
        }
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut u32)) {
        if let Some((used, _)) = &self.shared.slots {
            change(&mut lock(used));
        }
    }

    fn compile(&mut self, shape: usize) -> Result<()> {
        if self.modules.len() < MOST {
            self.modules.push((shape, Module::from_binary(self.engine, &MODULES[shape])?));
        }
        Ok(())
    }

    fn instantiate(&mut self, which: u8) -> Result<()> {
        let Some(at) = usize::from(which).checked_rem(self.modules.len()) else { return Ok(()) };
        if self.stores.len() >= MOST {
            return Ok(());
        }
        let mut store = Store::new(self.engine, ());
        let instance = Instance::new(&mut store, &self.modules[at].1, &[]);
        let room = self.shared.slots.as_ref().map(|(used, most)| *lock(used) < *most);
        match instance {
            Ok(instance) => {
                ensure!(room != Some(false), "a slot is used twice");
                self.count(|used| *used += 1);
                self.stores.push(Running { store, instance, calls: 0, host: None, object: None });
                Ok(())
            }
            Err(why) => {
                let full = why.is::<PoolConcurrencyLimitError>();
                ensure!(full && room != Some(true), "there is room for an instance: {why:#}");
                Ok(())
            }
        }
    }

    /// Makes a store with instances of a generated module.
    fn play(&mut self, which: u8, again: bool) -> Result<()> {
        if self.held.len() >= MOST {
            self.drop_held(0);
        }
        let places = || match self.engine.pooling_allocator_metrics() {
            Some(metrics) => metrics.core_instances() as u32,
            None => 0,
        };
        let before = places();
        let played = self.shared.generated.play(self.engine, self.ledger, which, again)?;
        let Some(Played { store, refused }) = played else { return Ok(()) };
        let mut taken = 0;
        if let Some((used, most)) = &self.shared.slots {
            // No other thread takes a step now.
            taken = places() - before;
            let mut used = lock(used);
            ensure!(!refused || *used + INSTANCES > *most, "there is room for instances");
            *used += taken;
            ensure!(*used <= *most, "a slot is used twice");
        }
        self.held.push(Held { _store: store, places: taken });
        Ok(())
    }

    fn drop_held(&mut self, which: u8) {
        if let Some(Held { _store: store, places }) = take(&mut self.held, which) {
            drop(store);
            self.count(|used| *used -= places);
        }
    }

    /// Makes many objects in a store.
    fn run(&mut self, which: u8) -> Result<()> {
        let Some(at) = usize::from(which).checked_rem(self.stores.len()) else { return Ok(()) };
        let running = &mut self.stores[at];
        let run = running.instance.get_typed_func::<i32, i32>(&mut running.store, "run")?;
        let n = i32::from(which) % 50;
        running.calls += 1;
        let expected = n * (n + 1) / 2 + running.calls * 65536;
        let sum = run.call(&mut running.store, n)?;
        ensure!(sum == expected, "the sum is {sum}, not {expected}");
        Ok(())
    }

    /// Gives a store a value of the host, and takes the one before.
    fn keep(&mut self, which: u8) -> Result<()> {
        type Host = Option<Rooted<ExternRef>>;
        let Some(at) = usize::from(which).checked_rem(self.stores.len()) else { return Ok(()) };
        let running = &mut self.stores[at];
        let mut store = RootScope::new(&mut running.store);
        let keep = running.instance.get_typed_func::<Host, Host>(&mut store, "keep")?;
        let token = self.ledger.issue();
        let number = token.number();
        let value = ExternRef::new(&mut store, token)?;
        let before = keep.call(&mut store, Some(value))?;
        let before = match before {
            None => None,
            Some(value) => Some(host_number(&store, value)?.context("a value of the host")?),
        };
        ensure!(before == running.host, "the store kept {before:?}, not {:?}", running.host);
        running.host = Some(number);
        Ok(())
    }

    fn make_type(&mut self, kind: u8, which: u8) -> Result<()> {
        if self.types.len() >= MOST {
            return Ok(());
        }
        let (first, second) = (which % 16, which / 16);
        let known = match kind % 4 {
            0 => Known { ty: numbered(self.engine, first)?, kind: TypeOrigin::Numbered(first) },
            1 | 2 => Known {
                // Nothing else keeps the types to which it refers.
                ty: referring(self.engine, first, second)?,
                kind: TypeOrigin::Referring { supertype: first, field: second },
            },
            _ => {
                let Some(at) = usize::from(which).checked_rem(self.modules.len()) else {
                    return Ok(());
                };
                let (shape, module) = &self.modules[at];
                let kept = module.get_export("kept").context("it exports a global")?;
                let content = kept.unwrap_global().content().clone();
                let ty = content.unwrap_ref().heap_type().unwrap_concrete_struct().clone();
                Known { ty, kind: TypeOrigin::Module(*shape) }
            }
        };
        self.types.push(known);
        Ok(())
    }

    /// Makes equal types and drops them, again and again. Other threads may do the same.
    pub(super) fn make_and_drop(&self, which: u8, turns: u16) -> Result<()> {
        let number = which % 16;
        for turn in 0..turns {
            let first = numbered(self.engine, number)?;
            // Meanwhile another thread may free the equal type that was there before.
            (0..turn % 512).for_each(|_| std::hint::spin_loop());
            let equal = StructType::eq(&first, &numbered(self.engine, number)?);
            ensure!(equal, "type {number} is not equal to itself");
        }
        Ok(())
    }

    /// Compares two types, and makes an object of one in a store.
    fn use_type(&mut self, which: u8) -> Result<()> {
        let Some(at) = usize::from(which).checked_rem(self.types.len()) else { return Ok(()) };
        let Known { ty, kind } = &self.types[at];
        let other = numbered(self.engine, which % 16)?;
        let equal = StructType::eq(ty, &other);
        let expected = *kind == TypeOrigin::Numbered(which % 16);
        ensure!(equal == expected, "{kind:?} and {} are mixed up", which % 16);
        check_references(self.engine, ty, *kind)?;
        let Some(at) = usize::from(which).checked_rem(self.stores.len()) else { return Ok(()) };
        let running = &mut self.stores[at];
        let mut store = RootScope::new(&mut running.store);
        if let Some((object, number)) = running.object.take() {
            let object = object.to_rooted(&mut store);
            let value = object.field(&mut store, 0)?.i32().context("an i32")?;
            ensure!(value == number as i32, "the object has {value}, not {number}");
        }
        let value = u32::from(which) * 3;
        let mut fields = vec![Val::I32(value as i32)];
        let others = ty.fields().skip(1).map(|field| field.element_type().unpack().default_value());
        fields.extend(others.collect::<Option<Vec<_>>>().context("they have default values")?);
        let pre = StructRefPre::new(&mut store, ty.clone());
        let object = StructRef::new(&mut store, &pre, &fields)?;
        running.object = Some((object.to_owned_rooted(&mut store)?, value));
        Ok(())
    }
}

/// The fields of a struct type that is another one for each number below 16.
fn fields(number: u8) -> impl Iterator<Item = FieldType> {
    let field = move |bit: u8| match bit == 0 || number >> (bit - 1) & 1 == 1 {
        true => FieldType::new(Mutability::Var, ValType::I32.into()),
        false => FieldType::new(Mutability::Const, ValType::I32.into()),
    };
    (0..5).map(field)
}

/// The struct type with this number.
fn numbered(engine: &Engine, number: u8) -> Result<StructType> {
    StructType::with_finality_and_supertype(engine, Finality::NonFinal, None, fields(number))
}

/// A struct type that refers to two others.
fn referring(engine: &Engine, supertype: u8, field: u8) -> Result<StructType> {
    let other = RefType::new(true, HeapType::ConcreteStruct(numbered(engine, field)?));
    let other = FieldType::new(Mutability::Var, ValType::Ref(other).into());
    let supertype_of = numbered(engine, supertype)?;
    let fields = fields(supertype).chain([other]);
    StructType::with_finality_and_supertype(engine, Finality::Final, Some(&supertype_of), fields)
}

/// Checks that the types to which a type refers are still the same.
fn check_references(engine: &Engine, ty: &StructType, kind: TypeOrigin) -> Result<()> {
    let last = ty.fields().last().context("it has fields")?;
    let referred = |field: FieldType| {
        let content = field.element_type().unwrap_val_type().clone();
        content.unwrap_ref().heap_type().unwrap_concrete_struct().clone()
    };
    match kind {
        TypeOrigin::Numbered(_) => ensure!(ty.supertype().is_none(), "a type has a supertype"),
        TypeOrigin::Referring { supertype, field } => {
            let above = ty.supertype().context("it has a supertype")?;
            let equal = StructType::eq(&above, &numbered(engine, supertype)?);
            ensure!(equal, "another type is the supertype instead of {supertype}");
            ensure!(ty.matches(&above), "a type does not match its supertype");
            let equal = StructType::eq(&referred(last), &numbered(engine, field)?);
            ensure!(equal, "another type is that of a field instead of {field}");
        }
        TypeOrigin::Module(shape) => {
            let own = ty.fields().len() - 3;
            ensure!(own == own_fields(shape), "{own} fields in a module of shape {shape}");
            let leaf = referred(last);
            let wide = leaf.fields().last().is_some_and(|field| {
                field.element_type().unwrap_val_type().is_i64() && field.mutability().is_var()
            });
            ensure!(leaf.fields().len() == own + 1 && wide, "the type of a field is {leaf}");
            let above = ty.supertype().context("it has a supertype")?;
            ensure!(above.fields().len() == 1 && ty.matches(&above), "the supertype is {above}");
        }
    }
    Ok(())
}
