//! How memories and tables are made and grow, and what the store's limiter has to say about it.

use super::asynchronous::blocking;
use super::host_state::{Asked, Limiter};
use super::{Store, StoreOpaque};
use crate::limits::{DEFAULT_INSTANCE_LIMIT, DEFAULT_MEMORY_LIMIT, DEFAULT_TABLE_LIMIT};
use crate::module::info::ModuleInfo;
use crate::module::table_growth::TableGrowth;
use crate::vm::memory::MemoryData;
use crate::vm::table::{CannotGrow, Element, TableData};
use crate::vm::words::VMWords;
use crate::{ResourceLimiter, ResourceLimiterAsync};
use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use gc_jit::{Work, with_handles};
use gc_types::{HostCall, Trap, VMGcRef};
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use wasmtime_types::{IndexType, Memory, Table};

/// A number of things that are made in a store, and its limit.
#[derive(Debug)]
struct Count {
    number: usize,
    limit: usize,
}

impl Count {
    fn new(limit: usize) -> Count {
        Count { number: 0, limit }
    }

    fn add(&mut self, what: &str, more: usize) -> Result<()> {
        let new = self.number.saturating_add(more);
        if new > self.limit {
            bail!("resource limit exceeded: {what} count too high at {new}");
        }
        self.number = new;
        Ok(())
    }
}

/// What the instances of a store have defined.
#[derive(Debug)]
pub(crate) struct Counts {
    instances: Count,
    memories: Count,
    tables: Count,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            instances: Count::new(DEFAULT_INSTANCE_LIMIT),
            memories: Count::new(DEFAULT_MEMORY_LIMIT),
            tables: Count::new(DEFAULT_TABLE_LIMIT),
        }
    }
}

impl Counts {
    /// Sets the limits of instances, tables and memories.
    fn set_limits(&mut self, (instances, tables, memories): (usize, usize, usize)) {
        self.instances.limit = instances;
        self.tables.limit = tables;
        self.memories.limit = memories;
    }
}

/// A size as the limiter counts it. The largest address space is less than any of them.
fn size(number: Result<u64, impl Sized>) -> Option<usize> {
    number.ok().and_then(|number| usize::try_from(number).ok())
}

/// The size that is named to the limiter for a size that cannot be.
fn most(ty: &Memory) -> usize {
    0_usize.wrapping_sub(size(Ok::<_, ()>(ty.page_size())).unwrap_or(1))
}

/// The elements that a table of this type may have, as the limiter counts them.
fn table_maximum(ty: &Table) -> Option<usize> {
    let indices = match ty.idx_type {
        IndexType::I32 => u32::MAX.into(),
        IndexType::I64 => u64::MAX,
    };
    usize::try_from(ty.limits.max.unwrap_or(indices)).ok()
}

impl StoreOpaque {
    /// The limiter, if there is one.
    ///
    /// # Errors
    /// If it answers later, and the running call cannot wait.
    fn limiter(&mut self) -> Result<Option<Asked<'_>>> {
        let StoreOpaque { host, jit, .. } = self;
        host.limiter(|| blocking(jit))
    }

    /// # Errors
    /// If there is a limiter that answers later: then only asynchronous functions make memories and
    /// tables and grow them.
    pub(crate) fn check_sync_limiter(&self) -> Result<()> {
        ensure!(
            !self.host.limiter_waits(),
            "when using an async resource limiter `*_async` functions must be used instead"
        );
        Ok(())
    }

    /// Runs `function`, which makes or grows a memory or table: on a fiber if the limiter answers
    /// later, so that it can wait.
    pub(crate) async fn grow_async<R: Send>(
        &mut self,
        function: impl FnOnce(&mut StoreOpaque) -> Result<R> + Send,
    ) -> Result<R> {
        match self.host.limiter_waits() {
            true => self.on_fiber(function).await?,
            false => function(self),
        }
    }

    /// Counts an instance of a module and what it defines, before it is made.
    ///
    /// # Errors
    /// If the store may not have so many.
    pub(crate) fn count_instance(&mut self, info: &ModuleInfo) -> Result<()> {
        let counts = &mut self.counts;
        let memories = info.memories.len() - info.num_imported_memories as usize;
        let tables = info.tables.len() - info.num_imported_tables as usize;
        counts.instances.add("instance", 1)?;
        counts.memories.add("memory", memories)?;
        counts.tables.add("table", tables)
    }

    /// Makes a memory, whose compiled code's part is in `definition`. Returns its number. `affinity`
    /// says which memory of which module it is. `what` names it in errors, if it has a name.
    pub(crate) fn new_memory(
        &mut self,
        ty: Memory,
        definition: VMWords,
        affinity: u64,
        what: Option<&dyn Fn() -> String>,
    ) -> Result<usize> {
        let minimum = ty.limits.min;
        let exceeds = |why: String| {
            let why = anyhow!("{}{why}", what.map_or_else(String::new, |what| what() + ": "));
            why.context(format!("memory minimum size of {minimum} pages exceeds memory limits"))
        };
        if let Some(limiter) = self.limiter()? {
            let bytes = size(ty.minimum_byte_size()).unwrap_or(most(&ty));
            if !limiter.memory_growing(0, bytes, size(ty.maximum_byte_size()))? {
                return Err(exceeds("the store's limiter refuses it".to_string()));
            }
        }
        let settings = self.engine().config().memory;
        let maximum = settings.maximum_pages(&ty);
        if minimum > maximum {
            let why = format!(
                "a memory of {minimum} pages exceeds the limit of {maximum} pages \
                 (`memory_maximum`)"
            );
            return Err(exceeds(why));
        }
        let source = self.engine().memory_source();
        let memory = MemoryData::new(source, &settings, ty, definition, affinity);
        let memory = match what {
            Some(what) => memory.with_context(what)?,
            None => memory?,
        };
        self.memories.push(memory);
        Ok(self.memories.len() - 1)
    }

    /// Grows a memory by `delta` pages. Returns the old size in pages, or why it does not grow.
    ///
    /// # Errors
    /// Those of the limiter, and of what ends the code that grows it.
    pub(crate) fn grow_memory(
        &mut self,
        index: usize,
        delta: u64,
        by: GrownBy,
    ) -> Result<Result<u64, CannotGrow>> {
        let memory = &self.memories[index];
        if delta == 0 {
            return Ok(Ok(memory.pages()));
        }
        let (ty, current) = (memory.ty, memory.len());
        if let Some(limiter) = self.limiter()? {
            let more = delta.checked_mul(ty.page_size()).ok_or(());
            let desired = size(more).and_then(|more| more.checked_add(current));
            let desired = desired.unwrap_or(usize::MAX).min(most(&ty));
            let maximum = size(ty.maximum_byte_size());
            if !limiter.memory_growing(current, desired, maximum)? {
                return Ok(Err(CannotGrow::refused(desired, maximum)));
            }
        }
        let grown = match by {
            GrownBy::Host => self.memories[index].grow(delta, || false),
            GrownBy::Code(call) => {
                let must_end = self.must_end();
                let grown = self.memories[index].grow(delta, must_end);
                if grown.is_ok() {
                    self.consume_done(call, delta)?;
                }
                grown
            }
        };
        if let Err(why) = &grown {
            let error = growth_error("Memory", why);
            match self.limiter()? {
                Some(limiter) => limiter.memory_grow_failed(error)?,
                None => log::debug!("a memory did not grow: {error:#}"),
            }
        }
        ensure!(!matches!(grown, Err(CannotGrow::Interrupted)), Trap::Interrupt);
        Ok(grown)
    }

    /// Makes a table without elements, whose compiled code's part is in `definition`, if it may get
    /// its minimal number of them. Returns its number. `what` names it in errors, if it has a
    /// name.
    pub(crate) fn new_table(
        &mut self,
        ty: Table,
        growth: TableGrowth,
        definition: VMWords,
        what: Option<&dyn Fn() -> String>,
    ) -> Result<usize> {
        let minimum = ty.limits.min;
        let exceeds = |why: String| {
            let why = anyhow!("{}{why}", what.map_or_else(String::new, |what| what() + ": "));
            why.context(format!("table minimum size of {minimum} elements exceeds table limits"))
        };
        if let Some(limiter) = self.limiter()? {
            let elements = size(Ok::<_, ()>(minimum)).unwrap_or(usize::MAX);
            if !limiter.table_growing(0, elements, table_maximum(&ty))? {
                return Err(exceeds("the store's limiter refuses it".to_string()));
            }
        }
        // A module's tables were checked when it was compiled.
        if let Some(maximum) = self.engine().pool().map(|pool| pool.table_elements())
            && minimum > maximum
        {
            return Err(exceeds(format!(
                "a table of {minimum} elements exceeds the limit of {maximum} elements, which is \
                 that of the pool"
            )));
        }
        let table = TableData::new(self.engine(), self.tables.len(), ty, growth, definition)?;
        self.tables.push(table);
        Ok(self.tables.len() - 1)
    }

    /// Gives a new table its elements, which are all `init`.
    ///
    /// # Errors
    /// None.
    pub(crate) fn fill_new_table(
        &mut self,
        index: usize,
        init: Element,
    ) -> Result<Result<(), CannotGrow>> {
        let minimum = self.tables[index].ty.limits.min;
        self.extend_table(index, minimum, init, GrownBy::Host).map(|grown| grown.map(drop))
    }

    /// Grows a table by `delta` elements with the value `init`. Returns the old size, or why it does
    /// not grow.
    ///
    /// # Errors
    /// Those of the limiter, and of what ends the code that grows it.
    pub(crate) fn grow_table(
        &mut self,
        index: usize,
        delta: u64,
        init: Element,
        by: GrownBy,
    ) -> Result<Result<u64, CannotGrow>> {
        let table = &self.tables[index];
        let (ty, current) = (table.ty, table.len());
        if delta == 0 {
            return Ok(Ok(current as u64));
        }
        if let Some(limiter) = self.limiter()? {
            let desired = size(Ok::<_, ()>(delta)).and_then(|delta| delta.checked_add(current));
            let Some(desired) = desired else {
                limiter.table_grow_failed(anyhow!("overflow calculating new table size"))?;
                return Ok(Err(CannotGrow::Maximum));
            };
            let maximum = table_maximum(&ty);
            if !limiter.table_growing(current, desired, maximum)? {
                return Ok(Err(CannotGrow::refused(desired, maximum)));
            }
        }
        let grown = self.extend_table(index, delta, init, by);
        let why = match &grown {
            Ok(Ok(_)) => return grown,
            Ok(Err(why)) => growth_error("Table", why),
            Err(ended) => anyhow!("the table does not grow: {ended:#}"),
        };
        if let Some(limiter) = self.limiter()? {
            limiter.table_grow_failed(why)?;
        }
        grown
    }

    /// Adds elements to a table. They are seen when all of them have their value. If the code is ended
    /// before, the table does not grow.
    fn extend_table(
        &mut self,
        index: usize,
        delta: u64,
        init: Element,
        by: GrownBy,
    ) -> Result<Result<u64, CannotGrow>> {
        if let Err(why) = self.take_elements(delta) {
            return Ok(Err(why));
        }
        let (table, gc) = self.table_and_gc(index);
        let old = match table.begin_growth(gc, delta) {
            Ok(old) => old,
            Err(why) => {
                self.elements_left += delta;
                return Ok(Err(why));
            }
        };
        let filled = match by {
            GrownBy::Host => {
                table.fill_new(gc, old, init, delta);
                Ok(Ok(()))
            }
            GrownBy::Code(call) => catch_unwind(AssertUnwindSafe(|| {
                let size = self.tables[index].element_size();
                let work = Work::new(call, delta, size);
                self.with_element(work, init, |store, init, part| {
                    let (table, gc) = store.table_and_gc(index);
                    table.fill_new(gc, old + part.start, init, part.end - part.start);
                    Ok(())
                })
            })),
        };
        let (table, gc) = self.table_and_gc(index);
        if let Ok(Ok(())) = filled {
            table.end_growth(delta);
            return Ok(Ok(old));
        }
        table.cancel_growth(gc);
        self.elements_left += delta;
        match filled {
            Ok(filled) => filled.map(|()| Ok(old)),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Does work that needs an element of a table that is not in a table: keeps the element in a handle
    /// while the store may run code.
    pub(crate) fn with_element(
        &mut self,
        work: Work,
        element: Element,
        mut part: impl FnMut(&mut StoreOpaque, Element, Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let gc_ref = match element {
            Element::Gc(word) if !work.is_simple(self) => VMGcRef::from_raw_u32(word),
            _ => None,
        };
        let ok = |_: &mut StoreOpaque| Ok(());
        let Some(gc_ref) = gc_ref else {
            return work.run(self, ok, |store, range| part(store, element, range));
        };
        with_handles(self, &[&gc_ref], |store, handles| {
            work.run(store, ok, |store, range| {
                let word = store.gc_store().rooted(&handles[0])?.as_raw_u32();
                part(store, Element::Gc(word), range)
            })
        })
    }
}

/// Who grows a memory or a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GrownBy {
    /// The host, at once.
    Host,
    /// Code, by this host call. It pays for what grows, and may be ended.
    Code(HostCall),
}

/// What a limiter is told of a memory or a table that did not grow. `what` is which of them it is.
fn growth_error(what: &str, why: &CannotGrow) -> Error {
    match why {
        CannotGrow::Memory(error) => error.clone().into(),
        why => anyhow!("{what} maximum size exceeded{why}"),
    }
}

impl<T: 'static> Store<T> {
    /// Lets the [`ResourceLimiter`] that `limiter` finds in the host's data decide how much the store
    /// may use, from now on. How many instances, tables and memories there may be is asked at once.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{ExternRef, Store, StoreLimits, StoreLimitsBuilder};
    ///
    /// struct State {
    ///     limits: StoreLimits,
    /// }
    ///
    /// let limits = StoreLimitsBuilder::new().gc_heap_size(1 << 20).build();
    /// let mut store = Store::new(&Default::default(), State { limits });
    /// store.limiter(|state| &mut state.limits);
    /// let full = (0..1 << 20).find_map(|n| ExternRef::new(&mut store, n).err());
    /// assert!(full.is_some() && store.gc_heap_capacity() <= 1 << 20);
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn limiter(
        &mut self,
        mut limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        let store = &mut *self.opaque;
        let limits = limiter(store.data_mut());
        let numbers = (limits.instances(), limits.tables(), limits.memories());
        store.counts.set_limits(numbers);
        store.set_limiter(Limiter::Sync(Box::new(move |data: &mut dyn Any| {
            limiter(data.downcast_mut().expect("the type that the store was made with"))
        })));
    }

    /// Like [`limiter`](Store::limiter), but the limiter answers later, and the code that wants to grow
    /// a memory or a table waits for the answer. From now on only asynchronous calls are allowed, and
    /// memories and tables are made and grown by [`Memory::new_async`](crate::Memory::new_async),
    /// [`Memory::grow_async`](crate::Memory::grow_async) and their like. Growth of the GC heap is
    /// decided at once.
    pub fn limiter_async(
        &mut self,
        mut limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiterAsync) + Send + Sync + 'static,
    ) {
        let store = &mut *self.opaque;
        let limits = limiter(store.data_mut());
        let numbers = (limits.instances(), limits.tables(), limits.memories());
        store.counts.set_limits(numbers);
        store.set_limiter(Limiter::Async(Box::new(move |data: &mut dyn Any| {
            limiter(data.downcast_mut().expect("the type that the store was made with"))
        })));
        store.require_async();
    }
}
