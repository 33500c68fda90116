//! Targets that need `gc-compiler`.

use super::Target;

pub(super) const TARGETS: &[Target] = &[];
