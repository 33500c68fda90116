//! Caches of compiled functions and of compiled modules: what they return is what would be compiled,
//! and what they cannot return is compiled again.

use crate::common::Setting;
use gc_wasm::{
    Cache, CacheConfig, CacheStore, Collector, Config, Engine, FolderCache, Instance, MemoryCache,
    Module, OptLevel, Store,
};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Makes another entry of one. The number is another one for each entry.
type Damage = fn(&[u8], usize) -> Vec<u8>;

/// Counts what is found in a cache and what is not. Changes what it returns, if it is to be damaged.
#[derive(Debug)]
struct Counting {
    store: MemoryCache,
    found: AtomicUsize,
    inserted: AtomicUsize,
    damage: Option<Damage>,
}

impl Counting {
    fn new(damage: Option<Damage>) -> Arc<Counting> {
        let store = MemoryCache::new(1 << 30);
        let (found, inserted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Counting { store, found, inserted, damage })
    }

    /// How many entries were found and inserted since the last call.
    fn take(&self) -> (usize, usize) {
        (self.found.swap(0, Ordering::Relaxed), self.inserted.swap(0, Ordering::Relaxed))
    }
}

impl CacheStore for Counting {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let entry = self.store.get(key)?;
        let n = self.found.fetch_add(1, Ordering::Relaxed);
        match self.damage {
            None => Some(entry),
            Some(damage) => Some(Cow::Owned(damage(&entry, n))),
        }
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.inserted.fetch_add(1, Ordering::Relaxed);
        self.store.insert(key, value)
    }
}

fn cached(store: &Arc<Counting>, mut config: Config) -> Engine {
    Engine::new(config.enable_incremental_compilation(store.clone()).unwrap()).unwrap()
}

fn programs() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/programs");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut programs: Vec<(String, Vec<u8>)> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect();
    programs.sort();
    assert!(programs.len() > 10);
    programs
}

/// A program with an exception, tables, calls by reference and traps.
const EXCEPTIONS: &str = r#"(module
    (type $f (func (param i32) (result i32)))
    (type $box (struct (field (mut i32)) (field (ref null $f))))
    (tag $t (param i32))
    (table 2 2 funcref)
    (elem (i32.const 0) $throw $half)
    (func $throw (param i32) (result i32) (throw $t (local.get 0)))
    (func $half (param i32) (result i32) (i32.div_s (i32.const 100) (local.get 0)))
    (func $call (export "call") (param i32 i32) (result i32)
        (local $b (ref null $box))
        (local.set $b (struct.new $box (local.get 1) (ref.func $half)))
        (i32.add
            (block $h (result i32)
                (try_table (result i32) (catch $t $h)
                    (call_indirect (type $f) (local.get 1) (local.get 0))))
            (struct.get $box 0 (local.get $b)))))"#;

#[test]
fn a_second_compilation_gives_the_same_bytes() {
    for setting in Setting::all().into_iter().filter(|setting| !setting.zeal) {
        let store = Counting::new(None);
        let plain = Engine::new(&setting.config()).unwrap();
        let (cold, warm) = (cached(&store, setting.config()), cached(&store, setting.config()));
        let mut programs = programs();
        programs.push(("exceptions".to_string(), EXCEPTIONS.into()));
        for (name, program) in &programs {
            let expected = plain.precompile_module(program).unwrap();
            store.take();
            let first = cold.precompile_module(program).unwrap();
            assert!(first == expected, "{setting}: {name} with an empty cache");
            let (found, inserted) = store.take();
            let second = warm.precompile_module(program).unwrap();
            assert!(second == expected, "{setting}: {name} from the cache");
            // The second engine also looks for trampolines that the first one had already.
            let (again, missing) = store.take();
            assert_eq!(missing, 0, "{setting}: {name}");
            assert!(again >= found + inserted && inserted > 0, "{setting}: {name}");
        }
        // Code with the indices of types is there too, if these are the same.
        let (a, b) = (cached(&store, setting.config()), cached(&store, setting.config()));
        store.take();
        Module::new(&a, EXCEPTIONS).unwrap();
        assert!(store.take().1 > 0);
        let module = Module::new(&b, EXCEPTIONS).unwrap();
        assert_eq!(store.take().1, 0);
        let mut instance = Store::new(&b, ());
        let call = Instance::new(&mut instance, &module, &[])
            .unwrap()
            .get_typed_func::<(i32, i32), i32>(&mut instance, "call")
            .unwrap();
        assert_eq!(call.call(&mut instance, (0, 7)).unwrap(), 14);
        assert_eq!(call.call(&mut instance, (1, 5)).unwrap(), 25);
        let error = call.call(&mut instance, (1, 0)).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&gc_wasm::Trap::IntegerDivisionByZero));
    }
}

#[test]
fn functions_are_found_in_another_module() {
    let function = |n: u32| {
        format!(
            "(func $f{n} (param i32) (result i32)
            (call $imported (local.get 0)) (i32.div_u (i32.const {n}) (call $last (local.get 0))))"
        )
    };
    let last = "(func $last (param i32) (result i32) (local.get 0))";
    let module = |functions: &[u32]| {
        let functions: String = functions.iter().map(|n| function(*n)).collect();
        let import = r#"(import "" "" (func $imported (param i32)))"#;
        format!("(module {import} {functions} {last} (export \"f\" (func $f1)))")
    };
    let store = Counting::new(None);
    let (plain, engine) = (Engine::default(), cached(&store, Config::new()));
    engine.precompile_module(module(&[1, 2, 3])).unwrap();
    store.take();
    // Functions before others change the numbers of those and the places where they are.
    let other = module(&[4, 3, 5, 1]);
    let bytes = engine.precompile_module(&other).unwrap();
    assert_eq!(store.take().1, 2, "only two functions are new");
    assert!(bytes == plain.precompile_module(&other).unwrap());
}

#[test]
fn damaged_entries_are_compiled_again() {
    let damages: [Damage; 4] = [
        |entry, n| {
            let mut entry = entry.to_vec();
            let at = n * 37 % entry.len();
            entry[at] ^= 1 << (n % 8);
            entry
        },
        |entry, n| entry[..n * 41 % entry.len()].to_vec(),
        |entry, _| entry.iter().copied().chain([0]).collect(),
        |entry, n| vec![n as u8; entry.len()],
    ];
    let program = programs().swap_remove(0).1;
    for damage in damages {
        let expected = Engine::default().precompile_module(&program).unwrap();
        let store = Counting::new(Some(damage));
        for _ in 0..4 {
            let bytes = cached(&store, Config::new()).precompile_module(&program).unwrap();
            assert!(bytes == expected);
            let (found, inserted) = store.take();
            assert!(inserted >= found, "what was damaged is replaced");
        }
    }
}

#[test]
fn an_entry_of_another_key_is_compiled_again() {
    /// Returns for each key the entry of another one.
    #[derive(Debug)]
    struct Exchanging(MemoryCache, std::sync::Mutex<Vec<Vec<u8>>>);

    impl CacheStore for Exchanging {
        fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
            let keys = self.1.lock().unwrap();
            let other = keys.iter().find(|other| *other != key)?;
            Some(Cow::Owned(self.0.get(other)?.into_owned()))
        }

        fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
            self.1.lock().unwrap().push(key.to_vec());
            self.0.insert(key, value)
        }
    }

    let store = Arc::new(Exchanging(MemoryCache::new(1 << 20), Default::default()));
    let expected = Engine::default().precompile_module(EXCEPTIONS).unwrap();
    for _ in 0..2 {
        let mut config = Config::new();
        config.enable_incremental_compilation(store.clone()).unwrap();
        let bytes = Engine::new(&config).unwrap().precompile_module(EXCEPTIONS).unwrap();
        assert!(bytes == expected);
    }
}

#[test]
fn other_settings_have_other_entries() {
    let store = Counting::new(None);
    let mut configs: Vec<Config> = Collector::all()
        .iter()
        .map(|collector| {
            let mut config = Config::new();
            config.collector(collector.clone());
            config
        })
        .collect();
    let mut with = |set: fn(&mut Config) -> &mut Config| {
        let mut config = Config::new();
        set(config.collector(Collector::copying()));
        configs.push(config);
    };
    with(|config| config.cranelift_opt_level(OptLevel::None));
    with(|config| config.cranelift_nan_canonicalization(true));
    with(|config| config.consume_fuel(true));
    with(|config| config.epoch_interruption(true));
    with(|config| config.interruptible(true));
    with(|config| config.huge_function(0));
    let mut signed = Config::new();
    signed.collector(Collector::copying()).sign_return_addresses(true);
    if Engine::new(&signed).is_ok() {
        configs.push(signed);
    }
    for (n, config) in configs.into_iter().enumerate() {
        let engine = cached(&store, config);
        engine.precompile_module(EXCEPTIONS).unwrap();
        let (found, inserted) = store.take();
        assert!(inserted > 0, "configuration {n}");
        if n < Collector::all().len() {
            assert_eq!(found, 0, "configuration {n}");
        }
    }
}

/// A folder that is deleted at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("reclaim-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.0).unwrap().map(|file| file.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The variable with the folder of [`a_process_that_compiles`].
const FOLDER: &str = "RECLAIM_TEST_CACHE_FOLDER";

/// What [`processes_share_a_folder`] starts. By itself it does nothing.
#[test]
fn a_process_that_compiles() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        compile_with_folder(Path::new(&folder));
    }
}

fn compile_with_folder(folder: &Path) {
    let store = Arc::new(FolderCache::new(folder).unwrap());
    let mut config = Config::new();
    config.enable_incremental_compilation(store).unwrap();
    let (plain, engine) = (Engine::default(), Engine::new(&config).unwrap());
    for (name, program) in programs().into_iter().take(6) {
        let bytes = engine.precompile_module(&program).unwrap();
        assert!(bytes == plain.precompile_module(&program).unwrap(), "{name}");
    }
}

#[test]
fn processes_share_a_folder() {
    let folder = Folder::new("processes");
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cache::a_process_that_compiles"])
            .env(FOLDER, &folder.0)
            .spawn()
            .unwrap()
    };
    for mut process in [start(), start(), start()] {
        assert!(process.wait().unwrap().success());
    }
    let files = folder.files();
    assert!(files.len() > 20);
    assert!(!files.iter().any(|file| file.file_name().unwrap().to_str().unwrap().contains('-')));
    // Half of the files are damaged by somebody else.
    for file in files.iter().step_by(2) {
        fs::write(file, &fs::read(file).unwrap()[..40]).unwrap();
    }
    compile_with_folder(&folder.0);
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() > 40), "they are repaired");
}

#[test]
fn a_folder_that_cannot_be_used_costs_only_time() {
    let folder = Folder::new("unusable");
    let store = Arc::new(FolderCache::new(&folder.0).unwrap());
    fs::remove_dir_all(&folder.0).unwrap();
    fs::write(&folder.0, "a file").unwrap();
    let mut config = Config::new();
    config.enable_incremental_compilation(store).unwrap();
    let bytes = Engine::new(&config).unwrap().precompile_module(EXCEPTIONS).unwrap();
    assert!(bytes == Engine::default().precompile_module(EXCEPTIONS).unwrap());
    let error = FolderCache::new(&folder.0).unwrap_err();
    assert!(format!("{error:#}").contains(&folder.0.display().to_string()), "{error:#}");
    fs::remove_file(&folder.0).unwrap();
}

fn module_cache(folder: &Folder, limit: u64) -> Cache {
    let mut config = CacheConfig::new();
    Cache::new(config.with_directory(&folder.0).with_files_total_size_soft_limit(limit).clone())
        .unwrap()
}

fn answer(cache: &Cache, set: fn(&mut Config), number: i32) -> i32 {
    let mut config = Config::new();
    config.cache(Some(cache.clone()));
    set(&mut config);
    let engine = Engine::new(&config).unwrap();
    let text = format!(
        r#"(module (type $t (struct (field i32)))
            (func (export "f") (result i32) (struct.get $t 0 (struct.new $t (i32.const {number})))))"#
    );
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    f.call(&mut store, ()).unwrap()
}

#[test]
fn modules_are_found_again() {
    let folder = Folder::new("modules");
    let cache = module_cache(&folder, 1 << 20);
    let counts = || (cache.cache_hits(), cache.cache_misses());
    assert_eq!((answer(&cache, |_| {}, 1), counts()), (1, (0, 1)));
    assert_eq!((answer(&cache, |_| {}, 1), counts()), (1, (1, 1)));
    // Another module, another collector, other options, other features.
    assert_eq!((answer(&cache, |_| {}, 2), counts()), (2, (1, 2)));
    let sets: [fn(&mut Config); 3] = [
        |config| _ = config.collector(Collector::null()),
        |config| _ = config.cranelift_opt_level(OptLevel::None),
        |config| _ = config.wasm_memory64(false),
    ];
    for (n, set) in (3..).zip(sets) {
        assert_eq!((answer(&cache, set, 1), counts()), (1, (1, n)));
    }
    let mut config = Config::new();
    config.cache(Some(cache.clone())).wasm_memory64(false);
    let engine = Engine::new(&config).unwrap();
    let with_feature = "(module (memory i64 1))";
    let plain = Engine::new(Config::new().cache(Some(cache.clone()))).unwrap();
    Module::new(&plain, with_feature).unwrap();
    assert!(Module::new(&engine, with_feature).is_err(), "it is validated with these features");
}

#[test]
fn damaged_modules_are_compiled_again() {
    let folder = Folder::new("damaged");
    let cache = module_cache(&folder, 1 << 20);
    assert_eq!(answer(&cache, |_| {}, 1), 1);
    let [file] = &folder.files()[..] else { panic!("one file") };
    let whole = fs::read(file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for damaged in [&whole[..whole.len() / 2], b"", &flipped] {
        fs::write(file, damaged).unwrap();
        let misses = cache.cache_misses();
        assert_eq!(answer(&cache, |_| {}, 1), 1);
        assert_eq!(cache.cache_misses(), misses + 1);
        assert!(fs::read(file).unwrap() == whole);
    }
}

#[test]
fn a_cache_of_modules_has_a_limit() {
    let folder = Folder::new("limit");
    let cache = module_cache(&folder, u64::MAX);
    assert_eq!(answer(&cache, |_| {}, 0), 0);
    let size = fs::metadata(&folder.files()[0]).unwrap().len();
    let cache = module_cache(&folder, size * 3);
    (1..8).for_each(|n| assert_eq!(answer(&cache, |_| {}, n), n));
    assert!((1..=3).contains(&folder.files().len()));
    assert!(Cache::new(CacheConfig::new().with_directory("relative").clone()).is_err());
}

/// What [`settings_of_a_cache_are_in_a_file`] starts, with the user's folders in variables. By itself it
/// does nothing.
#[test]
fn a_process_that_reads_settings() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    // There is no file yet.
    let modules = folder.join("caches/reclaim/modules");
    assert_eq!(Cache::from_file(None).unwrap().directory(), modules);
    let file = folder.join("settings/reclaim/config.toml");
    let path = file.display().to_string();
    let error = |path: Option<&Path>| format!("{:#}", Cache::from_file(path).unwrap_err());
    let text = error(Some(&file));
    assert!(text.contains(&format!("failed to read config file: {path}")), "{text}");

    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let own = folder.join("own");
    fs::write(&file, format!("[cache]\ndirectory = {own:?}\n")).unwrap();
    for path in [None, Some(&*file)] {
        let cache = Cache::from_file(path).unwrap();
        assert_eq!(cache.directory(), own);
        let engine = Engine::new(Config::new().cache(Some(cache.clone()))).unwrap();
        Module::new(&engine, "(module (func))").unwrap();
        assert_eq!(cache.cache_hits(), usize::from(path.is_some()));
    }
    for (settings, expected) in [
        ("[cache]\ndirectory = 'relative'", "must be an absolute path, not relative".to_owned()),
        ("[cache]\nfiles-total-size-soft-limit = '1Q'", format!("config file: {path}")),
        ("[cache", format!("config file: {path}")),
    ] {
        fs::write(&file, settings).unwrap();
        let text = error(None);
        assert!(text.contains(&expected), "{settings}: {text}");
    }
}

#[test]
fn settings_of_a_cache_are_in_a_file() {
    let folder = Folder::new("settings");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cache::a_process_that_reads_settings"])
        .env(FOLDER, &folder.0)
        .env("XDG_CACHE_HOME", folder.0.join("caches"))
        .env("XDG_CONFIG_HOME", folder.0.join("settings"))
        .status();
    assert!(status.unwrap().success());
}
