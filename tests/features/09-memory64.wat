;; Memories of 64 bits
(module
  (memory i64 1)
  (func (export "test") (result i32)
    (i32.store (i64.const 0) (i32.const 1))
    (i32.load (i64.const 0))))
