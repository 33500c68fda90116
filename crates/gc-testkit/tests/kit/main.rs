//! The test kit on this project's collectors.

mod random;
mod replay;
