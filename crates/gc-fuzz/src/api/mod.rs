//! Calls of an embedding API in any order: the targets `api_calls` and `c_api_calls`.
//!
//! The calls are made with two engines and several stores: scopes, handles that are copied, kept and
//! deleted, weak handles, finalizers, globals, tables, memories, functions that call the host, which makes more
//! calls, exceptions, calls with raw values, collections, fuel.
//!
//! * [`ops`]: the calls, which the bytes encode.
//! * [`world`]: the model of a store. It says what each handle, global and element must refer to, what
//!   is attached to it, and what lives.
//! * [`host`]: the host, which has the stores and makes the calls.
//! * [`driver`]: what the model needs of an API. [`rust`] and [`c`] are the two.
//!
//! A mistake of the host must be the error or the panic that the documentation promises, and change nothing.
//! What is a mistake depends on the API, so each driver makes its own.

mod c;
mod driver;
mod functions;
mod globals;
mod handles;
mod host;
mod memories;
mod objects;
mod ops;
mod rust;
mod tables;
mod world;

use gc_testkit::fuzz::Target;

/// The API of Rust.
pub(super) const RUST: Target = Target {
    name: "api_calls",
    run: host::run::<rust::Rust>,
    seeds: 2000,
    length: 400,
    mutate: Some(ops::mutate),
};

/// The API of C.
pub(super) const C: Target = Target {
    name: "c_api_calls",
    run: host::run::<c::C>,
    seeds: 1500,
    length: 400,
    mutate: Some(ops::mutate),
};
