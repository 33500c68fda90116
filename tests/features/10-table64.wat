;; Tables of 64 bits
(module
  (table $t i64 1 funcref)
  (func (export "test") (result i32) (i64.eq (table.size $t) (i64.const 1))))
