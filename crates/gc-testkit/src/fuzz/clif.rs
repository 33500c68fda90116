//! Targets that need `gc-compiler`.

mod icache;

use super::Target;

pub(super) const TARGETS: &[Target] = &[icache::TARGET];
