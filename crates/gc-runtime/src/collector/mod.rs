//! The built-in collectors. A folder has the name under which its collector is registered. The
//! collector's constants are in [`gc_types::collector`] under the same name.

pub mod copying;
pub mod drc;
pub mod generational;
pub mod null;

pub use copying::CopyingCollector;
pub use drc::DrcCollector;
pub use generational::GenerationalCollector;
pub use null::NullCollector;
