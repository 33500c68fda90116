//! The operations on many bytes or elements, the module that has them, and what they do.

use std::ops::Range;
use std::sync::OnceLock;

/// The bytes of a part.
const PART: u64 = 1 << 20;

/// An operation: its body, what it costs, and what it does to the elements that a digest shows.
pub(super) struct Op {
    pub(super) name: &'static str,
    pub(super) body: &'static str,
    /// The bytes or elements that it works on, and the bytes of each.
    units: u64,
    size: u64,
    /// The export that hashes the elements.
    pub(super) digest: &'static str,
    /// How many there are.
    pub(super) count: u64,
    /// The elements that it writes, and whether it begins with the last ones.
    target: Range<u64>,
    backward: bool,
    /// Element `i` before and after.
    before: fn(u64) -> i32,
    after: fn(u64) -> i32,
}

/// What elements are before: different at the ends of parts.
fn pattern(i: u64) -> i32 {
    (i % 251) as i32
}

fn zero(_: u64) -> i32 {
    0
}

const BYTES: u64 = 1_300_000;
const REFS: u64 = 300_000;
const WIDE: u64 = 80_000;
const DATA: u64 = 1_200_000;
const FUNCS: u64 = 300_000;

/// The module with all operations. Each is in the export of its name.
pub(super) fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = format!(
            r#"(module
    (import "host" "before" (func $before))
    (type $bytes (array (mut i8)))
    (type $refs (array (mut anyref)))
    (type $wide (array (mut v128)))
    (type $funcs (array (mut funcref)))
    (memory $m (export "m") 40) (memory $n 40) (memory $g 1 1000)
    (table $t {REFS} anyref) (table $u {REFS} anyref)
    (table $f {FUNCS} funcref) (table $grown (export "grown") 1 2000000 (ref any) (ref.i31 (i32.const 1)))
    (table $grown_funcs (export "grown_funcs") 1 2000000 funcref)
    (global $a (mut (ref null $bytes)) (ref.null none)) (global $b (mut (ref null $bytes)) (ref.null none))
    (global $r (mut (ref null $refs)) (ref.null none)) (global $s (mut (ref null $refs)) (ref.null none))
    (global $w (mut (ref null $wide)) (ref.null none))
    (global $x (mut (ref null $funcs)) (ref.null none))
    (global $zero (mut i32) (i32.const 0)) (global $seven (mut i32) (i32.const 7))
    (data $d "{}")
    (elem $e func {})
    (func $leaf)
    (func (export "fill")
        (local $i i32)
        (global.set $a (array.new_default $bytes (i32.const {BYTES})))
        (global.set $b (array.new_default $bytes (i32.const {BYTES})))
        (global.set $r (array.new_default $refs (i32.const {REFS})))
        (global.set $s (array.new_default $refs (i32.const {REFS})))
        (global.set $w (array.new_default $wide (i32.const {WIDE})))
        (global.set $x (array.new_default $funcs (i32.const {FUNCS})))
        (loop $l
            (array.set $bytes (global.get $a) (local.get $i) (i32.rem_u (local.get $i) (i32.const 251)))
            (i32.store8 $m (local.get $i) (i32.rem_u (local.get $i) (i32.const 251)))
            (if (i32.lt_u (local.get $i) (i32.const {REFS})) (then
                (array.set $refs (global.get $r) (local.get $i)
                    (ref.i31 (i32.rem_u (local.get $i) (i32.const 251))))
                (table.set $t (local.get $i) (ref.i31 (i32.rem_u (local.get $i) (i32.const 251))))))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {BYTES})))))
"#,
            "7".repeat(DATA as usize),
            "$leaf ".repeat(FUNCS as usize)
        );
        let digests = [
            ("m", "(i32.load8_u $m (local.get $i))"),
            ("n", "(i32.load8_u $n (local.get $i))"),
            ("a", "(array.get_u $bytes (global.get $a) (local.get $i))"),
            ("b", "(array.get_u $bytes (global.get $b) (local.get $i))"),
            ("w", "(i32x4.extract_lane 3 (array.get $wide (global.get $w) (local.get $i)))"),
            ("x", "(i32.eqz (ref.is_null (array.get $funcs (global.get $x) (local.get $i))))"),
            ("f", "(i32.eqz (ref.is_null (table.get $f (local.get $i))))"),
            ("r", "(call $number (array.get $refs (global.get $r) (local.get $i)))"),
            ("s", "(call $number (array.get $refs (global.get $s) (local.get $i)))"),
            ("t", "(call $number (table.get $t (local.get $i)))"),
            ("u", "(call $number (table.get $u (local.get $i)))"),
            ("grown", "(call $number (table.get $grown (local.get $i)))"),
            ("grown_funcs", "(i32.eqz (ref.is_null (table.get $grown_funcs (local.get $i))))"),
        ];
        text.push_str(
            "(func $number (param (ref null any)) (result i32)
                (if (result i32) (ref.is_null (local.get 0)) (then (i32.const 0))
                    (else (i31.get_u (ref.cast (ref i31) (local.get 0))))))\n",
        );
        for (name, element) in digests {
            text.push_str(&format!(
                r#"(func (export "digest_{name}") (param $n i32) (result i32) (local $i i32) (local $h i32)
                (loop $l
                    (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 31)) {element}))
                    (br_if $l (i32.lt_u
                        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
                (local.get $h))
                "#
            ));
        }
        for op in ops() {
            text.push_str(&format!("(func ${0} (export \"{0}\") {1})\n", op.name, op.body));
            // What the host does before it does not end the function by itself.
            text.push_str(&format!(
                "(func $after_{0} (export \"after_{0}\") (call $before) {1})\n",
                op.name, op.body
            ));
        }
        text.push(')');
        text
    })
}

/// The operations that overwrite something that exists.
pub(super) fn ops() -> Vec<Op> {
    let op = |name, body, digest, size, target: Range<u64>, after| Op {
        name,
        body,
        units: target.end - target.start,
        size,
        digest,
        count: target.end,
        target,
        backward: false,
        before: pattern,
        after,
    };
    vec![
        op(
            "memory.fill",
            "(memory.fill $m (global.get $zero) (i32.const 7) (i32.const 1300000))",
            "m",
            1,
            0..BYTES,
            |_| 7,
        ),
        op(
            "memory.copy.down",
            "(memory.copy $m $m (i32.const 0) (i32.const 3) (i32.const 1299997))",
            "m",
            1,
            0..BYTES - 3,
            |i| pattern(i + 3),
        ),
        Op {
            backward: true,
            ..op(
                "memory.copy.up",
                "(memory.copy $m $m (i32.const 3) (i32.const 0) (i32.const 1299997))",
                "m",
                1,
                3..BYTES,
                |i| pattern(i - 3),
            )
        },
        Op {
            before: zero,
            ..op(
                "memory.copy.other",
                "(memory.copy $n $m (i32.const 3) (i32.const 0) (i32.const 1299997))",
                "n",
                1,
                3..BYTES,
                |i| pattern(i - 3),
            )
        },
        op(
            "memory.init",
            "(memory.init $m $d (i32.const 0) (i32.const 0) (i32.const 1200000))",
            "m",
            1,
            0..DATA,
            |_| 55,
        ),
        op(
            "array.fill.bytes",
            "(array.fill $bytes (global.get $a) (i32.const 0) (i32.const 7) (i32.const 1300000))",
            "a",
            1,
            0..BYTES,
            |_| 7,
        ),
        op(
            "array.fill.refs",
            "(array.fill $refs (global.get $r) (i32.const 1) (ref.i31 (i32.const 7))
                (i32.const 299999))",
            "r",
            4,
            1..REFS,
            |_| 7,
        ),
        Op {
            before: zero,
            ..op(
                "array.fill.wide",
                "(array.fill $wide (global.get $w) (i32.const 1) (v128.const i32x4 1 2 3 7)
                    (i32.const 79999))",
                "w",
                16,
                1..WIDE,
                |_| 7,
            )
        },
        op(
            "array.copy.down",
            "(array.copy $bytes $bytes (global.get $a) (i32.const 0) (global.get $a) (i32.const 3)
                (i32.const 1299997))",
            "a",
            1,
            0..BYTES - 3,
            |i| pattern(i + 3),
        ),
        Op {
            backward: true,
            ..op(
                "array.copy.up",
                "(array.copy $bytes $bytes (global.get $a) (i32.const 3) (global.get $a)
                    (i32.const 0) (i32.const 1299997))",
                "a",
                1,
                3..BYTES,
                |i| pattern(i - 3),
            )
        },
        op(
            "array.copy.refs.down",
            "(array.copy $refs $refs (global.get $r) (i32.const 0) (global.get $r) (i32.const 3)
                (i32.const 299997))",
            "r",
            4,
            0..REFS - 3,
            |i| pattern(i + 3),
        ),
        Op {
            backward: true,
            ..op(
                "array.copy.refs.up",
                "(array.copy $refs $refs (global.get $r) (i32.const 3) (global.get $r)
                    (i32.const 0) (i32.const 299997))",
                "r",
                4,
                3..REFS,
                |i| pattern(i - 3),
            )
        },
        Op {
            before: zero,
            ..op(
                "array.copy.refs.other",
                "(array.copy $refs $refs (global.get $s) (i32.const 3) (global.get $r)
                    (i32.const 0) (i32.const 299997))",
                "s",
                4,
                3..REFS,
                |i| pattern(i - 3),
            )
        },
        op(
            "array.init_data",
            "(array.init_data $bytes $d (global.get $a) (i32.const 0) (i32.const 0)
                (i32.const 1200000))",
            "a",
            1,
            0..DATA,
            |_| 55,
        ),
        Op {
            before: zero,
            ..op(
                "array.init_elem",
                "(array.init_elem $funcs $e (global.get $x) (i32.const 0) (i32.const 0)
                    (i32.const 300000))",
                "x",
                4,
                0..FUNCS,
                |_| 1,
            )
        },
        op(
            "table.fill",
            "(table.fill $t (i32.const 1) (ref.i31 (global.get $seven)) (i32.const 299999))",
            "t",
            4,
            1..REFS,
            |_| 7,
        ),
        Op {
            before: zero,
            ..op(
                "table.fill.funcs",
                "(table.fill $f (i32.const 1) (ref.func $leaf) (i32.const 299999))",
                "f",
                8,
                1..FUNCS,
                |_| 1,
            )
        },
        op(
            "table.copy.down",
            "(table.copy $t $t (i32.const 0) (i32.const 3) (i32.const 299997))",
            "t",
            4,
            0..REFS - 3,
            |i| pattern(i + 3),
        ),
        Op {
            backward: true,
            ..op(
                "table.copy.up",
                "(table.copy $t $t (i32.const 3) (i32.const 0) (i32.const 299997))",
                "t",
                4,
                3..REFS,
                |i| pattern(i - 3),
            )
        },
        Op {
            before: zero,
            ..op(
                "table.copy.other",
                "(table.copy $u $t (i32.const 3) (i32.const 0) (i32.const 299997))",
                "u",
                4,
                3..REFS,
                |i| pattern(i - 3),
            )
        },
        Op {
            before: zero,
            ..op(
                "table.init",
                "(table.init $f $e (i32.const 0) (i32.const 0) (i32.const 300000))",
                "f",
                8,
                0..FUNCS,
                |_| 1,
            )
        },
        Op {
            before: zero,
            ..op(
                "array.new.bytes",
                "(global.set $b (array.new $bytes (i32.const 7) (i32.const 1300000)))",
                "b",
                1,
                0..BYTES,
                |_| 7,
            )
        },
        op(
            "array.new.refs",
            "(global.set $r (array.new $refs (ref.i31 (i32.const 7)) (i32.const 300000)))",
            "r",
            4,
            0..REFS,
            |_| 7,
        ),
        Op {
            before: zero,
            ..op(
                "array.new.wide",
                "(global.set $w (array.new $wide (v128.const i32x4 1 2 3 7) (i32.const 80000)))",
                "w",
                16,
                0..WIDE,
                |_| 7,
            )
        },
        op(
            "array.new_data",
            "(global.set $a (array.new_data $bytes $d (i32.const 0) (i32.const 1200000)))",
            "a",
            1,
            0..DATA,
            |_| 55,
        ),
        Op {
            before: zero,
            ..op(
                "array.new_elem",
                "(global.set $x (array.new_elem $funcs $e (i32.const 0) (i32.const 300000)))",
                "x",
                4,
                0..FUNCS,
                |_| 1,
            )
        },
        Op {
            before: |_| 1,
            ..op(
                "table.grow",
                "(drop (table.grow $grown (ref.i31 (global.get $seven)) (i32.const 300000)))",
                "grown",
                4,
                1..REFS + 1,
                |_| 7,
            )
        },
        Op {
            before: zero,
            ..op(
                "table.grow.funcs",
                "(drop (table.grow $grown_funcs (ref.func $leaf) (i32.const 300000)))",
                "grown_funcs",
                8,
                1..FUNCS + 1,
                |_| 1,
            )
        },
    ]
}

impl Op {
    /// Whether the result is seen only when it is complete.
    fn is_new(&self) -> bool {
        self.name.starts_with("array.new") || self.name.starts_with("table.grow")
    }

    pub(super) fn parts(&self) -> u64 {
        self.units.div_ceil(PART / self.size)
    }

    /// The fuel of a call.
    pub(super) fn cost(&self) -> u64 {
        let operators = self.body.matches('(').count() - self.body.matches("(drop").count();
        1 + operators as u64 + self.units
    }

    /// The digest after so many parts.
    pub(super) fn expected(&self, parts: u64) -> i32 {
        let done = (parts * (PART / self.size)).min(self.units);
        let done = match self.backward {
            true => self.target.end - done..self.target.end,
            false => self.target.start..self.target.start + done,
        };
        let is_done = parts == self.parts() || !self.is_new();
        (0..self.count).fold(0_i32, |hash, i| {
            let element = match is_done && done.contains(&i) {
                true => (self.after)(i),
                false => (self.before)(i),
            };
            hash.wrapping_mul(31).wrapping_add(element)
        })
    }
}
