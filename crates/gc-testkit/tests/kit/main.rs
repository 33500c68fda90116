//! The test kit on this project's collectors.

mod clif;
mod random;
mod weak;
