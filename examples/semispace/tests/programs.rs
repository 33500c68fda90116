//! Executables of the small language: all linkers of the machine with their options, and programs whose tables were
//! changed.

use object::read::elf::{ElfFile64, FileHeader as _};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LISTS: &str = include_str!("../lists.semi");
const PRINTED: &str = "521500\n500500\n";

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("semispace-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Compiles a program, and returns the path of its object.
    fn object(&self, name: &str, text: &str) -> PathBuf {
        let compiled = semispace::compile(&semispace::read(text).unwrap()).unwrap();
        let path = self.0.join(name);
        std::fs::write(&path, compiled.object).unwrap();
        path
    }

    fn link(&self, objects: &[PathBuf], arguments: &[&str]) -> PathBuf {
        let program = self.0.join("program");
        let mut cc = Command::new("cc");
        cc.args(arguments).args(objects).arg(library()).arg("-o").arg(&program);
        let linked = cc.output().expect("the linker `cc`");
        let error = String::from_utf8_lossy(&linked.stderr);
        assert!(linked.status.success(), "{arguments:?}: {error}");
        program
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The static library of the runtime, which cargo builds before the tests.
fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap());
    let is_library = |name: &str| name.starts_with("libsemispace_runtime") && name.ends_with(".a");
    let own = files.filter(|file| file.file_name().to_str().is_some_and(is_library));
    let newest = own.max_by_key(|file| file.metadata().unwrap().modified().unwrap());
    newest.expect("cargo has built libsemispace_runtime.a").path()
}

fn run(program: &Path, environment: &[(&str, &str)]) -> Output {
    let mut tries = 0;
    loop {
        // A process that another test has just started holds the file that this test wrote, until it has
        // executed its own program. Under qemu this is the status 127.
        let output = Command::new(program).envs(environment.iter().copied()).output();
        let is_busy = match &output {
            Err(error) => error.kind() == ErrorKind::ExecutableFileBusy,
            Ok(output) => output.status.code() == Some(127) && tries < 1000,
        };
        if !is_busy {
            return output.unwrap();
        }
        tries += 1;
        std::thread::yield_now();
    }
}

fn prints(program: &Path, environment: &[(&str, &str)], expected: &str) {
    let output = run(program, environment);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{error}");
}

/// Checks that the loader changes nothing in the table.
fn not_relocated(program: &Path) {
    let bytes = std::fs::read(program).unwrap();
    let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes).unwrap();
    let table = elf.section_by_name("stack_roots").expect("the section");
    let range = table.address()..table.address() + table.size();
    for (address, _) in elf.dynamic_relocations().into_iter().flatten() {
        assert!(!range.contains(&address), "a relocation at {address:#x}");
    }
    let endian = elf.endian();
    let sections = elf.elf_header().sections(endian, &*bytes).unwrap();
    if let Some((dynamic, _)) = sections.dynamic(endian, &*bytes).unwrap() {
        use object::read::elf::Dyn as _;
        assert!(dynamic.iter().all(|entry| entry.d_tag(endian) != object::elf::DT_TEXTREL));
    }
}

#[test]
fn objects_move_at_every_allocation() {
    let folder = Folder::new("zeal");
    let program = folder.link(&[folder.object("lists.o", LISTS)], &[]);
    prints(&program, &[], PRINTED);
    prints(&program, &[("SEMISPACE_PAIRS", "1100")], PRINTED);
    let zeal = [("SEMISPACE_ZEAL", "1"), ("SEMISPACE_STATS", "1")];
    prints(&program, &zeal, PRINTED);
    assert_eq!(run(&program, &zeal).stderr, b"3000 collections\n");
    not_relocated(&program);
    // The runtime is built together with the compiler, and must not contain it.
    let bytes = std::fs::read(&program).unwrap();
    let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes).unwrap();
    let mut names = elf.symbols().filter_map(|symbol| symbol.name().ok());
    assert!(names.any(|name| name.contains("stack_roots")));
    assert!(
        !elf.symbols().any(|symbol| symbol.name().is_ok_and(|name| name.contains("cranelift")))
    );
}

#[test]
fn the_same_program_gives_the_same_bytes() {
    let compiled = || semispace::compile(&semispace::read(LISTS).unwrap()).unwrap().object;
    assert_eq!(compiled(), compiled());
}

#[test]
fn the_lines_for_stack_maps_are_few() {
    let sources = [
        include_str!("../src/compile.rs"),
        include_str!("../src/emit.rs"),
        include_str!("../../semispace_runtime/src/lib.rs"),
    ];
    let mut lines = 0;
    for source in sources {
        let mut counts = false;
        for line in source.lines().map(str::trim) {
            match line.strip_prefix("// ANCHOR") {
                Some(anchor) => counts = anchor.starts_with(": stack_maps"),
                // Neither comments nor empty lines.
                None => lines += usize::from(counts && !line.is_empty() && !line.starts_with("//")),
            }
        }
    }
    println!("{lines} lines");
    assert!((30..=60).contains(&lines), "{lines} lines");
}

#[test]
fn linkers_and_their_options() {
    let folder = Folder::new("linkers");
    // The lists are in an object of their own.
    let split = LISTS.find("; The sums of many lists").unwrap();
    let (lists, main) = LISTS.split_at(split);
    let main = format!("(declare (range n))\n(declare (sum list))\n{main}");
    let objects = [folder.object("lists.o", lists), folder.object("main.o", &main)];
    let mut linkers = vec![vec!["-fuse-ld=bfd".to_owned()]];
    match Command::new("ld.gold").arg("--version").output() {
        Ok(gold) if gold.status.success() => linkers.push(vec!["-fuse-ld=gold".into()]),
        _ => eprintln!("SKIPPED: there is no ld.gold"),
    }
    let root = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap().stdout;
    let root = PathBuf::from(String::from_utf8(root).unwrap().trim());
    let arch = std::env::consts::ARCH;
    let lld = root.join(format!("lib/rustlib/{arch}-unknown-linux-gnu/bin/rust-lld"));
    match lld.exists() {
        true => {
            std::os::unix::fs::symlink(&lld, folder.0.join("ld.lld")).unwrap();
            linkers.push(vec![format!("-B{}", folder.0.display()), "-fuse-ld=lld".into()]);
        }
        false => eprintln!("SKIPPED: this Rust has no rust-lld"),
    }
    let variants: [&[&str]; 8] = [
        &[],
        &["-no-pie"],
        &["-static"],
        &["-static-pie"],
        &["-Wl,--gc-sections"],
        &["-Wl,--gc-sections", "-Wl,-z,start-stop-gc"],
        &["-s"],
        &["-Wl,--icf=all"],
    ];
    for linker in &linkers {
        for variant in variants {
            // They do not know these.
            let unknown: &[&str] = match &linker[0][..] {
                "-fuse-ld=gold" => &["-static-pie", "-Wl,-z,start-stop-gc"],
                "-fuse-ld=bfd" => &["-Wl,--icf=all"],
                _ => &[],
            };
            if variant.iter().any(|it| unknown.contains(it)) {
                continue;
            }
            let arguments: Vec<&str> =
                linker.iter().map(|it| &it[..]).chain(variant.iter().copied()).collect();
            println!("{arguments:?}");
            let program = folder.link(&objects, &arguments);
            prints(&program, &[("SEMISPACE_ZEAL", "1")], PRINTED);
            not_relocated(&program);
        }
    }
    let archive = folder.0.join("liblists.a");
    let made = Command::new("ar").arg("rcs").args([&archive, &objects[0]]).status().unwrap();
    assert!(made.success());
    let program = folder.link(&[objects[1].clone(), archive], &[]);
    prints(&program, &[("SEMISPACE_ZEAL", "1")], PRINTED);
    let whole = folder.0.join("whole.o");
    let made = Command::new("ld").arg("-r").arg("-o").arg(&whole).args(&objects).status().unwrap();
    assert!(made.success());
    let program = folder.link(&[whole], &[]);
    prints(&program, &[("SEMISPACE_ZEAL", "1")], PRINTED);
}

#[test]
fn each_changed_byte_of_the_table_is_found() {
    let folder = Folder::new("changed");
    let small =
        "(define (make n) (cons n nil)) (define (main) (let a (make 1) (let b (make 2) (head a))))";
    let program = folder.link(&[folder.object("small.o", small)], &[]);
    prints(&program, &[("SEMISPACE_ZEAL", "1")], "1\n");
    let bytes = std::fs::read(&program).unwrap();
    let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes).unwrap();
    let (start, size) = elf.section_by_name("stack_roots").unwrap().file_range().unwrap();
    assert!(size > 50);
    let changed = folder.0.join("changed");
    for at in start..start + size {
        for bit in [0, 3, 7] {
            let mut bytes = bytes.clone();
            bytes[at as usize] ^= 1 << bit;
            std::fs::write(&changed, bytes).unwrap();
            let allow = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&changed, allow).unwrap();
            let output = run(&changed, &[("SEMISPACE_ZEAL", "1")]);
            let error = String::from_utf8_lossy(&output.stderr);
            let place = at - start;
            assert_eq!(output.status.code(), Some(1), "byte {place}, bit {bit}: {output:?}");
            let found = error.starts_with("error: bad record of stack maps")
                || error.starts_with("error: two functions with stack maps")
                || error.starts_with("error: cannot walk the stack");
            assert!(found, "byte {place}, bit {bit}: {error}");
        }
    }
}

#[test]
fn wrong_programs_have_errors() {
    let error = |text: &str| match semispace::read(text) {
        Err(error) => format!("{error:#}"),
        Ok(program) => format!("{:#}", semispace::compile(&program).unwrap_err()),
    };
    assert_eq!(error("(define (f)\n (g"), "line 2: a `(` without its `)`");
    assert_eq!(error("(define (f) 1))"), "line 1: a `)` too many");
    assert_eq!(error("(define (f) x)"), "function f: unknown name x");
    assert_eq!(error("(define (f) (g))"), "function f: unknown function g");
    assert_eq!(error("(define (f a) (f))"), "function f: f takes 1 arguments, not 0");
    assert_eq!(error("(define (f) 1) (define (f) 2)"), "the function f is defined twice");
    assert_eq!(error("(define (f) (cons 1))"), "function f: cons does not take 1 arguments");
    assert_eq!(error("(define (main x) x)"), "the function main has no parameters");
    assert!(error("(print 1)").starts_with("expected (define"));

    let folder = Folder::new("wrong");
    let fails = |text: &str, expected: &str| {
        let program = folder.link(&[folder.object("wrong.o", text)], &[]);
        let output = run(&program, &[("SEMISPACE_PAIRS", "4")]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("error: {expected}\n"));
    };
    fails("(define (main) (head nil))", "nil is no pair");
    fails("(define (main) (+ 1 (head 3)))", "3 has the wrong type");
    let full =
        "(define (range n) (if n (cons n (range (- n 1))) nil)) (define (main) (head (range 5)))";
    fails(full, "the heap is full");
}
