//! `reclaim explore`: listings of machine code, several collectors, sizes.

use crate::common::{COLLECTORS, file, library, reclaim};
use gc_types::Machine;
use std::collections::BTreeSet;

/// How the instructions of this machine's processor are written.
struct Written {
    call: &'static str,
    /// A jump to another function, or inside the function.
    jump: &'static str,
    /// A jump to an entry of a table.
    table_jump: &'static str,
    trap: &'static str,
    /// Whether an instruction is a jump, by its first word.
    jumps: fn(&str) -> bool,
}

/// How instructions are written here.
fn written() -> Written {
    match Machine::host().arch() {
        "x86_64" => Written {
            call: "callq",
            jump: "jmp",
            table_jump: "jmpq *%r",
            trap: "ud2",
            jumps: |word| word.starts_with('j'),
        },
        "aarch64" => Written {
            call: "bl",
            jump: "b",
            table_jump: "br x",
            trap: "udf",
            jumps: |word| {
                word.starts_with("b.") || ["b", "cbz", "cbnz", "tbz", "tbnz"].contains(&word)
            },
        },
        other => panic!("how are the instructions of {other} written?"),
    }
}

/// The standard output of `reclaim explore`.
#[track_caller]
fn explore(args: &[&str]) -> String {
    let ran = reclaim(&[&["explore"], args].concat());
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    ran.stdout
}

/// Functions with everything that a listing shows.
fn everything(test: &str) -> String {
    let text = r#"(module
        (type $n (struct (field i32)))
        (tag $e (param i32))
        (func $f (param i32 (ref null $n)) (result i32) (local v128)
            (local.set 2 (v128.const i32x4 1 2 3 4))
            (block $h (result i32)
                (try_table (catch $e $h)
                    (block $a (block $b (block $c (br_table $a $b $c (local.get 0)))
                        (drop (call $g (i32.const 7))))
                        (drop (call $f (i32.const 5) (local.get 1))))
                    (drop (struct.get $n 0 (local.get 1)))
                    (drop (v128.any_true (local.get 2))))
                (i32.div_s (i32.const 1) (i32x4.extract_lane 1 (local.get 2)))))
        (func $g (export "g") (param i32) (result i32)
            (return_call $f (local.get 0) (struct.new $n (i32.const 1)))))"#;
    file(&format!("everything_{test}.wat"), text)
}

/// The offset and the text of each line of a listing that has an offset.
fn lines(listing: &str) -> Vec<(u32, &str)> {
    let lines = listing.lines().filter(|line| !line.starts_with(';')).filter_map(|line| {
        let rest = line.get(9..)?;
        let (offset, text) = rest.split_once("  ")?;
        Some((u32::from_str_radix(offset, 16).ok()?, text))
    });
    lines.collect()
}

/// The offset to which a line jumps.
fn target(text: &str) -> Option<u32> {
    let (mnemonic, operands) = text.split_once(' ')?;
    let operands = operands.split("; ").next()?;
    let hex = operands.split_whitespace().last()?.strip_prefix("0x")?;
    (written().jumps)(mnemonic).then(|| u32::from_str_radix(hex, 16).unwrap())
}

#[test]
fn functions_are_explored() {
    let lib = &library();
    for collector in COLLECTORS {
        let explore = |args: &[&str]| {
            let ran = reclaim(&[&["explore", lib, "--collector", collector], args].concat());
            assert_eq!(ran.status, 0, "{}", ran.stderr);
            ran.stdout
        };
        let clif = explore(&["--func", "push"]);
        assert!(clif.contains("function ") && clif.contains("block0"), "{clif}");
        let all = explore(&[]);
        assert!(all.len() > clif.len() && all.contains(&clif), "{all}");
        let asm = explore(&["--func", "push", "--emit", "asm"]);
        assert!(asm.contains("ret"), "{asm}");
        assert!(!explore(&["--func", "fill", "--emit", "stack-maps"]).is_empty());
        let checked = explore(&["--func", "push", "--check"]);
        assert_eq!(checked, format!("{clif}checked: roots, barriers, sandbox\n"));
    }
}

#[test]
fn machine_code_is_that_which_is_emitted() {
    let file = &everything("emitted");
    for collector in COLLECTORS {
        for func in ["f", "g"] {
            let args = |emit| [file, "--collector", collector, "--func", func, "--emit", emit];
            let asm = explore(&args("asm"));
            let lines = lines(&asm);
            let offsets: BTreeSet<u32> = lines.iter().map(|(at, _)| *at).collect();
            assert_eq!(offsets.len(), lines.len(), "{asm}");
            // Jumps lead to instructions, and none only leads to the next one.
            let mut jumps = 0;
            for ((_, text), (next, _)) in lines.iter().zip(&lines[1..]) {
                let Some(target) = target(text) else { continue };
                assert!(offsets.contains(&target) && target != *next, "{text}\n{asm}");
                jumps += 1;
            }
            assert!(jumps > 0, "{asm}");
            // The head counts what the listing shows.
            let data = |text: &&str| text.starts_with('.');
            let instructions = lines.iter().filter(|(_, text)| !data(text)).count();
            assert!(asm.contains(&format!("; {instructions} instructions, ")), "{asm}");
            // The stack maps are of places in the listing.
            let maps = explore(&args("stack-maps"));
            for line in maps.lines().filter_map(|line| line.strip_prefix("after 0x")) {
                let (offset, _) = line.split_once([' ', ':']).unwrap();
                let offset = u32::from_str_radix(offset, 16).unwrap();
                assert!(offsets.contains(&offset), "{line}\n{asm}");
            }
        }
    }
}

#[test]
fn what_belongs_to_an_instruction_is_beside_it() {
    let file = &everything("beside");
    let off = ["--inlining", "off"];
    let explore = |args: &[&str]| explore(&[args, &off].concat());
    let asm = explore(&[file, "--func", "f", "--emit", "asm"]);
    let lines: Vec<&str> = asm.lines().collect();
    let at = |part: &str| {
        let found = lines.iter().position(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("`{part}` is not in\n{asm}"))
    };
    let Written { call: calls, jump, table_jump, trap: traps, .. } = written();
    // A call has the name of its callee, and then its stack map and its handlers.
    let call = at(&format!("{calls} f"));
    assert!(lines[call + 1].contains("; frame of "), "{asm}");
    assert!(lines[call + 1].contains(" bytes, references at "), "{asm}");
    assert!(lines[call + 2].contains("; handlers for tag 0 `e` at 0x"), "{asm}");
    assert!(at(&format!("{calls} g")) != call);
    // A table of three targets follows its jump, and a constant has a line.
    let table = at(".long 0x");
    assert!(lines[table - 1].contains(table_jump), "{asm}");
    assert_eq!(asm.matches(".long 0x").count(), 3, "{asm}");
    at("  .byte 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x03,");
    for trap in ["null reference", "integer divide by zero", "call stack exhausted"] {
        at(&format!("; trap: {trap}"));
    }
    assert!(lines[at("integer divide by zero")].contains(traps), "{asm}");

    let asm = explore(&[file, "--func", "g", "--emit", "asm"]);
    for text in [format!(" {jump} f\n"), format!(" {calls} gc_alloc_struct\n")] {
        assert!(asm.contains(&text), "{asm}");
    }
    let maps = explore(&[file, "--func", "f", "--emit", "stack-maps"]);
    assert!(maps.contains(" (g): frame of ") && maps.contains(" (g): handlers for "), "{maps}");

    // CLIF has numbers for callees, and the head their names.
    let clif = explore(&[file, "--func", "g"]);
    assert!(clif.contains("\n; fn0: gc_alloc_struct\n"), "{clif}");
    assert!(clif.contains(": f\n"), "{clif}");
}

#[test]
fn inlined_calls_are_shown_as_they_are_compiled() {
    let file = &everything("inlined");
    let call = format!(" {} g\n", written().call);
    let asm = explore(&[file, "--func", "f", "--emit", "asm"]);
    assert!(!asm.contains(&call), "{asm}");
    let off = explore(&[file, "--func", "f", "--emit", "asm", "--inlining", "off"]);
    assert!(off.contains(&call), "{off}");
}

#[test]
fn collectors_are_shown_one_after_another() {
    let file = &everything("collectors");
    let heads = |args: &[&str]| -> Vec<String> {
        let shown = explore(&[&[&**file, "--func", "g"], args].concat());
        let heads = shown.lines().filter_map(|line| line.strip_prefix("; g ("));
        heads.map(|head| head.trim_end_matches(')').to_owned()).collect()
    };
    assert_eq!(heads(&[]), ["generational"]);
    assert_eq!(heads(&["--collector", "drc,null"]), ["drc", "null"]);
    // The same code is shown once.
    let all = heads(&["--collector", "all", "--emit", "asm"]);
    assert!(all.contains(&"null, copying, generational".to_owned()), "{all:?}");
    let maps = heads(&["--collector", "all", "--emit", "stack-maps"]);
    assert_eq!(maps, ["null, drc, copying, generational"]);
    // Each is named by what is different.
    let sizes = ["generational:nursery=1MiB", "generational:nursery=2MiB"];
    let both = heads(&["--collector", &sizes.join(",")]);
    assert_eq!(both.join(", ").matches("generational:nursery=").count(), 2, "{both:?}");
}

#[test]
fn sizes_are_compared_with_null() {
    let file = &everything("sizes");
    let table = explore(&[file, "--emit", "sizes", "--collector", "null,drc"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["function", "collector", "instructions", "against", "bytes", "against"]);
    assert_eq!(rows[1], ["null", "null"]);
    assert_eq!((rows[2][0], rows[2][1], rows[2][3]), ("f", "null", "="), "{table}");
    assert_eq!((rows[4][0], rows[4][1]), ("g", "null"), "{table}");
    let [null, drc] = [rows[4][2], rows[5][1]].map(|number| number.parse::<i32>().unwrap());
    assert!(drc > null && rows[5][2] == format!("+{}", drc - null), "{table}");
    assert_eq!(rows[6][..3], ["all", "2", "null"], "{table}");
    // The same table follows listings of several collectors. `null` is measured if it is not shown.
    let listing = explore(&[file, "--emit", "asm", "--collector", "null,drc"]);
    assert!(listing.ends_with(&format!("\n{table}")), "{listing}");
    let other = explore(&[file, "--emit", "sizes", "--collector", "drc"]);
    assert!(other.contains(&format!("+{}", drc - null)), "{other}");
    // Nothing is compared with itself.
    let alone = explore(&[file, "--emit", "sizes", "--collector", "null"]);
    assert!(!alone.contains("against"), "{alone}");
    // Laws are checked under each.
    let args = ["explore", file, "--emit", "sizes", "--collector", "null,drc", "--check"];
    let ran = reclaim(&args);
    assert!(ran.stdout.starts_with("; f (null, drc)\nchecked: roots, barriers, sandbox\n"));
    assert_eq!(ran.stderr, "all 4 functions that were checked keep the laws\n");
}

/// The machine code in the book's tour is what the command prints, and the offsets in the text beside it
/// are offsets in the listing. With BLESS=1 the page is updated. The page shows the code of an x86-64 with
/// BMI2.
#[test]
fn the_tour_shows_the_machine_code() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let (page, module) =
        (format!("{root}/docs/src/tour.md"), format!("{root}/tests/filetests/tour.wat"));
    let mut text = std::fs::read_to_string(&page).unwrap();
    let here = Machine::host();
    let is_x86_64 = here.arch() == "x86_64";
    let has_bmi2 = is_x86_64 && here.features().any(|feature| feature == "bmi2");
    let shown = [("cons", "null", is_x86_64), ("link", "drc", has_bmi2)];
    for (func, collector, same_here) in shown {
        let args = [&module, "--collector", collector, "--func", func, "--emit", "asm"];
        let listing = explore(&args);
        let begin = text.find(&format!("```text\n; {func} ({collector})\n")).expect("a listing");
        let begin = begin + "```text\n".len();
        let end = begin + text[begin..].find("```").unwrap();
        if std::env::var("BLESS").as_deref() == Ok("1") && same_here {
            text.replace_range(begin..end, &listing);
            std::fs::write(&page, &text).unwrap();
            continue;
        }
        if same_here {
            assert_eq!(text[begin..end], listing, "BLESS=1 updates the page");
        }
        let offsets: BTreeSet<u32> = lines(&text[begin..end]).iter().map(|(at, _)| *at).collect();
        let after = text[end..].split("\n## ").next().unwrap().split("```text").next().unwrap();
        for word in after.split("0x").skip(1) {
            let digits = word.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap();
            let offset = u32::from_str_radix(digits, 16).unwrap();
            assert!(offsets.contains(&offset), "0x{digits} is no offset of `{func}`");
        }
    }
}

/// The machine code for aarch64 of the only function of a module.
#[cfg(feature = "cross")]
fn for_aarch64(name: &str, text: &str, options: &[&str]) -> String {
    let file = file(name, text);
    explore(&[&[&*file, "--target", "aarch64-linux", "--emit", "asm"], options].concat())
}

#[cfg(feature = "cross")]
#[test]
fn a_store_that_may_write_a_part_before_it_faults_has_a_load_before_it() {
    let stores = [
        ("i32", "i32.store", "ldr w"),
        ("i64", "i64.store16", "ldrh w"),
        ("v128", "v128.store", "ldr q"),
    ];
    for (ty, store, load) in stores {
        let text = format!(
            "(module (memory 1) (func (param i32 {ty}) ({store} (local.get 0) (local.get 1))))"
        );
        let asm = for_aarch64(&format!("{store}.wat"), &text, &[]);
        let traps: Vec<&str> =
            asm.lines().filter(|line| line.contains("; trap: out of bounds")).collect();
        assert!(traps.len() == 2 && traps[0].contains(load) && traps[1].contains("  str"), "{asm}");
    }
    // One byte is never written in part, and bytes that were just loaded are there.
    for (name, body) in [
        ("byte", "(i32.store8 (local.get 0) (local.get 1))"),
        ("twice", "(i32.store (local.get 0) (i32.add (local.get 1) (i32.load (local.get 0))))"),
    ] {
        let text = format!("(module (memory 1) (func (param i32 i32) {body}))");
        let asm = for_aarch64(&format!("{name}.wat"), &text, &[]);
        assert_eq!(
            asm.matches("; trap: out of bounds").count(),
            1 + usize::from(name == "twice"),
            "{asm}"
        );
    }
}

#[cfg(feature = "cross")]
#[test]
fn return_addresses_are_signed_where_it_is_asked_for() {
    let text = "(module (func (export \"f\")))";
    let plain = for_aarch64("unsigned.wat", text, &[]);
    assert!(plain.starts_with("; f (generational, aarch64-linux)\n"), "{plain}");
    assert!(!plain.contains("paciaz") && !plain.contains("autiaz"), "{plain}");
    let signed = ["--sign-return-addresses"];
    let asm = for_aarch64("signed.wat", text, &signed);
    assert!(asm.contains("paciaz") && asm.contains("autiaz"), "{asm}");
    let file = file("signed.wat", text);
    let other = [&["explore", &*file, "--target", "x86_64-linux"], &signed[..]].concat();
    let ran = reclaim(&other);
    assert_ne!(ran.status, 0);
    assert!(ran.stderr.contains("sign_return_addresses: code for x86_64 cannot"), "{}", ran.stderr);
}
