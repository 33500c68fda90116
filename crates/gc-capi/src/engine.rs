//! Engines and their settings.

use crate::error::{given, message};
use crate::macros::exports;
use crate::vector::{Out, put, wasm_byte_vec_t};
use anyhow::{Context as _, Result, ensure};
use gc_wasm::{Collector, Config, Engine, OptLevel};
use std::ffi::{CStr, c_char};
use std::time::Duration;

/// Settings of an engine: `wasm_config_t`.
#[derive(Default)]
pub struct wasm_config_t {
    settings: Config,
    zeal: bool,
    epochs: bool,
}

/// An engine: `wasm_engine_t`.
pub struct wasm_engine_t {
    pub(crate) engine: Engine,
    /// Whether code looks at the engine's epoch.
    pub(crate) epochs: bool,
}

impl wasm_config_t {
    fn to_engine(&self) -> Result<Box<wasm_engine_t>> {
        ensure!(
            !self.zeal || cfg!(feature = "gc_zeal"),
            "zeal needs a library that was built with `--features gc_zeal`"
        );
        let engine = Engine::new(&self.settings)?;
        Ok(Box::new(wasm_engine_t { engine, epochs: self.epochs }))
    }
}

/// A text of C.
fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    let text = given(std::ptr::NonNull::new(text.cast_mut()), name)?;
    // SAFETY: the header says that it is a text that ends with a zero byte.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    text.to_str().with_context(|| format!("`{name}` is not UTF-8"))
}

exports! {
    /// The default settings.
    fn wasm_config_new() -> Option<Box<wasm_config_t>> {
        Ok(Some(Box::default()))
    }

    /// Deletes settings that were not passed to an engine.
    fn wasm_config_delete(config: Option<Box<wasm_config_t>>) {
        drop(config);
        Ok(())
    }

    /// Sets the collector by its name, with options if wanted: `"generational:nursery=1048576"`.
    /// `false`, and nothing is changed, if there is no such collector or option.
    fn reclaim_config_collector(
        config: Option<&mut wasm_config_t>,
        collector: *const c_char,
    ) -> bool {
        let config = given(config, "config")?;
        let collector = text(collector, "collector")?;
        let collector = match collector.split_once(':') {
            Some((name, options)) => Collector::by_name(name)?.with_options(options)?,
            None => Collector::by_name(collector)?,
        };
        config.settings.collector(collector);
        Ok(true)
    }

    /// Sets the most bytes of a store's GC heap.
    fn reclaim_config_gc_heap_maximum(config: Option<&mut wasm_config_t>, bytes: u64) {
        given(config, "config")?.settings.gc_heap_maximum(bytes);
        Ok(())
    }

    /// Sets the bytes that a store's GC heap has at first.
    fn reclaim_config_gc_heap_initial_size(config: Option<&mut wasm_config_t>, bytes: u64) {
        given(config, "config")?.settings.gc_heap_initial_size(bytes);
        Ok(())
    }

    /// Sets how long a pause for the collector should take, in nanoseconds: an aim, and not a bound.
    fn reclaim_config_gc_pause_target(config: Option<&mut wasm_config_t>, ns: u64) {
        given(config, "config")?.settings.gc_pause_target(Duration::from_nanos(ns));
        Ok(())
    }

    /// Lets the heaps of all stores of an engine share so many bytes: an aim, and not a bound.
    fn reclaim_config_memory_budget(config: Option<&mut wasm_config_t>, bytes: u64) {
        given(config, "config")?.settings.memory_budget(bytes);
        Ok(())
    }

    /// Sets how many threads work for the heaps beside the programs.
    fn reclaim_config_gc_threads(config: Option<&mut wasm_config_t>, count: u32) {
        given(config, "config")?.settings.gc_threads(count as usize);
        Ok(())
    }

    /// Lets a store collect at every `n`th allocation and verify its heap, to find bugs. With another
    /// number than 0, making an engine fails unless the library was built with the feature `gc_zeal`.
    fn reclaim_config_gc_zeal(config: Option<&mut wasm_config_t>, n: u32) {
        let config = given(config, "config")?;
        config.zeal = n != 0;
        config.settings.gc_zeal(n);
        Ok(())
    }

    /// Sets whether code consumes fuel.
    fn reclaim_config_consume_fuel(config: Option<&mut wasm_config_t>, yes: bool) {
        given(config, "config")?.settings.consume_fuel(yes);
        Ok(())
    }

    /// Sets whether code looks at the engine's epoch.
    fn reclaim_config_epoch_interruption(config: Option<&mut wasm_config_t>, yes: bool) {
        let config = given(config, "config")?;
        config.epochs = yes;
        config.settings.epoch_interruption(yes);
        Ok(())
    }

    /// Sets the bytes of native stack that code may use.
    fn reclaim_config_max_wasm_stack(config: Option<&mut wasm_config_t>, bytes: usize) {
        given(config, "config")?.settings.max_wasm_stack(bytes);
        Ok(())
    }

    /// Sets whether code is optimised.
    fn reclaim_config_optimize(config: Option<&mut wasm_config_t>, yes: bool) {
        let level = if yes { OptLevel::Speed } else { OptLevel::None };
        given(config, "config")?.settings.cranelift_opt_level(level);
        Ok(())
    }

    /// Makes an engine with the default settings. NULL if this machine is not supported.
    fn wasm_engine_new() -> Option<Box<wasm_engine_t>> {
        wasm_config_t::default().to_engine().map(Some)
    }

    /// Makes an engine, and deletes the settings. NULL if they are invalid.
    fn wasm_engine_new_with_config(
        config: Option<Box<wasm_config_t>>,
    ) -> Option<Box<wasm_engine_t>> {
        given(config, "config")?.to_engine().map(Some)
    }

    /// Deletes an engine. It lives until its stores are deleted too.
    fn wasm_engine_delete(engine: Option<Box<wasm_engine_t>>) {
        drop(engine);
        Ok(())
    }

    /// Begins a new epoch. This may be called from any thread and in a signal handler.
    fn reclaim_engine_increment_epoch(engine: Option<&wasm_engine_t>) {
        given(engine, "engine")?.engine.increment_epoch();
        Ok(())
    }

    /// Writes the name of the engine's collector to `out`, with a zero byte at its end.
    fn reclaim_engine_collector(
        engine: Option<&wasm_engine_t>,
        out: Out<'_, wasm_byte_vec_t>,
    ) {
        let out = put(out, "out")?;
        *out = message(given(engine, "engine")?.engine.collector().name());
        Ok(())
    }

    /// Translates the text format of WebAssembly (`length` bytes) to the binary format. `false` if the
    /// text is malformed.
    fn reclaim_wat2wasm(
        text: *const c_char,
        length: usize,
        out: Out<'_, wasm_byte_vec_t>,
    ) -> bool {
        let out = put(out, "out")?;
        let text = given(std::ptr::NonNull::new(text.cast_mut()), "text")?.cast::<u8>();
        // SAFETY: the header says that the text has this length.
        let text = unsafe { std::slice::from_raw_parts(text.as_ptr(), length) };
        ensure!(!text.starts_with(b"\0asm"), "this is the binary format, and text is expected");
        let text = std::str::from_utf8(text).context("the text is not UTF-8")?;
        *out = wat::parse_str(text)?.into();
        Ok(true)
    }

    /// The version of this library as a text that is never freed: `"0.2.0"`.
    fn reclaim_version() -> *mut c_char {
        const VERSION: &CStr = match CStr::from_bytes_with_nul(
            concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes(),
        ) {
            Ok(version) => version,
            Err(_) => panic!("a zero byte in the version"),
        };
        Ok(VERSION.as_ptr().cast_mut())
    }
}
