//! Tests of the API of embedders: engines, stores, handles, limits, fuel, epochs, pools, caches, and
//! threads.
//!
//! Tests that look at the whole process, such as its mappings or its logger, are programs of their own.

#[path = "../common/mod.rs"]
mod common;

#[path = "../common/endless.rs"]
mod endless;
#[path = "../common/executor.rs"]
mod executor;
#[path = "../common/metering.rs"]
mod metering;

mod api;
mod api_items;
mod asynchronous_limits;
mod bulk;
mod cache;
mod call_hooks;
mod collectors;
mod combinations;
mod compilation;
mod drop_panics;
mod epochs;
mod errors;
mod exposure;
mod externrefs;
mod from_wasmtime;
mod fuel;
mod fuel_costs;
mod given_time;
mod growth;
mod handles;
mod host;
mod interrupts;
mod late_heap;
mod limits;
mod many_values;
mod memory_source;
mod objects;
mod pooling;
mod reentrancy;
mod saved;
mod threads;
mod type_lifetimes;
mod unchecked;
mod weak;
