//! A store whose heap is attacked, and its state outside the heap.

use super::host::{inspect, linker, look};
use anyhow::{Context, Result};
use gc_testkit::Ledger;
use gc_testkit::choices::Choices;
use gc_wasm::{
    AnyRef, AsContext, AsContextMut, Engine, ExternRef, Func, Global, Instance, Memory, Module,
    OwnedRooted, RootScope, Rooted, Store, StructRef, Table, Val,
};

/// A store under attack, and its state outside the heap.
pub struct Victim {
    /// The store. Its host values are those of the ledger.
    pub store: Store<Ledger>,
    instance: Instance,
    /// The operations of compiled code, by name. Each takes three numbers.
    pub ops: Vec<(String, Func)>,
    memory: Memory,
    objs: Table,
    /// Eight external references.
    pub externs: Table,
    globals: Vec<Global>,
    /// Handles that operations of the host have made.
    pub handles: Vec<OwnedRooted<AnyRef>>,
}

impl Victim {
    /// A new store with an instance of [`module`](super::module), and objects in its heap.
    ///
    /// # Errors
    /// If the module is another one.
    pub fn new(engine: &Engine, module: &Module, ledger: &Ledger) -> Result<Victim> {
        let mut store = Store::new(engine, ledger.clone());
        let instance = linker(engine)?.instantiate(&mut store, module)?;
        let value = ExternRef::new(&mut store, ledger.issue())?;
        let setup =
            instance.get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut store, "setup")?;
        setup.call(&mut store, Some(value))?;
        let mut ops = Vec::new();
        for export in instance.exports(&mut store) {
            if let Some(op) = export.name().strip_prefix("op ") {
                ops.push((op.to_string(), export.into_func().context("a function")?));
            }
        }
        let memory = instance.get_memory(&mut store, "memory").context("memory")?;
        let objs = instance.get_table(&mut store, "objs").context("objs")?;
        let externs = instance.get_table(&mut store, "externs").context("externs")?;
        let globals = ["base", "bytes", "refs"].into_iter();
        let globals = globals.filter_map(|name| instance.get_global(&mut store, name)).collect();
        let mut data: Vec<u8> = (0..65536).map(|i| (i * 7) as u8).collect();
        data[1000..1010].copy_from_slice(b"the canary");
        memory.data_mut(&mut store).copy_from_slice(&data);
        Ok(Victim { store, instance, ops, memory, objs, externs, globals, handles: Vec::new() })
    }

    /// Does one operation, of compiled code or of the host. Writes which one it is to `name`.
    ///
    /// # Errors
    /// If the operation ends with a trap or an error, as many do.
    pub fn step(&mut self, rng: &mut Choices, name: &mut String) -> Result<()> {
        let number = |rng: &mut Choices| match rng.below(6) {
            0 => rng.word() as i32,
            1 => rng.below(2) as i32,
            _ => rng.below(300) as i32,
        };
        if rng.below(4) > 0 {
            let n = rng.below(self.ops.len());
            let (op, func) = &self.ops[n];
            name.clone_from(op);
            let arguments = [(); 3].map(|()| Val::I32(number(rng)));
            let mut scope = RootScope::new(&mut self.store);
            return func.call(&mut scope, &arguments, &mut [Val::I32(0)]);
        }
        let mut scope = RootScope::new(&mut self.store);
        let index = rng.below(32) as u32;
        match rng.below(9) {
            0 => {
                *name = "Store::gc".into();
                scope.as_context_mut().gc(None)
            }
            1 => {
                *name = "Table::get".into();
                let value = self.objs.get(&mut scope, index.into()).context("an element")?;
                let Some(any) = value.as_any().flatten().copied() else { return Ok(()) };
                inspect(scope.as_context_mut(), any, 4)
            }
            2 => {
                *name = "Global::get".into();
                let global = rng.pick(&self.globals);
                let value = global.get(&mut scope);
                let reference = value.ref_().context("a reference")?;
                self.objs.set(&mut scope, index.into(), reference)?;
                let Some(any) = value.anyref().flatten().copied() else { return Ok(()) };
                self.handles.push(any.to_owned_rooted(&mut scope)?);
                inspect(scope.as_context_mut(), any, 4)
            }
            3 => {
                *name = "Global::set".into();
                let value = self.objs.get(&mut scope, index.into()).context("an element")?;
                rng.pick(&self.globals).set(&mut scope, value.into())
            }
            4 => {
                *name = "typed results".into();
                let get = self
                    .instance
                    .get_typed_func::<(), Rooted<StructRef>>(&mut scope, "get base")?;
                let base = get.call(&mut scope, ())?;
                let take = self
                    .instance
                    .get_typed_func::<Option<Rooted<StructRef>>, i32>(&mut scope, "take base")?;
                take.call(&mut scope, Some(base))?;
                inspect(scope.as_context_mut(), base.to_anyref(), 2)
            }
            5 => {
                *name = "handles".into();
                if self.handles.is_empty() {
                    return Ok(());
                }
                let n = rng.below(self.handles.len());
                let handle = self.handles.swap_remove(n);
                let any = handle.to_rooted(&mut scope);
                let take = self
                    .instance
                    .get_typed_func::<Option<Rooted<AnyRef>>, Option<Rooted<AnyRef>>>(
                        &mut scope, "take any",
                    )?;
                take.call(&mut scope, Some(any))?;
                Ok(())
            }
            6 => {
                *name = "ExternRef".into();
                let value = scope.as_context().data().issue();
                let value = ExternRef::new(&mut scope, value)?;
                let old =
                    self.externs.get(&mut scope, u64::from(index % 8)).context("an element")?;
                self.externs.set(&mut scope, u64::from(index % 8), value.into())?;
                match old.as_extern().flatten() {
                    Some(old) => look(&scope, *old),
                    None => Ok(()),
                }
            }
            7 => {
                *name = "Ref::ty".into();
                let value = self.objs.get(&mut scope, index.into()).context("an element")?;
                value.ty(&scope)?;
                Ok(())
            }
            _ => {
                *name = "Table::grow".into();
                let value = self.objs.get(&mut scope, index.into()).context("an element")?;
                self.objs.grow(&mut scope, 1, value)?;
                Ok(())
            }
        }
    }

    /// The places in the heap of the objects to which globals and the first elements of a table
    /// refer, until the next collection.
    ///
    /// # Errors
    /// If the heap refuses to hand out a reference.
    pub fn places(&mut self) -> Result<Vec<u32>> {
        let mut scope = RootScope::new(&mut self.store);
        let mut places = Vec::new();
        let globals: Vec<Val> = self.globals.iter().map(|global| global.get(&mut scope)).collect();
        let elements = (0..32).filter_map(|n| self.objs.get(&mut scope, n)).map(Val::from);
        for value in globals.into_iter().chain(elements.collect::<Vec<_>>()) {
            if let Some(any) = value.anyref().flatten() {
                places.push(any.to_raw(&mut scope)?);
            }
        }
        Ok(places)
    }

    /// Checks that everything outside the heap is unchanged.
    ///
    /// # Errors
    /// If something is missing.
    ///
    /// # Panics
    /// If something has changed.
    pub fn check_canaries(&mut self) -> Result<()> {
        let data = self.memory.data(&self.store);
        for (i, byte) in data.iter().enumerate() {
            let expected = match i {
                1000..1010 => b"the canary"[i - 1000],
                _ => (i * 7) as u8,
            };
            assert_eq!(*byte, expected, "byte {i} of the linear memory");
        }
        let constant = self.instance.get_global(&mut self.store, "constant").context("constant")?;
        assert_eq!(constant.get(&mut self.store).i64(), Some(0x0123_4567_89ab_cdef));
        let functions = self.instance.get_table(&mut self.store, "functions").context("table")?;
        for (i, expected) in [41, 120, 21].into_iter().enumerate() {
            let f = functions.get(&mut self.store, i as u64).context("an element")?;
            let f = f.as_func().flatten().context("a function")?.typed::<i32, i32>(&self.store)?;
            assert_eq!(f.call(&mut self.store, 40)?, expected, "function {i}");
        }
        Ok(())
    }
}
