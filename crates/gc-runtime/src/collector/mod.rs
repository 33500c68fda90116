//! The built-in collectors. A folder has the name under which its collector is registered. The
//! collector's constants are in [`gc_types::collector`] under the same name.

pub mod copying;
pub mod drc;
pub mod generational;
pub mod null;

/// The data words that heaps of the collector with this name keep. Code that is compiled for these
/// heaps relies on that.
pub(crate) fn kept_words(name: &str) -> u32 {
    match name {
        gc_types::collector::drc::NAME => drc::KEPT,
        gc_types::collector::generational::NAME => generational::KEPT,
        _ => 0,
    }
}

pub use copying::CopyingCollector;
pub use drc::DrcCollector;
pub use generational::GenerationalCollector;
pub use null::NullCollector;
