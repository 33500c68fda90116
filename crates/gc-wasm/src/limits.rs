//! Limits that the host sets for a store: [`ResourceLimiter`], and [`StoreLimits`], which is one.

use anyhow::{Error, Result, bail};
use std::task::{Context, Poll, Waker};

/// The number of instances that a store may have, unless a limiter says another.
pub const DEFAULT_INSTANCE_LIMIT: usize = 10_000;

/// The number of tables that a store may have, unless a limiter says another.
pub const DEFAULT_TABLE_LIMIT: usize = 10_000;

/// The number of linear memories that a store may have, unless a limiter says another.
pub const DEFAULT_MEMORY_LIMIT: usize = 10_000;

/// Decides how much a store may use. [`Store::limiter`](crate::Store::limiter) installs one.
///
/// It is asked when something is made, with a current size of 0, and when it grows. Whoever asked for
/// a growth that is refused gets an error, or -1 in WebAssembly.
///
/// # Examples
/// A limit for all memories of a store together:
///
/// ```
/// use gc_wasm::{Memory, MemoryType, ResourceLimiter, Result, Store};
///
/// struct Total(usize);
///
/// impl ResourceLimiter for Total {
///     fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
///         let left = self.0.checked_sub(desired - current);
///         self.0 = left.unwrap_or(self.0);
///         Ok(left.is_some())
///     }
///
///     fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
///         Ok(true)
///     }
/// }
///
/// let mut store = Store::new(&Default::default(), Total(3 << 16));
/// store.limiter(|total| total);
/// let first = Memory::new(&mut store, MemoryType::new(2, None))?;
/// let second = Memory::new(&mut store, MemoryType::new(1, None))?;
/// assert!(first.grow(&mut store, 1).is_err() && second.grow(&mut store, 1).is_err());
/// # gc_wasm::error::Ok(())
/// ```
pub trait ResourceLimiter: Send {
    /// Returns whether a linear memory of `current` bytes may get `desired` bytes. `maximum` is the
    /// most that its type allows, if that is known. `desired` may be more than that.
    ///
    /// # Errors
    /// An error is the error of the operation. It ends WebAssembly code that wanted to grow a memory.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// A growth that was allowed, or that the memory's type does not allow, has failed.
    ///
    /// # Errors
    /// An error is the error of the operation, as for
    /// [`memory_growing`](ResourceLimiter::memory_growing).
    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        log::debug!("a memory did not grow: {error:#}");
        Ok(())
    }

    /// Returns whether a table of `current` elements may get `desired` elements. `maximum` is the most
    /// that its type allows. `desired` may be more than that.
    ///
    /// # Errors
    /// An error is the error of the operation. It ends WebAssembly code that wanted to grow a table.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// A growth that was allowed has failed.
    ///
    /// # Errors
    /// An error is the error of the operation, as for
    /// [`table_growing`](ResourceLimiter::table_growing).
    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        log::debug!("a table did not grow: {error:#}");
        Ok(())
    }

    /// Returns whether the GC heap, which uses `current` bytes, may use `desired` bytes. `maximum` is
    /// the most that its engine allows ([`Config::gc_heap_maximum`](crate::Config::gc_heap_maximum)).
    /// The default asks [`memory_growing`](ResourceLimiter::memory_growing), as if the heap were a
    /// linear memory.
    ///
    /// After a refusal the heap asks for less, collects, and in the end is out of memory
    /// ([`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory),
    /// [`Trap::OutOfMemory`](crate::Trap::OutOfMemory)). It does not ask about memory that it was
    /// allowed before. It may be asked in the middle of a collection. A panic there makes the heap
    /// unusable.
    ///
    /// # Errors
    /// An error is a refusal, and is logged. If the heap is then out of memory, the message of its error
    /// has that of this one.
    fn gc_heap_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.memory_growing(current, desired, maximum)
    }

    /// A growth of the GC heap that was allowed has failed. The heap goes on as after a refusal. The
    /// default tells [`memory_grow_failed`](ResourceLimiter::memory_grow_failed).
    fn gc_heap_grow_failed(&mut self, error: Error) {
        if let Err(error) = self.memory_grow_failed(error) {
            log::debug!("the GC heap did not grow: {error:#}");
        }
    }

    /// The number of instances that the store may have. It is asked once, when the limiter is
    /// installed. Default: 10 000.
    fn instances(&self) -> usize {
        DEFAULT_INSTANCE_LIMIT
    }

    /// The number of tables that the store's instances may define. It is asked once. Default: 10 000.
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }

    /// The number of linear memories that the store's instances may define. It is asked once. Default:
    /// 10 000.
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }
}

/// Decides how much a store may use, and may take its time. [`Store::limiter_async`](crate::Store::limiter_async)
/// installs one.
///
/// It is like [`ResourceLimiter`], but code that wants to grow a memory or a table waits for the
/// answer. Growth of the GC heap is decided at once, because it may be asked in the middle of a
/// collection. Implement it with the attribute `async_trait` of the crate `async-trait`.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/block_on.rs.in"));
/// use async_trait::async_trait;
/// use gc_wasm::{Memory, MemoryType, ResourceLimiterAsync, Result, Store};
///
/// # fn main() -> gc_wasm::Result<()> {
/// struct Asks;
///
/// /// Stands for a question to another process.
/// async fn may_have(bytes: usize) -> bool {
///     bytes <= 1 << 20
/// }
///
/// #[async_trait]
/// impl ResourceLimiterAsync for Asks {
///     async fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
///         Ok(may_have(desired).await)
///     }
///
///     async fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
///         Ok(true)
///     }
/// }
///
/// let mut store = Store::new(&Default::default(), Asks);
/// store.limiter_async(|asks| asks);
/// // `block_on` stands for an executor.
/// block_on(async {
///     let memory = Memory::new_async(&mut store, MemoryType::new(1, None)).await?;
///     assert_eq!(memory.grow_async(&mut store, 1).await?, 1);
///     assert!(memory.grow_async(&mut store, 100).await.is_err());
///     assert!(memory.grow(&mut store, 1).is_err());
///     gc_wasm::error::Ok(())
/// })
/// # ?;
/// # Ok(())
/// # }
/// ```
#[async_trait::async_trait]
pub trait ResourceLimiterAsync: Send {
    /// Returns whether a linear memory may grow, as
    /// [`ResourceLimiter::memory_growing`].
    ///
    /// # Errors
    /// As there.
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// A growth has failed, as for [`ResourceLimiter::memory_grow_failed`].
    ///
    /// # Errors
    /// As there.
    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        log::debug!("a memory did not grow: {error:#}");
        Ok(())
    }

    /// Returns whether a table may grow, as [`ResourceLimiter::table_growing`].
    ///
    /// # Errors
    /// As there.
    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// A growth has failed, as for [`ResourceLimiter::table_grow_failed`].
    ///
    /// # Errors
    /// As there.
    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        log::debug!("a table did not grow: {error:#}");
        Ok(())
    }

    /// Returns whether the GC heap may grow, as [`ResourceLimiter::gc_heap_growing`], at once. The
    /// default asks [`memory_growing`](ResourceLimiterAsync::memory_growing), and fails if that does
    /// not answer at once.
    ///
    /// # Errors
    /// As there.
    fn gc_heap_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let mut context = Context::from_waker(Waker::noop());
        let mut answer = self.memory_growing(current, desired, maximum);
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => answer,
            Poll::Pending => bail!(
                "the limiter's `memory_growing` would wait, but growth of the GC heap is decided at \
                 once: implement `gc_heap_growing`"
            ),
        }
    }

    /// A growth of the GC heap that was allowed has failed. The default tells
    /// [`memory_grow_failed`](ResourceLimiterAsync::memory_grow_failed).
    fn gc_heap_grow_failed(&mut self, error: Error) {
        if let Err(error) = self.memory_grow_failed(error) {
            log::debug!("the GC heap did not grow: {error:#}");
        }
    }

    /// The number of instances that the store may have. It is asked once. Default: 10 000.
    fn instances(&self) -> usize {
        DEFAULT_INSTANCE_LIMIT
    }

    /// The number of tables that the store's instances may define. It is asked once. Default: 10 000.
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }

    /// The number of linear memories that the store's instances may define. It is asked once. Default:
    /// 10 000.
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }
}

/// Makes [`StoreLimits`].
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, Instance, Module, Store, StoreLimitsBuilder};
///
/// let engine = Engine::default();
/// let limits = StoreLimitsBuilder::new().memory_size(1 << 20).instances(1).build();
/// let mut store = Store::new(&engine, limits);
/// store.limiter(|limits| limits);
///
/// let module = Module::new(&engine, r#"(module (memory 8)
///     (func (export "grow") (result i32) (memory.grow (i32.const 16))))"#)?;
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let grow = instance.get_typed_func::<(), i32>(&mut store, "grow")?;
/// assert_eq!(grow.call(&mut store, ())?, -1);
/// assert!(Instance::new(&mut store, &module, &[]).is_err());
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// Makes a builder of the default limits.
    pub fn new() -> StoreLimitsBuilder {
        StoreLimitsBuilder::default()
    }

    /// Sets the maximum size of each linear memory in bytes (default: none). It is the maximum of the
    /// GC heap too, unless that has [its own](StoreLimitsBuilder::gc_heap_size).
    #[must_use]
    pub fn memory_size(mut self, limit: usize) -> Self {
        self.0.memory_size = Some(limit);
        self
    }

    /// Sets the maximum size of the GC heap in bytes (default: that of linear memories).
    #[must_use]
    pub fn gc_heap_size(mut self, limit: usize) -> Self {
        self.0.gc_heap_size = Some(limit);
        self
    }

    /// Sets the maximum number of elements of each table (default: none).
    #[must_use]
    pub fn table_elements(mut self, limit: usize) -> Self {
        self.0.table_elements = Some(limit);
        self
    }

    /// Sets the maximum number of instances (default: 10 000).
    #[must_use]
    pub fn instances(mut self, limit: usize) -> Self {
        self.0.instances = limit;
        self
    }

    /// Sets the maximum number of tables that instances define (default: 10 000).
    #[must_use]
    pub fn tables(mut self, tables: usize) -> Self {
        self.0.tables = tables;
        self
    }

    /// Sets the maximum number of linear memories that instances define (default: 10 000).
    #[must_use]
    pub fn memories(mut self, memories: usize) -> Self {
        self.0.memories = memories;
        self
    }

    /// Sets whether WebAssembly code ends with an error when a memory or table does not grow (default:
    /// no; then it gets -1).
    #[must_use]
    pub fn trap_on_grow_failure(mut self, trap: bool) -> Self {
        self.0.trap_on_grow_failure = trap;
        self
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}

/// A [`ResourceLimiter`] with constant limits, which a [`StoreLimitsBuilder`] makes.
///
/// # Examples
/// Limits beside other data of the host:
///
/// ```
/// use gc_wasm::{Memory, MemoryType, Store, StoreLimits, StoreLimitsBuilder};
///
/// struct State {
///     limits: StoreLimits,
///     name: &'static str,
/// }
///
/// let limits = StoreLimitsBuilder::new().memory_size(128 << 10).build();
/// let mut store = Store::new(&Default::default(), State { limits, name: "a guest" });
/// store.limiter(|state| &mut state.limits);
///
/// let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
/// memory.grow(&mut store, 1)?;
/// assert!(memory.grow(&mut store, 1).is_err(), "{} has too much", store.data().name);
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct StoreLimits {
    memory_size: Option<usize>,
    gc_heap_size: Option<usize>,
    table_elements: Option<usize>,
    instances: usize,
    tables: usize,
    memories: usize,
    trap_on_grow_failure: bool,
}

impl Default for StoreLimits {
    /// The default limits.
    fn default() -> StoreLimits {
        StoreLimits {
            memory_size: None,
            gc_heap_size: None,
            table_elements: None,
            instances: DEFAULT_INSTANCE_LIMIT,
            tables: DEFAULT_TABLE_LIMIT,
            memories: DEFAULT_MEMORY_LIMIT,
            trap_on_grow_failure: false,
        }
    }
}

/// Whether `desired` is within both limits.
fn is_within(desired: usize, limits: [Option<usize>; 2]) -> bool {
    limits.into_iter().flatten().all(|limit| desired <= limit)
}

impl StoreLimits {
    fn failed(&self, what: &str, error: Error) -> Result<()> {
        if self.trap_on_grow_failure {
            return Err(error.context(format!("forcing a {what} growth failure to be a trap")));
        }
        log::debug!("a {what} did not grow: {error:#}");
        Ok(())
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let allow = is_within(desired, [self.memory_size, maximum]);
        if !allow && self.trap_on_grow_failure {
            bail!("forcing trap when growing memory to {desired} bytes");
        }
        Ok(allow)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed("memory", error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let allow = is_within(desired, [self.table_elements, maximum]);
        if !allow && self.trap_on_grow_failure {
            bail!("forcing trap when growing table to {desired} elements");
        }
        Ok(allow)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed("table", error)
    }

    fn gc_heap_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(is_within(desired, [self.gc_heap_size.or(self.memory_size), maximum]))
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
