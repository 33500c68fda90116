//! What the model needs of an embedding API.
//!
//! A method makes one call, and returns what the API returned. Whether that is right is the model's to say. A
//! method that has a body stands for what not every API has.

mod functions;
mod mistakes;
mod objects;
mod places;
mod stores;

pub(super) use functions::{Argument, Export, FAILURE, Functions, How};
pub(super) use mistakes::{Mistakes, Wrong};
pub(super) use objects::{Objects, Seen, fits};
pub(super) use places::{Given, Places};
pub(super) use stores::{Fault, NewStore, Stores, ended};

use std::fmt::Debug;

/// An embedding API: its types.
pub(super) trait Api: Sized + 'static {
    /// An engine, and what all its stores have.
    type Engine;
    /// A store that is not in use.
    type Store;
    /// With what calls are made while a store is in use.
    type Cx<'a>;
    /// What the driver has for each store: types, and perhaps its handle.
    type Own;
    /// The instance of the module in a store.
    type Program;
    /// A handle.
    type Ref: Clone;
    /// A handle that outlives its scope.
    type Owned: Clone;
    type Weak;
    /// What the API says is attached to something.
    type Attachment: Copy + Debug + PartialEq;
    type Global: Clone;
    type Table: Clone;
    type Memory: Clone;
    /// A function of the module, ready for calls.
    type Func;
    /// Arguments or results, perhaps raw ones.
    type Values;
    /// How a call of a function failed.
    type Failure;
    /// What the host's function returns to the module.
    type Reply;
    /// Whether handles end with their scopes. Otherwise each is deleted by itself.
    const SCOPED: bool;
    /// Whether something can be attached to any object.
    const ATTACHES: bool;
    /// Whether there are weak handles and finalizers.
    const WEAK: bool;
}

/// All that is needed of an API.
pub(super) trait Driver: Stores + Objects + Places + Functions + Mistakes {}

impl<A: Stores + Objects + Places + Functions + Mistakes> Driver for A {}
