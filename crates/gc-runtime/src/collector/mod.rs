//! Our own collectors. A folder has the name its collector is registered under,
//! its constants stand in [`gc_types::collector`] under the same name.

pub mod copying;
pub mod drc;
pub mod generational;
pub mod null;

pub use copying::CopyingCollector;
pub use drc::DrcCollector;
pub use generational::GenerationalCollector;
pub use null::NullCollector;
