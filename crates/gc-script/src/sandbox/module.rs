//! The module under attack: operations of every kind on objects of every kind. Each loop has its
//! own counter, because lengths and links may be wrong.

use std::fmt::Write;

/// Fields of `$big`, which is larger than the null page.
pub(super) const BIG: usize = 8300;

/// Number of descendants of `$base`: more than a display row has room for.
pub(super) const DEPTH: usize = 11;

/// The text of the module that a [`Victim`](super::Victim) runs.
pub fn module() -> String {
    let mut wat = String::new();
    for part in [
        types,
        definitions,
        objects,
        links,
        arrays,
        reference_arrays,
        functions,
        casts,
        host_calls,
        allocations,
        others,
    ] {
        part(&mut wat);
    }
    wat
}

/// The types.
fn types(wat: &mut String) {
    *wat += "(module (type $f (func (param i32) (result i32)))\n(rec\n";
    let base = "(field (mut i32)) (field (mut (ref null $base))) (field (mut anyref))";
    writeln!(wat, "(type $base (sub (struct {base})))").unwrap();
    writeln!(wat, "(type $d0 (sub $base (struct {base} (field (mut i64)))))").unwrap();
    for i in 1..DEPTH {
        writeln!(wat, "(type $d{i} (sub $d{} (struct {base} (field (mut i64)))))", i - 1).unwrap();
    }
    writeln!(wat, "(type $big (struct").unwrap();
    for _ in 0..BIG {
        *wat += "(field (mut i64)) ";
    }
    *wat += "(field (mut anyref))))\n";
}

/// Imports, tables, segments, globals and functions that operations use.
fn definitions(wat: &mut String) {
    *wat += r#"
        (type $funcs (struct (field (mut (ref null $f))) (field (mut funcref))
            (field (mut externref)) (field (mut (ref $base)))))
        (type $bytes (array (mut i8))) (type $words (array (mut i32)))
        (type $longs (array (mut i64))) (type $refs (array (mut anyref)))
        (type $bases (array (mut (ref null $base)))) (type $fs (array (mut (ref null $f)))))
    (import "host" "any" (func $host_any (param anyref) (result anyref)))
    (import "host" "extern" (func $host_extern (param externref) (result externref)))
    (import "host" "base" (func $host_base (param (ref struct)) (result i32)))
    (import "host" "gc" (func $gc))
    (memory (export "memory") 1)
    (data (i32.const 1000) "the canary")
    (table $functions (export "functions") funcref (elem $add $mul $rec))
    (table $objs (export "objs") 32 200 anyref)
    (table $externs (export "externs") 8 100 externref)
    (elem $ref_elem anyref (ref.i31 (i32.const 1)) (ref.null any)
        (struct.new $base (i32.const 3) (ref.null $base) (ref.null any)))
    (elem $f_elem (ref null $f) (ref.func $add) (ref.null $f) (ref.func $mul) (ref.func $rec))
    (data $bytes "0123456789abcdefghijklmnopqrstuvwxyz")
    (global $base (export "base") (mut (ref null $base)) (ref.null $base))
    (global $funcs (mut (ref null $funcs)) (ref.null $funcs))
    (global $big (mut (ref null $big)) (ref.null $big))
    (global $gbytes (export "bytes") (mut (ref null $bytes)) (ref.null $bytes))
    (global $words (mut (ref null $words)) (ref.null $words))
    (global $longs (mut (ref null $longs)) (ref.null $longs))
    (global $refs (export "refs") (mut (ref null $refs)) (ref.null $refs))
    (global $bases (mut (ref null $bases)) (ref.null $bases))
    (global $fs (mut (ref null $fs)) (ref.null $fs))
    (global (export "constant") i64 (i64.const 0x123456789abcdef))
    (func $add (type $f) (i32.add (local.get 0) (i32.const 1)))
    (func $mul (type $f) (i32.mul (local.get 0) (i32.const 3)))
    (func $rec (type $f) (if (result i32) (i32.lt_u (local.get 0) (i32.const 10))
        (then (i32.const 0)) (else (call $add (i32.div_u (local.get 0) (i32.const 2))))))
    (func $obj (param $i i32) (result anyref)
        (table.get $objs (i32.rem_u (local.get $i) (table.size $objs))))
    (func $put (param $i i32) (param anyref)
        (table.set $objs (i32.rem_u (local.get $i) (table.size $objs)) (local.get 1)))
    (func (export "setup") (param $x externref)
        (local $i i32)
        (loop $again
            (global.set $base
                (struct.new $base (local.get $i) (global.get $base)
                    (ref.i31 (local.get $i))))
            (global.set $base (ref.as_non_null (global.get $base)))
            (call $put (local.get $i) (global.get $base))
            (br_if $again (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300))))
        (global.set $funcs (struct.new $funcs (ref.func $add) (ref.func $mul) (local.get $x)
            (ref.as_non_null (global.get $base))))
        (global.set $big (struct.new_default $big))
        (global.set $gbytes (array.new_data $bytes $bytes (i32.const 0) (i32.const 36)))
        (global.set $words (array.new $words (i32.const 7) (i32.const 500)))
        (global.set $longs (array.new $longs (i64.const 7) (i32.const 300)))
        (global.set $refs (array.new $refs (global.get $base) (i32.const 400)))
        (global.set $bases (array.new $bases (global.get $base) (i32.const 100)))
        (global.set $fs (array.new_elem $fs $f_elem (i32.const 0) (i32.const 4)))
        (call $put (i32.const 1) (global.get $funcs))
        (call $put (i32.const 2) (global.get $refs))
        (call $put (i32.const 3) (global.get $bases))
        (call $put (i32.const 4) (global.get $gbytes))
        (call $put (i32.const 5) (global.get $big))
        (call $put (i32.const 6) (any.convert_extern (local.get $x)))
        (table.fill $externs (i32.const 0) (local.get $x) (i32.const 4))
        (table.set $externs (i32.const 5) (extern.convert_any (global.get $words)))
"#;
}

/// Ends the function that makes the first objects: one of each depth.
fn objects(wat: &mut String) {
    for i in 0..DEPTH {
        writeln!(
            wat,
            "(call $put (i32.const {}) (struct.new $d{i} (i32.const {i}) (global.get $base)
                (global.get $refs) (i64.const {i})))",
            i + 10
        )
        .unwrap();
    }
    *wat += ")\n";
}

/// Operations on structs that refer to each other.
fn links(wat: &mut String) {
    op(
        wat,
        "walk",
        "
        (local.set $b (global.get $base))
        (block $end (loop $again
            (br_if $end (ref.is_null (local.get $b)))
            (local.set $i (i32.add (local.get $i) (struct.get $base 0 (local.get $b))))
            (local.set $b (struct.get $base 1 (local.get $b)))
            (br_if $again (i32.lt_u
                (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 400)))))
        (local.get $i)",
    );
    op(
        wat,
        "next",
        "
        (global.set $base (struct.get $base 1 (global.get $base)))
        (struct.set $base 2 (global.get $base) (call $obj (local.get $i)))
        (call $put (local.get $j) (struct.get $base 2 (struct.get $base 1 (global.get $base))))
        (i32.const 0)",
    );
    op(
        wat,
        "link",
        "
        (local.set $b (ref.cast (ref null $base) (call $obj (local.get $i))))
        (struct.set $base 1 (local.get $b) (ref.cast (ref null $base) (call $obj (local.get $j))))
        (global.set $base (local.get $b))
        (i32.const 0)",
    );
    op(
        wat,
        "non-null field",
        "
        (local.set $b (struct.get $funcs 3 (global.get $funcs)))
        (struct.set $base 0 (struct.get $funcs 3 (global.get $funcs)) (local.get $i))
        (struct.set $base 1 (struct.get $funcs 3 (global.get $funcs)) (global.get $base))
        (struct.set $funcs 3 (global.get $funcs) (ref.as_non_null (global.get $base)))
        (struct.get $base 0 (local.get $b))",
    );
}

/// Operations on arrays of numbers.
fn arrays(wat: &mut String) {
    for (array, ty, conversion, get) in [
        ("$gbytes", "$bytes", "", "array.get_u"),
        ("$words", "$words", "", "array.get"),
        ("$longs", "$longs", "i64.extend_i32_u", "array.get"),
    ] {
        let value = |v: &str| match conversion {
            "" => format!("(local.get {v})"),
            conversion => format!("({conversion} (local.get {v}))"),
        };
        let result = if conversion.is_empty() { "" } else { "i32.wrap_i64" };
        op(
            wat,
            &format!("access {array}"),
            &format!(
                "
            (array.set {ty} (global.get {array}) (local.get $i) {})
            ({get} {ty} (global.get {array}) (local.get $j)) {result}
            ({get} {ty} (global.get {array})
                (i32.sub (array.len (global.get {array})) (i32.const 1))) {result}
            (i32.add)",
                value("$k")
            ),
        );
        copy_and_fill(wat, array, ty, &value("$j"), "$k");
        op(
            wat,
            &format!("loop {array}"),
            &format!(
                "
            (loop $again
                (local.set $j (i32.add (local.get $j)
                    ({get} {ty} (global.get {array}) (local.get $n)) {result}))
                (array.set {ty} (global.get {array}) (local.get $n) {})
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.and (i32.lt_u (local.get $n) (i32.const 2000))
                    (i32.lt_u (local.get $n) (array.len (global.get {array}))))))
            (local.get $j)",
                value("$i")
            ),
        );
    }
}

/// Operations on arrays of references.
fn reference_arrays(wat: &mut String) {
    for (array, ty, value) in [
        ("$refs", "$refs", "(call $obj (local.get $k))"),
        ("$bases", "$bases", "(global.get $base)"),
    ] {
        op(
            wat,
            &format!("access {array}"),
            &format!(
                "
            (call $put (local.get $k) (array.get {ty} (global.get {array}) (local.get $i)))
            (array.set {ty} (global.get {array}) (local.get $j) {value})
            (i32.const 0)"
            ),
        );
        copy_and_fill(wat, array, ty, value, "$j");
    }
    op(
        wat,
        "copy subtypes",
        "
        (array.copy $refs $bases (global.get $refs) (local.get $i)
            (global.get $bases) (local.get $j) (local.get $k)) (i32.const 0)",
    );
    op(
        wat,
        "init",
        "
        (array.init_elem $refs $ref_elem (global.get $refs) (local.get $i)
            (i32.const 0) (i32.const 3))
        (array.init_data $bytes $bytes (global.get $gbytes) (local.get $j)
            (i32.const 3) (i32.const 5))
        (array.init_elem $fs $f_elem (global.get $fs) (i32.const 0) (i32.const 1) (i32.const 3))
        (i32.const 0)",
    );
}

/// Operations on function references.
fn functions(wat: &mut String) {
    op(
        wat,
        "call field",
        "
        (call_ref $f (local.get $i) (struct.get $funcs 0 (global.get $funcs)))
        (call_ref $f (local.get $i)
            (ref.cast (ref $f) (struct.get $funcs 1 (global.get $funcs))))
        (i32.add)",
    );
    op(
        wat,
        "call element",
        "
        (call_ref $f (local.get $i)
            (array.get $fs (global.get $fs) (i32.and (local.get $j) (i32.const 7))))",
    );
    op(
        wat,
        "set functions",
        "
        (struct.set $funcs 1 (global.get $funcs)
            (array.get $fs (global.get $fs) (i32.and (local.get $i) (i32.const 3))))
        (array.set $fs (global.get $fs) (i32.and (local.get $j) (i32.const 3))
            (struct.get $funcs 0 (global.get $funcs)))
        (ref.is_null (struct.get $funcs 1 (global.get $funcs)))",
    );
}

/// Tests, casts and comparisons.
fn casts(wat: &mut String) {
    let mut tests = String::from("(local.set $a (call $obj (local.get $i)))");
    for ty in ["$base", "$big", "$funcs", "$bytes", "$refs", "i31", "eq", "struct", "array"] {
        write!(
            tests,
            "(local.set $n (i32.add (i32.shl (local.get $n) (i32.const 1))
            (ref.test (ref {ty}) (local.get $a))))"
        )
        .unwrap();
    }
    for i in 0..DEPTH {
        write!(
            tests,
            "(local.set $n (i32.add (i32.shl (local.get $n) (i32.const 1))
            (ref.test (ref $d{i}) (local.get $a))))"
        )
        .unwrap();
    }
    op(wat, "test", &format!("{tests} (local.get $n)"));
    for i in [0, 3, 7, 8, DEPTH - 1] {
        op(
            wat,
            &format!("cast {i}"),
            &format!(
                "
            (block $yes (result (ref $d{i}))
                (br_on_cast $yes anyref (ref $d{i}) (call $obj (local.get $i)))
                (return (i32.wrap_i64 (struct.get $d{i} 3
                    (ref.cast (ref $d{i}) (call $obj (local.get $j)))))))
            (struct.get $d{i} 0)"
            ),
        );
    }
    op(
        wat,
        "i31",
        "
        (i31.get_s (ref.cast i31ref (struct.get $base 2 (ref.cast (ref $base)
            (call $obj (local.get $i))))))",
    );
    op(
        wat,
        "eq",
        "
        (ref.eq (ref.cast eqref (call $obj (local.get $i)))
            (ref.cast eqref (array.get $refs (global.get $refs) (local.get $j))))",
    );
}

/// Operations that call the host.
fn host_calls(wat: &mut String) {
    op(
        wat,
        "host any",
        "
        (call $put (local.get $i) (call $host_any (call $obj (local.get $j))))
        (call $put (local.get $k)
            (call $host_any (array.get $refs (global.get $refs) (local.get $i))))
        (i32.const 0)",
    );
    op(
        wat,
        "host extern",
        "
        (struct.set $funcs 2 (global.get $funcs)
            (call $host_extern (struct.get $funcs 2 (global.get $funcs))))
        (table.set $externs (i32.const 7)
            (call $host_extern (table.get $externs (i32.and (local.get $i) (i32.const 7)))))
        (i32.const 0)",
    );
    op(
        wat,
        "host base",
        "
        (call $host_base (struct.get $funcs 3 (global.get $funcs)))",
    );
    op(
        wat,
        "convert",
        "
        (table.set $externs (i32.and (local.get $i) (i32.const 7))
            (extern.convert_any (call $obj (local.get $j))))
        (call $put (local.get $k)
            (any.convert_extern (table.get $externs (i32.and (local.get $j) (i32.const 7)))))
        (i32.const 0)",
    );
}

/// Operations that make objects.
fn allocations(wat: &mut String) {
    op(
        wat,
        "new structs",
        "
        (loop $again
            (global.set $base (struct.new $base (local.get $n) (global.get $base)
                (call $obj (local.get $n))))
            (drop (struct.new $d9 (local.get $n) (global.get $base) (global.get $refs)
                (i64.const 1)))
            (br_if $again (i32.lt_u
                (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 40))))
        (i32.const 0)",
    );
    op(
        wat,
        "new arrays",
        "
        (global.set $refs (array.new $refs (call $obj (local.get $i))
            (i32.and (local.get $j) (i32.const 511))))
        (global.set $gbytes (array.new $bytes (local.get $i)
            (i32.and (local.get $k) (i32.const 4095))))
        (global.set $bases (array.new_fixed $bases 3
            (global.get $base) (ref.null $base) (global.get $base)))
        (call $put (local.get $i) (array.new_elem $refs $ref_elem (i32.const 0) (i32.const 3)))
        (call $put (local.get $j) (array.new_data $words $bytes (i32.const 1) (i32.const 7)))
        (i32.const 0)",
    );
}

/// Operations on a large struct and on tables, a collection, and functions that the host calls.
fn others(wat: &mut String) {
    op(
        wat,
        "big",
        &format!(
            "
        (struct.set $big {BIG} (global.get $big) (call $obj (local.get $i)))
        (struct.set $big {} (global.get $big) (i64.const -1))
        (call $put (local.get $j) (struct.get $big {BIG} (global.get $big)))
        (global.set $big (ref.cast (ref null $big) (call $obj (i32.const 5))))
        (i32.wrap_i64 (struct.get $big {} (global.get $big)))",
            BIG - 1,
            BIG - 3
        ),
    );
    op(
        wat,
        "tables",
        "
        (table.copy $objs $objs (i32.const 8) (i32.const 0) (i32.const 20))
        (table.fill $objs (i32.and (local.get $i) (i32.const 15))
            (array.get $refs (global.get $refs) (local.get $i)) (i32.const 5))
        (table.grow $objs (struct.get $base 2 (global.get $base)) (i32.const 2))",
    );
    op(wat, "gc", "(call $gc) (i32.const 0)");
    *wat += r#"
        (func (export "get base") (result (ref struct))
            (struct.get $funcs 3 (global.get $funcs)))
        (func (export "take any") (param anyref) (result anyref)
            (call $put (i32.const 9) (local.get 0)) (call $obj (i32.const 20)))
        (func (export "take base") (param (ref null $base)) (result i32)
            (struct.get $base 0 (local.get 0))))"#;
}

/// Adds an operation: an export with operands `$i`, `$j` and `$k`.
fn op(wat: &mut String, name: &str, body: &str) {
    writeln!(
        wat,
        "(func (export \"op {name}\") (param $i i32) (param $j i32) (param $k i32) (result i32)
            (local $n i32) (local $b (ref null $base)) (local $a anyref)
            {body})"
    )
    .unwrap();
}

/// Adds two operations: one copies a part of an array to another place in it, the other fills
/// `count` elements with a value.
fn copy_and_fill(wat: &mut String, array: &str, ty: &str, value: &str, count: &str) {
    let copy = format!(
        "
        (array.copy {ty} {ty} (global.get {array}) (local.get $i)
            (global.get {array}) (local.get $j) (local.get $k))
        (array.len (global.get {array}))"
    );
    op(wat, &format!("copy {array}"), &copy);
    let fill = format!(
        "
        (array.fill {ty} (global.get {array}) (local.get $i) {value} (local.get {count}))
        (i32.const 0)"
    );
    op(wat, &format!("fill {array}"), &fill);
}
