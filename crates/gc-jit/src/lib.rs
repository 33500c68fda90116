//! A thin driver for compiled code: code memory, trampolines, stack walks, traps.
