//! Random statements on memories, of which there are several, and on tables with 64-bit indices. Also
//! hints of branches.

use super::generate::{Generator, Type};
use Type::*;

/// The memories: their names, and whether addresses have 64 bits.
const MEMORIES: [(&str, bool); 3] = [("$m0", false), ("$m1", false), ("$m64", true)];

impl Generator {
    /// Emits a hint for the branch that follows, or none.
    pub(super) fn hint(&mut self) {
        let hints =
            ["(@metadata.code.branch_hint \"\\00\")", "(@metadata.code.branch_hint \"\\01\")"];
        if self.random.chance(40) {
            let hint = hints[self.random.below(2)];
            self.emit(hint);
        }
    }

    /// Emits an address of a memory, which is rarely out of bounds.
    fn address(&mut self, is_64: bool, d: i32) {
        self.expr(I32, d - 1);
        let mask = if self.random.chance(4) { 0x3_ffff } else { 0xfff0 };
        self.emit(&format!("i32.const {mask} i32.and"));
        if is_64 {
            self.emit("i64.extend_i32_u");
        }
    }

    /// Emits a constant of the type of addresses.
    fn size(&mut self, is_64: bool, size: usize) {
        self.emit(&format!("{}.const {size}", if is_64 { "i64" } else { "i32" }));
    }

    /// Emits a statement on memories.
    pub(super) fn memories(&mut self, d: i32) {
        let (name, is_64) = MEMORIES[self.random.below(3)];
        match self.random.below(8) {
            0 | 1 => {
                self.address(is_64, d);
                self.expr(I64, d - 1);
                let offset = self.random.below(9);
                self.emit(&format!("i64.store {name} offset={offset}"));
            }
            2 => {
                self.address(is_64, d);
                self.expr(I32, d - 1);
                self.emit(&format!("i32.store8 {name} offset=3"));
            }
            3 | 4 => {
                self.address(is_64, d);
                let offset = self.random.below(9);
                self.emit(&format!("i64.load {name} offset={offset}"));
                self.observe(I64);
            }
            5 => {
                let (other, other_64) = MEMORIES[self.random.below(3)];
                self.address(is_64, d);
                self.address(other_64, d);
                let size = self.random.below(16);
                self.size(is_64 && other_64, size);
                self.emit(&format!("memory.copy {name} {other}"));
            }
            6 => {
                self.address(is_64, d);
                self.expr(I32, d - 1);
                if self.random.chance(50) {
                    let size = self.random.below(16);
                    self.size(is_64, size);
                    self.emit(&format!("memory.fill {name}"));
                } else {
                    self.emit(&format!("drop i32.const 3 i32.const 9 memory.init {name} $d"));
                }
            }
            _ => {
                let delta = self.random.below(2);
                self.size(is_64, delta);
                self.emit(&format!("memory.grow {name}"));
                self.observe(if is_64 { I64 } else { I32 });
                self.emit(&format!("memory.size {name}"));
                self.observe(if is_64 { I64 } else { I32 });
            }
        }
    }

    /// Emits a statement on a table with 64-bit indices.
    pub(super) fn table64(&mut self, d: i32) {
        match self.random.below(6) {
            0 | 1 => {
                self.expr(I32, d - 1);
                self.emit("i32.const 3 i32.and i64.extend_i32_u");
                self.expr(Any, d - 1);
                self.emit("table.set $tab64");
            }
            2 => {
                self.expr(I32, d - 1);
                self.emit("i32.const 3 i32.and i64.extend_i32_u table.get $tab64");
                self.observe(Any);
            }
            3 => {
                self.expr(Any, d - 1);
                self.emit("i64.const 2 table.grow $tab64");
                self.observe(I64);
                self.emit("table.size $tab64");
                self.observe(I64);
            }
            4 => {
                self.emit("i64.const 1");
                self.expr(Any, d - 1);
                self.emit("i64.const 3 table.fill $tab64");
            }
            _ => {
                let copies = [
                    "i64.const 0 i64.const 1 i64.const 3 table.copy $tab64 $tab64",
                    "i64.const 1 i32.const 0 i32.const 2 table.copy $tab64 $tab",
                    "i32.const 1 i64.const 0 i32.const 2 table.copy $tab $tab64",
                    "i64.const 0 i32.const 0 i32.const 2 table.init $tab64 $es",
                ];
                let copy = copies[self.random.below(copies.len())];
                self.emit(copy);
            }
        }
    }
}
