//! The machine code of what is emitted for objects, on both processors: `tests/filetests/machine_code` has the listings
//! side by side. `BLESS=1 cargo test -p gc-cli --test command machine_code` writes them again, so that a change shows in
//! the diff. The book's page "Machine code on two processors" reads them instruction by instruction.

use crate::common::reclaim;
use std::fs;
use std::path::Path;

/// The processors, and levels of them, so that the listings are the same on all machines.
const TARGETS: [(&str, &str); 2] = [("x86_64", "x86-64-v3"), ("aarch64", "armv8.1-a")];

/// The modules, with the collectors under which they are listed. The others have no barriers, and allocate as
/// `generational` does.
const MODULES: [(&str, &[&str]); 12] = [
    ("array_get_set", &["generational"]),
    ("array_new", &["generational"]),
    ("calls", &["generational"]),
    ("memory", &["generational"]),
    ("ref_cast", &["generational"]),
    ("ref_func_cast", &["generational"]),
    ("ref_test", &["generational"]),
    ("simd", &["generational"]),
    ("struct_get", &["generational", "drc"]),
    ("struct_new", &["generational", "drc"]),
    ("struct_set", &["generational", "drc"]),
    ("table", &["generational", "drc"]),
];

#[test]
fn listings_are_as_they_were() {
    let filetests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/filetests");
    let folder = filetests.join("machine_code");
    let bless = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    let mut expected = Vec::new();
    for (module, collectors) in MODULES {
        let file = filetests.join(module).with_extension("wat");
        let file = file.to_str().unwrap();
        for collector in collectors {
            for (processor, target) in TARGETS {
                let options = ["--collector", collector, "--target", target, "--emit", "asm"];
                let ran = reclaim(&[&["explore", file], &options[..]].concat());
                assert_eq!((ran.status, &*ran.stderr), (0, ""));
                let name = format!("{module}.{collector}.{processor}.asm");
                if bless {
                    fs::write(folder.join(&name), &ran.stdout).unwrap();
                }
                let before = fs::read_to_string(folder.join(&name)).unwrap_or_default();
                assert_eq!(ran.stdout, before, "{name}: `BLESS=1` writes it again");
                expected.push(name);
            }
        }
    }
    // No listing is left that nobody compares.
    let mut found: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
