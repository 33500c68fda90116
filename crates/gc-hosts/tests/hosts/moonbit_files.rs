//! Files, the environment and random numbers of MoonBit's host.

use anyhow::Result;
use gc_hosts::{Host, HostCtx, HostOptions, MemoryOutputPipe, OutputStream, Stdio};
use gc_wasm::{Collector, Config, Engine, Linker, Module, Store};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Functions of `__moonbit_fs_unstable`, and their types: `x` is a value of the host.
const FUNCTIONS: &str = "
    begin_create_string:x string_append_char:xi finish_create_string:x:x
    begin_read_string:x:x string_read_char:x:i array_len:x:i array_get:xi:x
    read_file_to_bytes_new:x:i get_file_content:x begin_read_byte_array:x:x
    byte_array_read_byte:x:i read_dir_new:x:i get_dir_files:x get_error_message:x
    is_file_new:x:i is_dir_new:x:i create_dir_new:x:i remove_file_new:x:i remove_dir_new:x:i
    path_exists:x:i is_file:x:i is_dir:x:i create_dir:x: remove_file:x: remove_dir:x:
    read_file_to_string:x:x write_string_to_file:xx: read_dir:x:x
    write_bytes_to_file:xx: write_bytes_to_file_new:xx:i
    begin_create_byte_array:x finish_create_byte_array:x:x byte_array_append_byte:xi:
    get_env_var:x:x get_env_var_exists:x:i get_env_vars:x set_env_var:xx: unset_env_var:x:
    current_dir:x";

/// A program that imports all of them, with `body` as its `_start`. In the body, `'text'` is a string
/// of the host. `$say` prints such a string, and `$digit` a number, each with a space.
fn program(body: &str) -> String {
    let mut text = String::from(
        r#"(module
        (import "spectest" "print_char" (func $print (param i32)))
        (import "__moonbit_rand_unstable" "stdrng_seed_from_u64"
            (func $seed (param i32) (result externref)))
        (import "__moonbit_rand_unstable" "stdrng_gen_range"
            (func $random (param externref i32) (result i32)))
        "#,
    );
    let value = |c: char| if c == 'x' { " externref" } else { " i32" };
    for function in FUNCTIONS.split_whitespace() {
        let parts: Vec<&str> = function.split(':').collect();
        // `name:result`, `name:parameters:result`, and those that append return nothing.
        let (params, result) = match parts[1..] {
            [result] if result.len() == 1 => ("", result),
            [params] => (params, ""),
            [params, result] => (params, result),
            _ => panic!("{function}"),
        };
        let params: String = params.chars().map(value).collect();
        let result: String = result.chars().map(value).collect();
        let name = parts[0];
        text += &format!(
            "(import \"__moonbit_fs_unstable\" \"{name}\"
                (func ${name} (param{params}) (result{result})))\n"
        );
    }
    let (mut data, mut code) = (String::new(), String::new());
    for (index, part) in body.split('\'').enumerate() {
        if index % 2 == 0 {
            code += part;
        } else {
            code += &format!("(call $text (i32.const {}) (i32.const {}))", data.len(), part.len());
            data += part;
        }
    }
    text + &format!(
        r#"(memory 1) (data (i32.const 0) "{data}")
        (func $text (param $at i32) (param $len i32) (result externref)
            (local $writer externref)
            (local.set $writer (call $begin_create_string))
            (loop $more (if (local.get $len) (then
                (call $string_append_char (local.get $writer) (i32.load8_u (local.get $at)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (local.set $len (i32.sub (local.get $len) (i32.const 1)))
                (br $more))))
            (call $finish_create_string (local.get $writer)))
        (func $say (param $text externref) (local $reader externref) (local $unit i32)
            (local.set $reader (call $begin_read_string (local.get $text)))
            (loop $more
                (local.set $unit (call $string_read_char (local.get $reader)))
                (if (i32.ge_s (local.get $unit) (i32.const 0)) (then
                    (call $print (local.get $unit)) (br $more))))
            (call $print (i32.const 32)))
        (func $digit (param $number i32)
            (if (i32.lt_s (local.get $number) (i32.const 0)) (then
                (call $print (i32.const 0x2d))
                (local.set $number (i32.sub (i32.const 0) (local.get $number)))))
            (call $print (i32.add (local.get $number) (i32.const 0x30)))
            (call $print (i32.const 32)))
        (func (export "_start") (local $value externref) (local $n i32) {code}))"#
    )
}

/// Runs the program with these directories. Returns what is printed.
fn run(collector: Collector, dirs: &[(&Path, &str)], body: &str) -> Result<String> {
    let engine = Engine::new(Config::new().collector(collector).gc_heap_maximum(1 << 20))?;
    let module = Module::new(&engine, program(body))?;
    let stdout = MemoryOutputPipe::new();
    let stdio = Stdio { stdout: OutputStream::new(stdout.clone()), ..Stdio::none() };
    let dirs = dirs.iter().map(|(host, guest)| (host.to_path_buf(), (*guest).to_owned()));
    let env = vec![("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())];
    let options = HostOptions { env, stdio, dirs: dirs.collect(), ..Default::default() };
    let mut store: Store<HostCtx> = Store::new(&engine, options.build()?);
    let mut linker = Linker::new(&engine);
    for host in Host::recognised(&module) {
        host.define(&mut linker, &mut store, &module)?;
    }
    let instance = linker.instantiate(&mut store, &module)?;
    let result = instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ());
    drop(store);
    result.map(|()| String::from_utf8_lossy(&stdout.contents()).into_owned())
}

/// Checks what the program prints under every collector.
#[track_caller]
fn prints(dirs: &[(&Path, &str)], body: &str, expected: &str) {
    for collector in Collector::all() {
        assert_eq!(run(collector, dirs, body).unwrap(), expected);
    }
}

/// Checks that the program ends with this error.
#[track_caller]
fn fails(dirs: &[(&Path, &str)], body: &str, expected: &str) {
    let error = run(Collector::drc(), dirs, body).unwrap_err();
    assert!(format!("{error:#}").contains(expected), "{error:#}");
}

/// An empty directory for this test.
fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn a_path_belongs_to_the_directory_with_the_longest_name() {
    let dir = directory("moonbit_longest_name");
    let dirs = ["all", "inner", "here"].map(|name| dir.join(name));
    for path in &dirs {
        std::fs::create_dir(path).unwrap();
        std::fs::write(path.join("file"), path.file_name().unwrap().as_encoded_bytes()).unwrap();
    }
    let given = [(&*dirs[0], "/data"), (&*dirs[1], "/data/in/"), (&*dirs[2], ".")];
    let say = |path: &str| format!("(call $say (call $read_file_to_string '{path}'))");
    for (path, content) in [
        ("/data/file", "all"),
        ("/data/./file", "all"),
        ("/data/in/file", "inner"),
        ("/data//in///file", "inner"),
        ("file", "here"),
        ("./file", "here"),
    ] {
        prints(&given, &say(path), &format!("{content} "));
    }
    for path in ["/database/file", "/file", "../all/file", "/data/../all/file", "/data/in/../file"]
    {
        fails(&given, &say(path), path);
    }
    fails(&given[..2], &say("file"), "outside of the directories");
    fails(&[], &say("/data/file"), "outside of the directories");
    symlink(dirs[0].join("file"), dirs[2].join("absolute")).unwrap();
    symlink("../all/file", dirs[2].join("relative")).unwrap();
    symlink("file", dirs[2].join("link")).unwrap();
    fails(&given, &say("absolute"), "outside of the filesystem");
    fails(&given, &say("relative"), "outside of the filesystem");
    prints(&given, &say("link"), "here ");
}

#[test]
fn statuses_and_messages() {
    let dir = directory("moonbit_statuses");
    std::fs::write(dir.join("file"), "old and long").unwrap();
    std::fs::write(dir.join("bytes"), b"\xff").unwrap();
    let dirs = [(&*dir, "/d")];
    prints(
        &dirs,
        "(call $digit (call $is_file_new '/d/file')) (call $digit (call $is_dir_new '/d/file'))
        (call $digit (call $is_dir_new '/d')) (call $digit (call $is_file_new '/d/none'))
        (call $say (call $get_error_message))
        (call $digit (call $read_dir_new '/d/file')) (call $say (call $get_error_message))
        (call $digit (call $remove_dir_new '/e')) (call $say (call $get_error_message))",
        "1 0 1 -1 /d/none: No such file or directory (os error 2) \
        -1 /d/file: Not a directory (os error 20) \
        -1 /e: outside of the directories that the program was given ",
    );
    // What was read is given once.
    prints(
        &dirs,
        "(call $digit (call $read_file_to_bytes_new '/d/bytes'))
        (local.set $value (call $begin_read_byte_array (call $get_file_content)))
        (call $digit (i32.sub (call $byte_array_read_byte (local.get $value)) (i32.const 250)))
        (call $digit (call $byte_array_read_byte (local.get $value)))
        (local.set $value (call $begin_read_byte_array (call $get_file_content)))
        (call $digit (call $byte_array_read_byte (local.get $value)))
        (call $digit (call $read_dir_new '/d')) (local.set $value (call $get_dir_files))
        (call $digit (call $array_len (local.get $value)))
        (call $say (call $array_get (local.get $value) (i32.const 0)))
        (call $digit (call $array_len (call $get_dir_files)))",
        "0 5 -1 -1 0 2 bytes 0 ",
    );
    fails(&dirs, "(drop (call $read_file_to_string '/d/bytes'))", "invalid utf-8");
    let (path, writes) = ("'/d/file'", "(call $write_string_to_file '/d/file' 'new')");
    prints(&dirs, &format!("{writes} (call $say (call $read_file_to_string {path}))"), "new ");
    prints(
        &dirs,
        "(local.set $value (call $begin_create_byte_array))
        (call $byte_array_append_byte (local.get $value) (i32.const 65))
        (local.set $value (call $finish_create_byte_array (local.get $value)))
        (call $write_bytes_to_file '/d/file' (local.get $value))
        (call $say (call $read_file_to_string '/d/file'))
        (call $digit (call $write_bytes_to_file_new '/d/none/file' (local.get $value)))
        (call $digit (call $write_bytes_to_file_new '/d' (local.get $value)))",
        "A -1 -1 ",
    );
}

#[test]
fn older_functions_end_the_program_or_say_no() {
    let dir = directory("moonbit_older");
    let dirs = [(&*dir, "/d")];
    prints(
        &dirs,
        "(call $create_dir '/d/a/b') (call $write_string_to_file '/d/a/c' '')
        (local.set $value (call $read_dir '/d/a'))
        (call $say (call $array_get (local.get $value) (i32.const 0)))
        (call $say (call $array_get (local.get $value) (i32.const 1)))
        (call $digit (call $is_dir '/d/a/b')) (call $digit (call $is_file '/d/a/b'))
        (call $digit (call $path_exists '/d/a/c')) (call $remove_file '/d/a/c')
        (call $digit (call $path_exists '/d/a/c')) (call $digit (call $is_file '/d/none/c'))
        (call $digit (call $path_exists '/outside')) (call $digit (call $is_dir '/'))
        (call $remove_dir '/d/a') (call $digit (call $path_exists '/d/a'))",
        "b c 1 0 1 0 0 0 0 0 ",
    );
    for body in [
        "(call $remove_file '/d/none')",
        "(call $remove_dir '/d/none')",
        "(drop (call $read_dir '/d/none'))",
        "(call $write_string_to_file '/d/none/file' '')",
        "(call $write_bytes_to_file '/d/none/file'
            (call $finish_create_byte_array (call $begin_create_byte_array)))",
    ] {
        fails(&dirs, body, "/d/none");
    }
    fails(&dirs, "(call $create_dir '/outside')", "outside of the directories");
    // The directory that was given stays.
    let _ = run(Collector::drc(), &dirs, "(call $remove_dir '/d')");
    assert!(dir.is_dir());
}

/// The tree is deeper than recursion on a small stack could follow.
#[test]
fn a_deep_tree_is_removed() {
    let dir = directory("moonbit_deep");
    let mut body = String::new();
    for _ in 0..2 {
        body += &format!("(call $digit (call $create_dir_new '/d/{}'))", "a/".repeat(1500));
        body +=
            "(call $digit (call $remove_dir_new '/d/a')) (call $digit (call $path_exists '/d/a'))";
    }
    let run = move || prints(&[(&dir, "/d")], &body, "0 0 0 0 0 0 ");
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn nothing_waits_for_the_other_end_of_a_pipe() {
    let dir = directory("moonbit_pipe");
    mknodat(CWD, dir.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let dirs = [(&*dir, "/d")];
    prints(
        &dirs,
        "(call $digit (call $read_file_to_bytes_new '/d/pipe')) (call $say (call $get_error_message))
        (call $digit (call $write_bytes_to_file_new '/d/pipe'
            (call $finish_create_byte_array (call $begin_create_byte_array))))",
        "-1 /d/pipe: no regular file -1 ",
    );
}

#[test]
fn what_is_read_is_not_larger_than_the_heap() {
    let dir = directory("moonbit_large");
    std::fs::File::create(dir.join("large")).unwrap().set_len(1 << 30).unwrap();
    let dirs = [(&*dir, "/d")];
    for body in [
        "(drop (call $read_file_to_bytes_new '/d/large'))",
        "(drop (call $read_file_to_string '/d/large'))",
    ] {
        fails(&dirs, body, "out of memory");
    }
}

#[test]
fn the_environment_can_be_changed() {
    prints(
        &[],
        "(call $digit (call $get_env_var_exists 'A')) (call $say (call $get_env_var 'A'))
        (call $digit (call $get_env_var_exists 'EMPTY')) (call $say (call $get_env_var 'EMPTY'))
        (call $digit (call $get_env_var_exists 'B')) (call $say (call $get_env_var 'B'))
        (call $set_env_var 'A' '2') (call $set_env_var 'B' 'new') (call $unset_env_var 'EMPTY')
        (local.set $value (call $get_env_vars))
        (call $digit (call $array_len (local.get $value)))
        (loop $more
            (call $say (call $array_get (local.get $value) (local.get $n)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (call $array_len (local.get $value)))))
        (call $say (call $current_dir))",
        "1 1 1  0  4 A 2 B new  ",
    );
    // It is not in the heap, so it has a limit of its own.
    let grows = "(local.set $value 'x')
        (loop $more
            (call $set_env_var (local.get $value) (local.get $value))
            (local.set $value (call $begin_create_string))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (call $string_append_char (local.get $value) (local.get $n))
            (call $append (local.get $value))
            (local.set $value (call $finish_create_string (local.get $value)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 10000)))))
        (func $append (param $writer externref) (local $n i32)
            (loop $more
                (call $string_append_char (local.get $writer) (i32.const 120))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $n) (i32.const 100))))";
    fails(&[], grows, "environment would have more than");
}

#[test]
fn random_numbers_are_below_their_bound() {
    prints(
        &[],
        "(local.set $value (call $seed (i32.const -1)))
        (loop $more
            (if (i32.ge_u (call $random (local.get $value) (i32.const 3)) (i32.const 3))
                (then (unreachable)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 1000))))
        (call $digit (call $random (local.get $value) (i32.const 1)))",
        "0 ",
    );
    let bound = "(drop (call $random (call $seed (i32.const 1)) (i32.const 0)))";
    fails(&[], bound, "no number below 0");
    for value in ["(ref.null extern)", "(call $begin_create_string)", "'text'"] {
        let body = format!("(drop (call $random {value} (i32.const 1)))");
        fails(&[], &body, "no generator");
    }
}
