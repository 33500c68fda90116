//! Tables in objects of `cranelift-object`: shared libraries, functions that a linker drops, and what is refused.

use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlagsData, Signature, types};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule, ObjectProduct};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use stack_roots::walk::{TableError, Tables};
use stack_roots::write::{MapError, Maps};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("stack-roots-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, product: ObjectProduct) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, product.emit().unwrap()).unwrap();
        path
    }

    /// Links files with `cc`. `None` if it fails.
    fn link(&self, name: &str, files: &[PathBuf], arguments: &[&str]) -> Option<PathBuf> {
        let path = self.0.join(name);
        let linked =
            Command::new("cc").args(arguments).args(files).arg("-o").arg(&path).output().unwrap();
        if !linked.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&linked.stderr));
        }
        linked.status.success().then_some(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn module(separate: bool) -> ObjectModule {
    let mut flags = settings::builder();
    flags.set("preserve_frame_pointers", "true").unwrap();
    flags.set("is_pic", "true").unwrap();
    let isa = cranelift_native::builder().unwrap().finish(settings::Flags::new(flags)).unwrap();
    let mut builder = ObjectBuilder::new(isa, "unit", default_libcall_names()).unwrap();
    builder.per_function_section(separate);
    ObjectModule::new(builder)
}

fn signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(types::I64); 2];
    signature.returns = vec![AbiParam::new(types::I64)];
    signature
}

/// Defines `fn(reference, callback) -> i64`: it calls the callback and returns what the reference points to, plus
/// `added`.
fn define(
    module: &mut ObjectModule,
    name: &str,
    linkage: Linkage,
    added: i64,
) -> (FuncId, cranelift_codegen::Context) {
    let mut context = module.make_context();
    context.func.signature = signature();
    let id = module.declare_function(name, linkage, &context.func.signature).unwrap();
    let mut frontend = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let [reference, callback] = builder.block_params(entry)[..] else { unreachable!() };
    builder.declare_value_needs_stack_map(reference);
    let callee = builder.import_signature(Signature::new(CallConv::SystemV));
    builder.ins().call_indirect(callee, callback, &[]);
    let word = builder.ins().load(types::I64, MemFlagsData::trusted(), reference, 0);
    let word = builder.ins().iadd_imm_s(word, added);
    builder.ins().return_(&[word]);
    builder.finalize(module.isa().frontend_config());
    module.define_function(id, &mut context).unwrap();
    (id, context)
}

fn add(module: &mut ObjectModule, maps: &mut Maps, name: &str, linkage: Linkage, added: i64) {
    let (id, context) = define(module, name, linkage, added);
    maps.add(id, &context).unwrap();
}

/// The numbers of functions in the records of an executable.
fn functions(path: &Path) -> Vec<u32> {
    let bytes = std::fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let data = file.section_by_name("stack_roots").unwrap().data().unwrap();
    let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
    let (mut at, mut counts) = (0, Vec::new());
    while at < data.len() {
        counts.push(word(at + 16));
        at += word(at + 12) as usize;
    }
    counts
}

fn symbols(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    file.symbols().filter_map(|symbol| Some(symbol.name().ok()?.to_owned())).collect()
}

stack_roots::entry! {
    unsafe fn enter(code: *const u8, reference: &u64, callback: extern "C" fn()) -> u64;
}

thread_local! {
    static TABLES: std::cell::RefCell<Tables> = std::cell::RefCell::default();
}

static MOVED: u64 = 40;

extern "C" fn callback() {
    TABLES.with_borrow(|tables| {
        // SAFETY: compiled code preserves frame pointers and runs again after the walk.
        let mut frames = unsafe { tables.walk_current() }.unwrap();
        assert_eq!(frames.len(), 1);
        frames.visit(|_| (&raw const MOVED).expose_provenance() as u64);
    });
}

stack_roots::exit! {
    extern "C" fn rt_callback() = callback;
}

#[test]
fn the_tables_of_a_shared_library_are_added() {
    let folder = Folder::new("library");
    let (mut one, mut other) = (module(false), module(false));
    let [mut maps, mut other_maps] =
        [Maps::new(one.isa()).unwrap(), Maps::new(other.isa()).unwrap()];
    add(&mut one, &mut maps, "code", Linkage::Export, 2);
    add(&mut other, &mut other_maps, "other", Linkage::Local, 3);
    let (mut one, mut other) = (one.finish(), other.finish());
    maps.write(&mut one).unwrap();
    maps.write_library(&mut one, "library_stack_maps").unwrap();
    other_maps.write(&mut other).unwrap();
    let objects = [folder.write("one.o", one), folder.write("other.o", other)];
    let library = folder.link("library.so", &objects, &["-shared"]).unwrap();
    let bytes = std::fs::read(&library).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    assert_eq!(
        file.dynamic_relocations().map_or(0, |relocations| relocations
            .filter(|(at, _)| {
                let table = file.section_by_name("stack_roots").unwrap();
                (table.address()..table.address() + table.size()).contains(at)
            })
            .count()),
        0
    );

    let path = std::ffi::CString::new(library.to_str().unwrap()).unwrap();
    let mut tables = Tables::new();
    // SAFETY: the library runs no code when it is loaded, and stays loaded.
    let code = unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null());
        let bounds = libc::dlsym(library, c"library_stack_maps".as_ptr());
        tables.add_library(bounds.cast()).unwrap();
        assert_eq!(tables.len(), 2);
        libc::dlsym(library, c"code".as_ptr())
    };
    TABLES.set(tables);
    // SAFETY: it is the compiled function.
    assert_eq!(unsafe { enter(code.cast(), &1, rt_callback) }, MOVED + 2);
}

#[test]
fn linkers_drop_functions_with_their_maps() {
    let folder = Folder::new("dropped");
    std::fs::write(
        folder.0.join("main.c"),
        "extern long used(long *, void (*)(void)); static void nothing(void) {}\n\
         extern char __start_stack_roots[] __attribute__((weak, visibility(\"hidden\")));\n\
         int main(void) { long word = 40; return __start_stack_roots ? used(&word, nothing) : 1; }\n",
    )
    .unwrap();
    let made = |name: &str, used: &str, added| {
        let mut one = module(true);
        let mut maps = Maps::new(one.isa()).unwrap();
        add(&mut one, &mut maps, used, Linkage::Export, 2);
        // Instances of the same generic function, and functions of the same name.
        add(&mut one, &mut maps, "instance", Linkage::Preemptible, 5);
        add(&mut one, &mut maps, "local", Linkage::Local, added);
        let mut product = one.finish();
        maps.write_droppable(&mut product, name).unwrap();
        folder.write(name, product)
    };
    let files = [folder.0.join("main.c"), made("a.o", "used", 7), made("b.o", "unused", 8)];
    // Without --gc-sections all are there, but the instance only once.
    let program = folder.link("all", &files, &["-Wl,--no-gc-sections"]).unwrap();
    assert_eq!(functions(&program), [1; 5]);
    assert_eq!(Command::new(&program).status().unwrap().code(), Some(42));
    for linker in ["-fuse-ld=bfd", "-fuse-ld=gold"] {
        let arguments = [linker, "-Wl,--gc-sections"];
        let Some(program) = folder.link("kept", &files, &arguments) else {
            eprintln!("SKIPPED: {linker}");
            continue;
        };
        assert_eq!(Command::new(&program).status().unwrap().code(), Some(42), "{linker}");
    }
    let arguments = ["-fuse-ld=bfd", "-Wl,--gc-sections", "-Wl,-z,start-stop-gc"];
    let program = folder.link("used", &files, &arguments).unwrap();
    assert_eq!(functions(&program), [1]);
    let symbols = symbols(&program);
    assert!(symbols.iter().any(|symbol| symbol == "used"));
    assert!(!symbols.iter().any(|symbol| symbol == "unused" || symbol == "instance"));
    assert_eq!(Command::new(&program).status().unwrap().code(), Some(42));
}

#[test]
fn one_record_keeps_all_functions() {
    let folder = Folder::new("kept");
    std::fs::write(folder.0.join("main.c"), "int main(void) { return 0; }\n").unwrap();
    let mut one = module(true);
    let mut maps = Maps::new(one.isa()).unwrap();
    add(&mut one, &mut maps, "first", Linkage::Export, 1);
    add(&mut one, &mut maps, "second", Linkage::Local, 2);
    let mut product = one.finish();
    maps.write(&mut product).unwrap();
    let files = [folder.0.join("main.c"), folder.write("a.o", product)];
    let arguments = ["-Wl,--gc-sections", "-Wl,-z,start-stop-gc"];
    let program = folder.link("program", &files, &arguments).unwrap();
    assert_eq!(functions(&program), [2]);
}

#[test]
fn what_was_forgotten_is_an_error() {
    let mut one = module(false);
    let mut maps = Maps::new(one.isa()).unwrap();
    add(&mut one, &mut maps, "added", Linkage::Export, 1);
    let (forgotten, _) = define(&mut one, "forgotten", Linkage::Local, 2);
    let declared = one.declare_function("declared", Linkage::Import, &signature()).unwrap();
    let mut product = one.finish();
    let error = maps.write(&mut product).unwrap_err();
    assert_eq!(error, MapError::Forgotten("forgotten".into()));
    assert!(error.to_string().contains("the function forgotten"));
    maps.leave_out(forgotten).unwrap();
    let error = maps.write_droppable(&mut product, "unit").unwrap_err();
    assert_eq!(error, MapError::SharedSection("added".into()));
    maps.write(&mut product).unwrap();

    let mut other = module(false);
    let (id, context) = define(&mut other, "function", Linkage::Local, 2);
    let mut other_maps = Maps::new(other.isa()).unwrap();
    let map = stack_roots::write::FunctionMap::new(context.compiled_code().unwrap()).unwrap();
    other_maps.insert(id, map.clone()).unwrap();
    other_maps.insert(declared, map).unwrap();
    assert_eq!(other_maps.write(&mut other.finish()), Err(MapError::NotDefined(declared)));
}

#[test]
fn each_changed_byte_of_a_record_is_found() {
    let mut one = module(false);
    let mut maps = Maps::new(one.isa()).unwrap();
    add(&mut one, &mut maps, "first", Linkage::Export, 1);
    add(&mut one, &mut maps, "second", Linkage::Local, 2);
    let mut product = one.finish();
    maps.write(&mut product).unwrap();
    let bytes = product.emit().unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let mut record = file.section_by_name("stack_roots").unwrap().data().unwrap().to_vec();
    // The distances, which a linker fills in.
    let distances = [32..36, 44..48];
    record[32..36].copy_from_slice(&0x1000_u32.to_le_bytes());
    record[44..48].copy_from_slice(&0x2000_u32.to_le_bytes());
    let read = |record: &[u8]| {
        let range = record.as_ptr_range();
        let mut tables = Tables::new();
        // SAFETY: the bytes can be read, and no code is walked.
        unsafe { tables.add_section(range.start, range.end) }.map(|()| tables)
    };
    assert_eq!(read(&record).unwrap().len(), 2);
    for at in (0..record.len()).filter(|at| !distances.iter().any(|range| range.contains(at))) {
        for change in 1..=255 {
            let mut changed = record.clone();
            changed[at] ^= change;
            let read = read(&changed);
            assert!(
                matches!(read, Err(TableError::Record { offset: 0, .. })),
                "byte {at}: {read:?}"
            );
        }
    }
    for len in 0..record.len() {
        assert_eq!(read(&record[..len]).is_ok(), len == 0, "{len} bytes");
    }
    // The second of two records.
    let mut two = [&record[..], &record[..]].concat();
    two[record.len() + 8] ^= 1;
    let error = read(&two).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "bad record of stack maps at {:#x} of its section: it has version 0, and this program reads version 1",
            record.len()
        )
    );
}
