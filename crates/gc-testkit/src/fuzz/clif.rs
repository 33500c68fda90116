//! Targets that need `gc-compiler`.

mod icache;
mod watched;

use super::Target;

pub(super) const TARGETS: &[Target] = &[icache::TARGET];
