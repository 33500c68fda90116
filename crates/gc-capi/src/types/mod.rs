//! Types of values, of externals, and of imports and exports.

mod externals;
mod modules;
mod values;

pub use externals::*;
pub(crate) use externals::{ExternTy, NO_MAXIMUM};
pub use modules::*;
pub(crate) use values::of_engine;
pub use values::*;
