//! `reclaim explore --html`: the page of a module.

use crate::common::{COLLECTORS, file, reclaim};
use scraper::{ElementRef, Html, Selector};
use std::collections::{BTreeMap, BTreeSet};

/// Functions with barriers, calls that are inlined and others, a table of jumps, a constant, a handler
/// and a loop. One has a name that must be escaped.
fn everything(test: &str) -> String {
    let text = r#"(module
        (type $n (struct (field $next (mut (ref null $n)))))
        (tag $e (param i32))
        (func $"<script>alert(1)</script>&\"'" (export "f")
            (param i32 (ref null $n)) (result i32) (local v128)
            (local.set 2 (v128.const i32x4 1 2 3 4))
            (block $h (result i32)
                (try_table (catch $e $h)
                    (block $a (block $b (block $c (br_table $a $b $c (local.get 0)))
                        (drop (call $g (i32.const 7))))
                        (call $link (local.get 1) (local.get 1)))
                    (drop (struct.get $n $next (local.get 1)))
                    (drop (v128.any_true (local.get 2))))
                (i32.div_s (i32.const 1) (i32x4.extract_lane 1 (local.get 2)))))
        (func $link (param (ref null $n) (ref null $n))
            (struct.set $n $next (local.get 0) (local.get 1)))
        (func $g (param i32) (result i32)
            (local $list (ref null $n))
            (loop $more
                (local.set $list (struct.new $n (local.get $list)))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if $more (local.get 0)))
            (struct.set $n $next (local.get $list) (struct.new_default $n))
            (i32.const 3)))"#;
    file(&format!("page_{test}.wat"), text)
}

/// The page of a module, with these options.
#[track_caller]
fn page(module: &str, test: &str, options: &[&str]) -> (String, Html) {
    let out = &file(&format!("page_{test}.html"), "");
    let ran = reclaim(&[&["explore", module, "--html", out], options].concat());
    assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (0, "", ""));
    let text = std::fs::read_to_string(out).unwrap();
    // With scripts, functions that are not shown are text. Without them they are elements.
    let scripted = Html::parse_document(&text);
    assert_eq!(scripted.errors, Vec::<String>::new());
    let plain = text.replace("<noscript>", "").replace("</noscript>", "");
    let page = Html::parse_document(&plain);
    let functions = all(&page, "section").len();
    assert_eq!(all(&scripted, "section > noscript").len(), functions);
    (text, page)
}

fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

fn within<'a>(element: ElementRef<'a>, selector: &str) -> Vec<ElementRef<'a>> {
    element.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: ElementRef<'_>) -> String {
    element.text().collect()
}

/// The offsets of the lines of a column.
fn offsets(column: ElementRef<'_>) -> BTreeSet<u32> {
    let lines = within(column, "[data-o]");
    let offsets = lines.iter().map(|line| line.attr("data-o").unwrap());
    offsets.map(|offset| u32::from_str_radix(offset, 16).unwrap()).collect()
}

const WASM: &str = "[data-view='0']";
const CLIF: &str = "[data-view='1']";
const OPTIMISED: &str = "[data-view='2']";
const MACHINE: &str = "[data-view='3']";
const STACK_MAPS: &str = "[data-view='4']";

#[test]
fn the_page_is_well_formed_and_stands_alone() {
    let module = &everything("alone");
    let (text, page) = page(module, "alone", &["--collector", "all"]);
    assert_eq!(page.errors, Vec::<String>::new());
    // It loads nothing. There is one script and one style, both in the page.
    assert!(all(&page, "link, img, iframe, object, embed, base").is_empty());
    assert!(all(&page, "[src], [srcset], [style], [onclick]").is_empty());
    assert_eq!((all(&page, "script").len(), all(&page, "style").len()), (1, 1));
    for part in ["http:", "https:", "@import", "url(", "import("] {
        assert!(!text.contains(part), "{part}");
    }
    // Links lead to functions of the page.
    let ids: BTreeSet<&str> =
        all(&page, "[id]").iter().map(|one| one.attr("id").unwrap()).collect();
    let links = all(&page, "a");
    assert_eq!(links.len(), 3);
    for link in links {
        assert!(ids.contains(link.attr("href").unwrap().strip_prefix('#').unwrap()));
    }
}

#[test]
fn names_are_escaped() {
    let module = &everything("escaped");
    let (source, page) = page(module, "escaped", &[]);
    assert!(!source.contains("<script>alert"));
    let name = "<script>alert(1)</script>&\"'";
    assert_eq!(text(all(&page, "nav a span")[0]), name);
    assert!(text(all(&page, "h2")[0]).starts_with(name));
    // The file's name is text too.
    let module = &file("page_<b>.wat", "(module (func (export \"<i>\")))");
    let (_, page) = self::page(module, "file_name", &[]);
    assert_eq!(text(all(&page, "h1")[0]), "page_<b>.wat");
    assert!(all(&page, "b i, h1 b").is_empty());
}

/// Checks the links of each function: whatever comes from an operator has a line of this operator.
#[track_caller]
fn is_linked(page: &Html) {
    for section in all(page, "section") {
        let name = text(within(section, "h2")[0]);
        let wasm = offsets(within(section, WASM)[0]);
        assert!(!wasm.is_empty(), "{name}");
        let mut linked = 0;
        for view in [CLIF, OPTIMISED, MACHINE, STACK_MAPS] {
            for column in within(section, view) {
                let offsets = offsets(column);
                let lost: Vec<_> = offsets.difference(&wasm).collect();
                assert!(lost.is_empty(), "{name}, {view}: {lost:x?} are not in {wasm:x?}");
                linked += offsets.len();
            }
        }
        // A function that only returns has no instruction of an operator.
        assert!(linked > 0 || wasm.len() < 4, "{name}");
    }
}

#[test]
fn every_offset_with_code_has_a_link() {
    let module = &everything("links");
    let (_, page) = page(module, "links", &["--collector", "all"]);
    is_linked(&page);
    // In a small function all operators have machine code, under each collector.
    let (_, page) = self::page(module, "links_g", &["--func", "g", "--inlining", "off"]);
    let listing =
        reclaim(&["explore", module, "--func", "g", "--emit", "asm", "--inlining", "off"]);
    let expected = listing.stdout.lines().filter_map(|line| line.strip_prefix('@'));
    let expected = expected.map(|line| line.split_whitespace().next().unwrap());
    let expected: BTreeSet<u32> =
        expected.map(|offset| u32::from_str_radix(offset, 16).unwrap()).collect();
    assert!(expected.len() > 5, "{}", listing.stdout);
    assert_eq!(offsets(all(&page, MACHINE)[0]), expected);
}

#[test]
fn programs_are_linked() {
    for program in ["json_tree", "persistent_map", "interpreter", "hash_map"] {
        let program = format!("{}/../../tests/programs/{program}.wat", env!("CARGO_MANIFEST_DIR"));
        let (_, page) = page(&program, "program", &["--collector", "drc,generational"]);
        assert_eq!(page.errors, Vec::<String>::new(), "{program}");
        is_linked(&page);
    }
}

/// The words at the ends of the lines of a column, with the number of each.
fn words(columns: &[ElementRef<'_>]) -> BTreeMap<String, usize> {
    let mut words = BTreeMap::new();
    for column in columns {
        for word in within(*column, "em") {
            *words.entry(text(word)).or_default() += 1;
        }
    }
    words
}

#[test]
fn barriers_and_safepoints_are_marked() {
    let module = &everything("marks");
    for collector in COLLECTORS {
        let options = ["--collector", collector, "--func", "g"];
        let (_, page) = page(module, &format!("marks_{collector}"), &options);
        for view in [CLIF, MACHINE] {
            let words = words(&all(&page, view));
            for word in ["allocation", "safepoint", "spill"] {
                assert!(words.contains_key(word), "{collector}, {view}: {words:?}");
            }
            let barrier = words.contains_key("write barrier");
            let has = ["drc", "generational"].contains(&collector);
            assert_eq!(barrier, has, "{collector}, {view}: {words:?}");
            assert!(!words.contains_key("read barrier"), "{collector} has none");
        }
        assert!(words(&all(&page, OPTIMISED)).contains_key("poll"), "{collector}");
        // Each stack map has a row, and a note at its call.
        let rows = all(&page, "[data-view='4'] tbody tr");
        let notes = all(&page, "[data-view='3'] .m-map");
        assert!(!rows.is_empty() && rows.len() == notes.len(), "{collector}");
        let listing = ["explore", module, "--func", "g", "--emit", "stack-maps"];
        let listing = reclaim(&[&listing, &options[..2]].concat()).stdout;
        for row in rows {
            let cells: Vec<String> = within(row, "td").into_iter().map(text).collect();
            let [at, callee, frame, slots] = &cells[..] else { panic!("{cells:?}") };
            let expected =
                format!("after 0x{at} ({callee}): frame of {frame}, references at {slots}\n");
            assert!(listing.contains(&expected), "{expected}{listing}");
        }
    }
}

#[test]
fn collectors_are_beside_each_other() {
    let module = &everything("collectors");
    let (_, page) = page(module, "collectors", &["--collector", "all", "--func", "link"]);
    let switches: Vec<String> = all(&page, "[data-kind=collector]").into_iter().map(text).collect();
    assert_eq!(switches, COLLECTORS);
    let columns = all(&page, MACHINE);
    let users: Vec<&str> =
        columns.iter().map(|column| column.attr("data-collectors").unwrap()).collect();
    // `null` and `copying` have no barriers, so they share their code.
    assert_eq!(users, ["0 2", "1", "3"]);
    assert_eq!(text(within(columns[0], "h3 b")[0]), "null, copying");
}
