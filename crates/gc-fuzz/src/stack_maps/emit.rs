//! Programs as WebAssembly's text.
//!
//! A function's locals are the depth of calls, those of the program, and some for what statements
//! need in between. What a program sees is written to its memory, without a call.

use super::model::{ARRAY, EXCEPTION, FIRST_I31, FIRST_TOKEN, NULL};
use super::program::{
    Call, Catch, Class, Cond, ELEMENTS, Expr, Function, GLOBALS, Program, RefKind, Stmt, TAGS, Way,
};
use std::fmt::Write as _;

fn wat(kind: RefKind) -> &'static str {
    match kind {
        RefKind::Object => "(ref null $o)",
        RefKind::NonNull => "(ref $o)",
        RefKind::Any => "anyref",
        RefKind::Extern => "externref",
        RefKind::Exception => "exnref",
    }
}

fn null(kind: RefKind) -> &'static str {
    match kind {
        RefKind::Object | RefKind::NonNull => "ref.null $o",
        RefKind::Any => "ref.null any",
        RefKind::Extern => "ref.null extern",
        RefKind::Exception => "ref.null exn",
    }
}

fn class(class: Class) -> &'static str {
    match class {
        Class::O => "(ref $o)",
        Class::P => "(ref $p)",
        Class::Q => "(ref $q)",
    }
}

/// `(what a b c)`, or nothing if there is nothing in it.
fn list(what: &str, kinds: &[RefKind]) -> String {
    if kinds.is_empty() {
        return String::new();
    }
    let kinds: String = kinds.iter().map(|kind| format!(" {}", wat(*kind))).collect();
    format!("({what}{kinds})")
}

struct Emitter {
    text: String,
    /// The function's locals for what statements need in between come after this number of others.
    locals: usize,
    /// The labels around the place, innermost last: whether a break may leave it.
    labels: Vec<bool>,
    /// The number of loops so far, each of which has its counter.
    loops: usize,
}

/// The module of a program. It exports the function `f0`, the memory `log`, and the global `end`:
/// where the log ends.
pub(super) fn module(program: &Program) -> String {
    let mut emitter = Emitter { text: String::new(), locals: 0, labels: vec![], loops: 0 };
    emitter.module(program);
    emitter.text
}

impl Emitter {
    fn put(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    fn module(&mut self, program: &Program) {
        self.put(
            r#"(module
            (rec
                (type $o (sub (struct (field (mut (ref null $o))) (field i32))))
                (type $p (sub $o
                    (struct (field (mut (ref null $o))) (field i32) (field anyref))))
                (type $q (sub final $p
                    (struct (field (mut (ref null $o))) (field i32) (field anyref)))))
            (type $a (array anyref))"#,
        );
        let functions = || program.functions.iter().enumerate();
        for (n, Function { params, results, .. }) in functions() {
            let (params, results) = (list("param", params), list("result", results));
            self.put(format!("(type $f{n} (func (param i32) {params} {results}))"));
        }
        self.put(r#"(import "host" "collect" (func $collect))"#);
        self.put(r#"(import "host" "token" (func $token (result externref)))"#);
        self.put(r#"(import "host" "number" (func $number (param externref) (result i32)))"#);
        self.put(r#"(import "host" "same" (func $same (param anyref) (result anyref)))"#);
        for (n, _) in functions() {
            self.put(format!("(import \"functions\" \"f{n}\" (func $h{n} (type $f{n})))"));
        }
        for (n, payload) in TAGS.iter().enumerate() {
            self.put(format!("(tag $t{n} (export \"t{n}\") {})", list("param", payload)));
        }
        for (n, kind) in GLOBALS.into_iter().enumerate() {
            self.put(format!("(global $g{n} (mut {}) ({}))", wat(kind), null(kind)));
        }
        self.put(format!("(table $elements {ELEMENTS} anyref)"));
        self.put("(table $functions funcref (elem");
        for (n, _) in functions() {
            self.put(format!("$f{n}"));
        }
        self.put("))");
        self.put(format!("(global $fuel (mut i32) (i32.const {}))", program.fuel));
        self.put(r#"(global $fresh (mut i32) (i32.const 0))"#);
        self.put(
            r#"(global $end (export "end") (mut i32) (i32.const 0)) (memory (export "log") 1)"#,
        );
        self.put(format!(
            "(func $which (param $x anyref) (result i32)
                (if (ref.is_null (local.get $x)) (then (return (i32.const {NULL}))))
                (if (ref.test i31ref (local.get $x)) (then (return (i32.add (i32.const {FIRST_I31})
                    (i31.get_u (ref.cast i31ref (local.get $x)))))))
                (if (ref.test (ref $o) (local.get $x)) (then (return
                    (struct.get $o 1 (ref.cast (ref $o) (local.get $x))))))
                (if (ref.test (ref $a) (local.get $x)) (then (return (i32.const {ARRAY}))))
                (i32.add (i32.const {FIRST_TOKEN})
                    (call $number (extern.convert_any (local.get $x)))))"
        ));
        self.put("(func $fresh (result i32) (global.get $fresh)");
        self.put("(global.set $fresh (i32.add (global.get $fresh) (i32.const 1))))");
        for (n, function) in functions() {
            self.function(n, function);
        }
        self.put(")");
    }

    fn function(&mut self, number: usize, function: &Function) {
        let Function { params, results, locals, body, ends } = function;
        // The locals are declared in the end, when it is known how many loops there are.
        let rest = std::mem::take(&mut self.text);
        self.locals = 1 + locals.len();
        (self.labels, self.loops) = (vec![], 0);
        self.put(
            "(if (i32.or (i32.le_s (local.get 0) (i32.const 0)) (i32.eqz (global.get $fuel)))",
        );
        self.put("(then");
        for kind in results {
            self.default(*kind);
        }
        self.put("return))");
        self.put("(global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))");
        for (n, kind) in locals.iter().enumerate().skip(params.len()) {
            if *kind == RefKind::NonNull {
                self.default(*kind);
                self.put(format!("local.set {}", 1 + n));
            }
        }
        self.list(body);
        self.exprs(ends);
        let code = std::mem::replace(&mut self.text, rest);
        self.put(format!("(func $f{number} (export \"f{number}\") (type $f{number})"));
        for kind in &locals[params.len()..] {
            self.put(format!("(local {})", wat(*kind)));
        }
        self.put("(local i32 (ref null $o) (ref null $o))");
        for _ in 0..self.loops {
            self.put("(local i32)");
        }
        self.put(code);
        self.put(")");
    }

    fn default(&mut self, kind: RefKind) {
        match kind {
            RefKind::NonNull => self.put("ref.null $o call $fresh struct.new $o"),
            kind => self.put(null(kind)),
        }
    }

    fn exprs(&mut self, exprs: &[Expr]) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn call(&mut self, call: &Call, prefix: &str) {
        self.put("(i32.sub (local.get 0) (i32.const 1))");
        self.exprs(&call.arguments);
        let n = call.function;
        match call.way {
            Way::Direct => self.put(format!("{prefix}call $f{n}")),
            Way::Host => self.put(format!("{prefix}call $h{n}")),
            Way::Reference => self.put(format!("ref.func $f{n} {prefix}call_ref $f{n}")),
            Way::Indirect => {
                let call = format!("{prefix}call_indirect $functions (type $f{n})");
                self.put(format!("i32.const {n} {call}"));
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Local(local) => self.put(format!("local.get {}", 1 + local)),
            Expr::Null(kind) => self.put(null(*kind)),
            Expr::Global(global) => self.put(format!("global.get $g{global}")),
            Expr::Element(n) => self.put(format!("(table.get $elements (i32.const {n}))")),
            Expr::I31(number) => self.put(format!("(ref.i31 (i32.const {number}))")),
            Expr::New(next) => {
                self.expr(next);
                self.put("call $fresh struct.new $o");
            }
            Expr::NewSub(class, next, extra) => {
                self.expr(next);
                self.put("call $fresh");
                self.expr(extra);
                self.put(if *class == Class::P { "struct.new $p" } else { "struct.new $q" });
            }
            Expr::Token => self.put("call $token"),
            Expr::Same(value) => {
                self.expr(value);
                self.put("call $same");
            }
            Expr::Call(call) => self.call(call, ""),
            Expr::Select(kind, a, b, cond) => {
                self.expr(a);
                self.expr(b);
                self.cond(cond);
                self.put(format!("select (result {})", wat(*kind)));
            }
            Expr::If(kind, cond, a, b) => {
                self.cond(cond);
                self.put(format!("if (result {})", wat(*kind)));
                self.expr(a);
                self.put("else");
                self.expr(b);
                self.put("end");
            }
            Expr::Next(object) => {
                self.put("block (result (ref null $o)) block");
                self.expr(object);
                self.put("br_on_null 0 struct.get $o 0 br 1 end ref.null $o end");
            }
            Expr::OrElse(a, b) => {
                self.put("block (result (ref $o))");
                self.expr(a);
                self.put("br_on_non_null 0");
                self.expr(b);
                self.put("end");
            }
            Expr::Cast(to, fail, tested, other) => {
                let to = class(*to);
                self.put(format!("block (result {to})"));
                if *fail {
                    self.put("block (result anyref)");
                    self.expr(tested);
                    self.put(format!("br_on_cast_fail 0 anyref {to} br 1 end drop"));
                } else {
                    self.expr(tested);
                    self.put(format!("br_on_cast 0 anyref {to} drop"));
                }
                self.expr(other);
                self.put("end");
            }
            Expr::FromExtern(value) => {
                self.expr(value);
                self.put("any.convert_extern");
            }
            Expr::ToExtern(value) => {
                self.expr(value);
                self.put("extern.convert_any");
            }
            Expr::Pick(elements, index) => {
                self.exprs(elements);
                let count = elements.len();
                self.put(format!("array.new_fixed $a {count}"));
                if *index < count {
                    self.put(format!("(array.get $a (i32.const {index}))"));
                }
            }
            Expr::Caught(tag, payload) => {
                self.put("block (result exnref) try_table (catch_all_ref 0)");
                self.exprs(payload);
                self.put(format!("throw $t{tag} end unreachable end"));
            }
        }
    }

    fn cond(&mut self, cond: &Cond) {
        match cond {
            Cond::Depth => self.put("(i32.and (local.get 0) (i32.const 1))"),
            Cond::Fresh(mask) => {
                let some = format!("(i32.and (global.get $fresh) (i32.const {mask}))");
                self.put(format!("(i32.eq {some} (i32.const {mask}))"));
            }
            Cond::IsNull(expr) => {
                self.expr(expr);
                self.put("ref.is_null");
            }
            Cond::Is(tested, expr) => {
                self.expr(expr);
                self.put(format!("ref.test {}", class(*tested)));
            }
            Cond::Equal(a, b) => {
                self.expr(a);
                self.expr(b);
                self.put("ref.eq");
            }
        }
    }

    fn list(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.stmt(stmt);
        }
    }

    /// Opens a block that a break leaves if `is_left`.
    fn open(&mut self, what: &str, is_left: bool) {
        self.put(what);
        self.labels.push(is_left);
    }

    fn close(&mut self) {
        self.labels.pop();
        self.put("end");
    }

    /// Sets locals from the last to the first.
    fn set_many(&mut self, locals: &[Option<usize>]) {
        for local in locals.iter().rev() {
            match local {
                Some(local) => self.put(format!("local.set {}", 1 + local)),
                None => self.put("drop"),
            }
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        let (number, object, next) = (self.locals, self.locals + 1, self.locals + 2);
        match stmt {
            Stmt::Set(local, expr) => {
                self.expr(expr);
                self.set_many(&[Some(*local)]);
            }
            Stmt::SetMany(locals, call) => {
                self.call(call, "");
                self.set_many(locals);
            }
            Stmt::See(kind, expr) => {
                self.see(*kind, expr);
                self.put(format!(
                    "local.set {number} (i32.store (global.get $end) (local.get {number}))
                    (global.set $end (i32.add (global.get $end) (i32.const 4)))"
                ));
            }
            Stmt::Collect => self.put("call $collect"),
            Stmt::If(cond, yes, no) => {
                self.cond(cond);
                self.open("if", false);
                self.list(yes);
                self.put("else");
                self.list(no);
                self.close();
            }
            Stmt::Loop(count, body) => {
                let counter = self.locals + 3 + self.loops;
                self.loops += 1;
                self.put(format!("(local.set {counter} (i32.const {count}))"));
                self.open("block", true);
                self.open("loop", false);
                self.put("(br_if 1 (i32.eqz (global.get $fuel)))");
                self.put("(global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))");
                self.list(body);
                self.put(format!(
                    "(br_if 0 (local.tee {counter}
                        (i32.sub (local.get {counter}) (i32.const 1))))"
                ));
                self.close();
                self.close();
            }
            Stmt::Break(cond, levels) => {
                self.cond(cond);
                let mut left =
                    self.labels.iter().rev().enumerate().filter(|(_, is_left)| **is_left);
                let (label, _) = left.nth(*levels).expect("as many loops are around it");
                self.put(format!("br_if {label}"));
            }
            Stmt::Try(body, catches) => self.attempt(body, catches),
            Stmt::Throw(tag, payload) => {
                self.exprs(payload);
                self.put(format!("throw $t{tag}"));
            }
            Stmt::Rethrow(expr) => {
                self.put("block");
                self.expr(expr);
                self.put("br_on_null 0 throw_ref end");
            }
            Stmt::ReturnCall(call) => self.call(call, "return_"),
            Stmt::Return(exprs) => {
                self.exprs(exprs);
                self.put("return");
            }
            Stmt::SetNext(a, b) => {
                self.expr(a);
                self.put(format!("local.set {object}"));
                // The second expression has no statements, so the local is not overwritten.
                self.expr(b);
                self.put(format!(
                    "local.set {next}
                    block
                        block
                            (br_on_null 0 (local.get {next}))
                            struct.get $o 1
                            (br_if 1 (i32.ge_s (struct.get $o 1 (local.get {object}))))
                        end
                        (struct.set $o 0 (local.get {object}) (local.get {next}))
                    end"
                ));
            }
            Stmt::SetGlobal(global, expr) => {
                self.expr(expr);
                self.put(format!("global.set $g{global}"));
            }
            Stmt::SetElement(element, expr) => {
                self.put(format!("i32.const {element}"));
                self.expr(expr);
                self.put("table.set $elements");
            }
        }
    }

    /// Leaves the number of the object, or of what else it is.
    fn see(&mut self, kind: RefKind, expr: &Expr) {
        match kind {
            RefKind::Object => {
                self.put("block (result i32) block");
                self.expr(expr);
                self.put(format!("br_on_null 0 struct.get $o 1 br 1 end i32.const {NULL} end"));
            }
            RefKind::NonNull => {
                self.expr(expr);
                self.put("struct.get $o 1");
            }
            RefKind::Any => {
                self.expr(expr);
                self.put("call $which");
            }
            RefKind::Extern => {
                self.expr(expr);
                self.put("any.convert_extern call $which");
            }
            RefKind::Exception => {
                self.put(format!("i32.const {NULL} i32.const {EXCEPTION}"));
                self.expr(expr);
                self.put("ref.is_null select");
            }
        }
    }

    /// The handlers' blocks are around the body, that of the first clause innermost.
    fn attempt(&mut self, body: &[Stmt], catches: &[Catch]) {
        self.open("block", true);
        for catch in catches.iter().rev() {
            let mut types = list("result", catch.tag.map_or(&[], |tag| TAGS[tag]));
            if catch.reference.is_some() {
                types.push_str("(result exnref)");
            }
            self.open(&format!("block {types}"), false);
        }
        let mut begin = "try_table".to_owned();
        for (n, catch) in catches.iter().enumerate() {
            let reference = if catch.reference.is_some() { "_ref" } else { "" };
            let _ = match catch.tag {
                Some(tag) => write!(begin, " (catch{reference} $t{tag} {n})"),
                None => write!(begin, " (catch_all{reference} {n})"),
            };
        }
        self.open(&begin, false);
        self.list(body);
        self.close();
        self.put(format!("br {}", catches.len()));
        for (n, catch) in catches.iter().enumerate() {
            self.close();
            self.set_many(catch.reference.as_slice());
            self.set_many(&catch.payload);
            self.list(&catch.body);
            self.put(format!("br {}", catches.len() - 1 - n));
        }
        self.close();
    }
}
