//! Command lines that were written for `wasmtime run` and `wasmtime compile`.

use crate::common::{file, reclaim};
use std::path::Path;
use std::process::Command;

const MODULE: &str = r#"(module
    (memory (export "memory") i64 1)
    (table $table 1 funcref)
    (func (export "_start"))
    (func (export "seven") (result i32) (i32.const 7))
    (func $deep (export "deep") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0))))
    (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0)))
    (func (export "grow_table") (param i32) (result i32)
        (table.grow $table (ref.null func) (local.get 0))))"#;

#[test]
fn settings_of_wasmtime_are_accepted() {
    let module = &file("wasmtime_accepted.wat", MODULE);
    for options in [
        "-W gc",
        "-W gc=y,function-references=y,tail-call -W exceptions=yes",
        "-Wsimd,relaxed-simd,multi-memory=true,memory64",
        "-W threads=n,component-model=n",
        "-W all-proposals",
        "-W max-wasm-stack=1048576",
        "-W max-wasm-stack=0x100000",
        "-W fuel=1_000_000 -W epoch-interruption",
        "-W timeout=10 --wasm timeout=10s",
        "-W unknown-imports-trap -W unknown-imports-default=n",
        "-W max-memory-size=1048576,max-tables=2,max-memories=1,max-instances=1",
        "-O opt-level=2 -O regalloc-algorithm=single-pass",
        "-O pooling-allocator,pooling-total-memories=5 --optimize memory-init-cow=n",
        "-O static-memory-maximum-size=0 -O memory-guard-size=65536",
        "-C cache=n",
        "-C collector=drc",
        "-C collector=copying --codegen parallel-compilation=n",
        "-C compiler=cranelift,inlining=n -C cranelift-debug-verifier",
        "-D debug-info -D max-backtrace=5 --debug address-map=y",
        "-S cli -S inherit-env=y --wasi inherit-stdin=n",
        "-S common,preview2=n,http=n",
        "--allow-precompiled",
        "--profile perfmap",
    ] {
        let options: Vec<_> = options.split(' ').collect();
        let args = [&["run"], &options[..], &["--invoke", "seven", module]].concat();
        reclaim(&args).prints("7\n");
        // Without the word `run`, and after the file.
        let args = [&[&**module], &options[..], &["--invoke", "seven"]].concat();
        reclaim(&args).prints("7\n");
    }
}

#[test]
fn settings_of_wasmtime_have_their_meaning() {
    let module = &file("wasmtime_meaning.wat", MODULE);
    let run = |options: &str, call: &str| {
        let options: Vec<_> = options.split(' ').collect();
        reclaim(&[&["run"], &options[..], &["--invoke", call, module]].concat())
    };
    run("-W max-wasm-stack=65536", "deep(10000)").fails(1, &["stack", "hint: --max-stack"]);
    run("-W max-wasm-stack=8388608", "deep(10000)").prints("10000\n");
    run("-W fuel=100", "deep(10000)").fails(1, &["all fuel consumed", "hint: --fuel"]);
    run("-W timeout=1ns", "seven").fails(124, &["not finished after 1ns"]);
    run("-W memory64=n", "seven").fails(1, &["memory64"]);
    run("-W max-memory-size=131072", "grow(1)").prints("1\n");
    run("-W max-memory-size=131072", "grow(2)").prints("-1\n");
    run("-W max-memory-size=131072,trap-on-grow-failure", "grow(2)")
        .fails(1, &["limit of 2 pages (`memory_maximum`)", "hint: --memory-max"]);
    run("-W max-table-elements=2", "grow_table(1)").prints("1\n");
    run("-W max-table-elements=2", "grow_table(2)").prints("-1\n");
    run("-W max-tables=0", "seven").fails(1, &["table"]);
    run("-W max-memories=0", "seven").fails(1, &["memor"]);
    run("-D max-backtrace=1 -W fuel=100", "deep(100)").fails(1, &["0: deep at", "more frames"]);
    run("-C collector=perfect", "seven").fails(2, &["no collector `perfect`"]);
}

#[test]
fn unknown_imports_are_those_of_wasmtime() {
    let module = &file(
        "wasmtime_unknown.wat",
        r#"(module (import "env" "f" (func $f (result i32)))
            (func (export "g") (result i32) (call $f)))"#,
    );
    let run = |setting| reclaim(&["run", "-W", setting, module, "--invoke", "g"]);
    run("unknown-imports-default=y").prints("0\n");
    run("unknown-imports-trap").fails(1, &["unknown import: `env::f`"]);
    run("unknown-imports-trap=n").fails(1, &["does not provide", "env.f"]);
}

#[test]
fn what_cannot_be_had_is_refused_with_what_is_missing() {
    let module = &file("wasmtime_refused.wat", MODULE);
    for (option, says) in [
        ("-Wthreads=y", "`-W threads=y`: not supported: shared memories"),
        ("-Wcomponent-model=y", "not supported: the component model"),
        ("-Wcomponent-model-async", "not supported: the component model"),
        ("-Wstack-switching", "not supported: continuations"),
        ("-Wrelaxed-simd-deterministic=n", "it is always on"),
        ("-Shttp", "`-S http`: not supported: WASI HTTP"),
        ("-Shttp-outgoing-body-chunk-size=7", "not supported: WASI HTTP"),
        ("-Sinherit-network", "not supported: sockets"),
        ("-Snn-graph=onnx::here", "not supported: WASI for neural networks"),
        ("-Scli=n", "it is always on"),
        ("-Ccompiler=winch", "expected one of auto, cranelift"),
        ("-Ccache-config=a.toml", "`--cache FOLDER` keeps compiled functions"),
        ("-Ccranelift-has_avx=true", "not supported: flags of Cranelift"),
        ("-Dcoredump=a.core", "not supported: core dumps"),
        ("-Wfoo", "there is no setting `foo`; `-W help` lists the settings"),
        ("-Wfuell=1", "there is no setting `fuell`; did you mean `fuel`?"),
        ("-Wgc,simd=maybe", "`-W simd=maybe`: expected y or n"),
        ("-Wfuel=much", "`-W fuel=much`: expected a number"),
        ("-Oopt-level=3", "expected one of 0, 1, 2, s"),
        ("--mapdir=here", "`--mapdir here`: expected GUEST::HOST"),
    ] {
        reclaim(&["run", option, module]).fails(2, &[says]);
    }
}

#[test]
fn the_settings_are_listed() {
    for (option, says) in [
        ("-W", "  -W max-wasm-stack=N "),
        ("-O", "  -O opt-level=0|1|2|s "),
        ("-C", "  -C collector=TEXT "),
        ("-D", "  -D debug-info[=…] "),
        ("-S", "  -S http*[=…] "),
    ] {
        // No file is needed.
        for command in ["run", "compile"] {
            let ran = reclaim(&[command, option, "help"]);
            assert_eq!((ran.status, &*ran.stderr), (0, ""));
            assert!(ran.stdout.contains(says), "{}", ran.stdout);
        }
    }
}

#[test]
fn a_directory_is_mapped() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasmtime_mapped");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file"), "1234").unwrap();
    let module = &file(
        "wasmtime_mapped.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
                (func $name (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_filestat_get"
                (func $stat (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 8) "file")
            (func (export "f") (result i32 i32 i64)
                (call $name (i32.const 3) (i32.const 0) (i32.const 4))
                (i32.load (i32.const 0))
                (drop (call $stat
                    (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 4) (i32.const 64)))
                (i64.load (i32.const 96))))"#,
    );
    let mapped = format!("/map::{}", dir.display());
    let name = i32::from_le_bytes(*b"/map");
    reclaim(&["run", "--mapdir", &mapped, module, "--invoke", "f"])
        .prints(&format!("0\n{name}\n4\n"));
    let twice = format!("{}::/map", dir.display());
    reclaim(&["run", "--mapdir", &mapped, "--dir", &twice, module, "--invoke", "f"])
        .fails(2, &["`--dir …::/map` is given twice"]);
}

#[test]
fn a_compiled_module_has_the_name_of_its_source() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasmtime_compiled");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("sub/app.v1.wat"), MODULE).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reclaim"));
        let ran = command.current_dir(&dir).args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
    };
    assert_eq!(run(&["compile", "sub/app.v1.wat", "-W", "gc", "-C", "cache=n"]).0, 0);
    assert!(dir.join("app.v1.cwasm").exists());
    let seven = run(&["run", "--allow-precompiled", "app.v1.cwasm", "--invoke", "seven"]);
    assert_eq!(seven, (0, "7\n".to_owned(), String::new()));
    // It does not replace a module of this name.
    std::fs::write(dir.join("text.cwasm"), MODULE).unwrap();
    let (status, _, says) = run(&["compile", "text.cwasm"]);
    assert!(status == 2 && says.contains("would replace the module"), "{says}");
    // Settings for running have a meaning for compiling too.
    assert_eq!(run(&["compile", "text.cwasm", "-o", "fuel.cwasm", "-W", "fuel=1"]).0, 0);
    let (status, _, says) = run(&["run", "fuel.cwasm", "--invoke", "seven"]);
    assert!(status == 1 && says.contains("`--consume-fuel`"), "{says}");
    let seven = run(&["run", "-W", "fuel=100", "fuel.cwasm", "--invoke", "seven"]);
    assert_eq!(seven, (0, "7\n".to_owned(), String::new()));
}
