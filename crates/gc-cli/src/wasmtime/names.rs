//! The settings of Wasmtime 48 by group, and what each means here.

use super::Asked;
use super::setting::SettingKind::{
    self, Always, Bytes, Choice, Feature, Missing, NoEffect, Number, Switch, Text, Time,
};
use super::setting::{Group, Setter, Setting};
use crate::imports::UnknownImports;
use crate::options::Inlining;
use gc_wasm::{Config, OptLevel, RegallocAlgorithm};

const fn set(name: &'static str, kind: SettingKind, help: &'static str) -> Setting {
    Setting { name, ends: &[], kind, help }
}

/// Settings whose names begin with `name`, which ends with `*`, and end with one of `ends`.
const fn family(
    name: &'static str,
    ends: &'static [&'static str],
    kind: SettingKind,
    help: &'static str,
) -> Setting {
    Setting { name, ends, kind, help }
}

/// `-O pooling-*`.
const POOLING: &[&str] = &[
    "allocator",
    "async-stack-keep-resident",
    "decommit-batch-size",
    "max-component-instance-size",
    "max-core-instance-size",
    "max-core-instances-per-component",
    "max-memories-per-component",
    "max-memories-per-module",
    "max-memory-protection-keys",
    "max-memory-size",
    "max-tables-per-component",
    "max-tables-per-module",
    "max-unused-warm-slots",
    "memory-keep-resident",
    "memory-protection-keys",
    "pagemap-scan",
    "table-elements",
    "table-keep-resident",
    "total-component-instances",
    "total-core-instances",
    "total-gc-heaps",
    "total-memories",
    "total-stacks",
    "total-tables",
];

/// `-W component-model*`.
const COMPONENT_MODEL: &[&str] = &[
    "",
    "-async",
    "-async-builtins",
    "-async-stackful",
    "-error-context",
    "-fixed-length-lists",
    "-gc",
    "-implements",
    "-map",
    "-memory64",
    "-more-async-builtins",
    "-threading",
];

/// `-S http*`.
const HTTP: &[&str] = &["", "-outgoing-body-buffer-chunks", "-outgoing-body-chunk-size"];

/// A number of things, which is never more than fits the machine.
fn count(number: u64) -> Option<usize> {
    Some(usize::try_from(number).unwrap_or(usize::MAX))
}

/// `asked.unknown_imports` if a setting is on.
fn unknown(asked: &mut Asked, what: UnknownImports, yes: bool) {
    if yes {
        asked.unknown_imports = Some(what);
    }
}

const FEATURES: [Setter<bool>; 12] = [
    Config::wasm_bulk_memory,
    Config::wasm_multi_memory,
    Config::wasm_multi_value,
    Config::wasm_simd,
    Config::wasm_relaxed_simd,
    Config::wasm_tail_call,
    Config::wasm_memory64,
    Config::wasm_extended_const,
    Config::wasm_exceptions,
    Config::wasm_gc,
    Config::wasm_function_references,
    Config::wasm_reference_types,
];

fn all_features(config: &mut Config, yes: bool) -> &mut Config {
    FEATURES.iter().fold(config, |config, set| set(config, yes))
}

const COMPONENTS: &str =
    "the component model; `wasm-tools component unbundle` takes a component apart";
const SHARED: &str = "shared memories and atomic operations";
const SOCKETS: &str = "sockets";
const ONE_PROGRAM: &str = "the command runs one program, for which there is no pool";

/// `-W`.
pub(super) const WASM: Group = Group {
    short: 'W',
    settings: &[
        set("bulk-memory", Feature(Config::wasm_bulk_memory), "memory.copy and the like"),
        set("multi-memory", Feature(Config::wasm_multi_memory), "several memories"),
        set("multi-value", Feature(Config::wasm_multi_value), "several results"),
        set("reference-types", Feature(Config::wasm_reference_types), "externref, funcref"),
        set("simd", Feature(Config::wasm_simd), "v128"),
        set("relaxed-simd", Feature(Config::wasm_relaxed_simd), "relaxed instructions of v128"),
        set(
            "relaxed-simd-deterministic",
            Always,
            "relaxed instructions give the same results on each machine",
        ),
        set("tail-call", Feature(Config::wasm_tail_call), "return_call"),
        set("memory64", Feature(Config::wasm_memory64), "memories and tables with 64-bit indices"),
        set(
            "function-references",
            Feature(Config::wasm_function_references),
            "typed references to functions",
        ),
        set("gc", Feature(Config::wasm_gc), "structs and arrays"),
        set("gc-support", Feature(Config::wasm_gc), "structs and arrays"),
        set("exceptions", Feature(Config::wasm_exceptions), "try_table and throw"),
        set(
            "extended-const",
            Feature(Config::wasm_extended_const),
            "arithmetic in constant expressions",
        ),
        set("branch-hinting", Feature(Config::wasm_branch_hinting), "hints about branches"),
        set(
            "all-proposals",
            Switch(|a, yes| {
                if !yes {
                    a.off.push(("`-W all-proposals=n`".to_owned(), all_features));
                    a.config(all_features, false);
                }
            }),
            "all that are supported are on; n turns them off",
        ),
        set(
            "nan-canonicalization",
            Feature(Config::cranelift_nan_canonicalization),
            "one NaN for all",
        ),
        set("fuel", Number(|a, n| a.fuel = Some(n)), "the same as --fuel"),
        set(
            "timeout",
            Time(|a, time| a.timeout = Some(time)),
            "the same as --timeout; a number alone is one of seconds",
        ),
        set("epoch-interruption", NoEffect, "programs can be interrupted without it"),
        set(
            "max-wasm-stack",
            Number(|a, n| a.max_stack = Some(n)),
            "the same as --max-stack, in bytes",
        ),
        set("async-stack-size", NoEffect, "the command calls nothing asynchronously"),
        set("async-stack-zeroing", NoEffect, "the command calls nothing asynchronously"),
        set("unknown-exports-allow", NoEffect, "exports are never unknown"),
        set(
            "unknown-imports-trap",
            Switch(|a, yes| unknown(a, UnknownImports::Trap, yes)),
            "the same as --unknown-imports trap",
        ),
        set(
            "unknown-imports-default",
            Switch(|a, yes| unknown(a, UnknownImports::Default, yes)),
            "the same as --unknown-imports default",
        ),
        set(
            "max-memory-size",
            Number(|a, n| a.memory_max = Some(n)),
            "the same as --memory-max, in bytes; for the GC heap there is --heap-max",
        ),
        set(
            "max-table-elements",
            Number(|a, n| a.limits.table_elements = count(n)),
            "the most elements of each table",
        ),
        set("max-instances", Number(|a, n| a.limits.instances = count(n)), "the most instances"),
        set("max-tables", Number(|a, n| a.limits.tables = count(n)), "the most tables"),
        set("max-memories", Number(|a, n| a.limits.memories = count(n)), "the most memories"),
        set(
            "trap-on-grow-failure",
            Switch(|a, yes| a.limits.trap_on_grow_failure = Some(yes)),
            "memory.grow and table.grow that fail trap",
        ),
        set("threads", Missing, SHARED),
        set("shared-memory", Missing, SHARED),
        set("shared-everything-threads", Missing, SHARED),
        family("component-model*", COMPONENT_MODEL, Missing, COMPONENTS),
        set("concurrency-support", Missing, COMPONENTS),
        set("stack-switching", Missing, "continuations"),
        set("custom-page-sizes", Missing, "memories with other pages than those of 64 KiB"),
        set("wide-arithmetic", Missing, "arithmetic with 128 bits"),
        set("wmemcheck", Missing, "checks of `malloc` and `free`"),
    ],
};

/// `-O`.
pub(super) const OPTIMIZE: Group = Group {
    short: 'O',
    settings: &[
        set(
            "opt-level",
            Choice(&["0", "1", "2", "s"], |a, level| {
                let level = match level {
                    "0" => OptLevel::None,
                    "s" => OptLevel::SpeedAndSize,
                    _ => OptLevel::Speed,
                };
                a.config(Config::cranelift_opt_level, level);
            }),
            "how much the code is optimised",
        ),
        set(
            "regalloc-algorithm",
            Choice(&["backtracking", "single-pass"], |a, name| {
                let algorithm = match name {
                    "single-pass" => RegallocAlgorithm::SinglePass,
                    _ => RegallocAlgorithm::Backtracking,
                };
                a.config(Config::cranelift_regalloc_algorithm, algorithm);
            }),
            "how registers are allocated",
        ),
        set("memory-may-move", Feature(Config::memory_may_move), "a memory that grows may move"),
        set(
            "memory-reservation",
            Bytes(Config::memory_reservation),
            "bytes of addresses for a memory",
        ),
        set(
            "memory-reservation-for-growth",
            Bytes(Config::memory_reservation_for_growth),
            "bytes of addresses for a memory that moves to grow into",
        ),
        set(
            "memory-guard-size",
            Bytes(Config::memory_guard_size),
            "bytes after a memory that are never accessible",
        ),
        set(
            "static-memory-forced",
            Switch(|a, yes| a.config(Config::memory_may_move, !yes)),
            "the opposite of memory-may-move",
        ),
        set(
            "static-memory-maximum-size",
            Bytes(Config::memory_reservation),
            "the same as memory-reservation",
        ),
        set(
            "static-memory-guard-size",
            Bytes(Config::memory_guard_size),
            "the same as memory-guard-size",
        ),
        set(
            "dynamic-memory-guard-size",
            Bytes(Config::memory_guard_size),
            "the same as memory-guard-size",
        ),
        set(
            "dynamic-memory-reserved-for-growth",
            Bytes(Config::memory_reservation_for_growth),
            "the same as memory-reservation-for-growth",
        ),
        set(
            "gc-heap-initial-size",
            Number(|a, n| a.heap_initial = Some(n)),
            "the same as --heap-initial, in bytes",
        ),
        set(
            "gc-heap-reservation",
            Bytes(Config::gc_heap_reservation),
            "bytes of addresses for the GC heap",
        ),
        set(
            "gc-heap-guard-size",
            Bytes(Config::gc_heap_guard_size),
            "bytes after the GC heap that are never accessible",
        ),
        set("gc-heap-may-move", NoEffect, "the GC heap stays where it is"),
        set("gc-heap-reservation-for-growth", NoEffect, "the GC heap stays where it is"),
        set("guard-before-linear-memory", NoEffect, "accesses are never before a memory"),
        set("table-lazy-init", NoEffect, "it is about speed"),
        set("memory-init-cow", NoEffect, "data is copied"),
        set("memory-guaranteed-dense-image-size", NoEffect, "data is copied"),
        set("signals-based-traps", Always, "compiled code relies on signals"),
        family("pooling-*", POOLING, NoEffect, ONE_PROGRAM),
    ],
};

/// `-C`.
pub(super) const CODEGEN: Group = Group {
    short: 'C',
    settings: &[
        set("compiler", Choice(&["auto", "cranelift"], |_, _| {}), "there is only Cranelift"),
        set(
            "collector",
            Text(|a, name| a.collector = Some(name.to_owned())),
            "the same as --collector; auto is the default",
        ),
        set(
            "cache",
            Switch(|a, yes| a.no_cache |= !yes),
            "n: compiled functions are not kept, also if there is a --cache",
        ),
        set(
            "cache-config",
            Missing,
            "settings of a cache in a file; `--cache FOLDER` keeps compiled functions",
        ),
        set(
            "parallel-compilation",
            Feature(Config::parallel_compilation),
            "functions are compiled by several threads",
        ),
        set(
            "inlining",
            Switch(|a, yes| a.inlining = Some(if yes { Inlining::On } else { Inlining::Off })),
            "the same as --inlining",
        ),
        set(
            "cranelift-debug-verifier",
            Feature(Config::cranelift_debug_verifier),
            "Cranelift checks its own work",
        ),
        set("cranelift-*", Missing, "flags of Cranelift"),
        set(
            "native-unwind-info",
            Missing,
            "unwind information of the system; `--profile` names functions for `perf`",
        ),
        set("metadata-for-internal-asserts", NoEffect, "there is none"),
        set("metadata-for-gc-heap-corruption", NoEffect, "there is none"),
    ],
};

/// `-D`.
pub(super) const DEBUG: Group = Group {
    short: 'D',
    settings: &[
        set(
            "debug-info",
            NoEffect,
            "no information for debuggers is made, and programs run as without it",
        ),
        set("symbols", NoEffect, "compiled files have the names of functions"),
        set("logging", NoEffect, "RECLAIM_LOG turns log messages on"),
        set(
            "address-map",
            Feature(Config::generate_address_map),
            "backtraces have offsets in the module",
        ),
        set(
            "max-backtrace",
            Number(|a, n| {
                let frames = std::num::NonZeroUsize::new(count(n).unwrap_or(0));
                a.changes.add(move |config| {
                    config.wasm_backtrace_max_frames(frames);
                });
            }),
            "the most functions of a backtrace",
        ),
        set("guest-debug", Missing, "debuggers of the program"),
        set("debugger", Missing, "debuggers of the program"),
        set("arg", Missing, "debuggers of the program"),
        set("inherit-*", Missing, "debuggers of the program"),
        set("coredump", Missing, "core dumps"),
        set("log-to-files", Missing, "files of log messages; RECLAIM_LOG prints them on stderr"),
    ],
};

/// `-S`.
pub(super) const WASI: Group = Group {
    short: 'S',
    settings: &[
        set("cli", Always, "a program gets what it imports; `--host none` gives it nothing"),
        set("common", Always, "a program gets what it imports; `--host none` gives it nothing"),
        set("cli-exit-with-code", NoEffect, "it is about WASI 0.2"),
        set("preview2", NoEffect, "WASI preview 1 is the same with it"),
        set(
            "inherit-env",
            Switch(|a, yes| a.inherit_env = yes),
            "the program has all variables of the command's environment",
        ),
        set("inherit-stdin", Switch(|a, yes| a.closed[0] = !yes), "n: the standard input is empty"),
        set("inherit-stdout", Switch(|a, yes| a.closed[1] = !yes), "n: what is printed is lost"),
        set(
            "inherit-stderr",
            Switch(|a, yes| a.closed[2] = !yes),
            "n: what is printed as errors is lost",
        ),
        set("max-resources", NoEffect, "it is about WASI 0.2"),
        set("max-random-size", NoEffect, "it is about WASI 0.2"),
        set("max-http-fields-size", NoEffect, "it is about WASI 0.2"),
        set("hostcall-fuel", NoEffect, "host functions consume no fuel"),
        set("preview0", Missing, "WASI preview 0 (`wasi_unstable`)"),
        set("p3", Missing, "WASI 0.3"),
        family("http*", HTTP, Missing, "WASI HTTP"),
        family("nn*", &["", "-graph"], Missing, "WASI for neural networks"),
        set("threads", Missing, SHARED),
        family("config*", &["", "-var"], Missing, "WASI config"),
        family("keyvalue*", &["", "-in-memory-data"], Missing, "WASI key-value"),
        set("tls", Missing, "WASI TLS"),
        set("cwd", Missing, "a working directory; `--dir HOST::.` gives the program one"),
        set("listenfd", Missing, SOCKETS),
        set("tcplisten", Missing, SOCKETS),
        set("inherit-network", Missing, SOCKETS),
        set("allow-ip-name-lookup", Missing, SOCKETS),
        set("tcp", Missing, SOCKETS),
        set("udp", Missing, SOCKETS),
        set("network-error-code", Missing, SOCKETS),
    ],
};
