//! Calls of the embedding API in any order: stores of two engines, scopes, handles that scopes or
//! their owners end, weak handles and finalizers, globals, tables, memories, calls of functions that
//! call the host, which makes more calls, collections, fuel and interrupts.
//!
//! The bytes encode the calls ([`ops`]). [`world`] says what each handle, global and element must
//! refer to, and which host values live. A mistake of the host must be the error or the panic that
//! the documentation promises: a handle that is used after its scope or with another store never
//! refers to something else. A call whose arguments do not fit ([`wrong`]) changes nothing.

mod calls;
mod host;
mod memories;
mod mistakes;
mod ops;
mod world;
mod wrong;

use gc_testkit::fuzz::Target;

pub(super) const TARGET: Target = Target {
    name: "api_calls",
    run: host::run,
    seeds: 2000,
    length: 400,
    mutate: Some(ops::mutate),
};
