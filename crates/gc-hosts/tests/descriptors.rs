//! A process without free descriptors. The test is the only one of its file, since all threads share
//! the descriptors.

use gc_hosts::{Host, HostOptions, Stdio};
use gc_wasm::{Config, Engine, Linker, Module, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_program_prints_without_free_descriptors() {
    let engine = Engine::new(Config::new().interruptible(true)).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\01\00\00\00")
        (data (i32.const 16) "\n")
        (func (export "run") (result i32)
            (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#,
    )
    .unwrap();
    let options = HostOptions { stdio: Stdio::inherit(), ..Default::default() };
    let mut store = Store::new(&engine, options.build().unwrap());
    let mut linker = Linker::new(&engine);
    Host::find("wasi").unwrap().define(&mut linker, &mut store, &module).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: limit.maximum }).unwrap();
    let used: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let written = run.call(&mut store, ());
    drop(used);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(written.unwrap(), 0);
}
