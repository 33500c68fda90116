;; Several results
(module
  (func $two (result i32 i32) (i32.const 3) (i32.const 2))
  (func (export "test") (result i32) (i32.sub (call $two))))
