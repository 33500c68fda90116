;; A table with 64-bit indices.
(module
  (type $f (func (result i32)))
  (table $t i64 1 funcref)
  (table $r i64 1 anyref)
  (func $call (param i64) (result i32) (call_indirect $t (type $f) (local.get 0)))
  (func $get (param i64) (result anyref) (table.get $r (local.get 0)))
  (func $size (result i64) (table.size $t))
  (func $grow (param i64) (result i64) (table.grow $t (ref.null func) (local.get 0))))
