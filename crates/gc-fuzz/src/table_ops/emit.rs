//! The module of a program, as text.

mod arrays;

use super::ops::{Node, Op, Program, Topic, functions};
use super::schema::{
    ARRAYS, BUDGET, COPIES, Cast, FAILED, FIELDS, GARBAGE, GLOBALS, Item, LOCALS, LONG, MADE, NEW,
    NEW_LEN, PARAMS, RESULT, SEGMENTS, STRUCTS, TABLES, TESTED, Ty, cast, index, length, pick,
    source, target, types,
};
use std::fmt::Write as _;

/// The module of `program`.
pub(super) fn module(program: &Program) -> String {
    let types = types();
    let mut text = format!(
        r#"(module {types}
    (import "" "gc" (func $gc))
    (import "" "make" (func $make (result externref externref externref)))
    (import "" "take" (func $take (param externref anyref structref)))
    (import "" "value" (global $value externref))
    (global $acc (export "acc") (mut i32) (i32.const 0))
    (global $serial (mut i32) (i32.const 0))
    (global $budget (export "budget") (mut i32) (i32.const {BUDGET}))
"#
    );
    for (name, ty) in GLOBALS {
        let heap = ty.heap();
        writeln!(
            text,
            "(global ${name} (export {name:?}) (mut (ref null {heap})) (ref.null {heap}))"
        )
        .expect("to a string");
    }
    for table in &TABLES {
        let (name, heap) = (table.name, table.ty.heap());
        let (len, most) = (table.len, table.maximum);
        writeln!(text, "(table ${name} (export {name:?}) {len} {most} (ref null {heap}))")
            .expect("to a string");
    }
    for (number, segment) in SEGMENTS.iter().enumerate() {
        let items: String = segment.items.iter().map(|item| constant(*item, segment.ty)).collect();
        let (heap, len) = (segment.ty.heap(), segment.items.len());
        writeln!(
            text,
            "(elem $seg{number} (ref null {heap}) {items})
             (global $len{number} (mut i32) (i32.const {len}))"
        )
        .expect("to a string");
    }
    let functions = functions(&program.ops);
    for (number, body) in functions.iter().enumerate() {
        let mut function =
            Function { number, count: functions.len(), text: String::new(), labels: 0, loops: 0 };
        function.begin();
        function.nodes(body);
        function.finish(&mut text);
    }
    text.push(')');
    text
}

/// A constant expression.
fn constant(item: Item, ty: Ty) -> String {
    let struct_ = |ty: Ty, n: u32| match ty {
        Ty::Base => format!("(struct.new $base (i32.const {n}) (ref.null extern) (ref.null any))"),
        Ty::Mid => format!(
            "(struct.new $mid (i32.const {n}) (ref.null extern) (ref.null any) (ref.null $base))"
        ),
        _ => format!(
            "(struct.new $leaf (i32.const {n}) (ref.null extern) (ref.null any) (ref.null $base)
                (global.get $value))"
        ),
    };
    let text = match item {
        Item::Null => format!("(ref.null {})", ty.heap()),
        Item::I31(n) => format!("(ref.i31 (i32.const {n}))"),
        Item::Struct(kind, n) if ty == Ty::Ext => {
            format!("(extern.convert_any {})", struct_(kind, n))
        }
        Item::Struct(kind, n) => struct_(kind, n),
        Item::Array(n) => {
            format!("(array.new_fixed $anys 2 (ref.i31 (i32.const {n})) (ref.null any))")
        }
        Item::Imported => "(global.get $value)".into(),
    };
    format!("(item {text})")
}

/// A function whose body is being written.
struct Function {
    number: usize,
    /// The number of functions.
    count: usize,
    text: String,
    labels: u32,
    loops: u32,
}

fn get(local: usize) -> (String, Ty) {
    let (name, ty) = LOCALS[local];
    (format!("(local.get {name})"), ty)
}

/// The local in which an object of this type is while it is used.
fn object_local(ty: Ty) -> String {
    format!("$o_{}", &ty.heap()[1..])
}

impl Function {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn label(&mut self) -> u32 {
        self.labels += 1;
        self.labels
    }

    /// `value` of type `from` as a value of type `to`.
    fn cast(&mut self, value: String, from: Ty, to: Ty, how: Cast) -> String {
        let heap = to.heap();
        match (from, to) {
            (Ty::Ext, Ty::Ext) => value,
            (Ty::Ext, _) => self.cast(format!("(any.convert_extern {value})"), Ty::Any, to, how),
            (_, Ty::Ext) => format!("(extern.convert_any {value})"),
            _ if from.is_subtype(to) => value,
            _ => match how {
                Cast::Test => format!(
                    "(block (result (ref null {heap})) (local.set $tmp {value})
                        (if (result (ref null {heap})) (ref.test (ref null {heap}) (local.get $tmp))
                            (then (ref.cast (ref null {heap}) (local.get $tmp)))
                            (else (ref.null {heap}))))"
                ),
                Cast::Branch { nullable } => {
                    let (label, null) = (self.label(), if nullable { "null" } else { "" });
                    let failed = accumulate(&format!("(i32.const {FAILED})"));
                    format!(
                        "(block $c{label} (result (ref null {heap}))
                            (br_on_cast $c{label} anyref (ref {null} {heap}) {value})
                            (drop) {failed} (ref.null {heap}))"
                    )
                }
                Cast::BranchFail { nullable } => {
                    let (label, null) = (self.label(), if nullable { "null" } else { "" });
                    let failed = accumulate(&format!("(i32.const {FAILED})"));
                    format!(
                        "(block $c{label} (result (ref null {heap}))
                            (block $f{label} (result anyref)
                                (br_on_cast_fail $f{label} anyref (ref {null} {heap}) {value})
                                (br $c{label}))
                            (drop) {failed} (ref.null {heap}))"
                    )
                }
                Cast::Trap => format!("(ref.cast (ref null {heap}) {value})"),
            },
        }
    }

    /// A local as a value of type `to`.
    fn local(&mut self, from: u8, to: Ty, how: Cast) -> String {
        let (value, ty) = get(source(from, to));
        self.cast(value, ty, to, how)
    }

    /// Sets a local to `value` of type `from`.
    fn set(&mut self, to: u8, value: String, from: Ty, how: Cast) -> String {
        let (name, ty) = LOCALS[target(to, from)];
        let value = self.cast(value, from, ty, how);
        format!("(local.set {name} {value})")
    }

    /// A statement that is executed only if `condition` holds, unless it may trap.
    fn guarded(&mut self, condition: &str, statement: &str, how: Cast) {
        match how {
            Cast::Trap => self.line(statement),
            _ => self.line(&format!("(if {condition} (then {statement}))")),
        }
    }

    fn accumulate(&mut self, value: &str) {
        self.line(&accumulate(value));
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Op(op) => self.op(op),
                Node::Loop(times, body) => {
                    let n = self.loops;
                    self.loops += 1;
                    self.line(&format!("(local.set $i{n} (i32.const {times})) (loop $l{n}"));
                    self.nodes(body);
                    self.line(&format!(
                        "(local.set $i{n} (i32.sub (local.get $i{n}) (i32.const 1)))
                        (if (i32.and (i32.gt_s (local.get $i{n}) (i32.const 0))
                                (i32.gt_s (global.get $budget) (i32.const 0)))
                            (then {SPEND} (br $l{n}))))"
                    ));
                }
            }
        }
    }

    fn begin(&mut self) {
        for local in NEW {
            let (name, ty) = LOCALS[local];
            let heap = ty.heap();
            if ty == Ty::Mid {
                self.line(&format!("(local.set {name} (struct.new_default {heap}))"));
            } else {
                let len = NEW_LEN;
                self.line(&format!(
                    "(local.set {name} (array.new_default {heap} (i32.const {len})))"
                ));
            }
        }
    }

    /// Writes the whole function to the module.
    fn finish(self, module: &mut String) {
        let number = self.number;
        write!(module, "(func $f{number} (export \"f{number}\")").expect("to a string");
        for (i, (name, ty)) in LOCALS.iter().enumerate() {
            let kind = if i < PARAMS { "param" } else { "local" };
            write!(module, " ({kind} {name} (ref null {}))", ty.heap()).expect("to a string");
            if i + 1 == PARAMS {
                module.push_str(" (result anyref)\n(local $tmp anyref) (local $g i32)\n");
            }
        }
        for ty in STRUCTS.into_iter().chain(ARRAYS.map(|(array, _)| array)) {
            let (local, heap) = (object_local(ty), ty.heap());
            write!(module, " (local {local} (ref null {heap})) (local {local}2 (ref null {heap}))")
                .expect("to a string");
        }
        for i in 0..self.loops {
            write!(module, " (local $i{i} i32)").expect("to a string");
        }
        writeln!(module, "\n{}(local.get {}))", self.text, LOCALS[RESULT].0).expect("to a string");
    }

    /// Puts a local into the place for objects of this type. Returns the expression that reads it.
    fn object(&mut self, from: u8, ty: Ty, how: Cast, second: &str) -> String {
        let value = self.local(from, ty, how);
        let name = format!("{}{second}", object_local(ty));
        self.line(&format!("(local.set {name} {value})"));
        format!("(local.get {name})")
    }

    /// Emits the code of an operation.
    fn op(&mut self, op: &Op) {
        match op.topic() {
            Topic::New => self.make(op),
            Topic::Local | Topic::Global => self.local_op(op),
            Topic::Table => self.table_op(op),
            Topic::Field => self.field_op(op),
            Topic::Element | Topic::Part => self.array_op(op),
            Topic::Look => self.look(op),
            Topic::Call => self.call_op(op),
            Topic::Structure => {}
        }
    }

    /// Makes an object.
    fn make(&mut self, op: &Op) {
        match *op {
            Op::Struct { to, kind, from, how } => self.struct_(to, kind, from, cast(how)),
            Op::Array { to, kind, len, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let (heap, len) = (array.heap(), length(len));
                let value = match kind / 3 % 3 {
                    2 => format!("(array.new_default {heap} (i32.const {len}))"),
                    _ if len >= LONG && element != Ty::Ext => {
                        self.new_default(Ty::Base);
                        format!("(array.new {heap} (local.get $o_base) (i32.const {len}))")
                    }
                    _ => {
                        let value = self.local(from, element, cast(how));
                        format!("(array.new {heap} {value} (i32.const {len}))")
                    }
                };
                let line = self.set(to, value, array, cast(how));
                self.line(&line);
            }
            Op::Fixed { to, kind, len, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let len = len % 8;
                let values: String = (0..len)
                    .map(|i| self.local(from.wrapping_add(i), element, cast(how)))
                    .collect();
                let value = format!("(array.new_fixed {} {len} {values})", array.heap());
                let line = self.set(to, value, array, cast(how));
                self.line(&line);
            }
            Op::NewElem { to, segment, start, len, how } => {
                let number = pick(segment, SEGMENTS.len());
                let (array, start, len) = (SEGMENTS[number].array, index(start), index(len));
                let value = format!(
                    "(array.new_elem {} $seg{number} (i32.const {start}) (i32.const {len}))",
                    array.heap()
                );
                let line = self.set(to, value, array, cast(how));
                self.guarded(&has_elements(number, start, len), &line, cast(how));
            }
            _ => unreachable!("none of these operations"),
        }
    }

    /// Reads or writes a field.
    fn field_op(&mut self, op: &Op) {
        match *op {
            Op::FieldGet { object, field, to, how } => {
                let field = &FIELDS[pick(field, FIELDS.len())];
                let (heap, name) = (field.owner.heap(), field.name);
                let object = self.object(object, field.owner, cast(how), "");
                let value = format!("(struct.get {heap} {name} {object})");
                let line = self.set(to, value, field.ty, cast(how));
                self.guarded(&is_object(&object), &line, cast(how));
            }
            Op::FieldSet { object, field, from, how } => {
                let field = &FIELDS[pick(field, FIELDS.len())];
                if field.mutable {
                    let (heap, name) = (field.owner.heap(), field.name);
                    let object = self.object(object, field.owner, cast(how), "");
                    let value = self.local(from, field.ty, cast(how));
                    let line = format!("(struct.set {heap} {name} {object} {value})");
                    self.guarded(&is_object(&object), &line, cast(how));
                }
            }
            _ => unreachable!("none of these operations"),
        }
    }

    /// Looks at references.
    fn look(&mut self, op: &Op) {
        match *op {
            Op::Test { from, nullable } => {
                let null = if nullable % 2 == 1 { "null" } else { "" };
                let (value, ty) = get(pick(from, LOCALS.len()));
                let value = self.cast(value, ty, Ty::Any, Cast::Test);
                for tested in TESTED {
                    self.accumulate(&format!("(ref.test (ref {null} {tested}) {value})"));
                }
            }
            Op::Same { a, b } => {
                let a = self.local(a, Ty::Eq, Cast::Branch { nullable: true });
                let b = self.local(b, Ty::Eq, Cast::BranchFail { nullable: false });
                self.accumulate(&format!("(ref.eq {a} {b})"));
            }
            Op::Lengths { table, object, kind } => {
                self.accumulate(&format!("(table.size ${})", TABLES[pick(table, 3)].name));
                let object = self.object(
                    object,
                    ARRAYS[pick(kind, 3)].0,
                    Cast::Branch { nullable: true },
                    "",
                );
                self.accumulate(&format!(
                    "(if (result i32) {} (then (array.len {object})) (else (i32.const 77)))",
                    is_object(&object)
                ));
            }
            _ => unreachable!("none of these operations"),
        }
    }

    /// Reads or changes locals and globals.
    fn local_op(&mut self, op: &Op) {
        match *op {
            Op::Copy { from, to, how } => {
                let (value, ty) = get(pick(from, LOCALS.len()));
                let line = self.set(to, value, ty, cast(how));
                self.line(&line);
            }
            Op::Null { to } => {
                let (name, ty) = LOCALS[pick(to, LOCALS.len())];
                self.line(&format!("(local.set {name} (ref.null {}))", ty.heap()));
            }
            Op::I31 { to, value } => {
                let value = format!("(ref.i31 (i32.const {value}))");
                let line = self.set(to, value, Ty::Any, Cast::Test);
                self.line(&line);
            }
            Op::GlobalGet { to, global, how } => {
                let (name, ty) = GLOBALS[pick(global, GLOBALS.len())];
                let line = self.set(to, format!("(global.get ${name})"), ty, cast(how));
                self.line(&line);
            }
            Op::GlobalSet { from, global, how } => {
                let (name, ty) = GLOBALS[pick(global, GLOBALS.len())];
                let value = self.local(from, ty, cast(how));
                self.line(&format!("(global.set ${name} {value})"));
            }
            _ => unreachable!("none of these operations"),
        }
    }

    /// Calls the host or a function, or makes garbage.
    fn call_op(&mut self, op: &Op) {
        match *op {
            Op::Garbage { count } => {
                let (label, count) = (self.label(), count % 64 + 1);
                self.line(&format!(
                    "(if (i32.gt_s (global.get $budget) (i32.const 0)) (then {SPEND}
                        (local.set $g (i32.const {count}))
                        (loop $g{label}
                            (drop (array.new_default $anys (i32.const {GARBAGE})))
                            (br_if $g{label} (local.tee $g (i32.sub (local.get $g) (i32.const 1))))
                        )))"
                ));
            }
            Op::Gc => self.line("(call $gc)"),
            Op::Make { order } => {
                self.line("(call $make)");
                for i in (0..3).rev() {
                    let local = MADE[(i + usize::from(order)) % 3];
                    self.line(&format!("(local.set {})", LOCALS[local].0));
                }
            }
            Op::Take { from } => {
                let values: String = [Ty::Ext, Ty::Any, Ty::Base]
                    .into_iter()
                    .zip(0..)
                    .map(|(ty, i)| self.local(from.wrapping_add(i), ty, Cast::Test))
                    .collect();
                self.line(&format!("(call $take {values})"));
            }
            Op::Call { function, from, to, how } => {
                if self.number + 1 < self.count {
                    let later = self.count - self.number - 1;
                    let callee = self.number + 1 + pick(function, later);
                    let values: String = (0..PARAMS)
                        .map(|i| self.local(from.wrapping_add(i as u8), LOCALS[i].1, cast(how)))
                        .collect();
                    let line =
                        self.set(to, format!("(call $f{callee} {values})"), Ty::Any, cast(how));
                    self.line(&format!(
                        "(if (i32.gt_s (global.get $budget) (i32.const 0)) (then {SPEND} {line}))"
                    ));
                }
            }
            _ => unreachable!("none of these operations"),
        }
    }

    /// Makes a struct with default values and its own number.
    fn new_default(&mut self, ty: Ty) {
        self.line(SERIAL);
        self.line(&format!("(local.set $o_base (struct.new_default {}))", ty.heap()));
        self.line("(struct.set $base $n (local.get $o_base) (global.get $serial))");
    }

    fn struct_(&mut self, to: u8, kind: u8, from: u8, how: Cast) {
        let ty = STRUCTS[pick(kind / 4, 3)];
        let heap = ty.heap();
        let value = if kind % 4 == 3 {
            self.new_default(ty);
            "(local.get $o_base)".into()
        } else {
            self.line(SERIAL);
            let mut values = String::new();
            for (field, i) in FIELDS.iter().zip(0..) {
                if ty.is_subtype(field.owner) {
                    values.push_str(&self.local(from.wrapping_add(i), field.ty, how));
                }
            }
            format!("(struct.new {heap} (global.get $serial) {values})")
        };
        let from = if kind % 4 == 3 { Ty::Base } else { ty };
        let line = self.set(to, value, from, how);
        self.line(&line);
    }

    fn table_op(&mut self, op: &Op) {
        match *op {
            Op::TableGet { to, table, index: at, how } => {
                let (table, at) = (&TABLES[pick(table, 3)], index(at));
                let value = format!("(table.get ${} (i32.const {at}))", table.name);
                let line = self.set(to, value, table.ty, cast(how));
                self.guarded(&has(table.name, at + 1), &line, cast(how));
            }
            Op::TableSet { from, table, index: at, how } => {
                let (table, at) = (&TABLES[pick(table, 3)], index(at));
                let value = self.local(from, table.ty, cast(how));
                let line = format!("(table.set ${} (i32.const {at}) {value})", table.name);
                self.guarded(&has(table.name, at + 1), &line, cast(how));
            }
            Op::TableGrow { from, table, delta, how } => {
                let (table, delta) = (&TABLES[pick(table, 3)], index(delta));
                let value = self.local(from, table.ty, cast(how));
                self.accumulate(&format!(
                    "(table.grow ${} {value} (i32.const {delta}))",
                    table.name
                ));
            }
            Op::TableFill { from, table, at, len, how } => {
                let (table, at, len) = (&TABLES[pick(table, 3)], index(at), index(len));
                let value = self.local(from, table.ty, cast(how));
                let line = format!(
                    "(table.fill ${} (i32.const {at}) {value} (i32.const {len}))",
                    table.name
                );
                self.guarded(&has(table.name, at + len), &line, cast(how));
            }
            Op::TableCopy { tables, at, start, len, how } => {
                let (to, from) = COPIES[pick(tables, COPIES.len())];
                let (to, from) = (TABLES[to].name, TABLES[from].name);
                let (at, start, len) = (index(at), index(start), index(len));
                let line = format!(
                    "(table.copy ${to} ${from} (i32.const {at}) (i32.const {start}) (i32.const {len}))"
                );
                let both = format!("(i32.and {} {})", has(to, at + len), has(from, start + len));
                self.guarded(&both, &line, cast(how));
            }
            Op::TableInit { segment, at, start, len, how } => {
                let number = pick(segment, SEGMENTS.len());
                let table = TABLES[SEGMENTS[number].table].name;
                let (at, start, len) = (index(at), index(start), index(len));
                let line = format!(
                    "(table.init ${table} $seg{number}
                        (i32.const {at}) (i32.const {start}) (i32.const {len}))"
                );
                let elements = has_elements(number, start, len);
                let both = format!("(i32.and {} {elements})", has(table, at + len));
                self.guarded(&both, &line, cast(how));
            }
            Op::ElemDrop { segment } => {
                let number = pick(segment, SEGMENTS.len());
                self.line(&format!(
                    "(elem.drop $seg{number}) (global.set $len{number} (i32.const 0))"
                ));
            }
            _ => unreachable!("no operation on tables"),
        }
    }
}

/// Adds to the sum of everything that was found. The value may add something too.
fn accumulate(value: &str) -> String {
    format!("(global.set $acc (i32.add {value} (i32.mul (global.get $acc) (i32.const 31))))")
}

/// Takes a number for a struct.
const SERIAL: &str = "(global.set $serial (i32.add (global.get $serial) (i32.const 1)))";
/// Takes one from the budget.
const SPEND: &str = "(global.set $budget (i32.sub (global.get $budget) (i32.const 1)))";

fn is_object(object: &str) -> String {
    format!("(i32.eqz (ref.is_null {object}))")
}

/// Whether a table has at least `len` elements.
fn has(table: &str, len: u32) -> String {
    format!("(i32.le_u (i32.const {len}) (table.size ${table}))")
}

/// Whether a segment has these elements.
fn has_elements(segment: usize, start: u32, len: u32) -> String {
    format!("(i32.le_u (i32.const {}) (global.get $len{segment}))", start + len)
}
