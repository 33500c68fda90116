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
        "-W gc,simd,",
        "--collector auto",
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
    run("-W max-wasm-stack=65536", "deep(10000)")
        .fails(1, &["stack", "hint: -W max-wasm-stack sets"]);
    run("-W max-wasm-stack=8388608", "deep(10000)").prints("10000\n");
    run("-W fuel=100", "deep(10000)").fails(1, &["all fuel consumed", "hint: -W fuel sets"]);
    run("-W timeout=1ns", "seven").fails(124, &["not finished after 1ns (`-W timeout`)"]);
    run("-W memory64=n", "seven").fails(1, &["memory64"]);
    run("-W max-memory-size=131072", "grow(1)").prints("1\n");
    run("-W max-memory-size=131072", "grow(2)").prints("-1\n");
    run("-W max-memory-size=131072,trap-on-grow-failure", "grow(2)")
        .fails(1, &["limit of 2 pages (`memory_maximum`)", "hint: -W max-memory-size sets"]);
    run("-W max-table-elements=2", "grow_table(1)").prints("1\n");
    run("-W max-table-elements=2", "grow_table(2)").prints("-1\n");
    for setting in ["max-tables", "max-memories", "max-instances", "max-table-elements"] {
        let hint = format!("\nhint: -W {setting} sets ");
        run(&format!("-W {setting}=0"), "seven").fails(1, &[&hint]);
    }
    run("-W max-table-elements=1,trap-on-grow-failure", "grow_table(1)")
        .fails(1, &["\nhint: -W max-table-elements sets "]);
    run("-O memory-reservation=99999999999999", "seven")
        .fails(1, &["the system refused it", "\nhint: -O memory-reservation sets "]);
    run("-D max-backtrace=1 -W fuel=100", "deep(100)").fails(1, &["0: deep at", "more frames"]);
    run("-C collector=perfect", "seven")
        .fails(2, &["`-C collector=perfect`: there is no collector `perfect`; available: null"]);
    run("-C collector=null -C collector=auto --stats=json", "seven").says(&["generational"]);
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
        ("-Wfuel=-1", "`-W fuel=-1`: expected a number from 0 to 18446744073709551615"),
        ("-Wtimeout=99999999999999999999", "the time is out of range"),
        ("-Whelp=foo", "`-W help=foo`: `help` has no value: `-W help` lists the settings"),
        ("-Opooling-foo=3", "there is no setting `pooling-foo`; did you mean `pooling-"),
        (
            "-Wcomponent-modelfoo=n",
            "there is no setting `component-modelfoo`; did you mean `component-model`?",
        ),
        ("-Shttpfoo", "there is no setting `httpfoo`; did you mean `http`?"),
        // Errors of other places name the setting too.
        ("-Wmax-wasm-stack=100", "-W max-wasm-stack=100 B is too small: the minimum is 16 KiB"),
        ("-Ogc-heap-initial-size=0xc0000000", "-O gc-heap-initial-size=3 GiB is more than"),
        (
            "-Ogc-heap-guard-size=99999999999",
            "unsupported: `-O gc-heap-guard-size`: after a GC heap",
        ),
        ("-Ccollector=drc:foo=1", "`-C collector=drc:foo=1`: the collector `drc` has no option"),
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
            for list in ["help", "x,help"] {
                let ran = reclaim(&[command, option, list]);
                assert_eq!((ran.status, &*ran.stderr), (0, ""));
                assert!(ran.stdout.contains(says), "{}", ran.stdout);
            }
        }
    }
}

#[test]
fn what_is_turned_off_is_named() {
    let module = r#"(module (type $s (struct (field i32)))
        (func (export "f") (result i32) (struct.get $s 0 (struct.new $s (i32.const 1)))))"#;
    let module = &file("wasmtime_off.wat", module);
    let says = "error: the module needs what is turned off by `-W gc=n`\n  caused by: compiling ";
    for command in ["run", "compile"] {
        reclaim(&[command, "-Wsimd=n,gc=n", module]).fails(1, &[says, "struct"]);
        reclaim(&[command, "-Wall-proposals=n", module]).fails(1, &["by `-W all-proposals=n`\n"]);
    }
    // What is invalid with all features is not the fault of a setting.
    let invalid = &file("wasmtime_off_invalid.wat", "(module (func (result i32)))");
    let ran = reclaim(&["run", "-Wgc=n", invalid]);
    assert!(ran.fails(1, &["compiling"]).stderr.starts_with("error: compiling"), "{}", ran.stderr);
}

#[test]
fn polls_and_the_timeout_are_named() {
    let module = &file("wasmtime_polls.wat", MODULE);
    reclaim(&["run", "-W", "timeout=3", "--loop-polls", "off", module])
        .fails(2, &["`-W timeout` needs the polls that `--loop-polls off` leaves out"]);
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
    // Errors name the option that was written.
    for (option, dir, status, says) in [
        ("--mapdir", "x::no-dir", 1, "error: `--mapdir x::no-dir`\n  caused by: opening"),
        ("--mapdir", "x::", 2, "`--mapdir x::`: the directory has no name"),
        ("--dir", "no-dir", 1, "error: `--dir no-dir`\n  caused by: opening"),
        ("--dir", "::x", 2, "`--dir ::x`: the directory has no name"),
    ] {
        reclaim(&["run", option, dir, module, "--invoke", "f"]).fails(status, &[says]);
    }
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
