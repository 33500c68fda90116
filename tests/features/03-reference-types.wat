;; Reference types
(module
  (table $t 1 externref)
  (func (export "test") (result i32)
    (table.set $t (i32.const 0) (ref.null extern))
    (ref.is_null (table.get $t (i32.const 0)))))
