//! [`WasmtimeCollector`]: the names that Wasmtime has for its collectors.

use crate::Collector;

/// A collector by the name that Wasmtime has for it. It converts into a [`Collector`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WasmtimeCollector {
    /// The default collector.
    Auto,
    /// [`Collector::drc`].
    DeferredReferenceCounting,
    /// [`Collector::null`].
    Null,
    /// [`Collector::copying`].
    Copying,
}

/// The names that Wasmtime has for its collectors, so that a program written for it compiles.
#[allow(non_upper_case_globals)]
impl Collector {
    /// The default collector, as [`Collector::default`].
    pub const Auto: WasmtimeCollector = WasmtimeCollector::Auto;
    /// [`Collector::drc`].
    pub const DeferredReferenceCounting: WasmtimeCollector =
        WasmtimeCollector::DeferredReferenceCounting;
    /// [`Collector::null`].
    pub const Null: WasmtimeCollector = WasmtimeCollector::Null;
    /// [`Collector::copying`].
    pub const Copying: WasmtimeCollector = WasmtimeCollector::Copying;
}

impl From<WasmtimeCollector> for Collector {
    fn from(name: WasmtimeCollector) -> Collector {
        match name {
            WasmtimeCollector::Auto => Collector::default(),
            WasmtimeCollector::DeferredReferenceCounting => Collector::drc(),
            WasmtimeCollector::Null => Collector::null(),
            WasmtimeCollector::Copying => Collector::copying(),
        }
    }
}
