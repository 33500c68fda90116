//! Random expressions: each leaves one value of a given type.

use super::generate::{Generator, Type};
use Type::*;
use std::fmt::Write;

impl Generator {
    /// Emits a constant, or an expression that refers to an existing object.
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
            V128 => {
                let [a, b] = [(); 2].map(|()| self.random.below(2000));
                self.emit(&format!("v128.const i32x4 {a} -7 {b} 0x87654321"))
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
            Extern => {
                let null = self.random.chance(60);
                self.emit("ref.null extern");
                if !null {
                    // A new host value.
                    self.emit("call $hext");
                }
            }
        }
    }

    /// Emits a local if there is one, otherwise a constant.
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

    /// Emits an expression of type `t`, nested at most `d` deep.
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
                if self.stmts() {
                    self.expr(t, d - 1);
                }
                self.set = saved.clone();
                self.emit("else");
                if self.stmts() {
                    self.expr(t, d - 1);
                }
                self.labels.pop();
                self.set = saved;
                self.emit("end");
                return;
            }
            4 => {
                // block expression with br_if out
                let begin = format!("block {}", self.block_type(&[], &[t]));
                return self.scope(&begin, t, |g| {
                    if g.stmts() {
                        g.apply(&[t, I32], "br_if 0", d);
                        if g.random.chance(50) {
                            g.observe(t);
                        } else {
                            g.emit("drop");
                        }
                        g.expr(t, d - 1);
                    }
                });
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
                    self.apply(&[p, I32], "i32.const 3 i32.and i32.eqz br_if 0", d);
                    self.observe(p);
                    self.expr(t, d - 1);
                }
                self.labels.pop();
                self.set = saved;
                self.emit("end");
                return;
            }
            6 if t != Struct => {
                let select = format!("select (result {})", t.wat());
                return self.apply(&[t, t, I32], &select, d);
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
        self.operator(t, d)
    }

    /// Emits operands, nested less than `d` deep, and an operator on them.
    fn apply(&mut self, operands: &[Type], operator: &str, d: i32) {
        for &t in operands {
            self.expr(t, d - 1);
        }
        self.emit(operator)
    }

    /// Emits a block that begins with `begin`, contains the code that `body` emits, and leaves a
    /// value of type `t`.
    fn scope(&mut self, begin: &str, t: Type, body: impl FnOnce(&mut Generator)) {
        self.emit(begin);
        self.labels.push(vec![t]);
        let set = self.set.clone();
        body(self);
        self.labels.pop();
        self.set = set;
        self.emit("end")
    }

    /// Emits an operator that leaves a value of type `t`, with its operands.
    fn operator(&mut self, t: Type, d: i32) {
        match t {
            I32 => self.i32_operator(d),
            I64 => {
                self.apply(&[I32], "i64.extend_i32_s", d);
                if self.random.chance(40) {
                    self.apply(&[I64], "i64.add", d)
                }
            }
            F64 => {
                self.apply(&[I32], "f64.convert_i32_s", d);
                if self.random.chance(40) {
                    self.apply(&[F64], "f64.add", d)
                }
            }
            V128 => self.v128_operator(d),
            Nullable => self.nullable_operator(d),
            Struct => self.struct_operator(d),
            Any => self.any_operator(d),
            Eq => self.eq_operator(d),
            Array => self.array_operator(d),
            Extern => self.extern_operator(d),
        }
    }

    /// Emits an operator that leaves an `i32`.
    fn i32_operator(&mut self, d: i32) {
        match self.random.below(13) {
            0 => self.apply(&[I32, I32], "i32.add", d),
            1 => self.apply(&[I32, I32], "i32.lt_s", d),
            2 => self.apply(&[Eq, Eq], "ref.eq", d),
            3 => self.apply(&[Any], "ref.test (ref $s)", d),
            4 => self.apply(&[Nullable], "ref.is_null", d),
            5 => self.apply(&[Struct], "struct.get $s 0", d),
            6 => self.apply(&[Any, I32], "i32.const 3 i32.and table.grow $tab", d),
            7 => self.apply(&[I64], "i32.wrap_i64", d),
            8 => {
                let most = if self.big { 4095 } else { 3 };
                let grow = format!("i32.const {most} i32.and table.grow $big");
                self.apply(&[Nullable, I32], &grow, d)
            }
            9 => self.apply(&[V128], "i32x4.extract_lane 2", d),
            10 => self.apply(&[V128], "i8x16.bitmask", d),
            11 => self.apply(&[Any], "ref.test (ref $m)", d),
            _ => self.emit("call $fresh"),
        }
    }

    /// Emits an operator that leaves a vector.
    fn v128_operator(&mut self, d: i32) {
        match self.random.below(12) {
            0 => self.apply(&[I32], "i32x4.splat", d),
            1 => self.apply(&[F64], "f64x2.splat i32x4.trunc_sat_f64x2_s_zero", d),
            2 => self.apply(&[V128, V128], "i16x8.add", d),
            3 => self.apply(&[V128, V128], "i8x16.swizzle", d),
            4 => self.apply(&[V128, V128, V128], "i64x2.mul v128.xor", d),
            5 => self.apply(&[V128, I64], "i64x2.replace_lane 1", d),
            6 => self.apply(&[V128, V128, V128], "i32x4.relaxed_laneselect", d),
            7 => self.emit("global.get $vector"),
            8 => {
                self.emit("global.get $vectors");
                self.apply(&[I32], "i32.const 3 i32.and array.get $av", d)
            }
            9 => self.apply(&[I32, V128, Any], "struct.new $v struct.get $v 1", d),
            10 => self.emit("i32.const 16 v128.load offset=65500"),
            _ => self.apply(&[V128, V128], "i32x4.gt_s", d),
        }
    }

    /// Emits an operator that leaves a struct or null.
    fn nullable_operator(&mut self, d: i32) {
        match self.random.below(7) {
            0 => self.apply(&[Struct], "struct.get $s 1", d),
            1 => self.expr(Struct, d - 1),
            2 => self.emit("global.get $g0"),
            3 => {
                self.scope("block (result (ref null $s))", Nullable, |g| {
                    g.apply(&[Any], "br_on_cast 0 anyref (ref null $s)", d);
                    g.emit("drop");
                    g.expr(Nullable, d - 1);
                });
            }
            4 => self.apply(&[I32], "i32.const 15 i32.and table.get $big", d),
            5 => {
                self.scope("block (result (ref null $s))", Nullable, |g| {
                    g.apply(&[Nullable, Nullable], "br_on_null 0", d);
                    g.emit("i32.const 3 call $mixs");
                });
            }
            _ => self.expr(Struct, d - 1),
        }
    }

    /// Emits an operator that leaves a struct.
    fn struct_operator(&mut self, d: i32) {
        match self.random.below(7) {
            0 | 1 => self.apply(&[I32, Nullable, Any], "struct.new $s", d),
            2 => self.apply(&[I32, Nullable, Any, Extern, I32], "struct.new $s2", d),
            3 => self.apply(&[I32, Nullable, Any, Extern], "struct.new $m", d),
            4 => {
                self.scope("block (result (ref $s))", Struct, |g| {
                    g.apply(&[Any], "br_on_cast 0 anyref (ref $m)", d);
                    g.emit("i32.const 1 call $mixany");
                    g.expr(Struct, d - 1);
                });
            }
            5 => {
                self.scope("block (result (ref $s))", Struct, |g| {
                    g.apply(&[Nullable], "br_on_non_null 0", d);
                    g.expr(Struct, d - 1);
                });
            }
            _ => {
                self.scope("block (result (ref $s))", Struct, |g| {
                    g.apply(&[Any], "br_on_cast 0 anyref (ref $s)", d);
                    g.emit("i32.const 1 call $mixany");
                    g.expr(Struct, d - 1);
                });
            }
        }
    }

    /// Emits an operator that leaves any internal reference.
    fn any_operator(&mut self, d: i32) {
        match self.random.below(11) {
            0 => self.expr(Nullable, d - 1),
            1 => self.expr(Array, d - 1),
            2 => self.expr(Eq, d - 1),
            3 => self.emit("global.get $g1"),
            4 => self.apply(&[I32], "i32.const 3 i32.and table.get $tab", d),
            5 => self.apply(&[Struct], "struct.get $s 2", d),
            6 => self.apply(&[Any, Extern, I32], "call $hid", d),
            7 => self.apply(&[Extern], "any.convert_extern", d),
            8 => self.apply(&[I32], "ref.i31", d),
            9 => self.emit("(array.new_data $ai $d (i32.const 2) (i32.const 3))"),
            _ => self.expr(Struct, d - 1),
        }
    }

    /// Emits an operator that leaves a reference that can be compared.
    fn eq_operator(&mut self, d: i32) {
        match self.random.below(5) {
            0 => self.expr(Nullable, d - 1),
            1 => self.expr(Array, d - 1),
            2 => self.emit("global.get $g2"),
            3 => self.apply(&[I32], "ref.i31", d),
            _ => self.expr(Struct, d - 1),
        }
    }

    /// Emits an operator that leaves an array.
    fn array_operator(&mut self, d: i32) {
        match self.random.below(5) {
            0 => self.apply(&[Any, I32], "i32.const 7 i32.and array.new $a", d),
            1 => {
                let n = self.random.below(5);
                for _ in 0..n {
                    self.expr(Any, d - 1);
                }
                self.emit(&format!("array.new_fixed $a {n}"))
            }
            2 => self.emit("(array.new_elem $a $es (i32.const 0) (i32.const 3))"),
            3 => self.apply(&[I32], "i32.const 15 i32.and array.new_default $a", d),
            _ => {
                self.scope("block (result anyref)", Any, |g| {
                    g.apply(&[Any], "br_on_cast_fail 0 anyref (ref $s)", d);
                    g.emit("i32.const 2 call $mixs");
                    g.expr(Any, d - 1);
                });
                self.emit("i32.const 3 call $mixany");
                self.expr(Array, d - 1);
            }
        }
    }

    /// Emits an operator that leaves an external reference.
    fn extern_operator(&mut self, d: i32) {
        match self.random.below(4) {
            0 => self.apply(&[Any], "extern.convert_any", d),
            1 => self.emit("global.get $g3"),
            2 => self.apply(&[Extern], "call $hext", d),
            _ => self.apply(&[I32], "i32.const 1 i32.and table.get $tabe", d),
        }
    }
}
