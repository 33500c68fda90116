//! Tests every operator on every type that it takes.

use super::Fixture;
use gc_compiler::OptLevel;

/// One function `f` for each operator of a family, applied to parameters.
fn apply(operators: &[&str], params: &str, result: &str) -> String {
    let arity = params.split_whitespace().count();
    let operands: String = (0..arity).map(|i| format!("(local.get {i})")).collect();
    let functions: String = operators
        .iter()
        .map(|op| {
            format!("(func (export \"{op}\") (param {params}) (result {result}) {operands} {op})\n")
        })
        .collect();
    format!("(module {functions})")
}

#[test]
fn every_numeric_operator_compiles() {
    let mut fixture = Fixture::new(OptLevel::Speed);
    for ty in ["i32", "i64"] {
        let of = |names: &str| -> Vec<String> {
            names.split_whitespace().map(|name| format!("{ty}.{name}")).collect()
        };
        let all = |names: &str, params: &str, result: &str, fixture: &mut Fixture| {
            let names = of(names);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            fixture.accepts(&apply(&names, params, result));
        };
        all("clz ctz popcnt extend8_s extend16_s", ty, ty, &mut fixture);
        all(
            "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr",
            &format!("{ty} {ty}"),
            ty,
            &mut fixture,
        );
        all("eqz", ty, "i32", &mut fixture);
        all(
            "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u",
            &format!("{ty} {ty}"),
            "i32",
            &mut fixture,
        );
        for float in ["f32", "f64"] {
            let conversions = ["trunc", "trunc_sat"]
                .map(|trunc| format!("{trunc}_{float}_s {trunc}_{float}_u"))
                .join(" ");
            all(&conversions, float, ty, &mut fixture);
            let back = format!("{float}.convert_{ty}_s");
            let back_unsigned = format!("{float}.convert_{ty}_u");
            fixture.accepts(&apply(&[&back, &back_unsigned], ty, float));
        }
    }
    for ty in ["f32", "f64"] {
        let of = |names: &str| -> Vec<String> {
            names.split_whitespace().map(|name| format!("{ty}.{name}")).collect()
        };
        let unary = of("abs neg ceil floor trunc nearest sqrt");
        fixture.accepts(&apply(&unary.iter().map(|s| &**s).collect::<Vec<_>>(), ty, ty));
        let binary = of("add sub mul div min max copysign");
        let two = format!("{ty} {ty}");
        fixture.accepts(&apply(&binary.iter().map(|s| &**s).collect::<Vec<_>>(), &two, ty));
        let compare = of("eq ne lt gt le ge");
        fixture.accepts(&apply(&compare.iter().map(|s| &**s).collect::<Vec<_>>(), &two, "i32"));
    }
    fixture.accepts(&apply(&["i32.wrap_i64"], "i64", "i32"));
    fixture.accepts(&apply(&["i64.extend_i32_s", "i64.extend_i32_u"], "i32", "i64"));
    fixture.accepts(&apply(&["i64.extend32_s"], "i64", "i64"));
    fixture.accepts(&apply(&["f32.demote_f64"], "f64", "f32"));
    fixture.accepts(&apply(&["f64.promote_f32"], "f32", "f64"));
    for (from, to) in [("i32", "f32"), ("f32", "i32"), ("i64", "f64"), ("f64", "i64")] {
        fixture.accepts(&apply(&[&format!("{to}.reinterpret_{from}")], from, to));
    }
    fixture.accepts(
        "(module (func (result i32 i64 f32 f64)
            i32.const -1 i64.const -1 f32.const nan:0x200001 f64.const -inf))",
    );
}

#[test]
fn every_memory_operator_compiles() {
    let mut fixture = Fixture::new(OptLevel::Speed);
    for offset in ["", " offset=2147483631", " offset=2147483632", " offset=4294967295"] {
        for (ty, loads, stores) in [
            ("i32", "load load8_s load8_u load16_s load16_u", "store store8 store16"),
            (
                "i64",
                "load load8_s load8_u load16_s load16_u load32_s load32_u",
                "store store8 store16 store32",
            ),
            ("f32", "load", "store"),
            ("f64", "load", "store"),
        ] {
            let mut functions = String::new();
            for load in loads.split_whitespace() {
                functions += &format!(
                    "(func (param i32) (result {ty}) (local.get 0) {ty}.{load}{offset})\n"
                );
            }
            for store in stores.split_whitespace() {
                functions += &format!(
                    "(func (param i32 {ty}) (local.get 0) (local.get 1) {ty}.{store}{offset})\n"
                );
            }
            fixture.accepts(&format!("(module (memory 1) {functions})"));
            fixture.accepts(&format!("(module (import \"a\" \"m\" (memory 1)) {functions})"));
        }
    }
    fixture.accepts(
        r#"(module (memory 1) (data $d "abc")
            (func (param i32 i32 i32) (result i32)
              (memory.copy (local.get 0) (local.get 1) (local.get 2))
              (memory.fill (local.get 0) (local.get 1) (local.get 2))
              (memory.init $d (local.get 0) (local.get 1) (local.get 2))
              (data.drop $d)
              (drop (memory.size))
              (memory.grow (local.get 0))))"#,
    );
}

#[test]
fn every_table_and_global_operator_compiles() {
    let mut fixture = Fixture::new(OptLevel::Speed);
    for ty in ["funcref", "externref", "anyref", "i31ref", "(ref null $s)", "(ref null $f)"] {
        for (table, global) in [
            (format!("(table $t 1 {ty})"), format!("(global $g (mut {ty}) (ref.null $null))")),
            (format!("(table $t 4 4 {ty})"), format!("(global $g (mut {ty}) (ref.null $null))")),
            (
                format!("(import \"a\" \"t\" (table $t 1 {ty}))"),
                format!("(import \"a\" \"g\" (global $g (mut {ty})))"),
            ),
        ] {
            let null = match ty {
                "funcref" | "(ref null $f)" => "nofunc",
                "externref" => "noextern",
                _ => "none",
            };
            let global = global.replace("$null", null);
            fixture.accepts(&format!(
                r#"(module (type $s (struct (field i32))) (type $f (func))
                    {table} {global}
                    (elem $e {ty} (ref.null {null}))
                    (func (param i32 i32 i32 {ty}) (result i32)
                      (table.set $t (local.get 0) (local.get 3))
                      (global.set $g (table.get $t (local.get 1)))
                      (table.set $t (local.get 0) (global.get $g))
                      (table.fill $t (local.get 0) (local.get 3) (local.get 1))
                      (table.copy $t $t (local.get 0) (local.get 1) (local.get 2))
                      (table.init $t $e (local.get 0) (local.get 1) (local.get 2))
                      (elem.drop $e)
                      (drop (table.grow $t (global.get $g) (local.get 0)))
                      (table.size $t)))"#
            ));
        }
    }
    fixture.accepts(
        r#"(module
            (import "a" "i" (global $i i32)) (import "a" "m" (global $m (mut f64)))
            (global $a (mut i32) (i32.const 1)) (global $b (mut i64) (i64.const 1))
            (global $c (mut f32) (f32.const 1)) (global $d (mut f64) (f64.const 1))
            (func
              (global.set $a (i32.add (global.get $a) (global.get $i)))
              (global.set $b (i64.add (global.get $b) (i64.const 1)))
              (global.set $c (f32.add (global.get $c) (f32.const 1)))
              (global.set $d (f64.add (global.get $d) (f64.const 1)))
              (global.set $m (global.get $d))))"#,
    );
}

#[test]
fn every_control_operator_compiles() {
    Fixture::new(OptLevel::Speed).accepts(
        r#"(module
            (type $pair (func (param i32 i64) (result i64 i32)))
            (type $s (struct (field (mut i32))))
            (func (param i32) (result i32)
              nop
              (block (result i32)
                (br_if 0 (i32.const 1) (local.get 0))
                (br_if 1 (i32.const 2))
                drop
                (br 0 (i32.const 3))))
            (func (param i32 i64) (result i64 i32)
              (local.get 0) (local.get 1)
              block (type $pair)
                local.set 1
                local.set 0
                local.get 1
                local.get 0
                local.get 0
                br_if 0
                local.get 0
                br_if 1
                return
              end)
            (func (param i32 i64) (result i64 i32)
              local.get 0
              local.get 1
              loop (param i32 i64) (result i64 i32)
                local.set 1
                i32.const 1
                i32.sub
                local.tee 0
                local.get 1
                local.get 0
                br_if 0
                local.set 1
                local.set 0
                local.get 1
                local.get 0
              end)
            (func (param i32 i32) (result i32)
              local.get 1
              local.get 0
              if (param i32) (result i32)
                i32.const 2
                i32.mul
              else
                i32.const 3
                i32.add
              end
              local.get 0
              if (param i32) (result i32)
              end)
            (func (param i32) (result i32)
              (block (result i32) (block (result i32) (block (result i32)
                (br_table 0 1 2 3 1 (i32.const 7) (local.get 0)))
                (i32.add (i32.const 1)))
                (return (i32.add (i32.const 2)))))
            (func (param i32) (result i32)
              (block (block (block (br_table 0 1 2 (local.get 0))) (return (i32.const 5))))
              (i32.const 9))
            (func (param (ref null $s) i32) (result i32)
              (block $null
                (block $non_null (result (ref $s))
                  (br_on_null $null (local.get 0))
                  (br_on_non_null $non_null)
                  (br_on_non_null $non_null (local.get 0))
                  (br 1))
                (struct.set $s 0 (local.get 1))
                (struct.get $s 0 (ref.as_non_null (local.get 0)))
                return)
              (i32.const 0))
            (func (param i32 (ref $s)) (result (ref $s))
              (select (result (ref $s)) (local.get 1) (struct.new $s (local.get 0)) (local.get 0)))
            (func (param i32 f64 f64) (result f64)
              (select (local.get 1) (local.get 2) (local.get 0)))
            (func (param i32) (loop (br_if 0 (local.get 0)) (br 0)))
            (func (param i32) (result i32) (local $r (ref $s)) (local $x externref)
              (local.set $r (struct.new_default $s))
              (if (local.get 0) (then (local.set $r (struct.new $s (i32.const 4)))))
              (struct.get $s 0 (local.get $r))))"#,
    );
}

#[test]
fn unreachable_code_is_skipped() {
    Fixture::new(OptLevel::Speed).accepts(
        r#"(module
            (type $s (struct (field (mut i32))))
            (func (result i32)
              unreachable
              block (result i32) loop i32.const 0 if nop else i64.const 2 drop end end unreachable end
              i32.add)
            (func (param i32) (result i32)
              block
                br 0
                if else block end end
                loop (result i32) i32.const 1 end
                drop
              end
              local.get 0)
            (func (param i32) (result i32)
              local.get 0
              if (result i32)
                i32.const 1 return
                block (result i32) i32.const 2 end
              else
                local.get 0
              end)
            (func (param i32) (result i32)
              local.get 0
              if (result i32) i32.const 1 return else i32.const 2 return end)
            (func (param i32) (result i32)
              loop (result i32) local.get 0 br 1 end
              i32.const 3
              i32.add)
            (func (result (ref $s))
              unreachable
              struct.get $s 0 drop br_on_null 0 ref.as_non_null ref.cast (ref $s) drop drop
              call_ref $f struct.new $s)
            (type $f (func (param i32) (result i32))))"#,
    );
}

#[test]
fn every_call_compiles() {
    Fixture::new(OptLevel::Speed).accepts(
        r#"(module
            (type $open (sub (func (param i32) (result anyref))))
            (type $final (sub final $open (func (param i32) (result anyref))))
            (import "a" "f" (func $f (type $open)))
            (import "a" "many"
              (func $many (param i32 i64 f32 f64 anyref) (result anyref f64 f32 i64 i32)))
            (table $any 4 funcref)
            (table $fixed 4 4 funcref)
            (table $typed 4 (ref null $final))
            (table $total 4 (ref $final) (ref.func $own))
            (elem declare func $f $own)
            (func $own (type $final) (local.get 0) (call $f))
            (func (param i32) (result anyref) (call $own (local.get 0)))
            (func (param i32) (result anyref) (call_indirect $any (type $open) (local.get 0) (local.get 0)))
            (func (param i32) (result anyref) (call_indirect $fixed (type $final) (local.get 0) (local.get 0)))
            (func (param i32) (result anyref) (call_indirect $typed (type $final) (local.get 0) (local.get 0)))
            (func (param i32) (result anyref) (call_indirect $typed (type $open) (local.get 0) (local.get 0)))
            (func (param i32) (result anyref) (call_indirect $total (type $open) (local.get 0) (local.get 0)))
            (func (param i32 (ref null $open)) (result anyref) (call_ref $open (local.get 0) (local.get 1)))
            (func (param i32 (ref $final)) (result anyref) (call_ref $open (local.get 0) (local.get 1)))
            (func (result (ref $open) (ref $final)) (ref.func $f) (ref.func $own))
            (func (param anyref) (result anyref f64 f32 i64 i32)
              (call $many (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (local.get 0)))
            (func (param (ref null func)) (result i32 i32)
              (ref.test (ref $open) (local.get 0)) (ref.test (ref null $final) (local.get 0)))
            (func (param i32 (ref null $final)) (result anyref)
              (return_call_ref $final (local.get 0) (local.get 1))))"#,
    );
}

const TYPES: &str = r#"
    (type $root (sub (struct (field (mut i32)))))
    (type $sub (sub $root (struct (field (mut i32)) (field (mut anyref)))))
    (type $leaf (sub final $sub (struct (field (mut i32)) (field (mut anyref)))))
    (type $fn (func (param i32) (result i32)))
    (type $all (struct (field (mut i8)) (field (mut i16)) (field (mut i32)) (field (mut i64))
      (field (mut f32)) (field (mut f64)) (field (mut anyref)) (field (mut externref))
      (field (mut funcref)) (field (mut (ref null $fn))) (field (mut (ref null nofunc)))
      (field (mut (ref null $leaf)))))
    (type $i8s (array (mut i8))) (type $i16s (array (mut i16))) (type $i32s (array (mut i32)))
    (type $i64s (array (mut i64))) (type $f32s (array (mut f32))) (type $f64s (array (mut f64)))
    (type $anys (array (mut anyref))) (type $externs (array (mut externref)))
    (type $funcs (array (mut funcref))) (type $fns (array (mut (ref null $fn))))
    (type $strict (struct (field (mut (ref $fn))) (field (mut (ref $leaf)))))"#;

#[test]
fn every_struct_operator_compiles() {
    let mut fixture = Fixture::new(OptLevel::Speed);
    let mut functions = String::new();
    for (i, ty) in [
        "i32",
        "i32",
        "i32",
        "i64",
        "f32",
        "f64",
        "anyref",
        "externref",
        "funcref",
        "(ref null $fn)",
        "(ref null nofunc)",
        "(ref null $leaf)",
    ]
    .iter()
    .enumerate()
    {
        let gets: &[&str] = if i < 2 { &["get_s", "get_u"] } else { &["get"] };
        for get in gets {
            functions += &format!(
                "(func (param (ref null $all)) (result {ty}) (struct.{get} $all {i} (local.get 0)))\n"
            );
        }
        functions += &format!(
            "(func (param (ref null $all) {ty}) (struct.set $all {i} (local.get 0) (local.get 1)))\n"
        );
    }
    fixture.accepts(&format!(
        r#"(module {TYPES} {functions}
            (func (result (ref $all)) (struct.new_default $all))
            (func (param i32 i64 f32 f64 anyref externref funcref (ref null $fn) (ref null $leaf))
                  (result (ref $all))
              (struct.new $all (local.get 0) (local.get 0) (local.get 0) (local.get 1) (local.get 2)
                (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)
                (ref.null nofunc) (local.get 8)))
            (func (param (ref $fn) (ref $leaf)) (result (ref $strict))
              (struct.new $strict (local.get 0) (local.get 1)))
            (func (param (ref $strict)) (result (ref $fn) (ref $leaf))
              (struct.get $strict 0 (local.get 0)) (struct.get $strict 1 (local.get 0))))"#
    ));
}

#[test]
fn every_array_operator_compiles() {
    let mut fixture = Fixture::new(OptLevel::Speed);
    for (array, ty) in [
        ("$i8s", "i32"),
        ("$i16s", "i32"),
        ("$i32s", "i32"),
        ("$i64s", "i64"),
        ("$f32s", "f32"),
        ("$f64s", "f64"),
        ("$anys", "anyref"),
        ("$externs", "externref"),
        ("$funcs", "funcref"),
        ("$fns", "(ref null $fn)"),
    ] {
        let packed = matches!(array, "$i8s" | "$i16s");
        let gets: &[&str] = if packed { &["get_s", "get_u"] } else { &["get"] };
        let mut functions = String::new();
        for get in gets {
            functions += &format!(
                "(func (param (ref null {array}) i32) (result {ty})
                   (array.{get} {array} (local.get 0) (local.get 1)))\n"
            );
        }
        let (segment, new, init) = match ty {
            "i32" | "i64" | "f32" | "f64" => {
                ("(data $x \"0123456789\")".to_string(), "new_data", "init_data")
            }
            _ => {
                let null = match ty {
                    "anyref" => "none",
                    "externref" => "noextern",
                    _ => "nofunc",
                };
                (format!("(elem $x {ty} (ref.null {null}))"), "new_elem", "init_elem")
            }
        };
        fixture.accepts(&format!(
            r#"(module {TYPES} {segment} {functions}
                (func (param (ref null {array}) i32 {ty})
                  (array.set {array} (local.get 0) (local.get 1) (local.get 2)))
                (func (param (ref null {array})) (result i32) (array.len (local.get 0)))
                (func (param {ty} i32) (result (ref {array}))
                  (array.new {array} (local.get 0) (local.get 1)))
                (func (param i32) (result (ref {array})) (array.new_default {array} (local.get 0)))
                (func (param {ty}) (result (ref {array}))
                  (array.new_fixed {array} 3 (local.get 0) (local.get 0) (local.get 0)))
                (func (result (ref {array})) (array.new_fixed {array} 0))
                (func (param (ref null {array}) i32 {ty} i32)
                  (array.fill {array} (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
                (func (param (ref null {array}) i32 i32)
                  (array.copy {array} {array}
                    (local.get 0) (local.get 1) (local.get 0) (local.get 2) (local.get 1)))
                (func (param i32 i32) (result (ref {array}))
                  (array.{new} {array} $x (local.get 0) (local.get 1)))
                (func (param (ref null {array}) i32 i32 i32)
                  (array.{init} {array} $x
                    (local.get 0) (local.get 1) (local.get 2) (local.get 3))))"#
        ));
    }
}

#[test]
fn every_test_and_cast_compiles() {
    let mut fixture = Fixture::new(OptLevel::Speed);
    for (top, targets) in [
        ("any", "any eq i31 struct array none $root $sub $leaf $anys"),
        ("eq", "eq i31 struct array none $root $sub $leaf $anys"),
        ("struct", "struct none $root $sub $leaf"),
        ("$sub", "struct none $root $sub $leaf"),
        ("i31", "i31 none any"),
        ("none", "any none i31 $leaf"),
        ("extern", "extern noextern"),
        ("func", "func nofunc $fn $open"),
        ("$open", "func nofunc $fn2 $open"),
        ("nofunc", "func nofunc $open"),
    ] {
        let mut functions = String::new();
        for target in targets.split_whitespace() {
            for (from_null, to_null) in [("null ", "null "), ("null ", ""), ("", "null "), ("", "")]
            {
                let (from, to) =
                    (format!("(ref {from_null}{top})"), format!("(ref {to_null}{target})"));
                functions += &format!(
                    "(func (param {from}) (result i32) (ref.test {to} (local.get 0)))
                     (func (param {from}) (result {to}) (ref.cast {to} (local.get 0)))\n"
                );
                // A branch needs the target below the source.
                let below = match (top, target) {
                    ("i31", "any") | ("$sub", "struct" | "$root") => false,
                    ("none" | "nofunc", target) => target == top,
                    ("$open", "func") => false,
                    _ => true,
                };
                if below && (to_null.is_empty() || !from_null.is_empty()) {
                    functions += &format!(
                        "(func (param {from}) (result {to})
                           (block (result {from}) (br_on_cast 1 {from} {to} (local.get 0)))
                           drop unreachable)
                         (func (param {from}) (result i32)
                           (block (result {from})
                             (br_on_cast_fail 0 {from} {to} (local.get 0))
                             drop (return (i32.const 1)))
                           drop (i32.const 0))\n"
                    );
                }
            }
        }
        fixture.accepts(&format!(
            "(module {TYPES}
               (type $open (sub (func))) (type $fn2 (sub final $open (func)))
               {functions})"
        ));
    }
    fixture.accepts(
        "(module
           (func (param i32) (result (ref i31)) (ref.i31 (local.get 0)))
           (func (param i31ref) (result i32 i32) (i31.get_s (local.get 0)) (i31.get_u (local.get 0)))
           (func (param eqref eqref) (result i32) (ref.eq (local.get 0) (local.get 1)))
           (func (param anyref) (result i32) (ref.is_null (local.get 0)))
           (func (param externref) (result anyref) (any.convert_extern (local.get 0)))
           (func (param (ref any)) (result (ref extern)) (extern.convert_any (local.get 0))))",
    );
}
