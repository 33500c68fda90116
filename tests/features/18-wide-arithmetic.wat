;; Wide arithmetic
(module
  (func (export "test") (result i32)
    (i64.mul_wide_u (i64.const 0x100000000) (i64.const 0x100000000))
    i32.wrap_i64
    (i32.add (i32.wrap_i64))))
