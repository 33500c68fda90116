//! The `reclaim` command.
fn main() {}
