//! Tests important shapes of the CLIF, and the limits of what is accepted.

use super::{COLLECTORS, Fixture};
use crate::types::registry::TypeRegistry;
use gc_compiler::OptLevel;
use gc_compiler::collector::null::NullCompiler;

/// Number of lines of `clif` that contain `part`.
fn count(clif: &str, part: &str) -> usize {
    clif.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn only_functions_that_leave_the_instance_keep_their_vmctx() {
    let clif = Fixture::new(OptLevel::Speed).clif(
        &NullCompiler,
        r#"(module (type $f (func))
            (import "a" "f" (func $import)) (table 1 funcref)
            (func $leaf) (func (call $leaf)) (func (call $import))
            (func (call_indirect (type $f) (i32.const 0)))
            (func (param (ref $f)) (call_ref $f (local.get 0)))
            (func (return_call_ref $f (ref.null $f))))"#,
    );
    // The last one calls a host function, if it is one, and returns.
    for (index, keeps) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 1)] {
        assert_eq!(count(&clif[&index], "key ="), keeps, "{}", clif[&index]);
    }
}

#[test]
fn exactly_the_heap_references_live_over_a_call_are_in_its_map() {
    let fixture = Fixture::new(OptLevel::Speed);
    let map_sizes = |wat: &str| -> Vec<usize> {
        let wasm = wat::parse_str(wat).unwrap();
        let registry = TypeRegistry::new().unwrap();
        // A collector without barriers, because barriers have their own calls and stack maps.
        let image = fixture.compile(&registry, &NullCompiler, &wasm).unwrap();
        image.stack_maps().iter().map(|(_, map)| map.slots().len()).collect()
    };
    let body = |body: &str| {
        format!(
            r#"(module (type $s (struct)) (import "a" "f" (func $f)) (import "a" "i" (func $i (param anyref)))
                (import "a" "g" (func $g (result externref)))
                (func (param anyref externref funcref i64 (ref $s) i31ref) (result externref)
                  (local $l anyref) (local $u anyref) {body}))"#
        )
    };
    let tail = "(call $i (local.get 0)) (local.get 1)";
    // Two of the parameters are used later.
    assert_eq!(map_sizes(&body(&format!("(call $f) {tail}"))), [2, 1]);
    // A function reference and a number are not roots.
    assert_eq!(
        map_sizes(&body(&format!(
            "(call $f) (drop (ref.is_null (local.get 2))) (drop (i64.eqz (local.get 3))) {tail}"
        ))),
        [2, 1]
    );
    // Values of every source: a call's result, a local, a block's and a loop's.
    assert_eq!(map_sizes(&body("(call $g) (call $f)")), [1]);
    assert_eq!(
        map_sizes(&body(&format!(
            "(local.set $l (local.get 4)) (call $f) (call $i (local.get $l)) {tail}"
        ))),
        [3, 2, 1]
    );
    assert_eq!(
        map_sizes(&body(
            "(block (result externref) (br_if 0 (local.get 1) (i32.wrap_i64 (local.get 3)))
               drop (call $g)) (call $f)"
        )),
        [1]
    );
    assert_eq!(
        map_sizes(&body(
            "(local.get 0) (loop (param anyref) (call $f) (call $i)
               (br_if 0 (local.get 0) (i32.wrap_i64 (local.get 3))) drop) (local.get 1)"
        )),
        [3, 2]
    );
    assert_eq!(
        map_sizes(&body(
            "(select (result anyref) (local.get 0) (local.get 4) (i32.wrap_i64 (local.get 3)))
               (call $f) (call $i) (ref.null noextern)"
        )),
        [1]
    );
    // A loaded reference.
    assert_eq!(
        map_sizes(
            r#"(module (import "a" "f" (func $f)) (table 1 anyref)
                (global $g (mut anyref) (ref.null none))
                (type $s (struct (field anyref))) (type $a (array anyref))
                (func (param (ref $s)) (result anyref) (struct.get $s 0 (local.get 0)) (call $f))
                (func (param (ref $a)) (result anyref)
                  (array.get $a (local.get 0) (i32.const 0)) (call $f))
                (func (param anyref) (result anyref)
                  (ref.cast (ref $s) (local.get 0)) (call $f)))"#
        ),
        [1, 1, 1]
    );
}

#[test]
fn indirect_calls_check_no_more_than_they_must() {
    let clif = Fixture::new(OptLevel::Speed).clif(
        &NullCompiler,
        r#"(module (type $open (sub (func))) (type $final (sub final $open (func)))
            (table $any 1 funcref) (table $typed 1 (ref null $final))
            (func (call_indirect $any (type $final) (i32.const 0)))
            (func (call_indirect $any (type $open) (i32.const 0)))
            (func (call_indirect $typed (type $final) (i32.const 0)))
            (func (call_indirect $typed (type $open) (i32.const 0))))"#,
    );
    // The traps: out of bounds, null, bad signature.
    for (index, traps) in [(0, [1, 1, 1]), (2, [1, 1, 0]), (3, [1, 1, 0])] {
        let counts = ["user3", "user5", "user6"].map(|trap| count(&clif[&index], trap));
        assert_eq!(counts, traps, "{}", clif[&index]);
    }
    // A type with subtypes is looked up in the display.
    assert_eq!(count(&clif[&1], " cold:"), 1, "{}", clif[&1]);
    for exact in [0, 2, 3] {
        assert_eq!(count(&clif[&exact], " cold:"), 0, "{}", clif[&exact]);
    }
}

#[test]
fn a_null_function_reference_faults_by_itself_unless_its_type_says_it_is_not_null() {
    let clif = Fixture::new(OptLevel::Speed).clif(
        &NullCompiler,
        "(module (type $f (func)) (type $s (struct (field (ref $f))))
           (func (param (ref null $f)) (call_ref $f (local.get 0)))
           (func (param (ref $f)) (call_ref $f (local.get 0)))
           (func (param (ref $s)) (call_ref $f (struct.get $s 0 (local.get 0)))))",
    );
    for (index, faults) in [(0, 1), (1, 0)] {
        let clif = &clif[&index];
        assert_eq!(count(clif, "trapz"), 0, "{clif}");
        assert_eq!(count(clif, "load.i64 user11"), faults, "{clif}");
    }
    // Values from the heap are checked: that there is such a function, and its type. The entry of null is
    // null, so no branch is needed for it.
    let checks = [count(&clif[&2], "trapnz"), count(&clif[&2], "trapz"), count(&clif[&2], "brif")];
    assert_eq!(checks, [2, 1, 0], "{}", clif[&2]);
    let mut checks = clif[&2].lines().filter(|line| line.contains(" trap"));
    assert!(checks.all(|line| line.contains("user17")), "{}", clif[&2]);
}

#[test]
fn what_types_say_is_not_tested() {
    let clif = Fixture::new(OptLevel::Speed).clif(
        &NullCompiler,
        "(module (type $a (sub (struct))) (type $b (sub final $a (struct)))
           (func (param (ref $b)) (result i32) (ref.test (ref $a) (local.get 0)))
           (func (param (ref null $b)) (result i32) (ref.test (ref $a) (local.get 0)))
           (func (param (ref $a)) (result i32) (ref.test (ref $b) (local.get 0)))
           (func (param anyref) (result i32) (ref.test (ref $b) (local.get 0)))
           (func (param (ref func)) (result (ref func)) (ref.as_non_null (local.get 0))))",
    );
    // Headers are loaded only where the outcome depends on them. Only a value that may be an i31 is
    // rotated to test its tag.
    for (index, headers, tags) in [(0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 1, 1), (4, 0, 0)] {
        let clif = &clif[&index];
        assert_eq!(count(clif, "user15"), headers, "{clif}");
        assert_eq!(count(clif, "rotr"), tags, "{clif}");
    }
    assert_eq!(count(&clif[&4], "trapz"), 0, "{}", clif[&4]);
}

#[test]
fn bases_are_loaded_once_for_loops_without_calls() {
    let clif = Fixture::new(OptLevel::Speed).clif(
        &NullCompiler,
        r#"(module (type $a (array i32)) (memory 1)
            (func (param (ref $a) i32)
              (loop (drop (array.get $a (local.get 0) (local.get 1)))
                (drop (i32.load (local.get 1))) (br_if 0 (local.get 1)))))"#,
    );
    let entry: String = clif[&0].split("block2").next().unwrap().to_string();
    let base = "load.i64 notrap aligned region";
    assert_eq!(count(&entry, base), 2, "{}", clif[&0]);
}

#[test]
fn nesting_and_size_do_not_use_up_the_stack() {
    let fixture = Fixture::new(OptLevel::Speed);
    let registry = TypeRegistry::new().unwrap();
    let repeat = |n: usize, text: &str| text.repeat(n);
    for wat in [
        format!("(module (func {} {}))", repeat(50_000, "block "), repeat(50_000, "end ")),
        format!(
            "(module (func (param i32) {} {}))",
            repeat(3_000, "block local.get 0 br_if 0 "),
            repeat(3_000, "end ")
        ),
        format!(
            "(module (func (param i32) {} {}))",
            repeat(2_000, "loop local.get 0 br_if 0 "),
            repeat(2_000, "end ")
        ),
        format!(
            "(module (func (param i32) {} {}))",
            repeat(3_000, "local.get 0 if "),
            repeat(3_000, "else nop end ")
        ),
        format!(
            "(module (func unreachable {} {}))",
            repeat(50_000, "loop "),
            repeat(50_000, "end ")
        ),
        format!(
            "(module (func (param i32) (result i32) local.get 0 {}))",
            repeat(50_000, "local.get 0 i32.add ")
        ),
        format!("(module (func (local {})))", repeat(49_000, "anyref ")),
        format!(
            "(module (import \"a\" \"f\" (func $f (result anyref))) (func {} {}))",
            repeat(2_000, "call $f "),
            repeat(2_000, "drop ")
        ),
    ] {
        let wasm = wat::parse_str(&wat).unwrap();
        for gc in COLLECTORS {
            fixture.compile(&registry, gc, &wasm).unwrap();
        }
    }
}

#[test]
fn signatures_as_large_as_the_validator_allows_compile() {
    let types = ["i32", "i64", "f32", "f64", "v128", "anyref", "funcref"];
    let many: Vec<&str> = types.into_iter().cycle().take(1000).collect();
    let many = many.join(" ");
    let gets: String = (0..1000).map(|i| format!("(local.get {i})")).collect();
    Fixture::new(OptLevel::Speed).accepts(&format!(
        r#"(module (type $f (func (param {many}) (result {many})))
            (import "a" "f" (func $f (type $f))) (table 1 funcref)
            (func $echo (type $f) {gets})
            (func (type $f) (call $echo {gets}))
            (func (type $f) (call $f {gets}))
            (func (type $f) (call_indirect (type $f) {gets} (i32.const 0)))
            (func (type $f) (return_call_ref $f {gets} (ref.null $f))))"#
    ));
}

#[test]
fn many_globals_fit_the_flags_of_one_function() {
    let globals = "(global (mut i32) (i32.const 0))".repeat(10_000);
    let body: String = (0..10_000).map(|i| format!("(global.set {i} (local.get 0))")).collect();
    let wat = format!("(module {globals} (func (param i32) {body}))");
    let wasm = wat::parse_str(&wat).unwrap();
    let registry = TypeRegistry::new().unwrap();
    Fixture::new(OptLevel::None).compile(&registry, &NullCompiler, &wasm).unwrap();
}

#[test]
fn errors_name_the_function_and_the_offset() {
    let fixture = Fixture::new(OptLevel::Speed);
    let error = fixture
        .error(r#"(module (func) (func $named (result i32) i64.const 1) (func (result i32)))"#);
    assert!(error.starts_with("function 1 `named`: type mismatch"), "{error}");
    assert!(error.contains("at offset 0x"), "{error}");
    let error = fixture.error(r#"(module (func (export "fence") atomic.fence))"#);
    assert!(error.starts_with("function 0 `fence`: threads support is not enabled"), "{error}");
}

#[test]
fn the_operands_of_a_branch_table_are_passed_once_for_each_label() {
    let (types, args) = ("i32 ".repeat(100), "(i32.const 1) ".repeat(100));
    let entries = "0 1 ".repeat(200);
    let wat = format!(
        "(module (func (param i32) (result {types})
            (block (result {types}) (br_table {entries} 0 {args} (local.get 0)))))"
    );
    let clif = Fixture::new(OptLevel::Speed).clif(&NullCompiler, &wat);
    let clif = &clif[&0];
    let table = clif.lines().find(|line| line.contains("br_table")).unwrap();
    assert!(!table.contains('('), "{table}");
    // And once at the end of the inner block.
    assert_eq!(count(clif, "jump block"), 3, "{clif}");
}
