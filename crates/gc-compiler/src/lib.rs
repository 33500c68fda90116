//! CLIF for allocation, barriers, casts and safepoints: the half of a collector that is emitted code.
