//! Programs of toolchains, run as a user runs them: those of `tests/toolchains`, and the larger ones
//! in a folder beside the project, if it exists. Each runs under every collector, and under zeal
//! with a small N at which it finishes in reasonable time. N is printed. To compile a large program
//! takes much longer than to run it, so most runs are of saved code.

mod common;

use common::programs::{cases, toolchain};
use common::{COLLECTORS, Ran, compile, reclaim, reclaim_with_input, reclaim_within};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a run with zeal may take, unless it is the last one.
const LIMIT: Duration = Duration::from_secs(6);

/// How long the last one may take.
const LAST_LIMIT: Duration = Duration::from_secs(300);

/// The N that are tried. The last ones are there for a busy machine.
const ZEAL: [&str; 5] = ["1", "10", "100", "10000", "1000000"];

/// The file with the code of a module for a collector, compiled once with `reclaim compile`.
#[track_caller]
fn saved(module: &str, collector: &str, zeal: bool) -> String {
    // The tests of one module are in one thread.
    static SAVED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = module.replace(['/', '\\'], "_");
    let file = format!("{}/{name}-{collector}-{zeal}", env!("CARGO_TARGET_TMPDIR"));
    if SAVED.lock().unwrap().insert(file.clone()) {
        let zeal = if zeal { "1" } else { "0" };
        let ran = compile(&[module, "--collector", collector, "--gc-zeal", zeal, "-o", &file]);
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{module} for {collector}");
    }
    file
}

/// How to run a program: everything after the file's name, its standard input, and what must come
/// of it.
struct Expected<'a> {
    args: &'a [&'a str],
    input: &'a str,
    status: i32,
    stdout: &'a str,
    stderr: &'a str,
}

impl Expected<'_> {
    fn run(&self, module: &str, options: &[&str]) -> Ran {
        reclaim_with_input(&[&["run", module], options, self.args].concat(), self.input)
    }

    #[track_caller]
    fn check(&self, ran: &Ran, what: &str) {
        let expected = (self.status, self.stdout, self.stderr);
        assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), expected, "{what}");
    }

    /// Runs saved code of it under every collector, and once without saving its code.
    #[track_caller]
    fn everywhere(&self, module: &str) {
        self.saved_everywhere(module);
        self.unsaved(module);
    }

    /// Runs it under the default collector without saving its code. Under an emulator that would take too long.
    #[track_caller]
    fn unsaved(&self, module: &str) {
        if std::env::var_os("TESTKIT_COMPILER").is_none() {
            self.check(&self.run(module, &[]), &format!("{module}, not saved"));
        }
    }

    /// Runs saved code of it under every collector.
    #[track_caller]
    fn saved_everywhere(&self, module: &str) {
        for collector in COLLECTORS {
            let ran = self.run(&saved(module, collector, false), &["--collector", collector]);
            self.check(&ran, &format!("saved code of {module} under {collector}"));
        }
    }

    /// Runs saved code of it under zeal with every collector: with the first N at which it finishes in time.
    #[track_caller]
    fn with_zeal(&self, module: &str) {
        let name = Path::new(module).file_name().unwrap_or_default().display();
        // What takes too long under one collector is not tried under the next ones.
        let mut first = 0;
        for collector in COLLECTORS {
            let saved = saved(module, collector, true);
            let finished = (first..ZEAL.len()).any(|number| {
                let n = ZEAL[number];
                let options = ["run", &*saved, "--collector", collector, "--gc-zeal", n];
                let began = Instant::now();
                let args = [&options, self.args].concat();
                let limit = if number == ZEAL.len() - 1 { LAST_LIMIT } else { LIMIT };
                let Some(ran) = reclaim_within(limit, &args, self.input) else { return false };
                self.check(&ran, &format!("{module} under {collector}, zeal {n}"));
                eprintln!("{name}: {collector}, zeal {n}: {:?}", began.elapsed());
                first = number;
                true
            });
            assert!(finished, "{module} under {collector} takes too long under zeal");
        }
    }
}

/// A program that prints `stdout` and ends with success.
fn prints<'a>(args: &'a [&'a str], stdout: &'a str) -> Expected<'a> {
    Expected { args, input: "", status: 0, stdout, stderr: "" }
}

// ---- programs of the project --------------------------------------------------

#[test]
fn scheme_of_hoot() {
    let expected = Expected {
        input: "one line\n",
        ..prints(
            &["--invoke", "main"],
            "\
30! = 265252859812191058636308480000000
quotient 870, remainder 790627
gcd 67108864, modulo 74
exact 100000000000000000000, inexact 2.43290200817664e18
less #t#t#t
text -123456789012345678901234567890 980553f0db2fd09de3c9
weak (10 20 30)none
matched 030 #f
string STRASSE ÄÖÜ 7
caught enough
input one line #t
",
        )
    };
    let module = &toolchain("hoot/numbers.wasm");
    expected.everywhere(module);
    expected.with_zeal(module);
}

#[test]
fn ocaml() {
    let expected = Expected {
        args: &["--", "a", "ä b"],
        input: "one\ntwo\n",
        status: 3,
        stdout: "\
args: a,ä b
words: 49, w4: 61
too long: x 1000
fib 20 = 6765, pi = 3.141593, -9223372036709301616
digest: ebfbd312d3f2a455a4f09e36f3f5955e
line: ONE
line: TWO
end
",
        stderr: "",
    };
    let module = &toolchain("ocaml/trees.wasm");
    expected.everywhere(module);
    expected.with_zeal(module);
}

#[test]
fn rust() {
    let module = &toolchain("rust/words.wasm");
    let expected = Expected {
        input: "b a\nB c\u{e4}\n",
        ..prints(&["--env", "GREETING=hello"], "a: 1\nb: 2\ncä: 1\n3 words, Ok(\"hello\")\n")
    };
    expected.everywhere(module);
    Expected {
        args: &["--", "/none"],
        input: "",
        status: 5,
        stdout: "",
        stderr: "/none: NotFound\n",
    }
    .saved_everywhere(module);
}

#[test]
fn zig() {
    let module = &toolchain("zig/sums.wasm");
    let stderr = "fib(50) = 12586269025, sum(4) = 2.083333\n";
    Expected { stderr, ..prints(&[], "") }.everywhere(module);
    prints(&["--invoke", "fib(50)", "--invoke", "sum(4)"], "12586269025\n2.083333333333333\n")
        .saved_everywhere(module);
}

#[test]
fn assemblyscript() {
    let module = &toolchain("assemblyscript/lib.wasm");
    let calls = ["--invoke", "list(1000)", "--invoke", "words(100)", "--invoke", "half(2)"];
    prints(&calls, "499500\n17006\n0.7071067811865476\n").everywhere(module);
    let ran = reclaim(&["run", module, "--invoke", "fails(4)"]);
    ran.fails(1, &["aborted: more than three in lib.ts(31:"]);
}

#[test]
fn moonbit() {
    let expected = prints(
        &["--env", "GREETING=hello", "--", "a", "ä b"],
        "\
args: a,ä b
GREETING: hello
NONE: nothing
words: 49, least: w0 4, most: w64 7
SHORT
ä😀
too long: much too long 13
pi: 3.1415826535897198, 30!: 265252859812191058636308480000000
shape: -3843167785248818381
",
    );
    let module = &toolchain("moonbit/trees.wasm");
    expected.everywhere(module);
    expected.with_zeal(module);
    prints(&["--invoke", "shape(20000)"], "6243323141961653458\n").saved_everywhere(module);
}

#[test]
fn files_of_moonbit() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("files_of_moonbit");
    std::fs::create_dir_all(&dir).unwrap();
    let given = format!("{}::/data", dir.display());
    let args = ["--dir", &given, "--", "/data"];
    let expected = prints(
        &args,
        "\
list: deep; er,short,ä.bin
read: 1000, 124506, 255
kinds: 1 0 0 1
exist: false true
exist: false; 
failed: /data/none: No such file or directory (os error 2)
failed: /data: no regular file
failed: /data/../outside: a path led outside of the filesystem
failed: /outside: outside of the directories that the program was given
failed: outside: outside of the directories that the program was given
random: true true
environment: B=2; true
",
    );
    let module = &toolchain("moonbit/files.wasm");
    expected.everywhere(module);
    expected.with_zeal(module);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn kotlin() {
    let printed = |lines: &str, dates: &str| {
        format!(
            "\
lines: [{lines}]
dates: [{dates}]
fibonacci: 365435296162
{{Circle(radius=1.5)=7.0685834705770345, Box(width=2.0, height=0.25)=0.5, Point=0.0}}
failed: true, true
cast: true
digest: -829279063
"
        )
    };
    let lines = printed("KLIM YUB, KO 22-11-6202 TEEM, 20-10-9991 Ä", "22.11.2026, 02.01.1999");
    let stdout = &format!("{lines}1217443604\n-213530937\n");
    let calls = ["--invoke", "_start", "--invoke", "digest(5)", "--invoke", "digest(2000)"];
    let input = "buy milk\n\nmeet 2026-11-22 ok\nä 1999-01-02";
    let module = &toolchain("kotlin/notes.wasm");
    Expected { input, ..prints(&calls, stdout) }.everywhere(module);
    let stdout = &printed("", "");
    let expected = Expected { status: 7, ..prints(&[], stdout) };
    expected.saved_everywhere(module);
    expected.with_zeal(module);
}

// ---- programs beside the project ----------------------------------------------

/// Runs saved code of every case under every collector. Runs the first case of each module under zeal
/// too, and once without saving its code.
#[track_caller]
fn run_shared(toolchain: &str) {
    let Some(cases) = cases(toolchain) else { return };
    let mut before = String::new();
    for case in cases {
        let stdout = format!("{}\n", case.result);
        let args: Vec<&str> = case.options.iter().map(String::as_str).collect();
        let expected = prints(&args, &stdout);
        let first = case.module != before;
        if first {
            before.clone_from(&case.module);
        }
        expected.saved_everywhere(&case.module);
        if first {
            expected.unsaved(&case.module);
            expected.with_zeal(&case.module);
        }
    }
}

#[test]
fn shared_programs_of_moonbit() {
    run_shared("moonbit_");
}

#[test]
fn shared_programs_of_ocaml() {
    run_shared("ocaml_");
}

#[test]
fn shared_programs_of_hoot() {
    run_shared("hoot_");
}

#[test]
fn shared_programs_of_kotlin() {
    run_shared("kotlin_");
}

/// Nothing in the folder is forgotten.
#[test]
fn all_shared_programs_are_run() {
    for case in cases("").unwrap_or_default() {
        let name = Path::new(&case.module).file_name().unwrap().to_str().unwrap();
        let known = ["moonbit_", "ocaml_", "hoot_", "kotlin_"];
        assert!(known.iter().any(|known| name.starts_with(known)), "{name}");
    }
}
