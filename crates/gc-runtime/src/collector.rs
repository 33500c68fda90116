//! The collectors of this crate: the one list of them.
//!
//! A collector is known by one name in three places: its constants are in [`gc_types::collector`], its heaps
//! are here, and its code is in gc-compiler's `collector`.

use crate::GcRuntime;
use std::sync::Arc;

#[cfg(feature = "copying")]
pub use crate::copying::CopyingCollector;
#[cfg(feature = "drc")]
pub use crate::drc::DrcCollector;
#[cfg(feature = "generational")]
pub use crate::generational::GenerationalCollector;
#[cfg(feature = "null")]
pub use crate::null::NullCollector;

/// The collectors of this build, with their default options.
///
/// # Examples
/// ```
/// let names: Vec<_> = gc_runtime::collector::all().iter().map(|collector| collector.name()).collect();
/// assert_eq!(names, ["null", "drc", "copying", "generational"]);
/// ```
pub fn all() -> Vec<Arc<dyn GcRuntime>> {
    vec![
        #[cfg(feature = "null")]
        Arc::new(NullCollector),
        #[cfg(feature = "drc")]
        Arc::new(DrcCollector),
        #[cfg(feature = "copying")]
        Arc::new(CopyingCollector),
        #[cfg(feature = "generational")]
        Arc::new(GenerationalCollector::new()),
    ]
}
