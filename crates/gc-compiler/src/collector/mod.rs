//! The emitted half of each collector of this project: the one list of them. Each has a file of its name.

use crate::GcCompiler;
use std::sync::Arc;

pub mod bump;
pub mod copying;
pub mod drc;
pub mod generational;
pub mod null;

/// The emitted halves.
///
/// # Examples
/// ```
/// let names: Vec<_> = gc_compiler::collector::all().iter().map(|half| half.name()).collect();
/// assert_eq!(names, ["null", "drc", "copying", "generational"]);
/// ```
pub fn all() -> Vec<Arc<dyn GcCompiler>> {
    vec![
        Arc::new(null::NullCompiler),
        Arc::new(drc::DrcCompiler),
        Arc::new(copying::CopyingCompiler),
        Arc::new(generational::GenerationalCompiler),
    ]
}
