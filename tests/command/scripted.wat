;; A module for command lines that were written for Wasmtime.
(module
  (memory (export "memory") i64 1)
  (table $table 1 funcref)
  (func (export "_start"))
  (func (export "seven") (result i32) (i32.const 7))
  (func $deep (export "deep") (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
      (else (i32.const 0))))
  (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0)))
  (func (export "grow_table") (param i32) (result i32)
    (table.grow $table (ref.null func) (local.get 0))))
