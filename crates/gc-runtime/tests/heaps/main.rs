//! Tests of every collector's heap through the public interface, in both bounds modes.

mod common;
mod full;
mod growth;
mod impostor;
mod interrupted;
mod late;
mod objects;
mod policy;
mod pooled;
mod sandbox;
mod verifier;
