//! The host: the engine with its limits, the functions that plug-ins import, and one request.

use crate::executor::Clock;
use gc_wasm::error::Context;
use gc_wasm::{
    ArrayRef, ArrayRefPre, ArrayType, AsContextMut, Caller, Collector, Config, Engine, ExternRef,
    FieldType, HeapType, InstancePre, Linker, MemoryCache, Module, Mutability, OwnedRooted,
    PoolingAllocationConfig, RefType, Result, RootScope, Rooted, Store, StoreLimits,
    StoreLimitsBuilder, StructRef, StructRefPre, StructType, UpdateDeadline, Val, ValType, ensure,
};
use std::sync::Arc;
use std::time::Duration;

/// The most requests that are served at the same time.
pub(crate) const AT_ONCE: u32 = 8;

// ANCHOR: engine
/// Makes the engine of a server that handles [`AT_ONCE`] requests at the same time.
pub(crate) fn new_engine(collector: Collector) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(AT_ONCE)
        .total_gc_heaps(AT_ONCE)
        .total_stacks(AT_ONCE)
        .total_memories(AT_ONCE)
        .total_tables(AT_ONCE)
        .max_memory_size(1 << 20);
    let mut config = Config::new();
    config
        .collector(collector)
        .gc_heap_maximum(32 << 20)
        .allocation_strategy(pool)
        .max_wasm_stack(256 << 10)
        .async_stack_size(512 << 10)
        .epoch_interruption(true)
        .consume_fuel(true)
        .enable_incremental_compilation(Arc::new(MemoryCache::new(64 << 20)))?;
    Engine::new(&config)
}
// ANCHOR_END: engine

// ANCHOR: data
/// The host's data in the store of a request.
pub(crate) struct Request {
    limits: StoreLimits,
    shop: Arc<Shop>,
    /// The ticks for which the plug-in may still run.
    ticks: u32,
    /// Texts that the plug-in wants to be shown.
    notes: Vec<OwnedRooted<ArrayRef>>,
}
// ANCHOR_END: data

/// What the shop knows.
pub(crate) struct Shop {
    pub(crate) clock: Arc<Clock>,
}

/// The host value that plug-ins get as an externref.
pub(crate) struct Customer {
    pub(crate) number: u32,
}

impl Shop {
    /// The customer's discount in percent, from a database that takes some time. It never answers
    /// for customer 0.
    async fn discount(&self, customer: u32) -> i32 {
        self.clock.sleep(Duration::from_millis(2)).await;
        if customer == 0 {
            std::future::pending::<()>().await;
        }
        (customer % 4) as i32 * 5
    }
}

// ANCHOR: functions
/// Defines what plug-ins may import.
pub(crate) fn new_linker(engine: &Engine) -> Result<Linker<Request>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap_async(
        "shop",
        "discount",
        |caller: Caller<'_, Request>, (customer,): (Option<Rooted<ExternRef>>,)| {
            Box::new(async move {
                let customer = customer.context("there is no discount for null")?;
                let value = customer.data(&caller)?.context("the customer is no host value")?;
                let customer: &Customer = value.downcast_ref().context("it is no customer")?;
                Ok(caller.data().shop.discount(customer.number).await)
            })
        },
    )?;
    linker.func_wrap(
        "shop",
        "note",
        |mut caller: Caller<'_, Request>, text: Rooted<ArrayRef>| -> Result<()> {
            ensure!(caller.data().notes.len() < 10, "a plug-in may make 10 notes");
            let text = text.to_owned_rooted(&mut caller)?;
            caller.data_mut().notes.push(text);
            Ok(())
        },
    )?;
    Ok(linker)
}
// ANCHOR_END: functions

// ANCHOR: pre
/// A plug-in that can be instantiated in any store.
pub(crate) fn load(linker: &Linker<Request>, wasm: &str) -> Result<InstancePre<Request>> {
    let module = Module::new(linker.engine(), wasm)?;
    linker.instantiate_pre(&module)
}
// ANCHOR_END: pre

// ANCHOR: types
/// The types of the objects that the host makes. They are the same as those of a plug-in that
/// declares the same.
#[derive(Clone)]
pub(crate) struct Types {
    item: StructType,
    order: ArrayType,
}

impl Types {
    pub(crate) fn new(engine: &Engine) -> Result<Types> {
        let constant = |ty: ValType| FieldType::new(Mutability::Const, ty.into());
        let item = StructType::new(engine, [constant(ValType::I64), constant(ValType::I32)])?;
        let element = RefType::new(true, HeapType::ConcreteStruct(item.clone()));
        let order = ArrayType::new(engine, FieldType::new(Mutability::Var, element.into()));
        Ok(Types { item, order })
    }
}
// ANCHOR_END: types

/// What is ordered: prices in cents, and how many.
pub(crate) type Order = [(i64, i32)];

// ANCHOR: order
/// Makes the object of an order.
fn new_order(
    mut store: impl AsContextMut,
    types: &Types,
    order: &Order,
) -> Result<Rooted<ArrayRef>> {
    let item = StructRefPre::new(&mut store, types.item.clone());
    let array = ArrayRefPre::new(&mut store, types.order.clone());
    let array = ArrayRef::new(&mut store, &array, &Val::null_any_ref(), order.len() as u32)?;
    for (i, (cents, count)) in order.iter().enumerate() {
        // The handles of this turn end with it. The array keeps the items alive.
        let mut scope = RootScope::new(&mut store);
        let item = StructRef::new(&mut scope, &item, &[Val::I64(*cents), Val::I32(*count)])?;
        array.set(&mut scope, i as u32, item.into())?;
    }
    Ok(array)
}
// ANCHOR_END: order

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) total: i64,
    pub(crate) discount: i64,
    pub(crate) notes: Vec<String>,
    /// What it cost.
    pub(crate) fuel: u64,
}

/// More than a plug-in can consume before its time is over.
const FUEL: u64 = 1 << 50;

// ANCHOR: request
/// Asks a plug-in for the price of an order.
pub(crate) async fn price(
    plugin: &InstancePre<Request>,
    types: &Types,
    shop: &Arc<Shop>,
    order: &Order,
    customer: Customer,
) -> Result<Answer> {
    let limits = StoreLimitsBuilder::new()
        .gc_heap_size(4 << 20)
        .memory_size(1 << 20)
        .table_elements(1000)
        .instances(1)
        .build();
    let request = Request { limits, shop: shop.clone(), ticks: 60, notes: Vec::new() };
    let mut store = Store::new(plugin.module().engine(), request);
    store.limiter(|request| &mut request.limits);
    store.set_fuel(FUEL)?;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        let ticks = &mut store.data_mut().ticks;
        *ticks -= 1;
        Ok(match ticks {
            0 => UpdateDeadline::Interrupt,
            _ => UpdateDeadline::Yield(1),
        })
    });

    let instance = plugin.instantiate_async(&mut store).await?;
    let price = instance
        .get_typed_func::<(Rooted<ArrayRef>, Rooted<ExternRef>), Rooted<StructRef>>(
            &mut store, "price",
        )?;
    let order = new_order(&mut store, types, order)?;
    let customer = ExternRef::new(&mut store, customer)?;
    let receipt = price.call_async(&mut store, (order, customer)).await?;
    answer(&mut store, receipt)
}
// ANCHOR_END: request

// ANCHOR: answer
/// Reads the plug-in's receipt and its notes.
fn answer(store: &mut Store<Request>, receipt: Rooted<StructRef>) -> Result<Answer> {
    let total = receipt.field(&mut *store, 0)?.i64().context("the total is no i64")?;
    let discount = receipt.field(&mut *store, 1)?.i64().context("the discount is no i64")?;
    let mut notes = Vec::new();
    for note in std::mem::take(&mut store.data_mut().notes) {
        let mut bytes = vec![0; note.len(&*store)? as usize];
        note.copy_to_i8_slice(&mut *store, &mut bytes)?;
        notes.push(String::from_utf8(bytes)?);
    }
    Ok(Answer { total, discount, notes, fuel: FUEL - store.get_fuel()? })
}
// ANCHOR_END: answer
