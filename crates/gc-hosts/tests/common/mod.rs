//! A program that calls every function of WASI with the arguments of a test.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use anyhow::Result;
use gc_hosts::wasi::{self, WasiCtx, WasiCtxBuilder};
use gc_wasm::{Config, Engine, Instance, Linker, Module, Store, Val, ValType};
use std::fmt::Write;
use std::path::PathBuf;

/// The functions that return an error number, with their parameters: `i` and `I` are numbers of 32
/// and 64 bits.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_get", "ii"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// A module with one page of memory that exports a function for each of [`FUNCTIONS`].
pub fn module() -> String {
    let mut text = String::from("(module\n");
    for (name, params) in FUNCTIONS {
        let params = types(params);
        let module = wasi::MODULE;
        writeln!(text, "(import \"{module}\" \"{name}\" (func ${name} {params} (result i32)))")
            .unwrap();
    }
    text.push_str("(memory (export \"memory\") 1)\n");
    for (name, params) in FUNCTIONS {
        let args: String = (0..params.len()).map(|i| format!("(local.get {i})")).collect();
        let params = types(params);
        writeln!(text, "(func (export \"{name}\") {params} (result i32) (call ${name} {args}))")
            .unwrap();
    }
    text.push(')');
    text
}

fn types(params: &str) -> String {
    let types: Vec<_> = params.chars().map(|c| if c == 'i' { "i32" } else { "i64" }).collect();
    format!("(param {})", types.join(" "))
}

/// An instance of [`module`].
pub struct Guest {
    pub store: Store<WasiCtx>,
    instance: Instance,
}

/// The place of the first and the second path in the memory.
const PATHS: [u32; 2] = [0x1000, 0x2000];

/// The place of an array of slices.
const IOVS: u32 = 0x3000;

/// The place of results.
pub const OUT: u32 = 0x4000;

/// The place of data.
pub const DATA: u32 = 0x5000;

impl Guest {
    pub fn new(ctx: WasiCtx) -> Guest {
        Guest::try_new(ctx).unwrap()
    }

    fn try_new(ctx: WasiCtx) -> Result<Guest> {
        let engine = Engine::new(&Config::new())?;
        let module = Module::new(&engine, module())?;
        let mut store = Store::new(&engine, ctx);
        let mut linker = Linker::new(&engine);
        wasi::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx)?;
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Guest { store, instance })
    }

    /// A guest with a new directory as descriptor 3, and the directory.
    pub fn with_dir(test: &str) -> (Guest, PathBuf) {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("open")).unwrap();
        let dir = dir.join("open");
        let ctx = WasiCtxBuilder::new().preopened_dir(&dir, "/").unwrap().build();
        (Guest::new(ctx), dir)
    }

    /// Calls a function and returns its error number.
    pub fn call(&mut self, name: &str, args: &[u64]) -> i32 {
        let func = self.instance.get_func(&mut self.store, name).unwrap();
        let ty = func.ty(&self.store);
        let args: Vec<_> = args
            .iter()
            .zip(ty.params())
            .map(|(arg, ty)| match ty {
                ValType::I32 => Val::I32(*arg as i32),
                _ => Val::I64(*arg as i64),
            })
            .collect();
        let mut results = [Val::I32(0)];
        func.call(&mut self.store, &args, &mut results).unwrap();
        let [Val::I32(errno)] = results else { panic!("not an error number") };
        errno
    }

    /// Calls a function that must succeed.
    #[track_caller]
    pub fn ok(&mut self, name: &str, args: &[u64]) {
        assert_eq!(self.call(name, args), 0, "{name}");
    }

    pub fn memory(&mut self) -> &mut [u8] {
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        memory.data_mut(&mut self.store)
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        self.memory()[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub fn get(&mut self, at: u32, len: u32) -> Vec<u8> {
        self.memory()[at as usize..][..len as usize].to_vec()
    }

    pub fn u32(&mut self, at: u32) -> u32 {
        u32::from_le_bytes(self.get(at, 4).try_into().unwrap())
    }

    pub fn u64(&mut self, at: u32) -> u64 {
        u64::from_le_bytes(self.get(at, 8).try_into().unwrap())
    }

    /// Puts a path into the memory. Returns its address and its length.
    pub fn path(&mut self, which: usize, path: &str) -> [u64; 2] {
        self.put(PATHS[which], path.as_bytes());
        [PATHS[which].into(), path.len() as u64]
    }

    /// Puts slices into the memory. Returns the address and the number of their array.
    pub fn iovs(&mut self, slices: &[(u32, u32)]) -> [u64; 2] {
        for (i, (at, len)) in slices.iter().enumerate() {
            self.put(IOVS + 8 * i as u32, &at.to_le_bytes());
            self.put(IOVS + 8 * i as u32 + 4, &len.to_le_bytes());
        }
        [IOVS.into(), slices.len() as u64]
    }

    /// Opens a path in the directory `dir`. Returns the descriptor, or the error number.
    pub fn open(
        &mut self,
        dir: u64,
        path: &str,
        oflags: u64,
        rights: u64,
        fdflags: u64,
    ) -> Result<u64, i32> {
        self.open_with(dir, 1, path, oflags, rights, fdflags)
    }

    /// As [`open`](Guest::open); `lookup` says whether a symbolic link is followed.
    pub fn open_with(
        &mut self,
        dir: u64,
        lookup: u64,
        path: &str,
        oflags: u64,
        rights: u64,
        fdflags: u64,
    ) -> Result<u64, i32> {
        let [at, len] = self.path(0, path);
        let args = [dir, lookup, at, len, oflags, rights, 0, fdflags, OUT.into()];
        match self.call("path_open", &args) {
            0 => Ok(self.u32(OUT).into()),
            errno => Err(errno),
        }
    }

    /// Writes to a descriptor. Returns the number of bytes, or the error number.
    pub fn write(&mut self, fd: u64, bytes: &[u8]) -> Result<u32, i32> {
        self.put(DATA, bytes);
        let [iovs, count] = self.iovs(&[(DATA, bytes.len() as u32)]);
        match self.call("fd_write", &[fd, iovs, count, OUT.into()]) {
            0 => Ok(self.u32(OUT)),
            errno => Err(errno),
        }
    }

    /// Reads at most `len` bytes from a descriptor. Returns them, or the error number.
    pub fn read(&mut self, fd: u64, len: u32) -> Result<Vec<u8>, i32> {
        let [iovs, count] = self.iovs(&[(DATA, len)]);
        match self.call("fd_read", &[fd, iovs, count, OUT.into()]) {
            0 => {
                let len = self.u32(OUT);
                Ok(self.get(DATA, len))
            }
            errno => Err(errno),
        }
    }
}
