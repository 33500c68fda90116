//! From validated function bodies to machine code.
