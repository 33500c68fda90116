;; Extended constant expressions
(module
  (global $g i32 (i32.sub (i32.const 3) (i32.const 2)))
  (func (export "test") (result i32) (global.get $g)))
