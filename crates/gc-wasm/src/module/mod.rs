//! Modules: parsed, validated, compiled.

pub(crate) mod info;
pub(crate) mod parse;
