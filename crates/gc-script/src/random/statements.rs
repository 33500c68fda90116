//! Random statements. They leave no value on the stack, but change locals, globals, tables and
//! objects.

use super::generate::{Generator, Type};
use Type::*;
use std::fmt::Write;

impl Generator {
    /// Emits some statements. Returns false if the code after them is unreachable.
    pub(super) fn stmts(&mut self) -> bool {
        let n = self.random.below(4);
        for _ in 0..n {
            if !self.stmt() {
                return false;
            }
        }
        true
    }

    /// Emits a statement. Returns false if the code after it is unreachable and was not emitted.
    pub(super) fn stmt(&mut self) -> bool {
        self.budget -= 1;
        if self.budget < 0 {
            return true;
        }
        let depth = self.labels.len();
        let d = if depth > 6 { 1 } else { 4 };
        match self.random.below(33) {
            0..=4 => {
                let l = 1 + self.random.below(self.locals.len() - 1);
                let t = self.locals[l];
                self.expr(t, d);
                self.set[l] = true;
                self.emit(&format!("local.set {l}"));
            }
            5 => {
                let c: Vec<usize> = (0..self.locals.len()).filter(|l| self.set[*l]).collect();
                let l = c[self.random.below(c.len())];
                self.emit(&format!("local.get {l}"));
                let t = self.locals[l];
                self.observe(t);
            }
            6 | 7 if depth < 8 => self.if_statement(d),
            8 | 9 if depth < 8 => self.block_statement(),
            10..=12 if depth < 8 => self.loop_statement(d),
            13 | 14 if depth > 0 => self.br_if(depth, d),
            15 if depth > 0 && self.random.chance(40) => {
                self.br(depth, d);
                return false;
            }
            16 if depth > 0 && self.random.chance(50) => {
                self.br_table(depth, d);
                return false;
            }
            place @ 17..=21 => self.store(place, d),
            22 => self.call_of_many(d),
            23 if self.random.chance(25) => {
                self.tail_call(d);
                return false;
            }
            24 if self.random.chance(20) => {
                for t in self.funcs[self.current].results.clone() {
                    self.expr(t, d);
                }
                self.emit("return");
                if self.random.chance(40) {
                    self.dead();
                }
                return false;
            }
            26 => self.vectors(d),
            25 => self.ranges(d),
            27 | 28 => self.memories(d),
            29 => {
                let (count, function) = [
                    (16, "taken"),
                    (40, "taken"),
                    (60, "taken"),
                    (60, "taken"),
                    (3, "ranges"),
                    (7, "ranges"),
                ][self.random.below(6)];
                self.emit(&format!("i32.const {count} call ${function}"))
            }
            30 => self.table64(d),
            31 | 32 => self.elements(d),
            _ => {
                let t = self.ty();
                self.expr(t, d);
                self.observe(t);
            }
        }
        true
    }

    /// Emits a store to a field, a global or a table, or a collection.
    fn store(&mut self, place: usize, d: i32) {
        match place {
            17 => {
                self.leaf(Struct);
                self.expr(Nullable, d);
                self.emit("struct.set $s 1");
            }
            18 => {
                self.leaf(Struct);
                self.expr(Any, d);
                self.emit("struct.set $s 2");
            }
            19 => {
                let g = self.random.below(4);
                let t = [Nullable, Any, Eq, Extern][g];
                self.expr(t, d);
                self.emit(&format!("global.set $g{g}"));
            }
            20 => {
                self.expr(I32, d);
                self.emit("i32.const 3 i32.and");
                self.expr(Any, d);
                self.emit("table.set $tab");
            }
            _ => {
                if self.random.chance(50) {
                    self.emit("call $gc");
                } else {
                    self.expr(I32, d);
                    self.emit("i32.const 15 i32.and");
                    self.expr(Nullable, d);
                    self.emit("table.set $big");
                }
            }
        }
    }

    /// Emits an `if`, perhaps with an `else`.
    fn if_statement(&mut self, d: i32) {
        self.expr(I32, d);
        let saved = self.set.clone();
        self.hint();
        self.emit("if");
        self.labels.push(vec![]);
        self.stmts();
        self.set = saved.clone();
        if self.random.chance(60) {
            self.emit("else");
            self.stmts();
        }
        self.labels.pop();
        self.set = saved;
        self.emit("end");
    }

    /// Emits a block.
    fn block_statement(&mut self) {
        let saved = self.set.clone();
        self.emit("block");
        self.labels.push(vec![]);
        self.stmts();
        self.stmts();
        self.labels.pop();
        self.set = saved;
        self.emit("end");
    }

    /// Emits a loop.
    fn loop_statement(&mut self, d: i32) {
        let saved = self.set.clone();
        self.emit("loop");
        self.labels.push(vec![]);
        self.emit("call $burn");
        let live = self.stmts() && self.stmts();
        if live && self.random.chance(60) {
            self.expr(I32, d);
            self.emit("i32.const 3 i32.and br_if 0");
        }
        self.labels.pop();
        self.set = saved;
        self.emit("end");
    }

    /// Emits a branch that may be taken.
    fn br_if(&mut self, depth: usize, d: i32) {
        let k = self.random.below(depth);
        let ts = self.labels[depth - 1 - k].clone();
        for t in &ts {
            self.expr(*t, d - 1);
        }
        self.expr(I32, d - 1);
        self.hint();
        self.emit(&format!("br_if {k}"));
        for t in ts.iter().rev() {
            self.observe(*t);
        }
    }

    /// Emits a branch.
    fn br(&mut self, depth: usize, d: i32) {
        let k = self.random.below(depth);
        let ts = self.labels[depth - 1 - k].clone();
        for t in &ts {
            self.expr(*t, d - 1);
        }
        self.emit(&format!("br {k}"));
        if self.random.chance(40) {
            self.dead();
        }
    }

    /// Emits a branch to one of several labels of the same types.
    fn br_table(&mut self, depth: usize, d: i32) {
        let k = self.random.below(depth);
        let ts = self.labels[depth - 1 - k].clone();
        let same: Vec<usize> = (0..depth).filter(|j| self.labels[depth - 1 - j] == ts).collect();
        for t in &ts {
            self.expr(*t, d - 1);
        }
        self.expr(I32, d - 1);
        let mut s = String::from("i32.const 7 i32.and br_table");
        for _ in 0..1 + self.random.below(6) {
            let _ = write!(s, " {}", same[self.random.below(same.len())]);
        }
        self.emit(&s);
        if self.random.chance(40) {
            self.dead();
        }
    }

    /// Emits a call of a function with any number of results.
    fn call_of_many(&mut self, d: i32) {
        let f = 1 + self.random.below(self.funcs.len() - 1);
        self.args(f, d);
        self.emit(&format!("call $f{f}"));
        let rs = self.funcs[f].results.clone();
        for t in rs.iter().rev() {
            let c: Vec<usize> = (1..self.locals.len()).filter(|l| self.locals[*l] == *t).collect();
            if !c.is_empty() && self.random.chance(60) {
                let l = c[self.random.below(c.len())];
                self.set[l] = true;
                self.emit(&format!("local.set {l}"))
            } else {
                self.observe(*t)
            }
        }
    }

    /// Emits a call whose results are those of the function.
    fn tail_call(&mut self, d: i32) {
        let rs = self.funcs[self.current].results.clone();
        let c: Vec<usize> =
            (0..self.funcs.len()).filter(|f| self.funcs[*f].results == rs).collect();
        let f = c[self.random.below(c.len())];
        self.args(f, d);
        match self.random.below(4) {
            0 => self.emit(&format!("call $f{f} return")),
            1 => self.emit(&format!("i64.const {f} call_indirect $funcs64 (type $t{f}) return")),
            2 => self.emit(&format!("i64.const {f} return_call_indirect $funcs64 (type $t{f})")),
            _ => self.emit(&format!("i32.const {f} call_indirect $funcs (type $t{f}) return")),
        }
    }

    /// Emits a statement on vectors.
    fn vectors(&mut self, d: i32) {
        match self.random.below(4) {
            0 => {
                self.expr(V128, d);
                self.emit("global.set $vector")
            }
            1 => {
                self.emit("global.get $vectors");
                self.expr(I32, d);
                self.emit("i32.const 3 i32.and");
                self.expr(V128, d);
                self.emit("array.set $av")
            }
            2 => {
                self.expr(V128, d);
                self.emit("i32.const 4 array.new $av global.set $vectors")
            }
            _ => {
                self.emit("i32.const 24");
                self.expr(V128, d);
                self.emit("v128.store offset=65490")
            }
        }
    }

    /// Emits a statement on a range of an array or a table, or on the table of external references.
    fn ranges(&mut self, d: i32) {
        match self.random.below(5) {
            0 => {
                self.expr(Array, d);
                self.emit("i32.const 0");
                self.expr(Any, d);
                let length = self.random.below(4);
                self.emit(&format!("i32.const {length} array.fill $a"))
            }
            1 => self.emit("i32.const 0 i32.const 0 i32.const 2 table.init $tab $es"),
            2 => self.emit("i32.const 0 i32.const 1 i32.const 3 table.copy $tab $tab"),
            3 => {
                self.emit("i32.const 0");
                self.expr(Any, d);
                self.emit("i32.const 3 table.fill $tab")
            }
            _ => {
                self.emit("i32.const 0");
                self.expr(Extern, d);
                self.emit("table.set $tabe")
            }
        }
    }

    /// Emits a statement on an array that is old soon.
    fn elements(&mut self, d: i32) {
        let last = self.size.elements - 1;
        self.emit("global.get $ga");
        self.expr(I32, d - 1);
        self.emit(&format!("i32.const {last} i32.and"));
        match self.random.below(4) {
            0 => {
                self.emit("array.get $a");
                self.observe(Any);
            }
            1 => {
                let place = self.random.below(self.size.elements - 8);
                self.emit(&format!("drop i32.const {place} global.get $ga"));
                self.expr(I32, d - 1);
                self.emit(&format!("i32.const {} i32.and i32.const 8", last / 2));
                self.emit("array.copy $a $a");
            }
            _ => {
                self.expr(Any, d - 1);
                self.emit("array.set $a");
            }
        }
    }

    /// Emits unreachable code that sets and reads locals and opens blocks.
    pub(super) fn dead(&mut self) {
        let l = 1 + self.random.below(self.locals.len() - 1);
        let t = self.locals[l];
        let saved = self.set.clone();
        self.constant(t);
        self.emit(&format!("local.set {l}"));
        match self.random.below(4) {
            0 => {
                self.emit("block");
                self.labels.push(vec![]);
                self.stmts();
                self.labels.pop();
                self.emit("end")
            }
            1 => {
                self.emit("i32.const 1 if");
                self.labels.push(vec![]);
                self.stmts();
                self.set = saved.clone();
                self.emit("else");
                self.labels.pop();
                self.emit("end");
            }
            2 => {
                self.emit("loop (result i32)");
                self.emit("i32.const 1");
                self.emit("end drop")
            }
            _ => self.emit("unreachable"),
        }
        self.set = saved;
        self.emit("unreachable");
    }

    /// Emits code that mixes the value on top of the stack into the hash.
    pub(super) fn observe(&mut self, t: Type) {
        match t {
            I32 => self.emit("call $mix"),
            I64 => self.emit("i32.wrap_i64 call $mix"),
            F64 => self.emit("i32.trunc_sat_f64_s call $mix"),
            V128 => self.emit("call $mixv"),
            Nullable | Struct => self.emit("i32.const 3 call $mixs"),
            Any | Eq | Array => self.emit("i32.const 3 call $mixany"),
            Extern => self.emit("call $mixext"),
        }
    }
}
