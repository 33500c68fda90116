//! Heaps and collectors: the half of a collector that is not emitted code.
