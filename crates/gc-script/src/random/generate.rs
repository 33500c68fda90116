//! Random modules in WebAssembly's text format: structs, arrays, casts, tables, globals, element
//! segments, `i31`s, externrefs and vectors, several memories, memories and tables of 64 bits, all
//! kinds of control flow with references across it and with hints, and host calls that collect.
//! Every program is valid and ends, at the latest when its fuel is used.
//! Everything that it can observe goes into one hash, except values in which collectors may differ.

use Type::*;
use gc_testkit::choices::Choices;

/// How large a program is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The most functions. There are at least two.
    pub functions: usize,
    /// The most locals that a function declares, less three.
    pub locals: usize,
    /// The least and the most amount of code of a function.
    pub code: (usize, usize),
    /// How many elements an array has that lives as long as the program: a power of two.
    pub elements: usize,
    /// How often the program calls each function, except the first one, which it calls once more;
    /// with 0, it calls only that.
    pub rounds: usize,
    /// How many functions are entered and loops turned until the program traps.
    pub fuel: usize,
}

impl Size {
    /// Programs that take some tens of milliseconds.
    pub const USUAL: Size =
        Size { functions: 5, locals: 25, code: (100, 500), elements: 1024, rounds: 0, fuel: 400 };
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    I32,
    I64,
    F64,
    V128,
    /// `(ref null $s)`
    Nullable,
    /// `(ref $s)`
    Struct,
    Any,
    Eq,
    Array,
    Extern,
}

const ALL: [Type; 10] = [I32, I64, F64, V128, Nullable, Struct, Any, Eq, Array, Extern];

impl Type {
    pub(super) fn wat(self) -> &'static str {
        match self {
            I32 => "i32",
            I64 => "i64",
            F64 => "f64",
            V128 => "v128",
            Nullable => "(ref null $s)",
            Struct => "(ref $s)",
            Any => "anyref",
            Eq => "eqref",
            Array => "(ref null $a)",
            Extern => "externref",
        }
    }
}

/// A function's type, without its first parameter, which is the remaining depth of calls.
pub(super) struct Func {
    pub(super) params: Vec<Type>,
    pub(super) results: Vec<Type>,
}

fn sig(f: &Func) -> String {
    let list = |types: &[Type]| types.iter().map(|t| format!(" {}", t.wat())).collect::<String>();
    format!("(param i32{}) (result{})", list(&f.params), list(&f.results))
}

/// The state during the generation of a module.
pub(super) struct Generator {
    pub(super) random: Choices,
    pub(super) size: Size,
    pub(super) text: String,
    pub(super) funcs: Vec<Func>,
    /// The function that is being generated.
    pub(super) current: usize,
    /// Its locals, and which of them were set.
    pub(super) locals: Vec<Type>,
    pub(super) set: Vec<bool>,
    /// The operand types of branches to the enclosing blocks, outermost first.
    pub(super) labels: Vec<Vec<Type>>,
    /// The remaining amount of code to generate.
    pub(super) budget: i32,
    /// Whether a table has many elements.
    pub(super) big: bool,
}

/// The module that these choices make. It imports `h.gc`, `h.id` and `h.ext`. It exports the function
/// `run`, the globals `h` (the hash) and `fuel`, and all others in which there are references: the
/// `ROOTS`.
pub(super) fn module(random: Choices, size: Size) -> String {
    let generator = Generator {
        random,
        size,
        text: String::new(),
        funcs: vec![],
        current: 0,
        locals: vec![],
        set: vec![],
        labels: vec![],
        budget: 0,
        big: false,
    };
    generator.module()
}

/// The exported globals and tables of references.
pub const ROOTS: [&str; 10] =
    ["g0", "g1", "g2", "g3", "ga", "vectors", "tab", "tabe", "big", "tab64"];

impl Generator {
    /// Adds a line.
    pub(super) fn emit(&mut self, s: &str) {
        self.text.push_str(s);
        self.text.push('\n');
    }

    /// A random type.
    pub(super) fn ty(&mut self) -> Type {
        ALL[self.random.below(ALL.len())]
    }

    /// The text of the module.
    fn module(mut self) -> String {
        let n = self.signatures();
        self.emit("(module (type $s (sub (struct (field (mut i32)) (field (mut (ref null $s))) (field (mut anyref)))))");
        self.emit("(type $m (sub $s (struct (field (mut i32)) (field (mut (ref null $s))) (field (mut anyref)) (field (mut externref)))))");
        self.emit("(type $s2 (sub final $m (struct (field (mut i32)) (field (mut (ref null $s))) (field (mut anyref)) (field (mut externref)) (field (mut i8)))))");
        self.emit("(type $a (array (mut anyref)))");
        self.emit("(type $ai (array (mut i16)))");
        self.emit("(type $av (array (mut v128)))");
        self.emit("(type $v (struct (field (mut i32)) (field (mut v128)) (field (mut anyref))))");
        self.emit("(import \"h\" \"gc\" (func $gc))");
        self.emit("(import \"h\" \"id\" (func $hid (param anyref externref i32) (result anyref)))");
        self.emit("(import \"h\" \"ext\" (func $hext (param externref) (result externref)))");
        for i in 0..n {
            let s = sig(&self.funcs[i]);
            self.emit(&format!("(type $t{i} (func {s}))"));
        }
        self.emit("(table $funcs 8 funcref) (table $funcs64 i64 8 funcref)");
        for i in 0..n {
            self.emit(&format!("(elem (table $funcs) (i32.const {i}) func $f{i})"));
            self.emit(&format!("(elem (table $funcs64) (i64.const {i}) func $f{i})"));
        }
        let big = self.random.chance(5);
        self.big = big;
        let b = if big { 16300 } else { 16 };
        self.emit(&format!("(table $tab (export \"tab\") 4 30 anyref) (table $tabe (export \"tabe\") 3 externref) (table $big (export \"big\") {b} 40000 (ref null $s))"));
        self.emit("(elem $es anyref (struct.new $s (i32.const 70) (ref.null $s) (ref.i31 (i32.const 3))) (ref.i31 (i32.const 9)) (ref.null any))");
        self.emit("(data $d \"abcdefghijklmnop\")");
        self.emit("(memory $m0 1 3) (memory $m1 1 4) (memory $m64 i64 1 4)");
        self.emit("(table $tab64 (export \"tab64\") i64 4 20 anyref)");
        let fuel = self.size.fuel;
        self.emit(&format!("(global $fuel (export \"fuel\") (mut i32) (i32.const {fuel})) (global $h (export \"h\") (mut i64) (i64.const 7)) (global $id (mut i32) (i32.const 0))"));
        self.emit("(global $vector (mut v128) (v128.const i64x2 5 -6))");
        self.emit("(global $vectors (export \"vectors\") (mut (ref $av)) (array.new $av (v128.const i64x2 1 2) (i32.const 4)))");
        let elements = self.size.elements;
        self.emit(&format!(
            "(global $ga (export \"ga\") (ref $a) (array.new_default $a (i32.const {elements})))"
        ));
        for i in 0..4 {
            let t = [Nullable, Any, Eq, Extern][i];
            let z = match t {
                Nullable => "$s",
                Any => "any",
                Eq => "eq",
                _ => "extern",
            };
            self.emit(&format!(
                "(global $g{i} (export \"g{i}\") (mut {}) (ref.null {z}))",
                t.wat()
            ));
        }
        self.emit(include_str!("observers.wat"));
        for i in 0..n {
            self.func(i);
        }
        self.runner(n);
        self.emit(")");
        // The choice takes nothing from the input, so that kept inputs mean what they did.
        if self.text.len().is_multiple_of(3) {
            self.fix_tables();
        }
        self.emit(")");
        self.text
    }

    /// Chooses the types of the functions. Their number.
    fn signatures(&mut self) -> usize {
        let n = 2 + self.random.below(self.size.functions - 1);
        for i in 0..n {
            let np =
                if self.random.chance(25) { self.random.below(14) } else { self.random.below(5) };
            let nr = if i == 0 {
                1
            } else if self.random.chance(20) {
                self.random.below(9)
            } else {
                self.random.below(3)
            };
            let params = (0..np).map(|_| self.ty()).collect();
            let mut results: Vec<Type> = (0..nr).map(|_| self.ty()).collect();
            if i == 0 {
                results = vec![];
            }
            // share signatures for tail calls
            if i > 0 && self.random.chance(40) {
                results = self.funcs[i - 1].results.clone();
            }
            self.funcs.push(Func { params, results });
        }
        n
    }

    /// Emits the function that calls the first `n` functions, without its end.
    fn runner(&mut self, n: usize) {
        self.emit("(func (export \"run\")");
        for _ in 0..4 {
            self.emit(
                "(global.set $g0 (struct.new $s (call $fresh) (global.get $g0) (global.get $g1)))",
            );
            self.emit("(global.set $g1 (global.get $g0))");
        }
        (self.locals, self.set, self.labels) = (vec![], vec![], vec![]);
        for round in 0..=self.size.rounds {
            // In the last round, only the first function.
            let count = if round < self.size.rounds { n } else { 1 };
            for f in 0..count {
                self.emit("(i32.const 7)");
                for p in self.funcs[f].params.clone() {
                    self.budget = 10;
                    self.leaf(p);
                }
                self.emit(&format!("call $f{f}"));
                for t in self.funcs[f].results.clone().into_iter().rev() {
                    self.observe(t);
                }
            }
        }
    }

    /// Makes all tables ones that nobody else has and that never grow. What would make them grow is a
    /// store.
    fn fix_tables(&mut self) {
        for name in ["tab", "tabe", "big", "tab64"] {
            let exported = format!("(table ${name} (export {name:?})");
            self.text = self.text.replace(&exported, &format!("(table ${name}"));
        }
        // The name of one is the beginning of the name of another.
        for (name, element, index) in
            [("tab64", "anyref", "i64"), ("tab", "anyref", "i32"), ("big", "(ref null $s)", "i32")]
        {
            let grow = format!("table.grow ${name}");
            self.text = self.text.replace(&grow, &format!("call $store_{name}"));
            self.emit(&format!(
                "(func $store_{name} (param {element} {index}) (result {index})
                    (table.set ${name} ({index}.const 0) (local.get 0)) (table.size ${name}))"
            ));
        }
    }

    /// Emits function number `i`.
    pub(super) fn func(&mut self, i: usize) {
        self.current = i;
        let s = sig(&self.funcs[i]);
        self.emit(&format!("(func $f{i} (type $t{i}) {s}"));
        self.locals = std::iter::once(I32).chain(self.funcs[i].params.clone()).collect();
        self.set = vec![true; self.locals.len()];
        let nl = 3 + self.random.below(self.size.locals);
        for _ in 0..nl {
            let t = self.ty();
            self.locals.push(t);
            self.set.push(t != Struct);
            self.emit(&format!("(local {})", t.wat()));
        }
        self.labels = vec![];
        let (least, most) = self.size.code;
        self.budget = (least + self.random.below(most - least)) as i32;
        self.emit("(call $burn)");
        self.emit("(if (i32.le_s (local.get 0) (i32.const 0)) (then");
        let res = self.funcs[i].results.clone();
        for t in &res {
            self.constant(*t);
        }
        self.emit("(return)))");
        // Later stores into these objects are stores into old objects.
        for l in 0..self.locals.len() {
            if !self.set[l] && self.random.chance(70) {
                self.constant(Struct);
                self.set[l] = true;
                self.emit(&format!("local.set {l}"));
            }
        }
        let n = 4 + self.random.below(10);
        let mut live = true;
        for _ in 0..n {
            if !self.stmt() {
                live = false;
                break;
            }
        }
        if live {
            // observe every local
            for l in 0..self.locals.len() {
                if self.set[l] {
                    self.emit(&format!("local.get {l}"));
                    let t = self.locals[l];
                    self.observe(t);
                }
            }
            for t in &res {
                self.expr(*t, 2);
            }
        }
        self.emit(")");
    }
}
