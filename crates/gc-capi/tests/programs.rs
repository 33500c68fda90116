//! Programs of C against the library: each of `tests/c/` under every collector with zeal, the
//! examples, and the names in the headers against those in the library.

use libtest_mimic::{Arguments, Failed, Trial};
use object::{Object as _, ObjectSymbol as _};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The collectors, and at how many allocations they collect.
const WAYS: [(&str, &str); 6] = [
    ("null", "0"),
    ("drc", "1"),
    ("copying", "1"),
    ("generational:nursery=65536", "1"),
    ("generational:nursery=8192", "7"),
    ("generational", "0"),
];

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the library: that of this test, for which cargo has built it.
fn library_folder() -> Result<PathBuf, Failed> {
    let folder = std::env::current_exe()?.parent().ok_or("no folder")?.to_owned();
    match folder.join("libreclaim.so").exists() {
        true => Ok(folder),
        false => Err(format!("there is no libreclaim.so in {}", folder.display()).into()),
    }
}

/// The output of a command that must succeed.
fn output(command: &mut Command) -> Result<String, Failed> {
    let output = command.output().map_err(|why| {
        let program = command.get_program().display();
        format!("`{program}` does not start: {why} (CC and CXX name the compilers)")
    })?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.success() {
        true => Ok(out.into_owned()),
        false => Err(format!("{command:?}: {}\n{out}{err}", output.status).into()),
    }
}

/// A compiler with the headers. The variables `CC` and `CXX` name others.
fn compiler(variable: &str, default: &str) -> Command {
    let name = std::env::var_os(variable).unwrap_or_else(|| default.into());
    let mut command = Command::new(name);
    command.args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-pthread"]);
    command.arg("-I").arg(folder().join("include"));
    command
}

/// Compiles a program, and returns its path.
fn compile(source: &Path, mut compiler: Command, name: &str) -> Result<PathBuf, Failed> {
    let library = library_folder()?;
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    compiler.arg(source).arg("-o").arg(&program).arg("-L").arg(&library);
    compiler.arg("-lreclaim").arg(format!("-Wl,-rpath,{}", library.display()));
    output(&mut compiler)?;
    Ok(program)
}

fn compile_c(source: &Path, name: &str) -> Result<PathBuf, Failed> {
    let mut compiler = compiler("CC", "cc");
    compiler.args(["-std=c11", "-D_POSIX_C_SOURCE=200809L"]);
    compile(source, compiler, name)
}

/// Runs a program. Cargo's search path would find the library of another build first.
fn run(program: PathBuf, arguments: &[&str]) -> Result<(), Failed> {
    output(Command::new(program).args(arguments).env_remove("LD_LIBRARY_PATH")).map(drop)
}

/// The programs in a folder, with their names.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder().join(name)).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let programs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "c"));
    let name = |path: &PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut programs: Vec<_> = programs.map(|path| (path.clone(), name(&path))).collect();
    programs.sort();
    programs
}

/// Whether a name is one of the C interface.
fn ours(name: &str) -> bool {
    name.starts_with("wasm_") || name.starts_with("reclaim_")
}

/// The functions that a preprocessed header declares, but not those that it defines itself.
fn declared(text: &str) -> BTreeSet<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    // A body ends a part, as a semicolon does. What is inside it belongs to no part.
    for (i, c) in text.char_indices() {
        let part = &text[start..i];
        match c {
            '{' if depth == 0 => parts.extend((!part.contains('(')).then_some(part)),
            ';' if depth == 0 => parts.push(part),
            _ => {}
        }
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 && (c == ';' || c == '}') {
            start = i + 1;
        }
    }
    let parts = parts.into_iter().filter(|part| !part.contains("typedef"));
    let names = parts.filter_map(|part| Some(part.split_once('(')?.0.trim_end()));
    let names = names.filter_map(|text| text.rsplit([' ', '*', '\n']).next());
    names.filter(|name| ours(name)).collect()
}

/// The functions of the `wasm.h` of Wasmtime 48, which is that of the project wasm-c-api with the types of
/// tags. Those that the header defines itself are not among them.
const STANDARD: &str = include_str!("wasm_h.txt");

/// The functions that the headers declare are those that the library has, and `wasm.h` has those of the
/// standard.
fn names() -> Result<(), Failed> {
    let mut preprocessor = compiler("CC", "cc");
    preprocessor.args(["-E", "-P"]).arg(folder().join("include/reclaim.h"));
    let text = output(&mut preprocessor)?;
    let declared = declared(&text);
    let standard: BTreeSet<&str> = STANDARD.lines().collect();
    let lacks: Vec<_> = standard.difference(&declared).collect();
    let own: Vec<_> = declared.difference(&standard).filter(|it| it.starts_with("wasm_")).collect();
    if !lacks.is_empty() || !own.is_empty() {
        return Err(format!("wasm.h lacks {lacks:?}, and has {own:?} of its own").into());
    }
    let bytes = std::fs::read(library_folder()?.join("libreclaim.so"))?;
    let library = object::File::parse(&*bytes)?;
    let symbols = library.dynamic_symbols().filter(|symbol| symbol.is_definition());
    let exported: BTreeSet<&str> = symbols.filter_map(|symbol| symbol.name().ok()).collect();
    let missing: Vec<_> = declared.difference(&exported).collect();
    let more: Vec<_> = exported.difference(&declared).filter(|name| ours(name)).collect();
    if !missing.is_empty() || !more.is_empty() || declared.len() < 300 {
        let count = declared.len();
        let text = format!(
            "{count} declared; not in the library: {missing:?}; not in the headers: {more:?}"
        );
        return Err(text.into());
    }
    Ok(())
}

/// What `install` has put in a folder is found by `pkg-config`, with the shared library and with the archive.
fn installed() -> Result<(), Failed> {
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
    if prefix.exists() {
        std::fs::remove_dir_all(&prefix)?;
    }
    let libraries = prefix.join("lib64");
    let mut install = Command::new(folder().join("install"));
    install.arg("--built").arg(library_folder()?).arg("--prefix").arg(&prefix);
    output(install.arg("--libdir").arg(&libraries))?;
    let ask = |arguments: &[&str]| {
        let mut command = Command::new("pkg-config");
        command.args(arguments).arg("reclaim").env("PKG_CONFIG_PATH", libraries.join("pkgconfig"));
        let words = output(&mut command)?;
        Ok::<_, Failed>(words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    if ask(&["--modversion"])? != [env!("CARGO_PKG_VERSION")] {
        return Err("pkg-config says another version".into());
    }
    let archive = libraries.join("libreclaim.a").display().to_string();
    let with_archive = ask(&["--static", "--libs"])?
        .into_iter()
        .map(|word| if word == "-lreclaim" { archive.clone() } else { word });
    for (name, libraries) in
        [("installed-so", ask(&["--libs"])?), ("installed-a", with_archive.collect())]
    {
        let program = prefix.join(name);
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.args(ask(&["--cflags"])?).arg(folder().join("examples/hello.c"));
        output(command.arg("-o").arg(&program).args(libraries))?;
        // The archive is in the program.
        let path =
            if name == "installed-so" { prefix.join("lib64") } else { "/nonexistent".into() };
        output(Command::new(program).env("LD_LIBRARY_PATH", path))?;
    }
    // Debug information is most of what is built for a release.
    let (before, after) =
        (std::fs::read(library_folder()?.join("libreclaim.a"))?, std::fs::read(archive)?);
    let has = |bytes: &[u8]| bytes.windows(12).any(|part| part == b".debug_line\0");
    match has(&before) && !has(&after) && after.len() < before.len() {
        true => Ok(()),
        false => Err(format!("the archive of {} bytes has {}", before.len(), after.len()).into()),
    }
}

fn main() -> ExitCode {
    let mut trials = vec![Trial::test("names", names), Trial::test("installed", installed)];
    for (source, name) in sources("tests/c") {
        for (collector, zeal) in WAYS {
            let title = format!("{name}::{collector}::{zeal}");
            let (source, name) = (source.clone(), format!("{name}-{collector}-{zeal}"));
            trials.push(Trial::test(title, move || {
                let program = compile_c(&source, &name.replace([':', '='], "-"))?;
                run(program, &[collector, zeal])
            }));
        }
    }
    for (source, name) in sources("examples") {
        trials.push(Trial::test(format!("examples::{name}"), move || {
            let program = compile_c(&source, &format!("example-{name}"))?;
            run(program, &[])
        }));
    }
    for name in ["hello", "raw"] {
        trials.push(Trial::test(format!("c_plus_plus::{name}"), move || {
            let mut compiler = compiler("CXX", "c++");
            compiler.args(["-std=c++17", "-x", "c++"]);
            // The libraries that follow are not programs.
            let source = folder().join(format!("examples/{name}.c"));
            let object = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.o"));
            output(compiler.arg("-c").arg(source).arg("-o").arg(&object))?;
            let linker = self::compiler("CXX", "c++");
            run(compile(&object, linker, &format!("{name}-c++"))?, &[])
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
