//! Calls of the C interface in any order: stores of two engines, handles that are copied and deleted,
//! host info and its finalizers, objects, globals, tables, functions of C that make more calls,
//! exceptions, collections. Handles outlive the handles of their stores and engines.
//!
//! The bytes encode the calls ([`ops`]). [`world`] says what each handle, global and element must
//! refer to, what is attached to it, and which finalizers have run. A call that cannot succeed
//! ([`mistakes`]) says why and changes nothing. No other call records an error, and no call panics.

mod c;
mod calls;
mod host;
mod mistakes;
mod ops;
mod world;

use gc_testkit::fuzz::Target;

pub(super) const TARGET: Target = Target {
    name: "c_api_calls",
    run: host::run,
    seeds: 1500,
    length: 400,
    mutate: Some(ops::mutate),
};
