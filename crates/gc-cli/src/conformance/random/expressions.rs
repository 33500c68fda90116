//! Random expressions: each leaves one value of a given type.

use super::generate::{Generator, Type};
use Type::*;
use std::fmt::Write;

impl Generator {
    /// Emits a constant, or what links to an object that is there.
    pub(super) fn constant(&mut self, t: Type) {
        match t {
            I32 => {
                let c = self.random.below(20) as i32 - 5;
                self.emit(&format!("i32.const {c}"))
            }
            I64 => {
                let c = self.random.below(2000);
                self.emit(&format!("i64.const {c}"))
            }
            F64 => {
                let c = self.random.below(2000);
                self.emit(&format!("f64.const {c}.5"))
            }
            Nullable => {
                let null = self.random.chance(30);
                self.emit(if null { "ref.null $s" } else { "global.get $g0" })
            }
            Struct => self.emit("(struct.new $s (call $fresh) (global.get $g0) (global.get $g1))"),
            Any => {
                let any = ["(ref.i31 (i32.const 77))", "ref.null any", "global.get $g1"];
                let any = any[self.random.below(any.len())];
                self.emit(any)
            }
            Eq => {
                if self.random.chance(50) {
                    self.emit("(ref.i31 (i32.const 78))")
                } else {
                    self.emit("ref.null eq")
                }
            }
            Array => self.emit("ref.null $a"),
            Extern => self.emit("ref.null extern"),
        }
    }

    /// Emits a local if there is one, else a constant.
    pub(super) fn leaf(&mut self, t: Type) {
        let c: Vec<usize> = (0..self.locals.len())
            .filter(|l| {
                self.set[*l]
                    && (self.locals[*l] == t
                        || (t == Nullable && self.locals[*l] == Struct)
                        || (t == Any && matches!(self.locals[*l], Nullable | Struct | Eq | Array))
                        || (t == Eq && matches!(self.locals[*l], Nullable | Struct | Array)))
            })
            .collect();
        if !c.is_empty() && self.random.chance(85) {
            let l = c[self.random.below(c.len())];
            self.emit(&format!("local.get {l}"));
        } else {
            self.constant(t)
        }
    }

    /// Emits the arguments of a function.
    pub(super) fn args(&mut self, f: usize, d: i32) {
        self.emit("(i32.sub (local.get 0) (i32.const 1))");
        for t in self.funcs[f].params.clone() {
            self.expr(t, d - 1);
        }
    }

    /// The type of a block.
    pub(super) fn block_type(&self, ps: &[Type], rs: &[Type]) -> String {
        let mut s = String::new();
        if !ps.is_empty() {
            s.push_str("(param");
            for t in ps {
                let _ = write!(s, " {}", t.wat());
            }
            s.push(')');
        }
        if !rs.is_empty() {
            s.push_str("(result");
            for t in rs {
                let _ = write!(s, " {}", t.wat());
            }
            s.push(')');
        }
        s
    }

    /// Emits an expression of the type `t`, nested `d` deep at most.
    pub(super) fn expr(&mut self, t: Type, d: i32) {
        self.budget -= 1;
        if d <= 0 || self.budget < 0 || self.labels.len() > 25 {
            return self.leaf(t);
        }
        match self.random.below(14) {
            0 | 1 => return self.leaf(t),
            3 => {
                // if expression
                self.expr(I32, d - 1);
                let saved = self.set.clone();
                let bt = self.block_type(&[], &[t]);
                self.emit(&format!("if {bt}"));
                self.labels.push(vec![t]);
                let live = self.stmts();
                if live {
                    self.expr(t, d - 1);
                }
                self.set = saved.clone();
                self.emit("else");
                let live = self.stmts();
                if live {
                    self.expr(t, d - 1);
                }
                self.labels.pop();
                self.set = saved;
                self.emit("end");
                return;
            }
            4 => {
                // block expression with br_if out
                let saved = self.set.clone();
                let bt = self.block_type(&[], &[t]);
                self.emit(&format!("block {bt}"));
                self.labels.push(vec![t]);
                let live = self.stmts();
                if live {
                    self.expr(t, d - 1);
                    self.expr(I32, d - 1);
                    self.emit("br_if 0");
                    let live = if self.random.chance(50) {
                        self.observe(t);
                        true
                    } else {
                        self.emit("drop");
                        true
                    };
                    if live {
                        self.expr(t, d - 1);
                    }
                }
                self.labels.pop();
                self.set = saved;
                self.emit("end");
                return;
            }
            5 => {
                // loop with param/result
                let p = self.ty();
                let saved = self.set.clone();
                self.expr(p, d - 1);
                let bt = self.block_type(&[p], &[t]);
                self.emit(&format!("loop {bt}"));
                self.labels.push(vec![p]);
                self.emit("call $burn");
                self.observe(p);
                if self.stmts() {
                    self.expr(p, d - 1);
                    self.expr(I32, d - 1);
                    self.emit("i32.const 3 i32.and i32.eqz");
                    self.emit("br_if 0");
                    self.observe(p);
                    self.expr(t, d - 1);
                }
                self.labels.pop();
                self.set = saved;
                self.emit("end");
                return;
            }
            6 if t != Struct => {
                self.expr(t, d - 1);
                self.expr(t, d - 1);
                self.expr(I32, d - 1);
                self.emit(&format!("select (result {})", t.wat()));
                return;
            }
            7 => {
                // local.tee
                let c: Vec<usize> =
                    (1..self.locals.len()).filter(|l| self.locals[*l] == t).collect();
                if !c.is_empty() {
                    self.expr(t, d - 1);
                    let l = c[self.random.below(c.len())];
                    self.set[l] = true;
                    self.emit(&format!("local.tee {l}"));
                    return;
                }
            }
            8 => {
                let c: Vec<usize> =
                    (1..self.funcs.len()).filter(|f| self.funcs[*f].results == [t]).collect();
                if !c.is_empty() {
                    let f = c[self.random.below(c.len())];
                    self.args(f, d);
                    if self.random.chance(60) {
                        self.emit(&format!("call $f{f}"))
                    } else {
                        self.emit(&format!("i32.const {f} call_indirect $funcs (type $t{f})"))
                    }
                    return;
                }
            }
            _ => {}
        }
        match t {
            I32 => match self.random.below(10) {
                0 => {
                    self.expr(I32, d - 1);
                    self.expr(I32, d - 1);
                    self.emit("i32.add")
                }
                1 => {
                    self.expr(I32, d - 1);
                    self.expr(I32, d - 1);
                    self.emit("i32.lt_s")
                }
                2 => {
                    self.expr(Eq, d - 1);
                    self.expr(Eq, d - 1);
                    self.emit("ref.eq")
                }
                3 => {
                    self.expr(Any, d - 1);
                    self.emit("ref.test (ref $s)")
                }
                4 => {
                    self.expr(Nullable, d - 1);
                    self.emit("ref.is_null")
                }
                5 => {
                    self.expr(Struct, d - 1);
                    self.emit("struct.get $s 0")
                }
                6 => {
                    self.expr(Any, d - 1);
                    self.expr(I32, d - 1);
                    self.emit("i32.const 3 i32.and table.grow $tab")
                }
                7 => {
                    self.expr(I64, d - 1);
                    self.emit("i32.wrap_i64")
                }
                8 => {
                    self.expr(Nullable, d - 1);
                    self.expr(I32, d - 1);
                    {
                        let m = if self.big { 4095 } else { 3 };
                        self.emit(&format!("i32.const {m} i32.and table.grow $big"))
                    }
                }
                _ => self.emit("call $fresh"),
            },
            I64 => {
                self.expr(I32, d - 1);
                self.emit("i64.extend_i32_s");
                if self.random.chance(40) {
                    self.expr(I64, d - 1);
                    self.emit("i64.add")
                }
            }
            F64 => {
                self.expr(I32, d - 1);
                self.emit("f64.convert_i32_s");
                if self.random.chance(40) {
                    self.expr(F64, d - 1);
                    self.emit("f64.add")
                }
            }
            Nullable => match self.random.below(7) {
                0 => {
                    self.expr(Struct, d - 1);
                    self.emit("struct.get $s 1")
                }
                1 => self.expr(Struct, d - 1),
                2 => self.emit("global.get $g0"),
                3 => {
                    self.emit("block (result (ref null $s))");
                    self.labels.push(vec![Nullable]);
                    let sv = self.set.clone();
                    self.expr(Any, d - 1);
                    self.emit("br_on_cast 0 anyref (ref null $s)");
                    self.emit("drop");
                    self.expr(Nullable, d - 1);
                    self.labels.pop();
                    self.set = sv;
                    self.emit("end")
                }
                4 => {
                    self.expr(I32, d - 1);
                    self.emit("i32.const 15 i32.and table.get $big")
                }
                5 => {
                    self.emit("block (result (ref null $s))");
                    self.labels.push(vec![Nullable]);
                    let sv = self.set.clone();
                    self.expr(Nullable, d - 1);
                    self.expr(Nullable, d - 1);
                    self.emit("br_on_null 0");
                    self.emit("i32.const 3 call $mixs");
                    self.labels.pop();
                    self.set = sv;
                    self.emit("end")
                }
                _ => self.expr(Struct, d - 1),
            },
            Struct => match self.random.below(5) {
                0 | 1 => {
                    self.expr(I32, d - 1);
                    self.expr(Nullable, d - 1);
                    self.expr(Any, d - 1);
                    self.emit("struct.new $s")
                }
                2 => {
                    self.expr(I32, d - 1);
                    self.expr(Nullable, d - 1);
                    self.expr(Any, d - 1);
                    self.expr(Extern, d - 1);
                    self.expr(I32, d - 1);
                    self.emit("struct.new $s2")
                }
                3 => {
                    self.emit("block (result (ref $s))");
                    self.labels.push(vec![Struct]);
                    let sv = self.set.clone();
                    self.expr(Nullable, d - 1);
                    self.emit("br_on_non_null 0");
                    self.expr(Struct, d - 1);
                    self.labels.pop();
                    self.set = sv;
                    self.emit("end")
                }
                _ => {
                    self.emit("block (result (ref $s))");
                    self.labels.push(vec![Struct]);
                    let sv = self.set.clone();
                    self.expr(Any, d - 1);
                    self.emit("br_on_cast 0 anyref (ref $s)");
                    self.emit("i32.const 1 call $mixany");
                    self.expr(Struct, d - 1);
                    self.labels.pop();
                    self.set = sv;
                    self.emit("end")
                }
            },
            Any => match self.random.below(11) {
                0 => self.expr(Nullable, d - 1),
                1 => self.expr(Array, d - 1),
                2 => self.expr(Eq, d - 1),
                3 => self.emit("global.get $g1"),
                4 => {
                    self.expr(I32, d - 1);
                    self.emit("i32.const 3 i32.and table.get $tab")
                }
                5 => {
                    self.expr(Struct, d - 1);
                    self.emit("struct.get $s 2")
                }
                6 => {
                    self.expr(Any, d - 1);
                    self.expr(Extern, d - 1);
                    self.expr(I32, d - 1);
                    self.emit("call $hid")
                }
                7 => {
                    self.expr(Extern, d - 1);
                    self.emit("any.convert_extern")
                }
                8 => {
                    self.expr(I32, d - 1);
                    self.emit("ref.i31")
                }
                9 => self.emit("(array.new_data $ai $d (i32.const 2) (i32.const 3))"),
                _ => self.expr(Struct, d - 1),
            },
            Eq => match self.random.below(5) {
                0 => self.expr(Nullable, d - 1),
                1 => self.expr(Array, d - 1),
                2 => self.emit("global.get $g2"),
                3 => {
                    self.expr(I32, d - 1);
                    self.emit("ref.i31")
                }
                _ => self.expr(Struct, d - 1),
            },
            Array => match self.random.below(5) {
                0 => {
                    self.expr(Any, d - 1);
                    self.expr(I32, d - 1);
                    self.emit("i32.const 7 i32.and array.new $a")
                }
                1 => {
                    let n = self.random.below(5);
                    for _ in 0..n {
                        self.expr(Any, d - 1);
                    }
                    self.emit(&format!("array.new_fixed $a {n}"))
                }
                2 => self.emit("(array.new_elem $a $es (i32.const 0) (i32.const 3))"),
                3 => {
                    self.expr(I32, d - 1);
                    self.emit("i32.const 15 i32.and array.new_default $a")
                }
                _ => {
                    self.emit("block (result anyref)");
                    self.labels.push(vec![Any]);
                    let sv = self.set.clone();
                    self.expr(Any, d - 1);
                    self.emit("br_on_cast_fail 0 anyref (ref $s)");
                    self.emit("i32.const 2 call $mixs");
                    self.expr(Any, d - 1);
                    self.labels.pop();
                    self.set = sv;
                    self.emit("end i32.const 3 call $mixany");
                    self.expr(Array, d - 1);
                }
            },
            Extern => match self.random.below(4) {
                0 => {
                    self.expr(Any, d - 1);
                    self.emit("extern.convert_any")
                }
                1 => self.emit("global.get $g3"),
                2 => {
                    self.expr(Extern, d - 1);
                    self.emit("call $hext")
                }
                _ => {
                    self.expr(I32, d - 1);
                    self.emit("i32.const 1 i32.and table.get $tabe")
                }
            },
        }
    }
}
