//! A WebAssembly engine over pluggable collectors: parse, types, translate, link, call.
